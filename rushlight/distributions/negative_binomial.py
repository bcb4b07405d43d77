"""The negative binomial distribution."""

from __future__ import annotations

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.distribution import Distribution, ProbsOrLogits
from rushlight.distributions.gamma import Gamma
from rushlight.distributions.utils import lazy_property
from rushlight.nn.functional import logsigmoid

__all__ = ["NegativeBinomial"]


class NegativeBinomial(ProbsOrLogits, Distribution):
    """Successes, of probability `probs` each, before `total_count` failures (not necessarily a whole number).

    P(k) = Gamma(n + k) / (Gamma(n) k!) (1 - probs)^n probs^k for k = 0, 1, ...: a Poisson variable whose rate is drawn from
    a gamma distribution (Greenwood and Yule 1920), which is how it is sampled.
    """

    arg_constraints = {"total_count": constraints.greater_than_eq(0), "probs": constraints.half_open_interval(0.0, 1.0),
                       "logits": constraints.real}  # fmt: skip
    support = constraints.nonnegative_integer
    _names = ("total_count", "probs", "logits")

    def __init__(self, total_count, probs=None, logits=None, validate_args=None):
        self._set_pair(probs, logits, validate_args, total_count=total_count)
        self.total_count = self.total_count.type_as(self._param)

    @property
    def mean(self):
        return self.total_count * self.logits.exp()

    @property
    def mode(self):
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self):
        return self.mean / rushlight.sigmoid(-self.logits)

    @lazy_property
    def _rates(self):
        """The distribution of the Poisson rate: a gamma distribution of shape n and scale e^logits, not checked since n may be 0."""
        return Gamma(self.total_count, (-self.logits).exp(), validate_args=False)

    def sample(self, sample_shape=Size()):
        with rushlight.no_grad():
            return rushlight.poisson(self._rates.sample(sample_shape))

    def log_prob(self, value):
        self._checked(value)
        n, logits = self.total_count, self.logits
        # -log of the ways to place k successes; none in none: one way
        scarcity = n.lgamma() + (1 + value).lgamma() - (n + value).lgamma()
        scarcity = scarcity.masked_fill(n + value == 0, 0.0)
        return n * logsigmoid(-logits) + value * logsigmoid(logits) - scarcity
