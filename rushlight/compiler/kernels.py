"""Loops for units: pointwise kernels with several results, reductions with the arithmetic in front of them.

`pointwise(unit, stored)` and `reduction(unit)` give launches: (Program, iterations, grain, arguments). Arguments are Places
(memory), ints (sizes, strides); places of the program's own working memory are `Work`. Kernels depend on what is computed, on dtypes
and on which strides are 0 or 1, never on sizes: so one kernel serves many units, of this program and of others
(`_PROGRAMS`).

A kernel reads all its operands before it stores anything, so that memory may be read and written at the same element.
"""

from __future__ import annotations

import math
from math import prod

import numpy as np

from rushlight.codegen import lower
from rushlight.codegen.layout import collapse, short
from rushlight.codegen.loops import (
    SIZE,
    Acc,
    Buffer,
    Grid,
    Held,
    Kernel,
    Lanes,
    Let,
    Loop,
    Number,
    Store,
    Untraceable,
    Update,
    call,
    cast,
    const,
    load,
    number,
    ref,
)
from rushlight.codegen.lower import I0
from rushlight.codegen.program import Program
from rushlight.codegen.reduction import NP
from rushlight.codegen.scalars import traced
from rushlight.compiler.fuse import MOVES, REDUCTIONS
from rushlight.compiler.graph import Place

GRAIN = 1 << 15  # elements of light arithmetic that are worth another thread
CUT = 1 << 12  # elements of a row in one piece of a reduction
ROWS = 64  # rows of a block
TILE = 512  # columns of a block
HELD = frozenset(("alpha", "value", "weight"))
_PROGRAMS: dict = {}


class Work:
    """Working memory of one launch and the next."""

    __slots__ = ("nbytes",)

    def __init__(self, nbytes):
        self.nbytes = nbytes


class _Body:
    """The expressions of nodes over one iteration space: `order` are the places that are loaded (as v0, v1, ...), `lets` the arithmetic."""

    def __init__(self, nodes, shape):
        self.shape, self.loads, self.made = shape, {}, {}
        self.order, self.lets = [], []
        for node in nodes:
            self.node(node)

    def key(self, place):
        return place_key(place, self.shape)

    def read(self, place):
        """The value at a place: made in this kernel, or loaded."""
        key = self.key(place)
        if key in self.made:
            return self.made[key]
        if key not in self.loads:
            k = len(self.order)
            self.order.append(place)
            self.loads[key] = ref(f"v{k}", short(place.dtype))
        return self.loads[key]

    def operand(self, r, compute):
        if r.__class__ is Place:
            e = self.read(r)
            return e if compute is None else cast(e, compute)
        return const(r, compute)

    def node(self, node):
        op, target = node.op, node.writes[0]
        result = short(target.dtype)
        dtype = short(node.spec.dtype.np)
        if op.name in MOVES:
            which = MOVES[op.name]
            source = node.attrs.get("value", 0) if which is None else node.reads[which]
            if source.__class__ is Place:
                e = self.read(source)
                e = _converted(e, result)
            else:
                e = const(source, result if result not in ("f16", "bf16") else "f32")
                e = cast(e, result)
        else:
            compute = dtype if node.spec.compute is None else short(node.spec.compute.np)
            operands = []
            for k, r in enumerate(node.reads):
                wanted = compute
                if op.result == "second" and k == 0 and r.__class__ is Place and short(r.dtype) == "b1":
                    wanted = "b1"
                operands.append(self.operand(r, wanted))
            attrs = {n: self.held(n, v, compute) if v.__class__ is Place else v for n, v in node.attrs.items()}
            e = traced(op.body, operands, attrs, dtype)
            e = cast(e, result)
        name = f"e{len(self.lets)}"
        if e.op not in ("ref", "const"):
            self.lets.append(Let(name, e))
            e = ref(name, result)
        self.made[self.key(target)] = e

    def held(self, name, place, compute):
        """An attribute that the program computes. What the row's body asks about it is answered as for no number in
        particular (NaN), so only attributes whose every value takes the general way may be held."""
        if name not in HELD:
            raise Untraceable(f"attribute {name} that is known only at run time")
        return Held(math.nan, cast(self.read(place), compute))

    def weight(self):
        return sum(s.value.weight for s in self.lets) + 1


def _converted(e, result):
    if result in ("f16", "bf16") and e.dtype not in ("f32", "f64", "f16", "bf16"):
        e = cast(e, "f32")
    return cast(e, result)


