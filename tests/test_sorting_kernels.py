"""Sorting and selection on compiled kernels against NumPy's stable sort: every dtype, both directions, NaN and zeros of both signs."""

import numpy as np
import pytest

import rushlight as torch
from rushlight.codegen import native
from rushlight.core import dtype as D
from rushlight.ops import sorting as plain

pytestmark = pytest.mark.skipif(not native.available(), reason="needs llvmlite")

DTYPES = [D.float32, D.float64, D.int64, D.int32, D.int16, D.int8, D.uint8, D.bool_, D.float16, D.bfloat16, D.uint16, D.uint32, D.uint64]


def some(dtype, shape, kind):
    rng = np.random.default_rng(0)
    kind_of = dtype.np.kind if dtype is not D.bfloat16 else "f"
    if kind_of == "b":
        return rng.random(shape) > 0.5
    if kind_of in "iu":
        info = np.iinfo(dtype.np)
        return rng.integers(0, 50, shape).astype(dtype.np) if kind == "few" else rng.integers(info.min, info.max, shape, dtype=dtype.np)
    x = rng.standard_normal(shape)
    x = (np.round(x * 3) if kind == "few" else x).astype(dtype.np)
    if kind == "odd":
        for value in (np.nan, -0.0, 0.0, np.inf, -np.inf, -np.nan):
            x[rng.random(shape) < 0.06] = value
    return x


@pytest.mark.parametrize("kind", ["many", "few", "odd"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows(dtype, kind):
    from rushlight.codegen import sorting

    for shape in [(1, 1), (3, 2), (5, 31), (4, 33), (7, 64), (2, 1000), (1, 140000)]:
        x = some(dtype, shape, kind)
        for descending in (False, True):
            values, index, ties = sorting.ordered(x, descending)
            want = plain._order(x, 1, descending)
            assert (index == want).all()
            assert values.tobytes() == np.take_along_axis(x, want, 1).tobytes()
            assert ties.any() or not plain._repeated(plain.wide(x), want, 1).any()
            n = shape[1]
            for first, last in {(0, 1), (0, min(7, n)), (n // 2, n // 2 + 1), (max(0, n - 3), n), (0, n)}:
                got, _ = sorting.selected(x, descending, first, last)
                assert (got == want[:, first:last]).all()


@pytest.mark.parametrize("dtype", [D.float64, D.int64])
def test_long_runs_of_equal_upper_halves(dtype):
    from rushlight.codegen import sorting

    rng = np.random.default_rng(1)
    low = rng.integers(0, 1 << 20, (2, 500))
    x = (low + (rng.integers(0, 3, (2, 500)) << 40)).astype(np.int64)
    x = x if dtype is D.int64 else (x | 0x3FF << 52).view(np.float64)
    _, index, _ = sorting.ordered(x, False)
    assert (index == np.argsort(x, 1, kind="stable")).all()
    long = np.resize(x, (1, 140000))
    _, index, _ = sorting.ordered(long, True)
    assert (index == plain._order(long, 1, True)).all()


@pytest.mark.parametrize("order", ["rising", "falling", "one value", "few large"])
def test_a_sample_that_misleads(order):
    from rushlight.codegen import sorting

    x = np.arange(40000.0, dtype=np.float32)
    x = {"rising": x, "falling": x[::-1].copy(), "one value": x * 0 + 3, "few large": np.where(np.arange(x.size) % 300 == 40, x, 0).astype("f")}[order].reshape(1, -1)
    for descending in (False, True):
        got, _ = sorting.selected(x, descending, 0, 20)
        assert (got == plain._order(x, 1, descending)[:, :20]).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_dimension(axis):
    x = torch.from_numpy(some(D.float32, (40, 30, 20), "odd"))
    a = x.numpy()
    values, index = x.sort(axis, stable=True)
    assert (index.numpy() == np.argsort(a, axis, kind="stable")).all()
    assert values.is_contiguous() and index.is_contiguous() and values.shape == x.shape
    np.testing.assert_array_equal(values.numpy(), np.sort(a, axis))
    for kept in (True, False):
        value, at = x.kthvalue(5, axis, kept)
        np.testing.assert_array_equal(value.numpy(), np.take(np.sort(a, axis), [4] if kept else 4, axis))
        np.testing.assert_array_equal(value.numpy(), np.take_along_axis(a, at.numpy() if kept else np.expand_dims(at.numpy(), axis), axis).reshape(value.shape))
    top, at = x.topk(6, axis)
    np.testing.assert_array_equal(top.numpy(), np.take(np.flip(np.sort(a, axis), axis), range(6), axis))
    np.testing.assert_array_equal(top.numpy(), np.take_along_axis(a, at.numpy(), axis))
    turned = x.permute(2, 0, 1)
    np.testing.assert_array_equal(turned.sort(axis)[0].numpy(), np.sort(turned.numpy(), axis))


def test_median_of_rows_with_nan():
    a = np.random.default_rng(0).standard_normal((30, 41)).astype("f")
    a[3, 7] = a[3, 9] = a[8, 0] = np.nan
    value, at = torch.from_numpy(a).median(1)
    want = np.sort(a, 1)[:, 20]
    want[[3, 8]] = np.nan
    np.testing.assert_array_equal(value.numpy(), want)
    assert at[3].item() == 7 and at[8].item() == 0
    assert np.isnan(torch.from_numpy(a).median().item())


def test_the_number_of_threads_changes_nothing():
    x = torch.from_numpy(some(D.float32, (3, 200000), "few"))
    before = torch.get_num_threads()
    found = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            found.append([t.clone() for t in (*x.sort(1), *x.flatten().sort(), *x.topk(9, 1))])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_distinct_values():
    a = np.random.default_rng(0).integers(-300, 300, (200, 300))
    values, inverse, counts = torch.unique(torch.from_numpy(a), return_inverse=True, return_counts=True)
    for got, want in zip((values, inverse, counts), np.unique(a, return_inverse=True, return_counts=True)):
        np.testing.assert_array_equal(got.numpy(), want.reshape(got.shape))
    x = torch.from_numpy(some(D.float32, (70000,), "odd"))
    got, want = torch.unique(x).numpy(), np.unique(x.numpy(), equal_nan=False)
    np.testing.assert_array_equal(got, want)
    assert x.unique(return_counts=True)[1].sum() == x.numel()


def test_gradients_follow_the_indices():
    x = torch.randn(30, 40, requires_grad=True)
    w = torch.randn(30, 40)
    values, index = x.sort(1, descending=True)
    (values * w).sum().backward()
    want = np.zeros((30, 40), "f")
    np.put_along_axis(want, index.numpy(), w.numpy(), 1)
    np.testing.assert_array_equal(x.grad.numpy(), want)
