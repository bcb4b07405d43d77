"""NumPy as a scalar language: the names that pointwise bodies use, on arrays.

Every function takes arrays of one dtype (the spec's compute dtype) and gives PyTorch's result for it: integer floor
division rounds down, maximum keeps NaN, shifts by more than the width do not wrap. Special functions come from SciPy
where it is installed, else from core/special.py; a few need SciPy.
"""

from __future__ import annotations

import math

import numpy as np

from rushlight.core import special
from rushlight.core.optional import scipy_special

_U = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def _integer(x):
    return np.asarray(x).dtype.kind in "iub"


_BLOCK = 1 << 14  # elements: float64 temporaries of this size stay in the cache


def _fma_blocks(x, y, z):
    out = np.empty(x.shape, np.float32)
    flat, xs, zs = out.reshape(-1), x.reshape(-1), z.reshape(-1)
    ys = y.reshape(-1) if isinstance(y, np.ndarray) and y.ndim else np.float32(y)
    wide = np.empty(_BLOCK, np.float64)
    for start in range(0, flat.size, _BLOCK):
        stop = min(start + _BLOCK, flat.size)
        w = wide[: stop - start]
        np.multiply(xs[start:stop], ys[start:stop] if ys.ndim else ys, out=w, dtype=np.float64)
        np.add(w, zs[start:stop], out=w)
        flat[start:stop] = w
    return out


class NumPyScalars:
    """The scalar language read by NumPy."""

    exp, exp2, expm1, log, log2, log10, log1p = np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p
    sin, cos, tan, sinh, cosh, tanh = np.sin, np.cos, np.tan, np.sinh, np.cosh, np.tanh
    asin, acos, atan, asinh, acosh, atanh = np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arccosh, np.arctanh
    sqrt, abs, where, atan2, hypot = np.sqrt, np.abs, np.where, np.arctan2, np.hypot
    maximum, minimum, fmax, fmin = np.maximum, np.minimum, np.fmax, np.fmin  # of equal operands the second where there are vector units
    copysign, nextafter = np.copysign, np.nextafter
    logaddexp2, isinf, isfinite, signbit = np.logaddexp2, np.isinf, np.isfinite, np.signbit
    gcd, lcm, conj = np.gcd, np.lcm, np.conj

    @staticmethod
    def heaviside(x, y):
        return np.heaviside(x, y) if x.dtype.kind == "f" else np.where(x == 0, y, x > 0).astype(x.dtype)

    @staticmethod
    def fma(x, y, z):
        """x * y + z, in float32 rounded once as PyTorch's vector units do (float64 holds the product exactly)."""
        dtype = z.dtype if isinstance(z, np.ndarray) else x.dtype
        if dtype != np.float32:
            return x * (y if isinstance(y, np.ndarray) else NumPyScalars.like(x, y)) + z
        if isinstance(x, np.ndarray) and x.size > _BLOCK and x.flags.c_contiguous and z.flags.c_contiguous and x.shape == z.shape and (not np.ndim(y) or y.shape == x.shape and y.flags.c_contiguous):
            return _fma_blocks(x, y, z)
        if not isinstance(y, np.ndarray):
            out = x.astype(np.float64) * float(np.float32(y))
        else:
            out = x.astype(np.float64) * y.astype(np.float64)
        return (out + z.astype(np.float64)).astype(np.float32)

    @staticmethod
    def rounded(x, dtype):
        """x as `dtype` holds it, in the type of x."""
        return x.astype(dtype.np).astype(x.dtype)

    @staticmethod
    def like(x, number):
        """A Python number in the type of x."""
        return np.array(number).astype(x.dtype)[()] if _integer(x) else x.dtype.type(number)

    @staticmethod
    def ceil(x):
        return x if _integer(x) else np.ceil(x)

    @staticmethod
    def floor(x):
        return x if _integer(x) else np.floor(x)

    @staticmethod
    def trunc(x):
        return x if _integer(x) else np.trunc(x)

    @staticmethod
    def round(x):
        return x if _integer(x) else np.rint(x)

    @staticmethod
    def sign(x):
        """-1, 0 or 1; 0 of NaN."""
        if x.dtype.kind != "f":
            return x if x.dtype == bool else np.sign(x)
        out = np.asarray(np.sign(x))
        out[out != out] = 0
        return out

    @staticmethod
    def sgn(x):
        if x.dtype.kind != "c":
            return NumPyScalars.sign(x)
        size = np.abs(x)
        return np.where(size == 0, 0, x / np.where(size == 0, 1, size)).astype(x.dtype)

    @staticmethod
    def angle(x):
        if x.dtype.kind == "c":
            return np.angle(x)
        return np.where(np.isnan(x), x, np.where(x < 0, np.array(math.pi, x.dtype), np.array(0, x.dtype)))

    @staticmethod
    def pow(x, y):
        if _integer(x) and _integer(y):
            if np.any(np.asarray(y) < 0):
                if not isinstance(y, np.ndarray):
                    raise RuntimeError("Integers to negative integer powers are not allowed; convert to float first, such as x.float() ** -1")
                # a negative power of an integer is 1 for 1, +-1 for -1 and 0 for the rest
                odd = np.where(y % 2 == 0, 1, -1).astype(x.dtype)
                return np.where(y >= 0, np.power(x, np.maximum(y, 0)), np.where(x == 1, 1, np.where(x == -1, odd, 0)))
            return np.power(x, y)
        if not np.ndim(y):
            e = complex(y) if np.iscomplexobj(y) else float(y)
            if e == 2.0:
                return x * x
            if e == 3.0:
                return x * x * x
            if e == 0.5:
                return np.sqrt(x)
            if e == -1.0:
                return 1 / x
            if e == -2.0:
                return 1 / (x * x)
            if e == -0.5:
                return 1 / np.sqrt(x)
        return np.power(x, y)

    @staticmethod
    def floordiv(x, y):
        if _integer(x):
            _no_zero(y)
        return np.floor_divide(x, y)

    @staticmethod
    def truncdiv(x, y):
        if not _integer(x):
            return np.trunc(x / y)
        _no_zero(y)
        q = np.floor_divide(x, y)
        return q + ((q < 0) & (q * y != x)).astype(q.dtype)

    @staticmethod
    def fmod(x, y):
        if _integer(x):
            _no_zero(y)
        return np.fmod(x, y)

    @staticmethod
    def remainder(x, y):
        if _integer(x):
            _no_zero(y)
            return np.remainder(x, y)
        r = np.fmod(x, y)
        return np.where((r != 0) & ((r < 0) != (y < 0)), r + y, r)

    @staticmethod
    def logaddexp(x, y):
        if not np.iscomplexobj(x):
            return np.logaddexp(x, y)
        first = x.real >= y.real
        high, low = np.where(first, x, y), np.where(first, y, x)
        return np.where(high == -np.inf, high, high + np.log1p(np.exp(low - high)))

    @staticmethod
    def shl(x, y):
        width = x.dtype.itemsize * 8
        bad = (y < 0) | (y >= width)
        return np.where(bad, 0, np.left_shift(x, np.where(bad, 0, y))).astype(x.dtype)

    @staticmethod
    def shr(x, y):
        width = x.dtype.itemsize * 8
        last = width - 1
        return np.right_shift(x, np.where((y < 0) | (y >= width), last, y).astype(x.dtype))

    @staticmethod
    def nan_to_num(x, nan, posinf, neginf):
        return np.nan_to_num(x, nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)

    # ---- special functions: the table below adds those that are one call
    @staticmethod
    def digamma(x):
        out = _special("digamma", special.digamma)(x)
        return np.where(x == 0, np.copysign(np.inf, -x), out)

    @staticmethod
    def erfinv(x):
        return np.copysign(_special("erfinv", special.erfinv)(x), x)  # SciPy gives 0. for -0.

    @staticmethod
    def polygamma(n, x):
        return special.polygamma(n, x)

    @staticmethod
    def airy_ai(x):
        return scipy_special("airy_ai").airy(x)[0]


