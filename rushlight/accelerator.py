"""torch.accelerator: the one kind of accelerator there is, whichever it be (the engine publishes part of it under `accelerator.`).

Here that is CUDA where a GPU (or a simulated one) is active; otherwise there is none, and what needs one raises.
"""

import rushlight

globals().update(rushlight._namespace("accelerator"))


def _cuda():
    if not is_available():  # noqa: F821
        raise RuntimeError("Cannot access accelerator device when none is available. (ask torch.accelerator.is_available() first)")
    return rushlight.cuda


def current_device_index():
    """The index of the current device; RuntimeError where there is none."""
    return _cuda().current_device()


def set_device_index(device, /):
    """Make a device the current one."""
    _cuda().set_device(device)


def current_stream(device=None, /):
    """The current stream of a device."""
    return _cuda().current_stream(device)


def set_stream(stream):
    """Make a stream the current one."""
    _cuda().set_stream(stream)


def synchronize(device=None, /):
    """Wait until a device has done what it was given."""
    _cuda().synchronize(device)


def empty_cache():
    """Give cached memory back."""
    _cuda().empty_cache()


def memory_allocated(device=None, /):
    """Bytes in use on a device."""
    return _cuda().memory_allocated(device)


def max_memory_allocated(device=None, /):
    """The most bytes that were in use on a device."""
    return _cuda().max_memory_allocated(device)


def memory_reserved(device=None, /):
    """Bytes held on a device, in use or cached."""
    return _cuda().memory_reserved(device)


def max_memory_reserved(device=None, /):
    """The most bytes that were held on a device."""
    return _cuda().max_memory_reserved(device)


def memory_stats(device=None, /):
    """Figures of a device's allocator."""
    return _cuda().memory_stats(device)


def get_memory_info(device=None, /):
    """(free, total) bytes of a device."""
    return _cuda().mem_get_info(device)


def reset_peak_memory_stats(device=None, /):
    """Begin the maximum anew."""
    _cuda().reset_peak_memory_stats(device)


def reset_accumulated_memory_stats(device=None, /):
    """Begin the counts anew."""
    _cuda().reset_accumulated_memory_stats(device)


class device_index:
    """Inside, the device of this index is the current one; None changes nothing."""

    def __init__(self, device, /):
        self.device = device

    def __enter__(self):
        if self.device is not None:
            self.before = current_device_index()
            set_device_index(self.device)

    def __exit__(self, *exc):
        if self.device is not None:
            set_device_index(self.before)


current_device_idx, set_device_idx = current_device_index, set_device_index

__all__ = [
    *rushlight._namespace("accelerator"), "current_device_idx", "current_device_index", "current_stream", "device_index", "empty_cache", "get_memory_info",
    "max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats", "reset_accumulated_memory_stats",
    "reset_peak_memory_stats", "set_device_idx", "set_device_index", "set_stream", "synchronize",
]  # fmt: skip
