"""Reductions of large operands on compiled kernels, as backends/cpu.py asks for them: `reduce(op, spec, x, attrs)`.

A reduction is a map on elements, an accumulator and a finish. Stretches of reduced dimensions that are one walk through
memory are done one after another, innermost first. Along contiguous memory, pieces of CUT elements are added in lanes;
across it, blocks of ROWS rows are added lane by lane, and then blocks of blocks; what pieces and blocks give is reduced the
same way, sums of float32 in float64, so that errors grow with the logarithm of the count. What a call does is settled once for
a row, dtypes, shape, strides and dimensions (`_plan`): afterwards it is one kernel call a stage.

Variances: mean and centred sum of squares of each piece while it is in the cache, in float64, put together by the formula of
Chan, Golub and LeVeque (Algorithms for computing the sample variance, 1983).

Invariants: None is given where NumPy should do it; results do not depend on the number of threads, since pieces are cut by
size alone.
"""

from __future__ import annotations

from functools import cache, lru_cache
from math import inf, prod

import numpy as np

from rushlight.codegen import mathlib
from rushlight.codegen.layout import element_strides, short
from rushlight.codegen.loops import (
    FLOATS,
    Acc,
    Buffer,
    Grid,
    Kernel,
    Lanes,
    Let,
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
from rushlight.codegen.lower import I0, TILE, low, pieces
from rushlight.codegen.program import Program

GRAIN = 1 << 17  # elements that are worth another thread
CUT = 1 << 12  # elements of a row added lane by lane
ROWS = 16  # rows of a block
NP = {"b1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64, "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64, "f16": np.float16, "f32": np.float32, "f64": np.float64}

# row -> (accumulator, map of elements, finish)
_ADD = {"sum": "", "sum_dim": "", "mean": "mean", "mean_dim": "mean"}
_ROWS = {
    **{name: ("add", "", finish) for name, finish in _ADD.items()},
    **dict.fromkeys(("prod", "prod_dim"), ("mul", "", "")),
    **dict.fromkeys(("amax", "max_all"), ("max", "", "")),
    **dict.fromkeys(("amin", "min_all"), ("min", "", "")),
    "all": ("and", "truth", ""),
    "any": ("or", "truth", ""),
    "count_nonzero": ("add", "nonzero", ""),
    "nansum": ("add", "number", ""),
}
# norms by order
_NORMS = {0.0: ("add", "nonzero", ""), 1.0: ("add", "abs", ""), 2.0: ("add", "square", "sqrt"), inf: ("max", "abs", ""), -inf: ("min", "abs", "")}

_MAPS = {
    "": lambda x, acc: cast(x, acc),
    "truth": lambda x, acc: x if x.dtype == "b1" else _float(x) != 0,
    "nonzero": lambda x, acc: cast(x if x.dtype == "b1" else _float(x) != 0, acc),
    "number": lambda x, acc: select(_float(x) == _float(x), cast(x, acc), const(0, acc)),
    "abs": lambda x, acc: call("abs", cast(x, acc)),
    "square": lambda x, acc: cast(x, acc) * cast(x, acc),
}


def _float(x):
    """Half types in float32."""
    return cast(x, "f32") if x.dtype in ("f16", "bf16") else x


def _finished(t, finish, acc):
    if finish == "mean":
        return t / cast(number("count", "i64"), acc)
    return call("sqrt", t) if finish == "sqrt" else t


# ---- kernels


def _rows(op, dtype, acc, result, mapping, finish):
    """out[i, c] = op over j in piece c of map(x[i, j]), rows of stride `row` and contiguous j. Grid: rows n, pieces of m."""
    x = load("x", (("i", "row"), ("j", 1)), dtype)
    start = ref("c") * CUT
    body = (
        Acc("t", op, acc),
        Lanes("j", start, low(start + CUT, number("m")), (Update("t", _MAPS[mapping](x, acc)),)),
        Store("out", (("i", "pieces"), ("c", 1)), cast(_finished(ref("t", acc), finish, acc), result)),
    )
    params = (Buffer("out", result), Buffer("x", dtype), *(Number(n, "i64") for n in ("n", "m", "row", "pieces", "count")))
    return Kernel("_".join(("rows", op, dtype, result)), params, (Grid(("i", "c"), (number("n"), number("pieces")), body),))


def _columns(op, dtype, acc, result, mapping, finish):
    """out[a, c, k] = op over the ROWS rows r of block c of map(x[a, r, k]), contiguous k. Grid: a, blocks of r, tiles of k."""
    x = load("x", (("a", "outer"), ("r", "row"), ("k", 1)), dtype)
    first, start = ref("c") * ROWS, ref("t") * TILE
    body = (
        Acc("t_", op, acc),
        Loop("r", first, low(first + ROWS, number("m")), (Update("t_", _MAPS[mapping](x, acc)),)),
        Store("out", (("a", "out_outer"), ("c", "width"), ("k", 1)), cast(_finished(ref("t_", acc), finish, acc), result)),
    )
    names = ("n", "m", "width", "outer", "row", "out_outer", "blocks", "tiles", "count")
    params = (Buffer("out", result), Buffer("x", dtype), *(Number(n, "i64") for n in names))
    grid = Grid(("a", "c", "t"), (number("n"), number("blocks"), number("tiles")), (Lanes("k", start, low(start + TILE, number("width")), body),))
    return Kernel("_".join(("columns", op, dtype, result)), params, (grid,))


@cache
def _program(make, *key):
    return Program(make(*key))


# ---- plans


class _Step:
    """One kernel call: the array it makes, and what the kernel takes beside that and its operand."""

    __slots__ = ("program", "total", "grain", "shape", "dtype", "numbers")

    def __init__(self, program, total, grain, shape, dtype, numbers):
        self.program, self.total, self.grain, self.shape, self.dtype, self.numbers = program, total, grain, shape, dtype, numbers

    def __call__(self, x):
        out = np.empty(self.shape, self.dtype)
        self.program(self.total, self.grain, out, x, *self.numbers)
        return out


def reduce(op, spec, x, attrs):
    """A reduction row on a large operand, or None where NumPy should do it."""
    name = op.name
    if name in _MOMENTS:
        return moments(name, spec, x, attrs)
    if name == "logsumexp":
        return logsumexp(spec, x, attrs)
    if name == "linalg_vector_norm":
        how = _NORMS.get(attrs["ord"])
    else:
        how = _ROWS.get(name)
    if how is None or not x.size:
        return None
    compute = spec.compute
    plan = _plan(how, x.dtype, x.shape, x.strides, attrs["axes"], spec.shape, spec.dtype.np, None if compute is None else compute.np)
    if plan is None:
        return None
    steps, turn, shape = plan
    for step in steps:
        x = step(x)
    if turn is not None:
        x = x.reshape(turn[0]).transpose(turn[1])
    x = x.reshape(shape)
    return x if x.dtype == spec.dtype.np and turn is None else x.astype(spec.dtype.np, order="C")


def _walks(x_shape, strides, axes):
    """The dimensions in the order of memory as (size, stride, whether reduced), and which they are; None for steps backward or repeats."""
    if any(st < 1 for n, st in zip(x_shape, strides) if n != 1):
        return None
    order = sorted((d for d in range(len(x_shape)) if x_shape[d] != 1), key=lambda d: -strides[d])
    return [(x_shape[d], strides[d], d in axes) for d in order], order


@lru_cache(maxsize=1024)
def _plan(how, dtype, shape, strides, axes, out_shape, out_dtype, compute):
    """(steps, how the last one's result is turned or None, shape); None where NumPy should do it."""
    op, mapping, finish = how
    word, result = short(dtype), short(out_dtype)
    found = _geometry(dtype, shape, strides, axes)
    if word is None or result is None or found is None:
        return None
    dims, order, axes = found
    if mapping == "truth":
        acc = "b1"
    elif op in ("max", "min"):
        acc = "f32" if word in ("f16", "bf16") else word
    else:
        acc = result if compute is None or mapping == "nonzero" and result == "i64" else short(compute)
        if mapping == "square" and acc == "f32":
            acc = "f64"
        if acc in ("b1", "f16", "bf16", None):
            return None
    held = "f32" if result in ("f16", "bf16") else result
    count = prod(shape[d] for d in axes)
    if not any(d[2] for d in dims):  # only dimensions of size 1: a map
        dims = [*dims, (1, 1, True)]
    steps, step_in = [], word
    while any(d[2] for d in dims):
        end = max(k for k, d in enumerate(dims) if d[2]) + 1
        begin = end - 1
        while begin and dims[begin - 1][2] and dims[begin - 1][1] == dims[begin][0] * dims[begin][1]:
            begin -= 1
        walks = [_chain(part) for part in (dims[:begin], dims[begin:end], dims[end:])]
        if None in walks:
            return None
        last = not any(d[2] for d in dims[:begin])
        made = _stretch(*walks, op, step_in, acc, held, mapping, finish if last else "", count, last)
        if made is None:
            return None
        steps += made
        step_in = _WORD[steps[-1].dtype]
        acc, mapping, step, rest = _wider(op, acc), "truth" if acc == "b1" else "", 1, []
        for n, _, reduced in reversed(dims[:begin] + dims[end:]):
            rest.insert(0, (n, step, reduced))
            step *= n
        dims = rest
    kept = [d for d in order if d not in axes]
    turn = None
    if kept != sorted(kept):
        turn = tuple(shape[d] for d in kept), tuple(kept.index(d) for d in sorted(kept))
    return steps, turn, out_shape


_WORD = {v: k for k, v in NP.items()}


def _geometry(dtype, shape, strides, axes):
    """(dims, order, axes) with strides in elements, all dimensions for no axes."""
    if any(s % dtype.itemsize for s in strides):
        return None
    axes = frozenset(axes) or frozenset(range(len(shape)))
    found = _walks(shape, [s // dtype.itemsize for s in strides], axes)
    return None if found is None else (*found, axes)


def _wider(op, acc):
    """The accumulator of partial results: float64 for sums of float32."""
    return "f64" if op == "add" and acc == "f32" else acc


def _chain(dims):
    """(count, stride) of neighbouring dimensions that are one walk through memory; None where they are not."""
    count, step = 1, 1
    for n, s, _ in reversed(dims):
        if count == 1:
            step = s
        elif s != count * step:
            return None
        count *= n
    return count, step


def _stretch(outer, along, inner, op, word, acc, result, mapping, finish, count, last):
    """The steps that reduce one stretch; each walk is (count, stride). Half types come out in float32."""
    (outer, outer_step), (length, step), (width, width_step) = outer, along, inner
    steps = []
    if width == 1:
        if step != 1:
            return None
        while True:
            parts = pieces(length, CUT)
            done = parts == 1
            made = result if done and last else acc
            program = _program(_rows, op, word, acc, made, mapping, finish if done else "")
            steps.append(_Step(program, outer * parts, max(1, GRAIN // min(length, CUT)), (outer, parts), NP[made], (outer, length, outer_step, parts, count)))
            if done:
                return steps
            word, acc, mapping, length, outer_step = acc, _wider(op, acc), "truth" if acc == "b1" else "", parts, parts
    if width_step != 1:
        return None
    while True:
        blocks, tiles = pieces(length, ROWS), pieces(width, TILE)
        done = blocks == 1
        made = result if done and last else acc
        program = _program(_columns, op, word, acc, made, mapping, finish if done else "")
        numbers = (outer, length, width, outer_step, step, blocks * width, blocks, tiles, count)
        steps.append(_Step(program, outer * blocks * tiles, max(1, GRAIN // (ROWS * min(width, TILE))), (outer, blocks, width), NP[made], numbers))
        if done:
            return steps
        word, mapping, length, outer_step, step = acc, "truth" if acc == "b1" else "", blocks, blocks * width, width
        if blocks <= ROWS:  # the last of the stages
            acc = _wider(op, acc)


# ---- variances

_MOMENTS = ("var", "std")
_HEIGHT = 64  # rows of a block


def _row_moments(dtype):
    """mean[i, c] and square[i, c] = the centred sum of squares of piece c of row i."""
    x = cast(load("x", (("i", "row"), ("j", 1)), dtype), "f64")
    start = ref("c") * CUT
    stop = low(start + CUT, number("m"))
    at = (("i", "pieces"), ("c", 1))
    body = (
        Let("first", start),
        Let("stop", stop),
        Acc("t", "add", "f64"),
        Lanes("j", ref("first"), ref("stop"), (Update("t", x),)),
        Let("mu", ref("t", "f64") / cast(ref("stop") - ref("first"), "f64")),
        Acc("v", "add", "f64"),
        Lanes("j", ref("first"), ref("stop"), (Update("v", (x - ref("mu", "f64")) * (x - ref("mu", "f64"))),)),
        Store("mean", at, ref("mu", "f64")),
        Store("square", at, ref("v", "f64")),
    )
    params = (Buffer("mean", "f64"), Buffer("square", "f64"), Buffer("x", dtype), *(Number(n, "i64") for n in ("n", "m", "row", "pieces")))
    return Kernel("row_moments_" + dtype, params, (Grid(("i", "c"), (number("n"), number("pieces")), body),))


def _column_moments(dtype):
    """mean[a, c, k] and square[a, c, k] of the rows of block c."""
    x = cast(load("x", (("a", "outer"), ("r", "row"), ("k", 1)), dtype), "f64")
    first, start = ref("c") * _HEIGHT, ref("t") * TILE
    stop = low(first + _HEIGHT, number("m"))
    at = (("a", "out_outer"), ("c", "width"), ("k", 1))
    body = (
        Acc("s", "add", "f64"),
        Loop("r", ref("first"), ref("stop"), (Update("s", x),)),
        Let("mu", ref("s", "f64") / cast(ref("stop") - ref("first"), "f64")),
        Acc("v", "add", "f64"),
        Loop("r", ref("first"), ref("stop"), (Update("v", (x - ref("mu", "f64")) * (x - ref("mu", "f64"))),)),
        Store("mean", at, ref("mu", "f64")),
        Store("square", at, ref("v", "f64")),
    )
    names = ("n", "m", "width", "outer", "row", "out_outer", "blocks", "tiles")
    params = (Buffer("mean", "f64"), Buffer("square", "f64"), Buffer("x", dtype), *(Number(n, "i64") for n in names))
    lanes = Lanes("k", start, low(start + TILE, number("width")), body)
    return Kernel("column_moments_" + dtype, params, (Grid(("a", "c", "t"), (number("n"), number("blocks"), number("tiles")), (Let("first", first), Let("stop", stop), lanes)),))


def _single(x, axes):
    """(x, outer, along, inner) with the reduced dimensions as one walk between kept ones; brought together in memory if need be.

    The kept dimensions come in their own order. None where NumPy should do it."""
    axes = frozenset(axes) or frozenset(range(x.ndim))
    kept = [d for d in range(x.ndim) if d not in axes]
    strides = element_strides(x, x.shape)
    found = None if strides is None else _walks(x.shape, strides, axes)
    if found is not None:
        dims, order = found
        places = [k for k, d in enumerate(dims) if d[2]]
        begin, end = (places[0], places[-1] + 1) if places else (len(dims), len(dims))
        walks = [_chain(part) for part in (dims[:begin], dims[begin:end], dims[end:])]
        in_order = [d for d in order if d not in axes] == sorted(d for d in order if d not in axes)
        if places and places == list(range(begin, end)) and None not in walks and in_order and walks[2][1] == 1 and (walks[2][0] > 1 or walks[1][1] == 1):
            return x, *walks
    turned = np.ascontiguousarray(x.transpose(*kept, *sorted(axes)))
    length = prod(x.shape[d] for d in axes)
    return turned, (x.size // length, length), (length, 1), (1, 1)


def moments(name, spec, x, attrs):
    """var and std, or None."""
    word = short(x.dtype)
    if word not in ("f16", "bf16", *FLOATS) or not x.size:
        return None
    x, (outer, outer_step), (length, step), (width, _) = _single(x, attrs["axes"])
    if width == 1:
        cut, parts = CUT, pieces(length, CUT)
        mean, square = np.empty((outer, parts, 1)), np.empty((outer, parts, 1))
        _program(_row_moments, word)(outer * parts, max(1, (GRAIN >> 2) // min(length, CUT)), mean, square, x, outer, length, outer_step, parts)
    else:
        cut, parts, tiles = _HEIGHT, pieces(length, _HEIGHT), pieces(width, TILE)
        mean, square = np.empty((outer, parts, width)), np.empty((outer, parts, width))
        _program(_column_moments, word)(outer * parts * tiles, max(1, (GRAIN >> 2) // (_HEIGHT * min(width, TILE))), mean, square, x, outer, length, width, outer_step, step, parts * width, parts, tiles)
    if parts > 1:
        counts = np.full((parts, 1), float(cut))
        counts[-1] = length - cut * (parts - 1)
        mean -= np.add.reduce(mean * counts, axis=1, keepdims=True) / length
        mean *= mean
        mean *= counts
        square = np.add.reduce(square, axis=1) + np.add.reduce(mean, axis=1)
    with np.errstate(all="ignore"):
        out = square / max(0.0, length - attrs["correction"])
        out = np.sqrt(out, out=out) if name == "std" else out
        return out.reshape(spec.shape).astype(spec.dtype.np)


# ---- logsumexp


def _exponentials(dtype, acc, columns, result):
    """log(sum(exp(x))) of piece c of row i, or over the rows of column k."""
    index = (("a", "outer"), ("r", "row"), ("k", 1)) if columns else (("i", "row"), ("j", 1))
    x = cast(load("x", index, dtype), acc)
    top = ref("top", acc)
    head, mid = Update("top", x), Update("s", cast(mathlib.exp(x - ref("base", acc)), "f64"))
    base = Let("base", select(call("abs", top) < inf, top, const(0, acc)))
    value = cast(mathlib.log(cast(ref("s", "f64"), acc)) + ref("base", acc), result)
    if columns:
        start, m = ref("t") * TILE, number("m")
        body = (Acc("top", "max", acc), Loop("r", I0, m, (head,)), base, Acc("s", "add", "f64"), Loop("r", I0, m, (mid,)), Store("out", (("a", "width"), ("k", 1)), value))
        names = ("n", "m", "width", "outer", "row", "tiles")
        grid = Grid(("a", "t"), (number("n"), number("tiles")), (Lanes("k", start, low(start + TILE, number("width")), body),))
    else:
        first, stop = ref("first"), ref("stop")
        body = (
            Let("first", ref("c") * CUT),
            Let("stop", low(ref("c") * CUT + CUT, number("m"))),
            Acc("top", "max", acc),
            Lanes("j", first, stop, (head,)),
            base,
            Acc("s", "add", "f64"),
            Lanes("j", first, stop, (mid,)),
            Store("out", (("i", "pieces"), ("c", 1)), value),
        )
        names = ("n", "m", "row", "pieces")
        grid = Grid(("i", "c"), (number("n"), number("pieces")), body)
    params = (Buffer("out", result), Buffer("x", dtype), *(Number(n, "i64") for n in names))
    return Kernel(f"logsumexp_{'columns' if columns else 'rows'}_{dtype}", params, (grid,))


def logsumexp(spec, x, attrs):
    """logsumexp of floating dtypes, or None."""
    word = short(x.dtype)
    if word not in ("f16", "bf16", *FLOATS) or not x.size:
        return None
    acc = "f64" if word == "f64" else "f32"
    x, (outer, outer_step), (length, step), (width, _) = _single(x, attrs["axes"])
    if width > 1:
        tiles = pieces(width, TILE)
        out = np.empty((outer, width), NP[acc])
        _program(_exponentials, word, acc, True, acc)(outer * tiles, max(1, (GRAIN >> 4) // (length * min(width, TILE))), out, x, outer, length, width, outer_step, step, tiles)
    else:
        while True:
            parts = pieces(length, CUT)
            out = np.empty((outer, parts), NP[acc])
            _program(_exponentials, word, acc, False, acc)(outer * parts, max(1, (GRAIN >> 4) // min(length, CUT)), out, x, outer, length, outer_step, parts)
            if parts == 1:
                break
            x, word, length, outer_step = out, acc, parts, parts
    return out.reshape(spec.shape).astype(spec.dtype.np, copy=False)


# ---- the range of indices


def _ends(dtype):
    """low[c], high[c] of piece c."""
    x, start = load("x", (("j", 1),), dtype), ref("c") * CUT
    at = (("c", 1),)
    body = (
        Acc("a", "min", dtype),
        Acc("b", "max", dtype),
        Lanes("j", start, low(start + CUT, number("m")), (Update("a", x), Update("b", x))),
        Store("low", at, ref("a", dtype)),
        Store("high", at, ref("b", dtype)),
    )
    params = (Buffer("low", dtype), Buffer("high", dtype), Buffer("x", dtype), Number("m", "i64"), Number("pieces", "i64"))
    return Kernel("ends_" + dtype, params, (Grid(("c",), (number("pieces"),), body),))


def extent(x):
    """(smallest, largest) of an array of int32 or int64 in C order, in one pass; None where NumPy should do it."""
    word = short(x.dtype)
    if word not in ("i32", "i64") or not x.flags.c_contiguous:
        return None
    parts = pieces(x.size, CUT)
    ends = np.empty((2, parts), x.dtype)
    _program(_ends, word)(parts, max(1, (GRAIN >> 1) // CUT), ends[0], ends[1], x, x.size, parts)
    return int(ends[0].min()), int(ends[1].max())
