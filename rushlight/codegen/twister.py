"""The Mersenne twister by vectors: many blocks of random words at once.

A block of 624 words is made from the one before in place: word i from words i, i + 1 and i + 397, all of them old or, past
the end, new; so runs of a vector's width depend on nothing within themselves. Tempered words are written out as they come.
Source: Matsumoto and Nishimura, "Mersenne Twister", 1998.

Invariant: word for word NumPy's MT19937, whose state is taken at the end of a block and left at the end of one.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache

import numpy as np

from rushlight.codegen import memory, native, pool
from rushlight.codegen.llvm import Module, const, i64, vector
from rushlight.codegen.native import address

BLOCK, AHEAD = 624, 397
_UPPER, _LOWER, _MATRIX = -(1 << 31), (1 << 31) - 1, 0x9908B0DF - (1 << 32)
_MASKS = (0x9D2C5680 - (1 << 32), 0xEFC60000 - (1 << 32))


def source():
    """The text of the module with function `twist`: slots are the key, the words to be written, and the number of blocks."""
    m = Module()
    b = m.function("twist", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    args, begin, end, _ = b.args
    key, out = (b.load("ptr", b.at_bytes(args, i64(8 * k)), 8) for k in range(2))
    blocks = b.load("i64", b.at_bytes(args, i64(16)), 8)
    lanes = native.vector_bytes() // 4

    def word(i):
        return b.gep(key, i, "i32")

    def step(i, following, other, kind):
        """New words from i on; `following` and `other` are where words i + 1 and i + 397 are now."""
        y = b.op("or", b.op("and", b.load(kind, word(i), 4), const(_UPPER, kind)), b.op("and", b.load(kind, word(following), 4), const(_LOWER, kind)))
        odd = b.op("sub", const(0, kind), b.op("and", y, const(1, kind)))
        value = b.op("xor", b.op("xor", b.load(kind, word(other), 4), b.op("lshr", y, const(1, kind))), b.op("and", odd, const(_MATRIX, kind)))
        b.store(value, word(i), 4)

    def run(first, stop, offset):
        """Words first..stop - 1, their other word `offset` away."""
        whole = first + (stop - first) // lanes * lanes
        for start, limit, width in ((first, whole, lanes), (whole, stop, 0)):
            with b.loop(i64(start), i64(limit), width or 1) as l:
                step(l.i, b.add(l.i, i64(1)), b.op("add", l.i, i64(offset)), vector("i32", width))

    with b.loop(begin, end), b.loop(i64(0), blocks) as block:
        run(0, BLOCK - AHEAD, AHEAD)
        run(BLOCK - AHEAD, BLOCK - 1, AHEAD - BLOCK)
        step(i64(BLOCK - 1), i64(0), i64(AHEAD - 1), "i32")
        to = b.gep(out, b.mul(block.i, i64(BLOCK)), "i32")
        kind = vector("i32", lanes)
        with b.loop(i64(0), i64(BLOCK), lanes) as l:
            y = b.load(kind, word(l.i), 4)
            y = b.op("xor", y, b.op("lshr", y, const(11, kind)))
            y = b.op("xor", y, b.op("and", b.op("shl", y, const(7, kind)), const(_MASKS[0], kind)))
            y = b.op("xor", y, b.op("and", b.op("shl", y, const(15, kind)), const(_MASKS[1], kind)))
            b.store(b.op("xor", y, b.op("lshr", y, const(18, kind))), b.gep(to, l.i, "i32"), 4)
    b.ret()
    b.done()
    return str(m)


@cache
def _code():
    memory.recycle()
    return native.load(source(), ["twist"])["twist"]


def _words_at(twister):
    """The words and the place within them that lie where NumPy keeps a twister's state."""
    return np.frombuffer((ctypes.c_uint32 * (BLOCK + 1)).from_address(twister.ctypes.state_address), np.uint32)


@cache
def _in_place():
    """Whether NumPy's state is what it says itself: 624 words, then the place in them."""
    probe = np.random.MT19937(1)
    probe.random_raw(3)
    try:
        found, state = _words_at(probe), probe.state["state"]
        return found[:BLOCK].tolist() == state["key"].tolist() and int(found[BLOCK]) == state["pos"] and state["key"].dtype == np.uint32
    except (AttributeError, TypeError, ValueError):
        return False


def fill(twister, out):
    """Write whole blocks of words to `out` (uint32, contiguous) from a NumPy MT19937 that stands at the end of a block."""
    if _in_place():  # a state as a dict costs as much as the words of thirty blocks
        pool.run(_code(), struct.pack("=3q", twister.ctypes.state_address, address(out), out.size // BLOCK), 1, 1)
        return
    state = twister.state
    key = np.ascontiguousarray(state["state"]["key"], np.uint32)
    pool.run(_code(), struct.pack("=3q", address(key), address(out), out.size // BLOCK), 1, 1)
    state["state"]["key"] = key
    twister.state = state


__all__ = ["fill"]
