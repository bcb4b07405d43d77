"""Random draws, digit for digit those of PyTorch's CPU kernels.

Mechanism.  Every function takes a `core.generator.Generator`, a shape (or element count) and
parameters, and returns a fresh C-contiguous array; it draws exactly the words PyTorch draws, in
its order, so the generator's state afterwards is PyTorch's too.  Three raw forms are underneath:
the low 24 bits of a word times 2**-24 for float32 arithmetic (float16 and bfloat16 use it as well
and round at the end), 53 bits of a pair of words for double arithmetic, and plain words for
integers.  Large draws run in chunks that fit the cache.

Normals have two forms.  Below 16 elements, or when the tensor that is filled is not contiguous
(`contiguous=False`), Box-Muller in double, one pair at a time, the second of a pair kept in the
generator. From 16 on, blocks of 16 uniforms become 8 cosines and 8 sines; a ragged end redraws
the last 16.

Places in memory.  PyTorch fills a tensor in the order of its memory, not of its indices.  The
arrays returned are in that order; `place(out, values)` writes them into a strided array.

Invariants.  Arguments are validated by the caller.  A function holds `g.lock` from its first draw
to its last.

Not exact, and why:
- A float32 normal or uniform(a, b) may differ in its last bit once in some 10**8
  (`arithmetic.fma32`).
- On Intel processors PyTorch's builds with MKL have handed `bernoulli_(p)` (dropout too) to MKL,
  which has streams of its own.  These here are the streams of every other processor.
- randperm of 2**32 / 20 elements and more is refused: how PyTorch draws those was not established.
"""

import math

import numpy as np

from rushlight.backends import compiled
from rushlight.backends.arithmetic import affine64, fma32, libm, log32, sincos32
from rushlight.core import generator

generator.MANY_WORDS[0] = compiled.many_words
f32, f64 = np.float32, np.float64
CHUNK = 1 << 14
MASK24 = np.uint32((1 << 24) - 1)
MASK53 = np.uint64((1 << 53) - 1)
SCALE24, SCALE53 = f32(2.0**-24), 2.0**-53
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}  # of the significand


# -- raw forms -----------------------------------------------------------------------------------


def doubles(g, n):
    """n float64 in [0, 1): 53 bits of each pair of words."""
    words = g.u64(n)
    words &= MASK53
    return words.view(np.int64) * SCALE53


def singles(g, n):
    """n float32 in [0, 1): the low 24 bits of each word."""
    return (g.u32(n) & MASK24).view(np.int32).astype(f32) * SCALE24


def is_float(dtype):
    return dtype.kind == "f" or dtype.kind == "V"  # V: bfloat16


def cast(x, dtype):
    """x in `dtype` as C++ converts: float64 goes to the 16-bit formats by way of float32."""
    if x.dtype == dtype:
        return x
    if not is_float(dtype):
        return x.astype(dtype)
    with np.errstate(over="ignore"):
        return (x.astype(f32) if dtype.itemsize == 2 else x).astype(dtype)


def _chunked(g, shape, dtype, kernel):
    """An array of `shape` whose elements are kernel(g, n), n at a time."""
    n = shape if isinstance(shape, int) else math.prod(shape)
    with g.lock:
        if n <= CHUNK:
            return cast(kernel(g, n), dtype).reshape(shape)
        out = np.empty(n, dtype)
        for start in range(0, n, CHUNK):
            stop = min(start + CHUNK, n)
            out[start:stop] = cast(kernel(g, stop - start), dtype)
    return out.reshape(shape)


