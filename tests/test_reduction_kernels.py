"""Reductions on compiled kernels against NumPy in float64: every row, dtype, choice of dimensions and layout."""

import itertools

import numpy as np
import pytest

import rushlight as torch
from rushlight.backends.cpu import BACKEND
from rushlight.codegen import native
from rushlight.ops.op import TABLE

pytestmark = pytest.mark.skipif(not native.available(), reason="needs llvmlite")


def both(name, x, **attrs):
    """(the kernel's result, NumPy's) of a reduction row."""
    from rushlight.codegen import reduction

    op = TABLE[name]
    spec = op.infer(op, (x,), attrs)
    got = reduction.reduce(op, spec, x._data, attrs)
    assert got is not None, f"no kernel for {name}"
    want = BACKEND.apply(op, spec, (x,), attrs)
    assert got.shape == want.shape == spec.shape and got.dtype == want.dtype == spec.dtype.np
    return got.astype(np.float64), want.astype(np.float64)


MORE = {"var": {"correction": 1}, "std": {"correction": 0}}
NORMS = [{"ord": o} for o in (0.0, 1.0, 2.0, float("inf"), -float("inf"))]
CASES = [(n, MORE.get(n, {})) for n in ("sum_dim", "mean_dim", "prod_dim", "amax", "amin", "var", "std", "logsumexp", "count_nonzero", "nansum", "all", "any")] + [("linalg_vector_norm", o) for o in NORMS]
AXES = [a for k in range(4) for a in itertools.combinations(range(3), k)]


@pytest.mark.parametrize("name, more", CASES, ids=str)
@pytest.mark.parametrize("axes", AXES, ids=str)
def test_dimensions(name, more, axes):
    torch.manual_seed(0)
    x = torch.randn(7, 33, 19)
    x[0, 0, :3] = 0
    for t in (x, x.permute(2, 0, 1), x.permute(1, 2, 0)):
        for keepdim in (False, True):
            got, want = both(name, t, axes=axes or (0, 1, 2), keepdim=keepdim, **more)
            np.testing.assert_allclose(got, want, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool], ids=str)
@pytest.mark.parametrize("name, more", CASES, ids=str)
def test_dtypes(name, more, dtype):
    if dtype not in TABLE[name].dtypes if hasattr(TABLE[name].dtypes, "__iter__") and not isinstance(TABLE[name].dtypes, str) else False:
        return
    torch.manual_seed(0)
    x = torch.randn(9, 70).to(dtype) if dtype.is_floating_point else torch.randint(0, 3, (9, 70)).to(dtype)
    floats = name in ("mean_dim", "var", "std", "linalg_vector_norm") or name == "logsumexp"
    if floats and not dtype.is_floating_point or name == "prod_dim" and dtype in (torch.float16, torch.bfloat16):
        return
    for axes in ((0,), (1,), (0, 1)):
        got, want = both(name, x, axes=axes, keepdim=False, **more)
        np.testing.assert_allclose(got, want, rtol=1e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-12, atol=1e-3 if dtype in (torch.float16, torch.bfloat16) else 1e-12)


@pytest.mark.parametrize("n", [1, 5, 31, 32, 33, 4096, 4097, 70000])
def test_lengths(n):
    torch.manual_seed(0)
    x = torch.randn(n)
    for name, more in CASES:
        if name == "var" and n == 1:
            continue
        got, want = both(name, x, axes=(0,), keepdim=False, **more)
        np.testing.assert_allclose(got, want, rtol=3e-6, atol=2e-4)


def test_rounding_is_that_of_the_exact_result():
    """Sums of 2**20 positive numbers to two units in the last place; variances far from 0 as two passes in float64 have them."""
    torch.manual_seed(0)
    x = torch.rand(1 << 20)
    a = x.numpy().astype(np.float64)
    for t in (x, x.reshape(1, -1, 1), x.reshape(1024, 1024)):
        assert abs(t.sum().item() / a.sum() - 1) < 2.4e-7
        assert abs(t.mean().item() / a.mean() - 1) < 2.4e-7
    assert np.abs(x.reshape(-1, 8).sum(0).numpy() / a.reshape(-1, 8).sum(0) - 1).max() < 5e-7
    y = x.reshape(2048, 512) * 1e-3 + 1e4
    b = y.numpy().astype(np.float64)
    for dim in (0, 1, (0, 1)):
        np.testing.assert_allclose(y.var(dim).numpy(), b.var(dim, ddof=1), rtol=1e-6)
        np.testing.assert_allclose(y.std(dim).numpy(), b.std(dim, ddof=1), rtol=1e-6)


def test_numbers_that_are_none():
    x = torch.zeros(40, 1000)
    x[3, 5], x[4, 6], x[5, 7] = float("nan"), float("inf"), -float("inf")
    x[6] = -float("inf")
    for name, more in CASES:
        for axes in ((0,), (1,), (0, 1)):
            got, want = both(name, x, axes=axes, keepdim=False, **more)
            np.testing.assert_allclose(got, want, rtol=1e-6)


def test_gradients_and_layouts_stay_those_of_the_rows():
    torch.manual_seed(0)
    x = torch.randn(300, 200, requires_grad=True)
    for f in (lambda x: x.var(0), lambda x: x.std(1), lambda x: x.norm(dim=1), lambda x: x.logsumexp(0)):
        x.grad = None
        f(x).sum().backward()
        big = x.grad.clone()
        y = x.detach().double().requires_grad_()
        f(y).sum().backward()
        np.testing.assert_allclose(big.numpy(), y.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.int16, np.int8, np.uint8], ids=lambda d: d.__name__)
@pytest.mark.parametrize("shape, axis", [((130, 70), 0), ((3, 65, 33), 1), ((2, 5, 16, 4), 1), ((1, 40), 0)], ids=str)
def test_places_of_extremes(dtype, shape, axis):
    from rushlight.codegen import extremes

    rng = np.random.default_rng(0)
    x = rng.integers(0, 20, shape).astype(dtype)
    if x.dtype.kind == "f":
        x[rng.random(shape) < 0.01] = np.nan
        x[rng.random(shape) < 0.1] = -0.0
    for word, pick in (("max", np.argmax), ("min", np.argmin)):
        want = pick(x, axis)
        values, index = getattr(extremes, word + "_dim")(x, axis, False)
        np.testing.assert_array_equal(index, want)
        np.testing.assert_array_equal(values, np.take_along_axis(x, np.expand_dims(want, axis), axis).squeeze(axis))
        assert (getattr(extremes, "arg" + word)(x, (axis,), True) == np.expand_dims(want, axis)).all()
