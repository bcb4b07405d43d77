"""Normalization rows: batch, layer and group normalization, one node each.

Layer and group normalization are the same arithmetic on rows (mean 0, variance 1 along the last
dimension) with weights laid out differently; they share their kernels. Results beside the output
are the statistics that the adjoint needs. Each adjoint in the input has a `reference` that forms
the statistics anew from the input, so that it can be differentiated itself.
"""

from __future__ import annotations

import math

import numpy as np

from rushlight.ops.neural_base import Spec, as_it_is, dtype_of, floating, neural


def _statistics_dtype(x, *parameters):
    """The input's dtype; float32 for a half type beside parameters in float32."""
    mixed = any(p is not None and dtype_of(p) is not dtype_of(x) for p in parameters)
    return dtype_of(x).compute if mixed else dtype_of(x)


# ---- rows: layer and group normalization ---------------------------------------------------------


def _normalized(rows, eps, out):
    """Write rows with mean 0 and variance 1 into `out`;
    their means and the reciprocals of their deviations.
    """
    n = rows.shape[1]
    mean = np.add.reduce(rows, axis=1, keepdims=True)
    mean /= n
    np.subtract(rows, mean, out)
    scale = np.einsum("ij,ij->i", out, out)[:, None]
    scale /= n
    scale += eps
    np.sqrt(scale, scale)
    np.reciprocal(scale, scale)
    out *= scale
    return mean, scale


def _rows_adjoint(gy, x, mean, scale):
    """Turn the gradient of normalized rows into that of the rows, in place."""
    n = x.shape[1]
    xhat = x - mean
    xhat *= scale
    a = np.add.reduce(gy, axis=1, keepdims=True)
    b = np.einsum("ij,ij->i", gy, xhat)[:, None]
    a /= n
    b /= n
    gy -= a
    xhat *= b
    gy -= xhat
    gy *= scale


def _shape_pair(lead, count):
    return lead + (1,) * count


def _layer_spec(op, args, attrs):
    x = args[0]
    shape, n = x._data.shape, attrs["count"]
    stats = Spec(_shape_pair(shape[: len(shape) - n], n), _statistics_dtype(*args))
    return Spec(shape, floating(op, dtype_of(x))), stats, stats


def _lead(x, count):
    return x.shape[: x.ndim - count]


def _layer(x, w, b, count, eps):
    lead, inner = _lead(x, count), x.shape[x.ndim - count :]
    if x.size == 0:
        empty = np.full(_shape_pair(lead, count), np.nan, x.dtype)
        return x.copy(), empty, empty.copy()
    n = math.prod(inner)
    out = np.empty(x.shape, x.dtype)
    rows = out.reshape(-1, n)
    mean, scale = _normalized(x.reshape(-1, n), eps, rows)
    if w is not None:
        rows *= w.reshape(n)
    if b is not None:
        rows += b.reshape(n)
    stats = _shape_pair(lead, count)
    return out, mean.reshape(stats), scale.reshape(stats)


def _layer_adjoint(g, x, w, mean, scale, count, eps):
    n = math.prod(x.shape[x.ndim - count :])
    out = np.empty(x.shape, x.dtype)
    out[...] = g
    if x.size == 0:
        return out
    rows = out.reshape(-1, n)
    if w is not None:
        rows *= w.reshape(n)
    _rows_adjoint(rows, x.reshape(-1, n), mean.reshape(-1, 1), scale.reshape(-1, 1))
    return out


def _layer_composite(g, x, w, mean, scale, count, eps):
    dims = list(range(-count, 0))
    centre = x - x.mean(dims, True)
    scale = ((centre * centre).mean(dims, True) + eps).rsqrt()
    xhat = centre * scale
    gy = g if w is None else g * w
    return (gy - gy.mean(dims, True) - xhat * (gy * xhat).mean(dims, True)) * scale


def _layer_x(g, x, w, out1, out2, count, eps):
    return g[0]._fused("layer_norm_backward", x, w, out1, out2, count=count, eps=eps)


def _layer_w(g, x, out1, out2, count, eps):
    return g[0]._fused("layer_norm_weight", x, out1, out2, count=count, eps=eps)


def _layer_weight(g, x, mean, scale, count, eps):
    """The sum over rows of g times the normalized rows."""
    inner = x.shape[x.ndim - count :]
    n = math.prod(inner)
    xhat = x.reshape(-1, n) - mean.reshape(-1, 1)
    xhat *= scale.reshape(-1, 1)
    xhat *= g.reshape(-1, n)
    return np.add.reduce(xhat, axis=0).reshape(inner)


def _layer_weight_composite(g, x, mean, scale, count, eps):
    t = g * _standardized(x, list(range(-count, 0)), eps)
    return t.sum(list(range(t.dim() - count))) if t.dim() > count else t


def _standardized(x, dims, eps):
    """x with mean 0 and variance 1 along dims, as a composite."""
    centre = x - x.mean(dims, True)
    return centre * ((centre * centre).mean(dims, True) + eps).rsqrt()


