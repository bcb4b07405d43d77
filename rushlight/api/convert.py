"""Changing dtype, device and layout, copying, and handing values to Python and NumPy."""

from __future__ import annotations

import numpy as np

from rushlight.api.devices import exact, moved
from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import record
from rushlight.backends.compiled import LARGE
from rushlight.bind import both, function, method
from rushlight.core import device as device_
from rushlight.core import dtype as D
from rushlight.core.layout import MemoryFormat
from rushlight.core.shape import dense
from rushlight.core.warning import once
from rushlight.core.window import element_strides
from rushlight.dispatch import InPlace, apply, check_history, check_memory, kind_of, node_of
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, needs, share

CLONE, CAST, COPY, FILL, ZERO, TO_DEVICE = (TABLE[n] for n in ("clone", "cast", "copy", "fill", "zero", "to_device"))
_LARGEST = float(np.finfo(np.float32).max)  # what is within needs no second look


def _order(memory_format, ndim):
    if memory_format is None or memory_format.name == "preserve_format":
        return None
    if memory_format.order is None:
        return "C"
    if len(memory_format.order) != ndim:
        raise RuntimeError(f"required rank {len(memory_format.order)} tensor to use {memory_format.name} format, found {ndim} dimensions")
    return memory_format.order


@both
def clone(input, *, memory_format=None):
    """A copy with memory of its own, recorded; preserves the layout unless `memory_format` says otherwise."""
    if not isinstance(input, Tensor):
        raise TypeError(f"clone(): argument 'input' (position 1) must be Tensor, not {kind_of(input)}")
    return apply(CLONE, (input,), {"order": _order(memory_format, input._data.ndim)})


@method
def contiguous(self, memory_format=None):
    """The tensor itself if it is contiguous, else a contiguous copy."""
    if self.is_contiguous(memory_format):
        return self
    order = getattr(memory_format, "order", None)
    return apply(CLONE, (self,), {"order": "C" if order is None else _order(memory_format, self._data.ndim)})


def cast(x, dtype):
    """x in another dtype, recorded."""
    if x.dtype.category == D.COMPLEX and dtype.category < D.COMPLEX:
        once("complex to real", "Casting complex values to real discards the imaginary part", 4)
    return apply(CAST, (x,), {"dtype": dtype})


def _target(args, kwargs):
    """(dtype, device) of x.to(...) in all its forms."""
    dtype, device = kwargs.pop("dtype", None), kwargs.pop("device", None)
    positional = [a for a in args if not isinstance(a, bool)]
    if "other" in kwargs:
        positional.insert(0, kwargs.pop("other"))
    for a in positional:
        if isinstance(a, Tensor):
            dtype, device = a.dtype, a.device
        elif a.__class__ is D.DType:
            dtype = a
        elif isinstance(a, (str, device_.Device)) or type(a) is int:
            device = a
        elif a is None or isinstance(a, MemoryFormat):
            continue
        elif a in (float, int, bool, complex):
            dtype = {float: D.float64, int: D.int64, bool: D.bool_, complex: D.complex128}[a]
        else:
            raise TypeError(f"to() received an invalid combination of arguments - got ({', '.join(type(v).__name__ for v in args)}); write x.to(dtype), x.to(device) or x.to(other)")
    return dtype, device


@method
def to(self, *args, non_blocking=False, copy=False, memory_format=None, **kwargs):
    """The tensor in another dtype, on another device, or both: x.to(torch.float64), x.to('cpu'), x.to(other).

    Returns the tensor itself where nothing changes and `copy` is False.
    """
    if len(args) == 1 and not kwargs and args[0].__class__ is D.DType and not copy and memory_format is None:
        dtype = args[0]
        return self if self._data.dtype.num == dtype.np.num else apply(CAST, (self,), {"dtype": dtype})
    copy = copy or any(a is True for a in args[-1:]) and len([a for a in args if isinstance(a, bool)]) > 1
    dtype, device = _target(args, kwargs)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    x = self
    if device is not None:
        device = exact(device)
        if device != x.device:
            x = _to_device(x, device)
    if dtype is not None and x.dtype is not dtype:
        x = apply(CAST, (x,), {"dtype": dtype})
    if memory_format is not None and memory_format.name != "preserve_format" and not _lies_in(x, memory_format):
        x = clone(x, memory_format=memory_format)
    return clone(x) if copy and x is self else x


