"""Recurrent layers with generated cells equal their NumPy reading: padded, packed, reversed, projected."""

import itertools

import numpy as np
import pytest

from rushlight.codegen import native
from rushlight.ops import neural_recurrent as plain

if not native.available():
    pytest.skip("no compiler here", allow_module_level=True)

from rushlight.codegen import recurrent  # noqa: E402

HOW = list(itertools.product((None, (5, 5, 3, 1)), (False, True), (np.float32, np.float64), (True, False)))


def drawn(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype) * dtype(0.5)


def close(found, expected, dtype):
    near = {"rtol": 2e-5, "atol": 2e-5} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, **near)


@pytest.mark.parametrize(("sizes", "reverse", "dtype", "biased"), HOW)
@pytest.mark.parametrize("projected", [False, True])
def test_lstm(sizes, reverse, dtype, biased, projected):
    rng = np.random.default_rng(0)
    inputs, hidden, width = 7, 13, 6 if projected else 13
    x = drawn(rng, dtype, 14, inputs) if sizes else drawn(rng, dtype, 4, 5, inputs)
    h, c = drawn(rng, dtype, 5, width), drawn(rng, dtype, 5, hidden)
    w = [drawn(rng, dtype, 4 * hidden, inputs), drawn(rng, dtype, 4 * hidden, width)]
    w += [drawn(rng, dtype, 4 * hidden), drawn(rng, dtype, 4 * hidden)] if biased else [None, None]
    w.append(drawn(rng, dtype, width, hidden) if projected else None)
    how = {"sizes": sizes, "reverse": reverse}
    found = recurrent.lstm(x, h, c, *w, **how)
    expected = plain._lstm(x, h, c, *w, **how)
    close(found, expected, dtype)
    out, _, _, gates, cells = expected
    for gh, gc in ((None, None), (drawn(rng, dtype, *h.shape), drawn(rng, dtype, *c.shape))):
        given = (x, drawn(rng, dtype, *out.shape), gh, gc, h, c, *w, out, gates, cells)
        close(recurrent.lstm_adjoint(*given, **how), plain._lstm_adjoint(*given, **how), dtype)


@pytest.mark.parametrize(("sizes", "reverse", "dtype", "biased"), HOW)
def test_gru(sizes, reverse, dtype, biased):
    rng = np.random.default_rng(0)
    inputs, hidden = 7, 13
    x = drawn(rng, dtype, 14, inputs) if sizes else drawn(rng, dtype, 4, 5, inputs)
    h = drawn(rng, dtype, 5, hidden)
    w = [drawn(rng, dtype, 3 * hidden, inputs), drawn(rng, dtype, 3 * hidden, hidden)]
    w += [drawn(rng, dtype, 3 * hidden), drawn(rng, dtype, 3 * hidden)] if biased else [None, None]
    how = {"sizes": sizes, "reverse": reverse}
    found = recurrent.gru(x, h, *w, **how)
    expected = plain._gru(x, h, *w, **how)
    close(found, expected, dtype)
    out, _, gates, own = expected
    for g, gh in ((drawn(rng, dtype, *out.shape), None), (None, drawn(rng, dtype, *h.shape))):
        given = (x, g, gh, h, *w, out, gates, own)
        close(recurrent.gru_adjoint(*given, **how), plain._gru_adjoint(*given, **how), dtype)
