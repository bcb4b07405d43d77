"""Corners of single operators compared with torch: ties, last digits, half types, complex factors, zeros in products."""

import itertools
import warnings

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")

LIBRARIES = (torch, rushlight)


def numbers(t):
    return np.asarray(t.detach().to(torch.complex128 if isinstance(t, torch.Tensor) else rushlight.complex128).numpy())


def same(results, exact=True, rtol=1e-6):
    want, got = ([r] if not isinstance(r, (tuple, list)) else list(r) for r in results)
    assert len(want) == len(got)
    for w, g in zip(want, got):
        assert str(w.dtype).split(".")[-1] == str(g.dtype).split(".")[-1] and tuple(w.shape) == tuple(g.shape)
        if exact:
            np.testing.assert_array_equal(numbers(g), numbers(w))
        else:
            np.testing.assert_allclose(numbers(g), numbers(w), rtol=rtol, atol=1e-8)


def both(f, *arrays, dtype="float64"):
    """f(library, tensors...) in both libraries."""
    return [f(T, *[T.from_numpy(np.array(a)).to(getattr(T, dtype)) for a in arrays]) for T in LIBRARIES]


def gradients(f, *arrays, dtype="float64", weights=None):
    """The gradients of f's result by each array, for one incoming gradient."""
    found = []
    for T in LIBRARIES:
        xs = [T.from_numpy(np.array(a)).to(getattr(T, dtype)).requires_grad_() for a in arrays]
        out = f(T, *xs)
        g = np.cos(np.arange(out.numel())).reshape(out.shape) * (1 if "complex" not in dtype else 1 - 0.5j)
        found.append(T.autograd.grad(out, xs, T.from_numpy(np.array(g)).to(out.dtype)))
    return found


# ---- ties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 5, 17, 40])
def test_kthvalue_of_equal_elements(n):
    rng = np.random.default_rng(n)
    x = rng.integers(-2, 3, (3, n))
    for k in range(1, n + 1):
        same(both(lambda T, x, k=k: tuple(T.kthvalue(x, k)), x, dtype="int64"))
    same(both(lambda T, x: tuple(T.kthvalue(x, 2, dim=0)), x, dtype="float32"))


def test_kthvalue_with_nan():
    x = np.array([1.0, np.nan, 1.0, 0.0, np.nan, 1.0])
    for k in range(1, 7):
        same(both(lambda T, x, k=k: tuple(T.kthvalue(x, k)), x))


# ---- last digits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int64", "float16", "bfloat16", "float32", "float64"])
def test_linspace(dtype):
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, end = rng.uniform(0 if dtype == "uint8" else -60, 60, 2)
        steps = int(rng.integers(1, 60))
        same([T.linspace(float(start), float(end), steps, dtype=getattr(T, dtype)) for T in LIBRARIES])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bfloat16", "float64"])
def test_logspace(dtype):
    rng = np.random.default_rng(1)
    for _ in range(20):
        start, end = rng.uniform(0 if dtype == "uint8" else -2, 2, 2)
        steps = int(rng.integers(1, 40))
        same([T.logspace(float(start), float(end), steps, dtype=getattr(T, dtype)) for T in LIBRARIES], exact=dtype != "float64", rtol=1e-15)


def test_arange_of_int64_cuts_its_ends_first():
    for args in ((0.0, -8.000001, -4.0), (0.5, 3.2, 1.0), (1, 4.9, 1.9)):
        for dtype in ("int64", "int32"):
            same([T.arange(*args, dtype=getattr(T, dtype)) for T in LIBRARIES])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_histc(dtype):
    rng = np.random.default_rng(2)
    x = np.round(rng.normal(size=200) * 8, 1)
    for bins, low, high in itertools.product((1, 7, 30), (-10.0, -7.3), (0.0, 10.0)):
        same(both(lambda T, x, b=bins, lo=low, hi=high: T.histc(x, b, lo, hi), x, dtype=dtype))


