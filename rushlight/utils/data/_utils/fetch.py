"""Fetchers: from what the sampler gives to the batch that the loop receives.

One for data sets that are indexed and one for streams; both either build batches (`auto`: the
sampler gives lists of indices) or hand on single samples. Batches of a plain TensorDataset are cut
out of its tensors in one indexing step instead of a sample at a time: the same values, and only
where nothing could tell the difference.
"""

import itertools

import numpy

import rushlight
from rushlight import Tensor
from rushlight.utils.data._utils.collate import default_collate
from rushlight.utils.data.dataset import Subset, TensorDataset

__all__ = ["IterableFetcher", "MapFetcher"]


class MapFetcher:
    """Samples by index."""

    def __init__(self, dataset, auto, collate_fn, drop_last):
        self.dataset, self.auto, self.collate_fn = dataset, auto, collate_fn

    def fetch(self, index):
        if not self.auto:
            return self.collate_fn(self.dataset[index])
        if self.collate_fn is default_collate:
            batch = _whole_batch(self.dataset, index)
            if batch is not None:
                return batch
        if getattr(self.dataset, "__getitems__", None):
            return self.collate_fn(self.dataset.__getitems__(index))
        return self.collate_fn([self.dataset[i] for i in index])


class IterableFetcher:
    """Samples as a stream gives them; the index says only how many."""

    def __init__(self, dataset, auto, collate_fn, drop_last):
        self.stream, self.auto = iter(dataset), auto
        self.collate_fn, self.drop_last = collate_fn, drop_last
        self.ended = False

    def fetch(self, index):
        if self.ended:
            raise StopIteration
        if not self.auto:
            return self.collate_fn(next(self.stream))
        batch = list(itertools.islice(self.stream, len(index)))
        self.ended = len(batch) < len(index)
        if not batch or (self.ended and self.drop_last):
            raise StopIteration
        return self.collate_fn(batch)


def _whole_batch(dataset, index):
    """`default_collate([dataset[i] for i in index])` by one gather a tensor, or None if it may
    differ.

    Tensors that require grad are left to the slow path (its `grad_fn` is the stack's), and so are
    strange layouts, subclasses and indices that are not plain ints.
    """
    while type(dataset) is Subset:
        indices = dataset.indices
        index = [indices[i] for i in index]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not all(type(i) is int for i in index):
        return None
    tensors = dataset.tensors
    if not all(type(t) is Tensor and not t.requires_grad and t.is_contiguous() for t in tensors):
        return None
    rows = numpy.array(index, dtype=numpy.int64)
    rows[rows < 0] += len(dataset)  # what is out of range stays so
    rows = rushlight.from_numpy(rows)
    return [t.index_select(0, rows) for t in tensors]
