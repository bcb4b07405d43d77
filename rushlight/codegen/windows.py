"""Pooling: windows reduced by maximum or sum along rows of the input, and what puts values back.

Arrays are (planes, depth, height, width) in C order; fewer dimensions are padded with ones. One iteration is one row of
the result (forward) or one plane (backward, so that no two threads add to one place). Along a row, where the window lies
inside the input, several results at a time: their elements are `stride` apart, so whole vectors are read and every
stride-th lane taken. At the borders windows are cut, one result at a time. The width of a window, its stride and dilation
along the row are part of the code, everything else is a number.

Invariants: of equal maxima the first is taken, of NaNs the last; nothing outside the arrays is read or written (vectors
read past a row, never past the last element).
"""

from __future__ import annotations

import math
import struct
from functools import cache

import numpy as np

from rushlight.codegen import memory, native, pool
from rushlight.codegen.fresh import zeros
from rushlight.codegen.llvm import SIZES, Module, V, const, i64, vector
from rushlight.codegen.record import address
from rushlight.core.settings import SETTINGS

ELEMENT = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
#: what a kernel reads, 8 bytes each; *0, *1, *2 are depth, height, width
ARGS = ("x", "out", "index", "total", "n0", "n1", "n2", "k0", "k1", "k2", "s0", "s1", "s2", "p0", "p1", "p2", "d0", "d1", "d2", "m0", "m1", "m2", "padded", "divisor")  # fmt: skip
WIDEST = 16  # columns of a window
GRAIN = 1 << 13  # elements of the result that are worth a thread


