"""The index rows: reading and writing at places given by tensors.

Bounds are checked in api/indexing.py (or by NumPy, whose IndexError is translated), so a formula may index freely.
`index` is advanced indexing: `key` is a tuple with None for each index tensor's place, filled from the tensor inputs.
"""

from __future__ import annotations

import numpy as np

from rushlight.core.shape import broadcast
from rushlight.ops.families import dtype_of, opaque
from rushlight.ops.op import Spec, row


def _filled(key, indices):
    """The key with its holes (None markers of class Hole) filled by index arrays."""
    it = iter(indices)
    return tuple(next(it) if k is HOLE else k for k in key)


HOLE = "index tensor"


def _index_spec(op, args, attrs):
    return Spec(attrs["shape"], dtype_of(args[0]))


def _index(x, *indices, key, shape):
    return _laid_out(x[_filled(key, indices)], x, key)


def _laid_out(out, x, key):
    """A result of advanced indexing in PyTorch's order of memory: row-major, but for sliced dimensions in the order that they have in x.

    NumPy puts the index dimensions outermost, wherever they stand.
    """
    strides = iter(x.strides)
    steps = [0 if k is None else next(strides) for k in key]  # of the key's parts, the whole of x's dimensions: masks have become index tensors
    places = [i for i, k in enumerate(key) if k is HOLE]
    sliced = [n for n, k in zip(steps, key) if k is not HOLE]
    given = [n for n in sliced if n]
    if all(a >= b for a, b in zip(given, given[1:])):
        return np.ascontiguousarray(out) if out.ndim else out
    first = places[0] if places[-1] - places[0] == len(places) - 1 else 0
    steps = sliced[:first] + [0] * (out.ndim - len(sliced)) + sliced[first:]  # 0: an index dimension, which goes with any
    order = list(range(out.ndim))[::-1]  # fastest first
    for i in range(1, len(order)):
        at = i
        for j in range(i - 1, -1, -1):
            a, b = steps[order[j]], steps[order[at]]
            if a and b and a > b:
                order[j], order[at] = order[at], order[j]
                at = j
            elif a and b and a < b:
                break
    order.reverse()
    return np.ascontiguousarray(out.transpose(order)).transpose(np.argsort(order))


def _index_back(g, x_spec, indices, key, shape):
    return g.new_zeros(x_spec.shape)._index_add_at(indices, key, g)


row("index", "index", _index_spec, inputs=("x", "*indices"), numpy=_index, grads=(_index_back,), node="IndexBackward0", analytic=False)


def _write_spec(op, args, attrs):
    return Spec(args[0]._data.shape, dtype_of(args[0]))


def _index_put(x, v, *indices, key, shape, accumulate):
    out = x.copy()
    where = _filled(key, indices)
    if accumulate:
        np.add.at(out, where, v.astype(out.dtype, copy=False))
    else:
        out[where] = v
    return out


def _put_x(g, indices, key, accumulate):
    return g if accumulate else g._index_zero_at(indices, key)


def _put_v(g, indices, key, v_spec):
    return g._index_at(indices, key).sum_to_size(v_spec.shape)


row("index_put", "index", _write_spec, inputs=("x", "v", "*indices"), numpy=_index_put, grads=(_put_x, _put_v), analytic=False)

# ---- along one dimension ---------------------------------------------------------------------------------------


def _along(x, index, axis):
    """The key that reads x at index[i][j] along `axis`, other coordinates running with index."""
    grid = np.ogrid[tuple(slice(0, n) for n in index.shape)]
    return tuple(index if d == axis else grid[d] for d in range(x.ndim))


def _gather(x, index, axis):
    if x.ndim == 0 or index.ndim == 0:
        return x.reshape(-1)[index.reshape(-1)].reshape(index.shape)
    return x[_along(x, index, axis)]


def _scatter(x, index, src, axis):
    out = x.copy()
    if x.ndim == 0:
        out[...] = np.ravel(src)[0] if np.ndim(src) else src
        return out
    if np.ndim(src):
        src = src[tuple(slice(0, n) for n in index.shape)]
    out[_along(x, index, axis)] = src
    return out


_UFUNC = {"sum": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum, "mean": np.add}


