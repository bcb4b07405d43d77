"""Random draws at their corners: every fill in every memory layout, the bounds of integers, dtypes that are refused."""

import warnings

import pytest

import rushlight

torch = pytest.importorskip("torch")

DTYPES = ["float32", "float64", "bfloat16", "float16", "int64", "uint8", "bool", "complex64"]
LAYOUTS = {
    "scalar": lambda m, d: m.empty((), dtype=d),
    "short": lambda m, d: m.empty(7, dtype=d),
    "long": lambda m, d: m.empty(3, 70, dtype=d),
    "transposed": lambda m, d: m.zeros(5, 9, dtype=d).t(),
    "strided": lambda m, d: m.zeros(40, 3, dtype=d)[::2, 1:],
    "channels last": lambda m, d: m.empty(2, 3, 4, 5, dtype=d).contiguous(memory_format=m.channels_last),
    "expanded": lambda m, d: m.zeros(1, dtype=d).expand(4),
}
FILLS = {
    "uniform_": lambda m, x: x.uniform_(-3, 5),
    "normal_": lambda m, x: x.normal_(2, 3),
    "exponential_": lambda m, x: x.exponential_(2.5),
    "geometric_": lambda m, x: x.geometric_(0.3),
    "cauchy_": lambda m, x: x.cauchy_(1, 2),
    "log_normal_": lambda m, x: x.log_normal_(),
    "random_": lambda m, x: x.random_(),
    "random_ to": lambda m, x: x.random_(2),
    "random_ from to": lambda m, x: x.random_(-5, 2**40),
    "random_ from None": lambda m, x: x.random_(1, None),
    "bernoulli_": lambda m, x: x.bernoulli_(0.3),
    "bernoulli_ tensor": lambda m, x: x.bernoulli_(m.full(x.shape, 0.4)),
    "rand_like": lambda m, x: m.rand_like(x),
    "randn_like": lambda m, x: m.randn_like(x),
    "randint_like": lambda m, x: m.randint_like(x, 2),
    "bernoulli": lambda m, x: m.bernoulli(x.fill_(1)),
    "poisson": lambda m, x: m.poisson(x.fill_(3)),
    "normal": lambda m, x: m.normal(x.fill_(3), 2.0),
    "normal std": lambda m, x: m.normal(1.0, x.fill_(3)),
    "dropout": lambda m, x: m.nn.functional.dropout(x.fill_(3), 0.3),
    "dropout2d": lambda m, x: m.nn.functional.dropout2d(x.fill_(3), 0.3),
}


def draw(m, f):
    """What a call gives, and the number after it; or the error's type."""
    m.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            x = f(m)
        except Exception as error:
            return type(error)
        kind = torch.complex128 if "complex" in str(x.dtype) else torch.float64
        values = x.to(getattr(m, str(kind).split(".")[1])).tolist()
        return str(x.dtype), tuple(x.shape), x.stride(), values, m.rand(()).item()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FILLS)
def test_fills(name, dtype):
    for layout, make in LAYOUTS.items():
        call = lambda m, make=make: FILLS[name](m, make(m, getattr(m, dtype)))
        wanted, found = draw(torch, call), draw(rushlight, call)
        if layout == "expanded" and isinstance(wanted, type):  # two things are wrong
            assert isinstance(found, type)
        else:
            assert found == wanted, layout


BOUNDS = [(0, 2), (-5, 7), (0, 127), (0, 256), (0, 65505), (0, 65506), (-1, 2**31), (0, 2**33), (5, 5)]


@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "int16", "int32", "uint16"])
def test_randint(dtype):
    for low, high in BOUNDS:
        call = lambda m, low=low, high=high: m.randint(low, high, (20,), dtype=getattr(m, dtype))
        assert draw(rushlight, call) == draw(torch, call), (low, high)


def test_integers_that_a_float_type_cannot_hold_are_warned_of():
    for m in (torch, rushlight):
        with pytest.warns(UserWarning, match=r"to - 1 is out of bounds \[-\(2\^11\), 2\^11\]"):
            m.empty(3, dtype=m.float16).random_(0, 5000)


@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "uint16"])
def test_randperm(dtype):
    for n in (0, 1, 5, 128, 129, 256, 257, 2049, 2050):
        call = lambda m, n=n: m.randperm(n, dtype=getattr(m, dtype))
        assert draw(rushlight, call) == draw(torch, call), n


def test_dropout_of_one_half():
    for dtype in ("float16", "bfloat16", "float32"):
        call = lambda m, dtype=dtype: m.nn.functional.dropout(m.ones((), dtype=getattr(m, dtype)), 0.25)
        assert draw(rushlight, call) == draw(torch, call)


def test_negative_standard_deviations_in_a_tensor():
    for m in (torch, rushlight):
        with pytest.raises(RuntimeError, match="all elements of std >= 0.0"):
            m.normal(0.0, m.tensor([1.0, -1.0]))
