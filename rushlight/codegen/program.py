"""A kernel ready to run: compiled on first call, its arguments packed into slots, its grid shared among threads.

`Program(kernel)(total, grain, *args)` runs iterations 0..total of the kernel's grid, `grain` of them at a time. `args`
stand in the order of the kernel's parameters: arrays (their address is passed), ints and floats. Nothing is checked
here: whoever makes the call has made arrays and kernel fit (the front end's rule: it validates, the backend trusts).
"""

from __future__ import annotations

import struct

from rushlight.codegen import emit, memory, native, pool
from rushlight.codegen.loops import Number


def address(array):
    """Where an array's first element is."""
    return array.__array_interface__["data"][0]


class Program:
    """A kernel and its machine code."""

    __slots__ = ("kernel", "code", "pack")

    def __init__(self, kernel):
        self.kernel, self.code = kernel, None
        letters = ["d" if isinstance(p, Number) and p.dtype in ("f32", "f64") else "q" for p in kernel.params]
        self.pack = struct.Struct("=" + "".join(letters)).pack

    def compile(self):
        """The address of the machine code."""
        memory.recycle()
        name = self.kernel.name
        self.code = native.load(emit.emit(self.kernel, native.vector_bytes()), [name])[name]
        return self.code

    def __call__(self, total, grain, *args):
        slots = self.pack(*[a if a.__class__ is int or a.__class__ is float else address(a) for a in args])
        pool.run(self.code or self.compile(), slots, total, grain)
