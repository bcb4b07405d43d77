"""ExponentialFamily: densities exp(<t(x), theta> - F(theta) + k(x)).

Mechanism. A member says its natural parameters, F (`_log_normalizer`) and E[k] (`_mean_carrier_measure`); the entropy
is then F(theta) - <theta, dF/dtheta> - E[k] (Nielsen and Nock 2010), the gradient taken by the tape.
"""

from __future__ import annotations

import rushlight
from rushlight.distributions.distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """Distributions with natural parameters and a log normaliser."""

    @property
    def _natural_params(self):
        raise NotImplementedError

    def _log_normalizer(self, *natural_params):
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self):
        raise NotImplementedError

    def entropy(self):
        """F(theta) - <theta, dF/dtheta> - E[k(x)]; differentiable."""
        result = -self._mean_carrier_measure
        nparams = [p.detach().requires_grad_() for p in self._natural_params]
        with rushlight.enable_grad():
            lg_normal = self._log_normalizer(*nparams)
            gradients = rushlight.autograd.grad(lg_normal.sum(), nparams, create_graph=True)
        result = result + lg_normal
        for theta, g in zip(nparams, gradients):
            part = theta * g
            result = result - part.reshape(self._batch_shape + (-1,)).sum(-1)
        return result
