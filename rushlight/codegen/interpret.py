"""The executable specification of the loop IR: expressions and kernels run by NumPy, slowly and to the letter.

`evaluate(e, scope)` gives an expression's value as an array; `run(kernel, args)` does what the compiled kernel does to its
arguments, so that an emitter is right where both agree. What C leaves open is decided here, and every emitter keeps to it:

    x div 0 = 0 and x rem 0 = x for integers; the smallest integer div -1 wraps
    shl and lshr by a count outside 0 .. bits - 1 give 0, ashr gives 0 or -1
    a float that an integer cannot hold, or NaN, is the smallest int32 (int64 for i64, u64, u32), cut to the dtype
    casts from f64 and integers to f16 and bf16 go by way of f32; NaN becomes the quiet NaN without sign in bf16

Values of bf16 are held as their bits in uint16. Sums of accumulators are taken in any order. In a Lanes loop the index is
an array: its statements run for all lanes at once, which is right because its iterations do not read what others store.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np

from rushlight.codegen.loops import SIZE, Acc, Grid, Lanes, Let, Loop, Number, Store, Update

NUMPY = {
    "b1": np.bool_, "i8": np.int8, "u8": np.uint8, "i16": np.int16, "u16": np.uint16, "i32": np.int32, "u32": np.uint32,
    "i64": np.int64, "u64": np.uint64, "f16": np.float16, "bf16": np.uint16, "f32": np.float32, "f64": np.float64,
}  # fmt: skip
_FLOAT = ("f16", "bf16", "f32", "f64")
_COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
_BITS = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
_ROUND = {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint}
_SAME = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "copysign": np.copysign, "sqrt": np.sqrt}
_B1 = {"add": np.logical_or, "sub": np.logical_xor, "mul": np.logical_and}
_COMBINE = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and, "or": np.bitwise_or}


# ---- primitives


def _fma64(x, y, z):
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)) or x == 0 or y == 0:
        return x * y + z
    exact = Fraction(x) * Fraction(y) + Fraction(z)
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


def _fma32(x, y, z):
    """The product is exact in float64; the sum is rounded to odd there, so that rounding once more is right (Boldo, 2008)."""
    p, z = x.astype(np.float64) * y, z.astype(np.float64)
    total = p + z
    part = total - p
    error = (p - (total - part)) + (z - part)
    odd = (total.view(np.int64) & 1).astype(bool)
    toward = np.where(error > 0, np.inf, -np.inf)
    fixed = np.where(odd | (error == 0) | ~np.isfinite(total), total, np.nextafter(total, toward))
    down = np.where((fixed.view(np.int64) & 1) == 0, total, fixed)  # the neighbour of an even number is odd
    return down.astype(np.float32)


def _fma(x, y, z, dtype):
    if dtype == "f32":
        return _fma32(*map(np.array, np.broadcast_arrays(x, y, z)))
    if dtype == "f64":
        return np.asarray(np.frompyfunc(_fma64, 3, 1)(x, y, z), np.float64)
    return x * y + z


def _divide(op, x, y, dtype):
    if dtype in _FLOAT:
        return np.divide(x, y) if op == "div" else np.fmod(x, y)
    if dtype == "b1":
        raise TypeError(f"{op} of b1")
    zero = y == 0
    safe = np.where(zero, np.ones_like(y), y)
    rest = np.fmod(x, safe)
    if dtype[0] == "i":
        rest = np.where(safe == -1, np.zeros_like(x), rest)
    if op == "rem":
        return np.where(zero, x, rest)
    whole = (x - rest) // np.where(safe == -1, np.ones_like(safe), safe) if dtype[0] == "i" else x // safe
    if dtype[0] == "i":
        whole = np.where(safe == -1, np.negative(x), whole)
    return np.where(zero, np.zeros_like(x), whole)


def _shift(op, x, y, dtype):
    bits = 8 * SIZE[dtype]
    signed, unsigned = np.dtype(f"i{SIZE[dtype]}"), np.dtype(f"u{SIZE[dtype]}")
    inside = (y >= 0) & (y < bits)
    count = np.where(inside, y, 0).astype(unsigned)
    if op == "ashr":
        return np.right_shift(x.view(signed), np.where(inside, count, bits - 1).astype(signed)).view(x.dtype)
    out = (np.left_shift if op == "shl" else np.right_shift)(x.view(unsigned), count)
    return np.where(inside, out, 0).astype(unsigned).view(x.dtype)


def _call(op, args, dtype):
    """A primitive on arrays that hold values of `dtype`."""
    x = args[0]
    if op in _COMPARE:
        return _COMPARE[op](*args)
    if op in _BITS:
        return _BITS[op](*args)
    if op in ("shl", "lshr", "ashr"):
        return _shift(op, *args, dtype)
    if op in ("div", "rem"):
        return _divide(op, *args, dtype)
    if op == "fma":
        return _fma(*args, dtype)
    if op == "not":
        return np.invert(x)
    if op in _ROUND:
        return _ROUND[op](x) if dtype in _FLOAT else x
    if op == "neg":
        return x if dtype == "b1" else np.negative(x)
    if op == "abs":
        return np.absolute(x)
    return (_B1 if dtype == "b1" else _SAME)[op](*args)


def bits_of_bfloat(x):
    """float32 rounded to bfloat16's bits, ties to even."""
    bits = x.view(np.uint32)
    rounded = (bits + (((bits >> np.uint32(16)) & np.uint32(1)) + np.uint32(0x7FFF))) >> np.uint32(16)
    return np.where(np.isnan(x), np.uint32(0x7FC0), rounded).astype(np.uint16)


