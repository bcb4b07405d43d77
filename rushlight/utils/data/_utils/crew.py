"""Crews: the workers of one iterator, as the loop sees them. Processes, or threads.

A crew sends tasks, waits for answers, and knows who is gone: `send`, `wait`, `gone`, `stop`. It does
not know about order; that is the iterator's. An answer is (worker, epoch, number, what, load,
state): `what` is "data", "error" or "end", `load()` gives its value.

Processes are told to stop by the end of their line and by a cell of their board that they read
between two samples; who does not listen within `GRACE` seconds is terminated, then killed. `stop()`
may be called any number of times, by the loop, the garbage collector, at exit, or in a forked child,
where it only closes what the child inherited.
"""

import os
import pickle
import queue
import select
import threading
import time
import warnings
from multiprocessing import connection

from rushlight.utils.data._utils import packing, shared
from rushlight.utils.data._utils.channel import pair
from rushlight.utils.data._utils.fetch import EPOCH, PEAK, POSITION, STOP
from rushlight.utils.data._utils.worker import BOARD, process_main, thread_main

__all__ = ["ProcessCrew", "ThreadCrew"]

GRACE = 2.0  # seconds for the sample that is being made when a loop ends
LOOK = 1.0  # seconds between two looks at processes whose end cannot be waited for


class _Member:
    """One worker process: its line, its board, the blocks it lent."""

    def __init__(self, worker):
        self.worker = worker
        self.channel, self.theirs = pair()
        self.board, self.block, self.borrower, self.process = [0] * 8, None, None, None

    def share(self):
        """Give it a board in shared memory, and with that the right to have more; the reason if not."""
        reason = None
        if shared.available:
            try:
                fd = shared.make_file(BOARD)
            except shared.NoRoom as error:
                reason = error.strerror
            else:
                kept = os.dup(fd)
                self.block = shared.Block(0, fd, BOARD)
                self.board = memoryview(self.block.array).cast("q")
                self.borrower = shared.Borrower()
                self.channel.send(pickle.dumps(True), [kept])
                os.close(kept)
                return None
        self.channel.send(pickle.dumps(False))
        return reason


