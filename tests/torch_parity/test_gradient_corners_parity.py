"""Gradients at corners: the digits of half types, and points where a formula has no finite value."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")

TWO = {
    "logaddexp": lambda m, x, y: m.logaddexp(x, y),
    "logaddexp2": lambda m, x, y: m.logaddexp2(x, y),
    "atan2": lambda m, x, y: m.atan2(x, y),
    "hypot": lambda m, x, y: m.hypot(x, y),
    "xlogy": lambda m, x, y: m.xlogy(x, y.abs()),
    "addcdiv": lambda m, x, y: m.addcdiv(x, x, y, value=0.3),
    "remainder": lambda m, x, y: m.remainder(x, y),
    "div": lambda m, x, y: x / y,
    "pow": lambda m, x, y: x.abs() ** y,
}


def grads(m, f, a, b, w, dtype):
    x, y = (m.tensor(v).to(getattr(m, dtype)).requires_grad_() for v in (a, b))
    out = f(m, x, y)
    found = m.autograd.grad(out, (x, y), m.tensor(w).to(out.dtype))
    return [g.double().numpy() for g in found]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", TWO)
def test_half_types_digit_for_digit(name, dtype):
    rng = np.random.default_rng(0)
    a, b, w = rng.normal(size=(3, 200)) * 3
    for found, wanted in zip(*(grads(m, TWO[name], a, b, w, dtype) for m in (rushlight, torch))):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", TWO)
def test_zeros_and_infinities(name):
    if name in ("addcdiv", "remainder"):
        pytest.skip("0 / 0 in its own way")
    points = [0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]
    a, b = (v.ravel() for v in np.meshgrid(points, points))
    for found, wanted in zip(*(grads(m, TWO[name], a, b, a * 0 + 1, "float64") for m in (rushlight, torch))):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
