"""Recurrent layers: the rows equal their composites, in value, gradient and second gradient; corners of batches."""

import itertools

import numpy as np
import pytest

import rushlight as torch
from rushlight import nn
from rushlight.api.neural_recurrent import _STEPS, _composite, _relu_step

KINDS = ["lstm", "gru", "tanh", "relu"]
GATES = {"lstm": 4, "gru": 3, "tanh": 1, "relu": 1}


def layer(kind, sizes, reverse, bias=True, projected=False):
    """(inputs of one layer in one direction, the layer of rows, its composite)."""
    torch.manual_seed(1)
    n, hidden, width = (3 if sizes is None else sizes[0]), 4, (2 if projected else 4)
    make = lambda *s: torch.randn(*s, dtype=torch.float64, requires_grad=True)
    x = make(5, n, 3) if sizes is None else make(sum(sizes), 3)
    states = [make(n, width), make(n, hidden)][: 2 if kind == "lstm" else 1]
    weights = [make(GATES[kind] * hidden, 3), make(GATES[kind] * hidden, width)]
    weights += [make(GATES[kind] * hidden), make(GATES[kind] * hidden)] if bias else []
    weights += [make(width, hidden)] if projected else []
    row = kind if kind in ("lstm", "gru") else "rnn"

    def rows(x, *rest):
        k = len(states)
        hx = tuple(s.unsqueeze(0) for s in rest[:k])
        f = getattr(torch, {"tanh": "rnn_tanh", "relu": "rnn_relu"}.get(kind, kind))
        params = list(rest[k:])
        if reverse:  # the second direction of two
            hx, params = tuple(s.repeat(2, 1, 1) for s in hx), params * 2
        if sizes is None:
            out, *final = f(x, hx if k == 2 else hx[0], params, bias, 1, 0.0, True, reverse, False)
        else:
            out, *final = f(
                x, torch.tensor(sizes), hx if k == 2 else hx[0], params, bias, 1, 0.0, True, reverse
            )
        width = out.shape[-1] // (1 + reverse)
        return (out[..., -width:], *(s[-1] for s in final))

    def composite(x, *rest):
        k = len(states)
        w = list(rest[k:])
        w = [*w[:2], *(w[2:4] if bias else (None, None)), w[-1] if projected else None]
        step = _relu_step if kind == "relu" else _STEPS[row]
        out, final = _composite(step, x, tuple(rest[:k]), *w, sizes, reverse)
        return (out, *final)

    return [x, *states, *weights], rows, composite


CASES = [
    (kind, sizes, reverse, bias, projected)
    for kind, sizes, reverse, bias, projected in itertools.product(
        KINDS, (None, (4, 2, 2, 1)), (False, True), (True, False), (False, True)
    )
    if kind == "lstm" or not projected
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_equal_their_composites(case):
    inputs, rows, composite = layer(*case)
    found = []
    for f in (rows, composite):
        torch.manual_seed(2)
        outs = f(*inputs)
        weights = [torch.randn_like(o) for o in outs]
        loss = sum((o * w).sum() for o, w in zip(outs, weights))
        first = torch.autograd.grad(loss, inputs, retain_graph=True)
        again = torch.autograd.grad(loss, inputs, create_graph=True)
        second = torch.autograd.grad(sum((g * g).sum() for g in again), inputs)
        found.append([*outs, *first, *again, *second])
    for a, b in zip(*found):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_gradients_of_final_states_alone(kind):
    torch.manual_seed(0)
    net = getattr(nn, kind)(3, 4, dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)

    def last(x):
        state = net(x)[1]
        return state[1] if kind == "LSTM" else state

    assert torch.autograd.gradcheck(last, x)


def test_an_input_that_another_depends_on_counts_for_itself():
    net = nn.GRU(2, 2, dtype=torch.float64)
    x = torch.randn(3, 1, 2, dtype=torch.float64, requires_grad=True)
    f = lambda x: net(x, x.mean(0, keepdim=True))[0].sum()
    assert torch.autograd.gradcheck(f, x) and torch.autograd.gradgradcheck(f, x)


def test_corners_of_batches():
    for kind in ("LSTM", "GRU", "RNN"):
        net = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=True)
        out, _ = net(torch.rand(5, 0, 3))
        assert out.shape == (5, 0, 8)
        with pytest.raises(RuntimeError, match="larger than 0"):
            net(torch.rand(0, 2, 3))
        with torch.no_grad():
            assert net(torch.rand(1, 1, 3))[0].grad_fn is None
        half = getattr(nn, kind)(3, 4, dtype=torch.bfloat16)
        out, _ = half(torch.rand(2, 2, 3, dtype=torch.bfloat16))
        out.sum().backward()
        assert out.dtype is torch.bfloat16 and half.weight_hh_l0.grad.dtype is torch.bfloat16
    net = nn.LSTM(3, 4)
    for p in net.parameters():
        p.requires_grad_(False)
    x = torch.rand(2, 2, 3, requires_grad=True)
    net(x)[0].sum().backward()
    assert x.grad is not None and net.weight_hh_l0.grad is None


def test_saved_values_are_guarded():
    net = nn.RNN(3, 4)
    out, _ = net(torch.rand(2, 2, 3))
    with torch.no_grad():
        net.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


def test_meta_and_counting():
    out, (h, c) = nn.LSTM(3, 4, 2, bidirectional=True, device="meta")(
        torch.rand(5, 2, 3, device="meta")
    )
    assert out.shape == (5, 2, 8) and h.shape == c.shape == (4, 2, 4)
    assert torch.summary(nn.GRU(3, 4), (5, 2, 3)).total_mult_adds == 5 * 2 * 12 * 7
