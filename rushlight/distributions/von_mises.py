"""The von Mises distribution on the circle.

Mechanism. Sampled by rejection from a wrapped Cauchy distribution (Best and Fisher 1979), in float64 whatever the dtype of
the parameters: rounds of three uniforms for every place go on until each has been accepted once, and a later acceptance
replaces an earlier one.
"""

from __future__ import annotations

import math

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.utils import lazy_property

__all__ = ["VonMises"]


class VonMises(Distribution):
    """exp(concentration cos(x - loc)) / (2 pi I0(concentration)), for angles `x` and `loc` in radians.

    Draws lie in [-pi, pi). The variance is the circular one, 1 - I1/I0.
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False
    _names = ("loc", "concentration")

    def __init__(self, loc, concentration, validate_args=None):
        self._set(validate_args, loc=loc, concentration=concentration)

    def log_prob(self, value):
        self._checked(value)
        k = self.concentration
        # I0(k) = i0e(k) e^k
        return k * (rushlight.cos(value - self.loc) - 1) - math.log(2 * math.pi) - rushlight.special.i0e(k).log()

    @lazy_property
    def _proposal(self):
        """(1 + rho^2) / (2 rho) of the proposal; near 0, where rho is lost in rounding, its series 1 / k + k."""
        k = self.concentration.double()
        tau = 1 + (1 + 4 * k.pow(2)).sqrt()
        rho = (tau - (2 * tau).sqrt()) / (2 * k)
        return rushlight.where(k < 1e-5, 1 / k + k, (1 + rho.pow(2)) / (2 * rho))

    def sample(self, sample_shape=Size()):
        shape = self._extended_shape(sample_shape)
        with rushlight.no_grad():
            k, r = self.concentration.double(), self._proposal
            angle = rushlight.zeros(shape, dtype=rushlight.float64, device=k.device)
            done = rushlight.zeros(shape, dtype=rushlight.bool, device=k.device)
            while not done.all():
                u, accept, side = rushlight.rand((3,) + shape, dtype=k.dtype, device=k.device).unbind()
                z = (math.pi * u).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                accepted = (c * (2 - c) > accept) | ((c / accept).log() + 1 >= c)
                angle = rushlight.where(accepted, (side - 0.5).sign() * f.acos(), angle)
                done = done | accepted
            turned = (angle + math.pi + self.loc.double()) % (2 * math.pi) - math.pi
            return turned.to(self.loc.dtype)

    @property
    def mean(self):
        """The direction of the mean, which is `loc`."""
        return self.loc

    @property
    def mode(self):
        return self.loc

    @lazy_property
    def variance(self):
        k = self.concentration
        return 1 - rushlight.special.i1e(k) / rushlight.special.i0e(k)
