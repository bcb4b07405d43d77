"""Optimizers, schedulers, weight averages and GradScaler against PyTorch, option by option.

Gradients are drawn by NumPy and given to both sides, so that only the update rule is compared. The
rules use PyTorch's operations in PyTorch's order, so the digits are equal where the operations'
are: `EXACT` finds out whether the engine rounds them alike (PyTorch fuses multiply and add), and
then the comparison is bit for bit; otherwise it is to rounding. Rates are always compared exactly.
"""

import copy
import io
import itertools
import pickle
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import torch.optim.optimizer as torch_optimizer  # noqa: E402

import rushlight  # noqa: E402
from rushlight import optim  # noqa: E402
from rushlight.optim import optimizer as our_optimizer  # noqa: E402

SHAPES = ((3, 4), (5,), (), (2, 3, 2))
STEPS = 50


def _digits_agree():
    """Whether the operations that the rules are made of round as PyTorch's do."""
    rng = np.random.default_rng(7)
    x, y, z = (rng.standard_normal(1001).astype("float32") for _ in range(3))

    def run(lib):
        a, b, c = lib.tensor(x), lib.tensor(y), lib.tensor(z)
        return [
            a.clone().add_(b, alpha=-0.1),
            a.clone().addcmul_(b, c, value=0.3),
            a.clone().addcdiv_(b, c, value=-0.3),
            a.clone().lerp_(b, 0.1),
            a.clone().lerp_(b, 0.9),
            c.abs().sqrt(),
        ]

    return all(
        np.array_equal(ours.numpy(), theirs.numpy())
        for ours, theirs in zip(run(rushlight), run(torch), strict=True)
    )


EXACT = _digits_agree()


def grid(**options):
    """Every combination of the options' values."""
    return [
        dict(zip(options, values, strict=True)) for values in itertools.product(*options.values())
    ]


ADAM = grid(lr=[1e-2], weight_decay=[0, 0.1], amsgrad=[False, True], maximize=[False, True]) + [
    {"betas": (0.5, 0.7), "eps": 1e-4},
    {"foreach": False},
    {"lr": "tensor", "weight_decay": 0.1},
    {"lr": "tensor1d"},
]
DECOUPLED = grid(
    lr=[1e-2], weight_decay=[0, 0.1], decoupled_weight_decay=[False, True], maximize=[False, True]
) + [
    {"lr": "tensor", "weight_decay": 0.1, "decoupled_weight_decay": True},
]
GRID = {
    "SGD": grid(
        lr=[0.1],
        momentum=[0, 0.9],
        dampening=[0, 0.3],
        weight_decay=[0, 0.1],
        maximize=[False, True],
    )
    + grid(momentum=[0.8], nesterov=[True], weight_decay=[0, 0.01])
    + [{"lr": "tensor", "momentum": 0.9}, {"lr": "tensor1d"}, {"weight_decay": "tensor"}],
    "Adam": ADAM + [{"decoupled_weight_decay": True, "weight_decay": 0.2}],
    "AdamW": ADAM,
    "Adamax": grid(lr=[2e-3, "tensor"], weight_decay=[0, 0.1], maximize=[False, True])
    + [{"eps": 1e-3}],
    "NAdam": DECOUPLED + [{"momentum_decay": 0.1, "betas": (0.8, 0.9)}],
    "RAdam": DECOUPLED + [{"betas": (0.9, 0.9)}],
    "Adagrad": grid(lr=[0.1], lr_decay=[0, 0.1], weight_decay=[0, 0.1], maximize=[False, True])
    + [{"initial_accumulator_value": 0.5}, {"lr": "tensor", "lr_decay": 0.1}],
    "Adadelta": grid(lr=[1.0, "tensor"], weight_decay=[0, 0.1], maximize=[False, True])
    + [{"rho": 0.5, "eps": 1e-3}],
    "RMSprop": grid(
        momentum=[0, 0.9], centered=[False, True], weight_decay=[0, 0.1], maximize=[False, True]
    )
    + [{"lr": "tensor", "momentum": 0.5}, {"alpha": 0.5}],
    "Rprop": grid(lr=[0.1, "tensor"], maximize=[False, True])
    + [{"etas": (0.3, 1.5), "step_sizes": (0.05, 0.2)}],
    "ASGD": grid(lr=[0.1, "tensor"], weight_decay=[0, 0.1], maximize=[False, True])
    + [{"t0": 3, "lambd": 0.1, "alpha": 0.5}],
    "Adafactor": grid(lr=[0.1, "tensor"], weight_decay=[0, 0.1], maximize=[False, True])
    + [{"d": 2.0, "eps": (1e-3, 1e-2), "beta2_decay": -0.5}],
}
CASES = [(name, options) for name, rows in GRID.items() for options in rows]
IDS = [f"{name}-{'-'.join(f'{k}={v}' for k, v in options.items())}" for name, options in CASES]


