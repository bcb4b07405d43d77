"""Reading and writing at places given by index arrays: gather, scatter, scatter_add, index_select, index_add, embedding.

Everything is brought to grids (outer, n, inner) in C order, of which index arrays name places along n:
    pick        out[o, k] = x[o, index[o, k]]                 inner = 1, index the same for all o where its row step is 0
    pick_rows   out[o, k, :] = x[o, index[k], :]
    pick_each   out[o, k, i] = x[o, index[o, k, i], i]
    put         out[o, index[o, k]] = (or +=) src[o, k]       inner = 1
    put_each    out[o, index[o, k, i], i] = (or +=) src[o, k, i]
    add_rows    out[o, index[k], :] += scale * src[o, k, :]   but where index[k] is `skip`
Elements that are moved are integers of their size. What is added is added in the order of k, so digits are those of a plain
loop: threads share the outer and inner dimensions, which meet nowhere. Indices are int64. `pick`, `pick_each`, `put` and
`put_each` touch nothing out of range and set the byte `bad` where an index is; the front end leaves that test to gather,
scatter and scatter_add for large index arrays (`compiled.checks`). Elsewhere indices are in range, or are counted from the
end, where the row allows that.
"""

from __future__ import annotations

from functools import cache, wraps
from math import prod

import numpy as np

from rushlight.codegen import launch, memory, native
from rushlight.codegen.casts import STORED
from rushlight.codegen.copying import contiguous
from rushlight.codegen.layout import short
from rushlight.codegen.llvm import Module, V, i64, vector
from rushlight.codegen.lower import pieces
from rushlight.core.settings import SETTINGS

GRAIN = 1 << 15  # elements that are worth another thread
PART = 1 << 13  # places of a row that are one piece of the grid
TILE = 1 << 8  # columns of a piece
_ADDED = {d: STORED[d] for d in ("f32", "f64", "i8", "u8", "i16", "i32", "i64")}
_MOVED = (1, 2, 4, 8)
TRUE, FALSE = V("true", "i1"), V("false", "i1")


