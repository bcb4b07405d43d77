"""Attention in tiles: softmax(scale Q K^T + mask) V and its gradients, without the T x S matrix.

One task is a block of queries of one head (backward: one head, its blocks in turn). It forms the block's scores in memory
of its own, which stays in the cache, turns them into probabilities and multiplies on:

    forward    P = Q K^T    P = softmax(P)                  O = P V
    backward   P = Q K^T    P = exp(P - total)   dV += P^T G   W = G V^T   W = P (W - sum(G O)) scale   dQ = W K   dK += W^T Q

All of these are kernels that exist: products of codegen/gemm.py and loops over rows. A task is code that fills their slots
from templates, puts in the addresses and sizes of its block, and calls them. Of a causal block only the keys that some
query of it sees are computed. Source: Dao et al., FlashAttention, arXiv:2205.14135 (here whole rows of scores are held).

Invariants: a query that sees nothing has probabilities 0; results do not depend on the number of threads.
"""

from __future__ import annotations

import math
import struct
from functools import cache, lru_cache

import numpy as np

from rushlight.codegen import emit, mathlib, memory, native, pool
from rushlight.codegen.gemm import ARGS
from rushlight.codegen.llvm import SIZES, Module, V, i64
from rushlight.codegen.loops import (
    Acc,
    Buffer,
    Grid,
    Kernel,
    Lanes,
    Let,
    Number,
    Store,
    Update,
    const,
    load,
    number,
    ref,
    select,
)
from rushlight.codegen.lower import I0, low
from rushlight.codegen.matmul import ELEMENT, kernels, plan
from rushlight.codegen.native import address
from rushlight.codegen.scratch import LINE, scratch
from rushlight.core.settings import SETTINGS

WORD = {"float": "f32", "double": "f64"}
BLOCK = 1 << 16  # scores of a block
ROWS = 64  # queries of a causal block: what is above the diagonal is computed within one

#: what a task reads: code, templates, operands, sizes, strides in bytes
_COMMON = ("q", "k", "v", "out", "total", "mask", "scratch", "step", "room", "heads", "t", "s", "rows", "blocks", "causal", "q0", "q1", "q2", "k0", "k1", "v0", "v1", "o0", "o1", "o2", "m0", "m1", "m2")  # fmt: skip
FORWARD = ("gemm", "softmax", "t_scores", "t_softmax", "t_out", "n_scores", "n_out", *_COMMON)
BACKWARD = (
    "gemm", "probabilities", "slope", "t_scores", "t_probabilities", "t_dv", "t_dp", "t_slope", "t_dq", "t_dk", "n_scores", "n_dv", "n_dp", "n_dq", "n_dk",
    "second", "g", "dq", "dk", "dv", "g0", "g1", "g2", "dq0", "dq1", "dq2", "dk0", "dk1", "dv0", "dv1", *_COMMON,
)  # fmt: skip
_POINTERS = {"gemm", "softmax", "probabilities", "slope", "q", "k", "v", "out", "total", "mask", "scratch", "g", "dq", "dk", "dv"}
_SLOTS = len(ARGS)


# ---- loops over the rows of a block: x (i, ld) in place

_AT = (("i", "ld"), ("j", 1))
_ONE = (("i", 1),)


def _score(d, mask):
    """The score at (i, j), masked."""
    x = load("x", _AT, d)
    if mask is None:
        return x
    at = (("i", "mask_ld"), ("j", 1))
    return select(load("mask", at, "b1"), x, const(-math.inf, d)) if mask == "b1" else x + load("mask", at, mask)


def _seen(causal):
    """How many keys query i of the block may see."""
    return low(number("width"), ref("i") + number("first") + 1) if causal else number("width")


def _parameters(d, mask):
    return (Buffer("x", d), Buffer("total", d), Buffer("mask", mask or d), *(Number(n, "i64") for n in ("n", "width", "ld", "first", "mask_ld")))