class ProcessCrew:
    """Worker processes of a multiprocessing context."""

    def __init__(self, job, context):
        self.owner = os.getpid()
        self.count = job.num_workers
        self.members = []
        self.gone = None  # (worker, pid, exit code, peak memory) of the first that ended by itself
        self.stopped = False
        self.warned = False
        self.epoch = 0
        self._lines, self._ends = {}, {}  # descriptor -> member
        self._poll = select.poll() if hasattr(select, "poll") else None
        try:
            for worker in range(job.num_workers):
                self._start(job, context, worker)
        except BaseException as error:
            self.stop()
            if not isinstance(error, (OSError, KeyboardInterrupt)):
                error.add_note(
                    "DataLoader sends its data set, collate_fn and worker_init_fn to worker processes "
                    "that are not forked by pickle: what they are made of has to stand at the top of "
                    "a module (no lambda, no function or class inside another), or use "
                    "multiprocessing_context='fork' or worker_type='thread'."
                )
            raise

    def _start(self, job, context, worker):
        member = _Member(worker)
        self.members.append(member)
        reason = member.share()
        if reason:
            self._warn(reason)
        process = context.Process(
            target=process_main,
            args=(job, worker, member.theirs),
            name=f"rushlight-loader-{worker}",
            daemon=True,
        )
        process.start()
        member.process = process
        member.theirs.close()
        self._watch(member)

    def _watch(self, member):
        self._lines[member.channel.fileno()] = member
        if self._poll is not None:
            self._poll.register(member.channel.fileno(), select.POLLIN)
            if isinstance(member.process.sentinel, int):
                self._ends[member.process.sentinel] = member
                self._poll.register(member.process.sentinel, select.POLLIN)

    # ---- messages

    def send(self, worker, kind, epoch, number, index):
        """A task; never waits."""
        member = self.members[worker]
        back = member.borrower.give_back() if member.borrower is not None else ()
        member.channel.send(pickle.dumps((kind, epoch, number, index, back), 5))

    def new_epoch(self, epoch):
        """Tasks of earlier epochs are not worth doing any more."""
        self.epoch = epoch
        for member in self.members:
            member.board[EPOCH] = epoch

    def position(self, worker):
        """Which sample of its batch a worker is at."""
        return self.members[worker].board[POSITION]

    def pid(self, worker):
        return self.members[worker].process.pid

    def _ready(self, timeout):
        if self._poll is None:
            lines = list(self._lines)
            return select.select(lines, [], [], timeout)[0]
        waiting = [m for m in self.members if m.channel.out and not m.channel.closed]
        for member in waiting:
            self._poll.modify(member.channel.fileno(), select.POLLIN | select.POLLOUT)
        try:
            found = self._poll.poll(None if timeout is None else max(0, timeout) * 1000)
        finally:
            for member in waiting:
                self._poll.modify(member.channel.fileno(), select.POLLIN)
        return [fd for fd, _ in found]

    def wait(self, timeout):
        """Answers that have come, waiting for the first up to `timeout` seconds (None: no limit).

        An empty list where time ran out or a worker is gone.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if end is None else max(0, end - time.monotonic())
            step = left if self._poll is not None else (LOOK if left is None else min(LOOK, left))
            answers = self._collect(self._ready(step))
            if answers or self.gone is not None or (left is not None and left <= step):
                return answers

    def _collect(self, ready):
        answers, dead = [], []
        for fd in ready:
            member = self._lines.get(fd)
            if member is None:
                member = self._ends[fd]
                dead.append(member)
                self._read_all(member, answers)
                continue
            if member.channel.out:
                member.channel.flush()
            answers += self._parse(member, member.channel.arrived())
            if member.channel.closed:
                dead.append(member)
        if self._poll is None:
            dead += [m for m in self.members if not m.process.is_alive()]
        if dead and self.gone is None and not self.stopped:
            self.gone = _autopsy(dead[0])
        return answers

    def _read_all(self, member, answers):
        while found := member.channel.arrived():
            answers += self._parse(member, found)

    def _parse(self, member, messages):
        answers = []
        for message in messages:
            found = pickle.loads(message)
            epoch, number, what, state, refs, blocks, dropped, reason, value = found
            borrower = member.borrower
            for id, size in blocks:
                borrower.add(id, member.channel.descriptors.popleft(), size)
            if dropped:
                borrower.drop(dropped)
            if reason and not self.warned:
                self._warn(reason)
            load = _Load(value, refs, borrower)
            if epoch == self.epoch:
                answers.append((member.worker, epoch, number, what, load, state))
            else:
                load.discard()
        return answers

    def _warn(self, reason):
        self.warned = True
        warnings.warn(
            f"DataLoader's batches go through pipes, which is slower, because {reason}. Make room "
            "for shared memory (docker run --shm-size=8g, mount -o remount,size=8G /dev/shm, ulimit "
            "-f unlimited, or a folder with more room in RUSHLIGHT_SHARED_MEMORY), or need less of "
            "it: a smaller prefetch_factor, num_workers or batch_size.",
            stacklevel=2,
        )

    # ---- the end

    def stop(self):
        """End all workers; returns when none is left."""
        if self.stopped:
            return
        self.stopped = True
        if os.getpid() != self.owner:
            for member in self.members:  # a forked child's copies
                member.channel.close()
            return
        for member in self.members:
            member.board[STOP] = 1
            member.channel.close()
            member.theirs.close()
        started = [m.process for m in self.members if m.process is not None]
        for patience, act in ((GRACE, "terminate"), (1.0, "kill"), (None, None)):
            _wait_for(started, patience)
            if act is None:
                break
            for process in started:
                if process.is_alive():
                    getattr(process, act)()
        for process in started:
            process.join()
            process.close()
        for member in self.members:
            member.process = None
            if member.borrower is not None:
                member.borrower.close()


class _Load:
    """The value of an answer, made when it is asked for."""

    __slots__ = ("value", "refs", "borrower")

    def __init__(self, value, refs=None, borrower=None):
        """value: a message's pickle and the places of its arrays; or, refs None, the value itself."""
        self.value, self.refs, self.borrower = value, refs, borrower

    def __call__(self):
        if self.refs is None:
            return self.value
        return packing.unpack(self.value, self.refs, self.borrower)

    def discard(self):
        """Nobody wants it: its memory goes back."""
        if self.refs:
            self.borrower.views(self.refs)