def _at(ufunc, out, key, src, wide=False):
    """ufunc.at; a half type is rounded after each element, or at the end where `wide`."""
    if wide and out.dtype.itemsize == 2 and out.dtype.kind in "fV":
        work = out.astype(np.float32)
        ufunc.at(work, key, src.astype(np.float32))
        out[...] = work
    elif out.dtype.kind == "b":
        work = out.astype(np.uint8)
        ufunc.at(work, key, src.astype(np.uint8))
        out[...] = work != 0
    else:
        ufunc.at(out, key, src)


def _scatter_add(x, index, src, axis):
    out = x.copy()
    if x.ndim == 0:
        _at(np.add, out.reshape(1), (index.reshape(-1),), np.ravel(src), wide=True)
        return out
    _at(np.add, out, _along(x, index, axis), src[tuple(slice(0, n) for n in index.shape)], wide=True)
    return out


def _scatter_reduce(x, index, src, axis, reduce, include_self):
    out = np.atleast_1d(x.copy())
    index = index.reshape(1) if index.ndim == 0 else index
    src = np.atleast_1d(src)[tuple(slice(0, n) for n in index.shape)]
    key = _along(out, index, axis)
    if not include_self:
        kind = "f" if out.dtype.num >= 256 else out.dtype.kind  # the half types of ml_dtypes
        if reduce in ("amax", "amin"):
            info = None if kind == "f" else np.iinfo(out.dtype) if kind in "iu" else None
            low, high = (-np.inf, np.inf) if kind == "f" else (info.min, info.max) if info else (0, 1)
            neutral = low if reduce == "amax" else high
        else:
            neutral = 1 if reduce == "prod" else 0
        out[key] = neutral
    _at(_UFUNC[reduce], out, key, src, wide=True)
    if reduce == "mean":
        count = np.ones(out.shape, np.int64) if include_self else np.zeros(out.shape, np.int64)
        np.add.at(count, key, 1)
        count = np.maximum(count, 1)
        out = np.floor_divide(out, count) if out.dtype.kind in "iu" else (out / count.astype(out.dtype)).astype(out.dtype)
    return out.reshape(x.shape)


def _index_select(x, index, axis):
    return np.take(x.reshape(1) if x.ndim == 0 else x, index.reshape(-1), axis).reshape(x.shape if x.ndim == 0 else x.shape[:axis] + (index.size,) + x.shape[axis + 1 :])


def _select_spec(op, args, attrs):
    x, index = args
    shape, axis = x._data.shape, attrs["axis"]
    return Spec(shape[:axis] + (index._data.size,) + shape[axis + 1 :] if shape else (), dtype_of(x))


def _index_key(x, index, axis):
    return (slice(None),) * axis + (index.reshape(-1),)


def _index_add(x, index, src, axis, alpha):
    out = np.atleast_1d(x.copy())
    src = np.atleast_1d(src)
    _at(np.add, out, _index_key(out, index, axis), src * np.array(alpha).astype(src.dtype) if alpha != 1 else src)
    return out.reshape(x.shape)


def _index_copy(x, index, src, axis):
    out = np.atleast_1d(x.copy())
    out[_index_key(out, index, axis)] = np.atleast_1d(src)
    return out.reshape(x.shape)


def _index_fill(x, index, axis, value):
    out = np.atleast_1d(x.copy())
    out[_index_key(out, index, axis)] = value
    return out.reshape(x.shape)


def _reduce_back(g, x, index, src, out, axis, reduce, include_self, side):
    """The gradient of scatter_reduce for `side` 0 (x) or 1 (src)."""
    if reduce == "sum":
        gx, gs = g, g.gather(axis, index)
    elif reduce == "mean":
        n = g.new_ones(x.shape) if include_self else g.new_zeros(x.shape)
        n = n.scatter_add(axis, index, g.new_ones(src.shape)).clamp(min=1)
        gx = g / n
        gs = gx.gather(axis, index)
    elif reduce == "prod":
        factors = src.where(src != 0, 1.0)
        zeros = g.new_zeros(x.shape).scatter_add(axis, index, (src == 0).to(g.dtype)).gather(axis, index)
        ones = g.new_ones(x.shape)
        gx = g * ones.scatter_reduce(axis, index, src, "prod")
        others = (x if include_self else ones).scatter_reduce(axis, index, factors, "prod").gather(axis, index)
        others = (others / factors).where(zeros == (src == 0).to(g.dtype), 0.0)  # a zero elsewhere in the product
        gs = g.gather(axis, index) * others
    else:
        same_x = (x == out).to(g.dtype)
        if not include_self:
            same_x = same_x.scatter(axis, index, 0.0)
        same_s = (src == out.gather(axis, index)).to(g.dtype)
        total = same_x.scatter_add(axis, index, same_s)
        share = g / total
        gx, gs = share * same_x, share.gather(axis, index) * same_s
    if not include_self:
        gx = gx.scatter(axis, index, 0.0)
    return gs if side else gx


