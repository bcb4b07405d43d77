"""Scans on compiled kernels against the NumPy readings of the same rows, to the bit where the arithmetic is the same."""

import numpy as np
import pytest

import rushlight as torch
from rushlight.backends.cpu import BACKEND
from rushlight.codegen import native
from rushlight.ops import reductions, sorting
from rushlight.ops.op import TABLE

pytestmark = pytest.mark.skipif(not native.available(), reason="needs llvmlite")
DTYPES = [torch.float32, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
SHAPES = [(1, 1), (7,), (3, 50), (9, 33), (4, 5, 600), (2, 3, 4, 5)]


def some(dtype, shape):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape) * 3 if dtype.is_floating_point else rng.integers(0, 3, shape)
    return torch.from_numpy(np.asarray(x)).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp"])
def test_sums_and_products(name, dtype):
    from rushlight.codegen import scans

    if name == "logcumsumexp" and dtype is not torch.float32:
        return
    op = TABLE[name]
    for shape in SHAPES:
        x = some(dtype, shape)
        for t in (x, x.movedim(0, -1)):
            for axis in range(t.ndim):
                spec = op.infer(op, (t,), {"axis": axis})
                got, want = scans.scan(op, spec, t._data, {"axis": axis}), BACKEND.apply(op, spec, (t,), {"axis": axis})
                assert got.dtype == want.dtype and got.flags.c_contiguous
                if name == "logcumsumexp":
                    np.testing.assert_allclose(got, want, rtol=2e-7, atol=1e-7)
                else:
                    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_extremes(name, dtype):
    from rushlight.codegen import scans

    plain = sorting._cumulative(*((np.maximum, np.greater_equal) if name == "cummax" else (np.minimum, np.less_equal)))
    for shape in SHAPES:
        x = some(dtype, shape).numpy()
        if x.dtype.kind == "f":
            rng = np.random.default_rng(1)
            for value in (np.nan, 0.0, -0.0, np.inf, -np.inf):
                x[rng.random(shape) < 0.05] = value
        for axis in range(x.ndim):
            for got, want in zip(getattr(scans, name)(x, axis), plain(x, axis)):
                np.testing.assert_array_equal(got, want)
                assert got.dtype == want.dtype


def test_numbers_far_apart():
    x = torch.zeros(40, 1000)
    x[3, 5], x[4, 0], x[5, 7], x[6, 20] = float("nan"), -float("inf"), float("inf"), -2000.0
    for dim in (0, 1):
        np.testing.assert_allclose(x.logcumsumexp(dim).numpy(), reductions._logcumsumexp(x.numpy().astype(np.float64), dim).astype("f"), rtol=1e-6)


def test_eager_mode_gradients_and_dtypes():
    torch.manual_seed(0)
    x = torch.randn(300, 200, requires_grad=True)
    w = torch.randn(300, 200)
    for f in (lambda x, d: x.cumsum(d), lambda x, d: x.cummax(d)[0], lambda x, d: x.logcumsumexp(d)):
        for dim in (0, 1):
            x.grad = None
            (f(x, dim) * w).sum().backward()
            y = x.detach().double().requires_grad_()
            (f(y, dim) * w.double()).sum().backward()
            np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-3, atol=1e-3)
    i = torch.randint(0, 9, (300, 200))
    np.testing.assert_array_equal(i.cumsum(0).numpy(), i.numpy().cumsum(0))
    np.testing.assert_array_equal(i.cumsum(1, dtype=torch.int32).numpy(), i.numpy().cumsum(1, dtype=np.int32))
    np.testing.assert_array_equal(i.to(torch.int8).cumsum_(1).numpy(), i.numpy().astype(np.int8).cumsum(1, dtype=np.int8))
    half = torch.randn(300, 200).bfloat16()
    np.testing.assert_array_equal(half.cumsum(1).float().numpy(), np.stack([r.cumsum(0).float().numpy() for r in half]))
