"""Minimax polynomials for codegen/mathlib: `python tools/minimax.py > rushlight/codegen/mathlib/tables.py`.

Every table is a sum  f(x) ~ known(x) + factor(x) * (c_0 + c_1 t + c_2 t^2 + ...)  with t = variable(x), whose error
times a weight is as small as can be over an interval: E. Remez's exchange (1934) on a fine grid, in arithmetic of 60
digits (functions by mpmath, sums by the faster decimal). Coefficients are then rounded to the working precision one after another, from c_0 on, the rest being
fitted anew each time, so that rounding costs next to nothing.

The rows at the end of this file are the tables. mpmath is needed here and nowhere else.
"""

from __future__ import annotations

import decimal
import struct
import sys
from decimal import Decimal

import mpmath as mp

mp.mp.dps = 60
decimal.getcontext().prec = 60


def exact(x):
    """A number of mpmath as a Decimal."""
    return Decimal(mp.nstr(x, 60))


def rounded(x, dtype):
    """x as a float of the dtype: float() of mpmath rounds to nearest."""
    x = float(x)
    return struct.unpack("f", struct.pack("f", x))[0] if dtype == "f32" else x  # "short": float64 for float32 results


def _solve(columns, target, points, free):
    """Coefficients of the free columns, and the levelled error, on a reference of len(free) + 1 points."""
    n = len(free) + 1
    rows = [[columns[k][p] for k in free] + [Decimal((-1) ** i), target[p]] for i, p in enumerate(points)]
    for j in range(n):  # Gauss, with the largest pivot
        best = max(range(j, n), key=lambda i: abs(rows[i][j]))
        rows[j], rows[best] = rows[best], rows[j]
        for i in range(j + 1, n):
            if factor := rows[i][j] / rows[j][j]:
                rows[i] = rows[i][: j + 1] + [x - factor * y for x, y in zip(rows[i][j + 1 :], rows[j][j + 1 :])]
    solution = [Decimal(0)] * n
    for j in reversed(range(n)):
        solution[j] = (rows[j][n] - sum(rows[j][k] * solution[k] for k in range(j + 1, n))) / rows[j][j]
    return solution[: n - 1], solution[n - 1]


def _extrema(error, count):
    """Indices of `count` alternating extrema of the error on the grid, the largest ones."""
    runs, best = [], 0
    for i in range(1, len(error)):
        if (error[i] > 0) != (error[best] > 0):
            runs.append(best)
            best = i
        elif abs(error[i]) > abs(error[best]):
            best = i
    runs.append(best)
    while len(runs) > count:  # drop the smaller end, or the smallest neighbours in pairs
        if len(runs) - count == 1:
            runs.pop(0 if abs(error[runs[0]]) < abs(error[runs[-1]]) else -1)
        else:
            k = min(range(len(runs) - 1), key=lambda k: max(abs(error[runs[k]]), abs(error[runs[k + 1]])))
            del runs[k : k + 2]
    return runs


def remez(columns, target, free, points=None, rounds=60):
    """Minimise max |target - sum c_k columns_k| over the free columns: (coefficients, reference, largest error)."""
    size, n = len(target), len(free) + 1
    if points is None or len(points) != n:
        points = [int((size - 1) * (1 - mp.cos(mp.pi * (i + mp.mpf(1) / 2) / n)) / 2) for i in range(n)]
    best = None
    for _ in range(rounds):
        try:
            coefficients, level = _solve(columns, target, points, free)
        except (decimal.DivisionByZero, decimal.InvalidOperation):  # high powers alone need not be independent there
            break
        error = [target[i] - sum(c * columns[k][i] for c, k in zip(coefficients, free)) for i in range(size)]
        worst = max(map(abs, error))
        if best is None or worst < best[2]:
            best = coefficients, points, worst
        if worst <= abs(level) * Decimal("1.002"):
            break
        new = _extrema(error, n)
        if len(new) < n or new == points:
            break
        points = new
    return best


