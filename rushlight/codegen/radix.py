"""Kernels that order elements: radix sort of rows, of one long row in pieces, and selection of a range of ranks.

An element becomes an unsigned key of 32 or 64 bits in PyTorch's order (NaN last, -0 equal to 0), turned over for
descending order by an exclusive or. What is sorted are items of 8 bytes, the key's (upper) 32 bits above the element's
place in its row, so a row has fewer than 2**32 elements and equal elements stay in order. A pass scatters the items by 8
bits of the key; a pass in which all have the same digit is left out, so that small integers and half types cost what they
hold. Keys of 64 bits are sorted by their upper halves; short runs of equal halves are then put in order by insertion, and
only where a run is long the row is sorted again, by the lower halves first.

Kernels, each `void k(ptr args, i64 begin, i64 end, i64 thread)`; x is contiguous, `flip` is 0 or -1:
    sort_rows    x values index ties work size n flip                  grid: rows
    select_rows  x items ties work size n flip first last              grid: rows; the items of the ranks first..last
    keys         x items whole tables n piece flip                     grid: pieces of one row, as those below
    count        items tables n piece
    move         items target starts n piece shift
    low          target whole tables n piece                           items of the lower halves, in the order of x
    rekey        items target whole tables n piece                     items of the upper halves, in the order of items
    mend         items whole ties n piece                              ties: 0 none, 1 equal keys, 2 a long run was left
    finish       items x values index n piece flip
`ties` is a byte for each row or piece: whether equal elements were met (in select_rows: among the ranks and beside them).
`work` is memory for each thread, `size` bytes of it: TABLE, 16 for an element, and 8 more for a wide key. `whole` are keys of 64 bits, `tables` counts.

Stable LSD radix sort: Knuth, The Art of Computer Programming 3, section 5.2.5.
"""

from __future__ import annotations

from rushlight.codegen.casts import STORED
from rushlight.codegen.items import (
    DIGITS,
    LANES,
    TABLE,
    begin_kernel,
    bump,
    emit_all,
    emit_count_items,
    emit_equal,
    emit_insert,
    emit_mend,
    emit_move_items,
    emit_radix,
    emit_rekey_items,
    emit_stream_items,
    flip_of,
    in_order,
    item_at,
    key_of,
    make_items,
    piece_bounds,
    smaller,
    wide,
    write_out,
)
from rushlight.codegen.llvm import NULL, Module, V, const, i32, i64, vector

BUCKETS = 2048  # of a selection
SAMPLE = 8  # one of so many elements is counted where a few of the first ranks are selected


def sort_rows(dtype):
    m = Module()
    emit_all(m, emit_move_items, emit_count_items, emit_radix, emit_insert, emit_equal)
    if wide(dtype):
        emit_all(m, emit_mend, emit_rekey_items)
    b, s = begin_kernel(m, "sort_rows", "x* values* index* ties* work* size n flip")
    n, element = s["n"], STORED[dtype]
    table = b.at_bytes(s["work"], b.mul(b.args[3], s["size"]))
    a = b.at_bytes(table, i64(TABLE))
    second = b.gep(a, n, "i64")
    whole = b.gep(second, n, "i64")
    flip = flip_of(b, dtype, s)
    with b.loop(b.args[1], b.args[2]) as row:
        start = b.mul(row.i, n)
        x = b.gep(s["x"], start, element)
        make_items(b, dtype, x, a, whole, i64(0), n, flip)
        done = b.load("ptr", in_order(b, dtype, a, second, whole, n, table))
        equal = b.call("equal_items", "i1", done, whole if wide(dtype) else NULL, i64(0), n, declare=False)
        b.store(b.cast("zext", equal, "i8"), b.gep(s["ties"], row.i, "i8"))
        write_out(b, dtype, done, x, b.gep(s["values"], start, element), b.gep(s["index"], start, "i64"), i64(0), n, flip)
    b.ret()
    b.done()
    return str(m)


