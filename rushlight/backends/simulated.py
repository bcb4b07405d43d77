"""Simulated CUDA devices on NumPy memory, for tests of everything about devices that is not speed.

`RUSHLIGHT_SIMULATE_CUDA=2` in the environment gives two. Their tensors carry a HostWindow: a Window whose memory is an
ndarray. Ops run on the CPU backend and their results are put back on the device, so a value that took a short cut past
the backend shows as a tensor on the wrong device.
"""

from __future__ import annotations

import weakref

import numpy as np

from rushlight.backends.accelerator import Accelerator, active
from rushlight.backends.base import Backend
from rushlight.backends.cpu import BACKEND as CPU
from rushlight.core.window import Window


class HostWindow(Window):
    """A window on simulated device memory; `memory` is the block of bytes it lies in."""

    __slots__ = ("array", "__weakref__")

    def __init__(self, array, device, offset=0):
        super().__init__(array.shape, array.dtype, array.strides, offset, device)
        self.array = array

    def host(self):
        return self.array

    def beside(self, array):
        return active().upload(array, self.device)

    def windowed(self, dtype, shape, strides, offset):
        """Only meant for the first window of a storage, at offset 0."""
        if 0 in shape:
            return HostWindow(np.empty(shape, dtype), self.device, offset)
        return HostWindow(np.ndarray(shape, dtype, _flat(self.array), offset * dtype.itemsize, strides), self.device, offset)

    def viewed(self, reading, attrs):
        found = reading(self.array, **attrs)
        offset = self.offset
        if found.size:
            moved = found.__array_interface__["data"][0] - self.array.__array_interface__["data"][0]
            offset = (self.offset * self.itemsize + moved) // found.itemsize
        return HostWindow(found, self.device, offset)

    @property
    def __array_interface__(self):
        return self.array.__array_interface__


def _flat(array):
    size = sum((n - 1) * s for n, s in zip(array.shape, array.strides)) + array.itemsize
    return np.lib.stride_tricks.as_strided(array[(slice(0, 1),) * array.ndim].reshape(-1).view(np.uint8), (size,), (1,))


class Simulated(Accelerator):
    """A number of pretended GPUs."""

    def __init__(self, count):
        super().__init__()
        self.count = count
        self.used, self.peak = [0] * count, [0] * count

    def allocate(self, shape, dtype, device):
        return self._counted(HostWindow(np.empty(shape, dtype), device))

    def upload(self, array, device):
        return self._counted(HostWindow(np.array(array, order="K"), device))

    def _counted(self, window):
        index, size = window.device.index, -(-window.array.nbytes // 512) * 512
        self.used[index] += size
        self.peak[index] = max(self.peak[index], self.used[index])
        weakref.finalize(window.array if window.array.base is None else window, self._freed, index, size)
        return window

    def _freed(self, index, size):
        self.used[index] -= size

    def properties(self, index):
        return {"name": "Simulated CUDA device", "major": 0, "minor": 0, "total_memory": 1 << 34, "multi_processor_count": 1}

    def allocated(self, index):
        return self.used[index], self.peak[index]


class _Plain:
    """An operand as the CPU backend wants it: something with an ndarray in `_data`."""

    __slots__ = ("_data",)

    def __init__(self, data):
        self._data = data


class SimulatedBackend(Backend):
    """The CPU backend between two pretended transfers."""

    name = "simulated"

    def __init__(self, accelerator):
        self.accelerator = accelerator

    def apply(self, op, spec, args, attrs, out=None):
        device, plain = None, []
        for a in args:
            data = getattr(a, "_data", None)
            if isinstance(data, HostWindow):
                device, a = data.device, _Plain(data.array)
            plain.append(a)
        if out is not None:
            target = out._data
            CPU.apply(op, spec, plain, attrs, out=_Plain(target.array if isinstance(target, HostWindow) else target))
            return target
        result = CPU.apply(op, spec, plain, attrs)
        if type(result) is tuple:
            return tuple([self.accelerator._counted(HostWindow(r, device)) for r in result])
        return self.accelerator._counted(HostWindow(result, device))

    def item(self, x):
        return x._data.array.item()

    def numpy(self, x):
        return x._data.array
