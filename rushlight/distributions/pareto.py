"""The Pareto distribution of the first kind."""

from __future__ import annotations

import math

import rushlight
from rushlight.distributions import constraints
from rushlight.distributions.exponential import Exponential
from rushlight.distributions.transformed_distribution import TransformedDistribution
from rushlight.distributions.transforms import AffineTransform, ExpTransform

__all__ = ["Pareto"]


class Pareto(TransformedDistribution):
    """scale exp(E / alpha) for a standard exponential E: P(X > x) = (scale / x)^alpha for x >= scale."""

    arg_constraints = {"alpha": constraints.positive, "scale": constraints.positive}
    _names = ("scale", "alpha")

    def __init__(self, scale, alpha, validate_args=None):
        self._keep(scale=scale, alpha=alpha)
        base = Exponential(self.alpha, validate_args=validate_args)
        super().__init__(base, [ExpTransform(), AffineTransform(0, self.scale)], validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        return constraints.greater_than_eq(self.scale)

    def _above(self, least, moment):
        """`moment`, infinite unless alpha exceeds `least`."""
        return rushlight.where(self.alpha > least, moment, math.inf)

    @property
    def mean(self):
        return self._above(1, self.alpha * self.scale / (self.alpha - 1))

    @property
    def mode(self):
        return self.scale

    @property
    def variance(self):
        a = self.alpha
        return self._above(2, self.scale.pow(2) * a / ((a - 1).pow(2) * (a - 2)))

    def entropy(self):
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())
