"""The iterators of DataLoader: one epoch each, without workers and with them.

With workers, batch numbers are given out to the workers in turn as the sampler gives indices, each
worker `prefetch_factor` ahead, and batches are handed on in the order of their numbers (or as they
come, `in_order=False`). A stream that ends in one worker leaves the turn to the others. That is the
order in which PyTorch gives batches, for one seed the same ones.

What an epoch needs to be gone on with is kept in a `Record`, which the loader shares, so that
`loader.state_dict()` can be asked after the iterator is gone.
"""

import collections
import itertools
import multiprocessing
import os
import time
import warnings
import weakref

import rushlight
from rushlight.utils.data import resume
from rushlight.utils.data._utils.crew import ProcessCrew, ThreadCrew
from rushlight.utils.data._utils.failure import exit_text, timeout_text
from rushlight.utils.data._utils.fetch import make_fetcher
from rushlight.utils.data._utils.pin_memory import pin_memory as pin
from rushlight.utils.data._utils.pin_memory import pins
from rushlight.utils.data._utils.worker import Job, phrase
from rushlight.utils.data.sampler import random_seed

__all__ = ["Record"]


class Record:
    """How far an epoch has come: everything that `state_dict` of a loader is made of."""

    def __init__(self, base_seed, before):
        self.base_seed = base_seed
        self.before = before  # GlobalRandom under which the sampler was begun, where that matters
        self.batches = 0  # numbers below have all been handed on
        self.ahead = set()  # and these beyond, where they come in any order
        self.finished = False
        self.order = None  # what the sampler's state was after `batches` of them: a call
        self.streams = None  # for each worker: batches handed on, last state, whether it ended
        self.turn = 0  # the worker whose batch is next


