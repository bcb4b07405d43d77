"""Rows that order elements: sort, topk, kthvalue, cummax and cummin. All give values and indices.

NaN counts as larger than every number. The half types are ordered as float32.

Equal elements: NumPy's order is stable, PyTorch's is what its algorithm leaves (core/selection.py), which is followed
element by element where equals are met and it decides about the result. PyTorch promises nothing about that order, so
beyond `_STEPS` elements, where following it would take long, equals stay as they were.
"""

from __future__ import annotations

import numpy as np

from rushlight.core import dtype as D
from rushlight.core import selection
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


_STEPS = 1 << 17  # elements of rows with equals that are followed one by one; a sort takes about 16 times as long for each


def _by_row(x, axis):
    """The rows along `axis` as a matrix."""
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])


def _back_in_place(rows, like, axis):
    """A matrix of rows as the array that they were taken from (of any length)."""
    moved = np.moveaxis(like, axis, -1).shape[:-1]
    return np.moveaxis(rows.reshape(*moved, rows.shape[1]), -1, axis)


def _keys(row, descending):
    """Integers in the order of the elements, equal where those are; NaN last (first if descending)."""
    keys = np.unique(row, return_inverse=True)[1].reshape(-1)
    return -keys if descending else keys


def _repeated(x, index, axis):
    """Which rows of elements in order hold equal ones."""
    ordered = _by_row(np.take_along_axis(x, index, axis), axis)
    same = ordered[:, 1:] == ordered[:, :-1]
    if x.dtype.kind == "f":
        same |= np.isnan(ordered[:, 1:]) & np.isnan(ordered[:, :-1])
    return same.any(1)


def _sort(x, axis, descending, stable):
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    index = _order(x, axis, descending)
    if not stable:
        index = settled(x, index, axis, descending)
    return np.take_along_axis(x, index, axis), index


def settled(x, index, axis, descending, places=None):
    """The indices of a sort with equal elements in PyTorch's order; `places` are the rows that hold some, where known."""
    n = x.shape[axis]
    if n <= 16 or 16 * x.size > _STEPS:
        return index
    w = wide(x)
    if places is None:
        places = np.flatnonzero(_repeated(w, index, axis))
    if not places.size:
        return index
    rows, found = _by_row(w, axis), _by_row(index, axis).copy()
    for r in places:
        found[r] = np.arange(n)
        selection.sort(_keys(rows[r], descending), found[r], n)
    return _back_in_place(found, index, axis)


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
    index = among_equals(x, index, axis, k, largest)
    return np.take_along_axis(x, index, axis), index


def among_equals(x, index, axis, k, largest, places=None):
    """The indices of topk with PyTorch's choice of equal elements; `places` are the rows where it may matter, if known."""
    n = x.shape[axis]
    if not k or n <= 3:
        return index
    if places is not None and places.size * n > _STEPS:
        return index
    x = wide(x)
    rows, found = _by_row(x, axis), _by_row(index, axis)
    if places is None:
        last = np.take_along_axis(rows, found[:, -1:], 1)
        several = (rows == last).sum(1) > 1
        if x.dtype.kind == "f":
            several |= np.isnan(last[:, 0])
        places = np.flatnonzero(several | _repeated(x, index, axis))
    if not places.size or places.size * n > _STEPS:
        return index
    found = found.copy()
    for r in places:
        keys, at = _keys(rows[r], largest), np.arange(n)
        if k * 64 <= n:
            selection.partial_sort(keys, at, 0, k, n)
        else:
            selection.nth_element(keys, at, k - 1)
            selection.sort(keys, at, k - 1)
        found[r] = at[:k]
    return _back_in_place(found, index, axis)


def _kth_spec(op, args, attrs):
    d = checked(op, dtype_of(args[0]))
    shape, axis = args[0]._data.shape, attrs["axis"]
    shape = (shape[:axis] + ((1,) if attrs["keepdim"] else ()) + shape[axis + 1 :]) if shape else ()
    return (Spec(shape, d), Spec(shape, D.int64))


def _kthvalue(x, axis, k, keepdim):
    if x.ndim == 0:
        return x.copy(), np.zeros((), np.int64)
    index = kth_of_equals(x, np.take(_order(x, axis, False), [k - 1], axis), axis, k)
    value = np.take_along_axis(x, index, axis)
    return (value, index) if keepdim else (value.squeeze(axis), index.squeeze(axis))


def kth_of_equals(x, index, axis, k, places=None):
    """The index of kthvalue with PyTorch's choice of equal elements; `places` are the rows where it matters, if known."""
    n = x.shape[axis]
    if places is not None and places.size * n > _STEPS:
        return index
    rows = _by_row(wide(x), axis)
    if places is None:
        kth = np.take_along_axis(rows, _by_row(index, axis), 1)
        places = np.flatnonzero((rows == kth).sum(1) != 1)  # 0: it is no number
    if not places.size or places.size * n > _STEPS:
        return index
    found = _by_row(index, axis).copy()
    for r in places:
        found[r] = selection.quickselect(_keys(rows[r], False), np.arange(n), k - 1)
    return _back_in_place(found, index, axis)


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
KTH    = row("kthvalue", "opaque", _kth_spec,   inputs=("x",), numpy=_kthvalue, grads=(_kth_back,), outputs=2, analytic=False, dtypes="if", exact=True, apart=0)
CUMMAX = row("cummax",   "scan",   _pair_spec,  inputs=("x",), numpy=_cumulative(np.maximum, np.greater_equal), grads=(_back,), outputs=2, analytic=False, dtypes="bif", exact=True)
CUMMIN = row("cummin",   "scan",   _pair_spec,  inputs=("x",), numpy=_cumulative(np.minimum, np.less_equal), grads=(_back,), outputs=2, analytic=False, dtypes="bif", exact=True)
# fmt: on