def options_for(lib, options):
    """The options with tensors of `lib` where they ask for one."""
    made = {"tensor": 0.05, "tensor1d": [0.05]}
    return {
        k: lib.tensor(made[v]) if v in ("tensor", "tensor1d") else v for k, v in options.items()
    }


def draw(shapes=SHAPES, dtype="float32", steps=STEPS, seed=0):
    rng = np.random.default_rng(seed)
    values = [np.asarray(rng.standard_normal(s)).astype(dtype) for s in shapes]
    grads = [
        [np.asarray(rng.standard_normal(s)).astype(dtype) for s in shapes] for _ in range(steps)
    ]
    return values, grads


def to_numpy(x):
    return x.detach().numpy() if hasattr(x, "detach") else x


def train(lib, name, options, values, grads, optimizer=None, params=None):
    params = params or [lib.nn.Parameter(lib.tensor(v)) for v in values]
    optimizer = optimizer or getattr(lib.optim, name)(params, **options_for(lib, options))
    for row in grads:
        for p, g in zip(params, row, strict=True):
            p.grad = lib.tensor(g)
        optimizer.step()
    return params, optimizer


def assert_digits(ours, theirs):
    if EXACT or np.asarray(theirs).dtype.kind not in "fc":
        np.testing.assert_array_equal(ours, theirs)
    else:
        tiny = 1e-13 if np.asarray(theirs).dtype in ("float64", "complex128") else 1e-6
        np.testing.assert_allclose(ours, theirs, rtol=20 * tiny, atol=4 * tiny)


def assert_same(ours, theirs):
    """The same structure and the same digits."""
    if hasattr(theirs, "detach"):
        assert hasattr(ours, "detach"), f"{ours!r} is not a tensor, as {theirs!r} is"
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
        assert_digits(to_numpy(ours), to_numpy(theirs))
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for x, y in zip(ours, theirs, strict=True):
            assert_same(x, y)
    else:
        assert ours == theirs


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_fifty_steps(name, options):
    values, grads = draw()
    ours, our_opt = train(rushlight, name, options, values, grads)
    theirs, their_opt = train(torch, name, options, values, grads)
    assert_same(ours, theirs)
    assert_same(our_opt.state_dict(), their_opt.state_dict())
    assert repr(our_opt) == repr(their_opt)


@pytest.mark.parametrize("name", GRID)
def test_float64(name):
    values, grads = draw(dtype="float64", steps=20)
    ours, _ = train(rushlight, name, {}, values, grads)
    theirs, _ = train(torch, name, {}, values, grads)
    assert_same(ours, theirs)


@pytest.mark.parametrize("name", [n for n in GRID if n != "Adafactor"])
def test_complex(name):
    rng = np.random.default_rng(1)

    def one():
        return (rng.standard_normal(4) + 1j * rng.standard_normal(4)).astype("complex64")

    values, grads = [one()], [[one()] for _ in range(10)]
    ours, our_opt = train(rushlight, name, {}, values, grads)
    theirs, their_opt = train(torch, name, {}, values, grads)
    assert_same(ours, theirs)
    assert_same(our_opt.state_dict(), their_opt.state_dict())


@pytest.mark.parametrize(
    "options", grid(nesterov=[True, False], adjust_lr_fn=[None, "match_rms_adamw"])
)
def test_muon(options):
    values, grads = draw(shapes=((4, 6), (6, 3), (5, 5)), steps=5)
    ours, _ = train(rushlight, "Muon", options, values, grads)
    theirs, _ = train(torch, "Muon", options, values, grads)
    # The iteration runs in bfloat16, whose products may be summed in another order.
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(to_numpy(x), to_numpy(y), atol=5e-5)


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "RMSprop", "ASGD", "Adafactor"])
def test_checkpoint_crosses_over(name):
    """A checkpoint of either side goes on in the other with the same digits."""
    options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    values, grads = draw()
    theirs, their_opt = train(torch, name, options, values, grads[:20])
    ours, our_opt = train(rushlight, name, options, values, [])
    for p, q in zip(ours, theirs, strict=True):
        p.data = rushlight.tensor(to_numpy(q).copy())

    def convert(x):
        if hasattr(x, "detach"):
            return rushlight.tensor(to_numpy(x).copy())
        if isinstance(x, dict):
            return {k: convert(v) for k, v in x.items()}
        return [convert(v) for v in x] if isinstance(x, list) else x

    our_opt.load_state_dict(convert(their_opt.state_dict()))
    train(rushlight, name, options, values, grads[20:], our_opt, ours)
    train(torch, name, options, values, grads[20:], their_opt, theirs)
    assert_same(ours, theirs)
    assert_same(our_opt.state_dict(), their_opt.state_dict())


