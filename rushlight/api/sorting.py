"""Ordering: sort and its kin, topk, unique, searchsorted, bucketize, histograms."""

from __future__ import annotations

import numpy as np

from rushlight.api.reduce import pair
from rushlight.api.writing import delivered
from rushlight.backends import compiled
from rushlight.backends.cpu import cast
from rushlight.bind import both, function
from rushlight.core import dtype as D
from rushlight.core.promotion import promote
from rushlight.core.shape import broadcast, wrap_dim
from rushlight.dispatch import apply
from rushlight.ops.op import TABLE
from rushlight.ops.reductions import wide
from rushlight.tensor import Tensor, beside

_SORT, _TOPK, _KTH, _CUMMAX, _CUMMIN = (pair(n) for n in ("sort", "topk", "kthvalue", "cummax", "cummin"))


def _ordered(name, input, *more):
    """RuntimeError for a tensor whose dtype has no order to speak of."""
    category = input.dtype.category
    if category == D.COMPLEX or category in more:
        kind = "bool" if category == D.BOOL else "complex"
        raise RuntimeError(f"{name} does not support {kind} dtypes on CPU (got {input.dtype}; convert it with .to(...), or take the real part, first)")


@both
def sort(input, dim=-1, descending=False, stable=None, *, out=None):
    """Values in order along `dim`, and where they came from. With `stable` equal elements keep their order."""
    _ordered("Sort", input)
    attrs = {"axis": wrap_dim(dim, input._data.ndim), "descending": bool(descending), "stable": bool(stable)}
    return _SORT(*apply(TABLE["sort"], (input,), attrs, out=out))


@both
def argsort(input, dim=-1, descending=False, stable=False):
    """The indices that sort along `dim`."""
    return sort(input, dim, descending, stable)[1]


@both
def msort(input, *, out=None):
    """Sorted along the first dimension."""
    values = sort(input, 0)[0]
    return values if out is None else out.resize_(values.shape).copy_(values)


@both
def topk(input, k, dim=-1, largest=True, sorted=True, *, out=None):
    """The k largest (or smallest) values along `dim` in order, and their indices."""
    d = wrap_dim(dim, input._data.ndim)
    n = input._data.shape[d] if input._data.ndim else 1
    if isinstance(k, Tensor):
        k = int(k)
    _ordered("topk", input, D.BOOL)
    if not 0 <= k <= n:
        raise RuntimeError(f"selected index k out of range (k is {k}, dimension {d} has size {n})")
    return _TOPK(*apply(TABLE["topk"], (input,), {"axis": d, "k": k, "largest": bool(largest), "sorted": True}, out=out))


@both
def kthvalue(input, k, dim=-1, keepdim=False, *, out=None):
    """The k-th smallest value along `dim` (k counts from 1), and its index."""
    d = wrap_dim(dim, input._data.ndim)
    n = input._data.shape[d] if input._data.ndim else 1
    if n == 0:
        raise IndexError(f"kthvalue(): Expected reduction dim {d} to have non-zero size.")
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d}")
    return _KTH(*apply(TABLE["kthvalue"], (input,), {"axis": d, "k": int(k), "keepdim": bool(keepdim)}, out=out))


@both
def cummax(input, dim, *, out=None):
    """The largest value so far along `dim`, and its index (the last of equals)."""
    return _CUMMAX(*apply(TABLE["cummax"], (input,), {"axis": wrap_dim(dim, input._data.ndim)}, out=out))


@both
def cummin(input, dim, *, out=None):
    """The smallest value so far along `dim`, and its index (the last of equals)."""
    return _CUMMIN(*apply(TABLE["cummin"], (input,), {"axis": wrap_dim(dim, input._data.ndim)}, out=out))


# ---- distinct values -------------------------------------------------------------------------------------------


