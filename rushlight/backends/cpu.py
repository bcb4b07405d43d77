"""The CPU backend: rows read by NumPy.

A pointwise row whose body is one NumPy ufunc is that ufunc (found by tracing the body once), so the fast paths of
bind.py call it with nothing between. Floating-point warnings never escape: PyTorch has none, so the general path runs
under `quiet`, and a filter drops what NumPy would say of a call from one of rushlight's own modules.

Invariants: a result is an ndarray of exactly the spec's dtype that shares no memory with the operands; an `out` is
written only after the whole result has been computed, so a failing op has changed nothing.
"""

from __future__ import annotations

import warnings

import numpy as np

from rushlight.backends import compiled, samplers, streams
from rushlight.backends.base import Backend
from rushlight.backends.compiled import LARGE
from rushlight.backends.scalars import NumPyScalars
from rushlight.core import dtype as D
from rushlight.core.quiet import QUIET, reset_errors, set_errors

ndarray = np.ndarray
# Infinities and NaN are values like others: what NumPy says of them where `quietly` would cost more than the op is not shown.
# Where a program has made warnings errors, the general way computes again without them.
warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"rushlight\.")


class _Traced:
    """A stand-in scalar that notes the single ufunc applied to it; more than one makes it unreadable."""

    def __init__(self, ufunc=None, operands=()):
        self.ufunc, self.operands = ufunc, operands

    def _apply(ufunc, swapped=False):
        def operator(self, other=None):
            operands = (self,) if other is None else (other, self) if swapped else (self, other)
            return _Traced(ufunc, operands)

        return operator

    __add__, __sub__, __mul__, __truediv__ = map(_apply, (np.add, np.subtract, np.multiply, np.true_divide))
    __neg__, __invert__ = _apply(np.negative), _apply(np.invert)
    __and__, __or__, __xor__ = map(_apply, (np.bitwise_and, np.bitwise_or, np.bitwise_xor))
    __eq__, __ne__, __lt__, __le__, __gt__, __ge__ = map(
        _apply, (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal)
    )
    __hash__ = None
    del _apply


class _Tracer:
    def __getattr__(self, name):
        function = getattr(NumPyScalars, name)
        if isinstance(function, np.ufunc):
            return lambda *operands: _Traced(function, operands)
        return lambda *operands: _Traced(None, ())


def _single_ufunc(body, arity):
    """The ufunc that `body` is, applied to its own arguments in order; None if it is anything else."""
    arguments = [_Traced() for _ in range(arity)]
    try:
        result = body(_Tracer(), *arguments)
    except (TypeError, AttributeError):
        return None
    ours = isinstance(result, _Traced) and len(result.operands) == arity
    return result.ufunc if ours and all(a is b for a, b in zip(result.operands, arguments)) else None


KERNELS = {}


def kernel(op):
    """The reading of a row: kernel(*arrays, **attrs). NumPy's, with the compiled one for large operands (compiled.ROWS)."""
    found = KERNELS.get(op.name)
    if found is None:
        found = op.numpy if op.family != "random" else _draw(op.name)
        if found is None:
            body = op.body
            arity = body.__code__.co_argcount - 1
            found = _single_ufunc(body, arity) if arity == len(op.inputs) else None
            if found is None:

                def found(*arrays, **attrs):
                    return body(NumPyScalars, *arrays, **attrs)

        found = KERNELS[op.name] = compiled.reading(op.name, found)
    return found


_LIMITS = {}
_CHEAP = (np.true_divide, np.sqrt)


def limit(op):
    """Elements from which a row's compiled kernel is asked: few where NumPy makes several passes or a slow one."""
    found = _LIMITS.get(op.name)
    if found is None:
        ufunc = kernel(op)
        light = op.family != "pointwise" or isinstance(ufunc, np.ufunc) and (op.result != "float" or ufunc in _CHEAP)
        found = _LIMITS[op.name] = LARGE if light else LARGE >> 4
    return found


_FULL = ("uniform", "normal", "exponential", "geometric", "cauchy", "log_normal", "randint", "random", "bernoulli", "randperm")


