"""`out=` compared with torch: which dtypes a function converts to, which it refuses, and what it writes.

Each case runs in both libraries with an `out` of the dtype named; either both raise the same type of exception, or both
write the same numbers. A half type's result is rounded to it before it is converted.
"""

import warnings

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")

OUT = ("bool", "int32", "int64", "float16", "float32", "float64", "complex64")


def outcome(library, function, arrays, dtype, out, args=(), kwargs=None, results=1):
    """What the call did: the exception's type, or the dtypes, shapes and numbers written."""
    tensors = [library.from_numpy(a.copy()).to(getattr(library, dtype)) for a in arrays]
    f = library
    for part in function.split("."):
        f = getattr(f, part)
    outs = [library.zeros(0, dtype=getattr(library, out)) for _ in range(results)]
    try:
        got = f(*tensors, *args, out=outs[0] if results == 1 else tuple(outs), **(kwargs or {}))
    except Exception as error:
        return type(error)
    assert all(a is b for a, b in zip(got if results > 1 else (got,), outs))
    return [(str(o.dtype), tuple(o.shape), np.asarray(o.to(library.complex128).numpy())) for o in outs]


def check(function, arrays, dtype, out, *args, results=1, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = outcome(torch, function, arrays, dtype, out, args, kwargs, results)
        got = outcome(rushlight, function, arrays, dtype, out, args, kwargs, results)
    if isinstance(want, type):
        assert isinstance(got, type) and issubclass(got, want), f"{function} of {dtype} into {out}: {got} instead of {want}"
        return
    assert not isinstance(got, type), f"{function} of {dtype} into {out}: {got} instead of a result"
    for (d1, s1, v1), (d2, s2, v2) in zip(want, got):
        assert (d1.split(".")[-1], s1) == (d2.split(".")[-1], s2)
        np.testing.assert_allclose(v2, v1, rtol=1e-6, atol=1e-6)


X = np.array([[0.3, -1.7, 2.5], [3.1, -0.2, 0.9]])
UNARY = ("abs neg sign sgn ceil floor trunc round frac conj_physical bitwise_not isposinf isneginf signbit exp sin acos nan_to_num logical_not erf "
         "square reciprocal isnan isfinite").split()  # fmt: skip


@pytest.mark.parametrize("function", UNARY)
@pytest.mark.parametrize("dtype", ["bool", "int64", "bfloat16", "float32", "complex64"])
def test_unary(function, dtype):
    for out in OUT:
        check(function, [X], dtype, out)


@pytest.mark.parametrize("function", ["add", "mul", "div", "atan2", "maximum", "heaviside", "copysign", "eq", "logical_and", "hypot", "fmod"])
@pytest.mark.parametrize("dtype", ["bool", "int64", "bfloat16", "float32"])
def test_binary(function, dtype):
    for out in OUT:
        check(function, [X, X[::-1] + 3], dtype, out)


@pytest.mark.parametrize("function", ["mm", "bmm", "mv", "dot", "addmm", "addmv", "baddbmm", "addbmm", "addr"])
@pytest.mark.parametrize("dtype", ["bool", "int64", "bfloat16", "float32", "complex64"])
def test_products(function, dtype):
    rng = np.random.default_rng(0)
    shapes = {"mm": [(2, 3), (3, 2)], "bmm": [(2, 2, 3), (2, 3, 2)], "mv": [(2, 3), (3,)], "dot": [(3,), (3,)], "addmm": [(2, 2), (2, 3), (3, 2)],
              "addmv": [(2,), (2, 3), (3,)], "baddbmm": [(2, 2, 2), (2, 2, 3), (2, 3, 2)], "addbmm": [(2, 2), (2, 2, 3), (2, 3, 2)], "addr": [(2, 3), (2,), (3,)]}  # fmt: skip
    for out in OUT:
        check(function, [rng.integers(-4, 5, s) for s in shapes[function]], dtype, out)
