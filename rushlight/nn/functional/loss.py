"""Losses for regression and classification.

Mechanism: arguments are checked and the deprecated ones translated (_reduction); then either one of
the engine's fused ops does the arithmetic and the reduction, or the terms are composed here and end
in `reduce`. cross_entropy is log_softmax followed by nll_loss, two nodes, as in PyTorch.

Invariant: with reduction "none" the result has one entry for each target entry (or each sample,
where a loss sums classes).
"""

import math
import warnings

import rushlight
from rushlight.nn.functional import _primitives as _p
from rushlight.nn.functional._reduction import reduce as _reduce
from rushlight.nn.functional._reduction import resolve, warn_broadcast


def _same_shape(input, target):
    """Both broadcast against each other, with a warning if that changes anything."""
    if input.size() == target.size():
        return input, target
    warn_broadcast(input, target, stacklevel=4)
    return rushlight.broadcast_tensors(input, target)


def _weighted(terms, weight, reduction, by_weight):
    """`terms * weight` reduced; the mean is over the sum of the weights if `by_weight`."""
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(
            f"Invalid reduction mode: {reduction}. Expected one of 'none', 'mean', 'sum'."
        )
    terms = terms * weight
    if by_weight and reduction == "mean":
        return terms.sum() / weight.sum()
    return _reduce(terms, reduction)


def _check_weight(weight, input):
    if weight.size() != input.size():
        raise ValueError(
            f"Weights and input must have the same size. Found weight {tuple(weight.size())} and "
            f"input {tuple(input.size())}; write weight.expand_as(input)"
        )


def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """`|x - y|`, reduced; any shape. A weighted mean divides by the sum of the weights.

    Args:
        input, target: tensors of one shape.
        size_average, reduce: deprecated, see reduction.
        reduction: "mean", "sum" or "none".
        weight: a factor for each element, of input's shape.
    """
    input, target = _same_shape(input, target)
    if size_average is not None or reduce is not None or weight is None:
        reduction = resolve(size_average, reduce, reduction)
    terms = (input - target).abs()
    if weight is None:
        return _reduce(terms, reduction)
    _check_weight(weight, input)
    return _weighted(terms, weight, reduction, by_weight=True)


def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """`(x - y)^2`, reduced; any shape. A weighted mean divides by the sum of the weights; arguments
    as l1_loss."""
    input, target = _same_shape(input, target)
    if size_average is not None or reduce is not None or weight is None:
        reduction = resolve(size_average, reduce, reduction)
    if weight is None:
        return _p.mse_loss(input, target, reduction=reduction)
    _check_weight(weight, input)
    return _weighted((input - target).pow(2), weight, reduction, by_weight=True)


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """`(x - y)^2 / (2 beta)` where `|x - y| < beta`, else `|x - y| - beta / 2`; reduced; any shape.

    beta = 0 is the L1 loss. Raises RuntimeError for a negative beta. Source: Girshick, Fast R-CNN,
    arXiv:1504.08083.
    """
    input, target = _same_shape(input, target)
    reduction = resolve(size_average, reduce, reduction)
    if beta == 0.0:
        return _reduce((input - target).abs(), reduction)
    return _p.smooth_l1_loss(input, target, reduction=reduction, beta=beta)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """`(x - y)^2 / 2` where `|x - y| <= delta`, else `delta (|x - y| - delta / 2)`; reduced; any
    shape.

    A weighted mean divides by the number of elements. Raises RuntimeError unless delta > 0.
    Source: Huber, Robust Estimation of a Location Parameter (1964).
    """
    input, target = _same_shape(input, target)
    if weight is None:
        return _p.huber_loss(input, target, reduction=resolve(None, None, reduction), delta=delta)
    _check_weight(weight, input)
    terms = _p.huber_loss(input, target, reduction="none", delta=delta)
    return _weighted(terms, weight, reduction, by_weight=False)