def rosenbrock(x):
    return (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2


def wavy(x):
    return (x**4).sum() / 10 - (x**2).sum() + (3 * x).sin().sum()


@pytest.mark.parametrize("f", [rosenbrock, wavy])
@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 1, "max_iter": 5},
        {"lr": 1, "line_search_fn": "strong_wolfe"},
        {
            "lr": 0.5,
            "line_search_fn": "strong_wolfe",
            "history_size": 3,
            "max_iter": 7,
            "max_eval": 12,
        },
        {"lr": 20.0, "line_search_fn": "strong_wolfe"},
    ],
    ids=str,
)
def test_lbfgs(f, options):
    def run(lib, dtype):
        p = lib.nn.Parameter(lib.tensor([-1.2, 1.0], dtype=getattr(lib, dtype)))
        opt = lib.optim.LBFGS([p], **options)
        losses = []

        def closure():
            opt.zero_grad()
            loss = f(p)
            loss.backward()
            return loss

        for _ in range(3):
            losses.append(opt.step(closure).item())
        state = opt.state_dict()["state"][0]
        return losses, to_numpy(p), state["func_evals"], state["n_iter"], sorted(state)

    for dtype in ("float32", "float64") if EXACT else ("float64",):
        ours, theirs = run(rushlight, dtype), run(torch, dtype)
        assert ours[2:] == theirs[2:]
        for x, y in zip(ours[:2], theirs[:2], strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-7 if dtype == "float64" else 0, atol=1e-12)


DIFFERENTIABLE = {
    "SGD": [{"momentum": 0.9, "nesterov": True}, {"lr": "grad"}],
    "Adam": [{"amsgrad": True, "weight_decay": 0.1}, {"lr": "grad"}],
    "AdamW": [{}, {"lr": "grad"}],
    "Adamax": [{}],
    "NAdam": [{}, {"lr": "grad"}],
    "RAdam": [{"betas": (0.9, 0.9)}, {"lr": "grad"}],
    "Adagrad": [{}],
    "Adadelta": [{}],
    "RMSprop": [{"momentum": 0.9}, {"centered": True}],
    "Rprop": [{}],
    "ASGD": [{}],
}


