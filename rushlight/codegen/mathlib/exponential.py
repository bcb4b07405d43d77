"""exp, exp2, expm1, tanh, sigmoid, sinh, cosh: exponentials.

x = n log(2) + r with |r| <= log(2) / 2, log(2) in two parts (W. J. Cody and W. Waite, Software Manual for the Elementary
Functions, 1980): the first product and its difference are exact with fma. exp(r) is a polynomial. 2^n is multiplied on in
two halves, so that results go over to infinity, to denormals and to zero by themselves.
"""

from __future__ import annotations

from rushlight.codegen.loops import bitcast, call, const, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import (
    LAYOUT,
    at_least,
    at_most,
    fma,
    horner,
    nearest,
    shifted,
    with_sign,
)

LOG2E = 1.4426950408889634074
#: from here on exp is infinite, up to here it is 0
_EXP_RANGE = {"f32": (-104.0, 89.0), "f64": (-746.0, 710.0)}
_EXP2_RANGE = {"f32": (-151.0, 129.0), "f64": (-1076.0, 1025.0)}
#: up to here expm1 is -1
_EXPM1_LOW = {"f32": -18.0, "f64": -38.0}
#: below this expm1 and sinh are their argument (and halving it could cost a bit)
_SMALL = {"f32": 2.0**-25, "f64": 2.0**-54}
#: from here on sinh and cosh are infinite
_SINH_HIGH = {"f32": 89.5, "f64": 710.6}
#: from here on tanh is 1
_TANH_HIGH = {"f32": 9.25, "f64": 19.25}


def _reduced(x, offset):
    """(r, what r lacks, bits of n + offset)."""
    n, low = nearest(x, LOG2E, offset)
    high, rest = tables.LN2[x.dtype]
    first = fma(n, -high, x)
    r = fma(n, -rest, first)
    return r, fma(n, -rest, first - r), low


def _two_halves(n, dtype):
    """2^n as a product of two floats, for an integer whose low bits are n + 2 * bias."""
    _, mantissa, _ = LAYOUT[dtype]
    half = shifted("lshr", n, 1)
    return bitcast(shifted("shl", half, mantissa), dtype), bitcast(shifted("shl", n - half, mantissa), dtype)


def _power(n, dtype):
    """2^n for an integer whose low bits are n + bias."""
    return bitcast(shifted("shl", n, LAYOUT[dtype][1]), dtype)


def exp(x):
    dtype = x.dtype
    low, high = _EXP_RANGE[dtype]
    r, _, n = _reduced(at_least(at_most(x, high), low), 2 * LAYOUT[dtype][2])
    a, b = _two_halves(n, dtype)
    return fma(r, fma(r, horner(tables.EXP, r), 1), 1) * a * b


def power_of_two(n, r, table, dtype):
    """2^(n + r) for |r| <= 1/2 and n as bits of n + 2 * bias."""
    a, b = _two_halves(n, dtype)
    return fma(r, horner(table, r), 1) * a * b


def exp_parts(x, more):
    """(p, a, b) with exp(x + more) = (1 + p) a b, for `more` far below 1 (or None) and x that does not overflow."""
    dtype = x.dtype
    r, tail, n = _reduced(at_least(x, _EXP_RANGE[dtype][0]), 2 * LAYOUT[dtype][2])
    p = fma(r * r, horner(tables.EXP, r), tail) + r
    return p if more is None else fma(more, p + 1, p), *_two_halves(n, dtype)


def exp2(x):
    dtype = x.dtype
    low, high = _EXP2_RANGE[dtype]
    x = at_least(at_most(x, high), low)
    n, bits_of_n = nearest(x, 1, 2 * LAYOUT[dtype][2])
    return power_of_two(bits_of_n, x - n, tables.EXP2, dtype)


def expm1(x):
    """2 (h exp(r) - 1/2) with h = 2^(n - 1), finite where the result is; h r + (h - 1/2) is an exact pair."""
    dtype = x.dtype
    r, tail, n = _reduced(at_least(at_most(x, _EXP_RANGE[dtype][1]), _EXPM1_LOW[dtype]), LAYOUT[dtype][2] - 1)
    p = fma(r * r, horner(tables.EXPM1, r), tail)
    h = _power(n, dtype)
    c = h - 0.5
    top = fma(h, r, c)
    rest = fma(h, r, c - top) + (h - c - 0.5)
    return select(call("abs", x) < _SMALL[dtype], x, (top + fma(h, p, rest)) * 2)


def tanh(x):
    """An odd polynomial near 0, else 1 - 2 / (exp(2|x|) + 1), with the sign of x."""
    dtype = x.dtype
    a = call("abs", x)
    z = a * a
    near = fma(z * a, horner(tables.TANH, z), a)
    r, _, n = _reduced(at_most(a + a, 2 * _TANH_HIGH[dtype]), LAYOUT[dtype][2])
    h = _power(n, dtype)
    p = fma(r * r, horner(tables.EXP, r), r)
    far = const(1, dtype) - const(2, dtype) / fma(h, p, h + 1)
    return with_sign(select(a < 1, near, far), x)


def sigmoid(x):
    """1 / (1 + z), for negative x z / (1 + z), with z = exp(-|x|): nothing overflows. The quotient is corrected once."""
    dtype = x.dtype
    one = const(1, dtype)
    p, a, b = exp_parts(-call("abs", x), None)
    e = p + 1
    z, z_low = e * a * b, (p - (e - 1)) * (a * b)
    under = z + 1
    negative = x < 0
    over, over_low = select(negative, z, one), select(negative, z_low, const(0, dtype))
    inverse = one / under
    q = over * inverse
    return fma(fma(-q, under, over) + (over_low - q * ((z - (under - 1)) + z_low)), inverse, q)


def _hyperbolic(a, odd):
    """sinh (odd) or cosh of a >= 0, of exp(r) = C + S and exp(-r) = C - S with even C and odd S.

    2 (u C + v S) with u, v = 2^(n - 2) -+ 2^(-n - 2), or for cosh u, v = 2^(n - 2) +- 2^(-n - 2); v r + u is an exact pair.
    """
    dtype = a.dtype
    integer, mantissa, bias = LAYOUT[dtype]
    r, tail, n = _reduced(at_most(a, _SINH_HIGH[dtype]), bias - 2)
    up = _power(n, dtype)
    magic = (0x4B400000 if dtype == "f32" else 0x4338000000000000) + 2 * (bias - 2)
    down = _power(at_least(const(magic, integer) - n, 0), dtype)
    u, v = (up - down, up + down) if odd else (up + down, up - down)
    z = r * r
    s = fma(z * r, horner(tables.SINH, z), tail)
    c = z * fma(z, horner(tables.COSH, z), 0.5)
    top = fma(v, r, u)
    rest = fma(v, r, u - top) + ((up - u) - down if odd else (up - u) + down)
    return (top + fma(v, s, fma(u, c, rest))) * 2


def sinh(x):
    a = call("abs", x)
    return with_sign(select(a < _SMALL[x.dtype], a, _hyperbolic(a, True)), x)


def cosh(x):
    return _hyperbolic(call("abs", x), False)
