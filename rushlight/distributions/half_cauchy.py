"""The half-Cauchy distribution."""

from __future__ import annotations

import math

import rushlight
from rushlight.distributions.cauchy import Cauchy
from rushlight.distributions.folded import Folded

__all__ = ["HalfCauchy"]


class HalfCauchy(Folded):
    """|X| for X from Cauchy(0, scale); its mean and variance are infinite."""

    _names = ()

    def __init__(self, scale, validate_args=None):
        self._fold(Cauchy, scale, validate_args)

    @property
    def mean(self):
        return rushlight.full(self._extended_shape(), math.inf, dtype=self.scale.dtype, device=self.scale.device)

    @property
    def variance(self):
        return self.base_dist.variance
