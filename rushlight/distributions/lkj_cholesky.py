"""Lower Cholesky factors of correlation matrices (Lewandowski, Kurowicka and Joe 2009, "LKJ").

Mechanism. The onion method: row i of the factor is a direction in i dimensions, uniform on the sphere, times the root of
a beta variable, which is the share of the row's unit length that lies off the diagonal; what is left stands on it.
"""

from __future__ import annotations

import math

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.beta import Beta
from rushlight.distributions.distribution import Distribution

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Factors L (dim, dim) with L L^T of density proportional to det(L L^T)^(concentration - 1).

    Concentration 1 is uniform over correlation matrices; more of it favours those near the identity. ValueError for
    dim < 2.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky
    _names = ("concentration",)
    _kept = ("dim",)

    def __init__(self, dim, concentration=1.0, validate_args=None):
        if dim < 2:
            raise ValueError(f"A correlation needs two variables: expected dim >= 2, found dim={dim}.")
        self.dim = dim
        batch_shape = self._keep(concentration=concentration)
        # rows 1 ... dim - 1 have i numbers off the diagonal; row 0 has none, and repeats row 1's parameters to be drawn too
        before = rushlight.arange(dim - 1, dtype=self.concentration.dtype, device=self.concentration.device)
        before = rushlight.cat([before.new_zeros(1), before])
        inside = self.concentration.unsqueeze(-1) + 0.5 * (dim - 2) - 0.5 * before
        self._shares = Beta(before + 0.5, inside)
        super().__init__(batch_shape, Size((dim, dim)), validate_args=validate_args)

    def _expanded(self, new, batch_shape):
        new._shares = self._shares.expand(batch_shape + (self.dim,))

    def sample(self, sample_shape=Size()):
        with rushlight.no_grad():
            share = self._shares.sample(sample_shape).unsqueeze(-1)
            kind = {"dtype": share.dtype, "device": share.device}
            direction = rushlight.randn(self._extended_shape(sample_shape), **kind).tril(-1)
            direction = direction / direction.norm(dim=-1, keepdim=True)
            direction[..., 0, :] = 0.0
            rows = share.sqrt() * direction
            rest = (1 - rows.pow(2).sum(-1)).clamp(min=rushlight.finfo(share.dtype).tiny)
            return rows + rest.sqrt().diag_embed()

    def log_prob(self, value):
        """log of prod_{i>1} L_ii^(dim - i + 2 (concentration - 1)) over its integral, by page 1999 of the paper."""
        self._checked(value)
        eta, n = self.concentration, self.dim
        below = rushlight.arange(n - 2, -1, -1, dtype=eta.dtype, device=eta.device)  # dim - i for i = 2 ... dim
        power = 2 * (eta - 1).unsqueeze(-1) + below
        density = (power * value.diagonal(dim1=-2, dim2=-1)[..., 1:].log()).sum(-1)
        integral = 0.0
        for k in range(1, n):
            integral = integral + 0.5 * k * math.log(math.pi) + (eta + 0.5 * (n - 1 - k)).lgamma()
        return density - (integral - (n - 1) * (eta + 0.5 * (n - 1)).lgamma())
