"""DataLoader: batches out of a data set, in the main process.

The constructor settles what is sampled (`sampler`, `batch_sampler`) and how it is put together
(`collate_fn`); each `iter()` makes an iterator of its own, so loops may nest. An iterator first
draws one 64-bit seed from the generator, as PyTorch does for its workers: without it every later
random number of a program would differ. Then it asks the sampler for an index (or a list of them),
fetches, collates.

Worker processes are not there yet: `num_workers > 0` raises NotImplementedError in the constructor,
after the checks that PyTorch makes of such options.
"""

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

import rushlight
from rushlight.utils.data._utils import fetch
from rushlight.utils.data._utils.collate import default_collate, default_convert
from rushlight.utils.data._utils.pin_memory import pin_memory as pin
from rushlight.utils.data._utils.worker import get_worker_info
from rushlight.utils.data.dataset import Dataset, IterableDataset
from rushlight.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    random_seed,
)

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

T_co = TypeVar("T_co", covariant=True)

START_METHODS = ["fork", "spawn", "forkserver"]
FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class _DatasetKind:
    Map = 0
    Iterable = 1


class _InfiniteConstantSampler(Sampler):
    """None, for ever: the index of a stream, which knows itself when it ends."""

    def __iter__(self):
        return itertools.repeat(None)


class DataLoader(Generic[T_co]):
    """An iterable over a data set: batches, in order or shuffled.

    dataset: with `__getitem__` and `__len__`, or an IterableDataset. batch_size: samples in a
    batch; None gives single samples (converted, not collated). shuffle: a new random order each
    epoch. sampler, batch_sampler: the order itself, instead. collate_fn: from a list of samples to
    a batch. drop_last: leave out a short last batch. generator: where the order's random numbers
    come from; the default generator if None. pin_memory: batches in page-locked memory, where there
    is an accelerator. num_workers, prefetch_factor, persistent_workers, timeout, worker_init_fn,
    multiprocessing_context, in_order: about worker processes; checked, and num_workers > 0 raises
    NotImplementedError for now.

    Option combinations that contradict each other raise ValueError.
    """

    dataset: Dataset[T_co]
    batch_size: int | None
    num_workers: int
    pin_memory: bool
    drop_last: bool
    timeout: float
    sampler: Sampler | Iterable
    pin_memory_device: str
    prefetch_factor: int | None
    _iterator: "_SingleProcessDataLoaderIter | None"
    __initialized = False

    def __init__(
        self,
        dataset: Dataset[T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context=None,
        generator=None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError(
                "num_workers option should be non-negative; use num_workers=0 to disable "
                "multiprocessing."
            )
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing. "
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to "
                "None."
            )
        if num_workers > 0 and prefetch_factor is None:
            prefetch_factor = 2
        elif prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")

        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order

        if isinstance(dataset, IterableDataset):
            self._dataset_kind = _DatasetKind.Iterable
            # a stream has its own order: anything that asks for another is a mistake
            for name, given in (
                ("shuffle", shuffle or None),
                ("sampler", sampler),
                ("batch_sampler", batch_sampler),
            ):
                if given is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, "
                        f"but got {name}={given}"
                    )
        else:
            self._dataset_kind = _DatasetKind.Map
            shuffle = bool(shuffle)

        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, "
                    "sampler, and "
                    "drop_last"
                )
            batch_size, drop_last = None, False
        elif batch_size is None and drop_last:
            raise ValueError(
                "batch_size=None option disables auto-batching and is mutually exclusive with "
                "drop_last"
            )

        if sampler is None:
            if self._dataset_kind == _DatasetKind.Iterable:
                sampler = _InfiniteConstantSampler()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)
            else:
                sampler = SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)

        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self.__initialized = True
        self._IterableDataset_len_called = None
        self._iterator = None
        if num_workers > 0:
            raise NotImplementedError(
                f"rushlight's DataLoader has no worker processes yet, but got "
                f"num_workers={num_workers}; "
                "write num_workers=0 (and leave out prefetch_factor and persistent_workers): the "
                "batches are the same"
            )

    @property
    def multiprocessing_context(self):
        return self.__multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context):
        if context is not None:
            if self.num_workers == 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading "
                    f"(num_workers > 0), but got num_workers={self.num_workers}"
                )
            if isinstance(context, str):
                if context not in START_METHODS:
                    raise ValueError(
                        "multiprocessing_context option should specify a valid start method in "
                        f"{START_METHODS}, but got multiprocessing_context={context!r}"
                    )
            elif not hasattr(context, "Process"):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string "
                    f"specifying the start method, but got multiprocessing_context={context}"
                )
        self.__multiprocessing_context = context

    def __setattr__(self, name, value):
        if self.__initialized and name in FIXED:
            raise ValueError(
                f"{name} attribute should not be set after {type(self).__name__} is initialized"
            )
        super().__setattr__(name, value)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.batch_sampler if self._auto_collation else self.sampler

    def _get_iterator(self) -> "_SingleProcessDataLoaderIter":
        return _SingleProcessDataLoaderIter(self)

    def __iter__(self) -> Iterator:
        return self._get_iterator()

    def __len__(self) -> int:
        """The number of batches an epoch has (of a stream: that its own `__len__` announces)."""
        if self._dataset_kind == _DatasetKind.Map:
            return len(self._index_sampler)
        # remembered, so that a stream which then gives more than it announced is told of
        length = self._IterableDataset_len_called = len(self.dataset)
        if self.batch_size is None:
            return length
        whole, rest = divmod(length, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)


