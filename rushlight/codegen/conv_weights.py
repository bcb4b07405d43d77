"""The gradient of a convolution in its weights, and the kernels for it.

    dw[o, (c, tap)] = sum over images and places of g[image, o, place] * x[image, c, place * step - pad + offset(tap)]

A task of `weights` takes a block of input channels, a range of panels of result channels and a share of the images'
parts; part after part it copies what it reads of x, packs g place after place, and adds the tiles [(c, tap)][o] to
accumulators in the second-level cache. `fold` adds the shares in their order and turns the panels round.

Invariant: the shares depend on shapes alone, so the digits do not depend on the threads.
"""

from __future__ import annotations

import itertools
import struct
from functools import cache, lru_cache

import numpy as np

from rushlight.codegen import memory, native, pool
from rushlight.codegen.conv_tile import (  # fmt: skip
    Fields,
    copy_in,
    emit_copy_out,
    emit_copy_row,
    emit_spread,
    even,
    shape,
    strides3,
    three,
)
from rushlight.codegen.gemm import least
from rushlight.codegen.llvm import Module, V, const, i64, vector
from rushlight.codegen.matmul import ELEMENT
from rushlight.codegen.panels import emit_pack
from rushlight.codegen.record import address
from rushlight.codegen.scratch import L1, L2, LINE, scratch
from rushlight.core.settings import SETTINGS

