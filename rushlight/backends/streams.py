"""Random draws, digit for digit those of PyTorch's CPU kernels.

Mechanism.  Every function takes a `core.generator.Generator`, a shape (or element count) and parameters, and
returns a fresh C-contiguous array; it draws exactly the words PyTorch draws, in its order, so the generator's
state afterwards is PyTorch's too.  Three raw forms are underneath: `word & (2**24 - 1)` times 2**-24 for
float32 arithmetic (float16 and bfloat16 use it as well and round at the end), 53 bits of a pair of words for
double arithmetic, and plain words for integers.  Large draws run in chunks that fit the cache.

Normals have two forms.  Below 16 elements, or when the tensor that is filled is not contiguous
(`contiguous=False`), Box-Muller in double, one pair at a time, the second of a pair kept in the generator.
From 16 on, blocks of 16 uniforms become 8 cosines and 8 sines; a ragged end redraws the last 16.  float32 does
this in Cephes' single-precision logarithm and sine with fused multiply-adds, which are repeated here.

Places in memory.  PyTorch fills a tensor in the order of its memory, not of its indices.  The arrays returned
are in that order; `place(out, values)` writes them into a strided array.

Invariants.  Arguments are validated by the caller.  A function holds `g.lock` from its first draw to its last.

Not exact, and why:
- A float32 fused multiply-add is made of a double product (exact) and a double sum, rounded again to float32:
  about one in 10**9 is off by one last bit.
- On Intel processors PyTorch hands `bernoulli_(p)` (dropout too) to MKL, which has streams of its own.  These
  here are the streams of every other processor.
- Ties in `multinomial` without replacement (categories of weight 0, or float16 rounding) come in index order.
- randperm of more than 2**32 / 20 elements.
"""

import math

import ml_dtypes
import numpy as np

f32, f64 = np.float32, np.float64
bf16 = ml_dtypes.bfloat16
CHUNK = 1 << 14
MASK24 = np.uint32((1 << 24) - 1)
MASK53 = np.uint64((1 << 53) - 1)
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}  # of the significand
SCALE24, SCALE53 = f32(2.0**-24), 2.0**-53


# -- arithmetic with the digits of C -------------------------------------------------------------

_libm = {}
_PROBE = {"exp": (-10, 10), "cos": (0, 2 * math.pi), "sin": (0, 2 * math.pi),
          "tan": (-1.57, 1.57), "log": (0, 1), "log1p": (-1, 0)}  # fmt: skip


def libm(name):
    """exp, log, log1p, cos, sin or tan of float64 arrays with the C library's digits.

    NumPy calls the C library for these or, on some processors, its own vector code, whose last bit
    differs now and then. A probe over 4096 points decides which it is; then `math` is taken instead.
    """
    f = _libm.get(name)
    if f is None:
        f, scalar = getattr(np, name), getattr(math, name)
        low, high = _PROBE[name]
        x = np.linspace(low, high, 4098)[1:-1] + 1e-7
        if not np.array_equal(f(x), [scalar(v) for v in x.tolist()]):

            def f(x, vector=f, scalar=scalar):
                try:
                    return np.fromiter(map(scalar, x.ravel().tolist()), f64, x.size).reshape(x.shape)
                except (ValueError, OverflowError):  # log(0), exp(1000): exact anyway
                    return vector(x)

        _libm[name] = f
    return f


def _two_sum(x, y):
    total = x + y
    t = total - x
    return total, (x - (total - t)) + (y - t)


def _split(x):
    t = x * 134217729.0
    high = t - (t - x)
    return high, x - high


def fma64(x, y, z):
    """x * y + z rounded once.

    Error-free product and sums; the two low parts are added with rounding to odd, so that the last
    addition rounds as if it saw all digits (Boldo and Melquiond, "Emulation of a FMA and correctly
    rounded sums", 2008). No care for overflow or subnormal numbers.
    """
    x, y, z = np.broadcast_arrays(np.asarray(x, f64), f64(y), f64(z))
    product = x * y
    xh, xl = _split(x)
    yh, yl = _split(y)
    error = ((xh * yh - product) + xh * yl + xl * yh) + xl * yl
    high, low = _two_sum(z, error)
    top, mid = _two_sum(product, high)
    odd, rest = _two_sum(low, mid)
    odd = np.array(odd)
    fix = (rest != 0) & ((odd.view(np.int64) & 1) == 0)
    if fix.any():
        odd[fix] = np.nextafter(odd[fix], np.where(rest[fix] > 0, math.inf, -math.inf))
    return top + odd


