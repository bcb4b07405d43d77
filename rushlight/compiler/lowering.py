"""From units to launches: what a compiled program does, kernel by kernel, over places instead of addresses.

    Launch   a kernel with its slots: Places, Work, numbers
    Call     a node that the CPU backend does in Python: everything that has no kernel here (sorting, linear algebra, ...)

Pointwise units and reductions are lowered by compiler/kernels.py. Products of matrices and the rows of `RECORDED` have
functions of their own in codegen/, which are recorded (codegen/record.py) on stand-in arrays that nobody looks into.
"""

from __future__ import annotations

import struct

import numpy as np

from rushlight.codegen import conv, native, record, rows, windows
from rushlight.codegen import matmul as products
from rushlight.codegen.loops import Number, Untraceable
from rushlight.compiler import fuse, gather, kernels
from rushlight.compiler.graph import FLOATS, Place
from rushlight.compiler.kernels import Work

ndarray = np.ndarray


class Launch:
    """A kernel and its slots: each a Place, a Work or the slot's 64 bits as an int.

    `status` is the word that a checked launch sets, `node` what Python runs when it did.
    """

    __slots__ = ("code", "name", "slots", "total", "grain", "status", "node", "keep")

    def __init__(self, code, name, slots, total, grain, status=None, node=None, keep=()):
        self.code, self.name, self.slots, self.total, self.grain = code, name, slots, total, grain
        self.status, self.node, self.keep = status, node, keep

    def __str__(self):
        return f"{self.name}({', '.join(str(s) for s in self.slots if s.__class__ is Place)})"


class Call:
    """A node run in Python."""

    __slots__ = ("node",)

    def __init__(self, node):
        self.node = node

    def __str__(self):
        return str(self.node)


def _conv_transpose(x, w, b, stride, padding, dilation, groups, size):
    """conv.conv_transpose where every place is reached by the windows; others NumPy fills."""
    if any(s > 1 and (d != 1 or s > k) for d, s, k in zip(dilation, stride, w.shape[2:])):
        return NotImplemented
    return conv.conv_transpose(x, w, b, stride, padding, dilation, groups, size)


#: rows whose function in codegen/ does nothing but launch, and gives results in row-major order
RECORDED = {
    "softmax": rows.softmax,
    "log_softmax": rows.log_softmax,
    "softmax_backward": rows.softmax_adjoint,
    "log_softmax_backward": rows.log_softmax_adjoint,
    "layer_norm": rows.layer_norm,
    "layer_norm_backward": rows.layer_norm_adjoint,
    "group_norm": rows.group_norm,
    "conv": conv.conv,
    "conv_weight": conv.conv_weight,
    "conv_transpose": _conv_transpose,
    "put_flat": windows.put_places,
    "avg_pool_backward": windows.avg_adjoint,
    "max_pool": windows.max_plain,
    "max_pool2d": windows.max_pool,
    "max_pool3d": windows.max_pool,
    "avg_pool2d": windows.avg_pool,
    "avg_pool3d": windows.avg_pool,
}
PRODUCTS = ("mm", "bmm", "matmul", "addmm", "baddbmm", "linear", "linear_batch", "linear_plain", "linear_plain_batch")


def bits(value, dtype):
    """A number as a slot."""
    if dtype in ("f32", "f64"):
        return struct.unpack("=q", struct.pack("=d", float(value)))[0]
    return int(value)


def lower(nodes, outputs):
    """[Launch | Call] for nodes in order; `outputs` are the buffers that somebody sees afterwards."""
    todo = fuse.units(nodes, outputs)
    inside = {n.writes[1].buffer for n in nodes if n.op.name in ("max_pool2d", "max_pool3d")}  # places that maxima were found at
    while True:
        steps, bad = [], None
        reading = fuse.readers(todo)
        for unit in todo:

            def stored(buffer, unit=unit, reading=reading):
                return buffer.kind != "local" or buffer in outputs or bool(reading.get(buffer, set()) - {unit})

            try:
                steps += _unit(unit, stored, inside)
            except (Untraceable, ValueError, KeyError, TypeError, OverflowError):
                if unit.kind == "single":
                    raise
                bad = unit
                break
        if bad is None:
            return steps
        at = todo.index(bad)
        todo[at : at + 1] = [fuse.Unit("single", None, [n]) for n in bad.nodes]


