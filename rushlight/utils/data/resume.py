"""Where an epoch stands, as plain data, and how to go on from there.

What can be asked for its state has `state_dict()` and is put back by `load_state_dict(state)`: the
iterator of a sampler or stream, else the object itself. rushlight's own samplers give an `Order`,
which remembers what its random numbers came from (`start`) and how many indices it has given; to go
on it draws the same order again and leaves out what was given. Samplers that know nothing of this
are begun again under the random states that they began under, and what was given is skipped;
streams likewise are walked through again.

States hold dicts, lists, strings, numbers, booleans and None only, so that JSON can hold them.
"""

import itertools
import random

import numpy

import rushlight
from rushlight.utils.data.dataset import IterableDataset

__all__ = ["Batches", "Order", "Resumable", "generator_state", "is_stream", "set_generator_state"]


def generator_state(generator):
    """A generator's state as text."""
    return bytes(generator.get_state().numpy()).hex()


def set_generator_state(generator, text):
    """Put a generator into a state that `generator_state` gave."""
    data = numpy.frombuffer(bytes.fromhex(text), numpy.uint8).copy()
    generator.set_state(rushlight.from_numpy(data))


def generator_in(text):
    """A new generator in this state."""
    generator = rushlight.Generator()
    set_generator_state(generator, text)
    return generator


class Order:
    """The indices of one epoch, and where it stands in them.

    draw(start): (start, indices), called when the first index is asked for, as PyTorch does; start
    is None for a new order and what an earlier call returned for the same order again.
    """

    __slots__ = ("_draw", "_indices", "_start", "position", "ended")

    def __init__(self, draw, state=None):
        self._draw, self._indices = draw, None
        self._start = state["start"] if state else None
        self.position = state["position"] if state else 0
        self.ended = False

    def __iter__(self):
        return self

    def _open(self):
        self._start, indices = self._draw(self._start)
        self._indices = itertools.islice(indices, self.position, None)

    def __next__(self):
        if self._indices is None:
            self._open()
        try:
            index = next(self._indices)
        except StopIteration:
            self.ended = True
            raise
        self.position += 1
        return index

    def take(self, n):
        """A list of the next n indices, fewer at the end."""
        if self._indices is None:
            self._open()
        found = list(itertools.islice(self._indices, n))
        self.position += len(found)
        self.ended = self.ended or len(found) < n
        return found

    def state_dict(self, first=False):
        """What was given, for a later `Order`; None where nothing was. first: as if nothing were."""
        if self._indices is None and not self.position:
            return None
        if callable(self._start):
            self._start = self._start()  # only now is it worth making text of
        return {"start": self._start, "position": 0 if first else self.position}


class Batches:
    """Lists of indices out of another sampler's iterator."""

    __slots__ = ("_sampler", "_indices", "_size", "_drop_last", "_short", "ended")

    def __init__(self, sampler, size, drop_last, state=None):
        self._sampler, self._size, self._drop_last = sampler, size, drop_last
        self._short = bool(state and state["short"])  # the indices have ended: a batch was short
        self._indices = iter(()) if self._short else begin(sampler, state and state["sampler"])
        self.ended = False

    def __iter__(self):
        return self

    def __next__(self):
        if type(self._indices) is Order:
            batch = self._indices.take(self._size)
        else:
            batch = list(itertools.islice(self._indices, self._size))
        self._short = len(batch) < self._size
        if not batch or (self._drop_last and len(batch) < self._size):
            self.ended = True
            raise StopIteration
        return batch

    def state_dict(self, first=False):
        """Where the indices stand, or None: nothing was given, or nothing can be asked."""
        inner = state_of(self._sampler, self._indices, first)
        if inner is None and self._short and not first and tells(self._sampler, self._indices):
            inner = {}
        return None if inner is None else {"sampler": inner, "short": self._short and not first}



