"""Helpers that the distributions share: broadcasting of parameters, probs and logits, attributes computed on demand.

Invariant: parameters given as Python numbers take the dtype and device of the first tensor beside them, or the default
dtype where all are numbers.
"""

from __future__ import annotations

from functools import update_wrapper
from numbers import Number

import rushlight
from rushlight import Tensor

__all__ = ["broadcast_all", "logits_to_probs", "clamp_probs", "probs_to_logits", "lazy_property", "tril_matrix_to_vec",
           "vec_to_tril_matrix"]  # fmt: skip

euler_constant = 0.57721566490153286060


def broadcast_all(*values):
    """Tensors of one common shape from numbers and tensors.

    Numbers become tensors of the first tensor's dtype and device (the default dtype if there is none).
    Raises ValueError for anything that is neither.
    """
    if not all(isinstance(v, (Tensor, Number)) for v in values):
        raise ValueError(f"Parameters are Numbers or Tensors: found {[type(v).__name__ for v in values]}.")  # fmt: skip
    first = next((v for v in values if isinstance(v, Tensor)), None)
    like = {"dtype": rushlight.get_default_dtype()} if first is None else {"dtype": first.dtype, "device": first.device}
    return rushlight.broadcast_tensors(*(v if isinstance(v, Tensor) else rushlight.tensor(v, **like) for v in values))


# the next two have an underscore in PyTorch as well, and programs import them nevertheless


def _standard_normal(shape, dtype, device):
    return rushlight.normal(rushlight.zeros(shape, dtype=dtype, device=device), rushlight.ones(shape, dtype=dtype, device=device))


def _sum_rightmost(value, dim):
    """Sum over the last `dim` dimensions."""
    return value.reshape(value.shape[:-dim] + (-1,)).sum(-1) if dim else value


def logits_to_probs(logits, is_binary=False):
    """Probabilities from log odds (`is_binary`) or from unnormalised log probabilities along the last dimension."""
    return rushlight.sigmoid(logits) if is_binary else rushlight.softmax(logits, dim=-1)


def clamp_probs(probs):
    """Probabilities moved into [eps, 1 - eps] of their dtype, so that their logarithms are finite."""
    eps = rushlight.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs, is_binary=False):
    """The inverse of `logits_to_probs`, on clamped probabilities."""
    clamped = clamp_probs(probs)
    return rushlight.log(clamped) - rushlight.log1p(-clamped) if is_binary else rushlight.log(clamped)


class lazy_property:  # noqa: N801
    """An attribute computed on first use, with gradient recording on, and kept in the instance from then on."""

    def __init__(self, wrapped):
        self.wrapped = wrapped
        update_wrapper(self, wrapped)

    def __get__(self, instance, obj_type=None):
        if instance is None:
            return _DocumentedAttribute(self.wrapped)
        with rushlight.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


class _DocumentedAttribute(lazy_property, property):
    """What the class shows for such an attribute: documentation tools see a property, validation a lazy one."""

    def __init__(self, wrapped):
        property.__init__(self, wrapped)


def tril_matrix_to_vec(mat, diag=0):
    """The entries on and below diagonal `diag` of matrices (..., D, D), row by row, as vectors."""
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ValueError(f"Expected a diag of {n} x {n} matrices, from {-n} to {n - 1}: found {diag}.")
    steps = rushlight.arange(n, device=mat.device)
    return mat[..., steps < steps.view(-1, 1) + (diag + 1)]


def vec_to_tril_matrix(vec, diag=0):
    """The inverse of `tril_matrix_to_vec`: matrices (..., D, D) with zeros above diagonal `diag`."""
    # D(D + 1) / 2 entries on and below the main diagonal, D more or fewer for each diagonal beyond it
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * vec.shape[-1] + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if round(n) - n > rushlight.finfo(vec.dtype).eps:
        raise ValueError(f"No lower triangular part of a square matrix, with diag={diag}, has {vec.shape[-1]} entries, the size of the "
                         "last dimension.")  # fmt: skip
    n = round(n)
    out = rushlight.zeros(vec.shape[:-1] + (n, n), dtype=vec.dtype, device=vec.device)
    steps = rushlight.arange(n, device=vec.device)
    out[..., steps < steps.view(-1, 1) + (diag + 1)] = vec
    return out
