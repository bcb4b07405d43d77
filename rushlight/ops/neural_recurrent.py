"""Recurrent layers: one layer in one direction over a whole sequence is one row, one autograd node.

A kernel multiplies the input of all time steps by its weights at once, so a step costs one product by
the hidden weights and a few ufuncs on preallocated memory. The adjoint forms everything that does not
depend on later steps for all steps at once too; what is left of a step is again one product and a few
ufuncs. Weight gradients are one product each, at the end.

Rows of a batch. Steps follow each other in memory: a padded batch (T, N, F) has N rows in every step,
a packed one (total, F) `sizes[t]` rows, which never grow. A sequence that has ended keeps its state
(forwards), one that has not begun has its initial state (backwards in time).

Gates. LSTM weights are used in the order output, input, forget, cell, so that the three sigmoids are
one slice, and so are the three gates that follow the cell's gradient; GRU's are reset, update, new, as
PyTorch has them. The weights of sigmoids are negated, so that a step starts with exp(-z).

Results beside the output and the final states are what the adjoint reads. The adjoint is one formula
for all inputs (`joint`), with a composite as its `reference` (api/neural_recurrent.py).
"""

from __future__ import annotations

import numpy as np

from rushlight.ops.families import view
from rushlight.ops.neural_base import Spec, dtype_of, floating, neural

LSTM_ORDER = (3, 0, 1, 2)  # PyTorch's place of output, input, forget and cell
_SIGMOIDS = {4: 3, 3: 2}  # gates -> how many of them, the first ones, are sigmoids


# ---- steps ---------------------------------------------------------------------------------------


def _steps(x, sizes, reverse):
    """(first row, number of rows) of each time step, in the order in which they run."""
    if sizes is None:
        batch = x.shape[1]
        steps = [(t * batch, batch) for t in range(x.shape[0])]
    else:
        steps, start = [], 0
        for n in sizes:
            steps.append((start, n))
            start += n
    return steps[::-1] if reverse else steps


def _state_before(steps, initial, states):
    """For each row of `states` the row that the step before it left, or the initial one."""
    before = np.empty_like(states)
    batch = len(initial)
    if steps and all([n == batch for _, n in steps]):  # a shift by one step
        later = before[batch:], states[:-batch] if batch else states
        if steps[0][0]:
            later = before[:-batch], states[batch:]
        later[0][...] = later[1]
        before[steps[0][0] : steps[0][0] + batch] = initial
        return before
    start = rows = 0  # of the step before: at first there is none
    for a, n in steps:
        m = min(n, rows)
        before[a : a + m] = states[start : start + m]
        before[a + m : a + n] = initial[m:n]
        start, rows = a, n
    return before


def _last_states(steps, initial, states):
    """The state of each sequence at its end."""
    if steps and steps[-1][1] == len(initial) and all([n == len(initial) for _, n in steps]):
        return states[steps[-1][0] :][: len(initial)].copy()
    last = initial.copy()
    for a, n in steps:
        last[:n] = states[a : a + n]
    return last


def _continued(state, n, initial):
    """The state for a step of n rows: those that go on, and those that begin with it."""
    m = len(state)
    return state[:n] if n <= m else np.concatenate([state, initial[m:n]])


def _sigmoid_of_negated(z, scratch):
    """1 / (1 + exp(z)), in place; contiguous scratch memory is quicker to work on than a slice."""
    np.exp(z, scratch)
    scratch += 1
    np.reciprocal(scratch, z)


def _arranged(w, hidden, gates):
    """Weights or a bias with the gates in the order of the kernel and the sigmoids negated."""
    blocks = w.reshape(gates, hidden, *w.shape[1:])
    blocks = blocks[list(LSTM_ORDER)] if gates == 4 else blocks.copy()
    k = _SIGMOIDS[gates]
    np.negative(blocks[:k], blocks[:k])
    return blocks.reshape(w.shape)


def _ordered(w, hidden):
    """LSTM weights with the gates in the order of the kernel."""
    return w.reshape(4, hidden, *w.shape[1:])[list(LSTM_ORDER)].reshape(w.shape)


def _disordered(w, hidden):
    """The gradient of LSTM weights with the gates in PyTorch's order."""
    out = np.empty_like(w)
    out.reshape(4, hidden, *w.shape[1:])[list(LSTM_ORDER)] = w.reshape(4, hidden, *w.shape[1:])
    return out


