"""Kernels for rows that look up by an index: likelihood of classes, embedding, and their adjoints.

Bounds are checked where the program runs: a launch with a `status` word stops its segment when the word is not 0, and
Python then runs the row itself, which raises what it always raises. So nothing after a bad index is computed, as in eager
execution. Adjoints look at the same indices again and skip what is out of bounds.

Sums are float64. Each function gives launches as kernels.py does, with the places of the node; None where the row's own function has
to do it (weights of classes, other layouts or dtypes).
"""

from __future__ import annotations

import numpy as np

from rushlight.codegen.layout import short
from rushlight.codegen.loops import (
    Acc,
    Buffer,
    Grid,
    Lanes,
    Let,
    Loop,
    Number,
    Store,
    Update,
    cast,
    const,
    load,
    number,
    ref,
    select,
)
from rushlight.codegen.lower import I0, low
from rushlight.compiler.graph import FLOATS, Place
from rushlight.compiler.kernels import GRAIN, Work, program_of

I1 = const(1, "i64")
MOST = 1 << 17  # targets that one thread looks at
TILE = 512


class Status(Work):
    """The word that a checked launch sets when an index was out of bounds."""

    __slots__ = ()

    def __init__(self):
        super().__init__(8)


def _targets(t, x):
    """Whether class indices are int64 and the scores float matrices that lie by rows."""
    return t.__class__ is Place and t.dtype == np.int64 and len(t.shape) == 1 and 0 < t.shape[0] <= MOST and x.dtype in FLOATS and len(x.shape) == 2 and x.size


def _class(count):
    """Of row i: its class c, whether it counts and is in bounds, and a class that is safe to look up."""
    c = load("t", (("i", "st"),), "i64")
    inside = (ref("c") >= 0) & (ref("c") < count)
    used = ref("c") != number("ignore")
    return (
        Let("c", c),
        Let("good", used & inside),
        Let("bad", used & ~inside),
        Let("at", select(used & inside, ref("c"), I0)),
    )


def nll(node):
    """mean or sum of -x[i, t[i]] over the targets that are not ignored."""
    x, t, w = node.reads
    how = node.attrs["reduction"]
    if w is not None or how == "none" or not _targets(t, x):
        return None
    d = short(x.dtype)
    zero = const(0.0, "f64")
    good = ref("good", "b1")
    term = select(good, cast(load("x", (("i", "sx"), ("at", "sc")), d), "f64"), zero)
    loop = Loop("i", I0, number("n"), (*_class(number("m")), Update("s", zero - term), Update("k", select(good, const(1.0, "f64"), zero)), Update("b", ref("bad", "b1"))))
    total = ref("s", "f64") / ref("k", "f64") if how == "mean" else ref("s", "f64")
    body = (Acc("s", "add", "f64"), Acc("k", "add", "f64"), Acc("b", "or", "b1"), loop, Store("out", (), cast(total, d)), Store("status", (), cast(ref("b", "b1"), "i64")))
    params = (Buffer("out", d), Buffer("status", "i64"), Buffer("x", d), Buffer("t", "i64"), *(Number(k, "i64") for k in ("n", "m", "sx", "sc", "st", "ignore")))
    p = program_of("nll_loss", params, (Grid(("p",), (I1,), body),))
    status = Status()
    return [(p, 1, 2, [node.writes[0], status, x, t, *x.shape, *x.strides, *t.strides, node.attrs["ignore_index"]], status)]


