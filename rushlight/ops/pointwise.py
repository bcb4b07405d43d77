"""The pointwise family: one result element from the elements at the same place of the broadcast inputs.

A row's `body` is written over an abstract scalar language `s`: operators, plus `s.exp`, `s.where` and so on. NumPy
arrays, LLVM values and CUDA values are such scalars, so one body is every kernel. Rules of the family, stated once:
shapes broadcast; dtypes promote with weak 0-dim tensors and Python numbers; half types compute in float32, and a number
(or 0-dim tensor of another dtype) beside them is rounded to the half type first, except where PyTorch keeps it (the
columns `wide` and `narrow`: x * 0.1 multiplies by 0.1 in float32, x + 0.1 adds the half type's 0.1); `result` says what comes out: "same" (the common dtype), "float" (integers become the default float), "bool", "real" (the real
type of a complex input).

Complex gradients: for a real-analytic f the adjoint multiplies by conj(f'(x)) = f'(conj(x)), so the tape hands the
formulas conjugated values where the result is complex, and every formula reads as if it were real. The few rows that
are not analytic say `analytic=False` and get the values as they are.
"""

from __future__ import annotations

import cmath
import math

from rushlight.core import dtype as D
from rushlight.core import promotion
from rushlight.core.shape import broadcast
from rushlight.ops.op import MISSING, ZERO, Spec, row

_LETTER = "bifc"
_KIND = {"b": "Bool", "i": "Long", "f": "Float", "c": "ComplexFloat"}
_PI = math.pi


def common(args):
    """The promoted dtype of tensors and Python numbers."""
    dimensioned, zero_dim, numbers = [], [], []
    for a in args:
        data = getattr(a, "_data", None)
        if data is None:
            numbers.append(D.of_scalar(a))
        elif data.ndim:
            dimensioned.append(D.BY_NUM[data.dtype.num])
        else:
            zero_dim.append(D.BY_NUM[data.dtype.num])
    if len(dimensioned) + len(zero_dim) == 1 and not numbers:
        return (dimensioned or zero_dim)[0]
    return promotion.result(dimensioned, zero_dim, numbers)


def infer(op, args, attrs):
    """Shape and dtypes of a pointwise result."""
    dtype = common(args[1:] if op.result == "second" else args)
    letter = _LETTER[dtype.category]
    if letter not in op.dtypes:
        raise refused(op, dtype)
    if op.node[:3] in ("Sub", "Rsu") and any(a._data.dtype.kind == "b" if hasattr(a, "_data") else a.__class__ is bool for a in args):
        raise _bool_difference(op)
    if op.result == "float" and dtype.category < D.FLOAT:
        dtype = D.get_default_dtype()
    shapes = [a._data.shape for a in args if hasattr(a, "_data")]
    shape = shapes[0] if len(shapes) == 1 else broadcast(*shapes)
    result = dtype
    if op.result == "bool":
        result = D.bool_
    elif op.result == "real":
        result = dtype.to_real()
    elif op.result == "float_real":
        result = dtype.to_real() if dtype.category >= D.FLOAT else D.get_default_dtype()
        dtype = dtype if dtype.category >= D.FLOAT else result
    return Spec(shape, result, dtype if op.stepwise else dtype.compute, None if dtype is dtype.compute else dtype)


def _bool_difference(op):
    return RuntimeError(
        "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use the `~` or `logical_not()` operator "
        f"instead; to count with it, write x.long() first ({op.name})."
    )


def refused(op, dtype):
    """The error for a dtype that an op does not take."""
    if op.node[:3] in ("Sub", "Rsu"):
        return _bool_difference(op)
    if op.name in ("maximum", "minimum", "fmax", "fmin") and dtype.category == D.COMPLEX:
        return RuntimeError(f"{op.name} not implemented for complex tensors. (they are in no order: compare x.abs(), or x.real)")
    kinds = ", ".join(n for c, n in zip("bifc", ("bool", "integer", "floating", "complex")) if c in op.dtypes)
    kind = RuntimeError if op.name in ("neg", "sub") else NotImplementedError
    return kind(
        f'"{op.name}_cpu" not implemented for \'{dtype.title}\': '
        f"{op.name} takes {kinds} tensors; convert the input with .to(...) first"
    )


