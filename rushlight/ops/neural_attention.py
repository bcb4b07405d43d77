"""Attention, pairwise distances of rows, and the connectionist temporal loss: rows with dynamic or
blocked kernels.

Attention goes over tiles of scores and keeps, of each query, only the logarithm of its sum: backward
forms the probabilities of a tile anew, so that memory grows with T and S and not with their product.
A query that sees nothing has probabilities 0. Source: Dao et al., FlashAttention, arXiv:2205.14135.
"""

from __future__ import annotations

import math

import numpy as np

from rushlight.core import dtype as D
from rushlight.ops.families import reduction
from rushlight.ops.neural_base import Spec, dtype_of, floating, neural
from rushlight.ops.op import MISSING
from rushlight.ops.reductions import NORM

_BLOCK = 1 << 16  # scores at a time: they stay in the cache, and no T x S matrix is ever whole


def _tiles(shape, s):
    """Slices of (batch, heads, queries) that cover `shape` and have at most _BLOCK scores each, where one query fits."""
    b, h, t = shape
    rows = max(1, min(t, _BLOCK // max(s, 1)))
    heads = max(1, min(h, _BLOCK // max(rows * s, 1))) if rows == t else 1
    batches = max(1, min(b, _BLOCK // max(heads * rows * s, 1))) if heads == h else 1
    for i in range(0, b, batches):
        for j in range(0, h, heads):
            for k in range(0, t, rows):
                yield slice(i, i + batches), slice(j, j + heads), slice(k, k + rows)


def _scores(q, k, mask, tile, scale, causal):
    """The scores of one tile: -inf where nothing may be seen."""
    scores = np.matmul(q[tile] * np.asarray(scale, q.dtype), k[tile[:2]].swapaxes(-1, -2))
    if causal:  # key j may be seen by query i: j <= i
        first = tile[2].start
        np.copyto(scores, -np.inf, where=~np.tri(scores.shape[-2], scores.shape[-1], first, dtype=bool))
    elif mask is not None and mask.dtype == bool:
        np.copyto(scores, -np.inf, where=~mask[tile])
    elif mask is not None:
        scores += mask[tile]
    return scores


def _spread(mask, q, k):
    """The mask for every batch, head and query, without a copy."""
    return mask if mask is None else np.broadcast_to(mask, (*q.shape[:3], k.shape[2]))


def _attention(q, k, v, mask, scale, causal):
    """q (B, H, T, E), k (B, H, S, E), v (B, H, S, E) with a bool or added mask of (B, H, T, S) or
    what broadcasts to it: the result, and of each query the logarithm of the sum of exp(scores).
    """
    out = np.empty_like(q)  # in the order of q's dimensions: what MultiheadAttention does next is no copy
    total = np.empty(q.shape[:3], q.dtype)
    mask = _spread(mask, q, k)
    for tile in _tiles(q.shape[:3], k.shape[2]):
        p = _scores(q, k, mask, tile, scale, causal)
        top = np.maximum.reduce(p, axis=-1, keepdims=True)
        top[top == -np.inf] = 0  # it sees nothing: its probabilities are 0
        p -= top
        np.exp(p, p)
        weight = np.add.reduce(p, axis=-1, keepdims=True)
        weight[weight == 0] = 1
        np.matmul(p, v[tile[:2]], out=out[tile])
        out[tile] /= weight
        total[tile] = (top + np.log(weight))[..., 0]
    return out, total


def _attention_spec(op, args, attrs):
    q, k, v = (a._data.shape for a in args[:3])
    d = floating(op, dtype_of(args[0]))
    return Spec((*q[:-1], v[-1]), d), Spec(q[:-1], d.compute)


def _attention_adjoint(g, q, k, v, mask, out, total, scale, causal):
    """The gradients of q, k and v; the probabilities of each tile are formed anew."""
    dq, dk, dv = np.empty_like(q), np.zeros_like(k), np.zeros_like(v)
    mask, scale = _spread(mask, q, k), np.asarray(scale, q.dtype)
    for tile in _tiles(q.shape[:3], k.shape[2]):
        pair = tile[:2]
        p = _scores(q, k, mask, tile, scale, causal)
        p -= total[tile][..., None]
        np.exp(p, p)
        dv[pair] += np.matmul(p.swapaxes(-1, -2), g[tile])
        slope = np.matmul(g[tile], v[pair].swapaxes(-1, -2))
        slope -= np.einsum("...i,...i->...", g[tile], out[tile])[..., None]
        slope *= p
        slope *= scale
        np.matmul(slope, k[pair], out=dq[tile])
        dk[pair] += np.matmul(slope.swapaxes(-1, -2), q[tile])
    return dq, dk, dv


def _weights(q, k, mask, scale, causal):
    """The probabilities as a composite of q and k."""
    scores = q.matmul(k.mT) * scale
    if causal:
        one = q.new_ones((q.shape[-2], k.shape[-2]))
        mask = one.cumsum(1) <= one.cumsum(0)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype is D.bool_ else scores + mask
    return scores._fused("safe_softmax", axis=-1)


def _attention_composite(g, q, k, v, mask, out, total, scale, causal):
    p = _weights(q, k, mask, scale, causal)
    dp = g.matmul(v.mT)
    slope = p * (dp - (dp * p).sum(-1, True)) * scale
    return slope.matmul(k), slope.mT.matmul(q), p.mT.matmul(g)


def _attention_back(g, q, k, v, mask, out0, out1, scale, causal):
    return *g[0]._fused("attention_backward", q, k, v, mask, out0, out1, scale=scale, causal=causal), None


def _attention_back_spec(op, args, attrs):
    return tuple(Spec(a._data.shape, dtype_of(a)) for a in args[1:4])


def _like(i):
    return lambda op, args, attrs: Spec(args[i]._data.shape, dtype_of(args[i]))


# ---- distances -----------------------------------------------------------------------------------


def _distance(d, p):
    """The p-norm of differences along the last dimension (overwritten)."""
    np.abs(d, d)
    if p == 0:
        return np.add.reduce((d != 0).astype(d.dtype), axis=-1)
    if p == np.inf:
        return np.maximum.reduce(d, axis=-1, initial=0)
    if p == 1:
        return np.add.reduce(d, axis=-1)
    if p == 2:
        return np.sqrt(np.einsum("...i,...i->...", d, d))
    return np.add.reduce(d**p, axis=-1) ** (1 / p)


def _pairs(n):
    return np.triu_indices(n, 1)


def _pdist(x, p):
    i, j = _pairs(x.shape[0])
    return _distance(x[i] - x[j], p)


def _pdist_spec(op, args, attrs):
    n = args[0]._data.shape[0]
    return Spec((n * (n - 1) // 2,), floating(op, dtype_of(args[0])))


def _slope(d, r, p):
    """The derivative of r = norm(d) by d; 0 where it is not defined."""
    r = r[..., None]
    with np.errstate(all="ignore"):
        if p == 0:
            return np.zeros_like(d)
        if p == 1:
            return np.sign(d)
        if p == np.inf:
            return np.sign(d) * (np.abs(d) == r)
        if p == 2:
            return np.where(r == 0, 0, d / r)
        out = np.sign(d) * np.abs(d) ** (p - 1) * r ** (1 - p)
        return np.where((r == 0) | (d == 0), 0, out)


def _pdist_adjoint(g, x, out, p):
    i, j = _pairs(x.shape[0])
    part = _slope(x[i] - x[j], out, p) * g[:, None]
    r = np.zeros_like(x)
    np.add.at(r, i, part)
    np.subtract.at(r, j, part)
    return r


def _cdist_spec(op, args, attrs):
    a, b = (t._data.shape for t in args)
    return Spec((*a[:-1], b[-2]), floating(op, dtype_of(args[0])))


def _cdist(x, y, p):
    """Distances of the rows of x (..., P, M) from those of y (..., R, M);
    squares by one product where that is faster.
    """
    if p == 2 and (x.shape[-2] > 25 or y.shape[-2] > 25) and x.shape[-1]:
        square = (
            np.einsum("...i,...i->...", x, x)[..., None]
            + np.einsum("...i,...i->...", y, y)[..., None, :]
        )
        square -= 2 * np.matmul(x, y.swapaxes(-1, -2))
        return np.sqrt(np.maximum(square, 0, out=square))
    return _distance(x[..., :, None, :] - y[..., None, :, :], p)


def _cdist_x(g, x, y, out, p):
    return np.add.reduce(
        _slope(x[..., :, None, :] - y[..., None, :, :], out, p) * g[..., None], axis=-2
    )


def _cdist_composite(g, x, y, out, p):
    d = x.unsqueeze(-2) - y.unsqueeze(-3)
    if p == 0:
        return x * 0
    if p == math.inf:
        slope = d.sgn() * (d.abs() == out.unsqueeze(-1))
    else:
        r = d.abs().pow(p).sum(-1, True).pow(1 / p)
        slope = (d.sgn() * d.abs().pow(p - 1) * r.pow(1 - p)).where((r != 0) & (d != 0), 0)
    return (slope * g.unsqueeze(-1)).sum(-2)


def _cdist_back(side):
    def formula(g, x, y, out, p):
        if side == "x":
            return g._fused("cdist_x", x, y, out, p=p)
        return g.mT._fused("cdist_x", y, x, out.mT, p=p)

    return formula


# ---- connectionist temporal classification -------------------------------------------------------


def _extended(targets, target_lengths, blank):
    """Padded targets (N, S) with blanks between and around, (N, 2 S + 1),
    and where a step over two is allowed.
    """
    n, s = targets.shape
    states = np.full((n, 2 * s + 1), blank, np.int64)
    states[:, 1::2] = targets
    skip = np.zeros(states.shape, bool)
    skip[:, 2:] = (states[:, 2:] != blank) & (states[:, 2:] != states[:, :-2])
    return states, skip


def _log_add(a, b):
    return np.logaddexp(a, b)


def _forward(log_p, states, skip):
    """alpha (T, N, states): the log probability of all prefixes that end in each state."""
    t, n, _ = log_p.shape
    emit = np.take_along_axis(log_p, np.broadcast_to(states, (t, *states.shape)), 2)
    alpha = np.full(emit.shape, -np.inf, log_p.dtype)
    if t:
        alpha[0, :, :2] = emit[0, :, :2]
    for i in range(1, t):
        a = alpha[i - 1]
        step = a.copy()
        step[:, 1:] = _log_add(step[:, 1:], a[:, :-1])
        step[:, 2:] = np.where(skip[:, 2:], _log_add(step[:, 2:], a[:, :-2]), step[:, 2:])
        alpha[i] = step + emit[i]
    return alpha, emit


def _ends(alpha, input_lengths, target_lengths):
    """The log likelihood of each sample."""
    n = np.arange(alpha.shape[1])
    last = np.where(input_lengths[:, None] > 0, alpha[np.maximum(input_lengths - 1, 0), n], -np.inf)
    none = np.where(np.arange(last.shape[1]) == 0, 0.0, -np.inf)  # no step and no target: certain
    last = np.where(
        input_lengths[:, None] > 0, last, np.where(target_lengths[:, None] == 0, none, -np.inf)
    )
    a = last[n, 2 * target_lengths]
    b = np.where(target_lengths > 0, last[n, np.maximum(2 * target_lengths - 1, 0)], -np.inf)
    return _log_add(a, b)


def _ctc(log_p, targets, input_lengths, target_lengths, blank, zero_infinity):
    states, skip = _extended(targets, target_lengths, blank)
    alpha, _ = _forward(log_p, states, skip)
    loss = -_ends(alpha, input_lengths, target_lengths)
    return np.where(np.isinf(loss), 0, loss) if zero_infinity else loss


def _ctc_adjoint(g, log_p, targets, input_lengths, target_lengths, blank, zero_infinity):
    t, n, c = log_p.shape
    states, skip = _extended(targets, target_lengths, blank)
    alpha, emit = _forward(log_p, states, skip)
    loss = -_ends(alpha, input_lengths, target_lengths)
    rows = np.arange(n)
    beta = np.full(alpha.shape, -np.inf, alpha.dtype)
    after = np.full(states.shape, -np.inf, alpha.dtype)
    for i in range(t - 1, -1, -1):
        step = after.copy()
        step[:, :-1] = _log_add(step[:, :-1], after[:, 1:])
        step[:, :-2] = np.where(skip[:, 2:], _log_add(step[:, :-2], after[:, 2:]), step[:, :-2])
        final = input_lengths - 1 == i
        if final.any():
            step[final] = -np.inf
            step[rows[final], 2 * target_lengths[final]] = 0
            some = final & (target_lengths > 0)
            step[rows[some], 2 * target_lengths[some] - 1] = 0
        beta[i] = step
        after = np.where((i < input_lengths)[:, None], step + emit[i], -np.inf)
    joint = np.exp(alpha + beta + loss[None, :, None])
    joint = np.where(np.arange(states.shape[1]) < (2 * target_lengths + 1)[:, None], joint, 0)
    occupied = np.zeros(log_p.shape, log_p.dtype)
    where = (np.arange(t)[:, None, None], rows[None, :, None], states[None])
    np.add.at(occupied, where, joint)
    out = np.exp(log_p) - occupied
    out = np.where((np.arange(t)[:, None] < input_lengths)[:, :, None], out, 0)
    out *= g[None, :, None]
    if zero_infinity:
        out = np.where(np.isinf(loss)[None, :, None], 0, out)
    return out


# fmt: off
neural("attention", _attention_spec, _attention, *[_attention_back] * 4, inputs=("q", "k", "v", "mask"), optional=("mask",), outputs=2, joint=True, shown=(0, 1, 2),
       node="ScaledDotProductFlashAttentionForCpuBackward0", autocast="lower")
neural("attention_backward", _attention_back_spec, _attention_adjoint, *[MISSING] * 7, inputs=("g", "q", "k", "v", "mask", "out", "total"), optional=("mask",), outputs=3, differentiable=(0, 1, 2),
       reference=_attention_composite)
neural("pdist", _pdist_spec, _pdist, lambda g, x, out, p: g._fused("pdist_backward", x, out, p=p))
neural("cdist", _cdist_spec, _cdist, _cdist_back("x"), _cdist_back("y"), inputs=("x", "y"), autocast="float32")
neural("cdist_x", _like(1), _cdist_x, inputs=("g", "x", "y", "out"), reference=_cdist_composite)
neural("pdist_backward", _like(1), _pdist_adjoint, MISSING, MISSING, MISSING, inputs=("g", "x", "out"))
neural("ctc_loss", lambda op, args, attrs: Spec((args[0]._data.shape[1],), floating(op, dtype_of(args[0]))), _ctc,
       lambda g, log_p, targets, input_lengths, target_lengths, blank, zero_infinity: g._fused("ctc_loss_backward", log_p, targets, input_lengths, target_lengths, blank=blank, zero_infinity=zero_infinity),
       None, None, None, inputs=("log_p", "targets", "input_lengths", "target_lengths"), autocast="float32")
neural("ctc_loss_backward", _like(1), _ctc_adjoint, MISSING, MISSING, inputs=("g", "log_p", "targets", "input_lengths", "target_lengths"))
reduction("pairwise_norm", NORM.numpy, NORM.grads, result="real", dtypes="fc", analytic=False, node="NormBackward1")
# fmt: on
