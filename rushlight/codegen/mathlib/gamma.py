"""lgamma, digamma, in float64.

For a = |x| >= 8 J. Stirling's series. Below, lgamma goes by a recurrence to a polynomial on [1.5, 2.5] and the logarithm of
a product; digamma by eight steps of its recurrence, summed as one fraction, to the series. Negative x by reflection, with
the sine of pi times the exact distance to the nearest integer. Beside the zeros between the negative integers, and beside
digamma's on the positive axis, the error is small against the terms, not against their sum.
"""

from __future__ import annotations

import math

from rushlight.codegen.loops import call, const, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import INF, NAN, at_most, bits, doubled, fma, horner, times
from rushlight.codegen.mathlib.logarithm import log, log_of

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_STEPS = 8


def _rising(steps):
    """Coefficients of x (x + 1) ... (x + steps - 1), lowest first, and of its derivative."""
    product = [1]
    for k in range(steps):
        product = [a + k * b for a, b in zip([0, *product], [*product, 0])]
    return tuple(map(float, product)), tuple(float(i * c) for i, c in enumerate(product))[1:]


_RISING = _rising(_STEPS)


def _sine(a):
    """(t, sin(pi t)) for t = the distance of a to the nearest integer, up to sign."""
    t = a - call("rint", a)
    return t, t * horner(tables.SINPI["f64"], t * t)


@doubled
def lgamma(x):
    a = call("abs", x)
    one = const(1, "f64")
    large, low, lowest = a >= 8, a < 1.5, a < 0.5
    # a in [2.5, 8) is r + k with r in [1.5, 2.5), and the product r (r + 1) ... (r + k - 1)
    r = at_most(a, 8.0)
    product = one
    for _ in range(6):
        above = r >= 2.5
        r = select(above, r - 1, r)
        product = product * select(above, r, one)
    # below 1.5 one step down, below 0.5 two
    high, rest = log_of(select(lowest, fma(a, a, a), select(large | low, a, product)))
    u = select(lowest, a, select(low, a - 1, r - 2))
    near = select(low, -(high + rest), high + rest)
    near = fma(u, horner(tables.LGAMMA["f64"], u), near)
    # (a - 1/2) (log a - 1) - 1/2 + log(2 pi) / 2 + series
    v = one / a
    half = a - 0.5
    p = times(half, high - 1)
    lost = fma(half, high - 1, -p) + half * ((high - (high - 1) - 1) + rest)
    far = p + (lost + fma(v, horner(tables.STIRLING["f64"], v * v), _HALF_LOG_2PI - 0.5))
    out = select(large, far, near)
    t, sine = _sine(a)
    reflected = log(const(math.pi, "f64") / (a * call("abs", sine))) - out
    out = select((x < 0) & (a > 1e-18), reflected, out)
    out = select((x <= 0) & (t == 0), const(INF, "f64"), out)
    return select(a < INF, out, a)


@doubled
def digamma(x):
    a = call("abs", x)
    one = const(1, "f64")
    small = a < _STEPS
    s = at_most(a, float(_STEPS))
    rising, slope = _RISING
    steps = horner(slope, s) / (s * horner(rising[1:], s))  # the sum of 1 / (s + k)
    y = select(small, a + _STEPS, a)
    v = one / y
    series = fma(v * v, horner(tables.DIGAMMA["f64"], v * v), v * -0.5)
    out = (log(y) + series) - select(small, steps, const(0, "f64"))
    t, sine = _sine(a)
    cosine = fma(t * t, horner(tables.COSPI["f64"], t * t), one)
    out = select(x < 0, out + (one / a + cosine / sine * math.pi), out)
    out = select((x < 0) & (t == 0), const(NAN, "f64"), out)
    out = select(a == 0, select(bits(x) < 0, const(INF, "f64"), const(-INF, "f64")), out)
    return select(a < INF, out, select(x < 0, const(NAN, "f64"), x))
