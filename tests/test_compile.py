"""compile(): compiled programs give what eager execution gives, run after run, and say so where they cannot.

Programs are made twice from one seed and run side by side; results, parameters, gradients and random state must agree to
rounding. Nothing here measures time: programs, captures and reasons are counted.
"""

import warnings

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.nn import functional as F

STEPS = 6


def close(a, b, tolerance=2e-5):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def values(result):
    """The numbers in what a function returned."""
    if isinstance(result, torch.Tensor):
        return [result.detach().float().numpy() if result.is_floating_point() else result.numpy()]
    if isinstance(result, (list, tuple)):
        return [v for r in result for v in values(r)]
    if isinstance(result, dict):
        return [v for r in result.values() for v in values(r)]
    return [np.asarray(result)] if isinstance(result, (int, float)) else []


def both(make, steps=STEPS, seed=0, kept=True, tolerance=2e-5):
    """Run a program eagerly and compiled; gives the compiled function. `make()` gives (step, tensors to compare)."""
    torch.manual_seed(seed)
    step, state = make()
    expected = [values(step(i)) for i in range(steps)]
    rng = torch.get_rng_state()
    torch.manual_seed(seed)
    other, other_state = make()
    compiled = torch.compile(other)
    with warnings.catch_warnings():
        warnings.simplefilter("error" if kept else "ignore")
        found = [values(compiled(i)) for i in range(steps)]
    for a, b in zip(expected, found):
        assert len(a) == len(b)
        for x, y in zip(a, b):
            close(x, y, tolerance)
    assert torch.equal(rng, torch.get_rng_state())
    for a, b in zip(state, other_state):
        close(a.detach().numpy(), b.detach().numpy(), tolerance)
        assert a._version == b._version
        if a.requires_grad:
            assert (a.grad is None) == (b.grad is None)
            if a.grad is not None:
                close(a.grad.numpy(), b.grad.numpy(), tolerance)
    if kept:
        assert compiled.reason is None, compiled.reason
        assert compiled.programs, compiled.history
    return compiled


# ---- training steps


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.n, self.m = nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x):
        return F.relu(x + self.m(self.b(F.relu(self.n(self.a(x))))))