def _affine(x, scale, shift):
    """x * scale + shift rounded once, the common cases without effort."""
    if shift == 0.0:
        return x if scale == 1.0 else x * scale
    return x + shift if scale == 1.0 else fma64(x, scale, shift)


def _fma(x, y, z):
    """float32 fused multiply-add of float32 arrays; z may be a scalar."""
    out = x.astype(f64)
    out *= y
    out += z
    return out.astype(f32)


def _horner(x64, *coefficients):
    """Polynomial in float32 fused multiply-adds, highest power first; x is given as float64."""
    y = x64 * coefficients[0]
    for c in coefficients[1:-1]:
        y += c
        y = y.astype(f32) * x64  # float32 times float64: the product is exact
    y += coefficients[-1]
    return y.astype(f32)


def _c(*numbers):
    return [float(f32(v)) for v in numbers]


# fmt: off
_LOG = _c(7.0376836292E-2, -1.1514610310E-1, 1.1676998740E-1, -1.2420140846E-1, 1.4249322787E-1,
          -1.6668057665E-1, 2.0000714765E-1, -2.4999993993E-1, 3.3333331174E-1)
_COS = _c(2.443315711809948E-005, -1.388731625493765E-003, 4.166664568298827E-002)
_SIN = _c(-1.9515295891E-4, 8.3321608736E-3, -1.6666654611E-1)
_PI4 = _c(-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)  # -pi/4 in three parts
# fmt: on


def _log32(x):
    """Cephes logf of positive normal float32 numbers."""
    bits = x.view(np.int32)
    exponent = ((bits >> 23) - 126).astype(f32)
    x = ((bits & 0x007FFFFF) | 0x3F000000).view(f32)
    small = x < f32(0.707106781186547524)
    exponent -= small
    x = x - f32(1) + np.where(small, x, f32(0))
    z = x * x
    y = _horner(x.astype(f64), *_LOG) * x
    y = _fma(y, z, exponent * f32(-2.12194440e-4)) - z * f32(0.5)
    return _fma(exponent, f32(0.693359375), x + y)


def _sincos32(x):
    """Cephes sinf and cosf of float32 numbers in [0, 8192)."""
    j = ((x * f32(1.27323954473516)).astype(np.int32) + 1) & ~1
    octant = j.astype(f64)
    for part in _PI4:
        x = (octant * part + x).astype(f32)
    z = x * x
    z64 = z.astype(f64)
    cos = _horner(z64, *_COS) * z
    cos = _fma(cos, z, z * f32(-0.5)) + f32(1)
    sin = _horner(z64, *_SIN) * z
    sin = _fma(sin, x, x)
    swap = (j & 2) != 0
    s, c = np.where(swap, cos, sin), np.where(swap, sin, cos)
    return np.where((j & 4) != 0, -s, s), np.where(((j - 2) & 4) == 0, -c, c)


# -- raw forms -----------------------------------------------------------------------------------


def _double(g, n):
    """n doubles in [0, 1): 53 bits of each pair of words."""
    words = g.u64(n)
    words &= MASK53
    return words.view(np.int64) * SCALE53


def _single(g, n):
    """n float32 in [0, 1): the low 24 bits of each word."""
    return (g.u32(n) & MASK24).view(np.int32).astype(f32) * SCALE24


def size_of(shape):
    return shape if isinstance(shape, int) else math.prod(shape)


def cast(x, dtype):
    """float64 to dtype as C++ does: the 16-bit formats are rounded from float32."""
    if x.dtype == dtype:
        return x
    with np.errstate(over="ignore"):
        return (x.astype(f32) if x.dtype == f64 and dtype.name in DIGITS else x).astype(dtype)


