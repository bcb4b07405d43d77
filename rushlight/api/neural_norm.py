"""Normalizations: batch, instance, layer, group and root-mean-square."""

from __future__ import annotations

import math

import numpy as np

from rushlight.api.neural_activation import tensor_argument
from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.bind import function, method
from rushlight.core import dtype as D
from rushlight.dispatch import apply, backend_for, write_whole
from rushlight.ops.op import TABLE


def _sized(name, value, n):
    if value is not None and value._data.size != n:
        raise RuntimeError(f"{name} should contain {n} elements not {value._data.size}")


def _same_type(x, *parameters):
    """Parameters have the input's dtype, or float32 beside a half type."""
    allowed = (x.dtype, x.dtype.compute or x.dtype)
    for p in parameters:
        if p is not None and p.dtype not in allowed:
            raise RuntimeError(
                "mixed dtype (CPU): expect parameter to have scalar type of "
                f"{allowed[1].title} (input {x.dtype}, parameter {p.dtype})"
            )


def _batch(x, weight, bias, running_mean, running_var, training, momentum, eps):
    """(result, mean, scale) of checked arguments; running statistics are updated in place."""
    tensor_argument("batch_norm", "input", x)
    shape = x._data.shape
    if len(shape) < 2:
        if x._data.size == 0:
            return x.clone(), x.new_empty((0,)), x.new_empty((0,))
        raise IndexError(
            "Dimension out of range: batch_norm expects at least 2 dimensions (N, C, ...), but got "
            f"shape {list(shape)}"
        )
    for name, value in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        _sized(name, value, shape[1])
    if not training and (running_mean is None or running_var is None):
        raise RuntimeError(
            "Expected running_mean and running_var to be defined when training=False (pass them, "
            "or training=True)"
        )
    _same_type(x, weight, bias, running_mean, running_var)
    attrs = {"training": bool(training), "eps": eps}
    stats = (None, None) if training else (running_mean, running_var)
    out, mean, scale, var = apply(TABLE["batch_norm"], (x, weight, bias, *stats), attrs)
    if training and (running_mean is not None or running_var is not None):
        n = x._data.size // shape[1] if shape[1] else 0
        if running_mean is not None:
            _move(running_mean, mean, momentum)
        if running_var is not None:
            _move(running_var, var * (n / (n - 1)) if n > 1 else var * math.nan, momentum)
    return out, mean, scale


def _move(running, value, momentum):
    """running = (1 - momentum) * running + momentum * value, neither recorded nor counted."""
    have, new = running._data, value._data
    if not modes.diverted and momentum.__class__ is float and have.__class__ is np.ndarray and have.dtype is new.dtype and have.dtype.kind == "f" and have.flags.writeable:
        have *= 1 - momentum
        have += new * momentum
        return
    running = running.detach()
    moved = running * (1 - momentum) + value.to(running.dtype) * momentum
    write_whole(running, moved, backend_for(TABLE["copy"], (running, moved)))


@method
def _batch_norm_gradients(self, x, weight, mean, scale, training, eps):
    """The gradients of batch_norm's input, weight and bias from `self`, that of its result: one row where nothing looks on."""
    attrs = {"training": training, "eps": eps}
    if not modes.diverted and not STATE.grad:
        return apply(TABLE["batch_norm_gradients"], (self, x, weight, mean, scale), attrs)
    return (
        self._fused("batch_norm_backward", x, weight, mean, scale, **attrs),
        self._fused("batch_norm_weight", x, mean, scale, **attrs),
        self.sum([0, *range(2, self.dim())]),
    )


def batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps):
    """(x - mean) / sqrt(var + eps) * weight + bias over all dimensions but 1;
    statistics of the batch in training, else the running ones.
    """
    return _batch(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


@function(name="batch_norm")
def _torch_batch_norm(
    input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled
):
    """batch_norm, the arguments in the order of torch.batch_norm."""
    return _batch(input, weight, bias, running_mean, running_var, training, momentum, eps)[0]


@function
def native_batch_norm(
    input, weight, bias, running_mean, running_var, training, momentum, eps, *, out=None
):
    """(batch_norm, the batch's means, the reciprocals of its deviations)."""
    result, mean, scale = _batch(
        input, weight, bias, running_mean, running_var, training, momentum, eps
    )
    if not training:
        mean, scale = mean.new_empty((0,)), scale.new_empty((0,))
    return result, mean, scale


def instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps):
    """batch_norm of every sample by itself: all (sample,
    channel) pairs are channels of one batch.
    """
    shape = tensor_argument("instance_norm", "input", input)._data.shape
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError(
            "Expected running_mean and running_var to be defined when use_input_stats is false"
        )
    n, c = shape[:2]
    for name, value in (
        ("running_mean", running_mean),
        ("running_var", running_var),
        ("weight", weight),
        ("bias", bias),
    ):
        _sized(name, value, c)
    many = [None if t is None else t.repeat(n) for t in (weight, bias, running_mean, running_var)]
    w, b, mean, var = many
    out = _batch(
        input.contiguous().view(1, n * c, *shape[2:]),
        w,
        b,
        mean,
        var,
        use_input_stats,
        momentum,
        eps,
    )[0]
    if use_input_stats:
        for running, new in ((running_mean, mean), (running_var, var)):
            if running is not None:
                running.detach().copy_(new.view(n, c).mean(0))
    return out.view(shape)


