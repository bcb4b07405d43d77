"""Rows that rearrange images: padding by a constant, channels into pixels and back, and sampling at
the points of a grid.

Sampling. For each axis a point gives taps: input places with weights, and the weights' derivatives
by the coordinate. A result is the sum over combinations of taps; its gradients in the input and in
the grid read the same taps.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from rushlight.ops.neural_base import Spec, dtype_of, floating, neural
from rushlight.ops.neural_resample import cubic_weights
from rushlight.ops.op import MISSING

# ---- padding by a constant -----------------------------------------------------------------------


def _pad_shape(shape, pad):
    return tuple(n + a + b for n, (a, b) in zip(shape, pad))


def _constant_pad(x, pad, value):
    out = np.empty(_pad_shape(x.shape, pad), x.dtype)
    out.fill(value)
    source = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pad))
    target = tuple(slice(max(a, 0), n - max(b, 0)) for n, (a, b) in zip(out.shape, pad))
    out[target] = x[source]
    return out


def _constant_pad_back(g, pad):
    return g._fused("constant_pad_nd", pad=tuple((-a, -b) for a, b in pad), value=0)


# ---- pixels and channels -------------------------------------------------------------------------


def _shuffled(x, r):
    *lead, c, h, w = x.shape
    y = x.reshape(*lead, c // (r * r), r, r, h, w)
    n = len(lead)
    out = np.empty((*lead, c // (r * r), h, r, w, r), x.dtype)
    out[...] = y.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return out.reshape(*lead, c // (r * r), h * r, w * r)


def _unshuffled(x, r):
    *lead, c, h, w = x.shape
    y = x.reshape(*lead, c, h // r, r, w // r, r)
    n = len(lead)
    return y.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3).reshape(
        *lead, c * r * r, h // r, w // r
    )


def _shuffle_spec(op, args, attrs):
    *lead, c, h, w = args[0]._data.shape
    r = attrs["r"]
    return Spec((*lead, c // (r * r), h * r, w * r), dtype_of(args[0]))


def _unshuffle_spec(op, args, attrs):
    *lead, c, h, w = args[0]._data.shape
    r = attrs["r"]
    return Spec((*lead, c * r * r, h // r, w // r), dtype_of(args[0]))


def _channels_shuffled(x, groups):
    n, c = x.shape[:2]
    return x.reshape(n, groups, c // groups, *x.shape[2:]).swapaxes(1, 2).reshape(x.shape)


def _keep(op, args, attrs):
    return Spec(args[0]._data.shape, dtype_of(args[0]))


# ---- sampling at points --------------------------------------------------------------------------


def _reflected(c, low, high, step):
    """Coordinates reflected into [low / 2, high / 2], and the sign of the derivative."""
    if low == high:
        return np.zeros_like(c), np.zeros_like(c)
    least, span = low / 2, (high - low) / 2
    sign = np.where(c < least, -1.0, 1.0)
    c = step(np.abs(c - least))
    extra = step(np.fmod(c, span))
    odd = np.floor(step(c / span)) % 2 == 1
    return step(step(np.where(odd, span - extra, extra)) + least), np.where(odd, -sign, sign)


def _inside(c, n, padding, align, step):
    """Coordinates brought into the image by the padding mode, and their derivative."""
    slope = 1.0
    if padding == "reflection":
        low, high = (0, 2 * (n - 1)) if align else (-1, 2 * n - 1)
        c, slope = _reflected(c, low, high, step)
    if padding != "zeros":
        slope = slope * ((c > 0) & (c < n - 1))
        c = np.clip(c, 0, n - 1)
    return c, slope


def _place(c):
    """Coordinates as places; what is not a number or far away becomes a place outside."""
    return np.where(np.abs(c) < 2**30, c, -(2**30)).astype(np.int64)


def _taps(grid, n, mode, padding, align, step):
    """[(place, inside, weight, slope)] of one axis of n places, for coordinates in [-1, 1];
    slope is d weight / d grid. Half types are rounded at every step.
    """
    factor = (n - 1) / 2 if align else n / 2
    c = step(grid + 1)
    c = step(c * grid.dtype.type(factor)) if align else step(step(c * n) - 1) / 2
    if mode == "bicubic":
        low = np.floor(c)
        t = step(c - low)
        near = cubic_weights(t, step)
        a = -0.75
        far_slope = lambda x: (3 * a * x - 10 * a) * x + 8 * a  # noqa: E731
        near_slope = lambda x: (3 * (a + 2) * x - 2 * (a + 3)) * x  # noqa: E731
        h = [far_slope(t + 1), near_slope(t), -near_slope(1 - t), -far_slope(2 - t)]
        out = []
        for k in range(4):
            place = _place(_inside(low + (k - 1), n, padding, align, step)[0])
            out.append((place, near[k], h[k] * factor))
    else:
        c, slope = _inside(c, n, padding, align, step)
        if mode == "nearest":
            out = [(_place(np.rint(c)), np.ones_like(c), np.zeros_like(c))]
        else:
            low = np.floor(c)
            t = step(c - low)
            place = _place(low)
            out = [
                (place, step(low + 1 - c), -slope * factor * np.ones_like(c)),
                (place + 1, t, slope * factor * np.ones_like(c)),
            ]
    return [(np.clip(p, 0, n - 1), (p >= 0) & (p < n), w, d) for p, w, d in out]


def _combinations(x, grid, mode, padding, align, step):
    """For each combination of taps: flat place (N, P), inside (N, P),
    the axes' weights and slopes.
    """
    size = x.shape[2:]
    n = x.shape[0]
    axes = [
        _taps(grid[..., len(size) - 1 - i].reshape(n, -1), size[i], mode, padding, align, step)
        for i in range(len(size))
    ]
    for combination in itertools.product(*axes):
        flat = 0
        for (place, *_), length in zip(combination, size):
            flat = flat * length + place
        inside = _every([c[1] for c in combination])
        yield flat, inside, [c[2] for c in combination], [c[3] for c in combination]


def _every(masks):
    """All of several masks."""
    out = masks[0]
    for m in masks[1:]:
        out = out & m
    return out


def _gathered(x, flat):
    """(N, C, P): the values of images (N, C, S) at places (N, P)."""
    return np.take_along_axis(x.reshape(x.shape[0], x.shape[1], -1), flat[:, None], 2)


def _sample(x, grid, mode, padding, align, step):
    out, row = 0, 0
    for k, (flat, inside, weights, _) in enumerate(_combinations(x, grid, mode, padding, align, step)):
        value = np.where(inside[:, None], _gathered(x, flat), 0)
        if mode == "bicubic":  # the four values of a line first
            row = step(row + step(value * weights[1][:, None].astype(x.dtype)))
            if k % 4 < 3:
                continue
            value, w, row = row, weights[0], 0
        else:
            w = weights[-1]
            for other in weights[-2::-1]:
                w = step(w * other)
        out = step(out + step(value * w[:, None].astype(x.dtype)))
    return out.reshape(x.shape[0], x.shape[1], *grid.shape[1:-1]).astype(x.dtype)


def _sample_x(g, x, grid, mode, padding, align, step):
    n, c, total = x.shape[0], x.shape[1], math.prod(x.shape[2:])
    g = g.reshape(n, c, -1)
    out = np.zeros(n * c * total)
    row = (np.arange(n * c) * total).reshape(n, c, 1)
    for flat, inside, weights, _ in _combinations(x, grid, mode, padding, align, step):
        w = math.prod(weights) * inside
        out += np.bincount((row + flat[:, None]).ravel(), (g * w[:, None]).ravel(), n * c * total)
    return out.reshape(x.shape).astype(x.dtype)


def _sample_grid(g, x, grid, mode, padding, align, step):
    n, c = x.shape[:2]
    g = g.reshape(n, c, -1)
    dims = x.ndim - 2
    out = np.zeros((n, g.shape[2], dims), x.dtype)
    if mode == "nearest":
        return out.reshape(grid.shape)
    for flat, inside, weights, slopes in _combinations(x, grid, mode, padding, align, step):
        value = (
            np.einsum("ncp,ncp->np", np.where(inside[:, None], _gathered(x, flat), 0), g) * inside
        )
        for i in range(dims):
            w = slopes[i]
            for j in range(dims):
                if j != i:
                    w = w * weights[j]
            out[..., dims - 1 - i] += value * w
    return out.reshape(grid.shape)


def _sample_spec(op, args, attrs):
    x, grid = args
    return Spec((*x._data.shape[:2], *grid._data.shape[1:-1]), floating(op, dtype_of(x)))


def _like(i):
    return lambda op, args, attrs: Spec(args[i]._data.shape, dtype_of(args[i]))


def _grid_attrs(mode, padding, align):
    return {"mode": mode, "padding": padding, "align": align}


# ---- affine grids --------------------------------------------------------------------------------


def _base_grid(size, align, dtype):
    """Homogeneous coordinates (places, dimensions + 1), the last axis first."""
    axes = []
    for n in size:
        line = np.linspace(-1, 1, n) if n > 1 else np.zeros(n)
        axes.append((line if align else line * (n - 1) / n).astype(dtype))
    mesh = np.meshgrid(*axes, indexing="ij")
    return np.stack([*(m.ravel() for m in reversed(mesh)), np.ones(math.prod(size), dtype)], 1)


def _affine(theta, size, align):
    base = _base_grid(size, align, theta.dtype)
    return np.matmul(base, theta.swapaxes(1, 2)).reshape(theta.shape[0], *size, len(size))


def _affine_adjoint(g, size, align):
    base = _base_grid(size, align, g.dtype)
    return np.matmul(g.reshape(g.shape[0], -1, len(size)).swapaxes(1, 2), base)


# fmt: off
neural("constant_pad_nd", lambda op, args, attrs: Spec(_pad_shape(args[0]._data.shape, attrs["pad"]), dtype_of(args[0])), _constant_pad, _constant_pad_back, dtypes="bifc")
neural("pixel_shuffle",   _shuffle_spec,   _shuffled,   lambda g, r: g._fused("pixel_unshuffle", r=r), dtypes="bifc")
neural("pixel_unshuffle", _unshuffle_spec, _unshuffled, lambda g, r: g._fused("pixel_shuffle", r=r), dtypes="bifc")
neural("channel_shuffle", _keep, _channels_shuffled,    lambda g, groups: g._fused("channel_shuffle", groups=g.shape[1] // groups), dtypes="bifc")
for _n in (2, 3):
    neural(f"grid_sampler_{_n}d", _sample_spec, _sample,
           lambda g, x, grid, mode, padding, align: g._fused("grid_sampler_input", x, grid, **_grid_attrs(mode, padding, align)),
           lambda g, x, grid, mode, padding, align: g._fused("grid_sampler_grid", x, grid, **_grid_attrs(mode, padding, align)),
           inputs=("x", "grid"), node=f"GridSampler{_n}DBackward0")
neural("grid_sampler_input", _like(1), _sample_x,    MISSING, MISSING, MISSING, inputs=("g", "x", "grid"))
neural("grid_sampler_grid",  _like(2), _sample_grid, MISSING, MISSING, MISSING, inputs=("g", "x", "grid"))
neural("affine_grid_generator", lambda op, args, attrs: Spec((args[0]._data.shape[0], *attrs["size"], len(attrs["size"])), dtype_of(args[0])), _affine,
       lambda g, size, align: g._fused("affine_grid_adjoint", size=size, align=align))
neural("affine_grid_adjoint", lambda op, args, attrs: Spec((args[0]._data.shape[0], len(attrs["size"]), len(attrs["size"]) + 1), dtype_of(args[0])), _affine_adjoint,
       lambda g, size, align: g._fused("affine_grid_generator", size=size, align=align))
# fmt: on
