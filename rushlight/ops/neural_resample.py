"""Resampling rows: each result element a weighted sum of a few input elements, separately along
each spatial axis.

One kernel serves interpolation of every kind, adaptive means, and padding by reflection, repetition
and wrapping. What differs is the table: for one axis, `Taps` says which input places each output
place reads and with what weights. The adjoint is the same kernel with the transposed tables, so
derivatives of any order need nothing else.

Attribute: `tables`, one Taps (or None: the axis stays) for each of the last dimensions.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from rushlight.ops.neural_base import Spec, as_it_is, dtype_of, floating, neural


class Taps:
    """index (m, t) and weight (m, t) or None (a plain gather,
    t = 1) of m output places over n input places.
    """

    __slots__ = ("index", "weight", "n", "_transposed", "_matrices")

    def __init__(self, index, weight, n):
        self.index, self.weight, self.n, self._transposed, self._matrices = (
            index,
            weight,
            n,
            None,
            {},
        )

    def matrix(self, dtype):
        """The table as a dense matrix (m, n). A zero times an infinity would spread:
        for finite inputs only.
        """
        found = self._matrices.get(dtype)
        if found is None:
            found = np.zeros((self.index.shape[0], self.n), dtype)
            np.add.at(found, (np.arange(self.index.shape[0])[:, None], self.index), self.weight)
            self._matrices[dtype] = found
        return found

    @property
    def transposed(self):
        """The table of the adjoint: for each input place, the output places that read it."""
        if self._transposed is None:
            self._transposed = self._transpose()
            self._transposed._transposed = self
        return self._transposed

    def _transpose(self):
        m, t = self.index.shape
        source = self.index.ravel()
        weight = np.ones(m * t) if self.weight is None else self.weight.ravel()
        target = np.repeat(np.arange(m), t)
        used = weight != 0
        source, weight, target = source[used], weight[used], target[used]
        order = np.argsort(source, kind="stable")
        source, weight, target = source[order], weight[order], target[order]
        count = np.bincount(source, minlength=self.n)
        width = max(1, int(count.max(initial=1)))
        slot = np.arange(source.size) - np.repeat(np.cumsum(count) - count, count)
        index, weights = np.zeros((self.n, width), np.int64), np.zeros((self.n, width))
        index[source, 0] = target  # unused slots read a place that is read anyway
        index[:] = index[:, :1]
        index[source, slot], weights[source, slot] = target, weight
        return Taps(index, weights, m)


_DENSE = (
    256  # axes up to this length are resampled by a product with a matrix: BLAS beats gathers there
)


def _along(x, taps, axis):
    """The weighted sum of gathers along one axis."""
    if taps.weight is None:
        return np.take(x, taps.index[:, 0], axis)
    if (
        x.size
        and x.dtype.kind == "f"
        and taps.n <= _DENSE
        and np.isfinite(np.add.reduce(x, axis=None))
    ):
        m = taps.matrix(x.dtype)
        if axis == x.ndim - 1:
            return x.reshape(-1, taps.n).dot(m.T).reshape(*x.shape[:-1], -1)
        rest = x.reshape(math.prod(x.shape[:axis]), taps.n, -1)
        return np.matmul(m, rest).reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
    weights = taps.weight.astype(x.dtype if x.dtype.kind in "fc" else np.float64)
    shape = (-1,) + (1,) * (x.ndim - 1 - axis)
    out = None
    for k in range(weights.shape[1]):
        part = np.take(x, taps.index[:, k], axis)
        w = weights[:, k]
        if not (w == 1).all():
            part = part * w.reshape(shape)
        out = part if out is None else np.add(out, part, out=out)
    return out


def _resample(x, tables):
    first = x.ndim - len(tables)
    work = x
    used = [(first + i, t) for i, t in enumerate(tables) if t is not None]
    for axis, taps in sorted(
        used, key=lambda pair: pair[1].index.shape[0] / max(pair[1].n, 1)
    ):  # what shrinks goes first
        work = _along(work, taps, axis)
    if x.dtype.kind in "iu" and work.dtype.kind == "f":
        info = np.iinfo(x.dtype)
        work = np.clip(np.rint(work), info.min, info.max)
    return work.copy() if work is x else work


def _resample_spec(op, args, attrs):
    x, tables = args[0], attrs["tables"]
    shape = x._data.shape
    first = len(shape) - len(tables)
    return Spec(
        shape[:first]
        + tuple(n if t is None else t.index.shape[0] for n, t in zip(shape[first:], tables)),
        floating(op, dtype_of(x)),
    )


def _resample_back(g, tables):
    return g._fused("resample_backward", tables=tuple(t and t.transposed for t in tables))


NODES = {
    **{f"upsample_nearest{n}d": f"UpsampleNearest{n}DBackward0" for n in (1, 2, 3)},
    **{f"upsample_nearest_exact{n}d": f"UpsampleNearestExact{n}DBackward0" for n in (1, 2, 3)},
    "upsample_linear1d": "UpsampleLinear1DBackward0",
    "upsample_bilinear2d": "UpsampleBilinear2DBackward0",
    "upsample_trilinear3d": "UpsampleTrilinear3DBackward0",
    "upsample_bicubic2d": "UpsampleBicubic2DBackward0",
    "upsample_bilinear2d_aa": "UpsampleBilinear2DAaBackward0",
    "upsample_bicubic2d_aa": "UpsampleBicubic2DAaBackward0",
    "upsample_lanczos2d_aa": "UpsampleLanczos2DAaBackward0",
    **{f"reflection_pad{n}d": f"ReflectionPad{n}DBackward0" for n in (1, 2, 3)},
    **{f"replication_pad{n}d": f"ReplicationPad{n}DBackward0" for n in (1, 2, 3)},
    "circular_pad": "CopySlices",
    **{f"adaptive_avg_pool{n}d": f"AdaptiveAvgPool{n}DBackward0" for n in (2, 3)},
    "resample_backward": "ResampleBackward0",
}
_DTYPES = {"adaptive": "f", "reflect": "ifc", "replica": "ifc", "circula": "bifc", "resampl": "fc"}
for _name, _node in NODES.items():
    neural(
        _name,
        _resample_spec,
        _resample,
        _resample_back,
        node=_node,
        dtypes=_DTYPES.get(_name[:7], _DTYPES.get(_name[:8], "if")),
    )


# ---- tables --------------------------------------------------------------------------------------


def _scale(n, m, align_corners, scale):
    """Input places per output place."""
    if align_corners:
        return (n - 1) / (m - 1) if m > 1 else 0.0
    return 1.0 / scale if scale is not None and scale > 0 else n / m


@functools.lru_cache(maxsize=256)
def nearest(n, m, scale, exact):
    """The input place that an output place lies in, in float32 as PyTorch computes it."""
    if n == m and scale is None:
        return Taps(np.arange(n)[:, None], None, n)
    step = np.float32(_scale(n, m, False, scale))
    i = np.arange(m, dtype=np.float32)
    index = np.floor(((i + np.float32(0.5)) if exact else i) * step).astype(np.int64)
    return Taps(np.minimum(index, n - 1)[:, None], None, n)


def _positions(n, m, align_corners, scale, number, clip):
    """Where output places lie among the input places, and the place below each."""
    step = number(_scale(n, m, align_corners, scale))
    i = np.arange(m, dtype=number)
    at = step * i if align_corners else step * (i + number(0.5)) - number(0.5)
    if clip:
        at = np.maximum(at, 0)
    low = np.floor(at)
    return low.astype(np.int64), at - low


@functools.lru_cache(maxsize=256)
def linear(n, m, align_corners, scale, number, half=None):
    """The two neighbours, by distance; the weights rounded to `half` where that is given."""
    low, t = _positions(n, m, align_corners, scale, number, True)
    low = np.minimum(low, n - 1)
    if half is not None:
        t = t.astype(half).astype(number)
        first = (1 - t).astype(half).astype(number)
        return Taps(np.stack([low, np.minimum(low + 1, n - 1)], 1), np.stack([first, t], 1), n)
    return Taps(np.stack([low, np.minimum(low + 1, n - 1)], 1), np.stack([1 - t, t], 1), n)


def cubic_weights(t, step=as_it_is, a=-0.75):
    """The weights of the four neighbours at -1, 0, 1, 2 of a place t in [0, 1), every step rounded by `step`."""
    s = step
    near = lambda x: s(s(s(s(s((a + 2) * x) - (a + 3)) * x) * x) + 1)  # noqa: E731
    far = lambda x: s(s(s(s(s(s(a * x) - 5 * a) * x) + 8 * a) * x) - 4 * a)  # noqa: E731
    return [far(s(t + 1)), near(t), near(s(1 - t)), far(s(2 - t))]


@functools.lru_cache(maxsize=256)
def cubic(n, m, align_corners, scale, number, half=None):
    """Four neighbours by Keys's cubic with a = -0.75; the border is repeated."""
    low, t = _positions(n, m, align_corners, scale, number, False)
    index = np.clip(low[:, None] + np.arange(-1, 3), 0, n - 1)
    weights = np.stack(cubic_weights(t), 1)
    return Taps(index, weights if half is None else weights.astype(half).astype(number), n)