def nll_backward(node):
    """Zeros with -g (over the number of targets that count, for a mean) at each row's class."""
    g, t, w = node.reads
    how, out = node.attrs["reduction"], node.writes[0]
    if w is not None or how == "none" or g.size != 1 or not _targets(t, out) or g.dtype != out.dtype:
        return None
    d = short(out.dtype)
    coefficient = Work(8)
    one, zero = const(1.0, "f64"), const(0.0, "f64")
    launches = []
    total = ref("k", "f64") if how == "mean" else one
    count = Loop("i", I0, number("n"), (*_class(number("m")), Update("k", select(ref("good", "b1"), one, zero))))
    body = (Acc("k", "add", "f64"), count, Store("out", (), zero - cast(load("g", (), d), "f64") / total))
    params = (Buffer("out", "f64"), Buffer("g", d), Buffer("t", "i64"), *(Number(k, "i64") for k in ("n", "m", "st", "ignore")))
    p = program_of("nll_weight", params, (Grid(("p",), (I1,), body),))
    n, m = out.shape
    launches.append((p, 1, 2, [coefficient, g, t, n, m, *t.strides, node.attrs["ignore_index"]]))
    value = cast(load("g", (), "f64"), d)
    chosen = (ref("j") == ref("c")) & ref("good", "b1")
    row = (*_class(number("m")), Let("v", value), Lanes("j", I0, number("m"), (Store("out", (("i", "m"), ("j", 1)), select(chosen, ref("v", d), const(0.0, d))),)))
    params = (Buffer("out", d), Buffer("g", "f64"), Buffer("t", "i64"), *(Number(k, "i64") for k in ("n", "m", "st", "ignore")))
    p = program_of("nll_adjoint", params, (Grid(("i",), (number("n"),), row),))
    launches.append((p, n, max(1, GRAIN // m), [out, coefficient, t, n, m, *t.strides, node.attrs["ignore_index"]]))
    return launches


def _flat_index(index):
    """The number and stride of indices that one walk reads; None where there is none."""
    if index.__class__ is not Place or index.dtype != np.int64 or not 0 < index.size <= MOST:
        return None
    return (index.size, 1) if index.dense() else (index.shape[0], index.strides[0]) if len(index.shape) == 1 else None


def _in_bounds():
    """status = whether an index is outside of 0 .. m - 1."""
    c = load("t", (("i", "st"),), "i64")
    loop = Lanes("i", I0, number("n"), (Let("c", c), Update("b", (ref("c") < 0) | (ref("c") >= number("m")))))
    body = (Acc("b", "or", "b1"), loop, Store("status", (), cast(ref("b", "b1"), "i64")))
    params = (Buffer("status", "i64"), Buffer("t", "i64"), *(Number(k, "i64") for k in ("n", "m", "st")))
    return program_of("in_bounds", params, (Grid(("p",), (I1,), body),))


def embedding(node):
    """out[i] = w[t[i]]"""
    w, index = node.reads
    walk = _flat_index(index) if w.dtype in FLOATS and len(w.shape) == 2 and w.strides[1] == 1 and w.size else None
    if walk is None:
        return None
    d = short(w.dtype)
    (n, step), (rows, m) = walk, w.shape
    status = Status()
    body = (Let("c", load("t", (("i", "st"),), "i64")), Lanes("j", I0, number("m"), (Store("out", (("i", "m"), ("j", 1)), load("w", (("c", "sw"), ("j", 1)), d)),)))
    params = (Buffer("out", d), Buffer("w", d), Buffer("t", "i64"), *(Number(k, "i64") for k in ("n", "m", "sw", "st")))
    p = program_of("embedding", params, (Grid(("i",), (number("n"),), body),))
    return [(_in_bounds(), 1, 2, [status, index, n, rows, step], status), (p, n, max(1, GRAIN // m), [node.writes[0], w, index, n, m, w.strides[0], step])]


def embedding_backward(node):
    """Zeros with g[i] added to row t[i], in the order of i."""
    g, index = node.reads
    out = node.writes[0]
    if node.attrs["scale_grad_by_freq"] or not g.size or g.dtype not in FLOATS or not g.dense() or g.dtype != out.dtype:
        return None
    walk = _flat_index(index)
    if walk is None:
        return None
    d = short(g.dtype)
    (n, step), (rows, m) = walk, out.shape
    skipped = node.attrs["padding_idx"]
    zero = Lanes("i", None, None, (Store("out", (("i", 1),), const(0.0, d)),))
    launches = [(program_of("zeros", (Buffer("out", d),), (zero,)), rows * m, GRAIN, [out])]
    start = ref("u") * TILE
    at = (("at", "m"), ("j", 1))
    value = select(ref("good", "b1"), load("g", (("i", "m"), ("j", 1)), d), const(0.0, d))
    lanes = Lanes("j", start, low(start + TILE, number("m")), (Store("out", at, load("out", at, d) + value),))
    good = (ref("c") >= 0) & (ref("c") < number("rows")) & (ref("c") != number("skipped"))
    body = (Loop("i", I0, number("n"), (Let("c", load("t", (("i", "st"),), "i64")), Let("good", good), Let("at", select(ref("good", "b1"), ref("c"), I0)), lanes)),)
    params = (Buffer("out", d), Buffer("g", d), Buffer("t", "i64"), *(Number(k, "i64") for k in ("n", "m", "rows", "st", "skipped", "tiles")))
    p = program_of("embedding_adjoint", params, (Grid(("u",), (number("tiles"),), body),))
    tiles = -(-m // TILE)
    launches.append((p, tiles, max(1, GRAIN // (n * min(m, TILE))), [out, g, index, n, m, rows, step, -1 if skipped is None else skipped, tiles]))
    return launches


KERNELS = {"nll_loss": nll, "nll_loss_backward": nll_backward, "embedding": embedding, "embedding_backward": embedding_backward}

__all__ = ["KERNELS", "Status"]
