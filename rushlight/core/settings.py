"""Process-wide switches that programs set and the engine may read: threads, precision, determinism, warnings.

Results here never depend on the number of threads, and every op is deterministic, so most of these are only
remembered. `SETTINGS` is the one object that holds them; api/settings.py publishes PyTorch's functions over it.
"""

from __future__ import annotations

import os


class Settings:
    """What was asked for; the defaults are PyTorch's."""

    __slots__ = ("threads", "interop_threads", "interop_set", "deterministic", "warn_only", "matmul_precision", "flush_denormal", "warn_always")

    def __init__(self):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        wanted = os.environ.get("OMP_NUM_THREADS", "")
        self.threads = int(wanted) if wanted.isdigit() and int(wanted) else cores
        self.interop_threads, self.interop_set = cores, False
        self.deterministic = self.warn_only = False
        self.matmul_precision = "highest"
        self.flush_denormal = self.warn_always = False


SETTINGS = Settings()
