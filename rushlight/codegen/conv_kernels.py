"""Convolution forward and in its input, and the gradient in its weights, from the pieces of codegen/conv_tile.py.

`places`: a task takes a part of the result (images x depth x rows x columns) and a range of panels of channels, copies
the part of X that it reads, a block of channels at a time, adds the tiles of all panels to accumulators that stay in
the second-level cache, and writes these out with the bias.
`weights`: a task takes a block of input channels and a range of panels of result channels, and a share of the images;
its accumulators are (channel, tap) x result channel. Shares are added by `fold`, in their order.
`pack`: weights, by a table, or the incoming gradient in panels, place after place.

Invariant: the order of additions depends on shapes alone (blocks and shares are chosen without the threads).
"""

from __future__ import annotations

from rushlight.codegen.conv_tile import (
    Fields,
    copy_in,
    emit_copy_out,
    emit_copy_row,
    emit_spread,
    shape,
)
from rushlight.codegen.gemm import least
from rushlight.codegen.llvm import Module, V, const, i64
from rushlight.codegen.panels import emit_pack

_X = ("xn", "xc", "xd", "xh", "xw", "size_d", "size_h", "size_w", "part_d", "part_h", "part_w")
_TASK = [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")]

PLACES = (
    "x", "w", "out", "bias", "rows", "steps", "scratch", "scratch_step",
    *_X,
    "on", "oc", "od", "oh", "ow", "out_d", "out_h", "out_w",  # strides and extents of the result
    "images", "group_in", "group_out", "groups",  # channels of a group
    "tile_n", "tile_d", "tile_h", "tile_w", "count_d", "count_h", "count_w",
    "step_d", "step_h", "step_w", "pad_d", "pad_h", "pad_w",
    "block", "taps", "padded", "acc_at",  # channels at a time; rows of acc in a panel; its place in the scratch
    "panels", "panel_range", "ranges",  # panels of a group, of a task; tasks over them
    "one_run",  # whether the rows of the result that a tile has follow each other in memory
)  # fmt: skip
POINTERS = {"x", "w", "out", "bias", "rows", "steps", "scratch", "g", "partial", "table"}


def emit_places(element):
    """The module with `places`."""
    s = shape(element)
    m = Module()
    emit_copy_row(m, s)
    for v in range(1, s.vectors + 1):
        emit_spread(m, s, v)
        emit_copy_out(m, s, v)
    b = m.function("places", _TASK, attributes="nounwind")
    args, begin, end, thread = b.args
    x = Fields(b, args, PLACES, POINTERS).load_all()
    size = i64(s.size)
    part = b.at_bytes(x.scratch, b.mul(thread, x.scratch_step))
    acc = b.at_bytes(part, x.acc_at)
    wide = i64(s.columns)
    depth = b.mul(x.group_in, x.taps)  # all of k
    panel_bytes = b.mul(depth, i64(s.columns * s.size))
    acc_panel = b.mul(x.padded, i64(s.columns * s.size))
    with b.loop(begin, end) as task:
        rest = task.i
        index = []
        for count in (x.ranges, x.count_w, x.count_h, x.count_d, x.groups):
            index.append(b.op("srem", rest, count))
            rest = b.op("sdiv", rest, count)
        r, tw, th, td, g = index
        n0 = b.mul(rest, x.tile_n)
        first = b.mul(r, x.panel_range)
        last = least(b, x.panels, b.add(first, x.panel_range))
        d0, h0, w0 = b.mul(td, x.tile_d), b.mul(th, x.tile_h), b.mul(tw, x.tile_w)
        images = least(b, x.tile_n, b.sub(x.images, n0))
        depth_here, height, width = (least(b, t, b.sub(o, at)) for t, o, at in ((x.tile_d, x.out_d, d0), (x.tile_h, x.out_h, h0), (x.tile_w, x.out_w, w0)))
        # whole images, slices and rows at the end of the tile may be left out; columns are not
        used_d = b.select(b.cmp("sgt", images, i64(1)), x.tile_d, depth_here)
        used_h = b.select(b.cmp("sgt", used_d, i64(1)), x.tile_h, b.select(b.cmp("sgt", images, i64(1)), x.tile_h, height))
        used = b.mul(b.add(b.mul(b.sub(images, i64(1)), b.mul(x.tile_d, x.tile_h)), b.add(b.mul(b.sub(used_d, i64(1)), x.tile_h), used_h)), x.tile_w)
        corner = [b.op("sub", b.mul(at, step), pad) for at, step, pad in ((d0, x.step_d, x.pad_d), (h0, x.step_h, x.pad_h), (w0, x.step_w, x.pad_w))]
        source = b.at_bytes(x.x, b.mul(b.mul(g, x.group_in), x.xc))
        weights = b.at_bytes(x.w, b.mul(b.mul(g, x.panels), panel_bytes))
        with b.loop(i64(0), x.group_in, x.block) as c:
            channels = least(b, x.block, b.sub(x.group_in, c.i))
            copy_in(b, s, x, b.at_bytes(source, b.mul(c.i, x.xc)), part, n0, images, channels, corner)
            k = b.mul(channels, x.taps)
            more = b.cast("zext", b.cmp("sgt", c.i, i64(0)), "i64")
            with b.loop(first, last) as panel:
                columns = least(b, wide, b.sub(x.group_out, b.mul(panel.i, wide)))
                base = b.at_bytes(weights, b.mul(panel.i, panel_bytes))
                to = b.at_bytes(acc, b.mul(b.sub(panel.i, first), acc_panel))
                for v in range(1, s.vectors + 1):
                    low, high = (v - 1) * s.lanes, v * s.lanes
                    fits = b.op("and", b.cmp("sgt", columns, i64(low)), b.cmp("sle", columns, i64(high)))
                    with b.when(fits):
                        right = b.at_bytes(base, b.mul(b.mul(c.i, x.taps), i64(high * s.size)))
                        with b.loop(i64(0), used, s.rows) as p:
                            b.call(f"spread{v}", "void", k, part, b.gep(x.rows, p.i, "i64"), x.steps, right,
                                   b.at_bytes(to, b.mul(p.i, i64(high * s.size))), more, declare=False)  # fmt: skip
        runs = b.cmp("ne", x.one_run, i64(0))
        lines, length = b.select(runs, i64(1), height), b.select(runs, b.mul(height, x.tile_w), width)
        with b.loop(first, last) as panel:
            columns = least(b, wide, b.sub(x.group_out, b.mul(panel.i, wide)))
            held = b.at_bytes(acc, b.mul(b.sub(panel.i, first), acc_panel))
            channel = b.add(b.mul(g, x.group_out), b.mul(panel.i, wide))
            bias = b.select(b.cmp("eq", x.bias, V("null", "ptr")), x.bias, b.at_bytes(x.bias, b.mul(channel, size)))
            corner_out = b.add(b.add(b.mul(n0, x.on), b.mul(channel, x.oc)), b.add(b.mul(d0, x.od), b.add(b.mul(h0, x.oh), b.mul(w0, x.ow))))
            target = b.at_bytes(x.out, corner_out)
            for v in range(1, s.vectors + 1):
                low, high = (v - 1) * s.lanes, v * s.lanes
                with b.when(b.op("and", b.cmp("sgt", columns, i64(low)), b.cmp("sle", columns, i64(high)))):
                    with b.loop(i64(0), images) as n:
                        with b.loop(i64(0), depth_here) as d:
                            with b.loop(i64(0), lines) as h:
                                row = b.add(b.mul(b.add(b.mul(n.i, x.tile_d), d.i), x.tile_h), h.i)
                                at = b.at_bytes(held, b.mul(b.mul(row, x.tile_w), i64(high * s.size)))
                                to = b.add(b.mul(n.i, x.on), b.add(b.mul(d.i, x.od), b.mul(h.i, x.oh)))
                                b.call(f"copy_out{v}", "void", at, b.at_bytes(target, to), x.oc, x.ow, columns, length, bias, declare=False)
    b.ret()
    b.done()
    return str(m)


PACK = ("w", "out", "table", "k", "row", "panels", "group_out", "group_bytes", "inner", "outer_bytes")


def emit_pack_weights(element):
    """The module with `pack_weights`: tasks are panels; panel[k][j] = w[table[k] + j * row bytes], 0 past the channels.

    Where the weights of `inner` successive k lie side by side, and from one such run to the next are `outer_bytes`, the
    runs are turned as squares; `inner` is 0 where only the table says.
    """
    s = shape(element)
    m = Module()
    for v in range(1, s.vectors + 1):
        emit_pack(m, f"straight{v}", element, v * s.lanes, s.lanes)
    b = m.function("pack_weights", _TASK, attributes="nounwind")
    args, begin, end, _ = b.args
    x = Fields(b, args, PACK, POINTERS).load_all()
    with b.loop(begin, end) as task:
        g, panel = b.op("sdiv", task.i, x.panels), b.op("srem", task.i, x.panels)
        j0 = b.mul(panel, i64(s.columns))
        columns = least(b, i64(s.columns), b.sub(x.group_out, j0))
        source = b.at_bytes(x.w, b.add(b.mul(g, x.group_bytes), b.mul(j0, x.row)))
        to = b.at_bytes(x.out, b.mul(b.mul(task.i, x.k), i64(s.columns * s.size)))
        for v in range(1, s.vectors + 1):
            low, high = (v - 1) * s.lanes, v * s.lanes
            with b.when(b.op("and", b.cmp("sgt", columns, i64(low)), b.cmp("sle", columns, i64(high)))):
                tables, straight, end_ = b.label("tables"), b.label("straight"), b.label("end")
                b.cbr(b.cmp("ne", x.inner, i64(0)), straight, tables)
                b.at(straight)
                with b.loop(i64(0), x.k, x.inner, [source]) as k:
                    line = b.at_bytes(to, b.mul(k.i, i64(high * s.size)))
                    b.call(f"straight{v}", "void", line, k.carried[0], x.row, i64(s.size), columns, x.inner, declare=False)
                    k.next = [b.at_bytes(k.carried[0], x.outer_bytes)]
                b.br(end_)
                b.at(tables)
                with b.loop(i64(0), x.k, 1, [to]) as k:
                    line = k.carried[0]
                    start = b.at_bytes(source, b.load("i64", b.gep(x.table, k.i, "i64")))
                    with b.loop(i64(0), columns, 1, [start]) as j:
                        b.store(b.load(element, j.carried[0]), b.gep(line, j.i, element))
                        j.next = [b.at_bytes(j.carried[0], x.row)]
                    with b.loop(columns, i64(high)) as j:
                        b.store(const(0, element), b.gep(line, j.i, element))
                    k.next = [b.at_bytes(line, i64(high * s.size))]
                b.br(end_)
                b.at(end_)
    b.ret()
    b.done()
    return str(m)
