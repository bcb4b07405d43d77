"""Every optimizer and its options against PyTorch: the same gradients in, the same digits out.

Gradients are drawn by NumPy and given to both sides, so that only the update rule is compared.
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
    + [{"lr": "tensor", "momentum": 0.9}, {"lr": "tensor1d"}],
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
    if options.get("lr") in ("tensor", "tensor1d"):
        value = 0.05 if options["lr"] == "tensor" else [0.05]
        return {**options, "lr": lib.tensor(value)}
    return options


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


def assert_same(ours, theirs):
    """The same structure and the same digits."""
    if hasattr(theirs, "detach"):
        assert hasattr(ours, "detach"), f"{ours!r} is not a tensor, as {theirs!r} is"
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
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
    def run(lib):
        p = lib.nn.Parameter(lib.tensor([-1.2, 1.0]))
        opt = lib.optim.LBFGS([p], **options)
        losses = []

        def closure():
            opt.zero_grad()
            loss = f(p)
            loss.backward()
            return loss

        for _ in range(6):
            losses.append(opt.step(closure).item())
        state = opt.state_dict()["state"][0]
        return losses, to_numpy(p), state["func_evals"], state["n_iter"], sorted(state)

    ours, theirs = run(rushlight), run(torch)
    assert ours[2:] == theirs[2:]
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])


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
