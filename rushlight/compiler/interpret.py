"""A graph run node by node on the CPU backend: what a captured program means, and how it runs the first time.

`run(nodes, memory)` takes the memory of inputs and constants as flat bytes, {buffer: uint8 array}, and adds that of
the buffers that the nodes make.
"""

from __future__ import annotations

import numpy as np

from rushlight.backends.cpu import BACKEND
from rushlight.compiler.graph import Place


class Operand:
    """What a backend reads of a tensor: its memory."""

    __slots__ = ("_data",)

    def __init__(self, data):
        self._data = data


def number(value):
    """The Python number in an array of one element."""
    return value.reshape(-1)[0].item()


def flat(array):
    """The bytes of a row-major array, without a copy where it is one."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def strided(array, place):
    """The bytes of an array in the order of a place."""
    made = np.empty(place.buffer.nbytes, np.uint8)
    place.array(made)[...] = array
    return made


def resolved(attrs, memory):
    """Attributes with the numbers that the program has computed."""
    if not any(v.__class__ is Place for v in attrs.values()):
        return attrs
    return {n: number(v.array(memory[v.buffer])) if v.__class__ is Place else v for n, v in attrs.items()}


#: rows whose indices the front end checks in eager execution: (place of the index among the operands, error, its words)
INDEXED = {
    **{n: (1, RuntimeError) for n in ("gather", "scatter", "scatter_value", "scatter_add", "scatter_reduce")},
    **{n: (1, IndexError) for n in ("index_select", "index_add", "index_copy", "index_fill", "index_fill_tensor", "embedding")},
}


def check_indices(node, args):
    """Raise what the front end raises where an index is out of bounds."""
    at, error = INDEXED[node.op.name]
    x, index = args[0]._data, args[at]._data
    if not index.size:
        return
    dim = node.attrs.get("axis", 0)
    size, low, high = x.shape[dim] if x.ndim else 1, int(index.min()), int(index.max())
    if high >= size or low < (-size if node.op.name.startswith("index_fill") else 0):
        raise error(f"index {low if low < 0 else high} is out of bounds for dimension {dim} with size {size} (index out of range in self: {node.op.name})")


def step(node, memory):
    """Run one node."""
    args = [Operand(r.array(memory[r.buffer])) if r.__class__ is Place else r for r in node.reads]
    attrs = resolved(node.attrs, memory)
    if node.op.name in INDEXED:
        check_indices(node, args)
    if not node.fresh:
        (target,) = node.writes
        BACKEND.apply(node.op, node.spec, args, attrs, out=Operand(target.array(memory[target.buffer])))
        return
    results = BACKEND.apply(node.op, node.spec, args, attrs)
    for place, result in zip(node.writes, results if results.__class__ is tuple else (results,)):
        memory[place.buffer] = flat(result) if place.dense() else strided(result, place)


def run(nodes, memory, kept=None):
    """Run nodes in order. Memory that the nodes make is dropped after its last use, but for the buffers in `kept` (None: all)."""
    if kept is None:
        for node in nodes:
            step(node, memory)
        return memory
    last = {p.buffer: i for i, node in enumerate(nodes) for p in (*node.places_read(), *node.writes)}
    over = {}
    for buffer, i in last.items():
        if buffer.kind == "local" and buffer not in kept:
            over.setdefault(i, []).append(buffer)
    for i, node in enumerate(nodes):
        step(node, memory)
        for buffer in over.get(i, ()):
            memory.pop(buffer, None)
    return memory
