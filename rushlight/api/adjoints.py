"""Gradients of pointwise rows by one kernel: the formulas of a node's inputs read together (codegen/formulas.py).

The tape asks `gradients(node, g, values)` where backward is not recorded itself. It gives the gradients of the inputs, or
None where the formulas run as they are: operands that are small, broadcast, strided or of another dtype, and formulas
that are more than arithmetic. Invariant: the digits are those of the formulas' operations one by one, to the rounding
of exp and its like.
"""

from __future__ import annotations

import numpy as np

from rushlight.autograd import modes, tape
from rushlight.autograd.modes import STATE
from rushlight.backends import compiled
from rushlight.tensor import wrap

SMALL = 1 << 11  # elements below which NumPy's calls are as quick
_MOST = 64  # readings kept of a row
_WORDS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
_BOOL = np.dtype(np.bool_)
ndarray = np.ndarray


def gradients(node, g, values):
    """The gradients of the inputs of `node`, not yet brought to their shapes, as a list; None where there is no kernel."""
    a = g._data
    if a.size < SMALL or STATE.grad or modes.diverted:
        return None
    word = _WORDS.get(a.dtype)
    if word is None or a.__class__ is not ndarray:
        return None
    key, arrays = [word, tuple([e is not None for e in node.edges])], [a]
    fortran = not a.flags.c_contiguous
    if fortran and not a.flags.f_contiguous:
        return None
    for v in values:
        data = getattr(v, "_data", None)
        if data is None:
            if v.__class__ is not float and v.__class__ is not int and v is not None:
                return None
            key.append(v)
        elif data.ndim == 0:
            if data.dtype.kind != "f":
                return None
            key.append(data.item())
        else:
            if data.shape != a.shape or data.dtype is not a.dtype and data.dtype is not _BOOL or not (data.flags.f_contiguous if fortran else data.flags.c_contiguous):
                return None
            key.append(data.dtype)
            arrays.append(data)
    if node.attrs:
        key.extend(node.attrs.items())
    key = tuple(key)
    cls = type(node)
    known = cls.readings
    try:
        reading = known.get(key, 0)
    except TypeError:  # attributes that cannot be keys
        return None
    if reading == 0:
        if len(known) >= _MOST:
            known.clear()
        reading = known[key] = _read(node, word, values)
    if reading is None:
        return None
    program, places, used, numbers = reading
    fresh = {}
    for place in places:
        if place is not None and place not in fresh and place:
            fresh[place] = np.empty_like(a)
    if program is not None:
        program(a.size, 1 << 14, *fresh.values(), *[arrays[k] for k in used], *numbers)
    results, made = [], {}
    for place in places:
        if place is None:
            results.append(None)
        elif place == 0:
            results.append(g)
        else:
            if place not in made:
                made[place] = wrap(fresh[place])
            results.append(made[place])
    return results


def _read(node, word, values):
    """(program or None, place of each input's gradient, arrays that are read, numbers); None where a formula is no arithmetic."""
    read = compiled.formulas(compiled.LARGE)
    if read is None:
        return None
    trace = read.Trace(word)
    g = trace.operand()
    given = []
    for v in values:
        data = getattr(v, "_data", None)
        given.append(v if data is None or data.ndim == 0 else trace.operand("b1" if data.dtype is _BOOL else None))
    count = len(trace.steps)
    places = []
    try:
        for edge, (formula, first, second, rest) in zip(node.edges, node.plan):
            if edge is None:
                places.append(None)
                continue
            if rest is not None:
                r = rest(g, given, node.attrs, node.specs)
            else:
                r = formula(g) if first is None else formula(g, given[first]) if second is None else formula(g, given[first], given[second])
            if r.__class__ is not read.Symbol or trace.dtypes[r._place] != word or 0 < r._place < count:
                return None
            places.append(r._place)
        used = list(range(count))
        outputs = tuple([(p, None) for p in dict.fromkeys(places) if p])
        program = read.program(trace, outputs) if outputs else None
    except (read.Untraceable, TypeError, AttributeError):
        return None
    if outputs and program is None:
        return None
    return program, places, used, trace.numbers


tape.GRADIENTS = gradients