def _draw(name):
    """The reading of a random row: a fresh array drawn from the stream, in the memory order asked for."""
    if name == "randperm":
        return lambda generator, shape, dtype: streams.randperm(generator, shape[0], dtype.np)
    if name not in _FULL:
        draw = streams.normal_tensors if name == "normal_tensors" else _bernoulli if name == "bernoulli_tensor" else getattr(samplers, name)
        return lambda *arrays, generator, spec, **attrs: draw(generator, *arrays, **attrs)
    draw = getattr(streams, name)

    def reading(*ignored, generator, shape, dtype, order=None, **attrs):
        if order is None:
            return draw(generator, shape, dtype=dtype.np, **attrs)
        return streams.place(np.empty(tuple(shape[d] for d in order), dtype.np).transpose(np.argsort(order)), draw(generator, shape, dtype=dtype.np, **attrs))

    return reading


def _bernoulli(generator, p, dtype):
    return streams.bernoulli(generator, p.shape, p, dtype.np)


def _convert(value, dtype):
    """A Python number as a 0-dim array, wrapped into the range of an integer dtype as C casts do."""
    if type(value) is int and dtype.kind in "iu":
        bits = dtype.itemsize * 8
        value &= (1 << bits) - 1
        if dtype.kind == "i" and value >> (bits - 1):
            value -= 1 << bits
    return cast(np.array(value), dtype)


def cast(array, dtype):
    """`array` in NumPy dtype `dtype` (itself where it already is), with C's rules for floats out of an integer's range."""
    have = array.dtype
    if have == dtype:
        return array
    if have.kind == "c" and dtype.kind != "c":
        return np.asarray(array.real if dtype.kind != "b" else array != 0).astype(dtype)
    if have.kind in "fV" and dtype.kind == "u" and dtype.itemsize < 8:
        return array.astype(np.int64).astype(dtype)
    if have.kind in "fV" and dtype.kind == "i" and dtype.itemsize < 4:
        return array.astype(np.int32).astype(dtype)
    if dtype == D.float8_e4m3fn.np:  # it has no infinity: what is too large becomes the largest number
        return np.clip(array.astype(np.float32), -448, 448).astype(dtype)
    if dtype == D.float8_e8m0fnu.np:  # nor this one a sign
        return np.abs(array.astype(np.float32)).astype(dtype)
    return array.astype(dtype)


class CPU(Backend):
    """Runs rows on NumPy arrays at once."""

    name = "cpu"

    def apply(self, op, spec, args, attrs, out=None):
        several = type(spec) is tuple
        compute = None if several else spec.compute
        # a half type's result is rounded to it before it is converted to another dtype
        twice = out is not None and compute is not None and compute is not spec.dtype and out._data.dtype != spec.dtype.np
        large = _LIMITS.get(op.name) or limit(op)
        for a in args:
            data = getattr(a, "_data", None)
            if data is not None and data.size >= large and not twice:
                result = compiled.run(op, spec, args, attrs, out)
                if result is not None:
                    return result
                break
        arrays = []
        for a in args:
            data = getattr(a, "_data", a)
            if compute is not None:
                if not isinstance(data, ndarray):
                    data = _convert(data, compute.np)
                elif data.dtype != compute.np and not (op.result == "second" and data.dtype.kind == "b" and a is args[0]):
                    data = cast(data, compute.np)
            arrays.append(data)
        token = set_errors(QUIET)
        try:
            result = kernel(op)(*arrays, **attrs)
            if several:
                return tuple([_own(r, s, arrays) for r, s in zip(result, spec)])
            if out is not None:
                result = np.asarray(result)
                np.copyto(out._data, cast(cast(result, spec.dtype.np) if twice else result, out._data.dtype), casting="unsafe")
                return out._data
            return _own(result, spec, arrays)
        finally:
            reset_errors(token)

    def item(self, x):
        return x._data.item()

    def numpy(self, x):
        return x._data


def _own(result, spec, arrays):
    """The result in the spec's dtype, in memory of its own."""
    wanted = spec.dtype.np
    if type(result) is not ndarray:
        return np.array(result, dtype=wanted)
    if result.dtype != wanted:
        return cast(result, wanted)
    if result.base is not None:
        return result.copy(order="K")
    for a in arrays:
        if a is result:
            return result.copy(order="K")
    return result


BACKEND = CPU()


def get_cpu_capability():
    """The widest vector instructions that NumPy uses here: 'AVX512', 'AVX2' or 'DEFAULT' (torch.backends.cpu)."""
    try:
        features = np._core._multiarray_umath.__cpu_features__
    except AttributeError:
        return "DEFAULT"
    return "AVX512" if features.get("AVX512F") else "AVX2" if features.get("AVX2") else "DEFAULT"
