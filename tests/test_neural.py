"""Neural operations against definitions written out in NumPy, and gradients against differences."""

import numpy as np
import pytest

import rushlight
import rushlight.nn.functional as F

RNG = np.random.default_rng(0)


def tensor(*shape):
    return rushlight.from_numpy(RNG.standard_normal(shape))


def check_gradients(f, *xs):
    """Directional derivatives of f's weighted sum, first and second order, against differences."""
    xs = [x.detach().requires_grad_() for x in xs]
    directions = [rushlight.from_numpy(RNG.standard_normal(tuple(x.shape))) for x in xs]

    def scalar(*arguments):
        out = f(*arguments)
        weights = np.sin(np.arange(out.numel(), dtype=float)).reshape(tuple(out.shape))
        return (out * rushlight.from_numpy(weights)).sum()

    def slope(*arguments):
        arguments = [a.detach().requires_grad_() for a in arguments]
        grads = rushlight.autograd.grad(scalar(*arguments), arguments, create_graph=True)
        return sum((g * d).sum() for g, d in zip(grads, directions)), arguments

    def difference(g, step=1e-5):
        there = g(*[x.detach() + step * d for x, d in zip(xs, directions)])
        here = g(*[x.detach() - step * d for x, d in zip(xs, directions)])
        return (float(there) - float(here)) / (2 * step)

    first, arguments = slope(*xs)
    assert float(first) == pytest.approx(difference(scalar), rel=1e-5, abs=1e-7)
    if first.requires_grad:
        second = rushlight.autograd.grad(first, arguments, allow_unused=True)
        value = sum(float((g * d).sum()) for g, d in zip(second, directions) if g is not None)
        assert value == pytest.approx(difference(lambda *a: slope(*a)[0]), rel=1e-4, abs=1e-6)


SMOOTH = ("silu", "mish", "gelu", "elu", "selu", "celu", "softplus", "logsigmoid", "tanhshrink")


@pytest.mark.parametrize("name", SMOOTH)
def test_activation_gradients(name):
    check_gradients(getattr(F, name), tensor(3, 4))


GRADIENTS = {
    "softmax": (lambda x: F.softmax(x, 1), (3, 4)),
    "log_softmax": (lambda x: F.log_softmax(x, 0), (3, 4)),
    "glu": (lambda x: F.glu(x, 1), (3, 4)),
    "linear": (F.linear, (3, 4), (5, 4), (5,)),
    "conv1d": (lambda x, w, b: F.conv1d(x, w, b, 2, 1, 2), (2, 3, 9), (4, 3, 3), (4,)),
    "conv2d_groups": (lambda x, w: F.conv2d(x, w, groups=2), (2, 4, 5, 5), (4, 2, 3, 2)),
    "conv2d_depthwise": (lambda x, w: F.conv2d(x, w, groups=3), (2, 3, 5, 5), (6, 1, 3, 2)),
    "conv_transpose": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1),
        (2, 3, 3, 4),
        (3, 2, 3, 3),
    ),
    "avg_pool": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), (1, 2, 6, 7)),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), (3, 4), (4,), (4,)),
    "group_norm": (lambda x, w: F.group_norm(x, 2, w), (2, 4, 3), (4,)),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, True),
        (4, 3, 2),
        (3,),
        (3,),
    ),
    "attention": (
        F.scaled_dot_product_attention,
        (1, 2, 3, 4),
        (1, 2, 5, 4),
        (1, 2, 5, 4),
    ),
    "bicubic": (lambda x: F.interpolate(x, scale_factor=1.7, mode="bicubic"), (1, 2, 4, 5)),
    "reflect": (lambda x: F.pad(x, (2, 1), mode="reflect"), (2, 4)),
    "bce_logits": (
        lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction="none"),
        (3, 4),
        (3, 4),
    ),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name):
    f, *shapes = GRADIENTS[name]
    check_gradients(f, *[tensor(*s) for s in shapes])


def test_gradients_through_a_saved_result():
    """A formula that reads the op's own result is differentiated through it."""
    for f in (rushlight.exp, rushlight.tanh, rushlight.sigmoid):
        check_gradients(f, tensor(4))


def test_in_place_activation_keeps_what_its_gradient_needs():
    x = tensor(5).requires_grad_()
    (plain,) = rushlight.autograd.grad(F.silu(x).sum(), x)
    y = x * 1
    F.silu(y, inplace=True)
    (written,) = rushlight.autograd.grad(y.sum(), x)
    np.testing.assert_allclose(written.numpy(), plain.numpy())


# ---- definitions -------------------------------------------------------------------------------


