"""The remaining families: reduction, scan, view, index, contraction, opaque, fused.

Each constructor states its family's shape and dtype rules once (`infer`) and enters rows. `numpy` is the row's NumPy
reading; views have none that computes: their reading returns memory of the input.

Rules.
- reduction(x; axes, keepdim): the reduced shape; `result` "same", "float", "bool", "index" (int64), "sum" (integers
  and bool become int64).
- view(x; attrs): `numpy` must return a view; the result shares storage, so nothing is computed or saved but specs.
- opaque: library calls (sort, linalg): `shape` says what comes out, fusion stops here.
- fused: one autograd node and a hand gradient; `reference` is the composite that it must equal.
"""

from __future__ import annotations

from rushlight.core import dtype as D
from rushlight.core.shape import reduced
from rushlight.ops.op import Spec, row
from rushlight.ops.pointwise import _LETTER, common, refused


def dtype_of(x):
    """The dtype of a tensor operand."""
    return D.BY_NUM[x._data.dtype.num]


def checked(op, dtype):
    """`dtype` where the op takes it; its refusal otherwise."""
    if _LETTER[dtype.category] not in op.dtypes:
        raise refused(op, dtype)
    return dtype


_RESULT = {
    "same": lambda d: d,
    "float": lambda d: d if d.category >= D.FLOAT else D.get_default_dtype(),
    "real": lambda d: d.to_real(),
    "bool": lambda d: D.bool_,
    "index": lambda d: D.int64,
    "sum": lambda d: d if d.category >= D.FLOAT else D.int64,
}


def _infer_reduction(op, args, attrs):
    x = args[0]
    dtype = attrs.get("dtype") or _RESULT[op.result](checked(op, dtype_of(x)))
    shape = reduced(x._data.shape, attrs["axes"], attrs["keepdim"])
    compute = None if op.stepwise else dtype.compute if op.result in ("same", "float", "sum") else dtype_of(x).compute
    return Spec(shape, dtype, compute)


def reduction(name, numpy, grad=(), **columns):
    """numpy(x, axes, keepdim) reduces the dimensions `axes` (a tuple of non-negative numbers)."""
    return row(name, "reduction", _infer_reduction, numpy=numpy, grads=grad, **columns)


def _infer_pair(op, args, attrs):
    x = args[0]
    dtype = checked(op, dtype_of(x))
    shape = reduced(x._data.shape, (attrs["axis"],), attrs["keepdim"])
    return (Spec(shape, dtype), Spec(shape, D.int64))


def reduction_with_index(name, numpy, grad=(), **columns):
    """numpy(x, axis, keepdim) gives the reduced values and the index of each."""
    return row(name, "reduction", _infer_pair, numpy=numpy, grads=grad, outputs=2, **columns)


def _infer_scan(op, args, attrs):
    dtype = attrs.get("dtype") or _RESULT[op.result](checked(op, dtype_of(args[0])))
    return Spec(args[0]._data.shape, dtype, dtype.compute)


def scan(name, numpy, grad=(), **columns):
    """numpy(x, axis) keeps the shape; element i along `axis` combines elements 0..i."""
    return row(name, "scan", _infer_scan, numpy=numpy, grads=grad, **columns)


def view(name, numpy, grad, **columns):
    """numpy(x, **attrs) returns a window on x's memory."""
    return row(name, "view", None, numpy=numpy, grads=grad, **columns)


def opaque(name, shape, numpy, grad=(), **columns):
    """shape(args, attrs) gives the Spec, or Specs, of what the library call numpy(*arrays, **attrs) returns."""
    family = columns.pop("family", "opaque")
    return row(name, family, lambda op, args, attrs: shape(args, attrs), numpy=numpy, grads=grad, **columns)


def fused(name, shape, numpy, grad=(), **columns):
    """One node for what is a composite: numpy(*arrays, **attrs) is the kernel, `reference` the composite."""
    return row(name, "fused", lambda op, args, attrs: shape(args, attrs), numpy=numpy, grads=grad, **columns)


def same_shape(result="same", compute=True):
    """A `shape` for opaque and fused rows: the first operand's shape, its dtype by `result`."""

    def shape(args, attrs):
        dtype = _RESULT[result](dtype_of(args[0]))
        return Spec(args[0]._data.shape, dtype, dtype.compute if compute else None)

    return shape


__all__ = ["checked", "common", "dtype_of", "fused", "opaque", "reduction", "reduction_with_index", "same_shape", "scan", "view"]
