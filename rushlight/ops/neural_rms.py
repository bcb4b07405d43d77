"""Root-mean-square normalization as one node: x / sqrt(mean(x ** 2) + eps) * weight over the last dimensions.

PyTorch forms it op by op, and its nodes are shown in that way. The second result is the reciprocal of the root, which the
adjoints need; they have a `reference` that forms it anew from x, so that they can be differentiated themselves.
Source: Zhang, Sennrich, Root Mean Square Layer Normalization (arXiv:1910.07467).
"""

from __future__ import annotations

import math

import numpy as np

from rushlight.ops.neural_base import Spec, dtype_of, floating, neural


def _spec(op, args, attrs):
    x, n = args[0], attrs["count"]
    shape = x._data.shape
    dtype = floating(op, dtype_of(x))
    return Spec(shape, dtype), Spec(shape[: len(shape) - n] + (1,) * n, dtype)


def _axes(x, count):
    return tuple(range(x.ndim - count, x.ndim))


def _rms(x, count, eps):
    squares = np.add.reduce(x * x, axis=_axes(x, count), keepdims=True)
    scale = 1 / np.sqrt(squares / np.asarray(math.prod(x.shape[x.ndim - count :]), x.dtype) + np.asarray(eps, x.dtype))
    return x * scale, scale


def _weighted(x, w, count, eps):
    out, scale = _rms(x, count, eps)
    return out * w, scale


def _adjoint(g, x, w, scale, count, eps):
    gy = g if w is None else g * w
    inner = np.add.reduce(gy * x, axis=_axes(x, count), keepdims=True)
    return (gy - x * (inner * scale * scale / np.asarray(math.prod(x.shape[x.ndim - count :]), x.dtype))) * scale


def _adjoint_composite(g, x, w, scale, count, eps):
    dims = list(range(-count, 0))
    gy = g if w is None else g * w
    scale = ((x * x).mean(dims, True) + eps).rsqrt()
    return (gy - x * ((gy * x).mean(dims, True) * scale * scale)) * scale


def _weight(g, x, scale, count, eps):
    return np.add.reduce(g * (x * scale), axis=tuple(range(x.ndim - count)))


def _weight_composite(g, x, scale, count, eps):
    dims = list(range(-count, 0))
    t = g * (x * ((x * x).mean(dims, True) + eps).rsqrt())
    return t.sum(list(range(t.dim() - count))) if t.dim() > count else t


def _x(g, x, w, out1, count, eps):
    return g[0]._fused("rms_norm_backward", x, w, out1, count=count, eps=eps)


def _plain_x(g, x, out1, count, eps):
    return g[0]._fused("rms_norm_backward", x, None, out1, count=count, eps=eps)


def _w(g, x, out1, count, eps):
    return g[0]._fused("rms_norm_weight", x, out1, count=count, eps=eps)


def _like_x(op, args, attrs):
    return Spec(args[1]._data.shape, dtype_of(args[1]))


def _inner(op, args, attrs):
    x = args[1]
    return Spec(x._data.shape[x._data.ndim - attrs["count"] :], dtype_of(x))


_ROOT = ("RsqrtBackward0", ("AddBackward0", ("MeanBackward1", ("PowBackward0", 0))))
# fmt: off
neural("rms_norm",          _spec, _weighted, _x, _w, inputs=("x", "w"), outputs=2, node="MulBackward0", shown=(("MulBackward0", 0, _ROOT), 1))
neural("rms_norm_plain",    _spec, _rms, _plain_x, outputs=2, node="MulBackward0", shown=(0, _ROOT))
neural("rms_norm_backward", _like_x, _adjoint, inputs=("g", "x", "w", "scale"), optional=("w",), reference=_adjoint_composite)
neural("rms_norm_weight",   _inner, _weight, inputs=("g", "x", "scale"), reference=_weight_composite)
# fmt: on
