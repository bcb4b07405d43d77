"""Batch normalization: statistics, result and gradients of a channel in one visit.

x is (n, channels, l) in C order. With long planes (l) a channel is one iteration: its sums, then its results while it is
still in the cache. With l = 1 the lanes run over the channels. Sums are taken in x's dtype along a plane and in float64
across planes. Formulas are those of ops/neural_norm.py, which these must equal to rounding.
"""

from __future__ import annotations

from functools import cache

import numpy as np

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
)
from rushlight.codegen.lower import I0, low
from rushlight.codegen.program import Program

AT = (("i", "plane"), ("c", "l"), ("j", 1))
COLUMN = (("i", "plane"), ("c", 1))
ONE = (("c", 1),)
WIDTH = 64  # channels of an iteration where lanes run over them
GRAIN = 1 << 14  # elements that are worth a thread
LONG = 0  # elements of a plane up to which its sum is taken in its own dtype: none, for float32 training follows the last digits
N, L = number("n"), number("l")


class _Channel:
    """Statements for one channel: over planes, or over rows with channels in lanes."""

    def __init__(self, d, columns, long):
        self.d, self.columns, self.long = d, columns, long

    def load(self, name):
        return load(name, COLUMN if self.columns else AT, self.d)

    def sums(self, **values):
        """Accumulators of float64, one a name, over the whole channel."""
        d, names = self.d, list(values)
        heads = [Acc(n, "add", "f64") for n in names]
        if self.columns:
            return (*heads, Loop("i", I0, N, tuple(Update(n, cast(v, "f64")) for n, v in values.items())))
        if self.long:
            return (*heads, Loop("i", I0, N, (Lanes("j", I0, L, tuple(Update(n, cast(v, "f64")) for n, v in values.items())),)))
        parts = [Acc(n + "_", "add", d) for n in names]
        adds = Lanes("j", I0, L, tuple(Update(n + "_", v) for n, v in values.items()))
        return (*heads, Loop("i", I0, N, (*parts, adds, *(Update(n, cast(ref(n + "_", d), "f64")) for n in names))))

    def store(self, value):
        if self.columns:
            return (Loop("i", I0, N, (Store("out", COLUMN, value),)),)
        return (Loop("i", I0, N, (Lanes("j", I0, L, (Store("out", AT, value),)),)),)

    def kernel(self, name, outs, ins, body, *scalars):
        buffers = (Buffer(b, self.d) for b in (*outs, *ins))
        params = (*buffers, *(Number(k, "i64") for k in ("n", "channels", "plane", "l", "count")), *(Number(s, self.d) for s in scalars))
        if not self.columns:
            return Kernel(name, params, (Grid(("c",), (number("channels"),), tuple(body)),))
        start = ref("block") * WIDTH
        blocks = call("div", number("channels") + (WIDTH - 1), const(WIDTH, "i64"))
        return Kernel(name + "_columns", params, (Grid(("block",), (blocks,), (Lanes("c", start, low(start + WIDTH, number("channels")), tuple(body)),)),))


def _mean_of(name, d):
    return cast(ref(name, "f64") / cast(number("count"), "f64"), d)


def _forward(d, columns, long, weight, bias):
    k = _Channel(d, columns, long)
    x, mu, rs = k.load("x"), ref("mu", d), ref("rs", d)
    a = rs * load("w", ONE, d) if weight else rs
    shift = load("b", ONE, d) - mu * ref("a", d) if bias else -(mu * ref("a", d))
    body = [
        *k.sums(t=x),
        Let("mu", _mean_of("t", d)),
        *k.sums(v=(x - mu) * (x - mu)),
        Let("variance", _mean_of("v", d)),
        Let("rs", 1 / call("sqrt", ref("variance", d) + number("eps", d))),
        Let("a", a),
        Let("shift", shift),
        *(Store(n, ONE, ref(r, d)) for n, r in (("mean", "mu"), ("scale", "rs"), ("var", "variance"))),
        *k.store(call("fma", x, ref("a", d), ref("shift", d))),
    ]
    return k.kernel("batch_norm", ("out", "mean", "scale", "var"), ("x", *(["w"] if weight else []), *(["b"] if bias else [])), body, "eps")


def _affine(d, columns, weight, bias):
    """out = (x - mean) * scale * w + b with statistics that are given; planes are iterations of their own."""
    rs, mu = load("scale", ONE, d), load("mean", ONE, d)
    a = rs * load("w", ONE, d) if weight else rs
    shift = load("b", ONE, d) - mu * ref("a", d) if bias else -(mu * ref("a", d))
    at = COLUMN if columns else AT
    body = (Let("a", a), Let("shift", shift))
    store = Store("out", at, call("fma", load("x", at, d), ref("a", d), ref("shift", d)))
    buffers = tuple(Buffer(b, d) for b in ("out", "x", "mean", "scale", *(["w"] if weight else []), *(["b"] if bias else [])))
    params = (*buffers, *(Number(k, "i64") for k in ("n", "channels", "plane", "l", "count")))
    if columns:
        return Kernel("batch_norm_affine_columns", params, (Grid(("i",), (N,), (Lanes("c", I0, number("channels"), (*body, store)),)),))
    return Kernel("batch_norm_affine", params, (Grid(("i", "c"), (N, number("channels")), (*body, Lanes("j", I0, L, (store,)))),))