class Attention(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.q, self.p, self.n = nn.Linear(d, 3 * d), nn.Linear(d, d), nn.LayerNorm(d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (u.view(b, t, 2, d // 2).transpose(1, 2) for u in self.q(self.n(x)).chunk(3, -1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.p(a.transpose(1, 2).reshape(b, t, d))


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.head = kind(6, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Auto(nn.Module):
    """A variational autoencoder."""

    def __init__(self):
        super().__init__()
        self.e, self.d = nn.Linear(6, 8), nn.Linear(4, 6)

    def forward(self, x):
        mu, log = self.e(x).chunk(2, -1)
        z = mu + torch.randn_like(mu) * (0.5 * log).exp()
        return ((self.d(z) - x) ** 2).mean() - 0.5 * (1 + log - mu**2 - log.exp()).mean()


def mlp():
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))


def norms():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.GELU(), nn.LayerNorm(8), nn.SiLU(), nn.Dropout(0.3), nn.Linear(8, 3))


def image():
    return nn.Sequential(nn.Conv2d(1, 4, 3), Residual(), nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Flatten(), nn.LazyLinear(3))


def tokens():
    return nn.Sequential(nn.Embedding(11, 16), Attention(), nn.Flatten(), nn.Linear(80, 3))


MODELS = {
    "mlp": (mlp, (5, 6)),
    "norms": (norms, (5, 6)),
    "image": (image, (4, 1, 12, 12)),
    "lstm": (lambda: Recurrent(nn.LSTM), (4, 5, 6)),
    "gru": (lambda: Recurrent(nn.GRU), (4, 5, 6)),
    "tokens": (tokens, None),
    "transformer": (lambda: nn.Sequential(nn.TransformerEncoderLayer(6, 2, 12, 0.1, batch_first=True), nn.Flatten(), nn.Linear(30, 3)), (4, 5, 6)),
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.01),
    "adadelta": lambda p: torch.optim.Adadelta(p, 0.5),
    "adamax": lambda p: torch.optim.Adamax(p, 0.01),
}


def training(model, shape, optimizer):
    def make():
        m = model()
        x = torch.randint(0, 11, (4, 5)) if shape is None else torch.randn(shape)
        y = torch.randint(0, 3, (x.shape[0],))
        m(x)
        o = optimizer(m.parameters())

        def step(i):
            o.zero_grad()
            loss = F.cross_entropy(m(x), y)
            loss.backward()
            o.step()
            return loss

        return step, [*m.parameters(), *m.buffers()]

    return make


@pytest.mark.parametrize("model", MODELS)
def test_models_train_as_eagerly(model):
    both(training(*MODELS[model], OPTIMIZERS["momentum"]))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_step_as_eagerly(optimizer):
    both(training(*MODELS["mlp"], OPTIMIZERS[optimizer]))


@pytest.mark.parametrize("how", ["plain", "reverse", "deep", "relu", "no_bias", "states"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_recurrent_layers(kind, how):
    def make():
        more = {"deep": {"num_layers": 2, "dropout": 0.2}, "reverse": {"bidirectional": True}, "no_bias": {"bias": False}, "relu": {"nonlinearity": "relu"} if kind == "RNN" else {}}.get(how, {})
        m = getattr(nn, kind)(5, 4, **more)
        x = torch.randn(6, 3, 5, requires_grad=True)
        h = torch.randn(1, 3, 4, requires_grad=True)
        o = torch.optim.SGD([*m.parameters(), x, h], 0.1)

        def step(i):
            o.zero_grad()
            given = None if how != "states" else (h, h * 2) if kind == "LSTM" else h
            out, last = m(x, given)
            last = last if isinstance(last, tuple) else (last,)
            loss = out.sin().mean() + sum(s.sum() for s in last) * 0.1
            loss.backward()
            o.step()
            return loss

        return step, [*m.parameters(), x, h]

    both(make, steps=4)


def test_variational_autoencoder():
    def make():
        m, x = Auto(), torch.randn(5, 6)
        o = torch.optim.Adam(m.parameters(), 0.01)

        def step(i):
            o.zero_grad()
            loss = m(x)
            loss.backward()
            o.step()
            return loss.item()

        return step, list(m.parameters())

    both(make)


def test_adversarial_steps():
    def make():
        g, d = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), nn.Sequential(nn.Linear(2, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))
        og, od = torch.optim.Adam(g.parameters(), 0.01), torch.optim.Adam(d.parameters(), 0.01)
        real, one, zero = torch.randn(6, 2), torch.ones(6, 1), torch.zeros(6, 1)
        lossf = nn.BCEWithLogitsLoss()

        def step(i):
            fake = g(torch.randn(6, 3))
            od.zero_grad()
            ld = lossf(d(real), one) + lossf(d(fake.detach()), zero)
            ld.backward()
            od.step()
            og.zero_grad()
            lg = lossf(d(fake), one)
            lg.backward()
            og.step()
            return ld, lg

        return step, [*g.parameters(), *d.parameters()]

    both(make)


def test_accumulation_clipping_average():
    def make():
        m = mlp()
        x, y = torch.randn(2, 5, 6), torch.randint(0, 3, (2, 5))
        o = torch.optim.SGD(m.parameters(), 0.1, momentum=0.9)
        average = [p.detach().clone() for p in m.parameters()]

        def step(i):
            o.zero_grad()
            for k in range(2):
                (F.cross_entropy(m(x[k]), y[k]) / 2).backward()
            norm = nn.utils.clip_grad_norm_(m.parameters(), 0.1)
            o.step()
            with torch.no_grad():
                for a, p in zip(average, m.parameters()):
                    a.mul_(0.9).add_(p, alpha=0.1)
            return norm

        return step, [*m.parameters(), *average]

    both(make)


def test_gradient_of_a_gradient_inside():
    def make():
        w = torch.randn(3, requires_grad=True)

        def step(i):
            w.grad = None
            x = torch.arange(1.0, 4.0)
            (g,) = torch.autograd.grad((torch.tanh(w * x) ** 2).sum(), w, create_graph=True)
            loss = (g * g).sum()
            loss.backward()
            with torch.no_grad():
                w.sub_(w.grad, alpha=0.1)
            return loss

        return step, [w]

    both(make)


# ---- arguments, guards, numbers


def test_sizes_and_types_have_programs_of_their_own():
    f = torch.compile(lambda x, y=2.0: (x * y).sum(0))
    for x in (torch.ones(3, 4), torch.ones(5, 4), torch.ones(3, 4, dtype=torch.float64), torch.ones(4, 3).t(), torch.arange(6).view(3, 2)):
        for _ in range(2):
            close(f(x).numpy(), (x * 2.0).sum(0).numpy())
            assert f(x).dtype is (x * 2.0).sum(0).dtype
    assert len(f.programs) == 5


def test_a_view_of_the_data_needs_no_new_program():
    data = torch.randn(64, 4)
    f = torch.compile(lambda x: (x.relu() + 1).sum(1))
    for i in range(0, 64, 8):
        close(f(data[i : i + 8]).numpy(), (data[i : i + 8].relu() + 1).sum(1).numpy())
    assert len(f.programs) == 1


def test_a_number_that_changes_becomes_an_input():
    w = torch.ones(3)
    f = torch.compile(lambda x, a: w.add_(x, alpha=a))
    total = np.ones(3)
    for k in range(12):
        f(torch.ones(3), 0.5 * k)
        total += 0.5 * k
        close(w.numpy(), total)
    assert len(f.programs) <= 3


def test_a_learning_rate_that_changes():
    def make():
        m, x = nn.Linear(4, 2), torch.randn(3, 4)
        o = torch.optim.SGD(m.parameters(), 0.1)
        s = torch.optim.lr_scheduler.ExponentialLR(o, 0.9)

        def step(i):
            o.zero_grad()
            loss = m(x).square().mean()
            loss.backward()
            o.step()
            return loss

        def outer(i):
            out = inner[0](i)
            s.step()
            return out

        inner = [step]
        return inner, outer, m

    torch.manual_seed(0)
    _, run, m = make()
    expected = [run(i).item() for i in range(12)]
    torch.manual_seed(0)
    inner, run, n = make()
    inner[0] = torch.compile(inner[0])
    close([run(i).item() for i in range(12)], expected)
    close(m.weight.detach().numpy(), n.weight.detach().numpy())
    assert len(inner[0].programs) <= 3


def test_a_counter_is_written_back():
    class Counter:
        steps = 0

    c = Counter()
    c.steps = 0

    def f(x):
        c.steps += 1
        return x * c.steps

    g = torch.compile(f)
    for k in range(1, 10):
        close(g(torch.ones(2)).numpy(), [k, k])
        assert c.steps == k and type(c.steps) is int
    assert g.programs


def test_training_mode_and_parameters_are_guarded():
    m = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.BatchNorm1d(3))
    f = torch.compile(lambda x: m(x))
    x = torch.randn(4, 3)
    with torch.no_grad():
        f(x), f(x)
        m.eval()
        close(f(x).numpy(), m(x).numpy())
        close(f(x).numpy(), m(x).numpy())
        m[0].weight = nn.Parameter(torch.zeros(3, 3))
        close(f(x).numpy(), m(x).numpy())
        m[0].weight.data = torch.ones(3, 3)
        close(f(x).numpy(), m(x).numpy())
        m[0].weight.requires_grad_(False)
        close(f(x).numpy(), m(x).numpy())


def test_arguments_that_share_memory():
    f = torch.compile(lambda x, y: x.add_(1).mul(y))
    for _ in range(3):
        a, b = torch.ones(3), torch.ones(3)
        close(f(a, b).numpy(), 2.0)
        close(f(a, a).numpy(), 9.0)
        data = torch.ones(6)
        close(f(data[:4], data[2:]).numpy(), [2.0, 2.0, 2.0, 2.0] if False else (torch.tensor([2.0, 2, 2, 2]) * torch.tensor([2.0, 2, 1, 1])).numpy())


# ---- memory


def test_results_are_memory_of_their_own():
    f = torch.compile(lambda x: (x + 1, x * 2))
    x = torch.ones(4)
    f(x)
    a, b = f(x)
    c, _ = f(x * 3)
    close(a.numpy(), 2.0)
    close(c.numpy(), 4.0)
    a.zero_()
    close(f(x)[0].numpy(), 2.0)


def test_gradients_that_are_kept_are_not_written_again():
    w = torch.ones(3, requires_grad=True)

    @torch.compile
    def step(x):
        w.grad = None
        (w * x).sum().backward()

    kept = []
    for k in range(6):
        step(torch.full((3,), float(k)))
        kept.append(w.grad)
    for k, g in enumerate(kept):
        close(g.numpy(), float(k))


def test_views_and_writes_into_them():
    def make():
        base = torch.zeros(4, 4)

        def step(i):
            row = base[1]
            row.add_(1)
            base.t()[2].mul_(3)
            base[:, 0] = base.diagonal() + 1
            return base.clone(), row, base[::2, 1:]

        return step, [base]

    both(make)


def test_aliases_of_inputs_are_returned():
    w = torch.zeros(3)

    @torch.compile
    def f(x):
        w.add_(x)
        return w, w[1:], x

    for k in range(1, 5):
        x = torch.ones(3)
        a, b, c = f(x)
        assert a is w and c is x
        close(b.numpy(), float(k))
        w[1] += 0
        assert b.data_ptr() == w[1:].data_ptr()


# ---- forward alone, backward outside


def test_a_compiled_module_is_one_node():
    torch.manual_seed(0)
    m = mlp()
    c = torch.compile(m)
    assert isinstance(c, nn.Module) and list(c.state_dict()) == ["_orig_mod." + k for k in m.state_dict()]
    x = torch.randn(5, 6)
    for _ in range(4):
        y = torch.randn(5, 3)
        m.zero_grad()
        F.mse_loss(m(x), y).backward()
        expected = [p.grad.clone() for p in m.parameters()]
        m.zero_grad()
        F.mse_loss(c(x), y).backward()
        for p, g in zip(m.parameters(), expected):
            close(p.grad.numpy(), g.numpy())
    assert c(x).grad_fn.name() == "CompiledFunctionBackward"
    close(c(x).detach().numpy(), m(x).detach().numpy())


def test_gradients_of_arguments_and_of_two_calls_at_once():
    f = torch.compile(lambda x, w: (torch.tanh(x) * w, (x * w).sum()))
    for _ in range(3):
        x, w = torch.randn(4, requires_grad=True), torch.randn(4, requires_grad=True)
        a, b = f(x * 1.0, w)
        c, d = f(x + 1.0, w)
        (a.sum() + 2 * d + c.prod() + b).backward()
        gx, gw = x.grad, w.grad
        x.grad = w.grad = None
        e = lambda x, w: (torch.tanh(x) * w, (x * w).sum())  # noqa: E731
        a, b = e(x * 1.0, w)
        c, d = e(x + 1.0, w)
        (a.sum() + 2 * d + c.prod() + b).backward()
        close(gx.numpy(), x.grad.numpy())
        close(gw.numpy(), w.grad.numpy())


def test_backward_twice_and_a_change_in_between():
    w = torch.randn(3, requires_grad=True)
    f = torch.compile(lambda x: (x * w * w).exp())
    x = torch.ones(3)
    f(x), f(x)
    y = f(x).sum()
    y.backward(retain_graph=True)
    first = w.grad.clone()
    y.backward()
    close(w.grad.numpy(), 2 * first.numpy())
    with pytest.raises(RuntimeError, match="second time"):
        y.backward()
    y = f(x).sum()
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_double_backward_says_what_to_do():
    f = torch.compile(lambda x: x**3)
    for _ in range(2):
        f(torch.ones(2, requires_grad=True))
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="compile the whole step"):
        torch.autograd.grad(f(x).sum(), x, create_graph=True)


