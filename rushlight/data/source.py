"""Source: a stream of samples read piece by piece, shuffled, shared out, and able to go on.

A subclass lists its pieces with their sizes (rows, bytes, key values: any unit in which a piece can
be cut) and reads a part of a piece as tables: dicts from column to array. The rest is here, and the
same for every source:

- Shares: the pieces, in the epoch's order, are one long range; each worker of each rank reads an
  equal part of it, so shares differ by one unit at most, whatever the pieces are.
- Shuffle: the order of the pieces is permuted by (seed, epoch), the same in all workers and ranks;
  rows are gathered in a window of at least `window` and permuted.
- Memory: one window of rows, and what the library that reads holds.
- State: where the window began, and how many of its rows were given.
"""

import glob
import math
import os

import numpy

import rushlight
from rushlight.utils.data import IterableDataset, get_worker_info

__all__ = ["Source", "expand", "rank_and_world"]

WINDOW = 8192


def expand(paths, *endings):
    """A list of files: of a path, a pattern, a folder (its files with these endings), or several."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    found = []
    for path in map(os.fspath, paths):
        if os.path.isdir(path):
            names = sorted(os.listdir(path))
            found += [os.path.join(path, n) for n in names if n.endswith(endings)]
        elif os.path.exists(path):
            found.append(path)
        else:
            found += sorted(glob.glob(path, recursive=True))
    if not found:
        raise FileNotFoundError(f"no file at {paths!r} (of a folder, files ending in {endings})")
    return found


def rank_and_world(rank, world_size):
    """This process's number among those that train together; (0, 1) without a process group."""
    if (rank is None) != (world_size is None):
        raise ValueError(f"give rank and world_size together, got rank={rank}, world_size={world_size}")
    if rank is None:
        group = getattr(rushlight, "distributed", None)
        if group is None or not group.is_available() or not group.is_initialized():
            return 0, 1
        rank, world_size = group.get_rank(), group.get_world_size()
    if not 0 <= rank < world_size:
        raise ValueError(f"expected 0 <= rank < world_size, got rank={rank}, world_size={world_size}")
    return rank, world_size


