"""Initialisers against PyTorch: one seed, the same digits, and the generator left in one state."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nn_programs import attempt, check  # noqa: E402

import rushlight  # noqa: E402

SHAPES = [(2, 2), (5, 7), (7, 5), (40, 30)]
# (a, b) holding most of the distribution, little of it, next to none; the mean outside
TRUNCATIONS = [
    (),
    (1.0, 2.0, -1.0, 3.0),
    (0.0, 0.02, -2.0, 2.0),
    (0.0, 1.0, 0.0, 0.5),
    (0.0, 1.0, 1.0, 2.0),
    (0.0, 1.0, 3.0, 3.1),
    (5.0, 1.0, -2.0, 2.0),
    (0.0, 1.0, -0.01, 0.01),
]
CASES = [
    *[(name, shape, {}) for name in ("uniform_", "normal_") for shape in SHAPES],
    *[(name, shape, {}) for name in ("xavier_uniform_", "xavier_normal_") for shape in SHAPES],
    *[(name, shape, {}) for name in ("kaiming_uniform_", "kaiming_normal_") for shape in SHAPES],
    *[("trunc_normal_", shape, {"args": args}) for shape in SHAPES for args in TRUNCATIONS],
    ("uniform_", (3, 4), {"a": -2.0, "b": 3.0}),
    ("normal_", (3, 4), {"mean": 1.0, "std": 0.1}),
    ("xavier_uniform_", (3, 4, 5), {"gain": 2.0}),
    ("kaiming_uniform_", (3, 4), {"a": 0.3, "mode": "fan_out"}),
    ("kaiming_normal_", (3, 4, 5, 2), {"nonlinearity": "relu"}),
    ("sparse_", (10, 4), {"sparsity": 0.4}),
]


def draw(library, name, shape, options, dtype, own_generator):
    options = dict(options)
    args = options.pop("args", ())
    library.manual_seed(3)
    if own_generator:
        generator = library.Generator()
        generator.manual_seed(7)
        options["generator"] = generator
    x = library.zeros(shape, dtype=getattr(library, dtype))
    out = getattr(library.nn.init, name)(x, *args, **options)
    assert out is x
    return np.array(x.tolist()), np.array(library.rand(3).tolist())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("own", [False, True], ids=["default", "generator"])
@pytest.mark.parametrize("name, shape, options", CASES)
def test_same_digits(name, shape, options, dtype, own):
    ours = draw(rushlight, name, shape, options, dtype, own)
    theirs = draw(torch, name, shape, options, dtype, own)
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])


@pytest.mark.parametrize("shape", [*SHAPES, (3, 4, 5)])
def test_orthogonal(shape):
    ours = draw(rushlight, "orthogonal_", shape, {"gain": 2.0}, "float64", False)
    theirs = draw(torch, "orthogonal_", shape, {"gain": 2.0}, "float64", False)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-9, atol=1e-12)


def fixed(T):
    init = T.nn.init
    out = []
    for shape, groups in [((4, 2, 3), 2), ((6, 2, 3, 3), 3), ((4, 4, 3, 3, 3), 1), ((2, 4, 3), 1)]:
        out.append(init.dirac_(T.ones(shape), groups))
    out += [init.eye_(T.ones(2, 3)), init.ones_(T.zeros(2)), init.zeros_(T.ones(2))]
    out += [init.constant_(T.zeros(2), 0.3), init.ones_(T.nn.Parameter(T.zeros(2)))]
    return out


def errors(T):
    init, z = T.nn.init, T.zeros
    functions = [
        init.xavier_uniform_,
        init.kaiming_normal_,
        init.orthogonal_,
        lambda x: init.sparse_(x, 0.1),
        init.eye_,
        init.dirac_,
    ]
    shapes = [(3,), (0, 3), (3, 0, 4)]
    cases = [lambda f=f, s=s: f(z(s)) for f in functions for s in shapes]
    cases += [
        lambda: init.dirac_(z(3, 3, 3), groups=2),
        lambda: init.kaiming_normal_(z(3, 3), mode="x"),
        lambda: init.kaiming_normal_(z(3, 3), nonlinearity="x"),
        lambda: tuple(init.kaiming_normal_(z(3, 3), mode="FAN_OUT").shape),
    ]
    return [attempt(case) for case in cases]


def gains(T):
    gain = T.nn.init.calculate_gain
    names = ["linear", "conv1d", "conv_transpose3d", "sigmoid", "tanh", "relu", "selu"]
    names += ["leaky_relu", "x"]
    cases = [lambda n=name: gain(n) for name in names]
    cases += [lambda s=slope: gain("leaky_relu", s) for slope in (0.2, 1, True, "a")]
    return [attempt(case) for case in cases]


def aliases(T):
    init = T.nn.init
    out = []
    for name in ("uniform", "normal", "xavier_normal", "kaiming_uniform", "orthogonal", "eye"):
        with pytest.warns(FutureWarning, match=f"nn.init.{name}_"):
            out.append(tuple(getattr(init, name)(T.zeros(2, 2)).shape))
    return out


@pytest.mark.parametrize("function", [fixed, errors, gains, aliases], ids=lambda f: f.__name__)
def test_program(function):
    check(function)
