"""Process-wide switches that programs set and the engine may read: threads, precision, determinism, warnings.

Results here never depend on the number of threads, and every op is deterministic, so most of these are only
remembered. `SETTINGS` is the one object that holds them; api/settings.py publishes PyTorch's functions over it.
"""

from __future__ import annotations

import os
import re
from array import array


def default_threads(environ):
    """The cores this process may use, unless a variable names a number: RUSHLIGHT_NUM_THREADS, OMP_NUM_THREADS, MKL_NUM_THREADS."""
    for name in ("RUSHLIGHT_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        number = re.match(r"\s*\+?(\d+)", environ.get(name, ""))  # of a list (nested levels), the first
        if number and int(number[1]):
            return min(int(number[1]), 2**31 - 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings:
    """What was asked for; the defaults are PyTorch's."""

    __slots__ = ("_threads", "interop_threads", "interop_set", "deterministic", "warn_only", "matmul_precision", "flush_denormal", "warn_always")

    def __init__(self):
        # a cell of memory: native code (codegen/pool.py) reads it where it lies
        self._threads = array("i", [default_threads(os.environ)])
        self.interop_threads, self.interop_set = default_threads({}), False
        self.deterministic = self.warn_only = False
        self.matmul_precision = "highest"
        self.flush_denormal = self.warn_always = False

    @property
    def threads(self):
        """How many threads one op may use."""
        return self._threads[0]

    @threads.setter
    def threads(self, n):
        self._threads[0] = n

    @property
    def threads_address(self):
        """Where that number lies, as an int32."""
        return self._threads.buffer_info()[0]


SETTINGS = Settings()
