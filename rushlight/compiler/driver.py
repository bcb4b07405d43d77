"""The machine code that runs a compiled program: a loop over commands, so that no program has code of its own.

A segment is a kernel of the pool's own form, called with one iteration. Its slots:

    relocations, how many, bases, commands, how many, the pool's run

    relocation   (address of a slot, index of a base, bytes)      slot = bases[index] + bytes
    command      (kernel, slots, total, grain, status)            as pool.run; status is 0 or the address of a word

Invariants: commands run one after another; each may use the pool; a segment ends after a command that leaves its word not 0.
"""

from __future__ import annotations

from functools import cache

from rushlight.codegen import launch, native
from rushlight.codegen.llvm import NULL, Module, i64

NAME = "rushlight_segment"


def source():
    """The module's text."""
    m = Module()
    b = m.function(NAME, [("slots", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")])

    def row(pointer, types):
        """The 8-byte fields at a pointer."""
        return [b.load(t, b.at_bytes(pointer, i64(8 * k))) for k, t in enumerate(types)]

    relocations, moves, bases, commands, count, run = row(b.args[0], ("ptr", "i64", "ptr", "ptr", "i64", "ptr"))
    with b.loop(i64(0), moves) as l:
        slot, index, skip = row(b.at_bytes(relocations, b.mul(l.i, i64(3 * 8))), ("ptr", "i64", "i64"))
        b.store(b.add(b.load("i64", b.gep(bases, index, "i64")), skip), slot)
    with b.loop(i64(0), count) as l:
        kernel, slots, total, grain, word = row(b.at_bytes(commands, b.mul(l.i, i64(5 * 8))), ("ptr", "ptr", "i64", "i64", "ptr"))
        b.emit(f"call void {run.text}({kernel}, {slots}, {total}, {grain})")
        look, stop, go = b.label("look"), b.label("stop"), b.label("go")
        b.cbr(b.cmp("ne", word, NULL), look, go)
        b.at(look)
        b.cbr(b.cmp("eq", b.load("i64", word), i64(0)), go, stop)
        b.at(stop)
        b.ret()
        b.at(go)
    b.ret()
    b.done()
    return str(m)


@cache
def segment():
    """run(1, 1, relocations, how many, bases, commands, how many, address of the pool's run)."""
    return launch.launcher(native.load(source(), [NAME])[NAME], "pqppqq")
