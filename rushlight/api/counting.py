"""Counting what a program computes: a watcher of this thread's ops that adds up their multiply-adds."""

from __future__ import annotations

from contextlib import contextmanager

from rushlight.autograd.modes import watch
from rushlight.bind import FUNCTIONS
from rushlight.ops.work import multiply_adds


class Counter:
    """`total` is the number of multiply-adds so far."""

    def __init__(self):
        self.total = 0

    def __call__(self, op, args, spec):
        self.total += multiply_adds(op, args, spec)


@contextmanager
def counting():
    """Inside the block, what this thread computes is counted: the value has `total`, the multiply-adds so far."""
    counter = Counter()
    with watch(counter):
        yield counter


FUNCTIONS["_C._counting"] = counting
