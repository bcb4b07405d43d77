"""Storage: the only owner of aliasing. Tensors that share memory share one Storage, and so one version.

Most tensors never meet another that shares their memory, so a Storage is made when the first view, alias or in-place
op asks for it (`Tensor._shared()`); a tensor without one is at version 0.

Invariants: `version` only grows, by one for each in-place op on any tensor of the storage; `memory` is the array with
the storage's lowest address, and a tensor's offset is counted from there. `change`, where it is set, says what wrote to
it: (op, code object, instruction, the version that this made).
"""

from __future__ import annotations

import numpy as np


class Storage:
    """Shared memory and its version."""

    __slots__ = ("memory", "version", "change", "__weakref__", "__dict__")

    def __init__(self, memory):
        self.memory = memory
        self.version = 0

    def address(self):
        """The address of the first byte."""
        return address(self.memory)

    def nbytes(self):
        """The bytes from the first to the last element."""
        memory = self.memory
        if memory.size == 0:
            return 0
        return sum((n - 1) * s for n, s in zip(memory.shape, memory.strides)) + memory.itemsize

    def window(self, dtype, shape, strides, offset):
        """An array over this memory; strides (in elements) and offset must lie inside, or RuntimeError."""
        itemsize = dtype.itemsize
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides)) + 1
        if 0 not in shape and (last * itemsize > self.nbytes() or offset < 0):
            raise RuntimeError(
                f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize {itemsize} requiring a "
                f"storage size of {last * itemsize} are out of bounds for storage of size {self.nbytes()}"
            )
        if 0 in shape:
            return np.empty(shape, dtype)
        flat = flat_bytes(self.memory)
        return np.ndarray(shape, dtype, flat, offset * itemsize, tuple(s * itemsize for s in strides))


def flat_bytes(array):
    """The memory of an array, from its first byte to its last, as one row of bytes (no copy)."""
    size = sum((n - 1) * s for n, s in zip(array.shape, array.strides)) + array.itemsize
    if array.flags.c_contiguous:
        return array.reshape(-1).view(np.uint8)
    return np.lib.stride_tricks.as_strided(array[(slice(0, 1),) * array.ndim].reshape(-1).view(np.uint8), (size,), (1,))


def address(array):
    """The address of an array's first element."""
    return array.__array_interface__["data"][0]
