"""Convolution by 3 x 3 windows with a stride of 1 by Winograd's F(2 x 2, 3 x 3): 16 products where there were 36.

    out tile (2 x 2) = A^T [ sum over channels of (G w G^T) * (B^T x B) ] A          (Lavin and Gray, arXiv:1509.09308)

Tiles of the whole batch are numbered row after row, image after image; a task takes a run of them, so that none is
wasted at the ends of rows. It turns x into V[16][channel][tile], then for each panel of result channels multiplies 16
times, V[t] with U[t], and turns the 16 sums of every tile back, vectors along the channels. U comes from the packed
weights. The additions of the transforms are exact in small integers and halves; errors are those of the direct way.

Invariant: a tile is computed alike in every task, so the digits do not depend on how tiles are dealt out.
"""

from __future__ import annotations

import struct
from functools import cache, lru_cache

from rushlight.codegen import memory, native, pool
from rushlight.codegen.conv_tile import (
    Fields,
    clamp,
    emit_copy_out,
    emit_copy_pair,
    emit_copy_row,
    shape,
    strides3,
)
from rushlight.codegen.gemm import least
from rushlight.codegen.llvm import NULL, Module, const, i64, vector
from rushlight.codegen.matmul import ELEMENT
from rushlight.codegen.record import address
from rushlight.codegen.scratch import L2, LINE, scratch
from rushlight.codegen.tile import accumulate
from rushlight.core.settings import SETTINGS

