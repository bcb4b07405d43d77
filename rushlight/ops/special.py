"""The rows of torch.special: special functions of one or two numbers.

Rows without a formula are those that PyTorch does not differentiate either. Formulas reach the other rows by
`x._special("row")`.
"""

from __future__ import annotations

import math

from rushlight.ops.op import MISSING
from rushlight.ops.pointwise import pointwise

_REAL = "bif"
_SQRT_2, _SQRT_PI, _SQRT_2PI = math.sqrt(2), math.sqrt(math.pi), math.sqrt(2 * math.pi)


def _i1_back(g, x, out):
    small = x.abs() < 1e-8
    safe = x.masked_fill(small, 1)
    return g * (x._special("i0") - out / safe).where(~small, 0.5)


def _i1e_back(g, x, out):
    small = x.abs() < 1e-8
    safe = x.masked_fill(small, 1)
    return g * (x._special("special_i0e") - out * (safe.sgn() + 1 / safe)).where(~small, 0.5)


def _entr(s, x):
    positive = s.where(x > 0, x, 1)
    return s.where(x > 0, -x * s.log(positive), s.where(x == 0, s.abs(x), s.where(x == x, -math.inf, x)))


def _gamma_density(g, x, a):
    """g times the derivative of the lower regularized incomplete gamma function P(a, x) by x."""
    return g * ((a - 1) * x.log() - x - a.lgamma()).exp()


def _mvlgamma(s, x, p):
    out = p * (p - 1) / 4 * math.log(math.pi)
    for i in range(p):
        out = s.lgamma(x - i / 2) + out
    return out


def _mvlgamma_back(g, x, p):
    slope = x.digamma()
    for i in range(1, p):
        slope = slope + (x - i / 2).digamma()
    return g * slope


def _xlog1py_x(g, x, y):
    y = y if hasattr(y, "log1p") else x.new_tensor(y)
    return (g * y.log1p()).where((x != 0) | (y > -1) | y.isnan(), 0)


# fmt: off
pointwise("i0",               lambda s, x: s.i0(x),        lambda g, x: g * x._special("special_i1"),                          result="float", dtypes=_REAL)
pointwise("special_i0e",      lambda s, x: s.i0e(x),       lambda g, x, out: g * (x._special("special_i1e") - x.sgn() * out),  result="float", dtypes=_REAL, node="SpecialI0EBackward0")
pointwise("special_i1",       lambda s, x: s.i1(x),        _i1_back,                                                           result="float", dtypes=_REAL)
pointwise("special_i1e",      lambda s, x: s.i1e(x),       _i1e_back,                                                          result="float", dtypes=_REAL, node="SpecialI1EBackward0")
pointwise("special_entr",     _entr,                       lambda g, x: g * -(x.log() + 1),                                    result="float", dtypes=_REAL, domain=(.1, 3), stepwise=True)
pointwise("special_erfcx",    lambda s, x: s.erfcx(x),     lambda g, x, out: g * (2 * x * out - 2 / _SQRT_PI),                 result="float", dtypes=_REAL)
pointwise("special_ndtr",     lambda s, x: (1 + s.erf(x * math.sqrt(.5))) * .5, lambda g, x: g * ((x * x * -0.5).exp() / _SQRT_2PI), result="float", dtypes=_REAL, node="MulBackward1")
pointwise("special_log_ndtr", lambda s, x: s.log_ndtr(x),  lambda g, x: g / (x / -_SQRT_2)._special("special_erfcx") * math.sqrt(2 / math.pi), result="float", dtypes=_REAL)
pointwise("special_ndtri",    lambda s, x: s.ndtri(x),     lambda g, out: g * ((out * out * 0.5).exp() * _SQRT_2PI),           result="float", dtypes=_REAL, domain=(.1, .9))
pointwise("special_xlog1py",  lambda s, x, y: s.where((x == 0) & (y == y), x * 0, x * s.log1p(y)), _xlog1py_x, lambda g, x, y: g * (x / (y + 1)), result="float", dtypes=_REAL, domain=(.5, 3), node="SpecialXlog1PyBackward0")
pointwise("special_zeta",     lambda s, x, y: s.zeta(x, y), MISSING, lambda g, x, y: g * (y._zeta_at(x + 1) * -x), result="float", dtypes=_REAL, domain=(1.5, 4))
pointwise("igamma",           lambda s, x, y: s.igamma(x, y),  MISSING, lambda g, x, y: _gamma_density(g, y, x),  dtypes="f", scalars=False, domain=(.5, 3))
pointwise("igammac",          lambda s, x, y: s.igammac(x, y), MISSING, lambda g, x, y: -_gamma_density(g, y, x), dtypes="f", scalars=False, domain=(.5, 3))
pointwise("mvlgamma",         _mvlgamma,                   _mvlgamma_back, inputs=("x",),                                      result="float", dtypes=_REAL, domain=(3, 6))
#: PyTorch knows no derivative of these, and no half types
UNDIFFERENTIATED = tuple(pointwise("special_" + name, body, result="float", dtypes=_REAL) for name, body in {
    "airy_ai":                        lambda s, x: s.airy_ai(x),
    "bessel_j0":                      lambda s, x: s.bessel_j0(x),
    "bessel_j1":                      lambda s, x: s.bessel_j1(x),
    "bessel_y0":                      lambda s, x: s.bessel_y0(x),
    "bessel_y1":                      lambda s, x: s.bessel_y1(x),
    "modified_bessel_i0":             lambda s, x: s.i0(x),
    "modified_bessel_i1":             lambda s, x: s.i1(x),
    "modified_bessel_k0":             lambda s, x: s.bessel_k0(x),
    "modified_bessel_k1":             lambda s, x: s.bessel_k1(x),
    "scaled_modified_bessel_k0":      lambda s, x: s.bessel_k0e(x),
    "scaled_modified_bessel_k1":      lambda s, x: s.bessel_k1e(x),
    "spherical_bessel_j0":            lambda s, x: s.spherical_bessel_j0(x),
    "chebyshev_polynomial_t":         lambda s, x, n: s.chebyshev_t(x, n),
    "chebyshev_polynomial_u":         lambda s, x, n: s.chebyshev_u(x, n),
    "chebyshev_polynomial_v":         lambda s, x, n: s.chebyshev_v(x, n),
    "chebyshev_polynomial_w":         lambda s, x, n: s.chebyshev_w(x, n),
    "hermite_polynomial_h":           lambda s, x, n: s.hermite_h(x, n),
    "hermite_polynomial_he":          lambda s, x, n: s.hermite_he(x, n),
    "laguerre_polynomial_l":          lambda s, x, n: s.laguerre_l(x, n),
    "legendre_polynomial_p":          lambda s, x, n: s.legendre_p(x, n),
    "shifted_chebyshev_polynomial_t": lambda s, x, n: s.chebyshev_t(2 * x - 1, n),
    "shifted_chebyshev_polynomial_u": lambda s, x, n: s.chebyshev_u(2 * x - 1, n),
    "shifted_chebyshev_polynomial_v": lambda s, x, n: s.chebyshev_v(2 * x - 1, n),
    "shifted_chebyshev_polynomial_w": lambda s, x, n: s.chebyshev_w(2 * x - 1, n),
}.items())
# fmt: on
