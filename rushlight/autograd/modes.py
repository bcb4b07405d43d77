"""Per-thread switches: gradient recording, inference mode, and what is interposed between the front end and backends.

`diverted` counts the interposers of all threads (capture, autocast, saved-tensor hooks, anomaly detection, overriding
subclasses). While it is 0, and it nearly always is, the fast paths of bind.py read this one number and nothing else;
while it is not, every op takes the general path, which looks at the thread's own state here.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager

from rushlight.core.forking import SWITCHES, whole_at_fork

diverted = 0
anomaly = 0  # anomaly mode of the process: 0 off, 1 on, 2 on and looking for NaN
alias_watch = False  # warn_alias(True): reports names kept from .grad (api/graph.py sets report_alias)
report_alias = None
PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_lock = whole_at_fork(threading.Lock(), SWITCHES)


class State(threading.local):
    """The switches of one thread."""

    def __init__(self):
        self.grad = True
        self.inference = False
        self.autocast = None  # the dtype that rows marked "lower" run in, or None
        self.backend = None  # the interposed backend, or None for the device's own
        self.watcher = None  # is told every op that is about to run: watcher(op, args, spec)
        self.saved_hooks = []  # (pack, unpack) pairs, innermost last
        self.task = None  # the backward that is running (engine.Task)
        self.running = None  # in anomaly mode, the node that backward is at


STATE = State()


def user_frame():
    """The innermost frame outside this package: the line of the program that asked for what is being done."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return frame


def holders(x):
    """How many references there are to `x` besides the `.grad` that holds it, as seen from a function that was given x."""
    return sys.getrefcount(x) - 3


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


@contextmanager
def watch(watcher):
    """Tell `watcher` every op of this thread inside the block, and whoever watched before it."""
    before = STATE.watcher

    def both(*call):
        before(*call)
        watcher(*call)

    STATE.watcher = watcher if before is None else both
    divert(+1)
    try:
        yield watcher
    finally:
        STATE.watcher = before
        divert(-1)
