"""Copy a batch's tensors to page-locked memory, from where an accelerator reads faster.

Containers keep their type, as in `default_convert`. Only called where there is an accelerator.
"""

import warnings

import rushlight
from rushlight import Tensor
from rushlight.utils.data._utils.collate import rebuild

__all__ = ["pin_memory", "pins"]


def pin_memory(data, device=None):
    """`data` with every tensor pinned; an object with a `pin_memory` method of its own is asked."""
    if isinstance(data, Tensor) or hasattr(data, "pin_memory"):
        return data.pin_memory()
    return rebuild(data, pin_memory)


def pins(loader) -> bool:
    """Whether a loader's batches are to be pinned; asked for where it cannot be, a warning and no."""
    if not loader.pin_memory:
        return False
    if loader.pin_memory_device:
        warnings.warn(
            "pin_memory_device is deprecated, the current accelerator will be used as the device, "
            f"ignore pin_memory_device='{loader.pin_memory_device}'.",
            stacklevel=6,
        )
    cuda = getattr(rushlight, "cuda", None)
    if cuda is not None and cuda.is_available():
        return True
    warnings.warn(
        "'pin_memory' argument is set as true but no accelerator is found, "
        "then device pinned memory won't be used.",
        stacklevel=6,
    )
    return False
