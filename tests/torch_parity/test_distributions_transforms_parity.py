"""Transforms, constraints and the two registries of rushlight.distributions held to torch's."""

import re

import numpy as np
import pytest

import rushlight
import rushlight.distributions

torch = pytest.importorskip("torch")
BOTH = (rushlight, torch)
# pytest takes away the filter that keeps NumPy quiet inside rushlight
pytestmark = pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")


def _x(m, *shape, low=-1.5, high=1.5, seed=0):
    return m.tensor((low + (high - low) * np.random.default_rng(seed).random(shape)).astype("float32"), requires_grad=True)


def _some(m):
    return m.tensor([0.5, 1.5, -2.0])


# the transform and an input of its domain
# fmt: off
TRANSFORMS = {
    "Abs":            (lambda m, d: d.AbsTransform(), lambda m: _x(m, 2, 3)),
    "Affine":         (lambda m, d: d.AffineTransform(0.5, -2.0), lambda m: _x(m, 2, 3)),
    "Affine tensors": (lambda m, d: d.AffineTransform(_some(m), _some(m) - 1), lambda m: _x(m, 2, 3)),
    "Affine vector":  (lambda m, d: d.AffineTransform(0.5, _some(m), event_dim=1), lambda m: _x(m, 2, 3)),
    "Affine cached":  (lambda m, d: d.AffineTransform(0.5, 2.0, cache_size=1), lambda m: _x(m, 2, 3)),
    "Cat":            (lambda m, d: d.CatTransform([d.ExpTransform(), d.AffineTransform(1.0, 2.0)], 1, [1, 2]), lambda m: _x(m, 2, 3)),
    "Cat units":      (lambda m, d: d.CatTransform([d.ExpTransform(), d.TanhTransform()]), lambda m: _x(m, 2, 3)),
    "Cat vectors":    (lambda m, d: d.CatTransform([d.CorrCholeskyTransform(), d.CorrCholeskyTransform()], 0, [1, 2]), lambda m: _x(m, 3, 3)),
    "Compose":        (lambda m, d: d.ComposeTransform([d.ExpTransform(), d.AffineTransform(0.5, 2.0)]), lambda m: _x(m, 2, 3)),
    "Compose cached": (lambda m, d: d.ComposeTransform([d.ExpTransform(), d.AffineTransform(0.5, 2.0)], cache_size=1), lambda m: _x(m, 2, 3)),
    "Compose vector": (lambda m, d: d.ComposeTransform([d.AffineTransform(0.5, 2.0), d.StickBreakingTransform()]), lambda m: _x(m, 2, 3)),
    "CorrCholesky":   (lambda m, d: d.CorrCholeskyTransform(), lambda m: _x(m, 2, 6)),
    "CumulativeDistribution": (lambda m, d: d.CumulativeDistributionTransform(d.Normal(0.5, 2.0)), lambda m: _x(m, 2, 3)),
    "Exp":            (lambda m, d: d.ExpTransform(), lambda m: _x(m, 2, 3)),
    "Independent":    (lambda m, d: d.IndependentTransform(d.ExpTransform(), 1), lambda m: _x(m, 2, 3)),
    "Independent cached": (lambda m, d: d.IndependentTransform(d.ExpTransform(), 1, cache_size=1), lambda m: _x(m, 2, 3)),
    "LowerCholesky":  (lambda m, d: d.LowerCholeskyTransform(), lambda m: _x(m, 2, 3, 3)),
    "PositiveDefinite": (lambda m, d: d.PositiveDefiniteTransform(), lambda m: _x(m, 2, 3, 3)),
    "Power":          (lambda m, d: d.PowerTransform(1.7), lambda m: _x(m, 2, 3, low=0.2, high=2)),
    "Power negative": (lambda m, d: d.PowerTransform(_some(m)), lambda m: _x(m, 2, 3, low=0.2, high=2)),
    "Reshape":        (lambda m, d: d.ReshapeTransform((2, 3), (6,)), lambda m: _x(m, 4, 2, 3)),
    "Sigmoid":        (lambda m, d: d.SigmoidTransform(), lambda m: _x(m, 2, 3)),
    "Softmax":        (lambda m, d: d.SoftmaxTransform(), lambda m: _x(m, 2, 3)),
    "Softplus":       (lambda m, d: d.SoftplusTransform(), lambda m: _x(m, 2, 3, low=-30, high=30)),
    "Stack":          (lambda m, d: d.StackTransform([d.ExpTransform(), d.TanhTransform()], 1), lambda m: _x(m, 3, 2)),
    "StickBreaking":  (lambda m, d: d.StickBreakingTransform(), lambda m: _x(m, 2, 3)),
    "Tanh":           (lambda m, d: d.TanhTransform(), lambda m: _x(m, 2, 3)),
    "identity":       (lambda m, d: d.identity_transform, lambda m: _x(m, 2, 3)),
    "inverse Exp":    (lambda m, d: d.ExpTransform().inv, lambda m: _x(m, 2, 3, low=0.2, high=2)),
    "inverse StickBreaking": (lambda m, d: d.StickBreakingTransform().inv, lambda m: m.softmax(_x(m, 2, 3), -1)),
    "inverse Compose": (lambda m, d: d.ComposeTransform([d.ExpTransform(), d.PowerTransform(2.0)]).inv, lambda m: _x(m, 2, 3, low=0.2, high=2)),
}
# fmt: on