def _unit(unit, stored, inside):
    if unit.kind == "pointwise":
        return [_launch(*k) for k in kernels.pointwise(unit, stored)]
    if unit.kind == "reduction":
        return [_launch(*k) for k in kernels.reduction(unit)]
    node = unit.nodes[0]
    name = node.op.name
    recorded = None
    if node.fresh and not all(w.dense() for w in node.writes):
        return [Call(node)]  # kernels write rows
    if name in PRODUCTS:
        recorded = _product(node)
    elif name in gather.KERNELS:
        found = gather.KERNELS[name](node) if node.fresh else None
        recorded = None if found is None else [_launch(*k[:4], *(k[4:] and (k[4], node))) for k in found]
    elif name in RECORDED and (name != "put_flat" or _maxima(node, inside)):
        recorded = _recorded(node, RECORDED[name])
    return [Call(node)] if recorded is None else recorded


def _maxima(node, inside):
    """Whether values are put at places that are known to be inside."""
    g, index = node.reads
    return index.buffer in inside and index.dense() and g.dense() and g.dtype in FLOATS and index.dtype == np.int64 and g.size


def _launch(program, total, grain, args, status=None, node=None):
    params = program.kernel.params
    slots = []
    for p, a in zip(params, args):
        if isinstance(p, Number):
            slots.append(bits(a, p.dtype))
        else:
            slots.append(a.work if a.__class__ is kernels.Partial else a)
    return Launch(program.code, program.kernel.name, slots, total, grain, status, node)


# ---- functions that are recorded