def _lies_in(x, memory_format):
    """Whether memory runs as `memory_format` says, strides of dimensions of size 1 included."""
    if memory_format.order is None or not x.is_contiguous(memory_format):
        return x.is_contiguous(memory_format)
    order, strides = memory_format.order, element_strides(x._data)
    return tuple(strides[d] for d in order) == dense([x._data.shape[d] for d in order])


def _to_device(x, device):
    t = moved(x, device)
    if STATE.grad and needs(x):
        t._node, t._rg = record(node_of(TO_DEVICE), (x,), {"device": x.device}), True
    return t


@method
def type(self, dtype=None, non_blocking=False):
    """Without an argument its name, such as 'torch.FloatTensor'; with one, the tensor in that type."""
    if dtype is None:
        prefix = "torch.cuda." if self.is_cuda else "torch."
        return f"{prefix}{self.dtype.legacy or self.dtype.name}"
    wanted = legacy_type(dtype)
    if dtype.__class__ is D.DType or dtype in (float, int, bool):
        return self.to(wanted)
    on_cuda = getattr(dtype, "is_cuda", None) or isinstance(dtype, str) and dtype.startswith("torch.cuda.")
    return self.to(dtype=wanted, device=self.device if on_cuda and self.is_cuda else "cuda" if on_cuda else "cpu")


def legacy_type(dtype):
    """A dtype from 'torch.DoubleTensor', torch.DoubleTensor, a Python type or a dtype."""
    if dtype.__class__ is D.DType:
        return dtype
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", None)
    if dtype in (float, int, bool):
        return {float: D.float64, int: D.int64, bool: D.bool_}[dtype]
    short = str(name).rpartition(".")[2]
    found = D.BY_LEGACY.get(short)
    if found is None:
        raise ValueError(f"invalid type: '{name}'")
    return found


@method
def type_as(self, other):
    """The tensor in the dtype and on the device of `other`."""
    return self.to(other)


for _name, _dtype in {
    "float": D.float32, "double": D.float64, "half": D.float16, "bfloat16": D.bfloat16, "int": D.int32, "long": D.int64,
    "short": D.int16, "char": D.int8, "byte": D.uint8, "bool": D.bool_, "cfloat": D.complex64, "cdouble": D.complex128,
}.items():  # fmt: skip

    def _cast_method(self, *, memory_format=None, _dtype=_dtype):
        return self.to(_dtype) if memory_format is None else self.to(dtype=_dtype, memory_format=memory_format)

    _cast_method.__name__ = _cast_method.__qualname__ = _name
    _cast_method.__doc__ = f"The tensor as {_dtype}; itself if it is already."
    method(_cast_method)


@method
def cpu(self, memory_format=None):
    """The tensor on the CPU; itself if it is there."""
    return self.to("cpu", memory_format=memory_format)


@method
def cuda(self, device=None, non_blocking=False, memory_format=None):
    """The tensor on a CUDA device."""
    return self.to(device_.Device("cuda" if device is None else device))


@method
def copy_(self, src, non_blocking=False):
    """Write the values of `src` (broadcast, cast) into this tensor."""
    if src.__class__ is Tensor and _plainly_written(self):
        x, y = self._data, src._data
        if y.__class__ is np.ndarray and x.dtype is y.dtype and x.shape == y.shape and x.size < LARGE and not (src._rg or src._base is not None) and (src._storage is None or src._storage is not self._storage):
            np.copyto(x, y)
            self._shared().version += 1
            return self
    if not isinstance(src, Tensor):
        if isinstance(src, (bool, int, float, complex)):
            return fill_(self, src)
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {src.__class__.__name__}")
    if src.device != self.device:
        src = src.to(self.device)
    return apply(COPY, (self, src), out=InPlace(self))


def _plainly_written(x):
    """Whether writing to `x` needs no more than its memory and its version."""
    data = x._data
    if modes.diverted or data.__class__ is not np.ndarray or x._hist is None or (x._rg or x._base is not None) and STATE.grad:
        return False
    return data.flags.writeable and data.flags.c_contiguous


