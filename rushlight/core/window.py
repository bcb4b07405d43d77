"""A window on memory without the memory: shape, strides, offset and dtype, with an array's attribute names.

Meta tensors and captured tensors carry a Window where a CPU tensor carries an ndarray; whatever asks an array only
for `shape`, `dtype`, `ndim`, `size` or `strides` works on both. Strides are in bytes, as NumPy's are, so that the two
agree. NumPy's functions refuse a Window (`__array_ufunc__ = None`), and its `dtype` is a twin of NumPy's own object,
equal but not the same: both send the fast paths, which compare dtypes by identity, to the general one.

A backend whose tensors have memory gives its Windows that memory by a subclass: `host()` brings the values to an
ndarray, `windowed` makes another window of the same memory, `viewed` applies the NumPy reading of a view row.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from rushlight.core.shape import dense


@lru_cache(None)
def twin(dtype):
    """A NumPy dtype equal to `dtype` that is another object."""
    return np.dtype(dtype, copy=True)


class Window:
    """The layout of one tensor: what an ndarray knows about itself, without elements."""

    __slots__ = ("shape", "dtype", "strides", "offset", "device")
    __array_ufunc__ = None
    base = None

    def __init__(self, shape, dtype, strides=None, offset=0, device=None):
        self.shape, self.dtype, self.offset, self.device = tuple(shape), twin(dtype), offset, device
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
        return f"{type(self).__name__}({self.shape}, {self.dtype}, strides={self.strides}, offset={self.offset})"

    # ---- memory
    def host(self):
        """The values as an ndarray."""
        raise NotImplementedError(f"Cannot copy out of {self.device} tensor; no data! (what this op does depends on values, and a {self.device} tensor has none)")

    def __array__(self, dtype=None, copy=None):
        return self.host() if dtype is None else self.host().astype(dtype)

    def __getattr__(self, name):
        """What an ndarray has and a layout has not is read on the host."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.host(), name)

    def beside(self, array):
        """A window on new memory of the same device with the values of an ndarray."""
        return Window(array.shape, array.dtype, array.strides, 0, self.device)

    def windowed(self, dtype, shape, strides, offset):
        """Another window on the same memory: strides in bytes, `offset` in elements of `dtype` from its first byte."""
        return Window(shape, dtype, strides, offset, self.device)

    def viewed(self, reading, attrs):
        """What the NumPy reading of a view row makes of it: read off an array of this layout that is never looked into."""
        phantom = np.lib.stride_tricks.as_strided(np.empty(1, self.dtype), self.shape, self.strides)
        found = reading(phantom, **attrs)
        offset = self.offset
        if found.size:
            moved = found.__array_interface__["data"][0] - phantom.__array_interface__["data"][0]
            offset = (self.offset * self.itemsize + moved) // found.itemsize
        return self.windowed(found.dtype, found.shape, found.strides, offset)


def element_strides(array):
    """The strides of an ndarray or a Window in elements."""
    itemsize = array.itemsize
    return tuple(s // itemsize for s in array.strides)
