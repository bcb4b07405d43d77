"""Copies of memory in another order: transposes of any rank, windows, broadcasts and flips, of any dtype.

`copy(out, x)` writes x, an array of out's shape and dtype, to out; `contiguous(x)` is x in C order. Dimensions that both
walk as one are joined. What is left is a plane of two dimensions under outer ones:
    lines      both run forward (or x backward, or not at all) along the inner dimension
    tiles      x runs along the other dimension of the plane: squares of N x N elements are transposed in registers, so many
               beside each other that they fill cache lines. (Stores past the caches were measured: three times slower,
               since arrays of the C library do not begin at a cache line.)
Elements are moved as integers of their size.

Invariants: out and x share no memory; out has no two elements in one place. False (or None) where NumPy should do it.
"""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from rushlight.codegen import launch, memory, native
from rushlight.codegen.layout import collapse, element_strides
from rushlight.codegen.llvm import Module, V, i64, vector
from rushlight.codegen.lower import pieces

LINE = 64
GRAIN = 1 << 18  # bytes that are worth another thread
ACROSS, ALONG = 256, 64  # elements of a tile's block: along x's own direction, along out's
SQUARE = {1: 16, 2: 8, 4: 8, 8: 4}  # elements of a square's side by their size


def _slots(b, names):
    return {n.rstrip("*"): b.load("ptr" if n[-1] == "*" else "i64", b.at_bytes(b.args[0], i64(8 * k))) for k, n in enumerate(names)}


def _start(b, s, task, outer):
    """(out, x) at the outer indices of a task, last one fastest, and what is left of the task's number."""
    out, x = i64(0), i64(0)
    for d in reversed(range(outer)):
        n = s[f"n{d}"]
        index = b.op("urem", task, n)
        task = b.op("udiv", task, n)
        out, x = b.add(out, b.mul(index, s[f"o{d}"])), b.add(x, b.mul(index, s[f"x{d}"]))
    return out, x


def _smaller(b, p, q):
    return b.select(b.cmp("slt", p, q), p, q)


def _names(outer):
    return ["out*", "x*", "rows", "columns", "orow", "xrow", "parts", "ocolumn", "xcolumn", *(f"{c}{d}" for d in range(outer) for c in "nox")]


