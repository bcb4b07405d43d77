"""Recurrent layers as the steps that they are: products and pointwise arithmetic, so that a step is two kernels.

Forward, of a padded batch (T, N, F): all inputs times w_ih at once; then for each step the state times w_hh, and one kernel for
gates and states. Backward: one kernel for the gates' gradients, one product for the state's; the gradients of weights are
products over all steps at the end. Formulas are those of torch.nn.LSTM, GRU and RNN.

The memory of a row's result `gates` holds the gates one after another, each (T, N, H): that is this file's own order, so
the rows forward and backward are done here both or neither (`_taken` depends on what they have in common).
"""

from __future__ import annotations

from rushlight.compiler.graph import FLOATS, Place
from rushlight.core.shape import dense

MOST = 160  # steps that are written out


def _taken(node, x, h, c, weights, w_hr):
    given = [p for p in (h, c, *weights) if p is not None]
    if w_hr is not None or node.attrs["sizes"] is not None or len(x.shape) != 3 or not x.size or x.shape[0] > MOST:
        return False
    return x.dtype in FLOATS and all(p.__class__ is Place and p.dtype == x.dtype for p in given)


def _t(p):
    """The transposed matrix."""
    return p._replace(shape=p.shape[::-1], strides=p.strides[::-1])


def _rows(p, shape):
    """Dense memory seen in another shape."""
    return p._replace(shape=tuple(shape), strides=dense(shape))


def _step(p, t):
    """Step t of dense memory (T, N, ...)."""
    return p._replace(shape=p.shape[1:], strides=p.strides[1:], offset=p.offset + t * p.strides[0])


def _gates(p, t, count, n, hidden, gates=4):
    """The gates of step t in the memory of `gates`."""
    return [p._replace(shape=(n, hidden), strides=(hidden, 1), offset=p.offset + (k * count + t) * n * hidden) for k in range(gates)]


def _parts(p, hidden, gates=4):
    """The gates in a (N, gates * H) matrix."""
    return [p._replace(shape=(p.shape[0], hidden), offset=p.offset + k * hidden * p.strides[1]) for k in range(gates)]


def _arrived(b, dh, g, t, like):
    """The gradient of a step's state: from later steps and from the output."""
    if g is None:
        return dh if dh is not None else b.op("mul", like, 0.0)
    return _step(g, t) if dh is None else b.op("add", dh, _step(g, t))


class _Layer:
    """What the layers have in common: sizes, the order of steps, and the gradients of inputs and weights."""

    def __init__(self, b, node, x, h0):
        self.b, self.x = b, x if x.dense() else b.op("clone", x, order="C")
        self.count, self.n, self.features = x.shape
        self.hidden = h0.shape[1]
        self.steps = list(range(self.count))[::-1] if node.attrs["reverse"] else list(range(self.count))

    def rows(self, p):
        """(T N, F) of (T, N, F)."""
        return _rows(p, (self.count * self.n, p.shape[-1]))

    def inputs(self, w, bias):
        """All inputs times their weights."""
        flat = self.rows(self.x)
        all_ = self.b.op("mm", flat, _t(w)) if bias is None else self.b.op("linear", flat, w, bias)
        return _rows(all_, (self.count, self.n, w.shape[0]))

    def states(self, p):
        return _rows(p, (self.count, self.n, self.hidden))

    def before(self, states, k, first):
        """The state before the k-th step."""
        return _step(states, self.steps[k - 1]) if k else first

    def gradients(self, results, di, d, states, h0, w_ih, last, biased):
        """Write the gradients in the order of the row's results; `last` are those of the initial states."""
        b, rows = self.b, self.rows(di)
        b.op("mm", rows, w_ih, into=self.rows(next(results)))
        for p in last:
            b.copy(p, next(results))
        b.op("mm", _t(rows), self.rows(self.x), into=next(results))
        _hidden_weights(b, d, states, h0, self.steps, next(results))
        if biased:
            total = b.op("sum_dim", rows, axes=(0,), keepdim=False, into=next(results))
            if d is di:
                b.copy(total, next(results))
            else:
                b.op("sum_dim", self.rows(d), axes=(0,), keepdim=False, into=next(results))