class _SingleProcessDataLoaderIter:
    """One epoch. Random draws in PyTorch's order: the seed here, the sampler's with the first
    batch.
    """

    def __init__(self, loader: DataLoader) -> None:
        if loader.timeout != 0:
            raise AssertionError(
                "_SingleProcessDataLoaderIter requires timeout == 0: there is nobody to wait for "
                "with "
                f"num_workers=0, but got timeout={loader.timeout}"
            )
        self._dataset = loader.dataset
        self._IterableDataset_len_called = loader._IterableDataset_len_called
        self._dataset_kind = loader._dataset_kind
        self._index_sampler = loader._index_sampler
        self._num_workers = loader.num_workers
        self._pin_memory = _pins(loader)
        self._sampler_iter = iter(self._index_sampler)
        self._base_seed = random_seed(loader.generator)
        self._num_yielded = 0
        streams = self._dataset_kind == _DatasetKind.Iterable
        fetcher = fetch.IterableFetcher if streams else fetch.MapFetcher
        self._dataset_fetcher = fetcher(
            loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last
        )

    def __iter__(self):
        return self

    def __next__(self):
        data = self._dataset_fetcher.fetch(next(self._sampler_iter))
        if self._pin_memory:
            data = pin(data)
        self._num_yielded += 1
        announced = self._IterableDataset_len_called
        if (
            announced is not None
            and self._dataset_kind == _DatasetKind.Iterable
            and self._num_yielded > announced
        ):
            warnings.warn(
                f"Length of IterableDataset {self._dataset} was reported to be {announced} (when "
                f"accessing len(dataloader)), but {self._num_yielded} samples have been fetched. ",
                stacklevel=2,
            )
        return data

    def __len__(self) -> int:
        return len(self._index_sampler)


def _pins(loader: DataLoader) -> bool:
    """Whether batches are to be pinned; asked for where it cannot be, a warning and no."""
    if not loader.pin_memory:
        return False
    if loader.pin_memory_device:
        warnings.warn(
            "pin_memory_device is deprecated, the current accelerator will be used as the device, "
            f"ignore pin_memory_device='{loader.pin_memory_device}'.",
            stacklevel=4,
        )
    cuda = getattr(rushlight, "cuda", None)
    if cuda is not None and cuda.is_available():
        return True
    warnings.warn(
        "'pin_memory' argument is set as true but no accelerator is found, "
        "then device pinned memory won't be used.",
        stacklevel=4,
    )
    return False
