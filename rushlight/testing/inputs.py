"""make_tensor: random inputs for tests, in any dtype, range and layout; the same numbers as PyTorch's after the same seed."""

from __future__ import annotations

import math
import warnings

import rushlight

_COMPLEX = ("complex64", "complex128")
_INTEGERS = ("uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")


def _interval(dtype, low, high):
    """The range asked for, or the default one, cut to what the dtype holds."""
    name = str(dtype).rpartition(".")[2]
    if name == "bool":
        lowest, most, default = 0, 2, (0, 2)
    elif name in _INTEGERS:
        info = rushlight.iinfo(dtype)
        lowest, most = info.min, min(info.max, rushlight.iinfo(rushlight.int64).max - 1) + 1
        default = (0, 10) if name.startswith("uint") else (-9, 10)
    else:
        info = rushlight.finfo(dtype)
        lowest, most, default = info.min, info.max, (-9, 9)
    low, high = (d if v is None else v for v, d in zip((low, high), default))
    if any(isinstance(v, float) and math.isnan(v) for v in (low, high)):
        raise ValueError(f"`low` and `high` cannot be NaN, but got low={low!r} and high={high!r}")
    floating = not (name == "bool" or name in _INTEGERS)
    if low == high and floating:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is deprecated since 2.1 and will be removed in 2.3. "
            "Use `torch.full(...)` instead.",
            FutureWarning,
            stacklevel=4,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < lowest or low >= most:
        raise ValueError(f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} only supports [{lowest}, {most})")
    low, high = max(low, lowest), min(high, most)
    return (low, high) if floating else (math.ceil(low), math.ceil(high))


def make_tensor(*shape, dtype, device, low=None, high=None, requires_grad=False, noncontiguous=False, exclude_zero=False, memory_format=None):
    """A tensor of `shape` with elements drawn evenly from [low, high).

    By default [-9, 9) for floats, [-9, 10) for integers, [0, 10) for unsigned ones, both values of bool. `exclude_zero` puts the
    smallest positive number in place of zeros; `noncontiguous` gives a tensor whose memory has gaps.
    """
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = tuple(shape[0])
    if noncontiguous and memory_format is not None:
        raise ValueError(f"The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got noncontiguous={noncontiguous!r} and memory_format={memory_format!r}")
    name = str(dtype).rpartition(".")[2]
    integer = name == "bool" or name in _INTEGERS
    if requires_grad and integer:
        raise ValueError(f"`requires_grad=True` is not supported for boolean and integral dtypes, but got dtype={dtype!r}")
    if noncontiguous and math.prod(shape) < 2:
        noncontiguous = False
    low, high = _interval(dtype, low, high)
    if noncontiguous:  # every second element of a last dimension twice as long
        shape = (*shape[:-1], 2 * shape[-1])
    if integer:
        if low >= high:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        x = rushlight.randint(low, high, shape, device=device, dtype=dtype)
    else:
        x = rushlight.empty(shape, device=device, dtype=dtype)
        parts = rushlight.view_as_real(x) if name in _COMPLEX else x
        parts.uniform_(low, high)
    if noncontiguous:
        x = x[..., 1::2]
    elif memory_format is not None:
        x = x.clone(memory_format=memory_format)
    if exclude_zero:
        x[x == 0] = 1 if integer else rushlight.finfo(dtype).tiny
    if requires_grad:
        x.requires_grad_(True)
    return x
