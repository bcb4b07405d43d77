"""Constraints: the sets that parameters and samples live in.

Mechanism. A constraint knows `is_discrete`, `event_dim` (how many trailing dimensions one member has) and `check(value)`,
a boolean tensor over the batch. Those that hold for one dimension are written as a row below `_bounded`; those of
vectors, matrices and joined values are classes of their own.

Invariant: the result of `check` has the shape of the value without its last `event_dim` dimensions.
"""

from __future__ import annotations

import rushlight

__all__ = ["Constraint", "boolean", "cat", "corr_cholesky", "dependent", "dependent_property", "greater_than",
           "greater_than_eq", "independent", "integer_interval", "interval", "half_open_interval", "is_dependent",
           "less_than", "lower_cholesky", "lower_triangular", "MixtureSameFamilyConstraint", "multinomial", "nonnegative",
           "nonnegative_integer", "one_hot", "positive", "positive_semidefinite", "positive_definite", "positive_integer",
           "real", "real_vector", "simplex", "square", "stack", "symmetric", "unit_interval"]  # fmt: skip


class Constraint:
    """A set of values; `check` says which members of a batch lie in it."""

    is_discrete = False
    event_dim = 0

    def check(self, value):
        """A boolean tensor of shape value.shape without the last `event_dim` dimensions."""
        raise NotImplementedError

    def __repr__(self):
        return self.__class__.__name__[1:] + "()"


class _Dependent(Constraint):
    """A set that depends on other parameters, so that it can't be checked alone."""

    def __init__(self, *, is_discrete=NotImplemented, event_dim=NotImplemented):
        self._is_discrete = is_discrete
        self._event_dim = event_dim
        super().__init__()

    @property
    def is_discrete(self):
        if self._is_discrete is NotImplemented:
            raise NotImplementedError("is_discrete is not known before the parameters are: write dependent(is_discrete=...)")
        return self._is_discrete

    @property
    def event_dim(self):
        if self._event_dim is NotImplemented:
            raise NotImplementedError("event_dim is not known before the parameters are: write dependent(event_dim=...)")
        return self._event_dim

    def __call__(self, *, is_discrete=NotImplemented, event_dim=NotImplemented):
        """The same placeholder with what is known about it."""
        return _Dependent(is_discrete=self._is_discrete if is_discrete is NotImplemented else is_discrete,
                          event_dim=self._event_dim if event_dim is NotImplemented else event_dim)  # fmt: skip

    def check(self, x):
        raise ValueError("A dependent constraint has no bounds of its own to check: ask the support of an instance.")


def is_dependent(constraint):
    """Whether a constraint depends on other parameters."""
    return isinstance(constraint, _Dependent)


class _DependentProperty(property, _Dependent):
    """A property whose value is a constraint, and which is a dependent constraint itself when read from the class."""

    def __init__(self, fn=None, *, is_discrete=NotImplemented, event_dim=NotImplemented):
        super().__init__(fn)
        self._is_discrete = is_discrete
        self._event_dim = event_dim

    def __call__(self, fn):
        return _DependentProperty(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)