def _begin(name, slots):
    m = Module()
    b = m.function(name, [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    kinds = {"*": "ptr", "$": "double"}
    s = {n.rstrip("*$"): b.load(kinds.get(n[-1], "i64"), b.at_bytes(b.args[0], i64(8 * k))) for k, n in enumerate(slots.split())}
    return m, b, s


def _end(m, b):
    b.ret()
    b.done()
    return str(m)


def _smaller(b, p, q):
    return b.select(b.cmp("slt", p, q), p, q)


def _place(b, s, at):
    return b.load("i64", b.gep(s["index"], at, "i64"))


def _add(b, element, x, y):
    return b.op("fadd" if element in ("float", "double") else "add", x, y)


def _segment(b, s, task, count, part):
    """(o, first, stop) of a task over `count` in parts."""
    parts = s["parts"]
    part = i64(part) if isinstance(part, int) else part
    first = b.mul(b.op("urem", task, parts), part)
    return b.op("udiv", task, parts), first, _smaller(b, b.add(first, part), count)


SLOTS = {
    "pick": "x* index* out* n k irow parts bad*",
    "pick_rows": "x* index* out* n k inner",
    "pick_each": "x* index* out* n k inner bad*",
    "put": "out* index* src* n k irow bad*",
    "put_each": "out* index* src* n k inner parts bad*",
    "add_rows": "out* index* src* n k inner parts tile skip scale$",
}


def _held(b, s, place, wrong):
    """(a place that is in range, `wrong` or whether this one was not)."""
    inside = b.cmp("ult", place, s["n"])
    return b.select(inside, place, i64(0)), b.op("or", wrong, b.op("xor", inside, TRUE))


def _told(b, s, wrong):
    with b.when(wrong):
        b.store(V("1", "i8"), s["bad"])


def pick(element):
    m, b, s = _begin("pick", SLOTS["pick"])
    with b.loop(b.args[1], b.args[2]) as task:
        o, first, stop = _segment(b, s, task.i, s["k"], PART)
        x, index = b.gep(s["x"], b.mul(o, s["n"]), element), b.gep(s["index"], b.mul(o, s["irow"]), "i64")
        out = b.gep(s["out"], b.mul(o, s["k"]), element)
        with b.loop(first, stop, 1, [FALSE]) as k:
            place, wrong = _held(b, s, b.load("i64", b.gep(index, k.i, "i64")), k.carried[0])
            b.store(b.load(element, b.gep(x, place, element)), b.gep(out, k.i, element))
            k.next = [wrong]
        _told(b, s, k.results[0])
    return _end(m, b)


def pick_rows(element):
    m, b, s = _begin("pick_rows", SLOTS["pick_rows"])
    lanes = 32 // (int(element[1:]) // 8)
    t = vector(element, lanes)
    inner = s["inner"]
    whole = b.sub(inner, b.emit(f"urem i64 {inner.text}, {lanes}", "i64"))
    with b.loop(b.args[1], b.args[2]) as task:
        o, k = b.op("udiv", task.i, s["k"]), b.op("urem", task.i, s["k"])
        x = b.gep(s["x"], b.mul(b.add(b.mul(o, s["n"]), _place(b, s, k)), inner), element)
        out = b.gep(s["out"], b.mul(task.i, inner), element)
        with b.loop(i64(0), whole, lanes) as i:
            b.store(b.load(t, b.gep(x, i.i, element)), b.gep(out, i.i, element))
        with b.loop(whole, inner) as i:
            b.store(b.load(element, b.gep(x, i.i, element)), b.gep(out, i.i, element))
    return _end(m, b)


def pick_each(element):
    m, b, s = _begin("pick_each", SLOTS["pick_each"])
    inner = s["inner"]
    with b.loop(b.args[1], b.args[2]) as task:
        x = b.gep(s["x"], b.mul(b.mul(b.op("udiv", task.i, s["k"]), s["n"]), inner), element)
        start = b.mul(task.i, inner)
        with b.loop(i64(0), inner, 1, [FALSE]) as i:
            at = b.add(start, i.i)
            place, wrong = _held(b, s, _place(b, s, at), i.carried[0])
            b.store(b.load(element, b.gep(x, b.add(b.mul(place, inner), i.i), element)), b.gep(s["out"], at, element))
            i.next = [wrong]
        _told(b, s, i.results[0])
    return _end(m, b)


def _put_one(b, element, add, place, value):
    b.store(_add(b, element, b.load(element, place), value) if add else value, place)


def put(element, add):
    m, b, s = _begin("put", SLOTS["put"])
    with b.loop(b.args[1], b.args[2]) as o:
        out, index = b.gep(s["out"], b.mul(o.i, s["n"]), element), b.gep(s["index"], b.mul(o.i, s["irow"]), "i64")
        src = b.gep(s["src"], b.mul(o.i, s["k"]), element)
        with b.loop(i64(0), s["k"], 1, [FALSE]) as k:  # a wrong index puts something at place 0 of what is then thrown away
            place, wrong = _held(b, s, b.load("i64", b.gep(index, k.i, "i64")), k.carried[0])
            _put_one(b, element, add, b.gep(out, place, element), b.load(element, b.gep(src, k.i, element)))
            k.next = [wrong]
        _told(b, s, k.results[0])
    return _end(m, b)


def put_each(element, add):
    m, b, s = _begin("put_each", SLOTS["put_each"])
    inner = s["inner"]
    with b.loop(b.args[1], b.args[2]) as task:
        o, first, stop = _segment(b, s, task.i, inner, TILE)
        out = b.gep(s["out"], b.mul(b.mul(o, s["n"]), inner), element)
        start = b.mul(b.mul(o, s["k"]), inner)
        with b.loop(i64(0), s["k"], 1, [FALSE]) as k:
            row = b.add(start, b.mul(k.i, inner))
            with b.loop(first, stop, 1, [k.carried[0]]) as i:
                at = b.add(row, i.i)
                place, wrong = _held(b, s, _place(b, s, at), i.carried[0])
                _put_one(b, element, add, b.gep(out, b.add(b.mul(place, inner), i.i), element), b.load(element, b.gep(s["src"], at, element)))
                i.next = [wrong]
            k.next = [i.results[0]]
        _told(b, s, k.results[0])
    return _end(m, b)


def add_rows(element, scaled):
    m, b, s = _begin("add_rows", SLOTS["add_rows"])
    inner = s["inner"]
    lanes = native.vector_bytes() // {"float": 4, "double": 8}.get(element, 8 if element == "i64" else 4)
    floating = element in ("float", "double")
    scale = None
    if scaled:
        scale = s["scale"] if element == "double" else b.cast("fptrunc", s["scale"], "float") if floating else b.emit(f"fptosi double {s['scale'].text} to {element}", element)

    def step(n, out, src, at):
        t = vector(element, n)
        value = b.load(t, b.gep(src, at, element))
        if scaled:
            value = b.op("fmul" if floating else "mul", value, b.splat(scale, n))
        place = b.gep(out, at, element)
        b.store(_add(b, element, b.load(t, place), value), place)

    with b.loop(b.args[1], b.args[2]) as task:
        o, first, stop = _segment(b, s, task.i, inner, s["tile"])
        whole = b.sub(stop, b.emit(f"urem i64 {b.sub(stop, first).text}, {lanes}", "i64"))
        with b.loop(i64(0), s["k"]) as k:
            place = _place(b, s, k.i)
            with b.when(b.cmp("ne", place, s["skip"])):
                out = b.gep(s["out"], b.mul(b.add(b.mul(o, s["n"]), place), inner), element)
                src = b.gep(s["src"], b.mul(b.add(b.mul(o, s["k"]), k.i), inner), element)
                with b.loop(first, whole, lanes) as i:
                    step(lanes, out, src, i.i)
                with b.loop(whole, stop) as i:
                    step(0, out, src, i.i)
    return _end(m, b)


@cache
def _kernel(make, *key):
    memory.recycle()
    name = make.__name__
    kinds = "".join({"*": "p", "$": "d"}.get(n[-1], "q") for n in SLOTS[name].split())
    return launch.launcher(native.load(make(*key), [name], optimise=False)[name], kinds)


# ---- the rows


def _moved(x):
    """The integer type of x's elements; None for sizes that there is none of."""
    return f"i{8 * x.itemsize}" if x.itemsize in _MOVED else None


def _grid(shape, axis):
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def _plain(a):
    return a if a.flags.c_contiguous else contiguous(a)


def _corner(x, index, axis):
    """The part of x that the index array covers: all of `axis`, of other dimensions as much as index has."""
    if all(n == m for d, (n, m) in enumerate(zip(x.shape, index.shape)) if d != axis):
        return _plain(x)
    return contiguous(x[tuple(slice(None) if d == axis else slice(0, n) for d, n in enumerate(index.shape))])


def _checked(f):
    """A reading f(x, index, ...) that raises where an index is out of range, whoever then does the work."""

    @wraps(f)
    def g(x, index, *rest, **attrs):
        axis = attrs["axis"] if "axis" in attrs else rest[-1]
        bad = np.zeros(1, np.uint8)
        out = f(x, index, *rest, bad=bad, **attrs)
        if (out is NotImplemented or bad[0]) and index.size:
            size = x.shape[axis] if x.ndim else 1
            low, high = int(index.min()), int(index.max())
            if low < 0 or high >= size:
                raise RuntimeError(f"index {low if low < 0 else high} is out of bounds for dimension {axis} with size {size}")
        return out

    return g


@_checked
def gather(x, index, axis, bad):
    element = _moved(x)
    if element is None or not x.ndim or not index.ndim or not index.size or index.dtype != np.int64 or not x.size:
        return NotImplemented
    x, index = _corner(x, index, axis), _plain(index)
    out = np.empty(index.shape, x.dtype)
    outer, k, inner = _grid(index.shape, axis)
    n = x.shape[axis]
    if inner == 1:
        _pick(element, x, index, out, outer, n, k, k, bad)
    else:
        _kernel(pick_each, element)(outer * k, max(1, GRAIN // inner), x, index, out, n, k, inner, bad)
    return out


def _pick(element, x, index, out, outer, n, k, irow, bad):
    parts = pieces(k, PART)
    _kernel(pick, element)(outer * parts, max(1, GRAIN // min(k, PART)), x, index, out, n, k, irow, parts, bad)


def _vector(index, n, wrap):
    """A vector of int64 places, those counted from the end made plain where `wrap`."""
    index = np.asarray(index, np.int64, order="C").reshape(-1)
    return np.where(index < 0, index + n, index) if wrap and index.size and int(index.min()) < 0 else index


def index_select(x, index, axis, wrap=False):
    element = _moved(x)
    if element is None or not x.ndim or not index.size or not x.size:
        return NotImplemented
    x, (outer, n, inner) = _plain(x), _grid(x.shape, axis)
    index = _vector(index, n, wrap)
    k = index.size
    out = np.empty((*x.shape[:axis], k, *x.shape[axis + 1 :]), x.dtype)
    if inner == 1:
        _pick(element, x, index, out, outer, n, k, 0, np.empty(1, np.uint8))
    else:
        _kernel(pick_rows, element)(outer * k, max(1, GRAIN // inner), x, index, out, n, k, inner)
    return out


def _whole_rows(x, indices, key):
    """Whether an advanced key is one array of integers in front, and the rest of it whole dimensions."""
    return len(indices) == 1 and indices[0].dtype.kind == "i" and not isinstance(key[0], slice) and key[0] is not None and all(k == slice(None) for k in key[1:])


def index(x, *indices, key, shape):
    """Advanced indexing by one array of integers along the first dimension."""
    if not x.ndim or not _whole_rows(x, indices, key) or not x.flags.c_contiguous:
        return NotImplemented
    return _shaped(index_select(x, indices[0], 0, True), shape)


def _shaped(out, shape):
    """out in another shape, still the owner of its memory."""
    if out is not NotImplemented:
        out.shape = shape
    return out


def embedding(w, index, padding_idx, scale_grad_by_freq):
    return _shaped(index_select(w, index, 0), (*index.shape, *w.shape[1:]))


def _scattered(x, index, src, axis, add, bad):
    """x with src put at (or added to) index[i][j] along `axis`."""
    element = _ADDED.get(short(x.dtype)) if add else _moved(x)
    if element is None or not x.ndim or not index.ndim or not index.size or index.dtype != np.int64 or src.dtype != x.dtype or not x.size:
        return NotImplemented
    if any(n != m for d, (n, m) in enumerate(zip(x.shape, index.shape)) if d != axis):
        return NotImplemented
    src, index = src if src.shape == index.shape else src[tuple(slice(0, n) for n in index.shape)], _plain(index)
    src, out = _plain(src), x.copy(order="C") if x.flags.c_contiguous else contiguous(x)
    outer, k, inner = _grid(index.shape, axis)
    n = x.shape[axis]
    if inner == 1:
        _kernel(put, element, add)(outer, max(1, GRAIN // k), out, index, src, n, k, k, bad)
    else:
        parts = pieces(inner, TILE)
        _kernel(put_each, element, add)(outer * parts, max(1, GRAIN // (k * min(inner, TILE))), out, index, src, n, k, inner, parts, bad)
    return out


@_checked
def scatter(x, index, src, axis, bad):
    return _scattered(x, index, np.broadcast_to(np.asarray(src, x.dtype), index.shape) if not np.ndim(src) else src, axis, False, bad)


def scatter_value(x, index, axis, value):
    return NotImplemented if x.dtype.kind == "V" else scatter(x, index, np.asarray(value).astype(x.dtype), axis)


@_checked
def scatter_add(x, index, src, axis, bad):
    return _scattered(x, index, src, axis, True, bad)


def _add_rows(out, index, src, axis, scale=1, skip=-1):
    """out[:, index[k], :] += scale * src[:, k, :] in place, along `axis`; whether it was done."""
    element = _ADDED.get(short(out.dtype))
    if element is None or src.dtype != out.dtype or scale != 1 and element not in ("float", "double"):
        return False
    outer, n, inner = _grid(out.shape, axis)
    k, src = index.size, _plain(src)
    if inner == 1 and skip < 0 and scale == 1:
        _kernel(put, element, True)(outer, max(1, GRAIN // k), out, index, src, n, k, 0, np.empty(1, np.uint8))
        return True
    tile = max(TILE, pieces(inner, SETTINGS.threads * 64) * 64)  # as wide as the threads leave it: rows are read in their order
    parts = pieces(inner, tile)
    _kernel(add_rows, element, scale != 1)(outer * parts, max(1, GRAIN // (k * min(inner, tile))), out, index, src, n, k, inner, parts, tile, skip, float(scale))
    return True


def index_add(x, index, src, axis, alpha):
    if not x.ndim or not index.size or src.ndim != x.ndim or not x.size:
        return NotImplemented
    out = x.copy(order="C")
    return out if _add_rows(out, _vector(index, 0, False), src, axis, alpha) else NotImplemented


def index_put(x, v, *indices, key, shape, accumulate):
    if not accumulate or not x.ndim or not _whole_rows(x, indices, key) or not indices[0].size or not x.size:
        return NotImplemented
    places = _vector(indices[0], x.shape[0], True)
    full = (*indices[0].shape, *x.shape[1:])
    if v.shape != full:
        return NotImplemented
    out = x.copy(order="C")
    return out if _add_rows(out, places, v.reshape(places.size, *x.shape[1:]), 0) else NotImplemented


def embedding_adjoint(g, index, rows, padding_idx, scale_grad_by_freq):
    if scale_grad_by_freq or not index.size or not g.ndim or not g.size:
        return NotImplemented
    out = np.zeros((rows, g.shape[-1]), g.dtype)
    done = _add_rows(out, _vector(index, 0, False), g.reshape(index.size, g.shape[-1]), 0, skip=-1 if padding_idx is None else padding_idx)
    return out if done else NotImplemented
