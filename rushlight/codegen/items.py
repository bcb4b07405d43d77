"""What sorting kernels are made of (codegen/radix.py): keys, items, and the functions that move, count and compare items.

An item is the upper 32 bits of an element's key above its place in the row. `in_order` brings the items of a row in order;
the `emit_...` functions write what it and the kernels call into a module. A `cell` is a variable of such a function: memory
that LLVM makes a register of.
"""

from __future__ import annotations

from rushlight.codegen.casts import STORED, bitcast
from rushlight.codegen.llvm import NULL, V, const, i32, i64, like, vector
from rushlight.codegen.loops import SIZE

LANES = 8
FEW = 32  # items that are sorted by insertion alone
SHORT = 24  # items of a run that insertion puts in order
WORK = 24  # bytes of working memory for an element of a row with wide keys; two thirds without
TABLE = 1 << 14  # and beside them: 8 tables of 256 counts, 2048 of a selection
DIGITS = 256


def wide(dtype):
    """Whether keys have 64 bits."""
    return SIZE[dtype] == 8


# ---- verbs


def begin_kernel(m, name, slots):
    """A kernel's builder and its slots as a dict: names that end in "*" are addresses."""
    b = m.function(name, [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    values = {}
    for k, slot in enumerate(slots.split()):
        values[slot.rstrip("*")] = b.load("ptr" if slot[-1] == "*" else "i64", b.at_bytes(b.args[0], i64(8 * k)))
    return b, values


def cell(b, value):
    """A variable: memory that LLVM makes a register of."""
    at = b.alloca(value.type, 1, 8)
    b.store(value, at)
    return at


def smaller(b, x, y):
    return b.select(b.cmp("slt", x, y), x, y)


def piece_bounds(b, s, i):
    """(first, stop) of piece i of a row."""
    first = b.mul(i, s["piece"])
    return first, smaller(b, b.add(first, s["piece"]), s["n"])


def bump(b, pointer, type, by=1):
    """*pointer += by; what it was before."""
    old = b.load(type, pointer)
    b.store(b.op("add", old, const(by, type)), pointer)
    return old


def item_at(b, base, i):
    return b.load("i64", b.gep(base, i, "i64"))


def place_of(b, item):
    """The place in its row of the element an item stands for."""
    return b.op("and", item, const(0xFFFFFFFF, item.type))


# ---- keys


def key_of(b, dtype, x, flip):
    """The unsigned key of loaded elements x (scalar or lanes); flip has the key's type without lanes."""
    bits = "i64" if wide(dtype) else "i32"
    size = 64 if wide(dtype) else 32
    t = like(x.type, bits)
    flip = b.splat(flip, int(t[1:].split()[0])) if t[0] == "<" else flip
    if dtype in ("f16", "bf16", "f32", "f64"):
        if dtype == "f16":
            x = b.cast("fpext", x, "float")
        elif dtype == "bf16":
            up = b.op("shl", b.cast("zext", x, "i32"), const(16, t))
            x = bitcast(b, up, "float")
        nan = b.cmp("uno", x, x)
        x = b.op("fadd", x, const(0.0, x.type))  # -0 becomes 0
        raw = bitcast(b, x, bits)
        sign = b.op("or", b.op("ashr", raw, const(size - 1, t)), const(-(1 << (size - 1)), t))
        key = b.select(nan, const(-1, t), b.op("xor", raw, sign))
    else:
        signed = dtype[0] == "i"
        key = b.cast("sext" if signed else "zext", x, bits)
        if signed:
            key = b.op("xor", key, const(-(1 << (size - 1)), t))
    return b.op("xor", key, flip)


def flip_of(b, dtype, s):
    return s["flip"] if wide(dtype) else b.cast("trunc", s["flip"], "i32")


def iota(lanes):
    return V("<" + ", ".join(f"i64 {k}" for k in range(lanes)) + ">", vector("i64", lanes))


def make_items(b, dtype, x, items, whole, first, stop, flip):
    """items[i] and, for wide keys, whole[i] of the elements first..stop of x."""
    element = STORED[dtype]
    last = b.sub(stop, b.emit(f"srem i64 {b.sub(stop, first).text}, {LANES}", "i64"))
    for start, end, lanes in ((first, last, LANES), (last, stop, 0)):
        with b.loop(start, end, lanes or 1) as l:
            value = b.load(vector(element, lanes), b.gep(x, l.i, element))
            key = key_of(b, dtype, value, flip)
            t = vector("i64", lanes)
            if wide(dtype):
                b.store(key, b.gep(whole, l.i, "i64"))
                high = b.op("and", key, const(-(1 << 32), t))
            else:
                high = b.op("shl", b.cast("zext", key, "i64"), const(32, t))
            at = b.op("add", b.splat(l.i, lanes), iota(lanes)) if lanes else l.i
            b.store(b.op("or", high, at), b.gep(items, l.i, "i64"))


# ---- what the kernels call


def emit_move_items(m):
    """dst[starts[digit]++] = item from the front, dst[--ends[digit]] = item from the back: two chains that do not wait for each other."""
    b = m.function("move_items", [("src", "ptr noalias"), ("dst", "ptr noalias"), ("begin", "i64"), ("end", "i64"), ("starts", "ptr noalias"), ("ends", "ptr noalias"), ("shift", "i64")], internal=True, attributes="nounwind")
    src, dst, begin, end, starts, ends, shift = b.args

    def digit_of(item):
        return b.op("and", b.op("lshr", item, shift), i64(DIGITS - 1))

    def front(i):
        item = item_at(b, src, i)
        to = bump(b, b.gep(starts, digit_of(item), "i32"), "i32")
        b.store(item, b.gep(dst, b.cast("zext", to, "i64"), "i64"))

    def back(i):
        item = item_at(b, src, i)
        place = b.gep(ends, digit_of(item), "i32")
        to = b.op("sub", b.load("i32", place), i32(1))
        b.store(to, place)
        b.store(item, b.gep(dst, b.cast("zext", to, "i64"), "i64"))

    half = b.op("lshr", b.sub(end, begin), i64(1))
    last = b.sub(end, i64(1))
    with b.loop(i64(0), b.op("and", half, i64(-2)), 2) as l:
        for k in range(2):
            at = b.add(l.i, i64(k))
            front(b.add(begin, at))
            back(b.sub(last, at))
    with b.loop(b.add(begin, b.op("and", half, i64(-2))), b.sub(end, b.op("and", half, i64(-2)))) as l:
        front(l.i)
    b.ret()
    b.done()


def emit_stream_items(m):
    """The same for more items than the caches hold: a line of each digit is collected, then written past the caches.

    `lines` is memory for 256 of them; `starts` is kept, so that the first line of a digit is written from there on only."""
    b = m.function("stream_items", [("src", "ptr noalias"), ("dst", "ptr noalias"), ("begin", "i64"), ("end", "i64"), ("starts", "ptr noalias"), ("next", "ptr noalias"), ("lines", "ptr noalias"), ("shift", "i64")], internal=True, attributes="nounwind")
    src, dst, begin, end, starts, following, lines, shift = b.args
    line = vector("i64", 8)
    b.call("llvm.memcpy.p0.p0.i64", "void", following, starts, i64(4 * DIGITS), V("false", "i1"))
    skew = b.op("and", b.op("lshr", b.emit(f"ptrtoint ptr {dst.text} to i64", "i64"), i64(3)), i64(7))  # of dst in its line
    with b.loop(begin, end) as l:
        item = item_at(b, src, l.i)
        digit = b.op("and", b.op("lshr", item, shift), i64(DIGITS - 1))
        to = b.cast("zext", bump(b, b.gep(following, digit, "i32"), "i32"), "i64")
        slot = b.op("and", b.add(to, skew), i64(7))
        held = b.gep(lines, b.op("shl", digit, i64(3)), "i64")
        b.store(item, b.gep(held, slot, "i64"))
        with b.when(b.cmp("eq", slot, i64(7))):
            first = b.sub(to, i64(7))
            whole = b.cmp("sge", first, b.cast("zext", b.load("i32", b.gep(starts, digit, "i32")), "i64"))
            with b.when(whole):
                b.store(b.load(line, held, 64), b.gep(dst, first, "i64"), 64, nontemporal=True)
            with b.when(b.op("xor", whole, V("true", "i1"))):
                with b.loop(b.cast("zext", b.load("i32", b.gep(starts, digit, "i32")), "i64"), b.add(to, i64(1))) as k:
                    b.store(item_at(b, held, b.op("and", b.add(k.i, skew), i64(7))), b.gep(dst, k.i, "i64"))
    with b.loop(i64(0), i64(DIGITS)) as l:
        stop = b.cast("zext", b.load("i32", b.gep(following, l.i, "i32")), "i64")
        line_of = b.sub(b.op("and", b.add(stop, skew), i64(-8)), skew)
        first = b.intrinsic("smax", b.cast("zext", b.load("i32", b.gep(starts, l.i, "i32")), "i64"), line_of)
        held = b.gep(lines, b.op("shl", l.i, i64(3)), "i64")
        with b.loop(first, stop) as k:
            b.store(item_at(b, held, b.op("and", b.add(k.i, skew), i64(7))), b.gep(dst, k.i, "i64"))
    b.emit("fence seq_cst")  # what went past the caches is there before another thread reads it
    b.ret()
    b.done()


def emit_count_items(m):
    """table[4][256]: how often each digit of the upper 32 bits occurs. The uppermost, which repeats most, in two tables (the fifth is added)."""
    b = m.function("count_items", [("src", "ptr noalias"), ("begin", "i64"), ("end", "i64"), ("table", "ptr noalias")], internal=True, attributes="nounwind")
    src, begin, end, table = b.args
    b.call("llvm.memset.p0.i64", "void", table, V("0", "i8"), i64(4 * 6 * DIGITS), V("false", "i1"))

    def one(i, odd):
        item = item_at(b, src, i)
        for d in range(4):
            digit = b.op("lshr", item, i64(32 + 8 * d))
            digit = b.op("and", digit, i64(DIGITS - 1)) if d < 3 else digit
            bump(b, b.gep(table, b.add(digit, i64(DIGITS * (d + 2 if odd and d > 1 else d))), "i32"), "i32")

    last = b.sub(end, b.op("and", b.sub(end, begin), i64(1)))
    with b.loop(begin, last, 2) as l:
        one(l.i, False)
        one(b.add(l.i, i64(1)), True)
    with b.loop(last, end) as l:
        one(l.i, False)
    t = vector("i32", LANES)
    with b.loop(i64(2 * DIGITS), i64(4 * DIGITS), LANES) as l:
        p = b.gep(table, l.i, "i32")
        b.store(b.op("add", b.load(t, p), b.load(t, b.at_bytes(p, i64(4 * 2 * DIGITS)))), p)
    b.ret()
    b.done()


def emit_radix(m):
    """The items of a in order of their upper 32 bits: they are where the result says, in a or in b."""
    b = m.function("radix", [("a", "ptr"), ("b", "ptr"), ("n", "i64"), ("table", "ptr")], ret="ptr", internal=True, attributes="nounwind")
    first, second, n, table = b.args
    src, dst = cell(b, first), cell(b, second)
    b.call("count_items", "void", first, i64(0), n, table, declare=False)
    ends = b.at_bytes(table, i64(4 * 6 * DIGITS))
    with b.loop(i64(0), i64(4)) as d:
        counts = b.gep(table, b.mul(d.i, i64(DIGITS)), "i32")
        shift = b.add(b.mul(d.i, i64(8)), i64(32))
        here = b.load("ptr", src)
        digit = b.op("and", b.op("lshr", b.load("i64", here), shift), i64(DIGITS - 1))
        same = b.cast("zext", b.load("i32", b.gep(counts, digit, "i32")), "i64")
        with b.when(b.cmp("ne", same, n)):
            emit_starts(b, counts, ends)
            there = b.load("ptr", dst)
            b.call("move_items", "void", here, there, i64(0), n, counts, ends, shift, declare=False)
            b.store(there, src)
            b.store(here, dst)
    b.ret(b.load("ptr", src))
    b.done()


def emit_starts(b, counts, ends):
    """Counts of digits become the places where they start, and `ends` where they end: running sums, eight at a time."""
    t = vector("i32", 8)
    with b.loop(i64(0), i64(DIGITS), 8, [const(0, t)]) as j:
        at = b.gep(counts, j.i, "i32")
        count = b.load(t, at)
        total = count
        for step in (1, 2, 4):
            total = b.op("add", total, b.shuffle(total, const(0, t), [k - step if k >= step else 8 for k in range(8)]))
        total = b.op("add", total, j.carried[0])
        b.store(total, b.gep(ends, j.i, "i32"))
        b.store(b.op("sub", total, count), at)
        j.next = [b.shuffle(total, None, [7] * 8)]


def emit_insert(m):
    """Items begin..end in order, of whole items or, where there are keys of 64 bits, of those and then places."""
    b = m.function("insert", [("s", "ptr"), ("keys", "ptr"), ("begin", "i64"), ("end", "i64")], internal=True, attributes="nounwind")
    s, keys, begin, end = b.args

    def value(item):
        at = b.alloca("i64", 1, 8)
        b.store(item, at)
        with b.when(b.cmp("ne", keys, NULL)):
            b.store(item_at(b, keys, place_of(b, item)), at)
        return b.load("i64", at)

    hole = b.alloca("i64", 1, 8)
    going = b.alloca("i1", 1, 8)
    with b.loop(b.add(begin, i64(1)), end) as l:
        item = item_at(b, s, l.i)
        key = value(item)
        b.store(l.i, hole)
        b.store(b.cmp("sgt", l.i, begin), going)
        with b.whilst(lambda: b.load("i1", going)):
            at = b.load("i64", hole)
            before = b.sub(at, i64(1))
            other = item_at(b, s, before)
            greater = b.cmp("ugt", value(other), key)
            with b.when(greater):
                b.store(other, b.gep(s, at, "i64"))
                b.store(before, hole)
            b.store(b.op("and", greater, b.cmp("sgt", before, begin)), going)
        b.store(item, b.gep(s, b.load("i64", hole), "i64"))
    b.ret()
    b.done()


def emit_mend(m):
    """Runs of equal upper halves that begin in begin..end, put in order of whole keys: 0, 1 (equal keys met), 2 (a long run left)."""
    b = m.function("mend_runs", [("s", "ptr"), ("keys", "ptr"), ("begin", "i64"), ("end", "i64"), ("n", "i64")], ret="i32", internal=True, attributes="nounwind")
    s, keys, begin, end, n = b.args
    found, i = cell(b, i32(0)), cell(b, begin)

    def half(at):
        return b.op("lshr", item_at(b, s, at), i64(32))

    def alike(at):
        """Whether at - 1 and at are one run, for 0 < at < n; False elsewhere."""
        answer = cell(b, V("false", "i1"))
        with b.when(b.op("and", b.cmp("sgt", at, i64(0)), b.cmp("slt", at, n))):
            b.store(b.cmp("eq", half(at), half(b.sub(at, i64(1)))), answer)
        return b.load("i1", answer)

    with b.whilst(lambda: b.op("and", b.cmp("slt", b.load("i64", i), end), alike(b.load("i64", i)))):  # begun in the piece before
        bump(b, i, "i64")
    with b.whilst(lambda: b.cmp("slt", b.load("i64", i), end)):
        start = b.load("i64", i)
        bump(b, i, "i64")
        with b.when(alike(b.load("i64", i))):
            with b.whilst(lambda: alike(b.load("i64", i))):
                bump(b, i, "i64")
            stop = b.load("i64", i)
            small = b.cmp("sle", b.sub(stop, start), i64(SHORT))
            with b.when(small):
                b.call("insert", "void", s, keys, start, stop, declare=False)
                with b.loop(b.add(start, i64(1)), stop) as l:
                    same = b.cmp("eq", item_at(b, keys, place_of(b, item_at(b, s, l.i))), item_at(b, keys, place_of(b, item_at(b, s, b.sub(l.i, i64(1))))))
                    old = b.load("i32", found)
                    b.store(b.op("or", old, b.cast("zext", same, "i32")), found)
            with b.when(b.op("xor", small, V("true", "i1"))):
                b.store(i32(2), found)
                b.store(end, i)
    b.ret(b.intrinsic("umin", b.load("i32", found), i32(2)))
    b.done()


def emit_rekey_items(m):
    """dst[i] = the upper half of the key of item i of src, above its place."""
    b = m.function("rekey_items", [("src", "ptr"), ("dst", "ptr"), ("keys", "ptr"), ("begin", "i64"), ("end", "i64")], internal=True, attributes="nounwind")
    src, dst, keys, begin, end = b.args
    with b.loop(begin, end) as l:
        place = place_of(b, item_at(b, src, l.i))
        b.store(b.op("or", b.op("and", item_at(b, keys, place), i64(-(1 << 32))), place), b.gep(dst, l.i, "i64"))
    b.ret()
    b.done()


def emit_equal(m):
    """Whether neighbours among items begin..end are equal, by the upper 32 bits or by keys of 64."""
    b = m.function("equal_items", [("s", "ptr"), ("keys", "ptr"), ("begin", "i64"), ("end", "i64")], ret="i1", internal=True, attributes="nounwind")
    s, keys, begin, end = b.args
    found = cell(b, V("false", "i1"))
    by_half = b.cmp("eq", keys, NULL)
    start = b.add(begin, i64(1))
    with b.when(by_half):
        t = vector("i64", LANES)
        last = b.sub(end, b.emit(f"srem i64 {b.op('sub', end, start).text}, {LANES}", "i64"))
        stop = b.select(b.cmp("sgt", end, start), last, start)
        with b.loop(start, stop, LANES, [const(0, vector("i1", LANES))]) as l:
            differ = b.op("xor", b.load(t, b.gep(s, l.i, "i64")), b.load(t, b.gep(s, b.sub(l.i, i64(1)), "i64")))
            l.next = [b.op("or", l.carried[0], b.cmp("ult", differ, const(1 << 32, t)))]
        some = b.call(f"llvm.vector.reduce.or.v{LANES}i1", "i1", l.results[0])
        b.store(some, found)
        with b.loop(stop, end) as l:
            differ = b.op("xor", item_at(b, s, l.i), item_at(b, s, b.sub(l.i, i64(1))))
            b.store(b.op("or", b.load("i1", found), b.cmp("ult", differ, i64(1 << 32))), found)
    with b.when(b.op("xor", by_half, V("true", "i1"))):
        with b.loop(start, end) as l:
            same = b.cmp("eq", item_at(b, keys, place_of(b, item_at(b, s, l.i))), item_at(b, keys, place_of(b, item_at(b, s, b.sub(l.i, i64(1))))))
            b.store(b.op("or", b.load("i1", found), same), found)
    b.ret(b.load("i1", found))
    b.done()


def _element(b, dtype, key):
    """The element of a key of 32 bits: all but the sign of 0 and the bits of NaN."""
    t = key.type
    if dtype == "f32":
        sign = b.op("or", b.op("ashr", b.op("xor", key, const(-1, t)), const(31, t)), const(-(1 << 31), t))
        return bitcast(b, b.op("xor", key, sign), "float")
    return b.op("xor", key, const(-(1 << 31), t)) if dtype == "i32" else key


def write_out(b, dtype, s, x, values, index, begin, end, flip):
    """values[i], index[i] of the items begin..end; elements are made of their keys where that can be."""
    element = STORED[dtype]
    t = vector("i64", LANES)

    def fetch(i):
        b.store(b.load(element, b.gep(x, place_of(b, item_at(b, s, i)), element)), b.gep(values, i, element))

    last = b.sub(end, b.emit(f"srem i64 {b.sub(end, begin).text}, {LANES}", "i64"))
    with b.loop(begin, last, LANES) as l:
        items = b.load(t, b.gep(s, l.i, "i64"))
        b.store(place_of(b, items), b.gep(index, l.i, "i64"))
        if dtype in ("f32", "i32", "u32"):
            key = b.op("xor", b.cast("trunc", b.op("lshr", items, const(32, t)), "i32"), b.splat(flip, LANES))
            b.store(_element(b, dtype, key), b.gep(values, l.i, element))
        else:
            for k in range(LANES):
                fetch(b.add(l.i, i64(k)))
        if dtype == "f32":
            odd = b.op("or", b.cmp("eq", key, const(-(1 << 31), key.type)), b.cmp("eq", key, const(-1, key.type)))
            with b.when(b.call(f"llvm.vector.reduce.or.v{LANES}i1", "i1", odd)):
                with b.loop(l.i, b.add(l.i, i64(LANES))) as k:
                    fetch(k.i)
    with b.loop(last, end) as l:
        b.store(place_of(b, item_at(b, s, l.i)), b.gep(index, l.i, "i64"))
        fetch(l.i)


def emit_all(m, *emitters):
    for e in emitters:
        e(m)


def in_order(b, dtype, a, second, whole, n, table):
    """Where the items of `a` are in order, as a variable; for wide keys by all their bits."""
    few = b.cmp("sle", n, i64(FEW))
    s = cell(b, a)
    with b.when(few):
        b.call("insert", "void", a, whole if wide(dtype) else NULL, i64(0), n, declare=False)
    with b.when(b.op("xor", few, V("true", "i1"))):
        b.store(b.call("radix", "ptr", a, second, n, table, declare=False), s)
        if wide(dtype):
            state = b.call("mend_runs", "i32", b.load("ptr", s), whole, i64(0), n, n, declare=False)
            with b.when(b.cmp("eq", state, i32(2))):
                with b.loop(i64(0), n) as l:
                    b.store(b.op("or", b.op("shl", item_at(b, whole, l.i), i64(32)), l.i), b.gep(a, l.i, "i64"))
                low = b.call("radix", "ptr", a, second, n, table, declare=False)
                other = b.select(b.cmp("eq", low, a), second, a)
                b.call("rekey_items", "void", low, other, whole, i64(0), n, declare=False)
                b.store(b.call("radix", "ptr", other, low, n, table, declare=False), s)
    return s