def _chunked(g, shape, dtype, kernel):
    """An array of `shape` whose elements are kernel(g, n), n at a time."""
    n = size_of(shape)
    with g.lock:
        if n <= CHUNK:
            return cast(kernel(g, n), dtype).reshape(shape)
        out = np.empty(n, dtype)
        for start in range(0, n, CHUNK):
            stop = min(start + CHUNK, n)
            out[start:stop] = cast(kernel(g, stop - start), dtype)
    return out.reshape(shape)


def place(out, values):
    """Write values, in the order they were drawn, into `out` in the order of its memory."""
    order = sorted(range(out.ndim), key=lambda axis: -abs(out.strides[axis]))
    target = out.transpose(order)
    target[...] = values.reshape(target.shape)
    return out


# -- continuous ----------------------------------------------------------------------------------


def uniform(g, shape, low=0.0, high=1.0, dtype=f32):
    """uniform_(low, high), rand. dtype: a float or complex type (complex: both parts drawn alike)."""
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        return uniform(g, (*shape, 2), low, high, _part(dtype)).view(dtype)[..., 0]
    number = f64 if dtype == f64 else f32
    raw = _double if dtype == f64 else _single
    if low == 0.0 and high == 1.0:
        if dtype.itemsize > 2:  # only rounding can reach 1
            return _chunked(g, shape, dtype, raw)
    least, most = dtype.type(low), dtype.type(high)
    low = number(low)
    span = number(high) - low

    def kernel(g, n):
        x = raw(g, n)
        x = cast(x * span if low == 0.0 else (fma64 if number is f64 else _fma)(x, span, low), dtype)
        end = x == most  # the end that rounding reached is no value of the half-open interval
        if end.any():
            x[end] = least
        return x

    return _chunked(g, shape, dtype, kernel)


def _part(dtype):
    """The real type of a complex one."""
    return np.dtype(f"f{dtype.itemsize // 2}")


def _pairs(g, n):
    """n standard normals in double, made in pairs; an odd one out waits in the generator."""
    if n < 16:
        out, kept = [], g.next_normal
        if kept is not None and n:
            out.append(kept)
            kept = None
        rest = n - len(out)
        if rest:
            u = _double(g, rest + (rest & 1)).tolist()
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
        u = _double(g, size + (size & 1)).reshape(-1, 2)
        radius = np.sqrt(-2.0 * libm("log1p")(-u[:, 1]))
        angle = (2.0 * math.pi) * u[:, 0]
        both = np.stack([radius * libm("cos")(angle), radius * libm("sin")(angle)], 1).ravel()
        out[done : done + size] = both[:size]
        if size & 1:
            g.next_normal = float(both[-1])
        done += size
    return out


def _blocks(u, mean, std):
    """Normals from uniforms, both (k, 16): halves 0:8 and 8:16 of a row are the two of eight pairs."""
    u1, u2 = 1 - u[:, :8], u[:, 8:]
    if u.dtype == f32:
        radius = np.sqrt(f32(-2) * _log32(u1))
        sin, cos = _sincos32(f32(2 * math.pi) * u2)
        scale, shift = f32(std), f32(mean)
        u[:, :8], u[:, 8:] = radius * cos, radius * sin
        if shift == 0:
            return u if scale == 1 else u * scale
        return _fma(u, scale, shift)
    radius = np.sqrt(-2.0 * libm("log")(u1))
    angle = (2.0 * math.pi) * u2
    u[:, :8], u[:, 8:] = radius * libm("cos")(angle), radius * libm("sin")(angle)
    return _affine(u, std, mean)


def normal(g, shape, mean=0.0, std=1.0, dtype=f32, contiguous=True):
    """normal_(mean, std), randn. A complex number's parts have variance std**2 / 2 each.

    contiguous: whether the tensor that is filled is (row-major) contiguous; the digits differ.
    """
    dtype = np.dtype(dtype)
    if dtype.kind == "c":
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        std = std / math.sqrt(2.0)
        return normal(g, (*shape, 2), mean, std, _part(dtype), contiguous).view(dtype)[..., 0]
    n = size_of(shape)
    if n < 16 or not contiguous:
        with g.lock:
            return cast(_affine(_pairs(g, n), std, mean), dtype).reshape(shape)
    raw = _double if dtype == f64 else _single
    whole = n // 16 * 16
    out = np.empty(n, dtype)
    with g.lock:
        for start in range(0, whole, CHUNK):
            stop = min(start + CHUNK, whole)
            u = raw(g, stop - start).reshape(-1, 16)
            out[start:stop] = _blocks(u, mean, std).ravel()
        if whole < n:
            if dtype.itemsize > 2:  # the ragged end is drawn, then drawn again; not so in 16 bits
                raw(g, n - whole)
            out[n - 16 :] = _blocks(raw(g, 16).reshape(1, 16), mean, std)[0]
    return out.reshape(shape)


