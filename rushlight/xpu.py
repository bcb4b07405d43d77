"""torch.xpu: Intel's GPUs. There are none here; the questions whether there are have their answers, everything else raises."""

import rushlight


def is_available():
    """False."""
    return False


def is_initialized():
    """False."""
    return False


def device_count():
    """0."""
    return 0


def manual_seed(seed):
    """Nothing to seed."""


def manual_seed_all(seed):
    """Nothing to seed."""


def empty_cache():
    """Nothing is cached."""


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise rushlight._absent.NotHere(f"torch.xpu.{name} is not implemented in rushlight: Torch not compiled with XPU enabled")


__all__ = ["device_count", "empty_cache", "is_available", "is_initialized", "manual_seed", "manual_seed_all"]