def fit(f, known, factor, variable, interval, terms, dtype, weight):
    """Rounded coefficients and the largest weighted error that they leave."""
    lo, hi = map(mp.mpf, interval)
    size = 40 * (terms + 2)
    grid = [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / size) for i in range(size)]
    # the sign of a weight is free: without sign changes of the columns the errors alternate as they should
    w = [weight(x) if factor(x) * weight(x) > 0 else -weight(x) for x in grid]
    target = [exact((f(x) - known(x)) * w_) for x, w_ in zip(grid, w)]
    columns = [[exact(factor(x) * w_) for x, w_ in zip(grid, w)]]
    t = [exact(variable(x)) for x in grid]
    for _ in range(1, terms):
        columns.append([c * v for c, v in zip(columns[-1], t)])
    coefficients, points, ideal = remez(columns, target, list(range(terms)))
    out = []
    for k in range(terms):
        if k:
            found = remez(columns, target, list(range(k, terms)), points[1:])
            now = max(abs(v - sum(c * columns[j][i] for j, c in enumerate(coefficients, k))) for i, v in enumerate(target))
            if found is not None and found[2] < now:
                coefficients, points, _ = found
            else:
                points = points[1:]
        out.append(rounded(coefficients[0], dtype))
        coefficients = coefficients[1:]
        target = [v - Decimal(out[-1]) * c for v, c in zip(target, columns[k])]
    return tuple(out), ideal, max(map(abs, target))


def zero(x):
    return mp.mpf(0)


def one(x):
    return mp.mpf(1)


LN2 = mp.log(2)


