"""Formulas of Tensor operations as one kernel: updates of optimizers, gradients of pointwise rows.

A formula is a Python function written with Tensor operators and methods. Called with `Symbol`s in place of tensors it
leaves a list of steps (rows of the table and their operands) in a `Trace`; `program(trace)` is one loop that does all of
them on arrays that lie alike: what is an operand of several steps is read once, what is between steps stays in registers.

Numbers. An int is part of the kernel; a float is a parameter of it, so that a learning rate or a bias correction may
change from call to call. Where a row's body looks at such a number (`value != 1`), what it sees is part of the kernel.

Invariants: nothing is contracted or reordered, so each step rounds as the row's own kernel does; a formula that asks for
more than arithmetic (a shape, an element, another class's method) is `Untraceable` and runs as it is; results are formed
from the values before anything is stored.
"""

from __future__ import annotations

from rushlight.codegen.loops import (
    Buffer,
    Held,
    Kernel,
    Lanes,
    Let,
    Number,
    Store,
    Untraceable,
    cast,
    load,
    number,
    ref,
)
from rushlight.codegen.program import Program
from rushlight.codegen.scalars import traced
from rushlight.ops.op import TABLE

__all__ = ["Symbol", "Trace", "Untraceable", "program"]
_HELD = ("alpha", "value", "weight", "negative_slope", "slope")  # attributes that may be parameters of the kernel
_AT = (("i", 1),)
_PROGRAMS: dict = {}
_MOST = 512  # kernels, before formulas run as they are


class Trace:
    """The steps of a formula on operands of one floating dtype ("f32" or "f64"; masks are "b1")."""

    __slots__ = ("dtype", "numbers", "steps", "dtypes")

    def __init__(self, dtype):
        self.dtype, self.numbers, self.steps, self.dtypes = dtype, [], [], []

    def operand(self, dtype=None):
        """The symbol of the next array."""
        dtype = dtype or self.dtype
        return self._symbol(("operand", dtype), dtype)

    def _symbol(self, step, dtype):
        self.steps.append(step)
        self.dtypes.append(dtype)
        return Symbol(self, len(self.steps) - 1)

    def held(self, value):
        """A float as a parameter: a negative place."""
        self.numbers.append(float(value))
        return -len(self.numbers)

    def place(self, value):
        """How a step refers to an operand: a place, or ("int", n)."""
        kind = value.__class__
        if kind is Symbol:
            if value._trace is not self:
                raise Untraceable("symbols of two formulas")
            return value._place
        if kind is int or kind is bool:
            return ("int", int(value))
        if kind is float:
            return self.held(value)
        data = getattr(value, "_data", None)
        if data is not None and data.ndim == 0 and data.dtype.kind == "f" and not value.requires_grad:
            return self.held(value.item())
        raise Untraceable(f"an operand of {kind}")

    def step(self, name, *operands, **attrs):
        """Do row `name` on operands; the symbol of the result."""
        op = TABLE.get(name)
        if op is None or op.family != "pointwise" or op.body is None or op.result not in ("same", "float", "bool", "second", "real"):
            raise Untraceable(name)
        given = []
        for key, value in attrs.items():
            if value.__class__ is float and key in _HELD:
                given.append((key, self.held(value), value != 1, abs(value) < 0.5))
            else:
                given.append((key, value))
        places = tuple([self.place(v) for v in operands])
        kinds = {self.dtypes[p] for p in places if p.__class__ is int and p >= 0}
        dtype = "b1" if op.result == "bool" or name.startswith("bitwise_") and kinds == {"b1"} else self.dtype
        return self._symbol((name, places, tuple(given)), dtype)


class Symbol:
    """Stands for a tensor in a formula. In-place methods change what it stands for, and are counted in `changes`."""

    __slots__ = ("_place", "_trace", "changes", "fixed")
    is_sparse = False

    def __init__(self, trace, place, fixed=False):
        self._trace, self._place, self.changes, self.fixed = trace, place, 0, fixed

    def _do(self, name, *operands, **attrs):
        return self._trace.step(name, *operands, **attrs)

    def _become(self, other):
        if self.fixed or self._trace.dtypes[other._place] != self._trace.dtypes[self._place]:
            raise Untraceable("in place")
        self._place = other._place
        self.changes += 1
        return self

    def __bool__(self):
        raise Untraceable("the value of a tensor")

    __float__ = __int__ = __index__ = __len__ = __iter__ = __bool__
    __hash__ = object.__hash__

    def is_complex(self):
        return False

    def _fused(self, name, *operands, **attrs):
        return self._do(name, self, *operands, **attrs)

    def __getattr__(self, name):
        if name[0] == "_":
            raise Untraceable(name)
        in_place = name[-1] == "_"
        word = name[:-1] if in_place else name
        make = _METHODS.get(word)
        if make is None:
            op = TABLE.get(word)
            if op is None or op.family != "pointwise":
                raise Untraceable(name)

            def make(self, *operands, **attrs):
                if len(operands) + 1 != len(op.inputs):
                    raise Untraceable(word)
                return self._do(word, self, *operands, **attrs)

        if not in_place:
            return lambda *operands, **attrs: make(self, *operands, **attrs)
        return lambda *operands, **attrs: self._become(make(self, *operands, **attrs))

    def _operator(name, swapped=None):
        def operator(self, *other):
            return self._do(name, self, *other)

        return operator

    __add__ = __radd__ = _operator("add")
    __mul__ = __rmul__ = _operator("mul")
    __sub__, __truediv__, __neg__, __abs__, __invert__ = map(_operator, ("sub", "div", "neg", "abs", "bitwise_not"))
    __rsub__ = _operator("rsub_number")
    __and__, __or__, __xor__ = map(_operator, ("bitwise_and", "bitwise_or", "bitwise_xor"))
    __lt__, __le__, __gt__, __ge__, __eq__, __ne__ = map(_operator, ("lt", "le", "gt", "ge", "eq", "ne"))
    del _operator

    def __rtruediv__(self, number):
        return self._do("mul", self._do("reciprocal", self), number)

    def __pow__(self, exponent):
        return _pow(self, exponent)