def _triangle(x):
    return np.maximum(1 - np.abs(x), 0)


def _keys(x, a=-0.5):
    x = np.abs(x)
    return np.where(
        x < 1,
        ((a + 2) * x - (a + 3)) * x * x + 1,
        np.where(x < 2, (((x - 5) * x + 8) * x - 4) * a, 0),
    )


def _lanczos(x):
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


_FILTERS = {"bilinear": (_triangle, 1), "bicubic": (_keys, 2), "lanczos": (_lanczos, 3)}


@functools.lru_cache(maxsize=256)
def antialiased(n, m, align_corners, scale, number, kind):
    """A filter widened to the input places that one output place covers."""
    kernel, reach = _FILTERS[kind]
    step = _scale(n, m, align_corners, scale)
    support = reach * step if step >= 1 else float(reach)
    shrink = 1 / step if step >= 1 else 1.0
    centre = step * (np.arange(m) + 0.5)
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    count = np.minimum((centre + support + 0.5).astype(np.int64), n) - first
    taps = np.arange(int(count.max(initial=1)))
    weight = kernel((taps + first[:, None] - centre[:, None] + 0.5) * shrink)
    weight = np.where(taps < count[:, None], weight, 0)
    weight = weight / weight.sum(1, keepdims=True)
    return Taps(
        np.minimum(first[:, None] + taps, (first + count - 1)[:, None]), weight.astype(number), n
    )


