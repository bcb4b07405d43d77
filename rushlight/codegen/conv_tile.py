"""The kernels of convolution: contractions whose left operand is found through tables.

    acc[r][j] (+)= sum over k of X[row[r] + step[k]] * B[k][j]

X is a small part of the images, copied with its padding into working memory; B is packed in panels. One micro-kernel
serves all three directions:

    forward          rows: places of the result      k: (channel, tap)     B: weights
    input gradient   rows: places of the input       k: (channel, tap)     B: weights     (X: the incoming gradient)
    weight gradient  rows: (channel, tap)            k: places             B: the incoming gradient

A tile is `rows` x (1 .. `vectors`) vectors; the accumulators go to working memory in the layout [panel][row][lane] and
are added to by the next block of k. Tables are padded, so a micro-kernel has no edges.
"""

from __future__ import annotations

from rushlight.codegen import native
from rushlight.codegen.llvm import SIZES, V, const, i64, vector
from rushlight.codegen.panels import transpose
from rushlight.codegen.tile import Shape, accumulate, lane_mask, masked_load, masked_store


def shape(element):
    """The tile: 6 rows, for each of which a general register holds an address."""
    lanes = native.vector_bytes() // SIZES[element]
    return Shape(element, lanes, 6, 2 if native.vector_registers() == 16 else 4)


def three(numbers, fill):
    """A tuple of 1 to 3 numbers, one a spatial dimension, as three."""
    return (fill,) * (3 - len(numbers)) + tuple(numbers)


def strides3(x):
    """Strides (n, c, d, h, w) of (N, C, *size) in bytes."""
    return (*x.strides[:2], *three(x.strides[2:], 0))