# ---- methods that are no row under their own name


def _scaled(name):
    def method(self, other, alpha=1):
        return self._do(name, self, other) if alpha == 1 else self._do(name + "_scaled", self, other, alpha=_number(alpha))

    return method


def _number(value):
    """A number given as `value=` or `alpha=`."""
    if value.__class__ not in (int, float, bool):
        raise Untraceable(f"a number of {value.__class__}")
    return value


def _with_value(name):
    return lambda self, y, z, value=1: self._do(name, self, y, z, value=_number(value))


def _pow(self, exponent):
    if exponent.__class__ is Symbol:
        return self._do("pow", self, exponent)
    return self._do("square", self) if exponent.__class__ is int and exponent == 2 else self._do("pow_scalar", self, exponent=_number(exponent))


def _same(self):
    return Symbol(self._trace, self._place)


def _detach(self):
    return Symbol(self._trace, self._place, fixed=True)


def _copy(self, other):
    if other.__class__ is not Symbol:
        raise Untraceable("copy_")
    return other


def _lerp(self, end, weight):
    if weight.__class__ is not float:
        raise Untraceable("lerp")
    return self._do("lerp_scalar", self, end, weight=weight)


_METHODS = {
    "add": _scaled("add"),
    "sub": _scaled("sub"),
    "addcmul": _with_value("addcmul"),
    "addcdiv": _with_value("addcdiv"),
    "div": lambda self, other: self._do("div", self, other),
    "pow": _pow,
    "lerp": _lerp,
    "copy": _copy,
    "clone": _same,
    "detach": _detach,
    "where": lambda self, c, other: self._do("where", c, self, other),
    "masked_fill": lambda self, mask, value: self._do("where", mask, value, self),
    "clamp": lambda self, min=None, max=None: self._do("clamp", self, min=min, max=max),
}


# ---- kernels


def program(trace, outputs):
    """The program of a trace that writes `outputs`, ((place, operand or None), ...): into an operand, or a new array.

    Its arguments are the new arrays, the operands in order, the trace's numbers. None where there are too many kernels.
    """
    key = (trace.dtype, tuple(trace.steps), len(trace.numbers), outputs)
    found = _PROGRAMS.get(key)
    if found is None:
        if len(_PROGRAMS) >= _MOST:
            return None
        found = _PROGRAMS[key] = Program(_kernel(trace, outputs), contract=False)
    return found


def _kernel(trace, outputs):
    d = trace.dtype
    values, operands = [], []
    for at, step in enumerate(trace.steps):
        if step[0] == "operand":
            operands.append(Buffer(f"x{at}", step[1]))
            values.append(load(f"x{at}", _AT, step[1]))
            continue
        name, places, attrs = step
        op = TABLE[name]
        given = {n: Held(trace.numbers[-1 - v[0]], number(f"n{-1 - v[0]}", d)) if len(v) == 3 else v[0] for n, *v in attrs}
        taken = [_operand(p, values, d, op, k) for k, p in enumerate(places)]
        values.append(traced(op.body, taken, given, trace.dtypes[at]))
    fresh, lets, stores = [], [], []
    for k, (place, into) in enumerate(outputs):
        name = f"x{into}" if into is not None else f"out{k}"
        dtype = trace.dtypes[place]
        if into is None:
            fresh.append(Buffer(name, dtype))
        lets.append(Let(f"v{k}", values[place]))
        stores.append(Store(name, _AT, ref(f"v{k}", dtype)))
    numbers = [Number(f"n{k}", d) for k in range(len(trace.numbers))]
    return Kernel("formula", (*fresh, *operands, *numbers), (Lanes("i", None, None, (*lets, *stores)),))


def _operand(place, values, d, op, k):
    """An operand of a step as its row's body takes it."""
    if place.__class__ is tuple:
        return place[1]
    if place < 0:
        return number(f"n{-1 - place}", d)
    e = values[place]
    if e.dtype == "b1" and not (op.result == "second" and k == 0) and not op.name.startswith(("bitwise_", "logical_")):
        return cast(e, d)
    return e
