"""Pooling: checks, output sizes, and one family of functions for 1, 2 and 3 spatial dimensions.

One dimension is two with a first one of size 1, as in PyTorch. Inputs without a batch get one for
the while.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from rushlight.api.neural_activation import tensor_argument
from rushlight.autograd.modes import STATE
from rushlight.bind import function
from rushlight.core import dtype as D
from rushlight.core.shape import wrap_dim
from rushlight.dispatch import apply
from rushlight.ops.neural_pool import pooled_length
from rushlight.ops.neural_resample import adaptive_bounds, adaptive_tables
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor

_WORDS = {1: "one int", 2: "two ints", 3: "three ints"}


def _each(function, name, value, n):
    """One number for each spatial dimension."""
    if hasattr(value, "__index__"):
        return (value.__index__(),) * n
    if not hasattr(value, "__iter__"):
        raise TypeError(
            f"{function}(): argument '{name}' must be int or a tuple of ints, not "
            f"{type(value).__name__}"
        )
    value = tuple(int(v) for v in value)
    if len(value) == 1:
        return value * n
    if len(value) != n:
        raise RuntimeError(
            f"{function}: {name} must either be a single int, or a tuple of {_WORDS[n]} (got "
            f"{list(value)})"
        )
    return value


def _batched(name, input, n):
    """(input with a batch, whether it had one); RuntimeError for other ranks and empty sizes."""
    shape = tensor_argument(name, "input", input)._data.shape
    if len(shape) not in (n + 1, n + 2):
        raise RuntimeError(
            f"{name}() Expected {n + 1}D or {n + 2}D input tensor, but got shape {list(shape)}"
        )
    batched = len(shape) == n + 2
    if 0 in shape[1 if batched else 0 :]:
        raise RuntimeError(
            f"{name}(): Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim "
            f"batch size for input, but got: {list(shape)}"
        )
    return (input, True) if batched else (input.unsqueeze(0), False)


def _window(name, input, kernel_size, stride, padding, dilation, ceil_mode, n):
    """The checked attributes of a window over the last n dimensions."""
    given = (name, input._data.shape[-n - 1 :], kernel_size, stride, padding, dilation, ceil_mode, n)
    try:
        return dict(_known_window(*given))
    except TypeError:  # lists, which cannot be keys, or arguments of a wrong kind
        return _checked_window(*given)


@lru_cache(256, typed=True)
def _known_window(*given):
    return _checked_window(*given)


def _checked_window(name, shape, kernel_size, stride, padding, dilation, ceil_mode, n):
    kernel = _each(name, "kernel_size", kernel_size, n)
    stride = (
        kernel
        if stride is None or (hasattr(stride, "__len__") and not len(stride))
        else _each(name, "stride", stride, n)
    )
    padding, dilation = _each(name, "padding", padding, n), _each(name, "dilation", dilation, n)
    size = shape[-n:]
    for what, value in (("kernel size", kernel), ("stride", stride), ("dilation", dilation)):
        if min(value) <= 0:
            raise RuntimeError(
                f"{what} should be greater than zero, but got "
                f"{what.replace(' ', '_')}={list(value)} ({name})"
            )
    for p, k, d in zip(padding, kernel, dilation):
        if p < 0:
            raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"pad should be at most half of effective kernel size, but got pad={p}, "
                f"kernel_size={k} and dilation={d}"
            )
    places = tuple(
        pooled_length(*v, bool(ceil_mode)) for v in zip(size, kernel, stride, padding, dilation)
    )
    if min(places) < 1:
        raise RuntimeError(
            f"Given input size: ({'x'.join(map(str, shape))}). Calculated "
            "output size: "
            f"({shape[-n - 1]}x{'x'.join(map(str, places))}). Output size is too small"
        )
    return {
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "places": places,
    }


def _unbatch(out, batched):
    if batched:
        return out
    return tuple(t.squeeze(0) for t in out) if isinstance(out, tuple) else out.squeeze(0)


# ---- maxima --------------------------------------------------------------------------------------


def _max_pool(n):
    name = f"max_pool{n}d"

    def pool(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        x, batched = _batched(name, input, n)
        attrs = _window(name, x, kernel_size, stride, padding, dilation, ceil_mode, n)
        if x.requires_grad and STATE.grad:
            return _unbatch(apply(TABLE[name], (x,), attrs)[0], batched)
        return _unbatch(apply(TABLE["max_pool"], (x,), attrs), batched)

    def with_indices(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
        x, batched = _batched(name, input, n)
        attrs = _window(name, x, kernel_size, stride, padding, dilation, ceil_mode, n)
        return _unbatch(apply(TABLE[name], (x,), attrs), batched)

    return _named(pool, name, f"The maximum of each window of {n} spatial dimensions."), _named(
        with_indices,
        f"{name}_with_indices",
        f"{name} with the maxima's flat positions.",
        public=False,
    )


def _named(f, name, doc, public=True):
    f.__name__ = f.__qualname__ = name
    f.__doc__ = doc
    return function(f) if public else f


max_pool2d, max_pool2d_with_indices = _max_pool(2)
max_pool3d, max_pool3d_with_indices = _max_pool(3)


def _line(name, input, kernel_size, stride, padding, dilation, ceil_mode):
    """The checked arguments of one dimension, as those of two whose first has size 1."""
    x, batched = _batched(name, input, 1)
    attrs = _window(name, x, kernel_size, stride, padding, dilation, ceil_mode, 1)
    for key, fill in (("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1), ("places", 1)):
        attrs[key] = (fill, *attrs[key])
    return x.unsqueeze(-2), attrs, batched


@function
def max_pool1d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """The maximum of each window of (N, C, L) or (C, L)."""
    x, attrs, batched = _line(
        "max_pool1d", input, kernel_size, stride, padding, dilation, ceil_mode
    )
    if x.requires_grad and STATE.grad:
        return _unbatch(apply(TABLE["max_pool2d"], (x,), attrs)[0].squeeze(-2), batched)
    return _unbatch(apply(TABLE["max_pool"], (x,), attrs).squeeze(-2), batched)


@function
def max_pool1d_with_indices(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
):
    """max_pool1d with the maxima's positions."""
    x, attrs, batched = _line(
        "max_pool1d", input, kernel_size, stride, padding, dilation, ceil_mode
    )
    return _unbatch(tuple(t.squeeze(-2) for t in apply(TABLE["max_pool2d"], (x,), attrs)), batched)


