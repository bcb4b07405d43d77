"""From families to loops: pointwise kernels.

pointwise: one Lanes loop over memory where all operands lie alike; else a grid over outer dimensions and tiles of the
inner one, and, where an operand runs along another dimension (a transposed copy), blocks of both.
"""

from __future__ import annotations

from rushlight.codegen.loops import (
    Buffer,
    Grid,
    Kernel,
    Lanes,
    Loop,
    Number,
    Store,
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