def rows():
    """(name, comment, {dtype: arguments of fit without dtype})."""
    half = LN2 / 2 * mp.mpf("1.001")
    exp = dict(f=mp.expm1, known=lambda x: x, factor=lambda x: x * x, variable=lambda x: x, interval=(-half, half), weight=one)
    yield "EXP", "exp(r) = 1 + r + r^2 p(r), |r| <= log(2) / 2", {"f32": dict(exp, terms=5), "f64": dict(exp, terms=10)}
    exp["weight"] = lambda x: 1 / x
    yield "EXPM1", "the same, its error relative to exp(r) - 1", {"f32": dict(exp, terms=6), "f64": dict(exp, terms=11)}

    exp2 = dict(f=lambda x: mp.mpf(2) ** x - 1, known=zero, factor=lambda x: x, variable=lambda x: x, interval=(-0.5, 0.5), weight=one)
    yield "EXP2", "2^r = 1 + r p(r), |r| <= 1/2", {"f32": dict(exp2, terms=6), "f64": dict(exp2, terms=12), "short": dict(exp2, terms=8)}

    lo, hi = mp.sqrt(mp.mpf(1) / 2) - 1, mp.sqrt(2) - 1
    log = dict(f=mp.log1p, known=lambda x: x - x * x / 2, factor=lambda x: x**3, variable=lambda x: x, interval=(lo, hi), weight=lambda x: 1 / mp.log1p(x))
    atanh = dict(
        f=lambda s: mp.log((1 + s) / (1 - s)) / s, known=lambda s: 2, factor=lambda s: s * s, variable=lambda s: s * s,
        interval=(mp.mpf("1e-6"), (mp.sqrt(2) - 1) ** 2 * mp.mpf("1.001")), weight=one,
    )  # fmt: skip
    yield "LOG", "log(1 + f) = f - f^2 / 2 + f^3 p(f), sqrt(1/2) - 1 <= f <= sqrt(2) - 1", {"f32": dict(log, terms=8)}
    yield "LOG_ODD", "log((1 + s) / (1 - s)) = s (2 + s^2 p(s^2)), |s| <= (sqrt(2) - 1)^2", {"f64": dict(atanh, terms=7)}

    tiny = mp.mpf("1e-6")
    bound = (mp.sqrt(2) - 1) ** 2 * mp.mpf("1.001")
    series = dict(f=lambda s: mp.atanh(s) / s, known=lambda s: 1 + s * s / 3, factor=lambda s: s**4, variable=lambda s: s * s, interval=(tiny, bound), weight=one)
    yield "LOG_LONG", "atanh(s) / s = 1 + s^2 (1 / 3 + s^2 p(s^2)), for logarithms of 65 bits", {"f64": dict(series, terms=8)}
    series.update(known=one, factor=lambda s: s**2)
    yield "LOG_SHORT", "atanh(s) / s = 1 + s^2 p(s^2)", {"short": dict(series, terms=5)}

    small = mp.log(2) / 2 * mp.mpf("1.001")
    sinh = dict(f=mp.sinh, known=lambda x: x, factor=lambda x: x**3, variable=lambda x: x * x, interval=(tiny, small), weight=lambda x: 1 / x)
    yield "SINH", "sinh(r) = r + r^3 p(r^2), |r| <= log(2) / 2", {"f32": dict(sinh, terms=3), "f64": dict(sinh, terms=5)}
    cosh = dict(f=mp.cosh, known=lambda x: 1 + x * x / 2, factor=lambda x: x**4, variable=lambda x: x * x, interval=(tiny, small), weight=one)
    yield "COSH", "cosh(r) = 1 + r^2 / 2 + r^4 p(r^2), |r| <= log(2) / 2", {"f32": dict(cosh, terms=2), "f64": dict(cosh, terms=5)}

    def odd(f, end):
        return dict(f=f, known=lambda x: x, factor=lambda x: x**3, variable=lambda x: x * x, interval=(tiny, end), weight=lambda x: 1 / f(x))

    yield "ASIN", "asin(x) = x + x^3 p(x^2), |x| <= 1/2", {"f32": dict(odd(mp.asin, 0.5), terms=5), "f64": dict(odd(mp.asin, 0.5), terms=13)}
    yield "ATAN", "atan(x) = x + x^3 p(x^2), |x| <= 1", {"f32": dict(odd(mp.atan, 1), terms=9), "f64": dict(odd(mp.atan, 1), terms=20)}
    yield "ASINH", "asinh(x) = x + x^3 p(x^2), |x| <= 1/2", {"f64": dict(odd(mp.asinh, 0.5), terms=12)}
    yield "ATANH", "atanh(x) = x + x^3 p(x^2), |x| <= 1/2", {"f64": dict(odd(mp.atanh, 0.5), terms=13)}

    tanh = dict(f=mp.tanh, known=lambda x: x, factor=lambda x: x**3, variable=lambda x: x * x, interval=(mp.mpf("1e-6"), 1), weight=lambda x: 1 / x)
    yield "TANH", "tanh(x) = x + x^3 p(x^2), |x| <= 1", {"f32": dict(tanh, terms=7), "f64": dict(tanh, terms=16)}

    quarter = mp.pi / 4 * mp.mpf("1.005")
    sin = dict(f=mp.sin, known=lambda x: x, factor=lambda x: x**3, variable=lambda x: x * x, interval=(mp.mpf("1e-6"), quarter), weight=lambda x: 1 / x)
    cos = dict(f=mp.cos, known=lambda x: 1 - x * x / 2, factor=lambda x: x**4, variable=lambda x: x * x, interval=(0, quarter), weight=one)
    yield "SIN", "sin(r) = r + r^3 p(r^2), |r| <= pi / 4", {"f32": dict(sin, terms=3), "f64": dict(sin, terms=6)}
    yield "COS", "cos(r) = 1 - r^2 / 2 + r^4 p(r^2), |r| <= pi / 4", {"f32": dict(cos, terms=3), "f64": dict(cos, terms=6)}

    def near_zero(end, middle):
        return dict(f=mp.erf, known=lambda x: x, factor=lambda x: x, variable=lambda x: x * x - middle, interval=(tiny, end), weight=lambda x: 1 / mp.erf(x))

    def root(k, scale, interval, centre):
        """The k-th root of scale erfc, which a polynomial follows easily; the error is that of erfc, as a part of erf."""
        return dict(
            f=lambda x: (scale * mp.erfc(x)) ** (mp.mpf(1) / k), known=zero, factor=one, variable=lambda x: x - centre,
            interval=interval, weight=lambda x: k * (scale * mp.erfc(x)) ** (1 - mp.mpf(1) / k) / scale,
        )  # fmt: skip

    low, high = mp.mpf("1.25"), mp.mpf("1.5")
    yield "ERF", "erf(x) = x + x p(x^2 - 0.75), |x| <= 1.25 (float32), p(x^2 - 1.125), |x| <= 1.5 (float64)", {
        "f32": dict(near_zero(low, mp.mpf("0.75")), terms=8),
        "f64": dict(near_zero(high, mp.mpf("1.125")), terms=16),
    }
    yield "ERFC_ROOT", "1 - erf(x) = p(x - 1.75)^4 in 1.25 <= x <= 4 (float32), p(x - 3.5)^8 in 1.5 <= x <= 6 (float64)", {
        "f32": dict(root(4, 8, (low, 4), mp.mpf("1.75")), terms=8),
        "f64": dict(root(8, 1, (high, 6), mp.mpf("3.5")), terms=18),
    }

    def erfcx_part(t):
        x = 4 / t - 4
        return mp.exp(x * x) * mp.erfc(x) / t

    erfcx = dict(f=erfcx_part, known=zero, factor=one, variable=lambda t: t - mp.mpf("0.5"), weight=lambda t: 1 / erfcx_part(t))
    yield "ERFCX", "exp(x^2) erfc(x) = t p(t - 1/2), t = 4 / (4 + x), 0.5 <= x <= 28 (short: 11)", {
        "f64": dict(erfcx, terms=21, interval=(mp.mpf(4) / 32, mp.mpf(4) / mp.mpf("4.5"))),
        "short": dict(erfcx, terms=11, interval=(mp.mpf(4) / 15, mp.mpf(4) / mp.mpf("4.5"))),
    }

    def inverse(w):
        x = mp.sqrt(-mp.expm1(-w))
        return mp.erfinv(x) / x

    def inverse_far(v):
        w = v * v
        goal = -mp.expm1(-w)  # x^2
        y = mp.findroot(lambda y: mp.log(mp.erfc(y) * (2 - mp.erfc(y))) + w, v * mp.mpf("0.95"))
        return y / mp.sqrt(goal)

    near = dict(f=inverse, known=zero, factor=one, variable=lambda w: w - 3, interval=(mp.mpf("1e-10"), mp.mpf("6.25")), weight=lambda w: 1 / inverse(w))
    yield "ERFINV", "erfinv(x) = x p(w - 3), w = -log(1 - x^2) <= 6.25", {"f64": dict(near, terms=26), "short": dict(near, terms=12)}
    tail = dict(f=inverse_far, known=zero, factor=one, weight=lambda v: 1 / inverse_far(v))
    yield "ERFINV_FAR", "erfinv(x) = x p(v - 3.25), v = sqrt(w) from 2.5 to 4", {
        d: dict(tail, terms=n, variable=lambda v: v - mp.mpf("3.25"), interval=(mp.mpf("2.5"), 4)) for d, n in {"f64": 22, "short": 10}.items()
    }
    yield "ERFINV_LAST", "erfinv(x) = x p(v - 5), v = sqrt(w) from 4 to 6.1", {"f64": dict(tail, terms=19, variable=lambda v: v - 5, interval=(4, mp.mpf("6.1")))}

    pi = dict(f=lambda t: mp.sin(mp.pi * t) / t, known=zero, factor=one, variable=lambda t: t * t, interval=(tiny, 0.5), weight=lambda t: t / mp.sin(mp.pi * t))
    yield "SINPI", "sin(pi t) = t p(t^2), |t| <= 1/2", {"f64": dict(pi, terms=9)}
    pi = dict(f=lambda t: mp.cos(mp.pi * t), known=one, factor=lambda t: t * t, variable=lambda t: t * t, interval=(tiny, 0.5), weight=one)
    yield "COSPI", "cos(pi t) = 1 + t^2 p(t^2), |t| <= 1/2", {"f64": dict(pi, terms=9)}
    gamma = dict(f=lambda u: mp.loggamma(2 + u), known=zero, factor=lambda u: u, variable=lambda u: u, interval=(mp.mpf("-0.5"), mp.mpf("0.5")), weight=lambda u: 1 / u)
    yield "LGAMMA", "log(gamma(2 + u)) = u p(u), |u| <= 1/2", {"f64": dict(gamma, terms=20)}
    half_log = mp.log(2 * mp.pi) / 2
    stirling = dict(
        f=lambda v: mp.loggamma(1 / v) - ((1 / v - mp.mpf(1) / 2) * mp.log(1 / v) - 1 / v + half_log), known=zero,
        factor=lambda v: v, variable=lambda v: v * v, interval=(mp.mpf("0.0001"), mp.mpf(1) / 8), weight=one,
    )  # fmt: skip
    yield "STIRLING", "log(gamma(x)) = (x - 1/2) log(x) - x + log(2 pi) / 2 + v p(v^2), v = 1 / x <= 1 / 8", {"f64": dict(stirling, terms=7)}
    psi = dict(
        f=lambda v: mp.digamma(1 / v) - mp.log(1 / v) + v / 2, known=zero, factor=lambda v: v * v, variable=lambda v: v * v,
        interval=(mp.mpf("0.0001"), mp.mpf(1) / 8), weight=one,
    )  # fmt: skip
    yield "DIGAMMA", "digamma(x) = log(x) - v / 2 + v^2 p(v^2), v = 1 / x <= 1 / 8", {"f64": dict(psi, terms=8)}
    third = mp.mpf(1) / 3
    root_ = dict(f=lambda m: m**third, known=zero, factor=one, variable=lambda m: m, interval=(mp.mpf("0.35"), mp.mpf("2.85")), weight=lambda m: m**-third)
    yield "CBRT", "a first guess of the cube root, 0.35 <= m <= 2.85", {"f32": dict(root_, terms=5), "f64": dict(root_, terms=6)}


