"""asin, acos, atan, atan2: inverse circular functions, odd polynomials after a reduction to [0, 1/2] or [0, 1]."""

from __future__ import annotations

from rushlight.codegen.loops import bitcast, call, const, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import (
    INF,
    at_most,
    bits,
    fma,
    horner,
    larger_first,
    root,
    sign_of,
    with_sign,
)

#: beyond this atan is pi / 2
_ATAN_HIGH = {"f32": 1e12, "f64": 1e30}


def _half_pi(dtype):
    return tables.HALF_PI[dtype][:2]


def _arc(x):
    """(whether |x| >= 1/2, s, rest): asin(|x|) = s + rest below 1/2, else asin(sqrt((1 - |x|) / 2)) = s + rest."""
    a = call("abs", x)
    big = a >= 0.5
    z = select(big, (const(1, x.dtype) - a) * 0.5, a * a)
    s, lacks = root(z, const(0, x.dtype))
    s, lacks = select(big, s, a), select(big, lacks, const(0, x.dtype))
    return big, s, fma(z * s, horner(tables.ASIN, z), lacks)


def asin(x):
    """asin(a), or pi / 2 - 2 asin(sqrt((1 - a) / 2)), with the sign of x."""
    big, s, rest = _arc(x)
    high, low = _half_pi(x.dtype)
    top, lost = larger_first(const(high, x.dtype), s * -2)
    return with_sign(select(big, top + (lost + (const(low, x.dtype) - rest * 2)), s + rest), x)


def acos(x):
    """pi / 2 - asin(x); 2 asin(sqrt((1 - a) / 2)) beside 1, pi minus that beside -1."""
    dtype = x.dtype
    big, s, rest = _arc(x)
    high, low = _half_pi(dtype)
    zero, negative = const(0, dtype), x < 0
    # base + factor (s + rest), the base pi / 2, 0 or pi
    factor = select(big, const(2, dtype), const(-1, dtype))
    factor = bitcast(bits(factor) ^ sign_of(x), dtype)
    base = select(big, select(negative, const(2 * high, dtype), zero), const(high, dtype))
    base_low = select(big, select(negative, const(2 * low, dtype), zero), const(low, dtype))
    top, lost = larger_first(base, factor * s)
    return top + (lost + fma(factor, rest, base_low))


def _arctangent(q, lacks):
    """atan(q + lacks) - q for 0 <= q <= 1; the derivative 1 / (1 + q^2) is taken as 1 - q^2 / 2."""
    z = q * q
    return fma(z * q, horner(tables.ATAN, z), fma(z * -0.5, lacks, lacks))


def atan(x):
    """atan(a), or pi / 2 - atan(1 / a) beyond 1, with the sign of x."""
    dtype = x.dtype
    a = at_most(call("abs", x), _ATAN_HIGH[dtype])
    one, zero = const(1, dtype), const(0, dtype)
    far = a > 1
    inverse = one / a
    q = select(far, inverse, a)
    rest = _arctangent(q, select(far, fma(-inverse, a, one) * inverse, zero))
    high, low = _half_pi(dtype)
    top, lost = larger_first(const(high, dtype), -q)
    return with_sign(select(far, top + (lost + (const(low, dtype) - rest)), q + rest), x)


def atan2(y, x):
    """The angle of (x, y): base +- atan(smaller / larger), the base 0, pi / 2 or pi, with the sign of y."""
    dtype = x.dtype
    zero, one = const(0, dtype), const(1, dtype)
    ax, ay = call("abs", x), call("abs", y)
    steep, left = ay > ax, bits(x) < 0
    over, under = select(steep, ax, ay), select(steep, ay, ax)
    infinite = under == INF
    over = select(infinite, select(over == INF, one, over * 0), over)
    under = select(infinite | (under == 0), one, under)
    q = over / under
    rest = _arctangent(q, fma(-q, under, over) / under)
    high, low = _half_pi(dtype)
    base = select(steep, const(high, dtype), select(left, const(2 * high, dtype), zero))
    base_low = select(steep, const(low, dtype), select(left, const(2 * low, dtype), zero))
    down = steep ^ left
    top, lost = larger_first(base, select(down, -q, q))
    out = top + (lost + (base_low + select(down, -rest, rest)))
    out = select((x == x) & (y == y), out, x + y)
    return bitcast(bits(out) | sign_of(y), dtype)
