"""Recurrent layers over sequences (RNN, LSTM, GRU) and their single steps (the cells).

Mechanism: RNNBase makes and draws the parameters, checks shapes, and brings every input, padded,
packed or without a batch, to the two forms which torch.lstm, torch.gru ... take.

Invariants: parameters are named weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, weight_hr_l0
for each layer, with "_reverse" behind for the second direction, and are drawn in this order from
U(-k, k), k = 1 / sqrt(hidden_size).
"""

import math
import numbers
import warnings

import rushlight

from .. import init
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .module import Module

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}
_NETWORKS = {
    "RNN_TANH": rushlight.rnn_tanh,
    "RNN_RELU": rushlight.rnn_relu,
    "GRU": rushlight.gru,
    "LSTM": rushlight.lstm,
}


def apply_permutation(tensor, permutation, dim=1):
    """The entries of `tensor` along `dim` in the order of `permutation`."""
    return tensor.index_select(dim, permutation)


class RNNBase(Module):
    """Parameters and checks of a recurrent network; `mode` is RNN_TANH, RNN_RELU, LSTM or GRU."""

    __constants__ = [
        "mode",
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "dropout",
        "bidirectional",
        "proj_size",
    ]

    def __init__(
        self,
        mode,
        input_size,
        hidden_size,
        num_layers=1,
        bias=True,
        batch_first=False,
        dropout=0.0,
        bidirectional=False,
        proj_size=0,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        _check_dropout(dropout, num_layers)
        _check_types(self)
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)

        real_hidden = proj_size if proj_size > 0 else hidden_size
        gates = _GATES[mode] * hidden_size
        self._all_weights = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse") if bidirectional else ("",):
                width = input_size if layer == 0 else real_hidden * (2 if bidirectional else 1)
                sizes = {"weight_ih": (gates, width), "weight_hh": (gates, real_hidden)}
                if bias:
                    sizes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size > 0:
                    sizes["weight_hr"] = (proj_size, hidden_size)
                names = []
                for kind, size in sizes.items():
                    name = f"{kind}_l{layer}{suffix}"
                    value = rushlight.empty(size, device=device, dtype=dtype)
                    setattr(self, name, Parameter(value))
                    names.append(name)
                self._all_weights.append(names)
        self.reset_parameters()

    @property
    def _flat_weights_names(self):
        return [name for names in self._all_weights for name in names]

    @property
    def _flat_weights(self):
        # read anew each time, so that a replaced or reparametrized weight counts
        return [getattr(self, name) for name in self._flat_weights_names]

    @property
    def all_weights(self):
        """The parameters, one list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self):
        """Does nothing: parameters need not lie together in memory here."""

    def reset_parameters(self):
        """Draw all parameters from U(-k, k) with k = 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self):
        parts = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0,
            "bidirectional": False,
        }
        for name, default in defaults.items():
            value = getattr(self, name)
            if value != default:
                parts.append(f"{name}={value}")
        return ", ".join(parts)

    def __setstate__(self, state):
        super().__setstate__(state)
        if "proj_size" not in self.__dict__:
            self.proj_size = 0

    # -- checks

    def check_input(self, input, batch_sizes):
        """ValueError for another dtype, RuntimeError for another rank or width."""
        weight = self._flat_weights[0]
        if not rushlight.is_autocast_enabled() and input.dtype != weight.dtype:
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        ndim = 2 if batch_sizes is not None else 3
        if input.dim() != ndim:
            raise RuntimeError(f"input must have {ndim} dimensions, got {input.dim()}")
        if input.size(-1) != self.input_size:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. "
                f"Expected {self.input_size}, got {input.size(-1)}"
            )

    def _state_size(self, input, batch_sizes, width):
        if batch_sizes is not None:
            batch = int(batch_sizes[0])
        else:
            batch = input.size(0) if self.batch_first else input.size(1)
        return self.num_layers * (2 if self.bidirectional else 1), batch, width

    def get_expected_hidden_size(self, input, batch_sizes):
        """(layers * directions, N, H), or its projection's size."""
        width = self.proj_size if self.proj_size > 0 else self.hidden_size
        return self._state_size(input, batch_sizes, width)

    def check_hidden_size(self, hx, expected_hidden_size, msg="Expected hidden size {}, got {}"):
        """RuntimeError unless the state has the expected size."""
        if tuple(hx.size()) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(tuple(expected_hidden_size), list(hx.size())))

    def check_forward_args(self, input, hidden, batch_sizes):
        """Raises unless input and state fit the network."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx, permutation):
        """The state with its batch in the order of `permutation`; None leaves it."""
        return hx if permutation is None else apply_permutation(hx, permutation)

    # -- running

    def _zero_state(self, input, batch_sizes):
        size = self.get_expected_hidden_size(input, batch_sizes)
        return rushlight.zeros(size, dtype=input.dtype, device=input.device)

    def _check_state_rank(self, hx, batched):
        rank = 3 if batched else 2
        if hx.dim() != rank:
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx should also be {rank}-D but got {hx.dim()}-D tensor"
            )

    def _map_state(self, f, hx):
        return f(hx)

    def _rank_error(self, input):
        return ValueError(f"RNN: Expected input to be 2D or 3D, got {input.dim()}D tensor instead")

    def forward(self, input, hx=None):
        """Run the network over `input`, from state `hx` or zeros; returns (output, final state)."""
        packed = isinstance(input, PackedSequence)
        if packed:
            input, batch_sizes, sorted_indices, unsorted_indices = input
            batched = True
            if hx is not None:
                hx = self.permute_hidden(hx, sorted_indices)
        else:
            batch_sizes = sorted_indices = unsorted_indices = None
            if input.dim() not in (2, 3):
                raise self._rank_error(input)
            batched = input.dim() == 3
            if hx is not None:
                self._check_state_rank(hx, batched)
            if not batched:
                input = input.unsqueeze(0 if self.batch_first else 1)
                if hx is not None:
                    hx = self._map_state(lambda s: s.unsqueeze(1), hx)
        if hx is None:
            hx = self._zero_state(input, batch_sizes)
        self.check_forward_args(input, hx, batch_sizes)

        network = _NETWORKS[self.mode]
        shared = (self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        weights = self._flat_weights
        if packed:
            out, *state = network(input, batch_sizes, hx, weights, *shared)
            out = PackedSequence(out, batch_sizes, sorted_indices, unsorted_indices)
        else:
            out, *state = network(input, hx, weights, *shared, self.batch_first)
        hidden = state[0] if len(state) == 1 else tuple(state)
        if not batched:
            out = out.squeeze(0 if self.batch_first else 1)
            hidden = self._map_state(lambda s: s.squeeze(1), hidden)
        return out, self.permute_hidden(hidden, unsorted_indices)


def _check_dropout(dropout, num_layers):
    is_number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
    if not is_number or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element "
            f"being zeroed, but got {dropout!r}"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout "
            f"expects num_layers greater than 1, but got dropout={dropout} and "
            f"num_layers={num_layers}",
            stacklevel=4,
        )


def _check_types(layer):
    kinds = {"bias": bool, "batch_first": bool, "input_size": int, "hidden_size": int}
    for name, kind in kinds.items():
        value = getattr(layer, name)
        if not isinstance(value, kind):
            raise TypeError(
                f"{name} should be of type {kind.__name__}, got: {type(value).__name__}"
            )
        if kind is int and value <= 0:
            raise ValueError(f"{name} must be greater than zero")


def _refuse_projection(kwargs):
    if "proj_size" in kwargs:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


_DOC = """{what}

    Args:
        input_size, hidden_size: F and H.
        num_layers: layers, each on the output of the one before.
        {extra}bias: add biases.
        batch_first: input and output are (N, T, *) and not (T, N, *); the state is not affected.
        dropout: dropout of every layer's output but the last's, in training.
        bidirectional: a second network runs backwards; outputs are joined.

    `forward(input, hx=None)`: input (T, N, F), (T, F) or a PackedSequence; {state}. Returns
    (output (T, N, D * H), final state), D = 2 if bidirectional, else 1.
    """


class RNN(RNNBase):
    __doc__ = _DOC.format(
        what="Elman network: `h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)`, or with ReLU.",
        extra='nonlinearity: "tanh" or "relu".\n        ',
        state="hx (D * layers, N, H)",
    )

    def __init__(self, *args, **kwargs):
        _refuse_projection(kwargs)
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        modes = {"tanh": "RNN_TANH", "relu": "RNN_RELU"}
        if nonlinearity not in modes:
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(modes[nonlinearity], *args, **kwargs)
        self.nonlinearity = nonlinearity


class GRU(RNNBase):
    __doc__ = _DOC.format(
        what="""Gated recurrent unit: `r, z = sigmoid(...)`, `n = tanh(W_in x + b_in + r (W_hn h +
        b_hn))`,
    `h_t = (1 - z) n + z h_(t-1)`. Source: Cho et al., arXiv:1406.1078.""",
        extra="",
        state="hx (D * layers, N, H)",
    )

    def __init__(self, *args, **kwargs):
        _refuse_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)


class LSTM(RNNBase):
    __doc__ = _DOC.format(
        what="""Long short-term memory: `i, f, o = sigmoid(...)`, `g = tanh(...)`, `c_t = f c_(t-1)
        + i g`,
    `h_t = o tanh(c_t)`, each gate `W_i x_t + b_i + W_h h_(t-1) + b_h`.
    Source: Hochreiter and Schmidhuber (1997); with proj_size also Sak et al., arXiv:1402.1128.""",
        extra="proj_size: project h to this size, if it is not 0.\n        ",
        state="hx = (h, c), (D * layers, N, H) each",
    )

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input, batch_sizes):
        """(layers * directions, N, H)."""
        return self._state_size(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input, hidden, batch_sizes):
        """Raises unless input and both states fit the network."""
        self.check_input(input, batch_sizes)
        for k, expected in enumerate((self.get_expected_hidden_size, self.get_expected_cell_size)):
            self.check_hidden_size(
                hidden[k], expected(input, batch_sizes), f"Expected hidden[{k}] size {{}}, got {{}}"
            )

    def permute_hidden(self, hx, permutation):
        """Both states with their batch in the order of `permutation`; None leaves them."""
        if permutation is None:
            return hx
        return tuple(apply_permutation(s, permutation) for s in hx)

    def _zero_state(self, input, batch_sizes):
        cell = self.get_expected_cell_size(input, batch_sizes)
        return (
            super()._zero_state(input, batch_sizes),
            rushlight.zeros(cell, dtype=input.dtype, device=input.device),
        )

    def _check_state_rank(self, hx, batched):
        rank = 3 if batched else 2
        if hx[0].dim() != rank or hx[1].dim() != rank:
            kind = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {rank}-D but got "
                f"({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )

    def _map_state(self, f, hx):
        return f(hx[0]), f(hx[1])

    def _rank_error(self, input):
        return ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")


class RNNCellBase(Module):
    """Parameters of a single step; num_chunks is the number of gates."""

    __constants__ = ["input_size", "hidden_size", "bias"]

    def __init__(self, input_size, hidden_size, bias, num_chunks, device=None, dtype=None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        gates = num_chunks * hidden_size
        sizes = {"weight_ih": (gates, input_size), "weight_hh": (gates, hidden_size)}
        for name, size in (sizes | {"bias_ih": (gates,), "bias_hh": (gates,)}).items():
            value = None
            if bias or name in sizes:
                value = Parameter(rushlight.empty(size, device=device, dtype=dtype))
            self.register_parameter(name, value)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw all parameters from U(-k, k) with k = 1 / sqrt(hidden_size)."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self):
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text

    def _check_rank(self, what, x):
        if x.dim() not in (1, 2):
            raise ValueError(
                f"{type(self).__name__}: Expected {what} to be 1D or 2D, got {x.dim()}D instead"
            )

    def _step(self, function, input, hx):
        """One step of a cell with a single state, for a batch or one sample."""
        self._check_rank("input", input)
        if hx is not None:
            self._check_rank("hidden", hx)
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if hx is None:
            h = rushlight.zeros(x.size(0), self.hidden_size, dtype=input.dtype, device=input.device)
        else:
            h = hx if batched else hx.unsqueeze(0)
        out = function(x, h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        return out if batched else out.squeeze(0)


class RNNCell(RNNCellBase):
    """One step of an Elman network: `tanh(W_ih x + b_ih + W_hh h + b_hh)`, or ReLU for tanh.

    `forward(input, hx=None)`: (N, F) or (F,), hx (N, H) or (H,), zeros if not given; returns h.
    """

    __constants__ = ["input_size", "hidden_size", "bias", "nonlinearity"]

    def __init__(
        self, input_size, hidden_size, bias=True, nonlinearity="tanh", device=None, dtype=None
    ):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        cells = {"tanh": rushlight.rnn_tanh_cell, "relu": rushlight.rnn_relu_cell}
        if self.nonlinearity not in cells:
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(cells[self.nonlinearity], input, hx)


class LSTMCell(RNNCellBase):
    """One LSTM step; see LSTM for the formula.

    `forward(input, hx=None)`: (N, F) or (F,), hx = (h, c) of (N, H) or (H,), zeros if not given;
    returns (h, c).
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        self._check_rank("input", input)
        if hx is not None:
            for k, state in enumerate(hx):
                self._check_rank(f"hx[{k}]", state)
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        if hx is None:
            zeros = rushlight.zeros(
                x.size(0), self.hidden_size, dtype=input.dtype, device=input.device
            )
            hx = (zeros, zeros)
        elif not batched:
            hx = (hx[0].unsqueeze(0), hx[1].unsqueeze(0))
        h, c = rushlight.lstm_cell(
            x, hx, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        )
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))


class GRUCell(RNNCellBase):
    """One GRU step; see GRU for the formula.

    `forward(input, hx=None)`: (N, F) or (F,), hx (N, H) or (H,), zeros if not given; returns h.
    """

    def __init__(self, input_size, hidden_size, bias=True, device=None, dtype=None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        return self._step(rushlight.gru_cell, input, hx)


__all__ = [
    "GRU",
    "GRUCell",
    "LSTM",
    "LSTMCell",
    "RNN",
    "RNNBase",
    "RNNCell",
    "RNNCellBase",
]
