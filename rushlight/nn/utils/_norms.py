"""The arithmetic that both weight normalizations and both spectral normalizations share."""

from __future__ import annotations

import rushlight


def norm_except(v, dim):
    """The 2-norm of `v` over every dimension but `dim`, which stays; over all when dim is -1.

    Shape: (1, ..., size(dim), ..., 1), or () for all.
    """
    if dim == -1:
        return rushlight.linalg.vector_norm(v)
    others = [d for d in range(v.dim()) if d != dim % v.dim()]
    if not others:  # one dimension, kept: the norm of single values
        return v.abs()
    return rushlight.linalg.vector_norm(v, 2, others, keepdim=True)


def scaled_direction(v, g, dim):
    """g * v / |v|, the norm over every dimension but `dim` (Salimans and Kingma, 2016)."""
    return v * (g / norm_except(v, dim))


def as_matrix(weight, dim):
    """`weight` with `dim` first and the others flattened: (size(dim), rest)."""
    if dim != 0:
        weight = weight.permute(dim, *[d for d in range(weight.dim()) if d != dim])
    return weight.reshape(weight.size(0), -1)


def default_dim(module):
    """The output dimension of a module's weight: 1 for transposed convolutions, else 0."""
    return 1 if getattr(module, "transposed", False) else 0


def require_positive(n_power_iterations):
    if n_power_iterations <= 0:
        raise ValueError(
            "Expected n_power_iterations to be positive, but got "
            f"n_power_iterations={n_power_iterations}"
        )
