"""Packing: a part of a matrix as panels, in which a micro-kernel reads one address after another.

A panel of width w holds w rows (or columns) of the matrix, index along it first: panel[k][i] = source[i * si + k * sk].
Where the source is contiguous along i it is copied by vectors, where it is contiguous along k square blocks are
transposed in registers, else single elements are moved. A panel that the matrix does not fill is filled with zeros, so
that a micro-kernel never asks how full it is, and nothing beyond the matrix is read.
"""

from __future__ import annotations

from rushlight.codegen.llvm import SIZES, V, const, i64, lanes_of, vector


def transpose(b, rows):
    """n vectors of n lanes, transposed (n a power of two): perfect shuffles within 16 bytes, then of 16 bytes."""
    n = len(rows)
    lanes, element = lanes_of(rows[0].type)
    step = min(n, 16 // SIZES[element])  # lanes of 16 bytes, within which shuffles are cheap
    width = 1
    while width < step:  # each group of `step` rows: transposed within every 16 bytes
        out = []
        for g in range(0, n, step):
            group, half = rows[g : g + step], step // 2
            for i in range(half):
                for high in (0, 1):
                    mask = []
                    for lane in range(0, n, step):
                        for j in range(half):
                            at = lane + high * half + j
                            mask += [at, n + at]
                    out.append(b.shuffle(group[i], group[i + half], mask))
        rows, width = out, width * 2
    if n == step:
        return rows
    groups = n // step  # rows[g * step + i] holds column i, i + step, ... of the rows of group g, 16 bytes each
    out = [None] * n
    for i in range(step):
        parts = [rows[g * step + i] for g in range(groups)]
        width = 1
        while width < groups:
            half, turned = groups // 2, []
            for p in range(half):
                for high in (0, 1):
                    mask = []
                    for q in range(half):
                        for side in (0, n):
                            at = side + (high * half + q) * step
                            mask += range(at, at + step)
                    turned.append(b.shuffle(parts[p], parts[p + half], mask))
            parts, width = turned, width * 2
        for g in range(groups):
            out[g * step + i] = parts[g]
    return out


def chunks(width, most):
    """Powers of two, at most `most`, that add up to `width`: (offset, size)."""
    at, out = 0, []
    while at < width:
        size = most
        while size > width - at:
            size //= 2
        out.append((at, size))
        at += size
    return out


def emit_pack(module, name, element, width, lanes, stored=None, widen=None):
    """void name(dst, src, si, sk, n, k): strides in bytes, n <= width rows, k steps.

    `stored` is the element's type in memory and `widen(b, value)` makes an `element` of it, where they differ.
    """
    stored = stored or element
    widen = widen or (lambda b, v: v)
    size, out_size = SIZES[stored], SIZES[element]
    b = module.function(
        name,
        [("dst", "ptr noalias"), ("src", "ptr noalias"), ("si", "i64"), ("sk", "i64"), ("n", "i64"), ("k", "i64")],
        internal=True,
        attributes="noinline nounwind",
    )
    dst, src, si, sk, n, k = b.args
    full = b.cmp("eq", n, i64(width))
    along_i, along_k, single, done = b.label("i"), b.label("k"), b.label("one"), b.label("done")
    contiguous_i = b.op("and", full, b.cmp("eq", si, i64(size)))
    next_test = b.label("t")
    b.cbr(contiguous_i, along_i, next_test)
    b.at(next_test)
    b.cbr(b.op("and", full, b.cmp("eq", sk, i64(size))), along_k, single)

    b.at(along_i)
    with b.loop(i64(0), k, 1, [src, dst]) as l:
        p, q = l.carried
        for at, m in chunks(width, lanes):
            value = widen(b, b.load(vector(stored, m if m > 1 else 0), b.at_bytes(p, i64(at * size))))
            b.store(value, b.at_bytes(q, i64(at * out_size)))
        l.next = [b.at_bytes(p, sk), b.at_bytes(q, i64(width * out_size))]
    b.br(done)

    b.at(along_k)
    # square blocks of 16 bytes where the width is no multiple of the vectors, else of whole vectors
    most = lanes if width % lanes == 0 else 16 // out_size
    blocks = chunks(width, most)
    stride = b.mul(si, i64(1))
    whole = b.op("and", k, i64(-most))
    with b.loop(i64(0), whole, most, [src, dst]) as l:
        p, q = l.carried
        for at, m in blocks:
            rows = [widen(b, b.load(vector(stored, most), b.at_bytes(p, b.mul(stride, i64(at + r))))) for r in range(m)]
            if m == most:
                columns = transpose(b, rows)
            else:
                columns = _narrow(b, rows, most)
            for c, value in enumerate(columns):
                b.store(value, b.at_bytes(q, i64((c * width + at) * out_size)))
        l.next = [b.at_bytes(p, i64(most * size)), b.at_bytes(q, i64(most * width * out_size))]
    p, q = l.results
    with b.loop(whole, k, 1, [p, q]) as l:
        p, q = l.carried
        for r in range(width):
            b.store(widen(b, b.load(stored, b.at_bytes(p, b.mul(stride, i64(r))))), b.at_bytes(q, i64(r * out_size)))
        l.next = [b.at_bytes(p, i64(size)), b.at_bytes(q, i64(width * out_size))]
    b.br(done)

    b.at(single)
    with b.loop(i64(0), k, 1, [src, dst]) as l:
        p, q = l.carried
        with b.loop(i64(0), n, 1, [p]) as inner:
            b.store(widen(b, b.load(stored, inner.carried[0])), b.gep(q, inner.i, element))
            inner.next = [b.at_bytes(inner.carried[0], si)]
        with b.loop(n, i64(width)) as inner:
            b.store(const(0, element), b.gep(q, inner.i, element))
        l.next = [b.at_bytes(p, sk), b.at_bytes(q, i64(width * out_size))]
    b.br(done)
    b.at(done)
    b.ret()
    b.done()


def _narrow(b, rows, lanes):
    """m < lanes vectors (m a power of two) as `lanes` vectors of m."""
    m = len(rows)
    if m == 1:
        return [b.extract(rows[0], i) for i in range(lanes)]
    while len(rows) > 1:  # interleave pairs: the first half with the second
        half, out = len(rows) // 2, []
        for i in range(half):
            n = lanes_of(rows[i].type)[0]
            mask = [x for j in range(n) for x in (j, n + j)]
            out.append(b.shuffle(rows[i], rows[i + half], mask))
        rows = out
    return [b.shuffle(rows[0], None, range(c * m, c * m + m)) for c in range(lanes)]


__all__ = ["V", "chunks", "emit_pack", "transpose"]
