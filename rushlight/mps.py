"""torch.mps: Apple's GPUs. There are none here; the questions whether there are have their answers, everything else raises."""

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


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    raise rushlight._absent.NotHere(f"torch.mps.{name} is not implemented in rushlight: there is no MPS backend")


__all__ = ["device_count", "is_available", "is_initialized", "manual_seed"]
