"""DataLoader: batches out of a data set, in order or shuffled, made here or by workers.

The constructor settles what is sampled (`sampler`, `batch_sampler`) and how it is put together
(`collate_fn`); each `iter()` makes an iterator of its own (`_utils/iterators.py`), so loops may
nest. An iterator first draws one 64-bit seed from the generator, as PyTorch does: workers are seeded
by it, and without it every later random number of a program would differ.

`state_dict()` is where the latest iteration stands, as plain data, counted by the batches that the
loop has received; after `load_state_dict` the next `iter()` goes on from there.
"""

import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from rushlight.utils.data import resume
from rushlight.utils.data._utils.collate import default_collate, default_convert
from rushlight.utils.data._utils.iterators import (
    _BaseDataLoaderIter,
    _MultiProcessingDataLoaderIter,
    _SingleProcessDataLoaderIter,
)
from rushlight.utils.data._utils.worker import get_worker_info
from rushlight.utils.data.dataset import Dataset
from rushlight.utils.data.frame import as_dataset
from rushlight.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
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
    is an accelerator.

    num_workers: how many workers make batches beside the loop; 0: the loop itself does.
    worker_type: "process", or "thread" for data sets that release the GIL or wait (files, network):
    no copies, no start. prefetch_factor: batches each worker is ahead, 2 by default.
    persistent_workers: keep them for the next epoch. timeout: seconds to wait for a batch, 0: no
    limit. worker_init_fn: called with its number in each worker, after seeding.
    multiprocessing_context: "fork", "spawn", "forkserver" or a context. in_order: False hands
    batches on as they are made.

    RuntimeError where a worker process ends by itself or a batch takes longer than timeout; an
    exception in a worker arrives as the same type, with the worker's traceback, number and the
    dataset index in its text. Option combinations that contradict each other raise ValueError.
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
    _iterator: _BaseDataLoaderIter | None
    __initialized = False
    # beside PyTorch's attributes: on the instance only where they are not these
    worker_type: str = "process"
    _record = _saved = None

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
        worker_type: str = "process",
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

        if worker_type not in ("process", "thread"):
            raise ValueError(
                f"worker_type should be 'process' or 'thread', but got worker_type={worker_type!r}"
            )

        self.dataset = dataset
        source = as_dataset(dataset)
        if source is not dataset:
            self._source = dataset = source
        self.num_workers = num_workers
        if worker_type != self.worker_type:
            self.worker_type = worker_type
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order

        if resume.is_stream(dataset):
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
        self._warn_of_many_workers()

    @property
    def _source(self):
        """The data set that is fetched from."""
        return self.__dict__.get("_source", self.dataset)

    @_source.setter
    def _source(self, dataset):
        self.__dict__["_source"] = dataset

    @property
    def _streams(self) -> bool:
        return self._dataset_kind == _DatasetKind.Iterable

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

    def _get_iterator(self) -> _BaseDataLoaderIter:
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        self._warn_of_many_workers()
        return _MultiProcessingDataLoaderIter(self)

    def __iter__(self) -> Iterator:
        if not (self.persistent_workers and self.num_workers > 0):
            return self._get_iterator()
        if self._iterator is None or self._iterator._broken is not None:
            self._iterator = self._get_iterator()
        else:
            self._iterator._reset(self)
        return self._iterator

    def _warn_of_many_workers(self):
        """More workers than processors are rarely meant (threads that wait are)."""
        if self.num_workers == 0 or self.worker_type == "thread":
            return
        try:
            processors = len(os.sched_getaffinity(0))
        except AttributeError:
            processors = os.cpu_count() or 1
        if self.num_workers > processors:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total, but this "
                f"process may use {processors} processors: more workers than processors are slower, "
                f"as a rule. Write num_workers={processors} or less.",
                stacklevel=3,
            )

    def state_dict(self) -> dict:
        """Where the latest iteration stands, after the last batch that it gave: plain data.

        Dicts, lists, strings and numbers only, so any checkpoint can hold it (JSON as well). Of a
        map-style data set it is the sampler's state; of a stream each worker's own state
        (`dataset.state_dict()`, where it has one), else the number of samples to skip.
        """
        record = self._record
        if self._saved is not None:
            return self._saved
        generator = None if self.generator is None else resume.generator_state(self.generator)
        if record is None or record.finished:
            return {"version": 1, "finished": True, "generator": generator}
        order = record.order() if record.order is not None else None
        streams = record.streams
        return {
            "version": 1,
            "finished": False,
            "generator": generator,
            "base_seed": record.base_seed,
            "batches": record.batches,
            "ahead": sorted(record.ahead),
            "turn": record.turn,
            "sampler": order,
            "random": record.before.plain() if record.before is not None else None,
            "streams": None if streams is None else [dict(s) for s in streams],
        }

    def load_state_dict(self, state: dict) -> None:
        """Let the next `iter()` go on from `state`: with the very next batch, none lost, none twice.

        The loader has to be made as the one that gave the state. Map-style data sets may go on with
        another number of workers, streams may not (ValueError). The loader's own generator is put
        back too; the default one, which seeds later epochs of a loader without, is the program's to
        save (`rushlight.get_rng_state`).
        """
        if not isinstance(state, dict) or "finished" not in state:
            raise ValueError(
                f"expected what DataLoader.state_dict() gave, but got {type(state).__name__}: "
                f"{str(state)[:100]}"
            )
        if state.get("version") != 1:
            raise ValueError(
                f"this state has version {state.get('version')!r}; this rushlight knows version 1"
            )
        streams = None if state["finished"] else state["streams"]
        shares = max(self.num_workers, 1)
        if not state["finished"] and (streams is not None) != self._streams:
            raise ValueError("the state of a stream fits a stream only, and the other way round")
        if streams is not None and len(streams) != shares:
            raise ValueError(
                f"the state is that of a stream in {len(streams)} shares, but this DataLoader has "
                f"num_workers={self.num_workers}: a stream goes on with as many workers as before, "
                f"num_workers={len(streams)} (0 and 1 are the same)"
            )
        if self.generator is not None and state["generator"] is not None:
            resume.set_generator_state(self.generator, state["generator"])
        self._saved = None if state["finished"] else state
        self._record = None

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
