"""Neural operations equal PyTorch's: values, gradients of two orders, nodes, draws, errors.

Each case is a function of (library, functional, tensors); both libraries run it on the same
numbers in float64.
"""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rushlight  # noqa: E402
import rushlight.nn.functional as ours  # noqa: E402

theirs = torch.nn.functional
BOTH = ((torch, theirs), (rushlight, ours))


def run(case, shapes, second=True):
    """[value, gradients, gradients of a function of the gradients] in each library."""
    rng = np.random.default_rng(0)
    arrays = [rng.uniform(-0.7, 1.3, s) for s in shapes]
    found = []
    for lib, functional in BOTH:
        xs = [lib.from_numpy(a.copy()).requires_grad_() for a in arrays]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            out = case(lib, functional, *xs)
        weights = lib.arange(out.numel(), dtype=lib.float64).reshape(out.shape).sin()
        loss = (out * weights).sum()
        grads = lib.autograd.grad(loss, xs, create_graph=second)
        values = [out, *grads]
        total = sum((g * g).sum() for g in grads) if second else None
        if second and total.requires_grad:
            values += lib.autograd.grad(total, xs, allow_unused=True)
        else:
            values += [None] * len(xs)
        found.append([None if v is None else v.detach().numpy() for v in values])
    return found


def agree(case, shapes, second=True):
    for want, got in zip(*run(case, shapes, second)):
        if want is None or got is None:
            other = got if want is None else want
            assert other is None or not np.abs(other).max(initial=0)
        else:
            np.testing.assert_allclose(got, want, rtol=1e-7, atol=1e-9)


UNARY = (
    "silu mish gelu elu selu celu leaky_relu hardtanh relu6 hardswish logsigmoid softplus "
    "softshrink hardshrink tanhshrink softsign relu rrelu glu"
).split()


@pytest.mark.parametrize("name", UNARY)
def test_activation(name):
    agree(lambda lib, f, x: getattr(f, name)(x), [(3, 4)])


