"""From families to loops: pointwise kernels and reductions.

pointwise: one Lanes loop over memory where all operands lie alike; else a grid over outer dimensions and tiles of the
inner one, and, where an operand runs along another dimension (a transposed copy), blocks of both.

reduction: the kept dimensions are the grid. Along the contiguous dimension, where that is reduced, pieces of a few thousand
elements are added in lanes; else blocks of rows are added lane by lane, and blocks of blocks until one is left, so that errors
grow with the logarithm of the count. Results do not depend on the number of threads: pieces are cut by size alone.
"""

from __future__ import annotations

from rushlight.codegen.loops import (
    Acc,
    Buffer,
    Grid,
    Kernel,
    Lanes,
    Loop,
    Number,
    Store,
    Update,
    call,
    cast,
    const,
    load,
    number,
    ref,
    select,
)

TILE = 4096  # elements of the inner dimension in one piece of the grid
BLOCK = 64  # rows and columns of a block where operands run along different dimensions
I0 = const(0, "i64")


def low(x, y):
    """The smaller of two index expressions."""
    return select(x < y, x, y)


def values(operands, index_of, compute):
    """The expressions of operands ((dtype, is number) each) at an index, in the dtype they are computed in."""
    out = []
    for k, (dtype, is_number) in enumerate(operands):
        e = number(f"x{k}", dtype) if is_number else load(f"x{k}", index_of(k), dtype)
        out.append(e if compute is None or dtype == "b1" == compute else cast(e, compute[k] if isinstance(compute, tuple) else compute))
    return out


def parameters(operands, result, attrs):
    """The output `out`, the operands x0, x1, ..., and attributes (name, dtype) that are given at the call."""
    memory = [Number(f"x{k}", d) if n else Buffer(f"x{k}", d) for k, (d, n) in enumerate(operands)]
    return [Buffer("out", result), *memory, *(Number(f"a_{n}", d) for n, d in attrs)]


def flat(name, operands, result, body, attrs=()):
    """out[i] = body(x[i], ...) over one stretch of memory; `body` takes the expressions of the operands at an index."""
    at = (("i", 1),)
    value = body(lambda k: at)
    return Kernel(name, tuple(parameters(operands, result, attrs)), (Lanes("i", None, None, (Store("out", at, value),)),))


def strided(name, operands, result, body, walks, attrs=()):
    """The same with strides. `walks` has for `out` and each operand that is memory a class a dimension: 0, 1 or "s".

    Dimensions are in the order of out's memory. Sizes are the parameters n0, n1, ..., strides s<operand>_<dim>; the
    output is operand -1. The inner dimension is cut in tiles; where an operand has stride 1 along another dimension
    and not along the inner one, that other one is cut as well.
    """
    rank = len(walks[-1])
    extra = [Number(f"n{d}", "i64") for d in range(rank)]

    def index(k):
        terms = []
        for d, w in enumerate(walks[k]):
            if w != 0:
                terms.append((f"i{d}", 1 if w == 1 else f"s{k if k >= 0 else 'o'}_{d}"))
        return tuple(terms)

    for k in sorted(walks):
        extra.extend(Number(f"s{k if k >= 0 else 'o'}_{d}", "i64") for d, w in enumerate(walks[k]) if w == "s")
    inner = rank - 1
    across = next((walks[k].index(1) for k in walks if k >= 0 and walks[k][inner] == "s" and 1 in walks[k]), None)
    body_ = (Store("out", index(-1), body(index)),)
    size = number(f"n{inner}")
    tile = BLOCK if across is not None else TILE
    start = ref("t") * tile
    loop = Lanes(f"i{inner}", start, low(start + tile, size), body_)
    outer = [d for d in range(rank - 1) if d != across]
    names, extents = [f"i{d}" for d in outer], [number(f"n{d}") for d in outer]
    if across is not None:
        first = ref("u") * BLOCK
        loop = Loop(f"i{across}", first, low(first + BLOCK, number(f"n{across}")), (loop,))
        names.append("u")
        extents.append(_pieces(number(f"n{across}"), BLOCK))
    names.append("t")
    extents.append(_pieces(size, tile))
    return Kernel(name, (*parameters(operands, result, attrs), *extra), (Grid(tuple(names), tuple(extents), (loop,)),))


def _pieces(n, size):
    """ceil(n / size), as an index expression."""
    return call("div", n + (size - 1), const(size, "i64"))


def pieces(n, size):
    """ceil(n / size)."""
    return -(-n // size)


def along_rows(name, op, dtype, acc, result, value, cut):
    """out[i, c] = op over j in piece c of value(x[i, j]), rows of stride `row` and contiguous j.

    Pieces are `cut` elements; finish() of the last stage is the caller's. Grid: rows n, pieces of m.
    """
    x = load("x", (("i", "row"), ("j", 1)), dtype)
    start = ref("c") * cut
    body = (
        Acc("t", op, acc),
        Lanes("j", start, low(start + cut, number("m")), (Update("t", cast(value(x), acc)),)),
        Store("out", (("i", "pieces"), ("c", 1)), cast(ref("t", acc), result)),
    )
    params = (Buffer("out", result), Buffer("x", dtype), *(Number(n, "i64") for n in ("n", "m", "row", "pieces")))
    return Kernel(name, params, (Grid(("i", "c"), (number("n"), number("pieces")), body),))


def down_columns(name, op, dtype, acc, result, value, rows):
    """out[a, c, k] = op over the `rows` rows r of block c of value(x[a, r, k]), contiguous k. Grid: a, blocks of r, tiles of k."""
    x = load("x", (("a", "outer"), ("r", "row"), ("k", 1)), dtype)
    first, start = ref("c") * rows, ref("t") * TILE
    sum_ = (
        Acc("t_", op, acc),
        Loop("r", first, low(first + rows, number("m")), (Update("t_", cast(value(x), acc)),)),
        Store("out", (("a", "out_outer"), ("c", "width"), ("k", 1)), cast(ref("t_", acc), result)),
    )
    body = (Lanes("k", start, low(start + TILE, number("width")), sum_),)
    names = ("n", "m", "width", "outer", "row", "out_outer", "blocks", "tiles")
    params = (Buffer("out", result), Buffer("x", dtype), *(Number(n, "i64") for n in names))
    return Kernel(name, params, (Grid(("a", "c", "t"), (number("n"), number("blocks"), number("tiles")), body),))
