"""Vector math (codegen/mathlib) measured: the largest error of each function in units of the last place, and the edges.

BOUND is the table of errors that is asserted. References: NumPy's longdouble where it has 64 bits of mantissa, mpmath for
what NumPy lacks; float32 results are also measured against float64 by Python's own math.
"""

import importlib.util
import math
import pathlib

import numpy as np
import pytest

from rushlight.codegen import interpret, mathlib, native
from rushlight.codegen.interpret import NUMPY
from rushlight.codegen.loops import Buffer, Kernel, Lanes, Store, load
from rushlight.codegen.mathlib import tables
from rushlight.codegen.program import Program

pytestmark = pytest.mark.skipif(not native.available(), reason="llvmlite is not installed")

# fmt: off
#: function -> the largest error in units of the last place in (float32, float64)
BOUND = {
    "exp": (1.0, 1.0), "exp2": (1.0, 1.0), "expm1": (1.0, 1.05), "log": (1.0, 1.0), "log2": (1.0, 1.0),
    "log10": (1.0, 1.0), "log1p": (1.0, 1.0), "tanh": (1.0, 1.0), "sigmoid": (1.0, 1.0), "sin": (1.0, 1.0),
    "cos": (1.0, 1.0), "tan": (1.2, 1.2), "erf": (1.1, 1.0), "erfc": (1.0, 2.0), "asin": (1.0, 1.0),
    "acos": (1.0, 1.0), "atan": (1.0, 1.0), "sinh": (1.0, 1.2), "cosh": (1.0, 1.0), "asinh": (1.0, 1.0),
    "acosh": (1.0, 1.0), "atanh": (1.0, 1.0), "cbrt": (1.0, 1.0), "erfinv": (1.0, 2.0),
    "pow": (1.0, 1.0), "atan2": (1.05, 1.05), "hypot": (1.0, 1.0),
}
#: the same in units of the last place of max(1, |result|): sums that may cancel
BOUND_ABSOLUTE = {"lgamma": (1.0, 6.0), "digamma": (1.0, 8.0), "logaddexp": (2.0, 2.0), "logaddexp2": (2.0, 2.0)}
# fmt: on

LONG = np.finfo(np.longdouble).nmant >= 63
INF, NAN = math.inf, math.nan
NAME = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "atan2": "arctan2", "pow": "power"}
TWO = ("pow", "atan2", "hypot", "logaddexp", "logaddexp2")
AT = (("i", 1),)


def kernel_of(name, dtype, arity):
    value = getattr(mathlib, name)(*(load(f"x{k}", AT, dtype) for k in range(arity)))
    return Kernel(f"vector_{name}", (Buffer("out", dtype), *(Buffer(f"x{k}", dtype) for k in range(arity))), (Lanes("i", None, None, (Store("out", AT, value),)),))


_PROGRAMS = {}


def compute(name, *xs):
    dtype = {4: "f32", 8: "f64"}[xs[0].itemsize]
    key = name, dtype
    if key not in _PROGRAMS:
        _PROGRAMS[key] = Program(kernel_of(name, dtype, len(xs)))
    out = np.empty_like(xs[0])
    _PROGRAMS[key](out.size, out.size, out, *xs)
    return out


def by_mpmath(name, xs):
    mp = pytest.importorskip("mpmath")
    f = {"erfc": mp.erfc, "erf": mp.erf, "erfinv": mp.erfinv, "lgamma": lambda x: mp.re(mp.loggamma(x)), "digamma": mp.digamma}[name]
    out = np.empty(xs[0].shape, np.longdouble)
    with mp.workdps(40):
        for i, point in enumerate(zip(*(x.tolist() for x in xs))):
            value = f(*map(mp.mpf, point))
            out[i] = np.longdouble(mp.nstr(value, 25)) if abs(value) > mp.mpf("1e-4000") else 0
    return out


def reference(name, xs):
    """The values to 64 bits."""
    if name == "sigmoid":
        x = xs[0].astype(np.longdouble)
        return np.where(x < 0, np.exp(x), np.longdouble(1)) / (1 + np.exp(-np.abs(x)))
    function = getattr(np, NAME.get(name, name), None)
    return by_mpmath(name, xs) if function is None else function(*(x.astype(np.longdouble) for x in xs))


