"""Typed constructors of old programs (`torch.FloatTensor(2, 3)`), the constructor of Tensor, default dtype and device."""

from __future__ import annotations

import numpy as np

from rushlight.api.convert import legacy_type
from rushlight.api.creation import construct
from rushlight.backends.accelerator import active
from rushlight.bind import FUNCTIONS, METHODS, function
from rushlight.core import device as device_
from rushlight.core import dtype as D
from rushlight.core import promotion
from rushlight.core.naming import Public, published
from rushlight.core.shape import broadcast
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor


def _new(cls, *args, **kwargs):
    return construct(cls, *args, **kwargs)


METHODS["__new__"] = staticmethod(_new)


class _TypedMeta(Public):
    def __instancecheck__(cls, x):
        return isinstance(x, Tensor) and x.dtype is cls.dtype and x.is_cuda == cls.is_cuda

    def __subclasscheck__(cls, other):
        return other is cls


def _typed(dtype, is_cuda=False):
    name = dtype.legacy

    def __new__(cls, *args, device=None):
        if is_cuda and active() is None:
            raise TypeError(f"type torch.cuda.{name} not available. Torch not compiled with CUDA enabled.")
        t = construct(Tensor, *args, dtype=dtype)
        return t.cuda(device) if is_cuda else t

    return _TypedMeta(name, (), {"__new__": __new__, "dtype": dtype, "is_cuda": is_cuda, "__module__": "rushlight.cuda" if is_cuda else "rushlight", "__doc__": f"Tensors of {dtype}."})


TYPED = {d.legacy: _typed(d) for d in D.ALL.values() if d.legacy}
FUNCTIONS.update(TYPED)
FUNCTIONS.update({f"cuda.{d.legacy}": _typed(d, True) for d in D.ALL.values() if d.legacy})


@function
def set_default_dtype(d):
    """Set the dtype given to Python floats: float16, bfloat16, float32 or float64."""
    D.set_default_dtype(d)


@function
def get_default_dtype():
    """The dtype given to Python floats."""
    return D.get_default_dtype()


@function
def set_default_tensor_type(t):
    """set_default_dtype by the name of a tensor type, such as 'torch.DoubleTensor'."""
    d = legacy_type(t)
    if d.category != D.FLOAT:
        raise TypeError("only floating-point types are supported as the default type")
    D.set_default_dtype(d)


@function
def set_default_device(device):
    """Make factory functions put tensors on `device` when none is given."""
    device_.set_default(device)


@function
def get_default_device():
    """The device of factory functions when none is given."""
    return device_.get_default()


@function
def is_tensor(obj):
    """Whether obj is a Tensor."""
    return isinstance(obj, Tensor)


@function
def is_storage(obj):
    """Whether obj is a storage."""
    return type(obj).__name__ in ("UntypedStorage", "TypedStorage")


for _name in ("is_floating_point", "is_complex", "numel", "is_conj", "is_neg", "is_inference"):
    FUNCTIONS[_name] = getattr(Tensor, _name)


@function
def is_nonzero(input):
    """The truth of a single element."""
    if input.numel() != 1:
        raise RuntimeError(f"Boolean value of Tensor with {'no values' if input.numel() == 0 else 'more than one value'} is ambiguous")
    return bool(input)


METHODS["is_nonzero"] = is_nonzero


@function
def promote_types(type1, type2):
    """The least dtype that holds both."""
    return promotion.promote(type1, type2)


@function
def result_type(tensor1, tensor2):
    """The dtype of an arithmetic result of two operands (tensors or numbers)."""
    add = TABLE["add"]
    tensor1, tensor2 = (t.item() if isinstance(t, np.generic) else t for t in (tensor1, tensor2))
    return add.infer(add, (tensor1, tensor2), {}).dtype if isinstance(tensor1, Tensor) or isinstance(tensor2, Tensor) else promotion.result([], [], [D.of_scalar(tensor1), D.of_scalar(tensor2)])


@function
def can_cast(from_, to):
    """Whether results of dtype `from_` may be written into `to` under the promotion rules."""
    return promotion.can_cast(from_, to)


@function
def broadcast_shapes(*shapes):
    """The shape that shapes broadcast to."""
    from_ints = [(s,) if isinstance(s, int) else tuple(s) for s in shapes]
    return FUNCTIONS["Size"](broadcast(*from_ints) if from_ints else ())


class _Limits(metaclass=Public):
    """The limits of a dtype; equal where the dtype is."""

    def __eq__(self, other):
        return type(self) is type(other) and self.dtype == other.dtype

    def __hash__(self):
        return hash(self.dtype)


class finfo(_Limits):
    """The limits of a floating-point dtype: bits, eps, max, min, tiny, smallest_normal, resolution."""

    def __init__(self, type=None):
        d = D.get_default_dtype() if type is None else type
        if d.category < D.FLOAT:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{d!r}'")
        d = d.to_real()
        info = D.float_limits(d)
        self.bits = d.itemsize * 8
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(f"1e-{int(-np.log10(self.eps))}")  # decimal digits that are always exact
        self.dtype = d.name

    def __repr__(self):
        n = self
        return f"finfo(resolution={n.resolution:g}, min={n.min:g}, max={n.max:g}, eps={n.eps:g}, smallest_normal={n.smallest_normal:g}, tiny={n.tiny:g}, dtype={n.dtype})"


class iinfo(_Limits):
    """The limits of an integer dtype: bits, max, min."""

    def __init__(self, type):
        if type.category != D.INTEGER:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type!r}'")
        info = np.iinfo(type.np)
        self.bits, self.min, self.max, self.dtype = type.itemsize * 8, int(info.min), int(info.max), type.name

    def __repr__(self):
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


published(finfo, "finfo")
published(iinfo, "iinfo")