def _wait_for(processes, seconds):
    """Wait until all have ended, or for so many seconds."""
    end = None if seconds is None else time.monotonic() + seconds
    left = [p for p in processes if p.is_alive()]
    while left:
        rest = None if end is None else end - time.monotonic()
        if rest is not None and rest <= 0:
            return
        connection.wait([p.sentinel for p in left], rest)
        left = [p for p in left if p.is_alive()]


def _autopsy(member):
    """(worker, pid, exit code, peak memory) of a process that has ended, or is about to."""
    process = member.process
    pid = process.pid
    peak = member.board[PEAK]
    end = time.monotonic() + 5  # its line is closed: the process itself is a moment from its end
    peak = max(peak, _reaped_peak(process, end))
    process.join(max(0, end - time.monotonic()))
    return member.worker, pid, process.exitcode, peak or None


def _reaped_peak(process, end):
    """The largest memory of an ended child, which only the call that reaps it can tell; else 0."""
    popen = getattr(process, "_popen", None)
    if not hasattr(os, "wait4") or type(popen).__name__ != "Popen" or popen.returncode is not None:
        return 0
    if not connection.wait([process.sentinel], max(0, end - time.monotonic())):
        return 0
    try:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    except OSError:  # no child of this process (forkserver), or reaped already
        return 0
    if pid == 0:
        return 0
    popen.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss * 1024


class ThreadCrew:
    """Worker threads: no copies of the data set, no pickling; for work that releases the GIL."""

    def __init__(self, job):
        self.count, self.epoch, self.stopped, self.gone = job.num_workers, 0, False, None
        self.owner = os.getpid()
        self.boards = [[0] * 8 for _ in range(job.num_workers)]
        self.tasks = [queue.SimpleQueue() for _ in range(job.num_workers)]
        self.answers = queue.SimpleQueue()
        self.threads = []
        for worker, (tasks, board) in enumerate(zip(self.tasks, self.boards)):
            thread = threading.Thread(
                target=thread_main,
                args=(job, worker, tasks, self.answers, board),
                name=f"rushlight-loader-{worker}",
                daemon=True,
            )
            thread.start()
            self.threads.append(thread)

    def send(self, worker, kind, epoch, number, index):
        self.tasks[worker].put((kind, epoch, number, index))

    def new_epoch(self, epoch):
        self.epoch = epoch
        for board in self.boards:
            board[EPOCH] = epoch

    def position(self, worker):
        return self.boards[worker][POSITION]

    def pid(self, worker):
        return None

    def wait(self, timeout):
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                left = None if end is None else max(0, end - time.monotonic())
                found = self.answers.get(left is None or left > 0, left)
            except queue.Empty:
                return []
            worker, epoch, number, what, value, state = found
            if what == "gone":
                what = "error"
            elif epoch != self.epoch:
                continue
            return [(worker, epoch, number, what, _Load(value), state)]

    def stop(self):
        """Tell all threads to end, and wait for the samples that are being made."""
        if self.stopped:
            return
        self.stopped = True
        for board, tasks in zip(self.boards, self.tasks):
            board[STOP] = 1
            board[EPOCH] = 1 << 62
            tasks.put(None)
        if os.getpid() == self.owner:
            for thread in self.threads:
                if thread is not threading.current_thread():
                    thread.join(GRACE)