@function(name="instance_norm")
def _torch_instance_norm(
    input, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled
):
    """instance_norm, the arguments in the order of torch.instance_norm."""
    return instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def _inner(name, input, normalized_shape, weight, bias):
    """The number of normalized dimensions, after checks."""
    inner = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    shape = tensor_argument(name, "input", input)._data.shape
    if not inner:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least "
            f"one element, but got normalized_shape = {list(inner)}"
        )
    for what, value in (("weight", weight), ("bias", bias)):
        if value is not None and value._data.shape != inner:
            raise RuntimeError(
                f"Expected {what} to be of same shape as normalized_shape, but got {what} of "
                f"shape {list(value.shape)} and normalized_shape = {list(inner)}"
            )
    if shape[len(shape) - len(inner) :] != inner or len(shape) < len(inner):
        raise RuntimeError(
            f"Given normalized_shape={list(inner)}, expected input with shape [*, "
            f"{', '.join(map(str, inner))}], but got input of size{list(shape)}"
        )
    _same_type(input, weight, bias)
    return len(inner)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions,
    which have `normalized_shape`.
    """
    count = _inner("layer_norm", input, normalized_shape, weight, bias)
    return apply(TABLE["layer_norm"], (input, weight, bias), {"count": count, "eps": eps})[0]


function(layer_norm)


@function
def native_layer_norm(input, normalized_shape, weight, bias, eps):
    """(layer_norm, means, reciprocals of the deviations)."""
    count = _inner("native_layer_norm", input, normalized_shape, weight, bias)
    return apply(TABLE["layer_norm"], (input, weight, bias), {"count": count, "eps": eps})


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    """layer_norm of each of `num_groups` groups of channels,
    with weight and bias for each channel.
    """
    return _group(input, num_groups, weight, bias, eps)[0]


function(group_norm)


def _group(input, num_groups, weight, bias, eps):
    shape = tensor_argument("group_norm", "input", input)._data.shape
    if len(shape) < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {len(shape)}"
        )
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    c = shape[1]
    if c % num_groups:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input "
            f"of shape {list(shape)} and num_groups={num_groups}"
        )
    for what, value in (("weight", weight), ("bias", bias)):
        if value is not None and value._data.shape != (c,):
            raise RuntimeError(
                f"Expected {what} to be a vector of size equal to the number of channels in "
                f"input, but got {what} of shape {list(value.shape)} and input of shape "
                f"{list(shape)}"
            )
    _same_type(input, weight, bias)
    return apply(TABLE["group_norm"], (input, weight, bias), {"groups": num_groups, "eps": eps})


@function
def native_group_norm(input, weight, bias, N, C, HxW, group, eps):
    """(group_norm, means, reciprocals of the deviations)."""
    return _group(input, group, weight, bias, eps)


@function
def rms_norm(input, normalized_shape, weight=None, eps=None):
    """x / sqrt(mean(x ** 2) + eps) * weight over the last dimensions;
    eps is the dtype's epsilon by default.
    """
    count = _inner("rms_norm", input, normalized_shape, weight, None)
    dtype = input.dtype
    wide = dtype.compute
    x = input.to(wide) if wide is not None else input
    if eps is None:
        eps = _epsilon(x)
    if dtype in (D.float32, D.float64) and not modes.diverted and (weight is None or weight.dtype is dtype):
        row, args = ("rms_norm_plain", (x,)) if weight is None else ("rms_norm", (x, weight))
        return apply(TABLE[row], args, {"count": count, "eps": float(eps)})[0]
    out = x * ((x * x).mean(list(range(-count, 0)), True) + eps).rsqrt()
    if wide is not None:
        out = out.to(dtype)
    return out if weight is None else out * weight


def _epsilon(x):
    return 2.0**-52 if x.dtype.to_real() is D.float64 else 2.0**-23