def _no_zero(y):
    if not np.all(y):
        raise RuntimeError("ZeroDivisionError: an integer was divided by zero; convert to float first if inf or nan is wanted")


def _special(name, fallback=None):
    """SciPy's function `name`; without SciPy `fallback`, or the error that says how to install it."""

    def f(*arrays):
        scipy = scipy_special(name, optional=fallback is not None)
        return (fallback if scipy is None else getattr(scipy, name))(*arrays)

    return f


def _own(names):
    for name in names.split():
        setattr(NumPyScalars, name, staticmethod(getattr(special, name)))


#: the scalar language's name, SciPy's name, what stands in for it
for _name, _scipy, _fallback in (
    ("erfc", "erfc", special.erfc), ("erfcx", "erfcx", special.erfcx),
    ("lgamma", "gammaln", special.lgamma), ("zeta", "zeta", special.zeta), ("i0", "i0", special.i0), ("i0e", "i0e", special.i0e),
    ("i1", "i1", special.i1), ("i1e", "i1e", special.i1e), ("log_ndtr", "log_ndtr", special.log_ndtr),
    ("ndtri", "ndtri", None), ("igamma", "gammainc", None), ("igammac", "gammaincc", None),
    ("bessel_j0", "j0", None), ("bessel_j1", "j1", None), ("bessel_y0", "y0", None), ("bessel_y1", "y1", None),
    ("bessel_k0", "k0", None), ("bessel_k1", "k1", None), ("bessel_k0e", "k0e", None), ("bessel_k1e", "k1e", None),
):  # fmt: skip
    setattr(NumPyScalars, _name, staticmethod(_special(_scipy, _fallback)))
_own("erf chebyshev_t chebyshev_u chebyshev_v chebyshev_w hermite_h hermite_he laguerre_l legendre_p spherical_bessel_j0")
