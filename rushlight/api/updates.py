"""Updates of parameters in place, one kernel for a whole formula.

`_update_each(rule, items)` does `rule(p, g, state)` for each item. Where parameter, gradient and state are plain float
tensors that lie alike in memory, the rule is read once for all items that differ in values only (codegen/formulas.py) and
each item is one pass over its memory; anything else runs the rule as it is written.

State of no dimensions (a step count) is not part of the kernel: the rule computes on a copy, and what that is afterwards is
written to all items that had the same before. Invariant: values, versions and what state holds are those of the rule
itself.
"""

from __future__ import annotations

import numpy as np

from rushlight.api import overrides
from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.backends import compiled
from rushlight.bind import function
from rushlight.tensor import Tensor

ndarray = np.ndarray
_WORDS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}


@function
def _update_each(rule, items):
    """rule(p, g, state) for each (p, g, state) of `items`, in order; optimizers' steps."""
    read = None
    if not (modes.diverted or STATE.grad or overrides.STATE.modes):
        read = compiled.formulas(sum([p._data.size for p, _, _ in items]))
    if read is None:
        for item in items:
            rule(*item)
        return
    readings = {}
    for p, g, state in items:
        if not _fused(rule, p, g, state, read, readings):
            rule(p, g, state)


def _fused(rule, p, g, state, read, readings):
    """Do one item by a kernel; whether it could be done."""
    a, b = p._data, g._data
    word = _WORDS.get(a.dtype)
    if word is None or a.__class__ is not ndarray or not a.ndim or not _alike(p, a, None) or not _alike(g, a, p._storage):
        return False
    scalars, tensors = [], []
    for name, value in state.items():
        if not isinstance(value, Tensor):
            return False
        if value._data.ndim:
            if not _alike(value, a, p._storage) or not _alike(value, b, g._storage):
                return False
            tensors.append(name)
        else:
            scalars.append((name, value.item()))
    key = (word, tuple(tensors), tuple(scalars))
    reading = readings.get(key)
    if reading is None:
        reading = readings[key] = _read(rule, word, state, tensors, scalars, read) or ()
    if not reading:
        return False
    run, changed, after, numbers = reading
    operands = [p, g, *[state[n] for n in tensors]]
    run(a.size, 1 << 14, *[t._data for t in operands], *numbers)
    for t, times in zip(operands, changed):
        if times:
            t._shared().version += times
    for name, value, times in after:
        t = state[name]
        t._data[...] = value
        t._shared().version += times
    return True


def _alike(x, array, storage):
    """Whether `x` is a plain tensor whose elements lie as those of `array`, in one contiguous stretch outside of `storage`."""
    data = x._data
    if data.__class__ is not ndarray or data.dtype is not array.dtype or data.shape != array.shape or data is array and storage is not None:
        return False
    if x._hist is None or x._storage is not None and x._storage is storage or x.__class__ is not Tensor and overrides.overloaded((x,)):
        return False
    flags = data.flags
    return flags.writeable and (flags.c_contiguous and array.flags.c_contiguous or flags.f_contiguous and array.flags.f_contiguous)


def _read(rule, word, state, tensors, scalars, read):
    """(program, how often each operand is changed, state of no dimensions afterwards, numbers); None where the rule cannot be read."""
    trace = read.Trace(word)
    copies = {name: state[name].clone() for name, _ in scalars}
    symbols = [trace.operand() for _ in range(2 + len(tensors))]
    given = {name: copies[name] if name in copies else symbols[2 + tensors.index(name)] for name in state}
    before = dict(given)
    try:
        rule(symbols[0], symbols[1], given)
    except (read.Untraceable, TypeError, AttributeError):
        return None
    if given.keys() != before.keys() or any(given[n] is not v for n, v in before.items()):
        return None
    outputs = tuple([(s._place, k) for k, s in enumerate(symbols) if s._place != k])
    try:
        program = read.program(trace, outputs)
    except read.Untraceable:
        return None
    if program is None:
        return None
    after = [(n, c.item(), c._version) for n, c in copies.items() if c._version]
    return program, [s.changes for s in symbols], after, trace.numbers