FIELDS = (
    "x", "u", "out", "bias", "scratch", "scratch_step",
    "xn", "xc", "xh", "xw", "size_h", "size_w", "pad_h", "pad_w",
    "on", "oc", "oh", "ow", "out_h", "out_w",
    "group_in", "group_out", "groups", "panels", "panel_range", "ranges",
    "tiles_h", "tiles_w", "tiles", "run", "runs",  # tiles of an image down and across, all; tiles of a task; tasks
    "pitch", "row", "v_at", "m_at", "turn_at",  # elements of a copied row, of a row of V; places in the scratch
)  # fmt: skip
TURN = ("packed", "u", "channels", "panels", "group_out", "backwards")
_POINTERS = {"x", "u", "out", "bias", "scratch", "packed"}
_TASK = [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")]
_PACK = struct.Struct(f"={len(FIELDS)}q").pack
_PACK_TURN = struct.Struct(f"={len(TURN)}q").pack
TASK = 1 << 20


def _emit_columns(m, s, vectors):
    """void columns<v>(k, a, step, right, out): a tile of rows that lie side by side in a."""
    b = m.function(
        f"columns{vectors}",
        [("k", "i64"), ("a", "ptr noalias"), ("step", "i64"), ("right", "ptr noalias"), ("out", "ptr noalias")],
        internal=True,
        attributes="noinline nounwind",
    )
    k, a, step, right, out = b.args
    width = vectors * s.lanes * s.size
    total = accumulate(b, s, s.rows, vectors, k, a, lambda p: [b.at_bytes(p, i64(r * s.size)) for r in range(s.rows)], step, right, i64(width), 2)
    for r in range(s.rows):
        for j in range(vectors):
            b.store(total[r][j], b.at_bytes(out, i64(r * width + j * s.lanes * s.size)))
    b.ret()
    b.done()


def _input_transform(b, d):
    """B^T d for four values: (d0 - d2, d1 + d2, d2 - d1, d1 - d3)."""
    return [b.op("fsub", d[0], d[2]), b.op("fadd", d[1], d[2]), b.op("fsub", d[2], d[1]), b.op("fsub", d[1], d[3])]


def _output_transform(b, m):
    """A^T m for four values: (m0 + m1 + m2, m1 - m2 - m3)."""
    return [b.op("fadd", b.op("fadd", m[0], m[1]), m[2]), b.op("fsub", b.op("fsub", m[1], m[2]), m[3])]


def _widths(b, s, columns, act):
    """act(v) for the number of vectors that `columns` channels need."""
    for v in range(1, s.vectors + 1):
        with b.when(b.op("and", b.cmp("sgt", columns, i64((v - 1) * s.lanes)), b.cmp("sle", columns, i64(v * s.lanes)))):
            act(v)


def emit_winograd(element):
    """The module with `winograd`: tasks are (range of panels, run of tiles, group)."""
    s = shape(element)
    m = Module()
    emit_copy_row(m, s)
    emit_copy_pair(m, s)
    for v in range(1, s.vectors + 1):
        _emit_columns(m, s, v)
        emit_copy_out(m, s, v)
    b = m.function("winograd", _TASK, attributes="nounwind")
    args, begin, end, thread = b.args
    x = Fields(b, args, FIELDS, _POINTERS).load_all()
    kind, size = vector(element, s.lanes), s.size
    part = b.at_bytes(x.scratch, b.mul(thread, x.scratch_step))
    v_at, m_at, turned = b.at_bytes(part, x.v_at), b.at_bytes(part, x.m_at), b.at_bytes(part, x.turn_at)
    channel_bytes = b.mul(x.row, i64(size))
    plane = b.mul(x.group_in, channel_bytes)  # of one of the 16
    line = b.mul(x.pitch, i64(size))

    with b.loop(begin, end) as task:
        r, rest = b.op("srem", task.i, x.ranges), b.op("sdiv", task.i, x.ranges)
        run, group = b.op("srem", rest, x.runs), b.op("sdiv", rest, x.runs)
        first = b.mul(r, x.panel_range)
        last = least(b, x.panels, b.add(first, x.panel_range))
        q0 = b.mul(run, x.run)
        q1 = least(b, x.tiles, b.add(q0, x.run))
        used = b.sub(q1, q0)
        row0, row1 = b.op("sdiv", q0, x.tiles_w), b.add(b.op("sdiv", b.sub(q1, i64(1)), x.tiles_w), i64(1))

        def segment(row, q0=q0, q1=q1):
            """The tiles of a row that are in the run: (image, row in it, first, number, their first number in the run)."""
            image, i = b.op("sdiv", row, x.tiles_h), b.op("srem", row, x.tiles_h)
            start = b.mul(row, x.tiles_w)
            j0 = b.intrinsic("smax", b.op("sub", q0, start), i64(0))
            j1 = least(b, x.tiles_w, b.op("sub", q1, start))
            return image, i, j0, b.sub(j1, j0), b.sub(b.add(start, j0), q0)

        with b.loop(row0, row1) as seg:
            image, i, j0, count, p0 = segment(seg.i)
            y0, x0 = b.op("sub", b.mul(i, i64(2)), x.pad_h), b.op("sub", b.mul(j0, i64(2)), x.pad_w)
            source = b.at_bytes(x.x, b.add(b.mul(image, x.xn), b.mul(b.mul(group, x.group_in), x.xc)))
            wide = b.add(count, i64(1))  # places of each phase
            bounds = []
            for phase in (0, 1):
                at = b.op("add", x0, i64(phase))
                low = clamp(b, b.op("sdiv", b.add(b.op("sub", i64(0), at), i64(1)), i64(2)), i64(0), wide)
                there = b.intrinsic("smax", b.add(b.op("sub", x.size_w, at), i64(1)), i64(0))
                bounds.append((at, low, b.intrinsic("smax", clamp(b, b.op("sdiv", there, i64(2)), i64(0), wide), low)))
            with b.loop(i64(0), x.group_in) as c:
                image_plane = b.at_bytes(source, b.mul(c.i, x.xc))
                with b.loop(i64(0), i64(4)) as h:
                    at_h = b.add(y0, h.i)
                    inside = b.cmp("ult", at_h, x.size_h)
                    both, each, copied = b.label("both"), b.label("each"), b.label("copied")
                    row = b.at_bytes(image_plane, b.mul(at_h, x.xh))
                    lines = [b.at_bytes(part, b.mul(line, b.add(b.mul(h.i, i64(2)), i64(phase)))) for phase in (0, 1)]
                    b.cbr(b.cmp("eq", x.xw, i64(size)), both, each)
                    b.at(both)
                    low, high = b.op("sub", i64(0), x0), b.select(inside, b.op("sub", x.size_w, x0), i64(-(1 << 30)))
                    b.call("copy_pair", "void", *lines, b.at_bytes(row, b.mul(x0, x.xw)), low, high, wide, declare=False)
                    b.br(copied)
                    b.at(each)
                    for to, (at, low, high) in zip(lines, bounds):
                        lo, hi = b.select(inside, low, i64(0)), b.select(inside, high, i64(0))
                        b.call("copy_row", "void", to, b.at_bytes(row, b.mul(at, x.xw)), b.mul(x.xw, i64(2)), lo, hi, wide, declare=False)
                    b.br(copied)
                    b.at(copied)
                target = b.at_bytes(v_at, b.add(b.mul(c.i, channel_bytes), b.mul(p0, i64(size))))
                with b.loop(i64(0), count, s.lanes) as j:
                    across = []
                    for h in range(4):
                        even, odd = (b.gep(b.at_bytes(part, b.mul(line, i64(2 * h + phase))), j.i, element) for phase in (0, 1))
                        d = [b.load(kind, even), b.load(kind, odd), b.load(kind, b.at_bytes(even, i64(size))), b.load(kind, b.at_bytes(odd, i64(size)))]
                        across.append(_input_transform(b, d))
                    to = b.gep(target, j.i, element)
                    for column in range(4):
                        for line_, value in enumerate(_input_transform(b, [across[h][column] for h in range(4)])):
                            b.store(value, b.at_bytes(to, b.mul(plane, i64(4 * line_ + column))))

        with b.loop(first, last) as panel:
            columns = least(b, i64(s.columns), b.sub(x.group_out, b.mul(panel.i, i64(s.columns))))
            number = b.add(b.mul(group, x.panels), panel.i)
            weights = b.at_bytes(x.u, b.mul(b.mul(number, x.group_in), i64(16 * s.columns * size)))
            channel = b.add(b.mul(group, x.group_out), b.mul(panel.i, i64(s.columns)))
            bias = b.select(b.cmp("eq", x.bias, NULL), x.bias, b.gep(x.bias, channel, element))
            to_channel = b.at_bytes(x.out, b.mul(channel, x.oc))

            def products(v, weights=weights):
                width = v * s.lanes * size
                with b.loop(i64(0), i64(16)) as t:
                    left = b.at_bytes(v_at, b.mul(t.i, plane))
                    right = b.at_bytes(weights, b.mul(b.mul(t.i, x.group_in), i64(width)))
                    sums = b.at_bytes(m_at, b.mul(b.mul(t.i, x.row), i64(width)))
                    with b.loop(i64(0), used, s.rows) as p:
                        b.call(f"columns{v}", "void", x.group_in, b.gep(left, p.i, element), channel_bytes, right, b.at_bytes(sums, b.mul(p.i, i64(width))), declare=False)

            def back(v, columns=columns, bias=bias, to_channel=to_channel):
                width = v * s.lanes * size
                between = b.mul(x.row, i64(width))
                with b.loop(row0, row1) as seg:
                    image, i, j0, count, p0 = segment(seg.i)
                    second = b.at_bytes(turned, b.mul(count, i64(2 * width)))
                    with b.loop(i64(0), count) as j:
                        sums = b.at_bytes(m_at, b.mul(b.add(p0, j.i), i64(width)))
                        for w in range(v):
                            at = i64(w * s.lanes * size)
                            values = [b.load(kind, b.at_bytes(b.at_bytes(sums, b.mul(between, i64(t))), at)) for t in range(16)]
                            down = [_output_transform(b, [values[4 * line_ + column] for line_ in range(4)]) for column in range(4)]
                            for y, base in enumerate((turned, second)):
                                for place, value in enumerate(_output_transform(b, [down[column][y] for column in range(4)])):
                                    b.store(value, b.at_bytes(base, b.add(b.mul(j.i, i64(2 * width)), i64(place * width + w * s.lanes * size))))
                    y0, x0 = b.mul(i, i64(2)), b.mul(j0, i64(2))
                    length = least(b, b.mul(count, i64(2)), b.sub(x.out_w, x0))
                    target = b.at_bytes(to_channel, b.add(b.mul(image, x.on), b.add(b.mul(y0, x.oh), b.mul(x0, x.ow))))
                    b.call(f"copy_out{v}", "void", turned, target, x.oc, x.ow, columns, length, bias, declare=False)
                    with b.when(b.cmp("slt", b.add(y0, i64(1)), x.out_h)):
                        b.call(f"copy_out{v}", "void", second, b.at_bytes(target, x.oh), x.oc, x.ow, columns, length, bias, declare=False)

            _widths(b, s, columns, products)
            _widths(b, s, columns, back)
    b.ret()
    b.done()
    return str(m)


def emit_turn(element):
    """The module with `turn_weights`: u[panel][16][channel][lane] from weights packed as [panel][(channel, tap)][lane].

    `backwards`: the taps are taken from the last to the first.
    """
    s = shape(element)
    m = Module()
    b = m.function("turn_weights", _TASK, attributes="nounwind")
    args, begin, end, _ = b.args
    x = Fields(b, args, TURN, _POINTERS).load_all()
    kind, size = vector(element, s.lanes), s.size
    half = const(0.5, kind)

    def transform(g):
        """G g for three values: (g0, (g0 + g1 + g2) / 2, (g0 - g1 + g2) / 2, g2)."""
        outer = b.op("fadd", g[0], g[2])
        return [g[0], b.op("fmul", b.op("fadd", outer, g[1]), half), b.op("fmul", b.op("fsub", outer, g[1]), half), g[2]]

    with b.loop(begin, end) as task:
        panel = b.op("srem", task.i, x.panels)
        columns = least(b, i64(s.columns), b.sub(x.group_out, b.mul(panel, i64(s.columns))))
        source = b.at_bytes(x.packed, b.mul(b.mul(task.i, x.channels), i64(9 * s.columns * size)))
        target = b.at_bytes(x.u, b.mul(b.mul(task.i, x.channels), i64(16 * s.columns * size)))

        def turn(v, source=source, target=target):
            width = v * s.lanes * size
            between = b.mul(x.channels, i64(width))
            back = b.cmp("ne", x.backwards, i64(0))
            first, step = b.select(back, i64(8 * width), i64(0)), b.select(back, i64(-width), i64(width))
            with b.loop(i64(0), x.channels) as c:
                for w in range(v):
                    taps = b.at_bytes(source, b.add(b.add(b.mul(c.i, i64(9 * width)), first), i64(w * s.lanes * size)))
                    g = [[b.load(kind, b.at_bytes(taps, b.mul(step, i64(3 * r + q)))) for q in range(3)] for r in range(3)]
                    down = [transform([g[r][q] for r in range(3)]) for q in range(3)]
                    to = b.at_bytes(target, b.add(b.mul(c.i, i64(width)), i64(w * s.lanes * size)))
                    for r in range(4):
                        for q, value in enumerate(transform([down[k][r] for k in range(3)])):
                            b.store(value, b.at_bytes(to, b.mul(between, i64(4 * r + q))))

        _widths(b, s, columns, turn)
    b.ret()
    b.done()
    return str(m)


@cache
def kernel(name, element):
    """The address of `winograd` or `turn_weights`."""
    memory.recycle()
    return native.load({"winograd": emit_winograd, "turn_weights": emit_turn}[name](element), [name], optimise=False)[name]


def _up(n, step):
    return n + -n % step


@lru_cache(256)
def _runs(element, tiles, across, channels, panels, groups, threads):
    """(tiles of a run, runs, panels of a range, ranges, places in the scratch and its size)."""
    s = shape(element)
    wanted = threads * 4 if threads > 1 else 1
    most = max(4 * s.rows, min(96, L2 * 2 // 3 // (16 * channels * s.size)) // s.rows * s.rows)
    run = min(most, max(2 * s.rows, _up(-(-tiles * groups // wanted), s.rows)))
    runs = -(-tiles // run)
    run = _up(-(-tiles // runs), s.rows)
    runs = -(-tiles // run)
    ranges = max(1, min(panels, -(-wanted // 2 // (runs * groups))))
    panel_range = -(-panels // ranges)
    ranges = -(-panels // panel_range)
    pitch = min(across, run) + 1 + s.lanes
    row = run + s.lanes
    v_at = _up((8 * pitch + s.lanes) * s.size, LINE)
    m_at = v_at + _up(16 * channels * row * s.size, LINE)
    turn_at = m_at + 16 * row * s.columns * s.size
    room = turn_at + (4 * min(across, run) + s.lanes) * s.columns * s.size
    return run, runs, panel_range, ranges, pitch, row, v_at, m_at, turn_at, _up(room, LINE) + LINE


def worth(images, size_out, channels, columns):
    """Whether this way is quicker than the direct one: enough channels to pay for the transforms, tiles for the weights."""
    h, w = size_out
    tiles = images * -(-h // 2) * -(-w // 2)
    return channels >= 24 and columns >= 24 and tiles >= 64 and 4 * tiles * 8 <= images * h * w * 13


def winograd(x, packed, out, bias, padding, groups, turned=False):
    """out (N, O, h, w) = bias + x (N, C, H, W) under 3 x 3 windows, `turned` by half a turn.

    `packed`: the weights as conv.pack_weights lays them.
    """
    element = ELEMENT[x.dtype]
    s = shape(element)
    n, c, h, w = x.shape
    _, o, oh, ow = out.shape
    channels, columns = c // groups, o // groups
    panels = -(-columns // s.columns)
    threads = SETTINGS.threads
    u, _u = scratch("conv_u", groups * panels * channels * 16 * s.columns * s.size)
    pool.run(kernel("turn_weights", element), _PACK_TURN(packed, u, channels, panels, columns, int(turned)), groups * panels, max(1, (1 << 12) // (channels * s.columns)))
    down, across = -(-oh // 2), -(-ow // 2)
    tiles = n * down * across
    run, runs, panel_range, ranges, pitch, row, v_at, m_at, turn_at, room_size = _runs(element, tiles, across, channels, panels, groups, threads)
    room, _room = scratch("conv", room_size * threads)
    xs, os = strides3(x), strides3(out)
    slots = _PACK(
        address(x), u, address(out), 0 if bias is None else address(bias), room, room_size,
        xs[0], xs[1], xs[3], xs[4], h, w, *padding,
        os[0], os[1], os[3], os[4], oh, ow,
        channels, columns, groups, panels, panel_range, ranges,
        down, across, tiles, run, runs,
        pitch, row, v_at, m_at, turn_at,
    )  # fmt: skip
    pool.run(kernel("winograd", element), slots, groups * runs * ranges, max(1, TASK // 4 // max(1, 16 * run * channels * min(columns, panel_range * s.columns))))
