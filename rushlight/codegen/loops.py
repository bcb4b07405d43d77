"""The loop IR: what a kernel computes, before any machine is thought of. The whole grammar:

    kernel  = Kernel(name, params, body)
    param   = Buffer(name, dtype) | Number(name, dtype)          memory; a size, a stride or a scalar given at the call
    stmt    = Grid(indices, extents, body)                       independent iterations, shared among threads
            | Loop(index, start, stop, body)                     in order
            | Lanes(index, start, stop, body)                    in order, several at a time in vector lanes
            | Let(name, expr) | Store(buffer, index, expr)
            | Acc(name, op, dtype)                               an accumulator, at the identity of op
            | Update(name, expr)                                 name = op(name, expr)
    expr    = const | number(name) | ref(name) | load(buffer, index) | call(op, *exprs) | cast(expr, dtype)
    index   = ((loop index, stride), ...)                        stride: an int or a Number's name, in elements
    op      = add sub mul div rem fma sqrt abs neg floor ceil trunc rint copysign | eq ne lt le gt ge
            | and or xor not shl lshr ashr | select bitcast      the primitives of every emitter
            | seldom(c, name, x, y)                              y; where c holds, and it rarely does, the C library's name(x)

The first statement of a kernel is its only Grid (or a Lanes with start None: the grid's range in lanes). An accumulator
that is updated in a Lanes loop and declared outside of it has one partial result a lane, combined where the loop ends.
Stores to a buffer are seen by later loads of other statements. Expressions are hash-consed: equal ones are one object,
so an expression is a graph and evaluated once in each scope.

codegen/interpret.py says what each of them means, to the bit.

Dtypes are short words: b1 i8 i16 i32 i64 u8 u16 u32 u64 f32 f64, and f16 bf16, which are only loaded, cast and stored.
Everything is immutable and checked when it is made. `str(kernel)` is Python that makes the kernel again.
"""

from __future__ import annotations

import math
import struct
from threading import RLock
from weakref import WeakValueDictionary

from rushlight.core.forking import EXPRESSIONS, whole_at_fork

