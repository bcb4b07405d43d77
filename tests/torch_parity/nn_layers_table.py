"""Tables for test_nn_layers_parity: layers with inputs, and calls that have to raise.

A constructor is a text, evaluated with the names of `nn` of the library in question, and `L`, the
library itself. An input is a Spec, made from numpy, so that both libraries see the same numbers;
anything else is passed on as it is.
"""

import numpy as np


class Spec:
    """An input: how its numbers are drawn, and whether it takes a gradient."""

    def __init__(self, draw, shape, grad):
        self.draw, self.shape, self.grad = draw, shape, grad

    def make(self, L, random):
        x = L.from_numpy(np.asarray(self.draw(random, self.shape)))
        return x.requires_grad_() if self.grad else x


def f(*shape):
    return Spec(lambda r, s: r.standard_normal(s).astype(np.float32), shape, True)


def const(*shape):
    return Spec(lambda r, s: r.standard_normal(s).astype(np.float32), shape, False)


def unit(*shape, grad=True):
    return Spec(lambda r, s: r.uniform(0.05, 0.95, s).astype(np.float32), shape, grad)


def ints(high, *shape, low=0):
    return Spec(lambda r, s: r.integers(low, high, s), shape, False)


def signs(*shape):
    return Spec(lambda r, s: r.choice(np.float32([-1, 1]), s), shape, False)


def values(array):
    return Spec(lambda r, s: np.asarray(array), (), False)


def lower(n):
    return values(np.triu(np.ones((n, n), bool), 1))


