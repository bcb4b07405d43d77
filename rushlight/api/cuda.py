"""torch.cuda: what programs ask about GPUs, answered by the active accelerator (backends/accelerator.py) or by its absence.

Without one, questions answer False, 0 or nothing, requests that concern every GPU there is (seeds, caches) do nothing,
and what needs a GPU raises AssertionError, as PyTorch's own CPU build does. With one, work is in order on each device,
so streams and events are bookkeeping: an accelerator that runs asynchronously replaces them.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from rushlight.api.devices import exact
from rushlight.api.random import DEFAULT
from rushlight.backends.accelerator import active
from rushlight.bind import FUNCTIONS, METHODS, function
from rushlight.core.device import Device
from rushlight.core.naming import Public, published


def cuda(f):
    """Publish f as torch.cuda.<name>."""
    return function(f, name=f"cuda.{f.__name__}")


def _there(name):
    found = active()
    if found is None:
        raise AssertionError(f"Torch not compiled with CUDA enabled: torch.cuda.{name}() needs a GPU; ask torch.cuda.is_available() first")
    return found


def _index(device, name, optional=True):
    """The number of a device given as number, string, Device or None (the current one)."""
    found = _there(name)
    if device is None and optional:
        return found.current
    if isinstance(device, int) and not isinstance(device, bool):
        device = Device("cuda", device) if device >= 0 else Device("cuda")
    device = Device(device)
    if device.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {device}")
    return exact(device).index


# ---- what there is ---------------------------------------------------------------------------------------------


@cuda
def is_available():
    """Whether there is a GPU to compute on."""
    return active() is not None


@cuda
def device_count():
    """The number of GPUs."""
    return active().count if active() else 0


@cuda
def is_initialized():
    """Whether CUDA's state has been made."""
    return active() is not None


@cuda
def init():
    """Make CUDA's state; AssertionError without a GPU."""
    _there("init")


@cuda
def is_bf16_supported(including_emulation=True):
    """Whether the GPU computes in bfloat16."""
    return active() is not None


@cuda
def is_tf32_supported():
    """Whether the GPU has TF32: no."""
    return False


@cuda
def current_device():
    """The number of the current device."""
    return _there("current_device").current


@cuda
def set_device(device):
    """Make a device the current one; a negative number changes nothing."""
    if isinstance(device, int) and device < 0:
        return
    _there("set_device").current = _index(device, "set_device")


@cuda
def get_device_name(device=None):
    """The name of a device."""
    return _properties(device, "get_device_name").name


@cuda
def get_device_capability(device=None):
    """(major, minor) compute capability."""
    p = _properties(device, "get_device_capability")
    return p.major, p.minor


@cuda
def get_device_properties(device=None):
    """name, major, minor, total_memory and multi_processor_count of a device."""
    return _properties(device, "get_device_properties")


class _CudaDeviceProperties:
    def __init__(self, values):
        vars(self).update(values)

    def __repr__(self):
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory >> 20}MB, multi_processor_count={self.multi_processor_count})"
        )


def _properties(device, name):
    return _CudaDeviceProperties(_there(name).properties(_index(device, name)))


@cuda
def can_device_access_peer(device, peer_device):
    """Whether one device reads the other's memory directly."""
    _index(device, "can_device_access_peer"), _index(peer_device, "can_device_access_peer")
    return False


@cuda
def get_arch_list():
    """The architectures that kernels were built for: none, kernels are made when they are needed."""
    return []


@cuda
def get_gencode_flags():
    """The compiler's flags for those architectures: none."""
    return ""


# ---- memory ----------------------------------------------------------------------------------------------------


@cuda
def memory_allocated(device=None):
    """Bytes of GPU memory in use by tensors; 0 without a GPU."""
    return active().allocated(_index(device, "memory_allocated"))[0] if active() else 0


@cuda
def max_memory_allocated(device=None):
    """The most bytes that were in use by tensors at once; 0 without a GPU."""
    return active().allocated(_index(device, "max_memory_allocated"))[1] if active() else 0