def _layer_b(g, count):
    t = g[0]
    return t.sum(list(range(t.dim() - count))) if t.dim() > count else t


def _group_spec(op, args, attrs):
    x = args[0]
    stats = Spec((x._data.shape[0], attrs["groups"]), _statistics_dtype(*args))
    return Spec(x._data.shape, floating(op, dtype_of(x))), stats, stats


def _channel(v, x):
    return v.reshape((1, -1) + (1,) * (x.ndim - 2))


def _group(x, w, b, groups, eps):
    n = x.shape[0]
    if x.size == 0:
        return x.copy(), np.zeros((n, groups), x.dtype), np.full((n, groups), np.nan, x.dtype)
    out = np.empty(x.shape, x.dtype)
    mean, scale = _normalized(x.reshape(n * groups, -1), eps, out.reshape(n * groups, -1))
    if w is not None:
        out *= _channel(w, x)
    if b is not None:
        out += _channel(b, x)
    return out, mean.reshape(n, groups), scale.reshape(n, groups)


def _group_adjoint(g, x, w, mean, scale, groups, eps):
    out = np.empty(x.shape, x.dtype)
    out[...] = g
    if x.size == 0:
        return out
    if w is not None:
        out *= _channel(w, x)
    rows = (x.shape[0] * groups, -1)
    _rows_adjoint(out.reshape(rows), x.reshape(rows), mean.reshape(-1, 1), scale.reshape(-1, 1))
    return out


def _group_composite(g, x, w, mean, scale, groups, eps):
    shape = (x.shape[0] * groups, -1)
    gy = g if w is None else g * w.reshape([1, -1] + [1] * (x.dim() - 2))
    return _layer_composite(gy.reshape(shape), x.reshape(shape), None, None, None, 1, eps).reshape(
        x.shape
    )


def _group_x(g, x, w, out1, out2, groups, eps):
    g, g_mean, g_scale = g
    out = None if g is None else g._fused("group_norm_backward", x, w, out1, out2, groups=groups, eps=eps)
    if g_mean is None and g_scale is None or not x.numel():
        return out
    rows = x.reshape(x.shape[0], groups, -1)
    n = rows.shape[-1]
    more = 0 if g_mean is None else (g_mean / n).unsqueeze(-1).expand(rows.shape)
    if g_scale is not None:
        centre = rows - rows.mean(-1, True)
        scale = ((centre * centre).mean(-1, True) + eps).rsqrt()
        more = more - (g_scale.unsqueeze(-1) / n) * scale.pow(3) * centre
    more = more.reshape(x.shape)
    return more if out is None else out + more


def _not_channels(t):
    return [0, *range(2, t.dim())]


def _group_w(g, x, out1, out2, groups, eps):
    if g[0] is None:
        return None
    return g[0]._fused("group_norm_weight", x, out1, out2, groups=groups, eps=eps)


def _group_weight(g, x, mean, scale, groups, eps):
    if x.size == 0:
        return np.zeros(x.shape[1], x.dtype)
    xhat = x.reshape(x.shape[0], groups, -1) - mean[:, :, None]
    xhat *= scale[:, :, None]
    return _channel_sums(g, xhat.reshape(x.shape))


def _group_weight_composite(g, x, mean, scale, groups, eps):
    rows = x.reshape(x.shape[0] * groups, -1)
    return (g * _standardized(rows, [-1], eps).reshape(x.shape)).sum(_not_channels(x))


# ---- columns: batch normalization ----------------------------------------------------------------


def _batch_spec(op, args, attrs):
    x = args[0]
    stats = Spec((x._data.shape[1],), _statistics_dtype(*args))
    return Spec(x._data.shape, floating(op, dtype_of(x))), stats, stats, stats


def _channel_sums(x, y=None):
    """The sum of x (or of x * y) over everything but dimension 1."""
    if x.ndim == 2:
        if y is not None:
            return (
                np.einsum("nc,nc->c", x, y)
                if x.shape[0] <= 64
                else np.add.reduce(x * y, axis=0, dtype=np.float64).astype(x.dtype)
            )
        return np.add.reduce(x, axis=0, dtype=np.float64).astype(x.dtype)
    x3 = x.reshape(x.shape[0], x.shape[1], -1)
    if y is None:
        part = np.add.reduce(x3, axis=2)
    else:
        part = np.einsum("ncl,ncl->nc", x3, y.reshape(x3.shape))
    return np.add.reduce(part, axis=0)


def _batch(x, w, b, running_mean, running_var, training, eps, step):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    n = x.size // x.shape[1] if x.shape[1] else 0
    if training:
        mean = _channel_sums(x) / np.asarray(n, x.dtype) if n else np.zeros(x.shape[1], x.dtype)
        out = x - mean.reshape(shape)
        var = _channel_sums(out, out) / np.asarray(n, x.dtype) if n else mean.copy()
        if step is not as_it_is:  # half types are normalized by the statistics that are handed out
            mean = step(mean)
            out = x - mean.reshape(shape)
    else:
        mean, var = running_mean.astype(x.dtype), running_var.astype(x.dtype)
        out = x - mean.reshape(shape)
    scale = 1 / np.sqrt(var + np.asarray(eps, var.dtype))
    if training:
        scale = step(scale)
    out *= (scale if w is None else scale * w).astype(x.dtype).reshape(shape)
    if b is not None:
        out += b.reshape(shape)
    return out, mean, scale, var


