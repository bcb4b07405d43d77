"""Reparameterised draws of Gamma and Dirichlet: implicit gradients.

Mechanism. A draw z with cumulative distribution F(z; a) has dz/da = -(dF/da) / p(z) (Figurnov, Mohamed and Mnih, Implicit
Reparameterization Gradients, 2018). Written out, that is an integral of density ratios times the derivative of the log
density, over the tail on the draw's side of the mean:

    Gamma   z < a:  z int exp(-a v + z (1 - e^-v)) (psi(a) - ln z + v) dv,        t = z e^-v
            z > a:  int exp((a - 1) ln(1 + s/z) - s) (ln(z + s) - psi(a)) ds
    Beta, and Dirichlet through its Beta marginals: the same with t = x e^-v below the mean, 1 - t = (1 - x) e^-v above

whose integrands decay without changing sign much, so that nothing cancels in either tail. The half line is integrated by
the double exponential rule (Takahasi and Mori 1974), all nodes at once, in float64.

Invariant: gradients are first order only, as PyTorch's; they are more exact than its rational approximations, from
which they may differ by about one part in a thousand.
"""

from __future__ import annotations

import rushlight
from rushlight.autograd import Function
from rushlight.autograd.function import once_differentiable

_NODES = 128
_LOW, _HIGH = -4.0, 4.6  # from 1e-25 to 98 decay lengths


def _half_line(width):
    """Nodes v and weights of the double exponential rule on (0, inf), for a decay length `width`; shape (..., nodes)."""
    s = rushlight.linspace(_LOW, _HIGH, _NODES, dtype=rushlight.float64, device=width.device)
    v = width.unsqueeze(-1) * (s - (-s).exp()).exp()
    return v, v * (1 + (-s).exp()) * ((_HIGH - _LOW) / (_NODES - 1))


def _gamma_below(z, a):
    v, weight = _half_line(1 / rushlight.minimum(a, a - z + z.sqrt()))
    z, a = z.unsqueeze(-1), a.unsqueeze(-1)
    density = (-(a - z) * v - z * (v + rushlight.expm1(-v))).exp()
    return z.squeeze(-1) * (weight * density * (a.digamma() - z.log() + v)).sum(-1)


def _gamma_above(z, a):
    rate = (z - a + 1 + (a - 1).clamp(min=0).sqrt()) / z
    v, weight = _half_line(1 / rate.clamp(max=1))
    z, a = z.unsqueeze(-1), a.unsqueeze(-1)
    density = ((a - 1) * (v / z).log1p() - v).exp()
    return (weight * density * ((z + v).log() - a.digamma())).sum(-1)


def standard_gamma_grad(z, a):
    """dz/da of draws z of Gamma(a, 1); same shape and dtype as z."""
    dtype, z, a = z.dtype, z.double().clamp(min=1e-300), a.double()
    below, above = _gamma_below(rushlight.minimum(z, a), a), _gamma_above(rushlight.maximum(z, a), a)
    return rushlight.where(z < a, below, above).to(dtype)


def _beta_width(p, q, x):
    """Decay length of e^(-p v) ((1 - x e^-v) / (1 - x))^(q - 1), steepest at v = 0 or for large v."""
    odds = x / (1 - x)
    rate = p - (q - 1) * odds + ((q - 1).abs() * odds / (1 - x)).sqrt()
    return 1 / rushlight.minimum(p, rate.clamp(min=1e-3 * p))


def _beta_below(x, a, b):
    v, weight = _half_line(_beta_width(a, b, x))
    x, a, b = x.unsqueeze(-1), a.unsqueeze(-1), b.unsqueeze(-1)
    ratio = (-x * rushlight.expm1(-v) / (1 - x)).log1p()
    slope = a.digamma() - (a + b).digamma() - x.log() + v
    return (x / (1 - x)).squeeze(-1) * (weight * ((b - 1) * ratio - a * v).exp() * slope).sum(-1)


def _beta_above(x, a, b):
    v, weight = _half_line(_beta_width(b, a, 1 - x))
    x, a, b = x.unsqueeze(-1), a.unsqueeze(-1), b.unsqueeze(-1)
    ratio = (-(1 - x) * rushlight.expm1(-v) / x).log1p()
    slope = x.log() + ratio - a.digamma() + (a + b).digamma()
    return (weight * ((a - 1) * ratio - b * v).exp() * slope).sum(-1)


def beta_grad(x, a, b):
    """(dx/da) / (1 - x) of draws x of Beta(a, b); same shape and dtype as x."""
    tiny, eps = 1e-300, 1e-16
    dtype, x, a, b = x.dtype, x.double().clamp(min=tiny, max=1 - eps), a.double(), b.double()
    mean = a / (a + b)
    below = _beta_below(rushlight.minimum(x, mean), a, b)
    above = _beta_above(rushlight.maximum(x, mean), a, b)
    return rushlight.where(x < mean, below, above).to(dtype)


class _StandardGamma(Function):
    @staticmethod
    def forward(ctx, concentration):
        out = rushlight._standard_gamma(concentration)
        ctx.save_for_backward(out, concentration)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        out, concentration = ctx.saved_tensors
        return g * standard_gamma_grad(out, concentration)


class _Dirichlet(Function):
    @staticmethod
    def forward(ctx, concentration):
        out = rushlight._sample_dirichlet(concentration)
        ctx.save_for_backward(out, concentration)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        out, concentration = ctx.saved_tensors
        # raising one concentration moves its own share by its Beta marginal, the others in proportion to what is left
        rest = concentration.sum(-1, True) - concentration
        return beta_grad(out, concentration, rest) * (g - (out * g).sum(-1, True))


standard_gamma = _StandardGamma.apply
standard_dirichlet = _Dirichlet.apply
