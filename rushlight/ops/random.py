"""The random rows: draws from a generator's stream. Their readings are backends/streams.py and backends/samplers.py.

A row takes no tensor (a new one is drawn) or tensors of parameters; attributes are `generator`, `shape`, `dtype` and the
distribution's numbers. In-place fills have the filled tensor as their input: its gradient is zero. `order`, where it is
given, says in which order memory runs through the dimensions of a filled tensor, because draws follow memory.
"""

from __future__ import annotations

from rushlight.ops.op import ZERO, Spec, camel, row


def _drawn(op, args, attrs):
    dtype = attrs["dtype"]
    return Spec(tuple(attrs["shape"]), dtype)


def fill(name, node=None):
    """A row that draws a whole tensor: new, or in place of its input."""
    return row(name, "random", _drawn, inputs=("x",), grads=(ZERO,), node=node or f"{name.capitalize()}Backward0", depth=2)


for _name in ("uniform", "normal", "exponential", "geometric", "cauchy", "log_normal", "randint", "random", "bernoulli"):
    fill(_name)
row("randperm", "random", _drawn, inputs=())
for _name in ("poisson", "binomial", "standard_gamma", "dirichlet", "multinomial", "bernoulli_tensor"):
    row(_name, "random", lambda op, args, attrs: attrs["spec"], inputs=("x", "y") if _name == "binomial" else ("x",), grads=(ZERO,), node=f"{camel(_name.removesuffix('_tensor'))}Backward0")
row("normal_tensors", "random", lambda op, args, attrs: attrs["spec"], inputs=("x", "y"), grads=())