class _BaseDataLoaderIter:
    """What both have in common: the sampler, the seed, the count.

    Random draws in PyTorch's order: the sampler is begun, the base seed is drawn, then indices.
    """

    def __init__(self, loader) -> None:
        self._loader_len_called = loader._IterableDataset_len_called
        self._dataset = loader.dataset
        self._dataset_kind = loader._dataset_kind
        self._auto_collation = loader._auto_collation
        self._streams = loader._streams
        self._drop_last = loader.drop_last
        self._index_sampler = loader._index_sampler
        self._num_workers = loader.num_workers
        self._pin_memory = pins(loader)
        self._collate_fn = loader.collate_fn
        self._begin(loader)

    def _begin(self, loader, base_seed=None):
        """A new epoch, or the rest of the one that was loaded into the loader."""
        saved, loader._saved = loader._saved, None
        sampler = self._index_sampler
        if saved is None:
            before = None
            if not self._streams and _needs_globals(sampler):
                before = resume.GlobalRandom()
            self._sampler_iter = iter(sampler)
            if base_seed is None:
                base_seed = random_seed(loader.generator)
            self._record = Record(base_seed, before)
            self._fresh_streams(None, loader._source)
        else:
            before = saved["random"] and resume.GlobalRandom(saved["random"])
            self._record = record = Record(saved["base_seed"], before)
            record.batches, record.ahead = saved["batches"], set(saved["ahead"])
            record.turn = saved["turn"]
            self._sampler_iter = _indices_after(sampler, saved, before)
            self._fresh_streams(saved["streams"], loader._source)
        loader._record = self._record
        self._base_seed = self._record.base_seed
        self._num_yielded = self._record.batches + len(self._record.ahead)
        self._IterableDataset_len_called = loader._IterableDataset_len_called

    def _fresh_streams(self, saved, dataset):
        """The record's account of streams, and their epoch where they count theirs."""
        if not self._streams:
            return
        counts = hasattr(dataset, "next_epoch")
        if saved is not None:
            self._record.streams = [dict(s) for s in saved]
            if counts:
                dataset.set_epoch(saved[0]["epoch"])
                dataset.next_epoch()
            return
        epoch = dataset.next_epoch() if counts else None
        self._record.streams = [
            {"epoch": epoch, "samples": 0, "state": None, "ended": False}
            for _ in range(max(self._num_workers, 1))
        ]

    def _note(self, worker, size, state, ended):
        """A batch of this worker's stream was handed on."""
        stream = self._record.streams[worker]
        stream["samples"] += size
        stream["state"], stream["ended"] = state, ended

    def _batch_size(self, index):
        return len(index) if self._auto_collation else 1

    def __iter__(self):
        return self

    def __next__(self):
        data = self._next_data()
        if self._pin_memory:
            data = pin(data)
        self._num_yielded += 1
        announced = self._IterableDataset_len_called
        if self._streams and announced is not None and self._num_yielded > announced:
            text = (
                f"Length of IterableDataset {self._dataset} was reported to be {announced} (when "
                f"accessing len(dataloader)), but {self._num_yielded} samples have been fetched. "
            )
            if self._num_workers > 0:
                text += (
                    "For multiprocessing data-loading, this could be caused by not properly "
                    "configuring the IterableDataset replica at each worker: let each give its "
                    "share, by rushlight.utils.data.get_worker_info()."
                )
            warnings.warn(text, stacklevel=2)
        return data

    def __len__(self) -> int:
        return len(self._index_sampler)


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    """One epoch in the loop's own process."""

    def __init__(self, loader) -> None:
        if loader.timeout != 0:
            raise AssertionError(
                "_SingleProcessDataLoaderIter requires timeout == 0: there is nobody to wait for "
                f"with num_workers=0, but got timeout={loader.timeout}"
            )
        super().__init__(loader)
        record = self._record
        self._dataset_fetcher = make_fetcher(
            loader._source,
            self._auto_collation,
            self._collate_fn,
            self._drop_last,
            saved=record.streams and record.streams[0],
        )
        if not self._streams:
            # nothing is drawn ahead: the sampler itself stands where the loop does
            order, sampler = self._sampler_iter, self._index_sampler
            record.order = lambda: resume.state_of(sampler, order)

    def _next_data(self):
        record = self._record
        try:
            index = next(self._sampler_iter)
            data = self._dataset_fetcher.fetch(index)
        except StopIteration:
            record.finished = True
            raise
        record.batches += 1
        if self._streams:
            # asked for now: a moment later the stream may be further
            self._note(0, self._batch_size(index), *self._dataset_fetcher.state())
        return data


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    """One epoch with workers; several, one after the other, with `persistent_workers`."""

    def __init__(self, loader) -> None:
        self._prefetch_factor = loader.prefetch_factor
        self._timeout = loader.timeout
        self._in_order = loader.in_order
        self._persistent_workers = loader.persistent_workers
        super().__init__(loader)
        if self._num_workers <= 0 or self._prefetch_factor <= 0:
            raise AssertionError("workers need num_workers > 0 and prefetch_factor > 0")
        job = Job(
            loader._source,
            self._auto_collation,
            self._collate_fn,
            self._drop_last,
            self._num_workers,
            loader.worker_init_fn,
            self._base_seed,
            2 * (self._prefetch_factor + 2),
            self._record.streams,
        )
        if loader.worker_type == "thread":
            self._crew = ThreadCrew(job)
        else:
            context = loader.multiprocessing_context
            if context is None or isinstance(context, str):
                context = multiprocessing.get_context(context)
            self._crew = ProcessCrew(job, context)
        self._epoch = 0
        self._broken = None
        self._finalizer = weakref.finalize(self, self._crew.stop)
        self._start()

    def _reset(self, loader):
        """The next epoch with the same workers."""
        self._begin(loader, base_seed=self._base_seed)
        for _, load, _ in self._done.values():
            load.discard()
        self._epoch += 1
        self._crew.new_epoch(self._epoch)
        for worker in range(self._num_workers):
            streams = self._record.streams
            saved = streams[worker] if streams else None
            self._crew.send(worker, "epoch", self._epoch, 0, saved)
        self._start()

    def _start(self):
        """Give out the first tasks."""
        self._tasks = collections.OrderedDict()  # number -> (worker, index) not handed on
        self._done = {}  # number -> (what, load, state) that came before its turn
        self._orders = {}  # number -> the sampler's state after it
        self._load = [0] * self._num_workers  # tasks each worker has not answered
        streams = self._record.streams
        self._active = [not (streams and s["ended"]) for s in streams or [None] * self._num_workers]
        self._turn = itertools.count(self._record.turn)
        self._send_number = self._record.batches
        self._exhausted = False
        record, orders = self._record, self._orders
        if not self._streams:
            orders[record.batches] = resume.state_of(self._index_sampler, self._sampler_iter)
            record.order = lambda: orders.get(record.batches)
        for _ in range(self._prefetch_factor * self._num_workers):
            self._give_out()
        if not self._streams and orders[record.batches] is None:
            # indices are drawn by now, and none of them handed on
            orders[record.batches] = resume.state_of(
                self._index_sampler, self._sampler_iter, first=True
            )

    # ---- tasks

    def _next_worker(self):
        for _ in range(self._num_workers):
            worker = next(self._turn) % self._num_workers
            if self._active[worker] and (self._in_order or self._room(worker)):
                return worker
        return None

    def _room(self, worker):
        """In any order, who is quick gets more: but none more than its share ahead."""
        return self._load[worker] < self._prefetch_factor

    def _give_out(self):
        """Send the next indices to the worker whose turn it is."""
        if self._exhausted or len(self._tasks) >= self._prefetch_factor * self._num_workers:
            return
        worker = self._next_worker()
        if worker is None:
            return
        record = self._record
        while True:
            try:
                index = next(self._sampler_iter)
            except StopIteration:
                self._exhausted = True
                return
            number = self._send_number
            self._send_number += 1
            if not self._streams:
                self._orders[number + 1] = resume.state_of(
                    self._index_sampler, self._sampler_iter
                )
            if number not in record.ahead:
                break
        self._tasks[number] = (worker, index)
        self._load[worker] += 1
        self._crew.send(worker, "do", self._epoch, number, index)

    def _doing(self, worker):
        """What a worker is at, for an error's text."""
        for number, (who, index) in self._tasks.items():
            if who == worker and number not in self._done:
                at = phrase(index, self._crew.position(worker), self._auto_collation)
                return f"{at}, batch {number}"
        return "without a task"

    # ---- answers

    def _take_in(self, timeout):
        """Note the answers that come within `timeout`; RuntimeError if a worker is gone."""
        answers = self._crew.wait(timeout)
        for worker, _, number, what, load, state in answers:
            if number < 0:
                self._fail(load().error())
            self._load[worker] -= 1
            self._done[number] = (what, load, state)
        if self._crew.gone is not None:
            worker, pid, code, peak = self._crew.gone
            doing = self._doing(worker)
            self._fail(RuntimeError(exit_text(worker, self._num_workers, pid, code, doing, peak)))
        return bool(answers)

    def _fail(self, error):
        self._broken = error
        self._shutdown()
        raise error

    def _wanted(self):
        """The number of the batch to hand on next, or None if that is yet to come."""
        if not self._in_order:
            return next(iter(self._done), None)
        number = next(iter(self._tasks))
        return number if number in self._done else None

    def _next_data(self):
        if self._broken is not None:
            raise self._broken
        self._check_process()
        try:
            return self._next_batch()
        except KeyboardInterrupt:
            self._broken = RuntimeError("this iterator was interrupted; iter(loader) begins anew")
            self._shutdown()
            raise

    def _next_batch(self):
        self._take_in(0)
        while True:
            self._drop_tasks_of_ended_streams()
            if not self._tasks:
                self._finish()
                raise StopIteration
            number = self._wanted()
            if number is None:
                self._wait()
                continue
            what, load, state = self._done.pop(number)
            worker, index = self._tasks.pop(number)
            if what == "end":
                self._active[worker] = False
                self._record.streams[worker]["ended"] = True
                self._give_out()
                continue
            self._count(number)
            if self._streams and what == "data":
                self._note(worker, self._batch_size(index), *state)
            self._give_out()
            self._record.turn = next((w for w, _ in self._tasks.values() if self._active[w]), 0)
            if what == "error":
                raise load().error()
            return load()

    def _wait(self):
        if self._timeout > 0:
            end = time.monotonic() + self._timeout
            while not self._take_in(max(0, end - time.monotonic())):
                if time.monotonic() >= end:
                    worker = next(iter(self._tasks.values()))[0]
                    doing, pid = self._doing(worker), self._crew.pid(worker)
                    self._fail(RuntimeError(timeout_text(self._timeout, worker, pid, doing)))
        else:
            self._take_in(None)

    def _drop_tasks_of_ended_streams(self):
        """A worker whose stream has ended answers nothing but that: its other tasks are void."""
        if not self._streams or all(self._active):
            return
        for number, (worker, _) in list(self._tasks.items()):
            if not self._active[worker]:
                del self._tasks[number]
                self._done.pop(number, None)

    def _count(self, number):
        """A batch is handed on: move the record's mark past all that are."""
        record = self._record
        record.ahead.add(number)
        while record.batches in record.ahead:
            record.ahead.discard(record.batches)
            self._orders.pop(record.batches, None)
            record.batches += 1
        if self._streams and self._tasks:
            # numbers of void tasks never come
            first = next(iter(self._tasks))
            if first > record.batches and self._in_order:
                record.batches = first

    # ---- the end

    def _finish(self):
        self._record.finished = True
        if not self._persistent_workers:
            self._shutdown()

    def _shutdown(self):
        """End the workers. May be called twice, and in a forked child."""
        self._finalizer()

    def _check_process(self):
        if self._crew.owner != os.getpid():
            raise RuntimeError(
                "this DataLoader iterator belongs to another process: its workers answer only there; "
                "write iter(loader) in this one"
            )


def _needs_globals(sampler):
    """Whether an order can be made again only under the random states that it began under."""
    inner = getattr(sampler, "sampler", sampler) if isinstance(sampler, resume.Resumable) else sampler
    if isinstance(inner, (list, tuple, range)):
        return False
    if getattr(type(inner), "__iter__", None) is resume.Resumable.__iter__:
        return False
    return not resume.tells(inner, None)


def _indices_after(sampler, saved, before):
    """The sampler's iterator, past what the saved state says was handed on."""
    if saved["sampler"] is not None:
        return resume.begin(sampler, saved["sampler"])
    if before is None:
        indices = iter(sampler)
        for _ in itertools.islice(indices, saved["batches"]):
            pass
        return indices
    now = resume.GlobalRandom()
    before.restore()
    try:
        indices = iter(sampler)
        rushlight.empty((), dtype=rushlight.int64).random_()  # where the base seed was drawn
        for _ in itertools.islice(indices, saved["batches"]):
            pass
    finally:
        now.restore()
    return indices
