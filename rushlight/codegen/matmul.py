"""Products of ndarrays on the generated kernels, and which of them are better left to NumPy.

`matmul(a, b)` takes float32 and float64 matrices of any strides, with batches that broadcast; an addend (a bias, a
residual, the operand of addmm) is added where the tiles are written. The functions named after rows are what
backends/compiled.py asks: they give NotImplemented where `prefers_numpy` says so.

Invariants: an element of the result depends on its row of a, its column of b and the addend alone, never on the
number of threads or on the blocks; the result is fresh memory, or `out`, which must not overlap the operands.
"""

from __future__ import annotations

import itertools
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
    if b_rows and (m <= 4 * s.rows or k * n * size <= L1):
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


def _launch(element, pointers, m, n, k, sa, sb, sc, sd, batch, alpha, beta, dots):
    """c = alpha * a @ b + beta * d, from addresses of a, b, c, d and strides (of rows, of columns) in bytes.

    `batch`: (outer, inner, strides of a, b, c, d from one outer matrix to the next, the same of inner ones). Along its
    rows c is contiguous, d contiguous or constant, unless `dots` asks for dot products.
    """
    outer, inner, b0, b1 = batch
    size = shape(element).size
    threads = SETTINGS.threads
    mc = kc = pack_a = mode = step = packed = panels = room = 0
    ib = 1
    work = outer * inner * m * n * k
    if dots:
        run = skinny_kernel("dots", element)
        nc, jb = _columns(n, work, threads, 12)
    elif m <= skinny.MOST_ROWS and sb[1] == size and n >= 64:
        run = skinny_kernel("sweep", element)
        nc, jb = _columns(n, work, threads, 64)
        if nc * size > skinny.SWEEP:
            nc, jb = _split(n, skinny.SWEEP // size, skinny.SWEEP // size)
    else:
        run, pack = kernels(element)
        mc, nc, kc, ib, jb, pack_a, mode, step = plan(element, m, n, k, outer * inner, sb[1] == size and 0 < sb[0] * k <= L2, threads)
        room, _room = scratch("gemm", step * threads)
        if mode == SHARED:
            columns = shape(element).columns
            panels = -(-n // columns)
            packed, _packed = scratch("gemm_b", panels * columns * k * size)
    slots = _PACK(
        *pointers, room, packed,
        m, n, k, mc, nc, kc, ib, jb,
        *sa, *sb, *sc, *sd,
        pack_a, mode, step, panels * shape(element).columns * size if panels else 0,
        _ONE[element] if alpha == 1 else _bits(alpha, element), _bits(beta, element) if beta else 0,
        inner, *b1, *b0,
    )  # fmt: skip
    if panels:
        pool.run(pack, slots, panels, max(1, panels // (4 * threads)))
    total = outer * inner * ib * jb
    pool.run(run, slots, total, max(1, total // (8 * threads), TASK // 4 // max(1, work // total)))


_SINGLE = (1, 1, (0, 0, 0, 0), (0, 0, 0, 0))


def product(a, b, out=None, addend=None, alpha=1.0, beta=1.0):
    """alpha * a @ b + beta * addend in a fresh array, or in `out`, for (..., m, k) and (..., k, n) of one float dtype."""
    size = a.itemsize
    *lead, m, k = a.shape
    *other, k, n = b.shape
    if other != lead:
        lead = list(np.broadcast_shapes(tuple(lead), tuple(other)))
    c = np.empty((*lead, m, n), a.dtype) if out is None else out
    if not c.size:
        return c
    d = None if beta == 0 else addend
    if k == 0:
        c[...] = 0 if d is None else d * c.dtype.type(beta)
        return c
    if d is not None and d.shape != c.shape:
        d = np.broadcast_to(d, c.shape)
    sa, sb, sc = a.strides[-2:], b.strides[-2:], c.strides[-2:]
    result = c
    rows, columns = n == 1 or sc[1] == size, m == 1 or sc[0] == size
    dots = k > 1 and min(m, n) <= DOTS and sa[1] == size == sb[0]
    if dots:  # of both operands' rows in memory: any strides of c and d
        swap = n < m
    else:
        swap = columns and (not rows or n <= skinny.MOST_ROWS < m and sa[0] == size)
        if not (rows or swap):
            c = np.empty((*lead, m, n), c.dtype)
            sc = c.strides[-2:]
        if d is not None and d.strides[-2 if swap else -1] not in (0, size):
            d = np.ascontiguousarray(d.swapaxes(-1, -2)).swapaxes(-1, -2) if swap else np.ascontiguousarray(d)
    if d is None:
        d, beta = c, 0.0
    target, sd = c, d.strides[-2:]
    if swap:
        a, b, m, n = b, a, n, m
        sa, sb, sc, sd = sb[::-1], sa[::-1], sc[::-1], sd[::-1]
    element = ELEMENT[c.dtype]
    pointers = (address(a), address(b), address(c), address(d))
    if not lead:
        _launch(element, pointers, m, n, k, sa, sb, sc, sd, _SINGLE, alpha, beta, dots)
    else:
        groups = _collapse(lead, (a, b, c, d))
        if groups and groups[-1][1][1] == 0 and all(groups[-1][1][i] == s[0] * m for i, s in ((0, sa), (2, sc), (3, sd))):
            m *= groups.pop()[0]  # rows of one B for all of them: one matrix
            if m > DOTS and sc[1] == size and sd[1] in (0, size):
                dots = False
        zero = (0, 0, 0, 0)
        *rest, (outer, b0), (inner, b1) = [(1, zero), (1, zero), *groups]
        for index in itertools.product(*(range(g[0]) for g in rest)):  # more dimensions than the kernel walks
            at = tuple(p + sum(i * g[1][which] for i, g in zip(index, rest)) for which, p in enumerate(pointers))
            _launch(element, at, m, n, k, sa, sb, sc, sd, (outer, inner, b0, b1), alpha, beta, dots)
    if result is not target:
        result[...] = target
    return result


def _collapse(lead, operands):
    """Batch dimensions as [(size, strides of each operand)], neighbours joined where every operand walks them as one."""
    count = len(lead)
    strides = []
    for x in operands:
        own = x.ndim - 2
        strides.append((0,) * (count - own) + tuple(0 if n == 1 else s for n, s in zip(x.shape[:own], x.strides)))
    groups = []
    for n, *walk in zip(lead, *strides):
        if n == 1:
            continue
        walk = tuple(walk)
        if groups and all(before == w * n for before, w in zip(groups[-1][1], walk)):
            groups[-1] = (groups[-1][0] * n, walk)
        else:
            groups.append((n, walk))
    return groups


# ---- rows ---------------------------------------------------------------------------------------


def prefers_numpy(batch, m, n, k):
    """Whether OpenBLAS, through NumPy, is at least as fast: the one place that says so."""
    work = batch * m * n * k
    if batch > 1:
        return work < 1 << 16
    return work < 1 << 18 or k > 64 and not (min(m, n) <= 64 and max(m, n, k) > 1000)


def _taken(a, b, *others):
    return a.dtype in ELEMENT and a.dtype == b.dtype and all(o is None or o.dtype == a.dtype for o in others)


def matmul(x, y):
    """The rows mm, bmm and matmul."""
    if not _taken(x, y) or x.ndim < 2 or y.ndim < 2:
        return NotImplemented
    m, n, k = x.shape[-2], y.shape[-1], x.shape[-1]
    if prefers_numpy(max(x.size // max(m * k, 1), y.size // max(n * k, 1)), m, n, k):
        return NotImplemented
    return product(x, y)


def addmm(z, x, y, beta, alpha):
    """The rows addmm and baddbmm: beta * z + alpha * x @ y."""
    if not _taken(x, y, z) or x.size * y.shape[-1] < 1 << 16:
        return NotImplemented
    return product(x, y, addend=z, alpha=float(alpha), beta=float(beta))


def linear(x, w, b=None):
    """The rows of linear: x @ w.T + b, the bias added where the tiles are written."""
    if not _taken(x, w, b) or x.ndim < 2 or w.ndim != 2 or x.size * w.shape[0] < 1 << 16:
        return NotImplemented
    if x.ndim > 2 and not x.flags.c_contiguous or b is None and prefers_numpy(1, x.size // max(1, x.shape[-1]), w.shape[0], w.shape[1]):
        return NotImplemented
    rows = x.reshape(-1, x.shape[-1])
    return product(rows, w.T, addend=b).reshape(*x.shape[:-1], w.shape[0])
