"""Layers against their formulas in numpy, and what holds for every layer: no torch needed."""

import copy
import pickle

import numpy as np
import pytest

import rushlight as rl
import rushlight.nn as nn
import rushlight.nn.functional as F


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def array(x):
    return x.detach().numpy()


def close(got, want, **tolerance):
    np.testing.assert_allclose(array(got), want, **({"rtol": 1e-5, "atol": 1e-6} | tolerance))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


ACTIVATIONS = {
    "ReLU()": lambda x: np.maximum(x, 0),
    "ReLU6()": lambda x: np.clip(x, 0, 6),
    "ELU(0.5)": lambda x: np.where(x > 0, x, 0.5 * np.expm1(x)),
    "CELU(2.)": lambda x: np.maximum(x, 0) + np.minimum(0, 2 * np.expm1(x / 2)),
    "LeakyReLU(0.2)": lambda x: np.where(x > 0, x, 0.2 * x),
    "Sigmoid()": sigmoid,
    "SiLU()": lambda x: x * sigmoid(x),
    "Mish()": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "Softplus(2.)": lambda x: np.log1p(np.exp(2 * x)) / 2,
    "GELU('tanh')": lambda x: x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))),
    "Hardswish()": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "Hardsigmoid()": lambda x: np.clip(x + 3, 0, 6) / 6,
    "Softsign()": lambda x: x / (1 + abs(x)),
    "Tanhshrink()": lambda x: x - np.tanh(x),
    "Softshrink(0.3)": lambda x: np.sign(x) * np.maximum(abs(x) - 0.3, 0),
    "Hardshrink(0.3)": lambda x: np.where(abs(x) > 0.3, x, 0),
    "GLU()": lambda x: x[..., :3] * sigmoid(x[..., 3:]),
    "Softmax(1)": lambda x: softmax(x, 1),
    "Softmin(0)": lambda x: softmax(-x, 0),
    "LogSoftmax(-1)": lambda x: np.log(softmax(x, -1)),
    "PReLU(init=0.1)": lambda x: np.where(x > 0, x, 0.1 * x),
}


@pytest.mark.parametrize("text", ACTIVATIONS)
def test_activation(text):
    x = numbers(4, 6)
    close(eval(text, vars(nn))(rl.from_numpy(x)), ACTIVATIONS[text](x))


def test_linear_and_bilinear():
    x, y = numbers(5, 3), numbers(5, 4, seed=1)
    layer = nn.Linear(3, 2)
    close(layer(rl.from_numpy(x)), x @ array(layer.weight).T + array(layer.bias))
    layer = nn.Bilinear(3, 4, 2)
    want = np.einsum("ni,oij,nj->no", x, array(layer.weight), y) + array(layer.bias)
    close(layer(rl.from_numpy(x), rl.from_numpy(y)), want)


def windows(x, k, stride):
    """(N, C, H', W', k, k) of (N, C, H, W)."""
    return np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))[:, :, ::stride, ::stride]


def test_convolution_and_its_transpose():
    x = numbers(2, 3, 7, 6)
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    want = np.einsum("nchwij,ocij->nohw", windows(padded, 3, 2), array(layer.weight))
    close(layer(rl.from_numpy(x)), want + array(layer.bias)[:, None, None], rtol=1e-4, atol=1e-5)

    back = nn.ConvTranspose2d(4, 3, 3, stride=2, padding=1, bias=False)
    y = numbers(2, 4, 4, 3, seed=1)
    # <conv(x), y> = <x, transpose(y)> for the same weight
    x_t = rl.from_numpy(numbers(2, 3, 7, 5)).requires_grad_()
    (F.conv2d(x_t, back.weight, stride=2, padding=1) * rl.from_numpy(y)).sum().backward()
    close(back(rl.from_numpy(y)), array(x_t.grad), rtol=1e-4, atol=1e-5)


