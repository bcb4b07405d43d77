"""Arrays of zeros as functions that may be recorded make them (codegen/record.py): under a tape the filling is a launch."""

from __future__ import annotations

from functools import cache
from math import prod

import numpy as np

from rushlight.codegen import record
from rushlight.codegen.layout import short
from rushlight.codegen.loops import Buffer, Kernel, Lanes, Store, const
from rushlight.codegen.program import Program

GRAIN = 1 << 16


@cache
def _filling(word):
    return Program(Kernel("zeros", (Buffer("out", word),), (Lanes("i", None, None, (Store("out", (("i", 1),), const(0, word)),)),)))


def zeros(shape, dtype):
    """np.zeros(shape, dtype)."""
    if record.active and (tape := record.tape()) is not None:
        out = np.empty(shape, dtype)
        tape.launches.append((_filling(short(np.dtype(dtype))), prod(shape), GRAIN, (out,)))
        return out
    return np.zeros(shape, dtype)


__all__ = ["zeros"]