@pytest.mark.parametrize(
    ("name", "options"), [(n, o) for n, rows in DIFFERENTIABLE.items() for o in rows], ids=str
)
def test_differentiable(name, options):
    """Gradients flow through the steps to the initial parameters and to lr."""

    def run(lib):
        lr = lib.tensor(0.1, requires_grad=True)
        x = lib.tensor([1.0, -2.0, 0.5], requires_grad=True)
        p = x.clone()
        kept = {**options, "lr": lr} if options.get("lr") == "grad" else options
        opt = getattr(lib.optim, name)([p], differentiable=True, **kept)
        for k in range(7 if name in ("RAdam", "Adagrad") else 1):
            p.grad = x**3 + k
            opt.step()
        (p**2).sum().backward()
        return to_numpy(p), to_numpy(x.grad), None if lr.grad is None else to_numpy(lr.grad)

    ours, theirs = run(rushlight), run(torch)
    for a, b in zip(ours, theirs, strict=True):
        if b is None:
            assert a is None
        else:
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def outcome(f):
    """What a call gives: its exception's type, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            f()
    except Exception as error:
        return type(error), str(error)
    return None


BAD = {
    "lr": [-1, "two"],
    "momentum": [-0.1],
    "weight_decay": [-1],
    "eps": [-1, (-1, 0.1), (None, -0.1)],
    "betas": [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9)],
    "dampening": [-1],
    "alpha": [-1],
    "rho": [-1, 2],
    "lr_decay": [-1],
    "initial_accumulator_value": [-1],
    "etas": [(1.5, 1.2), (0.5, 0.9)],
    "step_sizes": [(1, 0)],
    "momentum_decay": [-1],
    "d": [0.5],
    "beta2_decay": [1],
    "adjust_lr_fn": ["x"],
    "nesterov": [True],
    "capturable": [True],
}


@pytest.mark.parametrize("name", [*GRID, "SparseAdam", "LBFGS", "Muon"])
def test_invalid_arguments(name):
    for key, values in BAD.items():
        for value in values:

            def make(lib, key=key, value=value):
                kept = lib.tensor([0.1, 0.2]) if value == "two" else value
                p = lib.nn.Parameter(lib.ones(2, 2))
                p.grad = lib.ones(2, 2)
                opt = getattr(lib.optim, name)([p], **{key: kept})
                if key == "capturable":
                    opt.step()

            ours, theirs = (
                outcome(lambda make=make: make(rushlight)),
                outcome(lambda make=make: make(torch)),
            )
            assert (ours and ours[0]) == (theirs and theirs[0]), (name, key, value, ours, theirs)
            if theirs and theirs[0] is ValueError:
                assert ours[1].startswith(theirs[1]), (ours[1], theirs[1])


def test_tensor_hyperparameters_of_adam():
    values, grads = draw(steps=10)

    def run(lib):
        betas = (lib.tensor(0.9), lib.tensor(0.99))
        return train(lib, "Adam", {"betas": betas, "lr": lib.tensor(0.1)}, values, grads)[0]

    assert_same(run(rushlight), run(torch))
    for kept in ({"lr": 0.1}, {"betas": (0.9, 0.9)}):
        for lib in (rushlight, torch):
            made = {
                k: lib.tensor(v) if k == "lr" else tuple(map(lib.tensor, v))
                for k, v in kept.items()
            }
            with pytest.raises(
                ValueError,
                match="as a Tensor is not supported for capturable=False and foreach=True",
            ):
                lib.optim.Adam([lib.ones(2)], foreach=True, **made)


def group_cases(lib):
    p, q = lib.nn.Parameter(lib.ones(2)), lib.nn.Parameter(lib.ones(2))
    return {
        "empty": lambda o: o([]),
        "tensor": lambda o: o(p),
        "dict": lambda o: o({"params": [p]}),
        "set": lambda o: o([{"params": {p, q}}]),
        "number": lambda o: o([3]),
        "none": lambda o: o(None),
        "product": lambda o: o([p * 2]),
        "duplicate": lambda o: o([p, p]),
        "two groups": lambda o: o([{"params": [p]}, {"params": [p]}]),
        "no params": lambda o: o([{"lr": 1}]),
        "one tensor": lambda o: o([{"params": p}]),
        "names": lambda o: o([("a", p), ("b", q)]),
        "some names": lambda o: o([("a", p), q]),
        "names first": lambda o: o([{"params": [("a", p)]}, {"params": [q]}]),
        "names second": lambda o: o([{"params": [p]}, {"params": [("a", q)]}]),
        "group names": lambda o: o([{"params": [("a", p)], "lr": 0.5}, {"params": [("a", q)]}]),
        "not a dict": lambda o: o([p]).add_param_group([q]),
        "load fewer": lambda o: o([p]).load_state_dict(o([p, q]).state_dict()),
        "load groups": lambda o: o([p]).load_state_dict(
            o([{"params": [p]}, {"params": [q]}]).state_dict()
        ),
        "load nothing": lambda o: o([p]).load_state_dict({}),
        "load names": lambda o: o([("a", p)]).load_state_dict(o([("b", q)]).state_dict()),
    }


@pytest.mark.parametrize("case", list(group_cases(torch)))
def test_groups(case):
    results = []
    for lib in (rushlight, torch):
        kept = []

        def make(params, kept=kept, lib=lib):
            kept.append(lib.optim.SGD(params, lr=0.1))
            return kept[-1]

        results.append((outcome(lambda lib=lib, make=make: group_cases(lib)[case](make)), kept))
    (ours, our_opts), (theirs, their_opts) = results
    assert (ours and ours[0]) == (theirs and theirs[0])
    if theirs and theirs[0] in (ValueError, TypeError):
        assert ours[1].startswith(theirs[1].replace("torch.FloatTensor", ours[1].split()[-1])[:60])
    for a, b in zip(our_opts, their_opts, strict=True):
        assert repr(a) == repr(b)
        assert_same(a.state_dict(), b.state_dict())


def test_old_checkpoint():
    """A checkpoint from before an option existed, with numbers where tensors are kept now."""
    for name in GRID:

        def load(lib, name=name):
            opt = getattr(lib.optim, name)([lib.nn.Parameter(lib.ones(2))], lr=0.1)
            old = opt.state_dict()
            old["param_groups"] = [{"params": [0], "lr": 0.2}]
            old["state"] = {0: {"step": 3, "eta": 0.5, "mu": 1, "mu_product": 0.25}}
            opt.load_state_dict(old)
            return opt.state_dict()

        ours, theirs = load(rushlight), load(torch)
        assert_same(ours["state"], theirs["state"])
        assert {k for g in theirs["param_groups"] for k in g} <= {
            k for g in ours["param_groups"] for k in g
        }
        for key, value in theirs["param_groups"][0].items():
            assert ours["param_groups"][0][key] == value or key == "fused"


def test_hooks_run_in_torch_order():
    def run(lib, module):
        log = []
        p = lib.nn.Parameter(lib.ones(2))
        p.grad = lib.ones(2)
        opt = lib.optim.SGD([p], lr=0.1)
        handles = [
            module.register_optimizer_step_pre_hook(
                lambda o, a, k: log.append(("all pre", len(a), k))
            ),
            module.register_optimizer_step_post_hook(
                lambda o, a, k: log.append(("all post", len(a), k))
            ),
        ]
        opt.register_step_pre_hook(lambda o, a, k: log.append(("pre", len(a), k)))
        opt.register_step_post_hook(lambda o, a, k: log.append(("post", len(a), k)))
        opt.register_state_dict_pre_hook(lambda o: log.append("save pre"))
        opt.register_state_dict_pre_hook(lambda o: log.append("save pre first"), prepend=True)
        opt.register_state_dict_post_hook(lambda o, sd: log.append("save post"))
        opt.register_load_state_dict_pre_hook(lambda o, sd: log.append("load pre"))
        opt.register_load_state_dict_post_hook(lambda o: log.append("load post"))
        opt.step()
        opt.step(None)
        opt.step(closure=None)
        opt.load_state_dict(opt.state_dict())
        for handle in handles:
            handle.remove()
        opt.step()
        return log

    assert run(rushlight, our_optimizer) == run(torch, torch_optimizer)


def test_pickle_and_deepcopy():
    def run(lib):
        p = lib.nn.Parameter(lib.ones(2))
        p.grad = lib.ones(2)
        opt = lib.optim.Adam([p])
        opt.step()
        twins = [copy.deepcopy(opt), pickle.load(io.BytesIO(pickle.dumps(opt)))]
        for twin in twins:
            (q,) = twin.param_groups[0]["params"]
            assert q is not p
            q.grad = lib.ones(2)
            twin.step()
        return [twin.state_dict() for twin in twins], repr(twins[0])

    ours, theirs = run(rushlight), run(torch)
    assert_same(ours[0], theirs[0])
    assert ours[1] == theirs[1]


def test_signatures():
    """Names, order and defaults of every constructor's arguments."""
    import inspect

    for name in torch.optim.__all__:
        theirs = getattr(torch.optim, name)
        ours = getattr(optim, name)
        if inspect.isclass(theirs):
            a, b = (inspect.signature(c.__init__).parameters for c in (ours, theirs))
            assert [(p.name, p.kind, p.default) for p in a.values()] == [
                (p.name, p.kind, p.default) for p in b.values()
            ], name
    assert sorted(optim.__all__) == sorted(torch.optim.__all__)


