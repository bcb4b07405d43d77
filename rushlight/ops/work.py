"""How many multiply-adds a row performs: products summed over an index, counted from the shapes of operands and results.

Only what multiplies and adds over an index counts (products of matrices, convolutions, attention, recurrences):
elementwise work, reductions and moves count as 0, as is usual where the cost of a model is stated.
"""

from __future__ import annotations

from math import prod


def _inner(which):
    """Each element of the result sums over the last dimension of operand `which`."""
    return lambda args, out: prod(out) * args[which][-1]


def _attention(args, out):
    q, k, v = args[:3]
    return prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def _recurrent(weights):
    """Every row of the input meets every weight: those of `weights`, by their place."""
    return lambda args, out: prod(args[0][:-1]) * sum(prod(args[i]) for i in weights if args[i] is not None)


#: row -> (shapes of the operands, shape of the first result) -> count
MULTIPLY_ADDS = {
    **dict.fromkeys(("mm", "bmm", "matmul", "mv", "linear", "linear_batch", "linear_plain", "linear_plain_batch"), _inner(0)),
    "dot": lambda args, out: prod(args[0]),
    **dict.fromkeys(("addmm", "addmv", "baddbmm"), _inner(1)),
    "conv": lambda args, out: prod(out) * prod(args[1][1:]),
    "conv_transpose": lambda args, out: prod(args[0]) * prod(args[1][1:]),
    "conv_weight": lambda args, out: prod(args[0]) * prod(out[1:]),
    "attention": _attention,
    **dict.fromkeys(("lstm_layer", "lstm_layer_packed", "lstm_layer_float32"), _recurrent((3, 4, 7))),
    **dict.fromkeys(("gru_layer", "gru_layer_packed", "rnn_layer", "rnn_layer_packed"), _recurrent((2, 3))),
}


def multiply_adds(op, args, spec):
    """The multiply-adds of one call of row `op`; `spec` is what it infers."""
    rule = MULTIPLY_ADDS.get(op.name)
    if rule is None:
        return 0
    shapes = [None if a is None or not hasattr(a, "_data") else a._data.shape for a in args]
    return rule(shapes, tuple(spec[0].shape if isinstance(spec[0], tuple) and hasattr(spec[0], "shape") else spec.shape))


__all__ = ["MULTIPLY_ADDS", "multiply_adds"]
