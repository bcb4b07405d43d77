"""Element types.

A `DType` pairs PyTorch's name with the NumPy dtype that stores it. There is one object a type, so `is` compares
them, and `BY_NUM` finds the object for an array in one list-free look-up (`array.dtype.num`).

Invariants: `category` orders the kinds for promotion (bool 0 < integer 1 < float 2 < complex 3); the half types and
the float8 types are stored through ml_dtypes and computed in float32 (`compute`).
"""

from __future__ import annotations

import math
from functools import cache

import ml_dtypes
import numpy as np

from rushlight.core.naming import Public, published

BOOL, INTEGER, FLOAT, COMPLEX = range(4)


class DType(metaclass=Public):
    """An element type, such as `rushlight.float32`."""

    __slots__ = ("name", "np", "category", "itemsize", "legacy", "is_signed", "compute")

    def __init__(self, name, np_dtype, category, legacy=None):
        self.name, self.category, self.legacy = name, category, legacy
        self.np = np.dtype(np_dtype)
        self.itemsize = self.np.itemsize
        self.is_signed = not (category == BOOL or name.startswith("uint"))
        self.compute = self  # the type that arithmetic on it runs in; set below for the half types

    @property
    def is_floating_point(self):
        return self.category == FLOAT

    @property
    def is_complex(self):
        return self.category == COMPLEX

    @property
    def title(self):
        """Its name in PyTorch's error texts: Float, Long, ComplexDouble."""
        return self.legacy[:-6] if self.legacy else f"UInt{self.name[4:]}" if self.name.startswith("uint") else self.name.capitalize()

    @property
    def c_name(self):
        """Its C++ type as PyTorch's error texts spell it: float, long int, c10::complex<double>."""
        return _C_NAMES.get(self.name) or f"c10::{self.title}"

    def to_real(self):
        return {"complex32": float16, "complex64": float32, "complex128": float64}.get(self.name, self)

    def to_complex(self):
        return {"float16": complex32, "complex32": complex32, "float64": complex128, "complex128": complex128}.get(self.name, complex64)

    def __getattr__(self, name):
        if name in ("np", "compute"):
            raise NotImplementedError(f"torch.{self.name} is not implemented in rushlight: {_REASONS[self.name]}")
        raise AttributeError(f"'torch.dtype' object has no attribute '{name}'")

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return (named, (self.name,))

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self


published(DType, "dtype")


_C_NAMES = {
    "float32": "float", "float64": "double", "int64": "long int", "int32": "int", "int16": "short int", "int8": "signed char",
    "uint8": "unsigned char", "uint16": "short unsigned int", "uint32": "unsigned int", "uint64": "long unsigned int", "bool": "bool",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
}  # fmt: skip

_REASONS = {}  # of the dtypes that are names only


def name_only(name, itemsize, category, reason):
    """A dtype that programs may name, compare and look up, but in which nothing is stored: every use says so."""
    d = object.__new__(DType)  # without `np` and `compute`: DType.__getattr__ answers for them
    d.name, d.itemsize, d.category, d.legacy = name, itemsize, category, None
    d.is_signed = not name.startswith(("uint", "bits"))
    _REASONS[name] = reason
    return d


def named(name):
    """The dtype called `name` (pickling and string look-ups)."""
    return ALL[name]


