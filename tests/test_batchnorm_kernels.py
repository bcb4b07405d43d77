"""Batch normalization by generated kernels equals its NumPy reading."""

import itertools

import numpy as np
import pytest

from rushlight.codegen import native
from rushlight.ops import neural_norm as plain
from rushlight.ops.neural_base import as_it_is

if not native.available():
    pytest.skip("no compiler here", allow_module_level=True)

from rushlight.codegen import batchnorm  # noqa: E402

SHAPES = [(16, 128), (70, 5), (2, 3, 20, 20), (1, 70, 16), (3, 2, 9000), (5, 1, 4, 5, 6)]


@pytest.mark.parametrize(("shape", "dtype", "training"), list(itertools.product(SHAPES, (np.float32, np.float64), (True, False))))
@pytest.mark.parametrize("affine", [(True, True), (True, False), (False, True), (False, False)])
def test_batch_norm(shape, dtype, training, affine):
    rng = np.random.default_rng(0)
    draw = lambda *s: rng.standard_normal(s).astype(dtype)  # noqa: E731
    x, g, c = draw(*shape) * 3 + 7, draw(*shape), shape[1]
    w, b = (draw(c) if a else None for a in affine)
    mean, var = draw(c), np.abs(draw(c)) + 1
    near = {"rtol": 2e-4, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-10}
    found = batchnorm.batch_norm(x, w, b, mean, var, training, 1e-5)
    expected = plain._batch(x, w, b, mean, var, training, 1e-5, as_it_is)
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, e, **near)
    m, s = expected[1:3]
    np.testing.assert_allclose(batchnorm.batch_norm_weight(g, x, m, s, training, 1e-5), plain._weight_adjoint(g, x, m, s, training, 1e-5), rtol=1e-3, atol=1e-3 if dtype == np.float32 else 1e-9)
    for a, e in zip(batchnorm.batch_norm_gradients(g, x, w, m, s, training, 1e-5), plain._batch_gradients(g, x, w, m, s, training, 1e-5), strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-3, atol=2e-3 if dtype == np.float32 else 1e-9)
    found = batchnorm.batch_norm_adjoint(g, x, w, m, s, training, 1e-5)
    if training:
        np.testing.assert_allclose(found, plain._batch_adjoint(g, x, w, m, s, training, 1e-5), **near)
    else:
        assert found is NotImplemented
