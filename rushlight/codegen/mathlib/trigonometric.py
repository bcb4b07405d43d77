"""sin, cos, tan: circular functions.

x = n pi / 2 + r with |r| <= pi / 4, pi / 2 in three parts (Cody and Waite): with fma the first difference is exact; what
the second loses in rounding, and the third part, become a tail. The low bits of n choose sine or cosine and the sign.
Beyond `_LIMIT` three parts are too few, and the C library is asked (M. Payne and R. Hanek's method needs tables).
"""

from __future__ import annotations

from rushlight.codegen.loops import bitcast, call, const, seldom, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import bits, fma, horner, nearest, shifted, times

TWO_OVER_PI = 0.63661977236758134308
_LIMIT = {"f32": 1e5, "f64": 1e9}


def _reduced(x):
    """(r, what r lacks, an integer whose low bits are n)."""
    n, low = nearest(x, TWO_OVER_PI)
    a, b, c = tables.HALF_PI[x.dtype]
    first = fma(n, -a, x)
    product = times(n, const(b, x.dtype))
    r = first - product
    return r, (first - r - product) - fma(n, c, fma(n, b, -product)), low


def _sine(r, tail, z):
    """sin(r + tail) as a sum of two, the first exact."""
    return r, fma(z * r, horner(tables.SIN, z), tail)


def _cosine(r, tail, z):
    """cos(r + tail) likewise."""
    one = const(1, r.dtype)
    half = z * 0.5
    w = one - half
    return w, fma(z * z, horner(tables.COS, z), (one - w - half) - r * tail)


def _sign_bit(n, place):
    """Bit `place` of n moved to the sign, the others gone."""
    top = 31 if n.dtype == "i32" else 63
    return shifted("shl", shifted("lshr", n, place) if place else n, top)


def _circular(r, tail, n):
    """sin(r + n pi / 2)."""
    z = r * r
    s, s_rest = _sine(r, tail, z)
    c, c_rest = _cosine(r, tail, z)
    odd = _sign_bit(n, 0) < 0
    out = select(odd, c, s) + select(odd, c_rest, s_rest)
    return bitcast(bits(out) ^ _sign_bit(n, 1), r.dtype)


def _huge(name, x, out):
    return seldom(call("abs", x) > _LIMIT[x.dtype], name, x, out)


def sin(x):
    r, tail, n = _reduced(x)
    return _huge("sin", x, select(x == 0, x, _circular(r, tail, n)))


def cos(x):
    r, tail, n = _reduced(x)
    return _huge("cos", x, _circular(r, tail, n + 1))


def tan(x):
    """sin / cos, or -cos / sin for odd n: the quotient of the rounded sums, then corrected for what they lack."""
    r, tail, n = _reduced(x)
    z = r * r
    s, s_rest = _sine(r, tail, z)
    c, c_rest = _cosine(r, tail, z)
    s_sum, c_sum = s + s_rest, c + c_rest
    s_rest, c_rest = s_rest - (s_sum - s), c_rest - (c_sum - c)
    odd = _sign_bit(n, 0) < 0
    over, under = select(odd, c_sum, s_sum), select(odd, s_sum, c_sum)
    over_rest, under_rest = select(odd, c_rest, s_rest), select(odd, s_rest, c_rest)
    inverse = const(1, x.dtype) / under
    q = over * inverse
    q = fma(fma(-q, under, over) + (over_rest - q * under_rest), inverse, q)
    out = bitcast(bits(q) ^ _sign_bit(n, 0), x.dtype)
    return _huge("tan", x, select(x == 0, x, out))
