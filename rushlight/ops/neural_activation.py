"""Activation rows: pointwise nonlinearities, the gate, and the softmaxes.

Mechanism: most are pointwise bodies whose gradient is a short formula. gelu, silu and the softmaxes
have kernels that write into their own temporaries, and adjoints that are rows with a composite as
`reference` (neural_base).

Invariant: at a kink the derivative is PyTorch's: that of the side named by the strict comparison in
the formula.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from rushlight.ops.neural_base import Spec, dtype_of, erf, floating, like_input, neural
from rushlight.ops.op import ZERO
from rushlight.ops.pointwise import pointwise

_SQRT_HALF, _SQRT_2_OVER_PI = math.sqrt(0.5), math.sqrt(2.0 / math.pi)
_CUBIC = 0.044715


def _in_place(f):
    """A kernel that works in place on temporaries,
    for 0-dim arrays too (their temporaries are scalars).
    """

    @functools.wraps(f)
    def numpy(*arrays, **attrs):
        if arrays[0].ndim or any(a.ndim for a in arrays):
            return f(*arrays, **attrs)
        return f(*(a.reshape(1) for a in arrays), **attrs)[0]

    return numpy


@_in_place
def _sigmoid(x):
    out = np.negative(x)
    np.exp(out, out)
    out += 1
    return np.reciprocal(out, out)


@_in_place
def _silu(x):
    out = _sigmoid(x)
    out *= x
    return out


@_in_place
def _silu_adjoint(g, x):
    s = _sigmoid(x)  # s (1 + x (1 - s))
    out = 1 - s
    out *= x
    out += 1
    out *= s
    return out * g if out.dtype != g.dtype or out.shape != g.shape else np.multiply(out, g, out)


def _silu_composite(g, x):
    s = x.sigmoid()
    return g * (s * (1 + x * (1 - s)))


@_in_place
def _gelu(x, approximate):
    if approximate == "tanh":
        out = x * x
        out *= _CUBIC
        out += 1
        out *= x
        out *= _SQRT_2_OVER_PI
        np.tanh(out, out)
    else:
        out = erf(x * _SQRT_HALF)
    out += 1
    out *= x
    out *= 0.5
    return out


@_in_place
def _gelu_adjoint(g, x, approximate):
    if approximate == "tanh":
        square = x * x
        t = square * _CUBIC
        t += 1
        t *= x
        t *= _SQRT_2_OVER_PI
        np.tanh(t, t)
        square *= 3 * _CUBIC
        square += 1
        square *= _SQRT_2_OVER_PI
        slope = t * t  # out = x (1 + t) / 2, its derivative (1 + t + x (1 - t^2) t') / 2
        np.subtract(1, slope, slope)
        slope *= square
        slope *= x
        slope += t
        slope += 1
        slope *= 0.5
    else:
        slope = x * x
        slope *= -0.5
        np.exp(slope, slope)
        slope *= x
        slope *= 1 / math.sqrt(2 * math.pi)
        cdf = erf(x * _SQRT_HALF)
        cdf += 1
        cdf *= 0.5
        slope += cdf
    slope *= g
    return slope


def _gelu_slope(s, g, x, approximate):
    if approximate == "tanh":
        t = s.tanh(_SQRT_2_OVER_PI * (x + _CUBIC * x * x * x))
        return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (_SQRT_2_OVER_PI * (1 + 3 * _CUBIC * x * x)))
    return g * (0.5 * (1 + s.erf(x * _SQRT_HALF)) + x * (s.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)))


def _gelu_composite(g, x, approximate):
    if approximate == "tanh":
        t = (_SQRT_2_OVER_PI * (x + _CUBIC * x * x * x)).tanh()
        slope = 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * (_SQRT_2_OVER_PI * (1 + 3 * _CUBIC * x * x))
    else:
        slope = 0.5 * (1 + (x * _SQRT_HALF).erf()) + x * (
            (-0.5 * x * x).exp() / math.sqrt(2 * math.pi)
        )
    return g * slope


def _softplus(s, x, beta, threshold):
    z = x * beta
    return s.where(z > threshold, x, s.log1p(s.exp(z)) / beta)


def _softplus_back(g, x, beta, threshold):
    z = x * beta
    return g.where(z > threshold, g * z.sigmoid())


def _mish_back(g, x):
    t = x._softplus().tanh()
    return g * (t + x * x.sigmoid() * (1 - t * t))


def _elu(s, x, alpha, scale, input_scale):
    return s.where(x < 0, s.expm1(x * input_scale) * (alpha * scale), x * scale)


def _elu_back(g, x, alpha, scale, input_scale):
    return (g * (alpha * scale * input_scale) * (x * input_scale).exp()).where(x <= 0, g * scale)


def _hardswish_back(g, x):
    return (g * (x / 3 + 0.5)).where(x <= 3, g).where(x >= -3, 0)


def _outside(x, lambd):
    return (x < -lambd) | (x > lambd)


def _glu_spec(op, args, attrs):
    shape, axis = args[0]._data.shape, attrs["axis"]
    n = shape[axis]
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {n}")
    return Spec((*shape[:axis], n // 2, *shape[axis + 1 :]), floating(op, dtype_of(args[0])))


def _glu(x, axis):
    a, b = np.split(x, 2, axis)
    return _silu_like(a, b)


@_in_place
def _silu_like(a, b):
    out = _sigmoid(b)
    out *= a
    return out


def _glu_back(g, x, axis):
    n = x.shape[axis] // 2
    a, b = x.narrow(axis, 0, n), x.narrow(axis, n, n)
    s = b.sigmoid()
    return (g * s)._cat(g * a * (s * (1 - s)), axis)


# ---- softmax -------------------------------------------------------------------------------------


def _shifted(x, axis):
    return np.subtract(x, np.maximum.reduce(x, axis=axis, keepdims=True), dtype=x.dtype)


def _softmax(x, axis):
    if x.size == 0 or x.ndim == 0:
        return np.ones_like(x)
    out = _shifted(x, axis)
    np.exp(out, out)
    out /= np.add.reduce(out, axis=axis, keepdims=True)
    return out


def _log_softmax(x, axis):
    if x.size == 0 or x.ndim == 0:
        return np.zeros_like(x)
    out = _shifted(x, axis)
    total = np.add.reduce(np.exp(out), axis=axis, keepdims=True)
    out -= np.log(total, total)
    return out


def _softmax_adjoint(g, out, axis):
    if g.ndim == 0:
        return np.zeros_like(g)
    r = g * out
    inner = np.add.reduce(r, axis=axis, keepdims=True)
    r -= out * inner
    return r


def _log_softmax_adjoint(g, out, axis):
    if g.ndim == 0:
        return np.zeros_like(g)
    r = np.exp(out)
    r *= -np.add.reduce(g, axis=axis, keepdims=True)
    r += g
    return r


def _softmax_composite(g, out, axis):
    r = g * out
    return r - out * r.sum(axis, True)


def _log_softmax_composite(g, out, axis):
    return g - out.exp() * g.sum(axis, True)


# fmt: off
pointwise("leaky_relu",  lambda s, x, negative_slope: s.where(x > 0, x, x * negative_slope), lambda g, x, negative_slope: g.where(x > 0, g * negative_slope), inputs=("x",), dtypes="f", node_in_place="LeakyReluBackward1")
pointwise("hardtanh",    lambda s, x, min_val, max_val: s.minimum(max_val, s.maximum(min_val, x)), lambda g, x, min_val, max_val: g.where((x > min_val) & (x < max_val), 0), inputs=("x",), dtypes="if")
pointwise("elu",         _elu, _elu_back, inputs=("x",), dtypes="f", node_in_place="EluBackward1")
pointwise("celu",        _elu, _elu_back, inputs=("x",), dtypes="f", node_in_place="CeluBackward1")
pointwise("silu",        lambda s, x: x / (1 + s.exp(-x)), lambda g, x: g._fused("silu_backward", x), numpy=_silu, dtypes="fc")
pointwise("silu_backward", lambda s, g, x: g * (1 + x / (1 + s.exp(x))) / (1 + s.exp(-x)), numpy=_silu_adjoint, reference=_silu_composite, dtypes="fc")
pointwise("mish",        lambda s, x: x * s.tanh(s.log1p(s.exp(-s.abs(x))) + s.maximum(x, 0)), _mish_back, dtypes="f")
pointwise("softplus",    _softplus, _softplus_back, inputs=("x",), dtypes="f")
pointwise("log_sigmoid", lambda s, x: s.minimum(x, 0) - s.log1p(s.exp(-s.abs(x))), lambda g, x: g * (-x).sigmoid(), dtypes="f")
pointwise("softshrink",  lambda s, x, lambd: s.where(x > lambd, x - lambd, s.where(x < -lambd, x + lambd, x * 0)), lambda g, x, lambd: g.where(_outside(x, lambd), 0), inputs=("x",), dtypes="f")
pointwise("hardshrink",  lambda s, x, lambd: s.where((x >= -lambd) & (x <= lambd), 0, x), lambda g, x, lambd: g.where(_outside(x, lambd), 0), inputs=("x",), dtypes="f")
pointwise("hardswish",   lambda s, x: x * s.minimum(s.maximum(x + 3, 0), 6) / 6, _hardswish_back, dtypes="f")
pointwise("hardsigmoid", lambda s, x: s.minimum(s.maximum(x + 3, 0), 6) / 6, lambda g, x: (g / 6).where((x > -3) & (x < 3), 0), dtypes="f")
pointwise("threshold",   lambda s, x, threshold, value: s.where(x <= threshold, value, x), lambda g, x, threshold: g.where(x > threshold, 0), inputs=("x",), dtypes="if", node_in_place="ThresholdBackward1")
pointwise("gelu",        lambda s, x, approximate: 0.5 * x * (1 + (s.erf(x * _SQRT_HALF) if approximate == "none" else s.tanh(_SQRT_2_OVER_PI * (x + _CUBIC * x * x * x)))), lambda g, x, approximate: g._fused("gelu_backward", x, approximate=approximate), inputs=("x",), numpy=_gelu, dtypes="f")
pointwise("gelu_backward", _gelu_slope, inputs=("g", "x"), numpy=_gelu_adjoint, reference=_gelu_composite, dtypes="f")
pointwise("prelu",       lambda s, x, w: s.where(x > 0, x, w * x), lambda g, x, w: g.where(x > 0, w * g), lambda g, x: (x * g).where(x <= 0, 0), node="PreluKernelBackward0", dtypes="f")
pointwise("rrelu_with_noise", lambda s, x, noise: x * noise, lambda g, noise: g * noise, ZERO, dtypes="f", node_in_place="RreluWithNoiseBackward1")
pointwise("rrelu",       lambda s, x, slope: s.where(x > 0, x, x * slope), lambda g, x, slope: g.where(x > 0, g * slope), inputs=("x",), node="RreluWithNoiseBackward0", dtypes="f", node_in_place="RreluWithNoiseBackward1")
pointwise("native_dropout", lambda s, x, mask, scale: x * mask * scale, lambda g, mask, scale: g * mask * scale, None, inputs=("x", "mask"), dtypes="fc")
neural("glu",            _glu_spec, _glu, _glu_back)
neural("softmax",        like_input, _softmax, lambda g, out, axis: g._fused("softmax_backward", out, axis=axis), exact=True)
neural("safe_softmax",   like_input, lambda x, axis: np.nan_to_num(_softmax(x, axis), nan=0.0) if x.size else x.copy(), lambda g, out, axis: g._fused("softmax_backward", out, axis=axis))
neural("log_softmax",    like_input, _log_softmax, lambda g, out, axis: g._fused("log_softmax_backward", out, axis=axis), exact=True)
neural("softmax_backward",     like_input, _softmax_adjoint, inputs=("g", "out"), reference=_softmax_composite, node="SoftmaxBackwardDataBackward0")
neural("log_softmax_backward", like_input, _log_softmax_adjoint, inputs=("g", "out"), reference=_log_softmax_composite, node="LogSoftmaxBackwardDataBackward0")
# fmt: on