def binary_cross_entropy(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """`-(y log x + (1 - y) log(1 - x))`, reduced; any shape; logarithms are cut off at -100.

    Args:
        input: probabilities.
        target: numbers in [0, 1], of input's shape.
        weight: factors that broadcast to target.
        size_average, reduce: deprecated, see reduction.
        reduction: "mean", "sum" or "none".

    Raises ValueError for different shapes, RuntimeError for values outside [0, 1].
    """
    reduction = resolve(size_average, reduce, reduction)
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    if weight is not None and weight.size() != target.size():
        weight = weight.expand(rushlight.broadcast_shapes(target.size(), weight.size()))
    return _p.binary_cross_entropy(input, target, weight, reduction=reduction)


def binary_cross_entropy_with_logits(
    input,
    target,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
    pos_weight=None,
):
    """binary_cross_entropy of `sigmoid(input)`, computed without overflow; any shape.

    `pos_weight` multiplies the terms of `y`, so that values over 1 favour recall. Raises ValueError
    for different shapes.
    """
    reduction = resolve(size_average, reduce, reduction)
    if target.size() != input.size():
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    return _p.binary_cross_entropy_with_logits(
        input, target, weight, pos_weight=pos_weight, reduction=reduction
    )


def nll_loss(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
):
    """`-weight[y] * x[y]`, reduced; the mean is over the sum of the weights.

    Shapes: input (N, C), (C,) or (N, C, d1, ...), log probabilities; target (N,), () or (N, d1,
    ...), classes.

    Args:
        weight: (C,), a factor for each class.
        ignore_index: targets with this value count for nothing.
        size_average, reduce: deprecated, see reduction.
        reduction: "mean", "sum" or "none".

    Raises ValueError for batches that do not match, IndexError for a class out of range.
    """
    return _nll(input, target, weight, resolve(size_average, reduce, reduction), ignore_index)


def _nll(input, target, weight, reduction, ignore_index):
    ndim = input.dim()
    if ndim < 1:
        raise ValueError(f"Expected 1 or more dimensions (got {ndim})")
    if ndim == 1:
        if target.dim() == 1 and target.size(0) != 1:
            raise ValueError(
                f"For 1D input, 1D target must have size 1, but got target size: {target.size(0)}"
            )
        return _p.nll_loss(input, target, weight, reduction=reduction, ignore_index=ignore_index)
    if target.dim() == 0 or input.size(0) != target.size(0):
        given = target.size(0) if target.dim() else "a 0-d target"
        raise ValueError(
            f"Expected input batch_size ({input.size(0)}) to match target batch_size ({given})."
        )
    if ndim == 2:
        return _p.nll_loss(input, target, weight, reduction=reduction, ignore_index=ignore_index)
    if ndim == 4:
        return _p.nll_loss2d(input, target, weight, reduction=reduction, ignore_index=ignore_index)
    n, c, *spatial = input.shape
    wanted = [n, *spatial]
    if list(target.shape) != wanted:
        raise RuntimeError(f"Expected target size {wanted}, got {list(target.shape)}")
    length = math.prod(spatial)
    out = _p.nll_loss2d(
        input.contiguous().view(n, c, 1, length),
        target.contiguous().view(n, 1, length),
        weight,
        reduction=reduction,
        ignore_index=ignore_index,
    )
    return out.view(wanted) if reduction == "none" else out


def cross_entropy(
    input,
    target,
    weight=None,
    size_average=None,
    ignore_index=-100,
    reduce=None,
    reduction="mean",
    label_smoothing=0.0,
):
    """nll_loss of `log_softmax(input)` over the classes.

    Shapes: input (N, C), (C,) or (N, C, d1, ...); target (N,), () or (N, d1, ...) of classes, or
    input's shape of probabilities.

    Args:
        weight: (C,), a factor for each class.
        ignore_index: targets with this class count for nothing; only with classes.
        label_smoothing: in [0, 1], how much of the uniform distribution is mixed into the target
            (Szegedy et al., arXiv:1512.00567).
        size_average, reduce: deprecated, see reduction.
        reduction: "mean", "sum" or "none".
    """
    reduction = resolve(size_average, reduce, reduction)
    axis = 0 if input.dim() == 1 else 1
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if input.size() == target.size():
        if not target.is_floating_point():
            raise RuntimeError(
                "Expected floating point type for target with class probabilities, got "
                f"{target.dtype}; a target of classes has input's shape without dimension 1"
            )
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return _soft_target_loss(input, target, weight, reduction, label_smoothing, axis)
    log_p = _p.log_softmax(input, axis)
    loss = _nll(log_p, target, weight, reduction, ignore_index)
    if label_smoothing == 0.0:
        return loss
    classes = input.size(axis)
    smooth = _uniform_loss(log_p, target, weight, reduction, ignore_index, axis)
    return (1 - label_smoothing) * loss + smooth * (label_smoothing / classes)


def _class_weights(weight, input, axis):
    """(C,) as a tensor that broadcasts along the class dimension of `input`."""
    return weight.view([-1 if dim == axis else 1 for dim in range(input.dim())])


def _uniform_loss(log_p, target, weight, reduction, ignore_index, axis):
    """The sum over classes of -weight * log_p, reduced as nll_loss reduces."""
    ignored = target == ignore_index
    terms = log_p if weight is None else log_p * _class_weights(weight, log_p, axis)
    terms = (-terms.sum(axis)).masked_fill(ignored, 0.0)
    if reduction != "mean":
        return _reduce(terms, reduction)
    if weight is None:
        return terms.masked_select(~ignored).mean()
    return terms.sum() / weight.gather(0, target.masked_select(~ignored)).sum()


def _soft_target_loss(input, target, weight, reduction, label_smoothing, axis):
    """Cross entropy against class probabilities; the mean is over the samples, whatever the
    weights."""
    classes = input.size(axis)
    if weight is not None and (weight.dim() != 1 or weight.numel() != classes):
        raise RuntimeError(
            f"cross_entropy: weight tensor should be defined either for all {classes} classes or "
            f"no classes but got weight tensor of shape: {list(weight.shape)}"
        )
    if label_smoothing > 0.0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = _p.log_softmax(input, axis) * target
    if weight is not None:
        terms = terms * _class_weights(weight, input, axis)
    if reduction == "none":
        return -terms.sum(axis)
    total = -terms.sum()
    if reduction == "sum":
        return total
    samples = input.numel() // classes if classes else 0
    return total / samples if samples else total * math.nan


def linear_cross_entropy(
    input,
    linear_weight,
    target,
    *,
    linear_bias=None,
    weight=None,
    reduction="mean",
    ignore_index=None,
    label_smoothing=0.0,
    options=None,
):
    """`cross_entropy(linear(input, linear_weight, linear_bias), target)`.

    Shapes: input (N, in) or (in,); linear_weight (C, in) or (C, d1, ..., in); linear_bias (C,) or
    (C, d1, ...);
    target as in cross_entropy for logits (N, C, d1, ...).

    Args:
        weight, reduction, label_smoothing: as in cross_entropy.
        ignore_index: None stands for -100 with classes and for none with probabilities.
        options: LinearCrossEntropyOptions; they bound memory, never the value, and are not needed
            for it: the loss is
            computed over the whole batch at once.
    """
    classes_shape = linear_weight.shape[:-1]
    _check_linear(input, linear_weight, linear_bias)
    if ignore_index is not None and target.is_floating_point():
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
    if weight is not None and weight.shape != classes_shape[:1]:
        raise RuntimeError(
            f"expected weight shape to be {tuple(classes_shape[:1])}, got {tuple(weight.shape)}"
        )
    if linear_bias is not None:
        linear_bias = linear_bias.reshape(-1)
    if len(classes_shape) == 1:
        logits = _p.linear(input, linear_weight, linear_bias)
    else:
        logits = _p.linear(input, linear_weight.flatten(0, -2), linear_bias)
        logits = logits.view(*input.shape[:-1], *classes_shape)  # (N, C, d1, ...)
    return cross_entropy(
        logits,
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=-100 if ignore_index is None else ignore_index,
        label_smoothing=label_smoothing,
    )


def _check_linear(input, weight, bias):
    """RuntimeError unless linear_cross_entropy's product is defined."""
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if weight.dim() < 2:
        raise RuntimeError(
            f"expected linear_weight with dimensionality at least 2, got {weight.dim()}"
        )
    if input.size(-1) != weight.size(-1):
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{input.size(-1)} and {weight.size(-1)}, respectively"
        )
    if weight.dim() > 2 and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(weight.shape)} requires "
            f"batched input, (N, {weight.size(-1)}), got unbatched input with shape "
            f"{tuple(input.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise RuntimeError(
            f"expected linear_bias shape {tuple(weight.shape[:-1])}, got {tuple(bias.shape)}"
        )


