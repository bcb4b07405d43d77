"""Products of ndarrays on the generated kernels, and which of them are better left to NumPy.

`matmul(a, b)` takes float32 and float64 matrices of any strides, with batches that broadcast; an addend (a bias, a
residual, the operand of addmm) is added where the tiles are written. The functions named after rows are what
backends/compiled.py asks: they give NotImplemented where `prefers_numpy` says so.

Invariants: an element of the result depends on its row of a, its column of b and the addend alone, never on the
number of threads or on the blocks; the result is fresh memory, or `out`, which must not overlap the operands.
"""

from __future__ import annotations

import struct
from functools import cache, lru_cache

import numpy as np

from rushlight.codegen import gemm, memory, native, pool, skinny
from rushlight.codegen.gemm import DIRECT, LOCAL, SHARED
from rushlight.codegen.native import address
from rushlight.codegen.scratch import L1, L2, LINE, scratch
from rushlight.codegen.tile import shape
from rushlight.core.settings import SETTINGS

ELEMENT = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_PACK = struct.Struct(f"={len(gemm.ARGS)}q").pack
_BITS = {"float": ("<fi", "<q"), "double": ("<d", "<q")}
PACKED_LIMIT = 32 << 20  # bytes of B that are packed at a time
DOTS = 16  # rows up to which dot products are worth while
TASK = 1 << 20  # multiply-adds that are worth a task of their own


@cache
def kernels(element):
    """(address of gemm, address of pack_b) for an element type."""
    memory.recycle()
    at = native.load(gemm.emit(element, unroll=4), ["gemm", "pack_b"], optimise=False)
    return at["gemm"], at["pack_b"]


@cache
def skinny_kernel(name, element):
    """The address of `dots` or `sweep`."""
    memory.recycle()
    return native.load(skinny.emit(name, element), [name], optimise=False)[name]


def _bits(value, element):
    return struct.unpack("=q", struct.pack("=fi", value, 0) if element == "float" else struct.pack("=d", value))[0]


_ONE = {e: _bits(1.0, e) for e in ("float", "double")}


