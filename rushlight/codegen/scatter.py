"""Rows added up at places that the data says: the gradient of an embedding.

out[index[i], :] += g[i, :] for i in order. Threads share the columns, so that no two of them add to one place and the
order of additions never changes.
"""

from __future__ import annotations

import struct
from functools import cache

import numpy as np

from rushlight.codegen import memory, native, pool
from rushlight.codegen.llvm import SIZES, Module, i64, vector
from rushlight.codegen.native import address
from rushlight.codegen.tile import lane_mask, masked_load, masked_store
from rushlight.core.settings import SETTINGS

ELEMENT = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
LEAST = 64  # columns that are worth a thread


def source(element):
    """The text of the module with function `add_rows`."""
    m = Module()
    b = m.function("add_rows", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")], attributes="nounwind")
    args, begin, end, _ = b.args
    out, g, index = (b.load("ptr", b.at_bytes(args, i64(8 * k)), 8) for k in range(3))
    n, width, block, skip = (b.load("i64", b.at_bytes(args, i64(8 * k)), 8) for k in range(3, 7))
    size = SIZES[element]
    lanes = native.vector_bytes() // size
    kind = vector(element, lanes)
    with b.loop(begin, end) as task:
        first = b.mul(task.i, block)
        stop = b.smin(width, b.add(first, block))
        whole = b.add(first, b.op("and", b.sub(stop, first), i64(-lanes)))
        mask = lane_mask(b, lanes, b.sub(stop, whole))
        with b.loop(i64(0), n) as i:
            row = b.load("i64", b.gep(index, i.i, "i64"))
            with b.when(b.cmp("ne", row, skip)):
                to, source_ = b.gep(out, b.mul(row, width), element), b.gep(g, b.mul(i.i, width), element)
                with b.loop(first, whole, lanes) as j:
                    at = b.gep(to, j.i, element)
                    b.store(b.op("fadd", b.load(kind, at), b.load(kind, b.gep(source_, j.i, element))), at)
                with b.when(b.cmp("ne", whole, stop)):
                    at = b.gep(to, whole, element)
                    masked_store(b, b.op("fadd", masked_load(b, kind, at, mask), masked_load(b, kind, b.gep(source_, whole, element), mask)), at, mask)
    b.ret()
    b.done()
    return str(m)


@cache
def _code(element):
    memory.recycle()
    return native.load(source(element), ["add_rows"])["add_rows"]


def add_rows(g, index, rows, skip=-1):
    """Zeros (rows, d) with g[i] added to row index[i], but for the index `skip`; contiguous arrays, indices in range."""
    n, width = g.shape
    out = np.zeros((rows, width), g.dtype)
    parts = max(1, min(SETTINGS.threads, width // LEAST)) if n * width >= 1 << 15 else 1
    block = -(-width // parts)
    block += -block % 16
    slots = struct.pack("=7q", address(out), address(g), address(index), n, width, block, skip)
    pool.run(_code(ELEMENT[g.dtype]), slots, -(-width // block), 1)
    return out


def embedding_adjoint(g, index, rows, padding_idx, scale_grad_by_freq):
    """The row embedding_backward."""
    if g.dtype not in ELEMENT or scale_grad_by_freq or not g.ndim or not g.size or not index.size:
        return NotImplemented
    index = np.ascontiguousarray(index.reshape(-1), np.int64)
    if index.min() < 0 or index.max() >= rows:
        return NotImplemented
    return add_rows(np.ascontiguousarray(g.reshape(index.size, -1)), index, rows, -1 if padding_idx is None else padding_idx)
