"""Convolution of ndarrays on the generated kernels: the rows conv, conv_transpose and conv_weight.

Everything is three-dimensional inside: missing dimensions have size 1. A stride in the input gradient falls apart into
classes of places (`_classes`): each is a plain convolution of the incoming gradient with some of the taps.

Which kernel: one place a window and no padding is a product of matrices (codegen/matmul.py); one channel a group has
kernels of its own (codegen/depthwise.py); anything else is a contraction through tables (codegen/conv_kernels.py).
The functions named after rows give NotImplemented for what NumPy should do.
"""

from __future__ import annotations

import itertools
import math
import struct
from functools import cache, lru_cache

import numpy as np

from rushlight.codegen import conv_kernels, depthwise, memory, native, pool, winograd
from rushlight.codegen.conv_tile import even, shape, strides3, three
from rushlight.codegen.conv_weights import weight_gradient
from rushlight.codegen.matmul import ELEMENT, product
from rushlight.codegen.record import address
from rushlight.codegen.scratch import L1, L2, LINE, scratch
from rushlight.core.settings import SETTINGS

_PLACES_HEAD, _PLACES_TAIL = struct.Struct("=8q").pack, struct.Struct(f"={len(conv_kernels.PLACES) - 8}q").pack
_PACK = struct.Struct(f"={len(conv_kernels.PACK)}q").pack
SMALL = 1 << 16  # multiply-adds below which NumPy is quicker than a call
TASK = 1 << 20  # multiply-adds that are worth a task


@cache
def kernel(name, element):
    """The address of a kernel."""
    memory.recycle()
    emit = {"places": conv_kernels.emit_places, "pack_weights": conv_kernels.emit_pack_weights}[name]
    return native.load(emit(element), [name], optimise=False)[name]


class Tiling:
    """How a result is cut into tasks, and the tables of its tiles."""

    __slots__ = ("acc", "block", "counts", "extents", "padded", "panel_range", "panels", "ranges", "rows", "scratch", "steps", "tile")


