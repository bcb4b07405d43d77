"""Large results without page faults: the C library is told to keep the memory of freed arrays for the next ones.

By default glibc maps every large array anew and gives it back when it dies, so that each result costs a page fault for
every 4 KB (more than the arithmetic of most kernels). `recycle()` raises the size up to which arrays come from the heap
to glibc's maximum (32 MB), and the amount of free heap that is kept to `KEEP`. Elsewhere than on glibc it does nothing.
"""

from __future__ import annotations

import ctypes
from functools import cache

KEEP = 256 << 20  # bytes of free memory that stay with the process
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h


@cache
def recycle():
    """Whether the C library took the settings (once a process)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, 32 << 20) and mallopt(_TRIM_THRESHOLD, KEEP) and mallopt(_TOP_PAD, 32 << 20))
