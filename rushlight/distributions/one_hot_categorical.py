"""One-hot categorical distributions, plain and with straight-through gradients."""

from __future__ import annotations

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.categorical import Categorical
from rushlight.distributions.distribution import Distribution, ProbsOrLogitsOf

__all__ = ["OneHotCategorical", "OneHotCategoricalStraightThrough"]


class OneHotCategorical(ProbsOrLogitsOf, Distribution):
    """Vectors of length K with one 1, at index i with probability probs[i]; probs or logits of shape (..., K)."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.one_hot
    has_enumerate_support = True
    _names = ()

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._set_categorical(Categorical(probs, logits), validate_args)

    @property
    def mean(self):
        return self._categorical.probs

    @property
    def mode(self):
        return self._one_hot(self._categorical.mode)

    @property
    def variance(self):
        return self.probs * (1 - self.probs)

    def _one_hot(self, indices):
        return rushlight.nn.functional.one_hot(indices, self._event_shape[0]).to(self.probs)

    def sample(self, sample_shape=Size()):
        return self._one_hot(self._categorical.sample(Size(sample_shape)))

    def log_prob(self, value):
        self._checked(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self):
        return self._categorical.entropy()

    def enumerate_support(self, expand=True):
        n = self._event_shape[0]
        like = self._categorical._param
        values = rushlight.eye(n, dtype=like.dtype, device=like.device)
        values = values.view((n,) + (1,) * len(self._batch_shape) + (n,))
        return values.expand((n,) + self._batch_shape + (n,)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """OneHotCategorical whose draws pass their gradient on to probs unchanged (Bengio, Leonard and Courville 2013)."""

    has_rsample = True

    def rsample(self, sample_shape=Size()):
        drawn, probs = self.sample(sample_shape), self._categorical.probs
        return drawn + (probs - probs.detach())  # the bracket is zero, its gradient is not
