"""A progress bar around any iterable.

tqdm draws it where tqdm is installed (the `viz` extra): a line in a terminal, a widget in a
notebook. Where it is not, one plain line on the same stream says what starts and one says when it
is done, and the items pass through unchanged: a progress bar must never be the reason that a job
fails.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["progress"]

T = TypeVar("T")


class _Plain:
    """What `progress` gives without tqdm: the items, a line before and a line after them."""

    def __init__(self, iterable, desc, total, disable, file):
        self.iterable, self.desc, self.total = iterable, desc, total
        self.disable, self.file = disable, file or sys.stderr
        self.n, self.notes = 0, ""

    def _say(self, text):
        if not self.disable:
            print(text, file=self.file, flush=True)

    def __len__(self):
        return self.total if self.total is not None else len(self.iterable)

    def __iter__(self):
        name = self.desc or "progress"
        of = "" if self.total is None else f" of {self.total}"
        self._say(f"{name}: started{of} (pip install 'rushlight[viz]' draws a bar)")
        for item in self.iterable:
            yield item
            self.n += 1
        self._say(f"{name}: done, {self.n}{of}{self.notes}")

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
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False


def progress(
    iterable: Iterable[T],
    desc: str | None = None,
    total: int | None = None,
    *,
    disable: bool = False,
    file=None,
    **options,
) -> Iterator[T]:
    """Iterate over `iterable` with a progress bar: `for x, y in rushlight.utils.progress(loader):`.

    desc: the text before the bar. total: the number of items, where `len(iterable)` does not tell.
    disable: no output at all. file: where to draw, standard error by default. Every other option
    (`leave`, `unit`, `ncols` ...) is tqdm's. The result has tqdm's `set_description`,
    `set_postfix`, `write`, `update` and `close`, with tqdm or without.
    """
    if total is None:
        try:
            total = len(iterable)
        except TypeError:
            total = None
    try:
        from tqdm.auto import tqdm
    except ImportError:  # the viz extra is not installed
        return _Plain(iterable, desc, total, disable, file)
    return tqdm(iterable, desc=desc, total=total, disable=disable, file=file, **options)