class Source(IterableDataset):
    """What all sources take.

    shuffle: another order in each epoch, from `seed`. window: rows that are mixed at a time.
    batch_size: give batches (dicts of tensors) instead of rows, which is many times faster: use
    `DataLoader(source, batch_size=None)` around it. drop_last: without the short last one. rank,
    world_size: this process among those that train together, those of the process group by default.
    """

    _divisible = True  # whether pieces may be cut

    def __init__(
        self,
        *,
        shuffle=False,
        window=WINDOW,
        seed=0,
        batch_size=None,
        drop_last=False,
        rank=None,
        world_size=None,
    ):
        if window < 1 or (batch_size is not None and batch_size < 1):
            raise ValueError(f"window and batch_size should be positive, got {window}, {batch_size}")
        self.shuffle, self.window, self.seed = shuffle, window, seed
        self.batch_size, self.drop_last = batch_size, drop_last
        self.rank, self.world_size = rank_and_world(rank, world_size)
        self.epoch = 0
        self._extents = self._latest = self._saved = None

    # ---- what a subclass writes

    def _pieces(self):
        """[(piece, size)]: asked once, by the process that makes the loop."""
        raise NotImplementedError(f"{type(self).__name__} has to implement _pieces")

    def _read(self, piece, begin, end):
        """(table, rows, position after it) for each block of a piece's part [begin, end)."""
        raise NotImplementedError(f"{type(self).__name__} has to implement _read")

    def _check_shares(self, shares):
        """ValueError where this source cannot be shared out."""

    def _row(self, table, i):
        return {name: values[i] for name, values in table.items()}

    def _batch(self, table):
        return {name: as_tensor(values) for name, values in table.items()}

    # ---- epochs

    def set_epoch(self, epoch: int) -> None:
        """Give the next epoch this number; by itself it is one more than the last."""
        self.epoch = epoch

    def next_epoch(self) -> int:
        """Count an epoch in the process of the loop, whose workers then read it."""
        self._prepare()
        self.epoch += 1
        return self.epoch - 1

    def _prepare(self):
        if self._extents is None:
            self._extents = [(piece, size) for piece, size in self._pieces() if size > 0]
        return self._extents

    def __iter__(self):
        epoch = self.epoch
        self.epoch += 1
        self._latest = SourceIterator(self, epoch)
        if self._saved is not None:
            saved, self._saved = self._saved, None
            self._latest.load_state_dict(saved)
        return self._latest

    def state_dict(self) -> dict:
        """Where the latest iteration stands, as plain data."""
        if self._latest is None or self._saved is not None:
            return self._saved or {"epoch": self.epoch, "piece": 0, "at": None, "window": 0, "given": 0}
        return self._latest.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Let the next iteration go on from `state`."""
        self._saved = dict(state)

    def __getstate__(self):
        return {**self.__dict__, "_latest": None}

    def __copy__(self):
        made = type(self).__new__(type(self))
        made.__dict__.update(self.__getstate__())
        return made


def as_tensor(values):
    """A column as a tensor, or as a list where no tensor holds it."""
    if values.dtype.kind in "OSU":
        return values.tolist()
    return rushlight.from_numpy(numpy.ascontiguousarray(values))


class SourceIterator:
    """One epoch of one share."""

    def __init__(self, source, epoch):
        self.source = source
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        self.share = source.rank * workers + worker
        self.shares = source.world_size * workers
        source._check_shares(self.shares)
        self._start(epoch)

    def _start(self, epoch):
        self.epoch = epoch
        self.parts = self._share_out()
        self.piece, self.at, self.window = 0, None, 0  # where the next window begins
        self.began = (0, None, 0)  # where this one did
        self.table, self.rows, self.given = None, 0, 0
        self._blocks = None

    def _share_out(self):
        """[(piece, begin, end)] of this share, in the epoch's order."""
        source = self.source
        extents = source._prepare()
        order = range(len(extents))
        if source.shuffle:
            order = self._random().permutation(len(extents)).tolist()
        total = sum(size for _, size in extents)
        first = total * self.share // self.shares
        last = total * (self.share + 1) // self.shares
        parts, at = [], 0
        for k in order:
            piece, size = extents[k]
            begin, end = max(first - at, 0), min(last - at, size)
            if not source._divisible:
                # a piece that cannot be cut is read where it begins
                begin, end = (0, size) if first <= at < last else (0, 0)
            if begin < end:
                parts.append((piece, begin, end))
            at += size
        return parts

    def _random(self, *more):
        words = [self.source.seed, self.epoch, *more]
        return numpy.random.Generator(numpy.random.PCG64(numpy.random.SeedSequence(words)))

    # ---- windows

    def _next_block(self):
        """(table, rows) of the next block, or None."""
        while self.piece < len(self.parts):
            piece, begin, end = self.parts[self.piece]
            if self._blocks is None:
                begin = begin if self.at is None else self.at
                self._blocks = self.source._read(piece, begin, end)
            for table, rows, at in self._blocks:
                self.at = at
                if rows:
                    return table, rows
            self.piece, self.at, self._blocks = self.piece + 1, None, None
        return None

    def _open(self, given=0):
        """The next window; False at the end."""
        began = self.piece, self.at, self.window
        tables, rows = [], 0
        wanted = self.source.window if self.source.shuffle else 1
        while rows < wanted:
            block = self._next_block()
            if block is None:
                break
            tables.append(block[0])
            rows += block[1]
        if not rows:
            self.table, self.rows, self.given = None, 0, 0
            self.began = self.piece, self.at, self.window
            return False
        table = tables[0] if len(tables) == 1 else joined(tables)
        if self.source.shuffle:
            order = self._random(self.share, self.window).permutation(rows)
            table = {name: values[order] for name, values in table.items()}
        self.began, self.window = began, self.window + 1
        self.table, self.rows, self.given = table, rows, given
        return True

    def __iter__(self):
        return self

    def __next__(self):
        if self.given == self.rows and not self._open():
            raise StopIteration
        if self.source.batch_size is not None:
            return self._next_batch()
        self.given += 1
        return self.source._row(self.table, self.given - 1)

    def _next_batch(self):
        need, parts = self.source.batch_size, []
        while need:
            if self.given == self.rows and not self._open():
                break
            count = min(need, self.rows - self.given)
            piece = slice(self.given, self.given + count)
            parts.append({name: values[piece] for name, values in self.table.items()})
            self.given += count
            need -= count
        if not parts or (need and self.source.drop_last):
            raise StopIteration
        return self.source._batch(parts[0] if len(parts) == 1 else joined(parts))

    # ---- state

    def state_dict(self) -> dict:
        """Where it stands, as plain data."""
        piece, at, window = self.began
        given = self.given
        if given == self.rows:
            piece, at, window, given = self.piece, self.at, self.window, 0
        return {"epoch": self.epoch, "piece": piece, "at": at, "window": window, "given": given}

    def load_state_dict(self, state: dict) -> None:
        """Go on from `state`, in the same share of the same data."""
        self._start(state["epoch"])
        self.source.epoch = self.epoch + 1
        self.piece, self.at, self.window = state["piece"], state["at"], state["window"]
        self.began = self.piece, self.at, self.window
        if state["given"]:
            self._open(state["given"])


def joined(tables):
    """Tables one under the other."""
    names = tables[0]
    return {name: numpy.concatenate([t[name] for t in tables]) for name in names}


def even(size, pieces):
    """`size` in equal parts: [(begin, end)]."""
    pieces = max(1, min(pieces, size))
    cuts = [math.floor(size * k / pieces) for k in range(pieces + 1)]
    return list(zip(cuts, cuts[1:]))
