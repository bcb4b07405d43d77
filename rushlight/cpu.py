"""torch.cpu: the CPU under the names that device modules have, so that code for any device runs on it."""

from contextlib import contextmanager

import rushlight

__all__ = ["Event", "Stream", "current_device", "current_stream", "device_count", "get_capabilities", "is_available", "is_initialized", "set_device", "stream", "synchronize"]


class Stream:
    """The order in which the CPU runs: there is one, and everything in it is done when a call returns."""

    def __init__(self, priority=-1):
        self.priority = priority

    def wait_stream(self, stream):
        """Nothing to wait for."""

    def record_event(self, event=None):
        """An event that has happened."""
        return event or Event()

    def wait_event(self, event):
        """Nothing to wait for."""

    def synchronize(self):
        """Nothing to wait for."""


class Event:
    """A point in the stream: passed when it is made."""

    def query(self):
        """True."""
        return True

    def record(self, stream=None):
        """Nothing to note."""

    def synchronize(self):
        """Nothing to wait for."""

    def wait(self, stream=None):
        """Nothing to wait for."""


_STREAM = Stream()


def is_available():
    """True."""
    return True


def is_initialized():
    """True."""
    return True


def device_count():
    """1: the whole CPU is one device."""
    return 1


def current_device():
    """'cpu'."""
    return "cpu"


def set_device(device):
    """Accepted and ignored: there is one."""


def synchronize(device=None):
    """Nothing to wait for."""


def current_stream(device=None):
    """The one stream."""
    return _STREAM


@contextmanager
def stream(stream):
    """A block in the one stream."""
    yield


def get_capabilities():
    """What the CPU can do, by name."""
    widest = rushlight.backends.cpu.get_cpu_capability()
    return {"avx2": widest in ("AVX2", "AVX512"), "avx512_f": widest == "AVX512"}
