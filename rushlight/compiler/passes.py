"""Graph to graph: rewritings that make more of a program fuse. Each has its before -> after.

`prepare(nodes, outputs)` applies them in order: decompose, common, live. A pass gives nodes with the same meaning as
compiler/interpret.py defines it, to rounding; new buffers are local.
"""

from __future__ import annotations

import itertools
from math import prod

import numpy as np

from rushlight.compiler import recurrent
from rushlight.compiler.graph import FLOATS, Buffer, Node, Place, covers, live
from rushlight.compiler.interpret import Operand
from rushlight.core import dtype as D
from rushlight.core.shape import dense
from rushlight.core.window import Window
from rushlight.ops.op import TABLE, Spec

_NUMBERS = itertools.count(1 << 20)


def _operand(r):
    """An operand as `infer` looks at it."""
    return Operand(Window(r.shape, r.dtype)) if r.__class__ is Place else r


class Builder:
    """Makes nodes one after another: `op(name, *reads, **attrs)` gives the place of the result."""

    def __init__(self):
        self.nodes = []

    def op(self, name, *reads, into=None, **attrs):
        row = TABLE[name]
        spec = row.infer(row, tuple(map(_operand, reads)), attrs)
        place = local(spec.shape, spec.dtype.np) if into is None else into
        self.nodes.append(Node(row, spec, list(reads), attrs, (place,), covers(place)))
        return place

    def new(self, shape, dtype):
        """Memory for parts that are written one by one."""
        return local(shape, dtype)

    def copy(self, source, target):
        """Write a place into another one."""
        row = TABLE["copy"]
        spec = row.infer(row, (_operand(target), _operand(source)), {})
        self.nodes.append(Node(row, spec, [target, source], {}, (target,), False))


def local(shape, dtype):
    """A new buffer, as a place."""
    buffer = Buffer(next(_NUMBERS), "local", prod(shape) * dtype.itemsize)
    return Place(buffer, np.dtype(dtype), tuple(shape), dense(shape), 0)


def along(vector, rank, axis):
    """A vector seen as a tensor of `rank` dimensions that runs along `axis`."""
    shape, strides = [1] * rank, [0] * rank
    shape[axis], strides[axis] = vector.shape[-1], vector.strides[-1]
    return vector._replace(shape=tuple(shape), strides=tuple(strides))


def _plain(*places):
    """Whether operands are float32 or float64 of one dtype (None is allowed)."""
    given = [p for p in places if p is not None]
    return all(p.__class__ is Place and p.dtype == given[0].dtype and p.dtype in FLOATS for p in given)


# ---- decompose: fused rows that no single kernel does better


def _channels(x):
    return tuple(d for d in range(len(x.shape)) if d != 1)


def _batch_norm(b, node):
    x, w, bias, mean0, var0 = node.reads
    if not _plain(x, w, bias) or len(x.shape) < 2 or not x.size or any(v.__class__ is Place for v in node.attrs.values()):
        return False
    eps, rank = node.attrs["eps"], len(x.shape)
    out, mean, scale, var = node.writes
    if node.attrs["training"]:
        b.op("mean_dim", x, axes=_channels(x), keepdim=False, into=mean)
        centred = b.op("sub", x, along(mean, rank, 1))
        b.op("mean_dim", b.op("square", centred), axes=_channels(x), keepdim=False, into=var)
    else:
        if not _plain(x, mean0, var0):
            return False
        b.op("clone", mean0, into=mean)
        b.op("clone", var0, into=var)
    b.op("reciprocal", b.op("sqrt", b.op("add", var, float(eps))), into=scale)
    a = scale if w is None else b.op("mul", scale, w)
    centre = b.op("mul", mean, a)
    shift = b.op("neg", centre) if bias is None else b.op("sub", bias, centre)
    b.op("add", b.op("mul", x, along(a, rank, 1)), along(shift, rank, 1), into=out)
    return True


def _channel_sums(b, g, x, mean):
    """The sums over each channel of g * (x - mean)."""
    rank = len(x.shape)
    return b.op("sum_dim", b.op("mul", g, b.op("sub", x, along(mean, rank, 1))), axes=_channels(x), keepdim=False)


