"""Kernels of fused rows that work on rows in the cache: softmax, log_softmax, layer and group normalization.

Each function takes what the row's NumPy reading takes and gives what that gives, or NotImplemented for layouts and
dtypes that it leaves to NumPy: it wants float32 or float64 in C order. A row of the matrix is read from memory once and
stays in the cache for the passes over it. Sums are float64. Formulas are the NumPy readings' (ops/neural_norm.py,
ops/neural_activation.py), which these must equal to rounding.

A kernel is written once for both dtypes, as a function of the dtype that gives the loop IR; `_program` keeps it.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from rushlight.codegen import mathlib
from rushlight.codegen.eager import GRAIN
from rushlight.codegen.layout import short
from rushlight.codegen.loops import (
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
    select,
)
from rushlight.codegen.lower import low
from rushlight.codegen.program import Program

I0 = const(0, "i64")
ROW = (("i", "m"), ("j", 1))  # element j of row i
M, N = number("m"), number("n")


def _fit(*arrays):
    """The IR's dtype of arrays that these kernels take: one of float32 and float64, in C order; else None."""
    first = arrays[0].dtype
    word = short(first)
    if word not in ("f32", "f64"):
        return None
    for a in arrays:
        if a is not None and (a.dtype != first or not a.flags.c_contiguous):
            return None
    return word


def _params(d, outs, ins, numbers=("n", "m"), scalars=()):
    return (*(Buffer(b, d) for b in (*outs, *ins)), *(Number(k, "i64") for k in numbers), *(Number(s, d) for s in scalars))


@cache
def _program(build, *key):
    return Program(build(*key))


