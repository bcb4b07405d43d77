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
#: from here on tanh is 1
_TANH_HIGH = {"f32": 9.25, "f64": 19.25}


def _reduced(x, offset):
    """(r, bits of n + offset)."""
    n, low = nearest(x, LOG2E, offset)
    high, rest = tables.LN2[x.dtype]
    return fma(n, -rest, fma(n, -high, x)), low


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
    r, n = _reduced(at_least(at_most(x, high), low), 2 * LAYOUT[dtype][2])
    p = fma(r * r, horner(tables.EXP, r), r) + 1
    a, b = _two_halves(n, dtype)
    return p * a * b


def _expm1(x):
    """expm1 for arguments in range: 2 (h p + (h - 1/2)) with h = 2^(n - 1), which is finite where the result is."""
    dtype = x.dtype
    r, n = _reduced(x, LAYOUT[dtype][2] - 1)
    p = fma(r * r, horner(tables.EXPM1, r), r)
    h = _power(n, dtype)
    return fma(h, p, h - 0.5) * 2


def expm1(x):
    return select(x == 0, x, _expm1(at_least(at_most(x, _EXP_RANGE[x.dtype][1]), _EXPM1_LOW[x.dtype])))


def tanh(x):
    """expm1(2|x|) / (expm1(2|x|) + 2), with the sign of x."""
    t = _expm1(at_most(call("abs", x), _TANH_HIGH[x.dtype]) * 2)
    return with_sign(t / (t + 2), x)


def sigmoid(x):
    """1 / (1 + exp(-x)), for negative x exp(x) / (1 + exp(x)), so that nothing overflows."""
    z = exp(-call("abs", x))
    return select(x < 0, z, const(1, x.dtype)) / (z + 1)