def place_key(place, shape):
    """What tells the elements of a place apart, as an iteration space walks them."""
    return (place.buffer.number, place.offset, place.dtype.num, tuple(strides_over(place, shape)))


def strides_over(place, shape):
    """The strides of a place broadcast to an iteration space; size-1 dimensions do not matter."""
    have = list(zip(place.shape, place.strides))
    if place.size == 1 or not have:
        return [0] * len(shape)
    lead = len(shape) - len(have)
    if lead >= 0 and all(n in (1, m) for (n, _), m in zip(have, shape[lead:])):
        return [0] * lead + [0 if n == 1 else s for n, s in have]
    squeezed = [(n, s) for n, s in have if n != 1]  # the same space with other dimensions of size 1
    out = []
    for m in shape:
        if m == 1:
            out.append(0)
        else:
            n, s = squeezed.pop(0)
            if n != m:
                raise ValueError((place.shape, shape))
            out.append(s)
    return out


def program_of(name, params, body):
    """The Program of a kernel, one for each: equal expressions are one object, so kernels are compared without looking into them."""
    key = (name, tuple([(p.name, p.dtype) for p in params]), frozen(body))
    found = _PROGRAMS.get(key)
    if found is None:
        found = _PROGRAMS[key] = Program(Kernel(name, params, body))
    return found


def frozen(body):
    """Statements as tuples."""
    return tuple([(s.__class__, *(frozen(v) if n == "body" else v for n in s.__slots__ for v in (getattr(s, n),))) for s in body])


class _Scan:
    """What decides a unit's kernel, read without building it: `loads` in order, `writes` {key: place}, and a signature."""

    def __init__(self, nodes, shape):
        self.shape, self.slots, self.loads, self.writes = shape, {}, [], {}
        self.keys = {}
        self.signature = tuple([self._node(n) for n in nodes])

    def key(self, place):
        found = self.keys.get(place)
        if found is None:
            found = self.keys[place] = place_key(place, self.shape)
        return found

    def _slot(self, place):
        """The number of a place; one that has not been written here yet is loaded."""
        key = self.key(place)
        found = self.slots.get(key)
        if found is None:
            found = self.slots[key] = len(self.slots)
            self.loads.append(place)
        return found

    def _operand(self, v):
        return (self._slot(v), v.dtype.num) if v.__class__ is Place else (v.__class__, v)

    def _node(self, n):
        which = MOVES.get(n.op.name, 0)
        reads = n.reads if n.op.name not in MOVES else [] if which is None else [n.reads[which]]
        used = tuple([self._operand(r) for r in reads])
        attrs = tuple([(k, self._operand(v)) for k, v in n.attrs.items()])
        w = n.writes[0]
        key = self.key(w)
        self.writes[key] = w
        if key not in self.slots:
            self.slots[key] = len(self.slots)
        spec = n.spec
        return (n.op, spec.dtype, spec.compute, used, attrs, self.slots[key], w.dtype.num)


_KNOWN: dict = {}


