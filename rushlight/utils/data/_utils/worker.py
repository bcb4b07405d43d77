"""Workers: what runs beside the loop, in a process or in a thread, and what a sample's code can ask
about it.

A worker takes tasks (number of the batch, indices), makes batches and sends them, one after the
other, until it is told to stop or its line ends. The loop gives it no more than it may be ahead.

Seeds are PyTorch's: `base_seed + worker_id` for rushlight's and Python's random numbers, and for
NumPy's a state of 128 bits made of both (SeedSequence), so that no two workers and no two epochs
share numbers. Worker threads live in one process with the loop and leave its global random states
alone; theirs are in `get_worker_info().rng`.

A worker process works with one thread, ignores ctrl-C (the loop ends it), and ends by itself when
the loop's process is gone, even in the middle of a sample.
"""

import copy
import dataclasses
import os
import pickle
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy

import rushlight
from rushlight.utils.data._utils import packing, shared
from rushlight.utils.data._utils.channel import Channel, close_inherited
from rushlight.utils.data._utils.failure import Failure, shortened
from rushlight.utils.data._utils.fetch import (
    COLLATING,
    EPOCH,
    PEAK,
    POSITION,
    WHOLE,
    IterableFetcher,
    Stopped,
    make_fetcher,
)
from rushlight.utils.data.resume import is_stream

try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = ["Job", "WorkerInfo", "WorkerRandom", "get_worker_info", "phrase"]

PATIENCE = 1.0  # seconds between two looks whether the loop's process is there
BOARD = 4096  # bytes
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclasses.dataclass(frozen=True)
class WorkerRandom:
    """Random numbers of a worker thread: Python's, NumPy's and rushlight's, seeded for it alone."""

    random_generator: random.Random
    numpy_generator: "numpy.random.Generator"
    torch_generator: "rushlight.Generator"


@dataclasses.dataclass(frozen=True)
class WorkerInfo:
    """A worker: its number `id` of `num_workers`, its seed for this epoch, its copy of the data set.

    rng: a WorkerRandom in worker threads, None in processes, whose global random states are their
    own. worker_method: "multiprocessing" or "thread".
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: WorkerRandom | None = None
    worker_method: str = "multiprocessing"


_PROCESS: list = []  # the WorkerInfo of this process
_THREAD = threading.local()  # that of a worker thread


def get_worker_info() -> WorkerInfo | None:
    """The worker that this code runs in: None in the main process.

    A stream uses it to give each worker its share: `range(info.id, n, info.num_workers)`.
    """
    found = getattr(_THREAD, "info", None)
    return found if found is not None else (_PROCESS[0] if _PROCESS else None)


@dataclasses.dataclass
class Job:
    """What all workers of an iterator need to know."""

    dataset: Any
    auto: bool
    collate_fn: Callable
    drop_last: bool
    num_workers: int
    init_fn: Callable | None
    base_seed: int
    keep: int  # free blocks of shared memory to hold on to
    saved: list | None  # for each worker where its stream goes on


def numpy_seed(base_seed, worker):
    """The words that NumPy's global state is seeded by."""
    return numpy.random.SeedSequence([worker, base_seed]).generate_state(4)


def phrase(index, position, auto):
    """What a worker at `position` of a batch is doing."""
    if index is None or (auto and index and index[0] is None):
        return f"at sample {max(position, 0)} of its stream's batch"
    if not auto:
        return f"at dataset index {index!r}"
    if position == COLLATING:
        return f"collating dataset indices {shortened(index)}"
    if position == WHOLE or not 0 <= position < len(index):
        return f"at dataset indices {shortened(index)}"
    return f"at dataset index {index[position]!r}, sample {position} of the batch {shortened(index)}"


class _Worker:
    """The work itself, whatever it runs in: `answer` sends (number, kind, value, state)."""

    def __init__(self, job, worker, board, where, lender=None):
        self.job, self.worker, self.board, self.where = job, worker, board, where
        self.lender = lender
        self.fetcher = self.trouble = None

    def begin(self):
        job = self.job
        try:
            if job.init_fn is not None:
                job.init_fn(self.worker)
            self._open(None if job.saved is None else job.saved[self.worker])
        except Exception as error:
            self.trouble = Failure(error, self.where, "before its first sample")

    def _open(self, saved):
        job = self.job
        self.fetcher = make_fetcher(
            job.dataset, job.auto, job.collate_fn, job.drop_last, self.board, saved, self.lender
        )

    def new_epoch(self, saved):
        try:
            self._open(saved)
        except Exception as error:
            self.trouble = Failure(error, self.where, "before its first sample")

    def make(self, number, index):
        """(kind, value, state) of one task."""
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            return "error", trouble, None
        if self.fetcher is None:  # its trouble has been told, and it has not gone away
            return "end", None, None
        try:
            data = self.fetcher.fetch(index)
            return "data", data, self.fetcher.state()
        except StopIteration as end:
            if isinstance(self.fetcher, IterableFetcher):
                return "end", None, None
            return "error", self.failure(end, number, index), None
        except Exception as error:
            return "error", self.failure(error, number, index), None

    def failure(self, error, number, index):
        at = phrase(index, self.board[POSITION], self.job.auto)
        return Failure(error, self.where, f"{at}, batch {number}")


