"""Products of matrices: C = alpha * A @ B + beta * D for all strides, shapes and batches.

C is cut into blocks, one task each; a task walks K in steps of `kc`, brings its rows of A and one panel of B at a time
into a form that the micro-kernel (codegen/tile.py) reads forward, and runs over its tiles:

    for each step of K:   [pack the block's rows of A]                 stays in L2
        for each panel:   [pack `columns` columns of B]                stays in L1
            for each row of tiles: tile

A is packed where the block is large, or else read in place; B is packed by the task itself, or for all tasks
beforehand (large products), or read in place (contiguous along the columns, few rows). One kernel a dtype: all of
this is arguments.

Invariants: an element of C adds its products in the order of K in steps that depend on K alone, so neither the blocks
nor the number of threads changes a digit; nothing outside the operands is read or written; C has rows that are
contiguous (the host swaps A and B for columns), D's columns are contiguous or one column repeated.
"""

from __future__ import annotations

from rushlight.codegen.llvm import Module, V, i64
from rushlight.codegen.panels import emit_pack
from rushlight.codegen.tile import CONTEXT, Context, emit_edge, emit_tile, shape

#: the kernel's arguments, 8 bytes each: addresses, then counts, then strides in bytes
ARGS = (
    "a", "b", "c", "d", "scratch", "packed",
    "m", "n", "k", "mc", "nc", "kc", "ib", "jb",
    "ra", "ka", "kb", "nb", "rc", "cc", "rd", "cd",
    "pack_a", "mode_b", "scratch_step", "panel_step",
    "alpha", "beta",
    "batch", "a1", "b1", "c1", "d1", "a0", "b0", "c0", "d0",
)  # fmt: skip
LOCAL, SHARED, DIRECT = 0, 1, 2  # how B comes to the tiles


class Arguments:
    """The arguments in memory, loaded by name where they are first asked for; `alpha` and `beta` as numbers of `element`."""

    def __init__(self, builder, pointer, element="i64"):
        self._builder, self._pointer, self._element, self._known = builder, pointer, element, {}

    def __getattr__(self, name):
        found = self._known.get(name)
        if found is None:
            at = self._builder.at_bytes(self._pointer, i64(8 * ARGS.index(name)))
            kind = "ptr" if ARGS.index(name) < 6 else self._element if name in ("alpha", "beta") else "i64"
            found = self._known[name] = self._builder.load(kind, at, 8)
        return found

    def load_batch(self):
        """Load here what `block_start` asks for."""
        for name in ("a", "b", "c", "d", "batch", *(item + n for item in "abcd" for n in "01")):
            getattr(self, name)


def least(b, x, y):
    return b.smin(x, y)


def block_start(b, x, batch, item):
    """Address of a matrix of a batch: two dimensions of strides."""
    outer = b.op("sdiv", batch, x.batch)
    inner = b.op("srem", batch, x.batch)
    offset = b.add(b.mul(outer, getattr(x, item + "0")), b.mul(inner, getattr(x, item + "1")))
    return b.at_bytes(getattr(x, item), offset)


def emit(element, epilogue=None, stored=None, widen=None, unroll=1):
    """The module's text, with functions `gemm` and `pack_b`."""
    s = shape(element)
    m = Module()
    emit_pack(m, "pack_rows", element, s.rows, s.lanes, stored, widen)
    emit_pack(m, "pack_columns", element, s.columns, s.lanes, stored, widen)
    emit_edge(m, s, epilogue)
    for rows in s.variants:
        emit_tile(m, s, rows, epilogue, unroll)
    _emit_shared(m, s)
    _emit_gemm(m, s)
    return str(m)