def _batch_norm_backward(b, node):
    """The gradient of the input; of a row with three results also those of weight and bias."""
    g, x, w, mean, scale = node.reads
    if not _plain(g, x, w, mean, scale) or len(x.shape) < 2 or not x.size:
        return False
    rank, out, others = len(x.shape), node.writes[0], node.writes[1:]
    factor = scale if w is None else b.op("mul", scale, w)
    training = node.attrs["training"]
    if others or training:
        total = b.op("sum_dim", g, axes=_channels(x), keepdim=False, into=others[1] if others else None)
        products = _channel_sums(b, g, x, mean)
    if others:
        b.op("mul", products, scale, into=others[0])
    if not training:
        b.op("mul", g, along(factor, rank, 1), into=out)
        return True
    count = x.size // x.shape[1]
    slope = b.op("mul", b.op("mul", b.op("mul", factor, products), b.op("square", scale)), -1.0 / count)
    shift = b.op("sub", b.op("mul", b.op("mul", factor, total), -1.0 / count), b.op("mul", slope, mean))
    scaled = b.op("mul", g, along(factor, rank, 1))
    b.op("add", b.op("add", scaled, b.op("mul", x, along(slope, rank, 1))), along(shift, rank, 1), into=out)
    return True


def _batch_norm_weight(b, node):
    g, x, mean, scale = node.reads
    if not _plain(g, x, mean, scale) or len(x.shape) < 2 or not x.size:
        return False
    b.op("mul", _channel_sums(b, g, x, mean), scale, into=node.writes[0])
    return True


def _layer_norm_weight(b, node):
    g, x, mean, scale = node.reads
    count = node.attrs["count"]
    if not _plain(g, x, mean, scale) or len(x.shape) <= count or not x.size:
        return False
    rows = tuple(range(len(x.shape) - count))
    value = b.op("mul", b.op("mul", b.op("sub", x, mean), scale), g)
    b.op("sum_dim", value, axes=rows, keepdim=False, into=node.writes[0])
    return True


def _reduced(b, terms, node):
    """The terms of a loss, reduced as it asks."""
    how, out = node.attrs["reduction"], node.writes[0]
    if how == "none":
        b.copy(terms, out)
    else:
        b.op("mean_dim" if how == "mean" else "sum_dim", terms, axes=tuple(range(len(terms.shape))), keepdim=False, into=out)


def _loss(terms):
    """A loss of two operands of one dtype."""

    def rule(b, node):
        if not _plain(*node.reads) or any(v.__class__ is Place for v in node.attrs.values()) or not all(r.size for r in node.reads if r is not None):
            return False
        attrs = {n: v for n, v in node.attrs.items() if n not in ("reduction", "step")}
        _reduced(b, terms(b, *node.reads, **attrs), node)
        return True

    return rule


def _squares(b, x, y):
    return b.op("square", b.op("sub", x, y))


def _logits(b, x, y, weight, pos_weight):
    terms = b.op("sub", b.op("log1p", b.op("exp", b.op("neg", b.op("abs", x)))), b.op("minimum", x, _number(b, 0.0, x)))
    if pos_weight is not None:
        terms = b.op("mul", terms, b.op("add", b.op("mul", b.op("sub", pos_weight, 1.0), y), 1.0))
    terms = b.op("add", terms, b.op("mul", b.op("rsub_number", y, 1.0), x))
    return terms if weight is None else b.op("mul", terms, weight)


def _number(b, value, like):
    """A number as a 0-dim operand, for rows that take tensors only."""
    place = local((), like.dtype)
    row = TABLE["fill"]
    b.nodes.append(Node(row, Spec((), D.BY_NUM[like.dtype.num], None), [place], {"value": value}, (place,), False))
    return place


