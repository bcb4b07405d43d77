"""Recurrent networks: layers and directions put together to torch.lstm, torch.gru and so on; single cells.

Mechanism: each layer and direction is one row (ops/neural_recurrent.py), which runs all time steps.
`_recurrent_reference` is the composite that the row's adjoint must equal: the cells step by step, and
the tape's derivative of that; it serves backward where backward itself is recorded.

Invariants: parameters come flat, for each layer and direction (w_ih, w_hh[, b_ih, b_hh][, w_hr]); a
state is a tuple of tensors (h,) or (h, c).
"""

from __future__ import annotations

from rushlight.api.gradient import grad
from rushlight.api.joining import cat, stack
from rushlight.api.neural_activation import dropout
from rushlight.api.neural_conv import linear
from rushlight.bind import function, method
from rushlight.core import dtype as D
from rushlight.dispatch import apply, view
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor

# ---- cells: (gates of the input, gates of the state, state) -> state -----------------------------


def _lstm_step(i, h, state):
    i, f, g, o = (i + h).chunk(4, 1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru_step(i, h, state):
    (i_r, i_z, i_n), (h_r, h_z, h_n) = i.chunk(3, 1), h.chunk(3, 1)
    r, z = (i_r + h_r).sigmoid(), (i_z + h_z).sigmoid()
    n = (i_n + r * h_n).tanh()
    return (n + z * (state[0] - n),)


def _tanh_step(i, h, state):
    return ((i + h).tanh(),)


def _relu_step(i, h, state):
    return ((i + h).relu(),)


_STEPS = {"lstm": _lstm_step, "gru": _gru_step, "rnn": _tanh_step}


def _composite(step, x, state, w_ih, w_hh, b_ih, b_hh, w_hr, sizes, reverse):
    """One layer in one direction, step by step: (output, final states)."""
    projected = linear(x.reshape(-1, x.shape[-1]), w_ih, b_ih)
    sizes = [x.shape[1]] * x.shape[0] if sizes is None else list(sizes)
    parts = projected.split(sizes)
    initial, outs, ended = state, [], []
    if reverse:
        parts, sizes = parts[::-1], sizes[::-1]
    state = tuple(s[: sizes[0]] for s in initial) if sizes else initial
    for part, n in zip(parts, sizes):
        m = len(state[0])
        if n < m:
            ended.append(tuple(s[n:] for s in state))
            state = tuple(s[:n] for s in state)
        elif n > m:
            state = tuple(cat([s, first[m:n]]) for s, first in zip(state, initial))
        state = step(part, linear(state[0], w_hh, b_hh), state)
        if w_hr is not None:
            state = (linear(state[0], w_hr), state[1])
        outs.append(state[0])
    final = tuple(cat(p[::-1]) for p in zip(*ended, state))  # the longest sequences come first
    out = cat(outs[::-1] if reverse else outs) if outs else initial[0][:0]
    return out.reshape(*x.shape[:-1], out.shape[-1]), final


@method
def _recurrent_reference(self, kind, *args, sizes, reverse, relu=False):
    """The gradients of a layer as the tape finds them from its composite, recorded."""
    states = 2 if kind == "lstm" else 1
    given, inputs = (
        args[: 1 + states],
        (self, *args[1 + states : 5 + 2 * states + (kind == "lstm")]),
    )
    # stand-ins, so that an input that depends on another counts for itself alone
    inputs = [None if t is None else t.view_as(t) for t in inputs]
    x, state, weights = inputs[0], tuple(inputs[1 : 1 + states]), inputs[1 + states :]
    if kind != "lstm":
        weights.append(None)
    step = _relu_step if relu else _STEPS[kind]
    out, final = _composite(step, x, state, *weights, sizes, reverse)
    pairs = [(o, g) for o, g in zip((out, *final), given) if g is not None and o.requires_grad]
    live = [t for t in inputs if t is not None]
    asked = [t for t in live if t.requires_grad]
    found = iter(
        grad(
            [o for o, _ in pairs],
            asked,
            [g for _, g in pairs],
            create_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
    )
    return tuple([next(found) if t.requires_grad else t.new_zeros(t.shape) for t in live])


# ---- networks ------------------------------------------------------------------------------------


def _network(
    kind, relu, x, sizes, states, params, has_biases, num_layers, dropout_p, train, bidirectional
):
    """All layers and directions: (output, final states stacked over layers and directions)."""
    directions = 2 if bidirectional else 1
    each = len(params) // (num_layers * directions)
    row = TABLE[f"{kind}_layer{_variant(kind, x, sizes, each == (5 if has_biases else 3))}"]
    initial = list(zip(*(s.unbind(0) for s in states)))
    finals = []
    for layer in range(num_layers):
        outs = []
        for direction in range(directions):
            index = layer * directions + direction
            own = params[index * each : (index + 1) * each]
            weights = [*own[:2], *(own[2:4] if has_biases else (None, None))]
            if kind == "lstm":
                weights.append(own[-1] if each == (5 if has_biases else 3) else None)
            attrs = {"sizes": sizes, "reverse": direction == 1}
            if kind == "rnn":
                attrs["relu"] = relu
            out, *final = apply(row, (x, *initial[index], *weights), attrs)[: 1 + len(states)]
            outs.append(out)
            finals.append(final)
        x = cat(outs, -1) if bidirectional else outs[0]
        if dropout_p and train and layer < num_layers - 1:
            x = dropout(x, dropout_p, True)
    return x, tuple(stack(parts, 0) for parts in zip(*finals))


def _variant(kind, x, sizes, projected):
    """Which of a row's names prints the node that PyTorch's has."""
    if sizes is not None:
        return "_packed"
    return "_float32" if kind == "lstm" and x.dtype is D.float32 and not projected else ""


def _sequence(kind, name, what, states, relu=False):
    """Publish torch.lstm, torch.gru ...: they take a padded batch, or a packed one with its sizes."""

    def network(input, *args, **kwargs):
        if len(args) > 2 and isinstance(
            args[2], (list, tuple)
        ):  # the parameters: third only after batch sizes
            return packed(input, *args, **kwargs)
        return padded(input, *args, **kwargs)

    def packed(
        data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional
    ):
        hx = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        sizes = tuple(batch_sizes.tolist())
        out, finals = _network(
            kind,
            relu,
            data,
            sizes,
            hx,
            params,
            has_biases,
            num_layers,
            dropout,
            train,
            bidirectional,
        )
        return (out, *finals)

    def padded(
        input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first
    ):
        hx = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        x = input.transpose(0, 1) if batch_first else input
        if x._data.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        out, finals = _network(
            kind, relu, x, None, hx, params, has_biases, num_layers, dropout, train, bidirectional
        )
        if batch_first:
            out = out.transpose(0, 1) if kind == "lstm" else view(TABLE["batch_first"], out)
        return (out, *finals)

    network.__name__ = name
    network.__doc__ = f"""{what} over a sequence.

    Call `{name}(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)`
    with a padded batch (T, N, F), or `{name}(data, batch_sizes, hx, params, has_biases, num_layers,
    dropout, train, bidirectional)` with a packed one. Returns (output, {states}).
    """
    return function(network)


lstm = _sequence("lstm", "lstm", "An LSTM", "h, c")
gru = _sequence("gru", "gru", "A GRU", "h")
rnn_tanh = _sequence("rnn", "rnn_tanh", "An Elman RNN with tanh", "h")
rnn_relu = _sequence("rnn", "rnn_relu", "An Elman RNN with ReLU", "h", relu=True)


# ---- single steps --------------------------------------------------------------------------------


def _cell(step, input, hidden, w_ih, w_hh, b_ih, b_hh):
    """A step of `step` on (N, F) and states (N, H); RuntimeError unless they fit the weights."""
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
    return step(linear(input, w_ih, b_ih), linear(hidden[0], w_hh, b_hh), hidden)


@function
def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One LSTM step: input (N, F), hx = (h, c) of (N, H); returns (h, c)."""
    return _cell(_lstm_step, input, tuple(hx), w_ih, w_hh, b_ih, b_hh)


@function
def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One GRU step: input (N, F), hx (N, H); returns h."""
    return _cell(_gru_step, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@function
def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an Elman RNN: `tanh(x W_ih^T + b_ih + h W_hh^T + b_hh)`; (N, F), (N, H) to (N, H)."""
    return _cell(_tanh_step, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


@function
def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an Elman RNN with ReLU in place of tanh."""
    return _cell(_relu_step, input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]
