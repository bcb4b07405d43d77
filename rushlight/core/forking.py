"""Locks and fork(): a child has one thread, and a lock that another thread held stays held for ever.

Locks of the whole process are listed here. fork() waits until it has them all, so that what they
guard is whole in the child, and both sides let go of them. They are taken by rank: a thread that
holds a lock may only ask for locks of a higher rank, so that a fork and a thread cannot wait for
each other. Modules that another thread is importing have locks as well, Python's own, which nobody
may take beside ours (an import may want ours); so fork() waits, for a while, until there are none.
"""

from __future__ import annotations

import importlib
import os
import threading
import time

# from the outermost in: random numbers may compile a kernel, compiling calls LLVM
GENERATOR, COMPILER, LLVM, EXPRESSIONS, SWITCHES = range(5)
PATIENCE = 5.0  # seconds: a module may run a whole program while it is imported

_LOCKS: list = []
_TAKEN: list = []


def whole_at_fork(lock, rank):
    """Have fork() wait for this lock; gives the lock."""
    _LOCKS.append((rank, lock))
    _LOCKS.sort(key=lambda entry: entry[0])
    return lock


def _others_import():
    """Whether another thread is importing a module."""
    locks = getattr(getattr(importlib, "_bootstrap", None), "_module_locks", {})
    me = threading.get_ident()
    for ref in list(locks.values()):
        lock = ref()
        if lock is not None and getattr(lock, "owner", None) not in (None, me):
            return True
    return False


def _take():
    end = time.monotonic() + PATIENCE
    while True:
        while _others_import() and time.monotonic() < end:
            time.sleep(0.0005)
        taken = [lock for _, lock in _LOCKS]
        for lock in taken:
            lock.acquire()
        if not _others_import() or time.monotonic() >= end:
            _TAKEN[:] = taken
            return
        _let_go(taken)


def _let_go(locks):
    for lock in reversed(locks):
        lock.release()


def _release():
    taken = _TAKEN[:]
    _TAKEN.clear()  # before the first is let go of: another thread may be waiting to fork
    _let_go(taken)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_take, after_in_parent=_release, after_in_child=_release)