def bfloat_of_bits(bits):
    """bfloat16's bits as float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def convert(x, source, target):
    """A cast."""
    if source == "bf16":
        return convert(bfloat_of_bits(x), "f32", target)
    if target == "b1":
        return x != 0
    if target in ("f16", "bf16"):
        x = x.astype(np.float32)
        return bits_of_bfloat(x) if target == "bf16" else x.astype(np.float16)
    if source in _FLOAT and target not in _FLOAT:
        wide = np.int64 if SIZE[target] == 8 or target == "u32" else np.int32
        limit = 2.0 ** (63 if wide is np.int64 else 31)
        exact = np.trunc(x.astype(np.float64))
        holds = (exact >= -limit) & (exact < limit)
        whole = np.where(holds, exact, 0).astype(wide)
        return np.where(holds, whole, np.iinfo(wide).min).astype(wide).astype(NUMPY[target])
    return x.astype(NUMPY[target])


# ---- expressions


class Scope:
    """What names mean: buffers are flat arrays and the place of their first element, other names are arrays."""

    def __init__(self, values=(), buffers=()):
        self.values, self.buffers = dict(values), dict(buffers)

    def place(self, buffer, index):
        """The positions in a buffer's flat array of an affine index."""
        at = np.int64(self.buffers[buffer][1])
        for name, stride in index:
            at = at + self.values[name] * (self.values[stride] if isinstance(stride, str) else stride)
        return at


def evaluate(e, scope, memo=None):
    """The value of an expression."""
    memo = {} if memo is None else memo
    if e not in memo:
        with np.errstate(all="ignore"):
            memo[e] = np.asarray(_evaluate(e, scope, memo))
    return memo[e]


def _evaluate(e, scope, memo):
    if e.op == "const":
        value = e.args[0]
        if e.dtype in _FLOAT or e.dtype == "b1":
            return NUMPY[e.dtype](value)
        return np.array(value % 2 ** (8 * SIZE[e.dtype]), np.uint64).astype(NUMPY[e.dtype])
    if e.op in ("number", "ref"):
        return scope.values[e.args[0]]
    if e.op == "load":
        return scope.buffers[e.args[0]][0][scope.place(*e.args)]
    args = [evaluate(a, scope, memo) for a in e.args if a.__class__ is not str]
    if e.op == "cast":
        return convert(args[0], e.args[0].dtype, e.dtype)
    if e.op == "bitcast":
        return np.ascontiguousarray(args[0]).view(NUMPY[e.dtype]).reshape(args[0].shape)
    if e.op == "select":
        return np.where(*args)
    if e.op == "seldom":
        c, x, y = args
        return np.where(c, getattr(np, e.args[1])(x.astype(np.float64)).astype(y.dtype), y)
    return _call(e.op, args, e.args[0].dtype)


