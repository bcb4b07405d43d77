"""Recurrent networks over whole sequences, as compositions of tensor operations.

Mechanism: a cell is two functions. `project` multiplies the input of all time steps by its weights
at once, one large product, and adds the biases; `step` takes one time step of that and the state,
so that a step costs one product by the hidden weights and the gates' arithmetic. `_run` puts steps
together to a layer and a direction, `_network` layers and directions to a network, with dropout in
between.

A padded batch is (T, N, F) and every step has N rows. A packed one is (total, F) with the number of
rows of each step, which
never grows: rows that end are set aside, and joined to the final state at the end; backwards in
    time rows join the state.

Invariants: the signatures are torch.lstm's, torch.gru's and so on; parameters come flat, for each
layer and direction (w_ih, w_hh[, b_ih, b_hh][, w_hr]); a state is a tuple of tensors (h,) or (h,
c).
"""

import rushlight
from rushlight.nn.functional import _primitives as _p


class _Cell:
    """Weights of one layer and direction, with `project` and `step`; gate order as PyTorch's."""

    def __init__(self, weights, has_biases):
        self.w_ih, self.w_hh_t = weights[0], weights[1].t()
        self.b_ih, self.b_hh = weights[2:4] if has_biases else (None, None)

    def project(self, x):
        """The input's part of the gates for all steps, with every bias that can be added now."""
        bias = None if self.b_ih is None else self.b_ih + self.b_hh
        return _p.linear(x, self.w_ih, bias)


class _RNNTanh(_Cell):
    activation = staticmethod(_p.tanh)

    def step(self, pre, state):
        return (self.activation(rushlight.addmm(pre, state[0], self.w_hh_t)),)


class _RNNRelu(_RNNTanh):
    activation = staticmethod(_p.relu)


class _LSTM(_Cell):
    def __init__(self, weights, has_biases):
        super().__init__(weights, has_biases)
        projected = len(weights) == (5 if has_biases else 3)
        self.w_hr = weights[-1] if projected else None

    def step(self, pre, state):
        h, c = state
        return _lstm_update(rushlight.addmm(pre, h, self.w_hh_t), c, self.w_hr)


def _lstm_update(gates, c, w_hr=None):
    """(h, c) after a step, from the gates (N, 4 H) in the order input, forget, cell, output."""
    i, f, g, o = gates.chunk(4, 1)
    c = _p.sigmoid(f) * c + _p.sigmoid(i) * _p.tanh(g)
    h = _p.sigmoid(o) * _p.tanh(c)
    return (h if w_hr is None else _p.linear(h, w_hr)), c


class _GRU(_Cell):
    def __init__(self, weights, has_biases):
        super().__init__(weights, has_biases)
        hidden = weights[1].size(1)
        self.sizes = (2 * hidden, hidden)
        # reset and update gates add both parts; the new gate multiplies its hidden part first
        self.w_rz, self.w_n = self.w_hh_t.split(self.sizes, 1)
        self.b_n = None
        if has_biases:
            b_rz, self.b_n = self.b_hh.split(self.sizes)
            self.bias = self.b_ih + rushlight.cat([b_rz, rushlight.zeros_like(self.b_n)])
        else:
            self.bias = None

    def project(self, x):
        return _p.linear(x, self.w_ih, self.bias)

    def step(self, pre, state):
        (h,) = state
        pre_rz, pre_n = pre.split(self.sizes, 1)
        r, z = _p.sigmoid(rushlight.addmm(pre_rz, h, self.w_rz)).chunk(2, 1)
        own = h @ self.w_n if self.b_n is None else rushlight.addmm(self.b_n, h, self.w_n)
        n = _p.tanh(pre_n + r * own)
        return (n + z * (h - n),)


def _run(cell, x, state, batch_sizes, reverse):
    """One layer in one direction: (output of all steps, final state)."""
    pre = cell.project(x)
    if batch_sizes is None:
        steps = pre.unbind(0)
        outs = []
        for step in reversed(steps) if reverse else steps:
            state = cell.step(step, state)
            outs.append(state[0])
        if reverse:
            outs.reverse()
        if not outs:  # no time steps: an empty output of the state's width
            return x.new_zeros((0, *state[0].shape)), state
        return rushlight.stack(outs, 0), state
    return (_run_backwards if reverse else _run_packed)(cell, pre, state, batch_sizes)


def _run_packed(cell, pre, state, batch_sizes):
    outs, ended = [], []
    rows = batch_sizes[0]
    for step, wanted in zip(pre.split(batch_sizes), batch_sizes):
        if wanted < rows:
            ended.append(tuple(s[wanted:] for s in state))
            state = tuple(s[:wanted] for s in state)
            rows = wanted
        state = cell.step(step, state)
        outs.append(state[0])
    ended.append(state)
    # the longest sequences come first
    final = tuple(rushlight.cat(parts[::-1], 0) for parts in zip(*ended))
    return rushlight.cat(outs, 0), final


