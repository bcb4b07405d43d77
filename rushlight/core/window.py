"""A window on memory without the memory: shape, strides, offset and dtype, with an array's attribute names.

Meta tensors and captured tensors carry a Window where a CPU tensor carries an ndarray; whatever asks an array only
for `shape`, `dtype`, `ndim`, `size` or `strides` works on both. Strides are in bytes, as NumPy's are, so that the two
agree. NumPy's functions refuse a Window (`__array_ufunc__ = None`), which sends the fast paths to the general one.
"""

from __future__ import annotations

from math import prod

from rushlight.core.shape import dense


class Window:
    """The layout of one tensor: what an ndarray knows about itself, without elements."""

    __slots__ = ("shape", "dtype", "strides", "offset", "device")
    __array_ufunc__ = None
    base = None

    def __init__(self, shape, dtype, strides=None, offset=0, device=None):
        self.shape, self.dtype, self.offset, self.device = tuple(shape), dtype, offset, device
        if strides is None:
            strides = tuple(s * dtype.itemsize for s in dense(self.shape))
        self.strides = tuple(strides)

    @property
    def ndim(self):
        return len(self.shape)

    @property
    def size(self):
        return prod(self.shape)

    @property
    def itemsize(self):
        return self.dtype.itemsize

    @property
    def nbytes(self):
        return self.size * self.dtype.itemsize

    def __repr__(self):
        return f"Window({self.shape}, {self.dtype}, strides={self.strides}, offset={self.offset})"

    def __array__(self, *args, **kwargs):
        raise NotImplementedError(f"a tensor on {self.device} has no memory that NumPy could read; use .cpu() first")


def element_strides(array):
    """The strides of an ndarray or a Window in elements."""
    itemsize = array.itemsize
    return tuple(s // itemsize for s in array.strides)