SIZE = {"b1": 1, "i8": 1, "u8": 1, "i16": 2, "u16": 2, "f16": 2, "bf16": 2, "i32": 4, "u32": 4, "f32": 4, "i64": 8, "u64": 8, "f64": 8}
FLOATS = ("f32", "f64")
_SINGLE = struct.Struct("f")
ARITHMETIC = {"add": 2, "sub": 2, "mul": 2, "div": 2, "rem": 2, "fma": 3, "sqrt": 1, "abs": 1, "neg": 1, "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "copysign": 2}
BITS = {"and": 2, "or": 2, "xor": 2, "not": 1, "shl": 2, "lshr": 2, "ashr": 2}
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
OUTSIDE = ("sin", "cos", "tan")  # functions of float64 that every C library has


class Untraceable(Exception):
    """Python asked for the value of something that is known only when the kernel runs."""


class Expr:
    """A node: `op`, `args` (Exprs, or plain data for leaves), `dtype`, and `reads`: the names that it depends on."""

    __slots__ = ("op", "args", "dtype", "reads", "__weakref__")
    _made = WeakValueDictionary()
    _lock = whole_at_fork(RLock(), EXPRESSIONS)  # re-entrant, because a collection while it is held may run anybody's code

    def __new__(cls, op, args, dtype):
        # an entry keeps its operands alive, so that their ids are good keys while it lives
        key = (op, repr(args) if op == "const" else tuple([id(a) if a.__class__ is Expr else a for a in args]), dtype)
        found = cls._made.get(key)
        if found is None:
            found = object.__new__(cls)
            put = object.__setattr__
            put(found, "op", op)
            put(found, "args", args)
            put(found, "dtype", dtype)
            inner = [a for a in args if a.__class__ is Expr]
            reads = frozenset().union(*(a.reads for a in inner))
            if op in ("ref", "number"):
                reads |= {args[0]}
            elif op == "load":
                reads |= {"*" + args[0]} | {i for i, _ in args[1]} | {s for _, s in args[1] if isinstance(s, str)}
            put(found, "reads", reads)
            with cls._lock:  # whole before any other thread can see it
                found = cls._made.setdefault(key, found)
        return found

    @property
    def weight(self):
        """How many different nodes there are, constants and names left out: what the expression costs."""
        seen, rest = {self}, [self]
        for e in rest:
            new = [a for a in e.args if a.__class__ is Expr and a not in seen and a.op not in ("const", "number", "ref")]
            seen.update(new)
            rest.extend(dict.fromkeys(new))
        return len(seen)

    def __setattr__(self, name, value):
        raise AttributeError("expressions are immutable")

    def __bool__(self):
        raise Untraceable(self.op)

    __hash__ = object.__hash__

    def _binary(op, swapped=False):
        def operator(self, other):
            other = lift(other, self.dtype)
            return call(op, other, self) if swapped else call(op, self, other)

        return operator

    __add__, __radd__, __sub__, __rsub__ = _binary("add"), _binary("add", True), _binary("sub"), _binary("sub", True)
    __mul__, __rmul__, __truediv__, __rtruediv__ = _binary("mul"), _binary("mul", True), _binary("div"), _binary("div", True)
    __and__, __or__, __xor__, __rand__, __ror__, __rxor__ = map(_binary, ("and", "or", "xor", "and", "or", "xor"))
    __eq__, __ne__, __lt__, __le__, __gt__, __ge__ = map(_binary, COMPARISONS)
    del _binary

    def __neg__(self):
        return call("neg", self)

    def __invert__(self):
        return call("not", self)

    def __abs__(self):
        return call("abs", self)

    def __repr__(self):
        return f"<{self.op} {self.dtype}>"


def const(value, dtype):
    """A number, rounded to float32 where that is its dtype."""
    if dtype == "f32":
        try:
            value = _SINGLE.unpack(_SINGLE.pack(value))[0]
        except OverflowError:
            value = math.copysign(math.inf, value)
    elif dtype == "b1":
        if not math.isfinite(value):
            raise OverflowError("no truth value is infinite or no number")
        value = bool(value)
    else:
        value = float(value) if dtype == "f64" else int(value)
    return Expr("const", (value,), dtype)


class Held(float):
    """A number that is a parameter of the kernel, with its value at hand for a body that looks at it."""

    __slots__ = ("expr",)

    def __new__(cls, value, expr):
        self = float.__new__(cls, value)
        self.expr = expr
        return self

    def __neg__(self):
        return Held(-float(self), -self.expr)


def lift(value, dtype):
    """A Python number as a constant of `dtype`, a held one as its parameter; an Expr as it is."""
    if value.__class__ is Held:
        return cast(value.expr, dtype)
    return value if value.__class__ is Expr else const(value, dtype)


def number(name, dtype="i64"):
    """A parameter of the kernel."""
    return Expr("number", (name,), dtype)


def ref(name, dtype="i64"):
    """A loop index, a Let or an accumulator."""
    return Expr("ref", (name,), dtype)


def load(buffer, index, dtype):
    """The element of `buffer` at an affine index."""
    return Expr("load", (buffer, tuple(index)), dtype)


def _holds(dtype, value):
    """Whether a constant of `dtype` can be made of a number right away."""
    if dtype[0] not in "iu":
        return dtype not in ("f16", "bf16")
    bits = 8 * SIZE[dtype]
    low, high = (0, 2**bits) if dtype[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    return low <= value < high


def cast(x, dtype):
    """The value of x in another dtype, as C converts."""
    if x.dtype == dtype:
        return x
    if x.op == "const" and _holds(dtype, x.args[0]):
        return const(x.args[0], dtype)
    return Expr("cast", (x,), dtype)


def bitcast(x, dtype):
    """The bits of x read as another dtype of its size."""
    if SIZE[x.dtype] != SIZE[dtype]:
        raise TypeError(f"bitcast from {x.dtype} to {dtype}: their sizes differ")
    return x if x.dtype == dtype else Expr("bitcast", (x,), dtype)


def select(c, x, y):
    """x where c, else y."""
    if c.dtype != "b1" or x.dtype != y.dtype:
        raise TypeError(f"select takes b1 and two of one dtype, got {c.dtype}, {x.dtype}, {y.dtype}")
    return x if x is y else Expr("select", (c, x, y), x.dtype)


def seldom(c, name, x, y):
    """y, but the C library's `name` of x where c holds: for the few arguments that lanes cannot do well."""
    if c.dtype != "b1" or x.dtype != y.dtype or y.dtype not in FLOATS or name not in OUTSIDE:
        raise TypeError(f"seldom takes b1, one of {OUTSIDE} and two of one floating dtype, got {c.dtype}, {name!r}, {x.dtype}, {y.dtype}")
    return Expr("seldom", (c, name, x, y), y.dtype)


def call(op, *args):
    """A primitive on operands of one dtype."""
    arity = ARITHMETIC.get(op) or BITS.get(op) or (2 if op in COMPARISONS else None)
    dtype = args[0].dtype
    if arity != len(args) or any(a.dtype != dtype for a in args):
        raise TypeError(f"{op} takes {arity} operands of one dtype, got {[a.dtype for a in args]}")
    if dtype in ("f16", "bf16") or (op in BITS and dtype in FLOATS):
        raise TypeError(f"{op} is not defined on {dtype}")
    return Expr(op, args, "b1" if op in COMPARISONS else dtype)


class _Node:
    """A statement or a parameter: immutable, its fields in order."""

    __slots__ = ()

    def __init__(self, *values):
        if len(values) != len(self.__slots__):
            raise TypeError(f"{type(self).__name__} takes {self.__slots__}")
        for name, value in zip(self.__slots__, values):
            object.__setattr__(self, name, value)
        self.check()

    def check(self):
        pass

    def __setattr__(self, name, value):
        raise AttributeError("the loop IR is immutable")


class Buffer(_Node):
    __slots__ = ("name", "dtype")


class Number(_Node):
    __slots__ = ("name", "dtype")


class Grid(_Node):
    __slots__ = ("indices", "extents", "body")


class Loop(_Node):
    __slots__ = ("index", "start", "stop", "body")


class Lanes(_Node):
    __slots__ = ("index", "start", "stop", "body")


class Let(_Node):
    __slots__ = ("name", "value")


class Store(_Node):
    __slots__ = ("buffer", "index", "value")


class Acc(_Node):
    __slots__ = ("name", "op", "dtype")

    def check(self):
        if self.op not in ("add", "mul", "max", "min", "and", "or"):
            raise TypeError(f"no accumulator of {self.op!r}")


class Update(_Node):
    __slots__ = ("name", "value")


class Kernel(_Node):
    __slots__ = ("name", "params", "body")

    def check(self):
        if self.name in OUTSIDE:
            raise TypeError(f"kernel {self.name}: that is a function of the C library")
        names = [p.name for p in self.params]
        if len(set(names)) != len(names):
            raise TypeError(f"kernel {self.name}: two parameters of one name in {names}")
        _check(self.body, {p.name: p for p in self.params}, {}, self.name)

    def __str__(self):
        return _Printer().kernel(self)


def statements(body):
    """All statements of a body, inner ones after their loop."""
    for s in body:
        yield s
        if isinstance(s, (Grid, Loop, Lanes)):
            yield from statements(s.body)


def expressions(statement):
    """The expressions that a statement holds itself."""
    if isinstance(statement, (Let, Store, Update)):
        return (statement.value,)
    if isinstance(statement, (Loop, Lanes)):
        return tuple(e for e in (statement.start, statement.stop) if e is not None)
    return tuple(statement.extents) if isinstance(statement, Grid) else ()


def _check(body, params, scope, kernel):
    """Every name is defined before it is read, and in the dtype that it is read in."""
    scope = dict(scope)
    for s in body:
        for e in expressions(s):
            for name in e.reads:
                if name.lstrip("*") not in params and name not in scope:
                    raise TypeError(f"kernel {kernel}: {name!r} is read before it is defined")
        if isinstance(s, Store):
            if params[s.buffer].dtype != s.value.dtype:
                raise TypeError(f"kernel {kernel}: {s.value.dtype} stored to {s.buffer!r} of {params[s.buffer].dtype}")
        elif isinstance(s, (Let, Acc)):
            scope[s.name] = s
        elif isinstance(s, Update):
            if scope[s.name].dtype != s.value.dtype:
                raise TypeError(f"kernel {kernel}: {s.name!r} is {scope[s.name].dtype}, its update {s.value.dtype}")
        else:
            inner = s.indices if isinstance(s, Grid) else (s.index,)
            _check(s.body, params, {**scope, **dict.fromkeys(inner)}, kernel)


class _Printer:
    """Python text that builds a kernel again: shared expressions get a line of their own."""

    def __init__(self):
        self.lines, self.names = [], {}

    def expr(self, e):
        if e is None:
            return "None"
        if e in self.names:
            return self.names[e]
        if e.op == "const":
            return f"const({e.args[0]!r}, {e.dtype!r})".replace("inf", "float('inf')").replace("nan", "float('nan')")
        if e.op in ("number", "ref"):
            return f"{e.op}({e.args[0]!r}, {e.dtype!r})"
        if e.op == "load":
            return f"load({e.args[0]!r}, {e.args[1]!r}, {e.dtype!r})"
        args = ", ".join(repr(a) if a.__class__ is str else self.expr(a) for a in e.args)
        text = f"{e.op}({args}, {e.dtype!r})" if e.op in ("cast", "bitcast") else f"{e.op}({args})" if e.op in ("select", "seldom") else f"call({e.op!r}, {args})"
        name = self.names[e] = f"e{len(self.names)}"
        self.lines.append(f"{name} = {text}")
        return name

    def stmt(self, s, depth):
        pad = "    " * depth
        if isinstance(s, Let):
            return f"{pad}Let({s.name!r}, {self.expr(s.value)}),"
        if isinstance(s, Store):
            return f"{pad}Store({s.buffer!r}, {s.index!r}, {self.expr(s.value)}),"
        if isinstance(s, Acc):
            return f"{pad}Acc({s.name!r}, {s.op!r}, {s.dtype!r}),"
        if isinstance(s, Update):
            return f"{pad}Update({s.name!r}, {self.expr(s.value)}),"
        if isinstance(s, Grid):
            extents = "".join(self.expr(e) + ", " for e in s.extents)
            head = f"{pad}Grid({s.indices!r}, ({extents}), ("
        else:
            head = f"{pad}{type(s).__name__}({s.index!r}, {self.expr(s.start)}, {self.expr(s.stop)}, ("
        return "\n".join([head, *(self.stmt(t, depth + 1) for t in s.body), f"{pad})),"])

    def kernel(self, k):
        params = "".join(f"{type(p).__name__}({p.name!r}, {p.dtype!r}), " for p in k.params)
        body = "\n".join(self.stmt(s, 1) for s in k.body)
        return "\n".join([*self.lines, f"kernel = Kernel({k.name!r}, ({params}), (", body, "))", ""])


def rebuild(text):
    """The kernel that `str(kernel)` describes."""
    scope = dict(globals())
    exec(text, scope)  # noqa: S102 (text that str(kernel) made, for golden files and tests)
    return scope["kernel"]
