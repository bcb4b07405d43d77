"""Loss rows: one node for the terms and their reduction.

`reduction` is "none", "mean" or "sum". A mean divides by the number of elements, the likelihood
losses by the weight of the targets that count. Adjoints are Tensor formulas, except the
likelihood's, which is a row: it is linear, and its own adjoint is the loss again.
"""

from __future__ import annotations

import numpy as np

from rushlight.core.shape import broadcast
from rushlight.ops.neural_base import (
    Spec,
    as_it_is,
    common,
    dtype_of,
    floating,
    neural,
    reduce_array,
    spread_loss,
    type_name,
)
from rushlight.ops.op import MISSING


def _pair_spec(op, args, attrs):
    """Elementwise over input and target; a scalar where it is reduced."""
    dtype = floating(op, common(args[:2]))
    shape = broadcast(*(a._data.shape for a in args if a is not None))
    return Spec(shape if attrs["reduction"] == "none" else (), dtype)


def _mse(x, y, reduction):
    d = np.subtract(x, y)
    return reduce_array(d * d, reduction)


def _mse_x(g, x, y, reduction):
    return (x - y) * spread_loss(g * 2, x if x.dim() >= y.dim() else y, reduction)


def _smooth(x, y, reduction, beta):
    d = np.abs(x - y)
    return reduce_array(np.where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta), reduction)


def _smooth_x(g, x, y, reduction, beta):
    d = x - y
    return (d / beta).where(d.abs() < beta, d.sign()) * spread_loss(g, x, reduction)


def _huber(x, y, reduction, delta):
    d = np.abs(x - y)
    return reduce_array(np.where(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta)), reduction)


def _huber_x(g, x, y, reduction, delta):
    return (x - y).clamp(-delta, delta) * spread_loss(g, x, reduction)


def _soft_margin(x, y, reduction, step):
    return reduce_array(step(np.log1p(step(np.exp(step(-y * x))))), reduction)


def _soft_margin_x(g, x, y, reduction):
    return -y * (-(x * y)).sigmoid() * spread_loss(g, x, reduction)


# ---- binary cross entropy ------------------------------------------------------------------------


def _unit_range(name, v):
    if v.size and not (v.min() >= 0 and v.max() <= 1):
        raise RuntimeError(
            f"all elements of {name} should be between 0 and 1 (found values from {v.min()} to "
            f"{v.max()}; logits go to binary_cross_entropy_with_logits)"
        )


def _bce(x, y, weight, reduction):
    _unit_range("input", x)
    _unit_range("target", y)
    terms = (y - 1) * np.maximum(np.log1p(-x), -100) - y * np.maximum(np.log(x), -100)
    return reduce_array(terms if weight is None else terms * weight, reduction)


def _weighted(g, weight):
    return g if weight is None else g * weight


def _bce_x(g, x, y, weight, reduction):
    return _weighted(
        spread_loss(g, x, reduction) * (x - y) / ((1 - x) * x).clamp(min=1e-12), weight
    )


def _bce_y(g, x, y, weight, reduction):
    return _weighted(
        spread_loss(g, x, reduction) * ((-x).log1p().clamp(min=-100) - x.log().clamp(min=-100)),
        weight,
    )


def _logits(x, y, weight, pos_weight, reduction, step):
    terms = np.log1p(np.exp(-np.abs(x)))  # softplus(-x)
    terms -= np.minimum(x, 0)
    terms = step(terms)
    if pos_weight is not None:
        terms = step(terms * step(step(step(pos_weight - 1) * y) + 1))
    terms = step(terms + step(step(1 - y) * x))
    return reduce_array(terms if weight is None else step(terms * weight), reduction)


def _logits_terms(x, y, weight, pos_weight):
    """The shape of the terms."""
    return Spec(broadcast(*(t.shape for t in (x, y, weight, pos_weight) if t is not None)), x.dtype)


def _logits_x(g, x, y, weight, pos_weight, reduction):
    g = _weighted(spread_loss(g, _logits_terms(x, y, weight, pos_weight), reduction), weight)
    if pos_weight is None:
        return g * (x.sigmoid() - y)
    t = pos_weight * y
    return g * ((t + 1 - y) * x.sigmoid() - t)


