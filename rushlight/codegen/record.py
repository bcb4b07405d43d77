"""Recording launches instead of doing them: how a compiled program gets the kernels of rows that have a function of their own.

    with recording() as tape:
        results = rows.softmax(x, 1)          # arrays that are never looked into
    tape.launches                             # [(kernel's address, slots, total, grain)], slots with (array, bytes) for addresses

`Program` and `_Launch` (codegen/program.py, codegen/matmul.py) ask `tape()` before they run anything. Only functions that do
nothing but launch may be recorded: what they do with NumPy in between is not on the tape. One thread records at a time.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

active = 0  # tapes there are, of all threads: launches look at this number and nothing else while it is 0
_LOCAL = threading.local()


class Tape:
    """Launches in order: (Program or address, total, grain, arguments)."""

    def __init__(self):
        self.launches = []


def tape():
    """The tape of this thread, or None."""
    return getattr(_LOCAL, "tape", None)


@contextmanager
def recording():
    """Put this thread's launches on a tape."""
    global active
    _LOCAL.tape = Tape()
    active += 1
    try:
        yield _LOCAL.tape
    finally:
        active -= 1
        _LOCAL.tape = None


__all__ = ["Tape", "active", "recording", "tape"]