for _name, _of in {"memory_reserved": memory_allocated, "memory_cached": memory_allocated, "max_memory_reserved": max_memory_allocated, "max_memory_cached": max_memory_allocated}.items():
    FUNCTIONS[f"cuda.{_name}"] = _of


@cuda
def reset_peak_memory_stats(device=None):
    """Count the peak from here."""
    found = _there("reset_peak_memory_stats")
    index = _index(device, "reset_peak_memory_stats")
    found.peak[index] = found.allocated(index)[0]


FUNCTIONS["cuda.reset_max_memory_allocated"] = FUNCTIONS["cuda.reset_max_memory_cached"] = reset_peak_memory_stats


@cuda
def mem_get_info(device=None):
    """(free, total) bytes of a device."""
    total = _properties(device, "mem_get_info").total_memory
    return total - memory_allocated(device), total


@cuda
def memory_stats(device=None):
    """The counters of the allocator by name; empty without a GPU."""
    if active() is None:
        return OrderedDict()
    now, peak = active().allocated(_index(device, "memory_stats"))
    return OrderedDict({"allocated_bytes.all.current": now, "allocated_bytes.all.peak": peak, "reserved_bytes.all.current": now, "reserved_bytes.all.peak": peak})


@cuda
def memory_summary(device=None, abbreviated=False):
    """The counters of the allocator as text."""
    _there("memory_summary")
    return "\n".join(f"{k}: {v}" for k, v in memory_stats(device).items())


@cuda
def empty_cache():
    """Give unused GPU memory back."""


@cuda
def ipc_collect():
    """Free memory that other processes have let go."""
    _there("ipc_collect")


@cuda
def synchronize(device=None):
    """Wait until a device has done what it was given."""
    _there("synchronize").synchronize(_index(device, "synchronize"))


# ---- random ----------------------------------------------------------------------------------------------------


@cuda
def manual_seed(seed):
    """Seed the current GPU's generator; nothing to do without one."""
    int(seed)


FUNCTIONS["cuda.manual_seed_all"] = manual_seed


@cuda
def seed():
    """Seed the current GPU's generator from the system; nothing to do without one."""


FUNCTIONS["cuda.seed_all"] = seed


@cuda
def initial_seed():
    """The seed of the current GPU's generator."""
    _there("initial_seed")
    return DEFAULT.initial_seed()


@cuda
def get_rng_state(device="cuda"):
    """The state of a GPU's generator."""
    _there("get_rng_state")
    return DEFAULT.get_state()


@cuda
def get_rng_state_all():
    """The states of all GPUs' generators."""
    return [DEFAULT.get_state() for _ in range(device_count())]


@cuda
def set_rng_state(new_state, device="cuda"):
    """Restore the state of a GPU's generator; nothing to do without one."""
    if active() is not None:
        DEFAULT.set_state(new_state)


@cuda
def set_rng_state_all(new_states):
    """Restore the states of all GPUs' generators."""
    for state in new_states:
        set_rng_state(state)


# ---- the current device, streams, events -----------------------------------------------------------------------


class device:  # noqa: N801  (the public name)
    """Inside the block a device is the current one."""

    def __init__(self, device):
        self.device = device

    def __enter__(self):
        found = active()
        if found is None:
            raise RuntimeError("PyTorch was compiled without CUDA support: there is no GPU here")
        self.before = found.current
        set_device(self.device if self.device is not None else -1)
        return self

    def __exit__(self, *exc):
        active().current = self.before
        return False


class device_of(device):  # noqa: N801
    """Inside the block the device of a tensor is the current one; that of a CPU tensor changes nothing."""

    def __init__(self, obj):
        super().__init__(obj.get_device() if obj.is_cuda else -1)

    def __enter__(self):
        return super().__enter__() if active() else self

    def __exit__(self, *exc):
        return super().__exit__(*exc) if active() else False


