"""rushlight.optim by itself: formulas, convergence, checkpoints, groups, hooks and schedules."""

import copy
import inspect
import math
import warnings

import numpy as np
import pytest

import rushlight
from rushlight import optim
from rushlight.optim import lr_scheduler, swa_utils

OPTIMIZERS = [n for n in optim.__all__ if inspect.isclass(getattr(optim, n)) and n != "Optimizer"]


def parameter(values, dtype="float64"):
    return rushlight.nn.Parameter(rushlight.tensor(np.asarray(values, dtype=dtype)))


def minimize(opt, loss, steps):
    def closure():
        opt.zero_grad()
        value = loss()
        value.backward()
        return value

    return [float(opt.step(closure)) for _ in range(steps)]


# ---- formulas: what two steps do, in NumPy


def sgd(p, g, s, t):
    s["b"] = g if t == 1 else 0.9 * s["b"] + 0.8 * g
    return p - 0.1 * s["b"]


def nesterov(p, g, s, t):
    g = g + 0.1 * p
    s["b"] = g if t == 1 else 0.9 * s["b"] + g
    return p - 0.1 * (g + 0.9 * s["b"])


def moments(g, s, t, b1=0.9, b2=0.999):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
    return s["m"] / (1 - b1**t), s["v"] / (1 - b2**t)


def adam(p, g, s, t):
    m, v = moments(g + 0.1 * p, s, t)
    return p - 0.1 * m / (np.sqrt(v) + 1e-8)


def amsgrad(p, g, s, t):
    m, v = moments(g, s, t)
    s["top"] = np.maximum(s.get("top", 0), v * (1 - 0.999**t))
    return p - 0.1 * m / (np.sqrt(s["top"] / (1 - 0.999**t)) + 1e-8)


def adamw(p, g, s, t):
    m, v = moments(g, s, t)
    return p * (1 - 0.1 * 0.2) - 0.1 * m / (np.sqrt(v) + 1e-8)


def adamax(p, g, s, t):
    s["m"] = 0.9 * s.get("m", 0) + 0.1 * g
    s["u"] = np.maximum(0.999 * s.get("u", 0), np.abs(g) + 1e-8)
    return p - 0.1 / (1 - 0.9**t) * s["m"] / s["u"]