FIELDS = (
    "x", "g", "partial", "rows", "steps", "scratch", "scratch_step",
    "xn", "xc", "xd", "xh", "xw", "size_d", "size_h", "size_w", "part_d", "part_h", "part_w",
    "gn", "gc", "gd", "gh", "gw", "out_d", "out_h", "out_w",
    "images", "group_in", "group_out", "groups",
    "tile_n", "tile_d", "tile_h", "tile_w", "count_n", "count_d", "count_h", "count_w",
    "step_d", "step_h", "step_w", "pad_d", "pad_h", "pad_w",
    "block", "blocks", "taps", "padded", "right_at", "acc_at",  # channels at a time; rows of acc; places in the scratch
    "panels", "panel_range", "ranges", "places",  # places of a tile: rows of a packed panel of g
    "parts", "one_run",  # parts of a share; whether the rows of places follow each other in memory
    "in_place",  # whether x is read where it lies: nothing is padded
)  # fmt: skip
FOLD = ("partial", "out", "k", "panels", "group_out", "shares", "share_bytes", "chunk", "chunks")
_POINTERS = {"x", "g", "partial", "rows", "steps", "scratch", "out"}
_TASK = [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")]
_PACK = struct.Struct(f"={len(FIELDS)}q").pack
_PACK_FOLD = struct.Struct(f"={len(FOLD)}q").pack
TASKS = 32  # shares are made until there are about so many tasks


def emit_weights(element):
    """The module with `weights`."""
    s = shape(element)
    m = Module()
    emit_copy_row(m, s)
    for v in range(1, s.vectors + 1):
        emit_spread(m, s, v)
        emit_pack(m, f"pack{v}", element, v * s.lanes, s.lanes)
    b = m.function("weights", _TASK, attributes="nounwind")
    args, begin, end, thread = b.args
    x = Fields(b, args, FIELDS, _POINTERS).load_all()
    part = b.at_bytes(x.scratch, b.mul(thread, x.scratch_step))
    right, acc = b.at_bytes(part, x.right_at), b.at_bytes(part, x.acc_at)
    wide = i64(s.columns)
    line = i64(s.columns * s.size)
    total = b.mul(b.mul(x.count_n, x.count_d), b.mul(x.count_h, x.count_w))

    def widths(columns, act):
        """act(v) for the number of vectors that `columns` channels need."""
        for v in range(1, s.vectors + 1):
            fits = b.op("and", b.cmp("sgt", columns, i64((v - 1) * s.lanes)), b.cmp("sle", columns, i64(v * s.lanes)))
            with b.when(fits):
                act(v)

    with b.loop(begin, end) as task:
        rest, index = task.i, []
        for count in (x.ranges, x.blocks, x.groups):
            index.append(b.op("srem", rest, count))
            rest = b.op("sdiv", rest, count)
        r, block, group = index
        share = rest
        first = b.mul(r, x.panel_range)
        last = least(b, x.panels, b.add(first, x.panel_range))
        c0 = b.mul(block, x.block)
        channels = least(b, x.block, b.sub(x.group_in, c0))
        rows = b.mul(channels, x.taps)
        source = b.at_bytes(x.x, b.mul(b.add(b.mul(group, x.group_in), c0), x.xc))
        from_part = b.mul(share, x.parts)
        with b.loop(from_part, least(b, total, b.add(from_part, x.parts))) as q:
            rest, index = q.i, []
            for count in (x.count_w, x.count_h, x.count_d):
                index.append(b.op("srem", rest, count))
                rest = b.op("sdiv", rest, count)
            w0, h0, d0, n0 = (b.mul(i, t) for i, t in zip((*index, rest), (x.tile_w, x.tile_h, x.tile_d, x.tile_n)))
            images, depth, height, width = (
                least(b, t, b.sub(o, at))
                for t, o, at in ((x.tile_n, x.images, n0), (x.tile_d, x.out_d, d0), (x.tile_h, x.out_h, h0), (x.tile_w, x.out_w, w0))
            )
            corner = [b.op("sub", b.mul(at, step), pad) for at, step, pad in ((d0, x.step_d, x.pad_d), (h0, x.step_h, x.pad_h), (w0, x.step_w, x.pad_w))]
            with b.when(b.cmp("eq", x.in_place, i64(0))):
                copy_in(b, s, x, source, part, n0, images, channels, corner)
            first_place = b.add(b.mul(n0, x.xn), b.add(b.mul(corner[0], x.xd), b.add(b.mul(corner[1], x.xh), b.mul(corner[2], x.xw))))
            left = b.select(b.cmp("ne", x.in_place, i64(0)), b.at_bytes(source, first_place), part)
            used = b.mul(b.mul(images, x.tile_d), b.mul(x.tile_h, x.tile_w))
            full = b.cmp("eq", used, b.mul(b.mul(images, depth), b.mul(height, width)))
            more = b.cast("zext", b.cmp("sgt", q.i, from_part), "i64")
            whole_runs = b.op("and", full, b.cmp("ne", x.one_run, i64(0)))
            lines = b.select(whole_runs, i64(1), height)
            length = b.select(whole_runs, b.mul(height, x.tile_w), width)
            with b.loop(first, last) as panel:
                columns = least(b, wide, b.sub(x.group_out, b.mul(panel.i, wide)))
                to = b.at_bytes(right, b.mul(b.mul(b.sub(panel.i, first), x.places), line))
                channel = b.add(b.mul(group, x.group_out), b.mul(panel.i, wide))
                start = b.at_bytes(x.g, b.add(b.mul(channel, x.gc), b.add(b.mul(n0, x.gn), b.add(b.mul(d0, x.gd), b.add(b.mul(h0, x.gh), b.mul(w0, x.gw))))))
                with b.when(b.op("xor", full, V("true", "i1"))):  # places beyond the images count nothing
                    with b.loop(i64(0), b.mul(used, wide), s.lanes) as l:
                        b.store(const(0, vector(element, s.lanes)), b.gep(to, l.i, element))

                def pack(v, columns=columns, to=to, start=start):
                    with b.loop(i64(0), images) as n:
                        with b.loop(i64(0), depth) as d:
                            with b.loop(i64(0), lines) as h:
                                place = b.mul(b.add(b.mul(b.add(b.mul(n.i, x.tile_d), d.i), x.tile_h), h.i), x.tile_w)
                                where = b.add(b.mul(n.i, x.gn), b.add(b.mul(d.i, x.gd), b.mul(h.i, x.gh)))
                                b.call(f"pack{v}", "void", b.at_bytes(to, b.mul(place, i64(v * s.lanes * s.size))), b.at_bytes(start, where), x.gc, x.gw, columns, length, declare=False)

                def tiles(v, to=to, panel=panel, used=used, left=left, more=more):
                    held = b.at_bytes(acc, b.mul(b.mul(b.sub(panel.i, first), x.padded), line))
                    with b.loop(i64(0), rows, s.rows) as p:
                        b.call(f"spread{v}", "void", used, left, b.gep(x.rows, p.i, "i64"), x.steps, to,
                               b.at_bytes(held, b.mul(p.i, i64(v * s.lanes * s.size))), more, declare=False)  # fmt: skip

                widths(columns, pack)
                widths(columns, tiles)
        k = b.mul(x.group_in, x.taps)
        with b.loop(first, last) as panel:
            columns = least(b, wide, b.sub(x.group_out, b.mul(panel.i, wide)))
            held = b.at_bytes(acc, b.mul(b.mul(b.sub(panel.i, first), x.padded), line))
            number = b.add(b.mul(b.add(b.mul(share, x.groups), group), x.panels), panel.i)

            def keep(v, held=held, number=number):
                to = b.at_bytes(x.partial, b.add(b.mul(b.mul(number, k), line), b.mul(b.mul(c0, x.taps), i64(v * s.lanes * s.size))))
                with b.loop(i64(0), b.mul(rows, i64(v * s.lanes)), s.lanes) as l:
                    b.store(b.load(vector(element, s.lanes), b.gep(held, l.i, element)), b.gep(to, l.i, element))

            widths(columns, keep)
    b.ret()
    b.done()
    return str(m)


def emit_fold(element):
    """The module with `fold`: tasks are pieces of panels; out[o][k] is the sum of the shares."""
    s = shape(element)
    m = Module()
    for v in range(1, s.vectors + 1):
        emit_copy_out(m, s, v)
    b = m.function("fold", _TASK, attributes="nounwind")
    args, begin, end, _ = b.args
    x = Fields(b, args, FOLD, _POINTERS).load_all()
    kind = vector(element, s.lanes)
    with b.loop(begin, end) as task:
        number, piece = b.op("sdiv", task.i, x.chunks), b.op("srem", task.i, x.chunks)
        group, panel = b.op("sdiv", number, x.panels), b.op("srem", number, x.panels)
        k0 = b.mul(piece, x.chunk)
        count = least(b, x.chunk, b.sub(x.k, k0))
        columns = least(b, i64(s.columns), b.sub(x.group_out, b.mul(panel, i64(s.columns))))
        base = b.at_bytes(x.partial, b.mul(b.mul(number, x.k), i64(s.columns * s.size)))
        row = b.mul(x.k, i64(s.size))
        channel = b.add(b.mul(group, x.group_out), b.mul(panel, i64(s.columns)))
        to = b.at_bytes(x.out, b.add(b.mul(channel, row), b.mul(k0, i64(s.size))))
        for v in range(1, s.vectors + 1):
            fits = b.op("and", b.cmp("sgt", columns, i64((v - 1) * s.lanes)), b.cmp("sle", columns, i64(v * s.lanes)))
            with b.when(fits):
                held = b.at_bytes(base, b.mul(k0, i64(v * s.lanes * s.size)))
                with b.loop(i64(1), x.shares) as share:
                    other = b.at_bytes(held, b.mul(share.i, x.share_bytes))
                    with b.loop(i64(0), b.mul(count, i64(v * s.lanes)), s.lanes) as l:
                        at = b.gep(held, l.i, element)
                        b.store(b.op("fadd", b.load(kind, at), b.load(kind, b.gep(other, l.i, element))), at)
                b.call(f"copy_out{v}", "void", held, to, row, i64(s.size), columns, count, V("null", "ptr"), declare=False)
    b.ret()
    b.done()
    return str(m)


@cache
def kernel(name, element):
    """The address of `weights` or `fold`."""
    memory.recycle()
    return native.load({"weights": emit_weights, "fold": emit_fold}[name](element), [name], optimise=False)[name]


class Cut:
    """How the sum is cut into tasks, and the tables of its tiles."""

    __slots__ = ("acc", "block", "blocks", "counts", "extents", "padded", "panel_range", "panels", "parts", "places", "ranges", "right", "rows", "scratch", "shares", "steps", "tile")


def _divisor(n, most):
    """(block, count): the largest divisor of n up to `most`, and how often it goes."""
    block = next(d for d in range(max(1, min(n, most)), 0, -1) if n % d == 0)
    return block, n // block


@lru_cache(256)
def cut(element, images, out, channels, columns, groups, offsets, step, strides=None):
    """The Cut for a gradient of `images` x `out` places; see conv.tiling for the words.

    `strides`: those of x (n, c, d, h, w) where it is read in place; then every tile and block must be a whole one, since
    nothing stands beyond the last, and None says that this would make them too small.
    """
    part_of = _divisor if strides else even
    s = shape(element)
    t = Cut()
    taps = len(offsets)
    reach = tuple(max(o[i] for o in offsets) for i in range(3))
    t.panels = -(-columns // s.columns)
    t.panel_range, t.ranges = even(t.panels, 128 // s.columns)
    wide = t.panel_range * s.columns * s.size
    t.block, t.blocks = part_of(channels, max(1, L2 // 3 // (taps * wide)))
    tile = [images, *out]

    def part(tile):
        return tuple((tile[i + 1] - 1) * step[i] + reach[i] + 1 for i in range(3))

    def fits(tile):
        d, h, w = part(tile)
        n, places = tile[0], tile[0] * tile[1] * tile[2] * tile[3]
        return (strides or n * d * h * w * t.block * s.size <= L2 // 4) and places * wide <= L2 // 4 and places * s.columns * s.size <= L1 * 3 // 4

    for axis in range(4):
        whole = tile[axis]
        while tile[axis] > 1 and not fits(tile):
            tile[axis] = part_of(whole, tile[axis] - 1)[0]
    if strides and (tile[0] * tile[1] * tile[2] * tile[3] < 32 or t.block * taps < min(24, channels)):
        return None
    t.tile, t.extents = tuple(tile), part(tile)
    t.counts = tuple(-(-whole // piece) for whole, piece in zip((images, *out), tile))
    total = t.counts[0] * t.counts[1] * t.counts[2] * t.counts[3]
    size = groups * t.panels * s.columns * channels * taps * s.size  # bytes of a share
    shares = max(1, min(total, -(-TASKS // (groups * t.blocks * t.ranges)), (32 << 20) // size))
    t.parts = -(-total // shares)
    t.shares = -(-total // t.parts)
    n, d, h, w = tile
    t.places = n * d * h * w
    ed, eh, ew = t.extents
    plane = ed * eh * ew
    walk = strides or tuple(v * s.size for v in (plane, n * plane, eh * ew, ew, 1))
    at = np.arange(n)[:, None, None, None] * walk[0]
    for i, count in enumerate((d, h, w)):
        at = at + (np.arange(count) * (step[i] * walk[2 + i])).reshape((count,) + (1,) * (2 - i))
    t.steps = at.astype(np.int64).ravel()
    tap = np.array([sum(o[i] * walk[2 + i] for i in range(3)) for o in offsets])
    rows = (np.arange(t.block) * walk[1])[:, None] + tap
    t.padded = rows.size + -rows.size % s.rows
    t.rows = np.concatenate([rows.ravel(), np.full(t.padded - rows.size, rows.flat[-1])]).astype(np.int64)
    t.right = (0 if strides else n * plane * t.block * s.size) + LINE  # copied rows end in whole vectors
    t.right += -t.right % LINE
    t.acc = t.right + t.places * wide
    t.acc += -t.acc % LINE
    room = t.acc + t.padded * wide
    t.scratch = room + -room % LINE + LINE
    return t


def weight_gradient(g, x, stride, padding, dilation, groups, size):
    """(O, C / groups, *size) from g (N, O, *places) and x (N, C, *sizes)."""
    element = ELEMENT[x.dtype]
    n, c = x.shape[:2]
    o, channels = g.shape[1], c // groups
    columns = o // groups
    out_size, step = three(g.shape[2:], 1), three(stride, 1)
    offsets = tuple(itertools.product(*(tuple(i * d for i in range(k)) for k, d in zip(three(size, 1), three(dilation, 1)))))
    shapes = element, n, out_size, channels, columns, groups, offsets, step
    t = None if any(padding) else cut(*shapes, strides3(x))
    in_place = t is not None
    t = t or cut(*shapes)
    s = shape(element)
    threads = SETTINGS.threads
    k = channels * len(offsets)
    share = groups * t.panels * s.columns * k * s.size
    room, _room = scratch("conv", t.scratch * threads)
    partial, _partial = scratch("conv_partial", share * t.shares)
    out = np.empty((o, channels, *size), x.dtype)
    gs = strides3(g)
    slots = _PACK(
        address(x), address(g), partial, address(t.rows), address(t.steps), room, t.scratch,
        *strides3(x), *three(x.shape[2:], 1), *t.extents,
        *gs, *out_size,
        n, channels, columns, groups,
        *t.tile, *t.counts,
        *step, *three(padding, 0),
        t.block, t.blocks, len(offsets), t.padded, t.right, t.acc,
        t.panels, t.panel_range, t.ranges, t.places,
        t.parts, int(t.tile[3] == out_size[2] and (t.tile[2] == 1 or gs[3] == gs[4] * out_size[2])), int(in_place),
    )  # fmt: skip
    pool.run(kernel("weights", element), slots, t.shares * groups * t.blocks * t.ranges, 1)
    chunk, chunks = even(k, 256)
    slots = _PACK_FOLD(partial, address(out), k, t.panels, columns, t.shares, share, chunk, chunks)
    pool.run(kernel("fold", element), slots, groups * t.panels * chunks, max(1, 16384 // (chunk * s.columns * t.shares)))
    return out
