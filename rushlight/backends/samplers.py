"""Distributions that are sampled by trial, one number after another, and multinomial.

Mechanism.  How many words such a sampler takes depends on the words, so the numbers of an array
are made one by one from a queue of doubles (`_Doubles`), in Python, about a microsecond each.
All is in double, with the constants and the order of operations that PyTorch's kernels have;
`core.generator` and `streams` say how doubles and normals are drawn.

Invariants.  Parameters are arrays of the result's shape, already validated.  The queue only ever
holds words of the generator's current block, so that what is not used can be given back.

Not exact, and why:
- Ties in `multinomial` without replacement (equal quotients: categories of weight 0, often
  float16 and bfloat16) come in index order; PyTorch's follow its sorting algorithm.
- `dirichlet` in float64 with more than three categories: the order in which PyTorch adds them
  depends on the processor, so the last digit may differ.
"""

import math

import numpy as np

from rushlight.backends.streams import cast, doubles, exponential

f32, f64 = np.float32, np.float64


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
            self.left = doubles(self.g, size)[::-1].tolist()
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
            + (_stirling_tail(m) + _stirling_tail(count - m))
            - (_stirling_tail(k) + _stirling_tail(count - k))
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


def _gamma(draws, scale, d):
    """Marsaglia and Tsang (2000) for d = alpha - 1/3; below alpha = 1 times a power of a uniform.

    scale: that power's exponent, or 0. A negative d stands for alpha = 0.
    """
    if scale:
        scale = math.pow(1 - draws.uniform(), scale)
    elif d < 0:
        return 0.0
    else:
        scale = 1.0
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


def _gammas(g, alpha):
    """Gammas in double, their parameters worked out in alpha's type, as PyTorch does."""
    one, third = alpha.dtype.type(1), alpha.dtype.type(f32(1) / f32(3))
    boosted = alpha < 1
    power = np.divide(one, alpha, out=np.zeros_like(alpha), where=boosted & (alpha > 0))
    d = np.where(alpha > 0, np.where(boosted, alpha + one, alpha) - third, -one)
    return _sample(g, _gamma, 4, power, d)


def standard_gamma(g, alpha):
    """_standard_gamma(alpha): Gamma(alpha, 1), in the type of `alpha` (float32 or float64)."""
    return np.maximum(cast(_gammas(g, alpha), alpha.dtype), np.finfo(alpha.dtype).tiny)


def dirichlet(g, alpha):
    """_sample_dirichlet(alpha): gammas divided by their sum over the last axis."""
    x = _gammas(g, alpha.astype(f64))
    x = cast(x / x.sum(-1, keepdims=True), alpha.dtype)
    one = alpha.dtype.type(1)
    return x.clip(np.finfo(alpha.dtype).tiny, np.nextafter(one, 0 * one))


def multinomial(g, weights, n, replacement=False):
    """n category numbers (int64) for each row of `weights` (1-d or 2-d, not normalised).

    Without replacement, or for n = 1: the n largest of weight / exponential. With replacement:
    bisection of the running sum.
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
    u = doubles(g, rows.shape[0] * n).reshape(-1, n)
    out = np.stack([np.searchsorted(s.astype(f64), v) for s, v in zip(sums, u, strict=True)])
    return out.astype(np.int64).reshape(*weights.shape[:-1], n)
