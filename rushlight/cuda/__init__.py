"""torch.cuda on a build without CUDA: programs ask whether there is a GPU, are told no, and go on with the CPU.

The questions answer False or 0 and the requests that concern every GPU there is (seeds, caches) do nothing, since there
is none. What needs a GPU raises AssertionError, as PyTorch's own CPU build does.
"""

from rushlight.cuda import amp


__all__ = ["amp", "current_device", "device_count", "empty_cache", "get_device_capability", "get_device_name", "get_device_properties", "init",
           "is_available", "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all", "memory_allocated",
           "max_memory_allocated", "max_memory_reserved", "memory_reserved", "seed", "seed_all", "set_device", "synchronize"]  # fmt: skip


def is_available():
    """Whether there is a GPU to compute on: False."""
    return False


def device_count():
    """The number of GPUs: 0."""
    return 0


def is_initialized():
    """Whether CUDA's state has been made: False."""
    return False


def is_bf16_supported(including_emulation=True):
    """Whether the GPU computes in bfloat16: False."""
    return False


def manual_seed(seed):
    """Seed the current GPU's generator: nothing to do without one."""
    int(seed)


manual_seed_all = manual_seed


def seed():
    """Seed the current GPU's generator from the system: nothing to do without one."""


seed_all = seed


def empty_cache():
    """Give unused GPU memory back: nothing to do without a GPU."""


def memory_allocated(device=None):
    """Bytes of GPU memory in use: 0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def _absent(name):
    def f(*args, **kwargs):
        raise AssertionError(
            f"Torch not compiled with CUDA enabled: torch.cuda.{name}() needs a GPU; ask torch.cuda.is_available() first"
        )

    f.__name__ = f.__qualname__ = name
    f.__doc__ = "Needs a GPU: raises AssertionError."
    return f


init, current_device, set_device, synchronize, get_device_capability, get_device_name, get_device_properties = map(
    _absent,
    ("init", "current_device", "set_device", "synchronize", "get_device_capability", "get_device_name",
     "get_device_properties"),
)  # fmt: skip
