"""Folding an evaluated batch norm into the layer before it, so that inference runs one layer.

With y = W x + b and bn(y) = (y - mean) / sqrt(var + eps) * gamma + beta, the fused layer has
W' = W * s and b' = (b - mean) * s + beta, s = gamma / sqrt(var + eps), by output channel.
"""

from __future__ import annotations

import copy

import rushlight

from ..parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]


def _require_eval(layer, bn):
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError(
            "Fusion needs the running statistics of the batch norm; it was made with "
            "track_running_stats=False."
        )


def fuse_conv_bn_eval(conv, bn, transpose=False):
    """A copy of `conv` that also does what `bn` does in evaluation mode.

    Args:
        transpose: `conv` is a transposed convolution.
    """
    _require_eval(conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight,
        fused.bias,
        bn.running_mean,
        bn.running_var,
        bn.eps,
        bn.weight,
        bn.bias,
        transpose,
    )
    return fused


def fuse_conv_bn_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """The weight and bias of the fused convolution; None stands for a bias of 0, a scale of 1."""
    channel = 1 if transpose else 0
    shape = [1] * conv_w.dim()
    shape[channel] = -1
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, shape)


def fuse_linear_bn_eval(linear, bn):
    """A copy of `linear` that also does what `bn` does in evaluation mode."""
    _require_eval(linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return fused


def fuse_linear_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """The weight and bias of the fused linear layer."""
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, [-1, 1])


def _fused(weight, bias, mean, var, eps, gamma, beta, shape):
    weight_dtype = weight.dtype
    bias_dtype = weight_dtype if bias is None else bias.dtype
    bias_grad = weight.requires_grad if bias is None else bias.requires_grad
    if bias is None:
        bias = rushlight.zeros_like(mean)
    gamma = rushlight.ones_like(mean) if gamma is None else gamma
    beta = rushlight.zeros_like(mean) if beta is None else beta
    scale = gamma * rushlight.rsqrt(var + eps)
    new_weight = (weight * scale.reshape(shape)).to(dtype=weight_dtype)
    new_bias = ((bias - mean) * scale + beta).to(dtype=bias_dtype)
    return (
        Parameter(new_weight.detach(), weight.requires_grad),
        Parameter(new_bias.detach(), bias_grad),
    )
