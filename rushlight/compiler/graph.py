"""The graph of a captured program: memory, places in it, and ops in the order in which they were called.

    Buffer   memory: of a tensor that was there before ("input"), made by the program ("local"), or given ("constant")
    Place    a strided window on a buffer: what a tensor is
    Node     one op: the places it reads and the places it writes, and how

There is no renaming of values: a buffer is written as often as the program wrote to that memory, and views are nothing
but places. So aliasing needs no analysis of its own, and a pass may move a node only past nodes that touch other
memory (fuse.py). `live` drops what nobody sees.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from rushlight.core.shape import is_dense

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # what kernels compute in


class Buffer:
    """Memory of a program; `data` is what a constant holds."""

    __slots__ = ("number", "kind", "nbytes", "data")

    def __init__(self, number, kind, nbytes, data=None):
        self.number, self.kind, self.nbytes, self.data = number, kind, nbytes, data

    def __repr__(self):
        return f"%{self.number}" if self.kind == "local" else f"{self.kind}%{self.number}"


class Place(NamedTuple):
    """A window on a buffer; strides and offset in elements of `dtype` (NumPy's)."""

    buffer: Buffer
    dtype: np.dtype
    shape: tuple
    strides: tuple
    offset: int

    @property
    def size(self):
        return prod(self.shape)

    def span(self):
        """The bytes [first, last) between which its elements lie."""
        low = high = self.offset
        for n, s in zip(self.shape, self.strides):
            if n == 0:
                return (0, 0)
            if s > 0:
                high += (n - 1) * s
            else:
                low += (n - 1) * s
        return low * self.dtype.itemsize, (high + 1) * self.dtype.itemsize

    def dense(self):
        """Whether its elements fill the memory between first and last, in row-major order."""
        return is_dense(self.shape, self.strides)

    def array(self, flat):
        """The window on `flat`, the buffer's bytes."""
        itemsize = self.dtype.itemsize
        if not self.size:
            return np.empty(self.shape, self.dtype)
        return np.ndarray(self.shape, self.dtype, flat, self.offset * itemsize, [s * itemsize for s in self.strides])

    def __str__(self):
        shape = "x".join(map(str, self.shape)) or "scalar"
        window = "" if self.dense() and not self.offset else f"[{self.strides}+{self.offset}]"
        return f"{self.buffer}{window}:{self.dtype.name}({shape})"


class Node:
    """One op. `reads` has an entry for each operand: a Place, a Python number or None; `writes` a Place for each result.

    `fresh`: the results are memory of their own (not an in-place op). Attributes may hold Places: numbers that the program
    computes itself.
    """

    __slots__ = ("op", "spec", "reads", "attrs", "writes", "fresh")

    def __init__(self, op, spec, reads, attrs, writes, fresh):
        self.op, self.spec, self.reads, self.attrs = op, spec, reads, attrs
        self.writes, self.fresh = writes, fresh

    def places_read(self):
        """Everything whose value it needs; an op in place reads its target where the target is an operand."""
        yield from (r for r in self.reads if r.__class__ is Place)
        yield from (v for v in self.attrs.values() if v.__class__ is Place)

    @property
    def random(self):
        """Whether it draws from a generator: then it runs, and in order, whoever looks at the result."""
        return self.op.family == "random"

    def __str__(self):
        args = ", ".join(map(str, self.reads))
        attrs = "".join(f", {n}={v}" for n, v in self.attrs.items() if n not in ("generator", "spec"))
        mark = "=" if self.fresh else "<-"
        return f"{', '.join(map(str, self.writes))} {mark} {self.op.name}({args}{attrs})"


def overlap(a, b):
    """Whether two places may share an element."""
    if a.buffer is not b.buffer:
        return False
    (a0, a1), (b0, b1) = a.span(), b.span()
    if a0 >= b1 or b0 >= a1:
        return False
    if a.dtype != b.dtype or a.shape != b.shape or a.strides != b.strides:
        return True
    dims = sorted(((s, n) for s, n in zip(a.strides, a.shape) if n > 1), reverse=True)
    return any(s <= 0 for s, _ in dims) or _meets(b.offset - a.offset, dims)


def _meets(distance, dims):
    """Whether steps of less than each dimension's size, forwards or backwards, add up to a distance."""
    if not dims:
        return distance == 0
    (stride, size), *rest = dims
    reach = sum((n - 1) * s for s, n in rest)
    low = -(-(distance - reach) // stride)
    high = (distance + reach) // stride
    return any(_meets(distance - k * stride, rest) for k in range(max(low, 1 - size), min(high, size - 1) + 1))


def same(a, b):
    """Whether two places are the same elements in the same order."""
    if a.buffer is not b.buffer or a.offset != b.offset or a.dtype != b.dtype or a.shape != b.shape:
        return False
    return all(n == 1 or s == t for n, s, t in zip(a.shape, a.strides, b.strides))


def covers(place):
    """Whether writing to the place writes all of its buffer."""
    return place.dense() and place.offset == 0 and place.size * place.dtype.itemsize == place.buffer.nbytes


def live(nodes, outputs):
    """The nodes whose results are seen: by inputs' memory, by `outputs` (buffers), or by a node that is itself seen.

        a = x * 2        ->    b = x + 1
        b = x + 1              return b
        return b
    """
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if not node.random and not any(w.buffer in wanted or w.buffer.kind == "input" for w in node.writes):
            continue
        kept.append(node)
        for w in node.writes:
            if node.fresh and w.buffer not in outputs:
                wanted.discard(w.buffer)
        wanted.update(r.buffer for r in node.places_read())
    kept.reverse()
    return kept


__all__ = ["FLOATS", "Buffer", "Node", "Place", "covers", "live", "overlap", "same"]