class _IndependentConstraint(Constraint):
    """The last `reinterpreted_batch_ndims` batch dimensions belong to one event: all must hold."""

    def __init__(self, base_constraint, reinterpreted_batch_ndims):
        if not isinstance(base_constraint, Constraint):
            raise AssertionError(f"Expected a Constraint as base_constraint: found {type(base_constraint).__name__}.")
        if not isinstance(reinterpreted_batch_ndims, int):
            raise AssertionError(f"Expected an int as reinterpreted_batch_ndims: found {type(reinterpreted_batch_ndims).__name__}.")
        if reinterpreted_batch_ndims < 0:
            raise AssertionError(f"Expected reinterpreted_batch_ndims >= 0: found {reinterpreted_batch_ndims}.")
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        super().__init__()

    @property
    def is_discrete(self):
        return self.base_constraint.is_discrete

    @property
    def event_dim(self):
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    def check(self, value):
        result = self.base_constraint.check(value)
        if result.dim() < self.reinterpreted_batch_ndims:
            expected = self.base_constraint.event_dim + self.reinterpreted_batch_ndims
            raise ValueError(f"A member of {self!r} has at least {expected} dimensions: found value.dim() = {value.dim()}.")
        return result.reshape(result.shape[: result.dim() - self.reinterpreted_batch_ndims] + (-1,)).all(-1)

    def __repr__(self):
        return f"{self.__class__.__name__[1:]}({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class MixtureSameFamilyConstraint(Constraint):
    """The support of a mixture: every component must allow the value."""

    def __init__(self, base_constraint):
        if not isinstance(base_constraint, Constraint):
            raise AssertionError(f"Expected a Constraint as base_constraint: found {type(base_constraint).__name__}.")
        self.base_constraint = base_constraint
        super().__init__()

    @property
    def is_discrete(self):
        return self.base_constraint.is_discrete

    @property
    def event_dim(self):
        return self.base_constraint.event_dim

    def check(self, value):
        spread = value.unsqueeze(-1 - self.event_dim)  # a component dimension of size 1
        result = self.base_constraint.check(spread)
        if value.dim() < self.event_dim:
            raise ValueError(f"A member of {self!r} has at least {self.event_dim} dimensions: found value.dim() = {value.dim()}.")
        return result.reshape(result.shape[: value.dim() - self.event_dim] + (-1,)).all(-1)

    def __repr__(self):
        return f"{self.__class__.__name__}({self.base_constraint!r})"


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value):
        return (value == 0) | (value == 1)


class _OneHot(Constraint):
    is_discrete = True
    event_dim = 1

    def check(self, value):
        return ((value == 0) | (value == 1)).all(-1) & value.sum(-1).eq(1)


class _Real(Constraint):
    """Not NaN."""

    def check(self, value):
        return value == value


class _Bounded(Constraint):
    """Sets given by bounds, which are the attributes of the instance and its printed form."""

    def __repr__(self):
        bounds = ", ".join(f"{name}={bound}" for name, bound in self.__dict__.items())
        return f"{self.__class__.__name__[1:]}({bounds})"


class _Lower(_Bounded):
    def __init__(self, lower_bound):
        self.lower_bound = lower_bound
        super().__init__()


class _Upper(_Bounded):
    def __init__(self, upper_bound):
        self.upper_bound = upper_bound
        super().__init__()


class _Both(_Bounded):
    def __init__(self, lower_bound, upper_bound):
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        super().__init__()


class _IntegerInterval(_Both):
    is_discrete = True

    def check(self, value):
        return (value % 1 == 0) & (self.lower_bound <= value) & (value <= self.upper_bound)


class _IntegerLessThan(_Upper):
    is_discrete = True

    def check(self, value):
        return (value % 1 == 0) & (value <= self.upper_bound)


class _IntegerGreaterThan(_Lower):
    is_discrete = True

    def check(self, value):
        return (value % 1 == 0) & (value >= self.lower_bound)


class _GreaterThan(_Lower):
    def check(self, value):
        return self.lower_bound < value


class _GreaterThanEq(_Lower):
    def check(self, value):
        return self.lower_bound <= value


class _LessThan(_Upper):
    def check(self, value):
        return value < self.upper_bound


class _Interval(_Both):
    def check(self, value):
        return (self.lower_bound <= value) & (value <= self.upper_bound)


class _HalfOpenInterval(_Both):
    def check(self, value):
        return (self.lower_bound <= value) & (value < self.upper_bound)