def even(n, most):
    """(block, count): n in equal blocks of at most `most`."""
    count = -(-n // max(1, most))
    block = -(-n // count)
    return block, -(-n // block)


class Fields:
    """A kernel's arguments, 8 bytes each, loaded by name where first asked for: names in `pointers` are addresses."""

    def __init__(self, builder, base, names, pointers):
        self._builder, self._base, self._names, self._pointers, self._known = builder, base, names, pointers, {}

    def __getattr__(self, name):
        if name not in self._known:
            b = self._builder
            kind = "ptr" if name in self._pointers else "i64"
            self._known[name] = b.load(kind, b.at_bytes(self._base, i64(8 * self._names.index(name))), 8)
        return self._known[name]

    def load_all(self):
        """Load every argument here."""
        for name in self._names:
            getattr(self, name)
        return self


def emit_spread(m, s, vectors, unroll=2):
    """void spread<vectors>(k, x, rows, steps, right, acc, more): one tile; `more`: add to what is there."""
    b = m.function(
        f"spread{vectors}",
        [("k", "i64"), ("x", "ptr noalias"), ("rows", "ptr noalias"), ("steps", "ptr noalias"), ("right", "ptr noalias"), ("acc", "ptr noalias"), ("more", "i64")],
        internal=True,
        attributes="noinline nounwind",
    )
    k, x, rows, steps, right, acc, more = b.args
    kind = vector(s.element, s.lanes)
    bases = [b.at_bytes(x, b.load("i64", b.at_bytes(rows, i64(8 * r)))) for r in range(s.rows)]

    def addresses(p):
        step = b.load("i64", p)
        return [b.at_bytes(base, step) for base in bases]

    total = accumulate(b, s, s.rows, vectors, k, steps, addresses, i64(8), right, i64(vectors * s.lanes * s.size), unroll)
    adding, done = b.label("adding"), b.label("done")
    fresh = b.label("fresh")
    b.cbr(b.cmp("ne", more, i64(0)), adding, fresh)
    for label in (adding, fresh):
        b.at(label)
        for r in range(s.rows):
            for j in range(vectors):
                at = b.at_bytes(acc, i64((r * vectors + j) * s.lanes * s.size))
                value = total[r][j]
                b.store(value if label is fresh else b.op("fadd", value, b.load(kind, at)), at)
        b.br(done)
    b.at(done)
    b.ret()
    b.done()


def emit_copy_row(m, s):
    """void copy_row(dst, src, step, low, high, n): dst[i] = src[i * step bytes] for low <= i < high, else 0, i < n.

    src is the address of element 0, which may lie outside the array where low > 0. Whole vectors are written: up to a
    vector past dst[n] becomes 0, so rows are copied in the order of memory and room is left behind the last.
    """
    b = m.function(
        "copy_row",
        [("dst", "ptr noalias"), ("src", "ptr noalias"), ("step", "i64"), ("low", "i64"), ("high", "i64"), ("n", "i64")],
        internal=True,
        attributes="noinline nounwind",
    )
    dst, src, step, low, high, n = b.args
    lanes, kind = s.lanes, vector(s.element, s.lanes)
    ramp = V("<" + ", ".join(f"i32 {j}" for j in range(lanes)) + ">", vector("i32", lanes))
    low32, high32 = (b.splat(b.cast("trunc", v, "i32"), lanes) for v in (low, high))

    def inside(i):
        """Which of the elements i .. i + lanes are to be read."""
        at = b.op("add", b.splat(b.cast("trunc", i, "i32"), lanes), ramp)
        return b.op("and", b.cmp("sge", at, low32), b.cmp("slt", at, high32))

    runs, test, pairs, single, done = (b.label(w) for w in ("runs", "test", "pairs", "single", "done"))
    b.cbr(b.cmp("eq", step, i64(s.size)), runs, test)
    b.at(test)
    b.cbr(b.cmp("eq", step, i64(2 * s.size)), pairs, single)

    b.at(runs)
    with b.loop(i64(0), n, lanes) as l:
        b.store(masked_load(b, kind, b.gep(src, l.i, s.element), inside(l.i)), b.gep(dst, l.i, s.element))
    b.br(done)

    b.at(pairs)  # every other element: the even lanes of two vectors
    even_lanes = V("<" + ", ".join("i1 true" if j % 2 == 0 else "i1 false" for j in range(lanes)) + ">", vector("i1", lanes))
    with b.loop(i64(0), n, lanes) as l:
        mask = inside(l.i)
        halves = []
        for half in (0, 1):
            twice = [half * (lanes // 2) + j // 2 for j in range(lanes)]
            part = b.op("and", b.shuffle(mask, None, twice), even_lanes)
            at = b.gep(src, b.add(b.mul(l.i, i64(2)), i64(half * lanes)), s.element)
            halves.append(masked_load(b, kind, at, part))
        b.store(b.shuffle(*halves, range(0, 2 * lanes, 2)), b.gep(dst, l.i, s.element))
    b.br(done)

    b.at(single)
    zero = const(0, s.element)
    with b.loop(i64(0), low) as l:
        b.store(zero, b.gep(dst, l.i, s.element))
    with b.loop(low, high) as l:
        b.store(b.load(s.element, b.at_bytes(src, b.mul(l.i, step))), b.gep(dst, l.i, s.element))
    with b.loop(high, n) as l:
        b.store(zero, b.gep(dst, l.i, s.element))
    b.br(done)
    b.at(done)
    b.ret()
    b.done()


def ramp(lanes):
    """0, 1, 2, ... in i32."""
    return V("<" + ", ".join(f"i32 {j}" for j in range(lanes)) + ">", vector("i32", lanes))


def between(b, lanes, first, low, high):
    """<lanes x i1>: low <= first + lane < high, of i64 values."""
    at = b.op("add", b.splat(b.cast("trunc", first, "i32"), lanes), ramp(lanes))
    low, high = (b.splat(b.cast("trunc", v, "i32"), lanes) for v in (low, high))
    return b.op("and", b.cmp("sge", at, low), b.cmp("slt", at, high))


def phases(b, lanes, halves):
    """Even and odd elements of two vectors that follow each other."""
    return [b.shuffle(*halves, range(phase, 2 * lanes, 2)) for phase in (0, 1)]


def emit_copy_pair(m, s):
    """void copy_pair(even, odd, src, low, high, n): both phases of a contiguous row, n places each.

    even[i] = src[2 i], odd[i] = src[2 i + 1], where low <= index < high, else 0; whole vectors are written, as by `copy_row`.
    """
    b = m.function(
        "copy_pair",
        [("even", "ptr noalias"), ("odd", "ptr noalias"), ("src", "ptr noalias"), ("low", "i64"), ("high", "i64"), ("n", "i64")],
        internal=True,
        attributes="noinline nounwind",
    )
    even_at, odd_at, src, low, high, n = b.args
    lanes, kind = s.lanes, vector(s.element, s.lanes)
    with b.loop(i64(0), n, lanes) as l:
        first = b.mul(l.i, i64(2))
        at = b.gep(src, first, s.element)
        places = [(b.add(first, i64(half * lanes)), b.at_bytes(at, i64(half * lanes * s.size))) for half in (0, 1)]
        whole, partial, done = b.label("whole"), b.label("partial"), b.label("done")
        b.cbr(b.op("and", b.cmp("sge", first, low), b.cmp("sle", b.add(first, i64(2 * lanes)), high)), whole, partial)
        for label in (whole, partial):
            b.at(label)
            halves = [b.load(kind, p) if label is whole else masked_load(b, kind, p, between(b, lanes, i, low, high)) for i, p in places]
            for to, value in zip((even_at, odd_at), phases(b, lanes, halves)):
                b.store(value, b.gep(to, l.i, s.element))
            b.br(done)
        b.at(done)
    b.ret()
    b.done()


def emit_copy_line(m, s):
    """void copy_line(dst, src, n): n elements, and nothing written past them."""
    b = m.function("copy_line", [("dst", "ptr noalias"), ("src", "ptr noalias"), ("n", "i64")], internal=True, attributes="noinline nounwind")
    dst, src, n = b.args
    lanes, kind = s.lanes, vector(s.element, s.lanes)
    whole = b.op("and", n, i64(-lanes))
    with b.loop(i64(0), whole, lanes) as l:
        b.store(b.load(kind, b.gep(src, l.i, s.element)), b.gep(dst, l.i, s.element))
    ragged, last, pieces, done = b.label("ragged"), b.label("last"), b.label("pieces"), b.label("done")
    b.cbr(b.cmp("eq", whole, n), done, ragged)
    b.at(ragged)
    b.cbr(b.cmp("sgt", whole, i64(0)), last, pieces)
    b.at(last)  # a whole vector again, ending with the line
    end = b.sub(n, i64(lanes))
    b.store(b.load(kind, b.gep(src, end, s.element)), b.gep(dst, end, s.element))
    b.br(done)
    b.at(pieces)
    piece = lanes // 2
    while piece:
        at = b.op("and", n, i64(-2 * piece))
        with b.when(b.cmp("ne", b.op("and", n, i64(piece)), i64(0))):
            part = vector(s.element, piece if piece > 1 else 0)
            b.store(b.load(part, b.gep(src, at, s.element)), b.gep(dst, at, s.element))
        piece //= 2
    b.br(done)
    b.at(done)
    b.ret()
    b.done()


def clamp(b, x, low, high):
    return b.intrinsic("smin", b.intrinsic("smax", x, low), high)


def copy_in(b, s, x, source, dst, first_image, images, channels, begin):
    """The part of the images from `begin` (3 coordinates, possibly outside) on, padded: dst[channel][image][d][h][w].

    `x` gives strides xn, xc, xd, xh, xw, sizes size_d, size_h, size_w, the extents of the part part_d, part_h, part_w,
    and tile_n, the images that dst has room for.
    """
    begin_d, begin_h, begin_w = begin
    low = clamp(b, b.op("sub", i64(0), begin_w), i64(0), x.part_w)
    high = b.intrinsic("smax", clamp(b, b.op("sub", x.size_w, begin_w), i64(0), x.part_w), low)
    row_bytes = b.mul(x.part_w, i64(s.size))
    plane_bytes = b.mul(row_bytes, b.mul(x.part_d, x.part_h))
    with b.loop(i64(0), channels) as c:
        with b.loop(i64(0), images) as n:
            plane = b.at_bytes(source, b.add(b.mul(b.add(first_image, n.i), x.xn), b.mul(c.i, x.xc)))
            start = b.at_bytes(dst, b.mul(plane_bytes, b.add(b.mul(c.i, x.tile_n), n.i)))
            with b.loop(i64(0), x.part_d, 1, [start]) as d:
                at_d = b.add(begin_d, d.i)
                inside_d = b.cmp("ult", at_d, x.size_d)
                with b.loop(i64(0), x.part_h, 1, d.carried) as h:
                    to = h.carried[0]
                    at_h = b.add(begin_h, h.i)
                    inside = b.op("and", inside_d, b.cmp("ult", at_h, x.size_h))
                    place = b.add(b.add(b.mul(at_d, x.xd), b.mul(at_h, x.xh)), b.mul(begin_w, x.xw))
                    lo, hi = b.select(inside, low, i64(0)), b.select(inside, high, i64(0))
                    b.call("copy_row", "void", to, b.at_bytes(plane, place), x.xw, lo, hi, x.part_w, declare=False)
                    h.next = [b.at_bytes(to, row_bytes)]
                d.next = h.results


def emit_copy_out(m, s, vectors):
    """void copy_out<vectors>(acc, out, oc, ow, columns, n, bias): a row of n places, `columns` channels.

    acc is [place][vectors * lanes]; `oc`, `ow` are the strides of channels and places of out in bytes; bias may be null.
    """
    b = m.function(
        f"copy_out{vectors}",
        [("acc", "ptr noalias"), ("out", "ptr noalias"), ("oc", "i64"), ("ow", "i64"), ("columns", "i64"), ("n", "i64"), ("bias", "ptr")],
        internal=True,
        attributes="noinline nounwind",
    )
    acc, out, oc, ow, columns, n, bias = b.args
    lanes, size, kind = s.lanes, s.size, vector(s.element, s.lanes)
    wide = vectors * lanes
    held = b.alloca(kind, vectors)  # the bias, 0 where there is none
    for j in range(vectors):
        b.store(const(0, kind), b.at_bytes(held, i64(j * lanes * size)))
    with b.when(b.cmp("ne", bias, V("null", "ptr"))):
        with b.loop(i64(0), columns) as l:
            b.store(b.load(s.element, b.gep(bias, l.i, s.element)), b.gep(held, l.i, s.element))
    turned, across, straight, next_test, single, done = (b.label(w) for w in ("turned", "across", "straight", "test", "single", "done"))
    b.cbr(b.op("and", b.cmp("eq", ow, i64(size)), b.cmp("sge", n, i64(lanes // 2))), turned, next_test)
    b.at(next_test)
    b.cbr(b.cmp("eq", oc, i64(size)), straight, single)

    b.at(turned)  # squares of lanes x lanes: channels become rows
    whole = b.op("and", n, i64(-lanes))

    def square(j, p, store):
        block = [b.load(kind, b.at_bytes(b.at_bytes(acc, b.mul(b.add(p, i64(i)), i64(wide * size))), i64(j * lanes * size))) for i in range(lanes)]
        lines = transpose(b, block)
        first = j * lanes
        to = b.at_bytes(b.at_bytes(out, b.mul(oc, i64(first))), b.mul(p, i64(size)))

        def put(c):
            number = b.splat(b.load(s.element, b.at_bytes(held, i64((first + c) * size))), lanes)
            store(b.op("fadd", lines[c], number), b.at_bytes(to, b.mul(oc, i64(c))))

        full, ragged, end = b.label("full"), b.label("ragged"), b.label("end")
        b.cbr(b.cmp("sge", columns, i64(first + lanes)), full, ragged)
        b.at(full)
        for c in range(lanes):
            put(c)
        b.br(end)
        b.at(ragged)
        for c in range(lanes):
            here, after = b.label("here"), b.label("after")
            b.cbr(b.cmp("sgt", columns, i64(first + c)), here, end)
            b.at(here)
            put(c)
            b.br(after)
            b.at(after)
        b.br(end)
        b.at(end)

    for j in range(vectors):
        with b.loop(i64(0), whole, lanes) as l:
            square(j, l.i, b.store)
    b.cbr(b.cmp("ne", whole, n), across, done)
    b.at(across)
    few, again = b.label("few"), b.label("again")
    b.cbr(b.cmp("eq", whole, i64(0)), few, again)
    b.at(again)  # the last squares once more, ending with the row
    for j in range(vectors):
        square(j, b.sub(n, i64(lanes)), b.store)
    b.br(done)
    b.at(few)
    mask = lane_mask(b, lanes, n)
    for j in range(vectors):
        square(j, whole, lambda v, p: masked_store(b, v, p, mask))
    b.br(done)

    b.at(straight)
    with b.loop(i64(0), n, 1, [acc, out]) as l:
        p, q = l.carried
        for j in range(vectors):
            left = b.sub(columns, i64(j * lanes)) if j else columns
            with b.when(b.cmp("sgt", left, i64(0))):
                at = i64(j * lanes * size)
                value = b.op("fadd", b.load(kind, b.at_bytes(p, at)), b.load(kind, b.at_bytes(held, at)))
                masked_store(b, value, b.at_bytes(q, at), lane_mask(b, lanes, left))
        l.next = [b.at_bytes(p, i64(wide * size)), b.at_bytes(q, ow)]
    b.br(done)

    b.at(single)
    with b.loop(i64(0), columns) as c:
        number = b.load(s.element, b.gep(held, c.i, s.element))
        with b.loop(i64(0), n, 1, [b.gep(acc, c.i, s.element), b.at_bytes(out, b.mul(c.i, oc))]) as l:
            p, q = l.carried
            b.store(b.op("fadd", b.load(s.element, p), number), q)
            l.next = [b.at_bytes(p, i64(wide * size)), b.at_bytes(q, ow)]
    b.br(done)
    b.at(done)
    b.ret()
    b.done()