# ---- half types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["addbmm", "addr", "div_trunc"])
def test_rounding_to_half(dtype, name):
    rng = np.random.default_rng(3)
    if name == "addbmm":
        arrays = rng.normal(size=(4, 5)), rng.normal(size=(6, 4, 3)), rng.normal(size=(6, 3, 5))
        for factors in ({}, {"beta": 0.6, "alpha": 0.2}, {"beta": 0}):
            want, got = both(lambda T, *a, f=factors: T.addbmm(*a, **f), *arrays, dtype=dtype)
            np.testing.assert_allclose(numbers(got), numbers(want), rtol=1e-2, atol=1e-2)
    elif name == "addr":
        arrays = rng.normal(size=(4, 5)), rng.normal(size=4), rng.normal(size=5)
        for factors in ({}, {"beta": 0.6, "alpha": 0.2}):
            same(both(lambda T, *a, f=factors: T.addr(*a, **f), *arrays, dtype=dtype))
    else:
        arrays = rng.normal(size=500) * 9, rng.normal(size=500)
        same(both(lambda T, x, y: T.div(x, y, rounding_mode="trunc"), *arrays, dtype=dtype))


# ---- gradients -------------------------------------------------------------------------------------------------


PRODUCTS = {"addmm": [(2, 2), (2, 3), (3, 2)], "addmv": [(2,), (2, 3), (3,)], "baddbmm": [(2, 2, 2), (2, 2, 3), (2, 3, 2)],
            "addbmm": [(2, 2), (2, 2, 3), (2, 3, 2)], "addr": [(2, 3), (2,), (3,)]}  # fmt: skip


@pytest.mark.parametrize("name", PRODUCTS)
def test_complex_factors(name):
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=s) + 1j * rng.normal(size=s) for s in PRODUCTS[name]]
    same(gradients(lambda T, *a: getattr(T, name)(*a, beta=1 + 2j, alpha=2 - 3j), *arrays, dtype="complex128"), exact=False)


@pytest.mark.parametrize("call", ["T.lerp(x, y, 0.4j)", "T.add(x, y, alpha=1 + 2j)", "T.addcmul(x, y, x, value=2j)", "x ** (1 + 2j)"])
def test_complex_attributes(call):
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3)) for _ in range(2)]
    same(gradients(lambda T, x, y: eval(call, {"T": T, "x": x, "y": y}) + 0 * y, *arrays, dtype="complex128"), exact=False)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("name", ["index_reduce", "scatter_reduce"])
def test_products_with_zeros(name, include_self):
    x, s = np.array([1.0, 2, 0, 3, 0, 0, 2, 0]), np.array([2.0, 0, 5, 0, 3, 0, 0, 4])
    index = [0, 0, 1, 2, 3, 6, 6, 7]

    def f(T, x, s):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(T, name)(x, 0, T.tensor(index), s, "prod", include_self=include_self)

    same(gradients(f, x, s), exact=False)


@pytest.mark.parametrize("upper", [False, True])
def test_cholesky_of_complex_matrices(upper):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    same(gradients(lambda T, x: T.linalg.cholesky(x, upper=upper), x @ x.conj().T + 3 * np.eye(3), dtype="complex128"), exact=False)


# ---- what comes out --------------------------------------------------------------------------------------------


def test_cat_keeps_channels_last():
    for shape, form, dim in itertools.product([(2, 3, 4, 5), (2, 2, 2, 2)], ["channels_last", "contiguous_format"], range(4)):
        strides = []
        for T in LIBRARIES:
            x = T.ones(shape).contiguous(memory_format=getattr(T, form))
            strides.append((tuple(T.cat([x, x], dim).stride()), tuple(T.cat([x, x.contiguous()], dim).stride()), tuple(T.cat([x], dim).stride()), tuple(T.stack([x, x], dim).stride())))
        assert strides[0] == strides[1]


