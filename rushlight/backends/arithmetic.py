"""Arithmetic with the last digits of C: what NumPy alone would round otherwise.

Three needs: the C library's functions in double (NumPy replaces some by vector code on some
processors), fused multiply-adds in double and in float32, and Cephes' single-precision logarithm,
sine and cosine as PyTorch's vector code computes them, step by step with fused multiply-adds.

Invariants.  Everything is elementwise and allocates its result; callers feed chunks that fit the
cache. A float32 fused multiply-add is an exact double product and a double sum, rounded again to
float32: about one in 10**9 ends one last bit off.
"""

import math
import struct

import numpy as np

f32, f64 = np.float32, np.float64


_libm = {}
_PROBE = {"exp": (-10, 10), "cos": (0, 2 * math.pi), "sin": (0, 2 * math.pi),
          "tan": (-1.57, 1.57), "log": (0, 1), "log1p": (-1, 0)}  # fmt: skip


def _one_by_one(vector, scalar):
    def f(x):
        try:
            return np.fromiter(map(scalar, x.ravel().tolist()), f64, x.size).reshape(x.shape)
        except (ValueError, OverflowError):  # log(0), exp(1000): exact by any means
            return vector(x)

    return f


def libm(name):
    """exp, log, log1p, cos, sin or tan of float64 arrays with the C library's digits.

    NumPy calls the C library for these or, on some processors, its own vector code, whose last bit
    differs now and then. 4096 points are tried; where they differ `math` is called for each number.
    """
    f = _libm.get(name)
    if f is None:
        f, scalar = getattr(np, name), getattr(math, name)
        low, high = _PROBE[name]
        x = np.linspace(low, high, 4098)[1:-1] + 1e-7
        if not np.array_equal(f(x), [scalar(v) for v in x.tolist()]):
            f = _one_by_one(f, scalar)
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


def _fma_parts(x, y, z):
    """x * y + z as three numbers whose sum is exact: the largest, and two that are far smaller."""
    product = x * y
    xh, xl = _split(x)
    yh, yl = _split(y)
    error = ((xh * yh - product) + xh * yl + xl * yh) + xl * yl
    high, low = _two_sum(z, error)
    top, middle = _two_sum(product, high)
    return top, *_two_sum(low, middle)


def _fma_number(x, y, z):
    top, odd, rest = _fma_parts(x, y, z)
    if rest:
        if not struct.unpack("<q", struct.pack("<d", odd))[0] & 1:
            odd = math.nextafter(odd, math.copysign(math.inf, rest))
    return top + odd


def fma64(x, y, z):
    """x * y + z rounded once, for a float64 array x and numbers y and z.

    Error-free product and sums; the two low parts are added with rounding to odd, so that the last
    addition rounds as if it saw all digits (Boldo and Melquiond, "Emulation of a FMA and correctly
    rounded sums", 2008). No care for overflow or subnormal numbers.
    """
    y, z = float(y), float(z)
    if x.size < 64:
        return np.array([_fma_number(v, y, z) for v in x.ravel().tolist()], f64).reshape(x.shape)
    top, odd, rest = _fma_parts(x, y, z)
    fix = (rest != 0) & ((odd.view(np.int64) & 1) == 0)
    if fix.any():
        odd[fix] = np.nextafter(odd[fix], np.where(rest[fix] > 0, math.inf, -math.inf))
    top += odd
    return top


def affine64(x, scale, shift):
    """x * scale + shift rounded once, the common cases without effort."""
    if shift == 0.0:
        return x if scale == 1.0 else x * scale
    return x + shift if scale == 1.0 else fma64(x, scale, shift)


def fma32(x, y, z):
    """float32 x * y + z, for an array x."""
    out = x.astype(f64)
    out *= y
    out += z
    return out.astype(f32)


def _horner(x64, coefficients):
    """Polynomial in float32 fused multiply-adds, highest power first; x is given as float64."""
    y, single = x64 * coefficients[0], np.empty(x64.shape, f32)
    for c in coefficients[1:-1]:
        y += c
        single[...] = y  # the rounding of the fused step; back in float64 the next product is exact
        y[...] = single
        y *= x64
    y += coefficients[-1]
    single[...] = y
    return single


def _c(*numbers):
    return [float(f32(v)) for v in numbers]


# fmt: off
_LOG = _c(7.0376836292E-2, -1.1514610310E-1, 1.1676998740E-1, -1.2420140846E-1, 1.4249322787E-1,
          -1.6668057665E-1, 2.0000714765E-1, -2.4999993993E-1, 3.3333331174E-1)
_COS = _c(2.443315711809948E-005, -1.388731625493765E-003, 4.166664568298827E-002)
_SIN = _c(-1.9515295891E-4, 8.3321608736E-3, -1.6666654611E-1)
_PI4 = _c(-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)  # -pi/4 in three parts
# fmt: on


def log32(x):
    """Cephes logf of positive normal float32 numbers."""
    bits = x.view(np.int32)
    exponent = ((bits >> 23) - 126).astype(f32)
    x = ((bits & 0x007FFFFF) | 0x3F000000).view(f32)
    small = (x < f32(0.707106781186547524)).astype(f32)
    exponent -= small
    small *= x
    x = x - f32(1)
    x += small
    z = x * x
    y = _horner(x.astype(f64), _LOG)
    y *= x
    y = fma32(y, z, exponent * f32(-2.12194440e-4))
    z *= f32(0.5)
    y -= z
    x += y
    return fma32(exponent, f32(0.693359375), x)


def sincos32(x):
    """Cephes sinf and cosf of float32 numbers in [0, 8192)."""
    j = (x * f32(1.27323954473516)).astype(np.int32)
    j += 1
    j &= ~1
    octant = j.astype(f64)
    for part in _PI4:
        x = (octant * part + x).astype(f32)
    z = x * x
    z64 = z.astype(f64)
    cos = _horner(z64, _COS)
    cos *= z
    cos = fma32(cos, z, z * f32(-0.5))
    cos += f32(1)
    sin = _horner(z64, _SIN)
    sin *= z
    sin = fma32(sin, x, x)
    # In half of the octants the two change places; the signs are moved in as bits.
    s, c = sin.view(np.int32), cos.view(np.int32)
    swapped = (s ^ c) & -((j >> 1) & 1)
    s ^= swapped
    c ^= swapped
    s ^= (j & 4) << 29
    c ^= ((j + 2) & 4) << 29
    return sin, cos
