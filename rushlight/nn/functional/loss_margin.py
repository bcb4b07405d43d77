"""Losses that compare scores or distances against a margin.

Mechanism: as in loss; the four with a fused op (multi_margin, multilabel_margin, soft_margin, and
the distances) take it from the engine, the others are composed of a clamp at zero.
"""

import rushlight
from rushlight.nn.functional import _primitives as _p
from rushlight.nn.functional._reduction import reduce as _reduce
from rushlight.nn.functional._reduction import resolve


def margin_ranking_loss(
    input1,
    input2,
    target,
    margin=0,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """`max(0, -y (x1 - x2) + margin)`, reduced; y = 1 asks for x1 > x2, y = -1 for the contrary.

    Raises RuntimeError if the three tensors have different numbers of dimensions.
    """
    reduction = resolve(size_average, reduce, reduction)
    if input1.dim() != input2.dim() or input1.dim() != target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()}"
        )
    return _reduce((-target * (input1 - input2) + margin).clamp_min(0), reduction)


def hinge_embedding_loss(
    input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"
):
    """`x` where y = 1, `max(0, margin - x)` where y = -1, reduced; any shape; x is a distance."""
    reduction = resolve(size_average, reduce, reduction)
    zeros = rushlight.zeros_like(input)
    far = rushlight.where(target != 1, (margin - input).clamp_min(0), zeros)
    near = rushlight.where(target != -1, input, zeros)
    return _reduce(far + near, reduction)


def cosine_embedding_loss(
    input1,
    input2,
    target,
    margin=0,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """`1 - cos(x1, x2)` where y = 1, `max(0, cos(x1, x2) - margin)` where y = -1, reduced.

    Shapes: inputs (N, D) and target (N,), or (D,) and (). Raises RuntimeError for others.
    """
    reduction = resolve(size_average, reduce, reduction)
    rank = target.dim()
    if rank not in (0, 1):
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if input1.dim() != rank + 1 or input2.dim() != rank + 1:
        raise RuntimeError(
            f"{rank}D target tensor expects {rank + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.size())} and {list(input2.size())}."
        )
    dot = (input1 * input2).sum(rank)
    square1 = (input1 * input1).sum(rank) + 1e-12
    square2 = (input2 * input2).sum(rank) + 1e-12
    cosine = dot / (square1 * square2).sqrt()
    zeros = rushlight.zeros_like(cosine)
    alike = rushlight.where(target == 1, 1 - cosine, zeros)
    unlike = rushlight.where(target == -1, (cosine - margin).clamp_min(0), zeros)
    return _reduce(alike + unlike, reduction)


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """`log(1 + exp(-y x))`, reduced, with y = 1 or -1; any shape."""
    return _p.soft_margin_loss(input, target, reduction=resolve(size_average, reduce, reduction))


def multilabel_soft_margin_loss(
    input, target, weight=None, size_average=None, reduce=None, reduction="mean"
):
    """The mean over classes of `-(y log sigmoid(x) + (1 - y) log sigmoid(-x))`, reduced over
    samples.

    Shapes: input and target (N, C) or (C,); weight broadcasts to them.
    """
    if size_average is not None or reduce is not None:
        reduction = resolve(size_average, reduce, reduction)
    terms = -(target * _p.logsigmoid(input) + (1 - target) * _p.logsigmoid(-input))
    if weight is not None:
        terms = terms * weight
    axis = input.dim() - 1
    losses = terms.sum(dim=axis) / input.size(axis)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not valid")
    return _reduce(losses, reduction)


def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """`sum over targets j and other classes i of max(0, 1 - (x[y_j] - x[i])) / C`, reduced.

    Shapes: input (N, C) or (C,); target the same, of classes, ended by -1.
    """
    reduction = resolve(size_average, reduce, reduction)
    return _p.multilabel_margin_loss(input, target, reduction=reduction)


def multi_margin_loss(
    input,
    target,
    p=1,
    margin=1.0,
    weight=None,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """`sum over i != y of max(0, weight[y] (margin - x[y] + x[i]))^p / C`, reduced.

    Shapes: input (N, C) or (C,); target (N,) or (); weight (C,). Raises ValueError unless p is 1 or
    2.
    """
    reduction = resolve(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError(f"weight must be one-dimensional, got {weight.dim()} dimensions")
    return _p.multi_margin_loss(input, target, p, margin, weight, reduction=reduction)


def _check_triplet(anchor, positive, negative, margin):
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    ranks = anchor.dim(), positive.dim(), negative.dim()
    if len(set(ranks)) != 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {ranks[0]}D, positive {ranks[1]}D, and negative "
            f"{ranks[2]}D inputs"
        )


def _triplet(distance, anchor, positive, negative, margin, swap, reduction):
    """`max(0, margin + d(a, p) - d(a, n))`; with `swap` the nearer of d(a, n) and d(p, n)
    counts."""
    near = distance(anchor, positive)
    far = distance(anchor, negative)
    if swap:
        far = rushlight.minimum(far, distance(positive, negative))
    return _reduce((margin + near - far).clamp_min(0), reduction)


def triplet_margin_loss(
    anchor,
    positive,
    negative,
    margin=1.0,
    p=2,
    eps=1e-6,
    swap=False,
    size_average=None,
    reduce=None,
    reduction="mean",
):
    """`max(0, margin + d(a, p) - d(a, n))` with d the p-norm of the difference, reduced.

    Shapes: (N, D) or (D,) each. `swap` takes the nearer of the two distances to the negative.
    Raises ValueError unless margin > 0. Source: Balntas et al., Learning local feature descriptors
    with triplets (2016).
    """
    reduction = resolve(size_average, reduce, reduction)
    _check_triplet(anchor, positive, negative, margin)

    def distance(x, y):
        return _p.pairwise_distance(x, y, p, eps)

    return _triplet(distance, anchor, positive, negative, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor,
    positive,
    negative,
    *,
    distance_function=None,
    margin=1.0,
    swap=False,
    reduction="mean",
):
    """triplet_margin_loss with a distance of one's own: a function of two tensors; None is
    pairwise_distance."""
    reduction = resolve(None, None, reduction)
    _check_triplet(anchor, positive, negative, margin)
    distance = _p.pairwise_distance if distance_function is None else distance_function
    return _triplet(distance, anchor, positive, negative, margin, swap, reduction)