@lru_cache(256)
def tiling(element, images, out, channels, columns, groups, offsets, step, threads):
    """The Tiling of a result of `images` x `out` places, `columns` channels a group, from `channels` input channels and
    taps at `offsets` (places of X, for each tap its d, h, w), places lying `step` apart in X.
    """
    s = shape(element)
    t = Tiling()
    taps = len(offsets)
    reach = tuple(max(o[i] for o in offsets) for i in range(3))
    t.panels = -(-columns // s.columns)
    t.block, _ = even(channels, max(1, L1 * 5 // 8 // (taps * s.columns * s.size)))
    place = t.panels * s.columns * s.size  # accumulators of a place
    tile = [images, *out]

    def part(tile):
        return tuple((tile[i + 1] - 1) * step[i] + reach[i] + 1 for i in range(3))

    def fits(tile):
        d, h, w = part(tile)
        n, places = tile[0], tile[0] * tile[1] * tile[2] * tile[3]
        return n * d * h * w * t.block * s.size <= L2 // 3 and places * place <= max(L2 * 2 // 5, 48 * place)

    work = images * out[0] * out[1] * out[2] * channels * taps * columns * groups
    wanted = 1 if threads == 1 else min(max(1, work // TASK), threads * 4 if work > 64 * threads * TASK else threads)

    def tasks(tile):
        count = groups
        for whole, piece in zip((images, *out), tile):
            count *= -(-whole // piece)
        return count

    for axis in range(4):  # images, slices, rows, columns: each cut as little as it must
        if axis and fits(tile) and tasks(tile) >= wanted:
            break
        whole = tile[axis]
        while tile[axis] > 1 and not (fits(tile) and tasks(tile) >= wanted):
            if fits(tile) and tile[0] * tile[1] * tile[2] * tile[3] <= 48:
                break
            tile[axis] = even(whole, tile[axis] - 1)[0]
    t.ranges = 1
    while tasks(tile) * t.ranges < wanted and t.ranges < t.panels:
        t.ranges += 1
    t.panel_range = -(-t.panels // t.ranges)
    t.ranges = -(-t.panels // t.panel_range)
    t.tile, t.extents = tuple(tile), part(tile)
    t.counts = tuple(-(-whole // piece) for whole, piece in zip((images, *out), tile))
    n, d, h, w = tile
    places = n * d * h * w
    t.padded = places + -places % s.rows
    ed, eh, ew = t.extents
    plane = ed * eh * ew
    at = np.arange(n)[:, None, None, None] * plane + np.arange(d)[:, None, None] * (step[0] * eh * ew) + np.arange(h)[:, None] * (step[1] * ew) + np.arange(w) * step[2]
    t.rows = np.concatenate([at.ravel(), np.full(t.padded - places, at.flat[-1])]).astype(np.int64) * s.size
    tap = np.array([(o[0] * eh + o[1]) * ew + o[2] for o in offsets])
    t.steps = ((np.arange(t.block) * (n * plane))[:, None] + tap).astype(np.int64).ravel() * s.size
    t.acc = n * plane * t.block * s.size + LINE  # copied rows end in whole vectors
    t.acc += -t.acc % LINE
    room = t.acc + (t.padded + s.lanes) * t.panel_range * s.columns * s.size
    t.scratch = room + -room % LINE + LINE
    return t


@lru_cache(1024)
def _packing(element, k, row, groups, columns, group_bytes, inner, outer_bytes):
    """pack(w, table=None): the weights in panels, (address, owner). See conv_kernels.emit_pack_weights."""
    s = shape(element)
    panels = -(-columns // s.columns)
    size, code, total, grain = groups * panels * s.columns * k * s.size, kernel("pack_weights", element), groups * panels, max(1, (1 << 14) // (k * s.columns))

    def pack(w, table=None):
        room = scratch("conv_w", size)
        pool.run(code, _PACK(address(w), room[0], 0 if table is None else address(table), k, row, panels, columns, group_bytes, inner, outer_bytes), total, grain)
        return room

    return pack


def pack_weights(w, k, row, groups, columns, group_bytes, table=None, inner=0, outer_bytes=0):
    """The weights in panels: (address, owner)."""
    return _packing(ELEMENT[w.dtype], k, row, groups, columns, group_bytes, inner, outer_bytes)(w, table)


def _numbers(t, element, n, x_strides, size_in, out_strides, size_out, channels, columns, groups, offsets, step, pad):
    """(the slots of `places` behind the addresses as bytes, total, grain)."""
    whole_rows = t.tile[3] == size_out[2] and out_strides[3] == out_strides[4] * size_out[2]
    tail = _PLACES_TAIL(
        *x_strides, *size_in, *t.extents,
        *out_strides, *size_out,
        n, channels, columns, groups,
        *t.tile, *t.counts[1:],
        *step, *pad,
        t.block, len(offsets), t.padded, t.acc,
        t.panels, t.panel_range, t.ranges, int(whole_rows),
    )  # fmt: skip
    total = t.counts[0] * t.counts[1] * t.counts[2] * t.counts[3] * groups * t.ranges
    work = t.padded * channels * len(offsets) * columns // t.ranges
    return tail, total, max(1, TASK // 4 // max(1, work))


def places(x, weights, out, bias, origin, size_out, out_strides, offsets, step, pad, groups):
    """Run `places`: out[place] = bias + sum of X[place * step - pad + offset] * w over channels and offsets.

    `origin` is the address of the result's first element, `size_out` and `out_strides` its extents and strides.
    """
    element = ELEMENT[x.dtype]
    n, c = x.shape[:2]
    channels, columns = c // groups, out.shape[1] // groups
    threads = SETTINGS.threads
    t = tiling(element, n, size_out, channels, columns, groups, offsets, step, threads)
    room, _room = scratch("conv", t.scratch * threads)
    tail, total, grain = _numbers(t, element, n, strides3(x), three(x.shape[2:], 1), out_strides, size_out, channels, columns, groups, offsets, step, pad)
    slots = _PLACES_HEAD(address(x), weights, origin, 0 if bias is None else address(bias), address(t.rows), address(t.steps), room, t.scratch) + tail
    pool.run(kernel("places", element), slots, total, grain)


def _taken(x, w):
    """Whether these are arrays that the kernels take."""
    return x.dtype in ELEMENT and w.dtype == x.dtype and 3 <= x.ndim <= 5 and x.size and w.size


def _one_place(kernel_size, stride, padding):
    return all(k == 1 for k in kernel_size) and all(s == 1 for s in stride) and not any(padding)


def _thinned(x, kernel_size, stride, padding, places_):
    """(x, stride) with the places that windows of size 1 pass over left out."""
    if all(s == 1 for s in stride):
        return x, stride
    thin = [k == 1 and p == 0 and s > 1 for k, s, p in zip(kernel_size, stride, padding)]
    if any(thin):
        x = x[(slice(None), slice(None), *(slice(0, (m - 1) * s + 1, s) if t else slice(None) for t, s, m in zip(thin, stride, places_)))]
        stride = tuple(1 if t else s for t, s in zip(thin, stride))
    return x, stride


def _flat(x):
    """(N, C, places) of (N, C, *size), without a copy where the strides allow it."""
    return x.reshape(x.shape[0], x.shape[1], -1)


def conv(x, w, b, stride, padding, dilation, groups, places_=None, **more):
    """The row conv: (N, C, *size) with (O, C / groups, *kernel) to (N, O, *places)."""
    places_ = more.get("places") or places_ or tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in zip(x.shape[2:], w.shape[2:], stride, padding, dilation))
    if not _taken(x, w) or 0 in places_:
        return NotImplemented
    n, o = x.shape[0], w.shape[0]
    if n * o * math.prod(places_) * math.prod(w.shape[1:]) < SMALL:
        return NotImplemented
    if b is not None:
        b = np.ascontiguousarray(b, x.dtype)
    out = np.empty((n, o, *places_), x.dtype)
    if groups == 1 and _one_place(w.shape[2:], stride, padding) and tuple(places_) == x.shape[2:]:
        product(w.reshape(o, -1), _flat(x), _flat(out), None if b is None else b[:, None])
        return out
    w = np.ascontiguousarray(w)
    x, stride = _thinned(x, w.shape[2:], stride, padding, places_)
    if w.shape[1] == 1 and groups > 1:
        return depthwise.forward(x, w, b, out, stride, padding, dilation, groups)
    call = _forward(ELEMENT[x.dtype], x.shape, x.strides, w.shape, tuple(stride), tuple(padding), tuple(dilation), groups, tuple(places_), SETTINGS.threads)
    call(x, w, b, out)
    return out


@lru_cache(1024)
def _forward(element, x_shape, x_strides, w_shape, stride, padding, dilation, groups, places_, threads):
    """run(x, w, b, out) of a convolution by tables or by Winograd's way, all that follows from shapes done beforehand."""
    s = shape(element)
    n, o, size = x_shape[0], w_shape[0], s.size
    channels, columns = w_shape[1], o // groups
    k = channels * math.prod(w_shape[2:])
    offsets = tuple(itertools.product(*(tuple(i * d for i in range(m)) for m, d in zip(three(w_shape[2:], 1), three(dilation, 1)))))
    pack = _packing(element, k, k * size, groups, columns, columns * k * size, k, 0)
    if len(w_shape) == 4 and w_shape[2:] == (3, 3) and stride == (1, 1) == dilation and winograd.worth(n, places_, channels, columns):

        def run(x, w, b, out):
            weights, _weights = pack(w)
            winograd.winograd(x, weights, out, b, padding, groups)

        return run
    out_size, step, pad = three(places_, 1), three(stride, 1), three(padding, 0)
    t = tiling(element, n, out_size, channels, columns, groups, offsets, step, threads)
    walk = [size]
    for m in reversed((o, *places_)):
        walk.insert(0, walk[0] * m)
    walk = (*walk[:2], *three(walk[2:], 0))
    tail, total, grain = _numbers(t, element, n, (*x_strides[:2], *three(x_strides[2:], 0)), three(x_shape[2:], 1), walk, out_size, channels, columns, groups, offsets, step, pad)
    rows, steps, code, room_size = t.rows, t.steps, kernel("places", element), t.scratch

    def run(x, w, b, out):
        weights, _weights = pack(w)
        room, _room = scratch("conv", room_size * threads)
        slots = _PLACES_HEAD(address(x), weights, address(out), 0 if b is None else address(b), address(rows), address(steps), room, room_size) + tail
        pool.run(code, slots, total, grain)

    return run


def _three_by_three(w, stride, dilation):
    """Whether the windows are 3 x 3 without gaps, one a place."""
    return w.ndim == 4 and w.shape[2:] == (3, 3) and tuple(stride) == (1, 1) == tuple(dilation)


@lru_cache(1024)
def _classes(size, kernel_size, stride, padding, dilation):
    """One dimension of the input gradient: (first place, count, pad, offsets, taps) of each class of places."""
    out = []
    for first in range(min(stride, size)):
        r = (first + padding) % stride
        q = (first + padding) // stride
        taps = [t for t in range(kernel_size) if (t * dilation) % stride == r]
        reach = [(t * dilation - r) // stride for t in taps]
        far = max(reach, default=0)
        out.append((first, -(-(size - first) // stride), far - q, [far - e for e in reach], taps))
    return out


@lru_cache(256)
def _weight_table(size, columns, kernel_size, channels, taps):
    """For k = (result channel, tap): where its weight stands, in bytes, in (O, C / groups, *kernel)."""
    every = kernel_size[0] * kernel_size[1] * kernel_size[2]
    tap = np.array([(d * kernel_size[1] + h) * kernel_size[2] + w for d, h, w in taps])
    return ((np.arange(columns) * (channels * every))[:, None] + tap).astype(np.int64).ravel() * size


def conv_transpose(x, w, b, stride, padding, dilation, groups, size):
    """The row conv_transpose: (N, O, *places) with (O, C / groups, *kernel) to (N, C, *size)."""
    if not _taken(x, w) or 0 in size:
        return NotImplemented
    n, o = x.shape[:2]
    channels, c = w.shape[1], w.shape[1] * groups
    if x.size * w[0].size < SMALL:
        return NotImplemented
    if b is not None:
        b = np.ascontiguousarray(b, x.dtype)
    out = np.empty((n, c, *size), x.dtype)
    if groups == 1 and _one_place(w.shape[2:], stride, padding) and tuple(size) == x.shape[2:]:
        product(w.reshape(o, c).T, _flat(x), _flat(out), None if b is None else b[:, None])
        return out
    w = np.ascontiguousarray(w)
    kernel_size, step = three(w.shape[2:], 1), three(stride, 1)
    item = x.itemsize
    every, columns = w[0, 0].size, o // groups
    channel = channels * every * item  # the bytes of a result channel's weights

    def pack(table):
        """The weights of all taps, or of those in the table, as (result channel, tap) x channel."""
        if table is None:
            return pack_weights(w, columns * every, every * item, groups, channels, columns * channel, inner=every, outer_bytes=channel)
        return pack_weights(w, len(table), every * item, groups, channels, columns * channel, table)

    where = strides3(out)
    strides = (*where[:2], *(s * t for s, t in zip(where[2:], step)))
    if _three_by_three(w, stride, dilation) and channels > 1 and max(padding) <= 2 and winograd.worth(n, size, o // groups, channels):
        # the same windows over the incoming gradient, the taps from the last to the first
        weights, _weights = pack(None)
        winograd.winograd(x, weights, out, b, tuple(2 - p for p in padding), groups, turned=True)
        return out
    dims = [_classes(*numbers) for numbers in zip(three(size, 1), kernel_size, step, three(padding, 0), three(dilation, 1))]
    for parts in itertools.product(*dims):
        first, count, pad = (tuple(p[i] for p in parts) for i in range(3))
        offsets = tuple(itertools.product(*(p[3] for p in parts)))
        taps = tuple(itertools.product(*(p[4] for p in parts)))
        if not taps:  # places that nothing reaches
            part = out.reshape(n, c, *three(size, 1))[:, :, *(slice(f, None, s) for f, s in zip(first, step))]
            part[...] = 0 if b is None else b.reshape(-1, 1, 1, 1)
            continue
        origin = address(out) + sum(f * s for f, s in zip(first, where[2:]))
        if channels == 1 and groups > 1:
            flat = tuple((d * kernel_size[1] + h) * kernel_size[2] + v for d, h, v in taps)
            depthwise.input_class(x, w, b, out, origin, count, strides, offsets, flat, pad, groups)
            continue
        weights, _weights = pack(None if len(taps) == every else _weight_table(item, columns, kernel_size, channels, taps))
        places(x, weights, out, b, origin, count, strides, offsets, (1, 1, 1), pad, groups)
    return out


def conv_weight(g, x, stride, padding, dilation, groups, size):
    """The row conv_weight: the gradient in the weights, (O, C / groups, *size), from g (N, O, *places) and x."""
    if not _taken(g, x) or 0 in size or g.size * x.shape[1] // groups * math.prod(size) < SMALL:
        return NotImplemented
    x, stride = _thinned(x, size, stride, padding, g.shape[2:])
    if x.shape[1] == groups > 1:
        return depthwise.weight_gradient(g, x, stride, padding, dilation, groups, size)
    return weight_gradient(g, x, stride, padding, dilation, groups, size)