class Stream:
    """A queue of work on a device. Work here is done in order as it is given, so waiting is never needed."""

    def __init__(self, device=None, priority=0, **kwargs):
        if active() is None:
            raise RuntimeError("torch.cuda.Stream requires CUDA support: there is no GPU here")
        self.device, self.priority = Device("cuda", _index(device, "Stream")), priority
        self.cuda_stream = self.stream_id = kwargs.get("stream_id", 0)

    def query(self):
        """Whether all its work is done."""
        return True

    def synchronize(self):
        """Wait for its work."""

    def wait_event(self, event):
        """Let later work wait for an event."""

    def wait_stream(self, stream):
        """Let later work wait for another stream's."""

    def record_event(self, event=None):
        """Mark the end of the work so far."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def __eq__(self, other):
        return isinstance(other, Stream) and (self.device, self.cuda_stream) == (other.device, other.cuda_stream)

    def __hash__(self):
        return hash((self.device, self.cuda_stream))

    def __repr__(self):
        return f"<torch.cuda.Stream device={self.device} cuda_stream={hex(self.cuda_stream)}>"


class Event:
    """A mark in a stream; two of them with `enable_timing` give the milliseconds between."""

    def __init__(self, enable_timing=False, blocking=False, interprocess=False, external=False):
        if active() is None:
            raise RuntimeError("Tried to instantiate dummy base class Event: there is no GPU here")
        self.timing, self.at = enable_timing, None

    def record(self, stream=None):
        """Mark the end of the work so far."""
        self.at = time.perf_counter()

    def query(self):
        """Whether the work before the mark is done."""
        return True

    def wait(self, stream=None):
        """Let later work wait for the mark."""

    def synchronize(self):
        """Wait for the work before the mark."""

    def elapsed_time(self, end_event):
        """Milliseconds from this mark to another."""
        if not (self.timing and end_event.timing):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if self.at is None or end_event.at is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        return (end_event.at - self.at) * 1e3


class StreamContext:
    """Inside the block a stream takes the work; None changes nothing."""

    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        return None


@cuda
def stream(stream):
    """Inside the block a stream takes the work; None changes nothing."""
    return StreamContext(stream)


@cuda
def set_stream(stream):
    """Make a stream the current one."""


@cuda
def current_stream(device=None):
    """The stream that takes work on a device."""
    _there("current_stream")
    return Stream(device)


@cuda
def default_stream(device=None):
    """The stream that a device starts with."""
    _there("default_stream")
    return Stream(device)


@cuda
def is_current_stream_capturing():
    """Whether work is being captured into a graph: no."""
    return False


@cuda
def _lazy_init():
    _there("init")


@cuda
def _is_compiled():
    return active() is not None


class CUDAGraph:
    """A captured stream; there are none here."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError("Tried to instantiate dummy base class CUDAGraph: compile the step with rushlight.compile instead")


class OutOfMemoryError(RuntimeError, metaclass=Public):
    """A device has no memory left."""


FUNCTIONS["OutOfMemoryError"] = published(OutOfMemoryError, "OutOfMemoryError")
FUNCTIONS.update({f"cuda.{c.__name__}": c for c in (device, device_of, Stream, Event, StreamContext, CUDAGraph)})


# ---- elsewhere -------------------------------------------------------------------------------------------------



@function(name="accelerator.is_available")
def accelerator_available():
    """Whether there is an accelerator."""
    return active() is not None


@function(name="accelerator.device_count")
def accelerator_count():
    """The number of accelerators."""
    return device_count()


@function(name="accelerator.current_accelerator")
def current_accelerator(check_available=False):
    """The kind of accelerator there is, or None."""
    return Device("cuda") if active() else None


def pin_memory(self, device=None):
    """The tensor in page-locked memory (itself: host memory here is as good); RuntimeError where there is no accelerator."""
    if active() is None:
        raise RuntimeError("Cannot access accelerator device when none is available. (leave pin_memory out on a machine without one)")
    if not self.is_cpu:
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
    return self


def record_stream(self, stream):
    """Note that a stream uses the memory: accepted for memory of an accelerator."""
    if not self.is_cuda:
        raise RuntimeError(f"record_stream() is for tensors of an accelerator; this one is on {self.device}")


METHODS["pin_memory"], METHODS["record_stream"] = pin_memory, record_stream
