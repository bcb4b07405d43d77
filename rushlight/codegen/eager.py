"""Large pointwise rows on compiled kernels, as backends/cpu.py asks for them.

`pointwise(op, spec, arrays, attrs, out)` gives the result, or None where NumPy should do it: complex and float8 dtypes,
bodies that cannot be traced, partly overlapping memory, foreign byte order. Kernels are found by what they depend on: row,
dtypes, which operands are numbers, the class of each stride, and attributes that are not plain floats (those are parameters
of the kernel, so that a new value needs no new kernel).

Invariants: `out` is written by iterations that read their operands at the same place first, so it may be an operand
itself, never a shifted view of one; a result is fresh memory in the order of the operands' memory.
"""

from __future__ import annotations

import numpy as np

from rushlight.codegen import copying, lower
from rushlight.codegen.layout import collapse, dense, element_strides, short
from rushlight.codegen.loops import Untraceable, cast, number
from rushlight.codegen.program import Program
from rushlight.codegen.scalars import traced
from rushlight.core import dtype as D
from rushlight.ops.op import Spec

ndarray = np.ndarray
GRAIN = 1 << 15  # elements of a light kernel that are worth another thread
_KINDS: dict = {}
_LIMIT = 16  # values of an attribute that is part of the code, before NumPy is asked instead