@pytest.mark.parametrize("equation", ["i->", "ij->j", "ij,jk->ik", "ij,kl->il", "ij,ij->i", "ij,jk->j"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_einsum_sums_integers_as_int64(equation, dtype):
    terms = equation.split("->")[0].split(",")
    same(both(lambda T, *a: T.einsum(equation, *a), *[np.ones([2] * len(t)) for t in terms], dtype=dtype))


def test_negative_factors_of_unsigned_integers():
    x, y = np.array([1, 2, 250]), np.array([3, 2, 1])
    same(both(lambda T, x, y: T.add(x, y, alpha=-3), x, y, dtype="uint8"))
    same(both(lambda T, x, y: x.index_add(0, T.tensor([0, 1, 2]), y, alpha=-1), x, y, dtype="uint8"))


REFUSED = ["T.mm(b2, b2)", "T.dot(b1, b1)", "T.addcmul(b1, b1, b1)", "T.clamp(b1, b1, b1)", "T.div(b1, b1, rounding_mode='floor')", "T.argmax(b1)", "T.isin(b1, b1)",
           "T.bucketize(b1, b1)", "T.bincount(b1)", "T.histogram(h1, 2)", "T.histogramdd(h1.reshape(2, 1), [2])", "T.fmod(b1, b1)", "T.abs(b1)", "T.bernoulli(b1)",
           "T.index_reduce(b1, 0, T.tensor([0]), b1[:1], 'amax')", "T.cumsum(b1, 0, dtype=T.bool)", "T.baddbmm(b2[None], b2[None], b2[None])"]  # fmt: skip


@pytest.mark.parametrize("call", REFUSED)
def test_refused_dtypes(call):
    kinds = []
    for T in LIBRARIES:
        b1 = T.ones(2, dtype=T.bool)
        with warnings.catch_warnings(), pytest.raises(Exception) as caught:
            warnings.simplefilter("ignore")
            eval(call, {"T": T, "b1": b1, "b2": T.ones(2, 2, dtype=T.bool), "h1": T.ones(2, dtype=T.float16)})
        kinds.append(caught.type)
    assert issubclass(kinds[1], kinds[0])


@pytest.mark.parametrize("boundaries", ["uint8", "int64", "float16", "float32", "float64"])
@pytest.mark.parametrize("values", ["bool", "int32", "float16", "float64"])
def test_searchsorted_promotes(boundaries, values):
    found = []
    for T in LIBRARIES:
        b, v = T.tensor([0, 1, 3]).to(getattr(T, boundaries)), T.tensor([0.7, 2.5, 1.0]).to(getattr(T, values))
        found.append([T.searchsorted(b, v), T.bucketize(v, b, right=True)])
    same(found)


# ---- arguments of a wrong kind -----------------------------------------------------------------------------------

CALLS = """
abs(x, out=3)
add(x, x, out='s')
amax(x, 'a')
argmax(x, dim=1.5)
argsort(x, 0, x)
as_strided(x, x, x)
bincount(i, 7)
broadcast_tensors(x, 3)
cat(x, out=3)
cat([x, 3])
chunk(x, 's')
chunk(x, x)
clamp(x, 's')
cross(x, 3)
cummax(x, 'a')
cumsum(x, 0, dtype=3)
diag(x, 's')
diagonal(x, 0, 's')
diff(x, 's')
dot(x, 3)
einsum(3)
einsum('i->', 3)
expand(x, size=x)
eye('a')
flip(x, 's')
full(3, 1.0)
gather(x, 0, 's')
gather(x, x, i)
histc(x, 's')
index_add(x, 0, 3, x)
index_select(x, 0, [1])
isclose(x, 3)
isclose(x, x.new_ones(1, 2))
isin(x, x, foo=1)
kthvalue(x, 's')
kthvalue(x, 9, keepdim='a')
logsumexp(x, 1.5)
bernoulli(x, 1.5)
bernoulli(x, -7)
histogram(x, 0)
histogram(x, x)
histogram(x, i)
argwhere(None)
argwhere([1.0])
all(x, foo=1)
allclose(x, x, rtol=x)
""".strip().splitlines()


@pytest.mark.parametrize("call", CALLS)
def test_arguments_of_a_wrong_kind(call):
    kinds = []
    for T in LIBRARIES:
        names = {"x": T.arange(6.0).reshape(2, 3) + 1, "i": T.tensor([0, 1])}
        f = T.Tensor.expand if call.startswith("expand") else getattr(T, call.split("(")[0])
        with warnings.catch_warnings(), pytest.raises(Exception) as caught:
            warnings.simplefilter("ignore")
            eval("f" + call[call.index("(") :], {"f": f, **names})
        kinds.append(caught.type)
    assert issubclass(kinds[1], kinds[0]), f"{call}: {kinds[1]} instead of {kinds[0]}"
