"""Calls that are known from shapes and dtypes give what the first call gave: values, dtypes, layouts, errors, gradients."""

import numpy as np
import pytest

import rushlight
from rushlight import dispatch

F = rushlight.nn.functional


@pytest.fixture(autouse=True)
def empty():
    dispatch._PLANS.clear()


CALLS = {
    "amax": lambda x, y: x.amax(1),
    "sum to int64": lambda x, y: (x > 0).sum(0),
    "softmax": lambda x, y: F.softmax(x, -1),
    "clamp": lambda x, y: x.clamp(-0.5, 0.5),
    "where": lambda x, y: rushlight.where(x > y, x, 0.5),
    "cat": lambda x, y: rushlight.cat([x, y], 1),
    "promoted": lambda x, y: x.long() / 2 + y.double(),
    "max": lambda x, y: x.max(1).values * 2,
    "half": lambda x, y: (x.bfloat16() * 0.1 + y.bfloat16()).clamp(-1, 1),
    "transposed": lambda x, y: rushlight.where(x.t() > 0, x.t(), y.t()),
    "mm": lambda x, y: x @ y.t(),
    "layer_norm": lambda x, y: F.layer_norm(x, (6,)),
    "cumsum": lambda x, y: x.cumsum(0),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_second_call(name):
    x, y = rushlight.randn(4, 6), rushlight.randn(4, 6)
    first, second = CALLS[name](x, y), CALLS[name](x, y)
    assert first.dtype is second.dtype and first.stride() == second.stride()
    assert first.data_ptr() != second.data_ptr()
    np.testing.assert_array_equal(first.float().numpy(), second.float().numpy())
    found = []
    for _ in range(2):
        x = x.detach().requires_grad_()
        out = CALLS[name](x, y)
        if out.requires_grad:
            found.append((rushlight.autograd.grad(out.sum(), x)[0], out.grad_fn.name()))
    if found:
        assert found[0][1] == found[1][1]
        np.testing.assert_array_equal(found[0][0].numpy(), found[1][0].numpy())


def test_attributes_and_the_default_dtype_are_part_of_it():
    x = rushlight.arange(6).reshape(2, 3)
    assert x.sum(0).tolist() == [3, 5, 7] and x.sum(1).tolist() == [3, 12]
    assert x.sum(1, keepdim=True).shape == (2, 1)
    assert rushlight.exp(x).dtype is rushlight.float32
    rushlight.set_default_dtype(rushlight.float64)
    try:
        assert rushlight.exp(x).dtype is rushlight.float64 and F.leaky_relu(x.double(), 0.1).dtype is rushlight.float64
    finally:
        rushlight.set_default_dtype(rushlight.float32)
    y = rushlight.tensor([-1.0, 2.0])
    assert F.leaky_relu(y, 0.1)[0] != F.leaky_relu(y, 0.2)[0]


def test_errors_stay_errors():
    x, y = rushlight.ones(2, 3), rushlight.ones(4, 3)
    for _ in range(3):
        with pytest.raises(RuntimeError, match="size"):
            rushlight.where(x > 0, x, y)
        with pytest.raises(IndexError):
            x.amax(5)
        with pytest.raises(RuntimeError):
            rushlight.mm(x, x)


def test_results_are_memory_of_their_own():
    x = rushlight.ones(3)
    for _ in range(2):
        for y in (x.clamp(0, 2), x.clone(), F.leaky_relu(x), rushlight.cat([x]), x.round()):
            y.zero_()
            assert x.tolist() == [1, 1, 1]


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(dispatch, "_MOST", 8)
    for n in range(1, 40):
        rushlight.ones(n).amax(0)
    assert len(dispatch._PLANS) <= 8


def test_modes_see_every_op():
    x = rushlight.ones(3)
    F.softmax(x, 0)
    with rushlight.inference_mode():
        assert F.softmax(x, 0).is_inference()
    with rushlight.autocast("cpu", rushlight.bfloat16):
        w = rushlight.ones(4, 3)
        assert F.linear(x, w).dtype is rushlight.bfloat16
    assert F.linear(x, w).dtype is rushlight.float32
