"""Reading and writing at index arrays on compiled kernels against the NumPy readings of the same rows, to the bit."""

import numpy as np
import pytest

import rushlight as torch
from rushlight.codegen import native
from rushlight.core import dtype as D
from rushlight.ops import indexing as plain
from rushlight.ops import matrices, neural_embedding

pytestmark = pytest.mark.skipif(not native.available(), reason="needs llvmlite")
RNG = np.random.default_rng(0)
DTYPES = [np.float32, np.float64, np.int64, np.int32, np.int16, np.uint8]


def some(dtype, *shape):
    return (RNG.standard_normal(shape) * 50).astype(dtype)


@pytest.mark.parametrize("dtype", [*DTYPES, np.bool_, np.float16, D.bfloat16.np, np.complex64], ids=str)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_gather_and_index_select(dtype, axis):
    from rushlight.codegen import gathering

    x = some(dtype, 9, 17, 40)
    for shape in ((9, 17, 40), (5, 17, 33)):
        shape = tuple(30 if d == axis else n for d, n in enumerate(shape))
        index = RNG.integers(0, x.shape[axis], shape)
        for a in (x, x.transpose(0, 2, 1).copy().transpose(0, 2, 1)):
            assert (gathering.gather(a, index, axis) == plain._gather(a, index, axis)).all()
    places = RNG.integers(0, x.shape[axis], 50)
    for a in (x, x[:, ::-1]):
        assert (gathering.index_select(a, places, axis) == plain._index_select(a, places, axis)).all()
        assert (gathering.index_select(a, places.astype(np.int32), axis) == plain._index_select(a, places, axis)).all()


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scatter_and_adding(dtype, axis):
    from rushlight.codegen import gathering

    x = some(dtype, 9, 17, 300)
    shape = tuple(30 if d == axis else n for d, n in enumerate(x.shape))
    index, src = RNG.integers(0, x.shape[axis], shape), some(dtype, *(n + 1 for n in shape))
    for a in (x, x.transpose(0, 2, 1).copy().transpose(0, 2, 1)):
        before = a.copy()
        assert (gathering.scatter_add(a, index, src, axis) == plain._scatter_add(a, index, src, axis)).all()
        assert (gathering.scatter(a, index, src, axis) == plain._scatter(a, index, src, axis)).all()
        assert (gathering.scatter_value(a, index, axis, 7) == plain._scatter(a, index, 7, axis)).all()
        assert (a == before).all()
    places = RNG.integers(0, x.shape[axis], 30)
    rows = some(dtype, *shape)
    for alpha in (1, 2.5) if np.dtype(dtype).kind == "f" else (1,):
        assert (gathering.index_add(x, places, rows, axis, alpha) == plain._index_add(x, places, rows, axis, alpha)).all()


def test_one_dimension_and_rows():
    from rushlight.codegen import gathering

    x, index = some(np.float32, 1000), RNG.integers(0, 1000, 20000)
    src = some(np.float32, 20000)
    assert (gathering.gather(x, index, 0) == x[index]).all()
    assert (gathering.scatter_add(x, index, src, 0) == plain._scatter_add(x, index, src, 0)).all()
    assert (gathering.index_add(x, index, src, 0, 1) == plain._index_add(x, index, src, 0, 1)).all()
    w = some(np.float32, 100, 70)
    at = RNG.integers(-100, 100, (30, 20))
    key = (plain.HOLE,)
    assert (gathering.index(w, at, key=key, shape=(30, 20, 70)) == w[at]).all()
    v = some(np.float32, 30, 20, 70)
    got = gathering.index_put(w, v, at, key=key, shape=None, accumulate=True)
    want = w.copy()
    np.add.at(want, at, v)
    assert (got == want).all()


def test_embedding_and_its_gradient():
    from rushlight.codegen import gathering

    w, index = some(np.float32, 50, 33), RNG.integers(0, 50, (20, 30))
    assert (gathering.embedding(w, index, None, False) == w[index]).all()
    g = some(np.float32, 20, 30, 33)
    for pad in (None, 3):
        got = gathering.embedding_adjoint(g, index, 50, pad, False)
        np.testing.assert_allclose(got, neural_embedding._embedding_adjoint(g, index, 50, pad, False), rtol=1e-5, atol=1e-3)
        assert pad is None or not got[3].any()


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_, np.float16], ids=lambda d: d.__name__)
def test_triangles(dtype):
    from rushlight.codegen import copying

    for shape in ((5, 9), (9, 5), (3, 70, 70)):
        x = some(dtype, *shape)
        for k in range(-shape[-2] - 1, shape[-1] + 2):
            assert (copying.tril(x, k) == matrices.triangle(x, True, k)).all()
            assert (copying.triu(x, k) == matrices.triangle(x, False, k)).all()


def test_places_out_of_range_are_errors_still():
    x = torch.randn(300, 300)
    for bad in (300, -1):
        index = torch.zeros(300, 300, dtype=torch.int64)
        index[200, 7] = bad
        with pytest.raises(RuntimeError, match=f"index {bad} is out of bounds"):
            x.gather(1, index)
        with pytest.raises(RuntimeError, match=f"index {bad} is out of bounds"):
            x.scatter_add(1, index, x)
        with pytest.raises(IndexError, match="out of range"):
            torch.nn.functional.embedding(index, x)
        with pytest.raises(IndexError, match="out of range"):
            x.index_select(0, index.flatten())


def test_gradients():
    torch.manual_seed(0)
    x = torch.randn(200, 100, requires_grad=True)
    index = torch.randint(0, 100, (200, 300))
    w = torch.randn(200, 300)
    (x.gather(1, index) * w).sum().backward()
    want = np.zeros((200, 100))
    np.add.at(want, (np.arange(200)[:, None], index.numpy()), w.numpy())
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-4, atol=1e-4)
    x.grad = None
    rows = torch.randint(-200, 200, (400,))
    v = torch.randn(400, 100)
    (x[rows] * v).sum().backward()
    want = np.zeros((200, 100))
    np.add.at(want, rows.numpy(), v.numpy())
    np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-4, atol=1e-4)


def test_a_wrong_index_writes_nothing():
    x = torch.zeros(300, 300)
    index = torch.zeros(300, 300, dtype=torch.int64)
    index[299, 299] = 1 << 40
    for f in (lambda: x.scatter_add_(1, index, x + 1), lambda: x.scatter_add_(0, index, x + 1), lambda: x.scatter_(1, index, x + 1)):
        with pytest.raises(RuntimeError, match="out of bounds"):
            f()
    assert not x.any()
    with pytest.raises(RuntimeError, match="out of bounds"):
        x.to(torch.complex128).gather(0, index)  # no kernel
    with pytest.raises(RuntimeError, match="out of bounds"):
        x.half().scatter_add(1, index * 0 - 1, x.half())
