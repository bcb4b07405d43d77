"""Convolutions with one channel a group: every channel is a plane of its own.

A task copies a part of a plane with its padding into working memory, by phases: with a stride of s, place p of phase f
is x[p * s + f], so that neighbouring places of the result always read neighbouring numbers. The part is then walked as
one line, row after row with the few places between rows that nobody wants:

    line[i] = sum over taps of w[tap] * part[i + at(tap)]

`planes` serves the forward direction (one source a result channel) and the input gradient (the group's result channels
are sources; a stride falls apart into classes, as in codegen/conv.py); `plane_weights` is the gradient in the weights.
"""

from __future__ import annotations

import itertools
import struct
from functools import cache, lru_cache

import numpy as np

from rushlight.codegen import memory, native, pool
from rushlight.codegen.conv_tile import (
    Fields,
    between,
    clamp,
    emit_copy_line,
    emit_copy_pair,
    emit_copy_row,
    even,
    shape,
    strides3,
    three,
)
from rushlight.codegen.conv_tile import phases as two_phases
from rushlight.codegen.gemm import least
from rushlight.codegen.llvm import NULL, Module, const, i64, vector
from rushlight.codegen.matmul import ELEMENT
from rushlight.codegen.record import address
from rushlight.codegen.scratch import L2, LINE, scratch
from rushlight.codegen.tile import masked_load
from rushlight.core.settings import SETTINGS