def lstm(b, node):
    x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr = node.reads
    if not _taken(node, x, h, c, (w_ih, w_hh, b_ih, b_hh), w_hr):
        return False
    out, h_last, c_last, gates, cells = node.writes
    layer = _Layer(b, node, x, h)
    inputs = layer.inputs(w_ih, None if b_ih is None else b.op("add", b_ih, b_hh))
    states, memory = layer.states(out), layer.states(cells)
    for t in layer.steps:
        i, f, g, o = _parts(b.op("addmm", _step(inputs, t), h, _t(w_hh), beta=1, alpha=1), layer.hidden)
        si, sf, sg, so = _gates(gates, t, layer.count, layer.n, layer.hidden)
        i, f = b.op("sigmoid", i, into=si), b.op("sigmoid", f, into=sf)
        g, o = b.op("tanh", g, into=sg), b.op("sigmoid", o, into=so)
        c = b.op("add", b.op("mul", f, c), b.op("mul", i, g), into=_step(memory, t))
        h = b.op("mul", o, b.op("tanh", c), into=_step(states, t))
    b.copy(h, h_last)
    b.copy(c, c_last)
    return True


def lstm_backward(b, node):
    x, g, gh, gc, h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr, out, gates, cells = node.reads
    if not _taken(node, x, h0, c0, (w_ih, w_hh, b_ih, b_hh), w_hr) or any(p is not None and p.dtype != x.dtype for p in (g, gh, gc)):
        return False
    layer = _Layer(b, node, x, h0)
    count, n, hidden = layer.count, layer.n, layer.hidden
    states, memory = layer.states(out), layer.states(cells)
    d = b.new((count, n, 4 * hidden), x.dtype)
    dh, dc = gh, gc
    for k in range(count - 1, -1, -1):
        t = layer.steps[k]
        i, f, new, o = _gates(gates, t, count, n, hidden)
        di, df, dg, do = _parts(_step(d, t), hidden)
        e = _arrived(b, dh, g, t, i)
        squashed = b.op("tanh", _step(memory, t))
        ec = b.op("mul", b.op("mul", e, o), _less(b, squashed))
        ec = ec if dc is None else b.op("add", ec, dc)
        b.op("mul", b.op("mul", e, squashed), _slope(b, o), into=do)
        b.op("mul", b.op("mul", ec, new), _slope(b, i), into=di)
        b.op("mul", b.op("mul", ec, layer.before(memory, k, c0)), _slope(b, f), into=df)
        b.op("mul", b.op("mul", ec, i), _less(b, new), into=dg)
        dc = b.op("mul", ec, f)
        dh = b.op("mm", _step(d, t), w_hh)
    layer.gradients(iter(node.writes), d, d, states, h0, w_ih, (dh, dc), b_ih is not None)
    return True


def gru(b, node):
    x, h, w_ih, w_hh, b_ih, b_hh = node.reads
    if not _taken(node, x, h, None, (w_ih, w_hh, b_ih, b_hh), None):
        return False
    out, h_last, gates, own = node.writes
    layer = _Layer(b, node, x, h)
    inputs, states, kept = layer.inputs(w_ih, b_ih), layer.states(out), layer.states(own)
    for t in layer.steps:
        p = b.op("mm", h, _t(w_hh)) if b_hh is None else b.op("linear", h, w_hh, b_hh)
        pr, pz, pn = _parts(p, layer.hidden, 3)
        xr, xz, xn = _parts(_step(inputs, t), layer.hidden, 3)
        sr, sz, sn = _gates(gates, t, layer.count, layer.n, layer.hidden, 3)
        r, z = b.op("sigmoid", b.op("add", xr, pr), into=sr), b.op("sigmoid", b.op("add", xz, pz), into=sz)
        m = b.op("clone", pn, order="C", into=_step(kept, t))
        new = b.op("tanh", b.op("add", xn, b.op("mul", r, m)), into=sn)
        h = b.op("add", new, b.op("mul", z, b.op("sub", h, new)), into=_step(states, t))
    b.copy(h, h_last)
    return True


