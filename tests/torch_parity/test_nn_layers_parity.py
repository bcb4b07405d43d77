"""Layers against torch.nn: one table of constructors and inputs (nn_layers_table), run on both.

For each line: same seed, same repr, same state_dict (keys, dtypes, digits); then in training and in
evaluation same output, same gradients of inputs and parameters, same buffers afterwards. A second
table holds what has to raise, and both must raise the same type.
"""

import inspect
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from nn_layers_table import CASES, ERRORS, Spec, f  # noqa: E402

import rushlight as rl  # noqa: E402
import rushlight.nn  # noqa: E402,F401

ROUNDING = {"rtol": 2e-5, "atol": 2e-6}


INPLACE = [
    text.replace("()", "(inplace=True)")
    for text in "ReLU() ReLU6() RReLU() ELU() CELU() SELU() SiLU() Mish() Hardswish() "
    "Hardsigmoid() LeakyReLU() Hardtanh() Dropout() Dropout1d()".split()
] + ["Threshold(0.1, 20., True)"]


def build(L, text):
    L.manual_seed(0)
    return eval(text, {**vars(L.nn), "L": L})


def make_inputs(L, specs):
    """Tensors for the specs, and those of them that take gradients."""
    random = np.random.default_rng(1)

    def make(spec):
        if isinstance(spec, tuple):
            return tuple(map(make, spec))
        return spec.make(L, random) if isinstance(spec, Spec) else spec

    inputs = [make(spec) for spec in specs]
    flat = [x for y in inputs for x in (y if isinstance(y, tuple) else (y,))]
    return inputs, [x for x in flat if isinstance(x, L.Tensor) and x.requires_grad]


def tensors(L, out):
    """All tensors in a result, in order."""
    if isinstance(out, L.Tensor):
        return [out]
    return [x for part in out if part is not None for x in tensors(L, part)]


def array(x):
    return x.detach().numpy()


def assert_close(name, want, got):
    want, got = array(want), array(got)
    assert want.dtype == got.dtype, f"{name}: {got.dtype} instead of {want.dtype}"
    assert want.shape == got.shape, f"{name}: {got.shape} instead of {want.shape}"
    np.testing.assert_allclose(got, want, err_msg=name, equal_nan=True, **ROUNDING)


def assert_same_state(want, got, exact):
    want, got = want.state_dict(), got.state_dict()
    assert list(want) == list(got)
    for key in want:
        if exact:
            np.testing.assert_array_equal(array(got[key]), array(want[key]), err_msg=key)
        assert_close(key, want[key], got[key])


def run(L, module, specs, transform=None):
    """(outputs, gradients of inputs, gradients of parameters) of one forward and backward pass."""
    L.manual_seed(7)
    inputs, leaves = make_inputs(L, specs)
    if transform is not None:
        inputs = transform(inputs)
    outs = tensors(L, module(*inputs))
    random = np.random.default_rng(2)
    total = None
    for out in outs:
        if out.requires_grad:
            weights = L.from_numpy(np.asarray(random.standard_normal(tuple(out.shape))))
            part = (out * weights.to(out.dtype)).sum()
            total = part if total is None else total + part
    if total is not None:
        total.backward()
    return outs, [x.grad for x in leaves], {k: p.grad for k, p in module.named_parameters()}


def assert_same_run(want, got):
    for kind, a, b in zip(("output", "input gradient"), want, got):
        assert len(a) == len(b)
        for k, (x, y) in enumerate(zip(a, b)):
            assert (x is None) == (y is None), f"{kind} {k}"
            if x is not None:
                assert_close(f"{kind} {k}", x, y)
    assert list(want[2]) == list(got[2])
    for key, x in want[2].items():
        assert (x is None) == (got[2][key] is None), f"gradient of {key}"
        if x is not None:
            assert_close(f"gradient of {key}", x, got[2][key])


def same_names(text):
    return text.replace("rushlight.", "torch.")


def ids(case):
    return (
        case[0]
        + "-"
        + "-".join(
            "x".join(map(str, s.shape)) if isinstance(s, Spec) else str(s)[:8] for s in case[1:]
        )
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES, ids=ids)
def test_layer(case):
    text, *specs = case
    want, got = build(torch, text), build(rl, text)
    lazy = "Lazy" in text
    assert same_names(repr(got)) == repr(want)
    assert type(got).__name__ == type(want).__name__
    if not lazy:
        assert_same_state(want, got, exact=True)
    if specs == [None]:
        return
    for training in (True, False):
        want.train(training)
        got.train(training)
        for module in (want, got):
            module.zero_grad()
        assert_same_run(run(torch, want, specs), run(rl, got, specs))
        assert_same_state(want, got, exact=False)
    assert same_names(repr(got)) == repr(want)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", INPLACE)
def test_in_place(text):
    def twice(inputs):
        return [inputs[0] * 2]

    want, got = build(torch, text), build(rl, text)
    assert repr(got) == repr(want)
    assert_same_run(run(torch, want, [f(3, 4)], twice), run(rl, got, [f(3, 4)], twice))
    x = rl.ones(3, 4)
    assert got.eval()(x) is x or "Dropout" in text


def outcome(L, text):
    random = np.random.default_rng(0)

    def normal(*shape):
        return L.from_numpy(random.standard_normal(shape).astype(np.float32))

    names = {
        "x": normal(2, 4, 6),
        "x4": normal(2, 4, 8, 8),
        "m": normal(3, 5),
        "ti": L.tensor([1, 2, 0]),
        "L": L,
    }
    try:
        eval(text, {**vars(L.nn), **names})
    except Exception as error:
        return type(error).__name__
    return "no error"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("text", ERRORS)
def test_error(text):
    want = outcome(torch, text)
    assert want != "no error"
    assert outcome(rl, text) == want