def ulps(got, want, least=0.0):
    """Errors in units of the last place of the results, or of `least` where they are smaller."""
    info = np.finfo(got.dtype)
    size = np.maximum(np.abs(want), max(float(info.smallest_subnormal), least))
    exponent = np.maximum(np.floor(np.log2(size)) - info.nmant, info.minexp - info.nmant)
    error = np.abs(got.astype(np.longdouble) - want) / np.exp2(exponent.astype(np.longdouble))
    rounded = want.astype(got.dtype)
    same = (got == rounded) | np.isnan(got) & np.isnan(rounded)
    limit = np.isinf(got) & (np.abs(want) > float(info.max) * (1 - 1e-7)) | np.isinf(rounded) & (np.abs(got) == info.max)
    error = np.where(same, 0 if least else np.where(np.isfinite(error), np.minimum(error, 0.5), 0), np.where(limit, 1.0, np.where(np.isnan(error), INF, error)))
    signs = (got == 0) & (rounded == 0) & (np.signbit(got) != np.signbit(rounded))
    return np.where(signs, INF, error)


def arguments(name, dtype, count, seed=0):
    """Random bits (all exponents), and where the function is busy."""
    g = np.random.default_rng(seed)
    kind = NUMPY[dtype]
    info = np.finfo(kind)

    def busy(n):
        spread = g.uniform(-30, 6, n)
        x = np.concatenate([g.standard_normal(n), g.standard_normal(n) * 10, np.exp(spread) * g.choice([-1, 1], n), g.uniform(-750, 750, n), g.integers(-400, 400, n) * (math.pi / 2)])
        if name in ("acosh", "log", "log2", "log10"):
            x = np.concatenate([np.abs(x), 1 + np.exp(spread), 1 - np.exp(-np.abs(spread))])
        if name in ("asin", "acos", "atanh", "erfinv"):
            x = np.concatenate([np.tanh(x), 1 - np.exp(-np.abs(g.uniform(0, 36, n))), x / 20])
        if name == "pow":
            x = np.abs(x)
        return x

    with np.errstate(all="ignore"):
        bits = np.frombuffer(g.bytes(count * kind().itemsize), kind)
        edges = np.array([0, -0.0, 1, -1, 0.5, 2, 3, 10, 88.72283, 88.72284, 89.4, 89.5, -87.33655, -103.97, -104.1, 709.7827, 710.4, 710.5, -745.13, -745.2, INF, -INF, NAN, info.tiny, -info.tiny, info.smallest_subnormal, -info.smallest_subnormal, info.max, -info.max], kind)
        return np.concatenate([edges, bits, busy(count // 5).astype(kind)])


def second(name, x, seed=1):
    """The other argument of a function of two."""
    g = np.random.default_rng(seed)
    with np.errstate(all="ignore"):
        y = g.permutation(x)
        if name == "pow":
            tame = 600 * g.standard_normal(x.size) / np.maximum(np.abs(np.log(np.abs(x))), 1e-3)
            y = np.where(np.isfinite(tame), tame, y)
            y = np.where(g.random(x.size) < 0.2, np.rint(g.standard_normal(x.size) * 5), y)
        elif not name.startswith("logaddexp"):
            y = np.where(g.random(x.size) < 0.7, x * g.standard_normal(x.size).astype(x.dtype), y)
        return y.astype(x.dtype)


def errors(name, dtype, count, run=compute, least=0.0):
    if dtype == "f64" and not LONG:
        pytest.skip("longdouble is not longer than double here")
    with np.errstate(all="ignore"):
        x = arguments(name, dtype, count)
        xs = (x,) if name not in TWO else (x, second(name, x))
        if name in ("erf", "erfc", "erfinv", "lgamma", "digamma"):  # by mpmath, for moderate arguments
            x = x[np.isfinite(x) & (np.abs(x) < (1 if name == "erfinv" else 1e5)) & (np.abs(x) > 1e-30)]
            xs = (x[(x != np.floor(x)) | (x > 0)],)
        got, want = run(name, *xs), reference(name, xs)
        if name in ("erfc",) and dtype == "f32":
            want = np.where(want < 1e-46, 0, want)
        e = ulps(got, want, least)
    worst = int(np.argmax(e))
    return float(e[worst]), [float(x[worst]) for x in xs], float(got[worst]), float(want[worst])


SLOW = {"erf", "erfc", "erfinv", "lgamma", "digamma"}


@pytest.mark.parametrize("dtype", ("f32", "f64"))
@pytest.mark.parametrize("name", BOUND)
def test_units_of_the_last_place(name, dtype):
    worst = errors(name, dtype, 300 if name in SLOW else 20000)
    assert worst[0] <= BOUND[name][dtype == "f64"], worst


@pytest.mark.parametrize("dtype", ("f32", "f64"))
@pytest.mark.parametrize("name", BOUND_ABSOLUTE)
def test_units_of_the_last_place_of_sums(name, dtype):
    worst = errors(name, dtype, 300 if name in SLOW else 20000, least=1.0)
    assert worst[0] <= BOUND_ABSOLUTE[name][dtype == "f64"], worst


@pytest.mark.parametrize("dtype", ("f32", "f64"))
@pytest.mark.parametrize("name", sorted(BOUND))
def test_the_specification_gives_them_too(name, dtype):
    """Interpreted, where nothing is contracted: no function counts on an emitter's choice of roundings."""

    def interpreted(name, *xs):
        out = np.empty_like(xs[0])
        interpret.run(kernel_of(name, dtype, len(xs)), [out, *xs], 0, out.size)
        return out

    worst = errors(name, dtype, 60, interpreted)
    assert worst[0] <= BOUND[name][dtype == "f64"] + 0.3, worst


# fmt: off
#: function, arguments, result
EDGES = [
    ("exp", -INF, 0.0), ("exp", INF, INF), ("exp2", -INF, 0.0), ("exp2", 10.0, 1024.0), ("expm1", -INF, -1.0), ("expm1", -0.0, -0.0),
    ("log", 0.0, -INF), ("log", -0.0, -INF), ("log", -1.0, NAN), ("log", INF, INF), ("log", 1.0, 0.0), ("log", -INF, NAN),
    ("log2", 8.0, 3.0), ("log2", 0.0, -INF), ("log10", 1000.0, 3.0), ("log10", -2.0, NAN), ("log1p", -1.0, -INF), ("log1p", -0.0, -0.0),
    ("log1p", -2.0, NAN), ("log1p", INF, INF), ("tanh", INF, 1.0), ("tanh", -INF, -1.0), ("tanh", -0.0, -0.0), ("sigmoid", -INF, 0.0),
    ("sigmoid", INF, 1.0), ("sigmoid", 0.0, 0.5), ("sin", INF, NAN), ("sin", -0.0, -0.0), ("cos", -INF, NAN), ("cos", 0.0, 1.0), ("tan", INF, NAN),
    ("tan", -0.0, -0.0), ("erf", INF, 1.0), ("erf", -INF, -1.0), ("erf", -0.0, -0.0), ("erfc", INF, 0.0), ("erfc", -INF, 2.0), ("erfc", 0.0, 1.0),
    ("asin", 2.0, NAN), ("asin", -0.0, -0.0), ("acos", 1.0, 0.0), ("acos", -2.0, NAN), ("atan", -0.0, -0.0), ("atan", INF, math.pi / 2),
    ("sinh", -INF, -INF), ("sinh", -0.0, -0.0), ("cosh", -INF, INF), ("cosh", 0.0, 1.0), ("asinh", -INF, -INF), ("asinh", -0.0, -0.0),
    ("acosh", 1.0, 0.0), ("acosh", 0.5, NAN), ("acosh", -INF, NAN), ("acosh", INF, INF), ("atanh", 1.0, INF), ("atanh", -1.0, -INF), ("atanh", 2.0, NAN),
    ("atanh", -0.0, -0.0), ("cbrt", -27.0, -3.0), ("cbrt", -0.0, -0.0), ("cbrt", -INF, -INF), ("erfinv", 1.0, INF), ("erfinv", -1.0, -INF),
    ("erfinv", 1.5, NAN), ("erfinv", -0.0, -0.0), ("lgamma", 1.0, 0.0), ("lgamma", 2.0, 0.0), ("lgamma", 0.0, INF), ("lgamma", -3.0, INF),
    ("lgamma", -INF, INF), ("lgamma", INF, INF), ("digamma", 0.0, -INF), ("digamma", -0.0, INF), ("digamma", -2.0, NAN), ("digamma", INF, INF), ("digamma", -INF, NAN),
    *((name, NAN, NAN) for name in BOUND if name not in ("pow", "atan2", "hypot")), ("lgamma", NAN, NAN), ("digamma", NAN, NAN),
]
# fmt: on


@pytest.mark.parametrize("dtype", ("f32", "f64"))
@pytest.mark.parametrize("name, x, result", EDGES)
def test_edges(name, x, result, dtype):
    got = compute(name, np.full(19, x, NUMPY[dtype]))
    np.testing.assert_array_equal(got, np.full(19, result, NUMPY[dtype]))
    if result == result:
        np.testing.assert_array_equal(np.signbit(got), np.full(19, math.copysign(1, result) < 0))


@pytest.mark.parametrize("dtype", ("f32", "f64"))
@pytest.mark.parametrize("name", TWO)
def test_edges_of_two(name, dtype):
    """NumPy follows C's standard here, except that hypot of infinity and NaN is infinity in both."""
    kind = NUMPY[dtype]
    info = np.finfo(kind)
    points = np.array([0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1e9, INF, -INF, NAN, info.max, -info.max, info.tiny, info.smallest_subnormal], kind)
    x, y = (v.ravel().copy() for v in np.meshgrid(points, points))
    with np.errstate(all="ignore"):
        want = getattr(np, NAME.get(name, name))(x, y)
    got = compute(name, x, y)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    ok = ~np.isnan(want)
    np.testing.assert_allclose(got[ok], want[ok], rtol=8 * info.eps, atol=4 * float(info.smallest_subnormal))
    np.testing.assert_array_equal(np.signbit(got[ok]), np.signbit(want[ok]))


@pytest.mark.parametrize("dtype", ("f32", "f64"))
def test_powers_of_the_bases_are_exact(dtype):
    kind = NUMPY[dtype]
    k = np.arange(-149 if dtype == "f32" else -1074, 128 if dtype == "f32" else 1024)
    powers = np.ldexp(np.ones(k.size), k).astype(kind)
    np.testing.assert_array_equal(compute("exp2", k.astype(kind)), powers)
    np.testing.assert_array_equal(compute("log2", powers), k)
    n = np.arange(0, 11 if dtype == "f32" else 23)
    np.testing.assert_array_equal(compute("log10", np.array([float(10**i) for i in n.tolist()], kind)), n)


@pytest.mark.parametrize("dtype", ("f32", "f64"))
@pytest.mark.parametrize("name", ("sin", "cos", "tan"))
def test_huge_arguments_among_small_ones(name, dtype):
    kind = NUMPY[dtype]
    x = np.array([1.0, 1e22, -2.0, 3e38, 0.5, 1e15, -1e9, 12345.678] * 5 + [7e10, 1.5], kind)
    want = np.array([getattr(math, name)(v) for v in x.tolist()])
    np.testing.assert_allclose(compute(name, x), want, rtol=3 * np.finfo(kind).eps)


@pytest.mark.parametrize("name", ("SIN", "LOG", "EXPM1"))
def test_tables_are_the_tool_s(name):
    pytest.importorskip("mpmath")
    path = pathlib.Path(__file__).parent.parent / "tools" / "minimax.py"
    spec = importlib.util.spec_from_file_location("minimax", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    kinds = next(k for n, _, k in tool.rows() if n == name)
    assert tool.fit(dtype="f32", **kinds["f32"])[0] == getattr(tables, name)["f32"]
