"""erf, erfc, erfinv: the error function, its complement and its inverse.

erf is an odd polynomial near 0, else 1 - p^k, where the polynomial p follows erfc's k-th root. erfc is exp(-x^2) times a
polynomial in 4 / (4 + x). erfinv is x times a polynomial in w = -log(1 - x^2), or in its root where w is large (M. Giles,
Approximating the erfinv function, 2012).
"""

from __future__ import annotations

import math

from rushlight.codegen.loops import call, cast, const, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import (
    INF,
    at_most,
    fma,
    horner,
    larger_first,
    square,
    times,
    two_sum,
    with_sign,
)
from rushlight.codegen.mathlib.exponential import exp_parts
from rushlight.codegen.mathlib.logarithm import log_pair

#: dtype -> (up to where ERF holds, the middle of its interval)
_NEAR = {"f32": (1.25, 0.75), "f64": (1.5, 1.125)}
#: dtype -> (where erf is 1, the centre of ERFC_ROOT, how often its value is squared, the factor of that)
_FAR = {"f32": (4.0, 1.75, 2, 0.125), "f64": (6.0, 3.5, 3, 1.0)}
_ROOT = 2 / math.sqrt(math.pi)


def erf(x):
    dtype = x.dtype
    bound, middle = _NEAR[dtype]
    end, centre, squarings, factor = _FAR[dtype]
    a = call("abs", x)
    near = fma(a, horner(tables.ERF, fma(a, a, -middle)), a)
    p = horner(tables.ERFC_ROOT, at_most(a, end) - centre)
    for _ in range(squarings - 1):
        p = p * p
    far = fma(p * -factor, p, 1)
    return with_sign(select(a < bound, near, far), x)


def _erfc(x, kind):
    a = call("abs", x)
    b = at_most(a, 28.0)
    under, under_low = two_sum(const(4, "f64"), b)
    t = const(4, "f64") / under
    part = horner(tables.ERFCX[kind], t - 0.5)
    high, low = square(b)
    p, first, second = exp_parts(-high, -low)
    r = times(part, t)
    if kind == "f64":  # what r lacks: its own rounding, and t's times the derivative of erfcx there
        lacks = fma(-t, under, 4) - t * under_low
        r_low = fma(part, t, -r) + lacks * under * fma(b * r, -0.5, _ROOT / 4)
        far = (fma(r, p, fma(r_low, p, r_low)) + r) * first * second
    else:
        far = fma(r, p, r) * first * second
    far = select(x < 0, const(2, "f64") - far, far)
    table = "f64" if kind == "f64" else "f32"
    rest = x * horner(tables.ERF[table], fma(x, x, -_NEAR[table][1]))
    top, lost = larger_first(const(1, "f64"), -x)
    return select(a < 1, top + (lost - rest), far)


def erfc(x):
    """1 - erf(x) near 0; else exp(-x^2), the square as an exact pair, times erfc(x) exp(x^2)."""
    return _erfc(x, "f64") if x.dtype == "f64" else cast(_erfc(cast(x, "f64"), "short"), "f32")


def _erfinv(x, kind):
    a = call("abs", x)
    high, low = square(a)
    u, lost = larger_first(const(1, "f64"), -high)
    w_high, w_low = log_pair(u, lost - low)
    w = -(w_high + w_low)
    v = call("sqrt", w)
    p = horner(tables.ERFINV_FAR[kind], v - 3.25)
    if kind == "f64":
        p = select(v > 4, horner(tables.ERFINV_LAST[kind], v - 5), p)
    p = select(w > 6.25, p, horner(tables.ERFINV[kind], w - 3))
    out = x * p
    return select(a < 1, out, select(a == 1, x * INF, x * INF - x * INF))


def erfinv(x):
    return _erfinv(x, "f64") if x.dtype == "f64" else cast(_erfinv(cast(x, "f64"), "short"), "f32")