def _flat(x):
    return x.reshape(-1, x.shape[-1])


def _gradients(d, dh, x, before, w_ih, has_bias):
    """Those of the input, the weights and the biases, from the gates' gradients `d` (of the input's
    part) and `dh` (of the hidden part).
    """
    rows = _flat(x)
    bias = d.sum(0) if has_bias else None
    biases = (bias, bias if dh is d or bias is None else dh.sum(0))
    dx = np.empty(x.shape, d.dtype)
    np.dot(d, w_ih, _flat(dx))
    return dx, d.T.dot(rows), dh.T.dot(before), *biases


# ---- LSTM ----------------------------------------------------------------------------------------


def _lstm_cell(z, p, was, c, r, s, squashing):
    """One step: arguments z and p of the gates (z becomes the gates), cell before, cell and raw state to be written."""
    hidden = c.shape[1]
    z += p
    _sigmoid_of_negated(z[:, : 3 * hidden], squashing)
    new = z[:, 3 * hidden :]
    np.tanh(new, new)
    np.multiply(z[:, hidden : 2 * hidden], new, s)
    np.multiply(z[:, 2 * hidden : 3 * hidden], was, c)
    c += s
    np.tanh(c, r)
    r *= z[:, :hidden]


def _lstm(x, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse, cell=None):
    """`cell` takes the arguments of the gates as PyTorch's weights give them; the one here takes them arranged."""
    hidden = c0.shape[1]
    if cell is None:
        cell = _lstm_cell
        w_ih, w = _arranged(w_ih, hidden, 4), np.ascontiguousarray(_arranged(w_hh, hidden, 4).T)
        bias = None if b_ih is None else _arranged(b_ih + b_hh, hidden, 4)
    else:
        w, bias = w_hh.T, None if b_ih is None else b_ih + b_hh
    gates = _flat(x).dot(w_ih.T)
    if bias is not None:
        gates += bias
    total = len(gates)
    whole = np.empty((*x.shape[:-1], h0.shape[1]), gates.dtype)
    out, cells = _flat(whole), np.empty((total, hidden), gates.dtype)
    raw = out if w_hr is None else np.empty((total, hidden), gates.dtype)
    product, scratch = np.empty((len(h0), 4 * hidden), gates.dtype), np.empty_like(c0)
    squashing = np.empty((len(h0), 3 * hidden), gates.dtype)
    h, c = h0, c0
    steps = _steps(x, sizes, reverse)
    for a, n in steps:
        if len(h) != n:
            h, c = _continued(h, n, h0), _continued(c, n, c0)
        b = a + n
        c, was = cells[a:b], c
        r = raw[a:b]
        cell(gates[a:b], np.dot(h, w, product[:n]), was, c, r, scratch[:n], squashing[:n])
        h = r
        if w_hr is not None:
            h = np.dot(r, w_hr.T, out[a:b])
    return (
        whole,
        *(_last_states(steps, i, s) for i, s in ((h0, out), (c0, cells))),
        gates,
        cells,
    )


def _lstm_slopes(gates, cells, before, d):
    """step(a, b, e, ec) for rows a:b: the gates' gradients into d from e, the state's, and ec, the cell's, which goes on to the step before."""
    hidden = cells.shape[1]
    o, i, f, new = (gates[:, k * hidden : (k + 1) * hidden] for k in range(4))
    squashed = np.tanh(cells)
    through = o * (1 - squashed * squashed)  # how h depends on c
    three = gates[:, : 3 * hidden]
    np.subtract(1, three, d[:, : 3 * hidden])
    d[:, : 3 * hidden] *= three
    d[:, :hidden] *= squashed
    d[:, hidden : 2 * hidden] *= new
    d[:, 2 * hidden : 3 * hidden] *= before
    last = d[:, 3 * hidden :]
    np.multiply(new, new, last)
    np.subtract(1, last, last)
    last *= i
    by_gate = d.reshape(-1, 4, hidden)

    def step(a, b, e, ec):
        slopes = by_gate[a:b]
        ec += e * through[a:b]
        slopes[:, 0] *= e
        slopes[:, 1:] *= ec[:, None]
        ec *= f[a:b]

    return step


