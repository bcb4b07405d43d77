"""What the functions of vector math share: polynomials, bits of floats, exact products and sums.

The emitters may contract a * b + c to one rounding. That makes sums of products better, except where the code counts on
a product as rounded: there it is `times`, an fma with -0, which no emitter contracts further.
"""

from __future__ import annotations

from rushlight.codegen.loops import bitcast, call, const, select

#: dtype -> (integer of the same size, bits of the mantissa, exponent bias)
LAYOUT = {"f32": ("i32", 23, 127), "f64": ("i64", 52, 1023)}
INF, NAN = float("inf"), float("nan")


def fma(x, y, z):
    """x * y + z, rounded once; numbers become constants of the first Expr's dtype."""
    dtype = next(a for a in (x, y, z) if not isinstance(a, (int, float))).dtype
    return call("fma", *(const(a, dtype) if isinstance(a, (int, float)) else a for a in (x, y, z)))


def times(x, y):
    """x * y as rounded, never contracted."""
    return fma(x, y, -0.0)


def horner(table, x):
    """c_0 + c_1 x + c_2 x^2 + ... of the argument's dtype."""
    table = table[x.dtype]
    out = fma(x, table[-1], table[-2])
    for c in table[-3::-1]:
        out = fma(out, x, c)
    return out


def at_most(x, bound):
    """The smaller of x and a number; NaN stays. One instruction."""
    return select(x > bound, const(bound, x.dtype), x)


def at_least(x, bound):
    """The larger of x and a number; NaN stays. One instruction."""
    return select(x < bound, const(bound, x.dtype), x)


def bits(x):
    """The bits of a float as a signed integer."""
    return bitcast(x, LAYOUT[x.dtype][0])


def shifted(op, n, count):
    """n moved by a constant number of bits."""
    return call(op, n, const(count, n.dtype))


def sign_of(x):
    """The sign bit alone."""
    return bits(x) & (-(2 ** (31 if x.dtype == "f32" else 63)))


def with_sign(magnitude, x):
    """A number that is not negative, given the sign of x. Two instructions."""
    return bitcast(bits(magnitude) | sign_of(x), x.dtype)


def nearest(x, scale, offset=0):
    """The integer n nearest to x * scale: (n as a float, an integer whose low bits are those of n + offset).

    For |n + offset| below 2^21 (float32) or 2^50: adding 1.5 * 2^mantissa leaves the integer in the low bits.
    """
    magic = 1.5 * 2.0 ** LAYOUT[x.dtype][1] + offset
    moved = fma(x, scale, magic)
    return moved - magic, bits(moved)
