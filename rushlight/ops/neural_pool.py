"""Pooling rows: windows reduced by maximum or mean, and what puts values back.

Mechanism. A window is walked by its places, not by its positions: for each place one strided slice
of the padded input meets the running result, so every step is one pass over the result. Windows of
varying size (adaptive, fractional) are a gather by index tables, one an axis, whose short rows
repeat their last entry.

`take_flat` and `put_flat` read and add at flat positions within the spatial dimensions; they are
each other's adjoint, and the gradient of every maximum. The mean and its adjoint are a second such
pair.

Arrays are (N, C, *size), so the spatial dimensions are all but two; indices are flat positions in
`size`.
"""

from __future__ import annotations

import math

import numpy as np

from rushlight.core import dtype as D
from rushlight.ops.neural_base import Spec, dtype_of, floating, neural
from rushlight.ops.neural_conv import offsets


def pooled_length(n, k, s, p, d, ceil):
    """How many windows fit; with `ceil` also one that begins inside but ends outside."""
    out = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil else 0)) // s + 1
    if ceil and (out - 1) * s >= n + p:
        out -= 1
    return out


def _surrounded(x, kernel, stride, padding, dilation, places, value):
    """x within enough of `value` for every window."""
    n = len(kernel)
    size = x.shape[-n:]
    full = tuple(
        max(p + m, (l - 1) * s + d * (k - 1) + 1)
        for m, p, l, s, d, k in zip(size, padding, places, stride, dilation, kernel)
    )
    if full == size:
        return x
    out = np.empty(x.shape[:-n] + full, x.dtype)
    out.fill(value)
    out[(..., *(slice(p, p + m) for p, m in zip(padding, size)))] = x
    return out


def _lowest(dtype):
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _flat_steps(size):
    return [math.prod(size[i + 1 :]) for i in range(len(size))]


def _max_plain(x, kernel, stride, padding, dilation, places):
    x = _surrounded(x, kernel, stride, padding, dilation, places, _lowest(x.dtype))
    out = None
    for _, key in offsets(kernel, stride, dilation, places):
        part = x[(..., *key)]
        out = part.copy() if out is None else np.maximum(out, part, out=out)
    return out