def parts(x, dtype, bits):
    """x as a sum of floats, each but the last of at most so many bits."""
    out = []
    for b in bits:
        e = mp.floor(mp.log(abs(x), 2)) - b + 1
        out.append(rounded(mp.nint(x / 2**e) * 2**e, dtype))
        x -= out[-1]
    return (*out, rounded(x, dtype))


def constants():
    """(name, comment, {dtype: parts})."""
    full = {"f32": 24, "f64": 53}
    yield "LN2", "log(2) in two parts", {d: parts(LN2, d, [b]) for d, b in full.items()}
    yield "LN2_SHORT", "the same, the first times any exponent exact", {"f32": parts(LN2, "f32", [16]), "f64": parts(LN2, "f64", [42])}
    yield "LOG2E", "1 / log(2) in two parts", {d: parts(1 / LN2, d, [b]) for d, b in full.items()}
    yield "LOG10E", "1 / log(10) in two parts", {d: parts(1 / mp.log(10), d, [b]) for d, b in full.items()}
    yield "LOG10_2", "log(2) / log(10) in two parts, the first times any exponent exact", {"f32": parts(mp.log10(2), "f32", [16]), "f64": parts(mp.log10(2), "f64", [42])}
    yield "HALF_PI", "pi / 2 in three parts", {d: parts(mp.pi / 2, d, [b, b]) for d, b in full.items()}


HEAD = '''"""Coefficients of the polynomials of vector math, lowest power first. Written by tools/minimax.py.

The comment of a table is the form it belongs to; behind each dtype stands the largest error left, weighted as the tool says.
"""

# fmt: off
'''


def main(names):
    print(HEAD, end="")
    for name, comment, kinds in constants():
        print(f"\n#: {comment}\n{name} = {kinds!r}")
    for name, comment, kinds in rows():
        if names and name not in names:
            continue
        print(f"\n#: {comment}\n{name} = {{")
        for dtype, arguments in kinds.items():
            table, ideal, worst = fit(dtype=dtype, **arguments)
            print(f"    {dtype!r}: (  # 2^{worst.ln() / Decimal(2).ln():.1f}, unrounded 2^{ideal.ln() / Decimal(2).ln():.1f}")
            for k in range(0, len(table), 5):
                print("        " + " ".join(f"{c!r}," for c in table[k : k + 5]))
            print("    ),")
            sys.stdout.flush()
        print("}")


if __name__ == "__main__":
    main(sys.argv[1:])
