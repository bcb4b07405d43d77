"""Running sums, products, extremes and logarithms of sums along any dimension: cumsum, cumprod, cummax, cummin, logcumsumexp.

x is a grid (outer, n, inner) in C order. Where inner is 1 several rows are run through side by side, so that their chains of
additions overlap; else columns are lanes, their running values kept in the first-level cache. Elements are taken in order, in
float64 or int64, as the NumPy readings take them: digits are theirs. Threads share rows and tiles of columns.

logcumsumexp of float32 sums exp(x - top) in float64, top being the row's largest; rows whose numbers lie too far apart for
that, and float64, are NumPy's.
"""

from __future__ import annotations

from functools import cache
from math import inf, prod

import numpy as np

from rushlight.codegen import launch, mathlib, memory, native
from rushlight.codegen.casts import STORED
from rushlight.codegen.copying import contiguous
from rushlight.codegen.layout import short
from rushlight.codegen.llvm import Module, V, const, i64, vector
from rushlight.codegen.loops import (
    SIZE,
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
    cast,
    load,
    number,
    ref,
)
from rushlight.codegen.loops import const as constant
from rushlight.codegen.lower import pieces
from rushlight.codegen.program import Program
from rushlight.codegen.scratch import scratch
from rushlight.core.settings import SETTINGS

TAKEN = frozenset(STORED) - {"f16", "bf16"}
SIDE = 4  # rows run through side by side
TILE = 512  # columns of a piece
GRAIN = 1 << 14  # elements that are worth another thread


def _floating(dtype):
    return dtype[0] == "f"


def _widened(b, dtype, x):
    """Loaded elements in the accumulator's type."""
    if _floating(dtype):
        return x if dtype == "f64" else b.cast("fpext", x, "double")
    return b.cast("sext" if dtype[0] == "i" else "zext", x, "i64")


def _narrowed(b, dtype, value):
    if _floating(dtype):
        return value if dtype == "f64" else b.cast("fptrunc", value, "float")
    return b.cast("trunc", value, STORED[dtype])


class _Sum:
    """add or mul: the state is the running value."""

    def __init__(self, op, dtype, result):
        self.op, self.dtype, self.result = op, dtype, result
        self.types = ("double" if _floating(result) else "i64",)
        self.outs = (STORED[result],)

    def start(self, lanes):
        return [const(0 if self.op == "add" else 1, vector(self.types[0], lanes))]

    def step(self, b, state, x, place):
        word = ("f" if _floating(self.result) else "") + self.op
        value = b.op(word, state[0], _widened(b, self.dtype, x))
        return [value], [_narrowed(b, self.result, value)]


class _Extreme:
    """max or min: the state is the running extreme and the place of the last that equals it."""

    def __init__(self, op, dtype, result):
        self.op, self.dtype = op, dtype
        self.types = (STORED[dtype], "i64")
        self.outs = (STORED[dtype], "i64")

    def start(self, lanes):
        d, bits = self.dtype, 8 * SIZE[self.dtype]
        least = -inf if _floating(d) else 0 if d[0] in "ub" else -(1 << (bits - 1))
        most = inf if _floating(d) else (1 << bits) - 1 if d[0] == "u" else 1 if d == "b1" else (1 << (bits - 1)) - 1
        return [const(least if self.op == "max" else most, vector(self.types[0], lanes)), const(0, vector("i64", lanes))]

    def step(self, b, state, x, place):
        word = "ge" if self.op == "max" else "le"
        if _floating(self.dtype):
            taken = b.op("or", b.cmp("o" + word, x, state[0]), b.cmp("uno", x, x))
        else:
            taken = b.cmp(("s" if self.dtype[0] == "i" else "u") + word, x, state[0])
        state = [b.select(taken, x, state[0]), b.select(taken, place, state[1])]
        return state, state


_MAKERS = {"add": _Sum, "mul": _Sum, "max": _Extreme, "min": _Extreme}
_SLOTS = "x* out* places* n inner outer tiles work* size"


