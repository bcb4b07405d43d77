"""Attention, pairwise distances of rows, and the connectionist temporal loss: rows with dynamic or
blocked kernels.

Attention saves the probabilities, which its three adjoints read; a row that sees nothing has
probabilities 0. The scores of a block of (batch, head) pairs are one product, and blocks keep them
within the cache.
"""

from __future__ import annotations

import math

import numpy as np

from rushlight.core import dtype as D
from rushlight.ops.families import reduction
from rushlight.ops.neural_base import Spec, dtype_of, floating, neural
from rushlight.ops.op import MISSING
from rushlight.ops.reductions import NORM


def _causal(t, s):
    """True where key j may be seen by query i: j <= i."""
    return np.tri(t, s, dtype=bool)


def _probabilities(scores, visible):
    """The softmax of scores in place; rows without anything visible are 0."""
    if visible is not None:
        np.copyto(scores, -np.inf, where=~visible)
    top = np.maximum.reduce(scores, axis=-1, keepdims=True)
    empty = top == -np.inf
    blank = empty.any()
    scores -= np.where(empty, 0, top) if blank else top
    np.exp(scores, scores)
    total = np.add.reduce(scores, axis=-1, keepdims=True)
    if blank:
        total[empty] = 1
    scores /= total
    return scores


def _attention(q, k, v, mask, scale, causal):
    """q (..., T, E), k (..., S, E), v (..., S, V) with a bool or added mask (..., T, S)."""
    scores = np.matmul(q * np.asarray(scale, q.dtype), k.swapaxes(-1, -2))
    visible = _causal(q.shape[-2], k.shape[-2]) if causal else None
    if mask is not None:
        if mask.dtype == bool:
            visible = mask
        else:
            scores += mask
    if scores.size:
        _probabilities(scores, visible)
    return np.matmul(scores, v), scores


def _attention_spec(op, args, attrs):
    q, k, v = (a._data.shape for a in args[:3])
    d = floating(op, dtype_of(args[0]))
    return Spec((*q[:-1], v[-1]), d), Spec((*q[:-1], k[-2]), d)


def _slopes(g, p, v):
    """The gradient of the scores."""
    dp = np.matmul(g, v.swapaxes(-1, -2))
    dp -= np.einsum("...ts,...ts->...t", dp, p)[..., None]
    dp *= p
    return dp


def _attention_q(g, q, k, v, mask, p, scale, causal):
    return np.matmul(_slopes(g, p, v), k) * np.asarray(scale, k.dtype)


def _attention_k(g, q, k, v, mask, p, scale, causal):
    return np.matmul(_slopes(g, p, v).swapaxes(-1, -2), q) * np.asarray(scale, q.dtype)


def _attention_v(g, q, k, v, mask, p, scale, causal):
    return np.matmul(p.swapaxes(-1, -2), g)


def _weights(q, k, mask, scale, causal):
    """The probabilities as a composite of q and k."""
    scores = q.matmul(k.mT) * scale
    if causal:
        one = q.new_ones((q.shape[-2], k.shape[-2]))
        mask = one.cumsum(1) <= one.cumsum(0)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype is D.bool_ else scores + mask
    return scores._fused("safe_softmax", axis=-1)


def _slopes_composite(g, p, v):
    dp = g.matmul(v.mT)
    return p * (dp - (dp * p).sum(-1, True))


def _q_composite(g, q, k, v, mask, p, scale, causal):
    return _slopes_composite(g, _weights(q, k, mask, scale, causal), v).matmul(k) * scale


def _k_composite(g, q, k, v, mask, p, scale, causal):
    return _slopes_composite(g, _weights(q, k, mask, scale, causal), v).mT.matmul(q) * scale


def _v_composite(g, q, k, v, mask, p, scale, causal):
    return _weights(q, k, mask, scale, causal).mT.matmul(g)


def _like(i):
    return lambda op, args, attrs: Spec(args[i]._data.shape, dtype_of(args[i]))


def _adjoint(name):
    def formula(g, q, k, v, mask, out1, scale, causal):
        return g[0]._fused(name, q, k, v, mask, out1, scale=scale, causal=causal)

    return formula


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
neural("attention", _attention_spec, _attention, _adjoint("attention_q"), _adjoint("attention_k"), _adjoint("attention_v"), MISSING, inputs=("q", "k", "v", "mask"), optional=("mask",), outputs=2, node="ScaledDotProductFlashAttentionForCpuBackward0", autocast="lower")
for _i, (_name, _kernel, _composite) in enumerate((("q", _attention_q, _q_composite), ("k", _attention_k, _k_composite), ("v", _attention_v, _v_composite))):
    neural(f"attention_{_name}", _like(_i + 1), _kernel, inputs=("g", "q", "k", "v", "mask", "p"), optional=("mask",), reference=_composite)
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
