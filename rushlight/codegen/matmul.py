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

from rushlight.codegen import gemm, memory, native, pool, record, skinny
from rushlight.codegen.gemm import DIRECT, LOCAL, SHARED
from rushlight.codegen.native import address
from rushlight.codegen.scratch import L1, L2, LINE, scratch
from rushlight.codegen.tile import shape
from rushlight.core.settings import SETTINGS

ELEMENT = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
_HEAD, _TAIL = struct.Struct("=6q").pack, struct.Struct(f"={len(gemm.ARGS) - 6}q").pack  # addresses, all the rest
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
    mc, ib = _split(m, max(s.rows, L2 * 9 // 16 // (kc * size) // s.rows * s.rows), s.rows)
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


class _Launch:
    """A call of a kernel, but for addresses: the arguments after these as bytes, and what they need."""

    __slots__ = ("grain", "offsets", "pack", "pack_grain", "packed", "panels", "room", "run", "tail", "total")

    def __init__(self, element, m, n, k, sa, sb, sc, sd, batch, alpha, beta, dots, threads, offsets):
        outer, inner, b0, b1 = batch
        s = shape(element)
        mc = kc = pack_a = mode = step = self.packed = self.panels = 0
        ib = 1
        work = outer * inner * m * n * k
        self.pack, self.offsets = None, offsets
        if dots:
            self.run = skinny_kernel("dots", element)
            nc, jb = _columns(n, work, threads, 12)
        elif m <= skinny.MOST_ROWS and sb[1] == s.size and n >= 64:
            self.run = skinny_kernel("sweep", element)
            nc, jb = _columns(n, work, threads, 64)
            if nc * s.size > skinny.SWEEP:
                nc, jb = _split(n, skinny.SWEEP // s.size, skinny.SWEEP // s.size)
        else:
            self.run, self.pack = kernels(element)
            mc, nc, kc, ib, jb, pack_a, mode, step = plan(element, m, n, k, outer * inner, sb[1] == s.size and 0 < sb[0] * k <= L2, threads)
            if mode == SHARED:
                self.panels = -(-n // s.columns)
                self.packed = self.panels * s.columns * k * s.size
                self.pack_grain = max(1, self.panels // (4 * threads))
        self.room = step * threads
        self.tail = _TAIL(
            m, n, k, mc, nc, kc, ib, jb,
            *sa, *sb, *sc, *sd,
            pack_a, mode, step, self.panels * s.columns * s.size,
            _bits(alpha, element), _bits(beta, element),
            inner, *b1, *b0,
        )  # fmt: skip
        self.total = outer * inner * ib * jb
        self.grain = max(1, self.total // (8 * threads), TASK // 4 // max(1, work // self.total))

    def __call__(self, a, b, c, d):
        if self.offsets is not None:
            a, b, c, d = (p + o for p, o in zip((a, b, c, d), self.offsets))
        if record.active and (tape := record.tape()) is not None:
            tape.launches.append((self, (a, b, c, d)))
            return
        room, _room = scratch("gemm", self.room) if self.room else (0, None)
        packed, _packed = scratch("gemm_b", self.packed) if self.packed else (0, None)
        slots = _HEAD(a, b, c, d, room, packed) + self.tail
        if self.panels:
            pool.run(self.pack, slots, self.panels, self.pack_grain)
        pool.run(self.run, slots, self.total, self.grain)


@lru_cache(4096)
def _prepare(element, a, a_strides, b, b_strides, c, c_strides, d_strides, alpha, beta, threads):
    """(swap a and b, [_Launch]) for shapes and strides; the word "c" or "d" for what must be copied first."""
    size = shape(element).size
    *lead, m, n = c
    k = a[-1]
    sa, sb, sc = a_strides[-2:], b_strides[-2:], c_strides[-2:]
    rows, columns = n == 1 or sc[1] == size, m == 1 or sc[0] == size
    dots = (k >= 64 or k > 1 == min(m, n)) and min(m, n) <= DOTS and sa[1] == size == sb[0]
    if dots:  # of both operands' rows in memory: any strides of c and d
        swap = n < m
    else:
        swap = columns and (not rows or n <= skinny.MOST_ROWS < m and sa[0] == size)
        if not (rows or swap):
            return "c"
        if d_strides is not None and d_strides[-2 if swap else -1] not in (0, size):
            return "d"
    if d_strides is None:
        d_strides, beta = c_strides, 0.0
    sd = d_strides[-2:]
    strides = (_lead_strides(a, a_strides, lead), _lead_strides(b, b_strides, lead), c_strides[:-2], d_strides[:-2])
    if swap:
        m, n, strides = n, m, (strides[1], strides[0], *strides[2:])
        sa, sb, sc, sd = sb[::-1], sa[::-1], sc[::-1], sd[::-1]
    groups = []  # batch dimensions, neighbours joined where every operand walks them as one
    for size_, *walk in zip(lead, *strides):
        if size_ == 1:
            continue
        if groups and all(before == w * size_ for before, w in zip(groups[-1][1], walk)):
            groups[-1] = (groups[-1][0] * size_, walk)
        else:
            groups.append((size_, walk))
    if groups and groups[-1][1][1] == 0 and all(groups[-1][1][i] == s[0] * m for i, s in ((0, sa), (2, sc), (3, sd))):
        m *= groups.pop()[0]  # rows of one B for all of them: one matrix
        if m > DOTS and sc[1] == size and sd[1] in (0, size):
            dots = False
    zero = (0, 0, 0, 0)
    *rest, (outer, b0), (inner, b1) = [(1, zero), (1, zero), *groups]
    launches = []
    for index in itertools.product(*(range(g[0]) for g in rest)):  # more dimensions than a kernel walks
        offsets = tuple(sum(i * g[1][which] for i, g in zip(index, rest)) for which in range(4))
        launches.append(_Launch(element, m, n, k, sa, sb, sc, sd, (outer, inner, b0, b1), alpha, beta, dots, threads, offsets if any(offsets) else None))
    return swap, launches


def _lead_strides(shape_, strides, lead):
    """The batch strides of an operand broadcast to `lead`: 0 where it has one matrix for all."""
    own = len(shape_) - 2
    return (0,) * (len(lead) - own) + tuple(0 if n == 1 else s for n, s in zip(shape_[:own], strides))


def product(a, b, out=None, addend=None, alpha=1.0, beta=1.0):
    """alpha * a @ b + beta * addend in a fresh array, or in `out`, for (..., m, k) and (..., k, n) of one float dtype."""
    if a.ndim == 2 == b.ndim:
        shape_ = (a.shape[0], b.shape[1])
    elif a.shape[:-2] == b.shape[:-2]:
        shape_ = (*a.shape[:-1], b.shape[-1])
    else:
        shape_ = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    c = np.empty(shape_, a.dtype) if out is None else out
    if not c.size:
        return c
    d = None if beta == 0 else addend
    if not a.shape[-1]:
        c[...] = 0 if d is None else d * c.dtype.type(beta)
        return c
    d_strides = None
    if d is not None:
        if d.shape != shape_:
            d = np.broadcast_to(d, shape_)
        d_strides = d.strides
    how = _prepare(ELEMENT[c.dtype], a.shape, a.strides, b.shape, b.strides, shape_, c.strides, d_strides, alpha, beta, SETTINGS.threads)
    if how == "c":
        c[...] = product(a, b, None, d, alpha, beta)
        return c
    if how == "d":
        same = np.empty_like(c)
        same[...] = d
        return product(a, b, c, same, alpha, beta)
    swap, launches = how
    x, y, to = address(a), address(b), address(c)
    add = to if d is None else address(d)
    for launch in launches:
        if swap:
            launch(y, x, to, add)
        else:
            launch(x, y, to, add)
    return c


# ---- rows ---------------------------------------------------------------------------------------


def prefers_numpy(batch, m, n, k):
    """Whether OpenBLAS, through NumPy, is at least as fast: the one place that says so.

    With more than one thread large products stay here: OpenBLAS's threads spin beside ours and wait for each other in lockstep,
    which costs twice the time as soon as anything else runs on the machine.
    """
    work = batch * m * n * k
    if batch > 1:
        return work < 1 << 18
    return work < 1 << 20 or SETTINGS.threads == 1 and min(m, n) > 64 and k > 64


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
    out = np.empty((*x.shape[:-1], w.shape[0]), x.dtype)  # of the whole shape at once: a view of the product would be copied
    product(x.reshape(-1, x.shape[-1]), w.T, out.reshape(-1, w.shape[0]), addend=b)
    return out
