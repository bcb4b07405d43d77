"""Continuous relaxations of the one-hot categorical distribution, by Gumbel noise (Maddison, Mnih and Teh 2017; Jang, Gu
and Poole 2017)."""

from __future__ import annotations

import math

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.categorical import Categorical
from rushlight.distributions.distribution import Distribution, ProbsOrLogitsOf
from rushlight.distributions.transformed_distribution import TransformedDistribution
from rushlight.distributions.transforms import ExpTransform
from rushlight.distributions.utils import clamp_probs

__all__ = ["ExpRelaxedCategorical", "RelaxedOneHotCategorical"]


class ExpRelaxedCategorical(ProbsOrLogitsOf, Distribution):
    """Logarithms of RelaxedOneHotCategorical: log softmax((logits + G) / temperature) for Gumbel noise G, all of shape (..., K).

    The density is Gamma(K) temperature^(K - 1) prod_i q_i / (sum_j q_j), with q = exp(logits - temperature x), by the
    appendix of Maddison, Mnih and Teh 2017.
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector  # in truth the vectors whose exponentials sum to one
    has_rsample = True
    _names = ()
    _kept = ("temperature",)

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        self.temperature = temperature
        self._set_categorical(Categorical(probs, logits), validate_args)

    def rsample(self, sample_shape=Size()):
        u = clamp_probs(rushlight.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype, device=self.logits.device))
        return ((self.logits - (-u.log()).log()) / self.temperature).log_softmax(-1)

    def log_prob(self, value):
        self._checked(value)
        k = self._event_shape[0]
        logits, value = rushlight.broadcast_tensors(self.logits, value)
        shares = (logits - value.mul(self.temperature)).log_softmax(-1)
        return shares.sum(-1) + math.lgamma(k) + (k - 1) * rushlight.as_tensor(self.temperature).log()


class RelaxedOneHotCategorical(ProbsOrLogitsOf, TransformedDistribution):
    """Points of the simplex near its corners: the nearer to 0 the temperature, the nearer to one-hot vectors."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex
    has_rsample = True
    _names = ()
    _holder = "base_dist"

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)

    @property
    def temperature(self):
        return self.base_dist.temperature
