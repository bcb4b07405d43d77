"""The Fisher-Snedecor (F) distribution."""

from __future__ import annotations

import math

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.gamma import Gamma

__all__ = ["FisherSnedecor"]


class FisherSnedecor(Distribution):
    """The ratio (X1 / df1) / (X2 / df2) of two independent chi-squared variables of df1 and df2 degrees of freedom.

    With r = df1 / df2 the density is r^(df1/2) x^(df1/2 - 1) (1 + r x)^(-(df1 + df2)/2) / B(df1/2, df2/2).
    """

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True
    _names = ("df1", "df2")

    def __init__(self, df1, df2, validate_args=None):
        batch_shape = self._keep(df1=df1, df2=df2)
        self._above, self._below = (Gamma(df * 0.5, df) for df in (self.df1, self.df2))
        super().__init__(batch_shape, validate_args=validate_args)

    def _expanded(self, new, batch_shape):
        new._above, new._below = self._above.expand(batch_shape), self._below.expand(batch_shape)

    @property
    def mean(self):
        d2 = rushlight.where(self.df2 > 2, self.df2, math.nan)
        return d2 / (d2 - 2)

    @property
    def mode(self):
        shrink = (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2)
        return rushlight.where(self.df1 > 2, shrink, math.nan)

    @property
    def variance(self):
        d1, d2 = self.df1, rushlight.where(self.df2 > 4, self.df2, math.nan)
        return 2 * d2.pow(2) * (d1 + d2 - 2) / (d1 * (d2 - 2).pow(2) * (d2 - 4))

    def rsample(self, sample_shape=Size()):
        above = self._above.rsample(Size(sample_shape))
        below = self._below.rsample(Size(sample_shape))
        tiny = rushlight.finfo(above.dtype).tiny
        return (above / below.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value):
        self._checked(value)
        a, b, ratio = self.df1 / 2, self.df2 / 2, self.df1 / self.df2
        log_beta = a.lgamma() + b.lgamma() - (a + b).lgamma()
        return a * ratio.log() + (a - 1) * value.log() - (a + b) * (ratio * value).log1p() - log_beta
