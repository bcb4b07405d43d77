"""CatTransform and StackTransform: a transform of its own for every part along a dimension.

Mechanism. Both walk over (transform, part of x, part of y) and join what comes back: slices of given lengths with cat,
single indices with stack.
"""

from __future__ import annotations

import rushlight
from rushlight.distributions import constraints
from rushlight.distributions.transform_base import Transform
from rushlight.distributions.utils import _sum_rightmost

__all__ = ["CatTransform", "StackTransform"]


class _JointTransform(Transform):
    def __init__(self, tseq, dim, cache_size):
        if not all(isinstance(t, Transform) for t in tseq):
            raise AssertionError(f"tseq takes Transform instances: found {[type(t).__name__ for t in tseq]}.")
        super().__init__(cache_size=cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.dim = dim

    def _check_size(self, x, size):
        if not -x.dim() <= self.dim < x.dim():
            raise AssertionError(f"The parts lie along dim {self.dim}, which is out of range for a tensor of {x.dim()} dimensions.")
        if x.size(self.dim) != size:
            raise AssertionError(f"The parts take {size} entries along dim {self.dim}: found {x.size(self.dim)}.")

    @property
    def bijective(self):
        return all(t.bijective for t in self.transforms)

    def _call(self, x):
        return self._join([t(part) for t, part in zip(self.transforms, self._parts(x))])

    def _inverse(self, y):
        return self._join([t.inv(part) for t, part in zip(self.transforms, self._parts(y))])


class CatTransform(_JointTransform):
    """tseq[i] acts on the i-th slice of length lengths[i] along `dim`."""

    def __init__(self, tseq, dim=0, lengths=None, cache_size=0):
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise AssertionError(f"Expected one of lengths for each of tseq, {len(self.transforms)} in all: found {len(self.lengths)}.")

    @property
    def event_dim(self):
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self):
        return sum(self.lengths)

    def with_cache(self, cache_size=1):
        if self._cache_size == cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _parts(self, x):
        self._check_size(x, self.length)
        return x.split(self.lengths, self.dim)

    def _join(self, parts):
        return rushlight.cat(parts, dim=self.dim)

    def log_abs_det_jacobian(self, x, y):
        terms = []
        for t, before, after in zip(self.transforms, self._parts(x), self._parts(y)):
            term = t.log_abs_det_jacobian(before, after)
            terms.append(_sum_rightmost(term, self.event_dim - t.event_dim))
        dim = self.dim - x.dim() if self.dim >= 0 else self.dim
        dim += self.event_dim
        return rushlight.cat(terms, dim=dim) if dim < 0 else sum(terms)

    @constraints.dependent_property
    def domain(self):
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self):
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)


class StackTransform(_JointTransform):
    """tseq[i] acts on index i along `dim`."""

    def __init__(self, tseq, dim=0, cache_size=0):
        super().__init__(tseq, dim, cache_size)

    def with_cache(self, cache_size=1):
        return self if self._cache_size == cache_size else StackTransform(self.transforms, self.dim, cache_size)

    def _parts(self, x):
        self._check_size(x, len(self.transforms))
        return x.unbind(self.dim)

    def _join(self, parts):
        return rushlight.stack(parts, dim=self.dim)

    def log_abs_det_jacobian(self, x, y):
        parts = zip(self.transforms, self._parts(x), self._parts(y))
        return self._join([t.log_abs_det_jacobian(before, after) for t, before, after in parts])

    @constraints.dependent_property
    def domain(self):
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self):
        return constraints.stack([t.codomain for t in self.transforms], self.dim)