def nadam(p, g, s, t):
    mu, after = (0.9 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
    s["product"] = s.get("product", 1) * mu
    _, v = moments(g, s, t)
    d = np.sqrt(v) + 1e-8
    p = p - 0.1 * (1 - mu) / (1 - s["product"]) * g / d
    return p - 0.1 * after / (1 - s["product"] * after) * s["m"] / d


def radam(p, g, s, t):
    b2 = 0.9
    m, v = moments(g, s, t, b2=b2)
    most = 2 / (1 - b2) - 1
    rho = most - 2 * t * b2**t / (1 - b2**t)
    if rho <= 5:
        return p - 0.1 * m
    r = math.sqrt((rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho))
    return p - 0.1 * m * r * math.sqrt(1 - b2**t) / (np.sqrt(v * (1 - b2**t)) + 1e-8)


def adagrad(p, g, s, t):
    s["sum"] = s.get("sum", 0.5) + g**2
    return p - 0.1 / (1 + (t - 1) * 0.2) * g / (np.sqrt(s["sum"]) + 1e-10)


def adadelta(p, g, s, t):
    s["v"] = 0.9 * s.get("v", 0) + 0.1 * g**2
    delta = np.sqrt(s.get("u", 0) + 1e-6) / np.sqrt(s["v"] + 1e-6) * g
    s["u"] = 0.9 * s.get("u", 0) + 0.1 * delta**2
    return p - 0.1 * delta


def rmsprop(p, g, s, t):
    s["v"] = 0.99 * s.get("v", 0) + 0.01 * g**2
    s["mean"] = 0.99 * s.get("mean", 0) + 0.01 * g
    s["b"] = 0.9 * s.get("b", 0) + g / (np.sqrt(s["v"] - s["mean"] ** 2) + 1e-8)
    return p - 0.1 * s["b"]


def rprop(p, g, s, t):
    sign = np.sign(g * s.get("g", 0))
    size = s.get("size", 0.1) * np.where(sign > 0, 1.2, np.where(sign < 0, 0.5, 1))
    s["size"] = np.clip(size, 1e-6, 50)
    s["g"] = np.where(sign < 0, 0, g)
    return p - np.sign(s["g"]) * s["size"]


def asgd(p, g, s, t):
    eta = 0.1 if t == 1 else np.float32(0.1 / (1 + 1e-4 * 0.1 * (t - 1)) ** 0.75)
    return p * (1 - 1e-4 * float(np.float32(eta))) - float(np.float32(eta)) * g


def adafactor(p, g, s, t):
    w = t**-0.8
    size = max(1e-3, np.sqrt((p**2).mean())) * min(0.1, 1 / math.sqrt(t))
    s["r"] = (1 - w) * s.get("r", 0) + w * (g**2).mean(-1, keepdims=True)
    s["c"] = (1 - w) * s.get("c", 0) + w * (g**2).mean(-2, keepdims=True)
    u = g / np.sqrt(s["r"] @ s["c"] / s["r"].mean())
    return p - size * u / max(1.0, np.sqrt((u**2).mean()))


FORMULAS = [
    ("SGD", sgd, {"momentum": 0.9, "dampening": 0.2}),
    ("SGD", nesterov, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", adam, {"weight_decay": 0.1}),
    ("Adam", amsgrad, {"amsgrad": True}),
    ("AdamW", adamw, {"weight_decay": 0.2}),
    ("Adamax", adamax, {}),
    ("NAdam", nadam, {}),
    ("RAdam", radam, {"betas": (0.9, 0.9)}),
    ("Adagrad", adagrad, {"lr_decay": 0.2, "initial_accumulator_value": 0.5}),
    ("Adadelta", adadelta, {}),
    ("RMSprop", rmsprop, {"momentum": 0.9, "centered": True}),
    ("Rprop", rprop, {}),
    ("ASGD", asgd, {}),
    ("Adafactor", adafactor, {}),
]


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize(("name", "formula", "options"), FORMULAS, ids=lambda x: str(x)[:20])
def test_formula(name, formula, options, maximize):
    rng = np.random.default_rng(0)
    p = rng.standard_normal((3, 4))
    ours, state = parameter(p), {}
    opt = getattr(optim, name)([ours], lr=0.1, maximize=maximize, **options)
    for t in range(1, 13):
        g = rng.standard_normal((3, 4))
        ours.grad = rushlight.tensor(g)
        opt.step()
        p = formula(p, -g if maximize else g, state, t)
        # Some scalars live in float32 tensors, as in PyTorch.
        np.testing.assert_allclose(ours.detach().numpy(), p, rtol=1e-6, atol=1e-8)


def test_muon_steps_are_nearly_orthogonal():
    rng = np.random.default_rng(0)
    for shape in ((4, 6), (6, 4)):
        p = parameter(np.zeros(shape), "float32")
        p.grad = rushlight.tensor(rng.standard_normal(shape).astype("float32"))
        optim.Muon([p], lr=1.0, weight_decay=0).step()
        scale = math.sqrt(max(1, shape[0] / shape[1]))
        values = np.linalg.svd(p.detach().numpy() / scale, compute_uv=False)
        assert values.min() > 0.5 and values.max() < 1.3


# ---- convergence

QUADRATIC = {
    "SGD": {"lr": 0.1, "momentum": 0.5},
    "Adam": {"lr": 0.1},
    "AdamW": {"lr": 0.1, "weight_decay": 0.0},
    "Adamax": {"lr": 0.2},
    "NAdam": {"lr": 0.1},
    "RAdam": {"lr": 0.2},
    "Adagrad": {"lr": 1.0},
    "Adadelta": {"lr": 30.0},
    "RMSprop": {"lr": 0.01},
    "Rprop": {"lr": 0.1},
    "ASGD": {"lr": 0.1},
    "Adafactor": {"lr": 0.05},
    "LBFGS": {"lr": 1.0},
}


@pytest.mark.parametrize("name", QUADRATIC)
def test_converges_on_a_quadratic(name):
    p = parameter([3.0, -2.0])
    curvature, center = rushlight.tensor([1.0, 3.0]), rushlight.tensor([1.0, 0.5])
    opt = getattr(optim, name)([p], **QUADRATIC[name])
    losses = minimize(opt, lambda: (curvature * (p - center) ** 2).sum(), 300)
    assert losses[-1] < 1e-2 * losses[0]


@pytest.mark.parametrize(
    ("name", "options", "steps"),
    [
        ("LBFGS", {"line_search_fn": "strong_wolfe"}, 4),
        ("LBFGS", {"lr": 0.5, "max_iter": 60, "max_eval": 200}, 12),
        ("Adam", {"lr": 0.05}, 1500),
        ("Rprop", {"lr": 0.01}, 1500),
    ],
)
def test_converges_on_rosenbrock(name, options, steps):
    p = parameter([-1.2, 1.0])
    opt = getattr(optim, name)([p], **options)
    minimize(opt, lambda: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2, steps)
    np.testing.assert_allclose(p.detach().numpy(), [1, 1], atol=0.1)


def test_lbfgs_takes_one_group_and_a_known_line_search():
    p, q = parameter([1.0]), parameter([1.0])
    with pytest.raises(ValueError, match="doesn't support per-parameter options"):
        optim.LBFGS([{"params": [p]}, {"params": [q]}])
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        minimize(optim.LBFGS([p], line_search_fn="x"), lambda: (p**2).sum(), 1)


# ---- state and checkpoints


def trained(name, steps, seed=0):
    p = parameter(np.random.default_rng(seed).standard_normal((3, 4)), "float32")
    opt = getattr(optim, name)([p], lr=0.01)
    advance(opt, p, steps)
    return opt, p


def advance(opt, p, steps, seed=1):
    rng = np.random.default_rng(seed)

    def closure():
        p.grad = rushlight.tensor(rng.standard_normal(p.shape).astype("float32"))
        return (p.detach() ** 2).sum()

    for _ in range(steps):
        if not isinstance(opt, optim.LBFGS):
            closure()
        opt.step(*((closure,) if isinstance(opt, optim.LBFGS) else ()))


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "SparseAdam"])
def test_state_dict_round_trip(name):
    opt, p = trained(name, 5)
    twin, q = trained(name, 0)
    with rushlight.no_grad():
        q.copy_(p)
    twin.load_state_dict(copy.deepcopy(opt.state_dict()))
    advance(opt, p, 5, seed=2)
    advance(twin, q, 5, seed=2)
    assert np.array_equal(p.detach().numpy(), q.detach().numpy())
    assert str(opt.state_dict()) == str(twin.state_dict())


