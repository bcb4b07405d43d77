"""log, log1p: logarithms.

x = 2^e m with sqrt(1/2) <= m < sqrt(2), f = m - 1. log(1 + f) is a polynomial (float32), or for float64 the series of
atanh in s = f / (2 + f), arranged as in fdlibm's e_log.c (K. C. Ng, 1993). e log(2) is added in two parts, its sum with f
as an exact pair.
"""

from __future__ import annotations

from rushlight.codegen.loops import bitcast, call, cast, const, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import INF, LAYOUT, NAN, bits, fma, horner, shifted

_ROOT_HALF = {"f32": 0x3F3504F3, "f64": 0x3FE6A09E667F3BCD}
_TINY = {"f32": 2.0**-126, "f64": 2.0**-1022}
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


def _sum(f, e, tail=None):
    """log(1 + f) + e log(2), for f that lacks `tail`."""
    high, low = tables.LN2_SHORT[f.dtype]
    top = e * high  # exact
    t = top + f
    rest = fma(e, low, f - (t - top))
    if tail is not None:
        rest = rest + fma(-f, tail, tail)
    if f.dtype == "f32":
        return t + fma(f * f, fma(f, horner(tables.LOG, f), -0.5), rest)
    half = f * f * 0.5
    s = f / (f + 2)
    z = s * s
    return t + (rest - (half - s * fma(z, horner(tables.LOG_ODD, z), half)))


def _edges(x, out, zero):
    """The values at and beyond the ends of the domain: -inf at `zero`, NaN below, inf at inf, NaN of NaN."""
    out = select(x > zero, out, select(x == zero, const(-INF, x.dtype), const(NAN, x.dtype)))
    return select(x < INF, out, x)


def log(x):
    dtype = x.dtype
    low = x < _TINY[dtype]
    m, e, _ = _parts(select(low, x * 2.0 ** _RAISE[dtype], x))
    e = e - select(low, const(_RAISE[dtype], dtype), const(0, dtype))
    return _edges(x, _sum(m - 1, e), 0)


def log1p(x):
    """log of 1 + x, what is lost in rounding 1 + x added to f."""
    dtype = x.dtype
    u = x + 1
    lost = x - (u - 1)
    m, e, field = _parts(u)
    scale = bitcast(((2 * LAYOUT[dtype][2] + 1) << LAYOUT[dtype][1]) - field, dtype)  # 2^(1 - e): e is 128 for the largest
    first, half = m - 1, lost * 0.5
    f = fma(half, scale, first)
    out = _sum(f, e, fma(half, scale, first - f))
    return select(call("abs", x) < _SMALL[dtype], x, _edges(x, out, -1))