def _batch_adjoint(g, x, w, mean, scale, training, eps):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    factor = scale if w is None else scale * w
    if not training:
        return g * factor.reshape(shape)
    n = x.size // x.shape[1]
    out = x - mean.reshape(shape)
    slope = _channel_sums(g, out) * (scale * scale / n)
    shift = _channel_sums(g) / n
    out *= -slope.reshape(shape)
    out += g
    out -= shift.reshape(shape)
    out *= factor.reshape(shape)
    return out


def _batch_composite(g, x, w, mean, scale, training, eps):
    shape = [1, -1] + [1] * (x.dim() - 2)
    dims = _not_channels(x)
    if not training:
        return g * (scale if w is None else scale * w).reshape(shape)
    centre = x - x.mean(dims, True)
    scale = ((centre * centre).mean(dims, True) + eps).rsqrt()
    xhat = centre * scale
    out = (g - g.mean(dims, True) - xhat * (g * xhat).mean(dims, True)) * scale
    return out if w is None else out * w.reshape(shape)


def _batch_back(g, x, w, out1, out2, training, eps):
    return [*g[0]._batch_norm_gradients(x, w, out1, out2, training=training, eps=eps), None, None]


def _batch_gradients(g, x, w, mean, scale, training, eps):
    """Those of x, the weight and the bias."""
    return _batch_adjoint(g, x, w, mean, scale, training, eps), _weight_adjoint(g, x, mean, scale, training, eps), _channel_sums(g)


def _batch_gradients_spec(op, args, attrs):
    x = args[1]
    each = Spec((x._data.shape[1],), _statistics_dtype(x))
    return Spec(x._data.shape, dtype_of(x)), each, each


def _weight_composite(g, x, mean, scale, training, eps):
    shape, dims = [1, -1] + [1] * (x.dim() - 2), _not_channels(x)
    if training:
        return (g * _standardized(x, dims, eps)).sum(dims)
    return (g * (x - mean.reshape(shape)) * scale.reshape(shape)).sum(dims)


def _weight_adjoint(g, x, mean, scale, training, eps):
    return _channel_sums(g, x - mean.reshape((1, -1) + (1,) * (x.ndim - 2))) * scale


def _like_second(op, args, attrs):
    return Spec(args[1]._data.shape, dtype_of(args[1]))


def _inner(op, args, attrs):
    shape = args[1]._data.shape
    return Spec(shape[len(shape) - attrs["count"] :], _statistics_dtype(args[1]))


def _channels(op, args, attrs):
    return Spec((args[1]._data.shape[1],), _statistics_dtype(args[1]))


_ADJOINT = dict(inputs=("g", "x", "w", "mean", "scale"), optional=("w",))
# fmt: off
neural("layer_norm", _layer_spec, _layer, _layer_x, _layer_w, _layer_b, inputs=("x", "w", "b"), optional=("w", "b"), outputs=3, node="NativeLayerNormBackward0")
neural("group_norm", _group_spec, _group, _group_x, _group_w, lambda g: None if g[0] is None else g[0].sum(_not_channels(g[0])), inputs=("x", "w", "b"), optional=("w", "b"), outputs=3, differentiable=(0, 1, 2), node="NativeGroupNormBackward0")
neural("batch_norm", _batch_spec, _batch, _batch_back, _batch_back, _batch_back, None, None, joint=True,
       inputs=("x", "w", "b", "running_mean", "running_var"), optional=("w", "b", "running_mean", "running_var"), outputs=4, node="NativeBatchNormBackward0")
neural("layer_norm_backward", _like_second, _layer_adjoint, reference=_layer_composite, node="NativeLayerNormBackwardBackward0", **_ADJOINT)
neural("group_norm_backward", _like_second, _group_adjoint, reference=_group_composite, **_ADJOINT)
neural("batch_norm_backward", _like_second, _batch_adjoint, reference=_batch_composite, node="NativeBatchNormBackwardBackward0", **_ADJOINT)
neural("batch_norm_gradients", _batch_gradients_spec, _batch_gradients, outputs=3, **_ADJOINT)
neural("layer_norm_weight",   _inner, _layer_weight, inputs=("g", "x", "mean", "scale"), reference=_layer_weight_composite)
neural("group_norm_weight",   _channels, _group_weight, inputs=("g", "x", "mean", "scale"), reference=_group_weight_composite)
neural("batch_norm_weight",   _channels, _weight_adjoint, inputs=("g", "x", "mean", "scale"), reference=_weight_composite)
# fmt: on