def _logits_y(g, x, y, weight, pos_weight, reduction):
    g = _weighted(spread_loss(g, _logits_terms(x, y, weight, pos_weight), reduction), weight)
    if pos_weight is None:
        return g * -x
    return g * ((-x)._log_sigmoid() - pos_weight * x._log_sigmoid())


# ---- likelihood of classes -----------------------------------------------------------------------


def _nll_spec(op, args, attrs):
    x, t, w = args
    shape, targets = x._data.shape, t._data.shape
    dtype = floating(op, dtype_of(x))
    axis = _class_axis(shape)
    if type_name(t) not in ("Long", "Byte"):
        raise RuntimeError(
            f"expected target dtype to be Long or Byte, but got {type_name(t)} (the target of "
            f"{op.name} holds classes: write target.long())"
        )
    if w is not None and w._data.size != shape[axis]:
        raise RuntimeError(
            f"weight tensor should be defined either for all {shape[axis]} classes or no classes "
            f"but got weight tensor of shape: {list(w._data.shape)}"
        )
    if w is not None and dtype_of(w) is not dtype:
        raise RuntimeError(
            f"expected scalar type {type_name(x)} but found {type_name(w)} (the class weights of "
            f"{op.name})"
        )
    return Spec(targets if attrs["reduction"] == "none" else (), dtype)


def _class_axis(shape):
    return 1 if len(shape) > 1 else 0


def _classes(t, count, ignore_index):
    """The targets as int64 with ignored ones as class 0, and which of them count (None: all)."""
    t = t if t.dtype == np.int64 else t.astype(np.int64)
    if t.size == 0:
        return t, None
    low, high = t.min(), t.max()
    if 0 <= low and high < count and not low <= ignore_index <= high:
        return t, None
    used = t != ignore_index
    t = np.where(used, t, 0)
    bad = (t < 0) | (t >= count)
    if bad.any():
        raise IndexError(
            f"Target {t[bad].flat[0]} is out of bounds. (classes are numbered 0 to {count - 1}; "
            f"ignore_index is {ignore_index})"
        )
    return t, used


def _coefficients(t, used, w, dtype):
    """The weight of each target, or None where all are 1."""
    if w is None:
        return None if used is None else used.astype(dtype)
    c = np.take(w.reshape(-1), t)
    return c if used is None else np.where(used, c, 0).astype(dtype)


def _total(c, t, dtype, step):
    return step(np.asarray(t.size, dtype)) if c is None else _summed(c, step)


def _summed(terms, step):
    """The sum of all terms. Half types round every partial sum: of the first term, of 16 terms after it,
    of 16 such sums, and so on, which are added up from the smallest blocks to the first term.
    """
    if step is as_it_is or not terms.size:
        return np.add.reduce(terms, axis=None)
    first, *_ = rest = terms.reshape(-1)
    rest, parts = rest[1:], []
    while rest.size >= 16:
        whole = rest.size // 16 * 16
        parts.append(_one_by_one(rest[whole:], step))
        rest = _one_by_one(rest[:whole].reshape(-1, 16).T, step)
    return _one_by_one([*parts, _one_by_one(rest, step), first], step)


def _one_by_one(terms, step):
    total = np.zeros(np.shape(terms)[1:], np.float32)
    for t in terms:
        total = step(np.asarray(total + t))
    return total


def _nll(x, t, w, reduction, ignore_index, step):
    t, used = _classes(t, x.shape[_class_axis(x.shape)], ignore_index)
    c = _coefficients(t, used, w, x.dtype)
    if x.ndim == 1:
        terms = -x[t]
    elif x.ndim == 2:
        terms = x[np.arange(t.size), t]
        np.negative(terms, terms)
    else:
        terms = -np.take_along_axis(x, t[:, None], 1)[:, 0]
    if c is not None:
        terms = terms * c if used is None else np.where(used, terms * c, 0)
    if reduction == "none":
        return terms
    total = _summed(step(terms), step)
    return total if reduction == "sum" else total / _total(c, t, x.dtype, step)


