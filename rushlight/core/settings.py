"""Process-wide switches that programs set and the engine may read: threads, precision, determinism, warnings.

Results here never depend on the number of threads, and every op is deterministic, so most of these are only
remembered. `SETTINGS` is the one object that holds them; api/settings.py publishes PyTorch's functions over it.
"""

from __future__ import annotations

import os
import re
from array import array

# who names a number of threads, the first that does counts; MKL reads a number and whatever follows, OpenMP a list
_THREADS = {
    "RUSHLIGHT_NUM_THREADS": r"\s*(\d+)\s*",
    "MKL_NUM_THREADS": r"\s*\+?(\d+).*",
    "OMP_NUM_THREADS": r"\s*\+?(\d+)\s*(,.*)?",
}


def default_threads(environ):
    """How many threads one op may use at first: the cores this process may use, unless a variable asks for fewer.

    MKL_NUM_THREADS and OMP_NUM_THREADS are read as PyTorch's libraries read them; RUSHLIGHT_NUM_THREADS may also ask for more."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name, form in _THREADS.items():
        number = re.fullmatch(form, environ.get(name, ""), re.ASCII)
        if number and int(number[1]):
            return min(int(number[1]), 2**31 - 1 if name == "RUSHLIGHT_NUM_THREADS" else cores)
    return cores


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
