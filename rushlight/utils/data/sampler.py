"""Samplers: in which order a data set is visited.

A sampler is an iterable of indices (BatchSampler: of lists of them). The random ones draw exactly
what PyTorch draws, in the same order, so that one seed gives one order: without a generator of the
user's they take one 64-bit number from the default generator when iteration begins and go on with a
generator seeded by it, so an epoch costs the default generator one draw whatever the data set's
size.

All of them can be asked for their state and go on from it (`state_dict`, `load_state_dict`, see
resume.py).
"""

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Generic, TypeVar

import rushlight
from rushlight import Generator
from rushlight.utils.data.resume import (
    Batches,
    Order,
    Resumable,
    generator_in,
    generator_state,
    set_generator_state,
)

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]

T_co = TypeVar("T_co", covariant=True)

CHUNK = 32  # PyTorch draws with replacement in pieces of this size: part of the order


def random_seed(generator: Generator | None) -> int:
    """One non-negative 63-bit number from `generator` (None: the default one)."""
    return int(rushlight.empty((), dtype=rushlight.int64).random_(generator=generator).item())


def check_count(name: str, value, *, allow_bool: bool = False) -> None:
    if not isinstance(value, int) or (isinstance(value, bool) and not allow_bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


class Sampler(Generic[T_co]):
    """Base of all samplers. Subclasses write `__iter__`, and `__len__` where the number is known."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} has to implement __iter__")


def drawing_from(generator: Generator | None, start: str | None):
    """(start, generator) of an order: as the generator is now, or as it was at `start`.

    What `start` replays of the default generator is drawn elsewhere: that one is the program's.
    """
    if start is None:
        used = rushlight.default_generator if generator is None else generator
        state = used.clone_state()
        return lambda: generator_state(state), generator
    if generator is None:
        return start, generator_in(start)
    set_generator_state(generator, start)
    return start, generator


class SequentialSampler(Resumable, Sampler[int]):
    """0, 1, ..., len(data_source) - 1."""

    data_source: Sized

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def _begin(self, state):
        return Order(lambda start: (None, range(len(self.data_source))), state)

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Resumable, Sampler[int]):
    """Indices in random order: permutations, or independent draws with `replacement=True`.

    num_samples: how many an epoch has, `len(data_source)` by default; beyond that, without
    replacement, one permutation follows another.
    """

    data_source: Sized
    replacement: bool

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator=None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        check_count("num_samples", self.num_samples, allow_bool=True)

    @property
    def num_samples(self) -> int:
        # asked each time: the data set may grow between epochs
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def _begin(self, state):
        return Order(self._draw, state)

    def _draw(self, start):
        if self.generator is not None:
            start, generator = drawing_from(self.generator, start)
        else:
            start = random_seed(None) if start is None else start
            generator = Generator()
            generator.manual_seed(start)
        return start, self._indices(generator)

    def _indices(self, generator) -> Iterator[int]:
        n, count = len(self.data_source), self.num_samples
        if self.replacement:
            for size in [CHUNK] * (count // CHUNK) + [count % CHUNK]:
                # the last, short piece is drawn even when it is empty: no numbers, no state
                yield from rushlight.randint(
                    high=n, size=(size,), dtype=rushlight.int64, generator=generator
                ).tolist()
        else:
            for _ in range(count // n):
                yield from rushlight.randperm(n, generator=generator).tolist()
            # drawn even when nothing is left to take: this moves the generator as PyTorch does
            yield from rushlight.randperm(n, generator=generator).tolist()[: count % n]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Resumable, Sampler[int]):
    """The given indices in random order, each once."""

    indices: Sequence[int]

    def __init__(self, indices: Sequence[int], generator=None) -> None:
        self.indices = indices
        self.generator = generator

    def _begin(self, state):
        return Order(self._draw, state)

    def _draw(self, start):
        start, generator = drawing_from(self.generator, start)
        order = rushlight.randperm(len(self.indices), generator=generator).tolist()
        return start, (self.indices[i] for i in order)

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Resumable, Sampler[int]):
    """Indices drawn with probability proportional to `weights` (they need not sum to 1)."""

    weights: "rushlight.Tensor"
    num_samples: int
    replacement: bool

    def __init__(
        self, weights: Sequence[float], num_samples: int, replacement: bool = True, generator=None
    ) -> None:
        check_count("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        weights = rushlight.as_tensor(weights, dtype=rushlight.float64)
        if weights.dim() != 1:
            raise ValueError(
                "weights should be a 1d sequence but given weights have shape "
                f"{tuple(weights.shape)}"
            )
        self.weights = weights
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def _begin(self, state):
        return Order(self._draw, state)

    def _draw(self, start):
        start, generator = drawing_from(self.generator, start)
        drawn = rushlight.multinomial(
            self.weights, self.num_samples, self.replacement, generator=generator
        )
        return start, drawn.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Resumable, Sampler[list[int]]):
    """Lists of `batch_size` indices of another sampler; the last may be short, or is dropped."""

    def __init__(
        self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool
    ) -> None:
        check_count("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def _begin(self, state):
        return Batches(self.sampler, self.batch_size, self.drop_last, state)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)
