"""What the neural rows share: kernels on arrays, optional inputs, half types.

A neural row is fused: one node for a composite, with a kernel of arrays and attributes that a
backend may replace.

Gradients. Where the adjoint is linear in everything that it reads (convolution, pooling,
resampling) it is a row of its own whose gradient is the first row again, so derivatives of any
order are the same two kernels. Elsewhere the adjoint is a row with a `reference`, the composite
that it must equal: `g._fused(name, ...)` runs the kernel, and the composite where the gradient is
being recorded itself.

Half types. `kernel` hands float16 and bfloat16 arrays over as float32 and leaves integers, bools
and None as they are; the backend casts the result to the spec's dtype. A kernel with a parameter
`step` stands for what PyTorch computes op by op, with a result of the half type after each: `step`
rounds an array to the half type (and leaves every other as it is).
"""

from __future__ import annotations

import functools

import numpy as np

from rushlight.core import dtype as D
from rushlight.core.special import erf
from rushlight.ops.families import dtype_of
from rushlight.ops.op import Spec, row
from rushlight.ops.pointwise import _LETTER, common, refused

F32 = np.dtype(np.float32)


def up(x):
    """A half array as float32; anything else as it is."""
    if x is not None and x.dtype.itemsize == 2 and x.dtype.kind in "fV":
        return x.astype(F32)
    return x


def as_it_is(x):
    """The `step` of every type but the half ones."""
    return x


def rounding(x, *others):
    """The function that rounds float32 arrays to the half type of `x`; the identity for others, and
    where a float32 array is among the operands.
    """
    if up(x) is x or any(a is not None and a.dtype == F32 for a in others):
        return as_it_is
    half = x.dtype
    return lambda a: a.astype(half).astype(F32)


def kernel(f):
    """The kernel `f` with half arrays handed over as float32."""
    if "step" not in f.__code__.co_varnames[: f.__code__.co_argcount]:

        @functools.wraps(f)
        def numpy(*arrays, **attrs):
            return f(*map(up, arrays), **attrs)

    else:

        @functools.wraps(f)
        def numpy(*arrays, **attrs):
            return f(*map(up, arrays), step=rounding(*arrays), **attrs)

    return numpy


def floating(op, dtype):
    """`dtype` where the op takes it; its refusal otherwise."""
    if _LETTER[dtype.category] not in op.dtypes:
        raise refused(op, dtype)
    return dtype


def type_name(x):
    """PyTorch's C++ name of a tensor's dtype, as its error texts use it."""
    return dtype_of(x).title


def neural(name, shape, numpy, *grads, **columns):
    """A fused row: shape(op, args, attrs) gives the Spec or Specs;
    then the kernel and one formula an input.
    """
    columns.setdefault("dtypes", "f")
    return row(name, "fused", shape, numpy=kernel(numpy), grads=grads, **columns)


def like_input(op, args, attrs):
    """The first operand's shape and dtype."""
    return Spec(args[0]._data.shape, floating(op, dtype_of(args[0])))


def reduce_array(terms, reduction):
    """Terms of a loss: each, their mean, or their sum."""
    if reduction == "none":
        return terms
    total = np.add.reduce(terms, axis=None)
    return total if reduction == "sum" else np.divide(total, terms.size, dtype=terms.dtype)


def spread_loss(g, spec, reduction):
    """The gradient of each term of a loss, still of the loss's own shape where it was reduced."""
    if reduction != "mean":
        return g
    n = 1
    for size in spec.shape:
        n *= size
    return g / n if n else g * float("nan")


__all__ = [
    "D",
    "Spec",
    "as_it_is",
    "common",
    "dtype_of",
    "erf",
    "floating",
    "kernel",
    "like_input",
    "neural",
    "reduce_array",
    "rounding",
    "row",
    "spread_loss",
    "type_name",
    "up",
]