def _unpool(name, input, indices, size, n):
    tensor_argument(name, "input", input)
    tensor_argument(name, "indices", indices, 2)
    if indices.dtype is not D.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype}")
    if input.shape != indices.shape:
        raise RuntimeError(
            "Expected shape of indices to be same as that of the input tensor "
            f"({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}"
        )
    shape = input._data.shape
    if len(shape) not in (n + 1, n + 2):
        raise RuntimeError(
            f"Input to {name} should be a {n + 1}d or {n + 2}d Tensor, but got a tensor with "
            f"{len(shape)} dimensions."
        )
    if 0 in shape[1:]:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but got "
            f"{list(shape)}"
        )
    batched = len(shape) == n + 2
    if not batched:
        input, indices = input.unsqueeze(0), indices.unsqueeze(0)
    return _unbatch(apply(TABLE[name], (input, indices), {"size": size}), batched)


def max_unpool2d(input, indices, output_size):
    """Zeros of the given size with the pooled values at their flat positions."""
    return _unpool("max_unpool2d", input, indices, _out_size("max_unpool2d", output_size, 2), 2)


def max_unpool3d(input, indices, output_size, stride, padding):
    """Zeros of the given size with the pooled values at their flat positions."""
    stride = _each("max_unpool3d", "stride", stride, 3)
    if min(stride) <= 0:
        raise RuntimeError(f"strides should be greater than zero, but got stride: {list(stride)}")
    return _unpool("max_unpool3d", input, indices, _out_size("max_unpool3d", output_size, 3), 3)


def _out_size(name, value, n):
    value = (value,) * n if hasattr(value, "__index__") else tuple(int(v) for v in value)
    if len(value) != n:
        raise RuntimeError(
            f"{name}: There should be exactly {n} elements in output_size, but got {list(value)} "
            f"(output_size must be {n})"
        )
    if any(v < 0 for v in value):
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{list(value)}"
        )
    return value


# ---- means ---------------------------------------------------------------------------------------


def _average(name, x, row, attrs, count_include_pad, divisor_override):
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    attrs = {k: v for k, v in attrs.items() if k != "dilation"}
    return apply(
        TABLE[row],
        (x,),
        {**attrs, "include_pad": bool(count_include_pad), "divisor": divisor_override},
    )


def _avg_pool(n):
    name = f"avg_pool{n}d"

    def pool(
        input,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ):
        if n == 2 and isinstance(input, Tensor) and input._data.ndim < 3:
            wrap_dim(-3, input._data.ndim)  # PyTorch's IndexError
        x, batched = _batched(name, input, n)
        attrs = _window(name, x, kernel_size, stride, padding, 1, ceil_mode, n)
        return _unbatch(
            _average(name, x, name, attrs, count_include_pad, divisor_override), batched
        )

    return _named(pool, name, f"The mean of each window of {n} spatial dimensions.", public=False)


avg_pool2d, avg_pool3d = _avg_pool(2), _avg_pool(3)


@function
def avg_pool1d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    """The mean of each window of (N, C, L) or (C, L)."""
    x, attrs, batched = _line("avg_pool1d", input, kernel_size, stride, padding, 1, ceil_mode)
    return _unbatch(
        _average("avg_pool1d", x, "avg_pool2d", attrs, count_include_pad, None).squeeze(-2), batched
    )


# ---- adaptive ------------------------------------------------------------------------------------


