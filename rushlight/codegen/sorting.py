"""Sorting and selection on compiled kernels (codegen/radix.py): sort, topk, kthvalue, median, nanmedian, distinct values.

Each function takes what the row's NumPy reading takes and gives what that gives, or NotImplemented. Rows are brought
together in memory first where they lie along another dimension. Threads share the rows; one long row, or few, is sorted
piece by piece: a table of counts a piece, whose running sums say where each piece's elements of a digit go.

Where equal elements were met and PyTorch's order of them is followed (ops/sorting.py), that is asked to settle it.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from rushlight.codegen import launch, memory, native, radix
from rushlight.codegen.items import DIGITS, TABLE, WORK, wide
from rushlight.codegen.layout import short
from rushlight.codegen.scratch import scratch
from rushlight.core.settings import SETTINGS
from rushlight.ops import sorting as rows

PIECE = 1 << 16  # elements of a piece, at least; there are at most MOST of them
MOST = 128
LONG = 1 << 17  # elements of a row that is sorted in pieces: a core's own caches do not hold it
GRAIN = 1 << 11  # elements of rows that are worth another thread


@cache
def _kernel(make, dtype, name, kinds):
    """The launcher of a function of the module that radix.<make> writes."""
    memory.recycle()
    return launch.launcher(_addresses(make, dtype)[name], kinds)


@cache
def _addresses(make, dtype):
    names = ["keys", "count", "move", "finish", "low", "rekey", "mend"] if make == "pieces" else [make]
    return native.load(getattr(radix, make)(dtype), names, optimise=False)


def _lined_up(x, axis):
    """x with `axis` last, in C order: the rows that kernels read (x itself where it is so)."""
    from_, to = x, np.moveaxis(x, axis, -1)
    return from_ if to is from_ else np.ascontiguousarray(to)


def _put_back(a, axis):
    """The rows' dimension where it was, in C order."""
    return np.ascontiguousarray(np.moveaxis(a, -1, axis))


def _shape(x, axis):
    """The dtype's word and the row's length; None where NumPy should do it."""
    d = short(x.dtype)
    n = x.shape[axis] if x.ndim else 0
    return None if d is None or not x.size or n >= 1 << 31 else (d, n)


