"""Copies of memory in another order on compiled kernels against NumPy's: permutations, windows, broadcasts, flips, every size of element."""

import itertools

import numpy as np
import pytest

import rushlight as torch
from rushlight.codegen import native

pytestmark = pytest.mark.skipif(not native.available(), reason="needs llvmlite")

SHAPES = [(1, 1), (3, 5), (70, 130), (64, 64), (300, 65), (5, 70, 33), (3, 4, 20, 17), (2, 3, 4, 5, 6)]


@pytest.mark.parametrize("dtype", [np.bool_, np.int16, np.float32, np.float64, np.complex64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_permutation(shape, dtype):
    from rushlight.codegen import copying

    x = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    for order in itertools.permutations(range(len(shape))):
        y = x.transpose(order)
        out = np.zeros(y.shape, dtype)
        assert copying.copy(out, y)
        assert (out == y).all()
        for v in (y[::-1], y[..., ::-1], y[1:], y[..., ::2], np.broadcast_to(y[:1], y.shape), np.broadcast_to(y[..., :1], y.shape)):
            assert (copying.contiguous(v) == v).all()


def test_a_window_of_the_result_is_written_and_nothing_else():
    from rushlight.codegen import copying

    x = np.random.default_rng(0).standard_normal((90, 70)).astype("f")
    out = np.zeros((100, 128), "f")
    assert copying.copy(out[3:73, 5:95], x.T)
    want = np.zeros((100, 128), "f")
    want[3:73, 5:95] = x.T
    assert (out == want).all()


def test_one_long_line():
    from rushlight.codegen import copying

    for n in (1 << 19, (1 << 19) + 7):
        x = np.arange(n, dtype=np.float32)
        assert (copying.contiguous(x[::-1]) == x[::-1]).all()
        out = np.empty(n, "f")
        assert copying.copy(out, x) and (out == x).all()
        assert (copying.contiguous(np.broadcast_to(x[5:6], n)) == 5).all()


def test_the_public_functions():
    torch.manual_seed(0)
    x = torch.randn(40, 50, 60)
    a = x.numpy()
    same = np.testing.assert_array_equal
    same(x.permute(2, 0, 1).contiguous().numpy(), a.transpose(2, 0, 1))
    same(x.half().permute(2, 0, 1).contiguous().numpy(), a.astype(np.float16).transpose(2, 0, 1))
    same(x.flip(0, 2).numpy(), a[::-1, :, ::-1])
    same(x.repeat(2, 1, 3).numpy(), np.tile(a, (2, 1, 3)))
    same(x.repeat(2, 1, 1, 2).numpy(), np.tile(a, (2, 1, 1, 2)))
    y = torch.zeros(60, 40, 50)
    before = y._version
    same(y.copy_(x.permute(2, 0, 1)).numpy(), a.transpose(2, 0, 1))
    assert y._version == before + 1
    same(y.copy_(x[:, :, 0]).numpy(), np.broadcast_to(a[:, :, 0], y.shape))
    same(y.copy_(y.flip(0)).numpy(), np.broadcast_to(a[:, :, 0], y.shape))
    whole = torch.arange(1 << 17).float()
    whole[1:].copy_(whole[:-1].clone())
    same(whole[1:].numpy(), np.arange((1 << 17) - 1))
    images = torch.randn(4, 8, 40, 50)
    last = images.contiguous(memory_format=torch.channels_last)
    assert last.stride() == (8 * 40 * 50, 1, 8 * 50, 8)
    same(last.numpy(), images.numpy())
    same(last.contiguous().numpy(), images.numpy())


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_joining(dim):
    from rushlight.codegen import copying

    rng = np.random.default_rng(0)
    shapes = [tuple(n if d != dim % 3 else m for d, n in enumerate((20, 30, 70))) for m in (3, 40, 1)]
    for dtype in (np.float32, np.int64, np.bool_, np.float16):
        arrays = [rng.integers(0, 100, s).astype(dtype) for s in shapes]
        assert (copying.cat(*arrays, np.zeros(0, dtype), dim=dim) == np.concatenate(arrays, dim)).all()
        same = [rng.integers(0, 100, shapes[1]).astype(dtype) for _ in range(3)]
        if dim >= 0:
            assert (copying.stack(*same, dim=dim) == np.stack(same, dim)).all()
    x = torch.randn(100, 200, 3)
    np.testing.assert_array_equal(torch.cat([x, x[:, :7], x], 1).numpy(), np.concatenate([x.numpy(), x.numpy()[:, :7], x.numpy()], 1))
    np.testing.assert_array_equal(torch.stack([x, x + 1], dim).numpy(), np.stack([x.numpy(), x.numpy() + 1], dim))