@both
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct values (or slices of `dim`), with where each element went and how often each occurs if asked."""
    a = input._data
    if a.dtype == D.bfloat16.np:  # NumPy does not know where its NaN goes
        a = a.astype(np.float32)
    if dim is None:
        values, inverse, counts = compiled.distinct(a, return_inverse, return_counts) or np.unique(a, return_inverse=True, return_counts=True, equal_nan=False)
    else:
        d = wrap_dim(dim, a.ndim)
        if a.shape[d] == 0 and a.size == 0 and any(n == 0 for i, n in enumerate(a.shape) if i != d):
            raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
        values, inverse, counts = np.unique(a, return_inverse=True, return_counts=True, axis=d, equal_nan=False)
        inverse = inverse.reshape(-1)
    return _distinct(input, np.ascontiguousarray(values, input._data.dtype), inverse.reshape(a.shape) if dim is None and inverse is not None else inverse, counts, return_inverse, return_counts)


def _distinct(x, values, inverse, counts, return_inverse, return_counts):
    out = [beside(x, values)]
    if return_inverse:
        out.append(beside(x, np.asarray(inverse, dtype=np.int64, order="C")))
    if return_counts:
        out.append(beside(x, counts.astype(np.int64)))
    return out[0] if len(out) == 1 else tuple(out)


@both
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """The values (or slices of `dim`) with repeats of the one before left out."""
    a = input._data
    rows = a.reshape(-1) if dim is None else np.moveaxis(a, wrap_dim(dim, a.ndim), 0)
    n = rows.shape[0]
    flat = rows.reshape(n, -1) if n else rows.reshape(0, 1)
    first = np.ones(n, bool)
    if n > 1:
        first[1:] = (flat[1:] != flat[:-1]).any(1)
    values = np.ascontiguousarray(rows[first])
    at = np.flatnonzero(first)
    counts = np.diff(np.append(at, n))
    inverse = np.cumsum(first) - 1
    if dim is None:
        inverse = inverse.reshape(a.shape)
    else:
        values = np.moveaxis(values, 0, wrap_dim(dim, a.ndim))
    return _distinct(input, values, inverse, counts, return_inverse, return_counts)


# ---- places in sorted sequences --------------------------------------------------------------------------------


def _search(sequence, values, right):
    return np.searchsorted(wide(sequence), wide(values), "right" if right else "left")


@function
def searchsorted(sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None, out=None):
    """Where each value would be inserted in the sorted last dimension: before equals, or after them with `right`."""
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
        if right and side == "left":
            raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True")
        right = side == "right"
    number = not isinstance(input, Tensor)
    common = sorted_sequence.dtype if number else promote(sorted_sequence.dtype, input.dtype)
    if common.category in (D.BOOL, D.COMPLEX):
        raise NotImplementedError(f'"searchsorted_out_cpu" not implemented for \'{common.title}\'')
    s, v = cast(sorted_sequence._data, common.np), np.asarray(input) if number else cast(input._data, common.np)
    if s.ndim != 1 and (s.ndim != v.ndim or s.shape[:-1] != v.shape[:-1]):
        raise RuntimeError(
            f"torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value tensor must match, but we got boundaries tensor {list(s.shape)} and input value tensor {list(v.shape)}"
        )
    if sorter is not None:
        if sorter._data.shape != s.shape:
            raise RuntimeError(f"torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor {list(s.shape)}and got sorter tensor {list(sorter.shape)}")
        s = np.take_along_axis(s, sorter._data, -1)
    if s.ndim == 1:
        found = _search(s, v, right)
    else:
        rows, wanted = s.reshape(-1, s.shape[-1]), v.reshape(-1, v.shape[-1]) if v.size else v.reshape(0, v.shape[-1])
        found = np.array([_search(r, w, right) for r, w in zip(rows, wanted)]).reshape(v.shape)
    t = beside(sorted_sequence, np.asarray(found).astype(np.int32 if out_int32 else np.int64))
    return delivered(t, out, "searchsorted", exact=True, wanted=_SEARCHED)


_SEARCHED = "torch.searchsorted(): output tensor's dtype is wrong, it can only be Int(int32) or Long(int64) depending on whether out_int32 flag is True, but we got output tensor's dtype {found} and out_int32 flag for {want}"
_HISTOGRAM_OUT = "torch.histogram: input tensor and hist tensor should have the same dtype, but got input {want} and hist {found}"


@function
def bucketize(input, boundaries, *, out_int32=False, right=False, out=None):
    """The bucket of each value between sorted boundaries."""
    if boundaries._data.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries._data.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


@function
def isin(elements, test_elements, *, assume_unique=False, invert=False, out=None):
    """Whether each element is one of the test elements."""
    for x in (elements, test_elements):
        kind = x.dtype if isinstance(x, Tensor) else D.of_scalar(x)
        if kind.category in (D.BOOL, D.COMPLEX):
            raise RuntimeError(f"Unsupported input type encountered for isin(): {kind.title} (it takes integer and floating tensors)")
    if isinstance(elements, Tensor) and isinstance(test_elements, Tensor):
        promote(elements.dtype, test_elements.dtype)  # raises where there is no common type
    a, b = (v._data if isinstance(v, Tensor) else np.asarray(v) for v in (elements, test_elements))
    t = beside(elements if isinstance(elements, Tensor) else test_elements, np.asarray(np.isin(wide(a), wide(b), invert=invert)))
    return delivered(t, out, "isin", exact=True)


@both
def bincount(input, weights=None, minlength=0):
    """How often each non-negative integer occurs, or the sum of the weights at its places."""
    a = input._data
    if input.dtype.category != D.INTEGER:
        raise NotImplementedError(f'"bincount_cpu" not implemented for \'{input.dtype.title}\': bincount takes integers')
    if a.ndim != 1:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if a.size and a.min() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and weights._data.shape != a.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    out = np.bincount(a, None if weights is None else weights._data, minlength)
    if weights is not None and weights.dtype is D.float32:
        out = out.astype(np.float32)
    return beside(input, out)


@both
def histc(input, bins=100, min=0, max=0, *, out=None):
    """Counts of the elements in `bins` equal parts of [min, max] (of the data's range if both are 0)."""
    if input.dtype.category != D.FLOAT:
        raise NotImplementedError(f'"histogram_cpu" not implemented for \'{input.dtype.title}\'')
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    a = wide(input._data).reshape(-1)
    low, high = float(min), float(max)
    if low == high and a.size:
        low, high = float(a.min()), float(a.max())
    if low == high:
        low, high = low - 1, high + 1
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"range of [{low:g}, {high:g}] is not finite")
    if low > high:
        raise RuntimeError("max must be larger than min")
    x, kind = input._data.reshape(-1), input._data.dtype.type
    first, last = kind(low), kind(high)
    x = x[(x >= first) & (x <= last)]
    place = ((x - first) * kind(bins) / (last - first)).astype(np.float64).astype(np.int64)  # each step in the input's dtype
    counts = np.bincount(np.minimum(place, bins - 1), minlength=bins)
    t = beside(input, counts.astype(input._data.dtype))
    return delivered(t, out, "histc", exact=True, wanted=_HISTOGRAM_OUT)


