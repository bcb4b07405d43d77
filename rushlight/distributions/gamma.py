"""The gamma distribution."""

from __future__ import annotations

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.exp_family import ExponentialFamily
from rushlight.distributions.implicit import standard_gamma

__all__ = ["Gamma"]


class Gamma(ExponentialFamily):
    """Shape `concentration`, inverse scale `rate`: x^(c - 1) exp(-rate x) rate^c / Gamma(c) for x >= 0."""

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0
    _names = ("concentration", "rate")

    def __init__(self, concentration, rate, validate_args=None):
        self._set(validate_args, concentration=concentration, rate=rate)

    @property
    def mean(self):
        return self.concentration / self.rate

    @property
    def mode(self):
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self):
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape=Size()):
        shape = self._extended_shape(sample_shape)
        value = standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.detach().clamp_(min=rushlight.finfo(value.dtype).tiny)  # zero would have no density; not recorded
        return value

    def log_prob(self, value):
        value = rushlight.as_tensor(value, dtype=self.rate.dtype, device=self.rate.device)
        self._checked(value)
        return (rushlight.xlogy(self.concentration, self.rate) + rushlight.xlogy(self.concentration - 1, value)
                - self.rate * value - rushlight.lgamma(self.concentration))  # fmt: skip

    def cdf(self, value):
        self._checked(value)
        return rushlight.special.gammainc(self.concentration, self.rate * value)

    def entropy(self):
        c = self.concentration
        return c - rushlight.log(self.rate) + rushlight.lgamma(c) + (1.0 - c) * rushlight.digamma(c)

    @property
    def _natural_params(self):
        return (self.concentration - 1, -self.rate)

    def _log_normalizer(self, x, y):
        return rushlight.lgamma(x + 1) + (x + 1) * rushlight.log(-y.reciprocal())