def _max_pool(x, kernel, stride, padding, dilation, places):
    """Maxima and their flat positions: the first of equal ones, the last NaN."""
    size = x.shape[x.ndim - len(kernel) :]
    steps = _flat_steps(size)
    x = _surrounded(x, kernel, stride, padding, dilation, places, _lowest(x.dtype))
    base = start = 0
    for i, (p, s, d, m, step) in enumerate(zip(padding, stride, dilation, places, steps)):
        shape = (m,) + (1,) * (len(places) - 1 - i)
        begin = np.arange(m) * s - p
        base = base + (begin * step).reshape(shape)
        start = start + (np.maximum(0, -(begin // d)) * (begin < 0) * d * step).reshape(shape)
    out = np.empty(x.shape[: x.ndim - len(kernel)] + tuple(places), x.dtype)
    out.fill(_lowest(x.dtype))
    count = math.prod(kernel)
    which = np.zeros(
        out.shape, np.uint8 if count < 256 else np.int32
    )  # 1 + the window's place, 0: none beat the lowest
    floats = x.dtype.kind == "f"
    step_to = [0]
    for k, (index, key) in enumerate(offsets(kernel, stride, dilation, places), 1):
        part = x[(..., *key)]
        better = part > out
        if floats:
            np.maximum(out, part, out=out)
            better |= part != part
        else:
            np.copyto(out, part, where=better)
        np.copyto(which, k, where=better)
        step_to.append(sum(i * d * step for i, d, step in zip(index, dilation, steps)))
    where = np.take(np.array(step_to), which)
    where += base
    if not which.all():
        where = np.where(which == 0, base + start, where)
    return out, where


def _max_spec(op, args, attrs):
    shape = args[0]._data.shape
    shape = shape[: len(shape) - len(attrs["kernel"])] + tuple(attrs["places"])
    values = Spec(shape, floating(op, dtype_of(args[0])))
    return (values, Spec(shape, D.int64)) if op.outputs == 2 else values


def _first_back(g, out1, x_spec, n):
    """The gradient of maxima at flat positions out1 of n spatial dimensions."""
    return g[0]._fused("put_flat", out1, size=tuple(x_spec.shape[-n:]))


def _flat(x, n):
    return x.reshape(-1, math.prod(x.shape[x.ndim - n :]))


def _put_flat(g, index, size):
    n = len(size)
    total = math.prod(size)
    index = _flat(index, n)
    rows = index.shape[0]
    where = index + (np.arange(rows) * total)[:, None]
    out = np.empty(g.shape[: g.ndim - n] + tuple(size), g.dtype)
    if g.dtype.kind == "f":
        out[...] = (
            np.bincount(where.ravel(), g.ravel(), rows * total).reshape(out.shape)
            if rows * total
            else 0
        )
    else:
        out.fill(0)
        np.add.at(out.reshape(-1), where.ravel(), g.ravel())
    return out


def _take_flat(x, index):
    n = x.ndim - 2
    return np.take_along_axis(_flat(x, n), _flat(index, n), 1).reshape(index.shape).copy()


def _unpool(x, index, size):
    n = len(size)
    rows = _flat(x, n)
    where = _flat(index, n)
    total = math.prod(size)
    if where.size and (where.min() < 0 or where.max() >= total):
        bad = where[(where < 0) | (where >= total)].flat[0]
        raise RuntimeError(
            f"Found an invalid max index: {bad} (output volumes are of size "
            f"{'x'.join(map(str, size))}"
        )
    out = np.zeros(x.shape[: x.ndim - n] + tuple(size), x.dtype)
    np.put_along_axis(out.reshape(rows.shape[0], total), where, rows, 1)
    return out


def _sized(op, args, attrs):
    shape = args[0]._data.shape
    return Spec(shape[: len(shape) - len(attrs["size"])] + tuple(attrs["size"]), dtype_of(args[0]))


def _like_index(op, args, attrs):
    return Spec(args[1]._data.shape, dtype_of(args[0]))


# ---- windows by tables ---------------------------------------------------------------------------


def _max_tables(x, tables):
    """Maxima over windows whose members the tables (places, longest) list,
    one table a spatial dimension.
    """
    n = len(tables)
    size = x.shape[x.ndim - n :]
    key = []
    for i, t in enumerate(tables):
        shape = [1] * (2 * n)
        shape[i], shape[n + i] = t.shape
        key.append(t.reshape(shape))
    position = sum(k * step for k, step in zip(key, _flat_steps(size)))
    gathered = _flat(x, n)[:, position.reshape(-1)].reshape(
        -1, *position.shape[:n], math.prod(position.shape[n:])
    )
    best = gathered.argmax(-1)[..., None]
    shape = x.shape[: x.ndim - n] + position.shape[:n]
    members = np.broadcast_to(position.reshape(1, *position.shape[:n], -1), gathered.shape)
    return np.take_along_axis(gathered, best, -1).reshape(shape).copy(), np.take_along_axis(
        members, best, -1
    ).reshape(shape).astype(np.int64)


def _table_spec(op, args, attrs):
    shape, tables = args[0]._data.shape, attrs["tables"]
    shape = shape[: len(shape) - len(tables)] + tuple(len(t) for t in tables)
    return Spec(shape, floating(op, dtype_of(args[0]))), Spec(shape, D.int64)


# ---- means ---------------------------------------------------------------------------------------


def _divisors(size, kernel, stride, padding, places, include_pad, divisor):
    """What each window's sum is divided by."""
    if divisor is not None:
        return divisor
    out = 1
    for i, (n, k, s, p, m) in enumerate(zip(size, kernel, stride, padding, places)):
        begin = np.arange(m) * s - p
        end = np.minimum(begin + k, n + p)
        count = end - begin if include_pad else np.minimum(end, n) - np.maximum(begin, 0)
        out = out * count.reshape((m,) + (1,) * (len(places) - 1 - i))
    if out.min() == out.max():
        return int(out.flat[0])
    return out


def _divided(x, count):
    if x.dtype.kind != "f":
        return np.trunc(x / count).astype(x.dtype)
    return np.divide(x, np.asarray(count, x.dtype), out=x)


def _avg_pool(x, kernel, stride, padding, places, include_pad, divisor):
    size = x.shape[x.ndim - len(kernel) :]
    ones = (1,) * len(kernel)
    x = _surrounded(x, kernel, stride, padding, ones, places, 0)
    out = None
    for _, key in offsets(kernel, stride, ones, places):
        part = x[(..., *key)]
        out = part.copy() if out is None else np.add(out, part, out=out)
    return _divided(out, _divisors(size, kernel, stride, padding, places, include_pad, divisor))


def _avg_adjoint(g, size, kernel, stride, padding, places, include_pad, divisor):
    n = len(kernel)
    g = g / np.asarray(
        _divisors(size, kernel, stride, padding, places, include_pad, divisor), g.dtype
    )
    full = tuple(
        max(m + p, (l - 1) * s + k) for m, p, l, s, k in zip(size, padding, places, stride, kernel)
    )
    out = np.zeros(g.shape[: g.ndim - n] + full, g.dtype)
    for _, key in offsets(kernel, stride, (1,) * n, places):
        out[(..., *key)] += g
    return (
        out
        if full == tuple(size)
        else np.ascontiguousarray(out[(..., *(slice(p, p + m) for p, m in zip(padding, size)))])
    )


def _avg_back(g, x_spec, kernel, stride, padding, places, include_pad, divisor):
    size = tuple(x_spec.shape[-len(kernel) :])
    return g._fused(
        "avg_pool_backward",
        size=size,
        kernel=kernel,
        stride=stride,
        padding=padding,
        places=places,
        include_pad=include_pad,
        divisor=divisor,
    )


def _avg_again(g, kernel, stride, padding, places, include_pad, divisor):
    return g._fused(
        f"avg_pool{len(kernel)}d",
        kernel=kernel,
        stride=stride,
        padding=padding,
        places=places,
        include_pad=include_pad,
        divisor=divisor,
    )


def _starts(sample, n, m, k):
    """Where the m pseudo-random windows of length k begin in n places, for each sample in [0,
    1).
    """
    alpha = (n - k) / (m - 1) if m > 1 else 0.0
    i = np.arange(m, dtype=sample.dtype)
    u = sample[..., None]
    out = ((i + u) * sample.dtype.type(alpha)).astype(np.int64) - (
        u * sample.dtype.type(alpha)
    ).astype(np.int64)
    out[..., -1] = n - k
    return out


def _fractional(x, samples, size, kernel):
    """Maxima over windows that begin at pseudo-random places;
    x (N, C, *size), samples (N, C, dimensions), last axis first.
    """
    n = len(size)
    own = x.shape[2:]
    if x.shape[0] == 0:
        return np.empty((*x.shape[:2], *size), x.dtype), np.empty((*x.shape[:2], *size), np.int64)
    position = 0
    for i, (length, m, k, step) in enumerate(zip(own, size, kernel, _flat_steps(own))):
        start = _starts(samples[..., n - 1 - i if n == 2 else i], length, m, k)  # (N, C, m)
        member = start[..., None] + np.arange(k)
        shape = [*start.shape[:2], *(1,) * (2 * n)]
        shape[2 + i], shape[2 + n + i] = m, k
        position = position + member.reshape(shape) * step
    flat = position.reshape(*position.shape[:2], -1)
    gathered = np.take_along_axis(x.reshape(*x.shape[:2], -1), flat, 2).reshape(
        *x.shape[:2], *size, -1
    )
    best = gathered.argmax(-1)[..., None]
    members = flat.reshape(gathered.shape)
    return np.take_along_axis(gathered, best, -1)[..., 0].copy(), np.take_along_axis(
        members, best, -1
    )[..., 0].copy()


def _sized_pair(op, args, attrs):
    values = _sized(op, args, attrs)
    return values, Spec(values.shape, D.int64)


for _n in (2, 3):
    neural(f"max_pool{_n}d", _max_spec, _max_pool, lambda g, out1, x_spec, kernel: _first_back(g, out1, x_spec, len(kernel)),
           outputs=2, node=f"MaxPool{_n}DWithIndicesBackward0", dtypes="if")  # fmt: skip
    neural(f"adaptive_max_pool{_n}d", _table_spec, _max_tables, lambda g, out1, x_spec, tables: _first_back(g, out1, x_spec, len(tables)),
           outputs=2, node=f"AdaptiveMaxPool{_n}DBackward0")  # fmt: skip
    neural(f"fractional_max_pool{_n}d", _sized_pair, _fractional, lambda g, out1, x_spec, size: _first_back(g, out1, x_spec, len(size)), None,
           inputs=("x", "samples"), outputs=2, node=f"FractionalMaxPool{_n}DBackward0")  # fmt: skip
    neural(
        f"max_unpool{_n}d",
        _sized,
        _unpool,
        lambda g, index: g._fused("take_flat", index),
        None,
        inputs=("x", "index"),
        node=f"MaxUnpool{_n}DBackward0",
    )
    neural(
        f"avg_pool{_n}d",
        _max_spec,
        _avg_pool,
        _avg_back,
        node=f"AvgPool{_n}DBackward0",
        dtypes="if",
    )
neural("max_pool", _max_spec, _max_plain, dtypes="if")
neural("avg_pool_backward", _sized, _avg_adjoint, _avg_again)
neural(
    "put_flat",
    _sized,
    _put_flat,
    lambda g, index: g._fused("take_flat", index),
    None,
    inputs=("g", "index"),
)
neural(
    "take_flat",
    _like_index,
    _take_flat,
    lambda g, index, x_spec: g._fused("put_flat", index, size=tuple(x_spec.shape[2:])),
    None,
    inputs=("x", "index"),
)
