"""Distribution: shapes, validation and the rules that every distribution shares.

Mechanism. A distribution of the usual kind names its parameters in `_names`; `_set` broadcasts and keeps them, and
`expand` gives a new instance whose parameters (those that are present) are expanded and whose `_kept` attributes are the
same. What else must follow an expansion is done by `_expanded(new, batch_shape)`.

Invariants
- `arg_constraints` is in the order in which the parameters are printed; a parameter computed on demand is neither
  printed nor validated before it is there.
- A subclass with an __init__ of its own must say itself how it expands: `_new_for` refuses to guess.
"""

from __future__ import annotations

import warnings

import rushlight
from rushlight import Size, Tensor
from rushlight.distributions import constraints
from rushlight.distributions.utils import (
    broadcast_all,
    lazy_property,
    logits_to_probs,
    probs_to_logits,
)

__all__ = ["Distribution"]


def _described(value):
    return f"{type(value).__name__} of shape {tuple(value.shape)}"


class Distribution:
    """Base class of probability distributions.

    batch_shape: shape of the independent parameters; event_shape: shape of one draw. Samples have shape
    sample_shape + batch_shape + event_shape. Parameters and values are checked unless `validate_args` is False
    (ValueError for what lies outside); the default follows `set_default_validate_args` and `python -O`.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__
    _names = ()
    _kept = ()

    @staticmethod
    def set_default_validate_args(value):
        """Whether distributions made from now on check their arguments."""
        if value not in [True, False]:
            raise ValueError(f"Expected True or False: found {value!r}.")
        Distribution._validate_args = value

    def __init__(self, batch_shape=Size(), event_shape=Size(), validate_args=None):
        self._batch_shape = batch_shape
        self._event_shape = event_shape
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()
        super().__init__()

    def _check_parameters(self):
        try:
            arg_constraints = self.arg_constraints
        except NotImplementedError:
            arg_constraints = {}
            warnings.warn(f"The parameters of {self.__class__} are not checked, since it does not define `arg_constraints`: write "
                          "`arg_constraints = {}` in the class, or make it with `validate_args=False`.", stacklevel=3)  # fmt: skip
        for name, constraint in arg_constraints.items():
            if constraints.is_dependent(constraint):
                continue
            if name not in self.__dict__ and isinstance(getattr(type(self), name), lazy_property):
                continue
            value = getattr(self, name)
            if not constraint.check(value).all():
                raise ValueError(f"Expected parameter {name} of {self!r} to satisfy the constraint {constraint!r}; there are invalid "
                                 f"values in the {_described(value)} that was found:\n{value}")  # fmt: skip

    def _keep(self, **parameters):
        """Keep the parameters, broadcast to one shape, which is returned."""
        values = broadcast_all(*parameters.values())
        self.__dict__.update(zip(parameters, values))
        return values[0].size()

    def _set(self, validate_args, **parameters):
        """Keep the parameters; their common shape is the batch shape."""
        Distribution.__init__(self, self._keep(**parameters), validate_args=validate_args)

    # ---- shapes

    def expand(self, batch_shape, _instance=None):
        """A new distribution with the parameters expanded to `batch_shape`, without copies where that is possible."""
        cls = next((c for c in type(self).__mro__ if "_names" in c.__dict__), Distribution)
        if cls is Distribution:
            raise NotImplementedError
        new = self._new_for(cls, _instance)
        batch_shape = Size(batch_shape)
        self._expand_parameters(new, batch_shape)
        Distribution.__init__(new, batch_shape, self._event_shape, validate_args=False)
        self._expanded(new, batch_shape)
        new._validate_args = self._validate_args
        return new

    def _expand_parameters(self, new, batch_shape):
        rank = len(self._batch_shape)
        for name in self._names:
            if name in self.__dict__:
                value = self.__dict__[name]
                new.__dict__[name] = value.expand(batch_shape + value.shape[rank:])
        for name in self._kept:
            new.__dict__[name] = self.__dict__[name]

    def _expanded(self, new, batch_shape):
        """What a subclass adds to an expanded instance."""

    def _new_for(self, cls, _instance=None):
        if _instance is None and type(self).__init__ != cls.__init__:
            raise NotImplementedError(f"{self.__class__.__name__} has an __init__ of its own, so that {cls.__name__}.expand cannot make one: "
                                      "define expand(batch_shape, _instance=None) beside it.")  # fmt: skip
        return self.__new__(type(self)) if _instance is None else _instance

    _get_checked_instance = _new_for

    @property
    def batch_shape(self):
        """The shape over which parameters are batched."""
        return self._batch_shape

    @property
    def event_shape(self):
        """The shape of a single draw, without batching."""
        return self._event_shape

    def _extended_shape(self, sample_shape=Size()):
        """sample_shape + batch_shape + event_shape: the shape of what is drawn."""
        return Size(Size(sample_shape) + self._batch_shape + self._event_shape)

    # ---- what a distribution says about itself

    @property
    def arg_constraints(self):
        """A dictionary from parameter names to constraints."""
        raise NotImplementedError

    @property
    def support(self):
        """The constraint that holds the support."""
        raise NotImplementedError

    @property
    def mean(self):
        """The mean, of shape batch_shape + event_shape."""
        raise NotImplementedError

    @property
    def mode(self):
        """The mode, of shape batch_shape + event_shape."""
        raise NotImplementedError(f"There is no mode of {self.__class__}")

    @property
    def variance(self):
        """The variance, of shape batch_shape + event_shape."""
        raise NotImplementedError

    @property
    def stddev(self):
        """The square root of the variance."""
        return self.variance.sqrt()

    # ---- draws, densities

    def sample(self, sample_shape=Size()):
        """Draws of shape sample_shape + batch_shape + event_shape, without gradient."""
        with rushlight.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=Size()):
        """Draws that are differentiable in the parameters."""
        raise NotImplementedError

    def sample_n(self, n):
        """n draws; use sample((n,)) instead."""
        warnings.warn("sample_n(n) is deprecated: write sample((n,)).", FutureWarning, stacklevel=2)
        return self.sample(Size((n,)))

    def log_prob(self, value):
        """The logarithm of the density or mass at `value`, of shape sample_shape + batch_shape."""
        raise NotImplementedError

    def cdf(self, value):
        """P(X <= value)."""
        raise NotImplementedError

    def icdf(self, value):
        """The quantile: the inverse of cdf."""
        raise NotImplementedError

    def enumerate_support(self, expand=True):
        """All values of a discrete support along a new first dimension, repeated over the batch if `expand`."""
        raise NotImplementedError

    def entropy(self):
        """The entropy in nats, of shape batch_shape."""
        raise NotImplementedError

    def perplexity(self):
        """exp(entropy)."""
        return rushlight.exp(self.entropy())

    def _validate_sample(self, value):
        if not isinstance(value, Tensor):
            raise ValueError(f"The value must be a Tensor: found {type(value).__name__}; write torch.tensor(value).")
        event_dim_start = len(value.size()) - len(self._event_shape)
        if value.size()[event_dim_start:] != self._event_shape:
            raise ValueError(f"The last dimensions of value must match event_shape {tuple(self._event_shape)}: "
                             f"found shape {tuple(value.shape)}.")  # fmt: skip
        actual, expected = value.size(), self._batch_shape + self._event_shape
        for found, wanted in zip(reversed(actual), reversed(expected)):
            if found != 1 and wanted != 1 and found != wanted:
                raise ValueError(f"A value of shape {tuple(actual)} is not broadcastable with batch_shape + event_shape, {tuple(expected)}.")
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(f"Values are not checked, since {self.__class__} does not define `support`: make it with "
                          "`validate_args=False`.", stacklevel=3)  # fmt: skip
            return
        if not support.check(value).all():
            raise ValueError(f"Expected value argument to be within the support {support!r} of {self!r}; there are invalid values "
                             f"in the {_described(value)} that was found:\n{value}")  # fmt: skip

    def _checked(self, value):
        if self._validate_args:
            self._validate_sample(value)

    def __repr__(self):
        names = [name for name in self.arg_constraints if name in self.__dict__]
        values = [(name, self.__dict__[name]) for name in names]
        args = ", ".join(f"{name}: {v if v.numel() == 1 else v.size()}" for name, v in values)
        return self.__class__.__name__ + "(" + args + ")"


class ProbsOrLogits:
    """Mixin for distributions given by `probs` or by `logits`: the other one is computed on demand.

    `_binary` says whether logits are log odds or unnormalised log probabilities; `_param` is the one that was given.
    """

    _binary = True

    @staticmethod
    def _one_of(probs, logits):
        if (probs is None) == (logits is None):
            raise ValueError(f"Either `probs` or `logits` must be given: found {'none' if probs is None else 'both'} of them.")

    def _set_pair(self, probs, logits, validate_args, **others):
        self._one_of(probs, logits)
        name, value = ("logits", logits) if probs is None else ("probs", probs)
        values = broadcast_all(*others.values(), value)
        self.__dict__.update(zip([*others, name], values))
        self._param = values[-1]
        Distribution.__init__(self, self._param.size(), validate_args=validate_args)

    def _expand_parameters(self, new, batch_shape):
        super()._expand_parameters(new, batch_shape)
        for name in ("probs", "logits"):
            if name in new.__dict__:
                new._param = new.__dict__[name]

    @lazy_property
    def logits(self):
        """Log odds, or log probabilities."""
        return probs_to_logits(self.probs, is_binary=self._binary)

    @lazy_property
    def probs(self):
        """Probabilities."""
        return logits_to_probs(self.logits, is_binary=self._binary)

    @property
    def param_shape(self):
        """The shape of the parameter that was given."""
        return self._param.size()


class ProbsOrLogitsOf:
    """Mixin for distributions whose `probs` and `logits` are those of another one, which attribute `_holder` names."""

    _holder = "_categorical"

    def _set_categorical(self, categorical, validate_args):
        """Take a categorical distribution over the K entries of an event."""
        self._categorical = categorical
        shape = categorical.param_shape
        Distribution.__init__(self, categorical.batch_shape, shape[-1:], validate_args=validate_args)

    def _expanded(self, new, batch_shape):
        super()._expanded(new, batch_shape)
        if self._holder == "_categorical":
            new._categorical = self._categorical.expand(batch_shape)

    @property
    def logits(self):
        """Log odds, or log probabilities."""
        return getattr(self, self._holder).logits

    @property
    def probs(self):
        """Probabilities."""
        return getattr(self, self._holder).probs

    @property
    def param_shape(self):
        """The shape of the parameter that was given."""
        return getattr(self, self._holder).param_shape
