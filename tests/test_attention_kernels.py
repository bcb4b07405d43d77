"""Attention by generated kernels equals its NumPy reading: blocks, masks, layouts, dtypes."""

import numpy as np
import pytest

import rushlight
from rushlight.codegen import native
from rushlight.ops import neural_attention as plain

if not native.available():
    pytest.skip("kernels need llvmlite", allow_module_level=True)

from rushlight.codegen import attention  # noqa: E402

SHAPES = [(2, 3, 128, 128, 32), (1, 2, 37, 61, 17), (2, 2, 200, 130, 64), (1, 1, 1, 300, 64), (3, 2, 65, 65, 8), (1, 1, 700, 1030, 16)]


def operands(b, h, t, s, e, dtype, transposed):
    rng = np.random.default_rng(0)
    out = []
    for n in (t, s, s, t):
        shape = (b, n, h, e) if transposed else (b, h, n, e)
        a = rng.standard_normal(shape).astype(dtype)
        out.append(a.swapaxes(1, 2) if transposed else a)
    return out


def masks(kind, b, h, t, s, dtype):
    rng = np.random.default_rng(1)
    if kind == "bool":
        m = rng.random((b, h, t, s)) > 0.3
        m[0, 0, 0] = False  # this query sees nothing
        return m
    if kind == "keys":
        return rng.random((b, 1, 1, s)) > 0.2
    if kind == "queries":
        return (rng.random((t, 1)) > 0.2) | (np.arange(t)[:, None] == 0)
    return rng.standard_normal((t, s)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [None, "causal", "bool", "keys", "queries", "added"])
def test_forward_and_backward(shape, dtype, kind):
    b, h, t, s, e = shape
    q, k, v, g = operands(*shape, dtype, transposed=kind != "bool")
    mask = None if kind in (None, "causal") else masks(kind, b, h, t, s, dtype)
    scale, causal = e**-0.5, kind == "causal"
    out, total = attention.attention(q, k, v, mask, scale, causal)
    expected, logs = plain._attention(q, k, v, mask, scale, causal)
    near = {"rtol": 1e-4, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-12}
    np.testing.assert_allclose(out, expected, **near)
    np.testing.assert_allclose(total, logs, **near)
    found = attention.attention_adjoint(g, q, k, v, mask, out, total, scale, causal)
    for a, b_ in zip(found, plain._attention_adjoint(g, q, k, v, mask, out, total, scale, causal)):
        np.testing.assert_allclose(a, b_, **near)


def test_the_number_of_threads_changes_no_digit():
    q, k, v, g = operands(2, 3, 150, 150, 32, np.float32, True)
    before, found = rushlight.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            rushlight.set_num_threads(threads)
            out, total = attention.attention(q, k, v, None, 0.2, True)
            found.append((out, *attention.attention_adjoint(g, q, k, v, None, out, total, 0.2, True)))
    finally:
        rushlight.set_num_threads(before)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other))


def test_what_it_does_not_take_is_left_to_numpy():
    q, k, v, _ = operands(1, 2, 64, 64, 32, np.float32, False)
    strided = np.repeat(q, 2, axis=-1)[..., ::2]
    assert attention.attention(strided, k, v, None, 1.0, False) is NotImplemented
    assert attention.attention(q[:, :, ::-1], k, v, None, 1.0, False) is NotImplemented


def test_half_types_and_long_sequences_through_the_public_function():
    rushlight.manual_seed(0)
    q = rushlight.randn(1, 2, 96, 32)
    full = rushlight.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    half = rushlight.nn.functional.scaled_dot_product_attention(*[q.bfloat16()] * 3, is_causal=True)
    assert half.dtype is rushlight.bfloat16
    assert float((half.float() - full).abs().max()) < 0.05