class _Kind:
    """The kernels of one row for one choice of dtypes and attributes."""

    __slots__ = ("op", "operands", "compute", "dtype", "result", "attrs", "scalar", "symbols", "programs", "grain")

    def __init__(self, op, operands, compute, dtype, result, attrs):
        self.op, self.operands, self.compute, self.dtype, self.result = op, operands, compute, dtype, result
        self.programs = {}
        self.attrs, self.symbols = attrs, ()
        floats = tuple(n for n, v in attrs.items() if v.__class__ is float)
        at = [number(f"x{k}", d) for k, (d, _) in enumerate(operands)]
        self.scalar = compute if compute in ("f32", "f64") else "f64"  # the dtype of attributes given at the call
        try:  # floats as parameters of the kernel, where the body does not look at their values
            self.symbols = floats
            e = self.body([cast(a, self.compute_of(k)) for k, a in enumerate(at)])
        except Untraceable:
            self.symbols = ()
            e = self.body([cast(a, self.compute_of(k)) for k, a in enumerate(at)])
        self.grain = max(1 << 11, GRAIN // max(1, e.weight // 8))

    def compute_of(self, k):
        dtype = self.operands[k][0]
        return dtype if dtype == "b1" and self.op.result == "second" and k == 0 else self.compute

    def body(self, operands):
        """The row's expression in the result's dtype."""
        attrs = {n: cast(number(f"a_{n}", self.scalar), self.compute) if n in self.symbols else v for n, v in self.attrs.items()}
        e = traced(self.op.body, operands, attrs, self.dtype)
        return cast(e, self.result)

    def expression(self, index_of):
        return self.body(lower.values(self.operands, index_of, tuple(self.compute_of(k) for k in range(len(self.operands)))))

    def program(self, walks):
        """The program for a class of layouts: None is one stretch of memory."""
        found = self.programs.get(walks)
        if found is None:
            name = f"{self.op.name}_{'_'.join(d for d, _ in self.operands)}_{self.result}"
            attrs = [(n, self.scalar) for n in self.symbols]
            if walks is None:
                kernel = lower.flat(name, self.operands, self.result, self.expression, attrs)
            else:
                kernel = lower.strided(name + "_strided", self.operands, self.result, self.expression, dict(walks), attrs)
            found = self.programs[walks] = Program(kernel)
        return found


def _kind(op, spec, arrays, attrs, target):
    """The kernels for a call; None where there can be none."""
    key = [op.name, spec.dtype.name, spec.compute and spec.compute.name, target.name]
    for a in arrays:
        key.append((a.dtype.num, a.ndim == 0) if a.__class__ is ndarray else a.__class__)
    for n, v in attrs.items():
        key.append((n, v.__class__ if v.__class__ is float else v))
    values = tuple(attrs.values())
    known = _KINDS.setdefault(tuple(key), {})
    kind = known.get(None, known)  # under None: the one that serves every value
    if kind is known:
        kind = known.get(values, known)
    if kind is known:
        if len(known) >= _LIMIT:
            return None
        kind = _make(op, spec, arrays, attrs, target)
        every = kind is None or kind.symbols or not any(v.__class__ is float for v in values)
        known[None if every else values] = kind
    return kind


def _make(op, spec, arrays, attrs, target):
    dtype, result = short(spec.dtype.np), short(target)
    compute = dtype if spec.compute is None else short(spec.compute.np)
    if op.body is None or None in (dtype, result, compute) or compute in ("f16", "bf16"):
        return None
    operands = []
    for a in arrays:
        if a.__class__ is ndarray:
            d = short(a.dtype)
            if d is None:
                return None
            operands.append((d if a.ndim else _held(d), a.ndim == 0))
        elif a.__class__ in (bool, int, float):
            operands.append((compute if compute in ("f32", "f64") else "f64" if a.__class__ is float else "i64", True))
        else:
            return None
    try:
        return _Kind(op, tuple(operands), compute, dtype, result, dict(attrs))
    except Untraceable:
        return None


def _held(dtype):
    """The dtype in which the value of a 0-dim operand is handed over."""
    return dtype if dtype in ("f32", "f64") else "f32" if dtype in ("f16", "bf16") else "i64"


def pointwise(op, spec, arrays, attrs, out=None):
    """The result of a pointwise row on large operands, or None where NumPy should do it."""
    target = spec.dtype.np if out is None else out.dtype
    kind = _kind(op, spec, arrays, attrs, target)
    if kind is None:
        return None
    shape = spec.shape
    memory = [a for a in arrays if a.__class__ is ndarray and a.ndim]
    if out is not None:
        for a in memory:
            if a is not out and np.may_share_memory(a, out) and not (a.__array_interface__["data"] == out.__array_interface__["data"] and a.strides == out.strides and a.shape == out.shape):
                return None
    first = memory[0]
    same = all(a.shape == shape and (a.strides == first.strides or a.flags.c_contiguous and first.flags.c_contiguous) for a in memory)
    scalars = [a if a.__class__ is ndarray and a.ndim else _scalar(a, d) for a, (d, _) in zip(arrays, kind.operands)]
    extra = [attrs[n] for n in kind.symbols]
    if out is None:
        if same and dense(first):
            out = np.empty_like(first, dtype=target)
            kind.program(None)(out.size, kind.grain, out, *scalars, *extra)
            return out
        out = np.empty(shape, target)
    elif same and dense(out) and (out.strides == first.strides or out.flags.c_contiguous and first.flags.c_contiguous):
        kind.program(None)(out.size, kind.grain, out, *scalars, *extra)
        return out
    if 0 in out.strides and out.size and any(s == 0 and n > 1 for s, n in zip(out.strides, out.shape)):
        return None
    walked = [-1, *(k for k, a in enumerate(arrays) if a.__class__ is ndarray and a.ndim)]
    strides = [element_strides(a, shape) for a in (out, *memory)]
    if None in strides:
        return None
    sizes, walks = collapse(shape, strides)
    if not sizes:
        sizes, walks = (1,), [(1,)] * len(walks)
    classes = tuple((k, tuple(0 if s == 0 else 1 if s == 1 else "s" for s in w)) for k, w in zip(walked, walks))
    program = kind.program(classes)
    total = 1
    inner, tile, across = _cut(classes, len(sizes))
    for d, n in enumerate(sizes):
        total *= lower.pieces(n, tile) if d == inner else lower.pieces(n, lower.BLOCK) if d == across else n
    steps = [s for (_, c), w in zip(classes, walks) for k, s in zip(c, w) if k == "s"]
    grain = max(1, total * kind.grain // max(out.size, 1))
    program(total, grain, out, *scalars, *extra, *sizes, *steps)
    return out


def ready(op, spec, arrays, attrs):
    """run(arrays): `pointwise` for further calls whose arrays are as these, in C order and of the result's shape, or of no dimensions; None where they are not."""
    shape, target = spec.shape, spec.dtype.np
    memory = [a for a in arrays if a.__class__ is ndarray and a.ndim]
    if not memory or any(a.shape != shape or not a.flags.c_contiguous for a in memory):
        return None
    kind = _kind(op, spec, arrays, attrs, target)
    if kind is None:
        return None
    program, grain, extra, total = kind.program(None), kind.grain, [attrs[n] for n in kind.symbols], memory[0].size
    numbers = [(k, d) for k, (d, is_number) in enumerate(kind.operands) if is_number]

    def run(arrays):
        out = np.empty(shape, target)
        if numbers:
            arrays = list(arrays)
            for k, d in numbers:
                arrays[k] = _scalar(arrays[k], d)
        program(total, grain, out, *arrays, *extra)
        return out

    return run


def clone(op, spec, arrays, attrs, out=None):
    """A copy in another order of memory than x's own; None where NumPy's own copy is as good."""
    x, order = arrays[0], attrs.get("order")
    if order is None or out is not None or order == "C" and x.flags.c_contiguous:
        return None
    if order == "C":
        return copying.contiguous(x)
    return copying.contiguous(x.transpose(order)).transpose(np.argsort(order))


def copy(op, spec, arrays, attrs, out=None):
    """copy_ from other memory of the same dtype; None where NumPy should do it."""
    y = arrays[1]
    if out is None or y.__class__ is not ndarray or y.dtype != out.dtype or y.ndim > out.ndim or np.may_share_memory(out, y):
        return None
    return out if copying.copy(out, np.broadcast_to(y, out.shape) if y.shape != out.shape else y) else None


def flat(op):
    """run(x, y, out): a pointwise row on two contiguous arrays of one shape and dtype (y may be a number or of no dimensions, or None).

    For the closures of bind.py, which have checked the dtype; LookupError where the general path has to decide.
    """
    programs = {}
    arity = len(op.inputs)

    def run(x, y=None, out=None):
        array = y.__class__ is ndarray
        if array and not y.ndim and x.ndim:
            y, array = y.item(), False
        if not x.flags.c_contiguous or array and (y.shape != x.shape or not y.flags.c_contiguous):
            raise LookupError
        key = (x.dtype.num, array)
        found = programs.get(key)
        if found is None:
            dtype = D.BY_NUM[key[0]]
            result = D.bool_ if op.result == "bool" else dtype
            kind = _kind(op, Spec(x.shape, result, dtype), [x] if arity == 1 else [x, y], {}, result.np)
            found = programs[key] = False if kind is None else (kind.program(None), kind.grain, result.np, float if dtype.category >= D.FLOAT else int)
        if found is False:
            raise LookupError
        program, grain, result, number = found
        if out is None:
            out = np.empty(x.shape, result)
        if y is None:
            program(x.size, grain, out, x)
        else:
            program(x.size, grain, out, x, y if array else number(y))
        return out

    return run


def _cut(classes, rank):
    """(inner dimension, its tile, the other dimension that is cut or None), as lower.strided cuts them."""
    inner = rank - 1
    across = next((c.index(1) for k, c in classes if k >= 0 and c[inner] == "s" and 1 in c), None)
    return inner, lower.TILE if across is None else lower.BLOCK, across


def _scalar(a, dtype):
    """A number as the kernel takes it."""
    value = a.item() if a.__class__ is ndarray else a
    return float(value) if dtype in ("f32", "f64") else int(value)