def _backward(d, columns, long, weight, training, every):
    """The gradient of x, and with `every` those of the weight and the bias."""
    k = _Channel(d, columns, long)
    g, x = k.load("g"), k.load("x")
    rs, factor, slope = ref("rs", "f64"), ref("factor", "f64"), ref("slope", "f64")
    wide = cast(number("count"), "f64")
    result = call("fma", g, ref("a", d), call("fma", x, ref("b", d), ref("s", d))) if training else g * ref("a", d)
    sums = [Store("dw", ONE, cast(ref("u", "f64") * rs, d)), Store("db", ONE, cast(ref("t", "f64"), d))] if every else []
    body = [
        Let("mu", load("mean", ONE, d)),
        *k.sums(t=g, u=g * (x - ref("mu", d))),
        Let("rs", cast(load("scale", ONE, d), "f64")),
        *sums,
        Let("factor", rs * cast(load("w", ONE, d), "f64") if weight else rs * 1.0),
        Let("slope", -(factor * ref("u", "f64") * rs * rs / wide)),
        Let("a", cast(factor, d)),
        Let("b", cast(slope, d)),
        Let("s", cast(-(factor * ref("t", "f64") / wide) - slope * cast(ref("mu", d), "f64"), d)),
        *k.store(result),
    ]
    return k.kernel("batch_norm_backward", ("out", *(("dw", "db") if every else ())), ("g", "x", "mean", "scale", *(["w"] if weight else [])), body)


def _weight(d, columns, long):
    k = _Channel(d, columns, long)
    value = k.load("g") * (k.load("x") - ref("mu", d))
    body = [Let("mu", load("mean", ONE, d)), *k.sums(t=value), Store("out", ONE, cast(ref("t", "f64"), d) * load("scale", ONE, d))]
    return k.kernel("batch_norm_weight", ("out",), ("g", "x", "mean", "scale"), body)


@cache
def _program(make, *key):
    return Program(make(*key))


def _fit(*arrays):
    """(the IR's dtype, (n, channels, plane, l, count)) of arrays that these kernels take, else (None, None)."""
    x = arrays[0]
    d = short(x.dtype)
    if d not in ("f32", "f64") or x.ndim < 2 or not x.size:
        return None, None
    for a in arrays:
        if a is not None and (a.dtype != x.dtype or not a.flags.c_contiguous):
            return None, None
    n, channels = x.shape[:2]
    l = x.size // (n * channels)
    return (d, (n, channels, channels * l, l, n * l)) if l == 1 or l >= 16 else (None, None)


def _run(make, key, dims, *args):
    """Run the kernel of whole channels."""
    n, channels, _, l, _ = dims
    columns = l == 1
    program = _program(make, key[0], columns, l > LONG, *key[1:])
    per = n * (WIDTH if columns else l)
    program(-(-channels // WIDTH) if columns else channels, max(1, GRAIN // per), *args)


def batch_norm(x, w, b, running_mean, running_var, training, eps):
    d, dims = _fit(x, w, b)
    if d is None:
        return NotImplemented
    out = np.empty(x.shape, x.dtype)
    given = [a for a in (w, b) if a is not None]
    if training:
        mean, scale, var = (np.empty(x.shape[1], x.dtype) for _ in range(3))
        _run(_forward, (d, w is not None, b is not None), dims, out, mean, scale, var, x, *given, *dims, float(eps))
        return out, mean, scale, var
    mean, var = running_mean.astype(x.dtype), running_var.astype(x.dtype)
    scale = 1 / np.sqrt(var + np.asarray(eps, var.dtype))
    columns = dims[3] == 1
    program = _program(_affine, d, columns, w is not None, b is not None)
    program(dims[0] if columns else dims[0] * dims[1], max(1, GRAIN // (dims[1] if columns else dims[3])), out, x, mean, scale, *given, *dims)
    return out, mean, scale, var


def batch_norm_adjoint(g, x, w, mean, scale, training, eps):
    d, dims = _fit(x, g, w, mean, scale)
    if d is None or not training:
        return NotImplemented
    out = np.empty(x.shape, x.dtype)
    given = [] if w is None else [w]
    _run(_backward, (d, w is not None, True, False), dims, out, g, x, mean, scale, *given, *dims)
    return out


def batch_norm_gradients(g, x, w, mean, scale, training, eps):
    d, dims = _fit(x, g, w, mean, scale)
    if d is None:
        return NotImplemented
    out, dw, db = np.empty(x.shape, x.dtype), np.empty(x.shape[1], x.dtype), np.empty(x.shape[1], x.dtype)
    given = [] if w is None else [w]
    _run(_backward, (d, w is not None, bool(training), True), dims, out, dw, db, g, x, mean, scale, *given, *dims)
    return out, dw, db


def batch_norm_weight(g, x, mean, scale, training, eps):
    d, dims = _fit(x, g, mean, scale)
    if d is None:
        return NotImplemented
    out = np.empty(x.shape[1], x.dtype)
    _run(_weight, (d,), dims, out, g, x, mean, scale, *dims)
    return out