def test_pooling():
    x = numbers(2, 3, 6, 8)
    w = windows(x, 2, 2)
    close(nn.MaxPool2d(2)(rl.from_numpy(x)), w.max((-1, -2)))
    close(nn.AvgPool2d(2)(rl.from_numpy(x)), w.mean((-1, -2)))
    close(nn.LPPool2d(2, 2)(rl.from_numpy(x)), np.sqrt((w**2).sum((-1, -2))))
    close(nn.AdaptiveAvgPool2d((3, 4))(rl.from_numpy(x)), w.mean((-1, -2)))
    pooled, indices = nn.MaxPool2d(2, return_indices=True)(rl.from_numpy(x))
    unpooled = array(nn.MaxUnpool2d(2)(pooled, indices))
    assert (unpooled != 0).sum() == pooled.numel()
    np.testing.assert_array_equal(unpooled[unpooled != 0], x[unpooled != 0])


def test_normalization():
    x = numbers(4, 6, 5)
    t = rl.from_numpy(x)

    def standard(x, axes, eps=1e-5):
        return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)

    close(nn.LayerNorm(5)(t), standard(x, -1), atol=1e-5)
    close(nn.GroupNorm(2, 6)(t), standard(x.reshape(4, 2, 15), 2).reshape(x.shape), atol=1e-5)
    close(nn.InstanceNorm1d(6)(t), standard(x, 2), atol=1e-5)
    close(nn.RMSNorm(5, eps=0.1)(t), x / np.sqrt((x**2).mean(-1, keepdims=True) + 0.1))
    layer = nn.BatchNorm1d(6, momentum=0.3)
    close(layer(t), standard(x, (0, 2)), atol=1e-5)
    close(layer.running_mean, 0.3 * x.mean((0, 2)))
    close(layer.running_var, 0.7 + 0.3 * x.var((0, 2), ddof=1))
    layer.eval()
    want = (x - 0.3 * x.mean((0, 2))[:, None]) / np.sqrt(array(layer.running_var)[:, None] + 1e-5)
    close(layer(t), want, atol=1e-5)


def test_dropout_keeps_the_mean_and_rests_in_evaluation():
    rl.manual_seed(0)
    x = rl.ones(200, 100)
    out = array(nn.Dropout(0.25)(x))
    assert set(np.unique(out)) == {0, np.float32(1 / 0.75)}
    assert abs(out.mean() - 1) < 0.02
    out = array(nn.Dropout2d(0.5)(rl.ones(50, 40, 2, 3)))
    assert ((out == 0).all((2, 3)) | (out == 2).all((2, 3))).all()
    assert nn.Dropout(0.25).eval()(x) is x


