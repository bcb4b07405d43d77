"""sin, cos: circular functions.

x = n pi / 2 + r with |r| <= pi / 4, pi / 2 in three parts (Cody and Waite): with fma the first difference is exact, the
second leaves its rounding error as a tail. The low bits of n choose sine or cosine and the sign.
"""

from __future__ import annotations

from rushlight.codegen.loops import bitcast, const, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import bits, fma, horner, nearest, shifted

TWO_OVER_PI = 0.63661977236758134308


def _reduced(x):
    """(r, what r lacks, an integer whose low bits are n)."""
    n, low = nearest(x, TWO_OVER_PI)
    a, b, c = tables.HALF_PI[x.dtype]
    first = fma(n, -a, x)
    r = fma(n, -b, first)
    return r, -fma(n, c, fma(n, b, r - first)), low


def _circular(r, tail, n):
    """sin(r + n pi / 2)."""
    dtype = r.dtype
    top = 31 if dtype == "f32" else 63
    z = r * r
    sine = r + fma(z * r, horner(tables.SIN, z), tail)
    half = z * 0.5
    w = const(1, dtype) - half
    cosine = w + fma(z * z, horner(tables.COS, z), (const(1, dtype) - w - half) - r * tail)
    out = select(shifted("shl", n, top) < 0, cosine, sine)
    flip = shifted("shl", shifted("lshr", n, 1), top)
    return bitcast(bits(out) ^ flip, dtype)


def sin(x):
    r, tail, n = _reduced(x)
    return select(x == 0, x, _circular(r, tail, n))


def cos(x):
    r, tail, n = _reduced(x)
    return _circular(r, tail, n + 1)