def _run(program, rows, width, *args):
    program(rows, max(1, GRAIN // max(width, 1) // 2), *args)


def _over(*body):
    """Lanes over the row."""
    return Lanes("j", I0, M, body)


def _sum(name, value):
    """An accumulator of value along the row, in float64."""
    return Acc(name, "add", "f64"), _over(Update(name, cast(value, "f64")))


def total(name, d):
    return cast(ref(name, "f64"), d)


# ---- softmax


def _softmax_kernel(d, log):
    x, out = load("x", ROW, d), load("out", ROW, d)
    shifted = x - ref("top", d)
    body = [Acc("top", "max", d), _over(Update("top", x)), Acc("t", "add", "f64")]
    if log:
        body += [_over(Update("t", cast(mathlib.exp(shifted), "f64"))), Let("lse", mathlib.log(total("t", d))), _over(Store("out", ROW, shifted - ref("lse", d)))]
    else:
        body += [
            _over(Let("e", mathlib.exp(shifted)), Store("out", ROW, ref("e", d)), Update("t", cast(ref("e", d), "f64"))),
            Let("sum", total("t", d)),
            _over(Store("out", ROW, out / ref("sum", d))),
        ]
    return Kernel("log_softmax" if log else "softmax", _params(d, ("out",), ("x",)), (Grid(("i",), (N,), tuple(body)),))


def _softmax(x, axis, log):
    d = _fit(x)
    if d is None or x.ndim == 0 or axis not in (-1, x.ndim - 1) or x.size == 0:
        return NotImplemented
    m = x.shape[-1]
    out = np.empty(x.shape, x.dtype)
    _run(_program(_softmax_kernel, d, log), x.size // m, m * 4, out, x, x.size // m, m)
    return out


def softmax(x, axis):
    return _softmax(x, axis, False)


def log_softmax(x, axis):
    return _softmax(x, axis, True)


def _softmax_adjoint_kernel(d, log):
    g, y = load("g", ROW, d), load("y", ROW, d)
    inner = ref("s", d)
    out = g - mathlib.exp(y) * inner if log else (g - inner) * y
    body = (*_sum("t", g if log else g * y), Let("s", total("t", d)), _over(Store("out", ROW, out)))
    return Kernel("log_softmax_adjoint" if log else "softmax_adjoint", _params(d, ("out",), ("g", "y")), (Grid(("i",), (N,), body),))


def _softmax_adjoint(g, y, axis, log):
    d = _fit(g, y)
    if d is None or g.ndim == 0 or axis not in (-1, g.ndim - 1) or g.size == 0:
        return NotImplemented
    m = g.shape[-1]
    out = np.empty(g.shape, g.dtype)
    _run(_program(_softmax_adjoint_kernel, d, log), g.size // m, m * 2, out, g, y, g.size // m, m)
    return out


def softmax_adjoint(g, out, axis):
    return _softmax_adjoint(g, out, axis, False)


def log_softmax_adjoint(g, out, axis):
    return _softmax_adjoint(g, out, axis, True)


# ---- layer and group normalization: rows with mean 0 and variance 1


def _affine(value, d, weight, bias, at):
    value = value * load("w", at, d) if weight else value
    return value + load("b", at, d) if bias else value


def _extra(weight, bias):
    return (*(["w"] if weight else []), *(["b"] if bias else []))


def _normal_kernel(d, weight, bias, group):
    """Rows (i, j) of m elements; weights by j, or for groups by channel: then a row is `c` channels of `l` elements."""
    x = load("x", ROW, d)
    centred = x - ref("mu", d)
    far = cast(x, "f64") - ref("base", "f64")  # from the row's first element: one pass gives both sums, and float64 has digits to spare
    n, t = cast(M, "f64"), ref("t", "f64")
    variance = (ref("v", "f64") - t * (t / n)) / n
    head = (
        Let("base", cast(load("x", (("i", "m"),), d), "f64")),
        Acc("t", "add", "f64"),
        Acc("v", "add", "f64"),
        _over(Update("t", far), Update("v", far * far)),
        Let("mu", cast(ref("base", "f64") + t / n, d)),
        Let("variance", select(variance < 0, const(0, "f64"), variance)),
        Let("scale", 1 / call("sqrt", cast(ref("variance", "f64"), d) + number("eps", d))),
        Store("mean", (("i", 1),), ref("mu", d)),
        Store("rstd", (("i", 1),), ref("scale", d)),
    )
    if not group:
        last = (_over(Store("out", ROW, _affine(centred * ref("scale", d), d, weight, bias, (("j", 1),)))),)
        return Kernel("layer_norm", _params(d, ("out", "mean", "rstd"), ("x", *_extra(weight, bias)), scalars=("eps",)), (Grid(("i",), (N,), head + last),))
    at = (("i", "m"), ("k", "l"), ("j", 1))
    channel = call("rem", ref("i"), number("groups")) * number("c") + ref("k")
    centred = load("x", at, d) - ref("mu", d)
    inner = Lanes("j", I0, number("l"), (Store("out", at, _affine(centred * ref("scale", d), d, weight, bias, (("channel", 1),))),))
    last = (Loop("k", I0, number("c"), (Let("channel", channel), inner)),)
    return Kernel("group_norm", _params(d, ("out", "mean", "rstd"), ("x", *_extra(weight, bias)), ("n", "m", "groups", "c", "l"), ("eps",)), (Grid(("i",), (N,), head + last),))


def layer_norm(x, w, b, count, eps):
    d = _fit(x, w, b)
    if d is None or x.size == 0:
        return NotImplemented
    lead = x.shape[: x.ndim - count]
    m = math.prod(x.shape[x.ndim - count :])
    n = x.size // m
    out, mean, rstd = np.empty(x.shape, x.dtype), np.empty(n, x.dtype), np.empty(n, x.dtype)
    given = [a for a in (w, b) if a is not None]
    _run(_program(_normal_kernel, d, w is not None, b is not None, False), n, m * 2, out, mean, rstd, x, *given, n, m, float(eps))
    stats = lead + (1,) * count
    mean.shape = rstd.shape = stats
    return out, mean, rstd


def group_norm(x, w, b, groups, eps):
    d = _fit(x, w, b)
    if d is None or x.size == 0:
        return NotImplemented
    n, c = x.shape[0] * groups, x.shape[1] // groups
    m = x.size // n
    out, mean, rstd = np.empty(x.shape, x.dtype), np.empty((x.shape[0], groups), x.dtype), np.empty((x.shape[0], groups), x.dtype)
    given = [a for a in (w, b) if a is not None]
    _run(_program(_normal_kernel, d, w is not None, b is not None, True), n, m * 2, out, mean, rstd, x, *given, n, m, groups, c, m // c, float(eps))
    return out, mean, rstd


def _layer_adjoint_kernel(d, weight):
    gy, x = load("g", ROW, d), load("x", ROW, d)
    gy = gy * load("w", (("j", 1),), d) if weight else gy
    one = (("i", 1),)
    xhat = (x - ref("mu", d)) * ref("s", d)
    body = (
        Let("mu", load("mean", one, d)),
        Let("s", load("rstd", one, d)),
        Acc("t", "add", "f64"),
        Acc("u", "add", "f64"),
        _over(Update("t", cast(gy, "f64")), Update("u", cast(gy * xhat, "f64"))),
        Let("p", cast(ref("t", "f64") / cast(M, "f64"), d)),
        Let("q", cast(ref("u", "f64") / cast(M, "f64"), d)),
        _over(Store("out", ROW, (gy - ref("p", d) - xhat * ref("q", d)) * ref("s", d))),
    )
    return Kernel("layer_norm_adjoint", _params(d, ("out",), ("g", "x", "mean", "rstd", *_extra(weight, False))), (Grid(("i",), (N,), body),))


def layer_norm_adjoint(g, x, w, mean, scale, count, eps):
    d = _fit(x, g, w, mean, scale)
    if d is None or x.size == 0:
        return NotImplemented
    m = math.prod(x.shape[x.ndim - count :])
    n = x.size // m
    out = np.empty(x.shape, x.dtype)
    given = [w] if w is not None else []
    _run(_program(_layer_adjoint_kernel, d, w is not None), n, m * 2, out, g, x, mean, scale, *given, n, m)
    return out


_BLOCK = 16  # rows added lane by lane in one piece


def _layer_weight_kernel(d):
    """part[c, j] = the sum over the rows i of block c of g[i, j] * xhat[i, j]."""
    from_row = load("x", ROW, d) - load("mean", (("i", 1),), d)
    value = load("g", ROW, d) * (from_row * load("rstd", (("i", 1),), d))
    first = ref("c") * _BLOCK
    stop = first + _BLOCK
    body = (Lanes("j", I0, M, (Acc("t", "add", d), Loop("i", first, low(stop, N), (Update("t", value),)), Store("out", (("c", "m"), ("j", 1)), ref("t", d)))),)
    return Kernel("layer_norm_weight", _params(d, ("out",), ("g", "x", "mean", "rstd")), (Grid(("c",), (number("n"),), body),))


def layer_norm_weight(g, x, mean, scale, count, eps):
    d = _fit(x, g, mean, scale)
    if d is None or x.size == 0:
        return NotImplemented
    m = math.prod(x.shape[x.ndim - count :])
    n = x.size // m
    blocks = -(-n // _BLOCK)
    part = np.empty((blocks, m), x.dtype)
    _program(_layer_weight_kernel, d)(blocks, max(1, GRAIN // (m * _BLOCK)), part, g, x, mean, scale, n, m)
    return np.add.reduce(part, axis=0, dtype=np.float64).astype(x.dtype).reshape(x.shape[x.ndim - count :])