# ---- schedulers


class Factor:
    """A callable object, whose attributes belong to a scheduler's state."""

    def __init__(self):
        self.base = 0.97

    def __call__(self, x):
        return self.base**x


SCHEDULES = {
    "LambdaLR": [
        {"lr_lambda": lambda t: 0.95**t},
        {"lr_lambda": Factor()},
        {"lr_lambda": [lambda t: 0.9**t, lambda t: 1 / (1 + t)]},
    ],
    "MultiplicativeLR": [{"lr_lambda": lambda t: 0.95}],
    "StepLR": [{"step_size": 3}, {"step_size": 7, "gamma": 0.7}],
    "MultiStepLR": [{"milestones": [3, 5, 5, 20]}, {"milestones": [0, 2], "gamma": 0.3}],
    "ConstantLR": [{}, {"factor": 0.3, "total_iters": 4}, {"total_iters": 0}],
    "LinearLR": [{}, {"start_factor": 0.1, "end_factor": 0.7, "total_iters": 13}],
    "ExponentialLR": [{"gamma": 0.93}],
    "PolynomialLR": [{}, {"total_iters": 17, "power": 2.0}, {"total_iters": 9, "power": 0.5}],
    "CosineAnnealingLR": [{"T_max": 10}, {"T_max": 7, "eta_min": 0.01}, {"T_max": 200}],
    "CosineAnnealingWarmRestarts": [{"T_0": 7}, {"T_0": 5, "T_mult": 2, "eta_min": 0.01}],
    "CyclicLR": [
        {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 4},
        {
            "base_lr": 0.01,
            "max_lr": 0.3,
            "step_size_up": 4,
            "step_size_down": 9,
            "mode": "triangular2",
        },
        {
            "base_lr": [0.01, 0.02],
            "max_lr": [0.3, 0.5],
            "step_size_up": 5,
            "mode": "exp_range",
            "gamma": 0.97,
        },
        {
            "base_lr": 0.01,
            "max_lr": 0.3,
            "scale_fn": Factor(),
            "scale_mode": "iterations",
            "step_size_up": 3,
        },
        {"base_lr": 0.01, "max_lr": 0.3, "cycle_momentum": False},
    ],
    "OneCycleLR": [
        {"max_lr": 0.5, "total_steps": 101},
        {"max_lr": [0.5, 0.7], "epochs": 11, "steps_per_epoch": 10, "anneal_strategy": "linear"},
        {"max_lr": 0.5, "total_steps": 120, "three_phase": True, "pct_start": 0.2},
        {"max_lr": 0.5, "total_steps": 110, "cycle_momentum": False, "div_factor": 3.0},
    ],
    "ReduceLROnPlateau": [
        {"patience": 2},
        {"mode": "max", "factor": 0.5, "cooldown": 2, "threshold_mode": "abs", "patience": 1},
        {"patience": 0, "min_lr": [0.01, 0.03], "factor": 0.7},
    ],
    "SWALR": [
        {"swa_lr": 0.05},
        {"swa_lr": [0.05, 0.3], "anneal_epochs": 13, "anneal_strategy": "linear"},
        {"swa_lr": 0.05, "anneal_epochs": 0},
    ],
}