def _split(n, block, step):
    """(block, count): n cut into equal blocks of at most `block`, multiples of `step`."""
    count = -(-n // block)
    block = -(-n // count)
    block += -block % step
    return block, -(-n // block)


@lru_cache(1024)
def plan(element, m, n, k, batch, b_rows, threads):
    """How a product is cut: (mc, nc, kc, ib, jb, pack_a, mode_b, bytes of scratch a thread).

    `b_rows`: whether B is contiguous along its columns' index, so that it may be read in place.
    """
    s = shape(element)
    size = s.size
    steps = max(1, -(-k // max(64, L1 // 2 // (s.columns * size))))
    kc = max(1, -(-k // steps))
    mc, ib = _split(m, max(s.rows, L2 // 2 // (kc * size) // s.rows * s.rows), s.rows)
    nc, jb = -(-n // s.columns) * s.columns, 1
    work = batch * m * n * k
    wanted = min(-(-work // TASK), 3 * threads if work > 256 * threads * TASK else threads) if threads > 1 else 1
    while batch * ib * jb < wanted:  # smaller blocks, so that every thread has work
        parts = -(-wanted // (batch * ib * jb))
        if nc > s.columns and (2 * nc >= mc or mc <= 4 * s.rows):
            nc, jb = _split(n, max(s.columns, -(-n // (jb * parts))), s.columns)
        elif mc > 2 * s.rows:
            mc, ib = _split(m, max(s.rows, -(-m // (ib * parts))), s.rows)
        else:
            break
    for more in range(1, threads):  # few tasks: as many for each thread
        if threads < batch * ib * jb < 4 * threads and batch * ib * jb % threads and batch * ib * (jb + more) % threads == 0 and nc > 4 * s.columns:
            nc, jb = _split(n, -(-n // (jb + more)), s.columns)
            break
    pack_a = nc > 4 * s.columns and mc * kc * size > L1
    if m <= 4 * s.rows and b_rows:
        mode = DIRECT
    elif ib > 1 and batch == 1 and k * nc * jb * size <= PACKED_LIMIT:
        mode = SHARED
    else:
        mode = LOCAL
    room = (kc * s.columns + (mc * kc if pack_a else 0)) * size
    return mc, nc, kc, ib, jb, int(pack_a), mode, -(-room // LINE) * LINE + LINE


@lru_cache(1024)
def _columns(n, work, threads, step):
    """(block, count) of the columns of a skinny product: enough blocks for the threads, multiples of `step`."""
    wanted = max(1, min(threads * 2, work // (TASK // 8))) if threads > 1 else 1
    return _split(n, -(-n // wanted), step)


def multiply(a, b, c, d=None, alpha=1.0, beta=1.0, dots=False):
    """c = alpha * a @ b + beta * d for matrices with up to two batch dimensions, equal ones (broadcast by strides of 0).

    Along its last dimension c is contiguous, d contiguous or constant, unless `dots` asks for dot products; d may be None.
    """
    element = ELEMENT[c.dtype]
    *batch, m, n = c.shape
    k = a.shape[-1]
    sa, sb, sc = a.strides, b.strides, c.strides
    sd = sc if d is None else d.strides
    if d is None:
        beta = 0.0
    if not batch:
        outer = inner = 1
        b0 = b1 = (0, 0, 0, 0)
    else:
        outer, inner = (batch[0], batch[1]) if len(batch) == 2 else (1, batch[0])
        b0 = (sa[0], sb[0], sc[0], sd[0])
        b1 = (sa[-3], sb[-3], sc[-3], sd[-3])
    size = c.itemsize
    threads = SETTINGS.threads
    mc = kc = pack_a = mode = step = packed = panels = room = 0
    ib = 1
    if dots:
        run = skinny_kernel("dots", element)
        nc, jb = _columns(n, outer * inner * m * n * k, threads, 12)
    elif m <= skinny.MOST_ROWS and sb[-1] == size and n >= 64:
        run = skinny_kernel("sweep", element)
        nc, jb = _columns(n, outer * inner * m * n * k, threads, 64)
        if nc * size > skinny.SWEEP:
            nc, jb = _split(n, skinny.SWEEP // size, skinny.SWEEP // size)
    else:
        run, pack = kernels(element)
        mc, nc, kc, ib, jb, pack_a, mode, step = plan(element, m, n, k, outer * inner, sb[-1] == size and sb[-2] * k <= L2, threads)
        room, _room = scratch("gemm", step * threads)
        if mode == SHARED:
            s = shape(element)
            panels = -(-n // s.columns)
            packed, _packed = scratch("gemm_b", panels * s.columns * k * size)
    slots = _PACK(
        address(a), address(b), address(c), address(c if d is None else d), room, packed,
        m, n, k, mc, nc, kc, ib, jb,
        sa[-2], sa[-1], sb[-2], sb[-1], sc[-2], sc[-1], sd[-2], sd[-1],
        pack_a, mode, step, panels * shape(element).columns * size if panels else 0,
        _ONE[element] if alpha == 1 else _bits(alpha, element), _bits(beta, element) if beta else 0,
        inner, *b1, *b0,
    )  # fmt: skip
    if panels:
        pool.run(pack, slots, panels, max(1, panels // (4 * threads)))
    total = outer * inner * ib * jb
    pool.run(run, slots, total, max(1, total // (8 * threads), TASK // 4 // max(1, m // ib * nc * k)))
    return c


def prefers_numpy(batch, m, n, k):
    """Whether OpenBLAS through NumPy is at least as fast: the one place that says so."""
    return batch * m * n * k < 1 << 18


def _strided(x, shape):
    return x if x.shape == shape else np.broadcast_to(x, shape)


def product(a, b, out=None, addend=None, alpha=1.0, beta=1.0):
    """alpha * a @ b + beta * addend in a fresh array, or in `out`, for (..., m, k) and (..., k, n) of one float dtype."""
    size = a.itemsize
    lead = a.shape[:-2]
    if b.shape[:-2] != lead:
        lead = np.broadcast_shapes(lead, b.shape[:-2])
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    shape_ = (*lead, m, n)
    c = np.empty(shape_, a.dtype) if out is None else out
    if not c.size:
        return c
    d = None if addend is None or beta == 0 else _strided(addend, shape_)
    if k == 0:
        c[...] = 0 if d is None else d * c.dtype.type(beta)
        return c
    result = c
    rows, columns = n == 1 or c.strides[-1] == size, m == 1 or c.strides[-2] == size
    dots = k > 1 and min(m, n) <= DOTS and a.strides[-1] == size == b.strides[-2]
    if dots:  # of both operands' rows in memory: any strides of c and d
        swap = n < m
    else:
        swap = columns and (not rows or n <= skinny.MOST_ROWS < m and a.strides[-2] == size)
        if not (rows or swap):
            c = np.empty(shape_, c.dtype)
        if d is not None and d.strides[-2 if swap else -1] not in (0, size):
            d = np.ascontiguousarray(d.swapaxes(-1, -2)).swapaxes(-1, -2) if swap else np.ascontiguousarray(d)
    target = c
    if swap:
        a, b, c = b.swapaxes(-1, -2), a.swapaxes(-1, -2), c.swapaxes(-1, -2)
        d = None if d is None else d.swapaxes(-1, -2)
    if lead:
        _batched(a, b, c, d, alpha, beta, dots)
    else:
        multiply(a, b, c, d, alpha, beta, dots)
    if result is not target:
        result[...] = target
    return result


def _batched(a, b, c, d, alpha, beta, dots):
    """The batches of c brought to at most two dimensions; rows of one B for all of them become one matrix."""
    lead = c.shape[:-2]
    operands = [x if x is None else _strided(x, (*lead, *x.shape[-2:])) for x in (a, b, c, d)]
    groups = []  # [size, strides of each operand]
    for axis, n in enumerate(lead):
        if n == 1:
            continue
        walk = [0 if x is None else x.strides[axis] for x in operands]
        if groups and all(before == w * n for before, w in zip(groups[-1][1], walk)):
            groups[-1] = (groups[-1][0] * n, walk)
        else:
            groups.append((n, walk))
    m, n = c.shape[-2:]
    if groups and groups[-1][1][1] == 0:  # one B
        size, walk = groups[-1]
        rows = [0 if x is None else x.strides[-2] for x in operands]
        if all(w == r * m for w, r, i in zip(walk, rows, (0, 1, 2, 3)) if i != 1):
            groups.pop()
            m *= size
            if m > DOTS and c.strides[-1] == c.itemsize and (d is None or d.strides[-1] in (0, c.itemsize)):
                dots = False
    if len(groups) > 2:  # more dimensions than the kernel walks
        for index in np.ndindex(*lead[:-2]):
            _batched(*(x if x is None else x[index] for x in operands), alpha, beta, dots)
        return
    views = []
    for i, x in enumerate(operands):
        if x is not None:
            sizes, walk = zip(*((g[0], g[1][i]) for g in groups)) if groups else ((), ())
            x = np.lib.stride_tricks.as_strided(x, (*sizes, x.shape[-2] if i == 1 else m, x.shape[-1]), (*walk, *x.strides[-2:]))
        views.append(x)
    multiply(*views, alpha, beta, dots)