def exponential(g, shape, rate=1.0, dtype=f32):
    """exponential_(rate): -log(1 - u) / rate."""
    scale = -1.0 / rate
    return _chunked(g, shape, dtype, lambda g, n: libm("log1p")(-_double(g, n)) * scale)


def geometric(g, shape, p, dtype=f32):
    """geometric_(p): the number of trials up to the first success, 1, 2, ..."""
    scale = math.log1p(-p)
    return _chunked(g, shape, dtype, lambda g, n: np.ceil(libm("log")(_double(g, n)) / scale))


def cauchy(g, shape, median=0.0, sigma=1.0, dtype=f32):
    """cauchy_(median, sigma): median + sigma tan(pi (u - 1/2))."""

    def kernel(g, n):
        return _affine(libm("tan")(math.pi * (_double(g, n) - 0.5)), sigma, median)

    return _chunked(g, shape, dtype, kernel)


def log_normal(g, shape, mean=1.0, std=2.0, dtype=f32):
    """log_normal_(mean, std): the exponential of a normal, always made pair by pair."""
    with g.lock:
        x = _affine(_pairs(g, size_of(shape)), std, mean)
    return cast(libm("exp")(x), dtype).reshape(shape)


# -- discrete ------------------------------------------------------------------------------------


def _remainder(words, span):
    """words % span; a power of two needs no division."""
    if span & (span - 1) == 0:
        return words & words.dtype.type(span - 1)
    return words % words.dtype.type(span)


def _as_int64(value, dtype):
    """The integer that `value` becomes by way of a float type; too large wraps as on x86."""
    value = int(np.float64(value).astype(f32)) if dtype != f64 else int(float(value))
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
    if dtype.name in DIGITS:
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
        return out.astype(f32) if dtype.name in DIGITS and dtype != f64 else out

    return _chunked(g, shape, dtype, kernel)


def random(g, shape, dtype=f32):
    """random_() without bounds: all non-negative numbers of an integer type, or [0, 2**digits]."""
    dtype = np.dtype(dtype)
    if dtype.name in DIGITS:
        span = (1 << DIGITS[dtype.name]) + 1
    else:
        span = 2 if dtype == bool else int(np.iinfo(dtype).max) + 1
    if dtype.itemsize == 8:
        kernel = lambda g, n: _remainder(g.u64(n), span).view(np.int64)  # noqa: E731
    else:
        kernel = lambda g, n: _remainder(g.u32(n), span).astype(f32 if dtype.kind in "fV" else dtype)  # noqa: E731
    return _chunked(g, shape, dtype, kernel)


def _swap_targets(g, n):
    """Step i of the shuffle swaps places i and j[i] >= i; the last place draws nothing."""
    j = np.arange(n, dtype=np.uint32)
    if n > 1:
        j[:-1] += g.u32(n - 1) % np.arange(n, 1, -1, dtype=np.uint32)
    return j.view(np.int32)


