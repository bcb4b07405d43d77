"""Losses that are one node: reductions are "none", "mean" or "sum"."""

from __future__ import annotations

from rushlight.api.neural_activation import ran, tensor_argument
from rushlight.autograd import modes
from rushlight.bind import F32, F64, I64, function
from rushlight.core import dtype as D
from rushlight.core.shape import broadcast
from rushlight.dispatch import apply
from rushlight.ops.op import TABLE

_CODES = ("none", "mean", "sum")


def reduction_name(reduction):
    """The name of a reduction given by name or by PyTorch's number."""
    if isinstance(reduction, int) and 0 <= reduction <= 2:
        return _CODES[reduction]
    if reduction not in _CODES:
        raise ValueError(
            f"{reduction} is not a valid value for reduction: choose 'none', 'mean' or 'sum'"
        )
    return reduction


def _pair(name, input, target):
    tensor_argument(name, "input", input)
    tensor_argument(name, "target", target, 2)
    return input, target


def mse_loss(input, target, reduction="mean"):
    """(input - target) ** 2."""
    return apply(
        TABLE["mse_loss"],
        _pair("mse_loss", input, target),
        {"reduction": reduction_name(reduction)},
    )


def smooth_l1_loss(input, target, reduction="mean", beta=1.0):
    """(x - y) ** 2 / (2 beta) within beta, |x - y| - beta / 2 outside."""
    if beta < 0:
        raise RuntimeError(
            f"smooth_l1_loss does not support negative values for beta. (got {beta})"
        )
    if beta == 0:
        terms = (input - target).abs()
        return (
            terms
            if reduction_name(reduction) == "none"
            else getattr(terms, reduction_name(reduction))()
        )
    return apply(
        TABLE["smooth_l1_loss"],
        _pair("smooth_l1_loss", input, target),
        {"reduction": reduction_name(reduction), "beta": beta},
    )


def huber_loss(input, target, reduction="mean", delta=1.0):
    """(x - y) ** 2 / 2 within delta, delta (|x - y| - delta / 2) outside."""
    if delta <= 0:
        raise RuntimeError(
            f"huber_loss does not support non-positive values for delta. (got {delta})"
        )
    return apply(
        TABLE["huber_loss"],
        _pair("huber_loss", input, target),
        {"reduction": reduction_name(reduction), "delta": delta},
    )


def soft_margin_loss(input, target, reduction="mean"):
    """log(1 + exp(-y x)) for y of -1 and 1."""
    return apply(
        TABLE["soft_margin_loss"],
        _pair("soft_margin_loss", input, target),
        {"reduction": reduction_name(reduction)},
    )


def binary_cross_entropy(input, target, weight=None, reduction="mean"):
    """-(y log x + (1 - y) log(1 - x)), the logarithms not below -100."""
    _pair("binary_cross_entropy", input, target)
    if input.dtype is not target.dtype:
        raise RuntimeError(f"Found dtype {_c(target)} but expected {_c(input)}")
    if weight is not None and weight.shape != input.shape:
        weight = weight.expand(broadcast(input._data.shape, weight._data.shape))
    return apply(
        TABLE["binary_cross_entropy"],
        (input, target, weight),
        {"reduction": reduction_name(reduction)},
    )


def _c(x):
    return x.dtype.title


@function
def binary_cross_entropy_with_logits(input, target, weight=None, pos_weight=None, reduction="mean"):
    """binary_cross_entropy of sigmoid(input), without overflow;
    `pos_weight` multiplies the terms of y.
    """
    _pair("binary_cross_entropy_with_logits", input, target)
    if target.dtype.category < D.FLOAT:
        raise RuntimeError(
            f"result type Float can't be cast to the desired output type {_c(target)} (the target "
            "holds probabilities: write target.float())"
        )
    return apply(
        TABLE["binary_cross_entropy_with_logits"],
        (input, target, weight, pos_weight),
        {"reduction": reduction_name(reduction)},
    )


