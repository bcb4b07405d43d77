"""Sequences of numbers: arange, range, linspace, logspace.

Each is computed in the arithmetic of PyTorch's CPU kernels, so that the last digits agree: linspace from both ends
towards the middle with fused multiply-adds (half types round after each step), logspace with a float32 step.
"""

from __future__ import annotations

import operator
import warnings

import numpy as np

from rushlight.api.creation import dtype_beside, made
from rushlight.backends.arithmetic import fma64
from rushlight.bind import function
from rushlight.core import dtype as D
from rushlight.tensor import Tensor


def _number(v):
    return v.item() if isinstance(v, Tensor) else v


def _line(values, device, requires_grad, out):
    """The finished tensor; an `out` with as many elements keeps its shape."""
    if isinstance(out, Tensor) and out.numel() == values.size:
        values = values.reshape(out.shape)
    return made(values, device, requires_grad, out)


def drawn(name, dtype):
    """`dtype` if a range can be made in it, NotImplementedError otherwise."""
    if dtype.category == D.BOOL or dtype.category == D.COMPLEX and name == "arange" or dtype in _STORED:
        raise NotImplementedError(f'"{name}_cpu" not implemented for \'{dtype.title}\' (torch.{dtype.name}): make the range in another dtype, then convert')
    return dtype


_STORED = (D.uint16, D.uint32, D.uint64, *D.FLOAT8)


@function
def arange(start, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """start, start + step, ... below end. All integers give int64, else the default float."""
    if end is None:
        start, end = 0, start
    start, end, step = _number(start), _number(end), _number(step)
    whole = all(isinstance(v, (int, np.integer)) for v in (start, end, step))
    dtype = drawn("arange", dtype_beside(out, dtype, D.int64 if whole else None))
    for v in (start, end, step):
        if whole and not -(1 << 63) <= v < 1 << 63:
            raise OverflowError(f"int too big to convert: {v} does not fit into 64 bits")
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if dtype.category == D.INTEGER and not isinstance(step, complex) and int(step) == 0:
        raise ValueError(f"step must be nonzero (it is {step}, and {dtype} cuts it off to 0)")
    for v in (start, end):
        if isinstance(v, float) and (v != v or v in (float("inf"), -float("inf"))):
            raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (step > 0 and end < start) or (step < 0 and end > start):
        raise RuntimeError(f"upper bound and lower bound inconsistent with step sign: arange({start}, {end}, {step})")
    if dtype is D.int64:
        start, end, step = int(start), int(end), int(step)
    if whole and dtype.category <= D.INTEGER:
        values = np.arange(int(start), int(end), int(step))
    else:
        n = int(np.ceil((float(end) - float(start)) / float(step)))
        if dtype.category <= D.INTEGER:
            values = int(start) + np.arange(n) * int(step)
        else:
            compute = np.float64 if dtype.category == D.FLOAT else np.complex128
            values = compute(start) + compute(step) * np.arange(n)
    return _line(values.astype(dtype.np), device, requires_grad, out)


@function(name="range")
def range_(start=0, end=None, step=1, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """start, start + step, ... up to and including end (deprecated in favour of arange)."""
    warnings.warn("torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with Python's range builtin. Instead, use torch.arange, which produces values in [start, end).", UserWarning, stacklevel=2)
    n = int((end - start) / step) + 1
    values = float(start) + float(step) * np.arange(n)
    return _line(values.astype(dtype_beside(out, dtype).np), device, requires_grad, out)


def _rounder(dtype):
    """A function that rounds float64 numbers to those that a floating dtype holds."""
    return lambda x: np.asarray(x, np.float64).astype(dtype.np).astype(np.float64)


def _from_both_ends(steps, low, high):
    """low(i) for the first half of the places, high(places from the end) for the rest."""
    i = np.arange(steps, dtype=np.float64)
    return np.where(i < steps // 2, low(i), high(steps - 1 - i))


def _evenly(start, end, steps, dtype):
    """linspace as an array of `dtype`, or of what it is converted from."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if dtype.category == D.INTEGER:
        start, end = int(start), int(end)
    if steps <= 1:
        return np.full(steps, start, dtype.np)
    gaps = steps - 1
    if dtype.category == D.COMPLEX:
        kind = dtype.np.type
        start, end = kind(start), kind(end)
        step = kind((end - start) / kind(gaps))
        return _from_both_ends(steps, lambda i: start + step * i, lambda i: end - step * i)
    if dtype is D.float64 or dtype.category == D.INTEGER:
        step = (float(end) - float(start)) / gaps
        values = _from_both_ends(steps, lambda i: fma64(i, step, start), lambda i: fma64(i, -step, end))
        return values if dtype is D.float64 else np.trunc(values)
    r = _rounder(dtype)
    start, end = r(start), r(end)
    step = r(r(end - start) / gaps)
    if dtype.compute is dtype:  # float64 holds the product: one rounding, as a fused multiply-add has
        return _from_both_ends(steps, lambda i: start + step * i, lambda i: end - step * i)
    return _from_both_ends(steps, lambda i: start + r(step * r(i)), lambda i: end - r(step * r(i)))


@function
def linspace(start, end, steps, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """`steps` numbers from start to end, both included, evenly spaced."""
    start, end = _number(start), _number(end)
    d = dtype_beside(out, dtype, D.get_default_dtype().to_complex() if isinstance(start, complex) or isinstance(end, complex) else None)
    drawn("linspace", d)
    return _line(_evenly(start, end, _steps(steps, "linspace"), d).astype(d.np), device, requires_grad, out)


def _steps(steps, name):
    if isinstance(steps, float) or not hasattr(steps, "__index__"):
        raise TypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}")
    return operator.index(steps)


@function
def logspace(start, end, steps, base=10.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """base ** linspace(start, end, steps)."""
    start, end = _number(start), _number(end)
    d = dtype_beside(out, dtype, D.get_default_dtype().to_complex() if isinstance(start, complex) or isinstance(end, complex) else None)
    drawn("logspace", d)
    steps = _steps(steps, "logspace")
    if d.category == D.FLOAT and d.compute is not d and steps > 1:
        r, r32 = _rounder(d), _rounder(D.float32)
        start, end, base = r(start), r(end), r(base)
        step = r32(r(end - start) / (steps - 1))
        powers = _from_both_ends(steps, lambda i: start + step * i, lambda i: end - step * i)
    elif steps > 1 and d.category < D.COMPLEX:
        if d.category == D.INTEGER:
            start, end = int(start), int(end)
        step = (float(end) - float(start)) / (steps - 1)
        powers = _from_both_ends(steps, lambda i: start + step * i, lambda i: end - step * i)
    else:
        powers = _evenly(start, end, steps, D.float64 if d.category < D.COMPLEX else D.complex128)
    compute = np.float64 if d.category < D.COMPLEX else np.complex128
    return _line(np.power(compute(base), powers).astype(d.np), device, requires_grad, out)


__all__ = ["arange", "linspace", "logspace", "range_"]