def _gradient(out, x):
    if not out.requires_grad:
        return "no gradient"
    m = rushlight if isinstance(out, rushlight.Tensor) else torch
    return m.autograd.grad((out * out.detach().cos()).sum(), x, retain_graph=True)[0]


def _input(y):
    return y.detach().clone().requires_grad_()


def _inverse_gradient(t, x):
    y = _input(t(x))
    return _gradient(t.inv(y), y)


QUESTIONS = {
    "repr": lambda t, x: repr(t) + repr(t.inv),
    "domain": lambda t, x: repr(t.domain),
    "codomain": lambda t, x: repr(t.codomain),
    "bijective": lambda t, x: repr(t.bijective),
    "event_dim": lambda t, x: repr(t.event_dim),
    "dims": lambda t, x: repr((t.domain.event_dim, t.codomain.event_dim)),
    "sign": lambda t, x: t.sign,
    "forward": lambda t, x: t(x),
    "forward gradient": lambda t, x: _gradient(t(x), x),
    "inverse": lambda t, x: t.inv(t(x).detach().clone()),
    "inverse gradient": lambda t, x: _inverse_gradient(t, x),
    "jacobian": lambda t, x: t.log_abs_det_jacobian(x, t(x)),
    "jacobian gradient": lambda t, x: _gradient(t.log_abs_det_jacobian(x, t(x)), x),
    "inverse jacobian": lambda t, x: t.inv.log_abs_det_jacobian(t(x), x),
    "forward_shape": lambda t, x: repr(tuple(t.forward_shape(x.shape))),
    "inverse_shape": lambda t, x: repr(tuple(t.inverse_shape(t(x).shape))),
    "too few dimensions": lambda t, x: repr(t.forward_shape(())),
    "equal": lambda t, x: repr((t == t, t.inv == t.inv, t.inv.inv is t, t == t.inv, t.inv.inv == t, t != t.inv)),
    "cache": lambda t, x: repr((t.with_cache(1)._cache_size, t.with_cache(0)._cache_size)),
    "cached": lambda t, x: repr((lambda c: c(x) is c(x))(t.with_cache(1))),
    "cached round trip": lambda t, x: repr((lambda c: c.inv(c(x)) is x)(t.with_cache(1))),
}


def _ask(ask, *parts):
    try:
        return ask(*parts)
    except Exception as e:
        return type(e).__name__


def _agree(mine, true):
    if isinstance(true, (str, int, float)):
        assert mine == true
        return
    assert mine.shape == true.shape and str(mine.dtype) == str(true.dtype)
    np.testing.assert_allclose(mine.detach().numpy(), true.detach().numpy(), rtol=3e-5, atol=1e-5)


@pytest.mark.parametrize("ask", QUESTIONS)
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_as_torch(name, ask):
    transform, value = TRANSFORMS[name]
    _agree(*(_ask(QUESTIONS[ask], transform(m, m.distributions), value(m)) for m in BOTH))


@pytest.mark.parametrize("name", [n for n in TRANSFORMS if n not in ("Abs", "Softmax", "LowerCholesky", "PositiveDefinite")])
def test_round_trips(name):
    transform, value = TRANSFORMS[name]
    t, x = transform(rushlight, rushlight.distributions), value(rushlight)
    np.testing.assert_allclose(t.inv(t(x).detach()).detach().numpy(), x.detach().numpy(), rtol=2e-3, atol=2e-3)


def test_every_public_transform_is_asked_about():
    public = {n.removesuffix("Transform") for n in torch.distributions.transforms.__all__} - {"", "identity_transform"}
    assert public - {name.split()[0] for name in TRANSFORMS} == set()
    assert set(rushlight.distributions.transforms.__all__) == set(torch.distributions.transforms.__all__)


