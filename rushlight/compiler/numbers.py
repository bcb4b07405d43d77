"""Numbers of a captured program: what `.item()` gives, and places outside that are read anew at every call.

A capture is known here by what it does: `live`, `slot`, `constant`, `asked`, `guards`, `numbers` (compiler/capture.py).
Front ends that meet a Number as an operand take its tensor (dispatch.LAZY).
"""

from __future__ import annotations

import operator
import weakref
from contextlib import contextmanager

import numpy as np

from rushlight.autograd import modes
from rushlight.core import dtype as D
from rushlight.dispatch import LAZY, apply
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, wrap

ndarray = np.ndarray


class Number:
    """A number that the program computes: what `.item()` gives during a capture, or one that is read anew at every call.

    Arithmetic gives a Number. Where Python needs the value itself (a comparison, `if`, `float()`, formatting), a number
    that was read (`source`, an expression over the guards' constants) becomes a guard on what Python found; one that comes
    out of tensors ends the capture. Afterwards it is the value.
    """

    __slots__ = ("capture", "_tensor", "value", "integer", "source", "__weakref__")

    def __init__(self, capture, tensor, integer, source=None, value=None):
        self.capture, self._tensor, self.value, self.integer, self.source = capture, tensor, value, integer, source
        capture.numbers.append(weakref.ref(self))

    @classmethod
    def of(cls, capture, x):
        """The element of a tensor."""
        with _unrecorded():
            integer = x.dtype.category == D.INTEGER
            wide = D.int64 if integer else D.float64
            x = x.detach().reshape(())
            return cls(capture, apply(TABLE["cast"], (x,), {"dtype": wide}) if x.dtype is not wide else x.clone(), integer)

    @property
    def tensor(self):
        """The 0-dim tensor that the program has it in."""
        if self._tensor is None:
            self._tensor = self.capture.slot(self.source, self.value)
        return self._tensor

    @property
    def place(self):
        """Where the program has it."""
        return self.tensor._data.place

    @property
    def known(self):
        """Whether Python can compute with the value itself."""
        return self.value is not None and not (self.source is not None and self.capture.live)

    def settle(self):
        """Take the value, now that it is there."""
        if self.value is None and self._tensor._data.__class__ is ndarray:
            self.value = self._tensor._data.item()

    def real(self):
        """The value; a guard on it, or the end of the capture."""
        if self.source is not None:
            if self.capture.live:
                self.capture.guards.append(f"{self.source} == {self.value!r}")
            return self.value
        if self.value is None:
            if self.capture.live:
                self.capture.asked("the value of .item() was looked at")
            self.settle()
        return self.value

    def _arithmetic(function, symbol, swapped=False):
        def operator_(self, other):
            capture = self.capture
            if self.value is None and not capture.live:
                self.settle()
            if isinstance(other, Tensor):
                return NotImplemented
            if self.known:
                other = other.real() if isinstance(other, Number) else other
                return function(other, self.value) if swapped else function(self.value, other)
            plain = isinstance(other, (int, float)) and not isinstance(other, bool)
            if not plain and not isinstance(other, Number):
                return function(other, self.real()) if swapped else function(self.real(), other)
            if self.source is not None and (plain or other.source is not None):  # Python computes it at every call
                text, value = (repr(float(other)) if other.__class__ is float else repr(other), other) if plain else (other.source, other.value)
                if plain and other != other or text in ("inf", "-inf"):
                    return function(other, self.real()) if swapped else function(self.real(), other)
                left, right = (text, self.source) if swapped else (self.source, text)
                value = function(value, self.value) if swapped else function(self.value, value)
                return Number(capture, None, value.__class__ is int, f"({left} {symbol} {right})", value)
            with _unrecorded():
                mine = self.tensor
                whole = self.integer and (isinstance(other, int) or isinstance(other, Number) and other.integer) and symbol in "+-*"
                other = other.tensor if isinstance(other, Number) else other
                if not whole:  # as Python's floats: in float64
                    mine = mine.double()
                    other = other.double() if isinstance(other, Tensor) else wrap(capture.constant(np.array(float(other))))
                result = function(other, mine) if swapped else function(mine, other)
                return Number(capture, result, result.dtype is D.int64)

        return operator_

    __add__, __radd__ = _arithmetic(operator.add, "+"), _arithmetic(operator.add, "+", True)
    __sub__, __rsub__ = _arithmetic(operator.sub, "-"), _arithmetic(operator.sub, "-", True)
    __mul__, __rmul__ = _arithmetic(operator.mul, "*"), _arithmetic(operator.mul, "*", True)
    __truediv__, __rtruediv__ = _arithmetic(operator.truediv, "/"), _arithmetic(operator.truediv, "/", True)
    __pow__, __rpow__ = _arithmetic(operator.pow, "**"), _arithmetic(operator.pow, "**", True)
    del _arithmetic

    def _whole(function, symbol):
        def method(self, other):
            if self.source is not None and self.capture.live and isinstance(other, (int, float)) and other:
                value = function(self.value, other)
                return Number(self.capture, None, value.__class__ is int, f"({self.source} {symbol} {other!r})", value)
            return function(self.real(), other.real() if isinstance(other, Number) else other)

        return method

    __mod__, __floordiv__ = _whole(operator.mod, "%"), _whole(operator.floordiv, "//")
    del _whole

    def __neg__(self):
        return self * -1

    def __pos__(self):
        return self

    def _compared(function, symbol):
        def method(self, other):
            if self.source is not None and self.capture.live and isinstance(other, (int, float)):
                found = function(self.value, other)
                self.capture.guards.append(f"({self.source} {symbol} {other!r}) is {found}")
                return found
            if isinstance(other, Tensor):
                return NotImplemented
            return function(self.real(), other.real() if isinstance(other, Number) else other)

        return method

    __eq__, __ne__ = _compared(operator.eq, "=="), _compared(operator.ne, "!=")
    __lt__, __le__, __gt__, __ge__ = _compared(operator.lt, "<"), _compared(operator.le, "<="), _compared(operator.gt, ">"), _compared(operator.ge, ">=")
    del _compared

    def __bool__(self):
        return self != 0

    def _looked(function):
        def method(self, *others):
            return function(self.real(), *(o.real() if isinstance(o, Number) else o for o in others))

        return method

    __float__, __int__, __index__, __round__, __abs__, __trunc__ = map(_looked, (float, int, operator.index, round, abs, int))
    __floor__, __ceil__ = _looked(lambda v: v.__floor__()), _looked(lambda v: v.__ceil__())
    __rfloordiv__, __rmod__ = _looked(lambda v, o: o // v), _looked(lambda v, o: o % v)
    __str__, __repr__, __format__, __hash__ = map(_looked, (str, repr, format, hash))
    del _looked

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.real(), name)


LAZY[Number] = lambda n: n.tensor


@contextmanager
def _unrecorded():
    """Without gradients: numbers carry none."""
    before, modes.STATE.grad = modes.STATE.grad, False
    try:
        yield
    finally:
        modes.STATE.grad = before


__all__ = ["Number"]