def _place(b, node):
    """Zeros, and the window of a view's gradient written into them."""
    (g,), (out,) = node.reads, node.writes
    window = Window(out.shape, out.dtype).viewed(lambda a, key: a[key], {"key": node.attrs["key"]}) if _basic(node.attrs["key"]) else None
    if window is None or window.shape != g.shape or not g.size:
        return False
    row = TABLE["fill"]
    b.nodes.append(Node(row, Spec(out.shape, node.spec.dtype, None), [out], {"value": 0.0}, (out,), False))
    itemsize = out.dtype.itemsize
    b.copy(g, out._replace(shape=window.shape, strides=tuple(s // itemsize for s in window.strides), offset=window.offset))
    return True


def _basic(key):
    """Whether an index is made of numbers, slices and ... alone."""
    key = key if key.__class__ is tuple else (key,)
    return all(k is None or k is Ellipsis or k.__class__ in (int, slice) for k in key)


def _gathered(b, node):
    """A product of rows that do not follow each other in memory: they are copied together first.

    linear(x.transpose(0, 1), w)    ->    linear(copy of it, w)
    """
    x, *others = node.reads
    if not _plain(*node.reads) or x.dense() or not x.size or node.op.name.startswith("linear") and len(x.shape) < 3:
        return False
    b.op(node.op.name, b.op("clone", x, order="C"), *others, into=node.writes[0], **node.attrs)
    return True


NARROW = 64  # columns up to which a row times a matrix is no product worth packing


def _row_times_matrix(b, node):
    """A row times a narrow matrix: products summed down the columns, which fuse with what made the row."""
    (x, y), (out,) = node.reads, node.writes
    if not _plain(x, y) or x.shape[0] != 1 or y.shape[1] > NARROW or not x.size or not y.size:
        return False
    column = x._replace(shape=(x.shape[1], 1), strides=(x.strides[1], 0))
    b.op("sum_dim", b.op("mul", column, y), axes=(0,), keepdim=False, into=out._replace(shape=out.shape[1:], strides=out.strides[1:]))
    return True


RULES = {
    **recurrent.RULES,
    "mm": _row_times_matrix,
    **dict.fromkeys(("linear", "linear_batch", "linear_plain", "linear_plain_batch"), _gathered),
    "batch_norm": _batch_norm,
    "batch_norm_backward": _batch_norm_backward,
    "batch_norm_gradients": _batch_norm_backward,
    "batch_norm_weight": _batch_norm_weight,
    "layer_norm_weight": _layer_norm_weight,
    "mse_loss": _loss(_squares),
    "binary_cross_entropy_with_logits": _loss(_logits),
    "place": _place,
}


def decompose(nodes):
    """Fused rows as the arithmetic that they are, where that fuses with what is around it.

    out, mean, scale, var = batch_norm(x, w, b)    ->    mean = mean(x); var = mean((x - mean)^2); ...; out = x * a + shift
    """
    out = []
    for node in nodes:
        rule = RULES.get(node.op.name)
        if rule is None or not node.fresh:
            out.append(node)
            continue
        b = Builder()
        out += b.nodes if rule(b, node) else [node]
    return out


# ---- common subexpressions


def common(nodes, outputs):
    """The same op on the same unchanged memory is done once.

    a = sum(x * y); b = sum(x * y)    ->    a = sum(x * y), and a in place of b
    """
    written = {}
    for n in nodes:
        for w in n.writes:
            written[w.buffer] = written.get(w.buffer, 0) + 1
    known, instead, out = {}, {}, []
    version = {}
    for n in nodes:
        reads = [_swapped(r, instead) for r in n.reads]
        attrs = {k: _swapped(v, instead) for k, v in n.attrs.items()}
        if any(a is not b for a, b in zip(reads, n.reads)) or any(attrs[k] is not v for k, v in n.attrs.items()):
            n = Node(n.op, n.spec, reads, attrs, n.writes, n.fresh)
        plain = n.fresh and len(n.writes) == 1 and not n.random and n.writes[0].buffer.kind == "local" and n.writes[0].buffer not in outputs
        if plain and written[n.writes[0].buffer] == 1:
            key = _key(n, version)
            found = known.get(key) if key is not None else None
            if found is not None:
                instead[n.writes[0].buffer] = found
                continue
            if key is not None:
                known[key] = n.writes[0].buffer
        for w in n.writes:
            version[w.buffer] = version.get(w.buffer, 0) + 1
        out.append(n)
    return out


def _swapped(r, instead):
    if r.__class__ is Place and r.buffer in instead:
        return r._replace(buffer=instead[r.buffer])
    return r


def _key(n, version):
    """What a node computes; None where that cannot be compared."""
    try:
        reads = tuple([(r, version.get(r.buffer, 0)) if r.__class__ is Place else (r.__class__, r) for r in n.reads])
        attrs = tuple([(k, (v, version.get(v.buffer, 0)) if v.__class__ is Place else (v.__class__, v)) for k, v in n.attrs.items()])
        key = (n.op.name, n.spec, n.writes[0].shape, n.writes[0].dtype, reads, attrs)
        hash(key)
    except TypeError:
        return None
    return key


def prepare(nodes, outputs):
    """All passes, in order."""
    return live(common(decompose(nodes), outputs), outputs)


__all__ = ["common", "decompose", "local", "prepare"]