def _by_parts(draw, g, shape, dtype, *rest):
    """A complex array whose real and imaginary parts are drawn alike, side by side."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    part = np.dtype(f"f{dtype.itemsize // 2}")
    return draw(g, (*shape, 2), *rest, part).view(dtype)[..., 0]


def place(out, values):
    """Write values, in the order they were drawn, into `out` in the order of its memory."""
    order = sorted(range(out.ndim), key=lambda axis: -abs(out.strides[axis]))
    target = out.transpose(order)
    target[...] = values.reshape(target.shape)
    return out


# -- continuous ----------------------------------------------------------------------------------


def uniform(g, shape, low=0.0, high=1.0, dtype=f32):
    """uniform_(low, high), rand, for the float and complex types."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        return _by_parts(uniform, g, shape, dtype, low, high)
    wide = dtype == f64
    if low == 0.0 and high == 1.0 and dtype.itemsize > 2:
        return _chunked(g, shape, dtype, doubles if wide else singles)
    first, end = dtype.type(low), dtype.type(high)
    number = f64 if wide else f32
    low, span = float(number(low)), float(number(high) - number(low))
    # The interval is half open: where rounding reaches its end, PyTorch takes its beginning.
    rounds_up = cast(np.array(low + span * (1 - 2.0**-24), number), dtype) == end or wide

    def kernel(g, n):
        if wide:
            x = affine64(doubles(g, n), span, low)
        else:  # one multiply-add; the product of two float32 is exact in double
            x = (g.u32(n) & MASK24).view(np.int32) * (2.0**-24 * span)
            if low:
                x += low
            x = cast(x.astype(f32), dtype)
        if rounds_up:
            x[x == end] = first
        return x

    return _chunked(g, shape, dtype, kernel)


def _pairs(g, n):
    """n standard normals in double, made in pairs; an odd one out waits in the generator."""
    if n < 16:
        out, kept = [], g.next_normal
        if kept is not None and n:
            out.append(kept)
            kept = None
        rest = n - len(out)
        if rest:
            u = doubles(g, rest + (rest & 1)).tolist()
            for u1, u2 in zip(u[::2], u[1::2], strict=True):
                radius, angle = math.sqrt(-2.0 * math.log1p(-u2)), 2.0 * math.pi * u1
                out.append(radius * math.cos(angle))
                out.append(radius * math.sin(angle))
            if rest & 1:
                kept = out.pop()
        g.next_normal = kept
        return np.array(out, f64)
    out = np.empty(n, f64)
    done = 0
    if g.next_normal is not None:
        out[0], g.next_normal, done = g.next_normal, None, 1
    while done < n:
        size = min(CHUNK, n - done)
        u = doubles(g, size + (size & 1)).reshape(-1, 2)
        radius = np.sqrt(-2.0 * libm("log1p")(-u[:, 1]))
        angle = (2.0 * math.pi) * u[:, 0]
        both = np.stack([radius * libm("cos")(angle), radius * libm("sin")(angle)], 1).ravel()
        out[done : done + size] = both[:size]
        if size & 1:
            g.next_normal = float(both[-1])
        done += size
    return out


def _blocks(u, mean, std):
    """Normals from uniforms, both (k, 16); a row's halves are the two of eight pairs."""
    u1, angle = 1 - u[:, :8], u[:, 8:] * u.dtype.type(2 * math.pi)
    if u.dtype == f32:
        radius = log32(u1)
        radius *= f32(-2)
        np.sqrt(radius, out=radius)
        sin, cos = sincos32(angle)
    else:
        radius = np.sqrt(-2.0 * libm("log")(u1))
        sin, cos = libm("sin")(angle), libm("cos")(angle)
    np.multiply(radius, cos, out=u[:, :8])
    np.multiply(radius, sin, out=u[:, 8:])
    if u.dtype == f64:
        return affine64(u, std, mean)
    scale, shift = f32(std), f32(mean)
    if shift == 0:
        return u if scale == 1 else u * scale
    return fma32(u, scale, shift)


