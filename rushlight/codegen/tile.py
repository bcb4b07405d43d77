"""The micro-kernel of every contraction: a tile of C in registers, one step of k after another.

    tile[r][c] = sum over k of A(r, k) * B[k][c],   then   C = epilogue(alpha * tile + beta * D)

Rows of A are broadcast one element at a time, B is read by vectors. A tile has `rows` x `vectors` accumulators, chosen
so that they, one row of B and a broadcast fill the registers. Every accumulator adds its products in the order of k, so
that an element of C does not depend on which tile, thread or variant computed it.
"""

from __future__ import annotations

from collections import namedtuple

from rushlight.codegen import native
from rushlight.codegen.llvm import SIZES, V, const, i64, vector


class Shape(namedtuple("Shape", "element lanes rows vectors")):
    """The size of a micro-kernel: `rows` x (`vectors` * `lanes`) elements of C."""

    __slots__ = ()

    @property
    def columns(self):
        return self.lanes * self.vectors

    @property
    def size(self):
        return SIZES[self.element]

    @property
    def variants(self):
        """The heights that there are code for: the whole one, and what is left in powers of two."""
        out, p = [self.rows], 1
        while p * 2 < self.rows:
            p *= 2
        while p:
            out.append(p)
            p //= 2
        return tuple(out)


def shape(element):
    """The tile of this machine."""
    lanes = native.vector_bytes() // SIZES[element]
    if native.vector_registers() == 16:
        return Shape(element, lanes, 6, 2)
    return Shape(element, lanes, 14, 2) if native.vector_bytes() == 64 else Shape(element, lanes, 6, 4)


def accumulate(b, s, rows, vectors, k, a, addresses, a_step, right, right_step, unroll=1):
    """The accumulators [row][vector] after k steps.

    `addresses(pointer)` gives the addresses of the rows' elements at one step; `a` moves on by `a_step` bytes a step,
    `right` by `right_step`.
    """
    kind = vector(s.element, s.lanes)
    zero = const(0, kind)
    b.contract = True

    def step(p, q, total):
        line = [b.load(kind, b.at_bytes(q, i64(j * s.lanes * s.size))) for j in range(vectors)]
        for r, address in enumerate(addresses(p)):
            x = b.splat(b.load(s.element, address), s.lanes)
            for j in range(vectors):
                total[r * vectors + j] = b.op("fadd", b.op("fmul", x, line[j]), total[r * vectors + j])
        return b.at_bytes(p, a_step), b.at_bytes(q, right_step)

    carried = [a, right, *[zero] * (rows * vectors)]
    start = i64(0)
    if unroll > 1:
        whole = b.op("and", k, i64(-unroll))
        with b.loop(start, whole, unroll, carried) as l:
            p, q, *total = l.carried
            for _ in range(unroll):
                p, q = step(p, q, total)
            l.next = [p, q, *total]
        carried, start = l.results, whole
    with b.loop(start, k, 1, carried) as l:
        p, q, *total = l.carried
        p, q = step(p, q, total)
        l.next = [p, q, *total]
    b.contract = False
    total = l.results[2:]
    return [total[r * vectors : (r + 1) * vectors] for r in range(rows)]


# ---- what becomes of a tile ---------------------------------------------------------------------

#: the slots of a block's context: strides in bytes, pointers of the block's matrices, the two factors
CONTEXT = ("ra", "ka", "c", "rc", "d", "rd", "cd", "alpha", "beta", "last")


class Context:
    """The context in memory, read and written by name."""

    def __init__(self, b, pointer):
        self.b, self.pointer = b, pointer

    def _at(self, name):
        return self.b.at_bytes(self.pointer, i64(8 * CONTEXT.index(name)))

    def get(self, name, type="i64"):
        return self.b.load(type, self._at(name), 8)

    def set(self, name, value):
        self.b.store(value, self._at(name), 8)


class Place:
    """Where a value of C stands, for an epilogue: its row, its first column, the kernel's arguments."""

    __slots__ = ("args", "column", "lanes", "mask", "row")

    def __init__(self, row, column, lanes, args, mask=None):
        self.row, self.column, self.lanes, self.args, self.mask = row, column, lanes, args, mask


