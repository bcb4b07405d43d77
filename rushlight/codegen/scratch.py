"""Working memory of kernels: one buffer for each Python thread and use, kept and grown, aligned to cache lines.

The workers of a run use parts of the buffer of the Python thread that called it, by their thread number.
"""

from __future__ import annotations

import os
import threading

import numpy as np

from rushlight.codegen import record
from rushlight.codegen.native import address

_LOCAL = threading.local()
LINE = 64
KEEP = 64 << 20  # a buffer larger than this is not kept


def scratch(use, size):
    """(address of `size` bytes, their owner: hold it until the kernel has run)."""
    if record.active and (tape := record.tape()) is not None:
        owner = np.empty(size + LINE, np.uint8)
        at = address(owner)
        tape.rooms.append((at + -at % LINE, size, owner))
        return at + -at % LINE, owner
    held = _LOCAL.__dict__.get(use)
    if held is None or held[1].size < size + LINE:
        buffer = np.empty(size + LINE, np.uint8)
        at = address(buffer)
        held = (at + -at % LINE, buffer)
        if size <= KEEP:
            setattr(_LOCAL, use, held)
    return held


def _cache_size(name, default):
    try:
        found = os.sysconf(name)
    except (AttributeError, ValueError, OSError):
        found = 0
    return found if found > 0 else default


#: bytes of the first and second level data caches of a core
L1 = _cache_size("SC_LEVEL1_DCACHE_SIZE", 32 << 10)
L2 = _cache_size("SC_LEVEL2_CACHE_SIZE", 512 << 10)