def test_state_takes_the_parameters_dtype():
    opt, _ = trained("Adam", 2)
    p = parameter(np.ones((3, 4)), "float64")
    twin = optim.Adam([p])
    twin.load_state_dict(opt.state_dict())
    state = twin.state[p]
    assert state["exp_avg"].dtype == rushlight.float64
    assert state["step"].dtype == rushlight.float32 and state["step"].item() == 2


def test_deepcopy_is_independent():
    opt, p = trained("Adam", 2)
    lr_scheduler.ExponentialLR(opt, 0.9)  # wraps the instance's step, which is not to be copied
    twin = copy.deepcopy(opt)
    (q,) = twin.param_groups[0]["params"]
    before = p.detach().numpy().copy()
    advance(twin, q, 1)
    assert np.array_equal(p.detach().numpy(), before)
    assert not np.array_equal(q.detach().numpy(), before)
    assert twin.state[q]["step"].item() == 3


def test_parameters_without_gradient_are_left_alone():
    p, q = parameter([1.0]), parameter([1.0])
    opt = optim.Adam([p, q], weight_decay=0.5)
    p.grad = rushlight.ones(1, dtype=rushlight.float64)
    opt.step()
    assert q.item() == 1 and q not in opt.state and p in opt.state


def test_zero_grad():
    p = parameter([1.0])
    opt = optim.SGD([p], lr=0.1)
    (p * p).sum().backward()
    kept = p.grad
    opt.zero_grad(set_to_none=False)
    assert p.grad is kept and kept.item() == 0 and not kept.requires_grad
    opt.zero_grad()
    assert p.grad is None


def test_groups_have_their_own_options():
    p, q, r = (parameter([1.0]) for _ in range(3))
    opt = optim.SGD([{"params": [p]}, {"params": q, "lr": 0.5}], lr=0.1)
    opt.add_param_group({"params": [r], "weight_decay": 1.0})
    for x in (p, q, r):
        x.grad = rushlight.ones(1, dtype=rushlight.float64)
    opt.step()
    np.testing.assert_allclose([p.item(), q.item(), r.item()], [0.9, 0.5, 0.8])


def test_a_changed_rate_acts_at_once():
    for lr in (0.1, rushlight.tensor(0.1)):
        p = parameter([1.0])
        opt = optim.SGD([p], lr=lr)
        for rate in (0.1, 0.2):
            if isinstance(lr, rushlight.Tensor):
                lr.fill_(rate)
            else:
                opt.param_groups[0]["lr"] = rate
            p.grad = rushlight.ones(1, dtype=rushlight.float64)
            opt.step()
        assert p.item() == pytest.approx(0.7)