@method
def fill_(self, value):
    """Set every element to `value`, a number or a 0-dim tensor."""
    if value.__class__ is float and -_LARGEST <= value <= _LARGEST and _plainly_written(self) and self._data.dtype in (np.float32, np.float64):
        self._data.fill(value)
        self._shared().version += 1
        return self
    if isinstance(value, Tensor):
        if value._data.ndim:
            raise RuntimeError(f"fill_ only supports 0-dimension value tensor but got tensor with {value._data.ndim} dimensions.")
        if needs(value) or needs(self):
            return apply(TABLE["fill_tensor"], (self, value), out=InPlace(self))
        value, size = value.item(), 1
    else:
        size = self._data.size
    if self._data.dtype.kind != "f":
        value = D.number_for(value, self.dtype, within=D.filled(self.dtype, size))
    elif isinstance(value, complex) or not -_LARGEST <= value <= _LARGEST or self._data.dtype.itemsize == 2:
        D.number_for(value, self.dtype, within=D.filled(self.dtype, size))
    return apply(FILL, (self,), {"value": value}, out=InPlace(self))


@function
def fill(input, value):
    """A copy of `input` with every element `value`."""
    return clone(input).fill_(value)


@both(name="zero_")
def zero_(input):
    """Set every element to 0."""
    data = input._data
    if modes.diverted or (input._rg or input._base is not None) and STATE.grad or data.__class__ is not np.ndarray or 0 in data.strides:
        return apply(ZERO, (input,), {}, out=InPlace(input))
    check_history(input, False)
    check_memory(input)
    data.fill(0)
    input._shared().version += 1
    return input


# ---- host ------------------------------------------------------------------------------------------------------


@method
def numpy(self, *, force=False):
    """The values as an ndarray over the same memory.

    RuntimeError for a tensor that requires grad and TypeError for one that is not on the CPU, unless `force`.
    """
    if force:
        return np.asarray(self.detach().cpu()._data)
    if needs(self):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    data = self._data
    if data.__class__ is not np.ndarray:
        if modes.diverted and STATE.backend is not None:
            return STATE.backend.numpy(self)
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")
    if data.dtype.kind == "V" or data.dtype.num >= 256:
        raise TypeError(f"Got unsupported ScalarType {self.dtype.title}; write x.float().numpy()")
    self._shared()
    return data


@method
def __array__(self, dtype=None, copy=None):
    if needs(self):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    data = numpy(self)
    if dtype is not None and data.dtype != dtype:
        return data.astype(dtype)
    return data.copy() if copy else data


@method
def __array_wrap__(self, array, context=None, return_scalar=False):
    if array.dtype == bool:
        array = array.astype("uint8")
    return function_tensor(array)


def function_tensor(array):
    """A tensor over an ndarray that NumPy made (results of NumPy functions applied to tensors)."""
    from_array = Tensor._make_subclass
    base = object.__new__(Tensor)
    base._data = np.asarray(array)
    base._storage = base._node = base._grad = base._base = base._hooks = None
    base._rg, base._hist = False, 0
    return base if from_array else None


@method
def tolist(self):
    """The values as nested Python lists, or a number for a 0-dim tensor."""
    data = self._data
    if data.__class__ is not np.ndarray:
        data = data.host()
    if data.dtype.num >= 256:
        data = data.astype(np.float32)
    return data.tolist()


@method
def _laid_out(self, strides):
    """A copy whose memory has the given strides (for the transposes of windows)."""
    return apply(TABLE["lay_out"], (self,), {"strides": tuple(strides)})


@method
def _place(self, key, shape):
    """Zeros of `shape` with this tensor at `key`: the transpose of indexing by slices and ints."""
    return apply(TABLE["place"], (self,), {"key": key, "shape": tuple(shape)})


@method
def _put_window(self, strides, offset, base):
    """The transpose of as_strided: zeros of the base's layout with this tensor added in the window."""
    attrs = {"strides": tuple(strides), "offset": offset, "base_shape": tuple(base[0]), "base_strides": tuple(base[1])}
    return apply(TABLE["put_window"], (self,), attrs)


__all__ = ["cast", "element_strides", "legacy_type", "share"]
