"""The generalised Pareto distribution of excesses over a threshold (Hosking and Wallis 1987).

Mechanism. With z = (x - loc) / scale the survival function is (1 + c z)^(-1/c), which tends to exp(-z) for c = 0; there
the quotients are taken at c = 1 and not used, so that their gradients stay finite.
"""

from __future__ import annotations

import math

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.distribution import Distribution

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """Threshold `loc`, `scale` and shape `concentration` c; the support ends at loc - scale / c where c < 0."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True
    _names = ("loc", "scale", "concentration")

    def __init__(self, loc, scale, concentration, validate_args=None):
        self._set(validate_args, loc=loc, scale=scale, concentration=concentration)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        end = self.loc - self.scale / self.concentration
        return constraints.interval(self.loc, rushlight.where(self.concentration < 0, end, math.inf))

    def _shape(self):
        """Where the distribution is exponential, and the shape with 1 there."""
        exponential = rushlight.isclose(self.concentration, rushlight.zeros_like(self.concentration))
        return exponential, rushlight.where(exponential, 1.0, self.concentration)

    def _hazard(self, value):
        """-log P(X > value)."""
        exponential, c = self._shape()
        z = (value - self.loc) / self.scale
        return rushlight.where(exponential, z, (c * z).log1p() / c)

    def rsample(self, sample_shape=Size()):
        u = rushlight.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.icdf(u)

    def log_prob(self, value):
        self._checked(value)
        hazard = self._hazard(value)
        return -self.scale.log() - (1 + self.concentration * ~self._shape()[0]) * hazard

    def log_survival_function(self, value):
        """log P(X > value)."""
        self._checked(value)
        return -self._hazard(value)

    def log_cdf(self, value):
        """log P(X <= value)."""
        return (-self.log_survival_function(value).exp()).log1p()

    def cdf(self, value):
        return self.log_cdf(value).exp()

    def icdf(self, value):
        exponential, c = self._shape()
        hazard = -(-value).log1p()
        return self.loc + self.scale * rushlight.where(exponential, hazard, (c * hazard).expm1() / c)

    @property
    def mean(self):
        c = rushlight.where(self.concentration < 1, self.concentration, math.nan)
        return self.loc + self.scale / (1 - c)

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        c = rushlight.where(self.concentration < 0.5, self.concentration, math.nan)
        return self.scale.pow(2) / ((1 - c).pow(2) * (1 - 2 * c))

    def entropy(self):
        return (1 + self.scale.log() + self.concentration).expand(self._batch_shape)
