"""The multivariate normal distribution."""

from __future__ import annotations

import math

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.triangular import CovarianceGiven, half_log_det, matvec, solve_lower
from rushlight.distributions.utils import _standard_normal

__all__ = ["MultivariateNormal"]


class MultivariateNormal(CovarianceGiven, Distribution):
    """Mean `loc` (..., n) and one of `covariance_matrix`, `precision_matrix`, `scale_tril` (..., n, n)."""

    arg_constraints = {"loc": constraints.real_vector, "covariance_matrix": constraints.positive_definite,
                       "precision_matrix": constraints.positive_definite, "scale_tril": constraints.lower_cholesky}  # fmt: skip
    support = constraints.real_vector
    has_rsample = True
    _names = ("loc", "covariance_matrix", "precision_matrix", "scale_tril")
    _kept = ("_unbroadcasted_scale_tril",)

    def __init__(self, loc, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional: found a scalar, expected shape (..., n).")
        given = self._given(scale_tril=scale_tril, covariance_matrix=covariance_matrix, precision_matrix=precision_matrix)
        if len(given) != 1:
            raise ValueError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified: "
                             f"found {[name for name, _ in given]}.")  # fmt: skip
        ((name, matrix),) = given
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, of shape (..., n, n): found {tuple(matrix.shape)}.")
        batch_shape = rushlight.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand(batch_shape + matrix.shape[-2:]))
        self.loc = loc.expand(batch_shape + loc.shape[-1:])
        super().__init__(batch_shape, self.loc.shape[-1:], validate_args=validate_args)
        self._take_factor(name, matrix)

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        return self._unbroadcasted_scale_tril.pow(2).sum(-1).expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape=Size()):
        eps = _standard_normal(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + matvec(self._unbroadcasted_scale_tril, eps)

    def log_prob(self, value):
        self._checked(value)
        distance = self._whitened((value - self.loc).unsqueeze(-1))
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - self._half_log_det()

    def _half_log_det(self):
        return half_log_det(self._unbroadcasted_scale_tril)

    def _roots(self):
        """Matrices M whose M M^T add up to the covariance."""
        return [self._unbroadcasted_scale_tril]

    def _whitened(self, columns):
        """tr(B^T covariance^-1 B) for columns B (..., n, k)."""
        return solve_lower(self._unbroadcasted_scale_tril, columns).pow(2).sum((-2, -1))

    def entropy(self):
        out = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()
        return out if len(self._batch_shape) == 0 else out.expand(self._batch_shape)