def pointwise(name, body, *grads, **columns):
    """A row of the family: the body, then one gradient formula an input."""
    columns.setdefault("inputs", tuple(body.__code__.co_varnames[1 : body.__code__.co_argcount]))
    return row(name, "pointwise", infer, body=body, grads=grads, **columns)



def _pow_x(g, x, y):
    return (g * (y * x.pow(y - 1))).where(y != 0, 0)


def _pow_y(g, out, x, y):
    return g * (out * x.log()).where((x != 0) | ~((y.real if y.is_complex() else y) >= 0), 0)


def _pow_scalar(g, x, exponent):
    if exponent == 0:
        return g * 0
    return g * (exponent * x.pow(exponent - 1))


def _rpow(g, out, y, base):
    if base == 0:
        return (g * 0).where((y.real if y.is_complex() else y) >= 0, g * out * -math.inf)
    return g * (out * (cmath.log(base) if isinstance(base, complex) or base < 0 else math.log(base)))


def _abs(g, x):
    return g * x.sgn()


def _angle(g, x):
    if not x.is_complex():
        return g * 0
    z = x.abs()
    return (g * (x * 1j) / (z * z)).where(z != 0, 0)


def _sgn(g, x, out):
    if not x.is_complex():
        return g * 0
    z = x.abs()
    return ((g / z) - ((g / z) * out.conj()).real * out).where(z != 0, 0)


def _sign_like(g, x, y):
    """copysign: the sign that the magnitude was multiplied by."""
    ratio = x.copysign(y) / x
    return g * ratio.where(x != 0, 0)


def _max_share(g, x, y, compare):
    half = (x == y).to(g.dtype) * 0.5
    return g * (compare.to(g.dtype) + half)


def _xlogy_x(g, x, y):
    y = y if hasattr(y, "log") else x.new_tensor(y)
    return (g * y.log()).where((x != 0) | (y > 0) | y.isnan(), 0)


def _hypot(g, x, out):
    return g * x / out


def _clamp(g, x, min, max):
    inside = None
    if min is not None:
        inside = x >= min
    if max is not None:
        inside = x <= max if inside is None else inside & (x <= max)
    return g.where(inside, 0)


def _clamp_body(s, x, min=None, max=None):
    if min is not None:
        x = s.maximum(min, x)  # the number first: of equal operands the second stays, so that -0. does
    return x if max is None else s.minimum(max, x)


def _atan2(g, x, y, sign):
    """The share of x (sign 1: g y / r^2) or of y (sign -1), 0 at the origin."""
    inverse = (x * x + y * y).reciprocal().where((x != 0) | (y != 0), 0)
    return g * (y if sign > 0 else -x) * inverse


def _lerp(s, x, y, weight):
    """Blend from whichever end is nearer, so that weight 1 gives y exactly."""
    return s.where(s.abs(weight) < 0.5, s.fma(y - x, weight, x), s.fma(y - x, weight - 1, y))


def _truncdiv(s, x, y, half=None):
    """x / y without its fraction; half types round the quotient first, as PyTorch's kernel does."""
    return s.truncdiv(x, y) if half is None else s.trunc(s.rounded(x / y, half))


def _logit(s, x, eps=None):
    if eps is not None:
        x = s.minimum(s.maximum(x, eps), 1 - eps)
    return s.log(x / (1 - x))


def _logit_back(g, x, eps):
    out = g / (x * (1 - x))
    return out if eps is None else out.where((x >= eps) & (x <= 1 - eps), 0)


def _nan_to_num(s, x, nan=None, posinf=None, neginf=None):
    return s.nan_to_num(x, nan, posinf, neginf)