def lstm_by_hand(x, layer, suffix=""):
    w, u, b, c_ = (array(getattr(layer, f"{n}_l0{suffix}")) for n in
                   ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))  # fmt: skip
    h = c = np.zeros((x.shape[1], layer.hidden_size), np.float32)
    outs = []
    for step in x:
        i, f, g, o = np.split(step @ w.T + b + h @ u.T + c_, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outs.append(h)
    return np.stack(outs), h, c


def test_lstm():
    x = numbers(6, 2, 3)
    layer = nn.LSTM(3, 4, bidirectional=True)
    out, (h, c) = layer(rl.from_numpy(x))
    ahead, back = lstm_by_hand(x, layer), lstm_by_hand(x[::-1], layer, "_reverse")
    close(out, np.concatenate([ahead[0], back[0][::-1]], -1))
    close(h, np.stack([ahead[1], back[1]]))
    close(c, np.stack([ahead[2], back[2]]))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_cell_is_one_step_of_its_layer(kind):
    layer, cell = getattr(nn, kind)(3, 4), getattr(nn, kind + "Cell")(3, 4)
    cell.load_state_dict({k[:-3]: v for k, v in layer.state_dict().items()})
    x = rl.from_numpy(numbers(5, 2, 3))
    state = None
    for step in x:
        state = cell(step, state)
    h = state[0] if kind == "LSTM" else state
    close(layer(x)[0][-1], array(h))


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_packed_sequence_is_each_sequence_by_itself(kind):
    rl.manual_seed(1)
    layer = getattr(nn, kind)(3, 4, 2, bidirectional=True)
    x, lengths = rl.from_numpy(numbers(5, 3, 3)), [2, 5, 3]
    pack = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    out, state = layer(pack)
    out, _ = nn.utils.rnn.pad_packed_sequence(out)
    for k, n in enumerate(lengths):
        alone, own = layer(x[:n, k])
        close(out[:n, k], array(alone))
        assert not array(out[n:, k]).any()
        close(
            (state[0] if kind == "LSTM" else state)[:, k], array(own[0] if kind == "LSTM" else own)
        )


def test_attention_by_hand_and_by_the_fused_op():
    layer = nn.MultiheadAttention(6, 2, batch_first=True).eval()
    x = numbers(2, 5, 6)
    w, b = array(layer.in_proj_weight), array(layer.in_proj_bias)
    q, k, v = (y.reshape(2, 5, 2, 3).transpose(0, 2, 1, 3) for y in np.split(x @ w.T + b, 3, -1))
    causal = np.triu(np.full((5, 5), -np.inf, np.float32), 1)
    weights = softmax(q @ k.transpose(0, 1, 3, 2) / 3**0.5 + causal, -1)
    mixed = (weights @ v).transpose(0, 2, 1, 3).reshape(2, 5, 6)
    want = mixed @ array(layer.out_proj.weight).T + array(layer.out_proj.bias)
    t = rl.from_numpy(x)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    for need_weights in (True, False):
        out, got = layer(t, t, t, attn_mask=mask, need_weights=need_weights)
        close(out, want)
    assert got is None
    close(layer(t, t, t, attn_mask=mask, average_attn_weights=False)[1], weights)
    close(layer(t, t, t, attn_mask=mask, need_weights=False, is_causal=True)[0], want)


def test_losses():
    x, y = numbers(4, 5), numbers(4, 5, seed=1)
    t, u = rl.from_numpy(x), rl.from_numpy(y)
    classes = np.array([1, 0, 4, 2])
    log_p = np.log(softmax(x, 1))
    picked = -log_p[np.arange(4), classes]
    close(nn.MSELoss()(t, u), ((x - y) ** 2).mean())
    close(nn.L1Loss(reduction="sum")(t, u), abs(x - y).sum())
    close(nn.CrossEntropyLoss(reduction="none")(t, rl.from_numpy(classes)), picked)
    smooth = nn.CrossEntropyLoss(label_smoothing=0.2)(t, rl.from_numpy(classes))
    close(smooth, 0.8 * picked.mean() + 0.2 * -log_p.mean())
    weight = np.float32([1, 2, 3, 4, 5])
    weighted = nn.NLLLoss(rl.from_numpy(weight))(rl.from_numpy(log_p), rl.from_numpy(classes))
    close(weighted, (picked * weight[classes]).sum() / weight[classes].sum())
    p = sigmoid(y)
    want = -(p * np.log(sigmoid(x)) + (1 - p) * np.log(1 - sigmoid(x))).mean()
    close(nn.BCEWithLogitsLoss()(t, rl.from_numpy(p)), want)
    close(nn.BCELoss()(rl.from_numpy(sigmoid(x)), rl.from_numpy(p)), want)
    far = abs(x - y)
    close(nn.HuberLoss(delta=0.5)(t, u), np.where(far < 0.5, far**2 / 2, far / 2 - 0.125).mean())
    kl = (p * (np.log(p) - x)).sum() / 4
    close(nn.KLDivLoss(reduction="batchmean")(t, rl.from_numpy(p)), kl)


def test_ctc_is_the_sum_over_alignments():
    # T = 3, target "1 2": the alignments that collapse to it
    log_p = np.log(softmax(numbers(3, 3), -1))
    paths = [(0, 1, 2), (1, 0, 2), (1, 2, 0), (1, 1, 2), (1, 2, 2)]
    want = -np.log(sum(np.exp(log_p[np.arange(3), path].sum()) for path in paths))
    loss = nn.CTCLoss(reduction="sum")
    close(loss(rl.from_numpy(log_p), rl.tensor([1, 2]), rl.tensor(3), rl.tensor(2)), want)


def test_embeddings():
    table = nn.Embedding(5, 3, padding_idx=2)
    assert not array(table.weight)[2].any()
    index = np.array([[0, 2, 4], [4, 4, 1]])
    out = table(rl.from_numpy(index))
    close(out, array(table.weight)[index])
    out.sum().backward()
    close(table.weight.grad, np.array([1, 1, 0, 0, 3])[:, None] * np.ones(3))
    bag = nn.EmbeddingBag(5, 3, mode="mean")
    close(bag(rl.from_numpy(index)), array(bag.weight)[index].mean(1))
    close(F.one_hot(rl.tensor([0, 2]), 4), np.eye(4)[[0, 2]])


def test_shapes_and_images():
    x = numbers(2, 8, 4, 6)
    t = rl.from_numpy(x)
    close(nn.PixelUnshuffle(2)(nn.PixelShuffle(2)(t)), x)
    close(nn.Unflatten(1, (4, 2))(nn.Flatten(2)(t)), x.reshape(2, 4, 2, 24))
    columns = nn.Unfold(2, stride=2)(t)
    close(nn.Fold((4, 6), 2, stride=2)(columns), x)
    close(nn.Upsample(scale_factor=2)(t), x.repeat(2, 2).repeat(2, 3))
    identity = rl.from_numpy(np.float32([[[1, 0, 0], [0, 1, 0]]] * 2))
    grid = F.affine_grid(identity, (2, 8, 4, 6), align_corners=False)
    close(F.grid_sample(t, grid, align_corners=False), x, atol=1e-5)
    close(nn.ReflectionPad2d(2)(t), np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), "reflect"))
    close(nn.CircularPad2d(1)(t), np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "wrap"))
    close(nn.ReplicationPad2d(1)(t), np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge"))


LAYERS = [
    ("Linear(3, 4)", (2, 3)),
    ("Conv2d(3, 4, 3, padding=1)", (2, 3, 5, 5)),
    ("BatchNorm1d(3)", (4, 3)),
    ("LSTM(3, 4, 2)", (5, 2, 3)),
    ("TransformerEncoderLayer(6, 2, 8)", (3, 2, 6)),
    ("Sequential(Linear(3, 4), ReLU(), Dropout(0.5), Linear(4, 2))", (2, 3)),
]


@pytest.mark.parametrize("text, shape", LAYERS)
def test_copies_pickles_and_seeds(text, shape):
    def make():
        rl.manual_seed(3)
        return eval(text, vars(nn)).eval()

    layer, x = make(), rl.from_numpy(numbers(*shape))

    def result(module):
        out = module(x)
        return array(out[0] if isinstance(out, tuple) else out)

    want = result(layer)
    for other in (make(), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(result(other), want)
    other = eval(text, vars(nn)).eval()
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(result(other), want)


def test_a_replaced_weight_of_a_recurrent_layer_counts():
    layer = nn.RNN(3, 4)
    layer.weight_hh_l0 = nn.Parameter(rl.zeros(4, 4))
    layer.bias_hh_l0.data.zero_()
    x = numbers(5, 2, 3)
    want = np.tanh(x @ array(layer.weight_ih_l0).T + array(layer.bias_ih_l0))
    close(layer(rl.from_numpy(x))[0], want)


def test_what_the_engine_lacks_is_named():
    primitives = F._primitives
    assert set(primitives.MISSING) <= set(primitives.PRIMITIVES)
    missing = primitives._missing("pixel_shuffle")
    with pytest.raises(NotImplementedError, match="pixel_shuffle"):
        missing(None, 2)
