"""Scans accumulate in double precision, as PyTorch's do: the same digits in float32."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rushlight  # noqa: E402


@pytest.mark.parametrize("dtype", ["float32", "complex64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", ["cumsum", "cumprod", "logcumsumexp"])
def test_scans_have_the_digits_of_torch(name, dtype):
    x = np.random.default_rng(0).normal(size=(4, 700)) * 0.05 + 1
    if dtype == "complex64":
        x = x + 0.01j * x[::-1]
    found = [
        getattr(T.from_numpy(x).to(getattr(T, dtype)), name)(1).to(T.complex128 if dtype == "complex64" else T.float64).numpy()
        for T in (torch, rushlight)
    ]
    eps = {"float32": 2e-7, "complex64": 5e-7, "float16": 2e-3, "bfloat16": 2e-2}[dtype]
    np.testing.assert_allclose(*found, rtol=eps)
    exact = (np.abs(found[0] - found[1]) == 0).mean()
    assert exact > (0.3 if dtype == "complex64" and name == "logcumsumexp" else 0.95), exact
