"""Per-thread switches: gradient recording, inference mode, and what is interposed between the front end and backends.

`diverted` counts the interposers of all threads (capture, autocast, saved-tensor hooks, anomaly detection, overriding
subclasses). While it is 0, and it nearly always is, the fast paths of bind.py read this one number and nothing else;
while it is not, every op takes the general path, which looks at the thread's own state here.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

diverted = 0
_lock = threading.Lock()


class State(threading.local):
    """The switches of one thread."""

    def __init__(self):
        self.grad = True
        self.inference = False
        self.autocast = None  # the dtype that rows marked "lower" run in, or None
        self.backend = None  # the interposed backend, or None for the device's own
        self.saved_hooks = []  # (pack, unpack) pairs, innermost last
        self.anomaly = False


STATE = State()


def divert(step):
    """Count an interposer in (+1) or out (-1)."""
    global diverted
    with _lock:
        diverted += step


def set_autocast(dtype):
    """Cast the operands of rows as their `autocast` column says, in this thread; None switches it off."""
    divert((dtype is not None) - (STATE.autocast is not None))
    STATE.autocast = dtype


@contextmanager
def interpose(backend):
    """Send every op of this thread through `backend` inside the block."""
    before = STATE.backend
    STATE.backend = backend
    divert(+1)
    try:
        yield backend
    finally:
        STATE.backend = before
        divert(-1)