def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """Pointwise Kullback-Leibler divergence `y (log y - x)`, reduced; any shape.

    Args:
        input: log probabilities.
        target: probabilities, or log probabilities with `log_target`.
        size_average, reduce: deprecated, see reduction.
        reduction: "batchmean" (the sum over the first dimension's size: the divergence itself),
            "sum", "none", or "mean".
        log_target: the target is in logarithms too; the term is then `exp(y) (y - x)`.
    """
    batchmean = reduction == "batchmean"
    if size_average is not None or reduce is not None:
        reduction, batchmean = resolve(size_average, reduce, reduction), False
    elif batchmean:
        reduction = "sum"
    elif reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.'mean' will be changed to behave the same as 'batchmean' in the next major "
            "release.",
            stacklevel=2,
        )
    else:
        reduction = resolve(None, None, reduction)
    if log_target:
        terms = target.exp() * (target - input)
    else:
        terms = rushlight.xlogy(target, target) - target * input
    out = _reduce(terms, reduction)
    return out / input.size()[0] if batchmean and input.dim() != 0 else out


def poisson_nll_loss(
    input,
    target,
    log_input=True,
    full=False,
    size_average=None,
    eps=1e-8,
    reduce=None,
    reduction="mean",
):
    """Negative log likelihood of counts: `exp(x) - y x`, or `x - y log(x + eps)` without
    `log_input`.

    `full` adds Stirling's `y log y - y + log(2 pi y) / 2` for targets over 1. Any shape.
    """
    reduction = resolve(size_average, reduce, reduction)
    if log_input:
        terms = input.exp() - target * input
    else:
        terms = input - target * rushlight.log(input + eps)
    if full:
        stirling = (
            target * rushlight.log(target) - target + 0.5 * rushlight.log(2 * math.pi * target)
        )
        terms = terms + stirling.masked_fill(target <= 1, 0)
    return _reduce(terms, reduction)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """`(log(max(var, eps)) + (x - y)^2 / max(var, eps)) / 2`, reduced, plus `log(2 pi) / 2` with
    `full`.

    Args:
        input, target: means and observations, (N, *).
        var: variances of input's shape, or of that shape with the last dimension 1 or missing, or a
            float.
        eps: lower bound of the variance; the bound does not enter the gradient.

    Raises ValueError for a negative variance or another shape. Source: Nix and Weigend (1994).
    """
    if isinstance(var, float):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * rushlight.ones_like(input)
    elif rushlight.any(var < 0):
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)
        elif input.size()[:-1] != var.size()[:-1] or var.size(-1) != 1:
            raise ValueError(
                f"var is of incorrect size: {tuple(var.size())} for input {tuple(input.size())}"
            )
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    var = var.clone()
    with rushlight.no_grad():
        var.clamp_(min=eps)
    terms = 0.5 * (rushlight.log(var) + (input - target) ** 2 / var)
    if full:
        terms = terms + 0.5 * math.log(2 * math.pi)
    return _reduce(terms, reduction)


def ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """Connectionist temporal classification: -log of the probability of all alignments of the
    targets.

    Args:
        log_probs: (T, N, C) or (T, C), log probabilities.
        targets: (N, S), or all targets in one vector; no blanks.
        input_lengths, target_lengths: (N,), how much of each row counts.
        blank: the class that separates repeated ones.
        reduction: "mean" divides each loss by its target's length first.
        zero_infinity: replace infinite losses, of targets too long for their input, and their
            gradients by zero.

    Source: Graves et al., Connectionist Temporal Classification (2006).
    """
    reduction = resolve(None, None, reduction)
    losses = _p.ctc_loss(
        log_probs,
        targets,
        input_lengths,
        target_lengths,
        blank,
        reduction="none",
        zero_infinity=zero_infinity,
    )
    if reduction == "mean":
        lengths = rushlight.as_tensor(target_lengths).to(device=losses.device, dtype=losses.dtype)
        return (losses / lengths.clamp_min(1)).mean()
    return losses.sum() if reduction == "sum" else losses
