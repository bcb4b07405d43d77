"""The half-normal distribution."""

from __future__ import annotations

import math

from rushlight.distributions.folded import Folded
from rushlight.distributions.normal import Normal

__all__ = ["HalfNormal"]


class HalfNormal(Folded):
    """|X| for X from Normal(0, scale)."""

    _names = ()

    def __init__(self, scale, validate_args=None):
        self._fold(Normal, scale, validate_args)

    @property
    def mean(self):
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self):
        return self.scale.pow(2) * (1 - 2 / math.pi)