def _emit_shared(m, s):
    """pack_b: tasks are panels of B, packed over all of K."""
    b = m.function("pack_b", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    args, begin, end, _ = b.args
    x = Arguments(b, args)
    kc, k, n, nb, kb, panel_step, source, packed = x.kc, x.k, x.n, x.nb, x.kb, x.panel_step, x.b, x.packed
    with b.loop(begin, end) as task:
        j = b.mul(task.i, i64(s.columns))
        with b.loop(i64(0), k, kc) as step:
            depth = least(b, kc, b.sub(k, step.i))
            to = b.at_bytes(packed, b.add(b.mul(step.i, panel_step), b.mul(b.mul(j, depth), i64(s.size))))
            where = b.at_bytes(source, b.add(b.mul(step.i, kb), b.mul(j, nb)))
            count = least(b, i64(s.columns), b.sub(n, j))
            b.call("pack_columns", "void", to, where, nb, kb, count, depth, declare=False)
    b.ret()
    b.done()


def _emit_gemm(m, s):
    b = m.function("gemm", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    args, begin, end, thread = b.args
    x = Arguments(b, args)
    context = Context(b, b.alloca("i64", len(CONTEXT)))
    slots = b.alloca("i64", 2)  # the row and the address at which shorter tiles go on
    mine = b.at_bytes(x.scratch, b.mul(thread, x.scratch_step))
    size = i64(s.size)
    # a panel of B first, then the rows of A
    panel, rows_of_a = mine, b.at_bytes(mine, b.mul(b.mul(x.kc, i64(s.columns)), size))
    ra, ka, kb, nb, cd, rc, rd = x.ra, x.ka, x.kb, x.nb, x.cd, x.rc, x.rd
    mm, nn, kk, mc, nc, kc, ib, jb = x.m, x.n, x.k, x.mc, x.nc, x.kc, x.ib, x.jb
    packs = b.cmp("ne", x.pack_a, i64(0))
    shared = b.cmp("eq", x.mode_b, i64(SHARED))
    direct = b.cmp("eq", x.mode_b, i64(DIRECT))
    packed, panel_step, alpha, beta = x.packed, x.panel_step, x.alpha, x.beta
    x.load_batch()
    context.set("rc", rc)
    context.set("alpha", alpha)
    context.set("ra", b.select(packs, size, ra))
    context.set("ka", b.select(packs, i64(s.rows * s.size), ka))
    a_row = b.load("i64", b.at_bytes(context.pointer, i64(0)), 8)
    blocks = b.mul(ib, jb)
    with b.loop(begin, end) as task:
        batch, rest = b.op("sdiv", task.i, blocks), b.op("srem", task.i, blocks)
        i0, j0 = b.mul(b.op("srem", rest, ib), mc), b.mul(b.op("sdiv", rest, ib), nc)
        i1, j1 = least(b, mm, b.add(i0, mc)), least(b, nn, b.add(j0, nc))
        a, right = block_start(b, x, batch, "a"), block_start(b, x, batch, "b")
        c, d = block_start(b, x, batch, "c"), block_start(b, x, batch, "d")
        context.set("c", c)
        context.set("d", d)
        context.set("rd", rd)
        context.set("cd", cd)
        context.set("beta", beta)
        with b.loop(i64(0), kk, kc) as step:
            pc = step.i
            depth = least(b, kc, b.sub(kk, pc))
            context.set("last", b.cast("zext", b.cmp("sge", b.add(pc, kc), kk), "i64"))
            a_step = b.at_bytes(a, b.mul(pc, ka))
            with b.when(packs):
                with b.loop(i0, i1, s.rows) as l:
                    to = b.at_bytes(rows_of_a, b.mul(b.mul(b.sub(l.i, i0), depth), size))
                    where = b.at_bytes(a_step, b.mul(l.i, ra))
                    b.call("pack_rows", "void", to, where, ra, ka, least(b, i64(s.rows), b.sub(i1, l.i)), depth, declare=False)
            # the address of row i: in the packed block a row is one element further, a panel `rows * depth`
            a_base = b.select(packs, rows_of_a, b.at_bytes(a_step, b.mul(i0, ra)))
            a_panel = b.select(packs, b.mul(depth, size), ra)  # bytes from one row to the next, counted at panels
            b_step = b.at_bytes(right, b.mul(pc, kb))
            shared_step = b.at_bytes(packed, b.mul(pc, panel_step))
            with b.loop(j0, j1, s.columns) as col:
                j = col.i
                width = least(b, i64(s.columns), b.sub(j1, j))
                in_place = b.op("and", direct, b.cmp("eq", width, i64(s.columns)))
                where = b.at_bytes(b_step, b.mul(j, nb))
                ready = b.at_bytes(shared_step, b.mul(b.mul(j, depth), size))
                with b.when(b.op("xor", b.op("or", shared, in_place), V("true", "i1"))):
                    b.call("pack_columns", "void", panel, where, nb, kb, width, depth, declare=False)
                source = b.select(in_place, where, b.select(shared, ready, panel))
                source_step = b.select(in_place, kb, i64(s.columns * s.size))
                start = b.at_bytes(a_base, i64(0))
                tall = b.sub(i1, b.op("srem", b.sub(i1, i0), i64(s.rows)))
                with b.loop(i0, tall, s.rows) as l:
                    p = b.at_bytes(start, b.mul(b.sub(l.i, i0), a_panel))
                    b.call(f"tile{s.rows}", "void", depth, p, source, source_step, l.i, j, width, context.pointer, args, declare=False)
                p = b.at_bytes(start, b.mul(b.sub(tall, i0), a_panel))
                row = tall
                for rows in s.variants[1:]:
                    there = b.sub(i1, row)
                    b.store(row, slots, 8)
                    b.store(p, b.at_bytes(slots, i64(8)), 8)
                    with b.when(b.cmp("sge", there, i64(rows))):
                        b.call(f"tile{rows}", "void", depth, p, source, source_step, row, j, width, context.pointer, args, declare=False)
                        b.store(b.add(row, i64(rows)), slots, 8)
                        b.store(b.at_bytes(p, b.mul(a_row, i64(rows))), b.at_bytes(slots, i64(8)), 8)
                    row, p = b.load("i64", slots, 8), b.load("ptr", b.at_bytes(slots, i64(8)), 8)
            # the next step adds to C
            context.set("d", c)
            context.set("rd", rc)
            context.set("cd", size)
            context.set("beta", V({"float": "1065353216", "double": "4607182418800017408"}[s.element], "i64"))
    b.ret()
    b.done()