def test_dropout_and_batches_of_statistics():
    torch.manual_seed(0)
    m = norms()
    torch.manual_seed(0)
    n = norms()
    c = torch.compile(n)
    x = torch.randn(7, 6)
    torch.manual_seed(1)
    expected = [m(x) for _ in range(4)]
    torch.manual_seed(1)
    found = [c(x) for _ in range(4)]
    for a, b in zip(expected, found):
        close(a.detach().numpy(), b.detach().numpy())
    close(m[1].running_mean.numpy(), n[1].running_mean.numpy())
    assert m[1].num_batches_tracked == n[1].num_batches_tracked == 4


# ---- what cannot be captured


@pytest.mark.parametrize(
    "f, words",
    [
        (lambda x: x + 1 if x.sum() > 0 else x - 1, "asked for"),
        (lambda x: x * float(x.max().item()), "looked at"),
        (lambda x: x[x > 0], "asked for"),
        (lambda x: torch.from_numpy(np.sort(x.numpy())), "asked for"),
    ],
)
def test_values_end_a_capture(f, words):
    x = torch.tensor([1.0, -2.0, 3.0])
    c = torch.compile(f)
    with pytest.warns(UserWarning, match=words):
        close(c(x).numpy(), f(x).numpy())
    close(c(x).numpy(), f(x).numpy())
    with pytest.raises(RuntimeError, match="fullgraph"):
        torch.compile(f, fullgraph=True)(x)