def public_classes(nn):
    return {
        name: value
        for name, value in vars(nn).items()
        if inspect.isclass(value) and not name.startswith("_")
    }


def signature(function):
    def plain(default):
        return getattr(default, "__name__", default)

    return [
        (p.name, p.kind.name, plain(p.default))
        for p in inspect.signature(function).parameters.values()
    ]


# 2026-11: classes whose call PyTorch's own decorator hides
HIDDEN = {"Container", "NLLLoss2d"}


@pytest.mark.parametrize("name", sorted(set(public_classes(torch.nn)) - HIDDEN - {"DataParallel"}))
def test_signature(name):
    want, got = getattr(torch.nn, name), getattr(rl.nn, name)
    assert signature(got) == signature(want)
    if issubclass(want, torch.nn.Module):
        assert getattr(got, "__constants__", None) == getattr(want, "__constants__", None)
        assert got._version == want._version


def test_functional_has_every_function():
    # helpers of torch's own file, which are no functions of neural networks
    private = set(
        "assert_int_or_pair boolean_dispatch handle_torch_function has_torch_function "
        "has_torch_function_unary has_torch_function_variadic".split()
    )
    want = {
        name
        for name, value in vars(torch.nn.functional).items()
        if not name.startswith("_") and callable(value) and not inspect.isclass(value)
    }
    want -= private | {
        "Callable",
        "Optional",
        "BroadcastingList1",
        "BroadcastingList2",
        "BroadcastingList3",
    }
    assert sorted(want - set(vars(rl.nn.functional))) == []


WARNINGS = [
    "Softmax()(x)",
    "Softmin()(m)",
    "LogSoftmax()(m)",
    "Dropout2d()(x)",
    "Dropout3d()(x)",
    "Hardtanh(min_value=-2.)",
    "MSELoss(size_average=True)",
    "MSELoss(reduce=False)",
    "MSELoss()(m, m[:1])",
    "KLDivLoss()(m, m)",
    "NLLLoss2d()",
    "RNN(3, 4, dropout=.2)",
    "InstanceNorm1d(3)(x)",
    "TransformerEncoder(TransformerEncoderLayer(4, 2, 8), 1)",
    "TransformerEncoder(TransformerEncoderLayer(3, 1, 8, batch_first=True), 1)",
]


@pytest.mark.parametrize("text", WARNINGS)
def test_warning(text):
    caught = []
    for L in (torch, rl):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            outcome(L, text)
        caught.append([(w.category.__name__, same_names(str(w.message))) for w in found])
    assert caught[0] == caught[1] != []


PACKED = [
    "RNN(3, 4, 2)",
    "GRU(3, 4, bidirectional=True)",
    "LSTM(3, 4, 2, bidirectional=True, dropout=0.3)",
    "LSTM(3, 4, proj_size=2)",
    "LSTM(3, 4, batch_first=True)",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("text", PACKED)
def test_packed_sequence(text, sort):
    lengths = [5, 3, 3, 1] if sort else [3, 5, 1, 3]
    results = []
    for L in (torch, rl):
        module = build(L, text)
        (x,), leaves = make_inputs(L, [f(4, 5, 3) if module.batch_first else f(5, 4, 3)])
        pack = L.nn.utils.rnn.pack_padded_sequence(
            x, lengths, batch_first=module.batch_first, enforce_sorted=sort
        )
        L.manual_seed(3)
        out, state = module(pack)
        padded, sizes = L.nn.utils.rnn.pad_packed_sequence(out, batch_first=module.batch_first)
        ((padded * padded).sum() + sum(s.sin().sum() for s in tensors(L, state))).backward()
        parts = tensors(L, (padded, state)) + [x.grad for x in leaves]
        results.append(parts + [p.grad for p in module.parameters()] + [sizes])
    for k, (a, b) in enumerate(zip(*results, strict=True)):
        assert_close(str(k), a, b)


@pytest.mark.filterwarnings("ignore")
def test_encoder_without_gradients_gives_zeros_at_padding():
    text = "TransformerEncoder(TransformerEncoderLayer(6, 2, 8, batch_first=True), 2)"
    padding = np.array([[False, False, True], [False, True, True]])
    for mask in (padding, padding[:, ::-1].copy()):
        outs = []
        for L in (torch, rl):
            module = build(L, text).eval()
            (x,), _ = make_inputs(L, [f(2, 3, 6)])
            with L.no_grad():
                outs.append(module(x, src_key_padding_mask=L.from_numpy(mask)))
        assert_close("output", *outs)


@pytest.mark.filterwarnings("ignore")
def test_state_dicts_of_older_versions():
    for text in ("BatchNorm1d(3)", "InstanceNorm1d(3)"):
        results = []
        for L in (torch, rl):
            old = {"running_mean": L.ones(3), "running_var": L.ones(3) * 2}
            if "Batch" in text:
                old |= {"weight": L.ones(3), "bias": L.zeros(3)}
            module = build(L, text)
            try:
                module.load_state_dict(old)
                results.append({k: array(v).tolist() for k, v in module.state_dict().items()})
            except RuntimeError as error:
                results.append("running stats" in str(error))
        assert results[0] == results[1]


def test_state_crosses_over():
    """A state_dict of torch's arrays loads into ours."""
    for text, *specs in (("LSTM(3, 4, 2)", f(5, 2, 3)), ("Conv2d(3, 4, 3)", f(2, 3, 5, 5))):
        torch.manual_seed(11)
        want = eval(text, dict(vars(torch.nn)))
        got = build(rl, text)
        got.load_state_dict({k: rl.from_numpy(array(v)) for k, v in want.state_dict().items()})
        assert_same_run(run(torch, want, specs), run(rl, got, specs))