class _StandIns:
    """Arrays in place of the program's memory, and back from an array or address to the place."""

    def __init__(self):
        self.ranges = []  # (first byte, bytes, array, the place, byte of the buffer that the first one is)

    def array(self, place):
        """An array laid out as the place is."""
        low, high = place.span()
        flat = np.empty(max(high - low, 1), np.uint8)
        itemsize = place.dtype.itemsize
        found = np.ndarray(place.shape, place.dtype, flat, place.offset * itemsize - low, [s * itemsize for s in place.strides])
        self.ranges.append((native.address(flat), high - low, flat, place, low))
        return found

    def result(self, array, place):
        """An array that a recorded function made is the place."""
        self.ranges.append((native.address(array), array.nbytes, array, place, place.offset * place.dtype.itemsize))

    def at(self, address, temporaries):
        """The place at an address; Untraceable where nothing is known to be there."""
        for first, size, _, place, low in self.ranges:
            if first <= address < first + max(size, 1):
                skip = address - first + low
                if skip % place.dtype.itemsize:
                    raise Untraceable("an address between elements")
                return place._replace(shape=(), strides=(), offset=skip // place.dtype.itemsize)
        for first, size, work in temporaries:
            if first <= address < first + size:
                if address != first:
                    raise Untraceable("an address inside working memory")
                return work
        raise Untraceable("an address of unknown memory")


def _recorded(node, function):
    """The launches of a row's own function; None where it leaves the row to NumPy or does more than launch."""
    stand = _StandIns()
    args = [stand.array(r) if r.__class__ is Place else r for r in node.reads]
    with record.recording() as tape:
        results = function(*args, **node.attrs)
    if results is NotImplemented or not tape.launches:
        return None
    results = results if results.__class__ is tuple else (results,)
    for array, place in zip(results, node.writes):
        if array.shape != place.shape or array.dtype != place.dtype or not array.flags.c_contiguous:
            return None
        stand.result(array, place)
    try:
        return _resolved(node, tape, stand)
    except Untraceable:
        return None


def _resolved(node, tape, stand):
    """What a tape holds, in places."""
    temporaries = [(at, max(1, size), Work(size)) for at, size, _ in tape.rooms]
    launches = []
    for entry in tape.launches:
        if entry.__class__ is record.Raw:
            launches.append(_raw(entry, tape, stand, temporaries))
            continue
        if len(entry) == 2:
            launches += _product_launch(entry, stand)
            continue
        program, total, grain, given = entry
        slots = []
        for p, a in zip(program.kernel.params, given):
            if isinstance(p, Number):
                slots.append(bits(a, p.dtype))
                continue
            try:
                slots.append(stand.at(native.address(a), temporaries))
            except Untraceable:
                work = Work(a.nbytes)
                temporaries.append((native.address(a), max(1, a.nbytes), work))
                slots.append(work)
        launches.append(Launch(program.code, program.kernel.name, slots, total, grain))
    written = {s.buffer for launch in launches for s in launch.slots if s.__class__ is Place}
    return launches if all(w.buffer in written for w in node.writes) else None


def _raw(entry, tape, stand, temporaries):
    """The launch of packed slots: what looks like an address must be one that is known."""
    if not isinstance(entry.slots, bytes):
        raise Untraceable("slots that are not packed")
    slots, keep = [], []
    for v in struct.unpack(f"={len(entry.slots) // 8}q", entry.slots):
        if not 1 << 32 < v < 1 << 47:
            slots.append(v)
            continue
        try:
            slots.append(stand.at(v, temporaries))
        except Untraceable:
            table = next((a for a in tape.arrays if a.dtype == np.int64 and native.address(a) == v), None)
            if table is None:
                raise
            keep.append(table)  # numbers that follow from sizes alone
            slots.append(v)
    return Launch(entry.code, "kernel", slots, entry.total, entry.grain, keep=keep)


def _product(node):
    """The launches of a product of matrices."""
    name, attrs = node.op.name, node.attrs
    out = node.writes[0]
    places = [r for r in node.reads if r.__class__ is Place]
    if out.dtype not in FLOATS or any(p.dtype != out.dtype for p in places) or not out.size or any(v.__class__ is Place for v in attrs.values()):
        return None
    if not node.fresh and any(p.buffer is out.buffer for p in places):
        return None
    stand = _StandIns()
    arrays = [stand.array(r) if r.__class__ is Place else r for r in node.reads]
    c = stand.array(out)
    addend, alpha, beta = None, 1.0, 1.0
    if name in ("addmm", "baddbmm"):
        addend, x, y = arrays
        alpha, beta = float(attrs.get("alpha", 1)), float(attrs.get("beta", 1))
    elif name.startswith("linear"):
        x, w = arrays[:2]
        addend = arrays[2] if len(arrays) > 2 else None
        if x.ndim < 2 or w.ndim != 2 or x.ndim > 2 and not x.flags.c_contiguous or not c.flags.c_contiguous:
            return None
        x, y, c = x.reshape(-1, x.shape[-1]), w.T, c.reshape(-1, c.shape[-1])
    else:
        x, y = arrays[:2]
    if x.ndim < 2 or y.ndim < 2 or not x.shape[-1]:
        return None
    with record.recording() as tape:
        products.product(x, y, c, addend, alpha, beta)
    try:
        return [launch for entry in tape.launches for launch in _product_launch(entry, stand)]
    except Untraceable:
        return None


def _product_launch(entry, stand):
    """The launches of one prepared product, with working memory of the program's own."""
    launch, addresses = entry
    if not isinstance(launch, products._Launch):
        raise Untraceable("a launch of another kind")
    head = [stand.at(a, ()) for a in addresses]
    room = Work(launch.room) if launch.room else 0
    packed = Work(launch.packed) if launch.packed else 0
    tail = list(struct.unpack(f"={len(launch.tail) // 8}q", launch.tail))
    slots = [*head, room, packed, *tail]
    found = []
    if launch.panels:
        found.append(Launch(launch.pack, "pack", slots, launch.panels, launch.pack_grain))
    found.append(Launch(launch.run, "gemm", slots, launch.total, launch.grain))
    return found


__all__ = ["Call", "Launch", "lower"]
