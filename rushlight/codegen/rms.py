"""Kernels of root-mean-square normalization (ops/neural_rms.py), as codegen/rows.py has them for the other norms."""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from rushlight.codegen.layout import short
from rushlight.codegen.loops import (
    FLOATS,
    Acc,
    Buffer,
    Grid,
    Kernel,
    Lanes,
    Let,
    Loop,
    Number,
    Store,
    Update,
    call,
    cast,
    const,
    load,
    number,
    ref,
)
from rushlight.codegen.lower import low
from rushlight.codegen.program import Program

I0 = const(0, "i64")
ROW, ONE = (("i", "m"), ("j", 1)), (("i", 1),)
N, M = number("n"), number("m")
GRAIN = 1 << 14  # elements that are worth another thread
BLOCK = 16  # rows added lane by lane in one piece


def _params(d, outs, ins, scalars=()):
    return (*(Buffer(b, d) for b in (*outs, *ins)), Number("n", "i64"), Number("m", "i64"), *(Number(s, d) for s in scalars))


def _lanes(*body):
    return Lanes("j", I0, M, body)


def _mean(name, d):
    return cast(ref(name, "f64") / cast(M, "f64"), d)


@cache
def _forward(d, weight):
    x, s = load("x", ROW, d), ref("s", d)
    out = x * s * load("w", (("j", 1),), d) if weight else x * s
    body = (
        Acc("t", "add", "f64"),
        _lanes(Update("t", cast(x * x, "f64"))),
        Let("s", 1 / call("sqrt", _mean("t", d) + number("eps", d))),
        Store("scale", ONE, s),
        _lanes(Store("out", ROW, out)),
    )
    ins = ("x", "w") if weight else ("x",)
    return Program(Kernel("rms_norm", _params(d, ("out", "scale"), ins, ("eps",)), (Grid(("i",), (N,), body),)))


@cache
def _backward(d, weight):
    x, gy = load("x", ROW, d), load("g", ROW, d)
    gy = gy * load("w", (("j", 1),), d) if weight else gy
    s, c = ref("s", d), ref("c", d)
    body = (
        Let("s", load("scale", ONE, d)),
        Acc("t", "add", "f64"),
        _lanes(Update("t", cast(gy * x, "f64"))),
        Let("c", _mean("t", d) * s * s),
        _lanes(Store("out", ROW, (gy - x * c) * s)),
    )
    ins = ("g", "x", "scale", *(("w",) if weight else ()))
    return Program(Kernel("rms_norm_adjoint", _params(d, ("out",), ins), (Grid(("i",), (N,), body),)))


@cache
def _weights(d):
    """part[c, j] = the sum over the rows i of block c of g[i, j] * x[i, j] * scale[i]."""
    value = load("g", ROW, d) * (load("x", ROW, d) * load("scale", ONE, d))
    first = ref("c") * BLOCK
    body = (_lanes(Acc("t", "add", d), Loop("i", first, low(first + BLOCK, N), (Update("t", value),)), Store("out", (("c", "m"), ("j", 1)), ref("t", d))),)
    grid = Grid(("c",), (number("blocks"),), body)
    return Program(Kernel("rms_norm_weight", (*_params(d, ("out",), ("g", "x", "scale")), Number("blocks", "i64")), (grid,)))


def _word(x, *others):
    """The dtype's word where the kernels take it: float32 or float64, all alike and in C order."""
    d = short(x.dtype)
    fits = d in FLOATS and x.size and all(a is None or a.dtype == x.dtype and a.flags.c_contiguous for a in (x, *others))
    return d if fits else None


def _size(x, count):
    m = prod(x.shape[x.ndim - count :])
    return x.size // m, m


def _norm(x, w, count, eps):
    d = _word(x, w)
    if d is None:
        return NotImplemented
    n, m = _size(x, count)
    out, scale = np.empty(x.shape, x.dtype), np.empty(x.shape[: x.ndim - count] + (1,) * count, x.dtype)
    _forward(d, w is not None)(n, max(1, GRAIN // m), out, scale, x, *(() if w is None else (w,)), n, m, float(eps))
    return out, scale


def rms_norm(x, w, count, eps):
    return _norm(x, w, count, eps)


def rms_norm_plain(x, count, eps):
    return _norm(x, None, count, eps)


def rms_norm_adjoint(g, x, w, scale, count, eps):
    d = _word(x, g, w, scale)
    if d is None:
        return NotImplemented
    n, m = _size(x, count)
    out = np.empty(x.shape, x.dtype)
    _backward(d, w is not None)(n, max(1, GRAIN // m), out, g, x, scale, *(() if w is None else (w,)), n, m)
    return out


def rms_norm_weight(g, x, scale, count, eps):
    d = _word(x, g, scale)
    if d is None:
        return NotImplemented
    n, m = _size(x, count)
    blocks = -(-n // BLOCK)
    part = np.empty((blocks, m), x.dtype)
    _weights(d)(blocks, max(1, GRAIN // (m * BLOCK)), part, g, x, scale, n, m, blocks)
    return np.add.reduce(part, axis=0, dtype=np.float64).astype(x.dtype).reshape(x.shape[x.ndim - count :])
