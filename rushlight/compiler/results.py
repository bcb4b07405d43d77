"""What a captured function returned, as a template from which every replay makes the same structure again.

    ("new", place, how)    a tensor over memory of the program          ("input", i)      an input itself
    ("alias", i, place)    a tensor over the memory of an input          ("number", place) a Python number
    ("same", value)        whatever else it was                          (kind, [...])     a container

    ("open", place, (class, i))  a tensor whose backward is result i of the second program (compiler/joint.py)

`how` is (class, requires_grad, node). Two places of the template that were one tensor are one tensor again.
"""

from __future__ import annotations

from rushlight.compiler.capture import Captured
from rushlight.compiler.numbers import Number
from rushlight.tensor import Tensor


class Unreplayable(Exception):
    """The function left something behind that a replay cannot make again."""


class Template:
    """`leaves` are the distinct results; `build(values)` puts them into the structure."""

    def __init__(self, value, captured, inputs, joint=None):
        self.leaves, self.known, self.open = [], {}, {} if joint is None else joint.results
        self.captured, self.inputs = captured, inputs  # id of tensor -> its window; id of tensor -> its number as an input
        self.shape = self._of(value)
        del self.known, self.captured, self.inputs, self.open

    def _leaf(self, key, leaf):
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = len(self.leaves)
            self.leaves.append(leaf)
        return found

    def _of(self, value):
        if isinstance(value, Tensor):
            if id(value) in self.inputs:
                return self._leaf(id(value), ("input", self.inputs[id(value)]))
            window = self.captured.get(id(value))
            if window is None:
                return self._leaf(id(value), ("same", value))
            if id(value) in self.open:
                return self._leaf(id(value), ("open", window.place, (type(value), self.open[id(value)])))
            how = (type(value), value._rg, value._node)
            if window.buffer.kind == "input":
                return self._leaf(id(value), ("alias", window.place, how))
            return self._leaf(id(value), ("new", window.place, how))
        if value.__class__ is Number:
            return self._leaf(id(value), ("number", value.place, value.integer))
        kind = type(value)
        if kind in (tuple, list):
            return (kind, [self._of(v) for v in value])
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return (lambda items: kind(*items), [self._of(v) for v in value])
        if isinstance(value, dict):
            keys = list(value)

            def make(items):
                out = kind() if kind is not dict else {}
                out.update(zip(keys, items))
                return out

            return (make, [self._of(v) for v in value.values()])
        if value is not None and not isinstance(value, (bool, int, float, str, bytes, complex)) and _holds_tensors(value):
            raise Unreplayable(f"it returns a {kind.__name__} that holds tensors")
        return self._leaf(id(value), ("same", value))

    def build(self, values, shape=None):
        """The structure over the values of the leaves."""
        shape = self.shape if shape is None else shape
        if shape.__class__ is int:
            return values[shape]
        make, parts = shape
        return make([self.build(values, p) for p in parts])


def _holds_tensors(value):
    attributes = getattr(value, "__dict__", None)
    return bool(attributes) and any(isinstance(v, (Tensor, Number)) for v in attributes.values())


def tensors(value):
    """The tensors in what a function returned."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for v in value:
            yield from tensors(v)
    elif isinstance(value, dict):
        for v in value.values():
            yield from tensors(v)


def windows(value):
    """{id of tensor: its window} for the tensors of a captured result."""
    return {id(t): t._data for t in tensors(value) if t._data.__class__ is Captured}


__all__ = ["Template", "Unreplayable", "tensors", "windows"]