def _likelihood(name, input, target, weight, reduction, ignore_index):
    attrs = {"reduction": reduction_name(reduction), "ignore_index": int(ignore_index)}
    d = input._data.dtype
    if (
        weight is None
        and (d is F32 or d is F64)
        and target._data.dtype is I64
        and not modes.diverted
    ):
        return ran(TABLE[name], (input, target, None), attrs)
    return apply(TABLE[name], (input, target, weight), attrs)


def nll_loss(input, target, weight=None, reduction="mean", ignore_index=-100):
    """-input[i, target[i]]; (N, C) with (N,), or (C,) with ()."""
    _pair("nll_loss", input, target)
    x, t = input._data, target._data
    if not 0 < x.ndim <= 2:
        raise RuntimeError(f"input tensor should be 1D or 2D (got shape {list(x.shape)})")
    if t.ndim > 1:
        raise RuntimeError(
            "0D or 1D target tensor expected, multi-target not supported (got shape "
            f"{list(t.shape)})"
        )
    if x.ndim == 2 and (t.ndim == 0 or x.shape[0] != t.shape[0]):
        raise RuntimeError(f"size mismatch (got input: {list(x.shape)}, target: {list(t.shape)})")
    return _likelihood("nll_loss", input, target, weight, reduction, ignore_index)


def nll_loss2d(input, target, weight=None, reduction="mean", ignore_index=-100):
    """nll_loss of every pixel: (N, C, H, W) with (N, H, W)."""
    _pair("nll_loss2d", input, target)
    x, t = input._data, target._data
    if t.ndim != 3:
        raise RuntimeError(
            "only batches of spatial targets supported (3D tensors) but got targets of "
            f"dimension: {t.ndim}"
        )
    if x.ndim != 4:
        raise RuntimeError(
            "only batches of spatial inputs supported (4D tensors), but got input of dimension: "
            f"{x.ndim}"
        )
    if (x.shape[0], *x.shape[2:]) != t.shape:
        raise RuntimeError(f"size mismatch (got input: {list(x.shape)} , target: {list(t.shape)}")
    return _likelihood("nll_loss2d", input, target, weight, reduction, ignore_index)


def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, reduction="mean"):
    """The mean over classes of max(0, margin - x[target] + x[other]) ** p."""
    _pair("multi_margin_loss", input, target)
    x, t = input._data, target._data
    if p not in (1, 2):
        raise RuntimeError(f"only p == 1 and p == 2 supported (got {p})")
    if x.ndim > 2 or x.ndim and x.shape[-1] == 0 or x.ndim < 2 and x.size == 0:
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(x.shape)}"
        )
    count = x.shape[0] if x.ndim == 2 else 1
    if t.ndim > 1 or t.size != count:
        raise RuntimeError(f"inconsistent target size, expected {count} but got {list(t.shape)}")
    classes = x.shape[-1] if x.ndim else 1
    if weight is not None and (weight._data.ndim > 1 or weight._data.size != classes):
        raise RuntimeError(
            f"inconsistent weight size, expected {classes} but got {list(weight.shape)}"
        )
    if x.ndim == 0:
        input, target = input.unsqueeze(0), target
    attrs = {"p": int(p), "margin": float(margin), "reduction": reduction_name(reduction)}
    return apply(TABLE["multi_margin_loss"], (input, target, weight), attrs)


def multilabel_margin_loss(input, target, reduction="mean"):
    """The sum over listed classes and others of max(0, 1 - x[target] + x[other]),
    over the number of classes.
    """
    _pair("multilabel_margin_loss", input, target)
    x, t = input._data, target._data
    if x.ndim > 2 or x.ndim and x.shape[-1] == 0:
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(x.shape)}"
        )
    if t.shape != x.shape:
        raise RuntimeError(
            f"inconsistent target size: {list(t.shape)} for input of size: {list(x.shape)}"
        )
    return apply(
        TABLE["multilabel_margin_loss"], (input, target), {"reduction": reduction_name(reduction)}
    )
