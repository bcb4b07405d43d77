"""The LLVM emitter: a loop kernel as a module with the one function `void name(ptr args, i64 begin, i64 end, i64 thread)`.

`args` holds 8 bytes for each parameter in order: an address, an integer, or a scalar (float64 bits for floating dtypes).
Iterations begin..end of the Grid are run, its indices taken off the linear number, last one fastest.

A Lanes loop becomes a main loop of `lanes` elements at a time and a rest: one masked step where every memory access has
a machine mask (4 and 8 byte dtypes), else a loop of single elements. How many lanes: enough registers of the widest
dtype to hide latency (4, fewer for long bodies). Loads along the lanes are vector loads for stride 1, gathered for other
strides; what does not change along the lanes is computed before the loop.

Scopes: a value is computed once in the outermost scope where everything that it reads is known (`_Scope.memo`), and
again only where a store may have changed what it loads.
"""

from __future__ import annotations

import math

from rushlight.codegen import casts
from rushlight.codegen import llvm as L
from rushlight.codegen.casts import STORED, TYPE, kind
from rushlight.codegen.llvm import V, const, i64, vector
from rushlight.codegen.loops import (
    BITS,
    COMPARISONS,
    SIZE,
    Acc,
    Grid,
    Let,
    Number,
    Store,
    Update,
    expressions,
    statements,
)

_WORDS = {"add": "add", "sub": "sub", "mul": "mul", "and": "and", "or": "or", "xor": "xor", "shl": "shl", "lshr": "lshr", "ashr": "ashr"}
_ROUND = {"floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint", "sqrt": "sqrt", "abs": "fabs", "fma": "fma", "copysign": "copysign"}
_PREDICATE = {
    "f": dict(zip(COMPARISONS, ("oeq", "une", "olt", "ole", "ogt", "oge"))),
    "i": dict(zip(COMPARISONS, ("eq", "ne", "slt", "sle", "sgt", "sge"))),
    "u": dict(zip(COMPARISONS, ("eq", "ne", "ult", "ule", "ugt", "uge"))),
    "b": dict(zip(COMPARISONS, ("eq", "ne", "ult", "ule", "ugt", "uge"))),
}


def identity(op, dtype):
    """What leaves the other operand of `op` as it is."""
    if op in ("add", "or"):
        return 0
    if op == "mul":
        return 1
    if op == "and":
        return 1 if dtype == "b1" else -1
    if kind(dtype) == "f":
        return -math.inf if op == "max" else math.inf
    bits = SIZE[dtype] * 8
    low, high = (0, 1) if dtype == "b1" else (0, 2**bits - 1) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return low if op == "max" else high


class _Scope:
    """Values known here; `lanes` is the width inside a Lanes loop (0: single elements), `index` that loop's index."""

    def __init__(self, parent, lanes=0, index=None, mask=None, defined=()):
        self.parent, self.lanes, self.index, self.mask = parent, lanes, index, mask
        self.names, self.memo = {}, {}
        self.defined = set(defined)  # the names that this scope or one inside it defines or stores
        self.varying = parent.varying | ({index} if index else set()) if parent else set()

    def find(self, name):
        scope = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        raise KeyError(name)


def _defines(body):
    """Names that a body defines, and '*buffer' for what it stores to."""
    names = set()
    for s in statements(body):
        if isinstance(s, (Let, Acc, Update)):
            names.add(s.name)
        elif isinstance(s, Store):
            names.add("*" + s.buffer)
        else:
            names.update(s.indices if isinstance(s, Grid) else (s.index,))
    return names


