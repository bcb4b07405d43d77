"""The multivariate normal distribution whose covariance is a matrix of low rank plus a diagonal one.

Mechanism. For the covariance W W^T + D, with W (n, m) and D diagonal, only C = I + W^T D^-1 W (m, m) is factored
(Woodbury 1950): the inverse is D^-1 - D^-1 W C^-1 W^T D^-1 and the determinant det(C) det(D).
"""

from __future__ import annotations

import math

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.triangular import half_log_det, matvec, solve_lower
from rushlight.distributions.utils import _standard_normal, lazy_property

__all__ = ["LowRankMultivariateNormal"]


def _with_one_on_the_diagonal(matrix):
    """matrix + I."""
    return matrix + rushlight.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


class LowRankMultivariateNormal(Distribution):
    """Mean `loc` (..., n) and covariance cov_factor cov_factor^T + diag(cov_diag).

    cov_factor has shape (..., n, m) and cov_diag (..., n), positive. ValueError where the shapes do not fit.
    """

    arg_constraints = {"loc": constraints.real_vector, "cov_factor": constraints.independent(constraints.real, 2),
                       "cov_diag": constraints.independent(constraints.positive, 1)}  # fmt: skip
    support = constraints.real_vector
    has_rsample = True
    _names = ("loc", "cov_factor", "cov_diag")
    _kept = ("_w", "_d", "_small")

    def __init__(self, loc, cov_factor, cov_diag, validate_args=None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional: found a scalar, expected shape (..., n).")
        n = loc.shape[-1]
        if cov_factor.dim() < 2:
            raise ValueError(f"cov_factor must be at least two-dimensional, of shape (..., {n}, m): found {tuple(cov_factor.shape)}.")
        if cov_factor.shape[-2] != n:
            raise ValueError(f"cov_factor must be a batch of matrices with shape {n} x m: found {tuple(cov_factor.shape)}.")
        if cov_diag.shape[-1:] != (n,):
            raise ValueError(f"cov_diag must be a batch of vectors with shape ({n},): found {tuple(cov_diag.shape)}.")
        try:
            batch_shape = rushlight.broadcast_shapes(loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1])
        except RuntimeError as e:
            raise ValueError(f"Incompatible batch shapes: loc {tuple(loc.shape[:-1])}, cov_factor {tuple(cov_factor.shape[:-2])}, "
                             f"cov_diag {tuple(cov_diag.shape[:-1])}.") from e  # fmt: skip
        self.loc = loc.expand(batch_shape + (n,))
        self.cov_factor = cov_factor.expand(batch_shape + cov_factor.shape[-2:])
        self.cov_diag = cov_diag.expand(batch_shape + (n,))
        # as given: what follows from them need not be computed once for every place of the batch
        self._w, self._d = cov_factor, cov_diag
        self._small = rushlight.linalg.cholesky(_with_one_on_the_diagonal(self._scaled().mT @ cov_factor))
        super().__init__(batch_shape, Size((n,)), validate_args=validate_args)

    def _scaled(self):
        """D^-1 W."""
        return self._w / self._d.unsqueeze(-1)

    def _everywhere(self, matrix):
        return matrix.expand(self._batch_shape + self._event_shape + self._event_shape)

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @lazy_property
    def variance(self):
        return (self._w.pow(2).sum(-1) + self._d).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def scale_tril(self):
        """The lower factor of the covariance: D^(1/2) times that of I + D^(-1/2) W W^T D^(-1/2), which is better conditioned."""
        root = self._d.sqrt().unsqueeze(-1)
        scaled = self._w / root
        return self._everywhere(root * rushlight.linalg.cholesky(_with_one_on_the_diagonal(scaled @ scaled.mT)))

    @lazy_property
    def covariance_matrix(self):
        """W W^T + D."""
        return self._everywhere(self._w @ self._w.mT + self._d.diag_embed())

    @lazy_property
    def precision_matrix(self):
        """D^-1 - A^T A with A = chol(C)^-1 W^T D^-1."""
        half = solve_lower(self._small, self._scaled().mT)
        return self._everywhere(self._d.reciprocal().diag_embed() - half.mT @ half)

    def rsample(self, sample_shape=Size()):
        shape = self._extended_shape(sample_shape)
        kind = {"dtype": self.loc.dtype, "device": self.loc.device}
        shared = _standard_normal(shape[:-1] + self.cov_factor.shape[-1:], **kind)
        own = _standard_normal(shape, **kind)
        return self.loc + matvec(self._w, shared) + self._d.sqrt() * own

    def log_prob(self, value):
        self._checked(value)
        distance = self._whitened((value - self.loc).unsqueeze(-1))
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - self._half_log_det()

    def _half_log_det(self):
        return half_log_det(self._small) + 0.5 * self._d.log().sum(-1)

    def _roots(self):
        """Matrices M whose M M^T add up to the covariance."""
        return [self._w, self._d.sqrt().diag_embed()]

    def _whitened(self, columns):
        """tr(B^T covariance^-1 B) for columns B (..., n, k)."""
        diagonal = (columns.pow(2) / self._d.unsqueeze(-1)).sum((-2, -1))
        return diagonal - solve_lower(self._small, self._scaled().mT @ columns).pow(2).sum((-2, -1))

    def entropy(self):
        out = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._half_log_det()
        return out if len(self._batch_shape) == 0 else out.expand(self._batch_shape)
