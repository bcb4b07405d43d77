"""Dtypes against torch: every pair's promotion, float8 at its ends, ranges and nested data that are refused."""

import itertools
import math
import warnings

import pytest

import rushlight

torch = pytest.importorskip("torch")

NAMES = """bool uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex64 complex128
float8_e4m3fn float8_e5m2 float8_e8m0fnu""".split()


def outcome(f, m):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return str(f(m)).replace("rushlight", "torch")
        except Exception as error:
            return type(error)


@pytest.mark.parametrize("name", NAMES)
def test_promotion(name):
    for other in NAMES:
        for f in ("promote_types", "can_cast"):
            call = lambda m, f=f, other=other: getattr(m, f)(getattr(m, name), getattr(m, other))
            assert outcome(call, rushlight) == outcome(call, torch), (f, other)


@pytest.mark.parametrize("name", NAMES[:15])
def test_result_type(name):
    for other, shapes in itertools.product(NAMES[:15], itertools.product([(1,), ()], repeat=2)):
        if "complex" in name + other and "float16" in name + other:
            continue  # complex32
        call = lambda m, other=other, shapes=shapes: m.result_type(
            m.ones(shapes[0], dtype=getattr(m, name)), m.ones(shapes[1], dtype=getattr(m, other))
        )
        assert outcome(call, rushlight) == outcome(call, torch), (other, shapes)
    for number in (True, 1, 1.5):
        call = lambda m, number=number: m.result_type(m.ones(1, dtype=getattr(m, name)), number)
        assert outcome(call, rushlight) == outcome(call, torch), number


VALUES = [math.inf, -math.inf, 500.0, -500.0, 464.0, 465.0, 448.0, 480.0, math.nan, 1e-3, 2.0**-9, 2.0**-10, 18.0, -0.0,
          57344.0, 61439.0, 61440.0, 240.0, 248.0, 247.0, 1e30]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"])
def test_float8(dtype):
    for source in ("float32", "float64", "float16", "bfloat16"):
        call = lambda m, source=source: m.tensor(VALUES, dtype=getattr(m, source)).to(getattr(m, dtype)).float().tolist()
        assert outcome(call, rushlight) == outcome(call, torch)
    for call in (
        lambda m: m.empty(len(VALUES), dtype=getattr(m, dtype)).copy_(m.tensor(VALUES)).float().tolist(),
        lambda m: m.tensor(VALUES, dtype=getattr(m, dtype)).float().tolist(),
        lambda m: m.full((2,), 500.0, dtype=getattr(m, dtype)).float().tolist(),
        lambda m: m.tensor([500]).to(getattr(m, dtype)).float().tolist(),
    ):
        assert outcome(call, rushlight) == outcome(call, torch)


CALLS = """
m.tensor([[1, 2], 3])
m.tensor([[1], 2])
m.tensor([1, [2, 3]])
m.tensor(["a"])
m.tensor("a")
m.tensor([1, "a"])
m.tensor([[1], "a"])
m.tensor([[1, 2], None])
m.tensor([None])
m.tensor([[1, 2], m.ones(2)])
m.tensor([m.ones(2), 3])
m.tensor([2**63])
m.tensor(1e40)
m.Tensor(m.ones(2).double()).dtype
m.Tensor(m.tensor([1, 2]))
m.DoubleTensor(m.ones(2))
m.arange(True)
m.arange(3, dtype=m.bool)
m.arange(3, dtype=m.complex64)
m.arange(3, dtype=m.uint16)
m.arange(1, 2**65)
m.linspace(0, 1, 3, dtype=m.bool)
m.logspace(0, 1, 3, dtype=m.bool)
m.ones(2) - True
True - m.ones(2)
m.ones(2).sub_(True)
m.ones(2).add(1, alpha=True)
m.maximum(m.ones(2, dtype=m.cfloat), m.ones(2))
m.isin(m.ones(2), True)
m.lerp(m.ones(2), 1.0, 0.5)
m.addcmul(m.ones(2), 1.0, m.ones(2))
m.heaviside(m.ones(2), 1)
m.ldexp(m.ones(2, dtype=m.cdouble), m.tensor([1]))
m.ldexp(m.ones(2).half(), m.tensor([1]))
m.masked.cumsum(m.ones(2).int(), 0).dtype
m.full((1,), 1e39)
m.full((1,), 1e39, dtype=m.float64)
m.full((1,), 70000., dtype=m.half)
m.full((3,), 70000., dtype=m.half)
m.zeros(1).half().fill_(70000.)
m.zeros(3).half().fill_(70000.)
m.zeros(3).half().fill_(m.tensor(70000.))
m.full_like(m.zeros(3).half(), 70000.)
m.zeros(3).half().__setitem__(slice(None), 70000.)
m.zeros(1).fill_(1e39)
m.zeros(1).fill_(-float("inf"))
m.zeros(1).half().masked_fill(m.tensor([True]), -1e9)
m.zeros(1).half().masked_fill(m.tensor([True]), -float("inf"))
m.zeros(1).bfloat16().masked_fill(m.tensor([True]), -1e9)
m.zeros(1).masked_fill(m.tensor([True]), 1e39)
m.zeros(1).half().clamp(max=70000.)
m.ones(1).clamp(-1e39)
m.zeros(1).half().scatter(0, m.tensor([0]), 70000.)
m.zeros(1).half().index_fill(0, m.tensor([0]), 70000.)
m.where(m.tensor([True]), m.ones(1), 1e39)
m.where(m.tensor([True]), m.ones(1).half(), 70000.)
m.zeros(1).__setitem__(0, 1e39)
m.zeros(1).half().__setitem__(0, 1e5)
m.nn.functional.pad(m.ones(1).half(), (0, 1), value=1e5)
m.ones(1).half() + 1e5
m.ones(1, dtype=m.cfloat).fill_(1e39)
""".strip().splitlines()


@pytest.mark.parametrize("text", CALLS)
def test_calls(text):
    call = eval(f"lambda m: {text}")
    assert outcome(call, rushlight) == outcome(call, torch)


def test_complex_to_real_warns():
    for m in (torch, rushlight):
        code = "Casting complex values to real"
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            assert m.tensor([1 + 2j]).float().item() == 1
        assert all(code in str(w.message) for w in seen)
