"""exp, expm1, tanh, sigmoid: exponentials.

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
#: up to here expm1 is -1
_EXPM1_LOW = {"f32": -18.0, "f64": -38.0}
#: below this expm1 is its argument (and halving it could cost a bit)
_SMALL = {"f32": 2.0**-26, "f64": 2.0**-55}
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
    """1 / (1 + exp(-x)), for negative x exp(x) / (1 + exp(x)), so that nothing overflows."""
    z = exp(-call("abs", x))
    return select(x < 0, z, const(1, x.dtype)) / (z + 1)