def lane_mask(b, lanes, n):
    """<lanes x i1>: lane < n."""
    ramp = V("<" + ", ".join(f"i32 {j}" for j in range(lanes)) + ">", vector("i32", lanes))
    n32 = b.cast("trunc", n, "i32")
    return b.cmp("slt", ramp, b.splat(n32, lanes))


def masked_load(b, kind, pointer, mask):
    lanes = kind[1:].split(" x ")[0]
    name = f"llvm.masked.load.v{lanes}{'f32' if 'float' in kind else 'f64'}.p0"
    b.module.declare(name, kind, ["ptr", mask.type, kind])
    return b.emit(f"call {kind} @{name}(ptr align 4 {pointer.text}, {mask!r}, {kind} zeroinitializer)", kind)


def masked_store(b, value, pointer, mask):
    kind = value.type
    lanes = kind[1:].split(" x ")[0]
    name = f"llvm.masked.store.v{lanes}{'f32' if 'float' in kind else 'f64'}.p0"
    b.module.declare(name, "void", [kind, "ptr", mask.type])
    b.emit(f"call void @{name}({value!r}, ptr align 4 {pointer.text}, {mask!r})")


def emit_edge(module, s, epilogue=None):
    """void edge(tile, rows, n, row, column, context, args): C from a tile in memory, n columns of it."""
    b = module.function(
        "edge",
        [("t", "ptr noalias"), ("rows", "i64"), ("n", "i64"), ("row", "i64"), ("column", "i64"), ("context", "ptr"), ("args", "ptr")],
        internal=True,
        attributes="noinline nounwind",
    )
    t, rows, n, row, column, context, args = b.args
    x = Context(b, context)
    kind = vector(s.element, s.lanes)
    alpha = b.splat(x.get("alpha", s.element), s.lanes)
    beta = x.get("beta", s.element)
    d_unused = b.cmp("oeq", beta, const(0, s.element))
    beta = b.splat(beta, s.lanes)
    rc, rd, cd = x.get("rc"), x.get("rd"), x.get("cd")
    size = i64(s.size)
    c = b.at_bytes(x.get("c", "ptr"), b.add(b.mul(row, rc), b.mul(column, size)))
    d = b.at_bytes(x.get("d", "ptr"), b.add(b.mul(row, rd), b.mul(column, cd)))
    splatted = b.cmp("eq", cd, i64(0))
    last = b.cmp("ne", x.get("last"), i64(0)) if epilogue else None
    slot, other = b.alloca(kind), b.alloca(kind)
    with b.loop(i64(0), rows, 1, [t, c, d]) as l:
        tp, cp, dp = l.carried
        for j in range(s.vectors):
            left = b.sub(n, i64(j * s.lanes)) if j else n
            with b.when(b.cmp("sgt", left, i64(0))):
                mask = lane_mask(b, s.lanes, left)
                at = i64(j * s.lanes * s.size)
                value = b.op("fmul", b.load(kind, b.at_bytes(tp, at)), alpha)
                b.store(value, slot)
                with b.when(b.op("xor", d_unused, V("true", "i1"))):
                    vectors, splats, both = b.label("v"), b.label("s"), b.label("j")
                    b.cbr(splatted, splats, vectors)
                    b.at(vectors)
                    b.store(masked_load(b, kind, b.at_bytes(dp, at), mask), other)
                    b.br(both)
                    b.at(splats)
                    b.store(b.splat(b.load(s.element, dp), s.lanes), other)
                    b.br(both)
                    b.at(both)
                    b.contract = True
                    b.store(b.op("fadd", b.op("fmul", beta, b.load(kind, other)), b.load(kind, slot)), slot)
                    b.contract = False
                if epilogue:
                    with b.when(last):
                        place = Place(b.add(row, l.i), b.add(column, i64(j * s.lanes)), s.lanes, args, mask)
                        b.store(epilogue(b, b.load(kind, slot), place), slot)
                masked_store(b, b.load(kind, slot), b.at_bytes(cp, at), mask)
        l.next = [b.at_bytes(tp, i64(s.columns * s.size)), b.at_bytes(cp, rc), b.at_bytes(dp, rd)]
    b.ret()
    b.done()


