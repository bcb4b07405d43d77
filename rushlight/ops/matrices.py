"""Rows on the last two dimensions that need no factorization: triangles, diagonals, traces, cross products."""

from __future__ import annotations

import numpy as np

from rushlight.core import dtype as D
from rushlight.core.shape import broadcast
from rushlight.ops.families import checked, common, dtype_of, opaque
from rushlight.ops.op import Spec, row
from rushlight.ops.views import _diagonal, _diagonal_back


def _same(args, attrs):
    return Spec(args[0]._data.shape, dtype_of(args[0]))


def triangle(x, lower, k):
    """x with zeros above (or below) diagonal k."""
    m, n = x.shape[-2:]
    i, j = np.arange(m)[:, None], np.arange(n)
    return np.where(j - i <= k if lower else j - i >= k, x, np.zeros((), x.dtype))


def _embed_spec(args, attrs):
    shape = list(args[0]._data.shape)
    n = shape.pop() + abs(attrs["offset"])
    for d in sorted((attrs["dim1"], attrs["dim2"])):
        shape.insert(d, n)
    return Spec(tuple(shape), dtype_of(args[0]))


def _embed(x, offset, dim1, dim2):
    shape = list(x.shape)
    n = shape.pop() + abs(offset)
    for d in sorted((dim1, dim2)):
        shape.insert(d, n)
    out = np.zeros(shape, x.dtype)
    _diagonal(out, offset, dim1, dim2)[...] = x
    return out


def _copied_diagonal_spec(args, attrs):
    m, n = args[0]._data.shape
    k = attrs["offset"]
    return Spec((max(0, min(m + min(k, 0), n - max(k, 0))),), dtype_of(args[0]))


def _trace_spec(args, attrs):
    d = dtype_of(args[0])
    return Spec((), d if d.category >= D.FLOAT else D.int64)


def _trace_back(g, x_spec):
    z = g.new_zeros(x_spec.shape)
    z.diagonal().copy_(g)
    return z


def _cross_spec(op, args, attrs):
    return Spec(broadcast(args[0]._data.shape, args[1]._data.shape), checked(op, common(args)))


def _cross(x, y, axis):
    x, y = np.broadcast_arrays(x, y)
    a, b = np.moveaxis(x, axis, 0), np.moveaxis(y, axis, 0)
    out = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    return np.stack(out, axis)


def _largest(x, axis, p):
    """The p-norm of each slice of x along `axis`."""
    from_rest = tuple(d for d in range(x.ndim) if d != axis)
    size = np.abs(x)
    if p == np.inf:
        return size.max(from_rest, keepdims=True, initial=0)
    return (size**p).sum(from_rest, keepdims=True) ** (1 / p)


def _renorm(x, p, axis, maxnorm):
    norm = _largest(x, axis, p)
    return np.where(norm > maxnorm, x * (maxnorm / (norm + 1e-7)), x).astype(x.dtype)


def _renorm_back(g, x, p, axis, maxnorm):
    rest = [d for d in range(x.dim()) if d != axis]
    norm = x._norm_along(p, rest)
    grown = norm > maxnorm
    # the scale's own derivative: maxnorm / (norm + eps) as a function of x, written as one more product
    scale = (maxnorm / (norm + 1e-7)).where(grown, 1)
    inner = (g * x.conj()).real.sum(rest, True) if x.is_complex() else (g * x).sum(rest, True)
    slope = (-maxnorm / ((norm + 1e-7) * (norm + 1e-7)) * inner).where(grown, 0)
    return g * scale + slope * _norm_slope(x, norm, p, rest)


def _norm_slope(x, norm, p, rest):
    if p == 2:
        return (x / norm).where(norm != 0, 0)
    if p == 1:
        return x.sgn()
    if p == float("inf"):
        hit = (x.abs() == norm).to(norm.dtype)
        return x.sgn() * (hit / hit.sum(rest, True))
    return (x.sgn() * (x.abs() / norm).pow(p - 1)).where(norm != 0, 0)


# fmt: off
TRIL       = opaque("tril", _same, lambda x, diagonal: triangle(x, True, diagonal),  lambda g, diagonal: g.tril(diagonal), analytic=False)
TRIU       = opaque("triu", _same, lambda x, diagonal: triangle(x, False, diagonal), lambda g, diagonal: g.triu(diagonal), analytic=False)
DIAG_EMBED = opaque("diag_embed", _embed_spec, _embed, lambda g, offset, dim1, dim2: g.diagonal(offset, dim1, dim2), analytic=False, exact=True)
DIAG_COPY  = opaque("diagonal_copy", _copied_diagonal_spec, lambda x, offset: _diagonal(x, offset, 0, 1).copy(), lambda g, x_spec, offset: _diagonal_back(g, x_spec, offset, 0, 1), node="DiagonalBackward0_copy", analytic=False, exact=True)
TRACE      = opaque("trace", _trace_spec, lambda x: np.trace(x), _trace_back, analytic=False)
CROSS      = row("linalg_cross", "opaque", _cross_spec, inputs=("x", "y"), numpy=_cross, grads=(lambda g, y, axis: y._cross(g, axis), lambda g, x, axis: g._cross(x, axis)), dtypes="ifc", exact=True, apart=0)
RENORM     = opaque("renorm", _same, _renorm, _renorm_back, dtypes="fc", analytic=False)
# fmt: on
