"""Pooling by generated kernels equals its NumPy reading, to the digit for maxima."""

import itertools

import numpy as np
import pytest

import rushlight
from rushlight.codegen import native
from rushlight.ops import neural_pool as plain

if not native.available():
    pytest.skip("no compiler here", allow_module_level=True)

from rushlight.codegen import windows  # noqa: E402

CASES = [
    # size, kernel, stride, padding, dilation
    ((28, 28), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((13, 17), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((9, 40), (3, 5), (1, 1), (1, 2), (1, 1)),
    ((20, 23), (2, 3), (3, 3), (1, 1), (2, 2)),
    ((5, 3), (5, 3), (1, 1), (0, 0), (1, 1)),
    ((1, 100), (1, 7), (1, 5), (0, 3), (1, 1)),
    ((6, 7, 19), (2, 3, 2), (2, 1, 2), (1, 1, 0), (1, 2, 1)),
    ((4, 4), (3, 3), (2, 2), (1, 1), (1, 1)),
]


def drawn(size, dtype, seed=0):
    x = np.random.default_rng(seed).standard_normal((2, 3, *size)).astype(dtype)
    x[0, 0, 0] = np.round(x[0, 0, 0])  # equal ones
    x[1, 1, ..., 1] = np.nan
    x[1, 2] = -np.inf
    return x


@pytest.mark.parametrize(("case", "ceil", "dtype"), list(itertools.product(CASES, (False, True), (np.float32, np.float64))))
def test_pools(case, ceil, dtype):
    size, kernel, stride, padding, dilation = case
    places = tuple(plain.pooled_length(*a, ceil) for a in zip(size, kernel, stride, padding, dilation))
    x = drawn(size, dtype)
    out, index = windows.max_pool(x, kernel, stride, padding, dilation, places)
    expected, where = plain._max_pool(x, kernel, stride, padding, dilation, places)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(index, where)
    np.testing.assert_array_equal(windows.max_plain(x, kernel, stride, padding, dilation, places), expected)
    g = np.random.default_rng(1).standard_normal(out.shape).astype(dtype)
    np.testing.assert_allclose(windows.put_flat(g, where, size), plain._put_flat(g, where, size), rtol=1e-5, atol=1e-6)
    if set(dilation) != {1}:
        return
    x[~np.isfinite(x)] = 1
    near = {"rtol": 2e-6, "atol": 2e-6} if dtype == np.float32 else {"rtol": 1e-13, "atol": 1e-13}
    for pad, divisor in ((True, None), (False, None), (True, 5)):
        np.testing.assert_allclose(windows.avg_pool(x, kernel, stride, padding, places, pad, divisor), plain._avg_pool(x, kernel, stride, padding, places, pad, divisor), **near)
        np.testing.assert_allclose(
            windows.avg_adjoint(g, size, kernel, stride, padding, places, pad, divisor), plain._avg_adjoint(g, size, kernel, stride, padding, places, pad, divisor), **near
        )


def test_what_it_does_not_take_is_left_to_numpy():
    x = np.zeros((1, 1, 40, 40), np.int64)
    assert windows.max_plain(x, (2, 2), (2, 2), (0, 0), (1, 1), (20, 20)) is NotImplemented
    x = np.zeros((1, 1, 40, 40), np.float32)
    assert windows.max_plain(x[..., ::2], (2, 2), (2, 2), (0, 0), (1, 1), (20, 10)) is NotImplemented
    assert windows.put_flat(x, np.full(x.shape, 1600), (40, 40)) is NotImplemented


def test_gradients_through_the_public_functions():
    F = rushlight.nn.functional
    rushlight.manual_seed(0)
    x = rushlight.randn(2, 3, 24, 24, dtype=rushlight.float64, requires_grad=True)
    for pool in (lambda x: F.max_pool2d(x, 3, 2, 1), lambda x: F.avg_pool2d(x, 3, 2, 1), lambda x: F.max_pool1d(x.flatten(2), 2), lambda x: F.adaptive_avg_pool2d(x, 5)):
        out = pool(x)
        g = rushlight.randn_like(out)
        (found,) = rushlight.autograd.grad(out, x, g, create_graph=True)
        found, step = found.detach(), rushlight.randn_like(x) * 1e-6
        slope = ((pool(x + step) - pool(x - step)) / 2 * g).sum().detach() / 1e-6
        assert abs(float(slope - (found * step).sum() / 1e-6)) < 1e-5 * max(1, abs(float(slope)))
