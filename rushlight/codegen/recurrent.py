"""Recurrent layers with generated cells: one pass over the gates of a step, forward and backward.

The walk over the steps and the products are those of ops/neural_recurrent.py; what stands between two products is one
kernel here instead of a dozen passes. The arguments of the gates and their gradients lie in the order of PyTorch's weights, so
that these are used as they are; the gates that are kept lie as they do there.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from rushlight.codegen import mathlib
from rushlight.codegen.layout import short
from rushlight.codegen.loops import (
    Buffer,
    Grid,
    Kernel,
    Lanes,
    Let,
    Number,
    Store,
    load,
    number,
    ref,
)
from rushlight.codegen.lower import I0
from rushlight.codegen.program import Program
from rushlight.ops import neural_recurrent as plain

GRAIN = 1 << 12  # elements of the state that are worth a thread


def _at(gate, gates):
    """Element j of a gate of row i."""
    return (("i", f"w{gates}"), (f"gate{gate}", 1), ("j", 1)) if gate else (("i", f"w{gates}"), ("j", 1))


STATE = (("i", "h"), ("j", 1))


def _kernel(name, d, gates, writes, reads, body, extra=()):
    """A kernel over rows and the width of the state; `writes` and `reads` are buffers, gates lie `h` apart in theirs."""
    lets = tuple(Let(f"gate{k}", number("h") * k) for k in range(1, gates))
    numbers = [Number(n, "i64") for n in ("n", "h", f"w{gates}")]
    params = (*(Buffer(n, d) for n in (*writes, *reads)), *numbers)
    return Kernel(name, params, (Grid(("i",), (number("n"),), (*lets, Lanes("j", I0, number("h"), tuple(body)))),))


def _sigmoid(x):
    return 1 / (1 + mathlib.exp(-x))


def _lstm_forward(d):
    z = [load("z", _at(k, 4), d) + load("p", _at(k, 4), d) for k in range(4)]
    o, i, f, new = (ref(n, d) for n in ("o", "in", "f", "new"))
    body = [
        *(Let(n, _sigmoid(z[k])) for k, n in ((3, "o"), (0, "in"), (1, "f"))),
        Let("new", mathlib.tanh(z[2])),
        Let("cell", f * load("was", STATE, d) + i * new),
        *(Store("z", _at(k, 4), v) for k, v in enumerate((o, i, f, new))),
        Store("c", STATE, ref("cell", d)),
        Store("r", STATE, mathlib.tanh(ref("cell", d)) * o),
    ]
    return _kernel("lstm_cell", d, 4, ("z", "c", "r"), ("p", "was"), body)


def _lstm_backward(d):
    o, i, f, new = (load("z", _at(k, 4), d) for k in range(4))
    e, s, t = load("e", STATE, d), ref("s", d), ref("t", d)
    body = [
        Let("s", mathlib.tanh(load("c", STATE, d))),
        Let("t", load("ec", STATE, d) + e * (o * (1 - s * s))),
        Store("d", _at(3, 4), (1 - o) * o * s * e),
        Store("d", _at(0, 4), (1 - i) * i * new * t),
        Store("d", _at(1, 4), (1 - f) * f * load("before", STATE, d) * t),
        Store("d", _at(2, 4), (1 - new * new) * i * t),
        Store("ec", STATE, t * f),
    ]
    return _kernel("lstm_slopes", d, 4, ("d", "ec"), ("z", "c", "before", "e"), body)


def _gru_forward(d, biased):
    z, p = ([load(b, _at(k, 3), d) for k in range(3)] for b in "zp")
    own = p[2] + load("bias", (("j", 1),), d) if biased else p[2]
    r, u, new, h = (*(ref(n, d) for n in ("reset", "update", "new")), load("before", STATE, d))
    body = [
        Let("reset", _sigmoid(z[0] + p[0])),
        Let("update", _sigmoid(z[1] + p[1])),
        Let("own", own),
        Let("new", mathlib.tanh(z[2] + r * ref("own", d))),
        Let("state", (h - new) * u + new),
        *(Store("z", _at(k, 3), v) for k, v in enumerate((r, u, new))),
        Store("m", STATE, ref("own", d)),
        Store("r", STATE, ref("state", d)),
    ]
    return _kernel("gru_cell", d, 3, ("z", "m", "r"), ("p", "before", *(("bias",) if biased else ())), body)


def _gru_backward(d):
    r, u, new = (load("z", _at(k, 3), d) for k in range(3))
    e, own, slope = ref("arrived", d), load("own", STATE, d), ref("slope", d)
    body = [
        Let("arrived", load("e", STATE, d)),
        Let("slope", (1 - u) * (1 - new * new)),
        Let("d0", slope * (own * r * (1 - r)) * e),
        Let("d1", (load("before", STATE, d) - new) * (u * (1 - u)) * e),
        Let("d2", slope * r * e),
        *(Store("d", _at(k, 3), ref(f"d{k}", d)) for k in range(3)),
        Store("di", _at(0, 3), ref("d0", d)),
        Store("di", _at(1, 3), ref("d1", d)),
        Store("di", _at(2, 3), slope * e),
        Store("e", STATE, e * u),
    ]
    return _kernel("gru_slopes", d, 3, ("d", "di", "e"), ("z", "own", "before"), body)


@cache
def _program(make, *key):
    return Program(make(*key))


def _fits(x, *others):
    return x.dtype in (np.float32, np.float64) and all(t is None or t.dtype == x.dtype for t in others)


def _contiguous(x):
    return np.ascontiguousarray(x)


def lstm(x, h0, c0, *weights, **how):
    """The rows lstm_layer."""
    if not _fits(x, h0, c0, *weights):
        return NotImplemented
    program, hidden = _program(_lstm_forward, short(x.dtype)), c0.shape[1]
    grain = max(1, GRAIN // hidden)

    def cell(z, p, was, c, r, *scratch):
        n = len(z)
        program(n, grain, z, c, r, p, was, n, hidden, 4 * hidden)

    return plain._lstm(x, _contiguous(h0), _contiguous(c0), *weights, **how, cell=cell)


def lstm_adjoint(x, g, gh, gc, *others, **how):
    """The row lstm_layer_backward."""
    if not _fits(x, g, gh, gc, *others):
        return NotImplemented
    program = _program(_lstm_backward, short(x.dtype))

    def slopes(gates, cells, before, d):
        hidden = cells.shape[1]
        grain = max(1, GRAIN // hidden)

        def step(a, b, e, ec):
            program(b - a, grain, d[a:b], ec, gates[a:b], cells[a:b], before[a:b], e, b - a, hidden, 4 * hidden)

        return step

    return plain._lstm_adjoint(x, g, gh, gc, *others, **how, slopes=slopes)


def gru(x, h0, *weights, **how):
    """The rows gru_layer."""
    if not _fits(x, h0, *weights):
        return NotImplemented
    hidden = h0.shape[1]
    grain = max(1, GRAIN // hidden)
    program = _program(_gru_forward, short(x.dtype), weights[2] is not None)

    def cell(z, p, own_bias, h, m, r, *scratch):
        n = len(z)
        bias = () if own_bias is None else (own_bias,)
        program(n, grain, z, m, r, p, h, *bias, n, hidden, 3 * hidden)

    return plain._gru(x, _contiguous(h0), *weights, **how, cell=cell)


def gru_adjoint(x, g, gh, *others, **how):
    """The row gru_layer_backward."""
    if not _fits(x, g, gh, *others):
        return NotImplemented
    program = _program(_gru_backward, short(x.dtype))

    def slopes(gates, own, before, d, di):
        hidden = own.shape[1]
        grain = max(1, GRAIN // hidden)

        def step(a, b, e):
            program(b - a, grain, d[a:b], di[a:b], e, gates[a:b], own[a:b], before[a:b], b - a, hidden, 3 * hidden)

        return step

    return plain._gru_adjoint(x, g, gh, *others, **how, slopes=slopes)