def _adaptive_size(name, input, output_size, n):
    shape = tensor_argument(name, "input", input)._data.shape
    if hasattr(output_size, "__index__"):
        output_size = (output_size,) * n
    size = (
        tuple(own if v is None else int(v) for v, own in zip(output_size, shape[-n:]))
        if len(output_size) == n
        else tuple(output_size)
    )
    if len(size) != n:
        raise RuntimeError(f"{name}: output_size must be {n} (got {list(output_size)})")
    if any(v < 0 for v in size):
        raise RuntimeError(
            f"{name}: elements of output_size must be greater than or equal to 0 but received "
            f"{{{', '.join(map(str, size))}}}"
        )
    if len(shape) not in (n + 1, n + 2):
        raise RuntimeError(f"{name}(): Expected {n + 1}D or {n + 2}D tensor, but got {list(shape)}")
    if 0 in shape[1 if len(shape) == n + 2 else 0 :] or 0 in shape[-n:]:
        raise RuntimeError(
            f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input "
            f"has sizes {list(shape)}"
        )
    return size


def _table(n, m):
    """The members of the m windows, short ones repeating their last."""
    start, end = adaptive_bounds(n, m)
    width = int((end - start).max(initial=1))
    return np.minimum(start[:, None] + np.arange(width), end[:, None] - 1)


def _adaptive_max(n):
    name = f"adaptive_max_pool{n}d"

    def pool(input, output_size):
        size = _adaptive_size(name, input, output_size, n)
        shape = input._data.shape
        batched = len(shape) == n + 2
        x = input if batched else input.unsqueeze(0)
        if n == 1:
            x, size = x.unsqueeze(-2), (1, *size)
        tables = tuple(_table(a, b) for a, b in zip(x._data.shape[2:], size))
        out = apply(TABLE[f"adaptive_max_pool{max(n, 2)}d"], (x,), {"tables": tables})
        if n == 1:
            out = tuple(t.squeeze(-2) for t in out)
        return _unbatch(out, batched)

    return _named(
        pool,
        f"{name}_with_indices",
        f"Maxima of windows chosen to give `output_size`, and their flat positions ({n} "
        "dimensions).",
        public=False,
    )


(
    adaptive_max_pool1d_with_indices,
    adaptive_max_pool2d_with_indices,
    adaptive_max_pool3d_with_indices,
) = map(_adaptive_max, (1, 2, 3))
function(adaptive_max_pool1d_with_indices, name="adaptive_max_pool1d")


def _adaptive_avg(n):
    name = f"adaptive_avg_pool{n}d"

    def pool(input, output_size):
        size = _adaptive_size(name, input, output_size, n)
        if n > 1 and all(v == 1 for v in size):
            return input.mean(list(range(-n, 0)), True)
        x = input
        if n == 1:
            x, size = x.unsqueeze(-2), (1, *size)
        out = apply(
            TABLE[f"adaptive_avg_pool{max(n, 2)}d"],
            (x,),
            {"tables": adaptive_tables(x._data.shape[-len(size) :], size)},
        )
        return out.squeeze(-2) if n == 1 else out

    return _named(
        pool,
        name,
        f"Means of windows chosen to give `output_size` ({n} dimensions).",
        public=n == 1,
    )


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = map(_adaptive_avg, (1, 2, 3))


# ---- fractional ----------------------------------------------------------------------------------


def _fractional(n):
    name = f"fractional_max_pool{n}d"

    def pool(input, kernel_size, output_size, random_samples):
        shape = tensor_argument(name, "input", input)._data.shape
        kernel, size = (
            _each(name, "kernel_size", kernel_size, n),
            _each(name, "output_size", output_size, n),
        )
        if min(kernel) <= 0:
            raise RuntimeError(
                f"{name}: kernel_size should be greater than zero, but got {list(kernel)}"
            )
        if len(shape) not in (n + 1, n + 2) or 0 in shape[-n - 1 :]:
            raise RuntimeError(
                f"{name}(): Expected {n + 1}D or {n + 2}D (batch mode) tensor with optional 0 dim "
                f"batch size for input, but got: {list(shape)}"
            )
        for own, m, k in zip(shape[-n:], size, kernel):
            if m + k - 1 > own or m < 1:
                raise RuntimeError(
                    f"{name}(): pool size {list(kernel)} with output size {list(size)} is too "
                    f"large relative to input size {list(shape[-n:])}"
                )
        batched = len(shape) == n + 2
        x = input if batched else input.unsqueeze(0)
        if random_samples.dtype is not input.dtype:
            raise RuntimeError("Expect _random_samples to have the same dtype as input")
        samples = random_samples._data.shape
        if len(samples) != 3:
            raise RuntimeError(f"Expect _random_samples to have 3 dimensions, got {len(samples)}")
        if samples[0] < x._data.shape[0]:
            raise RuntimeError("Expect _random_samples.size(0) no less then input batch size.")
        if samples[1] != x._data.shape[1]:
            raise RuntimeError("Expect _random_samples.size(1) equals to input channel size.")
        if samples[2] != n:
            raise RuntimeError(f"Expect _random_samples.size(2) equals to {n} got {samples[2]}.")
        return _unbatch(
            apply(TABLE[name], (x, random_samples), {"size": size, "kernel": kernel}), batched
        )

    return _named(
        pool,
        f"{name}_with_indices",
        f"Maxima of windows at pseudo-random places ({n} dimensions), and their flat positions.",
        public=False,
    )


fractional_max_pool2d_with_indices, fractional_max_pool3d_with_indices = (
    _fractional(2),
    _fractional(3),
)