def _nll_adjoint(g, t, w, shape, reduction, ignore_index, step):
    t, used = _classes(t, shape[_class_axis(shape)], ignore_index)
    c = _coefficients(t, used, w, g.dtype)
    if reduction == "mean":
        g = g / _total(c, t, g.dtype, step)
    values = -g if c is None else np.where(c == 0, 0, -g * c) if used is not None else -g * c
    out = np.zeros(shape, g.dtype)
    if len(shape) == 1:
        out[t] = values
    elif len(shape) == 2:
        out[np.arange(t.size), t] = values
    else:
        np.put_along_axis(out, t[:, None], np.broadcast_to(values, t.shape)[:, None], 1)
    return out


def _nll_x(g, t, w, x_spec, reduction, ignore_index):
    return g._fused(
        "nll_loss_backward",
        t,
        w,
        shape=tuple(x_spec.shape),
        reduction=reduction,
        ignore_index=ignore_index,
    )


def _nll_again(name):
    def formula(g, t, w, reduction, ignore_index):
        return g._fused(name, t, w, reduction=reduction, ignore_index=ignore_index)

    return formula


# ---- margins -------------------------------------------------------------------------------------


def _margin_spec(op, args, attrs):
    x = args[0]
    rows = x._data.shape[:-1]
    return Spec(rows if attrs["reduction"] == "none" else (), floating(op, dtype_of(x)))


def _margins(x, t, w, p, margin):
    """Terms (N, C) of multi_margin_loss before their sum:
    their bases, and the factors of class weights over C.
    """
    t = np.atleast_1d(t)
    if t.size and (t.min() < 0 or t.max() >= x.shape[1]):
        raise RuntimeError("target out of range")
    z = margin - np.take_along_axis(x, t[:, None], 1) + x
    np.put_along_axis(z, t[:, None], 0, 1)
    np.maximum(z, 0, out=z)
    return z, None if w is None else w[t][:, None]


def _multi_margin(x, t, w, p, margin, reduction):
    rows = x.reshape(-1, x.shape[-1])
    z, factor = _margins(rows, t, w, p, margin)
    z = z if p == 1 else z * z
    terms = np.add.reduce(z if factor is None else z * factor, axis=1) / np.asarray(
        rows.shape[1], x.dtype
    )
    return reduce_array(terms, reduction).reshape(x.shape[:-1] if reduction == "none" else ())


def _multi_margin_adjoint(g, x, t, w, p, margin, reduction):
    rows = x.reshape(-1, x.shape[-1])
    z, factor = _margins(rows, t, w, p, margin)
    slope = (z > 0).astype(x.dtype) if p == 1 else 2 * z
    if factor is not None:
        slope = slope * factor
    np.put_along_axis(
        slope, np.atleast_1d(t)[:, None], -np.add.reduce(slope, axis=1, keepdims=True), 1
    )
    g = g / rows.shape[0] if reduction == "mean" else g
    return (slope * (g.reshape(-1, 1) / rows.shape[1])).reshape(x.shape)


def _label_sets(t):
    """Which classes the rows of `t` name before their first -1, as a mask."""
    if t.size and (t.min() < -1 or t.max() >= t.shape[1]):
        raise RuntimeError(f"target out of range: classes are 0 to {t.shape[1] - 1}, -1 ends a row")
    listed = np.logical_and.accumulate(t >= 0, axis=1)
    mask = np.zeros(t.shape, bool)
    rows, places = np.nonzero(listed)
    mask[rows, t[rows, places]] = True
    return listed, mask


def _multilabel_pairs(x, t):
    """1 - x[target] + x[other] for each listed target (N, T) and class (N, C),
    0 where it does not count.
    """
    listed, mask = _label_sets(t)
    z = 1 - np.take_along_axis(x, np.where(listed, t, 0), 1)[:, :, None] + x[:, None, :]
    return np.where(listed[:, :, None] & ~mask[:, None, :], np.maximum(z, 0), 0), listed


