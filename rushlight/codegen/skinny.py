"""Products with few rows, where memory is the limit: two kernels that read B once and in the order it lies in.

`dots`: A and B contiguous along k. Dot products, a tile of 4 x 3 of them at a time, by vectors along k; the lanes are
added at the end, halves first. C and D may have any strides.
`sweep`: B contiguous along its columns. Four rows of B at a time are added, times an element of A each, to the rows of
C held in the first-level cache.

Both are `void k(args, begin, end, thread)` over blocks of columns and give C = alpha * A @ B + beta * D. The order of
additions is that of k (in lanes for `dots`), whatever the blocks.
"""

from __future__ import annotations

from rushlight.codegen import native
from rushlight.codegen.gemm import Arguments, block_start, least
from rushlight.codegen.llvm import SIZES, Module, V, const, i64, vector
from rushlight.codegen.tile import lane_mask, masked_load, masked_store

MOST_ROWS = 8  # rows of C that `sweep` holds
SWEEP = 2048  # bytes of a row of C that one task takes
STEP = 4  # rows of B that are added at a time


def emit(name, element):
    """The text of the module with function `name`; the arguments are those of gemm."""
    m = Module()
    {"dots": _emit_dots, "sweep": _emit_sweep}[name](m, element, native.vector_bytes() // SIZES[element])
    return str(m)


def _sum_lanes(b, v, lanes):
    while lanes > 1:
        lanes //= 2
        v = b.op("fadd", b.shuffle(v, None, range(lanes)), b.shuffle(v, None, range(lanes, 2 * lanes)))
    return b.extract(v, 0)


def _emit_dots(m, element, lanes):
    size, kind = SIZES[element], vector(element, lanes)
    b = m.function("dots", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    args, begin, end, _ = b.args
    x = Arguments(b, args, element)
    mm, nn, kk, ra, nb, rc, nc = x.m, x.n, x.k, x.ra, x.nb, x.rc, x.nc
    rd, cd, cc, blocks = x.rd, x.cd, x.cc, x.jb
    alpha, beta = x.alpha, x.beta
    unused = b.cmp("oeq", beta, const(0, element))
    x.load_batch()
    whole = b.op("and", kk, i64(-lanes))
    mask = lane_mask(b, lanes, b.sub(kk, whole))
    ragged = b.cmp("ne", whole, kk)
    cell = b.alloca(element)
    total = b.alloca(kind, 12)

    def tile(rows, columns, a, right, c, d):
        """rows x columns dot products."""

        def products(pa, pb, load, acc):
            left = [load(b.at_bytes(pa, b.mul(ra, i64(r)))) for r in range(rows)]
            for j in range(columns):
                y = load(b.at_bytes(pb, b.mul(nb, i64(j))))
                for r in range(rows):
                    acc[r * columns + j] = b.op("fadd", b.op("fmul", left[r], y), acc[r * columns + j])
            return acc

        b.contract = True
        with b.loop(i64(0), whole, lanes, [a, right, *[const(0, kind)] * (rows * columns)]) as l:
            pa, pb, *acc = l.carried
            acc = products(pa, pb, lambda p: b.load(kind, p), acc)
            l.next = [b.at_bytes(pa, i64(lanes * size)), b.at_bytes(pb, i64(lanes * size)), *acc]
        pa, pb, *acc = l.results
        for i, v in enumerate(acc):
            b.store(v, b.at_bytes(total, i64(i * lanes * size)))
        with b.when(ragged):
            for i, v in enumerate(products(pa, pb, lambda p: masked_load(b, kind, p, mask), list(acc))):
                b.store(v, b.at_bytes(total, i64(i * lanes * size)))
        b.contract = False
        for r in range(rows):
            for j in range(columns):
                value = _sum_lanes(b, b.load(kind, b.at_bytes(total, i64((r * columns + j) * lanes * size))), lanes)
                b.store(b.op("fmul", value, alpha), cell)
                with b.when(b.op("xor", unused, V("true", "i1"))):
                    other = b.load(element, b.at_bytes(d, b.add(b.mul(rd, i64(r)), b.mul(cd, i64(j)))))
                    b.contract = True
                    b.store(b.op("fadd", b.op("fmul", other, beta), b.load(element, cell)), cell)
                    b.contract = False
                b.store(b.load(element, cell), b.at_bytes(c, b.add(b.mul(rc, i64(r)), b.mul(cc, i64(j)))))

    with b.loop(begin, end) as task:
        batch, block = b.op("sdiv", task.i, blocks), b.op("srem", task.i, blocks)
        a0, b0, c0, d0 = (block_start(b, x, batch, item) for item in "abcd")
        j0 = b.mul(block, nc)
        j1 = least(b, nn, b.add(j0, nc))
        start = i64(0)
        for rows, columns in ((4, 3), (1, 4)):  # rows in fours, the rest one by one
            stop = b.op("and", mm, i64(-rows)) if rows > 1 else mm
            wide = b.sub(j1, b.op("srem", b.sub(j1, j0), i64(columns)))
            with b.loop(start, stop, rows) as i:
                a, c, d = b.at_bytes(a0, b.mul(i.i, ra)), b.at_bytes(c0, b.mul(i.i, rc)), b.at_bytes(d0, b.mul(i.i, rd))
                for first, last, step in ((j0, wide, columns), (wide, j1, 1)):
                    with b.loop(first, last, step) as j:
                        tile(rows, step, a, b.at_bytes(b0, b.mul(j.i, nb)), b.at_bytes(c, b.mul(j.i, cc)), b.at_bytes(d, b.mul(j.i, cd)))
            start = stop
    b.ret()
    b.done()


def _emit_sweep(m, element, lanes):
    size, kind = SIZES[element], vector(element, lanes)
    wide = SWEEP // size
    b = m.function("sweep", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    args, begin, end, _ = b.args
    x = Arguments(b, args, element)
    mm, nn, kk, ra, ka, kb, rc, nc = x.m, x.n, x.k, x.ra, x.ka, x.kb, x.rc, x.nc
    rd, cd, blocks = x.rd, x.cd, x.jb
    alpha, beta = b.splat(x.alpha, lanes), b.splat(x.beta, lanes)
    unused = b.cmp("oeq", x.beta, const(0, element))
    splatted = b.cmp("eq", cd, i64(0))
    x.load_batch()
    held = b.alloca(kind, MOST_ROWS * wide // lanes)
    slot = b.alloca(kind)
    pairs = b.op("and", mm, i64(-2))
    quads = b.op("and", kk, i64(-STEP))

    with b.loop(begin, end) as task:
        batch, block = b.op("sdiv", task.i, blocks), b.op("srem", task.i, blocks)
        a0, b0, c0, d0 = (block_start(b, x, batch, item) for item in "abcd")
        j0 = b.mul(block, nc)
        width = least(b, nc, b.sub(nn, j0))
        right = b.at_bytes(b0, b.mul(j0, i64(size)))
        whole = b.op("and", width, i64(-lanes))
        mask = lane_mask(b, lanes, b.sub(width, whole))
        ragged = b.cmp("ne", whole, width)

        def at(row, j):
            """Where the sums of a row from column j on are held."""
            return b.gep(held, b.add(b.mul(row, i64(wide)), j), element)

        with b.loop(i64(0), mm) as r:
            with b.loop(i64(0), width, lanes) as j:
                b.store(const(0, kind), at(r.i, j.i))

        def add(row, rows, k, count):
            """Add `count` rows of B from k on to `rows` rows."""
            lines = [b.at_bytes(right, b.mul(b.add(k, i64(q)), kb)) for q in range(count)]
            first = b.at_bytes(b.at_bytes(a0, b.mul(row, ra)), b.mul(k, ka))
            factors = [[b.splat(b.load(element, b.at_bytes(b.at_bytes(first, b.mul(ra, i64(r))), b.mul(ka, i64(q)))), lanes) for q in range(count)] for r in range(rows)]

            def step(j, load):
                values = [load(b.gep(line, j, element)) for line in lines]
                for r in range(rows):
                    place = at(b.add(row, i64(r)), j)
                    total = b.load(kind, place)
                    for q in range(count):
                        total = b.op("fadd", b.op("fmul", factors[r][q], values[q]), total)
                    b.store(total, place)

            b.contract = True
            with b.loop(i64(0), whole, lanes) as j:
                step(j.i, lambda p: b.load(kind, p))
            with b.when(ragged):
                step(whole, lambda p: masked_load(b, kind, p, mask))
            b.contract = False

        for first, stop, count in ((i64(0), quads, STEP), (quads, kk, 1)):
            with b.loop(first, stop, count) as k:
                with b.loop(i64(0), pairs, 2) as r:
                    add(r.i, 2, k.i, count)
                with b.loop(pairs, mm) as r:
                    add(r.i, 1, k.i, count)

        def finish(row, j, load, store):
            c, d = b.at_bytes(c0, b.mul(row, rc)), b.at_bytes(d0, b.mul(row, rd))
            column = b.add(j0, j)
            b.store(b.op("fmul", b.load(kind, at(row, j)), alpha), slot)
            with b.when(b.op("xor", unused, V("true", "i1"))):
                one, many, both = b.label("one"), b.label("many"), b.label("both")
                b.contract = True
                b.cbr(splatted, one, many)
                for label in (one, many):
                    b.at(label)
                    other = b.splat(b.load(element, d), lanes) if label is one else load(b.gep(d, column, element))
                    b.store(b.op("fadd", b.op("fmul", other, beta), b.load(kind, slot)), slot)
                    b.br(both)
                b.contract = False
                b.at(both)
            store(b.load(kind, slot), b.gep(c, column, element))

        with b.loop(i64(0), mm) as r:
            with b.loop(i64(0), whole, lanes) as j:
                finish(r.i, j.i, lambda p: b.load(kind, p), b.store)
            with b.when(ragged):
                finish(r.i, whole, lambda p: masked_load(b, kind, p, mask), lambda v, p: masked_store(b, v, p, mask))
    b.ret()
    b.done()
