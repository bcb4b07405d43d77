"""What the functions of vector math share: polynomials, bits of floats, exact products and sums.

The emitters may contract a * b + c to one rounding. That makes sums of products better, except where the code counts on
a product as rounded: there it is `times`, an fma with -0, which no emitter contracts further.
"""

from __future__ import annotations

from functools import wraps

from rushlight.codegen.loops import bitcast, call, cast, const, select

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
    """c_0 + c_1 x + c_2 x^2 + ...; of a dictionary the table for the argument's dtype."""
    table = table[x.dtype] if table.__class__ is dict else table
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


def two_sum(x, y):
    """x + y as a rounded sum and its error, whichever is larger (D. Knuth)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def larger_first(x, y):
    """The same where |x| >= |y| or x is 0 (T. Dekker)."""
    total = x + y
    return total, y - (total - x)


def square(x):
    """x^2 as a rounded square and its error."""
    high = times(x, x)
    return high, fma(x, x, -high)


def root(high, low):
    """sqrt(high + low) as a rounded root and what it lacks; 0 of 0."""
    s = call("sqrt", high)
    return s, (fma(-s, s, high) + low) * (0.5 / at_least(s, 1e-150 if s.dtype == "f64" else 1e-18))


def doubled(f):
    """f in float64, where float32 is asked for: for functions that are not worth two versions."""

    @wraps(f)
    def g(*args):
        if args[0].dtype == "f64":
            return f(*args)
        return cast(f(*(cast(a, "f64") for a in args)), "f32")

    return g