def _lstm_adjoint(
    x, g, gh, gc, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, out, gates, cells, sizes, reverse, slopes=None
):
    """`slopes` gives the gates' gradients in the order of PyTorch's weights; the one here in that of the gates."""
    hidden = c0.shape[1]
    ordered, disordered = _ordered, _disordered
    if slopes is None:
        slopes = _lstm_slopes
    else:
        ordered = disordered = lambda w, hidden: w
    steps = _steps(x, sizes, reverse)
    out = _flat(out)
    before, cells_before = _state_before(steps, h0, out), _state_before(steps, c0, cells)
    d = np.empty_like(gates)
    step = slopes(gates, cells, cells_before, d)
    w = ordered(w_hh, hidden)
    dh, dc = (np.zeros_like(s) if t is None else t.copy() for s, t in ((h0, gh), (c0, gc)))
    g = None if g is None else _flat(g)
    dout = None if w_hr is None else np.empty_like(out)
    for a, n in reversed(steps):
        b = a + n
        e = dh[:n]
        if g is not None:
            e += g[a:b]
        if w_hr is not None:
            dout[a:b] = e
            e = e.dot(w_hr)
        step(a, b, e, dc[:n])
        np.dot(d[a:b], w, dh[:n])
    dx, dw_ih, dw_hh, db_ih, db_hh = _gradients(
        d, d, x, before, ordered(w_ih, hidden), b_ih is not None
    )
    weights = [None if t is None else disordered(t, hidden) for t in (dw_ih, dw_hh, db_ih, db_hh)]
    found = [dx, dh, dc, *weights]
    if w_hr is not None:
        found.append(dout.T.dot(gates[:, :hidden] * np.tanh(cells)))
    return tuple(t for t in found if t is not None)


# ---- GRU -----------------------------------------------------------------------------------------


def _gru_cell(z, p, own_bias, h, m, r, squashing):
    """One step: arguments z and p of the gates (z becomes the gates), state before; m (the hidden part of the new gate) and state to be written."""
    hidden = h.shape[1]
    two = 2 * hidden
    both = z[:, :two]
    both += p[:, :two]
    _sigmoid_of_negated(both, squashing)
    if own_bias is None:
        m[...] = p[:, two:]
    else:
        np.add(p[:, two:], own_bias, m)
    new = z[:, two:]
    np.multiply(z[:, :hidden], m, r)
    new += r
    np.tanh(new, new)
    np.subtract(h, new, r)
    r *= z[:, hidden:two]
    r += new


def _gru(x, h0, w_ih, w_hh, b_ih, b_hh, sizes, reverse, cell=None):
    """`cell` takes the arguments of the gates as PyTorch's weights give them; the one here with those of the sigmoids negated."""
    hidden = h0.shape[1]
    two = 2 * hidden
    arranged = lambda w: w.copy() if w.ndim == 1 else w  # noqa: E731
    w = w_hh.T
    if cell is None:
        cell, arranged = _gru_cell, lambda w: _arranged(w, hidden, 3)
        w = np.ascontiguousarray(arranged(w_hh).T)
    gates = _flat(x).dot(arranged(w_ih).T)
    own_bias = None
    if b_ih is not None:
        bias, hidden_bias = arranged(b_ih), arranged(b_hh)
        bias[:two] += hidden_bias[:two]
        gates += bias
        own_bias = hidden_bias[two:]
    total = len(gates)
    whole = np.empty((*x.shape[:-1], hidden), gates.dtype)
    out, own = _flat(whole), np.empty((total, hidden), gates.dtype)
    product = np.empty((len(h0), 3 * hidden), gates.dtype)
    squashing = np.empty((len(h0), two), gates.dtype)
    h = h0
    steps = _steps(x, sizes, reverse)
    for a, n in steps:
        if len(h) != n:
            h = _continued(h, n, h0)
        b = a + n
        r = out[a:b]
        cell(gates[a:b], np.dot(h, w, product[:n]), own_bias, h, own[a:b], r, squashing[:n])
        h = r
    return whole, _last_states(steps, h0, out), gates, own


