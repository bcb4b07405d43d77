"""RUSHLIGHT_CHECK=1: the eager function runs beside every replay, and all results and state must agree.

The function runs eagerly first, on the real objects; what it gave is copied, everything that it can reach is put back (values,
versions, gradients, numbers, random state), then the program runs and is compared. Backward that is called outside runs
once, on the program's results, and is not compared.

Agreement is to rounding. Where a program makes rounding large (Adam on a gradient that is zero but for rounding: a bias in
front of batch normalisation), it reports a difference that is no fault.
"""

from __future__ import annotations

import numpy as np

from rushlight.compiler.discover import Walk
from rushlight.compiler.results import tensors
from rushlight.core.generator import DEFAULT, Generator

TOLERANCE = {"float64": 1e-9, "complex128": 1e-9, "float32": 1e-4, "complex64": 1e-4}


def _copied(t):
    return np.array(t._data)


class State:
    """Copies of everything that a function can reach."""

    def __init__(self, walk):
        self.walk = walk
        self.values = [(i, _copied(i.tensor), i.tensor._version, i.tensor._grad) for i in walk.inputs]
        self.numbers = [(path, s, s.container[s.place]) for path, s in walk.slots.items() if s.container.__class__ is dict]
        self.random = [(g, g.get_state()) for g in {id(g): g for g in (DEFAULT, *(g for g, _ in walk.generators if isinstance(g, Generator)))}.values()]

    def restore(self):
        for i, data, version, grad in self.values:
            i.tensor._data[...] = data
            if i.tensor._version != version:
                i.tensor._shared().version = version
            i.tensor._grad = grad
        for _, s, value in self.numbers:
            s.container[s.place] = value
        for g, state in self.random:
            g.set_state(state)

    def now(self):
        """{what it is called: its value} of everything."""
        found = {}
        for i, *_ in self.values:
            found[i.path] = (_copied(i.tensor), i.tensor._version)
            g = i.tensor._grad
            found[f"{i.path}.grad"] = None if g is None else (_copied(g), 0)
        for path, s, _ in self.numbers:
            found[path] = s.container[s.place]
        for n, (g, _) in enumerate(self.random):
            found[f"random state {n}"] = (_copied(g.get_state()), 0)
        return found


def _results(result):
    return {f"result {n}": (_copied(t.detach()), 0) for n, t in enumerate(tensors(result))}


def _differs(a, b):
    if a.__class__ is not tuple or b.__class__ is not tuple:
        same = a is b or a.__class__ is b.__class__ and a.__class__ is not tuple and bool(np.isclose(a, b, rtol=1e-6, atol=0, equal_nan=True))
        return None if same else f"{b!r} instead of {a!r}"
    (x, v), (y, w) = a, b
    if x.shape != y.shape or x.dtype != y.dtype:
        return f"{y.dtype.name}{list(y.shape)} instead of {x.dtype.name}{list(x.shape)}"
    if v != w:
        return f"version {w} instead of {v}"
    t = TOLERANCE.get(x.dtype.name, 0 if x.dtype.kind in "biu" else 2e-2)
    if x.dtype.kind not in "biufc":
        x, y = x.astype(np.float32), y.astype(np.float32)
    if not np.allclose(x, y, rtol=t, atol=t, equal_nan=True):
        worst = np.unravel_index(np.argmax(np.abs(np.nan_to_num(np.subtract(x, y, dtype=np.result_type(x, np.float64))))), x.shape)
        return f"{y[worst]!r} instead of {x[worst]!r} at {list(map(int, worst))}"
    return None


def run(function, program, args, kwargs):
    """program.run(args, kwargs), compared with the function; RuntimeError that names what differs."""
    state = State(Walk(function, args, kwargs))
    expected = _results(function(*args, **kwargs)) | state.now()
    state.restore()
    result = program.run(args, kwargs)
    found = _results(result) | state.now()
    wrong = [f"{n}: {d}" for n in expected if (d := _differs(expected[n], found.get(n)))]
    if wrong:
        raise RuntimeError(f"RUSHLIGHT_CHECK: the compiled program of {getattr(function, '__name__', 'a function')} differs from eager execution in {'; '.join(wrong)}")
    return result