_REAL = "bif"
# fmt: off
#          name           body                                              gradient of each input, given g
pointwise("add",          lambda s, x, y: x + y,                            lambda g: g, lambda g: g)
pointwise("add_scaled",   lambda s, x, y, alpha: s.fma(y, alpha, x),         lambda g: g, lambda g, alpha: g * alpha, inputs=("x", "y"), node="AddBackward0", narrow=("alpha",))
pointwise("sub",          lambda s, x, y: x - y,                            lambda g: g, lambda g: -g, dtypes="ifc")
pointwise("rsub_number",  lambda s, x, y: y - x,                            lambda g: -g, lambda g: g, node="RsubBackward1", dtypes="ifc", shown=(0,))
pointwise("sub_scaled",   lambda s, x, y, alpha: s.fma(y, -alpha, x),        lambda g: g, lambda g, alpha: g * -alpha, inputs=("x", "y"), node="SubBackward0", dtypes="ifc", narrow=("alpha",))
pointwise("mul",          lambda s, x, y: x * y,                            lambda g, y: g * y, lambda g, x: g * x, wide=(0, 1))
pointwise("div",          lambda s, x, y: x / y,                            lambda g, y: g / y, lambda g, x, y: -g * ((x / y) / y), result="float", domain=(.5, 3), wide=(1,))
pointwise("neg",          lambda s, x: -x,                                  lambda g: -g, dtypes="ifc", exact=True)
pointwise("abs",          lambda s, x: s.abs(x),                            _abs, result="real", dtypes="ifc", analytic=False, exact=True)
pointwise("square",       lambda s, x: x * x,                               lambda g, x: g * (2 * x), node="PowBackward0")
pointwise("reciprocal",   lambda s, x: 1 / x,                               lambda g, out: -g * (out * out), result="float", domain=(.5, 3))
pointwise("sqrt",         lambda s, x: s.sqrt(x),                           lambda g, out: g / (2 * out), result="float", domain=(.1, 4))
pointwise("rsqrt",        lambda s, x: 1 / s.sqrt(x),                       lambda g, out: -0.5 * g * (out * out * out), result="float", domain=(.1, 4))
pointwise("pow",          lambda s, x, y: s.pow(x, y),                      _pow_x, _pow_y, node="PowBackward1", domain=(.3, 2))
pointwise("pow_scalar",   lambda s, x, exponent: s.pow(x, exponent),        _pow_scalar, inputs=("x",), node="PowBackward0", domain=(.3, 2), narrow=("exponent",))
pointwise("rpow",         lambda s, y, base: s.pow(base, y),                _rpow, inputs=("y",), node="PowBackward2", narrow=("base",))
pointwise("exp",          lambda s, x: s.exp(x),                            lambda g, out: g * out, result="float", also=())
pointwise("exp2",         lambda s, x: s.exp2(x),                           lambda g, out: g * (out * math.log(2)), result="float")
pointwise("expm1",        lambda s, x: s.expm1(x),                          lambda g, out: g * (out + 1), result="float")
pointwise("log",          lambda s, x: s.log(x),                            lambda g, x: g / x, result="float", domain=(.1, 4))
pointwise("log2",         lambda s, x: s.log2(x),                           lambda g, x: g / (x * math.log(2)), result="float", domain=(.1, 4))
pointwise("log10",        lambda s, x: s.log10(x),                          lambda g, x: g / (x * math.log(10)), result="float", domain=(.1, 4))
pointwise("log1p",        lambda s, x: s.log1p(x),                          lambda g, x: g / (x + 1), result="float", domain=(-.5, 4), node="Log1PBackward0")
pointwise("sin",          lambda s, x: s.sin(x),                            lambda g, x: g * x.cos(), result="float")
pointwise("cos",          lambda s, x: s.cos(x),                            lambda g, x: g * -x.sin(), result="float")
pointwise("tan",          lambda s, x: s.tan(x),                            lambda g, out: g * (1 + out * out), result="float", domain=(-1, 1))
pointwise("asin",         lambda s, x: s.asin(x),                           lambda g, x: g * (1 - x * x).rsqrt(), result="float", domain=(-.9, .9), also=("arcsin",))
pointwise("acos",         lambda s, x: s.acos(x),                           lambda g, x: -g * (1 - x * x).rsqrt(), result="float", domain=(-.9, .9), also=("arccos",))
pointwise("atan",         lambda s, x: s.atan(x),                           lambda g, x: g / (x * x + 1), result="float", also=("arctan",))
pointwise("sinh",         lambda s, x: s.sinh(x),                           lambda g, x: g * x.cosh(), result="float")
pointwise("cosh",         lambda s, x: s.cosh(x),                           lambda g, x: g * x.sinh(), result="float")
pointwise("tanh",         lambda s, x: s.tanh(x),                           lambda g, out: g * (1 - out * out), result="float")
pointwise("asinh",        lambda s, x: s.asinh(x),                          lambda g, x: g * (x * x + 1).rsqrt(), result="float", also=("arcsinh",))
pointwise("acosh",        lambda s, x: s.acosh(x),                          lambda g, x: g * ((x - 1).rsqrt() * (x + 1).rsqrt()), result="float", domain=(1.1, 4), also=("arccosh",))
pointwise("atanh",        lambda s, x: s.atanh(x),                          lambda g, x: g / (1 - x * x), result="float", domain=(-.9, .9), also=("arctanh",))
pointwise("sigmoid",      lambda s, x: 1 / (1 + s.exp(-x)),                 lambda g, out: g * (out * (1 - out)), result="float", also=("special.expit",))
pointwise("erf",          lambda s, x: s.erf(x),                            lambda g, x: g * (2 / math.sqrt(_PI) * (-(x * x)).exp()), result="float", dtypes=_REAL, also=("special.erf",))
pointwise("erfc",         lambda s, x: s.erfc(x),                           lambda g, x: g * (-2 / math.sqrt(_PI) * (-(x * x)).exp()), result="float", dtypes=_REAL, also=("special.erfc",))
pointwise("erfinv",       lambda s, x: s.erfinv(x),                         lambda g, out: g * (math.sqrt(_PI) / 2 * (out * out).exp()), result="float", dtypes=_REAL, domain=(-.9, .9), also=("special.erfinv",))
pointwise("lgamma",       lambda s, x: s.lgamma(x),                         lambda g, x: g * x.digamma(), result="float", dtypes=_REAL, domain=(.5, 4), also=("special.gammaln",))
pointwise("digamma",      lambda s, x: s.digamma(x),                        lambda g, x: g * x.polygamma_of(1), result="float", dtypes=_REAL, domain=(.5, 4), also=("special.digamma", "special.psi"))
pointwise("polygamma_of", lambda s, x, n: s.polygamma(n, x),                lambda g, x, n: g * x.polygamma_of(n + 1), result="float", dtypes=_REAL, inputs=("x",), node="PolygammaBackward0", domain=(.5, 4))
pointwise("relu",         lambda s, x: s.maximum(0, x),                     lambda g, out: g.where(out > 0, 0), dtypes="if", has_out=False)
pointwise("sign",         lambda s, x: s.sign(x),                           ZERO, dtypes=_REAL, exact=True)
pointwise("sgn",          lambda s, x: s.sgn(x),                            _sgn, analytic=False, exact=True)
pointwise("ceil",         lambda s, x: s.ceil(x),                           ZERO, dtypes="if", exact=True)
pointwise("floor",        lambda s, x: s.floor(x),                          ZERO, dtypes="if", exact=True)
pointwise("trunc",        lambda s, x: s.trunc(x),                          ZERO, dtypes="if", also=("fix",), exact=True)
pointwise("round",        lambda s, x: s.round(x),                          ZERO, dtypes="if", exact=True)
pointwise("frac",         lambda s, x: x - s.trunc(x),                      lambda g: g, dtypes="f", exact=True)
pointwise("conj_physical",lambda s, x: s.conj(x),                           lambda g: g.conj(), analytic=False, node="ConjBackward0", exact=True)
pointwise("angle",        lambda s, x: s.angle(x),                          _angle, result="float_real", analytic=False)
pointwise("atan2",        lambda s, x, y: s.atan2(x, y),                    lambda g, x, y: _atan2(g, x, y, 1), lambda g, x, y: _atan2(g, x, y, -1), result="float", dtypes=_REAL, also=("arctan2",), scalars=False)
pointwise("hypot",        lambda s, x, y: s.hypot(x, y),                    lambda g, x, out: _hypot(g, x, out), lambda g, y, out: _hypot(g, y, out), dtypes="f", scalars=False)
pointwise("fmod",         lambda s, x, y: s.fmod(x, y),                     lambda g: g, lambda g, x, y: -g * (x / y).trunc(), dtypes="if", domain=(.5, 3))
pointwise("remainder",    lambda s, x, y: s.remainder(x, y),                lambda g: g, lambda g, x, y: -g * (x / y).floor(), dtypes="if", domain=(.5, 3))
pointwise("floor_divide", lambda s, x, y: s.floordiv(x, y),                 MISSING, MISSING, dtypes="if", domain=(.5, 3), node="NotImplemented", shown=(0, 1), wide=(1,))
pointwise("div_floor",    lambda s, x, y: s.floordiv(x, y),                 ZERO, ZERO, dtypes="if", domain=(.5, 3), node="DivBackward2", wide=(1,))
pointwise("trunc_divide", _truncdiv,                                         ZERO, ZERO, dtypes="if", domain=(.5, 3), node="DivBackward2", wide=(1,), inputs=("x", "y"))
pointwise("maximum",      lambda s, x, y: s.maximum(x, y),                  lambda g, x, y: _max_share(g, x, y, x > y), lambda g, x, y: _max_share(g, x, y, x < y), dtypes=_REAL, scalars=False)
pointwise("minimum",      lambda s, x, y: s.minimum(x, y),                  lambda g, x, y: _max_share(g, x, y, x < y), lambda g, x, y: _max_share(g, x, y, x > y), dtypes=_REAL, scalars=False)
pointwise("fmax",         lambda s, x, y: s.fmax(x, y),                     lambda g, x, y: g.where((x >= y) | y.isnan(), 0), lambda g, x, y: g.where(~((x >= y) | y.isnan()), 0), dtypes=_REAL, scalars=False)
pointwise("fmin",         lambda s, x, y: s.fmin(x, y),                     lambda g, x, y: g.where((x <= y) | y.isnan(), 0), lambda g, x, y: g.where(~((x <= y) | y.isnan()), 0), dtypes=_REAL, scalars=False)
pointwise("copysign",     lambda s, x, y: s.copysign(x, y),                 _sign_like, ZERO, result="float", dtypes=_REAL)
pointwise("nextafter",    lambda s, x, y: s.nextafter(x, y),                lambda g: g, ZERO, dtypes="f", scalars=False)
pointwise("heaviside",    lambda s, x, y: s.heaviside(x, y),                dtypes=_REAL, scalars=False, exact=True)
pointwise("logaddexp",    lambda s, x, y: s.logaddexp(x, y),                lambda g, x, y: g / (1 + (y - x).exp()), lambda g, x, y: g / (1 + (x - y).exp()), dtypes="fc", scalars=False)
pointwise("logaddexp2",   lambda s, x, y: s.logaddexp2(x, y),               lambda g, x, y: g / (1 + (y - x).exp2()), lambda g, x, y: g / (1 + (x - y).exp2()), dtypes="f", scalars=False)
pointwise("xlogy",        lambda s, x, y: s.where((x == 0) & (y == y), x * 0, x * s.log(y)), _xlogy_x, lambda g, x, y: g * x / y, result="float", stepwise=True, dtypes=_REAL, domain=(.5, 3), also=("special.xlogy",))
pointwise("gcd",          lambda s, x, y: s.gcd(x, y),                      dtypes="i", scalars=False)
pointwise("lcm",          lambda s, x, y: s.lcm(x, y),                      dtypes="i", scalars=False)
pointwise("bitwise_and",  lambda s, x, y: x & y,                            dtypes="bi")
pointwise("bitwise_or",   lambda s, x, y: x | y,                            dtypes="bi")
pointwise("bitwise_xor",  lambda s, x, y: x ^ y,                            dtypes="bi")
pointwise("bitwise_not",  lambda s, x: ~x,                                  dtypes="bi", exact=True)
pointwise("bitwise_left_shift",  lambda s, x, y: s.shl(x, y),               dtypes="i")
pointwise("bitwise_right_shift", lambda s, x, y: s.shr(x, y),               dtypes="i")
pointwise("eq",           lambda s, x, y: x == y,                           result="bool")
pointwise("ne",           lambda s, x, y: x != y,                           result="bool", also=("not_equal",))
pointwise("lt",           lambda s, x, y: x < y,                            result="bool", dtypes=_REAL, also=("less",))
pointwise("le",           lambda s, x, y: x <= y,                           result="bool", dtypes=_REAL, also=("less_equal",))
pointwise("gt",           lambda s, x, y: x > y,                            result="bool", dtypes=_REAL, also=("greater",))
pointwise("ge",           lambda s, x, y: x >= y,                           result="bool", dtypes=_REAL, also=("greater_equal",))
pointwise("logical_and",  lambda s, x, y: (x != 0) & (y != 0),              result="bool", scalars=False)
pointwise("logical_or",   lambda s, x, y: (x != 0) | (y != 0),              result="bool", scalars=False)
pointwise("logical_xor",  lambda s, x, y: (x != 0) ^ (y != 0),              result="bool", scalars=False)
pointwise("logical_not",  lambda s, x: x == 0,                              result="bool")
pointwise("isnan",        lambda s, x: x != x,                              result="bool", has_out=False)
pointwise("isinf",        lambda s, x: s.isinf(x),                          result="bool", has_out=False)
pointwise("isfinite",     lambda s, x: s.isfinite(x),                       result="bool", has_out=False)
pointwise("isposinf",     lambda s, x: x == math.inf,                       result="bool", dtypes=_REAL, exact=True)
pointwise("isneginf",     lambda s, x: x == -math.inf,                      result="bool", dtypes=_REAL, exact=True)
pointwise("signbit",      lambda s, x: s.signbit(x),                        result="bool", dtypes=_REAL, exact=True)
pointwise("where",        lambda s, c, x, y: s.where(c, x, y),              None, lambda g, c: g.where(c, 0), lambda g, c: g.where(~c, 0), result="second", exact=True)
pointwise("clamp",        _clamp_body,                                      _clamp, inputs=("x",), dtypes="if", node="ClampBackward1")
pointwise("lerp",         _lerp,                                            lambda g, weight: g * (1 - weight), lambda g, weight: g * weight, lambda g, x, y: g * (y - x), dtypes="fc", node="LerpBackward1", exact=True)
pointwise("lerp_scalar",  lambda s, x, y, weight: s.fma(y - x, weight, x) if abs(weight) < .5 else s.fma(y - x, s.like(x, weight) - s.like(x, 1), y), lambda g, weight: g * (1 - weight), lambda g, weight: g * weight, inputs=("x", "y"), dtypes="fc", node="LerpBackward0")
pointwise("round_decimals", lambda s, x, decimals: s.round(x * 10.0**decimals) / 10.0**decimals if decimals > 0 else s.round(x / 10.0**-decimals) * 10.0**-decimals, ZERO, inputs=("x",), dtypes="f", node="RoundBackward1", exact=True)
pointwise("logit",        _logit,                                           _logit_back, inputs=("x",), result="float", dtypes=_REAL, domain=(.1, .9))
pointwise("nan_to_num",   _nan_to_num,                                      lambda g, x: g.where(x.isfinite(), 0), inputs=("x",), dtypes="fc", exact=True)
pointwise("addcmul",      lambda s, x, y, z, value: s.fma(y * value if value != 1 else y, z, x), lambda g: g, lambda g, z, value: g * (z * value), lambda g, y, value: g * (y * value), inputs=("x", "y", "z"), dtypes="ifc")
pointwise("addcdiv",      lambda s, x, y, z, value: x + (y * value if value != 1 else y) / z, lambda g: g, lambda g, z, value: g * (z.new_full((), value) / z), lambda g, y, z, value: -g * (value * y / (z * z)), inputs=("x", "y", "z"), dtypes="fc", domain=(.5, 3))
# fmt: on
