"""The reduction and scan rows.

`axes` is a tuple of non-negative dimension numbers, `keepdim` says whether they stay with size 1. `spread` brings a
gradient back to the input's shape. Where PyTorch names whole-tensor and per-dimension forms apart (SumBackward0 and
SumBackward1), there are two rows with one reading.
"""

from __future__ import annotations

import numpy as np

from rushlight.core import selection
from rushlight.ops.families import reduction, reduction_with_index, scan


def spread(g, x_spec, axes, keepdim):
    """`g` of the reduced shape, expanded to the input's shape."""
    if not keepdim and len(axes) < len(x_spec.shape):
        g = g.reshape([1 if i in axes else n for i, n in enumerate(x_spec.shape)])
    return g.expand(x_spec.shape)


def restore(out, x_spec, axes, keepdim):
    """A result of the reduced shape with its reduced dimensions back, as size 1."""
    return out if keepdim else out.reshape([1 if i in axes else n for i, n in enumerate(x_spec.shape)])


def _count(shape, axes):
    n = 1
    for a in axes:
        n *= shape[a]
    return n


def _sum(x, axes, keepdim, dtype=None):
    if x.ndim > 1 and x.dtype.kind in "fc" and axes != tuple(range(x.ndim)) and (x.ndim - 1) not in axes and _count(x.shape, axes) > 64:
        return _blocked_sum(x, axes, keepdim)
    return np.add.reduce(x, axis=axes, keepdims=keepdim, dtype=x.dtype if dtype is None else dtype.compute.np)


def _blocked_sum(x, axes, keepdim):
    """Sum over outer dimensions in blocks: NumPy adds row after row there, whose error grows with the count."""
    first = axes[0]
    n = x.shape[first]
    if n <= 64:
        return np.add.reduce(x, axis=axes, keepdims=keepdim, dtype=x.dtype)
    step = max(32, int(n**0.5))
    index = np.arange(0, n, step)
    partial = np.add.reduceat(x, index, axis=first, dtype=x.dtype)
    return np.add.reduce(partial, axis=axes, keepdims=keepdim, dtype=x.dtype)


def _mean(x, axes, keepdim, dtype=None):
    n = _count(x.shape, axes)
    total = _sum(x, axes, keepdim)
    return total / np.asarray(n, total.dtype)


def _mean_back(g, x_spec, axes, keepdim):
    return spread(g, x_spec, axes, keepdim) / _count(x_spec.shape, axes)


def _prod(x, axes, keepdim, dtype=None):
    if x.dtype != np.float16 or not x.size or not axes:
        return np.multiply.reduce(x, axis=axes, keepdims=keepdim, dtype=x.dtype)
    # reduce would keep float32 until the end; PyTorch rounds every product
    flat = x.reshape(-1) if len(axes) == x.ndim else x
    last = np.multiply.accumulate(flat, 0 if flat is not x else axes[0]).take([-1], 0 if flat is not x else axes[0])
    return last.reshape([1 if i in axes else n for i, n in enumerate(x.shape) if keepdim or i not in axes])


def _prod_back(g, x, out, axes, keepdim):
    """g * out / x, by products of the others where an element is zero."""
    if len(axes) == x.ndim and x.ndim != 1:
        return _prod_back(g.reshape([1]), x.reshape([-1]), out.reshape([1]), (0,), True).reshape(x.shape)
    axis = axes[0] if axes else 0
    if x.ndim == 0:
        return g
    g, out = (v if keepdim else v.unsqueeze(axis) for v in (g, out))
    if not bool((x == 0).any()):
        return g * out / x
    left = _exclusive(x, axis)
    right = _exclusive(x.flip(axis), axis).flip(axis)
    return g * (left * right)


def _exclusive(x, axis):
    """Cumulative product of what stands before each element."""
    ones = x.narrow(axis, 0, 1) * 0 + 1
    return ones._cat(x.narrow(axis, 0, x.shape[axis] - 1), axis).cumprod(axis)


def _extreme_back(g, x, out, x_spec, axes, keepdim):
    """The gradient shared equally between all elements that attain the extreme."""
    hit = (x == restore(out, x_spec, axes, keepdim)) | (x != x)
    hit = hit.to(g.dtype)
    return restore(g, x_spec, axes, keepdim) * (hit / hit.sum(list(axes), True))


