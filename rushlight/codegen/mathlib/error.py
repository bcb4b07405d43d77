"""erf: the error function. Odd polynomial near 0; else 1 - p^k, where the polynomial p follows erfc's k-th root."""

from __future__ import annotations

from rushlight.codegen.loops import call, const, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import at_most, fma, horner, with_sign

#: dtype -> (where erf is 1, the centre of ERFC_ROOT, how often its value is squared)
_FAR = {"f32": (4.0, 2.5, 2), "f64": (6.0, 3.5, 3)}
_MIDDLE = 1.125  # of the interval of x^2 near 0


def erf(x):
    dtype = x.dtype
    end, centre, squarings = _FAR[dtype]
    a = call("abs", x)
    near = fma(a, horner(tables.ERF, fma(a, a, -_MIDDLE)), a)
    p = horner(tables.ERFC_ROOT, at_most(a, end) - centre)
    for _ in range(squarings - 1):
        p = p * p
    far = fma(-p, p, const(1, dtype))
    return with_sign(select(a < 1.5, near, far), x)
