"""Mixtures of distributions of one class."""

from __future__ import annotations

import rushlight
from rushlight import Size
from rushlight.distributions import constraints
from rushlight.distributions.categorical import Categorical
from rushlight.distributions.distribution import Distribution

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """A component chosen by a Categorical, and then a draw from it.

    component_distribution has batch shape (..., K), the last dimension over the components; mixture_distribution has K
    categories and a batch shape that is broadcastable to (...). ValueError where they don't fit.
    """

    arg_constraints = {}
    has_rsample = False
    _names = ()

    def __init__(self, mixture_distribution, component_distribution, validate_args=None):
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError("The Mixture distribution must be a torch.distributions.Categorical: "
                             f"found {type(mixture_distribution).__name__}.")  # fmt: skip
        if not isinstance(component_distribution, Distribution):
            raise ValueError("The Component distribution must be a torch.distributions.Distribution: "
                             f"found {type(component_distribution).__name__}.")  # fmt: skip
        chosen, batch_shape = mixture_distribution.batch_shape, component_distribution.batch_shape[:-1]
        for found, wanted in zip(reversed(chosen), reversed(batch_shape)):
            if found != wanted and 1 not in (found, wanted):
                raise ValueError(f"`mixture_distribution.batch_shape` ({tuple(chosen)}) is not compatible with "
                                 f"`component_distribution.batch_shape` without its last dimension ({tuple(batch_shape)})")  # fmt: skip
        weights, components = mixture_distribution.logits.shape[-1], component_distribution.batch_shape[-1]
        if weights != components:
            raise ValueError(f"`mixture_distribution` has {weights} components, which does not equal "
                             f"`component_distribution.batch_shape[-1]` ({components})")  # fmt: skip
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        super().__init__(batch_shape, component_distribution.event_shape, validate_args=validate_args)

    def _expanded(self, new, batch_shape):
        components = self._component_distribution.batch_shape[-1:]
        new._component_distribution = self._component_distribution.expand(batch_shape + components)
        new._mixture_distribution = self._mixture_distribution.expand(batch_shape)
        new._mixture_distribution.logits  # noqa: B018  printed, as where the mixture is made

    @constraints.dependent_property
    def support(self):
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self):
        """The distribution over the components."""
        return self._mixture_distribution

    @property
    def component_distribution(self):
        """The components, along the last batch dimension."""
        return self._component_distribution

    @property
    def _component_axis(self):
        return -1 - len(self._event_shape)

    def _average(self, values):
        """Sum of probs times values (..., K, *event_shape) over the components."""
        probs = self._mixture_distribution.probs
        probs = probs.reshape(probs.shape + (1,) * len(self._event_shape))
        return (probs * values).sum(self._component_axis)

    @property
    def mean(self):
        return self._average(self._component_distribution.mean)

    @property
    def variance(self):
        """The mean of the variances and the variance of the means."""
        away = self._component_distribution.mean - self.mean.unsqueeze(self._component_axis)
        return self._average(self._component_distribution.variance) + self._average(away.pow(2))

    def cdf(self, value):
        component_cdf = self._component_distribution.cdf(value.unsqueeze(self._component_axis))
        return (component_cdf * self._mixture_distribution.probs).sum(-1)

    def log_prob(self, value):
        self._checked(value)
        density = self._component_distribution.log_prob(value.unsqueeze(self._component_axis))
        return rushlight.logsumexp(density + self._mixture_distribution.logits.log_softmax(-1), dim=-1)

    def sample(self, sample_shape=Size()):
        mixture = self._mixture_distribution
        if mixture.batch_shape != self._batch_shape:  # every place of the batch chooses for itself
            mixture = mixture.expand(self._batch_shape)
        with rushlight.no_grad():
            chosen = mixture.sample(sample_shape)
            drawn = self._component_distribution.sample(sample_shape)
            axis = chosen.dim()
            chosen = chosen.reshape(chosen.shape + (1,) * (drawn.dim() - axis))
            return drawn.gather(axis, chosen.expand(drawn.shape[:axis] + (1,) + drawn.shape[axis + 1 :])).squeeze(axis)

    def __repr__(self):
        return f"MixtureSameFamily(\n  {self._mixture_distribution},\n  {self._component_distribution})"