class _Row:
    """Shared by the kernels: the numbers, and the walk over a window's rows that lie inside the input."""

    def __init__(self, module, name):
        self.b = b = module.function(name, [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
        args, self.begin, self.end, _ = b.args
        for k, n in enumerate(ARGS):
            setattr(self, n, b.load("ptr" if k < 3 else "i64", b.at_bytes(args, i64(8 * k)), 8))
        self.rows = b.mul(self.n0, self.n1)
        self.plane = b.mul(self.rows, self.n2)
        self.zero = i64(0)

    def smax(self, x, y):
        return self.b.intrinsic("smax", x, y)

    def cut(self, begin, n, k, d):
        """(first, stop): which places of a window beginning at `begin` lie inside n elements."""
        b = self.b
        up = b.sub(d, i64(1))
        first = b.op("sdiv", b.add(self.smax(b.sub(self.zero, begin), self.zero), up), d)
        stop = b.op("sdiv", b.add(self.smax(b.sub(n, begin), self.zero), up), d)
        return b.smin(first, k), b.smin(stop, k)

    def begins(self, o, axis):
        """Where window `o` begins."""
        b = self.b
        return b.sub(b.mul(o, getattr(self, f"s{axis}")), getattr(self, f"p{axis}"))

    def counted(self, begin, axis):
        """How many elements a window counts along an axis for its mean."""
        b = self.b
        n, k, p = (getattr(self, f"{w}{axis}") for w in "nkp")
        whole = b.sub(b.smin(b.add(begin, k), b.add(n, p)), begin)
        inside = b.sub(b.smin(b.add(begin, k), n), self.smax(begin, self.zero))
        return b.select(b.cmp("ne", self.padded, self.zero), whole, inside)

    def divided(self, count):
        """The count, or the divisor that was given instead."""
        b = self.b
        return b.select(b.cmp("ne", self.divisor, self.zero), self.divisor, count)

    def place(self, i):
        """(plane, o0, o1) of a row of the result."""
        b = self.b
        o1, rest = b.op("srem", i, self.m1), b.op("sdiv", i, self.m1)
        return b.op("sdiv", rest, self.m0), b.op("srem", rest, self.m0), o1

    def interior(self, k, s, d):
        """(first, stop): the windows of a row that lie inside it."""
        b = self.b
        low = b.op("sdiv", b.add(self.p2, i64(s - 1)), i64(s))
        reach = b.sub(b.add(self.n2, self.p2), i64((k - 1) * d + 1))
        high = b.select(b.cmp("slt", reach, self.zero), self.zero, b.add(b.op("sdiv", reach, i64(s)), i64(1)))
        low = b.smin(low, self.m2)
        return low, self.smax(low, b.smin(high, self.m2))


def _lines(r, z, y, carried, body):
    """For each row of a window that lies inside: body(offset of the row in the plane, carried) -> carried; z, y as (begin, first, stop)."""
    b = r.b
    (z0, zf, zs), (y0, yf, ys) = z, y
    with b.loop(zf, zs, 1, carried) as outer:
        iz = b.add(z0, b.mul(outer.i, r.d0))
        with b.loop(yf, ys, 1, outer.carried) as inner:
            iy = b.add(y0, b.mul(inner.i, r.d1))
            inner.next = body(b.mul(b.add(b.mul(iz, r.n1), iy), r.n2), inner.carried)
        outer.next = inner.results
    return outer.results


def _forward(module, name, element, k, s, d, maximum, indexed):
    """Maxima (with the places in their plane if `indexed`), or means."""
    r = _Row(module, name)
    b = r.b
    size = SIZES[element]
    lanes = native.vector_bytes() // size
    kind, ints = vector(element, lanes), vector("i32", lanes)
    start = -math.inf if maximum else 0.0
    order, ramp = (V("<" + ", ".join(f"i32 {j * step}" for j in range(lanes)) + ">", ints) for step in (1, s))

    def better(part, have):
        return b.op("or", b.cmp("ogt", part, have), b.cmp("uno", part, part))

    with b.loop(r.begin, r.end) as l:
        plane, o0, o1 = r.place(l.i)
        z0, y0 = r.begins(o0, 0), r.begins(o1, 1)
        z, y = (z0, *r.cut(z0, r.n0, r.k0, r.d0)), (y0, *r.cut(y0, r.n1, r.k1, r.d1))
        base = b.mul(plane, r.plane)
        row = b.mul(l.i, r.m2)
        rows_counted = None if maximum else b.mul(r.counted(z0, 0), r.counted(y0, 1))
        first = b.mul(b.add(b.mul(b.add(z0, b.mul(z[1], r.d0)), r.n1), b.add(y0, b.mul(y[1], r.d1))), r.n2)  # the first row of the window

        def single(o):
            x0 = r.begins(o, 2)
            xf, xs = r.cut(x0, r.n2, i64(k), i64(d))

            def line(offset, carried):
                with b.loop(xf, xs, 1, carried) as w:
                    at = b.add(b.add(offset, x0), b.mul(w.i, i64(d)))
                    part = b.load(element, b.gep(r.x, b.add(base, at), element))
                    if maximum:
                        have, which = w.carried
                        wins = better(part, have)
                        w.next = [b.select(wins, part, have), b.select(wins, at, which)]
                    else:
                        w.next = [b.op("fadd", w.carried[0], part)]
                return w.results

            begin = b.add(first, b.add(x0, b.mul(xf, i64(d))))
            found = _lines(r, z, y, [const(start, element), *([begin] if maximum else [])], line)
            value = found[0]
            if not maximum:
                value = b.op("fdiv", value, b.emit(f"sitofp {r.divided(b.mul(rows_counted, r.counted(x0, 2)))!r} to {element}", element))
            b.store(value, b.gep(r.out, b.add(row, o), element))
            if indexed:
                b.store(found[1], b.gep(r.index, b.add(row, o), "i64"))

        low, high = r.interior(k, s, d)
        with b.loop(i64(0), low) as o:
            single(o.i)
        # `lanes * s` elements are read from each place of a window: as far as the last row of this plane allows that
        deepest = b.add(base, b.mul(b.sub(r.rows, i64(1)), r.n2))
        room = b.sub(b.sub(r.total, i64((k - 1) * d + lanes * s)), deepest)
        fits = b.add(b.op("sdiv", b.add(room, r.p2), i64(s)), i64(1))
        stop = b.select(b.cmp("slt", room, r.zero), low, r.smax(low, b.smin(high, fits)))
        with b.loop(low, stop, lanes) as o:
            x0 = r.begins(o.i, 2)

            def line(offset, carried, x0=x0):
                from_ = b.gep(r.x, b.add(base, b.add(offset, x0)), element)
                carried = list(carried)
                where = b.cast("trunc", b.add(offset, x0), "i32") if maximum else None
                for j in range(k):
                    at = b.at_bytes(from_, i64(j * d * size))
                    part = _strided(b, kind, at, lanes, s, size)
                    if maximum:
                        wins = better(part, carried[0])
                        carried[0] = b.select(wins, part, carried[0])
                        if indexed:
                            carried[1] = b.select(wins, b.splat(b.op("add", where, V(str(j * d), "i32")), lanes), carried[1])
                    else:
                        carried[0] = b.op("fadd", carried[0], part)
                return carried

            begin = [b.splat(b.cast("trunc", b.add(first, x0), "i32"), lanes)] if indexed else []
            found = _lines(r, z, y, [const(start, kind), *begin], line)
            value = found[0]
            if not maximum:
                whole = r.divided(b.mul(rows_counted, i64(k)))
                value = b.op("fdiv", value, b.splat(b.emit(f"sitofp {whole!r} to {element}", element), lanes))
            left = b.cast("trunc", b.sub(stop, o.i), "i32")
            mask = b.cmp("slt", order, b.splat(left, lanes))
            _masked_store(b, value, b.gep(r.out, b.add(row, o.i), element), mask, size)
            if indexed:
                places = b.cast("sext", b.op("add", found[1], ramp), "i64")
                _masked_store(b, places, b.gep(r.index, b.add(row, o.i), "i64"), mask, 8)
        with b.loop(stop, r.m2) as o:
            single(o.i)
    b.ret()
    b.done()


def _strided(b, kind, at, lanes, s, size):
    """`lanes` elements from `at` on, s apart, as whole vectors and shuffles of them."""
    parts = [b.load(kind, b.at_bytes(at, i64(j * lanes * size)), size) for j in range(s)]
    while len(parts) & (len(parts) - 1):
        parts.append(parts[-1])
    if len(parts) == 1:
        return parts[0]
    while len(parts) > 1:
        width = int(parts[0].type[1:].split(" ")[0])
        parts = [b.shuffle(p, q, range(2 * width)) for p, q in zip(parts[::2], parts[1::2])]
    return b.shuffle(parts[0], None, [j * s for j in range(lanes)])


def _masked_store(b, value, pointer, mask, align):
    lanes, _, element = value.type[1:-1].partition(" x ")
    letter = {"float": "f32", "double": "f64"}.get(element, element)
    name = f"llvm.masked.store.v{lanes}{letter}.p0"
    b.module.declare(name, "void", [value.type, "ptr", mask.type])
    b.emit(f"call void @{name}({value!r}, ptr align {align} {pointer.text}, {mask!r})")


def _spread(module, name, element, k, s, d):
    """The adjoint of the mean: x is the gradient of the result, `out` (zeros) that of the input; one iteration a plane."""
    r = _Row(module, name)
    b = r.b
    with b.loop(r.begin, r.end) as l:
        base = b.mul(l.i, r.plane)
        source = b.mul(b.mul(l.i, b.mul(r.m0, r.m1)), r.m2)
        with b.loop(i64(0), r.m0) as u, b.loop(i64(0), r.m1) as v:
            z0, y0 = r.begins(u.i, 0), r.begins(v.i, 1)
            z, y = (z0, *r.cut(z0, r.n0, r.k0, r.d0)), (y0, *r.cut(y0, r.n1, r.k1, r.d1))
            rows_counted = b.mul(r.counted(z0, 0), r.counted(y0, 1))
            row = b.add(source, b.mul(b.add(b.mul(u.i, r.m1), v.i), r.m2))
            low, high = r.interior(k, s, d)

            def add(at, value):
                place = b.gep(r.out, at, element)
                b.store(b.op("fadd", b.load(element, place), value), place)

            def one(o, whole):
                x0 = r.begins(o, 2)
                g = b.load(element, b.gep(r.x, b.add(row, o), element))
                count = r.divided(b.mul(rows_counted, i64(k) if whole else r.counted(x0, 2)))
                g = b.op("fdiv", g, b.emit(f"sitofp {count!r} to {element}", element))

                def line(offset, carried):
                    at = b.add(base, b.add(offset, x0))
                    if whole:
                        for j in range(k):
                            add(b.add(at, i64(j * d)), g)
                    else:
                        with b.loop(*r.cut(x0, r.n2, i64(k), i64(d))) as w:
                            add(b.add(at, b.mul(w.i, i64(d))), g)
                    return carried

                _lines(r, z, y, [], line)

            for begin, stop, whole in ((i64(0), low, False), (low, high, True), (high, r.m2, False)):
                with b.loop(begin, stop) as o:
                    one(o.i, whole)
    b.ret()
    b.done()


def _put(module, name, element):
    """out[plane, index] += x for the m2 values of a plane; `out` is zeros, planes have n2 elements."""
    r = _Row(module, name)
    b = r.b
    with b.loop(r.begin, r.end) as l:
        source, base = b.mul(l.i, r.m2), b.mul(l.i, r.n2)
        with b.loop(i64(0), r.m2) as o:
            at = b.add(source, o.i)
            place = b.gep(r.out, b.add(base, b.load("i64", b.gep(r.index, at, "i64"))), element)
            b.store(b.op("fadd", b.load(element, place), b.load(element, b.gep(r.x, at, element))), place)
    b.ret()
    b.done()


_MAKERS = {
    "max": lambda m, n, *key: _forward(m, n, *key, maximum=True, indexed=False),
    "max_index": lambda m, n, *key: _forward(m, n, *key, maximum=True, indexed=True),
    "mean": lambda m, n, *key: _forward(m, n, *key, maximum=False, indexed=False),
    "mean_back": _spread,
    "put": _put,
}


@cache
def _code(word, *key):
    memory.recycle()
    module = Module()
    _MAKERS[word](module, f"windows_{word}", *key)
    return native.load(str(module), [f"windows_{word}"])[f"windows_{word}"]


def _three(values, fill):
    return (fill,) * (3 - len(values)) + tuple(values)


def _run(word, x, out, index, size, kernel, stride, padding, dilation, places, iterations, per, padded=0, divisor=0):
    """Call a kernel over `iterations`, each of about `per` elements."""
    key = (ELEMENT[x.dtype], *((kernel[-1], stride[-1], dilation[-1]) if word != "put" else ()))
    numbers = (*_three(size, 1), *_three(kernel, 1), *_three(stride, 1), *_three(padding, 0), *_three(dilation, 1), *_three(places, 1))
    slots = struct.pack(f"={len(ARGS)}q", address(x), address(out), 0 if index is None else address(index), x.size, *numbers, padded, divisor)
    pool.run(_code(word, *key), slots, iterations, max(1, GRAIN // max(per, 1), iterations // (16 * SETTINGS.threads)))


def _taken(x, kernel, stride):
    return x.dtype in ELEMENT and x.flags.c_contiguous and x.size and len(kernel) <= 3 and kernel[-1] <= WIDEST and stride[-1] <= 8 and math.prod(x.shape[x.ndim - len(kernel) :]) < 1 << 31


def _shape(x, kernel, places):
    return x.shape[: x.ndim - len(kernel)] + tuple(places)


def max_pool(x, kernel, stride, padding, dilation, places):
    """The rows max_pool2d and max_pool3d: maxima and their places."""
    if not _taken(x, kernel, stride) or 0 in places:
        return NotImplemented
    out = np.empty(_shape(x, kernel, places), x.dtype)
    index = np.empty(out.shape, np.int64)
    size = x.shape[x.ndim - len(kernel) :]
    _run("max_index", x, out, index, size, kernel, stride, padding, dilation, places, out.size // places[-1], places[-1])
    return out, index


def max_plain(x, kernel, stride, padding, dilation, places):
    """The row max_pool: maxima alone."""
    if not _taken(x, kernel, stride) or 0 in places:
        return NotImplemented
    out = np.empty(_shape(x, kernel, places), x.dtype)
    size = x.shape[x.ndim - len(kernel) :]
    _run("max", x, out, None, size, kernel, stride, padding, dilation, places, out.size // places[-1], places[-1])
    return out


def avg_pool(x, kernel, stride, padding, places, include_pad, divisor):
    """The rows avg_pool2d and avg_pool3d."""
    if not _taken(x, kernel, stride) or 0 in places:
        return NotImplemented
    out = np.empty(_shape(x, kernel, places), x.dtype)
    size, ones = x.shape[x.ndim - len(kernel) :], (1,) * len(kernel)
    _run("mean", x, out, None, size, kernel, stride, padding, ones, places, out.size // places[-1], places[-1], int(include_pad), divisor or 0)
    return out


def avg_adjoint(g, size, kernel, stride, padding, places, include_pad, divisor):
    """The row avg_pool_backward."""
    if not _taken(g, kernel, stride) or math.prod(size) >= 1 << 31:
        return NotImplemented
    out = zeros(_shape(g, kernel, size), g.dtype)
    planes, ones = g.size // math.prod(places), (1,) * len(kernel)
    _run("mean_back", g, out, None, size, kernel, stride, padding, ones, places, planes, math.prod(size), int(include_pad), divisor or 0)
    return out


def put_flat(g, index, size):
    """The row put_flat: values added at flat places of their plane."""
    if g.dtype not in ELEMENT or not g.flags.c_contiguous or not index.flags.c_contiguous or index.dtype != np.int64 or not g.size:
        return NotImplemented
    if index.min() < 0 or index.max() >= math.prod(size):
        return NotImplemented
    return put_places(g, index, size)


def put_places(g, index, size):
    """put_flat for places that are known to be inside."""
    n = len(size)
    count, total = math.prod(g.shape[g.ndim - n :]), math.prod(size)
    out = zeros(g.shape[: g.ndim - n] + tuple(size), g.dtype)
    _run("put", g, out, index, (total,), (1,), (1,), (0,), (1,), (count,), g.size // count, total)
    return out
