"""Which of equal elements comes first: selection and sorting that is not stable, step for step.

PyTorch's topk, kthvalue, mode and (unstable) sort leave equal elements in the order in which the algorithms of the C++
standard library, and a quickselect, happen to put them. Programs that print indices show that order, so it is
reproduced here: introselect, introsort and heap selection as the GNU library has them (Musser, Introspective sorting and
selection algorithms, 1997), and the quickselect with a median of three of Numerical Recipes.

Every function works on one row of `keys`, integers of which smaller ones come first, and on `index`, an array of places
that is permuted along with it; both are changed in place. The two scans of a partition are done at once: the places where
the left one stops and those where the right one stops, paired in order, are the swaps.
"""

from __future__ import annotations

import numpy as np

_FEW = 16  # segments of up to so many elements are left to one final insertion sort, which is stable


def _swap(keys, index, i, j):
    if i != j:
        keys[i], keys[j] = keys[j], keys[i]
        index[i], index[j] = index[j], index[i]


def _exchange(keys, index, low, high):
    """Swap the elements at places `low` with those at places `high`, pair by pair."""
    for a in (keys, index):
        a[low], a[high] = a[high], a[low].copy()


def _crossing(low, high):
    """How many of the pairs have not met."""
    n = min(low.size, high.size)
    return int(np.count_nonzero(low[:n] < high[:n]))


def _partition(keys, index, first, last):
    """Split keys[first:last] around the median of three elements; the place where the second part begins."""
    a, b, c = first + 1, first + (last - first) // 2, last - 1
    x, y, z = keys[a], keys[b], keys[c]
    if x < y:
        middle = b if y < z else c if x < z else a
    else:
        middle = a if x < z else c if y < z else b
    _swap(keys, index, first, middle)
    pivot, begin = keys[first], first + 1
    part = keys[begin:last]
    low = begin + np.flatnonzero(part >= pivot)
    high = begin + np.flatnonzero(part <= pivot)[::-1]
    n = _crossing(low, high)
    if n:
        _exchange(keys, index, low[:n], high[:n])
    stop = int(low[n]) if n < low.size else last
    return min(stop, int(high[n - 1])) if n else stop


def _insertion(keys, index, first, last):
    """Stable sort of a short stretch."""
    order = first + np.argsort(keys[first:last], kind="stable")
    keys[first:last], index[first:last] = keys[order], index[order]


def _sift(heap, hole, size, item):
    """Let `item` sink from `hole`: to the bottom along the larger children, then up to its place."""
    top = hole
    child = hole
    while child < (size - 1) // 2:
        child = 2 * (child + 1)
        if heap[child][0] < heap[child - 1][0]:
            child -= 1
        heap[hole] = heap[child]
        hole = child
    if not size & 1 and child == (size - 2) // 2:
        child = 2 * (child + 1)
        heap[hole] = heap[child - 1]
        hole = child - 1
    parent = (hole - 1) // 2
    while hole > top and heap[parent][0] < item[0]:
        heap[hole] = heap[parent]
        hole, parent = parent, (parent - 1) // 2
    heap[hole] = item


def _heap_select(keys, index, first, middle, last):
    """The smallest elements of keys[first:last] as a heap in front of `middle`, as a list of pairs."""
    size = middle - first
    heap = list(zip(keys[first:middle].tolist(), index[first:middle].tolist()))
    for parent in range((size - 2) // 2, -1, -1):
        _sift(heap, parent, size, heap[parent])
    place = middle
    while place < last:
        stop = min(last, place + 4096)
        for i in (place + np.flatnonzero(keys[place:stop] < heap[0][0])).tolist():
            if keys[i] < heap[0][0]:
                item = (int(keys[i]), int(index[i]))
                keys[i], index[i] = heap[0]
                _sift(heap, 0, size, item)
        place = stop
    return heap


def _store(keys, index, first, heap):
    for i, (key, place) in enumerate(heap, first):
        keys[i], index[i] = key, place


def partial_sort(keys, index, first, middle, last):
    """The smallest elements of keys[first:last], in order, in front of `middle`."""
    heap = _heap_select(keys, index, first, middle, last)
    for size in range(len(heap) - 1, 0, -1):
        item, heap[size] = heap[size], heap[0]
        _sift(heap, 0, size, item)
    _store(keys, index, first, heap)


def _depth(n):
    return 2 * (n.bit_length() - 1)


def nth_element(keys, index, nth):
    """The element that a sort would put at `nth` there, smaller ones before it and larger ones after it."""
    first, last, depth = 0, keys.size, _depth(keys.size)
    while last - first > 3:
        if not depth:
            heap = _heap_select(keys, index, first, nth + 1, last)
            _store(keys, index, first, heap)
            _swap(keys, index, first, nth)
            return
        depth -= 1
        cut = _partition(keys, index, first, last)
        if cut <= nth:
            first = cut
        else:
            last = cut
    _insertion(keys, index, first, last)


def sort(keys, index, count):
    """Sort the first `count` elements."""
    parts = [(0, count, _depth(count))] if count else []
    while parts:
        first, last, depth = parts.pop()
        while last - first > _FEW:
            if not depth:
                partial_sort(keys, index, first, last, last)
                break
            depth -= 1
            cut = _partition(keys, index, first, last)
            parts.append((cut, last, depth))
            last = cut
    _insertion(keys, index, 0, count)


def last_of(keys, index, key):
    """The place, before sorting, of the element that `sort` would put last among those equal to `key`."""
    first, last, depth = 0, keys.size, _depth(keys.size)
    while last - first > _FEW:
        if not depth:
            partial_sort(keys, index, first, last, last)
            break
        depth -= 1
        cut = _partition(keys, index, first, last)
        if (keys[cut:last] == key).any():
            first = cut
        else:
            last = cut
    return index[first + np.flatnonzero(keys[first:last] == key)[-1]]


def quickselect(keys, index, nth):
    """The place, before, of the element that ends up at `nth`."""
    left, right = 0, keys.size - 1
    while left < right:
        if right == left + 1:
            if keys[left] > keys[right]:
                _swap(keys, index, left, right)
            break
        _swap(keys, index, left + (right - left) // 2, left + 1)
        for i, j in ((left + 1, right), (left, right), (left + 1, left)):
            if keys[i] > keys[j]:
                _swap(keys, index, i, j)
        pivot = keys[left]
        low = left + 2 + np.flatnonzero(keys[left + 2 : right + 1] >= pivot)
        high = left + np.flatnonzero(keys[left:right] <= pivot)[::-1]
        n = _crossing(low, high)
        i = int(low[n]) if n < low.size else right
        j = int(high[n]) if n < high.size else left
        if n:
            _exchange(keys, index, low[:n], high[:n])
            i, j = min(i, int(high[n - 1])), max(j, int(low[n - 1]))
        if i == j:  # both scans stop at an element equal to the pivot, and go on from it
            i, j = i + 1, j - 1
        _swap(keys, index, left, j)
        if j <= nth:
            left = i
        if j >= nth:
            right = j - 1
    return index[nth]