# ---- kernels


def run(kernel, args, begin=None, end=None):
    """Run iterations begin .. end (all of them by default) of a kernel on arrays and numbers in the order of its parameters.

    Arrays of a buffer are written to; one may be a view, whose elements are counted in its base's memory."""
    scope = Scope()
    for p, value in zip(kernel.params, args):
        if isinstance(p, Number):
            scope.values[p.name] = np.asarray(value, NUMPY[p.dtype])
        else:
            base = value if value.base is None else value.base
            flat = base.reshape(-1).view(NUMPY[p.dtype])
            first = (value.__array_interface__["data"][0] - base.__array_interface__["data"][0]) // SIZE[p.dtype]
            scope.buffers[p.name] = flat, first
    _block(kernel.body, scope, (begin, end), {})


def _block(body, scope, span, accs):
    for s in body:
        if isinstance(s, Let):
            scope.values[s.name] = evaluate(s.value, scope)
        elif isinstance(s, Store):
            value = evaluate(s.value, scope)
            scope.buffers[s.buffer][0][scope.place(s.buffer, s.index)] = value
        elif isinstance(s, Acc):
            accs[s.name] = s
            scope.values[s.name] = _identity(s)
        elif isinstance(s, Update):
            _update(s, scope, accs)
        elif isinstance(s, Grid):
            extents = [range(int(evaluate(e, scope))) for e in s.extents]
            for k, point in enumerate(itertools.product(*extents)):
                if (span[0] or 0) <= k and (span[1] is None or k < span[1]):
                    scope.values.update(zip(s.indices, map(np.int64, point)))
                    _block(s.body, scope, span, accs)
        else:
            start, stop = span if s.start is None else (int(evaluate(s.start, scope)), int(evaluate(s.stop, scope)))
            if isinstance(s, Loop):
                for i in range(start, stop):
                    scope.values[s.index] = np.int64(i)
                    _block(s.body, scope, span, accs)
            elif isinstance(s, Lanes):
                _lanes(s, scope, span, accs, start, stop)


def _lanes(s, scope, span, accs, start, stop):
    if stop <= start:
        return
    inner = {}
    scope.values[s.index] = np.arange(start, stop, dtype=np.int64)
    outer = {n: scope.values[n] for n in accs}
    for n, a in accs.items():  # partial results of outer accumulators, one a lane
        scope.values[n] = np.full(stop - start, _identity(a))
    _block(s.body, scope, span, {**accs, **inner})
    with np.errstate(all="ignore"):
        for n, a in accs.items():
            combine = _combine(a)
            scope.values[n] = combine(outer[n], combine.reduce(scope.values[n])).astype(NUMPY[a.dtype])


def _combine(acc):
    return _B1[acc.op] if acc.dtype == "b1" and acc.op in _B1 else _COMBINE[acc.op]


def _identity(acc):
    """What leaves the other operand as it is."""
    kind = NUMPY[acc.dtype]
    if acc.op in ("add", "or"):
        return kind(0)
    if acc.op == "mul" or acc.op == "and" and acc.dtype == "b1":
        return kind(1)
    if acc.op == "and":
        return np.invert(kind(0))
    if acc.dtype in _FLOAT:
        return kind(-math.inf if acc.op == "max" else math.inf)
    if acc.dtype == "b1":
        return kind(acc.op == "min")
    info = np.iinfo(kind)
    return kind(info.min if acc.op == "max" else info.max)


def _update(s, scope, accs):
    acc = accs[s.name]
    with np.errstate(all="ignore"):
        scope.values[s.name] = np.asarray(_combine(acc)(scope.values[s.name], evaluate(s.value, scope)))