REDUCTIONS = ("mean", "sum", "none")
CASES = {
    "hardsigmoid": (lambda lib, f, x: f.hardsigmoid(x), [(3, 4)], False),
    "gelu_tanh": (lambda lib, f, x: f.gelu(x, approximate="tanh"), [(3, 4)]),
    "softmax": (lambda lib, f, x: f.softmax(x, 1), [(3, 4)]),
    "log_softmax": (lambda lib, f, x: f.log_softmax(x, 0), [(3, 4)]),
    "prelu": (lambda lib, f, x, w: f.prelu(x, w), [(3, 4), (4,)]),
    "embedding": (
        lambda lib, f, w: f.embedding(
            lib.tensor([[1, 2, 1], [0, 3, 3]]), w, padding_idx=0, scale_grad_by_freq=True
        ),
        [(4, 3)],
    ),
    "linear": (lambda lib, f, x, w, b: f.linear(x, w, b), [(5, 3), (4, 3), (4,)]),
    "linear_plain": (lambda lib, f, x, w: f.linear(x, w), [(5, 3), (4, 3)]),
    "linear_batch": (lambda lib, f, x, w, b: f.linear(x, w, b), [(2, 5, 3), (4, 3), (4,)]),
    "conv1d_same": (
        lambda lib, f, x, w: f.conv1d(x, w, padding="same"),
        [(2, 3, 7), (4, 3, 4)],
    ),
    "conv2d_pointwise": (lambda lib, f, x, w: f.conv2d(x, w), [(2, 3, 4, 4), (5, 3, 1, 1)]),
    "conv2d_unbatched": (lambda lib, f, x, w: f.conv2d(x, w), [(3, 4, 4), (5, 3, 2, 2)]),
    "conv3d": (
        lambda lib, f, x, w: f.conv3d(x, w, padding=1),
        [(2, 2, 4, 5, 4), (3, 2, 3, 2, 3)],
    ),
    "conv_transpose_wide": (
        lambda lib, f, x, w: f.conv_transpose2d(x, w, stride=2, dilation=3, output_padding=2),
        [(1, 2, 3, 4), (2, 3, 2, 2)],
    ),
    "unfold": (lambda lib, f, x: f.unfold(x, (2, 3), padding=1, stride=2), [(2, 3, 6, 7)]),
    "fold": (lambda lib, f, x: f.fold(x, (5, 5), 2), [(2, 12, 16)]),
    "layer_norm": (
        lambda lib, f, x, w, b: f.layer_norm(x, (3, 4), w, b),
        [(2, 3, 4), (3, 4), (3, 4)],
    ),
    "group_norm": (lambda lib, f, x, w, b: f.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
    "rms_norm": (lambda lib, f, x, w: f.rms_norm(x, (4,), w), [(2, 4), (4,)]),
    "batch_norm": (
        lambda lib, f, x, w, b: f.batch_norm(x, None, None, w, b, True),
        [(3, 4, 5), (4,), (4,)],
    ),
    "batch_norm_rows": (
        lambda lib, f, x, w, b: f.batch_norm(x, None, None, w, b, True),
        [(6, 4), (4,), (4,)],
    ),
    "batch_norm_eval": (
        lambda lib, f, x, w, b: f.batch_norm(
            x, lib.zeros(4, dtype=lib.float64), lib.ones(4, dtype=lib.float64), w, b, False
        ),
        [(6, 4), (4,), (4,)],
    ),
    "instance_norm": (
        lambda lib, f, x, w, b: f.instance_norm(x, weight=w, bias=b),
        [(3, 4, 5), (4,), (4,)],
    ),
    "local_response_norm": (lambda lib, f, x: f.local_response_norm(x, 2), [(2, 4, 5)]),
    "attention": (
        lambda lib, f, q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=True),
        [(3, 4, 5), (3, 6, 5), (3, 6, 5)],
    ),
    "attention_fused": (
        lambda lib, f, q, k, v: f.scaled_dot_product_attention(q, k, v, scale=0.3),
        [(2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5)],
        False,
    ),
    "attention_gqa": (
        lambda lib, f, q, k, v: f.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        [(2, 4, 4, 5), (2, 2, 6, 5), (2, 2, 6, 5)],
        False,
    ),
    "attention_mask": (
        lambda lib, f, q, k, v: f.scaled_dot_product_attention(
            q, k, v, attn_mask=lib.tensor([[True, False, True]] * 3 + [[False] * 3])
        ),
        [(2, 3, 4, 5), (2, 3, 3, 5), (2, 3, 3, 5)],
        False,
    ),
    "pad_negative": (lambda lib, f, x: f.pad(x, (-1, 2, 2, -1)), [(2, 3, 4, 5)]),
    "pixel_shuffle": (lambda lib, f, x: f.pixel_shuffle(x, 2), [(2, 8, 3, 4)]),
    "pixel_unshuffle": (lambda lib, f, x: f.pixel_unshuffle(x, 2), [(2, 3, 4, 6)]),
    "channel_shuffle": (lambda lib, f, x: f.channel_shuffle(x, 2), [(2, 6, 3, 4)]),
    "cosine": (lambda lib, f, x, y: f.cosine_similarity(x, y), [(3, 4), (3, 4)]),
    "pairwise": (lambda lib, f, x, y: f.pairwise_distance(x, y, 3.0), [(3, 4), (3, 4)]),
    "cdist": (lambda lib, f, x, y: lib.cdist(x, y, 3.0), [(4, 3), (5, 3)], False),
    "pdist": (lambda lib, f, x: f.pdist(x, 1.5), [(4, 3)], False),
    "bilinear": (
        lambda lib, f, x, y, w, b: f.bilinear(x, y, w, b),
        [(3, 4), (3, 5), (2, 4, 5), (2,)],
    ),
    "affine_grid": (
        lambda lib, f, t: f.affine_grid(t, (2, 1, 3, 4), align_corners=False),
        [(2, 2, 3)],
    ),
    "ctc": (
        lambda lib, f, x: f.ctc_loss(
            x.log_softmax(2), lib.tensor([[1, 1, 2], [3, 0, 0]]), (6, 5), (3, 1), zero_infinity=True
        ),
        [(6, 2, 4)],
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_case(name):
    agree(*CASES[name])


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_losses(reduction):
    kw = {"reduction": reduction}
    pair = [(3, 4), (3, 4)]
    agree(lambda lib, f, x, y: f.mse_loss(x, y, **kw), pair)
    agree(lambda lib, f, x, y: f.smooth_l1_loss(x, y, **kw), pair)
    agree(lambda lib, f, x, y: f.huber_loss(x, y, delta=0.3, **kw), pair)
    agree(lambda lib, f, x, y: f.binary_cross_entropy(x.sigmoid(), y.sigmoid(), **kw), pair)
    agree(
        lambda lib, f, x, y: f.binary_cross_entropy_with_logits(
            x,
            y,
            weight=lib.full((4,), 0.3, dtype=lib.float64),
            pos_weight=lib.full((4,), 2.0, dtype=lib.float64),
            **kw,
        ),
        pair,
    )
    signs = [[1.0, -1.0, 1.0]]
    agree(lambda lib, f, x: f.soft_margin_loss(x, lib.tensor(signs).double(), **kw), [(1, 3)])
    agree(lambda lib, f, x: f.multi_margin_loss(x, lib.tensor([1, 0]), p=2, **kw), [(2, 3)], False)
    lists = [[0, -1, 1], [1, 2, -1]]
    agree(lambda lib, f, x: f.multilabel_margin_loss(x, lib.tensor(lists), **kw), [(2, 3)], False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_cross_entropy(reduction):
    kw = {"reduction": reduction}
    agree(
        lambda lib, f, x: f.cross_entropy(
            x,
            lib.tensor([1, 0, -100]),
            label_smoothing=0.1,
            weight=lib.tensor([0.3, 1, 2, 0.5], dtype=lib.float64),
            **kw,
        ),
        [(3, 4)],
    )
    images = [[[1, 0], [3, -100]]]
    agree(lambda lib, f, x: f.cross_entropy(x, lib.tensor(images), **kw), [(1, 4, 2, 2)])
    agree(lambda lib, f, x, y: f.cross_entropy(x, y.softmax(1), **kw), [(3, 4), (3, 4)])


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_embedding_bag(mode):
    def case(lib, f, w):
        index, start = lib.tensor([1, 2, 1, 0, 3, 3]), lib.tensor([0, 2, 2])
        return f.embedding_bag(index, w, start, mode=mode)

    agree(case, [(4, 3)], mode != "max")


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolution(groups):
    where = dict(stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=groups)
    agree(
        lambda lib, f, x, w, b: f.conv2d(x, w, b, **where),
        [(2, 4, 7, 8), (4, 4 // groups, 3, 2), (4,)],
    )
    agree(
        lambda lib, f, x, w, b: f.conv_transpose2d(x, w, b, output_padding=(1, 1), **where),
        [(2, 4, 5, 6), (4, 2, 3, 2), (2 * groups,)],
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_pooling(n):
    shape = [(2, 3, 9), (2, 3, 8, 7), (1, 2, 6, 5, 7)][n - 1]
    for up in (False, True):
        agree(lambda lib, f, x, c=up: getattr(f, f"max_pool{n}d")(x, 3, 2, 1, 1, c), [shape])
        agree(lambda lib, f, x, c=up: getattr(f, f"avg_pool{n}d")(x, 3, 2, 1, c, not c), [shape])
    agree(lambda lib, f, x: getattr(f, f"adaptive_avg_pool{n}d")(x, 3), [shape])
    agree(lambda lib, f, x: getattr(f, f"adaptive_max_pool{n}d")(x, 3), [shape])
    agree(lambda lib, f, x: getattr(f, f"lp_pool{n}d")(x.abs() + 0.1, 2.0, 2), [shape])


def test_pooling_indices_and_unpooling():
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6)).astype(np.float32)
    x[0, 0, 0, 1] = np.nan
    found = []
    for lib, f in BOTH:
        values, index = f.max_pool2d(lib.from_numpy(x), 3, 2, 1, return_indices=True)
        back = f.max_unpool2d(values, index, 3, 2, 1, output_size=(6, 6))
        found.append([values.numpy(), index.numpy(), back.numpy()])
    for want, got in zip(*found):
        np.testing.assert_array_equal(got, want)


RESAMPLING = (
    ("nearest", 1, None), ("nearest", 2, None), ("nearest", 3, None), ("nearest-exact", 2, None),
    ("linear", 1, True), ("bilinear", 2, True), ("bilinear", 2, False), ("bicubic", 2, True),
    ("bicubic", 2, False), ("trilinear", 3, False), ("area", 2, None),
)  # fmt: skip


@pytest.mark.parametrize("mode, n, corners", RESAMPLING)
def test_interpolate(mode, n, corners):
    for factor in (2, 0.6, 1.7):

        def case(lib, f, x, factor=factor):
            return f.interpolate(x, scale_factor=factor, mode=mode, align_corners=corners)

        agree(case, [(1, 2, *[5, 6, 4][:n])])


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_interpolate_antialiased(mode):
    for size in ((3, 4), (9, 7)):
        agree(
            lambda lib, f, x, s=size: f.interpolate(x, size=s, mode=mode, antialias=True),
            [(1, 2, 7, 8)],
        )


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode):
    agree(lambda lib, f, x: f.pad(x, (1, 2, 2, 1), mode=mode), [(2, 3, 4, 5)])


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample(mode, padding):
    for corners in (False, True):

        def case(lib, f, x, grid, corners=corners):
            where = dict(mode=mode, padding_mode=padding, align_corners=corners)
            return f.grid_sample(x, grid * 1.3, **where)

        agree(case, [(2, 3, 4, 5), (2, 3, 6, 2)], False)


@pytest.mark.parametrize(
    "name",
    [
        "dropout",
        "dropout1d",
        "dropout2d",
        "dropout3d",
        "alpha_dropout",
        "feature_alpha_dropout",
        "rrelu",
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_draws(name, dtype):
    shape = {"dropout1d": (3, 4, 5), "dropout2d": (3, 4, 5, 2)}.get(name, (2, 3, 4, 5, 2))
    x = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    found = []
    for lib, f in BOTH:
        lib.manual_seed(3)
        found.append(getattr(f, name)(lib.from_numpy(x), training=True).numpy())
    np.testing.assert_array_equal(*found)


def test_dropout_follows_memory():
    x = np.ones((4, 3), np.float32)
    found = []
    for lib, f in BOTH:
        lib.manual_seed(3)
        found.append(f.dropout(lib.from_numpy(x).t(), 0.5).numpy())
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("momentum", [0.1, 0.5])
def test_running_statistics(momentum):
    x = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
    found = []
    for lib, f in BOTH:
        mean, var = lib.zeros(3), lib.ones(3)
        f.batch_norm(lib.from_numpy(x), mean, var, training=True, momentum=momentum)
        f.instance_norm(lib.from_numpy(x), mean, var, momentum=momentum)
        found.append([mean.numpy(), var.numpy(), mean._version])
    for want, got in zip(*found):
        np.testing.assert_allclose(got, want, rtol=1e-5)


NODES = (
    lambda lib, f, x: f.linear(x, x),
    lambda lib, f, x: f.linear(x, x, x[0, :3]),
    lambda lib, f, x: f.gelu(x),
    lambda lib, f, x: f.leaky_relu(x),
    lambda lib, f, x: f.relu6(x),
    lambda lib, f, x: f.selu(x),
    lambda lib, f, x: f.prelu(x, x[0, :1]),
    lambda lib, f, x: f.softmax(x, 1),
    lambda lib, f, x: f.log_softmax(x, 1),
    lambda lib, f, x: f.dropout(x),
    lambda lib, f, x: f.mse_loss(x, x.detach()),
    lambda lib, f, x: f.cross_entropy(x, lib.tensor([0, 1, 2])),
    lambda lib, f, x: f.embedding(lib.tensor([0, 1]), x),
    lambda lib, f, x: f.layer_norm(x, (4,)),
    lambda lib, f, x: f.batch_norm(x, None, None, training=True),
    lambda lib, f, x: f.conv1d(x[None], x[None]),
    lambda lib, f, x: f.max_pool2d(x[None, None], 2),
    lambda lib, f, x: f.max_pool1d(x[None], 2),
    lambda lib, f, x: f.adaptive_avg_pool2d(x[None, None], 1),
    lambda lib, f, x: f.adaptive_avg_pool2d(x[None, None], 2),
    lambda lib, f, x: f.scaled_dot_product_attention(*[x[None, None]] * 3),
    lambda lib, f, x: f.pad(x, (1, 1)),
    lambda lib, f, x: f.pad(x, (1, 1), mode="reflect"),
    lambda lib, f, x: f.interpolate(x[None], scale_factor=2),
)


@pytest.mark.parametrize("case", NODES)
def test_node_name(case):
    names = []
    for lib, f in BOTH:
        x = lib.ones(3, 4, requires_grad=True)
        names.append(type(case(lib, f, x).grad_fn).__name__)
    assert names[0] == names[1]


ERRORS = (
    lambda lib, f: f.conv2d(lib.zeros(1, 3, 8, 8), lib.zeros(4, 2, 3, 3)),
    lambda lib, f: f.conv2d(lib.zeros(3, 8), lib.zeros(4, 3, 3, 3)),
    lambda lib, f: f.conv2d(lib.zeros(1, 3, 2, 2), lib.zeros(4, 3, 3, 3)),
    lambda lib, f: f.conv2d([1], lib.zeros(4, 3, 3, 3)),
    lambda lib, f: f.linear(lib.zeros(2, 3), lib.zeros(4, 5)),
    lambda lib, f: f.linear(lib.zeros(2, 3), lib.zeros(4, 3).double()),
    lambda lib, f: f.softmax(lib.zeros(2, 3).long(), 1),
    lambda lib, f: f.softmax(lib.zeros(2, 3), 2),
    lambda lib, f: f.gelu(lib.zeros(2, 3).long()),
    lambda lib, f: f.nll_loss(lib.zeros(2, 3), lib.zeros(2)),
    lambda lib, f: f.nll_loss(lib.zeros(2, 3), lib.tensor([1, 3])),
    lambda lib, f: f.cross_entropy(lib.zeros(2, 3), lib.tensor([1])),
    lambda lib, f: f.mse_loss(lib.zeros(2, 3).long(), lib.zeros(2, 3).long()),
    lambda lib, f: f.binary_cross_entropy(lib.zeros(2) + 2, lib.zeros(2)),
    lambda lib, f: f.embedding(lib.tensor([4]), lib.zeros(4, 3)),
    lambda lib, f: f.embedding(lib.tensor([1.0]), lib.zeros(4, 3)),
    lambda lib, f: f.max_pool2d(lib.zeros(1, 3, 8, 8), 2, padding=2),
    lambda lib, f: f.layer_norm(lib.zeros(2, 3), (4,)),
    lambda lib, f: f.layer_norm(lib.zeros(2, 3), (3,), lib.zeros(3).double()),
    lambda lib, f: f.pad(lib.zeros(1, 1, 3), (3, 3), mode="reflect"),
    lambda lib, f: f.elu_(lib.zeros(3, requires_grad=True)),
)


@pytest.mark.parametrize("case", ERRORS)
def test_error_type(case):
    kinds = []
    for lib, f in BOTH:
        with pytest.raises(Exception) as caught:
            case(lib, f)
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]