def _hidden(d, causal):
    return (Lanes("j", ref("stop"), number("width"), (Store("x", _AT, const(0, d)),)),) if causal else ()


def _softmax(d, causal, mask):
    """x = softmax(x) along the keys, total = log(sum(exp(x)))."""
    score, seen = _score(d, mask), ref("stop")
    body = (
        Let("stop", _seen(causal)),
        Acc("top", "max", d),
        Lanes("j", I0, seen, (Update("top", score),)),
        Let("shift", select(ref("top", d) == -math.inf, const(0, d), ref("top", d))),
        Acc("t", "add", d),
        Lanes("j", I0, seen, (Let("e", mathlib.exp(score - ref("shift", d))), Store("x", _AT, ref("e", d)), Update("t", ref("e", d)))),
        Let("weight", select(ref("t", d) == 0, const(1, d), ref("t", d))),
        Let("share", 1 / ref("weight", d)),
        Lanes("j", I0, seen, (Store("x", _AT, load("x", _AT, d) * ref("share", d)),)),
        *_hidden(d, causal),
        Store("total", _ONE, ref("shift", d) + mathlib.log(ref("weight", d))),
    )
    return Kernel("attention_softmax", _parameters(d, mask), (Grid(("i",), (number("n"),), body),))


def _probabilities(d, causal, mask):
    """x = exp(x - total)."""
    body = (
        Let("stop", _seen(causal)),
        Let("shift", load("total", _ONE, d)),
        Lanes("j", I0, ref("stop"), (Store("x", _AT, mathlib.exp(_score(d, mask) - ref("shift", d))),)),
        *_hidden(d, causal),
    )
    return Kernel("attention_probabilities", _parameters(d, mask), (Grid(("i",), (number("n"),), body),))


def _slope(d):
    """w = x (w - sum over e of g out) scale."""
    w, inner = load("w", _AT, d), load("g", (("i", "g_ld"), ("e", 1)), d) * load("out", (("i", "o_ld"), ("e", 1)), d)
    body = (
        Acc("t", "add", d),
        Lanes("e", I0, number("size"), (Update("t", inner),)),
        Let("shift", ref("t", d)),
        Lanes("j", I0, number("width"), (Store("w", _AT, load("x", _AT, d) * (w - ref("shift", d)) * number("scale", d)),)),
    )
    numbers = (Number(n, "i64") for n in ("n", "width", "ld", "g_ld", "o_ld", "size"))
    return Kernel("attention_slope", (Buffer("w", d), Buffer("x", d), Buffer("g", d), Buffer("out", d), *numbers, Number("scale", d)), (Grid(("i",), (number("n"),), body),))


@cache
def _rows_kernel(make, *key):
    kernel = make(*key)
    return native.load(emit.emit(kernel, native.vector_bytes()), [kernel.name])[kernel.name]


# ---- tasks