_HISTOGRAM = pair("histogram", "hist bin_edges")


@both
def histogram(input, bins=100, *, range=None, weight=None, density=False, out=None):
    """Counts (or weights, or densities) in bins, given by number and range or by their edges."""
    if input.dtype not in (D.float32, D.float64):
        raise NotImplementedError(f'"histogramdd" not implemented for \'{input.dtype.title}\': histogram takes float32 and float64')
    a = input._data.reshape(-1)
    if isinstance(bins, Tensor):
        if bins._data.ndim != 1:
            raise RuntimeError(f"torch.histogramdd: bins tensor should have one dimension, but got {bins._data.ndim} dimensions in the bins tensor for dimension 0")
        if bins.dtype is not input.dtype:
            raise RuntimeError(f"torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with dtype {input.dtype.title} and bins for dimension 0 with dtype {bins.dtype.title}")
        edges = bins._data
    else:
        if bins <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
        low, high = (float(v) for v in range) if range is not None else (float(a.min()), float(a.max())) if a.size else (0.0, 1.0)
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, bins + 1).astype(a.dtype)
    w = None if weight is None else weight._data.reshape(-1)
    counts = np.histogram(a, edges, weights=w, density=False)[0].astype(a.dtype)
    if density:
        counts = counts / (counts.sum() * np.diff(edges))
    results = _HISTOGRAM(beside(input, counts.astype(a.dtype)), beside(input, np.array(edges)))
    return delivered(results, out, "histogram", exact=True, wanted=_HISTOGRAM_OUT)


@both
def argwhere(input):
    """The places of the elements that are not zero, one row each."""
    return input.nonzero()


@both
def equal(input, other):
    """Whether two tensors have the same shape and elements, of whatever dtypes."""
    return input._data.shape == other._data.shape and bool(np.array_equal(input._data, other._data))


@both
def isclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """|input - other| <= atol + rtol * |other|, elementwise."""
    if not isinstance(other, Tensor):
        raise TypeError(f"isclose(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{input.dtype.title} did not match {other.dtype.title}")
    if rtol < 0 or atol < 0:
        name, v = ("rtol", rtol) if rtol < 0 else ("atol", atol)
        raise RuntimeError(f"{name} must be greater than or equal to zero, but got {v:g}")
    broadcast(input._data.shape, other._data.shape)
    a, b = wide(np.asarray(input._data)), wide(np.asarray(other._data))
    with np.errstate(all="ignore"):
        close = a == b
        if equal_nan and a.dtype.kind in "fc":
            close |= np.isnan(a) & np.isnan(b)
        if rtol or atol:
            if a.dtype.kind == "b":
                a, b = a.astype(np.int8), b.astype(np.int8)
            difference = np.abs(a - b)
            close |= np.isfinite(difference) & (difference <= atol + np.abs(rtol * b))
    return beside(input, np.asarray(close))


@both
def allclose(input, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Whether all elements are close."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._data.all())