class Resumable:
    """Samplers that give an Order or Batches: `_begin(state)` makes it, new for state None.

    `state_dict()` is about the iterator made last; after `load_state_dict(state)` the next iterator
    goes on where that one stood, and the one after it is a new epoch's.
    """

    _latest = _saved = None

    def __iter__(self):
        state, self._saved = self._saved, None
        self._latest = self._begin(state)
        return self._latest

    def state_dict(self) -> dict:
        """Where the iteration stands, as plain data: {} before the first index and after the last."""
        if self._latest is None:
            return self._saved or {}
        return {} if self._latest.ended else self._latest.state_dict() or {}

    def load_state_dict(self, state: dict) -> None:
        """Let the next iteration go on from `state`."""
        self._saved = state or None
        self._latest = None

    def __getstate__(self):
        return {k: v for k, v in self.__dict__.items() if k != "_latest"}


def _speaks(sampler):
    """Whether an object has a state_dict that is not merely inherited from Resumable."""
    found = getattr(type(sampler), "state_dict", None)
    return found is not None and found is not Resumable.state_dict


def tells(sampler, iterator):
    """Whether `state_of` can tell where this iteration stands."""
    return type(iterator) is Order or hasattr(iterator, "state_dict") or _speaks(sampler)


def state_of(sampler, iterator, first=False):
    """Where an iteration over `sampler` stands, or None. first: of a new one, where it began."""
    if type(iterator) in (Order, Batches):
        return iterator.state_dict(first)
    if first:
        return None
    if hasattr(iterator, "state_dict"):
        return {"iterator": iterator.state_dict()}
    if _speaks(sampler):
        return {"object": sampler.state_dict()}
    return None


def begin(sampler, state):
    """An iterator over `sampler`, going on from a state that `state_of` gave."""
    if not state:
        return iter(sampler)
    if "object" in state:
        sampler.load_state_dict(state["object"])
        return iter(sampler)
    if "iterator" in state:
        iterator = iter(sampler)
        iterator.load_state_dict(state["iterator"])
        return iterator
    sampler.load_state_dict(state)
    return iter(sampler)


def is_stream(dataset):
    """Whether a data set can only be walked through (of other libraries' too: no __getitem__)."""
    if isinstance(dataset, IterableDataset):
        return True
    kind = type(dataset)
    return hasattr(kind, "__iter__") and not hasattr(kind, "__getitem__")


def stream_state(dataset, stream):
    """Where a stream stands by its own account, or None."""
    if hasattr(stream, "state_dict"):
        return {"iterator": stream.state_dict()}
    if hasattr(dataset, "state_dict"):
        return {"object": dataset.state_dict()}
    return None


def open_stream(dataset, saved):
    """The iterator over a stream. saved: None, or {"epoch", "ended", "state", "samples"} of it.

    The epoch is counted by the loop's process, because a worker's copy may be new for each.
    """
    if not saved:
        return iter(dataset)
    if saved["epoch"] is not None:
        dataset.set_epoch(saved["epoch"])
    if saved["ended"]:
        if saved["epoch"] is not None:
            dataset.set_epoch(saved["epoch"] + 1)
        return iter(())
    if saved["state"] is not None:
        return begin(dataset, saved["state"])
    stream = iter(dataset)
    for _ in itertools.islice(stream, saved["samples"]):
        pass
    return stream


class GlobalRandom:
    """The global random states, for samplers that draw from them: taken, put back, or replaced."""

    def __init__(self, text=None):
        if text is None:
            self.python = random.getstate()
            self.numpy = numpy.random.get_state()
            self.rushlight = generator_state(rushlight.default_generator)
        else:
            version, words, gauss = text["python"]
            self.python = version, tuple(words), gauss
            name, words, *rest = text["numpy"]
            self.numpy = (name, numpy.array(words, numpy.uint32), *rest)
            self.rushlight = text["rushlight"]

    def restore(self):
        random.setstate(self.python)
        numpy.random.set_state(self.numpy)
        set_generator_state(rushlight.default_generator, self.rushlight)

    def plain(self):
        version, words, gauss = self.python
        name, key, at, has_gauss, cached = self.numpy
        return {
            "python": [version, list(words), gauss],
            "numpy": [name, key.tolist(), int(at), int(has_gauss), float(cached)],
            "rushlight": self.rushlight,
        }