def _run_backwards(cell, pre, initial, batch_sizes):
    outs = []
    rows = batch_sizes[-1]
    state = tuple(s[:rows] for s in initial)
    for step, wanted in zip(reversed(pre.split(batch_sizes)), reversed(batch_sizes)):
        if wanted > rows:
            state = tuple(
                rushlight.cat([s, first[rows:wanted]], 0) for s, first in zip(state, initial)
            )
            rows = wanted
        state = cell.step(step, state)
        outs.append(state[0])
    return rushlight.cat(outs[::-1], 0), state


def _network(
    cell_class,
    x,
    batch_sizes,
    states,
    params,
    has_biases,
    num_layers,
    dropout,
    train,
    bidirectional,
):
    """All layers and directions: (output, final states stacked over layers and directions)."""
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    initial = list(zip(*(s.unbind(0) for s in states)))
    finals = []
    for layer in range(num_layers):
        outs = []
        for direction in range(directions):
            index = layer * directions + direction
            cell = cell_class(params[index * each : (index + 1) * each], has_biases)
            out, final = _run(cell, x, initial[index], batch_sizes, reverse=direction == 1)
            outs.append(out)
            finals.append(final)
        x = rushlight.cat(outs, -1) if bidirectional else outs[0]
        if dropout and train and layer < num_layers - 1:
            x = _p.dropout(x, dropout, True)
    return x, tuple(rushlight.stack(parts, 0) for parts in zip(*finals))


def _sequence(cell_class, name, doc):
    """torch.lstm, torch.gru ...: takes a padded batch, or a packed one with its batch sizes."""

    def network(input, *args):
        if isinstance(args[2], (list, tuple)):  # the parameters: third only after batch sizes
            batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional = args
            sizes = batch_sizes.tolist()
            batch_first = False
        else:
            hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first = args
            sizes = None
        states = (hx,) if isinstance(hx, rushlight.Tensor) else tuple(hx)
        x = input.transpose(0, 1) if batch_first else input
        out, finals = _network(
            cell_class,
            x,
            sizes,
            states,
            params,
            has_biases,
            num_layers,
            dropout,
            train,
            bidirectional,
        )
        return (out.transpose(0, 1) if batch_first else out, *finals)

    network.__name__ = network.__qualname__ = name
    network.__doc__ = doc
    return network


_DOC = """{what} over a sequence.

    Call `{name}(input, hx, params, has_biases, num_layers, dropout, train, bidirectional,
    batch_first)` with a padded batch
    (T, N, F), or `{name}(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train,
    bidirectional)` with a
    packed one. Returns (output, {states}).
    """

lstm = _sequence(_LSTM, "lstm", _DOC.format(name="lstm", what="An LSTM", states="h, c"))
gru = _sequence(_GRU, "gru", _DOC.format(name="gru", what="A GRU", states="h"))
rnn_tanh = _sequence(
    _RNNTanh, "rnn_tanh", _DOC.format(name="rnn_tanh", what="An Elman RNN with tanh", states="h")
)
rnn_relu = _sequence(
    _RNNRelu, "rnn_relu", _DOC.format(name="rnn_relu", what="An Elman RNN with ReLU", states="h")
)


def _check_cell(input, hidden, w_ih, w_hh):
    """RuntimeError unless one step's input and states fit the weights."""
    if input.size(1) != w_ih.size(1):
        raise RuntimeError(
            f"input has inconsistent input_size: got {input.size(1)} expected {w_ih.size(1)}"
        )
    for k, h in enumerate(hidden):
        if input.size(0) != h.size(0):
            raise RuntimeError(
                f"Input batch size {input.size(0)} doesn't match hidden{k} batch size {h.size(0)}"
            )
        if h.size(1) != w_hh.size(1):
            raise RuntimeError(
                f"hidden{k} has inconsistent hidden_size: got {h.size(1)}, expected {w_hh.size(1)}"
            )


def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One LSTM step: input (N, F), hx = (h, c) of (N, H); returns (h, c)."""
    h, c = hx
    _check_cell(input, (h, c), w_ih, w_hh)
    return _lstm_update(_p.linear(input, w_ih, b_ih) + _p.linear(h, w_hh, b_hh), c)


def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One GRU step: input (N, F), hx (N, H); returns h."""
    _check_cell(input, (hx,), w_ih, w_hh)
    i_r, i_z, i_n = _p.linear(input, w_ih, b_ih).chunk(3, 1)
    h_r, h_z, h_n = _p.linear(hx, w_hh, b_hh).chunk(3, 1)
    r, z = _p.sigmoid(i_r + h_r), _p.sigmoid(i_z + h_z)
    n = _p.tanh(i_n + r * h_n)
    return n + z * (hx - n)


def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an Elman RNN: `tanh(x W_ih^T + b_ih + h W_hh^T + b_hh)`; (N, F), (N, H) to (N,
    H)."""
    _check_cell(input, (hx,), w_ih, w_hh)
    return _p.tanh(_p.linear(input, w_ih, b_ih) + _p.linear(hx, w_hh, b_hh))


def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an Elman RNN with ReLU in place of tanh."""
    _check_cell(input, (hx,), w_ih, w_hh)
    return _p.relu(_p.linear(input, w_ih, b_ih) + _p.linear(hx, w_hh, b_hh))