def gru_backward(b, node):
    x, g, gh, h0, w_ih, w_hh, b_ih, b_hh, out, gates, own = node.reads
    if not _taken(node, x, h0, None, (w_ih, w_hh, b_ih, b_hh), None) or any(p is not None and p.dtype != x.dtype for p in (g, gh)):
        return False
    layer = _Layer(b, node, x, h0)
    count, n, hidden = layer.count, layer.n, layer.hidden
    states, kept = layer.states(out), layer.states(own)
    d, di = b.new((count, n, 3 * hidden), x.dtype), b.new((count, n, 3 * hidden), x.dtype)
    dh = gh
    for k in range(count - 1, -1, -1):
        t = layer.steps[k]
        r, z, new = _gates(gates, t, count, n, hidden, 3)
        e = _arrived(b, dh, g, t, z)
        slope = b.op("mul", b.op("mul", e, b.op("rsub_number", z, 1.0)), _less(b, new))
        by_r = b.op("mul", b.op("mul", slope, _step(kept, t)), _slope(b, r))
        by_z = b.op("mul", b.op("mul", e, b.op("sub", layer.before(states, k, h0), new)), _slope(b, z))
        for source, targets in ((by_r, 0), (by_z, 1)):
            b.copy(source, _parts(_step(d, t), hidden, 3)[targets])
            b.copy(source, _parts(_step(di, t), hidden, 3)[targets])
        b.copy(slope, _parts(_step(di, t), hidden, 3)[2])
        b.op("mul", slope, r, into=_parts(_step(d, t), hidden, 3)[2])
        dh = b.op("addmm", b.op("mul", e, z), _step(d, t), w_hh, beta=1, alpha=1)
    layer.gradients(iter(node.writes), di, d, states, h0, w_ih, (dh,), b_ih is not None)
    return True


def rnn(b, node):
    x, h, w_ih, w_hh, b_ih, b_hh = node.reads
    if not _taken(node, x, h, None, (w_ih, w_hh, b_ih, b_hh), None):
        return False
    out, h_last = node.writes
    layer = _Layer(b, node, x, h)
    inputs, states = layer.inputs(w_ih, None if b_ih is None else b.op("add", b_ih, b_hh)), layer.states(out)
    for t in layer.steps:
        z = b.op("addmm", _step(inputs, t), h, _t(w_hh), beta=1, alpha=1)
        h = b.op("relu" if node.attrs["relu"] else "tanh", z, into=_step(states, t))
    b.copy(h, h_last)
    return True


def rnn_backward(b, node):
    x, g, gh, h0, w_ih, w_hh, b_ih, b_hh, out = node.reads
    if not _taken(node, x, h0, None, (w_ih, w_hh, b_ih, b_hh), None) or any(p is not None and p.dtype != x.dtype for p in (g, gh)):
        return False
    layer = _Layer(b, node, x, h0)
    states = layer.states(out)
    d, dh = b.new((layer.count, layer.n, layer.hidden), x.dtype), gh
    for k in range(layer.count - 1, -1, -1):
        t = layer.steps[k]
        s = _step(states, t)
        e = _arrived(b, dh, g, t, s)
        if node.attrs["relu"]:
            b.op("where", b.op("gt", s, 0), e, b.op("mul", s, 0.0), into=_step(d, t))
        else:
            b.op("mul", e, _less(b, s), into=_step(d, t))
        dh = b.op("mm", _step(d, t), w_hh)
    layer.gradients(iter(node.writes), d, d, states, h0, w_ih, (dh,), b_ih is not None)
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


RULES = {
    **dict.fromkeys(("lstm_layer", "lstm_layer_packed", "lstm_layer_float32"), lstm),
    **dict.fromkeys(("gru_layer", "gru_layer_packed"), gru),
    **dict.fromkeys(("rnn_layer", "rnn_layer_packed"), rnn),
    "lstm_layer_backward": lstm_backward,
    "gru_layer_backward": gru_backward,
    "rnn_layer_backward": rnn_backward,
}

__all__ = ["RULES"]
