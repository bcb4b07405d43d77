"""Which nodes run as one kernel.

    Unit   nodes that are done in one pass over one iteration space: pointwise arithmetic, moves of memory, and at most one
           reduction at the end; or a single node of another kind

`units(nodes, outputs)` puts each node into the unit of what it depends on, where it reads and writes the same elements as
that, else into a later one of the same space that shares an operand with it, else into one of its own. What is made in a
unit and read nowhere else is never stored.

    a = x * 2        ->    [b = x * 2 + 1;  c = sum(b)]          a is no memory, b neither if nobody reads it
    b = a + 1
    c = b.sum()

Invariants: a node never moves past one that touches memory that it writes, nor past one that writes memory that it reads;
inside a unit every buffer that is written is touched at the same elements only.
"""

from __future__ import annotations

from math import prod

from rushlight.codegen.layout import short
from rushlight.compiler.graph import Place, overlap, same

MOVES = {"copy": 1, "cast": 0, "clone": 0, "fill": None, "zero": None, "fill_tensor": 1, "contiguous": 0, "to_device": 0}
REDUCTIONS = {"sum": "add", "sum_dim": "add", "mean": "add", "mean_dim": "add", "prod": "mul", "prod_dim": "mul", "amax": "max", "max_all": "max", "amin": "min", "min_all": "min", "all": "and", "any": "or"}
MOST_PLACES = 14  # operands and results of one kernel
MOST_NODES = 48


class Unit:
    """Nodes that run together. `kind`: "pointwise", "reduction" or "single"."""

    __slots__ = ("kind", "shape", "nodes", "places", "written")

    def __init__(self, kind, shape, nodes):
        self.kind, self.shape, self.nodes = kind, shape, list(nodes)
        self.places, self.written = {}, set()  # buffer -> its places; buffers that are written
        for node in nodes:
            self._note(node)

    def _note(self, node):
        for p in (*node.places_read(), *node.writes):
            self.places.setdefault(p.buffer, []).append(p)
        self.written.update(w.buffer for w in node.writes)

    def add(self, node):
        self.nodes.append(node)
        self._note(node)


def normal(shape):
    """An iteration space without its dimensions of size 1: what decides whether two spaces are one."""
    return tuple(n for n in shape if n != 1)


def traceable(node):
    """Whether a node can be part of a pointwise kernel."""
    op = node.op
    if op.name in MOVES:
        if op.name == "clone" and node.attrs.get("order") not in (None, "C") and not node.writes[0].dense():
            return False
    elif op.family != "pointwise" or op.body is None or len(node.writes) != 1:
        return False
    for p in (*node.places_read(), *node.writes):
        if short(p.dtype) in (None, "f16", "bf16"):
            return False
    if not node.writes[0].size or any(n != 1 and s == 0 for n, s in zip(node.writes[0].shape, node.writes[0].strides)):
        return False
    if op.name == "cast" and "dtype" in node.attrs and node.attrs["dtype"].is_complex:
        return False
    compute = getattr(node.spec, "compute", None)
    return (compute is None or short(compute.np) not in (None, "f16", "bf16")) and getattr(node.spec, "half", None) is None


def reducible(node):
    """Whether a node is a reduction that a kernel can do."""
    if node.op.name not in REDUCTIONS or not node.fresh or len(node.writes) != 1 or not node.writes[0].dense():
        return False
    x = node.reads[0]
    if x.__class__ is not Place or not x.size or short(x.dtype) in (None, "f16", "bf16"):
        return False
    out = short(node.writes[0].dtype)
    if out in (None, "f16", "bf16"):
        return False
    if any(n != 1 and s < 1 for n, s in zip(x.shape, x.strides)):
        return False
    compute = getattr(node.spec, "compute", None)
    return compute is None or short(compute.np) not in (None, "f16", "bf16")


class _Builder:
    def __init__(self, outputs):
        self.outputs, self.units = outputs, []
        self.last_write, self.last_touch = {}, {}

    def needed(self, node):
        """The unit after which, or in which, a node has to run."""
        need = -1
        for p in node.places_read():
            need = max(need, self.last_write.get(p.buffer, -1))
        for w in node.writes:
            need = max(need, self.last_touch.get(w.buffer, -1))
        return need

    def enter(self, node, index):
        for p in node.places_read():
            self.last_touch[p.buffer] = max(self.last_touch.get(p.buffer, -1), index)
        for w in node.writes:
            self.last_touch[w.buffer] = max(self.last_touch.get(w.buffer, -1), index)
            self.last_write[w.buffer] = max(self.last_write.get(w.buffer, -1), index)

    def fits(self, unit, node, shape):
        """Whether a node can run inside a pointwise unit, after its nodes."""
        if unit.kind != "pointwise" or unit.shape != shape or len(unit.nodes) >= MOST_NODES:
            return False
        touched = (*node.places_read(), *node.writes)
        if len(unit.places) + sum(p.buffer not in unit.places for p in touched) > MOST_PLACES and prod(shape) > 1:
            return False
        writes = {w.buffer for w in node.writes}
        for p in touched:
            if p.buffer in unit.written or p.buffer in writes and p.buffer in unit.places:
                if normal(p.shape) != shape or not all(_aligned(p, q) or not overlap(p, q) for q in unit.places.get(p.buffer, ())):
                    return False
                if not all(_aligned(p, q) or not overlap(p, q) for q in touched if q is not p and q.buffer is p.buffer):
                    return False
        return True

    def pointwise(self, node):
        shape = normal(node.writes[0].shape)
        need = self.needed(node)
        if need >= 0 and self.fits(self.units[need], node, shape):
            self._join(need, node)
            return
        reads = {p.buffer for p in node.places_read() if p.size > 1}
        for index in range(need + 1, len(self.units)):
            unit = self.units[index]
            if (not reads.isdisjoint(unit.places) or not shape) and self.fits(unit, node, shape) and (shape or need >= 0 and index == need + 1):
                self._join(index, node)
                return
        self.append(Unit("pointwise", shape, [node]))

    def _join(self, index, node):
        self.units[index].add(node)
        self.enter(node, index)

    def append(self, unit):
        index = len(self.units)
        self.units.append(unit)
        for node in unit.nodes:
            self.enter(node, index)


