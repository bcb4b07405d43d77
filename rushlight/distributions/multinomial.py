"""The multinomial distribution."""

from __future__ import annotations

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.binomial import Binomial
from rushlight.distributions.categorical import Categorical
from rushlight.distributions.distribution import Distribution, ProbsOrLogitsOf

__all__ = ["Multinomial"]


class Multinomial(ProbsOrLogitsOf, Distribution):
    """Counts of K categories in `total_count` draws; probs or logits of shape (..., K)."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    _names = ()
    _kept = ("total_count",)

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        if not isinstance(total_count, int):
            raise NotImplementedError(f"Expected an int as total_count, since inhomogeneous ones are not supported: found {type(total_count).__name__}.")
        self.total_count = total_count
        self._set_categorical(Categorical(probs=probs, logits=logits), validate_args)
        self._binomial = Binomial(total_count=total_count, probs=self.probs)

    def _expanded(self, new, batch_shape):
        super()._expanded(new, batch_shape)
        new._binomial = self._binomial.expand(batch_shape + self._event_shape)

    @property
    def mean(self):
        return self.probs * self.total_count

    @property
    def variance(self):
        return self.total_count * self.probs * (1 - self.probs)

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self):
        return constraints.multinomial(self.total_count)

    def sample(self, sample_shape=Size()):
        sample_shape = Size(sample_shape)
        drawn = self._categorical.sample(Size((self.total_count,)) + sample_shape).movedim(0, -1)
        counts = drawn.new_zeros(self._extended_shape(sample_shape))
        counts.scatter_add_(-1, drawn, rushlight.ones_like(drawn))
        return counts.type_as(self.probs)

    def entropy(self):
        n = rushlight.tensor(self.total_count)
        cat_entropy = self._categorical.entropy()
        support = self._binomial.enumerate_support(expand=False)[1:]
        binomial_probs = rushlight.exp(self._binomial.log_prob(support))
        expected_log_factorial = (binomial_probs * rushlight.lgamma(support + 1)).sum((0, -1))
        return n * cat_entropy - rushlight.lgamma(n + 1) + expected_log_factorial

    def log_prob(self, value):
        self._checked(value)
        logits, value = rushlight.broadcast_tensors(self.logits, value)
        logits = logits.clone(memory_format=rushlight.contiguous_format)
        log_factorial_n = rushlight.lgamma(value.sum(-1) + 1)
        logits[(value == 0) & (logits == -float("inf"))] = 0
        return log_factorial_n - rushlight.lgamma(value + 1).sum(-1) + (logits * value).sum(-1)
