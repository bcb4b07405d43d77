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


@pytest.mark.parametrize("function", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "bfloat16", "float32"])
def test_scans(function, dtype):
    for out in OUT:
        check(function, [abs(X)], dtype, out, 0, results=2 if function in ("cummax", "cummin") else 1)


COMPOSITES = ["diff", "inner", "diag", "hstack", "cat", "stack", "histc", "kthvalue", "frexp", "all", "any", "argmax", "cross", "expand_copy",
              "masked_select", "bernoulli", "isin", "bucketize", "lerp", "float_power", "nonzero", "aminmax", "linalg.lu_factor", "amax", "log_softmax"]  # fmt: skip


@pytest.mark.parametrize("function", COMPOSITES)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "bfloat16", "float32", "complex64"])
def test_composites(function, dtype):
    whole = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    arrays = {"inner": [whole, whole], "cross": [whole, whole[::-1]], "lerp": [whole, whole[::-1]], "float_power": [whole, whole], "isin": [whole, whole[0]],
              "bucketize": [whole, whole[0] * 0]}.get(function, [whole])  # fmt: skip
    args = {"kthvalue": (2,), "histc": (4, 0, 1), "expand_copy": ((2, 3, 3),), "lerp": (0.25,), "amax": (0,), "log_softmax": (0,)}.get(function, ())
    results = 2 if function in ("kthvalue", "frexp", "aminmax", "linalg.lu_factor") else 1
    for out in OUT:
        if function in ("hstack", "cat", "stack"):
            join(function, whole, dtype, out)
        elif function == "masked_select":
            with_mask(whole, dtype, out)
        else:
            check(function, arrays, dtype, out, *args, results=results)


def join(function, whole, dtype, out):
    done = []
    for library in (torch, rushlight):
        x = library.from_numpy(whole).to(getattr(library, dtype))
        o = library.zeros(0, dtype=getattr(library, out))
        try:
            done.append(getattr(library, function)([x, x], out=o).to(library.complex128).numpy())
        except Exception as error:
            done.append(type(error))
    agree(*done)


def with_mask(whole, dtype, out):
    done = []
    for library in (torch, rushlight):
        x = library.from_numpy(whole).to(getattr(library, dtype))
        o = library.zeros(0, dtype=getattr(library, out))
        try:
            done.append(library.masked_select(x, library.from_numpy(whole > 0), out=o).to(library.complex128).numpy())
        except Exception as error:
            done.append(type(error))
    agree(*done)


def agree(want, got):
    if isinstance(want, type):
        assert isinstance(got, type) and issubclass(got, want)
    else:
        np.testing.assert_allclose(got, want)


@pytest.mark.parametrize("call", [
    "T.arange(3, dtype=T.int64, out=T.zeros(3))", "T.arange(3, out=T.zeros(1, 3))", "T.arange(3, out=T.zeros(4))", "T.linspace(0, 1, 3, out=T.zeros(3, 1, dtype=T.float16))",
    "T.full((2,), 1.5, dtype=T.float64, out=T.zeros(2))", "T.full((2,), 1.5, out=T.zeros(0, dtype=T.int32))", "T.eye(2, dtype=T.int64, out=T.zeros(2, 2))",
    "T.zeros(2, dtype=T.int64, out=T.ones(2))", "T.empty(2, dtype=T.int64, out=T.ones(2))", "T.logspace(0, 1, 3, dtype=T.float64, out=T.zeros(3))",
    "T.cumsum(T.ones(3), 0, dtype=T.float64, out=T.zeros(3))", "T.cumsum(T.ones(3), 0, out=T.zeros(3, dtype=T.int64))", "T.chain_matmul(T.ones(2, 2), T.ones(2, 2), out=T.zeros(2, 2))",
    "T.relu(T.ones(2), out=T.zeros(2))", "T.isnan(T.ones(2), out=T.zeros(2))", "T.all(T.ones(2), out=T.zeros((), dtype=T.uint8))", "T.abs(T.ones(2, dtype=T.complex64), out=T.zeros(2))",
    "T.ones(2, dtype=T.complex64).abs_()", "T.ones(2, dtype=T.bool).abs()", "T.ones(2, dtype=T.int32).cumsum(0, dtype=T.int32)",
])  # fmt: skip
def test_calls(call):
    done = []
    for library in (torch, rushlight):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                t = eval(call, {"T": library})
                done.append((str(t.dtype).split(".")[-1], tuple(t.shape), t.tolist() if "empty" not in call else None))
            except Exception as error:
                done.append(type(error))
    if isinstance(done[0], type):
        assert isinstance(done[1], type) and issubclass(done[1], done[0])
    else:
        assert done[0] == done[1]


OVERLAPS = {
    "gather": lambda T, x: T.gather(x, 0, T.zeros(4, 4, dtype=T.int64), out=x),
    "gather its index": lambda T, x: (lambda i: T.gather(i, 0, i, out=i))(T.zeros(4, 4, dtype=T.int64)),
    "kthvalue": lambda T, x: T.kthvalue(x, 2, dim=0, out=(x[0], T.zeros(4, dtype=T.int64))),
    "cat": lambda T, x: T.cat([x[:2], x[2:]], out=x),
    "stack": lambda T, x: T.stack([x[0], x[1], x[2], x[3]], out=x),
    "index_select": lambda T, x: T.index_select(x, 0, T.tensor([0, 1, 2, 3]), out=x),
    "index_copy": lambda T, x: T.index_copy(x, 0, T.tensor([0, 1, 2, 3]), x + 1, out=x),
    "index_copy_": lambda T, x: x.index_copy_(0, T.tensor([0, 1]), x[:2]),
    "index_add_": lambda T, x: x.index_add_(0, T.tensor([0, 1]), x[:2]),
    "scatter_": lambda T, x: x.scatter_(0, T.zeros(4, 4, dtype=T.int64), x),
    "scatter_add_": lambda T, x: x.scatter_add_(0, T.zeros(4, 4, dtype=T.int64), x),
    "put_": lambda T, x: x.put_(T.arange(16).reshape(4, 4), x),
    "take": lambda T, x: T.take(x, T.arange(16).reshape(4, 4), out=x),
    "masked_select": lambda T, x: T.masked_select(x, x >= 0, out=x),
    "cross": lambda T, x: (lambda y: T.cross(y, y, dim=0, out=y))(x[:3]),
    "max": lambda T, x: T.max(x, 0, out=(x[0], T.zeros(4, dtype=T.int64))),
    "aminmax": lambda T, x: T.aminmax(x, dim=0, out=(x[0], x[1])),
    "sort": lambda T, x: T.sort(x, out=(x, T.zeros(4, 4, dtype=T.int64))),
    "cumsum": lambda T, x: T.cumsum(x, 0, out=x),
    "where": lambda T, x: T.where(x > 0, x, x, out=x),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlap(name):
    done = []
    for library in (torch, rushlight):
        x = library.arange(16.0).reshape(4, 4)
        try:
            OVERLAPS[name](library, x)
            done.append(x.tolist())
        except RuntimeError as error:
            assert "single memory location" in str(error)
            done.append("overlap")
    assert done[0] == done[1]