# fmt: off
bool_      = DType("bool",       np.bool_,      BOOL,    "BoolTensor")
uint8      = DType("uint8",      np.uint8,      INTEGER, "ByteTensor")
int8       = DType("int8",       np.int8,       INTEGER, "CharTensor")
int16      = DType("int16",      np.int16,      INTEGER, "ShortTensor")
int32      = DType("int32",      np.int32,      INTEGER, "IntTensor")
int64      = DType("int64",      np.int64,      INTEGER, "LongTensor")
uint16     = DType("uint16",     np.uint16,     INTEGER)
uint32     = DType("uint32",     np.uint32,     INTEGER)
uint64     = DType("uint64",     np.uint64,     INTEGER)
float16    = DType("float16",    np.float16,    FLOAT,   "HalfTensor")
bfloat16   = DType("bfloat16",   ml_dtypes.bfloat16, FLOAT, "BFloat16Tensor")
float32    = DType("float32",    np.float32,    FLOAT,   "FloatTensor")
float64    = DType("float64",    np.float64,    FLOAT,   "DoubleTensor")
complex64  = DType("complex64",  np.complex64,  COMPLEX, "ComplexFloatTensor")
complex128 = DType("complex128", np.complex128, COMPLEX, "ComplexDoubleTensor")
float8_e4m3fn   = DType("float8_e4m3fn",   ml_dtypes.float8_e4m3fn,   FLOAT)
float8_e4m3fnuz = DType("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, FLOAT)
float8_e5m2     = DType("float8_e5m2",     ml_dtypes.float8_e5m2,     FLOAT)
float8_e5m2fnuz = DType("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, FLOAT)
float8_e8m0fnu  = DType("float8_e8m0fnu",  ml_dtypes.float8_e8m0fnu,  FLOAT)
# fmt: on
FLOAT8 = (float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu)
for _half in (float16, bfloat16, *FLOAT8):
    _half.compute = float32

_HALF_COMPLEX = "there is no half-precision complex type here; use torch.complex64 (x.cfloat())"
_QUANTIZED = "there are no quantized tensors here; use torch.int8 or torch.uint8"
_PACKED = "there are no types of less than a byte here; use torch.int8 or torch.uint8"
_BITS = "there are no types of bits here; use torch.uint8 or torch.int16"
complex32 = name_only("complex32", 4, COMPLEX, _HALF_COMPLEX)
for _name, _size in (("quint8", 1), ("qint8", 1), ("qint32", 4), ("quint4x2", 1), ("quint2x4", 1)):
    globals()[_name] = name_only(_name, _size, INTEGER, _QUANTIZED)
for _name in [f"{sign}int{n}" for sign in ("u", "") for n in range(1, 8)]:
    globals()[_name] = name_only(_name, 1, INTEGER, _PACKED)
for _name in ("bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"):
    globals()[_name] = name_only(_name, 2 if _name == "bits16" else 1, INTEGER, _BITS)
float4_e2m1fn_x2 = name_only("float4_e2m1fn_x2", 1, FLOAT, _PACKED)

ALL = {d.name: d for d in list(globals().values()) if isinstance(d, DType)}
#: further names of the same objects
ALIASES = {
    "float": float32, "double": float64, "half": float16, "short": int16, "int": int32, "long": int64,
    "cfloat": complex64, "cdouble": complex128, "chalf": complex32,
}  # fmt: skip
def is_half(array):
    """Whether an array holds a type that is computed in a wider one."""
    d = BY_NUM[array.dtype.num]
    return d.compute is not d


BY_NUM = {d.np.num: d for d in ALL.values() if d.name not in _REASONS}
# long and long long are the same width under two numbers
for _c in "bBhHiIlLqQ":
    BY_NUM.setdefault(np.dtype(_c).num, BY_NUM[np.dtype(f"{'u' if _c.isupper() else 'i'}{np.dtype(_c).itemsize}").num])
BY_LEGACY = {d.legacy: d for d in ALL.values() if d.legacy}


def of(np_dtype):
    """The dtype stored as `np_dtype`; TypeError with the list of supported ones otherwise."""
    np_dtype = np.dtype(np_dtype)
    found = BY_NUM.get(np_dtype.num)
    if found is not None and not np_dtype.isnative:
        raise ValueError("given numpy array has byte order different from the native byte order. Conversion between byte orders is not supported: write array.astype(array.dtype.newbyteorder('='))")
    if found is None:
        raise TypeError(
            f"can't convert np.ndarray of type {np_dtype}. The only supported types are: float64, float32, float16, "
            "complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool. "
            "Convert the array first, for example with array.astype('float32')."
        )
    return found


def float_limits(dtype):
    """eps, min, max and so on of a floating dtype."""
    return np.finfo(dtype.np) if dtype.np.num < 256 else ml_dtypes.finfo(dtype.np)


def of_scalar(value):
    """The dtype that a Python number stands for: bool, int64, the default float or its complex."""
    kind = type(value)
    if kind is float:
        return _default
    if kind is bool:
        return bool_
    if kind is int:
        return int64
    if kind is complex:
        return _default.to_complex()
    if isinstance(value, np.generic):
        return of(value.dtype)
    if isinstance(value, bool):
        return bool_
    if isinstance(value, int):
        return int64
    return _default.to_complex() if isinstance(value, complex) else _default


_default = float32


def get_default_dtype():
    """The floating-point dtype given to Python floats and to results of integer arithmetic that is not exact."""
    return _default


def set_default_dtype(dtype):
    """Set the default floating-point dtype. TypeError unless `dtype` is float16, bfloat16, float32 or float64."""
    global _default
    if not isinstance(dtype, DType):
        raise TypeError(f"invalid dtype object: only floating-point types are supported as the default type, got {dtype!r}")
    if dtype not in (float16, bfloat16, float32, float64):
        raise TypeError("only floating-point types are supported as the default type")
    _default = dtype


def filled(dtype, size=1):
    """The type whose range a number must keep to that is written over `size` elements of `dtype`: one of the half types or
    float8 takes any, as PyTorch writes single numbers without its fill kernel.
    """
    return dtype if size != 1 or dtype.compute is dtype else float64


@cache
def _largest(dtype):
    """The largest finite number of a floating or complex type, and whether it has infinities."""
    real = dtype.to_real()
    return float(float_limits(real).max), real is not float8_e4m3fn and real is not float8_e8m0fnu and "fnuz" not in real.name


def number_for(value, dtype, name=None, within=None):
    """The Python number `value` as `dtype` holds it, RuntimeError where it does not: for numbers written into tensors.

    A float is cut off; a negative int becomes what it is modulo 2 ** bits in an unsigned type, as in C; nothing else is
    changed silently. Floating dtypes take what is within their range (that of the type `within`, where it is given) and
    infinities, bool takes every number.
    """
    category, kind = dtype.category, type(value)
    if category == BOOL:
        return value
    if category >= FLOAT and (kind is not complex or category == COMPLEX):
        high, infinite = _largest(within or dtype)
        size = max(abs(value.real), abs(value.imag)) if kind is complex else abs(value)
        if not size > high or infinite and size == math.inf:
            return value
        name = name or (within or dtype).c_name
    if kind is not complex:
        bits = 8 * dtype.itemsize - dtype.is_signed
        high = (1 << bits) - 1
        low = -high - 1 if dtype.is_signed else 0 if isinstance(value, float) else -high
        if low <= value <= high:  # False of NaN
            return int(value) if dtype.is_signed else int(value) & high
    stored = name or {"int32": "int"}.get(dtype.name, f"{dtype.name}_t" if category == INTEGER else dtype.name)
    raise RuntimeError(f"value cannot be converted to type {stored} without overflow: {value!r} for a tensor of {dtype!r}")