def _indexed_back(g, out1, x_spec, axis, keepdim):
    """The gradient of the values (the first of the results) put where they were taken from."""
    g = g[0]
    if not x_spec.shape:
        return g
    if not keepdim:
        g, out1 = g.unsqueeze(axis), out1.unsqueeze(axis)
    return g.new_zeros(x_spec.shape).scatter(axis, out1, g)


def _with_index(pick):
    def numpy(x, axis, keepdim):
        if x.ndim == 0:
            return x.copy(), np.zeros((), np.int64)
        index = np.expand_dims(pick(x, axis), axis)
        value = np.take_along_axis(x, index, axis)
        if not keepdim:
            index, value = index.squeeze(axis), value.squeeze(axis)
        return value, index.astype(np.int64)

    return numpy


def _arg(pick):
    def numpy(x, axes, keepdim):
        if x.ndim == 0:
            return np.zeros((), np.int64)
        if len(axes) == x.ndim and x.ndim != 1:
            out = np.asarray(pick(x.reshape(-1), 0))
            return out.reshape((1,) * x.ndim) if keepdim else out
        out = pick(x, axes[0])
        return np.expand_dims(out, axes[0]) if keepdim else out

    return numpy


def wide(x):
    """Half types as float32, where NumPy's search functions do not know them."""
    return x.astype(np.float32) if x.dtype.kind == "V" or x.dtype.name == "bfloat16" else x


def _argmax(x, axis):
    return np.argmax(wide(x), axis)


def _argmin(x, axis):
    return np.argmin(wide(x), axis)


