"""A kernel ready to run: compiled on first call, its arguments put into slots, its grid shared among threads.

`Program(kernel)(total, grain, *args)` runs iterations 0..total of the kernel's grid, `grain` of them at a time. `args`
stand in the order of the kernel's parameters: arrays (their address is passed), ints and floats. Of these only the kinds
are checked (codegen/launch.py): whoever makes the call has made arrays and kernel fit (the front end's rule: it
validates, the backend trusts).
"""

from __future__ import annotations

from rushlight.codegen import emit, launch, memory, native, record
from rushlight.codegen.loops import Number


class Program:
    """A kernel and the function that runs it."""

    __slots__ = ("kernel", "launch", "contract", "_code")

    def __init__(self, kernel, contract=True):
        self.kernel, self.launch, self.contract, self._code = kernel, None, contract, None

    @property
    def code(self):
        """The address of the machine code."""
        if self._code is None:
            memory.recycle()
            name = self.kernel.name
            self._code = native.load(emit.emit(self.kernel, native.vector_bytes(), self.contract), [name], optimise=False)[name]
        return self._code

    def compile(self):
        """The function that runs the kernel."""
        kinds = ["p" if not isinstance(p, Number) else "d" if p.dtype in ("f32", "f64") else "q" for p in self.kernel.params]
        self.launch = launch.launcher(self.code, "".join(kinds))
        return self.launch

    def __call__(self, total, grain, *args):
        if record.active and (tape := record.tape()) is not None:
            tape.launches.append((self, total, grain, args))
            return
        (self.launch or self.compile())(total, grain, *args)