def test_convolution_is_the_sum_that_defines_it():
    x, w, b = (
        RNG.standard_normal((2, 4, 6, 7)),
        RNG.standard_normal((6, 2, 3, 2)),
        RNG.standard_normal(6),
    )
    stride, padding, dilation = (2, 1), (1, 2), (1, 3)
    got = F.conv2d(
        *map(rushlight.from_numpy, (x, w, b)), stride, padding, dilation, groups=2
    ).numpy()
    p = np.pad(x, [(0, 0), (0, 0), (1, 1), (2, 2)])
    want = np.zeros(got.shape)
    for o in range(6):
        part = p[:, (o // 3) * 2 : (o // 3) * 2 + 2]
        for i in range(got.shape[2]):
            for j in range(got.shape[3]):
                window = part[:, :, i * 2 : i * 2 + 3, j : j + 4 : 3]
                want[:, o, i, j] = (window * w[o]).sum((1, 2, 3)) + b[o]
    np.testing.assert_allclose(got, want)


def test_many_samples_in_blocks():
    """Columns of a batch are made block by block; the blocks' borders do not show."""
    x, w = RNG.standard_normal((9, 8, 40, 40)), RNG.standard_normal((4, 8, 3, 3))
    whole = F.conv2d(rushlight.from_numpy(x), rushlight.from_numpy(w)).numpy()
    for i in (0, 4, 8):
        one = F.conv2d(rushlight.from_numpy(x[i : i + 1]), rushlight.from_numpy(w)).numpy()
        np.testing.assert_allclose(whole[i], one[0])


def test_softmax_of_large_and_infinite_numbers():
    x = rushlight.tensor([[1e4, 1e4 - 1, -float("inf")]])
    want = np.array([[1 / (1 + np.exp(-1)), 1 / (1 + np.e), 0]])
    np.testing.assert_allclose(F.softmax(x, 1).numpy(), want, rtol=1e-6)
    assert F.softmax(x.half(), 1).dtype is rushlight.float16


def test_cross_entropy_is_minus_the_log_probability():
    x, t = RNG.standard_normal((4, 5)), np.array([0, 4, -100, 2])
    log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
    want = -log_p[[0, 1, 3], [0, 4, 2]].mean()
    got = F.cross_entropy(rushlight.from_numpy(x), rushlight.from_numpy(t))
    assert float(got) == pytest.approx(want)
    ignored = F.cross_entropy(rushlight.from_numpy(x), rushlight.full((4,), -100))
    assert np.isnan(float(ignored))


def test_a_class_out_of_range_is_named():
    with pytest.raises(IndexError, match="Target 7 is out of bounds"):
        F.nll_loss(tensor(2, 3), rushlight.tensor([0, 7]))


def test_dropout_keeps_the_mean_and_the_seed():
    x = rushlight.ones(10000)
    rushlight.manual_seed(0)
    a = F.dropout(x, 0.25)
    rushlight.manual_seed(0)
    assert (F.dropout(x, 0.25) == a).all()
    assert set(np.unique(a.numpy())) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs(float(a.mean()) - 1) < 0.02
    assert F.dropout(x, 0.25, training=False) is x


def test_attention_that_sees_nothing_gives_zero():
    q = tensor(1, 1, 2, 3)
    mask = rushlight.tensor([[True, False], [False, False]])
    out = F.scaled_dot_product_attention(q, q, q, attn_mask=mask)
    np.testing.assert_array_equal(out[0, 0, 1].numpy(), 0)
    np.testing.assert_allclose(out[0, 0, 0].numpy(), q[0, 0, 0].numpy())


def test_max_pool_prefers_the_first_and_propagates_nan():
    x = rushlight.tensor([[[1.0, 1.0, float("nan"), 0.0]]])
    values, index = F.max_pool1d(x, 2, return_indices=True)
    assert index.tolist() == [[[0, 2]]] and np.isnan(values.numpy()[0, 0, 1])


def test_running_statistics_are_written_in_place():
    mean, var = rushlight.zeros(3), rushlight.ones(3)
    x = RNG.standard_normal((5, 3)).astype(np.float32)
    F.batch_norm(rushlight.from_numpy(x), mean, var, training=True, momentum=0.5)
    np.testing.assert_allclose(mean.numpy(), 0.5 * x.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var.numpy(), 0.5 + 0.5 * x.var(0, ddof=1), rtol=1e-5)
    assert not mean.requires_grad


def test_half_types_compute_wide():
    x = rushlight.from_numpy(RNG.standard_normal((2, 3, 5, 5)).astype(np.float32))
    w = rushlight.from_numpy(RNG.standard_normal((4, 3, 3, 3)).astype(np.float32))
    for dtype in (rushlight.float16, rushlight.bfloat16):
        got = F.conv2d(x.to(dtype), w.to(dtype))
        want = F.conv2d(x.to(dtype).float(), w.to(dtype).float())
        assert got.dtype is dtype
        np.testing.assert_array_equal(got.float().numpy(), want.to(dtype).float().numpy())


def test_empty_batches():
    assert F.conv2d(rushlight.zeros(0, 3, 5, 5), rushlight.zeros(4, 3, 3, 3)).shape == (0, 4, 3, 3)
    assert F.linear(rushlight.zeros(0, 3), rushlight.zeros(4, 3)).shape == (0, 4)
    assert F.max_pool2d(rushlight.zeros(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
    assert F.layer_norm(rushlight.zeros(0, 3), (3,)).shape == (0, 3)
    assert F.embedding(rushlight.zeros(0).long(), rushlight.zeros(4, 3)).shape == (0, 3)