class _Task:
    """Emits one function whose slots are `names`: calls of kernels with slots from templates."""

    def __init__(self, module, name, names):
        self.b = b = module.function(name, [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
        self.args, self.begin, self.end, self.thread = b.args
        self.slots = b.alloca("i64", _SLOTS)
        for k, n in enumerate(names):
            kind = "ptr" if n in _POINTERS or n.startswith("t_") else "i64"
            setattr(self, n, b.load(kind, b.at_bytes(self.args, i64(8 * k)), 8))
        self.scores = b.at_bytes(self.scratch, b.mul(self.thread, self.step))
        self.space = b.at_bytes(self.scores, self.room)

    def call(self, code, template, total, **patches):
        """Call kernel `code` on iterations 0..total with the template's slots, some of them replaced (by name or number)."""
        b = self.b
        b.call("llvm.memcpy.p0.p0.i64", "void", self.slots, template, i64(8 * _SLOTS), V("false", "i1"))
        for name, value in patches.items():
            b.store(value, b.at_bytes(self.slots, i64(8 * (int(name[1:]) if name[0] == "_" else ARGS.index(name)))), 8)
        b.emit(f"call void {code.text}(ptr {self.slots.text}, i64 0, {total!r}, {self.thread!r})")

    def product(self, template, tasks, a, right, c, **sizes):
        self.call(self.gemm, template, tasks, a=a, b=right, c=c, d=c, scratch=self.space, **sizes)

    def head(self, i):
        """(batch, head, where head i of each operand begins): `at(name, prefix)`."""
        b = self.b
        outer, inner = b.op("sdiv", i, self.heads), b.op("srem", i, self.heads)
        return lambda name, prefix: b.at_bytes(getattr(self, name), b.add(b.mul(outer, getattr(self, prefix + "0")), b.mul(inner, getattr(self, prefix + "1"))))

    def block(self, index):
        """(first query, queries, keys that any of them sees) of a block."""
        b = self.b
        first = b.mul(index, self.rows)
        count = b.smin(self.rows, b.sub(self.t, first))
        seen = b.select(b.cmp("ne", self.causal, i64(0)), b.smin(self.s, b.add(first, count)), self.s)
        return first, count, seen

    def finish(self):
        self.b.ret()
        self.b.done()


def source(element):
    """The text of the module with functions `attention_forward` and `attention_backward`."""
    size, m = i64(SIZES[element]), Module()
    f = _Task(m, "attention_forward", FORWARD)
    b = f.b
    with b.loop(f.begin, f.end) as l:
        head, index = b.op("sdiv", l.i, f.blocks), b.op("srem", l.i, f.blocks)
        at = f.head(head)
        first, count, seen = f.block(index)
        total = b.at_bytes(f.total, b.mul(b.add(b.mul(head, f.t), first), size))
        mask = b.at_bytes(at("mask", "m"), b.mul(first, f.m2))
        f.product(f.t_scores, f.n_scores, b.at_bytes(at("q", "q"), b.mul(first, f.q2)), at("k", "k"), f.scores, m=count, n=seen)
        _rows(f, f.softmax, f.t_softmax, total, mask, count, seen, first)
        f.product(f.t_out, f.n_out, f.scores, at("v", "v"), b.at_bytes(at("out", "o"), b.mul(first, f.o2)), m=count, k=seen)
    f.finish()
    f = _Task(m, "attention_backward", BACKWARD)
    b = f.b
    other = b.at_bytes(f.scores, f.second)
    with b.loop(f.begin, f.end) as l:
        at = f.head(l.i)
        with b.loop(i64(0), f.blocks) as index:
            first, count, seen = f.block(index.i)
            total = b.at_bytes(f.total, b.mul(b.add(b.mul(l.i, f.t), first), size))
            mask = b.at_bytes(at("mask", "m"), b.mul(first, f.m2))
            q, g = b.at_bytes(at("q", "q"), b.mul(first, f.q2)), b.at_bytes(at("g", "g"), b.mul(first, f.g2))
            f.product(f.t_scores, f.n_scores, q, at("k", "k"), f.scores, m=count, n=seen)
            _rows(f, f.probabilities, f.t_probabilities, total, mask, count, seen, first)
            f.product(f.t_dv, f.n_dv, f.scores, g, at("dv", "dv"), m=seen, k=count)
            f.product(f.t_dp, f.n_dp, g, at("v", "v"), other, m=count, n=seen)
            f.call(f.slope, f.t_slope, count, _0=other, _1=f.scores, _2=g, _3=b.at_bytes(at("out", "o"), b.mul(first, f.o2)), _4=count, _5=seen)
            f.product(f.t_dq, f.n_dq, other, at("k", "k"), b.at_bytes(at("dq", "dq"), b.mul(first, f.dq2)), m=count, k=seen)
            f.product(f.t_dk, f.n_dk, other, q, at("dk", "dk"), m=seen, k=count)
    f.finish()
    return str(m)


def _rows(f, code, template, total, mask, count, seen, first):
    """A loop over the rows of the block's scores."""
    f.call(code, template, count, _0=f.scores, _1=total, _2=mask, _3=count, _4=seen, _6=first)


@cache
def _code(element):
    memory.recycle()
    return native.load(source(element), ["attention_forward", "attention_backward"])


# ---- calls


def _template(*values):
    """Slots as an array: ints, and floats as the bits of doubles."""
    bits = [struct.unpack("=q", struct.pack("=d", v))[0] if v.__class__ is float else v for v in values]
    return np.array(bits + [0] * (_SLOTS - len(bits)), np.int64)


def _product(element, m, n, k, a, b, c, alpha=1.0, add=False):
    """(template, tasks, bytes of working memory) of a product with strides a, b, c in bytes."""
    size = SIZES[element]
    mc, nc, kc, ib, jb, pack_a, mode, room = plan(element, m, n, k, 2, b[1] == size, 1)
    factors = [struct.unpack("=q", struct.pack("=fi", v, 0) if element == "float" else struct.pack("=d", v))[0] for v in (alpha, float(add))]
    slots = (0, 0, 0, 0, 0, 0, m, n, k, mc, nc, kc, ib, jb, *a, *b, *c, *c, pack_a, mode, 0, 0, *factors, 1, *(0,) * 8)
    return _template(*slots), ib * jb, room


@lru_cache(512)
def _prepared(element, shape, s, strides, masked, causal, scale, backward):
    """What a call has apart from addresses: (slots by name, arrays to hold, bytes of working memory, tasks)."""
    size, d = SIZES[element], WORD[element]
    heads, t, e = shape[1:]
    rows = max(16, min(t, BLOCK // s, ROWS if causal else t))
    rows = min(t, -(-rows // 16) * 16)
    ld = -(-s // (LINE // size)) * LINE  # bytes of a row of scores
    if ld % 4096 == 0:
        ld += LINE
    q, k, v, out, mask = strides[:5]
    blocks = -(-t // rows)
    products = {
        "scores": _product(element, rows, s, e, q[2:], k[:1:-1], (ld, size), alpha=scale),
    }
    lines = (0, 0, 0, 0, 0, ld // size, 0, mask[2] // mask[3] if masked else 0)
    templates = {}
    held = {}
    if backward:
        g, dq, dk, dv = strides[5:]
        products["dv"] = _product(element, s, e, rows, (size, ld), g[2:], dv[2:], add=True)
        products["dp"] = _product(element, rows, s, e, g[2:], v[:1:-1], (ld, size))
        products["dq"] = _product(element, rows, e, s, (ld, size), k[2:], dq[2:])
        products["dk"] = _product(element, s, e, rows, (size, ld), q[2:], dk[2:], add=True)
        templates["probabilities"] = _template(*lines)
        templates["slope"] = _template(0, 0, 0, 0, 0, 0, ld // size, g[2] // size, out[2] // size, e, float(scale))
        held.update(probabilities=_rows_kernel(_probabilities, d, causal, masked), slope=_rows_kernel(_slope, d), second=rows * ld)
        held.update({f"g{i}": g[i] for i in range(3)}, **{f"dq{i}": dq[i] for i in range(3)})
        held.update({f"dk{i}": dk[i] for i in range(2)}, **{f"dv{i}": dv[i] for i in range(2)})
    else:
        products["out"] = _product(element, rows, e, s, (ld, size), v[2:], out[2:])
        templates["softmax"] = _template(*lines)
        held["softmax"] = _rows_kernel(_softmax, d, causal, masked)
    for name, (template, tasks, _) in products.items():
        templates[name], held[f"n_{name}"] = template, tasks
    held.update({f"t_{name}": address(a) for name, a in templates.items()})
    held.update(gemm=kernels(element)[0], heads=heads, t=t, s=s, rows=rows, blocks=blocks, causal=int(causal))
    held["room"] = rows * ld * (2 if backward else 1)
    held["step"] = held["room"] + max(room for *_, room in products.values()) + LINE
    held["step"] += -held["step"] % LINE
    for prefix, walk, n in (("q", q, 3), ("k", k, 2), ("v", v, 2), ("o", out, 3), ("m", mask, 3)):
        held.update({f"{prefix}{i}": walk[i] for i in range(n)})
    return held, templates, held["step"], shape[0] * heads * (1 if backward else blocks)


def _run(backward, element, shape, s, arrays, masked, causal, scale):
    """Fill the slots with addresses and run; `arrays` by name."""
    order = ("q", "k", "v", "out", "mask") + (("g", "dq", "dk", "dv") if backward else ())
    strides = tuple([arrays[n].strides if arrays[n] is not None else (0, 0, 0, 1) for n in order])
    held, _templates, step, tasks = _prepared(element, shape, s, strides, masked, causal, scale, backward)
    at, _room = scratch("attention", step * SETTINGS.threads)
    names = BACKWARD if backward else FORWARD
    given = {n: 0 if a is None else address(a) for n, a in arrays.items()}
    given["scratch"] = at
    slots = struct.pack(f"={len(names)}q", *[given[n] if n in given else held[n] for n in names])
    pool.run(_code(element)["attention_backward" if backward else "attention_forward"], slots, tasks, 1)


def _mask(mask, q, k):
    """(mask of (B, H, T, S) with contiguous keys, its word); (None, None) without one."""
    if mask is None:
        return None, None
    s = k.shape[2]
    if mask.dtype != bool:
        mask = mask.astype(q.dtype, copy=False)
    if mask.shape[-1] != s or mask.strides[-1] != mask.itemsize:
        mask = np.ascontiguousarray(np.broadcast_to(mask, (*mask.shape[:-1], s)))
    return np.broadcast_to(mask, (*q.shape[:3], s)), "b1" if mask.dtype == bool else WORD[ELEMENT[q.dtype]]


def _fits(*arrays):
    """Whether these are arrays of one float dtype whose last dimension is contiguous."""
    first = arrays[0].dtype
    return first in ELEMENT and all(a.dtype == first and a.size and (a.strides[-1] == a.itemsize or a.shape[-1] == 1) and min(a.strides) >= 0 for a in arrays)


def _widened(arrays):
    """Half types as float32."""
    return [a.astype(np.float32) if a.dtype.itemsize == 2 and a.dtype.kind in "fV" else a for a in arrays]


def _like(x):
    """A new array in the order of x's dimensions, its last one contiguous."""
    out = np.empty_like(x)
    return out if out.strides[-1] == out.itemsize else np.empty(x.shape, x.dtype)


def attention(q, k, v, mask, scale, causal):
    """The row attention: the result, and of each query the logarithm of the sum of exp(scores)."""
    q, k, v = _widened((q, k, v))
    if not _fits(q, k, v):
        return NotImplemented
    mask, masked = _mask(mask, q, k)
    out, total = _like(q), np.empty(q.shape[:3], q.dtype)
    _run(False, ELEMENT[q.dtype], q.shape, k.shape[2], {"q": q, "k": k, "v": v, "out": out, "total": total, "mask": mask}, masked, bool(causal), float(scale))
    return out, total


def attention_adjoint(g, q, k, v, mask, out, total, scale, causal):
    """The row attention_backward: the gradients of q, k and v."""
    g, q, k, v, out = _widened((g, q, k, v, out))
    if not _fits(q, g, k, v, out) or total.dtype != q.dtype or not total.flags.c_contiguous:
        return NotImplemented
    mask, masked = _mask(mask, q, k)
    dq, dk, dv = _like(q), _like(k), _like(v)
    dk.fill(0)
    dv.fill(0)
    arrays = {"q": q, "k": k, "v": v, "out": out, "total": total, "mask": mask, "g": g, "dq": dq, "dk": dk, "dv": dv}
    _run(True, ELEMENT[q.dtype], q.shape, k.shape[2], arrays, masked, bool(causal), float(scale))
    return dq, dk, dv