def _begin(name):
    m = Module()
    b = m.function(name, [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    s = {n.rstrip("*"): b.load("ptr" if n[-1] == "*" else "i64", b.at_bytes(b.args[0], i64(8 * k))) for k, n in enumerate(_SLOTS.split())}
    return m, b, s


def rows(op, dtype, result):
    """Kernel `rows`: inner = 1. Grid: SIDE rows at a time."""
    m, b, s = _begin("rows")
    scan = _MAKERS[op](op, dtype, result)
    n, outs = s["n"], [s["out"], s["places"]]

    def run(first, count):
        starts = [b.mul(b.add(first, i64(r)), n) for r in range(count)]
        begin = [v for _ in range(count) for v in scan.start(0)]
        width = len(begin) // count
        with b.loop(i64(0), n, 1, begin) as k:
            k.next = []
            for r, start in enumerate(starts):
                at = b.add(start, k.i)
                x = b.load(STORED[dtype], b.gep(s["x"], at, STORED[dtype]))
                state, values = scan.step(b, k.carried[r * width : (r + 1) * width], x, k.i)
                k.next += state
                for out, value in zip(outs, values):
                    b.store(value, b.gep(out, at, value.type))

    with b.loop(b.args[1], b.args[2]) as task:
        first = b.mul(task.i, i64(SIDE))
        stop = b.add(first, i64(SIDE))
        full = b.cmp("sle", stop, s["outer"])
        with b.when(full):
            run(first, SIDE)
        with b.when(b.op("xor", full, V("true", "i1"))), b.loop(first, s["outer"]) as r:
            run(r.i, 1)
    b.ret()
    b.done()
    return str(m)


def columns(op, dtype, result):
    """Kernel `columns`: running values of a tile of columns in `work`. Grid: outer, tiles."""
    m, b, s = _begin("columns")
    scan = _MAKERS[op](op, dtype, result)
    n, inner, outs = s["n"], s["inner"], [s["out"], s["places"]]
    lanes = native.vector_bytes() // 8 * 2
    held = [b.at_bytes(b.at_bytes(s["work"], b.mul(b.args[3], s["size"])), i64(8 * TILE * k)) for k in range(len(scan.types))]
    with b.loop(b.args[1], b.args[2]) as task:
        first = b.mul(b.op("urem", task.i, s["tiles"]), i64(TILE))
        width = b.intrinsic("smin", b.sub(inner, first), i64(TILE))
        base = b.add(b.mul(b.op("udiv", task.i, s["tiles"]), b.mul(n, inner)), first)
        whole = b.sub(width, b.emit(f"urem i64 {width.text}, {lanes}", "i64"))
        with b.loop(i64(0), i64(TILE), lanes) as l:
            for place, value in zip(held, scan.start(lanes)):
                b.store(value, b.gep(place, l.i, scan.types[held.index(place)]))
        with b.loop(i64(0), n) as k:
            row = b.add(base, b.mul(k.i, inner))
            for start, stop, count in ((i64(0), whole, lanes), (whole, width, 0)):
                with b.loop(start, stop, count or 1) as l:
                    at = b.add(row, l.i)
                    spots = [b.gep(p, l.i, t) for p, t in zip(held, scan.types)]
                    state = [b.load(vector(t, count), p) for p, t in zip(spots, scan.types)]
                    x = b.load(vector(STORED[dtype], count), b.gep(s["x"], at, STORED[dtype]))
                    state, values = scan.step(b, state, x, b.splat(k.i, count))
                    for v, p in zip(state, spots):
                        b.store(v, p)
                    for out, value, t in zip(outs, values, scan.outs):
                        b.store(value, b.gep(out, at, t))
    b.ret()
    b.done()
    return str(m)


@cache
def _kernel(make, *key):
    memory.recycle()
    name = make.__name__
    return launch.launcher(native.load(make(*key), [name], optimise=False)[name], "pppqqqqpq")


def _run(op, x, axis, result, out, places):
    outer, n, inner = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
    dtype = short(x.dtype)
    if inner == 1:
        _kernel(rows, op, dtype, result)(pieces(outer, SIDE), max(1, GRAIN // (SIDE * n)), x, out, places, n, 1, outer, 1, 0, 0)
        return
    tiles, size = pieces(inner, TILE), 16 * TILE
    work, owner = scratch("scan", size * SETTINGS.threads)
    _kernel(columns, op, dtype, result)(outer * tiles, max(1, GRAIN // (n * min(inner, TILE))), x, out, places, n, inner, outer, tiles, work, size)


_ROWS = {"cumsum": "add", "cumprod": "mul"}


def scan(op, spec, x, attrs):
    """cumsum, cumprod and logcumsumexp, or None where NumPy should do it."""
    dtype, result = short(x.dtype), short(spec.dtype.np)
    if not x.ndim or not x.size or dtype not in TAKEN or result not in TAKEN or _floating(dtype) != _floating(result) or result == "b1":
        return None
    axis = attrs["axis"]
    x = x if x.flags.c_contiguous else contiguous(x)
    if op.name == "logcumsumexp":
        return _logarithms(x, axis) if dtype == "f32" else None
    if op.name not in _ROWS:
        return None
    out = np.empty(x.shape, spec.dtype.np)
    _run(_ROWS[op.name], x, axis, result, out, 0)
    return out


def _extremes(op):
    def f(x, axis):
        if not x.ndim or not x.size or short(x.dtype) not in TAKEN:
            return NotImplemented
        x = x if x.flags.c_contiguous else contiguous(x)
        out, places = np.empty(x.shape, x.dtype), np.empty(x.shape, np.int64)
        _run(op, x, axis, short(x.dtype), out, places)
        return out, places

    return f


cummax, cummin = _extremes("max"), _extremes("min")

# ---- logcumsumexp

APART = 600.0  # how far apart numbers may lie: exp(-600) has all its digits in float64


@cache
def _log_rows():
    """work[i, j] = exp(x[i, j] - top[i]), its running sums, and their logarithms."""
    at, one = (("i", "m"), ("j", 1)), (("i", 1),)
    x = cast(load("x", at, "f32"), "f64")
    work = load("work", at, "f64")
    row = (
        Let("top", cast(load("top", one, "f32"), "f64")),
        Lanes("j", constant(0, "i64"), number("m"), (Store("work", at, mathlib.exp(x - ref("top", "f64"))),)),
        Acc("s", "add", "f64"),
        Loop("j", constant(0, "i64"), number("m"), (Update("s", work), Store("work", at, ref("s", "f64")))),
        Lanes("j", constant(0, "i64"), number("m"), (Store("out", at, cast(mathlib.log(work) + ref("top", "f64"), "f32")),)),
    )
    params = (Buffer("out", "f32"), Buffer("x", "f32"), Buffer("top", "f32"), Buffer("work", "f64"), Number("n", "i64"), Number("m", "i64"))
    return Program(Kernel("logcumsumexp", params, (Grid(("i",), (number("n"),), row),)))


def _logarithms(x, axis):
    lines = x if axis == x.ndim - 1 else contiguous(np.moveaxis(x, axis, -1))
    m = lines.shape[-1]
    n = lines.size // m
    top, low = (np.empty(lines.shape[:-1], np.float32) for _ in range(2))
    np.max(lines, axis=-1, out=top)
    np.min(lines, axis=-1, out=low)
    with np.errstate(all="ignore"):
        if not (top.astype(np.float64) - low < APART).all():  # NaN and infinities too
            return None
    out, work = np.empty(lines.shape, np.float32), np.empty(lines.shape)
    _log_rows()(n, max(1, (GRAIN >> 2) // m), out, lines, top, work, n, m)
    return out if lines is x else contiguous(np.moveaxis(out, -1, axis))
