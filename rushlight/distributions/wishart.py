"""The Wishart distribution of sample covariances.

Mechanism. Sampled by Bartlett's decomposition (1933): L A A^T L^T, where A is lower triangular with the roots of
chi-squared variables of df, df - 1, ... on its diagonal and standard normals below it.

Invariant: the stream of random numbers is PyTorch's, which draws anew, up to three times, in place of the first draws that
are positive definite.
"""

from __future__ import annotations

import math
import warnings

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.chi2 import Chi2
from rushlight.distributions.exp_family import ExponentialFamily
from rushlight.distributions.triangular import CovarianceGiven, half_log_det
from rushlight.distributions.utils import vec_to_tril_matrix

__all__ = ["Wishart"]


class Wishart(CovarianceGiven, ExponentialFamily):
    """Sums of df products x x^T for x from a normal distribution of mean 0: positive definite matrices (..., n, n).

    df > n - 1, not necessarily a whole number, and one of `covariance_matrix`, `precision_matrix`, `scale_tril`
    (..., n, n). ValueError for a df that is too small and for vectors in the place of matrices.
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0
    _names = ("df", "covariance_matrix", "precision_matrix", "scale_tril")
    _kept = ("_unbroadcasted_scale_tril",)

    def __init__(self, df, covariance_matrix=None, precision_matrix=None, scale_tril=None, validate_args=None):
        given = self._given(covariance_matrix=covariance_matrix, precision_matrix=precision_matrix, scale_tril=scale_tril)
        if len(given) != 1:
            raise AssertionError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified: "
                                 f"found {[name for name, _ in given]}.")  # fmt: skip
        ((name, matrix),) = given
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, of shape (..., n, n): found {tuple(matrix.shape)}.")
        n = matrix.shape[-1]
        df = rushlight.as_tensor(df, dtype=None if isinstance(df, rushlight.Tensor) else matrix.dtype, device=matrix.device)
        batch_shape = rushlight.broadcast_shapes(df.shape, matrix.shape[:-2])
        self.df = df.expand(batch_shape)
        if self.df.le(n - 1).any():
            raise ValueError(f"Expected df greater than n - 1 = {n - 1} for matrices {n} x {n}: found df={df}.")
        setattr(self, name, matrix.expand(batch_shape + (n, n)))
        if self.df.lt(n).any():
            warnings.warn(f"Low df values detected: draws are likely to be singular for {n - 1} < df < {n}.", stacklevel=2)
        super().__init__(batch_shape, Size((n, n)), validate_args=validate_args)
        self._take_factor(name, matrix)
        self._squares = Chi2(self.df.unsqueeze(-1) - rushlight.arange(n, dtype=self.df.dtype, device=self.df.device))

    def _expanded(self, new, batch_shape):
        new._squares = self._squares.expand(batch_shape + self._event_shape[-1:])

    @property
    def arg_constraints(self):
        return {"covariance_matrix": constraints.positive_definite, "precision_matrix": constraints.positive_definite,
                "scale_tril": constraints.lower_cholesky, "df": constraints.greater_than(self._event_shape[-1] - 1)}  # fmt: skip

    @property
    def _n(self):
        return self._event_shape[-1]

    def _spread(self, values):
        """Values (...) of the batch as (..., 1, 1)."""
        return values.view(self._batch_shape + (1, 1))

    @property
    def mean(self):
        return self._spread(self.df) * self.covariance_matrix

    @property
    def mode(self):
        factor = self.df - self._n - 1  # not positive: the density has no maximum inside
        return self._spread(rushlight.where(factor > 0, factor, math.nan)) * self.covariance_matrix

    @property
    def variance(self):
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        return self._spread(self.df) * (v.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def _draw(self, sample_shape):
        diagonal = self._squares.rsample(sample_shape).sqrt().diag_embed()
        shape = Size(sample_shape) + self._batch_shape + (self._n * (self._n - 1) // 2,)
        below = rushlight.randn(shape, dtype=self.df.dtype, device=self.df.device)
        root = self._unbroadcasted_scale_tril @ (diagonal + vec_to_tril_matrix(below, diag=-1))
        return root @ root.mT

    def _definite(self, draws):
        """For every place of the sample shape, whether any matrix of its batch is positive definite."""
        check = self.support.check(draws)
        return check.reshape(check.shape[: check.dim() - len(self._batch_shape)] + (-1,)).any(-1)

    def rsample(self, sample_shape=Size()):
        drawn = self._draw(Size(sample_shape))
        again = self._definite(drawn)
        for _ in range(3):
            if not again.any():
                break
            new = self._draw(Size((int(again.sum()),)))
            drawn[again] = new
            again[again.clone()] = ~self._definite(new)
        return drawn

    def log_prob(self, value):
        self._checked(value)
        n, half, factor = self._n, self.df / 2, self._unbroadcasted_scale_tril
        trace = rushlight.cholesky_solve(value, factor).diagonal(dim1=-2, dim2=-1).sum(-1)
        log_det = rushlight.linalg.slogdet(value).logabsdet
        normaliser = self.df * half_log_det(factor) + n * half * math.log(2) + half.mvlgamma(n)
        return (half - (n + 1) / 2) * log_det - trace / 2 - normaliser

    def entropy(self):
        n, half = self._n, self.df / 2
        digammas = sum((half - 0.5 * i).digamma() for i in range(n))  # the derivative of log Gamma_n
        return ((n + 1) * half_log_det(self._unbroadcasted_scale_tril) + n * (n + 1) / 2 * math.log(2) + half.mvlgamma(n)
                - (half - (n + 1) / 2) * digammas + n * half)  # fmt: skip

    @property
    def _natural_params(self):
        return (-0.5 * self.precision_matrix, 0.5 * (self.df - self._n - 1))

    def _log_normalizer(self, x, y):
        half = y + (self._n + 1) / 2
        return half.mvlgamma(self._n) - half * rushlight.linalg.slogdet(-x).logabsdet