def _gru_slopes(gates, own, before, d, di):
    """step(a, b, e) for rows a:b: the gates' gradients into d (hidden part) and di (the input's) from e, the state's; e goes on to the step before."""
    hidden = own.shape[1]
    r, z, new = (gates[:, k * hidden : (k + 1) * hidden] for k in range(3))
    slope = (1 - z) * (1 - new * new)  # how h depends on the argument of the new gate
    np.multiply(slope, own * r * (1 - r), d[:, :hidden])
    np.multiply(before - new, z * (1 - z), d[:, hidden : 2 * hidden])
    np.multiply(slope, r, d[:, 2 * hidden :])
    by_gate = d.reshape(-1, 3, hidden)

    def step(a, b, e):
        by_gate[a:b] *= e[:, None]
        di[a:b, : 2 * hidden] = d[a:b, : 2 * hidden]
        np.multiply(e, slope[a:b], di[a:b, 2 * hidden :])
        e *= z[a:b]

    return step


def _gru_adjoint(x, g, gh, h0, w_ih, w_hh, b_ih, b_hh, out, gates, own, sizes, reverse, slopes=_gru_slopes):
    steps = _steps(x, sizes, reverse)
    before = _state_before(steps, h0, _flat(out))
    d, di = np.empty_like(gates), np.empty_like(gates)
    step = slopes(gates, own, before, d, di)
    dh = np.zeros_like(h0) if gh is None else gh.copy()
    g = None if g is None else _flat(g)
    scratch = np.empty_like(h0)
    for a, n in reversed(steps):
        b = a + n
        e = dh[:n]
        if g is not None:
            e += g[a:b]
        step(a, b, e)
        e += np.dot(d[a:b], w_hh, scratch[:n])
    dx, *weights = _gradients(di, d, x, before, w_ih, b_ih is not None)
    return tuple(t for t in (dx, dh, *weights) if t is not None)


# ---- Elman ---------------------------------------------------------------------------------------


def _rnn(x, h0, w_ih, w_hh, b_ih, b_hh, sizes, reverse, relu):
    out = _flat(x).dot(w_ih.T)
    if b_ih is not None:
        out += b_ih + b_hh
    w = np.ascontiguousarray(w_hh.T)
    product = np.empty_like(h0)
    h = h0
    steps = _steps(x, sizes, reverse)
    for a, n in steps:
        if len(h) != n:
            h = _continued(h, n, h0)
        z = out[a : a + n]
        z += np.dot(h, w, product[:n])
        np.maximum(z, 0, out=z) if relu else np.tanh(z, z)
        h = z
    return out.reshape(*x.shape[:-1], h0.shape[1]), _last_states(steps, h0, out)


def _rnn_adjoint(x, g, gh, h0, w_ih, w_hh, b_ih, b_hh, out, sizes, reverse, relu):
    steps = _steps(x, sizes, reverse)
    out = _flat(out)
    before = _state_before(steps, h0, out)
    d = (out > 0).astype(out.dtype) if relu else 1 - out * out
    dh = np.zeros_like(h0) if gh is None else gh.copy()
    g = None if g is None else _flat(g)
    for a, n in reversed(steps):
        e, t = dh[:n], d[a : a + n]
        if g is not None:
            e += g[a : a + n]
        t *= e
        np.dot(t, w_hh, e)
    dx, *weights = _gradients(d, d, x, before, w_ih, b_ih is not None)
    return tuple(t for t in (dx, dh, *weights) if t is not None)


# ---- rows ----------------------------------------------------------------------------------------


def _layer_spec(saved):
    """Output, final states, and the `saved` results: (gates, whether it has the width of the state)."""

    def spec(op, args, attrs):
        x, h = args[0]._data.shape, args[1]._data.shape
        d = floating(op, dtype_of(args[0]))
        for name, t in zip(op.inputs, args):
            if t is not None and dtype_of(t) is not d:
                raise RuntimeError(
                    f"{op.name}(): expected {name} of dtype {d}, as the input is, but got {dtype_of(t)}"
                )
        total = 1
        for n in x[:-1]:
            total *= n
        kept = d.compute or d
        hidden = args[op.inputs.index("w_hh")]._data.shape[0] // max(saved, 1)
        results = [Spec((*x[:-1], h[1]), d), Spec(h, d)]
        if saved == 4:
            results.append(Spec(args[2]._data.shape, d))
        if saved:
            results += [Spec((total, saved * hidden), kept), Spec((total, hidden), kept)]
        return tuple(results)

    return spec