FIELDS = (
    "x", "w", "out", "bias", "steps", "weights", "scratch", "scratch_step",
    "xn", "xc", "xd", "xh", "xw", "size_d", "size_h", "size_w",
    "on", "oc", "od", "oh", "ow", "out_d", "out_h", "out_w",
    "images", "channels", "sources", "share",  # result channels; sources of each; result channels of a source
    "tile_d", "tile_h", "count_d", "count_h",
    "step_d", "step_h", "step_w", "pad_d", "pad_h", "pad_w",
    "rows_d", "rows_h", "pitch",  # extents of a phase of a part
    "k", "row", "length", "line_at",
)  # fmt: skip
_POINTERS = {"x", "w", "out", "bias", "steps", "weights", "scratch"}
_TASK = [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")]
_PACK = struct.Struct(f"={len(FIELDS)}q").pack
WIDE = 6  # vectors of a line at a time
NARROW = 16  # vectors of a row for which masks are kept
TAPS = 9  # taps whose sums `plane_weights` holds at a time


class _Masks:
    """Which elements of a narrow row are in the image, computed once: `use` says whether rows are narrow enough."""

    def __init__(self, b, s, x):
        self.b, self.lanes, self.kind = b, s.lanes, vector("i32", s.lanes)
        self.table = b.alloca(self.kind, NARROW)
        length = b.mul(x.pitch, x.step_w)
        fits = b.op("and", b.cmp("sle", length, i64((NARROW - 1) * s.lanes)), b.cmp("sle", x.step_w, i64(2)))
        self.use = b.op("and", fits, b.cmp("eq", x.xw, i64(s.size)))
        with b.when(self.use):
            with b.loop(i64(0), i64(NARROW * s.lanes), s.lanes) as l:
                inside = between(b, s.lanes, l.i, x.pad_w, b.add(x.pad_w, x.size_w))
                b.store(b.cast("sext", inside, "i32"), b.gep(self.table, l.i, "i32"))

    def get(self, first):
        """The mask of the elements from `first`, a multiple of the lanes, on."""
        return self.b.cmp("slt", self.b.load(self.kind, self.b.gep(self.table, first, "i32")), const(0, self.kind))


def _copy_phases(b, s, x, source, dst, begin, masks):
    """One plane's part: dst[phase d][phase h][phase w][row d][row h][place]."""
    kind = vector(s.element, s.lanes)
    begin_d, begin_h, begin_w = begin
    line = b.mul(x.pitch, i64(s.size))
    step = b.mul(x.xw, x.step_w)
    phase = b.add(b.mul(b.mul(line, x.rows_h), x.rows_d), i64(s.lanes * s.size))  # bytes; copied rows end in whole vectors
    up = b.sub(x.step_w, i64(1))
    twofold = b.op("and", b.cmp("eq", x.step_w, i64(2)), b.cmp("eq", x.xw, i64(s.size)))

    def bounds(at):
        """Places p of a row with 0 <= at + p * step_w < size_w."""
        low = clamp(b, b.op("sdiv", b.add(b.op("sub", i64(0), at), up), x.step_w), i64(0), x.pitch)
        there = b.intrinsic("smax", b.add(b.op("sub", x.size_w, at), up), i64(0))
        return low, b.intrinsic("smax", clamp(b, b.op("sdiv", there, x.step_w), i64(0), x.pitch), low)

    def rows(first, copy, fd, fh):
        """copy(to, address of the row, whether it is in the image) for all rows of a phase."""
        with b.loop(i64(0), x.rows_d, 1, [first]) as d:
            at_d = b.add(b.add(begin_d, fd), b.mul(d.i, x.step_d))
            with b.loop(i64(0), x.rows_h, 1, d.carried) as h:
                at_h = b.add(b.add(begin_h, fh), b.mul(h.i, x.step_h))
                inside = b.op("and", b.cmp("ult", at_d, x.size_d), b.cmp("ult", at_h, x.size_h))
                copy(h.carried[0], b.at_bytes(source, b.add(b.mul(at_d, x.xd), b.mul(at_h, x.xh))), inside)
                h.next = [b.at_bytes(h.carried[0], line)]
            d.next = h.results

    with b.loop(i64(0), x.step_d, 1, [dst]) as fd:
        with b.loop(i64(0), x.step_h, 1, fd.carried) as fh:
            first = fh.carried[0]
            pairs, singles, done = b.label("pairs"), b.label("singles"), b.label("done")
            narrow, test = b.label("narrow"), b.label("test")
            b.cbr(masks.use, narrow, test)
            b.at(narrow)

            def few(to, row, inside):
                start = b.at_bytes(row, b.mul(begin_w, x.xw))
                read, nothing, end = b.label("read"), b.label("nothing"), b.label("end")
                b.cbr(inside, read, nothing)
                b.at(read)
                for step_w, label in ((1, b.label("single")), (2, b.label("double"))):
                    other = b.label("other")
                    b.cbr(b.cmp("eq", x.step_w, i64(step_w)), label, other)
                    b.at(label)
                    with b.loop(i64(0), x.pitch, s.lanes) as p:
                        first = b.mul(p.i, i64(step_w))
                        values = [masked_load(b, kind, b.gep(start, b.add(first, i64(i * s.lanes)), s.element), masks.get(b.add(first, i64(i * s.lanes)))) for i in range(step_w)]
                        for i, value in enumerate(values if step_w == 1 else two_phases(b, s.lanes, values)):
                            b.store(value, b.gep(b.at_bytes(to, b.mul(phase, i64(i))), p.i, s.element))
                    b.br(end)
                    b.at(other)
                b.br(end)
                b.at(nothing)
                with b.loop(i64(0), x.step_w, 1, [to]) as f:
                    with b.loop(i64(0), x.pitch, s.lanes) as p:
                        b.store(const(0, kind), b.gep(f.carried[0], p.i, s.element))
                    f.next = [b.at_bytes(f.carried[0], phase)]
                b.br(end)
                b.at(end)

            rows(first, few, fd.i, fh.i)
            b.br(done)
            b.at(test)
            b.cbr(twofold, pairs, singles)
            b.at(pairs)
            low, high = b.op("sub", i64(0), begin_w), b.op("sub", x.size_w, begin_w)

            def pair(to, row, inside):
                end = b.select(inside, high, i64(-(1 << 30)))
                b.call("copy_pair", "void", to, b.at_bytes(to, phase), b.at_bytes(row, b.mul(begin_w, x.xw)), low, end, x.pitch, declare=False)

            rows(first, pair, fd.i, fh.i)
            b.br(done)
            b.at(singles)
            with b.loop(i64(0), x.step_w) as fw:
                at_w = b.add(begin_w, fw.i)
                low, high = bounds(at_w)

                def single(to, row, inside, at_w=at_w, low=low, high=high):
                    lo, hi = b.select(inside, low, i64(0)), b.select(inside, high, i64(0))
                    b.call("copy_row", "void", to, b.at_bytes(row, b.mul(at_w, x.xw)), step, lo, hi, x.pitch, declare=False)

                rows(b.at_bytes(first, b.mul(fw.i, phase)), single, fd.i, fh.i)
            b.br(done)
            b.at(done)
            fh.next = [b.at_bytes(first, b.mul(phase, x.step_w))]
        fd.next = fh.results
    return fd.results[0]


def _tiles(b, x, index):
    """(first d, first h, slices, rows, corner in X) of a tile."""
    th, td = b.op("srem", index, x.count_h), b.op("sdiv", index, x.count_h)
    d0, h0 = b.mul(td, x.tile_d), b.mul(th, x.tile_h)
    depth, height = least(b, x.tile_d, b.sub(x.out_d, d0)), least(b, x.tile_h, b.sub(x.out_h, h0))
    corner = [b.op("sub", b.mul(d0, x.step_d), x.pad_d), b.op("sub", b.mul(h0, x.step_h), x.pad_h), b.op("sub", i64(0), x.pad_w)]
    return d0, h0, depth, height, corner


def emit_planes(element):
    """The module with `planes`; tasks are (image, tile, result channel)."""
    s = shape(element)
    m = Module()
    emit_copy_row(m, s)
    emit_copy_pair(m, s)
    emit_copy_line(m, s)
    b = m.function("planes", _TASK, attributes="nounwind")
    args, begin, end, thread = b.args
    x = Fields(b, args, FIELDS, _POINTERS).load_all()
    kind = vector(element, s.lanes)
    number = b.alloca(element)
    masks = _Masks(b, s, x)
    part = b.at_bytes(x.scratch, b.mul(thread, x.scratch_step))
    line = b.at_bytes(part, x.line_at)
    tiles = b.mul(x.count_d, x.count_h)
    with b.loop(begin, end) as task:
        o, rest = b.op("srem", task.i, x.channels), b.op("sdiv", task.i, x.channels)
        n = b.op("sdiv", rest, tiles)
        d0, h0, depth, height, corner = _tiles(b, x, b.op("srem", rest, tiles))
        source = b.at_bytes(x.x, b.add(b.mul(n, x.xn), b.mul(b.mul(b.op("sdiv", o, x.share), x.sources), x.xc)))
        with b.loop(i64(0), x.sources, 1, [part]) as j:
            j.next = [_copy_phases(b, s, x, b.at_bytes(source, b.mul(j.i, x.xc)), j.carried[0], corner, masks)]
        factors = b.at_bytes(x.w, b.mul(o, x.row))
        b.store(const(0, element), number)
        with b.when(b.cmp("ne", x.bias, NULL)):
            b.store(b.load(element, b.gep(x.bias, o, element)), number)
        start = b.splat(b.load(element, number), s.lanes)

        def run(first, stop, count):
            with b.loop(first, stop, count * s.lanes) as p:
                base = b.gep(part, p.i, element)
                b.contract = True
                with b.loop(i64(0), x.k, 1, [start] * count) as k:
                    w = b.splat(b.load(element, b.at_bytes(factors, b.load("i64", b.gep(x.weights, k.i, "i64")))), s.lanes)
                    at = b.at_bytes(base, b.load("i64", b.gep(x.steps, k.i, "i64")))
                    k.next = [b.op("fadd", b.op("fmul", w, b.load(kind, b.at_bytes(at, i64(i * s.lanes * s.size)))), v) for i, v in enumerate(k.carried)]
                b.contract = False
                for i, v in enumerate(k.results):
                    b.store(v, b.at_bytes(b.gep(line, p.i, element), i64(i * s.lanes * s.size)))

        whole = b.sub(x.length, b.op("srem", x.length, i64(WIDE * s.lanes)))
        run(i64(0), whole, WIDE)
        run(whole, x.length, 2)
        to = b.at_bytes(x.out, b.add(b.add(b.mul(n, x.on), b.mul(o, x.oc)), b.add(b.mul(d0, x.od), b.mul(h0, x.oh))))
        straight = b.cmp("eq", x.ow, i64(s.size))
        with b.loop(i64(0), depth) as d:
            with b.loop(i64(0), height) as h:
                held = b.gep(line, b.mul(b.add(b.mul(d.i, x.rows_h), h.i), x.pitch), element)
                target = b.at_bytes(to, b.add(b.mul(d.i, x.od), b.mul(h.i, x.oh)))
                copied, spread, done = b.label("copied"), b.label("spread"), b.label("done")
                b.cbr(straight, copied, spread)
                b.at(copied)
                b.call("copy_line", "void", target, held, x.out_w, declare=False)
                b.br(done)
                b.at(spread)
                with b.loop(i64(0), x.out_w) as w:
                    b.store(b.load(element, b.gep(held, w.i, element)), b.at_bytes(target, b.mul(w.i, x.ow)))
                b.br(done)
                b.at(done)
    b.ret()
    b.done()
    return str(m)


def emit_plane_weights(element):
    """The module with `plane_weights`: tasks are result channels; out[o][tap], `w` is the incoming gradient.

    Its strides are on, oc, od, oh, ow. The line of g has zeros where X's line has places between rows.
    """
    s = shape(element)
    m = Module()
    emit_copy_row(m, s)
    emit_copy_pair(m, s)
    b = m.function("plane_weights", _TASK, attributes="nounwind")
    args, begin, end, thread = b.args
    x = Fields(b, args, FIELDS, _POINTERS).load_all()
    kind = vector(element, s.lanes)
    part = b.at_bytes(x.scratch, b.mul(thread, x.scratch_step))
    line = b.at_bytes(part, x.line_at)
    masks = _Masks(b, s, x)
    sums = b.gep(line, b.add(x.length, i64(s.lanes)), element)
    tiles = b.mul(x.count_d, x.count_h)
    with b.loop(begin, end) as task:
        o = task.i
        with b.loop(i64(0), x.k) as k:
            b.store(const(0, kind), b.at_bytes(sums, b.mul(k.i, i64(s.lanes * s.size))))
        with b.loop(i64(0), b.mul(x.images, tiles)) as q:
            n = b.op("sdiv", q.i, tiles)
            d0, h0, depth, height, corner = _tiles(b, x, b.op("srem", q.i, tiles))
            source = b.at_bytes(x.x, b.add(b.mul(n, x.xn), b.mul(b.op("sdiv", o, x.share), x.xc)))
            _copy_phases(b, s, x, source, part, corner, masks)
            with b.when(b.op("or", b.cmp("eq", q.i, i64(0)), b.cmp("ne", tiles, i64(1)))):  # of whole planes the gaps stay 0
                with b.loop(i64(0), x.length, s.lanes) as l:
                    b.store(const(0, kind), b.gep(line, l.i, element))
            g = b.at_bytes(x.w, b.add(b.add(b.mul(n, x.on), b.mul(o, x.oc)), b.add(b.mul(d0, x.od), b.mul(h0, x.oh))))
            with b.loop(i64(0), depth) as d:
                with b.loop(i64(0), height) as h:
                    held = b.gep(line, b.mul(b.add(b.mul(d.i, x.rows_h), h.i), x.pitch), element)
                    b.call("copy_row", "void", held, b.at_bytes(g, b.add(b.mul(d.i, x.od), b.mul(h.i, x.oh))), x.ow, i64(0), x.out_w, x.out_w, declare=False)
            with b.loop(i64(0), x.k, TAPS) as k:
                bases = [b.at_bytes(part, b.load("i64", b.gep(x.steps, b.add(k.i, i64(t)), "i64"))) for t in range(TAPS)]
                held = b.at_bytes(sums, b.mul(k.i, i64(s.lanes * s.size)))
                places = [b.at_bytes(held, i64(t * s.lanes * s.size)) for t in range(TAPS)]
                b.contract = True
                with b.loop(i64(0), x.length, s.lanes, [b.load(kind, p) for p in places]) as l:
                    y = b.load(kind, b.gep(line, l.i, element))
                    l.next = [b.op("fadd", b.op("fmul", y, b.load(kind, b.gep(base, l.i, element))), v) for base, v in zip(bases, l.carried)]
                b.contract = False
                for p, v in zip(places, l.results):
                    b.store(v, p)
        to = b.at_bytes(x.out, b.mul(o, x.row))
        with b.loop(i64(0), b.op("sdiv", x.row, i64(s.size))) as k:
            v, lanes = b.load(kind, b.at_bytes(sums, b.mul(k.i, i64(s.lanes * s.size)))), s.lanes
            while lanes > 1:
                lanes //= 2
                v = b.op("fadd", b.shuffle(v, None, range(lanes)), b.shuffle(v, None, range(lanes, 2 * lanes)))
            b.store(b.extract(v, 0), b.gep(to, k.i, element))
    b.ret()
    b.done()
    return str(m)


@cache
def kernel(name, element):
    """The address of `planes` or `plane_weights`."""
    memory.recycle()
    return native.load({"planes": emit_planes, "plane_weights": emit_plane_weights}[name](element), [name], optimise=False)[name]


@lru_cache(256)
def _part(element, out, offsets, step, sources, line_too):
    """Tile, its counts, the extents of a phase, the taps' places in a part, the line's length and place, the scratch."""
    s = shape(element)
    reach = tuple(max(o[i] for o in offsets) for i in range(3))

    def extents(td, th):
        return tuple((reach[i] // step[i]) + n for i, n in enumerate((td, th, out[2])))

    phases = step[0] * step[1] * step[2]
    room = L2 // 4 // s.size
    td, th = out[0], out[1]
    while td * th > 1:
        d, h, w = extents(td, th)
        if (d * h * w + s.lanes) * (phases * sources + 1) <= room:
            break
        if td > 1:
            td = even(out[0], td - 1)[0]
        else:
            th = even(out[1], th - 1)[0]
    d, h, w = extents(td, th)
    plane = d * h * w + s.lanes
    at = []
    for source in range(sources):
        for o in offsets:
            fd, fh, fw = (v % t for v, t in zip(o, step))
            phase = ((source * step[0] + fd) * step[1] + fh) * step[2] + fw
            at.append(phase * plane + ((o[0] // step[0]) * h + o[1] // step[1]) * w + o[2] // step[2])
    length = ((td - 1) * h + th - 1) * w + out[2]
    length += -length % (2 * s.lanes)
    first = (plane * phases * sources + length) * s.size  # a line may read past the last place of the part
    first += -first % LINE
    taps = np.array(at + [0] * (-len(at) % TAPS), np.int64) * s.size
    total = first + (length + WIDE * s.lanes) * s.size + (len(taps) * s.lanes * s.size if line_too else 0)
    return (td, th), (-(-out[0] // td), -(-out[1] // th)), (d, h, w), taps, length, first, total + -total % LINE + LINE


def _run(name, x, w, out, origin, bias, weights, channels, sources, share, size_out, out_strides, offsets, step, pad, k, row, tasks_of):
    element = ELEMENT[x.dtype]
    tile, counts, extents, steps, length, line_at, room_size = _part(element, size_out, offsets, step, sources, name != "planes")
    threads = SETTINGS.threads
    room, _room = scratch("conv", room_size * threads)
    slots = _PACK(
        address(x), address(w), origin, 0 if bias is None else address(bias), address(steps), 0 if weights is None else address(weights), room, room_size,
        *strides3(x), *three(x.shape[2:], 1), *out_strides, *size_out,
        x.shape[0], channels, sources, share,
        *tile, *counts, *step, *pad, *extents,
        len(steps) if name != "planes" else k, row, length, line_at,
    )  # fmt: skip
    total, work = tasks_of(counts, length)
    pool.run(kernel(name, element), slots, total, max(1, (1 << 16) // max(1, work)))
    return out


def _offsets(kernel_size, dilation):
    return tuple(itertools.product(*(tuple(i * d for i in range(k)) for k, d in zip(three(kernel_size, 1), three(dilation, 1)))))


@lru_cache(256)
def _weight_offsets(sources, taps, every, size):
    return ((np.arange(sources) * every)[:, None] + np.array(taps)).astype(np.int64).ravel() * size


def forward(x, w, b, out, stride, padding, dilation, groups):
    """out = conv(x, w) + b for weights (O, 1, *kernel) and as many groups as x has channels."""
    taps, o = w[0].size, w.shape[0]
    n = x.shape[0]
    weights = _weight_offsets(1, tuple(range(taps)), taps, x.itemsize)
    return _run(
        "planes", x, w, out, address(out), b, weights, o, 1, o // groups, three(out.shape[2:], 1), strides3(out),
        _offsets(w.shape[2:], dilation), three(stride, 1), three(padding, 0), taps, taps * x.itemsize,
        lambda counts, length: (n * o * counts[0] * counts[1], length * taps),
    )  # fmt: skip


def input_class(g, w, b, out, origin, count, strides, offsets, taps, pad, groups):
    """One class of places of the input gradient; `taps` are the flat numbers of the taps at `offsets`."""
    every, n = w[0].size, g.shape[0]
    sources = w.shape[0] // groups
    weights = _weight_offsets(sources, taps, every, g.itemsize)
    return _run(
        "planes", g, w, out, origin, b, weights, groups, sources, 1, count, strides, offsets, (1, 1, 1), pad, len(weights), sources * every * g.itemsize,
        lambda counts, length: (n * groups * counts[0] * counts[1], length * len(weights)),
    )  # fmt: skip


def weight_gradient(g, x, stride, padding, dilation, groups, size):
    """(O, 1, *size) from g (N, O, *places) and x with as many channels as groups."""
    o = g.shape[1]
    out = np.empty((o, 1, *size), x.dtype)
    offsets = _offsets(size, dilation)
    return _run(
        "plane_weights", x, g, out, address(out), None, None, o, 1, o // groups, three(g.shape[2:], 1), strides3(g),
        offsets, three(stride, 1), three(padding, 0), 0, len(offsets) * x.itemsize,
        lambda counts, length: (o, x.shape[0] * counts[0] * counts[1] * length * len(offsets)),
    )  # fmt: skip
