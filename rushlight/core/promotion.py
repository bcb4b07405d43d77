"""Which dtype a result has.

`promote(a, b)` is the least dtype that holds both; `result(operands)` adds PyTorch's weak operands: a 0-dim tensor
only decides when its category (bool < integer < float < complex) is above that of every tensor with dimensions,
and a Python number only when it is above both.
"""

from __future__ import annotations

from functools import cache

from rushlight.core import dtype as D

_SIGNED = (D.int8, D.int16, D.int32, D.int64)
_WIDE_UNSIGNED = (D.uint16, D.uint32, D.uint64)


@cache
def promote(a, b):
    """The least dtype that holds the values of `a` and of `b`; RuntimeError where PyTorch defines none."""
    if a is b:
        return a
    if a.category > b.category:
        a, b = b, a
    if a in D.FLOAT8 or b in D.FLOAT8:
        raise RuntimeError(f"Promotion for Float8 Types is not supported, attempted to promote {a.title} and {b.title}; convert one with .to()")
    if (a in _WIDE_UNSIGNED or b in _WIDE_UNSIGNED) and b.category != D.FLOAT:
        raise RuntimeError(
            f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {a.title} and {b.title}; convert one with .to()"
        )
    if a.category == D.BOOL:
        return b
    if a.category != b.category:
        if b.category == D.COMPLEX and a.category == D.FLOAT:
            return promote(a.to_complex(), b)
        return b
    if a.category == D.INTEGER:
        if a is D.uint8 or b is D.uint8:
            other = b if a is D.uint8 else a
            return D.int16 if other is D.int8 else other
        return max(a, b, key=_SIGNED.index)
    if a.category == D.FLOAT:
        if a.itemsize == b.itemsize:  # float16 with bfloat16
            return D.float32
        return a if a.itemsize > b.itemsize else b
    return a if a.itemsize > b.itemsize else b


def _over(high, low):
    """Combine a stronger class of operands with a weaker one; either may be None."""
    if high is None or low is None:
        return high or low
    if high.category == D.COMPLEX:
        return high
    if high.category == D.FLOAT:
        return high.to_complex() if low.category == D.COMPLEX else high
    if high in _WIDE_UNSIGNED and low.category == D.COMPLEX:
        return low
    if high.category == D.BOOL or low.category >= D.FLOAT:
        return promote(high, low)
    return high


def result(dimensioned, zero_dim, numbers):
    """The common dtype of three lists of dtypes: tensors with dimensions, 0-dim tensors, Python numbers."""
    classes = []
    for group in (dimensioned, zero_dim, numbers):
        found = None
        for d in group:
            found = d if found is None else promote(found, d)
        classes.append(found)
    return _over(classes[0], _over(classes[1], classes[2]))


def can_cast(source, target):
    """Whether a result of dtype `source` may be written into `target` (categories may only rise)."""
    if source.category > target.category:
        return False
    # an unsigned target cannot hold signed integers in PyTorch only by category, so width never matters
    return True
