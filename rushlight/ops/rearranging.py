"""Rows that read and write at flat places, at masks and through windows: take, put, masked_scatter, the *_scatter family.

A `*_scatter` row is the copy of `x` with `src` written where a view of the same attributes would read: `window` finds
that view. Its gradients are the incoming one with zeros there (for x) and the window of it (for src), so each can be
differentiated to any order. Bounds and shapes are checked in api/placing.py.
"""

from __future__ import annotations

import math

import numpy as np

from rushlight.core import dtype as D
from rushlight.core.shape import broadcast
from rushlight.ops.families import checked, dtype_of, opaque
from rushlight.ops.indexing import SCATTER_REDUCE
from rushlight.ops.op import Spec, row
from rushlight.ops.pointwise import _REAL, pointwise
from rushlight.ops.views import DIAGONAL


def _same(args, attrs):
    return Spec(args[0]._data.shape, dtype_of(args[0]))


# ---- flat places -----------------------------------------------------------------------------------------------


def _take_spec(args, attrs):
    return Spec(args[1]._data.shape, dtype_of(args[0]))


def _put(x, index, src, accumulate):
    out = x.copy(order="C")
    flat, index, src = out.reshape(-1), index.reshape(-1), src.reshape(-1)
    if not accumulate:
        flat[index] = src
    elif flat.dtype.num >= 256 or flat.dtype == np.float16:  # half types add up in float32
        wide = flat.astype(np.float32)
        np.add.at(wide, index, src.astype(np.float32))
        flat[...] = wide
    else:
        np.add.at(flat, index, src)
    return out


def _put_back(g, index, accumulate, src_spec):
    return g if accumulate else g.put(index, g.new_zeros(src_spec.shape), False)


# ---- masks -----------------------------------------------------------------------------------------------------


def _masked_spec(args, attrs):
    return Spec(broadcast(args[0]._data.shape, args[1]._data.shape), dtype_of(args[0]))


def _masked_scatter(x, mask, src):
    shape = broadcast(x.shape, mask.shape)
    out = np.array(np.broadcast_to(x, shape))
    mask = np.broadcast_to(mask, shape)
    out[mask] = src.reshape(-1)[: np.count_nonzero(mask)]
    return out


def _masked_source(g, mask, src_spec):
    """What the mask selects of g, put where it was taken from: the first elements of src."""
    used = g.masked_select(mask)
    rest = g.new_zeros((math.prod(src_spec.shape) - used.numel(),))
    return used._cat(rest, 0).reshape(src_spec.shape)


# ---- windows ---------------------------------------------------------------------------------------------------


def _scattered(window):
    def numpy(x, src, **attrs):
        out = x.copy(order="K")
        window(out, **attrs)[...] = src
        return out

    return numpy


def _strided_window(x, shape, strides, offset):
    flat = x.reshape(-1)
    item = x.itemsize
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, tuple(s * item for s in strides))


def _strided_scatter(x, src, shape, strides, offset):
    out = x.copy(order="C")
    _strided_window(out, shape, strides, offset)[...] = src
    return out


def _key_x(g, key):
    return g._scattered_key(key, None)


def _diagonal_x(g, src_spec, offset, dim1, dim2):
    return g.diagonal_scatter(g.new_zeros(src_spec.shape), offset, dim1, dim2)


def _strided_x(g, shape, strides, offset):
    return g.as_strided_scatter(g.new_zeros(shape), shape, strides, offset)


def _strided_src(g, shape, strides, offset):
    return g.contiguous().as_strided(shape, strides, offset)


# ---- parts of numbers ------------------------------------------------------------------------------------------


def _frexp_spec(op, args, attrs):
    x = args[0]
    dtype = checked(op, dtype_of(x))
    return (Spec(x._data.shape, dtype), Spec(x._data.shape, D.int32))


def _frexp(x):
    wide = x.astype(np.float32) if x.dtype.num >= 256 else x
    mantissa, exponent = np.frexp(wide)
    return mantissa, np.asarray(exponent, np.int32)


