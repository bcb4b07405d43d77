"""Triangular factors: what the distributions with covariance matrices share.

Invariant: factors are lower triangular, of shape (..., n, n), and keep only the batch dimensions that were given; vectors
(..., n) may have more in front.
"""

from __future__ import annotations

import rushlight
from rushlight.distributions.utils import lazy_property

__all__ = ["matvec", "factor_of_inverse", "half_log_det", "solve_lower", "CovarianceGiven"]


def matvec(matrix, vector):
    """Matrices (..., n, m) times vectors (..., m)."""
    return rushlight.matmul(matrix, vector.unsqueeze(-1)).squeeze(-1)


def solve_lower(factor, columns):
    """L^-1 B for lower triangular L (..., n, n) and columns B (..., n, k); their batches broadcast."""
    batch = rushlight.broadcast_shapes(factor.shape[:-2], columns.shape[:-2])
    return rushlight.linalg.solve_triangular(factor, columns.expand(batch + columns.shape[-2:]), upper=False)


def half_log_det(factor):
    """log det(L L^T) / 2: the logarithms of the diagonal, summed."""
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def factor_of_inverse(matrix):
    """The lower factor of the inverse of a positive definite matrix.

    Read from the last row and column to the first, matrix = L L^T turns into U U^T with U upper triangular, whose
    inverse, transposed, is the factor.
    """
    backwards = rushlight.linalg.cholesky(matrix.flip((-2, -1))).flip((-2, -1))
    eye = rushlight.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return solve_lower(backwards.mT, eye)


class CovarianceGiven:
    """Mixin for distributions given by one of `covariance_matrix`, `precision_matrix`, `scale_tril` (..., n, n).

    The other two are computed on demand from `_unbroadcasted_scale_tril`, the factor without the dimensions over which
    the matrix given was repeated.
    """

    @staticmethod
    def _given(**matrices):
        """[(name, matrix)] of those that are not None: one, where the caller is right."""
        return [(name, m) for name, m in matrices.items() if m is not None]

    def _take_factor(self, name, matrix):
        if name == "scale_tril":
            factor = matrix
        elif name == "covariance_matrix":
            factor = rushlight.linalg.cholesky(matrix)
        else:
            factor = factor_of_inverse(matrix)
        self._unbroadcasted_scale_tril = factor

    def _everywhere(self, matrix):
        return matrix.expand(self._batch_shape + self._unbroadcasted_scale_tril.shape[-2:])

    @lazy_property
    def scale_tril(self):
        """The lower factor L of the covariance L L^T."""
        return self._everywhere(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self):
        """L L^T."""
        factor = self._unbroadcasted_scale_tril
        return self._everywhere(factor @ factor.mT)

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance."""
        return self._everywhere(rushlight.cholesky_inverse(self._unbroadcasted_scale_tril))