def _same(args, attrs):
    return Spec(args[0]._data.shape, dtype_of(args[0]))


def _like_index(args, attrs):
    return Spec(args[1]._data.shape, dtype_of(args[0]))


def _masked_spec(args, attrs):
    x, mask = args[:2]
    return Spec(broadcast(x._data.shape, mask._data.shape), dtype_of(x))


# fmt: off
MASKED_FILL = opaque("masked_fill", _masked_spec, lambda x, mask, value: np.where(mask, np.asarray(value).astype(x.dtype), x), (lambda g, mask: g.masked_fill(mask, 0), None), inputs=("x", "mask"), family="index", node="MaskedFillBackward0", analytic=False)
MASKED_FILL_TENSOR = opaque("masked_fill_tensor", _masked_spec, lambda x, mask, v: np.where(mask, v.astype(x.dtype), x), (lambda g, mask: g.masked_fill(mask, 0), None, lambda g, mask: g.where(mask, 0)), inputs=("x", "mask", "v"), family="index", node="MaskedFillBackward1", analytic=False)
GATHER = opaque("gather", _like_index, _gather, (lambda g, index, x_spec, axis: g.new_zeros(x_spec.shape).scatter_add(axis, index, g), None), inputs=("x", "index"), family="index", analytic=False, apart=0)
SCATTER = opaque("scatter", _same, _scatter, (lambda g, index, axis: g.scatter(axis, index, 0), None, lambda g, index, axis, src_spec: g.gather(axis, index)._into_corner(src_spec.shape)), inputs=("x", "index", "src"), family="index", analytic=False, apart=1)
SCATTER_VALUE = opaque("scatter_value", _same, lambda x, index, axis, value: _scatter(x, index, value, axis), (lambda g, index, axis: g.scatter(axis, index, 0), None), inputs=("x", "index"), family="index", node="ScatterBackward1", analytic=False)
SCATTER_ADD = opaque("scatter_add", _same, _scatter_add, (lambda g: g, None, lambda g, index, axis, src_spec: g.gather(axis, index)._into_corner(src_spec.shape)), inputs=("x", "index", "src"), family="index", analytic=False, apart=1)
SCATTER_REDUCE = opaque("scatter_reduce", _same, _scatter_reduce, (lambda g, x, index, src, out, axis, reduce, include_self: _reduce_back(g, x, index, src, out, axis, reduce, include_self, 0), None, lambda g, x, index, src, out, axis, reduce, include_self: _reduce_back(g, x, index, src, out, axis, reduce, include_self, 1)), inputs=("x", "index", "src"), family="index", apart=1)
INDEX_SELECT = row("index_select", "index", _select_spec, inputs=("x", "index"), numpy=_index_select, grads=(lambda g, index, x_spec, axis: g.new_zeros(x_spec.shape).index_add(axis, index, g), None), analytic=False, apart=0)
INDEX_ADD = opaque("index_add", _same, _index_add, (lambda g: g, None, lambda g, index, axis, alpha: g.index_select(axis, index) * alpha), inputs=("x", "index", "src"), family="index", apart=1)
INDEX_COPY = opaque("index_copy", _same, _index_copy, (lambda g, index, axis: g.index_fill(axis, index, 0), None, lambda g, index, axis, src_spec: g.index_select(axis, index).reshape(src_spec.shape)), inputs=("x", "index", "src"), family="index", analytic=False, apart=1)
INDEX_FILL_TENSOR = opaque("index_fill_tensor", _same, lambda x, index, v, axis: _index_fill(x, index, axis, v), (lambda g, index, axis: g.index_fill(axis, index, 0), None, lambda g, index, axis: g.index_select(axis, index.unique()).sum()), inputs=("x", "index", "v"), family="index", node="IndexFillBackward1", analytic=False)
INDEX_FILL = opaque("index_fill", _same, _index_fill, (lambda g, index, axis: g.index_fill(axis, index, 0), None), inputs=("x", "index"), family="index", node="IndexFillBackward0", analytic=False)
# fmt: on