def _shuffled(j):
    """What the swaps (i, j[i]) for i = 0, 1, ... make of 0, 1, ..., n - 1, without a loop over them.

    Write v(i) for the number at place i when step i comes. Place p gets a new number at step i only
    where j[i] == p, and it is v(i). So v(i) is i, or v of the last step before i that aimed at i; and
    the number that step i fetches is j[i], or v of the last step before i that aimed at j[i] too. Equal
    aims are found by sorting, the chains of v (logarithmically deep) by pointer doubling.
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
    j = _swap_targets(g, n)
    if n > 700:
        return _shuffled(j).astype(dtype)
    out = list(range(n))
    for i, aim in enumerate(j.tolist()):
        out[i], out[aim] = out[aim], out[i]
    return np.array(out, np.int64).astype(dtype)


def bernoulli(g, shape, p, dtype=f32):
    """bernoulli_(p), bernoulli(p): 1 with probability p.

    A number p is compared with doubles, as is an array p of float64; arrays of the other float types
    (already of the result's shape) with 24-bit uniforms.
    """
    if not isinstance(p, np.ndarray):
        return _chunked(g, shape, np.dtype(dtype), lambda g, n: _below(g, n, p))
    draw = _double if p.dtype == f64 else _single
    p = p.reshape(-1) if p.dtype == f64 else p.astype(f32).reshape(-1)
    return (draw(g, p.size) < p).astype(dtype).reshape(shape)


def _below(g, n, p):
    """_double(g, n) < p on whole words: the 21 high bits nearly always decide."""
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
    """Slopes of rrelu in training: uniform in [lower, upper) where x <= 0 (only there drawn), else 1."""
    out = np.ones(x.shape, x.dtype)
    negative = x <= 0
    out[negative] = uniform(g, int(np.count_nonzero(negative)), lower, upper, f64)
    return out


# -- samplers that reject: one number after another -----------------------------------------------


class _Doubles:
    """Uniform doubles, and normals made of them, one at a time; unused words go back at the end."""

    def __init__(self, g, about):
        self.g, self.about, self.left = g, about, []

    def __enter__(self):
        self.g.lock.acquire()
        return self

    def __exit__(self, *_):
        self.g.rewind(2 * len(self.left))
        self.g.lock.release()

    def uniform(self):
        if not self.left:  # never more than the block holds, so that it can be given back
            size = max(1, min(self.about, self.g.remaining // 2))
            self.left = _double(self.g, size)[::-1].tolist()
        return self.left.pop()

    def normal(self):
        kept = self.g.next_normal
        if kept is not None:
            self.g.next_normal = None
            return kept
        u1, u2 = self.uniform(), self.uniform()
        radius, angle = math.sqrt(-2.0 * math.log1p(-u2)), 2.0 * math.pi * u1
        self.g.next_normal = radius * math.sin(angle)
        return radius * math.cos(angle)


def _sample(g, sampler, about, *parameters):
    """sampler(draws, *numbers) for every element, in order; float64."""
    parameters = np.broadcast_arrays(*(p.astype(f64) for p in parameters))
    with _Doubles(g, min(1 << 20, about * parameters[0].size + 2)) as draws:
        columns = [p.ravel().tolist() for p in parameters]
        out = [sampler(draws, *numbers) for numbers in zip(*columns, strict=True)]
    return np.array(out, f64).reshape(parameters[0].shape)


def _poisson(draws, rate):
    """Products of uniforms below 10; above, Hormann's transformed rejection (PTRS, 1993)."""
    uniform = draws.uniform
    if rate < 10:
        if rate == 0:
            return 0.0
        bound, product, count = math.exp(-rate), 1.0, 0
        while True:
            product *= uniform()
            if product <= bound:
                return count
            count += 1
    root = math.sqrt(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    bound = 0.9277 - 3.6224 / (b - 2)
    while True:
        u = uniform() - 0.5
        v = uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= bound:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        left = math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if left <= -rate + k * math.log(rate) - math.lgamma(k + 1):
            return k


def poisson(g, rate):
    """poisson(rate): counts, in the type of the array `rate`."""
    return cast(_sample(g, _poisson, 8, rate), rate.dtype)


_STIRLING = (0.0810614667953272, 0.0413406959554092, 0.0276779256849983, 0.0207906721037650,
             0.0166446911898211, 0.0138761288230707, 0.0118967099458917, 0.0104112652619720,
             0.00925546218271273, 0.00833056343336287)  # fmt: skip


def _stirling_tail(k):
    """log k! less Stirling's formula."""
    if k <= 9:
        return _STIRLING[int(k)]
    square = (k + 1) * (k + 1)
    return (1.0 / 12 - (1.0 / 360 - 1.0 / 1260 / square) / square) / (k + 1)


def _binomial_small(draws, count, p):
    """Adds up geometric waiting times."""
    total, successes, scale = 0.0, 0, math.log1p(-p)
    while True:
        u = draws.uniform()
        total += math.ceil((math.log(u) if u else -math.inf) / scale)
        if total > count:
            return successes
        successes += 1


def _binomial_large(draws, count, p):
    """Hormann's transformed rejection (BTRS, 1993)."""
    spread = math.sqrt(count * p * (1 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = count * p + 0.5
    bound = 0.92 - 4.2 / b
    r = p / (1 - p)
    alpha = (2.83 + 5.1 / b) * spread
    m = math.floor((count + 1) * p)
    while True:
        u = draws.uniform() - 0.5
        v = draws.uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + c)
        if k < 0 or k > count:
            continue
        if us >= 0.07 and v <= bound:
            return k
        v = math.log(v * alpha / (a / (us * us) + b))
        limit = (
            (m + 0.5) * math.log((m + 1) / (r * (count - m + 1)))
            + (count + 1) * math.log((count - m + 1) / (count - k + 1))
            + (k + 0.5) * math.log(r * (count - k + 1) / (k + 1))
            + _stirling_tail(m) + _stirling_tail(count - m) - _stirling_tail(k) - _stirling_tail(count - k)
        )
        if v <= limit:
            return k


def _binomial(draws, count, p):
    if count <= 0 or p <= 0:
        return 0.0
    if p >= 1:
        return count
    if p > 0.5:
        return count - _binomial(draws, count, 1 - p)
    return (_binomial_large if count * p >= 10 else _binomial_small)(draws, count, p)


def binomial(g, count, p):
    """binomial(count, p): successes, in the type of the array `count`."""
    return cast(_sample(g, _binomial, 8, count, p), count.dtype)


def _gamma(draws, alpha):
    """Marsaglia and Tsang (2000); below 1 by the power of a uniform."""
    scale = 1.0
    if alpha < 1:
        if alpha == 0:
            return 0.0
        scale = math.pow(1 - draws.uniform(), 1 / alpha)
        alpha += 1
    d = alpha - 1 / 3
    c = 1 / math.sqrt(9 * d)
    while True:
        y = 0.0
        while y <= 0:
            x = draws.normal()
            y = 1 + c * x
        v = y * y * y
        u = 1 - draws.uniform()
        xx = x * x
        if u < 1 - 0.0331 * xx * xx or math.log(u) < 0.5 * xx + d * (1 - v + math.log(v)):
            return scale * d * v


def standard_gamma(g, alpha):
    """_standard_gamma(alpha): Gamma(alpha, 1), in the type of the array `alpha`."""
    smallest = ml_dtypes.finfo(alpha.dtype).smallest_normal
    out = cast(_sample(g, _gamma, 4, alpha), alpha.dtype)
    return np.maximum(out, smallest)


def dirichlet(g, alpha):
    """_sample_dirichlet(alpha): gammas divided by their sum over the last axis."""
    x = _sample(g, _gamma, 4, alpha)
    x /= x.sum(-1, keepdims=True)
    return cast(x, alpha.dtype)


def multinomial(g, weights, n, replacement=False):
    """n category numbers (int64) for each row of `weights` (1-d or 2-d, not normalised).

    Without replacement, or for n = 1: the n largest of weight / exponential. With replacement: bisection
    of the running sum.
    """
    if not replacement or n == 1:
        q = exponential(g, weights.shape, 1.0, weights.dtype)
        q = (weights / q).astype(weights.dtype)
        if n == 1:
            return q.argmax(-1, keepdims=True)
        return np.argsort(-q, axis=-1, kind="stable")[..., :n]
    kind = weights.dtype if weights.dtype.itemsize > 2 else np.dtype(f32)
    rows = np.atleast_2d(weights).astype(kind)
    sums = np.cumsum(rows, -1, dtype=kind)
    sums /= sums[:, -1:].copy()
    sums[:, -1] = 1
    u = _double(g, rows.shape[0] * n).reshape(-1, n)
    out = np.stack([np.searchsorted(s.astype(f64), v) for s, v in zip(sums, u, strict=True)])
    return out.astype(np.int64).reshape(*weights.shape[:-1], n)