def test_what_was_done_before_a_break_is_done_once():
    seen, w = [], torch.zeros(3)

    def f(x):
        w.add_(x)
        seen.append(1)
        if w.sum() > 100:
            return w * 2
        return w + 1

    c = torch.compile(f)
    with pytest.warns(UserWarning, match="runs eagerly"):
        close(c(torch.ones(3)).numpy(), 2.0)
    close(w.numpy(), 1.0)
    assert len(seen) == 1
    close(c(torch.ones(3)).numpy(), 3.0)


def test_an_error_leaves_what_eager_execution_leaves():
    w = torch.zeros(3)

    def f(x):
        w.add_(1)
        raise KeyError("mine")

    c = torch.compile(f)
    for k in range(1, 4):
        with pytest.raises(KeyError, match="mine"):
            c(torch.ones(3))
        close(w.numpy(), float(k))


def test_a_wrong_call_inside_is_the_eager_error():
    c = torch.compile(lambda x, y: x @ y)
    with pytest.raises(RuntimeError, match="shapes"):
        c(torch.ones(2, 3), torch.ones(2, 3))
    close(c(torch.ones(2, 3), torch.ones(3, 2)).numpy(), 3.0)


def test_output_and_appends_are_noticed(capsys):
    kept = []

    def f(x):
        kept.append(1)
        print("once")
        return x + 1

    c = torch.compile(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(8):
            c(torch.ones(2))
    assert len(kept) == 8 and capsys.readouterr().out == "once\n" * 8


def test_tensors_left_behind_are_noticed():
    kept = []

    def f(x):
        y = x + 1
        kept.append(y)
        return y * 2

    c = torch.compile(f)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(8):
            c(torch.full((2,), float(k)))
    assert [t[0].item() for t in kept] == [k + 1.0 for k in range(8)]


def test_bad_targets_raise_as_eagerly():
    m = nn.Linear(3, 2)
    c = torch.compile(lambda x, y: F.cross_entropy(m(x), y))
    x = torch.ones(2, 3)
    for _ in range(3):
        c(x, torch.tensor([0, 1]))
    with pytest.raises(IndexError, match="out of bounds"):
        c(x, torch.tensor([0, 5]))


# ---- the public functions


def test_forms_of_the_call():
    f = lambda x: x + 1  # noqa: E731
    assert torch.compile(f, disable=True) is f
    assert torch.compile(dynamic=True, mode="max-autotune")(f)(torch.zeros(1)).item() == 1

    @torch.compile
    def g(x):
        """Docs."""
        return x + (2 if torch.compiler.is_compiling() else 1)

    assert g.__name__ == "g" and g.__doc__ == "Docs." and g(torch.zeros(1)).item() == 2
    assert not torch.compiler.is_compiling()
    with pytest.raises(RuntimeError, match="function or a Module"):
        torch.compile(3)


def test_reset_disable_and_stance():
    f = torch.compile(lambda x: x * 2)
    x = torch.ones(2)
    f(x), f(x)
    assert len(f.programs) == 1
    torch.compiler.reset()
    f(torch.ones(3))
    assert len(f.programs) == 1

    @torch.compiler.disable
    def outside(x):
        return x + 1

    g = torch.compile(lambda x: outside(x * 2))
    with pytest.warns(UserWarning, match="disable"):
        close(g(x).numpy(), 3.0)
    with torch.compiler.set_stance("force_eager"):
        h = torch.compile(lambda x: x * 2)
        close(h(x).numpy(), 2.0)
        assert not h.programs
    assert "program of" in f.explain()


def test_methods_and_module_compile():
    m = mlp()
    x = torch.randn(2, 6)
    expected = m(x).detach().numpy()
    m.compile()
    for _ in range(3):
        close(m(x).detach().numpy(), expected)
    assert list(m.state_dict()) == list(mlp().state_dict())

    class Model:
        scale = 3.0

        @torch.compile
        def run(self, x):
            return x * self.scale

    for _ in range(3):
        close(Model().run(torch.ones(2)).numpy(), 3.0)


# ---- rows with kernels of their own: recorded, they must be what eager execution is

try:
    import llvmlite  # noqa: F401

    KERNELS = True
except ImportError:
    KERNELS = False

LAYERS = {
    "conv": (lambda: nn.Conv2d(16, 32, 3, padding=1), (4, 16, 12, 12)),
    "conv_first": (lambda: nn.Conv2d(1, 32, 3, padding=1), (8, 1, 14, 14)),
    "conv_stride": (lambda: nn.Conv2d(16, 24, 5, stride=2, padding=2, bias=False), (4, 16, 13, 13)),
    "conv_one": (lambda: nn.Conv2d(32, 48, 1), (4, 32, 9, 9)),
    "conv_groups": (lambda: nn.Conv2d(16, 32, 3, padding=1, groups=4), (4, 16, 12, 12)),
    "conv_depthwise": (lambda: nn.Conv2d(32, 32, 3, padding=1, groups=32), (4, 32, 12, 12)),
    "conv1d": (lambda: nn.Conv1d(16, 32, 5, dilation=2), (4, 16, 60)),
    "conv3d": (lambda: nn.Conv3d(4, 8, 3), (2, 4, 7, 7, 7)),
    "conv_transposed": (lambda: nn.ConvTranspose2d(16, 16, 2, stride=2), (4, 16, 9, 9)),
    "conv_sparse": (lambda: nn.Conv2d(16, 16, 1, stride=3), (4, 16, 12, 12)),
    "max_pool": (lambda: nn.MaxPool2d(2), (8, 16, 12, 12)),
    "max_pool_overlap": (lambda: nn.MaxPool2d(3, 2, padding=1), (8, 16, 13, 13)),
    "avg_pool": (lambda: nn.AvgPool2d(2), (8, 16, 12, 12)),
    "layer_norm": (lambda: nn.LayerNorm(80), (50, 80)),
    "group_norm": (lambda: nn.GroupNorm(4, 16), (4, 16, 12, 12)),
    "batch_norm": (lambda: nn.BatchNorm2d(16), (4, 16, 12, 12)),
    "softmax": (lambda: nn.Softmax(-1), (40, 100)),
    "linear": (lambda: nn.Linear(64, 96), (40, 64)),
    "linear_batch": (lambda: nn.Linear(64, 96), (4, 10, 64)),
    "embedding": (lambda: nn.Embedding(50, 40), None),
}
CALLED = {"conv_sparse", "conv_transposed", "group_norm"}  # parts of these stay NumPy's


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_that_have_kernels(layer):
    make_layer, shape = LAYERS[layer]

    def make():
        m = make_layer()
        x = torch.randint(0, 50, (6, 20)) if shape is None else torch.randn(shape, requires_grad=True)
        o = torch.optim.SGD([*m.parameters(), *([] if shape is None else [x])], 0.1)

        def step(i):
            o.zero_grad()
            loss = (m(x).sin() ** 2).mean()
            loss.backward()
            o.step()
            return loss

        return step, [*m.parameters(), *([] if shape is None else [x])]

    c = both(make, steps=4)
    if KERNELS and layer not in CALLED:
        calls = [str(s) for s in c.programs[0][1].executable.steps if type(s).__name__ == "Call"]
        assert not calls, calls


@pytest.mark.skipif(not KERNELS, reason="no compiler here")
def test_a_training_step_is_one_native_call():
    m = nn.Sequential(nn.Linear(20, 1))
    x, y = torch.randn(100, 20), torch.rand(100, 1).round()
    o = torch.optim.SGD(m.parameters(), 0.1)

    @torch.compile
    def step():
        o.zero_grad()
        loss = F.binary_cross_entropy_with_logits(m(x), y)
        loss.backward()
        o.step()
        return loss

    for _ in range(4):
        step()
    program = step.programs[0][1]
    assert [compiled for compiled, _ in program.executable.segments] == [True]
