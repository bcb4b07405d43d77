"""Arithmetic of float16 and bfloat16 against torch, digit for digit.

What PyTorch rounds between two steps is rounded here too: numbers beside a half type, products that are accumulated in
it, composites. `EXACT` are expressions over `T` (the module), `F` (nn.functional), `x, y` (4000 numbers), `z` (positive
ones) and `m`, a number that no half type holds; results must be equal. Float16 lies so close to float32 that the order
of a long sum shows in the last place now and then: one element in two hundred may.
"""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")

M = 8.396163642458497

EXACT = """
x + m
m + x
x - m
m - x
x * m
m * x
x / m
m / x
x // m
x % m
m % x
m ** y
z ** m
z ** 0.5
z ** -0.5
x + 257
x + T.tensor(m)
T.tensor(m) - x
x * T.tensor(m)
T.tensor(m) / x
x == 1.234
x < m
T.add(x, y, alpha=m)
T.sub(x, y, alpha=m)
T.rsub(x, m, alpha=1.7)
T.add(x, m, alpha=1.7)
x.clone().add_(y, alpha=m)
x.clone().mul_(m)
T.fmod(x, m)
T.remainder(x, y)
T.lerp(x, y, 0.3)
T.clamp(x, -1.234, m)
T.where(x > 0, m, x)
T.logaddexp(x, y)
x.view(40, 100).sum_to_size(40, 1)
x.view(40, 100).sum(1, dtype=x.dtype)
z.view(400, 10).prod(1)
z.view(400, 10).prod(0)
T.zeros(5, dtype=x.dtype).index_add(0, T.arange(400) % 5, x[:400])
T.zeros(5, dtype=x.dtype).scatter_add(0, T.arange(400) % 5, x[:400])
T.zeros(5, dtype=x.dtype).index_put((T.arange(400) % 5,), x[:400], accumulate=True)
T.zeros(5, dtype=x.dtype).scatter_reduce(0, T.arange(400) % 5, x[:400], 'mean')
T.ones(5, dtype=x.dtype).scatter_reduce(0, T.arange(40) % 5, z[:40], 'prod')
F.binary_cross_entropy_with_logits(x, y.sigmoid(), reduction='none')
F.binary_cross_entropy_with_logits(x, y.sigmoid(), z, pos_weight=z, reduction='none')
F.binary_cross_entropy_with_logits(x, y.sigmoid())
F.soft_margin_loss(x, y.sign(), reduction='none')
F.nll_loss(x.view(40, 100), T.arange(40))
F.nll_loss(x.view(2000, 2), T.arange(2000) % 2, z[:2], reduction='sum')
F.nll_loss(x.view(800, 5), T.arange(800) % 5, z[:5])
F.cross_entropy(x.view(800, 5), T.arange(800) % 5)
F.nll_loss(x.view(5, 8, 10, 10), T.arange(500).view(5, 10, 10) % 8, z[:8])
F.hinge_embedding_loss(x, y.sign(), m)
F.batch_norm(x.view(40, 100)[:, :10].contiguous(), None, None, z[:10].float(), y[:10].float(), True)
F.interpolate(x.view(1, 10, 400), size=333, mode="linear")
F.interpolate(x.view(1, 4, 10, 10, 10), size=(13, 7, 9), mode="trilinear", align_corners=True)
F.interpolate(x.view(1, 4, 10, 10, 10).contiguous(memory_format=T.channels_last_3d), size=(13, 7, 9), mode="trilinear")
F.interpolate(x.view(1, 10, 20, 20), size=(33, 17), mode="bicubic")
F.grid_sample(x[:300].view(2, 5, 5, 6), (y[:288] / 4).view(2, 12, 6, 2), align_corners=True)
F.grid_sample(x[:300].view(2, 5, 5, 6), (y[:288] / 4).view(2, 12, 6, 2), padding_mode="reflection", align_corners=False)
F.grid_sample(x[:300].view(2, 5, 5, 6), (y[:288] / 4).view(2, 12, 6, 2), mode="bicubic", align_corners=False)
F.grid_sample(x[:600].view(1, 5, 4, 5, 6), (y[:288] / 4).view(1, 4, 6, 4, 3), align_corners=False)
T.native_layer_norm(x.view(40, 100), (100,), z[:100], y[:100], 1e-5)[1]
T.native_group_norm(x.view(4, 10, 100), None, None, 4, 10, 100, 2, 1e-5)[2]
F.fold(F.unfold(x.view(1, 10, 20, 20), 3), (20, 20), 3)
F.conv_transpose1d(x[:72].view(2, 4, 9), y[:36].view(4, 3, 3), z[:3], stride=2, padding=1)
F.conv_transpose2d(x[:240].view(2, 4, 6, 5), y[:72].view(4, 3, 3, 2), z[:3], stride=2, padding=1, output_padding=1, dilation=2)
F.conv_transpose2d(x[:240].view(2, 4, 6, 5), y[:36].view(4, 1, 3, 3), z[:4], groups=4)
F.conv_transpose2d(x[:240].view(2, 4, 6, 5), y[:8].view(4, 2, 1, 1), z[:2])
F.conv_transpose3d(x[:480].view(2, 4, 3, 4, 5), y[:216].view(4, 3, 2, 3, 3), None, stride=2)
F.scaled_dot_product_attention(x[:480].view(2, 30, 8), y[:480].view(2, 30, 8), z[:480].view(2, 30, 8))
F.scaled_dot_product_attention(x[:480].view(2, 30, 8), y[:480].view(2, 30, 8), z[:480].view(2, 30, 8), is_causal=True)
"""
GRADIENTS = """
F.conv2d(x[:512].view(2, 4, 8, 8), y[:216].view(6, 4, 3, 3), padding=1)
F.conv2d(x[:512].view(2, 4, 8, 8), y[:36].view(4, 1, 3, 3), groups=4)
F.conv1d(x[:64].view(2, 4, 8), y[:72].view(6, 4, 3))
F.conv_transpose2d(x[:240].view(2, 4, 6, 5), y[:72].view(4, 3, 3, 2))
"""


def _inputs(dtype):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(4000) * 4, rng.standard_normal(4000) * 3, rng.random(4000) * 2 + 0.1]
    for T in (torch, rushlight):
        kind = getattr(T, dtype)
        x, y, z = (T.from_numpy(a.astype(np.float32)).to(kind) for a in arrays)
        yield T, {"T": T, "F": T.nn.functional, "x": x, "y": y, "z": z, "m": M}


def _array(t):
    t = t.detach()
    return (t.float() if t.is_floating_point() else t).numpy()


def _equal(got, want):
    a, b = _array(got), _array(want)
    if got.dtype is rushlight.float16:
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-6)
        assert np.mean((a != b) & ~(np.isnan(a) & np.isnan(b))) <= 0.005
    else:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("text", EXACT.strip().splitlines())
def test_equal_digits(text, dtype):
    (_, theirs), (_, ours) = _inputs(dtype)
    want, got = eval(text, theirs), eval(text, ours)
    assert str(got.dtype) == str(want.dtype)
    _equal(got, want)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("text", GRADIENTS.strip().splitlines())
def test_equal_gradients(text, dtype):
    results = []
    for T, names in _inputs(dtype):
        x, y = names["x"].requires_grad_(), names["y"].requires_grad_()
        out = eval(text, names)
        g = names["z"].detach()[: out.numel()].view(out.shape)
        results.append(T.autograd.grad(out, (x, y), g))
    for want, got in zip(*results):
        _equal(got, want)
