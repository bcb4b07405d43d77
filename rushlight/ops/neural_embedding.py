"""Embedding rows: rows of a table by their numbers, alone or summed in bags, and the adjoint that
adds rows up.

`padding_idx` (None for none) names a row that gets no gradient. The adjoint sorts the indices once
and sums runs of equal ones, so its cost does not depend on how often an index repeats.
"""

from __future__ import annotations

import numpy as np

from rushlight.ops.neural_base import Spec, dtype_of, neural


def _embedding_spec(op, args, attrs):
    w, index = args
    return Spec((*index._data.shape, *w._data.shape[1:]), dtype_of(w))


def _embedding(w, index, padding_idx, scale_grad_by_freq):
    return np.take(w, index, axis=0)


def add_rows(values, index, rows):
    """Zeros (rows, ...) with values[i] added to row index[i]."""
    out = np.zeros((rows, *values.shape[1:]), values.dtype)
    if index.size == 0:
        return out
    order = np.argsort(index, kind="stable")
    index = index[order]
    start = np.flatnonzero(np.concatenate(([True], index[1:] != index[:-1])))
    if start.size == index.size:
        out[index] = values[order]
    else:
        out[index[start]] = np.add.reduceat(values[order], start, axis=0)
    return out


def _embedding_adjoint(g, index, rows, padding_idx, scale_grad_by_freq):
    index = index.reshape(-1).astype(np.int64, copy=False)
    g = g.reshape(index.size, *g.shape[g.ndim - 1 :] if g.ndim else ())
    if scale_grad_by_freq:
        g = g / np.bincount(index, minlength=rows)[index][:, None].astype(g.dtype)
    if padding_idx is not None:
        used = index != padding_idx
        g, index = g[used], index[used]
    return add_rows(g, index, rows)


def _embedding_w(g, index, w_spec, padding_idx, scale_grad_by_freq):
    return g._fused(
        "embedding_backward",
        index,
        rows=w_spec.shape[0],
        padding_idx=padding_idx,
        scale_grad_by_freq=scale_grad_by_freq,
    )


def _adjoint_spec(op, args, attrs):
    return Spec((attrs["rows"], args[0]._data.shape[-1]), dtype_of(args[0]))


def _adjoint_back(g, index, rows, padding_idx, scale_grad_by_freq):
    out = g._fused(
        "embedding", index, padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq
    )
    if padding_idx is not None:
        out = out.masked_fill((index == padding_idx).unsqueeze(-1), 0)
    if scale_grad_by_freq:
        out = out / index.reshape(-1).bincount(minlength=rows)[index].unsqueeze(-1).to(out.dtype)
    return out


# ---- bags ----------------------------------------------------------------------------------------


def _bag_spec(op, args, attrs):
    w, index, bag = args[:3]
    shape, d = (attrs["bags"], w._data.shape[1]), dtype_of(w)
    long = dtype_of(index)
    return (
        Spec(shape, d),
        Spec((attrs["bags"],), long),
        Spec(shape if attrs["mode"] == "max" else (0,), long),
    )


def _used(index, bag, padding_idx):
    keep = slice(None) if padding_idx is None else index != padding_idx
    return index[keep], bag[keep], keep


def _bag(w, index, bag, scale, mode, bags, padding_idx, scale_grad_by_freq):
    """bag[i] is the number of the bag that index[i] is in, not decreasing. Also each bag's size,
    and where its maximum came from.
    """
    index, bag, keep = _used(index, bag, padding_idx)
    size = np.bincount(bag, minlength=bags).astype(index.dtype)
    rows = np.take(w, index, axis=0)
    if mode == "max":
        out = np.zeros((bags, w.shape[1]), w.dtype)
        where = np.full(out.shape, -1, index.dtype)
        start = np.concatenate(([0], np.cumsum(size)[:-1]))
        for k in range(int(size.max(initial=0))):  # the k-th member of every bag that has one
            some = np.flatnonzero(size > k)
            member = start[some] + k
            better = (rows[member] > out[some]) | (k == 0) | np.isnan(rows[member])
            out[some] = np.where(better, rows[member], out[some])
            where[some] = np.where(better, index[member][:, None], where[some])
        return out, size, where
    if scale is not None:
        rows = rows * scale[keep][:, None]
    out = add_rows(rows, bag, bags)
    if mode == "mean":
        out = out / np.maximum(size, 1)[:, None].astype(out.dtype)
    return out, size, np.zeros((0,), index.dtype)


def _bag_w(g, index, bag, scale, out1, out2, w_spec, mode, bags, padding_idx, scale_grad_by_freq):
    return g[0]._fused("embedding_bag_backward", index, bag, scale, out1, out2, rows=w_spec.shape[0], mode=mode,
                       padding_idx=padding_idx, scale_grad_by_freq=scale_grad_by_freq)  # fmt: skip


def _bag_scale(g, w, index, bag, padding_idx):
    terms = (
        g[0]._fused("embedding", bag, padding_idx=None, scale_grad_by_freq=False)
        * w._fused("embedding", index, padding_idx=None, scale_grad_by_freq=False)
    ).sum(1)
    return terms if padding_idx is None else terms.masked_fill(index == padding_idx, 0)


def _bag_adjoint(g, index, bag, scale, size, where, rows, mode, padding_idx, scale_grad_by_freq):
    if mode == "max":
        out = np.zeros((rows, g.shape[1]), g.dtype)
        row, column = np.nonzero(where >= 0)
        np.add.at(out, (where[row, column], column), g[row, column])
        return out
    index, bag, keep = _used(index, bag, padding_idx)
    if mode == "mean":
        g = g / np.maximum(size, 1)[:, None].astype(g.dtype)
    values = np.take(g, bag, axis=0)
    if scale is not None:
        values = values * scale[keep][:, None]
    if scale_grad_by_freq:
        values = values / np.bincount(index, minlength=rows)[index][:, None].astype(g.dtype)
    return add_rows(values, index, rows)


def _bag_composite(g, index, bag, scale, size, where, rows, mode, padding_idx, scale_grad_by_freq):
    if mode == "max":
        return g.new_zeros((rows, g.shape[1])).scatter_add(0, where.clamp(min=0), g * (where >= 0))
    if mode == "mean":
        g = g / size.clamp(min=1).unsqueeze(1)
    values = g[bag]
    if scale is not None:
        values = values * scale.unsqueeze(1)
    return values._fused(
        "embedding_backward",
        index,
        rows=rows,
        padding_idx=padding_idx,
        scale_grad_by_freq=scale_grad_by_freq,
    )


# fmt: off
neural("embedding",          _embedding_spec, _embedding, _embedding_w, None, inputs=("w", "index"), dtypes="bifc")
neural("embedding_backward", _adjoint_spec, _embedding_adjoint, _adjoint_back, None, inputs=("g", "index"), node="EmbeddingDenseBackward0", dtypes="bifc")
neural("embedding_bag",      _bag_spec, _bag, _bag_w, None, None, _bag_scale, inputs=("w", "index", "bag", "scale"), optional=("scale",), outputs=3)
neural("embedding_bag_backward", lambda op, args, attrs: Spec((attrs["rows"], args[0]._data.shape[1]), dtype_of(args[0])), _bag_adjoint,
       inputs=("g", "index", "bag", "scale", "size", "where"), optional=("scale",), reference=_bag_composite)
# fmt: on