def _adjoint_spec(given):
    """A gradient for each of the layer's inputs that there is; `given` gradients of results come first."""

    def spec(op, args, attrs):
        x, d = args[0], dtype_of(args[0])
        inputs = [x, *args[1 + given : len(op.inputs) - op.inputs[::-1].index("b_hh")]]
        if "w_hr" in op.inputs:
            inputs.append(args[op.inputs.index("w_hr")])
        return tuple(Spec(t._data.shape, d) for t in inputs if t is not None)

    return spec


def _spread(found, present):
    """The gradients found, with None for the inputs that are absent."""
    found = iter(found)
    return [next(found) if p else None for p in present]


def _lstm_formula(g, x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr, out0, out3, out4, sizes, reverse):
    found = x._fused(
        "lstm_layer_backward",
        *g[:3],
        h,
        c,
        w_ih,
        w_hh,
        b_ih,
        b_hh,
        w_hr,
        out0,
        out3,
        out4,
        sizes=sizes,
        reverse=reverse,
    )
    return _spread(found, [True] * 5 + [b_ih is not None] * 2 + [w_hr is not None])


def _gru_formula(g, x, h, w_ih, w_hh, b_ih, b_hh, out0, out2, out3, sizes, reverse):
    found = x._fused(
        "gru_layer_backward",
        *g[:2],
        h,
        w_ih,
        w_hh,
        b_ih,
        b_hh,
        out0,
        out2,
        out3,
        sizes=sizes,
        reverse=reverse,
    )
    return _spread(found, [True] * 4 + [b_ih is not None] * 2)


def _rnn_formula(g, x, h, w_ih, w_hh, b_ih, b_hh, out0, sizes, reverse, relu):
    found = x._fused(
        "rnn_layer_backward",
        *g[:2],
        h,
        w_ih,
        w_hh,
        b_ih,
        b_hh,
        out0,
        sizes=sizes,
        reverse=reverse,
        relu=relu,
    )
    return _spread(found, [True] * 4 + [b_ih is not None] * 2)


_BIASES = ("b_ih", "b_hh")
_WEIGHTS = ("w_ih", "w_hh", *_BIASES)


def _rows(name, nodes, states, saved, kernel, adjoint, formula, more=()):
    """A layer under each of its names, which print different nodes, and the adjoint."""
    inputs = ("x", *states, *_WEIGHTS, *more)
    columns = dict(
        inputs=inputs,
        optional=(*_BIASES, *more),
        outputs=1 + len(states) + 2 * bool(saved),
        differentiable=tuple(range(1 + len(states))),
        autocast="lower",
        joint=True,
    )
    for kind, shown in nodes.items():
        neural(
            f"{name}_layer{kind}",
            _layer_spec(saved),
            kernel,
            *[formula] * len(inputs),
            node=shown,
            **columns,
        )
    given = ("g", *("g" + s for s in states))
    kept = ("out", "gates", "other") if saved else ("out",)
    neural(
        f"{name}_layer_backward",
        _adjoint_spec(len(given)),
        adjoint,
        inputs=("x", *given, *states, *_WEIGHTS, *more, *kept),
        optional=(*given, *_BIASES, *more),
        reference=lambda x, *args, **attrs: x._recurrent_reference(name, *args, **attrs),
    )


#: what PyTorch calls the node of a padded batch, of a packed one, and of what it leaves to oneDNN
_NODES = {"": "StackBackward0", "_packed": "CatBackward0"}
_rows(
    "lstm",
    {**_NODES, "_float32": "MkldnnRnnLayerBackward0"},
    ("h", "c"),
    4,
    _lstm,
    _lstm_adjoint,
    _lstm_formula,
    more=("w_hr",),
)
_rows("gru", _NODES, ("h",), 3, _gru, _gru_adjoint, _gru_formula)
_rows("rnn", _NODES, ("h",), 0, _rnn, _rnn_adjoint, _rnn_formula)
view(
    "batch_first",
    lambda x: x.swapaxes(0, 1),
    lambda g: g.transpose(0, 1),
    node="TransposeBackward1",
)