def normal(g, shape, mean=0.0, std=1.0, dtype=f32, contiguous=True):
    """normal_(mean, std), randn. A complex number's parts have variance std**2 / 2 each.

    contiguous: whether the tensor that is filled is (row-major) contiguous; the digits differ.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        parts = lambda g, shape, dtype: normal(
            g, shape, mean, std / math.sqrt(2.0), dtype, contiguous
        )
        return _by_parts(parts, g, shape, dtype)
    n = shape if isinstance(shape, int) else math.prod(shape)
    if n < 16 or not contiguous:
        with g.lock:
            return cast(affine64(_pairs(g, n), std, mean), dtype).reshape(shape)
    raw = doubles if dtype == f64 else singles
    whole = n // 16 * 16
    out = np.empty(n, dtype)
    with g.lock:
        for start in range(0, whole, CHUNK):
            stop = min(start + CHUNK, whole)
            u = raw(g, stop - start)
            ragged = stop == whole < n
            if ragged:
                if dtype.itemsize > 2:  # the ragged end is drawn, then drawn again; not in 16 bits
                    raw(g, n - whole)
                u = np.concatenate([u, raw(g, 16)])
            x = _blocks(u.reshape(-1, 16), mean, std).ravel()
            out[start:stop] = x[: stop - start]
            if ragged:
                out[n - 16 :] = x[-16:]
    return out.reshape(shape)


def normal_tensors(g, mean, std):
    """torch.normal(mean, std) where at least one is an array: std * normal + mean, in its type."""
    dtype = (mean if isinstance(mean, np.ndarray) else std).dtype
    shape = np.broadcast_shapes(np.shape(mean), np.shape(std))
    if isinstance(std, np.ndarray):
        return normal(g, shape, dtype=dtype) * std + dtype.type(mean)
    return normal(g, shape, 0.0, std, dtype) + mean


def exponential(g, shape, rate=1.0, dtype=f32):
    """exponential_(rate): -log(1 - u) / rate."""
    scale = -1.0 / rate
    kernel = lambda g, n: libm("log1p")(-doubles(g, n)) * scale
    return _chunked(g, shape, np.dtype(dtype), kernel)


def geometric(g, shape, p, dtype=f32):
    """geometric_(p): the number of trials up to the first success, 1, 2, ..."""
    scale = math.log1p(-p)
    kernel = lambda g, n: np.ceil(libm("log")(doubles(g, n)) / scale)
    return _chunked(g, shape, np.dtype(dtype), kernel)


def cauchy(g, shape, median=0.0, sigma=1.0, dtype=f32):
    """cauchy_(median, sigma): median + sigma tan(pi (u - 1/2))."""

    def kernel(g, n):
        return affine64(libm("tan")(math.pi * (doubles(g, n) - 0.5)), sigma, median)

    return _chunked(g, shape, np.dtype(dtype), kernel)


def log_normal(g, shape, mean=1.0, std=2.0, dtype=f32):
    """log_normal_(mean, std): the exponential of a normal, always made pair by pair."""
    n = shape if isinstance(shape, int) else math.prod(shape)
    with g.lock:
        x = affine64(_pairs(g, n), std, mean)
    with np.errstate(over="ignore"):
        return cast(libm("exp")(x), np.dtype(dtype)).reshape(shape)


# -- discrete ------------------------------------------------------------------------------------


def _remainder(words, span):
    """words % span; a power of two needs no division."""
    if span & (span - 1) == 0:
        return words & words.dtype.type(span - 1)
    return words % words.dtype.type(span)


def _as_int64(value, dtype):
    """The integer that `value` becomes by way of a float type; too large wraps as on x86."""
    value = int(float(np.float64(value).astype(f32).astype(dtype))) if dtype != f64 else int(float(value))
    return value if -(1 << 63) <= value < 1 << 63 else -(1 << 63)


def _float_bounds(low, high, dtype):
    """Integer bounds drawn in, such that the float type does not round a number out of them."""
    digits = DIGITS[dtype.name]
    rounded = _as_int64(low + 1, dtype)
    if rounded < low:
        low = rounded + (1 << (abs(low + 1).bit_length() - digits))
    rounded = _as_int64(high - 1, dtype)
    if rounded >= high:
        high = rounded - (1 << (abs(high - 1).bit_length() - digits))
    return low, high


def randint(g, shape, low, high, dtype=np.int64):
    """random_(low, high), randint: integers in [low, high). A span of 2**64 takes plain words."""
    dtype = np.dtype(dtype)
    if is_float(dtype):
        low, high = _float_bounds(low, high, dtype)
    span = high - low

    def kernel(g, n):
        if span >= 1 << 28:
            words = g.u64(n)
            if span >= 1 << 64:
                return words.view(np.int64)
            out = _remainder(words, span).view(np.int64)
        else:
            out = _remainder(g.u32(n), span).astype(np.int64)
        out = out + low if low else out
        return out.astype(f32) if is_float(dtype) and dtype != f64 else out

    return _chunked(g, shape, dtype, kernel)


def random(g, shape, dtype=f32):
    """random_() without bounds: all non-negative numbers of an integer type, or [0, 2**digits]."""
    dtype = np.dtype(dtype)
    if dtype.name in DIGITS:
        span = (1 << DIGITS[dtype.name]) + 1
    else:
        span = 2 if dtype.kind == "b" else int(np.iinfo(dtype).max) + 1
    if dtype.itemsize == 8:
        kernel = lambda g, n: _remainder(g.u64(n), span).view(np.int64)
    else:
        exact = f32 if is_float(dtype) else dtype
        kernel = lambda g, n: _remainder(g.u32(n), span).astype(exact)
    return _chunked(g, shape, dtype, kernel)


def _swap_targets(g, n):
    """Step i of the shuffle swaps places i and j[i] >= i; the last place draws nothing."""
    j = np.arange(n, dtype=np.uint32)
    if n > 1:
        j[:-1] += g.u32(n - 1) % np.arange(n, 1, -1, dtype=np.uint32)
    return j.view(np.int32)


def _shuffled(j):
    """What the swaps (i, j[i]) for i = 0, 1, ... make of 0, 1, ..., n - 1, with no loop over them.

    Write v(i) for the number at place i when step i comes. Place p gets a new number at step i
    only where j[i] == p, and it is v(i). So v(i) is i, or v of the last step before i that aimed
    at i; and the number that step i fetches is j[i], or v of the last step before i that aimed at
    j[i] too. Equal aims are found by sorting, the chains of v (their depth is logarithmic) by
    pointer doubling.
    """
    n = j.size
    place = np.arange(n, dtype=np.int32)
    key = j.astype(np.uint64) << np.uint64(32)
    key |= place.view(np.uint32)
    key.sort()
    step, aim = key.astype(np.uint32).view(np.int32), (key >> np.uint64(32)).astype(np.int32)
    same = aim[1:] == aim[:-1]
    before = np.full(n, -1, np.int32)  # the last earlier step with the same aim
    before[step[1:][same]] = step[:-1][same]
    ends = np.append(~same, True)
    root = place.copy()
    root[aim[ends]] = step[ends]  # the last step that aims here; it may be the place's own
    root = np.where(root == place, np.where(j == place, before, place), root)
    root = np.where(root < 0, place, root)
    while True:
        above = root[root]
        if np.array_equal(above, root):
            return np.where(before < 0, j, root[before])
        root = above


def randperm(g, n, dtype=np.int64):
    """A random permutation of 0 ... n - 1 (Fisher and Yates, from the front)."""
    if n >= (1 << 32) // 20:
        raise NotImplementedError(f"randperm of {n} elements: there is none of 2**32 / 20 or more")
    j = _swap_targets(g, n)
    if n > 1000:  # below, the loop is as fast
        return _shuffled(j).astype(dtype)
    out = list(range(n))
    for i, aim in enumerate(j.tolist()):
        out[i], out[aim] = out[aim], out[i]
    return np.array(out, np.int64).astype(dtype)


def bernoulli(g, shape, p, dtype=f32):
    """bernoulli_(p), bernoulli(p): 1 with probability p.

    A number p is compared with doubles, as is an array p of float64; an array of another float
    type with 24-bit uniforms. An array already has the result's shape.
    """
    if not isinstance(p, np.ndarray):
        return _chunked(g, shape, np.dtype(dtype), lambda g, n: _below(g, n, p))
    draw = doubles if p.dtype == f64 else singles
    p = p.reshape(-1) if p.dtype == f64 else p.astype(f32).reshape(-1)
    return (draw(g, p.size) < p).astype(dtype).reshape(shape)


def _below(g, n, p):
    """doubles(g, n) < p on whole words: the 21 high bits nearly always decide."""
    bound = math.ceil(p * 2.0**53)
    words = g.u32(2 * n)
    high, low = words[0::2] & np.uint32(0x1FFFFF), words[1::2]
    top = bound >> 32
    out = high < np.uint32(top)
    equal = high == np.uint32(top)
    if equal.any():
        out[equal] = low[equal] < np.uint32(bound & 0xFFFFFFFF)
    return out


def keep_mask(g, shape, p):
    """The boolean mask of dropout: true (kept) with probability 1 - p."""
    return bernoulli(g, shape, 1.0 - p, bool)


def rrelu_noise(g, x, lower, upper):
    """Slopes of rrelu in training: uniform in [lower, upper) where x <= 0, else 1, not drawn."""
    out = np.ones(x.shape, x.dtype)
    negative = x <= 0
    number = f64 if x.dtype == f64 else f32
    low = float(number(lower))
    span = float(number(upper)) - low
    out[negative] = uniform(g, int(np.count_nonzero(negative)), dtype=f64) * span + low
    return out