# fmt: off
ACTIVATIONS = [
    "Threshold(0.1, 20.)", "ReLU()", "RReLU()", "RReLU(0.1, 0.3)", "Hardtanh()",
    "Hardtanh(-2., 0.5)", "ReLU6()", "Sigmoid()", "Hardsigmoid()", "Tanh()", "SiLU()", "Mish()",
    "Hardswish()", "ELU()", "ELU(0.5)", "CELU()", "CELU(2.)", "SELU()", "GLU()", "GLU(1)", "GELU()",
    "GELU('tanh')", "Hardshrink()", "Hardshrink(1.)", "LeakyReLU()", "LeakyReLU(0.3)",
    "LogSigmoid()", "Softplus()", "Softplus(2., 1.)", "Softshrink()", "Softshrink(1.)", "PReLU()",
    "PReLU(4)", "PReLU(4, 0.1)", "Softsign()", "Tanhshrink()", "Softmin(1)", "Softmax(-1)",
    "LogSoftmax(0)",
]
CASES = [
    # linear
    ("Identity(54, a=1)", f(2, 3)), ("Linear(3, 4)", f(2, 3)), ("Linear(3, 4)", f(3)),
    ("Linear(3, 4, bias=False)", f(2, 5, 3)), ("Linear(3, 4)", f(0, 3)), ("Linear(1, 1)", f(1, 1)),
    ("Linear(3, 4, dtype=L.float64)", None), ("Bilinear(3, 4, 5)", f(2, 3), f(2, 4)),
    ("Bilinear(3, 4, 5, bias=False)", f(3), f(4)), ("Bilinear(3, 4, 5)", f(2, 6, 3), f(2, 6, 4)),
    ("LazyLinear(4)", f(2, 3)), ("LazyLinear(4, bias=False)", f(3)),
    # activations
    *[(text, f(2, 4, 6)) for text in ACTIVATIONS],
    *[(text, f(0, 4, 6)) for text in ("ReLU()", "Softmax(-1)", "GELU()", "PReLU()",
     "LogSoftmax(1)")],
    ("ReLU()", f()), ("Softmax2d()", f(2, 3, 4, 5)), ("Softmax2d()", f(3, 4, 5)),
    # dropout
    ("Dropout()", f(3, 4)), ("Dropout(0.)", f(3, 4)), ("Dropout(1.)", f(3, 4)),
    ("Dropout(0.3)", f(40, 7)), ("Dropout()", f(0, 3)), ("Dropout1d()", f(3, 4, 5)),
    ("Dropout1d(0.3)", f(4, 5)), ("Dropout2d()", f(3, 4, 5, 2)), ("Dropout2d()", f(4, 5, 2)),
    ("Dropout3d()", f(3, 4, 2, 2, 2)), ("Dropout3d()", f(4, 2, 2, 2)), ("AlphaDropout()", f(5, 6)),
    ("AlphaDropout(0.2)", f(3, 4, 5)), ("FeatureAlphaDropout()", f(3, 4, 5)),
    # convolution
    ("Conv1d(4, 6, 3)", f(2, 4, 9)), ("Conv1d(4, 6, 3)", f(4, 9)),
    ("Conv1d(4, 6, 3, 2, 1, 2, groups=2)", f(2, 4, 9)),
    ("Conv1d(4, 6, 4, padding='same')", f(2, 4, 9)),
    ("Conv1d(4, 6, 3, padding='valid', bias=False)", f(2, 4, 9)),
    ("Conv1d(4, 6, 3, padding=2, padding_mode='reflect')", f(2, 4, 9)),
    ("Conv1d(4, 6, 1)", f(0, 4, 9)), ("Conv2d(3, 4, 3)", f(2, 3, 6, 7)),
    ("Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0))", f(3, 6, 7)),
    ("Conv2d(4, 4, 3, padding=1, groups=4)", f(2, 4, 5, 5)),
    ("Conv2d(4, 4, 3, padding='same', dilation=2)", f(2, 4, 6, 6)),
    ("Conv2d(3, 4, 3, padding=1, padding_mode='circular')", f(2, 3, 6, 7)),
    ("Conv2d(3, 4, 3, padding=1, padding_mode='replicate')", f(2, 3, 6, 7)),
    ("Conv3d(2, 3, 2)", f(2, 2, 4, 4, 4)),
    ("Conv3d(2, 4, (1, 2, 3), 2, (0, 1, 1), groups=2)", f(2, 2, 4, 4, 4)),
    ("ConvTranspose1d(4, 6, 3)", f(2, 4, 5)),
    ("ConvTranspose1d(4, 6, 3, 2, 1, 1, groups=2, dilation=2)", f(2, 4, 5)),
    ("ConvTranspose2d(3, 4, 3, stride=2, padding=1)", f(2, 3, 4, 4)),
    ("ConvTranspose2d(3, 4, 2, bias=False)", f(3, 4, 4)),
    ("ConvTranspose3d(2, 3, 2, stride=2)", f(1, 2, 3, 3, 3)), ("LazyConv1d(4, 3)", f(2, 4, 9)),
    ("LazyConv2d(4, 3, groups=2)", f(2, 4, 5, 5)), ("LazyConv3d(4, 2)", f(1, 2, 3, 3, 3)),
    ("LazyConvTranspose1d(4, 3)", f(2, 4, 9)),
    ("LazyConvTranspose2d(4, 3, bias=False)", f(2, 4, 5, 5)),
    ("LazyConvTranspose3d(4, 2)", f(1, 2, 3, 3, 3)),
    # pooling
    ("MaxPool1d(2)", f(2, 3, 7)), ("MaxPool1d(3, 2, 1, return_indices=True)", f(3, 7)),
    ("MaxPool2d(2)", f(2, 3, 6, 7)),
    ("MaxPool2d((3, 2), (2, 1), 1, ceil_mode=True)", f(2, 3, 6, 7)),
    ("MaxPool2d(2, dilation=2, return_indices=True)", f(3, 6, 7)),
    ("MaxPool3d(2)", f(1, 2, 4, 5, 4)), ("MaxPool3d(2, return_indices=True)", f(2, 4, 5, 4)),
    ("MaxPool2d(2)", f(0, 3, 6, 6)), ("MaxUnpool1d(2)", f(1, 2, 2), values([[[0, 3], [1, 2]]])),
    ("MaxUnpool2d(2)", f(1, 1, 2, 2), values([[[[0, 3], [9, 14]]]])),
    ("MaxUnpool3d(2)", f(1, 1, 1, 1, 2), values([[[[[0, 13]]]]])), ("AvgPool1d(2)", f(2, 3, 7)),
    ("AvgPool1d(3, 2, 1, True, False)", f(3, 7)), ("AvgPool2d(2)", f(2, 3, 6, 7)),
    ("AvgPool2d(3, 2, 1, count_include_pad=False)", f(2, 3, 6, 7)),
    ("AvgPool2d(2, divisor_override=3)", f(3, 6, 7)), ("AvgPool3d(2)", f(1, 2, 4, 5, 4)),
    ("AvgPool3d((1, 2, 2), ceil_mode=True)", f(2, 4, 5, 5)),
    ("FractionalMaxPool2d(2, output_size=(3, 4))", f(2, 3, 7, 8)),
    ("FractionalMaxPool2d(3, output_ratio=0.6)", f(3, 9, 8)),
    ("FractionalMaxPool3d(2, output_size=3, return_indices=True)", f(2, 2, 6, 7, 8)),
    ("LPPool1d(2, 3)", f(2, 3, 7)), ("LPPool2d(2, 2, stride=1)", f(2, 3, 5, 5)),
    ("LPPool2d(1, (2, 3))", unit(2, 3, 6, 6)), ("LPPool3d(2, 2)", f(1, 2, 4, 4, 4)),
    ("AdaptiveMaxPool1d(3)", f(2, 3, 7)), ("AdaptiveMaxPool2d((3, None))", f(2, 3, 7, 5)),
    ("AdaptiveMaxPool2d(2, return_indices=True)", f(3, 7, 5)),
    ("AdaptiveMaxPool3d(2)", f(1, 2, 5, 4, 6)), ("AdaptiveAvgPool1d(3)", f(2, 3, 7)),
    ("AdaptiveAvgPool2d((3, None))", f(2, 3, 7, 5)), ("AdaptiveAvgPool2d(1)", f(2, 3, 7, 5)),
    ("AdaptiveAvgPool3d(2)", f(1, 2, 5, 4, 6)), ("AdaptiveAvgPool2d(7)", f(1, 2, 3, 3)),
    # padding
    *[(f"{kind}1d({p})", f(2, 3, 5)) for kind in ("CircularPad", "ReflectionPad", "ReplicationPad",
     "ZeroPad") for p in (2, (1, 3))],
    *[(f"{kind}2d({p})", f(2, 3, 5, 6)) for kind in ("CircularPad", "ReflectionPad",
     "ReplicationPad", "ZeroPad") for p in (1, (1, 2, 0, 3))],
    *[(f"{kind}3d({p})", f(1, 2, 4, 5, 6)) for kind in ("CircularPad", "ReflectionPad",
     "ReplicationPad", "ZeroPad") for p in (1, (1, 2, 0, 1, 2, 1))],
    ("ConstantPad1d(1, 3.5)", f(2, 5)), ("ConstantPad2d((1, -1, 0, 2), 3.5)", f(2, 3, 5, 6)),
    ("ConstantPad3d(1, 0.5)", f(1, 2, 3, 4, 5)), ("ZeroPad2d(-1)", f(2, 3, 5, 6)),
    ("ReflectionPad1d((1, 2))", f(3, 5)), ("CircularPad1d((-1, 2))", f(2, 3, 5)),
    # normalization
    ("BatchNorm1d(4)", f(5, 4)), ("BatchNorm1d(4)", f(3, 4, 5)),
    ("BatchNorm1d(4, affine=False)", f(3, 4, 5)), ("BatchNorm1d(4, momentum=None)", f(5, 4)),
    ("BatchNorm1d(4, track_running_stats=False)", f(5, 4)), ("BatchNorm1d(4, bias=False)", f(5, 4)),
    ("BatchNorm2d(3, eps=1e-3, momentum=0.5)", f(2, 3, 4, 5)), ("BatchNorm3d(2)", f(2, 2, 3, 2, 3)),
    ("LazyBatchNorm1d()", f(5, 4)), ("LazyBatchNorm2d(affine=False)", f(2, 3, 4, 5)),
    ("LazyBatchNorm3d()", f(2, 2, 3, 2, 3)), ("SyncBatchNorm(4)", f(5, 4)),
    ("SyncBatchNorm.convert_sync_batchnorm(Sequential(BatchNorm1d(4), ReLU()))", f(5, 4)),
    ("InstanceNorm1d(4)", f(2, 4, 5)), ("InstanceNorm1d(4, affine=True)", f(4, 5)),
    ("InstanceNorm1d(4, track_running_stats=True)", f(2, 4, 5)),
    ("InstanceNorm2d(3, affine=True, track_running_stats=True)", f(2, 3, 4, 5)),
    ("InstanceNorm3d(2)", f(2, 2, 2, 3, 2)), ("LazyInstanceNorm1d()", f(2, 4, 5)),
    ("LazyInstanceNorm2d()", f(2, 3, 4, 5)), ("LazyInstanceNorm3d(affine=False)", f(2, 2, 2, 3, 2)),
    ("LayerNorm(5)", f(3, 5)), ("LayerNorm((4, 5), eps=1e-3)", f(3, 4, 5)),
    ("LayerNorm(5, bias=False)", f(5)), ("LayerNorm(5, elementwise_affine=False)", f(2, 3, 5)),
    ("LayerNorm(5)", f(0, 5)), ("GroupNorm(2, 8)", f(3, 8)), ("GroupNorm(2, 4)", f(3, 4, 5)),
    ("GroupNorm(4, 4, affine=False)", f(3, 4, 5, 2)), ("GroupNorm(1, 4, bias=False)", f(3, 4, 5)),
    ("RMSNorm(5)", f(3, 5)), ("RMSNorm((4, 5), eps=1e-3)", f(3, 4, 5)),
    ("RMSNorm(5, elementwise_affine=False)", f(3, 5)), ("LocalResponseNorm(3)", f(2, 5, 4)),
    ("LocalResponseNorm(2, 0.1, 0.5, 2.)", f(2, 5, 4, 3)),
    ("LocalResponseNorm(4)", f(2, 5, 4, 3, 2)),
    # 2026-11: output only, for PyTorch's gradient is not the derivative of its output
    ("CrossMapLRN2d(3, 0.1)", const(2, 5, 4, 3)), ("CrossMapLRN2d(4, 0.1)", const(2, 5, 4, 3)),
    # embedding
    ("Embedding(6, 3)", ints(6, 2, 4)), ("Embedding(6, 3, padding_idx=1)", ints(6, 2, 4)),
    ("Embedding(6, 3, padding_idx=-1)", ints(6, 5)),
    ("Embedding(6, 3, max_norm=1.)", ints(6, 2, 4)),
    ("Embedding(6, 3, scale_grad_by_freq=True)", ints(3, 8)), ("Embedding(6, 3)", ints(6, 0)),
    ("Embedding.from_pretrained(L.ones(4, 2), freeze=False)", ints(4, 3)),
    ("Embedding.from_pretrained(L.ones(4, 2))", ints(4, 3)),
    *[(f"EmbeddingBag(6, 3, mode={mode!r})", ints(6, 2, 4)) for mode in ("sum", "mean", "max")],
    *[(f"EmbeddingBag(6, 3, mode={mode!r}, padding_idx=2)", ints(6, 7), values([0, 3, 3]))
     for mode in ("sum", "mean", "max")],
    ("EmbeddingBag(6, 3, mode='sum', include_last_offset=True)", ints(6, 7), values([0, 2, 7])),
    ("EmbeddingBag(6, 3, mode='sum')", ints(6, 7), values([0, 2]), f(7)),
    ("EmbeddingBag(6, 3, max_norm=1.)", ints(6, 2, 4)),
    ("EmbeddingBag.from_pretrained(L.ones(4, 2), freeze=False, mode='max')", ints(4, 3, 2)),
    # recurrent
    *[(f"{kind}({args})", f(5, 2, 3)) for kind in ("RNN", "GRU", "LSTM") for args in ("3, 4",
     "3, 4, 2", "3, 4, bias=False", "3, 4, 2, bidirectional=True", "3, 4, 3, dropout=0.4",
     "3, 4, 2, batch_first=True")],
    ("RNN(3, 4, nonlinearity='relu')", f(5, 2, 3)), ("RNN(3, 4, 1, 'relu')", f(5, 3)),
    ("GRU(3, 4, bidirectional=True)", f(5, 3)), ("LSTM(3, 4)", f(5, 3)),
    ("LSTM(3, 4, proj_size=2)", f(5, 2, 3)),
    ("LSTM(3, 4, 2, proj_size=2, bidirectional=True, bias=False)", f(5, 2, 3)),
    ("RNN(3, 4, 2)", f(5, 2, 3), f(2, 2, 4)), ("GRU(3, 4, 2)", f(5, 3), f(2, 4)),
    ("LSTM(3, 4, 2)", f(5, 2, 3), (f(2, 2, 4), f(2, 2, 4))),
    ("LSTM(3, 4, batch_first=True)", f(5, 3), (f(1, 4), f(1, 4))), ("LSTM(3, 4)", f(1, 1, 3)),
    ("RNNCell(3, 4)", f(2, 3)), ("RNNCell(3, 4, False, 'relu')", f(3), f(4)),
    ("LSTMCell(3, 4)", f(2, 3)), ("LSTMCell(3, 4, bias=False)", f(3), (f(4), f(4))),
    ("GRUCell(3, 4)", f(2, 3), f(2, 4)), ("GRUCell(3, 4)", f(3)),
    # attention
    ("MultiheadAttention(6, 2)", f(3, 2, 6), f(4, 2, 6), f(4, 2, 6)),
    ("MultiheadAttention(6, 2, batch_first=True)", f(2, 3, 6), f(2, 4, 6), f(2, 4, 6)),
    ("MultiheadAttention(6, 3, bias=False)", f(3, 6), f(4, 6), f(4, 6)),
    ("MultiheadAttention(6, 2, dropout=0.3)", f(3, 2, 6), f(4, 2, 6), f(4, 2, 6)),
    ("MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True)", f(3, 2, 6), f(4, 2, 6), f(4,
     2, 6)),
    ("MultiheadAttention(6, 2, kdim=5, vdim=7)", f(3, 2, 6), f(4, 2, 5), f(4, 2, 7)),
    ("MultiheadAttention(6, 2)", f(3, 2, 6), f(3, 2, 6), f(3, 2, 6), None, True, lower(3)),
    ("MultiheadAttention(6, 2)", f(3, 2, 6), f(3, 2, 6), f(3, 2, 6), values([[False, False, True],
     [False, True, True]]), True, None, False),
    ("MultiheadAttention(6, 2)", f(3, 2, 6), f(3, 2, 6), f(3, 2, 6), None, False, lower(3)),
    ("TransformerEncoderLayer(6, 2, 8)", f(3, 2, 6)),
    ("TransformerEncoderLayer(6, 2, 8, 0.3, 'gelu', norm_first=True)", f(3, 2, 6)),
    ("TransformerEncoderLayer(6, 2, 8, batch_first=True, bias=False)", f(2, 3, 6), lower(3)),
    ("TransformerDecoderLayer(6, 2, 8)", f(3, 2, 6), f(4, 2, 6)),
    ("TransformerDecoderLayer(6, 2, 8, norm_first=True)", f(3, 6), f(4, 6)),
    ("TransformerEncoder(TransformerEncoderLayer(6, 2, 8, 0.), 2, LayerNorm(6))", f(3, 2, 6)),
    ("TransformerEncoder(TransformerEncoderLayer(6, 2, 8, batch_first=True), 1)", f(2, 3, 6), None,
     values([[False, False, True], [False, True, True]])),
    ("TransformerDecoder(TransformerDecoderLayer(6, 2, 8), 2)", f(3, 2, 6), f(4, 2, 6), lower(3)),
    ("Transformer(6, 2, 1, 2, 8)", f(4, 2, 6), f(3, 2, 6)),
    ("Transformer(6, 2, 1, 1, 8, batch_first=True, norm_first=True)", f(2, 4, 6), f(2, 3, 6)),
    # losses
    *[(f"{kind}(reduction={r!r})", f(3, 4), f(3, 4)) for r in ("mean", "sum", "none")
     for kind in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss", "PoissonNLLLoss")],
    ("MSELoss()", f(0, 4), f(0, 4)), ("SmoothL1Loss(beta=0.)", f(3, 4), f(3, 4)),
    ("SmoothL1Loss(beta=0.3)", f(5), f(5)), ("HuberLoss(delta=0.5)", f(5), f(5)),
    ("PoissonNLLLoss(False, True)", unit(3, 4), ints(5, 3, 4)),
    *[(f"NLLLoss(reduction={r!r})", f(3, 4), ints(4, 3)) for r in ("mean", "sum", "none")],
    ("NLLLoss(L.tensor([1., 2., 0.5, 3.]))", f(3, 4), ints(4, 3)),
    ("NLLLoss(ignore_index=1)", f(6, 4), ints(2, 6)), ("NLLLoss()", f(4), ints(4)),
    ("NLLLoss()", f(2, 4, 3), ints(4, 2, 3)),
    ("NLLLoss(reduction='none')", f(2, 4, 3, 2), ints(4, 2, 3, 2)),
    ("NLLLoss()", f(2, 4, 3, 2, 2), ints(4, 2, 3, 2, 2)),
    *[(f"CrossEntropyLoss(reduction={r!r})", f(3, 4), ints(4, 3)) for r in ("mean", "sum", "none")],
    ("CrossEntropyLoss(L.tensor([1., 2., 0.5, 3.]), label_smoothing=0.2, ignore_index=1)", f(8, 4),
     ints(4, 8)),
    ("CrossEntropyLoss(label_smoothing=0.2)", f(2, 4, 3), ints(4, 2, 3)),
    ("CrossEntropyLoss()", f(3, 4), unit(3, 4)), ("CrossEntropyLoss()", f(4), ints(4)),
    ("CrossEntropyLoss(L.tensor([1., 2., 0.5, 3.]), label_smoothing=0.1, reduction='none')", f(3,
     4), unit(3, 4)),
    ("CrossEntropyLoss()", f(2, 4, 3, 3), ints(4, 2, 3, 3)),
    ("LinearCrossEntropyLoss(3, 4)", f(2, 3), ints(4, 2)),
    ("LinearCrossEntropyLoss(3, 4, out_features=(2, 2), bias=True)", f(2, 3), ints(4, 2, 2, 2)),
    ("GaussianNLLLoss()", f(3, 4), f(3, 4), unit(3, 4)),
    ("GaussianNLLLoss(full=True, reduction='none')", f(3, 4), f(3, 4), unit(3, 1)),
    ("KLDivLoss(reduction='batchmean')", f(3, 4), unit(3, 4)),
    ("KLDivLoss(reduction='sum', log_target=True)", f(3, 4), f(3, 4)),
    ("KLDivLoss()", f(3, 4), unit(3, 4)),
    *[(f"BCELoss(reduction={r!r})", unit(3, 4), unit(3, 4, grad=False)) for r in ("mean", "sum",
     "none")],
    ("BCELoss(L.tensor([1., 2., 0.5, 3.]))", unit(3, 4), unit(3, 4, grad=False)),
    *[(f"BCEWithLogitsLoss(reduction={r!r})", f(3, 4), unit(3, 4, grad=False)) for r in ("mean",
     "sum", "none")],
    ("BCEWithLogitsLoss(L.tensor([1., 2., 0.5, 3.]), pos_weight=L.tensor([3., 2., 0.5, 1.]))", f(3,
     4), unit(3, 4, grad=False)),
    ("HingeEmbeddingLoss()", f(3, 4), signs(3, 4)),
    ("HingeEmbeddingLoss(0.5, reduction='none')", f(5), signs(5)),
    ("MultiLabelMarginLoss()", f(3, 4), values([[1, 2, -1, 0], [0, -1, 1, 2], [3, 2, 1, 0]])),
    ("MultiLabelMarginLoss(reduction='none')", f(4), values([1, -1, 2, 0])),
    ("SoftMarginLoss()", f(3, 4), signs(3, 4)), ("MultiLabelSoftMarginLoss()", f(3, 4), unit(3, 4)),
    ("MultiLabelSoftMarginLoss(L.tensor([1., 2., 0.5, 3.]), reduction='none')", f(3, 4), unit(3,
     4)),
    ("CosineEmbeddingLoss()", f(3, 4), f(3, 4), signs(3)),
    ("CosineEmbeddingLoss(0.2, reduction='none')", f(4), f(4), signs()),
    ("MarginRankingLoss()", f(5), f(5), signs(5)),
    ("MarginRankingLoss(0.3, reduction='sum')", f(3, 4), f(3, 4), signs(3, 4)),
    ("MultiMarginLoss()", f(3, 4), ints(4, 3)),
    ("MultiMarginLoss(2, 0.5, L.tensor([1., 2., 0.5, 3.]), reduction='none')", f(3, 4), ints(4, 3)),
    ("TripletMarginLoss()", f(3, 4), f(3, 4), f(3, 4)),
    ("TripletMarginLoss(0.5, 1., swap=True, reduction='none')", f(3, 4), f(3, 4), f(3, 4)),
    ("TripletMarginLoss()", f(4), f(4), f(4)),
    ("TripletMarginWithDistanceLoss(swap=True)", f(3, 4), f(3, 4), f(3, 4)),
    *[(f"CTCLoss(reduction={r!r})", f(6, 2, 4), values([[1, 2, 1], [3, 3, 0]]), values([6, 5]),
     values([3, 2])) for r in ("mean", "sum", "none")],
    ("CTCLoss(zero_infinity=True)", f(2, 2, 4), values([1, 2, 1, 3]), values([2, 2]), values([3,
     1])),
    ("CTCLoss(blank=3)", f(6, 4), values([1, 2, 1]), values(6), values(3)),
    ("AdaptiveLogSoftmaxWithLoss(8, 10, [3, 6], div_value=2.)", f(12, 8), ints(10, 12)),
    ("AdaptiveLogSoftmaxWithLoss(8, 10, [3], head_bias=True)", f(8), ints(10)),
    # distance, shapes, images
    ("PairwiseDistance()", f(3, 4), f(3, 4)), ("PairwiseDistance(1., keepdim=True)", f(3, 4), f(4)),
    ("CosineSimilarity()", f(3, 4), f(3, 4)), ("CosineSimilarity(0, 1e-3)", f(3, 4), f(3, 4)),
    ("Flatten()", f(2, 3, 4)), ("Flatten(0, 1)", f(2, 3, 4)), ("Unflatten(1, (2, -1))", f(2, 6, 3)),
    ("Fold((4, 5), (2, 2))", f(2, 12, 12)), ("Fold(4, 3, padding=1, stride=2)", f(2, 9, 4)),
    ("Unfold(2)", f(2, 3, 4, 5)),
    ("Unfold((2, 3), dilation=2, padding=1, stride=2)", f(2, 3, 6, 7)),
    ("PixelShuffle(2)", f(2, 8, 3, 3)), ("PixelUnshuffle(2)", f(2, 3, 4, 6)),
    ("ChannelShuffle(2)", f(2, 6, 3)), ("Upsample(7)", f(2, 3, 5)),
    ("Upsample(scale_factor=2)", f(2, 3, 4, 5)),
    ("Upsample(scale_factor=(1.5, 2.3), mode='bilinear')", f(2, 3, 4, 5)),
    ("Upsample((7, 8), mode='bilinear', align_corners=True)", f(2, 3, 4, 5)),
    ("Upsample(9, mode='linear')", f(2, 3, 5)),
    ("Upsample(scale_factor=1.7, mode='bicubic')", f(1, 2, 5, 5)),
    ("Upsample(scale_factor=2., mode='trilinear')", f(1, 2, 3, 3, 3)),
    ("Upsample(scale_factor=1.3, mode='nearest-exact')", f(1, 2, 5, 5)),
    ("Upsample(scale_factor=1.3)", f(1, 2, 4, 4, 4)),
    ("Upsample(scale_factor=0.6, mode='area')", f(1, 2, 6, 6)),
    ("Upsample(scale_factor=1.7, mode='bilinear', recompute_scale_factor=True)", f(1, 2, 5, 5)),
    ("UpsamplingNearest2d(7)", f(1, 2, 3, 4)),
    ("UpsamplingBilinear2d(scale_factor=2)", f(1, 2, 3, 4)),
]
# fmt: on


# what has to raise, on both, and with the same type
# fmt: off
ERRORS = [
    "Bilinear(0, 1, 1)", "Linear(3, 4)(x)", "Bilinear(3, 4, 5)(L.ones(2, 3), L.ones(3, 4))",
    "Bilinear(3, 4, 5)(L.ones(2, 3), L.ones(2, 5))", "Conv1d(3, 4, 2, groups=2)",
    "Conv1d(4, 3, 2, groups=2)", "Conv1d(4, 3, 2, groups=0)", "Conv1d(4, 3, 2, padding='x')",
    "Conv1d(4, 3, 2, padding='same', stride=2)", "Conv1d(4, 3, 2, padding_mode='x')",
    "ConvTranspose2d(4, 3, 2, padding_mode='circular')",
    "ConvTranspose2d(4, 3, 2, stride=2)(x4, output_size=(16,))",
    "ConvTranspose2d(4, 3, 2, stride=2)(x4, output_size=(20, 17))", "Conv2d(3, 3, 2)(x4)",
    "Conv2d(4, 3, 2)(m)", "Conv2d(4, 3, 20)(x4)", "LazyConv2d(3, 2)(m)", "BatchNorm1d(3)(x4)",
    "BatchNorm2d(3)(x)", "BatchNorm3d(3)(x)", "BatchNorm1d(3)(x)", "BatchNorm1d(5)(m[:1])",
    "BatchNorm1d(5, eps=0.)(m)", "SyncBatchNorm(3)(m[0])", "InstanceNorm1d(3)(x4)",
    "InstanceNorm1d(3, affine=True)(x)", "InstanceNorm2d(3)(m)", "InstanceNorm3d(3)(x)",
    "InstanceNorm1d(4)(x[:, :, :1])", "LayerNorm(3)(m)", "GroupNorm(2, 3)", "GroupNorm(2, 4)(m)",
    "RMSNorm(3)(m)", "LocalResponseNorm(2)(m)", "CrossMapLRN2d(2)(x)", "Dropout(2)",
    "Dropout(-0.1)", "Dropout1d()(x4)", "Embedding(3, 4, 5)", "Embedding(3, 4, -5)",
    "Embedding(3, 4, _weight=L.ones(2, 2))", "Embedding.from_pretrained(L.ones(2))",
    "Embedding(3, 4)(L.tensor([3]))", "EmbeddingBag(3, 4, padding_idx=5)",
    "EmbeddingBag(3, 4, _weight=L.ones(2, 2))", "EmbeddingBag(3, 4)(L.tensor([1]))",
    "EmbeddingBag(3, 4)(L.tensor([[1]]), L.tensor([0]))",
    "EmbeddingBag(3, 4, mode='x')(L.tensor([[1]]))",
    "EmbeddingBag(3, 4)(L.tensor([[1]]), None, L.ones(1, 1))", "GRU(3, 4, nonlinearity='relu')",
    "GRU(3, 4, proj_size=2)", "RNN(3, 4, proj_size=2)", "RNN(3, 4, nonlinearity='x')",
    "RNN(3, 4, 1, 'relu', nonlinearity='tanh')", "RNN(0, 4)", "RNN(3., 4)", "RNN(3, 4, bias=1)",
    "RNN(3, 4, batch_first=1)", "HuberLoss(delta='a')", "RNN(3, 4, dropout=2)",
    "RNN(3, 4, dropout=True)", "RNN(3, 4, dropout='a')", "RNN(3, 0)", "RNN(3, 4, 0)", "RNN(3, 4.)",
    "LSTM(3, 4, proj_size=4)", "LSTM(3, 4, proj_size=-1)", "LSTM(3, 4)(x)", "LSTM(6, 4)(x4)",
    "LSTM(6, 4)(x, (L.ones(1, 2, 4), L.ones(1, 4, 4)))",
    "LSTM(6, 4)(x, (L.ones(1, 4, 4), L.ones(1, 2, 4)))",
    "LSTM(6, 4)(x, (L.ones(4, 4), L.ones(1, 2, 4)))",
    "LSTM(6, 4)(x[0], (L.ones(1, 4, 4), L.ones(1, 2, 4)))", "LSTM(6, 4)(x.double())",
    "RNN(6, 4)(x, L.ones(1, 2, 4))", "RNN(6, 4)(x, L.ones(2, 4))",
    "RNN(6, 4)(x[0], L.ones(1, 2, 4))", "RNN(6, 4)(x[0, 0])", "RNNCell(5, 4)(m, L.ones(2, 4))",
    "RNNCell(4, 4)(m)", "RNNCell(5, 4)(x4)", "RNNCell(5, 4, nonlinearity='x')(m)",
    "LSTMCell(5, 4)(x)", "LSTMCell(5, 4)(m, (L.ones(1, 2, 4), L.ones(1, 2, 4)))",
    "LSTMCell(5, 4)(m, (L.ones(3, 5), L.ones(3, 4)))", "GRUCell(5, 4)(x)",
    "GRUCell(5, 4)(m, L.ones(3, 5))", "MultiheadAttention(5, 2)", "MultiheadAttention(0, 2)",
    "MultiheadAttention(4, 0)", "MultiheadAttention(4, 2)(m, m, m)",
    "MultiheadAttention(6, 2)(x, x[0], x)",
    "MultiheadAttention(6, 2)(x, x, x, attn_mask=L.ones(3, 3))",
    "MultiheadAttention(6, 2)(x, x, x, L.ones(3, 3).bool())",
    "MultiheadAttention(6, 2)(x, x, x, is_causal=True)",
    "TransformerEncoderLayer(4, 2, activation='x')",
    "Transformer(4, 2, 1, 1, 8)(L.ones(3, 2, 4), L.ones(3, 1, 4))",
    "Transformer(4, 2, 1, 1, 8)(L.ones(3, 2, 5), L.ones(3, 2, 4))",
    "Unflatten('a', (('b', 2), ('c', 3)))", "Unflatten(1, [2, 3.])", "Unflatten(1, 2)",
    "Unflatten(1, (2, 4))(L.ones(2, 6))", "AdaptiveLogSoftmaxWithLoss(4, 10, [5, 2])",
    "AdaptiveLogSoftmaxWithLoss(4, 10, [2, 2])", "AdaptiveLogSoftmaxWithLoss(4, 10, [])",
    "AdaptiveLogSoftmaxWithLoss(4, 10, [10])", "AdaptiveLogSoftmaxWithLoss(5, 10, [2])(m, ti[:2])",
    "AdaptiveLogSoftmaxWithLoss(5, 10, [2])(m, ti + 20)",
    "AdaptiveLogSoftmaxWithLoss(5, 10, [2])(x, x)", "FractionalMaxPool2d(2)",
    "FractionalMaxPool2d(2, output_size=2, output_ratio=.5)",
    "FractionalMaxPool2d(2, output_ratio=1.5)", "FractionalMaxPool3d(2)", "MaxPool2d(2)(m)",
    "MaxPool2d(9)(x4)", "MaxPool2d(2, padding=2)(x4)",
    "MaxUnpool2d(2)(x4, x4.long(), output_size=(40, 40))", "AvgPool2d(2)(m)",
    "AdaptiveAvgPool2d(2)(m)", "CircularPad1d(2)(x4)", "CircularPad2d(2)(m)", "CircularPad1d(9)(x)",
    "ReflectionPad1d(9)(x)", "ReflectionPad2d(1)(m)", "Hardtanh(1, -1)", "GELU('x')(x)",
    "Softshrink(-1)(x)", "Softmax2d()(m)", "GLU()(L.ones(3))", "PReLU(3)(x)", "RReLU(.5, .2)(x)",
    "MSELoss(reduction='x')(m, m)", "MSELoss()(m, m[:2])", "BCELoss()(m.sigmoid(), m[:1])",
    "BCELoss()(m + 9, m)", "BCEWithLogitsLoss()(m, m[:1])", "NLLLoss()(m, ti[:2])",
    "NLLLoss()(m, ti + 9)", "NLLLoss()(m, ti.float())", "NLLLoss(L.ones(3))(m, ti)",
    "NLLLoss()(x, ti)", "CrossEntropyLoss()(m, ti[:2])", "CrossEntropyLoss()(m, m.long())",
    "CrossEntropyLoss(label_smoothing=2)(m, ti)", "CrossEntropyLoss()(m[0], ti)",
    "CrossEntropyLoss(ignore_index=2)(m, m)", "CrossEntropyLoss(L.ones(2))(m, m)",
    "HuberLoss(delta=-1.)(m, m)", "SmoothL1Loss(beta=-1.)(m, m)", "GaussianNLLLoss()(m, m, m)",
    "GaussianNLLLoss()(m, m, L.ones(3, 4))", "MultiMarginLoss(p=3)",
    "MultiMarginLoss(weight=L.ones(2, 2))", "TripletMarginLoss(margin=-1)",
    "TripletMarginWithDistanceLoss(margin=-1)", "TripletMarginLoss()(m, m, m[0])",
    "CosineEmbeddingLoss()(m, m[0], L.ones(2))", "MarginRankingLoss()(m, m, ti)",
    "MultiLabelMarginLoss()(m, ti)", "CTCLoss(reduction='x')(m, ti, ti, ti)", "Upsample()(x)",
    "Upsample(3, 2.)(x)", "Upsample((3, 3))(x)", "Upsample(3, align_corners=True)(x)",
    "Upsample(3, mode='bilinear')(x)", "Upsample(3, mode='x')(x4)", "Upsample(3)(m)",
    "PixelShuffle(3)(x4)", "PixelUnshuffle(3)(x4)", "ChannelShuffle(3)(x4)", "Fold((3, 3), 2)(m)",
    "LinearCrossEntropyOptions(acc_policy='x')", "LinearCrossEntropyLoss(5, 4)(x, ti)",
]
# fmt: on