# ---- a process


def process_main(job, worker, sock):
    """What a worker process runs."""
    close_inherited()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sock.setblocking(True)
    channel = Channel(sock)
    _watch()
    rushlight.set_num_threads(1)
    seed = job.base_seed + worker
    random.seed(seed)
    rushlight.manual_seed(seed)
    numpy.random.seed(numpy_seed(job.base_seed, worker))
    info = WorkerInfo(worker, job.num_workers, seed, job.dataset)
    _PROCESS[:] = [info]

    first = channel.receive()  # whether shared memory is there
    if first is None:
        return
    has_board = pickle.loads(first)
    lender, board = None, [0] * 8
    if has_board:
        block = shared.Block(0, channel.descriptors.popleft(), BOARD)
        board = memoryview(block.array).cast("q")
        lender = shared.Lender(job.keep)
    try:
        _serve(job, worker, channel, board, lender)
    except Stopped:
        pass
    finally:
        channel.close()


def _serve(job, worker, channel, board, lender):
    """The tasks of a worker process, one after the other, until there are no more."""
    work = _Worker(job, worker, board, f"in DataLoader worker process {worker}", lender)
    work.begin()
    while (message := channel.receive()) is not None:
        kind, epoch, number, index, returned = pickle.loads(message)
        if lender is not None:
            lender.returned(returned)
            lender.begin()
            if epoch < board[EPOCH]:
                continue  # of an epoch that the loop has left
        if kind == "epoch":
            work.new_epoch(index)
            continue
        what, value, state = work.make(number, index)
        try:
            value, refs = packing.pack(value, lender)
        except Exception as error:
            what, state = "error", None
            value, refs = packing.pack(work.failure(error, number, index), None)
            if lender is not None:
                lender.finish(())
        made, dropped, reason = (), (), None
        if lender is not None:
            made, dropped = lender.news()
            reason = lender.reason
            if resource is not None:
                board[PEAK] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
        blocks = [(id, size) for id, _, size in made]
        answer = (epoch, number, what, state, refs, blocks, dropped, reason, value)
        channel.send(pickle.dumps(answer, 5), [fd for _, fd, _ in made])
        for _, fd, _ in made:
            os.close(fd)


def _watch():
    """End this process when its parent is gone: a thread looks, since a sample may never return."""
    parent = os.getppid()

    def look():
        while os.getppid() == parent:
            time.sleep(PATIENCE)
        os._exit(1)

    threading.Thread(target=look, name="rushlight-loader-watch", daemon=True).start()


# ---- a thread


def thread_main(job, worker, tasks, answers, board):
    """What a worker thread runs: `tasks` gives (kind, epoch, number, index), None at the end."""
    seed = job.base_seed + worker
    generator = rushlight.Generator()
    generator.manual_seed(seed)
    words = numpy.random.MT19937(numpy.random.SeedSequence([worker, job.base_seed]))
    rng = WorkerRandom(random.Random(seed), numpy.random.Generator(words), generator)
    if is_stream(job.dataset) and hasattr(job.dataset, "state_dict"):
        # where it stands is each worker's own
        job = dataclasses.replace(job, dataset=copy.copy(job.dataset))
    _THREAD.info = WorkerInfo(worker, job.num_workers, seed, job.dataset, rng, "thread")
    work = _Worker(job, worker, board, f"in DataLoader worker thread {worker}")
    try:
        work.begin()
        while (task := tasks.get()) is not None:
            kind, epoch, number, index = task
            if epoch < board[EPOCH]:
                continue
            if kind == "epoch":
                work.new_epoch(index)
                continue
            answers.put((worker, epoch, number, *work.make(number, index)))
    except Stopped:
        pass
    except BaseException as error:  # SystemExit: no thread may go without a word
        answers.put((worker, board[EPOCH], -1, "gone", Failure(error, work.where), None))
