"""Strides of results against torch: how elements lie in memory after ops on transposed and channels_last tensors.

`x` is 2 x 6 x 8 x 8 in channels_last, `v` 2 x 6 x 4 x 6 x 8 in channels_last_3d, `t` a transposed 5 x 6 x 7 tensor, `s` a
transposed square matrix. Strides of dimensions of size 1 mean nothing and are left out.
"""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")

TEXTS = """
F.conv2d(x, T.ones(4, 6, 3, 3))
F.conv3d(v, T.ones(4, 6, 3, 3, 3))
F.conv_transpose2d(x, T.ones(6, 4, 3, 3))
F.max_pool2d(x, 2)
F.max_pool2d(x, 2, return_indices=True)[1]
F.max_pool3d(v, 2)
F.avg_pool2d(x, 2)
F.avg_pool3d(v, 2)
F.lp_pool2d(x, 2., 2)
F.adaptive_avg_pool2d(x, 3)
F.adaptive_max_pool2d(x, 3)
F.adaptive_avg_pool3d(v, 2)
F.adaptive_max_pool3d(v, 2)
F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)
F.max_unpool3d(*F.max_pool3d(v, 2, return_indices=True), 2)
F.batch_norm(x, None, None, training=True)
F.group_norm(x, 2)
F.instance_norm(x)
F.layer_norm(x, (8, 8))
F.interpolate(x, scale_factor=2)
F.interpolate(x, scale_factor=2, mode='nearest-exact')
F.interpolate(v, scale_factor=2)
F.interpolate(x, scale_factor=2, mode='bilinear')
F.interpolate(x, scale_factor=2, mode='bicubic')
F.interpolate(v, scale_factor=2, mode='trilinear')
F.interpolate(x, size=(5, 5), mode='bilinear', antialias=True)
F.pad(x, (1, 1, 1, 1))
F.pad(x, (1, 1, 1, 1), mode='reflect')
F.pad(x, (1, 1, 1, 1), mode='replicate')
F.pad(x, (1, 1, 1, 1), mode='circular')
F.pad(v, (1, 1, 1, 1, 1, 1), mode='replicate')
F.pixel_unshuffle(x, 2)
F.channel_shuffle(x, 2)
F.grid_sample(x, T.zeros(2, 3, 3, 2))
F.softmax(x, 1)
F.log_softmax(x, 1)
F.gelu(x)
F.relu(x)
F.logsigmoid(x)
F.dropout(x, .5)
x.sum(2)
x.sum(2, keepdim=True)
x.mean((2, 3), keepdim=True)
x.var(1)
x.amax(1, keepdim=True)
x.logsumexp(1)
x.all(1)
x.cumsum(1)
t.cumprod(0)
t.cummax(0)[0]
t.logcumsumexp(0)
x.sort(1)[0]
x.sort(1)[1]
s.sort(0)[0]
x[0, 0].t().sort(0)[0]
x.tril()
x.masked_fill(x > 0, 1.)
x.masked_scatter(x > 0, x)
x.renorm(2, 1, 1.)
x.put(T.tensor([0]), T.tensor([1.]))
x.index_put((T.tensor([0]),), T.tensor(1.))
x.index_fill(1, T.tensor([0]), 1.)
x.gather(1, T.zeros(2, 2, 8, 8, dtype=T.int64))
x.nonzero()
x.nonzero(as_tuple=True)[1]
T.argwhere(s)
t.unique_consecutive(dim=1)
T.addcmul(s, T.ones(5, 1), T.ones(1, 5))
T.complex(t, T.tensor(1.))
T.polygamma(1, s.abs())
T.where(s > 0, s, s.t())
T.linalg.qr(s)[0]
T.linalg.qr(s)[1]
T.linalg.inv(s)
T.linalg.svd(s)[0]
T.linalg.solve(s, T.ones(5, 3))
T.linalg.eigh(s)[1]
T.linalg.cholesky(s @ s.t() + 5 * T.eye(5))
T.triangular_solve(T.ones(5, 3), s)[0]
T.unravel_index(T.tensor([1, 5, 3]), (2, 4))[1]
"""


def _names(T):
    rng = np.random.default_rng(0)

    def tensor(*shape):
        return T.from_numpy(rng.standard_normal(shape).astype(np.float32))

    return {
        "T": T,
        "F": T.nn.functional,
        "x": tensor(2, 6, 8, 8).contiguous(memory_format=T.channels_last),
        "v": tensor(2, 6, 4, 6, 8).contiguous(memory_format=T.channels_last_3d),
        "t": tensor(7, 6, 5).transpose(0, 2),
        "s": tensor(5, 5).t(),
    }


@pytest.mark.parametrize("text", TEXTS.strip().splitlines())
def test_strides(text):
    want, got = eval(text, _names(torch)), eval(text, _names(rushlight))
    assert tuple(got.shape) == tuple(want.shape)
    assert [s for s, n in zip(got.stride(), got.shape) if n > 1] == [s for s, n in zip(want.stride(), want.shape) if n > 1]
    if not any(word in text for word in ("dropout", "qr", "svd", "eigh")):  # random, or unique but for signs
        assert np.allclose(got.detach().resolve_conj().numpy(), want.detach().resolve_conj().numpy(), atol=1e-3, equal_nan=True)
