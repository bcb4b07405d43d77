"""Student's t distribution."""

from __future__ import annotations

import math

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.chi2 import Chi2
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.utils import _standard_normal

__all__ = ["StudentT"]


class StudentT(Distribution):
    """loc + scale X / sqrt(Z / df) for a standard normal X and Z from Chi2(df)."""

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True
    _names = ("df", "loc", "scale")

    def __init__(self, df, loc=0.0, scale=1.0, validate_args=None):
        self._set(validate_args, df=df, loc=loc, scale=scale)
        self._chi2 = Chi2(self.df)

    def _expanded(self, new, batch_shape):
        new._chi2 = self._chi2.expand(batch_shape)

    @property
    def mean(self):
        return rushlight.where(self.df <= 1, math.nan, self.loc)

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        finite = self.scale.pow(2) * self.df / (self.df - 2)
        spread = rushlight.where(self.df > 2, finite, math.inf)
        return rushlight.where(self.df <= 1, math.nan, spread)

    def rsample(self, sample_shape=Size()):
        x = _standard_normal(self._extended_shape(sample_shape), dtype=self.df.dtype, device=self.df.device)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * rushlight.rsqrt(z / self.df))

    def log_prob(self, value):
        self._checked(value)
        y, df = (value - self.loc) / self.scale, self.df
        normaliser = (self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi)
                      + rushlight.lgamma(0.5 * df) - rushlight.lgamma(0.5 * (df + 1.0)))  # fmt: skip
        return -0.5 * (df + 1.0) * rushlight.log1p(y**2.0 / df) - normaliser

    def entropy(self):
        df = self.df
        log_beta = rushlight.lgamma(0.5 * df) + math.lgamma(0.5) - rushlight.lgamma(0.5 * (df + 1))
        return (self.scale.log() + 0.5 * (df + 1) * (rushlight.digamma(0.5 * (df + 1)) - rushlight.digamma(0.5 * df))
                + 0.5 * df.log() + log_beta)  # fmt: skip
