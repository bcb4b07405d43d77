"""LSTM layers as the steps that they are: products and pointwise arithmetic, so that a step is two kernels.

Forward, of a padded batch (T, N, F): all inputs times w_ih at once; then for each step P = x_t + h w_hh^T, and one kernel for
the gates, the cell and the state. Backward: one kernel for the gates' gradients, one product for the state's; the gradients
of weights are products over all steps at the end.

The memory of the row's result `gates` holds the gates i, f, g, o one after another, each (T, N, H): that is this file's own
order, so the two rows are done here both or neither (`taken` depends on what they have in common).
"""

from __future__ import annotations

import numpy as np

from rushlight.compiler.graph import Place

MOST = 160  # steps that are written out
_WORDS = (np.dtype(np.float32), np.dtype(np.float64))


def _taken(node, x, h, c, weights, w_hr):
    given = [p for p in (h, c, *weights) if p is not None]
    if w_hr is not None or node.attrs["sizes"] is not None or len(x.shape) != 3 or not x.size or x.shape[0] > MOST:
        return False
    return x.dtype in _WORDS and all(p.__class__ is Place and p.dtype == x.dtype for p in given)


def _t(p):
    """The transposed matrix."""
    return p._replace(shape=p.shape[::-1], strides=p.strides[::-1])


def _rows(p, shape):
    """Dense memory seen in another shape."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return p._replace(shape=tuple(shape), strides=tuple(reversed(strides)))


def _step(p, t):
    """Step t of dense memory (T, N, ...)."""
    return p._replace(shape=p.shape[1:], strides=p.strides[1:], offset=p.offset + t * p.strides[0])


def _gates(p, t, count, n, hidden):
    """i, f, g, o of step t in the memory of `gates`."""
    return [p._replace(shape=(n, hidden), strides=(hidden, 1), offset=p.offset + (k * count + t) * n * hidden) for k in range(4)]


def _parts(p, hidden):
    """The four gates in a (N, 4 H) matrix."""
    return [p._replace(shape=(p.shape[0], hidden), offset=p.offset + k * hidden * p.strides[1]) for k in range(4)]


def forward(b, node):
    x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr = node.reads
    if not _taken(node, x, h, c, (w_ih, w_hh, b_ih, b_hh), w_hr):
        return False
    x = x if x.dense() else b.op("clone", x, order="C")
    out, h_last, c_last, gates, cells = node.writes
    count, n, features = x.shape
    hidden = c.shape[1]
    order = range(count)[::-1] if node.attrs["reverse"] else range(count)
    flat, states, memory = _rows(x, (count * n, features)), _rows(out, (count, n, hidden)), _rows(cells, (count, n, hidden))
    if b_ih is None:
        inputs = b.op("mm", flat, _t(w_ih))
    else:
        inputs = b.op("linear", flat, w_ih, b.op("add", b_ih, b_hh))
    inputs = _rows(inputs, (count, n, 4 * hidden))
    for t in order:
        i, f, g, o = _parts(b.op("addmm", _step(inputs, t), h, _t(w_hh), beta=1, alpha=1), hidden)
        si, sf, sg, so = _gates(gates, t, count, n, hidden)
        i, f = b.op("sigmoid", i, into=si), b.op("sigmoid", f, into=sf)
        g, o = b.op("tanh", g, into=sg), b.op("sigmoid", o, into=so)
        c = b.op("add", b.op("mul", f, c), b.op("mul", i, g), into=_step(memory, t))
        h = b.op("mul", o, b.op("tanh", c), into=_step(states, t))
    b.copy(h, h_last)
    b.copy(c, c_last)
    return True


def backward(b, node):
    x, g, gh, gc, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, out, gates, cells = node.reads
    if not _taken(node, x, h0, c0, (w_ih, w_hh, b_ih, b_hh), w_hr) or any(p is not None and p.dtype != x.dtype for p in (g, gh, gc)):
        return False
    x = x if x.dense() else b.op("clone", x, order="C")
    count, n, features = x.shape
    hidden = c0.shape[1]
    order = range(count)[::-1] if node.attrs["reverse"] else range(count)
    states, memory = _rows(out, (count, n, hidden)), _rows(cells, (count, n, hidden))
    d = b.new((count, n, 4 * hidden), x.dtype)
    dh, dc = gh, gc
    steps = list(order)
    for k in range(count - 1, -1, -1):
        t = steps[k]
        before = _step(memory, steps[k - 1]) if k else c0
        e = dh if g is None else _step(g, t) if dh is None else b.op("add", dh, _step(g, t))
        i, f, new, o = _gates(gates, t, count, n, hidden)
        di, df, dg, do = _parts(_step(d, t), hidden)
        if e is None:  # nothing has come in yet
            e = b.op("mul", i, 0.0)
        squashed = b.op("tanh", _step(memory, t))
        one = _less(b, squashed)
        ec = b.op("mul", b.op("mul", e, o), one)
        ec = ec if dc is None else b.op("add", ec, dc)
        b.op("mul", b.op("mul", e, squashed), _slope(b, o), into=do)
        b.op("mul", b.op("mul", ec, new), _slope(b, i), into=di)
        b.op("mul", b.op("mul", ec, before), _slope(b, f), into=df)
        b.op("mul", b.op("mul", ec, i), _less(b, new), into=dg)
        dc = b.op("mul", ec, f)
        dh = b.op("mm", _step(d, t), w_hh)
    rows = _rows(d, (count * n, 4 * hidden))
    results = iter(node.writes)
    b.op("mm", rows, w_ih, into=_rows(next(results), (count * n, features)))
    b.copy(dh, next(results))
    b.copy(dc, next(results))
    b.op("mm", _t(rows), _rows(x, (count * n, features)), into=next(results))
    _hidden_weights(b, d, states, h0, steps, next(results))
    if b_ih is not None:
        total = b.op("sum_dim", rows, axes=(0,), keepdim=False, into=next(results))
        b.copy(total, next(results))
    return True


def _hidden_weights(b, d, states, h0, steps, into):
    """The sum over steps of d_t^T times the state before."""
    first, last = steps[0], steps[-1]
    count, n, wide = d.shape
    if count == 1:
        b.op("mm", _t(_step(d, first)), h0, into=into)
        return
    start = b.op("mm", _t(_step(d, first)), h0)
    size = (count - 1) * n
    later = min(steps[1], last) if first < last else last
    earlier = first if first < last else min(first, steps[-2])
    some = _rows(_step(d, later), (size, wide))
    before = _rows(_step(states, earlier), (size, states.shape[2]))
    b.op("addmm", start, _t(some), before, beta=1, alpha=1, into=into)


def _slope(b, s):
    """s (1 - s)"""
    return b.op("mul", s, b.op("rsub_number", s, 1.0))


def _less(b, s):
    """1 - s^2"""
    return b.op("rsub_number", b.op("square", s), 1.0)


RULES = {"lstm_layer": forward, "lstm_layer_packed": forward, "lstm_layer_float32": forward, "lstm_layer_backward": backward}
__all__ = ["RULES"]
