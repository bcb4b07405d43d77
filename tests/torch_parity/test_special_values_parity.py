"""Unary ops at zeros of both signs, NaN, infinities and huge numbers, in every floating type."""

import math

import pytest

import rushlight

torch = pytest.importorskip("torch")

VALUES = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, math.inf, -math.inf, math.nan, 1e38, -3.4e38, 88.7, -88.7,
          104.0, -104.0, 2.0**24 + 1, 2.0**31, 2.0**63, 20.0, -3.0, -2.0]  # fmt: skip
NAMES = """abs sgn sign neg exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh
atanh sigmoid erf erfc erfinv relu sqrt reciprocal square ceil floor round trunc frac isnan isinf isfinite isposinf
logical_not angle sinc logit nan_to_num deg2rad rad2deg argmax amax prod nansum special.entr nn.functional.relu6 nn.functional.hardtanh nn.functional.silu
nn.functional.elu nn.functional.softplus nn.functional.logsigmoid nn.functional.hardswish nn.functional.softsign""".split()


def numbers(t):
    return [(v, math.copysign(1, v)) if v == 0 else v for v in t.double().flatten().tolist()]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_unary(name, dtype):
    def run(m):
        f = m
        for part in name.split("."):
            f = getattr(f, part)
        x = m.tensor(VALUES, dtype=m.float64).to(getattr(m, dtype))
        return numbers(f(x))

    tolerance = {"float32": 2e-6, "float64": 1e-12}.get(dtype, 0)
    found, wanted = run(rushlight), run(torch)
    for x, a, b in zip(VALUES, found, wanted):
        assert a == b if isinstance(b, tuple) else a == pytest.approx(b, rel=tolerance, abs=0, nan_ok=True), x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trigamma(dtype):
    def run(m):
        return m.polygamma(1, m.tensor([*VALUES, 1e6, 1e10, -7.0], dtype=getattr(m, dtype))).tolist()

    assert run(rushlight) == pytest.approx(run(torch), rel=1e-5, nan_ok=True)


def test_clamped_zeros_keep_their_sign():
    for m in (torch, rushlight):
        x = m.tensor([-0.0] * 20)
        assert m.signbit(x.clamp(min=0)).all() and m.signbit(x.clamp(0, 1)).all() and m.signbit(x.relu()).all()


def test_nan_in_half_types_is_no_number_to_sort():
    for m in (torch, rushlight):
        x = m.tensor([0.0, -0.0, math.nan, math.nan, 1.0, math.inf]).bfloat16()
        assert str(x.unique().tolist()) == "[0.0, 1.0, inf, nan, nan]"
