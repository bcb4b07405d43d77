"""The losses and samplers that torch has at its top: those of nn.functional with numbers for the words.

`reduction` is 0 for each term, 1 for the mean, 2 for the sum; modes of grid sampling are 0, 1, 2 in the order of their
names. (Bound methods of C++ in PyTorch, which is why their arguments differ from nn.functional's.)
"""

import rushlight
from rushlight.nn import functional as F

_REDUCTIONS = ("none", "mean", "sum")
_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _word(name, number, words):
    if not isinstance(number, int) or not 0 <= number < len(words):
        raise ValueError(f"{number!r} is not a valid value for {name}: write {', '.join(f'{i} ({w})' for i, w in enumerate(words))}")
    return words[number]


def kl_div(input, target, reduction=1, *, log_target=False):
    """Pointwise Kullback-Leibler divergence from log probabilities `input` to `target`; see nn.functional.kl_div."""
    terms = F.kl_div(input, target, reduction="none", log_target=log_target)
    reduction = _word("reduction", reduction, _REDUCTIONS)
    return terms if reduction == "none" else getattr(terms, reduction)()


def cosine_embedding_loss(input1, input2, target, margin=0.0, reduction=1):
    """1 - cos for pairs that are alike, max(0, cos - margin) for others; see nn.functional.cosine_embedding_loss."""
    return F.cosine_embedding_loss(input1, input2, target, margin, reduction=_word("reduction", reduction, _REDUCTIONS))


def hinge_embedding_loss(input, target, margin=1.0, reduction=1):
    """x where the target is 1, max(0, margin - x) where it is -1; see nn.functional.hinge_embedding_loss."""
    return F.hinge_embedding_loss(input, target, margin, reduction=_word("reduction", reduction, _REDUCTIONS))


def margin_ranking_loss(input1, input2, target, margin=0.0, reduction=1):
    """max(0, -y (x1 - x2) + margin); see nn.functional.margin_ranking_loss."""
    return F.margin_ranking_loss(input1, input2, target, margin, reduction=_word("reduction", reduction, _REDUCTIONS))


def poisson_nll_loss(input, target, log_input, full, eps, reduction):
    """Negative log likelihood of counts; see nn.functional.poisson_nll_loss."""
    return F.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_word("reduction", reduction, _REDUCTIONS))


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False, reduction=1):
    """max(0, margin + d(a, p) - d(a, n)); see nn.functional.triplet_margin_loss."""
    return F.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=_word("reduction", reduction, _REDUCTIONS))


def _grid_sampler(name, dims):
    def sampler(input, grid, interpolation_mode, padding_mode, align_corners):
        if input.dim() != dims:
            raise RuntimeError(f"{name}(): expected {dims}D input and grid, but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}")
        mode, padding = _word("interpolation_mode", interpolation_mode, _MODES), _word("padding_mode", padding_mode, _PADDINGS)
        return F.grid_sample(input, grid, mode, padding, align_corners)

    sampler.__name__ = sampler.__qualname__ = name
    sampler.__doc__ = f"nn.functional.grid_sample for {dims}-d input, with numbers for its modes."
    return sampler


grid_sampler_2d, grid_sampler_3d = _grid_sampler("grid_sampler_2d", 4), _grid_sampler("grid_sampler_3d", 5)


def norm_except_dim(v, pow=2, dim=0):
    """The norm of `v` over all dimensions but `dim`, which keeps its size; the norm of everything where dim is -1."""
    if dim == -1:
        return v.norm(pow)
    rows = v.transpose(0, dim).reshape(v.shape[dim], -1).norm(pow, 1)
    return rows.reshape([-1 if d == dim % v.dim() else 1 for d in range(v.dim())])


__all__ = [
    "cosine_embedding_loss", "grid_sampler_2d", "grid_sampler_3d", "hinge_embedding_loss", "kl_div", "margin_ranking_loss", "norm_except_dim",
    "poisson_nll_loss", "triplet_margin_loss",
]  # fmt: skip
rushlight.overrides.overridable({n: globals()[n] for n in __all__}, "torch")
for _n in __all__:
    globals()[_n].__module__ = "rushlight"
