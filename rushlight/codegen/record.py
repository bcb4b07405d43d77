"""Recording launches instead of doing them: how a compiled program gets the kernels of rows that have a function of their own.

    with recording() as tape:
        results = conv(x, w, ...)             # arrays that are never looked into
    tape.launches

What launches (codegen/program.py, matmul.py, pool.py) asks for the thread's tape before it runs anything, working memory
(scratch.py) is then the tape's own, and `address` notes whose address it gave. Only functions that do nothing but launch may
be recorded: what they do with NumPy in between is not on the tape.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

from rushlight.codegen import native

active = 0  # tapes there are, of all threads: launches look at this number and nothing else while it is 0
_LOCAL = threading.local()


class Tape:
    """`launches` in order: (Program, total, grain, arguments), (prepared product, addresses), or Raw; `arrays` whose address was
    asked for; `rooms`: (address, bytes, owner) of working memory."""

    def __init__(self):
        self.launches, self.arrays, self.rooms = [], [], []


class Raw:
    """A kernel's address and its slots, packed."""

    __slots__ = ("code", "slots", "total", "grain")

    def __init__(self, code, slots, total, grain):
        self.code, self.slots, self.total, self.grain = code, slots, total, grain


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


def address(array):
    """native.address, for functions that may be recorded."""
    if active and (now := tape()) is not None:
        now.arrays.append(array)
    return native.address(array)


__all__ = ["Raw", "Tape", "active", "address", "recording", "tape"]
