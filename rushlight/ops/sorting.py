"""Rows that order elements: sort, topk, kthvalue, cummax and cummin. All give values and indices.

NaN counts as larger than every number. The half types are ordered as float32.
"""

from __future__ import annotations

import numpy as np

from rushlight.core import dtype as D
from rushlight.ops.families import checked, dtype_of
from rushlight.ops.op import Spec, row
from rushlight.ops.reductions import wide


def _pair_spec(op, args, attrs):
    d = checked(op, dtype_of(args[0]))
    shape = args[0]._data.shape
    return (Spec(shape, d), Spec(shape, D.int64))


def _order(x, axis, descending, stable=True):
    """Indices that sort x along `axis`; equal elements keep their order in both directions."""
    x = wide(x)
    if not descending:
        return np.argsort(x, axis, kind="stable")
    n = x.shape[axis]
    reverse = np.argsort(np.flip(x, axis), axis, kind="stable")
    return np.flip(n - 1 - reverse, axis)


def _sort(x, axis, descending, stable):
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    index = _order(x, axis, descending)
    return np.take_along_axis(x, index, axis), index


def _taken_spec(op, args, attrs):
    d = checked(op, dtype_of(args[0]))
    shape, axis = args[0]._data.shape, attrs["axis"]
    shape = shape[:axis] + (attrs["k"],) + shape[axis + 1 :] if shape else ()
    return (Spec(shape, d), Spec(shape, D.int64))


def _topk(x, axis, k, largest, sorted):
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    w = wide(x)
    n = x.shape[axis]
    if k < n // 4 and n > 256:  # select first, then order only what was selected
        split = n - k if largest else k - 1
        index = np.argpartition(w, split, axis)
        index = np.sort(np.take(index, np.arange(n - k, n) if largest else np.arange(k), axis), axis)
        inner = _order(np.take_along_axis(w, index, axis), axis, largest)
        index = np.take_along_axis(index, inner, axis)
    else:
        index = np.take(_order(w, axis, largest), np.arange(k), axis)
    return np.take_along_axis(x, index, axis), index


def _kth_spec(op, args, attrs):
    d = checked(op, dtype_of(args[0]))
    shape, axis = args[0]._data.shape, attrs["axis"]
    shape = (shape[:axis] + ((1,) if attrs["keepdim"] else ()) + shape[axis + 1 :]) if shape else ()
    return (Spec(shape, d), Spec(shape, D.int64))


def _kthvalue(x, axis, k, keepdim):
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    index = np.take(_order(x, axis, False), [k - 1], axis)
    value = np.take_along_axis(x, index, axis)
    return (value, index) if keepdim else (value.squeeze(axis), index.squeeze(axis))


def _cumulative(ufunc, better):
    def numpy(x, axis):
        if x.ndim == 0:
            return x.copy(), np.zeros((), np.int64)
        w = wide(x)
        best = ufunc.accumulate(w, axis)
        n = x.shape[axis]
        shape = [1] * x.ndim
        shape[axis] = n
        at = np.arange(n).reshape(shape)
        hit = (w == best) | (w != w)
        return best.astype(x.dtype), np.maximum.accumulate(np.where(hit, at, 0), axis)

    return numpy


def _back(g, out1, x_spec, axis):
    """The gradient of the values (the first of the results), each added where its value came from."""
    if not x_spec.shape:
        return g[0]
    return g[0].new_zeros(x_spec.shape).scatter_add(axis, out1, g[0])


def _kth_back(g, out1, x_spec, axis, keepdim):
    if x_spec.shape and not keepdim:
        g, out1 = [g[0].unsqueeze(axis)], out1.unsqueeze(axis)
    return _back(g, out1, x_spec, axis)


# fmt: off
SORT   = row("sort",     "opaque", _pair_spec,  inputs=("x",), numpy=_sort,     grads=(_back,), outputs=2, analytic=False, dtypes="bif")
TOPK   = row("topk",     "opaque", _taken_spec, inputs=("x",), numpy=_topk,     grads=(_back,), outputs=2, analytic=False, dtypes="bif")
KTH    = row("kthvalue", "opaque", _kth_spec,   inputs=("x",), numpy=_kthvalue, grads=(_kth_back,), outputs=2, analytic=False, dtypes="if")
CUMMAX = row("cummax",   "scan",   _pair_spec,  inputs=("x",), numpy=_cumulative(np.maximum, np.greater_equal), grads=(_back,), outputs=2, analytic=False, dtypes="bif")
CUMMIN = row("cummin",   "scan",   _pair_spec,  inputs=("x",), numpy=_cumulative(np.minimum, np.less_equal), grads=(_back,), outputs=2, analytic=False, dtypes="bif")
# fmt: on
