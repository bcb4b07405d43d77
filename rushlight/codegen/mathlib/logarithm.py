"""log, log2, log10, log1p, and the inverse hyperbolic functions that are logarithms: asinh, acosh, atanh.

x = 2^e m with sqrt(1/2) <= m < sqrt(2), f = m - 1. log(1 + f) is a polynomial (float32), or for float64 the series of
atanh in s = f / (2 + f), arranged as in fdlibm's e_log.c (K. C. Ng, 1993). e log(2) is added in two parts, its sum with f
as an exact pair.
"""

from __future__ import annotations

from rushlight.codegen.loops import bitcast, call, cast, const, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import (
    INF,
    LAYOUT,
    NAN,
    bits,
    doubled,
    fma,
    horner,
    larger_first,
    root,
    shifted,
    square,
    times,
    two_sum,
    with_sign,
)

_ROOT_HALF = {"f32": 0x3F3504F3, "f64": 0x3FE6A09E667F3BCD}
_TINY = {"f32": 2.0**-126, "f64": 2.0**-1022}
_LARGE = 2.0**30  # beyond it asinh(x) and acosh(x) are log(2 x)
#: below this log1p is its argument
_SMALL = {"f32": 2.0**-26, "f64": 2.0**-55}
_RAISE = {"f32": 24, "f64": 54}


def _parts(x):
    """(m, e as a float, bits of e + bias in place) of a positive normal number."""
    dtype = x.dtype
    integer, mantissa, bias = LAYOUT[dtype]
    b, one = bits(x), bias << mantissa
    field = (b + (one - _ROOT_HALF[dtype])) & -(1 << mantissa)
    m = bitcast(b - field + one, dtype)
    k = shifted("lshr", field, mantissa)
    if dtype == "f32":
        e = cast(k - bias, "f32")
    else:  # few machines convert 64-bit integers in lanes: the float 2^52 + k has k in its low bits
        e = bitcast(k | 0x4330000000000000, "f64") - (2.0**52 + bias)
    return m, e, field


def _small(f):
    """log(1 + f) - f, which is small beside f."""
    if f.dtype == "f32":
        return f * f * fma(f, horner(tables.LOG, f), -0.5)
    half = f * f * 0.5
    s = f / (f + 2)
    z = s * s
    return s * fma(z, horner(tables.LOG_ODD, z), half) - half


def _sum(f, e, tail=None):
    """log(1 + f) + e log(2) as a rounded sum and what it lacks, for f that lacks `tail`."""
    high, low = tables.LN2_SHORT[f.dtype]
    t, rest = larger_first(e * high, f)  # the product is exact
    rest = fma(e, low, rest) + _small(f)
    return t, rest if tail is None else rest + fma(-f, tail, tail)


def _scaled_sum(f, e, unit, scale):
    """log(1 + f) scale + e unit, both numbers given in two parts: f - f^2 / 2 is an exact pair here."""
    high, low = square(f)
    u, rest = larger_first(f, high * -0.5)
    if f.dtype == "f32":
        third = high * f * horner(tables.LOG, f)
    else:
        s = f / (f + 2)
        z = s * s
        third = s * fma(z, horner(tables.LOG_ODD, z), high * 0.5)
    rest = fma(low, -0.5, rest) + third
    p = times(u, const(scale[0], f.dtype))
    rest = fma(rest, scale[0], fma(u, scale[1], fma(u, scale[0], -p)))
    t, lost = larger_first(e * unit[0], p)
    return t + (lost + (fma(e, unit[1], rest) if unit[1] else rest))


def _edges(x, out, zero):
    """The values at and beyond the ends of the domain: -inf at `zero`, NaN below, inf at inf, NaN of NaN."""
    out = select(x > zero, out, select(x == zero, const(-INF, x.dtype), const(NAN, x.dtype)))
    return select(x < INF, out, x)


def mantissa(x):
    """(f, e) of x = 2^e (1 + f), denormal numbers included."""
    dtype = x.dtype
    low = x < _TINY[dtype]
    m, e, _ = _parts(select(low, x * 2.0 ** _RAISE[dtype], x))
    return m - 1, e - select(low, const(_RAISE[dtype], dtype), const(0, dtype))


def log_of(x):
    """log of a positive number as a rounded sum and what it lacks."""
    return _sum(*mantissa(x))


def log(x):
    high, low = log_of(x)
    return _edges(x, high + low, 0)


def log2(x):
    f, e = mantissa(x)
    return _edges(x, _scaled_sum(f, e, (1.0, 0.0), tables.LOG2E[x.dtype]), 0)


def log10(x):
    f, e = mantissa(x)
    return _edges(x, _scaled_sum(f, e, tables.LOG10_2[x.dtype], tables.LOG10E[x.dtype]), 0)


def log_pair(u, lost, more=None):
    """log(u + lost) of a normal number as a rounded sum and what it lacks; `more` is added to the exponent of 2."""
    dtype = u.dtype
    m, e, field = _parts(u)
    scale = bitcast(((2 * LAYOUT[dtype][2] + 1) << LAYOUT[dtype][1]) - field, dtype)  # 2^(1 - e): e is 128 for the largest
    first, half = m - 1, lost * 0.5
    f = fma(half, scale, first)
    return _sum(f, e if more is None else e + more, fma(half, scale, first - f))


def log1p(x):
    """log of 1 + x, what is lost in rounding 1 + x added to f."""
    u = x + 1
    high, low = log_pair(u, x - (u - 1))
    return select(call("abs", x) < _SMALL[x.dtype], x, _edges(x, high + low, -1))


def _tail_of_root(a, root_, lacks):
    """a + sqrt(.) as a sum and what it lacks, for a root not below a or not above it."""
    total, rest = two_sum(a, root_)
    return total, rest + lacks


@doubled
def asinh(x):
    """An odd polynomial near 0, else log(a + sqrt(a^2 + 1)); log(2 a) for the largest."""
    a = call("abs", x)
    z = a * a
    near = fma(z * a, horner(tables.ASINH, z), a)
    high, low = square(a)
    total, rest = two_sum(high, const(1, x.dtype))
    u, lacks = _tail_of_root(a, *root(total, rest + low))
    zero, large = const(0, x.dtype), a > _LARGE
    high, low = log_pair(select(large, a, u), select(large, zero, lacks), select(large, const(1, x.dtype), zero))
    far = select(a < INF, high + low, a)
    return with_sign(select(a < 0.5, near, far), x)


@doubled
def acosh(x):
    """log(x + sqrt(x^2 - 1)); log(2 x) for the largest."""
    high, low = square(x)
    w = high - 1
    u, lacks = _tail_of_root(x, *root(w, (high - w - 1) + low))
    zero, large = const(0, x.dtype), x > _LARGE
    high, low = log_pair(select(large, x, u), select(large, zero, lacks), select(large, const(1, x.dtype), zero))
    out = select(x >= 1, high + low, const(NAN, x.dtype))
    return select(x < INF, out, x)


@doubled
def atanh(x):
    """An odd polynomial near 0, else log((1 + a) / (1 - a)) / 2."""
    a = call("abs", x)
    z = a * a
    near = fma(z * a, horner(tables.ATANH, z), a)
    over, rest = larger_first(const(1, x.dtype), a)
    under = const(1, x.dtype) - a
    q = over / under
    high, low = log_pair(q, (fma(-q, under, over) + rest) / under)
    far = (high + low) * 0.5
    far = select(a < 1, far, select(a == 1, const(INF, x.dtype), const(NAN, x.dtype)))
    return with_sign(select(a < 0.5, near, far), x)
