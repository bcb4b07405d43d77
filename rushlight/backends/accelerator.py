"""The seam of an accelerator: what the front end asks of one, and which one there is.

A backend for GPUs enters an Accelerator here, and itself in dispatch.BACKENDS under "cuda"; its tensors carry a Window
subclass that knows their memory. Everything above (`device='cuda'`, `.cuda()`, `torch.cuda`, storages, checkpoints,
printing) asks `active()` and the Window, and nothing else.
"""

from __future__ import annotations


class Accelerator:
    """One kind of device: how many there are, which is current, and how memory comes and goes."""

    count = 0

    def __init__(self):
        self.current = 0

    def allocate(self, shape, dtype, device):
        """A Window on new memory; `dtype` is NumPy's."""
        raise NotImplementedError

    def upload(self, array, device):
        """A Window on new memory with the values and the layout of an ndarray."""
        raise NotImplementedError

    def properties(self, index):
        """name, major, minor, total_memory, multi_processor_count of one device."""
        raise NotImplementedError

    def allocated(self, index):
        """(bytes in use now, most bytes ever in use) on one device."""
        raise NotImplementedError

    def synchronize(self, index):
        """Wait until the device has done what it was given."""


_active = [None]


def active():
    """The accelerator there is, or None."""
    return _active[0]


def activate(accelerator):
    """Make `accelerator` the one there is."""
    _active[0] = accelerator
