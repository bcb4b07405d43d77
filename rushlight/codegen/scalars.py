"""The scalar language read by the loop IR: a row's body, called with this and Exprs, gives the kernel's expression.

The names are those of backends/scalars.py, and mean the same numbers. Vector math comes from codegen/mathlib.py. A body
that asks for what is not here, or for the value of an operand, is `Untraceable`: NumPy then runs it.
"""

from __future__ import annotations

import math

from rushlight.codegen import mathlib
from rushlight.codegen.loops import Expr, Untraceable, bitcast, call, cast, const, lift, select

_INT = {4: "i32", 8: "i64"}


def _float(x):
    return x.dtype in ("f32", "f64")


def _pair(x, y):
    """Two operands, of which one may be a Python number, in one dtype."""
    if x.__class__ is not Expr:
        return lift(x, y.dtype), y
    return x, lift(y, x.dtype)


def _floats_only(x):
    if not _float(x):
        raise Untraceable(f"this function on {x.dtype}")
    return x


class LoopScalars:
    """The scalar language on expressions."""

    def __getattr__(self, name):
        function = getattr(mathlib, name, None)
        if function is None or name.startswith("_"):
            raise Untraceable(name)

        def checked(*args):
            first = next(a for a in args if a.__class__ is Expr)
            _floats_only(first)
            return function(*(lift(a, first.dtype) for a in args))

        return checked

    def where(self, c, x, y):
        if x.__class__ is not Expr and y.__class__ is not Expr:
            raise Untraceable("where of two numbers")
        x, y = _pair(x, y)
        return select(c if c.dtype == "b1" else c != 0, x, y)

    def maximum(self, x, y):
        x, y = _pair(x, y)
        if not _float(x):
            return select(x > y, x, y)
        if x.op == "const":
            x, y = y, x
        if y.op == "const":  # the test that is false for NaN keeps x, and costs one instruction
            return select(y > x, y, x) if y.args[0] == y.args[0] else y
        return select(x != x, x, select(x > y, x, y))

    def minimum(self, x, y):
        x, y = _pair(x, y)
        if not _float(x):
            return select(x < y, x, y)
        if x.op == "const":
            x, y = y, x
        if y.op == "const":
            return select(y < x, y, x) if y.args[0] == y.args[0] else y
        return select(x != x, x, select(x < y, x, y))

    def fmax(self, x, y):
        x, y = _pair(x, y)
        return select(x > y, x, y) if not _float(x) else select((x >= y) | (y != y), x, y)

    def fmin(self, x, y):
        x, y = _pair(x, y)
        return select(x < y, x, y) if not _float(x) else select((x <= y) | (y != y), x, y)

    def fma(self, x, y, z):
        like = next(a for a in (x, y, z) if a.__class__ is Expr)
        if like.dtype == "b1":
            return x & y | z
        return call("fma", *(lift(a, like.dtype) for a in (x, y, z)))

    def like(self, x, value):
        return lift(value, x.dtype)

    def sqrt(self, x):
        return call("sqrt", _floats_only(x))

    def abs(self, x):
        return x if x.dtype == "b1" else call("abs", x)

    def floor(self, x):
        return call("floor", x)

    def ceil(self, x):
        return call("ceil", x)

    def trunc(self, x):
        return call("trunc", x)

    def round(self, x):
        return call("rint", x)

    def copysign(self, x, y):
        return call("copysign", *_pair(_floats_only(x), y))

    def sign(self, x):
        if x.dtype == "b1":
            return x
        one, zero = const(1, x.dtype), const(0, x.dtype)
        if x.dtype[0] == "u":
            return select(x > 0, one, zero)
        out = select(x > 0, one, select(x < 0, const(-1, x.dtype), zero))
        return out

    sgn = sign

    def conj(self, x):
        return x

    def isinf(self, x):
        return abs(x) == math.inf if _float(x) else const(False, "b1") & (x != x)

    def isfinite(self, x):
        return abs(x) < math.inf if _float(x) else x == x

    def signbit(self, x):
        return bitcast(x, _INT[8 if x.dtype == "f64" else 4]) < 0 if _float(x) else x < 0

    def pow(self, x, y):
        if y.__class__ is not Expr and _float(x):
            e = float(y)
            if e == 2.0:
                return x * x
            if e == 3.0:
                return x * x * x
            if e == 0.5:
                return self.sqrt(x)
            if e == -1.0:
                return 1 / x
            if e == -2.0:
                return 1 / (x * x)
            if e == -0.5:
                return 1 / self.sqrt(x)
        elif y.__class__ is Expr and y.op == "number":
            raise Untraceable("pow of an exponent that is not known yet")
        return self.__getattr__("pow")(*_pair(x, y))

    def heaviside(self, x, y):
        zero, one = const(0, x.dtype), const(1, x.dtype)
        out = select(x == 0, y, select(x > 0, one, zero))
        return select(x != x, x, out) if _float(x) else out

    def nan_to_num(self, x, nan, posinf, neginf):
        _floats_only(x)
        largest = 3.4028234663852886e38 if x.dtype == "f32" else 1.7976931348623157e308
        x = select(x == math.inf, lift(largest if posinf is None else posinf, x.dtype), x)
        x = select(x == -math.inf, lift(-largest if neginf is None else neginf, x.dtype), x)
        return select(x != x, lift(0.0 if nan is None else nan, x.dtype), x)

    def truncdiv(self, x, y):
        return call("trunc", _floats_only(x) / y)


S = LoopScalars()


def traced(body, operands, attrs, result):
    """The expression of a row's body on Exprs, in dtype `result`; Untraceable where it cannot be had."""
    try:
        out = body(S, *operands, **attrs)
    except (AttributeError, TypeError) as e:
        raise Untraceable(str(e)) from e
    if out.__class__ is not Expr:
        raise Untraceable("the body gives a number")
    return out if out.dtype == result else cast(out, result)