class Emitter:
    """Emits one kernel."""

    def __init__(self, kernel, vector_bytes=32, contract=True):
        self.kernel, self.vector_bytes = kernel, vector_bytes
        self.buffers = {p.name: p for p in kernel.params}
        self.module = L.Module()
        self.b = self.module.function(kernel.name, [("args", "ptr noalias"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
        self.b.contract = contract

    def text(self):
        """The module's text."""
        b, k = self.b, self.kernel
        root = _Scope(None, defined=_defines(k.body))
        for slot, p in enumerate(k.params):
            at = b.at_bytes(b.args[0], i64(8 * slot))
            if isinstance(p, Number):
                if kind(p.dtype) == "f":
                    value = b.load("double", at)
                    value = b.cast("fptrunc", value, "float") if p.dtype == "f32" else value
                else:
                    value = b.load("i64", at)
                    value = b.cast("trunc", value, TYPE[p.dtype])
            else:
                value = b.load("ptr", at)
            root.names[p.name] = value
        self.scope = root
        self.block(k.body)
        b.ret()
        b.done()
        return str(self.module)

    # ---- statements

    def block(self, body):
        for s in body:
            getattr(self, "_" + type(s).__name__.lower())(s)

    def inside(self, body, lanes=None, index=None, mask=None):
        """Enter a scope for `body`, after computing here what the body needs and nothing in it changes."""
        defined = _defines(body) | ({index} if index else set())
        now = self.scope
        scope = _Scope(now, now.lanes if lanes is None else lanes, index if lanes is not None else None, mask if mask is not None else (now.mask if lanes is None else None), defined)
        if lanes is not None and index:
            scope.varying = now.varying | {index}
        return scope

    def hoist(self, body, defined):
        """Compute the expressions of a body that depend on nothing in `defined`."""
        seen = set()  # an expression is a graph: each node is looked at once
        for s in statements(body):
            for e in expressions(s):
                self._hoist(e, defined, seen)

    def _hoist(self, e, defined, seen):
        if e.op in ("const", "number", "ref") or e in seen:
            return
        seen.add(e)
        if e.reads.isdisjoint(defined):
            self.value(e)
        elif e.op != "load":
            for a in e.args:
                if a.__class__ is type(e):
                    self._hoist(a, defined, seen)

    def _grid(self, s):
        b = self.b
        extents = [self.value(e) for e in s.extents]
        with b.loop(b.args[1], b.args[2]) as l:
            scope = self.inside(s.body)
            scope.names.update(self._indices(l.i, s.indices, extents))
            self._run(scope, s.body)

    def _indices(self, linear, names, extents):
        b, values = self.b, {}
        for name, extent in list(zip(names, extents))[:0:-1]:
            values[name] = b.op("urem", linear, extent)
            linear = b.op("udiv", linear, extent)
        values[names[0]] = linear
        return values

    def _run(self, scope, body):
        before, self.scope = self.scope, scope
        self.block(body)
        self.scope = before

    def _loop(self, s):
        b = self.b
        start, stop = self.scalar(s.start), self.scalar(s.stop)
        defined = _defines(s.body) | {s.index}
        self.hoist(s.body, defined)
        carried = self._carried(s.body)
        with b.loop(start, stop, 1, [self.scope.find(n) for n in carried]) as l:
            scope = self.inside(s.body)
            scope.names[s.index] = l.i
            scope.names.update(zip(carried, l.carried))
            self._run(scope, s.body)
            l.next = [scope.find(n) for n in carried]
        self._leave(carried, l.results)

    def _carried(self, body):
        """The accumulators of outer scopes that a body updates."""
        own = {s.name for s in statements(body) if isinstance(s, Acc)}
        return sorted({s.name for s in statements(body) if isinstance(s, Update)} - own)

    def _leave(self, names, values):
        for n, v in zip(names, values):
            scope = self.scope
            while n not in scope.names:
                scope = scope.parent
            scope.names[n] = v

    def _lanes(self, s):
        b = self.b
        if s.start is None:
            start, stop = b.args[1], b.args[2]
        else:
            start, stop = self.scalar(s.start), self.scalar(s.stop)
        defined = _defines(s.body) | {s.index}
        self.hoist(s.body, defined)
        plan = _plan(s, self.buffers, self.vector_bytes)
        carried = self._carried(s.body)
        outside = [self.scope.find(n) for n in carried]
        accs = {n: self._acc_of(n) for n in carried}
        width = plan.lanes
        wide = [const(identity(*accs[n]), vector(TYPE[accs[n][1]], width)) for n in carried]
        last = b.sub(stop, b.emit(f"srem i64 {b.sub(stop, start).text}, {width}", "i64"))
        with b.loop(start, last, width, wide) as l:
            self._lane_body(s, l, carried, width, None)
        wide = l.results
        if plan.masked:
            with b.loop(last, stop, width, wide) as l:
                step = self._iota(width)
                left = b.splat(b.sub(stop, l.i), width)
                mask = b.cmp("slt", step, left)
                self._lane_body(s, l, carried, width, mask)
            wide = l.results
        totals = [self._across(v, *accs[n]) for n, v in zip(carried, wide)]
        totals = [self.combine(accs[n][0], x, t, accs[n][1]) for n, x, t in zip(carried, outside, totals)]
        if not plan.masked:
            with b.loop(last, stop, 1, totals) as l:
                self._lane_body(s, l, carried, 0, None)
            totals = l.results
        self._leave(carried, totals)

    def _lane_body(self, s, l, carried, width, mask):
        scope = self.inside(s.body, width, s.index, mask)
        scope.names[s.index] = l.i
        scope.names.update(zip(carried, l.carried))
        self._run(scope, s.body)
        l.next = [scope.find(n) for n in carried]

    def _iota(self, width):
        return V("<" + ", ".join(f"i64 {k}" for k in range(width)) + ">", vector("i64", width))

    def _acc_of(self, name):
        for s in statements(self.kernel.body):
            if isinstance(s, Acc) and s.name == name:
                return s.op, s.dtype
        raise KeyError(name)

    def _across(self, v, op, dtype):
        """All lanes of an accumulator combined, halves first."""
        b, n = self.b, L.lanes_of(v.type)[0]
        while n > 1:
            half = n // 2
            v = self.combine(op, b.shuffle(v, None, range(half)), b.shuffle(v, None, range(half, n)), dtype)
            n = half
        return b.extract(v, 0)

    def combine(self, op, x, y, dtype):
        """op(x, y) of an accumulator; max and min keep NaN."""
        b = self.b
        if op in ("max", "min"):
            word = "gt" if op == "max" else "lt"
            better = b.select(b.cmp(_PREDICATE[kind(dtype)][word], x, y), x, y)
            return b.select(b.cmp("uno", x, x), x, better) if kind(dtype) == "f" else better
        if kind(dtype) == "f":
            return b.op("f" + op, x, y)
        return b.op({"add": "add", "mul": "mul", "and": "and", "or": "or"}[op], x, y)

    def _acc(self, s):
        self.scope.names[s.name] = const(identity(s.op, s.dtype), vector(TYPE[s.dtype], self.scope.lanes))

    def _update(self, s):
        op, dtype = self._acc_of(s.name)
        old, new = self.scope.find(s.name), self.wide(s.value)
        lanes = L.lanes_of(old.type)[0]
        if L.lanes_of(new.type)[0] != lanes:
            new = self.b.splat(new, lanes)
        if self.scope.mask is not None and lanes:
            new = self.b.select(self.scope.mask, new, const(identity(op, dtype), new.type))
        self.scope.names[s.name] = self.combine(op, old, new, dtype)
        self.scope.memo = {e: v for e, v in self.scope.memo.items() if s.name not in e.reads}

    def _let(self, s):
        self.scope.names[s.name] = self.value(s.value)

    def _store(self, s):
        b, dtype = self.b, s.value.dtype
        address, stride = self.address(s.buffer, s.index, dtype)
        lanes = self.scope.lanes
        value = self.wide(s.value) if lanes and stride else self.value(s.value)
        if dtype == "b1":
            value = b.cast("zext", value, "i8")
        if not lanes or stride == 0:
            b.store(value, address)
        elif stride == 1:
            if self.scope.mask is not None:
                b.call(f"llvm.masked.store.{_suffix(value.type)}.p0", "void", value, address, L.i32(SIZE[dtype]), self.scope.mask)
            else:
                b.store(value, address)
        else:
            for k in range(lanes):
                b.store(b.extract(value, k), b.gep(address, b.mul(stride, i64(k)), STORED[dtype]))
        self._forget("*" + s.buffer)

    def _forget(self, name):
        scope = self.scope
        while scope is not None:
            scope.memo = {e: v for e, v in scope.memo.items() if name not in e.reads}
            scope = scope.parent

    # ---- expressions

    def scalar(self, e):
        """The value of an index expression."""
        return self.value(e)

    def wide(self, e):
        """The value with the scope's lanes."""
        v = self.value(e)
        return self.b.splat(v, self.scope.lanes) if self.scope.lanes and not L.lanes_of(v.type)[0] else v

    def value(self, e):
        """The value of an expression: one element, or one a lane where it varies along the lanes."""
        if e.op == "const":
            return const(e.args[0], TYPE[e.dtype])
        if e.op == "number":
            return self.scope.find(e.args[0])
        if e.op == "ref":
            v = self.scope.find(e.args[0])
            if e.args[0] == self._lane_index() and self.scope.lanes:
                v = self.b.op("add", self.b.splat(v, self.scope.lanes), self._iota(self.scope.lanes))
            return v
        scope = self.scope
        while scope is not None:
            if e in scope.memo:
                return scope.memo[e]
            if not e.reads.isdisjoint(scope.defined):
                break
            scope = scope.parent
        v = self._load(e) if e.op == "load" else self._cast(e) if e.op == "cast" else self._call(e)
        self.scope.memo[e] = v
        return v

    def _lane_index(self):
        scope = self.scope
        while scope is not None and scope.index is None:
            scope = scope.parent
        return None if scope is None else scope.index

    def address(self, buffer, index, dtype):
        """(address of the first lane, stride along the lanes: 0, 1 or a V)."""
        b, offset, along = self.b, i64(0), 0
        lane = self._lane_index() if self.scope.lanes else None
        for name, stride in index:
            s = self.scope.find(stride) if isinstance(stride, str) else i64(stride)
            offset = b.add(offset, b.mul(self.scope.find(name), s))
            if name == lane:
                along = 1 if stride == 1 else 0 if stride == 0 else s
        return b.gep(self.scope.find(buffer), offset, STORED[dtype]), along

    def _load(self, e):
        b, (buffer, index) = self.b, e.args
        address, stride = self.address(buffer, index, e.dtype)
        lanes, element = self.scope.lanes, STORED[e.dtype]
        if not lanes or stride == 0:
            v = b.load(element, address)
        elif stride == 1:
            type = vector(element, lanes)
            if self.scope.mask is not None:
                v = b.call(f"llvm.masked.load.{_suffix(type)}.p0", type, address, L.i32(SIZE[e.dtype]), self.scope.mask, V("zeroinitializer", type))
            else:
                v = b.load(type, address)
        else:
            v = V("poison", vector(element, lanes))
            for k in range(lanes):
                v = b.insert(v, b.load(element, b.gep(address, b.mul(stride, i64(k)), element)), k)
        return b.cmp("ne", v, const(0, v.type)) if e.dtype == "b1" else v

    def operands(self, e, args=None):
        values = [self.value(a) for a in args or e.args]
        lanes = max(L.lanes_of(v.type)[0] for v in values)
        return [self.b.splat(v, lanes) if lanes and not L.lanes_of(v.type)[0] else v for v in values]

    def _seldom(self, e):
        """y, or lane by lane a call where the condition holds: one test and one branch where it holds nowhere."""
        b = self.b
        name = e.args[1]
        c, x, y = self.operands(e, (e.args[0], *e.args[2:]))
        lanes, element = L.lanes_of(y.type)
        word = b.emit(f"bitcast {c.type} {c.text} to i{lanes}", f"i{lanes}") if lanes else c
        some = b.cmp("ne", word, const(0, word.type)) if lanes else c
        slow, end = b.label("slow"), b.label("end")
        before = b.block
        b.cbr(some, slow, end)
        b.at(slow)

        def outside(v):
            return b.cast("fptrunc", b.call(name, "double", b.cast("fpext", v, "double")), element)

        if lanes:
            source, target = b.alloca(y.type), b.alloca(y.type)
            b.store(x, source)
            b.store(y, target)
            with b.loop(i64(0), i64(lanes)) as l:
                shift = b.cast("trunc", l.i, word.type) if lanes < 64 else l.i
                with b.when(b.cast("trunc", b.op("lshr", word, shift), "i1")):
                    b.store(outside(b.load(element, b.gep(source, l.i, element))), b.gep(target, l.i, element))
            other = b.load(y.type, target)
        else:
            other = outside(x)
        after = b.block
        b.br(end)
        b.at(end)
        return b.emit(f"phi {y.type} [{y.text}, %{before}], [{other.text}, %{after}]", y.type)

    def _call(self, e):
        b, op = self.b, e.op
        if op == "seldom":
            return self._seldom(e)
        values = self.operands(e)
        k = kind(e.args[-1].dtype)
        if op == "select":
            return b.select(*values)
        if op == "bitcast":
            return casts.bitcast(b, values[0], TYPE[e.dtype])
        if op in COMPARISONS:
            return b.cmp(_PREDICATE[k][op], *values)
        if op in ("shl", "lshr", "ashr"):
            return self._shift(e, *values)
        if op in BITS and op != "not":
            return b.op(_WORDS[op], *values)
        x = values[0]
        if op == "not":
            return b.op("xor", x, const(1 if e.dtype == "b1" else -1, x.type))
        if k == "f":
            if op in _ROUND:
                return b.intrinsic(_ROUND[op], *values)
            return b.op("fneg", x) if op == "neg" else b.op({"div": "fdiv", "rem": "frem"}.get(op, "f" + op), *values)
        if op in ("div", "rem"):
            return self._divide(e, *values)
        if op == "neg":
            return b.op("sub", const(0, x.type), x)
        if op == "abs":
            return b.select(b.cmp("slt", x, const(0, x.type)), b.op("sub", const(0, x.type), x), x) if k == "i" else x
        if op == "fma":
            return b.op("add", b.op("mul", *values[:2]), values[2])
        if op in ("floor", "ceil", "trunc", "rint"):
            return x
        if op in ("add", "mul") and k == "b":
            return b.op("or" if op == "add" else "and", *values)
        return b.op(op, *values)

    def _shift(self, e, x, y):
        """A shift; counts that are too large give 0, or for ashr the sign."""
        b, bits = self.b, 8 * SIZE[e.dtype]
        count = e.args[1]
        if count.op == "const" and 0 <= count.args[0] < bits:
            return b.op(_WORDS[e.op], x, y)
        inside = b.cmp("ult", y, const(bits, y.type))
        out = b.op(_WORDS[e.op], x, b.select(inside, y, const(bits - 1, y.type)))
        return out if e.op == "ashr" else b.select(inside, out, const(0, out.type))

    def _divide(self, e, x, y):
        """Division of integers as codegen/interpret.py says: by 0, and of the smallest one by -1, machines trap or differ."""
        b, signed = self.b, kind(e.dtype) == "i"
        word = ("s" if signed else "u") + e.op
        if e.args[1].op == "const" and e.args[1].args[0] not in (0, -1):
            return b.op(word, x, y)
        zero, one = const(0, y.type), const(1, y.type)
        by_zero = b.cmp("eq", y, zero)
        unsafe = by_zero
        if signed:
            smallest = b.cmp("eq", x, const(-(2 ** (8 * SIZE[e.dtype] - 1)), x.type))
            unsafe = b.op("or", by_zero, b.op("and", smallest, b.cmp("eq", y, const(-1, y.type))))
        out = b.op(word, x, b.select(unsafe, one, y))
        return b.select(by_zero, x if e.op == "rem" else zero, out)

    def _cast(self, e):
        return casts.cast(self.b, self.value(e.args[0]), e.args[0].dtype, e.dtype)


def _suffix(type):
    lanes, element = L.lanes_of(type)
    letter = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}.get(element, element)
    return f"v{lanes}{letter}" if lanes else letter


class _Plan:
    __slots__ = ("lanes", "masked")


def _plan(s, buffers, vector_bytes):
    """How many lanes a Lanes loop takes, and whether its rest can be one masked step."""
    widest, weight, sizes, gathered = 1, 0, set(), False
    seen = set()

    def walk(e):
        nonlocal widest, weight, gathered
        if e in seen:
            return
        seen.add(e)
        if s.index not in e.reads and e.op != "ref":
            return
        if e.op == "load":
            strides = [t for i, t in e.args[1] if i == s.index]
            if strides and strides[0] not in (0, 1):
                gathered = True
            if strides and strides[0] != 0:
                sizes.add(SIZE[e.dtype])
        if e.op not in ("const", "number"):
            widest = max(widest, SIZE[e.dtype])
            weight += 1
        for a in e.args:
            if a.__class__ is type(e):
                walk(a)

    for t in statements(s.body):
        for e in expressions(t):
            walk(e)
        if isinstance(t, Store):
            strides = [x for i, x in t.index if i == s.index]
            sizes.add(SIZE[t.value.dtype] if strides and strides[0] == 1 else 1)
            widest = max(widest, SIZE[t.value.dtype])
            gathered |= bool(strides) and strides[0] not in (0, 1)
        elif isinstance(t, (Acc, Update)):
            dtype = t.dtype if isinstance(t, Acc) else t.value.dtype
            widest = max(widest, SIZE[dtype])
    plan = _Plan()
    registers = 1 if gathered else 4 if weight < 40 else 2 if weight < 64 else 1
    plan.lanes = max(1, registers * vector_bytes // widest)
    plan.masked = bool(sizes) and min(sizes) >= 4 and not gathered
    return plan


def emit(kernel, vector_bytes=32, contract=True):
    """The module text of a kernel; with `contract` a product and a sum may be rounded once."""
    return Emitter(kernel, vector_bytes, contract).text()