def write_tile(b, s, total, n, row, column, x, args, epilogue=None):
    """C from the accumulators: whole rows of vectors at once, anything else by `edge`."""
    rows, size = len(total), i64(s.size)
    kind = vector(s.element, s.lanes)
    rc, rd, cd = x.get("rc"), x.get("rd"), x.get("cd")
    beta, alpha = x.get("beta", s.element), x.get("alpha", s.element)
    done, partial, whole, scaled = b.label("done"), b.label("partial"), b.label("whole"), b.label("scaled")
    b.cbr(b.cmp("eq", n, i64(s.columns)), whole, partial)

    b.at(partial)
    t = b.alloca(kind, rows * s.vectors)
    for r in range(rows):
        for j in range(s.vectors):
            b.store(total[r][j], b.at_bytes(t, i64((r * s.vectors + j) * s.lanes * s.size)))
    b.call("edge", "void", t, i64(rows), n, row, column, x.pointer, args, declare=False)
    b.br(done)

    b.at(whole)
    factor = b.splat(alpha, s.lanes)
    c = b.at_bytes(x.get("c", "ptr"), b.add(b.mul(row, rc), b.mul(column, size)))

    def put(read, finish):
        """Store every vector, `read(r, j)` giving what is added to it."""
        for r in range(rows):
            at = b.at_bytes(c, b.mul(rc, i64(r)))
            for j in range(s.vectors):
                value = b.op("fmul", total[r][j], factor)
                if read is not None:
                    b.contract = True
                    value = b.op("fadd", b.op("fmul", scale, read(r, j)), value)
                    b.contract = False
                if finish:
                    place = Place(b.add(row, i64(r)), b.add(column, i64(j * s.lanes)), s.lanes, args)
                    value = epilogue(b, value, place)
                b.store(value, b.at_bytes(at, i64(j * s.lanes * s.size)))
        b.br(done)

    def put_all(read):
        if epilogue is None:
            return put(read, False)
        final, between = b.label("final"), b.label("between")
        b.cbr(b.cmp("ne", x.get("last"), i64(0)), final, between)
        b.at(final)
        put(read, True)
        b.at(between)
        put(read, False)

    plain = b.label("plain")
    b.cbr(b.cmp("oeq", beta, const(0, s.element)), plain, scaled)
    b.at(plain)
    put_all(None)

    b.at(scaled)
    scale = b.splat(beta, s.lanes)
    d = b.at_bytes(x.get("d", "ptr"), b.add(b.mul(row, rd), b.mul(column, cd)))
    splats, vectors = b.label("splats"), b.label("vectors")
    b.cbr(b.cmp("eq", cd, i64(0)), splats, vectors)
    b.at(vectors)
    put_all(lambda r, j: b.load(kind, b.at_bytes(b.at_bytes(d, b.mul(rd, i64(r))), i64(j * s.lanes * s.size))))
    b.at(splats)
    put_all(lambda r, j: b.splat(b.load(s.element, b.at_bytes(d, b.mul(rd, i64(r)))), s.lanes))
    b.at(done)


def emit_tile(module, s, rows, epilogue=None, unroll=1):
    """void tile<rows>(k, a, right, kb, row, column, n, context, args): one tile of C, n columns of it.

    The strides of A stand in the context, so that packed and plain operands are read by the same code.
    """
    b = module.function(
        f"tile{rows}",
        [("k", "i64"), ("a", "ptr noalias"), ("right", "ptr noalias"), ("kb", "i64"), ("row", "i64"), ("column", "i64"), ("n", "i64"), ("context", "ptr"), ("args", "ptr")],
        internal=True,
        attributes="noinline nounwind",
    )
    k, a, right, kb, row, column, n, context, args = b.args
    x = Context(b, context)
    ra, ka = x.get("ra"), x.get("ka")
    c, rc = x.get("c", "ptr"), x.get("rc")
    c = b.at_bytes(c, b.add(b.mul(row, rc), b.mul(column, i64(s.size))))
    for r in range(rows):
        b.prefetch(b.at_bytes(c, b.mul(rc, i64(r))), 1)
    steps = [i64(0), ra]
    for r in range(2, rows):
        steps.append(b.mul(ra, i64(r)))
    total = accumulate(b, s, rows, s.vectors, k, a, lambda p: [b.at_bytes(p, steps[r]) for r in range(rows)], ka, right, kb, unroll)
    write_tile(b, s, total, n, row, column, x, args, epilogue)
    b.ret()
    b.done()