def test_step_runs_the_closure_with_gradients():
    p = parameter([2.0])
    opt = optim.SGD([p], lr=0.1)
    with rushlight.no_grad():
        out = opt.step(lambda: rushlight.is_grad_enabled())
    assert out is True
    assert opt.step() is None


@pytest.mark.parametrize("name", [n for n in OPTIMIZERS if n != "SparseAdam"])
def test_step_bumps_the_version_and_keeps_the_storage(name):
    opt, p = trained(name, 1)
    pointer, version = p.data_ptr(), p._version
    advance(opt, p, 1)
    assert p.data_ptr() == pointer
    assert p._version > version


# ---- a user's own optimizer


class Sign(optim.Optimizer):
    """A subclass with a step of its own, written as for PyTorch."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @rushlight.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["seen"] = self.state[p].get("seen", 0) + 1
                p.add_(p.grad.sign(), alpha=-group["lr"])


class LoggedSGD(optim.SGD):
    def step(self, closure=None):
        return super().step(closure)


@pytest.mark.parametrize("cls", [Sign, LoggedSGD, optim.SGD])
def test_hooks_run_once_around_step(cls):
    p = parameter([1.0])
    p.grad = rushlight.ones(1, dtype=rushlight.float64)
    opt, log = cls([p], lr=0.1), []
    opt.register_step_pre_hook(lambda o, a, k: log.append(("pre", o is opt, p.item())))
    handle = opt.register_step_post_hook(lambda o, a, k: log.append(("post", o is opt)))
    opt.step()
    assert log == [("pre", True, 1.0), ("post", True)]
    assert p.item() == pytest.approx(0.9)
    handle.remove()
    opt.step()
    assert len(log) == 3


def test_own_optimizer_saves_its_state():
    p = parameter([1.0])
    p.grad = rushlight.ones(1, dtype=rushlight.float64)
    opt = Sign([p])
    opt.step()
    opt.load_state_dict(opt.state_dict())
    opt.step()
    assert opt.state[p] == {"seen": 2}


def test_base_class_has_no_step():
    with pytest.raises(NotImplementedError):
        optim.Optimizer([parameter([1.0])], {}).step()


def test_required_option():
    class Needs(optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": optim.optimizer.required})

    with pytest.raises(ValueError, match="required optimization parameter lr"):
        Needs([parameter([1.0])])


# ---- errors that teach


def test_errors():
    p = parameter([1.0])
    p.grad = rushlight.ones(1, dtype=rushlight.float64)
    with pytest.raises(ValueError, match=r"Invalid learning rate: -1; expected a number >= 0"):
        optim.SGD([p], lr=-1)
    with pytest.raises(ValueError, match="empty parameter list"):
        optim.SGD([])
    with pytest.raises(ValueError, match="can't optimize a non-leaf Tensor"):
        optim.SGD([p * 2])
    with pytest.raises(AssertionError, match="capturable=False"):
        optim.Adam([p], capturable=True).step()
    with pytest.raises(RuntimeError, match="please consider Adam instead"):
        optim.SparseAdam([p]).step()
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        optim.Muon([p])
    rate = rushlight.tensor(0.1, requires_grad=True)
    with pytest.raises(TypeError, match="no gradient can reach lr"):
        optim.RMSprop([p * 1], lr=rate, differentiable=True)._rule({"lr": rate})


# ---- gradients through steps

RECORDED = [
    ("SGD", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"weight_decay": 0.1}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {"betas": (0.9, 0.9)}),
    ("Adagrad", {}),
    ("Adadelta", {"eps": 1e-2}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
]


@pytest.mark.parametrize(("name", "options"), RECORDED, ids=lambda x: str(x)[:30])
def test_gradients_flow_through_several_steps(name, options):
    """d loss(p after 4 steps) / d x by the tape and by central differences."""
    lr_too = name in ("SGD", "Adam", "AdamW", "NAdam", "RAdam")

    def final(start, rate):
        x = rushlight.tensor(start, requires_grad=True)
        lr = rushlight.tensor(np.asarray(rate), requires_grad=lr_too)
        p = x.clone()
        opt = getattr(optim, name)([p], lr=lr if lr_too else rate, differentiable=True, **options)
        for k in range(7 if name == "RAdam" else 4):
            p.grad = x**2 + 0.3 * k * p
            opt.step()
        return (p**3).sum(), x, lr

    start, rate, h = np.array([1.0, -2.0, 0.5]), 0.05, 1e-5
    loss, x, lr = final(start, rate)
    loss.backward()
    for i in range(3):
        move = h * np.eye(3)[i]
        slope = (final(start + move, rate)[0].item() - final(start - move, rate)[0].item()) / (
            2 * h
        )
        assert x.grad[i].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)
    if lr_too:
        slope = (final(start, rate + h)[0].item() - final(start, rate - h)[0].item()) / (2 * h)
        assert lr.grad.item() == pytest.approx(slope, rel=1e-3)


# ---- schedulers, averages, swaps


def sgd_with(lr=0.1):
    return optim.SGD([parameter([1.0])], lr=lr)


def rates(opt, scheduler, steps):
    out = [opt.param_groups[0]["lr"]]
    for _ in range(steps):
        opt.step()
        scheduler.step()
        out.append(opt.param_groups[0]["lr"])
    return out


CLOSED = [
    (lambda o: lr_scheduler.StepLR(o, 3, 0.5), lambda t: 0.1 * 0.5 ** (t // 3)),
    (lambda o: lr_scheduler.ExponentialLR(o, 0.9), lambda t: 0.1 * 0.9**t),
    (lambda o: lr_scheduler.LambdaLR(o, lambda t: 1 / (1 + t)), lambda t: 0.1 / (1 + t)),
    (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 8, 0.01),
        lambda t: 0.01 + 0.09 * (1 + math.cos(math.pi * t / 8)) / 2,
    ),
    (lambda o: lr_scheduler.PolynomialLR(o, 10, 2.0), lambda t: 0.1 * (1 - min(t, 10) / 10) ** 2),
    (
        lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, 4),
        lambda t: 0.1 * (0.25 + 0.75 * min(t, 4) / 4),
    ),
]


@pytest.mark.parametrize("case", range(len(CLOSED)))
def test_chainable_form_is_the_closed_form(case):
    make, formula = CLOSED[case]
    opt = sgd_with()
    np.testing.assert_allclose(
        rates(opt, make(opt), 20), [formula(t) for t in range(21)], atol=1e-15
    )


def test_sequence_warms_up_then_decays():
    opt = sgd_with()
    parts = [lr_scheduler.LinearLR(opt, 0.1, total_iters=3), lr_scheduler.ExponentialLR(opt, 0.5)]
    scheduler = lr_scheduler.SequentialLR(opt, parts, [3])
    np.testing.assert_allclose(rates(opt, scheduler, 5), [0.01, 0.04, 0.07, 0.1, 0.05, 0.025])


def test_plateau():
    opt = sgd_with(1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(opt, patience=1, factor=0.5)
    for loss in (3.0, 2.0, 2.0, 2.0, 2.0, 2.0):
        scheduler.step(rushlight.tensor(loss))
    assert scheduler.get_last_lr() == [0.25]


def test_order_of_calls_is_watched():
    opt = sgd_with()
    scheduler = lr_scheduler.StepLR(opt, 1)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        scheduler.step()
    opt = sgd_with()
    scheduler = lr_scheduler.StepLR(opt, 1)
    opt.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        scheduler.get_lr()


def test_average_of_models():
    class Weight(rushlight.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = parameter([0.0])

    model = Weight()
    mean = swa_utils.AveragedModel(model)
    ema = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5))
    for value in (1.0, 2.0, 6.0):
        with rushlight.no_grad():
            model.w.fill_(value)
        mean.update_parameters(model)
        ema.update_parameters(model)
    assert mean.module.w.item() == pytest.approx(3.0)
    assert ema.module.w.item() == pytest.approx(3.75)
    assert mean.n_averaged.item() == 3


def test_swap_in_and_back():
    opt, p = trained("Adam", 2)
    q = parameter(np.zeros((3, 4)), "float32")
    q.grad = rushlight.ones(3, 4)
    lent = copy.deepcopy(opt.state_dict())
    before = p.detach().numpy().copy()
    with optim.swap_in_optimizer_params_and_state(opt, {"q": q}, lent):
        opt.step()
        assert opt.param_groups[0]["params"] == [q]
    assert opt.param_groups[0]["params"][0] is p
    assert np.array_equal(p.detach().numpy(), before)
    assert (q.detach().numpy() != 0).all()
    assert lent["state"][0]["step"].item() == 3 and opt.state[p]["step"].item() == 2
    with pytest.raises(ValueError, match="swapin_parameters has 0 tensors"):
        with optim.swap_in_optimizer_params_and_state(opt, {}, lent):
            pass
