"""The geometric distribution."""

from __future__ import annotations

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.distribution import Distribution, ProbsOrLogits
from rushlight.nn.functional import binary_cross_entropy_with_logits

__all__ = ["Geometric"]


class Geometric(ProbsOrLogits, Distribution):
    """Failures before the first success: (1 - probs)^k probs for k = 0, 1, ..."""

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer
    _names = ("probs", "logits")

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._set_pair(probs, logits, validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all():
            value = self.probs
            raise ValueError(f"Expected parameter probs of {self!r} to be positive: without any chance of success there is no first one. "
                             f"Found invalid values:\n{value[~(value > 0)]}")  # fmt: skip

    @property
    def mean(self):
        return 1.0 / self.probs - 1.0

    @property
    def mode(self):
        return rushlight.zeros_like(self.probs)

    @property
    def variance(self):
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape=Size()):
        shape = self._extended_shape(sample_shape)
        with rushlight.no_grad():
            u = self.probs.new_empty(shape).uniform_(rushlight.finfo(self.probs.dtype).tiny, 1)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value):
        self._checked(value)
        value, probs = rushlight.broadcast_tensors(value, self.probs)
        safe = rushlight.where((probs == 1) & (value == 0), rushlight.zeros_like(probs), probs)  # 0 log 0 counts as 0
        return value * (-safe).log1p() + self.probs.log()

    def entropy(self):
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
