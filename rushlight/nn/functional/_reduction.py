"""How a loss is reduced, and the checks that the losses share.

Mechanism: a loss computes its unreduced terms and ends in `reduce(terms, reduction)`, or hands the
reduction's name to a fused op. `legacy` translates the deprecated pair (size_average, reduce).

Invariant: a reduction is one of the strings "none", "mean", "sum"; anything else raises ValueError
here.
"""

import warnings

_NAMES = ("none", "mean", "sum")


def legacy_get_string(size_average, reduce, emit_warning=True):
    """The reduction that the deprecated arguments `size_average` and `reduce` stand for; None means
    True."""
    if reduce is False:
        name = "none"
    else:
        name = "sum" if size_average is False else "mean"
    if emit_warning:
        warnings.warn(
            "size_average and reduce args will be deprecated, please use "
            f"reduction='{name}' instead.",
            stacklevel=3,
        )
    return name


def get_enum(reduction):
    """The number of a reduction: none 0, mean 1, sum 2. Raises ValueError for any other name."""
    return _NAMES.index(check(reduction))


def legacy_get_enum(size_average, reduce, emit_warning=True):
    """As `legacy_get_string`, but the number of the reduction."""
    return get_enum(legacy_get_string(size_average, reduce, emit_warning))


def check(reduction):
    """The reduction itself, if it is one."""
    if reduction in _NAMES:
        return reduction
    if reduction == "elementwise_mean":
        warnings.warn(
            "reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.",
            stacklevel=3,
        )
        return "mean"
    raise ValueError(f"{reduction} is not a valid value for reduction")


def resolve(size_average, reduce, reduction):
    """One checked reduction from a loss's three arguments."""
    if size_average is not None or reduce is not None:
        return legacy_get_string(size_average, reduce)
    return check(reduction)


def reduce(terms, reduction):
    """The unreduced `terms`, their mean or their sum."""
    if reduction == "none":
        return terms
    return terms.mean() if reduction == "mean" else terms.sum()


def warn_broadcast(input, target, stacklevel=3):
    """Warn when a loss's target is about to be broadcast against its input."""
    if target.size() != input.size():
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=stacklevel,
        )
