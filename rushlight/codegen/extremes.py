"""max, min, argmax and argmin along a dimension that is not the last: the place goes along with the value, a column in each lane.

Along the last dimension NumPy's own search is as quick as memory. Of equal elements the first wins, and the first NaN.
Rows are taken in blocks, which stay in the cache while their columns are compared.
"""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from rushlight.codegen import launch, memory, native
from rushlight.codegen.casts import STORED
from rushlight.codegen.layout import short
from rushlight.codegen.llvm import Module, i64, vector
from rushlight.codegen.loops import SIZE
from rushlight.codegen.lower import pieces

TAKEN = frozenset(STORED) - {"b1", "f16", "bf16"}
TILE = 512  # columns of a task
BLOCK = 64  # rows taken at a time
GRAIN = 1 << 15  # elements that are worth another thread


def _better(b, word, dtype, x, best):
    if dtype[0] == "f":
        return b.op("and", b.cmp("ugt" if word == "max" else "ult", x, best), b.cmp("ord", best, best))
    return b.cmp(("u" if dtype[0] == "u" else "s") + ("gt" if word == "max" else "lt"), x, best)


def columns(word, dtype):
    """The module of `columns`(x, values, index, rows, width, tiles): for each of the outer grids of x (rows, width). Grid: outer, tiles."""
    m, element = Module(), STORED[dtype]
    counter = "i64" if SIZE[dtype] == 8 else "i32"
    lanes = 2 * native.vector_bytes() // max(4, SIZE[dtype])
    b = m.function("columns", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    x0, values0, index0 = (b.load("ptr", b.at_bytes(b.args[0], i64(8 * k))) for k in range(3))
    rows, width, tiles = (b.load("i64", b.at_bytes(b.args[0], i64(8 * k))) for k in range(3, 6))

    def smaller(p, q):
        return b.select(b.cmp("slt", p, q), p, q)

    with b.loop(b.args[1], b.args[2]) as task:
        outer, tile = b.op("udiv", task.i, tiles), b.op("urem", task.i, tiles)
        first = b.mul(tile, i64(TILE))
        stop = smaller(b.add(first, i64(TILE)), width)
        whole = b.sub(stop, b.emit(f"srem i64 {b.sub(stop, first).text}, {lanes}", "i64"))
        x = b.gep(x0, b.mul(outer, b.mul(rows, width)), element)
        values, index = b.gep(values0, b.mul(outer, width), element), b.gep(index0, b.mul(outer, width), "i64")
        with b.loop(first, stop) as k:
            b.store(b.load(element, b.gep(x, k.i, element)), b.gep(values, k.i, element))
            b.store(i64(0), b.gep(index, k.i, "i64"))
        with b.loop(i64(0), rows, BLOCK) as block:
            last = smaller(b.add(block.i, i64(BLOCK)), rows)
            for start, end, n in ((first, whole, lanes), (whole, stop, 0)):
                t = vector(element, n)
                with b.loop(start, end, n or 1) as k:
                    at_value, at_index = b.gep(values, k.i, element), b.gep(index, k.i, "i64")
                    best = b.load(t, at_value)
                    place = b.cast("trunc", b.load(vector("i64", n), at_index), counter)
                    with b.loop(block.i, last, 1, [best, place]) as r:
                        one = b.load(t, b.gep(x, b.add(b.mul(r.i, width), k.i), element))
                        c = _better(b, word, dtype, one, r.carried[0])
                        row = b.splat(b.cast("trunc", r.i, counter), n)
                        r.next = [b.select(c, one, r.carried[0]), b.select(c, row, r.carried[1])]
                    b.store(r.results[0], at_value)
                    b.store(b.cast("zext", r.results[1], "i64"), at_index)
    b.ret()
    b.done()
    return str(m)


@cache
def _kernel(word, dtype):
    memory.recycle()
    return launch.launcher(native.load(columns(word, dtype), ["columns"], optimise=False)["columns"], "pppqqq")


def _found(word, x, axis):
    """(values, places) along `axis`, reduced; None where NumPy should do it."""
    dtype = short(x.dtype)
    width = prod(x.shape[axis + 1 :])
    if dtype not in TAKEN or not x.flags.c_contiguous or width < 16 or not x.size or x.shape[axis] >= 1 << 31:
        return None
    rows, outer = x.shape[axis], prod(x.shape[:axis])
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    values, index = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    tiles = pieces(width, TILE)
    _kernel(word, dtype)(outer * tiles, max(1, GRAIN // (rows * min(width, TILE))), x, values, index, rows, width, tiles)
    return values, index


def _pair(word):
    def f(x, axis, keepdim):
        found = _found(word, x, axis % max(x.ndim, 1))
        if found is None:
            return NotImplemented
        return tuple(np.expand_dims(a, axis) for a in found) if keepdim else found

    return f


def _place(word):
    def f(x, axes, keepdim):
        found = _found(word, x, axes[0]) if len(axes) == 1 and x.ndim > 1 else None
        if found is None:
            return NotImplemented
        return np.expand_dims(found[1], axes[0]) if keepdim else found[1]

    return f


max_dim, min_dim, argmax, argmin = _pair("max"), _pair("min"), _place("max"), _place("min")

__all__ = ["argmax", "argmin", "max_dim", "min_dim"]
