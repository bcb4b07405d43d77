"""The Dirichlet distribution."""

from __future__ import annotations

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.exp_family import ExponentialFamily
from rushlight.distributions.implicit import standard_dirichlet

__all__ = ["Dirichlet"]


class Dirichlet(ExponentialFamily):
    """Probability vectors with density prod x_i^(c_i - 1) / B(c); concentration of shape (..., K)."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True
    _names = ("concentration",)

    def __init__(self, concentration, validate_args=None):
        if concentration.dim() < 1:
            raise ValueError(f"`concentration` must be at least one-dimensional, of shape (..., K): found a scalar, {concentration}.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    def rsample(self, sample_shape=Size()):
        return standard_dirichlet(self.concentration.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value):
        self._checked(value)
        c = self.concentration
        return rushlight.xlogy(c - 1.0, value).sum(-1) + rushlight.lgamma(c.sum(-1)) - rushlight.lgamma(c).sum(-1)

    @property
    def mean(self):
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self):
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        corner = (self.concentration < 1).all(dim=-1)  # then the density is highest in the largest one's corner
        most = rushlight.nn.functional.one_hot(mode[corner].argmax(dim=-1), self.concentration.shape[-1])
        mode[corner] = most.to(mode)
        return mode

    @property
    def variance(self):
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def entropy(self):
        c, k = self.concentration, self.concentration.size(-1)
        total = c.sum(-1)
        return (rushlight.lgamma(c).sum(-1) - rushlight.lgamma(total) - (k - total) * rushlight.digamma(total)
                - ((c - 1.0) * rushlight.digamma(c)).sum(-1))  # fmt: skip

    @property
    def _natural_params(self):
        return (self.concentration,)

    def _log_normalizer(self, x):
        return x.lgamma().sum(-1) - rushlight.lgamma(x.sum(-1))
