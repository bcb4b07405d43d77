"""The continuous Bernoulli distribution on [0, 1] (Loaiza-Ganem and Cunningham 2019, arXiv:1907.06845).

Mechanism. Everything follows from the log odds t: the density is exp(t x - F(t)), with F(t) = log((e^t - 1) / t). In terms
of r = 1 - 2 probs = -tanh(t / 2) the constant of probs^x (1 - probs)^(1 - x) is C = 2 atanh(r) / r. These quotients are 0/0
at probs = 1/2: between the two `lims` around it their series in r stand in for them, and elsewhere the quotients are
taken at probabilities that lie outside the lims, so that neither branch spoils the gradient of the other.
"""

from __future__ import annotations

import math

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.distribution import ProbsOrLogits
from rushlight.distributions.exp_family import ExponentialFamily
from rushlight.distributions.utils import broadcast_all, clamp_probs
from rushlight.nn.functional import binary_cross_entropy_with_logits

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(ProbsOrLogits, ExponentialFamily):
    """C(probs) probs^x (1 - probs)^(1 - x) for x in [0, 1].

    probs (kept inside (0, 1)) or logits, of any shape; `lims` bound the interval around 1/2 where series are used.
    probs outside [0, 1] raise ValueError when `validate_args` is given.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0
    _names = ("probs", "logits")
    _kept = ("_lims",)

    def __init__(self, probs=None, logits=None, lims=(0.499, 0.501), validate_args=None):
        self._one_of(probs, logits)
        if probs is not None:
            (probs,) = broadcast_all(probs)
            # before they are clamped: afterwards nothing could be found
            if validate_args is not None and not self.arg_constraints["probs"].check(probs).all():
                raise ValueError(f"The parameter probs has invalid values: found\n{probs}\nand expected {constraints.unit_interval}")
            probs = clamp_probs(probs)
        self._lims = lims
        self._set_pair(probs, logits, validate_args)

    def _near_half(self):
        return (self.probs > self._lims[0]) & (self.probs <= self._lims[1])

    def _off_half(self):
        """probs, with the lower lim in place of those near 1/2."""
        return rushlight.where(self._near_half(), self._lims[0], self.probs)

    def _log_constant(self):
        """log C(probs)."""
        r = 1 - 2 * self._off_half()
        exact = math.log(2) + ((-r).log1p() - r.log1p()).abs().log() - math.log(2) - r.abs().log()
        square = (1 - 2 * self.probs).pow(2)
        series = math.log(2) + (1 / 3 + 13 / 90 * square) * square
        return rushlight.where(self._near_half(), series, exact)

    @property
    def mean(self):
        p = self._off_half()
        exact = p / (2 * p - 1) + 1 / ((-p).log1p() - p.log())
        away = self.probs - 0.5
        series = 0.5 + (1 / 3 + 16 / 45 * away.pow(2)) * away
        return rushlight.where(self._near_half(), series, exact)

    @property
    def variance(self):
        p = self._off_half()
        exact = p * (p - 1) / (1 - 2 * p).pow(2) + 1 / ((-p).log1p() - p.log()).pow(2)
        square = (self.probs - 0.5).pow(2)
        series = 1 / 12 - (1 / 15 + 128 / 945 * square) * square
        return rushlight.where(self._near_half(), series, exact)

    @property
    def stddev(self):
        return self.variance.sqrt()

    def _uniform(self, sample_shape):
        return rushlight.rand(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device)

    def sample(self, sample_shape=Size()):
        with rushlight.no_grad():
            return self.icdf(self._uniform(sample_shape))

    def rsample(self, sample_shape=Size()):
        return self.icdf(self._uniform(sample_shape))

    def log_prob(self, value):
        self._checked(value)
        logits, value = rushlight.broadcast_tensors(self.logits, value)
        return self._log_constant() - binary_cross_entropy_with_logits(logits, value, reduction="none")

    def cdf(self, value):
        self._checked(value)
        p = self._off_half()
        exact = (p.pow(value) * (1 - p).pow(1 - value) + p - 1) / (2 * p - 1)
        inside = rushlight.where(self._near_half(), value, exact)
        return rushlight.where(value <= 0, 0.0, rushlight.where(value >= 1, 1.0, inside))

    def icdf(self, value):
        p = self._off_half()
        exact = ((value * (2 * p - 1) - p).log1p() - (-p).log1p()) / (p.log() - (-p).log1p())
        return rushlight.where(self._near_half(), value, exact)

    def entropy(self):
        failure = (-self.probs).log1p()
        return self.mean * (failure - self.probs.log()) - self._log_constant() - failure

    @property
    def _natural_params(self):
        return (self.logits,)

    def _log_normalizer(self, x):
        """F(x) = log((e^x - 1) / x), by its series x/2 + x^2/24 near 0."""
        near = (x > self._lims[0] - 0.5) & (x <= self._lims[1] - 0.5)
        off = rushlight.where(near, self._lims[0] - 0.5, x)
        return rushlight.where(near, x / 2 + x.pow(2) / 24, (off.exp() - 1).abs().log() - off.abs().log())
