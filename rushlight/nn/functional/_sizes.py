"""Sizes as PyTorch takes them: one number for all dimensions, or one for each.

Invariant: nothing here looks at values; negative or zero sizes are for the operation to refuse.
"""

from collections.abc import Iterable


def ntuple(value, n):
    """`value` as it is if it is a sequence (as a tuple), else repeated `n` times."""
    if isinstance(value, Iterable) and not isinstance(value, str):
        return tuple(value)
    return (value,) * n


def with_default(sizes, defaults):
    """Output `sizes` with each None replaced by the input's own, `defaults` being the input's
    shape."""
    if isinstance(sizes, int):
        return sizes
    sizes = list(sizes)
    if len(defaults) <= len(sizes):
        raise ValueError(f"Input dimension should be at least {len(sizes) + 1}")
    own = list(defaults)[-len(sizes) :] if sizes else []
    return [mine if size is None else size for size, mine in zip(sizes, own)]
