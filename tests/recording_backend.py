"""A backend that records instead of computing: the proof that the contract of backends/base.py is enough for a compiler.

Under `modes.interpose(Recorder())` an ordinary training step runs in Python once, and nothing is computed: results are
Windows (shape, dtype, strides), every op becomes a node, and memory is static single assignment: a storage has a current
value; reading a tensor is a strided window of it, writing one makes a new value with that window replaced. So views,
in-place updates, the tape, `backward()` and the optimizer are captured without any of them knowing. `replay` then runs the
nodes on NumPy and writes back the values of the memory that existed before.

A storage is known by its root: the array, or the Window, with its lowest address.
"""

import numpy as np

from rushlight.backends.base import Backend
from rushlight.backends.cpu import CPU, cast
from rushlight.core.device import CPU as CPU_DEVICE
from rushlight.core.window import Window, element_strides
from rushlight.storage import address


def root(x):
    """What identifies the memory of tensor `x`."""
    return x._data if x._storage is None else x._storage.memory


def span(shape, strides):
    """The number of elements from the first to the last."""
    return 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides))


def strided(flat, window):
    """The window (shape, strides, offset in elements) of a flat array."""
    shape, strides, offset = window
    steps = tuple(s * flat.itemsize for s in strides)
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps)


class Recorder(Backend):
    """Nodes are (op, spec, reads, attrs, value, write): see `apply`."""

    name = "recorder"

    def __init__(self):
        self.nodes = []
        self.current = {}  # id of root -> number of its current value
        self.roots = {}  # id of root -> root: kept, so that ids stay unique
        self.inputs = {}  # number of value -> root that existed before
        self.constants = {}  # number of value -> what a factory function made
        self.count = 0

    def value(self):
        self.count += 1
        return self.count

    def known(self, memory):
        """The current value of a root; memory seen for the first time is an input."""
        key = id(memory)
        if key not in self.current:
            self.roots[key] = memory
            self.current[key] = value = self.value()
            self.inputs[value] = memory
        return self.current[key]

    def window(self, x):
        """Where `x` lies in its root: shape, strides and offset in elements."""
        data, memory = x._data, root(x)
        if isinstance(data, Window):
            offset = data.offset - memory.offset
        else:
            offset = (address(data) - address(memory)) // data.itemsize
        return data.shape, element_strides(data), offset

    def read(self, x):
        return (self.known(root(x)), self.window(x)) if hasattr(x, "_data") else x

    # ---- the contract
    def apply(self, op, spec, args, attrs, out=None):
        several = type(spec) is tuple
        reads = [self.read(a) for a in args]
        if out is not None:
            old, window = self.known(root(out)), self.window(out)
            new = self.value()
            self.nodes.append((op, spec, reads, attrs, (new,), (old, window)))
            self.current[id(root(out))] = new
            return out._data
        results = [Window(s.shape, s.dtype.np, device=CPU_DEVICE) for s in (spec if several else (spec,))]
        values = tuple(self.value() for _ in results)
        for memory, value in zip(results, values):
            self.roots[id(memory)] = memory
            self.current[id(memory)] = value
        self.nodes.append((op, spec, reads, attrs, values, None))
        return tuple(results) if several else results[0]

    def constant(self, data):
        memory = Window(data.shape, data.dtype, device=CPU_DEVICE)
        self.roots[id(memory)] = memory
        self.current[id(memory)] = value = self.value()
        self.constants[value] = flat_copy(np.ascontiguousarray(data))
        return memory

    def view(self, op, x, attrs, make_view):
        """A view of memory that is not there: the row's reading of a phantom with the same layout, never looked at."""
        data = x._data
        if not isinstance(data, Window):
            return make_view(op, x, op.numpy(data, **attrs), attrs)
        phantom = np.lib.stride_tricks.as_strided(np.empty(1, data.dtype), data.shape, data.strides)
        seen = op.numpy(phantom, **attrs)
        offset = data.offset + (address(seen) - address(phantom)) // data.dtype.itemsize
        return make_view(op, x, Window(seen.shape, seen.dtype, seen.strides, offset, data.device), attrs)

    def item(self, x):
        raise RuntimeError("the value of a captured tensor was asked for")

    numpy = item

    # ---- running what was recorded
    def replay(self, *wanted):
        """Run the nodes on NumPy, write back the memory that existed before; the values of tensors `wanted`."""
        memory = {**self.constants, **{v: flat_copy(r) for v, r in self.inputs.items()}}
        run = CPU()
        for op, spec, reads, attrs, values, write in self.nodes:
            args = [_Operand(strided(memory[r[0]], r[1])) if type(r) is tuple else r for r in reads]
            if write is None:
                results = run.apply(op, spec, args, attrs)
                for v, r in zip(values, results if type(results) is tuple else (results,)):
                    memory[v] = np.ascontiguousarray(r).reshape(-1)
            else:
                old, window = write
                new = memory[old].copy()
                result = run.apply(op, spec, args, attrs)
                strided(new, window)[...] = cast(np.asarray(result), new.dtype)
                memory[values[0]] = new
        out = [strided(memory[self.current[id(root(x))]], self.window(x)).copy() for x in wanted]
        for value, before in self.inputs.items():
            now = self.current[id(before)]
            if now != value:
                shape, strides = before.shape, element_strides(before)
                before[...] = strided(memory[now], (shape, strides, 0))
        return out


class _Operand:
    """What a backend reads of a tensor: its memory."""

    def __init__(self, data):
        self._data = data


def flat_copy(array):
    """The memory of an array from its first to its last element, as one row."""
    strides = element_strides(array)
    flat = np.zeros(span(array.shape, strides), array.dtype)
    if flat.size:
        strided(flat, (array.shape, strides, 0))[...] = array
    return flat