def _aligned(p, q):
    """Whether two places of one iteration space are the same elements, dimensions of size 1 apart."""
    if p.shape == q.shape:
        return same(p, q)
    if p.buffer is not q.buffer or p.offset != q.offset or p.dtype != q.dtype:
        return False
    a = [(n, s) for n, s in zip(p.shape, p.strides) if n != 1]
    return a == [(n, s) for n, s in zip(q.shape, q.strides) if n != 1]


def units(nodes, outputs):
    """The nodes in units, in an order in which they can run; `outputs` are the buffers that are read afterwards."""
    b = _Builder(outputs)
    for node in nodes:
        if traceable(node):
            b.pointwise(node)
        elif reducible(node):
            b.append(Unit("reduction", None, [node]))
        else:
            b.append(Unit("single", None, [node]))
    return _absorb(_merged(b, b.units), outputs)


def _merged(b, all_units):
    """Put a unit into the one that reads what it makes, where nothing in between is in the way.

        [m = m + w (g - m)]  [v = b v + g g; p = p - m / sqrt(v)]    ->    one unit: g and m are read once
    """
    makers = {}
    out = list(all_units)
    for u in all_units:
        if u.kind == "pointwise":
            for maker in {makers[p.buffer] for n in u.nodes for p in n.places_read() if p.buffer in makers}:
                if maker is not u and maker in out and maker.kind == "pointwise" and u.shape and maker.shape == u.shape and _joinable(b, out, maker, u):
                    both = Unit("pointwise", u.shape, maker.nodes)
                    for n in u.nodes:
                        both.add(n)
                    u.nodes, u.places, u.written = both.nodes, both.places, both.written
                    out.remove(maker)
        for buffer in u.written:
            makers[buffer] = u
    return out


def _joinable(b, out, maker, u):
    """Whether `maker` can run where `u` does, as part of it."""
    if len(maker.nodes) + len(u.nodes) > MOST_NODES or len({*maker.places, *u.places}) > MOST_PLACES:
        return False
    begin, end = out.index(maker), out.index(u)
    for between in out[begin + 1 : end]:
        if not maker.written.isdisjoint(between.places) or not between.written.isdisjoint(maker.places):
            return False
    trial = Unit("pointwise", maker.shape, maker.nodes)
    for n in u.nodes:
        if not b.fits(trial, n, u.shape):
            return False
        trial.add(n)
    return True


def readers(all_units):
    """{buffer: the units that read it}."""
    found = {}
    for u in all_units:
        for node in u.nodes:
            for p in node.places_read():
                found.setdefault(p.buffer, set()).add(u)
    return found


def _absorb(all_units, outputs):
    """Put a pointwise unit whose only result is reduced by one reduction, and seen by nobody else, in front of it.

        [t = x * y]  [s = sum(t)]    ->    [t = x * y; s = sum(t)]
    """
    reading = readers(all_units)
    makers = {}
    for u in all_units:
        for buffer in u.written:
            makers.setdefault(buffer, []).append(u)
    gone = set()
    for u in all_units:
        if u.kind != "reduction":
            continue
        x = u.nodes[0].reads[0]
        made = makers.get(x.buffer, ())
        if len(made) != 1 or made[0].kind != "pointwise" or made[0] in gone or x.buffer.kind != "local" or x.buffer in outputs:
            continue
        maker = made[0]
        stored = [b for b in maker.written if b.kind != "local" or b in outputs or reading.get(b, set()) - {maker, u}]
        if stored or reading[x.buffer] - {maker, u} or maker.shape != normal(x.shape):
            continue
        if not all(_aligned(x, q) for q in maker.places[x.buffer]) or not _undisturbed(all_units, maker, u):
            continue
        u.nodes = [*maker.nodes, *u.nodes]
        u.places, u.written = {}, set()
        for node in u.nodes:
            u._note(node)
        gone.add(maker)
    return [u for u in all_units if u not in gone]


def _undisturbed(all_units, maker, u):
    """Whether nothing between two units writes what the first one reads."""
    begin, end = all_units.index(maker), all_units.index(u)
    reads = set(maker.places)
    return all(reads.isdisjoint(between.written) for between in all_units[begin + 1 : end])


__all__ = ["MOVES", "REDUCTIONS", "Unit", "normal", "reducible", "traceable", "units"]