def _multilabel(x, t, reduction):
    rows, t2 = (
        x.reshape(-1, x.shape[-1] if x.ndim else 1),
        t.reshape(-1, t.shape[-1] if t.ndim else 1),
    )
    z, _ = _multilabel_pairs(rows, t2)
    terms = np.add.reduce(z, axis=(1, 2)) / np.asarray(rows.shape[1], x.dtype)
    return reduce_array(terms, reduction).reshape(x.shape[:-1] if reduction == "none" else ())


def _multilabel_adjoint(g, x, t, reduction):
    rows, t2 = (
        x.reshape(-1, x.shape[-1] if x.ndim else 1),
        t.reshape(-1, t.shape[-1] if t.ndim else 1),
    )
    z, listed = _multilabel_pairs(rows, t2)
    hit = (z > 0).astype(x.dtype)
    out = np.add.reduce(hit, axis=1)
    row, place = np.nonzero(listed)
    np.add.at(out, (row, t2[row, place]), -np.add.reduce(hit, axis=2)[row, place])
    g = g / rows.shape[0] if reduction == "mean" else g
    return (out * (g.reshape(-1, 1) / rows.shape[1])).reshape(x.shape)


def _like_second(op, args, attrs):
    return Spec(args[1]._data.shape, dtype_of(args[1]))


_NLL_ADJOINT = dict(inputs=("g", "t", "w"), optional=("w",), dtypes="f")
_NLL_SHAPE = lambda op, args, attrs: Spec(attrs["shape"], dtype_of(args[0]))  # noqa: E731
# fmt: off
neural("mse_loss",       _pair_spec, _mse,    _mse_x,    lambda g, x, y, reduction: -_mse_x(g, x, y, reduction), inputs=("x", "y"), autocast="float32")
neural("smooth_l1_loss", _pair_spec, _smooth, _smooth_x, lambda g, x, y, reduction, beta: -_smooth_x(g, x, y, reduction, beta), inputs=("x", "y"), node="SmoothL1LossBackward0", autocast="float32")
neural("huber_loss",     _pair_spec, _huber,  _huber_x,  lambda g, x, y, reduction, delta: -_huber_x(g, x, y, reduction, delta), inputs=("x", "y"), autocast="float32")
neural("soft_margin_loss", _pair_spec, _soft_margin, _soft_margin_x, lambda g, x, y, reduction: _soft_margin_x(g, y, x, reduction), inputs=("x", "y"), autocast="float32")
neural("binary_cross_entropy", _pair_spec, _bce, _bce_x, _bce_y, MISSING, inputs=("x", "y", "weight"), optional=("weight",), autocast="float32")
neural("binary_cross_entropy_with_logits", _pair_spec, _logits, _logits_x, _logits_y, MISSING, MISSING, inputs=("x", "y", "weight", "pos_weight"), optional=("weight", "pos_weight"), autocast="float32")
neural("nll_loss",   _nll_spec, _nll, _nll_x, None, MISSING, inputs=("x", "t", "w"), optional=("w",), autocast="float32")
neural("nll_loss2d", _nll_spec, _nll, _nll_x, None, MISSING, inputs=("x", "t", "w"), optional=("w",), node="NllLoss2DBackward0", autocast="float32")
neural("nll_loss_backward", _NLL_SHAPE, _nll_adjoint, _nll_again("nll_loss"), None, None, **_NLL_ADJOINT)
neural("multi_margin_loss", _margin_spec, _multi_margin, lambda g, x, t, w, p, margin, reduction: g._fused("multi_margin_loss_backward", x, t, w, p=p, margin=margin, reduction=reduction), None, MISSING, inputs=("x", "t", "w"), optional=("w",), autocast="float32")
neural("multi_margin_loss_backward", _like_second, _multi_margin_adjoint, MISSING, MISSING, inputs=("g", "x", "t", "w"), optional=("w",))
neural("multilabel_margin_loss", _margin_spec, _multilabel, lambda g, x, t, reduction: g._fused("multilabel_margin_loss_backward", x, t, reduction=reduction), None, inputs=("x", "t"), autocast="float32")
neural("multilabel_margin_loss_backward", _like_second, _multilabel_adjoint, MISSING, MISSING, inputs=("g", "x", "t"))
# fmt: on