def pointwise(unit, stored):
    """The launches of a pointwise unit; `stored(buffer)` says whether a result has to be in memory."""
    full = max((n.writes[0].shape for n in unit.nodes), key=len)
    scan = _Scan(unit.nodes, full)
    targets = {key: w for key, w in scan.writes.items() if stored(w.buffer)}
    if not targets:
        return []
    memory = [*targets.values(), *scan.loads]
    sizes, walks = collapse(full, [strides_over(p, full) for p in memory])
    if not sizes:
        sizes, walks = (1,), [(0,)] * len(walks)
    total = prod(sizes)
    classes = tuple([tuple([s if s in (0, 1) else "s" for s in w]) for w in walks])
    known = (scan.signature, tuple([scan.slots[k] for k in targets]), classes, total == 1)
    try:
        found = _KNOWN.get(known)
    except TypeError:  # an attribute that cannot be compared
        known = found = None
    if found is None:
        found = _pointwise(unit.nodes, full, list(targets), memory, classes, total)
        if known is not None:
            _KNOWN[known] = found
    program, weight, tile, across, flat = found
    grain = max(1 << 10, GRAIN // max(1, weight // 8))
    if total == 1:
        return [(program, 1, 2, memory)]
    if flat:
        return [(program, total, grain, memory)]
    pieces = 1
    for d, n in enumerate(sizes):
        pieces *= lower.pieces(n, tile) if d in (len(sizes) - 1, across) else n
    steps = [s for w in walks for s in w if s not in (0, 1)]
    return [(program, pieces, max(1, pieces * grain // total), [*memory, *sizes, *steps])]


def _pointwise(nodes, full, targets, memory, classes, total):
    """(Program, weight of the arithmetic, tile, the dimension that is cut beside the inner one, whether it is one stretch)."""
    body = _Body(nodes, full)
    rank = len(classes[0])
    flat = rank == 1 and all(c[0] != "s" for c in classes)
    names = ["i"] if flat else [f"i{d}" for d in range(rank)]
    params, extra, loads, stores = [], [], [], []
    for k, (p, c) in enumerate(zip(memory, classes)):
        terms = []
        for d, s in enumerate(c):
            if s != 0:
                terms.append((names[d], f"s{k}_{d}" if s == "s" else 1))
                if s == "s":
                    extra.append(Number(f"s{k}_{d}", "i64"))
        params.append(Buffer(f"b{k}", short(p.dtype)))
        if k < len(targets):
            stores.append(Store(f"b{k}", tuple(terms), body.made[targets[k]]))
        else:
            loads.append(Let(f"v{k - len(targets)}", load(f"b{k}", tuple(terms), short(p.dtype))))
    statements, weight = (*loads, *body.lets, *stores), body.weight()
    if total == 1:
        return program_of("scalars", tuple(params), (Grid(("i",), (const(1, "i64"),), statements),)), weight, 1, None, True
    if flat:
        return program_of("flat", tuple(params), (Lanes("i", None, None, statements),)), weight, 1, None, True
    inner = rank - 1
    across = next((c.index(1) for c in classes if c[inner] == "s" and 1 in c), None)
    size = number(f"n{inner}")
    tile = lower.BLOCK if across is not None else lower.TILE
    start = ref("t") * tile
    loop = Lanes(f"i{inner}", start, lower.low(start + tile, size), statements)
    outer = [d for d in range(rank - 1) if d != across]
    grid, extents = [f"i{d}" for d in outer], [number(f"n{d}") for d in outer]
    if across is not None:
        first = ref("u") * tile
        loop = Loop(f"i{across}", first, lower.low(first + tile, number(f"n{across}")), (loop,))
        grid.append("u")
        extents.append(call("div", number(f"n{across}") + (tile - 1), const(tile, "i64")))
    grid.append("t")
    extents.append(call("div", size + (tile - 1), const(tile, "i64")))
    numbers = [Number(f"n{d}", "i64") for d in range(rank)]
    return program_of("strided", (*params, *numbers, *extra), (Grid(tuple(grid), tuple(extents), (loop,)),)), weight, tile, across, False


# ---- reductions


def reduction(unit):
    """The launches of a reduction with what is in front of it."""
    node = unit.nodes[-1]
    x, out = node.reads[0], node.writes[0]
    word = REDUCTIONS[node.op.name]
    axes = set(node.attrs["axes"]) or set(range(len(x.shape)))
    shape = x.shape
    compute = node.spec.compute if node.spec.compute is not None else node.spec.dtype
    acc = "b1" if word in ("and", "or") else short(x.dtype) if word in ("max", "min") else short(compute.np)
    body = _Body(unit.nodes[:-1], shape)
    value = body.read(x)
    if acc == "b1" and value.dtype != "b1":
        value = value != 0
    else:
        value = cast(value, acc)
    lets = list(body.lets)
    memory = list(body.order)
    walks = [strides_over(p, shape) for p in memory]
    kept = [d for d in range(len(shape)) if d not in axes and shape[d] != 1]
    reduced = [d for d in range(len(shape)) if d in axes and shape[d] != 1]
    step, result_walk = 1, {}
    for d in reversed(kept):
        result_walk[d] = step
        step *= shape[d]
    groups_kept = _joined(kept, shape, walks, result_walk)
    groups_reduced = _joined(reduced, shape, walks, None)
    scale = None
    if node.op.name in ("mean", "mean_dim"):
        scale = prod(shape[d] for d in axes)
    weight = body.weight()
    result = short(out.dtype)
    columns = _by_columns(groups_kept, groups_reduced)
    if not groups_reduced:
        groups_reduced = [(1, [0] * len(memory), 0)]
    make = _columns if columns else _rows
    return make(memory, lets, value, word, acc, result, groups_kept, groups_reduced, out, scale, weight)


def _by_columns(kept, reduced):
    """Whether lanes run along a kept dimension: where the largest operand's memory does."""
    if not kept or not reduced or kept[-1][0] < 4:
        return False
    groups = [*kept, *reduced]
    size, along = 0, False
    for k in range(len(groups[0][1])):
        elements = prod(n for n, walk, _ in groups if walk[k])
        a, b = kept[-1][1][k], min((abs(g[1][k]) for g in reduced if g[1][k]), default=0)
        if elements > size:
            size, along = elements, a != 0 and (b == 0 or abs(a) < b)
    return along


def _joined(dims, shape, walks, result):
    """[(size, strides of each operand, stride of the result)], neighbours that everybody walks as one joined, outermost first."""
    groups = []
    for d in dims:
        walk = [w[d] for w in walks]
        own = 0 if result is None else result[d]
        if groups:
            n, before, last = groups[-1]
            if all(b == s * shape[d] for b, s in zip(before, walk)) and (result is None or last == own * shape[d]):
                groups[-1] = (n * shape[d], walk, own)
                continue
        groups.append((shape[d], walk, own))
    return groups


class _Frame:
    """Parameters and indices of a reduction kernel, as they are needed."""

    def __init__(self, memory, first):
        self.params = [Buffer("out", first)] + [Buffer(f"x{k}", short(p.dtype)) for k, p in enumerate(memory)]
        self.numbers, self.values = [], []

    def size(self, name, value):
        self.numbers.append(Number(name, "i64"))
        self.values.append(value)
        return number(name)

    def stride(self, name, value):
        if value in (0, 1):
            return value
        self.numbers.append(Number(name, "i64"))
        self.values.append(value)
        return name


    def loads(self, memory, parts, lane, inner):
        """The operands as v0, v1, ...: `parts` are (word, groups, indices), lanes run along `lane` with strides `inner`."""
        found = []
        for k, p in enumerate(memory):
            terms = [(name, self.stride(f"s{word}{k}_{g}", walk[k])) for word, groups, names in parts for g, ((_, walk, _), name) in enumerate(zip(groups, names))]
            terms.append((lane, self.stride(f"s{lane}{k}", inner[k])))
            found.append(Let(f"v{k}", load(f"x{k}", tuple(t for t in terms if t[1] != 0), short(p.dtype))))
        return found


def _finished(e, acc, result, scale):
    """The value that is stored: divided for a mean, in the result's dtype."""
    if scale is not None:
        e = e / cast(number("scale"), acc)
    return cast(e, result)


def _rows(memory, lets, value, word, acc, result, kept, reduced, out, scale, weight):
    """Elements along the innermost reduced dimension in lanes; long rows in pieces that a second pass puts together."""
    wide = "f64" if word == "add" and acc == "f32" else acc
    *outer, (count, inner, _) = reduced
    rows = prod(n for n, _, _ in kept)
    around = prod(n for n, _, _ in outer)
    single = rows * around * count <= GRAIN or rows >= 64 or around == 1 and count <= CUT
    cut = count if single else CUT
    pieces = 1 if single else lower.pieces(count, CUT)
    parts = 1 if single else around * pieces
    final = parts == 1
    f = _Frame(memory, result if final else wide)
    names_kept = [f"p{g}" for g in range(len(kept))]
    names_outer = [f"q{g}" for g in range(len(outer))]
    extents = [f.size(f"np{g}", n) for g, (n, _, _) in enumerate(kept)]
    outer_sizes = [f.size(f"nq{g}", n) for g, (n, _, _) in enumerate(outer)]
    m = f.size("m", count)
    loads = f.loads(memory, (("p", kept, names_kept), ("q", outer, names_outer)), "j", inner)
    body = (*loads, *lets, Update("row", value))
    grid = list(names_kept)
    if final:
        statements = (Acc("row", word, acc), Lanes("j", I0, m, body), Update("sum", cast(ref("row", acc), wide)))
        for name, size in zip(reversed(names_outer), reversed(outer_sizes)):
            statements = (Loop(name, I0, size, statements),)
        index = []
        for g, (_, _, own) in enumerate(kept):
            s = f.stride(f"so{g}", own)
            if s != 0:
                index.append((names_kept[g], s))
        if scale is not None:
            f.numbers.append(Number("scale", "i64"))
            f.values.append(scale)
        statements = (Acc("sum", word, wide), *statements, Store("out", tuple(index), _finished(ref("sum", wide), wide, result, scale)))
        if not grid:
            grid, extents = ["p"], [const(1, "i64")]
        p = program_of("rows", (*f.params, *f.numbers), (Grid(tuple(grid), tuple(extents), statements),))
        work = max(1, around * count * max(1, weight // 8))
        return [(p, rows, max(1, GRAIN // work), [out, *memory, *f.values])]
    grid += names_outer + ["c"]
    per = f.size("pieces", pieces)
    start = ref("c") * cut
    lanes = Lanes("j", start, lower.low(start + cut, m), body)
    index, step = [("c", 1)], pieces
    for g in range(len(outer) - 1, -1, -1):
        index.append((names_outer[g], f.stride(f"sw{g}", step)))
        step *= outer[g][0]
    for g in range(len(kept) - 1, -1, -1):
        index.append((names_kept[g], f.stride(f"sv{g}", step)))
        step *= kept[g][0]
    statements = (Acc("row", word, acc), lanes, Store("out", tuple(index), cast(ref("row", acc), wide)))
    p = program_of("pieces", (*f.params, *f.numbers), (Grid(tuple(grid), (*extents, *outer_sizes, per), statements),))
    work = Work(rows * parts * SIZE[wide])
    first = (p, rows * parts, max(1, GRAIN // (cut * max(1, weight // 8))), [work, *memory, *f.values])
    partial = Partial(work, wide)
    second = _rows([partial], [], ref("v0", wide), word, wide, result, [(rows, [parts], 1)] if rows > 1 else [], [(parts, [1], 0)], out, scale, 1)
    return [first, *second]


class Partial:
    """Working memory as an operand of the second pass."""

    def __init__(self, work, word):
        self.work, self.dtype = work, np.dtype(NP[word])


def _columns(memory, lets, value, word, acc, result, kept, reduced, out, scale, weight):
    """The innermost kept dimension in lanes; rows are added in blocks, and blocks by a second pass."""
    *outer, (width, inner, own) = kept
    count = prod(n for n, _, _ in reduced)
    chain = len(reduced) == 1
    total = prod(n for n, _, _ in outer) * width * count
    blocks = lower.pieces(count, ROWS) if chain and count > ROWS and total > GRAIN // 2 else 1
    rows = ROWS if blocks > 1 else count
    final = blocks == 1
    held = acc
    f = _Frame(memory, result if final else held)
    names_kept = [f"p{g}" for g in range(len(outer))]
    names_reduced = [f"r{g}" for g in range(len(reduced))]
    extents = [f.size(f"np{g}", n) for g, (n, _, _) in enumerate(outer)]
    sizes = [f.size(f"nr{g}", n) for g, (n, _, _) in enumerate(reduced)]
    w = f.size("width", width)
    loads = f.loads(memory, (("p", outer, names_kept), ("r", reduced, names_reduced)), "k", inner)
    body = (*loads, *lets, Update("total", value))
    if final:
        loop = body
        for name, size in zip(reversed(names_reduced), reversed(sizes)):
            loop = (Loop(name, I0, size, loop),)
    else:
        first = ref("c") * rows
        loop = (Loop("r0", first, lower.low(first + rows, sizes[0]), body),)
    tile = min(width, TILE)
    start = ref("t") * number("tile")
    f.size("tile", tile)
    tiles = lower.pieces(width, tile)
    index = [("k", f.stride("so", own))] if final else [("k", 1)]
    step = width
    if not final:
        index.append(("c", f.stride("sc", width)))
        step = width * blocks
    for g in range(len(outer) - 1, -1, -1):
        s = f.stride(f"so{g}", outer[g][2] if final else step)
        if s != 0:
            index.append((names_kept[g], s))
        step *= outer[g][0]
    if final and scale is not None:
        f.numbers.append(Number("scale", "i64"))
        f.values.append(scale)
    done = _finished(ref("total", acc), acc, result, scale) if final else cast(ref("total", acc), held)
    lanes = Lanes("k", start, lower.low(start + number("tile"), w), (Acc("total", word, acc), *loop, Store("out", tuple(index), done)))
    grid = [*names_kept, *([] if final else ["c"]), "t"]
    limits = [*extents, *([] if final else [f.size("blocks", blocks)]), f.size("tiles", tiles)]
    p = program_of("columns", (*f.params, *f.numbers), (Grid(tuple(grid), tuple(limits), (lanes,)),))
    around = prod(n for n, _, _ in outer)
    grain = max(1, GRAIN // (rows * tile * max(1, weight // 8)))
    if final:
        return [(p, around * tiles, grain, [out, *memory, *f.values])]
    work = Work(around * blocks * width * SIZE[held])
    launch = (p, around * blocks * tiles, grain, [work, *memory, *f.values])
    partial = Partial(work, held)
    again = [(around, [blocks * width], width)] if around > 1 else []
    rest = _columns([partial], [], ref("v0", held), word, held, result, [*again, (width, [1], 1)], [(blocks, [width], 0)], out, scale, 1)
    return [launch, *rest]


__all__ = ["Work", "pointwise", "reduction"]