def _median(x, axis):
    """The index of the lower median; a NaN wins."""
    x = wide(x)
    n = x.shape[axis]
    order = np.argsort(x, axis, kind="stable")
    index = np.take(order, (n - 1) // 2, axis)
    if x.dtype.kind == "f":
        bad = np.isnan(x)
        index = np.where(bad.any(axis), np.argmax(bad, axis), index)
    return index


def _nanmedian(x, axis):
    x = wide(x)
    order = np.argsort(x, axis, kind="stable")
    good = x.shape[axis] - (np.isnan(x).sum(axis, keepdims=True) if x.dtype.kind == "f" else 0)
    return np.take_along_axis(order, np.maximum((good - 1) // 2, 0) + np.zeros_like(order.take([0], axis)), axis).squeeze(axis)


def _mode(x, axis):
    """The index of the smallest most frequent value: of its occurrences the one that a sort puts last."""

    def one(row):
        _, keys, counts = np.unique(row, return_inverse=True, return_counts=True, equal_nan=False)
        return selection.last_of(keys.reshape(-1), np.arange(row.size), np.argmax(counts))

    return np.apply_along_axis(one, axis, wide(x))


def _var_numpy(x, axes, keepdim, correction):
    n = _count(x.shape, axes)
    work = x.astype(np.float64) if x.dtype == np.float32 else x
    centre = work - work.mean(axis=axes, keepdims=True)
    squares = centre.real**2 + centre.imag**2 if x.dtype.kind == "c" else centre * centre
    return np.add.reduce(squares, axis=axes, keepdims=keepdim) / max(0.0, n - correction)


def _var_back(g, x, x_spec, axes, keepdim, correction):
    scale = 2.0 / max(0.0, _count(x_spec.shape, axes) - correction) if _count(x_spec.shape, axes) > correction else float("nan")
    return restore(g, x_spec, axes, keepdim) * scale * (x - x.mean(list(axes), True))


def _std_back(g, x, out, x_spec, axes, keepdim, correction):
    return _var_back((g / (out * 2)).where(out != 0, 0), x, x_spec, axes, keepdim, correction)


def _logsumexp(x, axes, keepdim):
    if x.size == 0:
        return np.log(np.add.reduce(x, axis=axes, keepdims=keepdim))
    top = np.max(x.real, axis=axes, keepdims=True)
    top = np.where(np.isfinite(top), top, 0).astype(top.dtype)
    out = np.log(np.add.reduce(np.exp(x - top), axis=axes, keepdims=True)) + top
    return out if keepdim else out.squeeze(axes)


def _norm(x, axes, keepdim, ord):
    size = np.abs(x)
    if ord == 0:
        return np.add.reduce((size != 0).astype(size.dtype), axis=axes, keepdims=keepdim)
    if ord == np.inf:
        return np.maximum.reduce(size, axis=axes, keepdims=keepdim)
    if ord == -np.inf:
        return np.minimum.reduce(size, axis=axes, keepdims=keepdim)
    if ord == 1:
        return np.add.reduce(size, axis=axes, keepdims=keepdim)
    if ord == 2:
        return np.sqrt(np.add.reduce(size * size, axis=axes, keepdims=keepdim))
    return np.add.reduce(size**ord, axis=axes, keepdims=keepdim) ** (1.0 / ord)


def _norm_back(g, x, out, x_spec, axes, keepdim, ord):
    g, out = (restore(v, x_spec, axes, keepdim) for v in (g, out))
    if ord == 0:
        return g * x * 0
    if ord == 1:
        return x.sgn() * g
    if ord == 2:
        return (x * (g / out)).where(out != 0, 0)
    if ord in (float("inf"), -float("inf")):
        hit = (x.abs() == out) | (out != out)
        return x.sgn() * (hit.to(g.dtype) / hit.sum(list(axes), True)) * g
    if ord < 1:
        power = x.abs().pow(ord - 1).where(x != 0, 0)
        return x.sgn() * power * g * out.pow(1 - ord).where(out != 0, 0)
    if ord < 2:
        return x.sgn() * x.abs().pow(ord - 1) * (g * out.pow(1 - ord)).where(out != 0, 0)
    return x * x.abs().pow(ord - 2) * (g / out.pow(ord - 1)).where(out != 0, 0)


# fmt: off
SUM       = reduction("sum",      _sum,  lambda g, x_spec, axes, keepdim: spread(g, x_spec, axes, keepdim), result="sum", analytic=False)
SUM_DIM   = reduction("sum_dim",  _sum,  lambda g, x_spec, axes, keepdim: spread(g, x_spec, axes, keepdim), result="sum", node="SumBackward1", analytic=False)
NANSUM    = reduction("nansum",   lambda x, axes, keepdim, dtype=None: _sum(np.where(x == x, x, np.zeros((), x.dtype)), axes, keepdim, dtype), lambda g, x, x_spec, axes, keepdim: spread(g, x_spec, axes, keepdim).where(x == x, 0), result="sum", dtypes="bif", analytic=False)
MEAN      = reduction("mean",     _mean, _mean_back, node="MeanBackward0", dtypes="fc", analytic=False)
MEAN_DIM  = reduction("mean_dim", _mean, _mean_back, node="MeanBackward1", dtypes="fc", analytic=False)
PROD      = reduction("prod",     _prod, _prod_back, result="sum", stepwise=True)
PROD_DIM  = reduction("prod_dim", _prod, _prod_back, result="sum", stepwise=True, node="ProdBackward1")
AMAX      = reduction("amax",     lambda x, axes, keepdim: np.maximum.reduce(x, axis=axes, keepdims=keepdim), _extreme_back, dtypes="bif", exact=True)
AMIN      = reduction("amin",     lambda x, axes, keepdim: np.minimum.reduce(x, axis=axes, keepdims=keepdim), _extreme_back, dtypes="bif", exact=True)
MAX_ALL   = reduction("max_all",  lambda x, axes, keepdim: np.maximum.reduce(x, axis=axes, keepdims=keepdim), _extreme_back, dtypes="bif", node="MaxBackward1")
MIN_ALL   = reduction("min_all",  lambda x, axes, keepdim: np.minimum.reduce(x, axis=axes, keepdims=keepdim), _extreme_back, dtypes="bif", node="MinBackward1")
MAX       = reduction_with_index("max",       _with_index(_argmax), _indexed_back, dtypes="bif", node="MaxBackward0", apart=0)
MIN       = reduction_with_index("min",       _with_index(_argmin), _indexed_back, dtypes="bif", node="MinBackward0", apart=0)
MEDIAN    = reduction_with_index("median",    _with_index(_median), _indexed_back, dtypes="bif", node="MedianBackward1")
NANMEDIAN = reduction_with_index("nanmedian", _with_index(_nanmedian), _indexed_back, dtypes="bif", node="NanmedianBackward1")
MODE      = reduction_with_index("mode",      _with_index(_mode),   _indexed_back, dtypes="bif")
ALL       = reduction("all",      lambda x, axes, keepdim: np.logical_and.reduce(x != 0, axis=axes, keepdims=keepdim), result="bool", exact=True)
ANY       = reduction("any",      lambda x, axes, keepdim: np.logical_or.reduce(x != 0, axis=axes, keepdims=keepdim), result="bool", exact=True)
ARGMAX    = reduction("argmax",   _arg(_argmax), result="index", dtypes="if", exact=True)
ARGMIN    = reduction("argmin",   _arg(_argmin), result="index", dtypes="if", exact=True)
COUNT     = reduction("count_nonzero", lambda x, axes, keepdim: np.add.reduce((x != 0).astype(np.int64), axis=axes, keepdims=keepdim), result="index")
VAR       = reduction("var",      _var_numpy, _var_back, result="real", dtypes="fc", analytic=False)
STD       = reduction("std",      lambda x, axes, keepdim, correction: np.sqrt(_var_numpy(x, axes, keepdim, correction)), _std_back, result="real", dtypes="fc", analytic=False)
LOGSUMEXP = reduction("logsumexp", _logsumexp, lambda g, x, out, x_spec, axes, keepdim: restore(g, x_spec, axes, keepdim) * (x - restore(out, x_spec, axes, keepdim)).exp(), result="float")
NORM      = reduction("linalg_vector_norm", _norm, _norm_back, result="real", dtypes="fc", analytic=False)
# fmt: on


# ---- scans -----------------------------------------------------------------------------------------------------


def _reverse_cumsum(g, axis):
    if not g.dim():
        return g
    return g.flip(axis).cumsum(axis).flip(axis)


def _cumprod_back(g, x, out, axis):
    if not bool((x == 0).any()):
        return _reverse_cumsum(g * out, axis) / x
    n = x.shape[axis]
    parts = []
    for k in range(n):  # the derivative of every later product by element k, without dividing by it
        before = out.narrow(axis, k - 1, 1) if k else None
        after = (x.narrow(axis, k, n - k) * 0 + 1) if k == n - 1 else None
        if after is None:
            tail = x.narrow(axis, k + 1, n - k - 1).cumprod(axis)
            after = (x.narrow(axis, k, 1) * 0 + 1)._cat(tail, axis)
        d = after if before is None else after * before
        parts.append((g.narrow(axis, k, n - k) * d).sum(axis, True))
    first = parts[0]
    for p in parts[1:]:
        first = first._cat(p, axis)
    return first


def _logcumsumexp(x, axis):
    if x.dtype.kind != "c":
        return np.logaddexp.accumulate(x, axis)
    rows, out = np.moveaxis(x, axis, 0), np.empty_like(np.moveaxis(x, axis, 0))
    for i, row in enumerate(rows):  # the branch of the logarithm depends on the order: one element after another
        if i:
            last = out[i - 1]
            high, low = np.where(last.real < row.real, row, last), np.where(last.real < row.real, last, row)
            row = np.where(high.real == -np.inf, high, high + np.log1p(np.exp(low - high)))
        out[i] = row
    return np.moveaxis(out, 0, axis)


def _logcumsumexp_back(g, x, out, axis):
    """exp(x - out) summed from the end, weighted by g: in logarithms, so that nothing overflows."""
    if not g.dim():
        return g

    def part(weights):
        return ((weights.log() - out).flip(axis).logcumsumexp(axis).flip(axis) + x).exp()

    if g.is_complex():
        return part(g)
    low = g.new_full((), -float("inf"))

    def positive(g):  # masked after the subtraction: -inf - (-inf) is no number
        return ((g.log() - out).where(g > 0, low).flip(axis).logcumsumexp(axis).flip(axis) + x).exp()

    return positive(g) - positive(-g)


_WIDER = {"f": np.dtype(np.float64), "c": np.dtype(np.complex128)}


def _scanning(f):
    """The reading of a scan: single precision is accumulated in double, since errors add up along it."""

    def reading(x, axis, dtype=None):
        if x.ndim == 0:
            return x.copy()
        wide = _WIDER.get(x.dtype.kind, x.dtype)
        return f(x if x.dtype == wide else x.astype(wide), axis)

    return reading


# fmt: off
CUMSUM    = scan("cumsum",  _scanning(lambda x, axis: np.add.accumulate(x, axis, dtype=x.dtype)), lambda g, axis: _reverse_cumsum(g, axis), result="sum", analytic=False)
CUMPROD   = scan("cumprod", _scanning(lambda x, axis: np.multiply.accumulate(x, axis, dtype=x.dtype)), _cumprod_back, result="sum")
LOGCUMSUM = scan("logcumsumexp", _scanning(_logcumsumexp), _logcumsumexp_back, result="same", dtypes="fc", exact=True)
# fmt: on
