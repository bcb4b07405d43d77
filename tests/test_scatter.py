"""The gradient of an embedding by a generated kernel equals its NumPy reading."""

import numpy as np
import pytest

import rushlight
from rushlight.codegen import native
from rushlight.ops import neural_embedding as plain

if not native.available():
    pytest.skip("no compiler here", allow_module_level=True)

from rushlight.codegen import scatter  # noqa: E402


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("rows", "width", "shape"), [(10, 1, (7,)), (50, 19, (4, 33)), (300, 256, (8, 128)), (5, 64, (1,))])
@pytest.mark.parametrize("padding", [None, 3])
def test_rows_add_up(dtype, rows, width, shape, padding):
    rng = np.random.default_rng(0)
    index = rng.integers(0, rows, shape)
    g = rng.standard_normal((*shape, width)).astype(dtype)
    found = scatter.embedding_adjoint(g, index, rows, padding, False)
    np.testing.assert_allclose(found, plain._embedding_adjoint(g, index, rows, padding, False), rtol=1e-5, atol=1e-6)


def test_indices_outside_are_left_to_numpy():
    g = np.ones((2, 64), np.float32)
    assert scatter.embedding_adjoint(g, np.array([0, 9]), 9, None, False) is NotImplemented
    assert scatter.embedding_adjoint(g, np.array([0, -1]), 9, None, False) is NotImplemented


def test_threads_change_no_digit():
    before, found = rushlight.get_num_threads(), []
    rng = np.random.default_rng(0)
    index, g = rng.integers(0, 7, 600), rng.standard_normal((600, 200)).astype(np.float32)
    try:
        for threads in (1, 2, 3):
            rushlight.set_num_threads(threads)
            found.append(scatter.embedding_adjoint(g, index, 7, None, False))
    finally:
        rushlight.set_num_threads(before)
    assert all(np.array_equal(found[0], f) for f in found)