def plain(x):
    """State with numbers for 0-dim tensors, so that the two sides can be compared by ==."""
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items() if k != "params"}
    if isinstance(x, list | tuple):
        return [plain(v) for v in x]
    if callable(x):
        return "function"
    return ("tensor", x.item()) if hasattr(x, "detach") else x


def two_groups(lib, tensor_lr, kind):
    rates = [lib.tensor(v) if tensor_lr else v for v in (0.1, 0.25)]
    groups = [{"params": [lib.nn.Parameter(lib.ones(1))], "lr": rate} for rate in rates]
    return getattr(lib.optim, kind)(groups, **({"momentum": 0.9} if kind == "SGD" else {}))


def schedule_log(lib, name, options, tensor_lr, kind, mode, epochs=90):
    """All that 90 steps of a scheduler show: rates, momenta, state, warnings, errors."""
    rng = np.random.default_rng(3)
    home = lib.optim.swa_utils if name == "SWALR" else lib.optim.lr_scheduler
    opt, log = two_groups(lib, tensor_lr, kind), []
    if mode == "resume":
        for group in opt.param_groups:
            group["initial_lr"] = copy.deepcopy(group["lr"])
            group.update(max_lr=0.5, min_lr=0.001, max_momentum=0.95, base_momentum=0.85)
        options = {**options, "last_epoch": 4}

    def make():
        return getattr(home, name)(opt, **copy.deepcopy(options))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        scheduler = make()
        for epoch in range(epochs):
            log.append((plain(opt.param_groups), plain(scheduler.state_dict())))
            if mode != "no step":
                opt.step()
            args = (float(rng.integers(5)),) if name == "ReduceLROnPlateau" else ()
            if mode == "epochs" and rng.random() < 0.2:
                args += (int(rng.integers(60)),)
            scheduler.step(*args)
            if mode == "reload" and epoch == 40:
                saved = copy.deepcopy(scheduler.state_dict()), copy.deepcopy(opt.state_dict())
                opt = two_groups(lib, tensor_lr, kind)
                scheduler = make()
                scheduler.load_state_dict(saved[0])
                opt.load_state_dict(saved[1])
    log.append(plain(scheduler.get_last_lr()))
    return log, [(w.category, str(w.message)[:50]) for w in caught]


