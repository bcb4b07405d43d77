"""Rows of clamp with tensor bounds, and of clamp_min and clamp_max: one node each, the gradient to whoever gave the value.

An element on its bound counts as inside. Where the lower bound is above the upper one the upper one wins.
"""

from __future__ import annotations

from rushlight.ops.pointwise import _REAL, pointwise


def _inside(g, x, low, high):
    return g.where((x >= low) & (x <= high), 0)


def _low(g, x, low, high):
    return g.where((x < low) & (low < high), 0)


def _high(g, x, low, high):
    return g.where((x > high) | (high < low), 0)


# fmt: off
pointwise("clamp_tensors", lambda s, x, low, high: s.minimum(s.maximum(x, low), high), _inside, _low, _high, dtypes="if", node="ClampBackward0")
pointwise("clamp_low",  lambda s, x, low: s.maximum(x, low),   lambda g, x, low: g.where(x >= low, 0),   lambda g, x, low: g.where(x < low, 0),   dtypes=_REAL, node="ClampBackward0")
pointwise("clamp_high", lambda s, x, high: s.minimum(x, high), lambda g, x, high: g.where(x <= high, 0), lambda g, x, high: g.where(x > high, 0), dtypes=_REAL, node="ClampBackward0")
pointwise("clamp_min_tensor", lambda s, x, low: s.maximum(x, low),   lambda g, x, low: g.where(x >= low, 0),   lambda g, x, low: g.where(x < low, 0),   dtypes=_REAL, node="ClampMinBackward1")
pointwise("clamp_max_tensor", lambda s, x, high: s.minimum(x, high), lambda g, x, high: g.where(x <= high, 0), lambda g, x, high: g.where(x > high, 0), dtypes=_REAL, node="ClampMaxBackward1")
pointwise("clamp_min_number", lambda s, x, low: s.maximum(low, x),   lambda g, x, low: g.where(x >= low, 0),   inputs=("x",), dtypes="if", node="ClampMinBackward0")
pointwise("clamp_max_number", lambda s, x, high: s.minimum(high, x), lambda g, x, high: g.where(x <= high, 0), inputs=("x",), dtypes="if", node="ClampMaxBackward0")
# fmt: on
