"""The Gumbel distribution of greatest values."""

from __future__ import annotations

import math

import rushlight
from rushlight.distributions import constraints
from rushlight.distributions.transformed_distribution import TransformedDistribution
from rushlight.distributions.transforms import AffineTransform, ExpTransform
from rushlight.distributions.uniform import Uniform
from rushlight.distributions.utils import euler_constant

__all__ = ["Gumbel"]


class Gumbel(TransformedDistribution):
    """loc - scale log(-log U) for U uniform on (0, 1): P(X <= x) = exp(-exp(-(x - loc) / scale))."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    _names = ("loc", "scale")

    def __init__(self, loc, scale, validate_args=None):
        self._keep(loc=loc, scale=scale)
        info = rushlight.finfo(self.loc.dtype)  # neither logarithm may be infinite
        base = Uniform(rushlight.full_like(self.loc, info.tiny), rushlight.full_like(self.loc, 1 - info.eps), validate_args=validate_args)
        log, minus = ExpTransform().inv, AffineTransform(0, -rushlight.ones_like(self.scale))
        super().__init__(base, [log, minus, log, AffineTransform(self.loc, -self.scale)], validate_args=validate_args)

    def log_prob(self, value):
        self._checked(value)
        z = (self.loc - value) / self.scale
        return z - z.exp() - self.scale.log()

    @property
    def mean(self):
        return self.loc + self.scale * euler_constant

    @property
    def mode(self):
        return self.loc

    @property
    def stddev(self):
        return (math.pi / math.sqrt(6)) * self.scale

    @property
    def variance(self):
        return self.stddev.pow(2)

    def entropy(self):
        return self.scale.log() + (1 + euler_constant)
