"""Our `tensor_str` on torch's own tensors against torch's `repr`: every kind of value and setting.

torch tensors have every public attribute that `tensor_str` reads, so they can stand in for our own:
what is compared is the printing alone.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushlight.api import printing
from rushlight.core import dtype as dtypes

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")

FLOAT8 = "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz".split()
REAL = "float32 float64 float16 bfloat16".split() + FLOAT8
WHOLE = "bool uint8 int8 int16 int32 int64 uint16 uint32 uint64".split()
COMPLEX = "complex64 complex128 complex32".split()
SPECIAL = [0.0, -0.0, np.nan, np.inf, -np.inf, 1e-4, 9.9995e-5, 1.5e8, 1000, 1001, 5e-324]


class Sub(torch.Tensor):
    pass


class Weight(torch.nn.Parameter):
    pass


@pytest.fixture(autouse=True)
def restore():
    """Leave the settings of both libraries as they were."""
    yield
    torch.set_default_dtype(torch.float32)
    dtypes.set_default_dtype(dtypes.float32)
    torch.set_printoptions(profile="default")
    printing.set_printoptions(profile="default")


def check(tensor):
    assert printing.tensor_str(tensor) == repr(tensor).removeprefix("Parameter containing:\n")


def reals(rng, count, kind):
    """`count` floats: a ladder of magnitudes, integers, or special values among ordinary ones."""
    scale = float(10.0 ** rng.integers(-9, 12))
    spread = rng.integers(0, 4)
    values = rng.standard_normal(count) * scale * 10.0 ** rng.uniform(-spread, spread, count)
    if kind in ("whole", "mixed"):
        values = np.trunc(values)
    if kind in ("special", "mixed"):
        values = np.where(rng.random(count) < 0.4, rng.choice(SPECIAL, count), values)
    return values


def tensor_of(rng, dtype, shape, kind):
    count = int(np.prod(shape))
    target = getattr(torch, dtype)
    if dtype in WHOLE:
        low, high = (0, 1) if dtype == "bool" else (lambda i: (i.min, i.max))(torch.iinfo(target))
        digits = int(rng.integers(1, 20))
        low, high = max(low, -(10**digits)), min(high, 10**digits)
        wide = np.uint64 if low >= 0 else np.int64
        values = rng.integers(low, high, size=count, endpoint=True, dtype=wide)
        return torch.tensor(values.tolist(), dtype=target).reshape(shape)
    values = torch.from_numpy(reals(rng, count, kind))
    if dtype in COMPLEX:
        values = torch.complex(values, torch.from_numpy(reals(rng, count, kind)))
    return values.to(target).reshape(shape)


KINDS = st.sampled_from(["plain", "whole", "special", "mixed"])
SEEDS = st.integers(0, 2**32 - 1)
SMALL = st.lists(st.integers(0, 5), max_size=4).map(tuple)
LARGE = st.sampled_from([(1001,), (2000,), (40, 40), (7, 200), (200, 7), (2, 501), (501, 2),
                         (6, 6, 40), (1, 1, 2000), (7, 8, 9, 3), (1200, 1, 1, 2)])  # fmt: skip
DTYPES = st.sampled_from(REAL + COMPLEX + WHOLE)
FLOATING = st.sampled_from(REAL + ["complex64", "complex128"])
FORMS = st.sampled_from(
    ["leaf", "op", "parameter", "weight", "sub", "sub parameter", "frozen", "meta"]
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "precision": st.integers(0, 8),
        "threshold": st.sampled_from([0, 1, 5, 20, 1000, float("inf")]),
        "edgeitems": st.integers(0, 5),
        "linewidth": st.integers(1, 140),
        "profile": st.sampled_from(["default", "short", "full"]),
        "sci_mode": st.sampled_from([None, True, False]),
    },
)


@settings(max_examples=250, deadline=None)
@given(DTYPES, SMALL, KINDS, SEEDS)
def test_small_tensors(dtype, shape, kind, seed):
    check(tensor_of(np.random.default_rng(seed), dtype, shape, kind))


@settings(max_examples=60, deadline=None)
@given(DTYPES, LARGE, KINDS, SEEDS)
def test_summarised_tensors(dtype, shape, kind, seed):
    check(tensor_of(np.random.default_rng(seed), dtype, shape, kind))


@settings(max_examples=250, deadline=None)
@given(DTYPES, SMALL, KINDS, SEEDS, OPTIONS)
def test_options(dtype, shape, kind, seed, options):
    tensor = tensor_of(np.random.default_rng(seed), dtype, shape, kind)
    with torch._tensor_str.printoptions(**options), printing.printoptions(**options):
        assert printing.get_printoptions() == torch._tensor_str.get_printoptions()
        check(tensor)
    assert printing.get_printoptions() == torch._tensor_str.get_printoptions()


@settings(max_examples=100, deadline=None)
@given(FLOATING, SMALL, KINDS, SEEDS, st.integers(20, 90), FORMS)
def test_history_and_classes(dtype, shape, kind, seed, linewidth, form):
    x = tensor_of(np.random.default_rng(seed), dtype, shape, kind)
    x = {
        "leaf": lambda: x.requires_grad_(),
        "op": lambda: x.requires_grad_().clone(),
        "parameter": lambda: torch.nn.Parameter(x),
        "frozen": lambda: torch.nn.Parameter(x, requires_grad=False),
        "weight": lambda: Weight(x),
        "sub": lambda: x.as_subclass(Sub),
        "sub parameter": lambda: torch.nn.Parameter(x.as_subclass(Sub)),
        "meta": lambda: x.to("meta").requires_grad_(),
    }[form]()
    with torch._tensor_str.printoptions(linewidth=linewidth):
        with printing.printoptions(linewidth=linewidth):
            check(x)


@pytest.mark.parametrize("default", ["float16", "bfloat16", "float32", "float64"])
def test_dtype_suffix_follows_the_default_dtype(default):
    torch.set_default_dtype(getattr(torch, default))
    dtypes.set_default_dtype(dtypes.named(default))
    for dtype in REAL + COMPLEX + WHOLE:
        for shape in [(), (2,), (0,), (0, 3)]:
            check(torch.ones(shape).to(getattr(torch, dtype)))
            check(torch.empty(shape, dtype=getattr(torch, dtype), device="meta"))


def test_views_of_memory():
    x = torch.arange(24.0).reshape(2, 3, 4) / 7
    wide = x[..., None].expand(2, 3, 4, 5)
    for view in [x.mT, x[:, ::2], x.transpose(0, 2), wide, x[1:, 1:, 1:]]:
        check(view)
    large = torch.arange(1e4).reshape(100, 100)
    for view in [large.t(), large[::2, 1:], large[:, :2], large[:7, None, :]]:
        check(view)


def test_a_view_that_lost_its_gradient():
    x = torch.ones(2, requires_grad=True) * 1
    with torch.no_grad():
        view = x.view(2)
    check(view)
    x.mul_(2)
    check(view)


@pytest.mark.parametrize("value", [1.5, 3, True, 1 + 2j, [1.0], []])
@pytest.mark.parametrize("spec", ["", ".2f", ">30"])
def test_format(value, spec):
    tensor = torch.tensor(value)
    for x in [tensor, tensor.as_subclass(Sub), torch.nn.Parameter(tensor, requires_grad=False)]:
        try:
            expected = format(x, spec)
        except TypeError as error:
            with pytest.raises(TypeError, match=str(error)):
                printing.format_tensor(x, spec)
        else:
            assert printing.format_tensor(x, spec) == expected
