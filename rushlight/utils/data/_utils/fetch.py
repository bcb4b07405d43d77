"""Fetchers: from what the sampler gives to the batch that the loop receives.

One for data sets that are indexed and one for streams; both either build batches (`auto`: the
sampler gives lists of indices) or hand on single samples. In a worker they have a `board`: there
they write which sample of the batch is being made, so that whoever finds the worker dead, late or
failed can name it, and there they read between two samples that nobody wants the batch any more.
Batches of a plain TensorDataset are cut
out of its tensors in one indexing step instead of a sample at a time: the same values, and only
where nothing could tell the difference.
"""

import itertools

import numpy

import rushlight
from rushlight import Tensor
from rushlight.utils.data._utils import packing
from rushlight.utils.data._utils.collate import default_collate
from rushlight.utils.data.dataset import Subset, TensorDataset
from rushlight.utils.data.resume import is_stream, open_stream, stream_state

__all__ = ["COLLATING", "STOP", "IterableFetcher", "MapFetcher", "Stopped", "make_fetcher"]

# cells of a board
STOP, EPOCH, POSITION, PEAK = range(4)
COLLATING = -1  # a position: the samples are there and are being collated
WHOLE = -2  # a position: the samples are fetched in one call


class Stopped(BaseException):
    """The loop has ended while a batch was being made."""


def make_fetcher(dataset, auto, collate_fn, drop_last, board=None, saved=None, lender=None):
    """The fetcher for a data set.

    saved: where its stream goes on (see utils/data/resume.py). lender: whose memory default_collate
    stacks samples into.
    """
    if is_stream(dataset):
        fetcher = IterableFetcher(dataset, open_stream(dataset, saved), auto, collate_fn, drop_last)
    else:
        fetcher = MapFetcher(dataset, auto, collate_fn)
    fetcher.board = board
    if collate_fn is default_collate and lender is not None:
        fetcher.lender = lender
    return fetcher


class _Fetcher:
    board = lender = None

    def _collate(self, samples):
        if self.board is not None:
            self.board[POSITION] = COLLATING
        if self.lender is None:
            return self.collate_fn(samples)
        with packing.rooms_of(self.lender):
            return self.collate_fn(samples)


class MapFetcher(_Fetcher):
    """Samples by index."""

    def __init__(self, dataset, auto, collate_fn):
        self.dataset, self.auto, self.collate_fn = dataset, auto, collate_fn

    def fetch(self, index):
        board = self.board
        if board is not None:
            board[POSITION] = 0
        if not self.auto:
            return self.collate_fn(self.dataset[index])
        if self.collate_fn is default_collate:
            batch = self._whole(index)
            if batch is not None:
                return batch
        dataset = self.dataset
        if getattr(dataset, "__getitems__", None):
            if board is not None:
                board[POSITION] = WHOLE
            samples = dataset.__getitems__(index)
        elif board is None:
            samples = [dataset[i] for i in index]
        else:
            samples = []
            for position, i in enumerate(index):
                board[POSITION] = position
                if board[STOP]:
                    raise Stopped
                samples.append(dataset[i])
        return self._collate(samples)

    def _whole(self, index):
        if self.lender is None:
            return _whole_batch(self.dataset, index)
        with packing.rooms_of(self.lender):
            return _whole_batch(self.dataset, index)

    def state(self):
        """Nothing has to be remembered of a data set that is indexed."""


class IterableFetcher(_Fetcher):
    """Samples as a stream gives them; the index says only how many."""

    def __init__(self, dataset, stream, auto, collate_fn, drop_last):
        self.dataset, self.stream, self.auto = dataset, stream, auto
        self.collate_fn, self.drop_last = collate_fn, drop_last
        self.ended = False

    def fetch(self, index):
        if self.ended:
            raise StopIteration
        board = self.board
        if board is not None:
            board[POSITION] = 0
        if not self.auto:
            return self.collate_fn(next(self.stream))
        if board is None:
            batch = list(itertools.islice(self.stream, len(index)))
        else:
            batch = []
            for sample in itertools.islice(self.stream, len(index)):
                batch.append(sample)
                board[POSITION] = len(batch)
                if board[STOP]:
                    raise Stopped
        self.ended = len(batch) < len(index)
        if not batch or (self.ended and self.drop_last):
            raise StopIteration
        return self._collate(batch)

    def state(self):
        """(where the stream stands by its own account or None, whether it has ended)."""
        return stream_state(self.dataset, self.stream), self.ended


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
    return [_gather(t, rows) for t in tensors]


def _gather(t, rows):
    place = packing.room_for(t, (len(rows), *t.shape[1:]))
    if place is None:
        return t.index_select(0, rows)
    return rushlight.index_select(t, 0, rows, out=place)