@pytest.mark.parametrize("mode", ["plain", "no step", "resume", "epochs", "reload"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_rates(name, mode):
    if mode == "resume" and name in ("ReduceLROnPlateau", "SWALR"):
        mode = "plain"
    for options in SCHEDULES[name]:
        kinds = ((False, "SGD"), (True, "SGD"), (False, "Adam"))
        for tensor_lr, kind in kinds if mode == "plain" else kinds[:1]:
            ours = schedule_log(rushlight, name, options, tensor_lr, kind, mode)
            theirs = schedule_log(torch, name, options, tensor_lr, kind, mode)
            assert ours == theirs


def combination(lib, opt, rng, depth=0):
    """A random tree of schedulers, the same for the same generator."""
    home = lib.optim.lr_scheduler
    choice = int(rng.integers(2 if depth == 0 else 8))
    if choice < 2 and depth < 2:
        parts = [
            combination(lib, opt, rng, 2 * choice or depth + 1) for _ in range(rng.integers(1, 4))
        ]
        if choice == 0:
            return home.ChainedScheduler(parts)
        milestones = sorted(
            int(m) for m in rng.choice(np.arange(1, 30), len(parts) - 1, replace=False)
        )
        return home.SequentialLR(opt, parts, milestones)
    leaves = [
        lambda: home.ConstantLR(opt, 0.5, int(rng.integers(1, 6))),
        lambda: home.LinearLR(opt, 0.1, total_iters=int(rng.integers(1, 9))),
        lambda: home.ExponentialLR(opt, 0.95),
        lambda: home.StepLR(opt, int(rng.integers(1, 6)), 0.8),
        lambda: home.CosineAnnealingLR(opt, int(rng.integers(3, 20))),
        lambda: home.LambdaLR(opt, lambda t: 0.9**t),
    ]
    return leaves[int(rng.integers(len(leaves)))]()


@pytest.mark.parametrize("seed", range(30))
def test_combined_rates(seed):
    def run(lib):
        rng = np.random.default_rng(seed)
        opt = two_groups(lib, seed % 2, "SGD")
        scheduler = combination(lib, opt, rng)
        log = []
        for _ in range(40):
            opt.step()
            scheduler.step()
            log.append((plain(opt.param_groups), plain(scheduler.state_dict())))
        return log

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run(rushlight) == run(torch)


BAD_SCHEDULES = {
    "LambdaLR": [{"lr_lambda": [lambda t: 1]}],
    "ConstantLR": [{"factor": 2}, {"factor": -1}],
    "LinearLR": [{"start_factor": 0}, {"start_factor": 2}, {"end_factor": -1}, {"end_factor": 2}],
    "StepLR": [{"step_size": 3, "last_epoch": 3}],
    "CyclicLR": [
        {"base_lr": [0.1], "max_lr": 1},
        {"base_lr": 0.1, "max_lr": 1, "mode": "x"},
    ],
    "OneCycleLR": [
        {"max_lr": 1},
        {"max_lr": 1, "total_steps": 0},
        {"max_lr": 1, "total_steps": 1.5},
        {"max_lr": 1, "epochs": 0, "steps_per_epoch": 3},
        {"max_lr": 1, "epochs": 3, "steps_per_epoch": 0},
        {"max_lr": 1, "total_steps": 5, "pct_start": 2},
        {"max_lr": 1, "total_steps": 5, "anneal_strategy": "x"},
        {"max_lr": [1], "total_steps": 5},
    ],
    "CosineAnnealingWarmRestarts": [{"T_0": 0}, {"T_0": 1.5}, {"T_0": 1, "T_mult": 0}],
    "ReduceLROnPlateau": [{"factor": 1}, {"mode": "x"}, {"threshold_mode": "x"}, {"min_lr": [1]}],
    "ChainedScheduler": [{"schedulers": []}],
}


@pytest.mark.parametrize("name", BAD_SCHEDULES)
def test_invalid_schedules(name):
    for options in BAD_SCHEDULES[name]:

        def make(lib, options=options):
            opt = () if name == "ChainedScheduler" else (two_groups(lib, False, "SGD"),)
            getattr(lib.optim.lr_scheduler, name)(*opt, **options)

        ours, theirs = outcome(lambda m=make: m(rushlight)), outcome(lambda m=make: m(torch))
        assert ours[0] is theirs[0]
        assert ours[1].startswith(theirs[1].rstrip(".")[:30])


# ---- weight averages, mixed precision


@pytest.mark.parametrize("average", [None, "ema", "ema multi", "swa multi", "ema buffers"])
def test_averaged_model(average):
    def run(lib):
        home = lib.optim.swa_utils
        options = {
            None: {},
            "ema": {"avg_fn": home.get_ema_avg_fn(0.9)},
            "ema multi": {"multi_avg_fn": home.get_ema_multi_avg_fn(0.9)},
            "swa multi": {"multi_avg_fn": home.get_swa_multi_avg_fn()},
            "ema buffers": {"multi_avg_fn": home.get_ema_multi_avg_fn(0.5), "use_buffers": True},
        }[average]
        rng = np.random.default_rng(0)
        model = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.BatchNorm1d(4))
        with lib.no_grad():
            for p in model.parameters():
                p.copy_(lib.tensor(rng.standard_normal(p.shape).astype("float32")))
        mean = home.AveragedModel(model, **options)
        batches = [lib.tensor(rng.standard_normal((8, 3)).astype("float32")) for _ in range(4)]
        for x in batches:
            with lib.no_grad():
                model(x)
                for p in model.parameters():
                    p.add_(lib.tensor(rng.standard_normal(p.shape).astype("float32")))
            mean.update_parameters(model)
        saved = {k: to_numpy(v).copy() for k, v in mean.state_dict().items()}
        home.update_bn([(x, 0) for x in batches], mean)
        saved |= {"new " + k: to_numpy(v) for k, v in mean.state_dict().items()}
        return saved, repr(mean)

    ours, theirs = run(rushlight), run(torch)
    assert ours[1] == theirs[1]
    assert list(ours[0]) == list(theirs[0])
    for key, value in theirs[0].items():
        np.testing.assert_allclose(ours[0][key], value, rtol=2e-6, atol=1e-6)


def test_grad_scaler():
    def run(lib):
        log = []

        def attempt(what, f):
            result = outcome(f)
            log.append((what, result and (result[0], result[1][:30])))

        p = lib.nn.Parameter(lib.ones(2))
        opt = lib.optim.SGD([p], lr=0.1)
        scaler = lib.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        attempt("step first", lambda: scaler.step(opt))
        attempt("empty state", lambda: scaler.load_state_dict({}))
        loss = (p * p).sum()
        log.append(to_numpy(scaler.scale([loss, (loss,)])[1][0]).item())
        attempt("no gradient", lambda: scaler.step(opt))
        scaler.update(4.0)
        for k, spoiled in enumerate((0, 0, 1, 0, 1, 0, 0)):
            opt.zero_grad()
            scaler.scale((p * p).sum()).backward()
            if spoiled:
                p.grad[0] = float("inf")
            if k % 2:
                scaler.unscale_(opt)
                attempt("unscale twice", lambda: scaler.unscale_(opt))
            scaler.step(opt)
            attempt("step twice", lambda: scaler.step(opt))
            attempt("unscale late", lambda: scaler.unscale_(opt))
            scaler.update()
            log.append((scaler.state_dict(), scaler.get_scale(), to_numpy(p).tolist()))
        attempt("update twice", scaler.update)
        scaler.update(8.0)
        other = lib.amp.GradScaler("cpu")
        other.load_state_dict(scaler.state_dict())
        off = lib.amp.GradScaler("cpu", enabled=False)
        log += [other.state_dict(), off.state_dict(), off.get_scale(), off.scale(3)]
        for bad in ({"growth_factor": 1.0}, {"backoff_factor": 1.0}):
            attempt("bad", lambda bad=bad: lib.amp.GradScaler("cpu", **bad))
        return log

    assert run(rushlight) == run(torch)


def test_autocast_state():
    from rushlight.amp import state

    def run(autocast, lib, now):
        log = []

        def look():
            dtype = str(now.get_autocast_dtype("cpu")).split(".")[-1]
            log.append((now.is_autocast_enabled("cpu"), dtype, now.is_autocast_cache_enabled()))

        look()
        with autocast("cpu"):
            look()
            with autocast("cpu", dtype=lib.float16, cache_enabled=False):
                look()
                with autocast("cpu", enabled=False):
                    look()
                look()
        look()

        @autocast("cpu")
        def f(x, y=1):
            look()
            return x + y

        log.append((f(1), f(1, y=2), f.__name__))
        look()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with autocast("cpu", dtype=lib.float64):
                look()
        log.append([str(w.message)[:60] for w in caught])
        log.append(outcome(lambda: autocast(3))[0])
        return log

    assert run(rushlight.amp.autocast, rushlight, state) == run(torch.amp.autocast, torch, torch)