class _Simplex(Constraint):
    """Nonnegative vectors that sum to one."""

    event_dim = 1

    def check(self, value):
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class _Multinomial(Constraint):
    """Vectors of counts that sum to `upper_bound` at most."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound):
        self.upper_bound = upper_bound

    def check(self, x):
        return (x >= 0).all(-1) & (x.sum(-1) <= self.upper_bound)


class _LowerTriangular(Constraint):
    event_dim = 2

    def check(self, value):
        return (value.tril() == value).reshape(value.shape[:-2] + (-1,)).all(-1)


class _LowerCholesky(Constraint):
    """Lower triangular with a positive diagonal."""

    event_dim = 2

    def check(self, value):
        return lower_triangular.check(value) & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class _CorrCholesky(Constraint):
    """Lower Cholesky factors of correlation matrices: every row has length one."""

    event_dim = 2

    def check(self, value):
        tolerance = rushlight.finfo(value.dtype).eps * value.size(-1) * 10  # 10: slack for accumulated rounding
        length = rushlight.linalg.norm(value.detach(), dim=-1)
        return (length - 1.0).abs().le(tolerance).all(-1) & lower_cholesky.check(value)


class _Square(Constraint):
    event_dim = 2

    def check(self, value):
        return rushlight.full(value.shape[:-2], value.shape[-2] == value.shape[-1], dtype=rushlight.bool, device=value.device)


class _Symmetric(_Square):
    def check(self, value):
        square_check = super().check(value)
        if not square_check.all():
            return square_check
        return rushlight.isclose(value, value.mT, atol=1e-6).all(-2).all(-1)


class _PositiveSemidefinite(_Symmetric):
    def check(self, value):
        symmetric_check = super().check(value)
        if not symmetric_check.all():
            return symmetric_check
        return rushlight.linalg.eigvalsh(value).ge(0).all(-1)


class _PositiveDefinite(_Symmetric):
    def check(self, value):
        symmetric_check = super().check(value)
        if not symmetric_check.all():
            return symmetric_check
        return rushlight.linalg.cholesky_ex(value).info.eq(0)


class _Joined(Constraint):
    """Several constraints, each for its own part along `dim`."""

    def __init__(self, cseq):
        if not all(isinstance(c, Constraint) for c in cseq):
            raise AssertionError(f"cseq takes Constraint instances: found {[type(c).__name__ for c in cseq]}.")
        self.cseq = list(cseq)

    @property
    def is_discrete(self):
        return any(c.is_discrete for c in self.cseq)


class _Cat(_Joined):
    """Parts of the given lengths, side by side along `dim`."""

    def __init__(self, cseq, dim=0, lengths=None):
        super().__init__(cseq)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.cseq):
            raise AssertionError(f"Expected one of lengths for each of cseq, {len(self.cseq)} in all: found {len(self.lengths)}.")
        self.dim = dim
        super(_Joined, self).__init__()

    @property
    def event_dim(self):
        return max(c.event_dim for c in self.cseq)

    def check(self, value):
        if not -value.dim() <= self.dim < value.dim():
            raise AssertionError(f"The parts lie along dim {self.dim}, which is out of range for a value of {value.dim()} dimensions.")
        checks, start = [], 0
        for constraint, length in zip(self.cseq, self.lengths):
            checks.append(constraint.check(value.narrow(self.dim, start, length)))
            start += length
        return rushlight.cat(checks, self.dim)


class _Stack(_Joined):
    """One constraint for each index along `dim`."""

    def __init__(self, cseq, dim=0):
        super().__init__(cseq)
        self.dim = dim
        super(_Joined, self).__init__()

    @property
    def event_dim(self):
        dim = max(c.event_dim for c in self.cseq)
        return dim + 1 if self.dim + dim < 0 else dim

    def check(self, value):
        if not -value.dim() <= self.dim < value.dim():
            raise AssertionError(f"The parts lie along dim {self.dim}, which is out of range for a value of {value.dim()} dimensions.")
        parts = [value.select(self.dim, i) for i in range(value.size(self.dim))]
        return rushlight.stack([c.check(part) for part, c in zip(parts, self.cseq)], self.dim)


# fmt: off
dependent            = _Dependent()
dependent_property   = _DependentProperty
independent          = _IndependentConstraint
boolean              = _Boolean()
one_hot              = _OneHot()
nonnegative_integer  = _IntegerGreaterThan(0)
positive_integer     = _IntegerGreaterThan(1)
integer_interval     = _IntegerInterval
real                 = _Real()
real_vector          = independent(real, 1)
positive             = _GreaterThan(0.0)
nonnegative          = _GreaterThanEq(0.0)
greater_than         = _GreaterThan
greater_than_eq      = _GreaterThanEq
less_than            = _LessThan
multinomial          = _Multinomial
unit_interval        = _Interval(0.0, 1.0)
interval             = _Interval
half_open_interval   = _HalfOpenInterval
simplex              = _Simplex()
lower_triangular     = _LowerTriangular()
lower_cholesky       = _LowerCholesky()
corr_cholesky        = _CorrCholesky()
square               = _Square()
symmetric            = _Symmetric()
positive_semidefinite = _PositiveSemidefinite()
positive_definite    = _PositiveDefinite()
cat                  = _Cat
stack                = _Stack
# fmt: on