def lines(size, outer, step):
    """Kernel `lines`: out[r, c] = x[r, c * step] for the rows of a part of each plane; step 1, -1 or 0. Grid: planes, parts."""
    m, element = Module(), f"i{8 * size}"
    lanes = native.vector_bytes() // size
    t = vector(element, lanes)
    b = m.function("lines", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    s = _slots(b, _names(outer))
    rows, columns, parts = s["rows"], s["columns"], s["parts"]
    whole = b.sub(columns, b.emit(f"urem i64 {columns.text}, {lanes}", "i64"))
    each = b.op("udiv", b.add(rows, b.sub(parts, i64(1))), parts)
    with b.loop(b.args[1], b.args[2]) as task:
        first = b.mul(b.op("urem", task.i, parts), each)
        out, x = _start(b, s, b.op("udiv", task.i, parts), outer)
        with b.loop(first, _smaller(b, b.add(first, each), rows)) as r:
            to = b.gep(s["out"], b.add(out, b.mul(r.i, s["orow"])), element)
            at = b.gep(s["x"], b.add(x, b.mul(r.i, s["xrow"])), element)
            with b.loop(i64(0), whole, lanes) as c:
                if step == 1:
                    value = b.load(t, b.gep(at, c.i, element))
                elif step == 0:
                    value = b.splat(b.load(element, at), lanes)
                else:
                    back = b.load(t, b.gep(at, b.op("sub", i64(1 - lanes), c.i), element))
                    value = b.shuffle(back, None, range(lanes - 1, -1, -1))
                b.store(value, b.gep(to, c.i, element))
            with b.loop(whole, columns) as c:
                place = c.i if step == 1 else i64(0) if step == 0 else b.op("sub", i64(0), c.i)
                b.store(b.load(element, b.gep(at, place, element)), b.gep(to, c.i, element))
    b.ret()
    b.done()
    return str(m)


def _transposed(b, rows):
    """Vectors of a square as those of its transpose: pairs of rows are interleaved, log2(n) times."""
    n = len(rows)
    low = [k // 2 + (n if k % 2 else 0) for k in range(n)]
    high = [k + n // 2 for k in low]
    step = n
    while step > 1:
        half = n // 2
        pairs = [(rows[k], rows[k + half]) for k in range(half)]
        rows = [b.shuffle(p, q, which) for p, q in pairs for which in (low, high)]
        step //= 2
    return rows


def tiles(size, outer):
    """Kernel `tiles`: out[r, c] = x[r, c] where out runs along c and x along r. Grid: planes, blocks of rows, blocks of columns."""
    m, element = Module(), f"i{8 * size}"
    n = SQUARE[size]
    wide = max(1, LINE // size // n)  # squares beside each other
    t = vector(element, n)
    b = m.function("tiles", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    s = _slots(b, _names(outer))
    rows, columns, orow, xcolumn = s["rows"], s["columns"], s["orow"], s["xcolumn"]
    blocks = b.op("udiv", b.add(columns, i64(ALONG - 1)), i64(ALONG))
    bands = b.op("udiv", b.add(rows, i64(ACROSS - 1)), i64(ACROSS))
    with b.loop(b.args[1], b.args[2]) as task:
        column = b.mul(b.op("urem", task.i, blocks), i64(ALONG))
        rest = b.op("udiv", task.i, blocks)
        row = b.mul(b.op("urem", rest, bands), i64(ACROSS))
        out, x = _start(b, s, b.op("udiv", rest, bands), outer)
        out, x = b.gep(s["out"], out, element), b.gep(s["x"], x, element)
        row_stop, column_stop = _smaller(b, b.add(row, i64(ACROSS)), rows), _smaller(b, b.add(column, i64(ALONG)), columns)
        row_whole = b.sub(row_stop, b.emit(f"urem i64 {b.sub(row_stop, row).text}, {n}", "i64"))
        column_whole = b.sub(column_stop, b.emit(f"urem i64 {b.sub(column_stop, column).text}, {n * wide}", "i64"))
        with b.loop(column, column_whole, n * wide) as c:
            with b.loop(row, row_whole, n) as r:
                for k in range(wide):
                    first = b.add(c.i, i64(k * n))
                    loaded = [b.load(t, b.gep(x, b.add(b.mul(b.add(first, i64(j)), xcolumn), r.i), element)) for j in range(n)]
                    for j, v in enumerate(_transposed(b, loaded)):
                        to = b.gep(out, b.add(b.mul(b.add(r.i, i64(j)), orow), first), element)
                        b.store(v, to)

        def one(r, c):
            b.store(b.load(element, b.gep(x, b.add(b.mul(c, xcolumn), r), element)), b.gep(out, b.add(b.mul(r, orow), c), element))

        with b.loop(row_whole, row_stop) as r:
            with b.loop(column, column_whole) as c:
                one(r.i, c.i)
        with b.loop(row, row_stop) as r:
            with b.loop(column_whole, column_stop) as c:
                one(r.i, c.i)
    b.ret()
    b.done()
    return str(m)


@cache
def _kernel(make, *key):
    memory.recycle()
    name = make.__name__
    return launch.launcher(native.load(make(*key), [name], optimise=False)[name], "pp" + "q" * (len(_names(key[1])) - 2))


def _geometry(out, x):
    """(sizes, strides of out, strides of x) in elements with the fewest dimensions, in the order of out's memory."""
    strides = [element_strides(a, out.shape) for a in (out, x)]
    if None in strides:
        return None
    sizes, (o, w) = collapse(out.shape, strides)
    return (sizes or (1,)), (o or (1,)), (w or (1,))


def copy(out, x):
    """out[...] = x of the same shape and dtype; whether it was done."""
    size = out.itemsize
    found = _geometry(out, x) if size in SQUARE and out.dtype == x.dtype and out.size else None
    if found is None:
        return False
    sizes, o, w = found
    rank = len(sizes)
    if o[-1] != 1 or rank > 8:
        return False
    inner = w[-1]
    if inner in (1, 0, -1):
        plane = rank - 2 if rank > 1 else None
        rows, orow, xrow = (sizes[plane], o[plane], w[plane]) if plane is not None else (1, 0, 0)
        rest = [d for d in range(rank - 1) if d != plane]
        planes = prod(sizes[d] for d in rest)
        columns = sizes[-1]
        if rank == 1 and columns > GRAIN and inner != -1:  # one line: cut it
            rows = 1 << 10
            while columns % rows:
                rows >>= 1
            columns //= rows
            orow, xrow = columns, columns * inner
        parts = min(rows, max(1, rows * columns * size // GRAIN))
        each = rows * columns * size // parts
        _kernel(lines, size, len(rest), inner)(planes * parts, max(1, GRAIN // max(each, 1)), out, x, rows, columns, orow, xrow, parts, 1, inner, *_outer(rest, sizes, o, w))
        return True
    plane = next((d for d in range(rank - 1) if w[d] == 1), None)
    if plane is None:
        return False
    rest = [d for d in range(rank - 1) if d != plane]
    total = prod(sizes[d] for d in rest) * pieces(sizes[plane], ACROSS) * pieces(sizes[-1], ALONG)
    each = out.size * size // total
    _kernel(tiles, size, len(rest))(total, max(1, GRAIN // max(each, 1)), out, x, sizes[plane], sizes[-1], o[plane], 1, 1, 1, inner, *_outer(rest, sizes, o, w))
    return True


def _outer(rest, sizes, o, w):
    return [v for d in rest for v in (sizes[d], o[d], w[d])]


def contiguous(x):
    """A copy of x in C order."""
    out = np.empty(x.shape, x.dtype)
    if not copy(out, x):
        out[...] = x
    return out


def flip(x, axes):
    """The row flip."""
    if not x.ndim or not axes:
        return NotImplemented
    return contiguous(np.flip(x, axes))


def repeat(x, repeats):
    """The row repeat: each dimension is (times, size) of the result, and x stands still along the first."""
    shape = (1,) * (len(repeats) - x.ndim) + x.shape
    out = np.empty([r * n for r, n in zip(repeats, shape)], x.dtype)
    split = [m for r, n in zip(repeats, shape) for m in (r, n)]
    source = np.broadcast_to(x.reshape([m for n in shape for m in (1, n)]), split)
    return out if not out.size or copy(out.reshape(split), source) else NotImplemented


def triangles(size):
    """Kernel `triangles`: rows of x with zeros outside of columns first..last, which move with the row. Grid: rows of all planes."""
    m, element = Module(), f"i{8 * size}"
    b = m.function("triangles", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    s = _slots(b, ["out*", "x*", "rows", "columns", "first", "last"])
    n = s["columns"]

    def column(offset, row):
        return b.intrinsic("smin", b.intrinsic("smax", b.add(row, offset), i64(0)), n)

    with b.loop(b.args[1], b.args[2]) as task:
        row = b.op("urem", task.i, s["rows"])
        first, last = column(s["first"], row), column(s["last"], row)
        last = b.intrinsic("smax", first, last)
        start = b.mul(task.i, n)
        out = b.gep(s["out"], start, element)
        at, width = b.gep(out, first, element), b.mul(b.sub(last, first), i64(size))
        b.call("llvm.memset.p0.i64", "void", out, V("0", "i8"), b.mul(first, i64(size)), V("false", "i1"))
        b.call("llvm.memcpy.p0.p0.i64", "void", at, b.gep(s["x"], b.add(start, first), element), width, V("false", "i1"))
        b.call("llvm.memset.p0.i64", "void", b.gep(out, last, element), V("0", "i8"), b.mul(b.sub(n, last), i64(size)), V("false", "i1"))
    b.ret()
    b.done()
    return str(m)


@cache
def _triangles(size):
    memory.recycle()
    return launch.launcher(native.load(triangles(size), ["triangles"], optimise=False)["triangles"], "ppqqqq")


def _triangle(x, first, last):
    if x.itemsize not in SQUARE or not x.size:
        return NotImplemented
    x = x if x.flags.c_contiguous else contiguous(x)
    out = np.empty(x.shape, x.dtype)
    rows, columns = x.shape[-2:]
    _triangles(x.itemsize)(x.size // columns, max(1, GRAIN // (columns * x.itemsize)), out, x, rows, columns, first, last)
    return out


_FAR = 1 << 40  # beyond every column


def tril(x, diagonal):
    """The row tril: columns up to i + diagonal of row i."""
    return _triangle(x, -_FAR, diagonal + 1)


def triu(x, diagonal):
    """The row triu: columns from i + diagonal on of row i."""
    return _triangle(x, diagonal, _FAR)


def _joined(arrays, axis, shape):
    """The arrays beside each other along `axis` of an array of `shape`; NotImplemented where NumPy should do it."""
    first = arrays[0]
    if first.itemsize not in SQUARE or any(a.dtype != first.dtype or a.ndim != first.ndim or not a.flags.c_contiguous for a in arrays):
        return NotImplemented
    out, start = np.empty(shape, first.dtype), 0
    for a in arrays:
        part = out[(slice(None),) * axis + (slice(start, start + a.shape[axis]),)]
        if a.size and not copy(part, a):
            part[...] = a
        start += a.shape[axis]
    return out


def cat(*arrays, dim):
    """The row cat, of arrays in C order."""
    used = [a for a in arrays if a.shape != (0,)] or [arrays[0]]
    axis = dim % used[0].ndim
    shape = list(used[0].shape)
    shape[axis] = sum(a.shape[axis] for a in used)
    return _joined(used, axis, shape)


def stack(*arrays, dim):
    """The row stack, of arrays in C order; not along a new last dimension, where single elements are dealt out."""
    shape = arrays[0].shape
    if dim >= len(shape) or 1 in (len(arrays), *shape):  # what PyTorch calls channels last may hide in sizes of 1
        return NotImplemented
    out = _joined(arrays, dim, [*shape[:dim], len(arrays) * shape[dim], *shape[dim + 1 :]])
    if out is not NotImplemented:
        out.shape = (*shape[:dim], len(arrays), *shape[dim:])
    return out


__all__ = ["cat", "contiguous", "copy", "flip", "repeat", "stack", "tril", "triu"]
