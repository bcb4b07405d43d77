"""pow, cbrt, hypot, logaddexp, logaddexp2."""

from __future__ import annotations

from rushlight.codegen.loops import bitcast, call, cast, const, select
from rushlight.codegen.mathlib import tables
from rushlight.codegen.mathlib.basis import (
    INF,
    LAYOUT,
    NAN,
    at_least,
    at_most,
    bits,
    fma,
    horner,
    larger_first,
    nearest,
    root,
    shifted,
    sign_of,
    square,
    times,
    with_sign,
)
from rushlight.codegen.mathlib.exponential import exp, exp2, power_of_two
from rushlight.codegen.mathlib.logarithm import log1p, mantissa

THIRD = 1 / 3
THIRD_LOW = 1.850371707708594e-17  # 1/3 less that float


def _log2_long(f, e):
    """log2(1 + f) + e as a pair of 65 bits and more: atanh's series in s = f / (2 + f), its first terms as pairs."""
    under, under_low = larger_first(const(2, "f64"), f)
    s = f / under
    s_low = (fma(-s, under, f) - s * under_low) / under
    z, z_low = square(s)
    z_low = fma(s + s, s_low, z_low)
    later = z * horner(tables.LOG_LONG, z)
    u, u_low = larger_first(const(THIRD, "f64"), later)
    u_low = u_low + THIRD_LOW
    w = times(z, u)
    w_low = fma(z, u, -w) + fma(z, u_low, z_low * u)
    t = times(s, w)
    t_low = fma(s, w, -t) + fma(s, w_low, s_low * w)
    v, v_low = larger_first(s, t)
    v_low = v_low + (t_low + s_low)
    high, low = tables.LOG2E["f64"]
    p = times(v, const(2 * high, "f64"))
    p_low = fma(v, 2 * high, -p) + fma(v, 2 * low, v_low * (2 * high))
    top, rest = larger_first(e, p)
    return top, rest + p_low


def _log2_short(f, e):
    """The same for results in float32."""
    s = f / (f + 2)
    z = s * s
    return fma(s * (2 * tables.LOG2E["f64"][0]), fma(z, horner(tables.LOG_SHORT["short"], z), 1), e), None


def _power(x, y, short):
    """|x|^y by 2^(y log2 |x|), then the cases that C's standard names."""
    a = call("abs", x)
    high, low = (_log2_short if short else _log2_long)(*mantissa(a))
    high = select(a < INF, select(a == 0, const(-INF, "f64"), high), a)
    p = times(y, high)
    clamped = at_least(at_most(p, 1100.0), -1100.0)
    n, bits_of_n = nearest(clamped, 1, 2 * LAYOUT["f64"][2])
    r = clamped - n
    if not short:
        r = select(p == clamped, r + (fma(y, high, -p) + y * low), r)
    out = power_of_two(bits_of_n, r, tables.EXP2["short" if short else "f64"], "f64")
    whole = call("floor", y) == y
    half = y * 0.5
    odd = whole & (call("floor", half) != half)
    sign = select(odd, sign_of(x), const(0, "i64"))
    out = bitcast(bits(out) ^ sign, "f64")
    one = const(1, "f64")
    out = select((x < 0) & ~whole & (a < INF), const(NAN, "f64"), out)
    return select((y == 0) | (x == 1) | ((a == 1) & (call("abs", y) == INF)), one, out)


def pow(x, y):
    if x.dtype == "f32":
        return cast(_power(cast(x, "f64"), cast(y, "f64"), True), "f32")
    return _power(x, y, False)


def cbrt(x):
    """A polynomial's guess on [0.35, 2.85], Halley's rule, and a last correction with the exact cube."""
    dtype = x.dtype
    f, e = mantissa(call("abs", x))
    k, field = nearest(e, THIRD, LAYOUT[dtype][2])
    m = f + 1
    rest = fma(k, -3, e)  # -1, 0 or 1
    m = select(rest > 0, m + m, select(rest < 0, m * 0.5, m))
    r = horner(tables.CBRT, m)
    for _ in range(1 if dtype == "f32" else 2):
        cube = r * r * r
        r = r * ((cube + m * 2) / fma(cube, 2, m))
    q, q_low = square(r)
    error = fma(-q, r, m) - q_low * r
    r = fma(error, const(THIRD, dtype) / q, r)
    out = r * bitcast(shifted("shl", field, LAYOUT[dtype][1]), dtype)
    a = call("abs", x)
    out = select(a < INF, select(a == 0, a, out), a)
    return with_sign(out, x)


def hypot(x, y):
    """sqrt(x^2 + y^2): of float32 in float64, else scaled away from overflow and with the errors of the squares."""
    ax, ay = call("abs", x), call("abs", y)
    infinite = (ax == INF) | (ay == INF)
    if x.dtype == "f32":
        wx, wy = cast(x, "f64"), cast(y, "f64")
        out = cast(call("sqrt", fma(wx, wx, wy * wy)), "f32")
        return select(infinite, const(INF, "f32"), out)
    large = select(ax > ay, ax, ay)
    small = select(ax > ay, ay, ax)
    one = const(1, "f64")
    up, down = const(2.0**600, "f64"), const(2.0**-600, "f64")
    scale = select(large > 2.0**500, down, select(large < 2.0**-450, up, one))
    back = select(large > 2.0**500, up, select(large < 2.0**-450, down, one))
    a, b = large * scale, small * scale
    a2, a2_low = square(a)
    b2, b2_low = square(b)
    total, rest = larger_first(a2, b2)
    s, lacks = root(total, rest + (a2_low + b2_low))
    return select(infinite, const(INF, "f64"), (s + lacks) * back)


def _larger_and_difference(x, y):
    """(the larger, minus the distance of the two, 0 where they are equal, infinities too)."""
    return select(x > y, x, y), select(x == y, const(0, x.dtype), -call("abs", x - y))


def logaddexp(x, y):
    """The larger plus log1p(exp(-distance))."""
    larger, difference = _larger_and_difference(x, y)
    return larger + log1p(exp(difference))


def logaddexp2(x, y):
    """The larger plus log2(1 + 2^-distance)."""
    larger, difference = _larger_and_difference(x, y)
    return larger + times(log1p(exp2(difference)), const(tables.LOG2E[x.dtype][0], x.dtype))  # rounded: 1 of 1
