"""Memory shared with other libraries: DLPack both ways, and objects with the buffer protocol.

NumPy reads and writes DLPack capsules; what it has no dtype for (bfloat16, float8) cannot be exchanged this way.
"""

from __future__ import annotations

import enum
import warnings

import numpy as np

from rushlight.api.devices import exact
from rushlight.bind import FUNCTIONS, function, method
from rushlight.core import dtype as D
from rushlight.storage import Storage
from rushlight.tensor import Tensor, needs, wrap


class DLDeviceType(enum.IntEnum):
    """DLPack's kinds of device."""

    kDLCPU = 1
    kDLCUDA = 2
    kDLCUDAHost = 3
    kDLCUDAManaged = 13


DLDeviceType.__module__ = "rushlight.utils.dlpack"
FUNCTIONS["utils.dlpack.DLDeviceType"] = DLDeviceType


@method
def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
    """A DLPack capsule over this tensor's memory. BufferError for what cannot be exported."""
    if needs(self):
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    data = self._data
    if data.__class__ is not np.ndarray:
        raise BufferError(f"Cannot pack tensors on {self.device}; write x.cpu() first")
    if data.dtype.num >= 256:
        raise BufferError(f"NumPy, which packs the capsule, has no {self.dtype}; write x.float() first")
    if stream is not None and stream != -1:
        raise AssertionError("stream should be None on cpu.")
    if copy:
        data = data.copy(order="K")
    else:
        self._shared()
    if max_version is None:
        return data.__dlpack__()
    return data.__dlpack__(max_version=max_version, dl_device=None if dl_device is None else tuple(int(d) for d in dl_device))


@method
def __dlpack_device__(self):
    """(kind of device, its index) as DLPack numbers them."""
    if self.device.type == "cpu":
        return DLDeviceType.kDLCPU, 0
    if self.device.type == "cuda":
        return DLDeviceType.kDLCUDA, self.device.index
    raise ValueError(f"Unknown device type {self.device.type} for Dlpack")


class _Capsule:
    """A bare capsule as NumPy wants to be given it."""

    def __init__(self, capsule):
        self.capsule = capsule

    def __dlpack__(self, **kwargs):
        return self.capsule

    def __dlpack_device__(self):
        return 1, 0


@function
def from_dlpack(ext_tensor, *, device=None, copy=None):
    """A tensor sharing the memory of an object that offers __dlpack__, or of a DLPack capsule.

    `copy` True always copies; False raises ValueError where that must be.
    """
    if isinstance(ext_tensor, Tensor):
        if needs(ext_tensor):
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        t = ext_tensor.detach()
    elif isinstance(ext_tensor, np.ndarray) and ext_tensor.flags.writeable:
        t = FUNCTIONS["from_numpy"](ext_tensor)  # a capsule would lose the right to write
    else:
        if not hasattr(ext_tensor, "__dlpack__"):
            if type(ext_tensor).__name__ != "PyCapsule":
                raise RuntimeError(
                    f"from_dlpack received an invalid capsule (a {type(ext_tensor).__name__}). Note that DLTensor capsules can be consumed only once, so you might have already "
                    "constructed a tensor from it once."
                )
            ext_tensor = _Capsule(ext_tensor)
        try:
            array = np.from_dlpack(ext_tensor)
        except ValueError as error:
            if isinstance(ext_tensor, _Capsule):
                raise RuntimeError(f"from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once: call to_dlpack again ({error})") from None
            raise
        if not array.flags.writeable:
            array = _writable(array)
        t = wrap(array)
        t._storage = Storage(array)
    if copy:
        t = t.clone()
    if device is not None and exact(device) != t.device:
        if copy is False:
            raise ValueError(f"cannot move the tensor from {t.device} to {device} without a copy")
        t = t.to(device)
    return t


def _writable(array):
    """The same memory without the read-only flag that NumPy sets on what it imports; `array` is kept by it."""
    address = array.__array_interface__
    holder = _Interface({**address, "data": (address["data"][0], False)}, array)
    return np.asarray(holder)


class _Interface:
    def __init__(self, interface, keep):
        self.__array_interface__, self.keep = interface, keep


FUNCTIONS["utils.dlpack.from_dlpack"] = from_dlpack


@function(name="utils.dlpack.to_dlpack")
def to_dlpack(tensor):
    """A DLPack capsule over a tensor's memory."""
    return tensor.__dlpack__()


FUNCTIONS["to_dlpack"] = to_dlpack


@function
def frombuffer(buffer, *, dtype, count=-1, offset=0, requires_grad=False):
    """A 1-d tensor over the memory of an object with the buffer protocol; `count` elements from byte `offset` on.

    ValueError for what lies outside the buffer. Memory that is read-only gives a tensor that raises when it is written to.
    """
    try:
        view = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    size, item = view.nbytes, dtype.itemsize
    if size == 0 or count == 0:
        raise ValueError(f"both buffer length ({size}) and count ({count}) must not be 0")
    if not 0 <= offset < size:
        raise ValueError(f"offset ({offset} bytes) must be non-negative and no greater than buffer length ({size} bytes) minus 1")
    if count > 0 and offset + count * item > size:
        raise ValueError(
            f"requested buffer length ({count} * {item} bytes) after offset ({offset} bytes) must not be greater than actual buffer length ({size} bytes)"
        )
    if count < 0 and (size - offset) % item:
        raise ValueError(f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a multiple of element size ({item})")
    if requires_grad and dtype.category < D.FLOAT:
        raise RuntimeError(f"only Tensors of floating point and complex dtype can require gradients (asked for: {dtype})")
    if view.readonly:
        warnings.warn(
            "The given buffer is not writable, and PyTorch does not support non-writable tensors. Here writing to the tensor raises RuntimeError; copy the "
            "buffer first (bytearray(buffer)) to get a tensor that can be written to.",
            UserWarning,
            stacklevel=2,
        )
    count = (size - offset) // item if count < 0 else count
    flat = np.frombuffer(view.cast("B") if view.c_contiguous else bytes(view), np.uint8)
    data = flat[offset : offset + count * item].view(dtype.np)
    t = wrap(data)
    t._storage = Storage(data)
    return t.requires_grad_() if requires_grad else t