def adaptive_bounds(n, m):
    """Where the m windows that share n places begin and end."""
    i = np.arange(m)
    return i * n // m if m else i, -(-(i + 1) * n // m) if m else i


@functools.lru_cache(maxsize=256)
def _adaptive(n, m):
    start, end = adaptive_bounds(n, m)
    taps = np.arange(int((end - start).max(initial=1)))
    inside = taps < (end - start)[:, None]
    weight = np.where(inside, 1 / (end - start)[:, None], 0)
    return Taps(np.minimum(start[:, None] + taps, end[:, None] - 1), weight, n)


def adaptive_tables(size, out):
    """The means of adaptive pooling, one table an axis."""
    return tuple(None if n == m else _adaptive(n, m) for n, m in zip(size, out))


@functools.lru_cache(maxsize=256)
def padding_taps(n, before, after, mode):
    """An axis of n places with `before` and `after` more (or fewer, where negative) by reflection,
    repetition or wrapping.
    """
    i = np.arange(-before, n + after)
    if mode == "reflect":
        i = np.abs(i)
        i = np.where(i >= n, 2 * (n - 1) - i, i)
    elif mode == "replicate":
        i = np.clip(i, 0, n - 1)
    else:
        start, end = max(-before, 0), n - max(-after, 0)  # what is cut off is not wrapped around
        i = (i - start) % max(end - start, 1) + start
    return Taps(i[:, None], None, n)


__all__ = [
    "Taps",
    "adaptive_bounds",
    "adaptive_tables",
    "antialiased",
    "cubic",
    "cubic_weights",
    "linear",
    "nearest",
    "padding_taps",
]