def _frexp_back(g, out1):
    """The mantissa is x / 2 ** exponent, piecewise linear in x."""
    return g[0] / out1.to(g[0].dtype).exp2()


def _complex_spec(args, attrs):
    x, y = args
    return Spec(broadcast(x._data.shape, y._data.shape), dtype_of(x).to_complex())


def _join_complex(x, y):
    out = np.empty(broadcast(x.shape, y.shape), np.result_type(x.dtype, np.complex64))
    out.real, out.imag = x, y
    return out


def _polar_angle(g, out):
    """d(r e^(it))/dt = i out, so the real part of g times its conjugate."""
    return (g * (out * 1j).conj()).real


def _polar_abs(g, out):
    return (g * out.sgn().conj()).real


def _sinc(s, x):
    y = x * math.pi
    return s.where(y == 0, s.cos(y * 0), s.sin(y) / s.where(y == 0, s.cos(y * 0), y))


def _sinc_back(g, x):
    y = x * math.pi
    slope = (y.cos() * y - y.sin()) / (y * x)
    return g * slope.where(x != 0, 0)


# fmt: off
TAKE = opaque("take", _take_spec, lambda x, index: x.reshape(-1)[index], (lambda g, index, x_spec: g.new_zeros(x_spec.shape).put(index, g, True), None), inputs=("x", "index"), family="index", analytic=False, apart=0)
PUT = opaque("put", _same, _put, (_put_back, None, lambda g, index, src_spec: g.take(index).reshape(src_spec.shape)), inputs=("x", "index", "src"), family="index", analytic=False, apart=1)
MASKED_SCATTER = opaque("masked_scatter", _masked_spec, _masked_scatter, (lambda g, mask: g.masked_fill(mask, 0), None, _masked_source), inputs=("x", "mask", "src"), family="index", analytic=False)
INDEX_REDUCE = opaque("index_reduce", _same, SCATTER_REDUCE.numpy, SCATTER_REDUCE.grads, inputs=("x", "index", "src"), family="index", apart=1)
SELECT_SCATTER = opaque("select_scatter", _same, _scattered(lambda x, key: x[key]), (_key_x, lambda g, key: g[key]), inputs=("x", "src"), family="index", analytic=False)
SLICE_SCATTER = opaque("slice_scatter", _same, _scattered(lambda x, key: x[key]), (_key_x, lambda g, key: g[key]), inputs=("x", "src"), family="index", analytic=False)
DIAGONAL_SCATTER = opaque("diagonal_scatter", _same, _scattered(DIAGONAL.numpy), (_diagonal_x, lambda g, offset, dim1, dim2: g.diagonal(offset, dim1, dim2)), inputs=("x", "src"), family="index", analytic=False)
STRIDED_SCATTER = opaque("as_strided_scatter", _same, _strided_scatter, (_strided_x, _strided_src), inputs=("x", "src"), family="index", analytic=False)
FREXP = row("frexp", "opaque", _frexp_spec, numpy=_frexp, grads=(_frexp_back,), outputs=2, dtypes="f", exact=True)
COMPLEX = opaque("complex", _complex_spec, _join_complex, (lambda g: g.real, lambda g: g.imag), inputs=("x", "y"), analytic=False)
POLAR = opaque("polar", _complex_spec, lambda x, y: _join_complex(x * np.cos(y), x * np.sin(y)), (_polar_abs, _polar_angle), inputs=("x", "y"), analytic=False)
pointwise("sinc",    _sinc,                                 _sinc_back, result="float")
pointwise("deg2rad", lambda s, x: x * (math.pi / 180),      lambda g: g * (math.pi / 180), result="float", dtypes=_REAL, node="Deg2RadBackward0")
pointwise("rad2deg", lambda s, x: x * (180 / math.pi),      lambda g: g * (180 / math.pi), result="float", dtypes=_REAL, node="Rad2DegBackward0")
# fmt: on