# fmt: off
CONSTRAINTS = {
    "boolean":            lambda m, c: c.boolean,
    "cat":                lambda m, c: c.cat([c.positive, c.real], 1, [1, 2]),
    "cat units":          lambda m, c: c.cat([c.positive, c.real, c.unit_interval], -1),
    "corr_cholesky":      lambda m, c: c.corr_cholesky,
    "dependent":          lambda m, c: c.dependent,
    "dependent known":    lambda m, c: c.dependent(is_discrete=True, event_dim=1),
    "dependent_property": lambda m, c: c.dependent_property,
    "greater_than":       lambda m, c: c.greater_than(0.3),
    "greater_than tensor": lambda m, c: c.greater_than(m.tensor([0.3, 0.4, 1.0])),
    "greater_than_eq":    lambda m, c: c.greater_than_eq(1.0),
    "independent":        lambda m, c: c.independent(c.positive, 1),
    "independent 2":      lambda m, c: c.independent(c.real, 2),
    "independent nested": lambda m, c: c.independent(c.independent(c.interval(-1, 1), 1), 1),
    "integer_interval":   lambda m, c: c.integer_interval(0, 2),
    "interval":           lambda m, c: c.interval(-0.5, 1.5),
    "half_open_interval": lambda m, c: c.half_open_interval(0.0, 1.0),
    "less_than":          lambda m, c: c.less_than(1.0),
    "lower_cholesky":     lambda m, c: c.lower_cholesky,
    "lower_triangular":   lambda m, c: c.lower_triangular,
    "MixtureSameFamilyConstraint": lambda m, c: c.MixtureSameFamilyConstraint(c.positive),
    "MixtureSameFamilyConstraint vectors": lambda m, c: c.MixtureSameFamilyConstraint(c.simplex),
    "multinomial":        lambda m, c: c.multinomial(3),
    "nonnegative":        lambda m, c: c.nonnegative,
    "nonnegative_integer": lambda m, c: c.nonnegative_integer,
    "one_hot":            lambda m, c: c.one_hot,
    "positive":           lambda m, c: c.positive,
    "positive_semidefinite": lambda m, c: c.positive_semidefinite,
    "positive_definite":  lambda m, c: c.positive_definite,
    "positive_integer":   lambda m, c: c.positive_integer,
    "real":               lambda m, c: c.real,
    "real_vector":        lambda m, c: c.real_vector,
    "simplex":            lambda m, c: c.simplex,
    "square":             lambda m, c: c.square,
    "stack":              lambda m, c: c.stack([c.positive, c.real, c.unit_interval], -1),
    "stack 0":            lambda m, c: c.stack([c.positive, c.real, c.simplex], 0),
    "symmetric":          lambda m, c: c.symmetric,
    "unit_interval":      lambda m, c: c.unit_interval,
}
VALUES = {
    "counts":    [[0.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.0]],
    "shares":    [[0.2, 0.3, 0.5], [0.1, 0.1, 0.1], [1.0, 0.0, 0.0]],
    "signs":     [[-1.0, 0.5, 1.5], [0.3, -0.2, 2.0], [float("nan"), float("inf"), -float("inf")]],
    "identity":  np.eye(3),
    "factor":    [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 0.6, 0.8]],
    "symmetric": [[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]],
    "singular":  [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "batch":     [np.eye(3), [[2.0, 3.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 1.0]]],
    "vector":    [1.0, 0.0, 0.0],
    "oblong":    [[1.0, 0.0, 0.0], [0.5, 1.0, 0.0]],
}
# fmt: on


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_as_torch(name):
    ours, theirs = (CONSTRAINTS[name](m, m.distributions.constraints) for m in BOTH)
    for ask in (repr, lambda c: repr(c.event_dim), lambda c: repr(c.is_discrete), lambda c: type(c).__name__):
        mine, true = (re.sub("0x[0-9a-f]+|rushlight|torch", "", _ask(ask, c)) for c in (ours, theirs))
        assert mine == true
    assert rushlight.distributions.constraints.is_dependent(ours) == torch.distributions.constraints.is_dependent(theirs)
    for key, value in VALUES.items():
        value = np.asarray(value, dtype="float32")
        mine, true = (_ask(c.check, m.tensor(value)) for m, c in ((rushlight, ours), (torch, theirs)))
        if isinstance(true, str):
            assert isinstance(mine, str), (key, mine)
            continue
        assert mine.dtype is rushlight.bool and mine.tolist() == true.tolist(), key


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_registries_as_torch(name, registry):
    answers = []
    for m in BOTH:
        constraint = CONSTRAINTS[name](m, m.distributions.constraints)
        answers.append(_ask(getattr(m.distributions, registry), constraint))
    ours, theirs = answers
    if isinstance(theirs, str):
        assert ours == theirs
        return
    assert repr(ours) == repr(theirs)
    _agree(*(_ask(lambda t, m: t(_x(m, 3, 3)), t, m) for t, m in ((ours, rushlight), (theirs, torch))))


@pytest.mark.parametrize("m", BOTH, ids=lambda m: m.__name__)
def test_a_factory_can_be_registered(m):
    d = m.distributions

    class Odd(d.constraints.Constraint):
        def check(self, value):
            return value % 2 == 1

    table = d.constraint_registry.ConstraintRegistry()
    table.register(Odd, lambda constraint: d.ExpTransform())
    assert isinstance(table(Odd()), d.ExpTransform)

    @table.register(d.constraints.positive)
    def positive(constraint):
        return d.SoftplusTransform()

    assert isinstance(table(d.constraints.greater_than(3.0)), d.SoftplusTransform)
    with pytest.raises(NotImplementedError, match="Cannot transform _?Real constraints"):
        table(d.constraints.real)
    with pytest.raises(TypeError, match="Constraint"):
        table.register(3, lambda constraint: None)


@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_the_same_constraints_are_registered(registry):
    ours, theirs = ({c.__name__ for c in getattr(m.distributions, registry)._registry} for m in BOTH)
    assert ours == theirs