def select_rows(dtype):
    """The keys' range is cut into BUCKETS; what lies in the buckets of the ranks asked for is sorted.

    For a few of the first ranks a sample is counted, and all elements only where that gave too few."""
    m = Module()
    emit_all(m, emit_move_items, emit_count_items, emit_radix, emit_insert, emit_equal)
    b, s = begin_kernel(m, "select_rows", "x* items* ties* work* size n flip first last")
    n, element, first, last = s["n"], STORED[dtype], s["first"], s["last"]
    table = b.at_bytes(s["work"], b.mul(b.args[3], s["size"]))
    counts = b.at_bytes(table, i64(8 * 4 * DIGITS))
    a = b.at_bytes(table, i64(TABLE))
    second = b.gep(a, n, "i64")
    flip = flip_of(b, dtype, s)
    lanes = 4 * LANES
    t = vector("i32", lanes)
    whole = b.sub(n, b.emit(f"srem i64 {n.text}, {lanes}", "i64"))
    low, high, before, filled, step = (b.alloca("i64", 1, 8) for _ in range(5))
    again = b.alloca("i1", 1, 8)

    def keys(x, at, lanes):
        return key_of(b, dtype, b.load(vector(element, lanes), b.gep(x, at, element)), flip)

    with b.loop(b.args[1], b.args[2]) as row:
        x = b.gep(s["x"], b.mul(row.i, n), element)
        with b.loop(i64(0), whole, lanes, [const(-1, t), const(0, t)]) as l:
            key = keys(x, l.i, lanes)
            l.next = [b.intrinsic("umin", l.carried[0], key), b.intrinsic("umax", l.carried[1], key)]
        ends = [b.call(f"llvm.vector.reduce.{w}.v{lanes}i32", "i32", v) for w, v in zip(("umin", "umax"), l.results)]
        with b.loop(whole, n, 1, ends) as l:
            key = keys(x, l.i, 0)
            l.next = [b.intrinsic("umin", l.carried[0], key), b.intrinsic("umax", l.carried[1], key)]
        least, most = l.results
        # the digit: (key - least) >> shift, below BUCKETS
        bits = b.op("sub", i32(32), b.call("llvm.ctlz.i32", "i32", b.op("sub", most, least), V("false", "i1")))
        shift = b.intrinsic("smax", b.op("sub", bits, i32(BUCKETS.bit_length() - 1)), i32(0))
        few = b.op("and", b.cmp("eq", first, i64(0)), b.cmp("slt", b.mul(last, i64(16 * SAMPLE)), n))
        b.store(b.select(few, i64(SAMPLE), i64(1)), step)
        b.store(V("true", "i1"), again)
        with b.whilst(lambda: b.load("i1", again)):
            sampled = b.load("i64", step)
            b.call("llvm.memset.p0.i64", "void", counts, V("0", "i8"), i64(4 * BUCKETS), V("false", "i1"))

            def tally(at):
                digit = b.op("lshr", b.op("sub", keys(x, at, 0), least), shift)
                bump(b, b.gep(counts, b.cast("zext", digit, "i64"), "i32"), "i32")

            with b.loop(i64(0), whole, b.mul(sampled, i64(lanes))) as l:
                with b.loop(l.i, b.add(l.i, i64(lanes))) as k:
                    tally(k.i)
            with b.loop(whole, n) as l:
                tally(l.i)
            # the buckets of the ranks first and last - 1, and how many elements lie before the first of these
            sure = b.cmp("eq", sampled, i64(1))
            target = b.select(sure, last, b.add(b.op("udiv", last, i64(SAMPLE // 2)), i64(16)))
            for at, value in ((low, 0), (high, BUCKETS - 1), (before, 0), (filled, 0)):
                b.store(i64(value), at)
            with b.loop(i64(0), i64(BUCKETS), 1, [i64(0)]) as l:
                total = l.carried[0]
                after = b.op("add", total, b.cast("zext", b.load("i32", b.gep(counts, l.i, "i32")), "i64"))
                with b.when(b.op("and", b.cmp("sle", total, first), b.cmp("slt", first, after))):
                    b.store(b.select(sure, l.i, i64(0)), low)
                    b.store(total, before)
                with b.when(b.op("and", b.cmp("slt", total, target), b.cmp("sle", target, after))):
                    b.store(l.i, high)
                l.next = [after]
            floor = b.op("shl", b.cast("trunc", b.load("i64", low), "i32"), shift)
            span = b.op("sub", b.op("add", b.op("shl", b.cast("trunc", b.load("i64", high), "i32"), shift), b.op("sub", b.op("shl", i32(1), shift), i32(1))), floor)
            floor = b.op("add", floor, least)

            def keep(at):
                key = keys(x, at, 0)
                inside = b.cmp("ule", b.op("sub", key, floor), span)
                to = b.load("i64", filled)  # written in any case, kept if it is inside
                b.store(b.op("or", b.op("shl", b.cast("zext", key, "i64"), i64(32)), at), b.gep(a, to, "i64"))
                b.store(b.add(to, b.cast("zext", inside, "i64")), filled)

            floors, spans = b.splat(floor, lanes), b.splat(span, lanes)
            with b.loop(i64(0), whole, lanes) as l:
                inside = b.cmp("ule", b.op("sub", keys(x, l.i, lanes), floors), spans)
                word = b.emit(f"bitcast {inside.type} {inside.text} to i{lanes}", f"i{lanes}")
                with b.when(b.cmp("ne", word, const(0, word.type))):
                    with b.loop(l.i, b.add(l.i, i64(lanes))) as k:
                        keep(k.i)
            with b.loop(whole, n) as l:
                keep(l.i)
            short = b.cmp("slt", b.load("i64", filled), last)
            b.store(b.op("and", short, b.op("xor", sure, V("true", "i1"))), again)
            b.store(i64(1), step)
        count = b.load("i64", filled)
        done = b.load("ptr", in_order(b, "f32", a, second, NULL, count, table))
        skip, wanted = b.sub(first, b.load("i64", before)), b.sub(last, first)
        begin = b.intrinsic("smax", b.sub(skip, i64(1)), i64(0))
        stop = smaller(b, b.add(b.add(skip, wanted), i64(1)), count)
        equal = b.call("equal_items", "i1", done, NULL, begin, stop, declare=False)
        b.store(b.cast("zext", equal, "i8"), b.gep(s["ties"], row.i, "i8"))
        out = b.gep(s["items"], b.mul(row.i, wanted), "i64")
        b.call("llvm.memcpy.p0.p0.i64", "void", out, b.gep(done, skip, "i64"), b.mul(wanted, i64(8)), V("false", "i1"))
    b.ret()
    b.done()
    return str(m)


def pieces(dtype):
    """The module of the kernels over pieces of one row."""
    m = Module()
    emit_all(m, emit_stream_items, emit_count_items, emit_insert, emit_mend, emit_rekey_items)

    def table(b, s, i):
        return b.at_bytes(s["tables"], b.mul(i, i64(4 * 6 * DIGITS)))

    b, s = begin_kernel(m, "keys", "x* items* whole* tables* n piece flip")
    flip = flip_of(b, dtype, s)
    with b.loop(b.args[1], b.args[2]) as l:
        first, stop = piece_bounds(b, s, l.i)
        make_items(b, dtype, s["x"], s["items"], s["whole"], first, stop, flip)
        b.call("count_items", "void", s["items"], first, stop, table(b, s, l.i), declare=False)
    b.ret()
    b.done()

    b, s = begin_kernel(m, "count", "items* tables* n piece")
    with b.loop(b.args[1], b.args[2]) as l:
        b.call("count_items", "void", s["items"], *piece_bounds(b, s, l.i), table(b, s, l.i), declare=False)
    b.ret()
    b.done()

    b, s = begin_kernel(m, "move", "items* target* starts* n piece shift")
    following, lines = b.alloca("i32", DIGITS), b.alloca("i64", 8 * DIGITS)
    with b.loop(b.args[1], b.args[2]) as l:
        first, stop = piece_bounds(b, s, l.i)
        b.call("stream_items", "void", s["items"], s["target"], first, stop, b.gep(s["starts"], b.mul(l.i, i64(DIGITS)), "i32"), following, lines, s["shift"], declare=False)
    b.ret()
    b.done()

    b, s = begin_kernel(m, "low", "target* whole* tables* n piece")
    with b.loop(b.args[1], b.args[2]) as l:
        first, stop = piece_bounds(b, s, l.i)
        with b.loop(first, stop) as k:
            b.store(b.op("or", b.op("shl", item_at(b, s["whole"], k.i), i64(32)), k.i), b.gep(s["target"], k.i, "i64"))
        b.call("count_items", "void", s["target"], first, stop, table(b, s, l.i), declare=False)
    b.ret()
    b.done()

    b, s = begin_kernel(m, "rekey", "items* target* whole* tables* n piece")
    with b.loop(b.args[1], b.args[2]) as l:
        first, stop = piece_bounds(b, s, l.i)
        b.call("rekey_items", "void", s["items"], s["target"], s["whole"], first, stop, declare=False)
        b.call("count_items", "void", s["target"], first, stop, table(b, s, l.i), declare=False)
    b.ret()
    b.done()

    b, s = begin_kernel(m, "mend", "items* whole* ties* n piece")
    with b.loop(b.args[1], b.args[2]) as l:
        state = b.call("mend_runs", "i32", s["items"], s["whole"], *piece_bounds(b, s, l.i), s["n"], declare=False)
        b.store(b.cast("trunc", state, "i8"), b.gep(s["ties"], l.i, "i8"))
    b.ret()
    b.done()

    b, s = begin_kernel(m, "finish", "items* x* values* index* n piece flip")
    flip = flip_of(b, dtype, s)
    with b.loop(b.args[1], b.args[2]) as l:
        write_out(b, dtype, s["items"], s["x"], s["values"], s["index"], *piece_bounds(b, s, l.i), flip)
    b.ret()
    b.done()
    return str(m)
