"""The order in which the elements of a result lie in memory.

PyTorch promises strides: reductions give row-major results, pointwise ops keep the order of their operands, images
in channels_last stay so, LAPACK's matrices come by columns. NumPy's kernels give what is quickest for them, so a result
in another order is laid out anew. A row that is not named here, nor its family, keeps the order of its kernel.

Invariants: values never change; a result that lies right is returned as it is; only ndarrays are looked at (tensors
without memory are row-major).
"""

from __future__ import annotations

import numpy as np

from rushlight.core.layout import channels_last, channels_last_3d

ndarray = np.ndarray


def _in_order(data, order):
    """`data` laid out so that its dimensions in `order` go from the slowest to the fastest."""
    moved = data.transpose(order)
    if moved.flags.c_contiguous:
        return data
    return np.ascontiguousarray(moved).transpose(np.argsort(order))


def rows(data, args):
    """Row-major."""
    return data if data.flags.c_contiguous else np.ascontiguousarray(data)


def columns(data, args):
    """Matrices (the last two dimensions) by columns."""
    n = data.ndim
    return _in_order(data, (*range(n - 2), n - 1, n - 2))


def like_first(data, args):
    """As the first operand."""
    x = args[0]._data
    if x.__class__ is not ndarray or x.shape != data.shape or x.flags.c_contiguous:
        return rows(data, args)
    return _in_order(data, sorted(range(x.ndim), key=lambda d: (-x.strides[d], d)))


def iterated(data, args):
    """As the operands agree: of two dimensions that is the slower one over which the first operand that steps
    over both takes the longer step; row-major where none does. Where the operands contradict each other in a circle the
    order of comparisons decides, which is PyTorch's: an insertion sort that starts from rows, fastest dimension first.
    """
    arrays = [a._data for a in args if getattr(a, "_data", None).__class__ is ndarray and a._data.ndim]
    if all([x.flags.c_contiguous for x in arrays]):
        return rows(data, args)
    n, shape = data.ndim, data.shape
    steps = []
    for x in arrays:
        lead = n - x.ndim
        steps.append((0,) * lead + tuple([0 if k == 1 != m else s for k, m, s in zip(x.shape, shape[lead:], x.strides)]))
    order = list(range(n - 1, -1, -1))
    for i in range(1, n):
        at = i
        for k in range(i - 1, -1, -1):
            slower = _slower(order[k], order[at], steps, shape)
            if slower is None:
                continue
            if not slower:
                break
            order[k], order[at] = order[at], order[k]
            at = k
    return _in_order(data, order[::-1])


def _slower(d, e, steps, shape):
    """Whether dimension d lies outside of e; None where no operand says."""
    for s in steps:
        if s[d] and s[e]:
            if s[d] != s[e]:
                return s[d] > s[e]
            if shape[d] > shape[e]:
                return True
    return None


def by_channels(x):
    """Whether the strides are those of channels_last: channels fastest, then the last dimension, and so on."""
    if x.__class__ is not ndarray or x.ndim < 3 or x.flags.c_contiguous:
        return False
    reach = 0
    for d in (1, *range(x.ndim - 1, 1, -1), 0):
        if x.strides[d] < reach or d == 0 and reach == x.strides[1]:
            return False
        reach = x.strides[d] * x.shape[d]
    return True


def image(data, args):
    """channels_last (or channels_last_3d) where the first operand is, row-major otherwise."""
    x = args[0]._data
    if x.ndim == data.ndim and x.ndim in (4, 5) and by_channels(x):
        return _in_order(data, (channels_last if x.ndim == 4 else channels_last_3d).order)
    return rows(data, args)


_FAMILIES = {"pointwise": iterated, "reduction": rows, "scan": rows, "contraction": rows}
_NAMES = {
    rows: "softmax safe_softmax log_softmax log_sigmoid rrelu rrelu_with_noise masked_fill masked_fill_tensor masked_scatter gather take "
          "tril triu renorm linalg_cross grid_sampler_2d grid_sampler_3d nll_loss nll_loss2d cdist repeat",
    columns: "linalg_qr cholesky cholesky_solve cholesky_inverse linalg_solve_triangular",
    like_first: "gelu index_fill index_fill_tensor index_put put select_scatter slice_scatter diagonal_scatter as_strided_scatter sort",
    iterated: "complex polar",
    image: "conv conv_transpose max_pool max_pool2d max_pool3d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d max_unpool2d group_norm "
           "constant_pad_nd roll pixel_shuffle pixel_unshuffle channel_shuffle",
}  # fmt: skip
#: rows whose results differ in it
_EACH = {
    "linalg_svd": (columns, rows, columns),
    "linalg_eig": (rows, columns),
    "linalg_eigh": (rows, columns),
    "linalg_inv_ex": (columns, rows),
    "linalg_lu_factor_ex": (columns, rows, rows),
    "linalg_cholesky_ex": (columns, rows),
    "linalg_solve_ex": (columns, rows, rows, rows),
    "linalg_lstsq": (columns, rows, rows, rows),
}
_PREFIXES = {image: ("upsample_", "reflection_pad", "replication_pad")}
_BY_NAME = {name: f for f, names in _NAMES.items() for name in names.split()}
_known = {}


def _find(op):
    f = _BY_NAME.get(op.name) or next((f for f, starts in _PREFIXES.items() if op.name.startswith(starts)), None)
    return f or _FAMILIES.get(op.family) or (rows if op.name in _EACH else None)


def laid_out(op, data, args):
    """The result (or results) of a row in PyTorch's order."""
    f = _known.get(op, _known)
    if f is _known:
        f = _known[op] = _find(op)
    if f is None:
        return data
    if data.__class__ is tuple:
        each = _EACH.get(op.name) or (f,) * len(data)
        return tuple([f(d, args) if d.__class__ is ndarray and d.ndim > 1 and d.size else d for f, d in zip(each, data)])
    return f(data, args) if data.__class__ is ndarray and data.ndim > 1 and data.size else data


__all__ = ["by_channels", "columns", "image", "iterated", "laid_out", "like_first", "rows"]