def _work(d, n, count):
    """(address, owner, bytes for each thread) of working memory for `count` rows; a thread has a row at least."""
    size = (WORK if wide(d) else 2 * WORK // 3) * n + TABLE + 64 & -64
    return (*scratch("sort", size * min(SETTINGS.threads, count)), size)


def ordered(x, descending):
    """(values, places, whether rows hold equals) of the rows of x, which is in C order, along the last dimension."""
    d, n = short(x.dtype), x.shape[-1]
    values, index = np.empty(x.shape, x.dtype), np.empty(x.shape, np.int64)
    count = x.size // n
    if n >= LONG:
        ties = np.ones(count, np.uint8)  # they are not looked for: nobody follows equals in so long a row
        for r, v, at in zip(x.reshape(count, n), values.reshape(count, n), index.reshape(count, n)):
            _long(d, r, v, at, descending)
        return values, index, ties
    ties = np.empty(count, np.uint8)
    work, owner, size = _work(d, n, count)
    _kernel("sort_rows", d, "sort_rows", "pppppqqq")(count, max(1, GRAIN // n), x, values, index, ties, work, size, n, -descending)
    return values, index, ties


def _long(d, x, values, index, descending):
    """One row, in pieces."""
    n = x.size
    piece = max(PIECE, -(-n // MOST))
    count = -(-n // piece)
    whole = np.empty(n if wide(d) else 0, np.uint64)
    items, target = np.empty(n, np.uint64), np.empty(n, np.uint64)
    tables = np.empty((count, 6, DIGITS), np.uint32)  # the last two are the kernels' own

    def call(name, kinds, *args):
        _kernel("pieces", d, name, kinds)(count, 1, *args)

    def sweep(items, target):
        """(items in order of four digits, the other buffer, whether there was anything to order)."""
        counted, varied = True, [d for d in range(4) if not (tables[:, d].sum(0) == n).any()]  # sums do not change with the order
        for digit in varied:
            if not counted:
                call("count", "ppqq", items, tables, n, piece)
            counts = tables[:, digit].T.reshape(-1).astype(np.int64)
            starts = (np.cumsum(counts) - counts).astype(np.uint32).reshape(DIGITS, count)
            call("move", "pppqqq", items, target, np.ascontiguousarray(starts.T), n, piece, 32 + 8 * digit)
            items, target, counted = target, items, False
        return items, target, bool(varied)

    call("keys", "ppppqqq", x, items, whole, tables, n, piece, -descending)
    items, target, varied = sweep(items, target)
    if wide(d):
        found = np.full(count, 2, np.uint8)
        if varied:
            call("mend", "pppqq", items, whole, found, n, piece)
        if found.max() == 2:
            call("low", "pppqq", items, whole, tables, n, piece)
            items, target, _ = sweep(items, target)
            if varied:
                call("rekey", "ppppqq", items, target, whole, tables, n, piece)
                items, target, _ = sweep(target, items)
    call("finish", "ppppqqq", items, x, values, index, n, piece, -descending)


def selected(x, descending, first, last):
    """(places, whether equals are among them) of the ranks first..last of the rows of x."""
    d, n = short(x.dtype), x.shape[-1]
    count = x.size // n
    if wide(d):
        _, index, ties = ordered(x, descending)
        return np.ascontiguousarray(index[..., first:last]), ties
    items, ties = np.empty((*x.shape[:-1], last - first), np.int64), np.empty(count, np.uint8)
    work, owner, size = _work(d, n, count)
    _kernel("select_rows", d, "select_rows", "ppppqqqqq")(count, max(1, 2 * GRAIN // n), x, items, ties, work, size, n, -descending, first, last)
    items &= 0xFFFFFFFF
    return items, ties


def sort(x, axis, descending, stable):
    found = _shape(x, axis)
    if found is None:
        return NotImplemented
    axis %= x.ndim
    values, index, ties = ordered(_lined_up(x, axis), descending)
    if axis != x.ndim - 1:
        values, index = _put_back(values, axis), _put_back(index, axis)
    if not stable and ties.any():
        settled = rows.settled(x, index, axis, descending, np.flatnonzero(ties))
        if settled is not index:
            return np.take_along_axis(x, settled, axis), settled
    return values, index


def topk(x, axis, k, largest, sorted):
    found = _shape(x, axis)
    if found is None or not k:
        return NotImplemented
    axis %= x.ndim
    index, ties = selected(_lined_up(x, axis), largest, 0, k)
    index = _put_back(index, axis) if axis != x.ndim - 1 else index
    if ties.any():
        index = rows.among_equals(x, index, axis, k, largest, np.flatnonzero(ties))
    return np.take_along_axis(x, index, axis), index


def kthvalue(x, axis, k, keepdim):
    found = _shape(x, axis)
    if found is None:
        return NotImplemented
    axis %= x.ndim
    index, ties = selected(_lined_up(x, axis), False, k - 1, k)
    index = np.moveaxis(index, -1, axis)
    if ties.any():
        index = rows.kth_of_equals(x, index, axis, k, np.flatnonzero(ties))
    return _picked(x, index, axis, keepdim)


def _picked(x, index, axis, keepdim):
    value = np.take_along_axis(x, index, axis)
    return (value, index) if keepdim else (value.squeeze(axis), np.asarray(index.squeeze(axis), order="C"))


def median(x, axis, keepdim):
    found = _shape(x, axis)
    if found is None:
        return NotImplemented
    axis %= x.ndim
    lines, n = _lined_up(x, axis), x.shape[axis]
    index, _ = selected(lines, False, (n - 1) // 2, (n - 1) // 2 + 1)
    if found[0][0] in "fb" and found[0] != "b1":
        w = rows.wide(lines)
        with np.errstate(all="ignore"):
            bad = np.isnan(np.add.reduce(w * 0, axis=-1)) if w.size else ()
        if np.any(bad):
            odd = np.isnan(w)
            index = np.where(odd.any(-1, keepdims=True), np.argmax(odd, -1)[..., None], index)
    return _picked(x, np.moveaxis(index, -1, axis), axis, keepdim)


def distinct(a, inverse, counts):
    """(values in order, number of each element's value or None, how often each occurs or None); NaN are all distinct.

    None where NumPy should do it."""
    if _shape(a.reshape(-1), 0) is None:
        return None
    values, index, _ = ordered(np.ascontiguousarray(a).reshape(1, -1), False)
    values, index = values[0], index[0]
    first = np.empty(values.size, bool)
    first[0] = True
    np.not_equal(values[1:], values[:-1], out=first[1:])
    numbers = None
    if inverse:
        numbers = np.empty(values.size, np.int64)
        numbers[index] = np.cumsum(first) - 1
    if not counts:
        return values[first], numbers, None
    at = np.flatnonzero(first)
    return values[at], numbers, np.diff(np.append(at, values.size))
