"""A progress bar around any iterable, which also says how long the loop waited for its data.

tqdm draws it where tqdm is installed (the `viz` extra): a line in a terminal, a widget in a
notebook. Where it is not, one plain line on the same stream says what starts and one says when it
is done, and the items pass through unchanged: a progress bar must never be the reason that a job
fails.

The time between asking for an item and having it is waiting; the rest is the loop's work. The share
of waiting stands beside the rate, and where it is more than a third a warning names the remedy, once.
"""

import sys
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["progress"]

T = TypeVar("T")

TOO_LONG = 1 / 3  # share of waiting that a warning is worth
LEAST = 20  # items, and
LEAST_TIME = 2.0  # seconds, before which it is too early to tell


class _Plain:
    """The bar without tqdm: a line before and a line after the items."""

    def __init__(self, iterable, desc=None, total=None, disable=False, file=None):
        self.iterable, self.desc, self.total = iterable, desc, total
        self.disable, self.file = disable, file or sys.stderr
        self.n, self.notes = 0, ""

    def _say(self, text):
        if not self.disable:
            print(text, file=self.file, flush=True)

    def start(self):
        of = "" if self.total is None else f" of {self.total}"
        self._say(f"{self.desc or 'progress'}: started{of} (pip install 'rushlight[viz]' draws a bar)")

    def set_description(self, desc=None, refresh=True):
        self.desc = desc or ""

    def set_postfix(self, ordered_dict=None, refresh=True, **values):
        items = {**(ordered_dict or {}), **values}
        self.notes = "".join(f", {k}={v}" for k, v in items.items())

    def update(self, n=1):
        self.n += n

    def write(self, text, file=None, end="\n", nolock=False):
        print(text, file=file or sys.stdout, end=end)

    def close(self):
        of = "" if self.total is None else f" of {self.total}"
        self._say(f"{self.desc or 'progress'}: done, {self.n}{of}{self.notes}")


class _Watched:
    """The items, a bar that counts them, and the time that the loop waited for them."""

    def __init__(self, iterable, bar, waits):
        self._iterable, self._bar, self._watch = iterable, bar, waits
        self._notes, self._shown = {}, 0.0
        self.waited = self.worked = 0.0  # seconds
        self._warned = False

    def __len__(self):
        total = self._bar.total
        return total if total is not None else len(self._iterable)

    def __getattr__(self, name):
        return getattr(self._bar, name)

    @property
    def wait_share(self) -> float:
        """The share of the loop's time so far that it waited for data, 0 to 1."""
        spent = self.waited + self.worked
        return self.waited / spent if spent else 0.0

    def __iter__(self):
        bar = self._bar
        if isinstance(bar, _Plain):
            bar.start()
        count = 0
        try:
            iterator = iter(self._iterable)
            asked = time.perf_counter()
            for item in iterator:
                got = time.perf_counter()
                # the first comes after workers have started: that is not what a loop waits for
                if count:
                    self.waited += got - asked
                count += 1
                yield item
                asked = time.perf_counter()
                if count > 1:
                    self.worked += asked - got
                bar.update()
                self._show(asked)
                if count >= LEAST:
                    self._warn()
        finally:
            self._show(None)
            bar.close()

    def _show(self, now):
        """The notes, some times a second and at the end."""
        if now is not None and now - self._shown < 0.2:
            return
        self._shown = now or 0.0
        notes = dict(self._notes)
        if self._watch and self.waited + self.worked > 0:
            notes["wait"] = f"{self.wait_share:.0%}"
        if notes:
            self._bar.set_postfix(notes, refresh=False)

    def set_postfix(self, ordered_dict=None, refresh=True, **values):
        """Notes beside the bar, as tqdm's; the share of waiting stays behind them."""
        loss = {"loss": self._notes["loss"]} if "loss" in self._notes else {}
        self._notes = {**loss, **(ordered_dict or {}), **values}
        self._shown = 0.0
        self._show(time.perf_counter())

    def loss(self, value) -> None:
        """Show a loss (a number, or a tensor of one): a mean that forgets, over some 20 values."""
        value = float(value.detach() if hasattr(value, "detach") else value)
        mean = getattr(self, "_mean", value)
        self._mean = mean + (value - mean) / 20 if mean == mean else value
        self._notes["loss"] = f"{self._mean:.4g}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()
        return False

    def _warn(self):
        if self._warned or not self._watch or self.waited + self.worked < LEAST_TIME:
            return
        if self.wait_share <= TOO_LONG:
            return
        self._warned = True
        warnings.warn(
            f"the loop has waited for its data {self.wait_share:.0%} of the time: {_remedy(self._iterable)}",
            stacklevel=3,
        )


def _remedy(loader):
    """What to write so that a loop waits less for this loader."""
    workers = getattr(loader, "num_workers", None)
    if workers is None:
        return "make its items ahead of the loop (DataLoader(dataset, num_workers=2))"
    if workers == 0:
        return (
            "let workers make the batches beside the loop: DataLoader(..., num_workers=2, "
            "persistent_workers=True)"
        )
    return (
        f"num_workers={workers} cannot keep up: raise it while there are processors, make samples "
        "cheaper (decode once, __getitems__ for whole batches, memory maps), or raise prefetch_factor "
        f"(now {loader.prefetch_factor}) if their cost varies"
    )


def progress(
    iterable: Iterable[T],
    desc: str | None = None,
    total: int | None = None,
    *,
    disable: bool = False,
    file=None,
    wait: bool | None = None,
    **options,
) -> Iterator[T]:
    """Iterate over `iterable` with a progress bar: `for x, y in rushlight.utils.progress(loader):`.

    desc: the text before the bar. total: the number of items, where `len(iterable)` does not tell.
    disable: no output at all. file: where to draw, standard error by default. wait: show the share of
    the time that the loop waits for its data, and warn where that is over a third; by default for a
    DataLoader. Every other option (`leave`, `unit`, `ncols` ...) is tqdm's. The result has tqdm's
    `set_description`, `set_postfix`, `write`, `update` and `close`, with tqdm or without, and
    `loss(value)`, which shows a running mean, and `wait_share`.
    """
    if total is None:
        try:
            total = len(iterable)
        except TypeError:
            total = None
    if wait is None:
        wait = hasattr(iterable, "num_workers")
    try:
        from tqdm.auto import tqdm
    except ImportError:  # the viz extra is not installed
        bar = _Plain(iterable, desc, total, disable, file)
    else:
        bar = tqdm(desc=desc, total=total, disable=disable, file=file, **options)
    return _Watched(iterable, bar, wait)
