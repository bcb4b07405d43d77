"""Special functions in NumPy: what SciPy would give, for installations without it and for functions it lacks.

Everything is vectorised and computed in float64, in blocks that stay in the cache (`blocked`). Tables are Chebyshev
coefficients, computed to 50 digits from the functions themselves; a sum of them is evaluated by Clenshaw's rule.

Sources: J. Stirling's series and the reflection formula for lgamma and digamma; L. Euler and C. Maclaurin's summation for
the Hurwitz zeta function; M. Giles, Approximating the erfinv function (2012), refined by Halley's rule; three-term
recurrences for the orthogonal polynomials (DLMF 18.9).
"""

from __future__ import annotations

import functools
import math

import numpy as np

from rushlight.core.optional import scipy_special

# fmt: off
#: erfcx(x) / t over t = 4 / (4 + x) in [0, 1], for x >= 0
_ERFCX = (
    0.40802446954913146, 0.37635823567636745, 0.14758035457222363, 0.049571317930027586, 0.014227107557117175,
    0.003443493262717524, 0.000682254183283808, 0.00010340451975756189, 9.72854595199015e-06,
    -1.1988713758412045e-07, -2.1747767703449563e-07, -3.0291767735991394e-08, 9.47991756520455e-10,
    8.633411694990956e-10, 6.872156425953403e-11, -1.7034898438296277e-11, -3.3921306868290887e-12,
    2.6158087668540244e-13, 1.212767580310864e-13, -2.114689543244809e-15, -4.117340933404178e-15,
    -6.328712721700708e-17, 1.4393110983449846e-16, 4.5614947982841305e-18, -5.339094257978135e-18,
    -1.7350920089597044e-19, 2.1088756431173547e-19,
)
#: erf(x) / x over x^2 in [0, 1]
_ERF = (
    0.9754769393826541, -0.14226120510371365, 0.010035582187599796, -0.0005768764699767485, 2.741993125219606e-05,
    -1.1043175507344507e-06, 3.8488755420345036e-08, -1.1808582533875466e-09, 3.2334215826050907e-11,
    -7.991015947004549e-13, 1.7990725113961456e-14, -3.718635487818693e-16, 7.103599003714253e-18,
    -1.2612455119155226e-19,
)
#: exp(-x) I0(x) over [0, 8]; sqrt(x) exp(-x) I0(x) over 1 / x in [0, 1/8]; the same for I1, the first of them divided by x
_I0_LOW = (
    0.33839763720473803, -0.3046826723431984, 0.17162090152220877, -0.09490109704804764, 0.04930528423967071,
    -0.02373741480589947, 0.010546460394594998, -0.004324309995050576, 0.0016394756169413357,
    -0.0005763755745385824, 0.00018850288509584165, -5.754195010082104e-05, 1.6448448070728896e-05,
    -4.4167383584587505e-06, 1.1173875391201037e-06, -2.670793853940612e-07, 6.046995022541919e-08,
    -1.300025009986248e-08, 2.6598237246823866e-09, -5.189795601635263e-10, 9.675809035373237e-11,
    -1.726826291441556e-11, 2.95505266312964e-12, -4.856446783111929e-13, 7.676185498604936e-14,
    -1.1685332877993451e-14, 1.715391285555133e-15, -2.431279846547955e-16, 3.3307945188222384e-17,
    -4.4153416464793395e-18, 5.669178006921496e-19, -7.057100692457294e-20,
)
_I0_HIGH = (
    0.4022452055070544, 0.0033691164782556943, 6.889758346916825e-05, 2.8913705208347567e-06,
    2.0489185894690638e-07, 2.266668990498178e-08, 3.3962320257083865e-09, 4.94060238822497e-10,
    1.1889147107846439e-11, -3.1499165279632416e-11, -1.3215811840447713e-11, -1.7941785315068062e-12,
    7.180124451383666e-13, 3.8527783827421426e-13, 1.54008621752141e-14, -4.150569347287222e-14,
    -9.554846698828307e-15, 3.8116806693526224e-15, 1.7725601330565263e-15, -3.425485619677219e-16,
    -2.8276239805165836e-16, 3.461222867697461e-17, 4.46562142029676e-17, -4.830504485944182e-18,
    -7.233180487874754e-18, 9.921475412173699e-19, 1.193650890845982e-18, -2.4887098371508075e-19,
    -1.938426454160906e-19, 6.444656697373444e-20,
)
_I1_LOW = (
    0.12629359322181682, -0.17641651835783406, 0.1026436586898471, -0.05294598120809499, 0.024726449030626516,
    -0.010564084894626197, 0.004156422944312888, -0.0015135724506312532, 0.0005122859561685758,
    -0.00016176081582589674, 4.781565107550054e-05, -1.3273163656039436e-05, 3.4702513081376785e-06,
    -8.568720264695455e-07, 2.0032947535521353e-07, -4.445059128796328e-08, 9.381537386495773e-09,
    -1.8872497517228294e-09, 3.625590281552117e-10, -6.663489723502027e-11, 1.1736186298890901e-11,
    -1.9839743977649436e-12, 3.223793365945575e-13, -5.042185504727912e-14, 7.600684294735408e-15,
    -1.1055969477353862e-15, 1.5536319577362005e-16, -2.111421214358166e-17, 2.7779141127610464e-18,
    -3.541581772542136e-19, 4.379302756655071e-20,
)
_I1_HIGH = (
    0.38928811750914005, -0.009761097491361469, -0.00011058893876262371, -3.882564808877691e-06,
    -2.512236237870209e-07, -2.6314688468895196e-08, -3.835380385964237e-09, -5.589743462196584e-10,
    -1.8974958123505413e-11, 3.2526035830154884e-11, 1.4125807436613782e-11, 2.0356285441470896e-12,
    -7.198551776245908e-13, -4.0835511110921974e-13, -2.1015418427726643e-14, 4.272440016711951e-14,
    1.0420276984128802e-14, -3.8144030724370075e-15, -1.8803547755107825e-15, 3.3082023109209285e-16,
    2.96262899764595e-16, -3.209525921993424e-17, -4.6503053684893586e-17, 4.414348323071708e-18,
    7.517296310842105e-18, -9.314178867326884e-19, -1.242193275194891e-18, 2.4142767194548486e-19,
    2.0269443840532852e-19, -6.394267188269098e-20,
)
# fmt: on

_BLOCK = 1 << 13


def blocked(f):
    """f (float64 arrays to float64 array, element by element) as a function of arrays of any float type."""

    @functools.wraps(f)
    def g(x, *others):
        x = np.asarray(x)
        if others:
            x, *others = np.broadcast_arrays(x, *others)
        out = np.empty(x.shape, x.dtype)
        flat = out.reshape(-1)
        sources = [np.ascontiguousarray(v).reshape(-1) for v in (x, *others)]
        with np.errstate(all="ignore"):
            for i in range(0, flat.size, _BLOCK):
                flat[i : i + _BLOCK] = f(*[s[i : i + _BLOCK].astype(np.float64) for s in sources])
        return out

    return g


def _chebyshev(table, y):
    """The sum of table[k] T_k(y), by Clenshaw's rule."""
    twice, a, b = 2 * y, np.zeros_like(y), np.zeros_like(y)
    for c in table[:0:-1]:
        a, b = twice * a - b + c, a
    return y * a - b + table[0]


def _horner(table, x):
    out = np.full_like(x, table[0])
    for c in table[1:]:
        out = out * x + c
    return out


# ---- error functions -------------------------------------------------------------------------------------------


def _erfcx_positive(x):
    t = 4 / (4 + x)
    return t * _chebyshev(_ERFCX, 2 * t - 1)


def _exp_minus_square(x):
    """exp(-x^2), the square split so that its rounding does not count."""
    high = x.astype(np.float32).astype(np.float64)
    return np.exp(-high * high) * np.exp((high - x) * (high + x))


def _pieces(x, inner, f, g):
    """f(x) where `inner`, g(x) elsewhere, each evaluated only where it is wanted."""
    if inner.all():
        return f(x)
    if not inner.any():
        return g(x)
    out = np.empty_like(x)
    out[inner] = f(x[inner])
    out[~inner] = g(x[~inner])
    return out


def _erf_near(x):
    return x * _chebyshev(_ERF, 2 * x * x - 1)


def _erfc_far(x):
    a = np.minimum(np.abs(x), 30.0)
    tail = _exp_minus_square(a) * _erfcx_positive(a)
    return np.where(x < 0, 2 - tail, tail)


#: erf(x) / x as a quotient of polynomials in x^2 on [0, 16], highest power first: 2e-9, a sixtieth of float32's last place
_ERF_OVER = (
    -1.3199745111761589e-08, 4.684222870759881e-06, 0.0003795939661046103, 0.003849805074579777, 0.05431727693677292,
    0.18520932850862584, 1.1283791693625724,
)  # fmt: skip
_ERF_UNDER = (
    6.310540578196848e-05, 0.0013075895555163825, 0.015462425051421962, 0.1139605464443311, 0.49747090715324815, 1.0,
)  # fmt: skip


@blocked
def _erf_single(x):
    """erf to float32's precision: 1 from 4 on."""
    np.clip(x, -4, 4, out=x)
    square = x * x
    over, under = square * _ERF_OVER[0], square * _ERF_UNDER[0]
    for sum_, table in ((over, _ERF_OVER), (under, _ERF_UNDER)):
        for c in table[1:-1]:
            sum_ += c
            sum_ *= square
        sum_ += table[-1]
    x *= over
    x /= under
    return x


def erf(x):
    """The error function: for float32 a quotient that outruns SciPy, for float64 SciPy's where it is installed."""
    if x.dtype != np.float64:
        return _erf_single(x.astype(np.float32, copy=False)).astype(x.dtype, copy=False)
    scipy = scipy_special("erf", optional=True)
    return _erf_double(x) if scipy is None else scipy.erf(x)


@blocked
def _erf_double(x):
    return _pieces(x, np.abs(x) < 1, _erf_near, lambda x: np.where(x == x, np.copysign(1 - _erfc_far(np.abs(x)), x), x))


@blocked
def erfc(x):
    return _pieces(x, np.abs(x) < 0.5, lambda x: 1 - _erf_near(x), lambda x: np.where(x == x, _erfc_far(x), x))


@blocked
def erfcx(x):
    return _erfcx(x)


def _erfcx(x):
    a = np.abs(x)
    out = np.where(a < 1e300, _erfcx_positive(np.minimum(a, 1e300)), 0.0)
    return np.where(x == x, np.where(x < 0, 2 * np.exp(x * x) - out, out), x)


_NEAR = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)
_FAR = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)


@blocked
def erfinv(x):
    a = np.abs(x)
    inside = a < 1
    a = np.where(inside, a, 0)
    w = -np.log((1 - a) * (1 + a))
    y = a * np.where(w < 5, _horner(_NEAR, w - 2.5), _horner(_FAR, np.sqrt(w) - 3))
    y = np.where(w < 16, y, np.sqrt(w - 0.5 * np.log(math.pi * np.maximum(w, 1))))  # erfc(y) ~ exp(-y^2) / (y sqrt(pi))
    for _ in range(3):  # Halley's step; beside 1 the complement keeps the digits
        error = np.where(a < 0.5, _erf_of(y) - a, (1 - a) - _erfc_far(y))
        step = error / (2 / math.sqrt(math.pi) * np.exp(-y * y))
        y = y - step / (1 + y * step)
    return np.where(inside, np.copysign(y, x), np.where(np.abs(x) == 1, np.copysign(np.inf, x), np.nan))


def _erf_of(x):
    return _pieces(x, np.abs(x) < 1, _erf_near, lambda x: 1 - _erfc_far(x))


# ---- gamma functions -------------------------------------------------------------------------------------------
_LGAMMA = (-1 / 360360 * 691, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)  # B_2k / (2k (2k - 1)), highest first
_DIGAMMA = (1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)  # B_2k / 2k
_SHIFT = 10


def _lgamma_positive(x):
    small = x < _SHIFT
    z = np.where(small, x + _SHIFT, x)
    out = (z - 0.5) * np.log(z) - z + 0.5 * math.log(2 * math.pi) + _horner(_LGAMMA, 1 / (z * z)) / z
    if small.any():
        y = np.where(small, x, 1)
        product = y
        for k in range(1, _SHIFT):
            product = product * (y + k)
        out = out - np.where(small, np.log(product), 0)
    return out


def _lgamma(x):
    below = x < 0.5
    positive = _lgamma_positive(np.where(below, 1 - x, x))
    if below.any():
        sine = np.abs(np.sin(math.pi * (x - np.round(x))))
        positive = np.where(below, math.log(math.pi) - np.log(sine) - positive, positive)
    whole = (x <= 0) & (x == np.floor(x))
    return np.where(whole | np.isinf(x), np.inf, positive)


lgamma = blocked(_lgamma)


@blocked
def digamma(x):
    below = x < 0
    z = np.where(below, 1 - x, x)
    out = np.zeros_like(z)
    for _ in range(_SHIFT):
        small = z < _SHIFT
        out = out - np.where(small, 1 / z, 0)
        z = np.where(small, z + 1, z)
    w = 1 / (z * z)
    out = out + np.log(z) - 0.5 / z - w * _horner(_DIGAMMA, w)
    if below.any():
        out = np.where(below, out - math.pi / np.tan(math.pi * (x - np.round(x))), out)
    out = np.where(below & (x == np.floor(x)), np.nan, out)
    return np.where(x == 0, np.copysign(np.inf, -x), out)


#: (2k)! / B_2k for k = 1, 2, ...
_ZETA = (12.0, -720.0, 30240.0, -1209600.0, 47900160.0, -1307674368000 / 691, 74724249600.0, -2950130727918720000 / 1564534.1,
         1.1646782814350067249e14, -5.9799500680183168e15, 1.8152105401943546773e17, -7.1661652561756670113e18)  # fmt: skip


@blocked
def zeta(s, q):
    """The sum of (q + k)^-s over k >= 0: the first terms, then the integral of the rest and its corrections."""
    ok = (s > 1) & ((q > 0) | (s == np.floor(s)))
    pole = (q <= 0) & (q == np.floor(q))
    total, a, counted = np.zeros_like(q), np.where(ok & ~pole, q, 1.0), 0
    while counted < 9 or (a <= 9).any():
        more = np.ones_like(a, bool) if counted < 9 else a <= 9
        total = total + np.where(more, a**-s, 0)
        a = np.where(more, a + 1, a)
        counted += 1
    b = a**-s
    total = total + b * a / (s - 1) + 0.5 * b
    factor = np.ones_like(s)
    k = 0.0
    for c in _ZETA:
        factor = factor * (s + k)
        b = b / a
        total = total + factor * b / c
        factor = factor * (s + k + 1)
        b = b / a
        k += 2
    total = np.where(pole, np.inf, total)
    total = np.where(ok, total, np.nan)
    return np.where(s == 1, np.inf, total)


def polygamma(n, x):
    """The n-th derivative of digamma: (-1)^(n + 1) n! zeta(n + 1, x)."""
    if n == 0:
        return digamma(x)
    if n == 1:  # PyTorch reflects: at a pole this is what the sine of a rounded pi gives
        low = x < 0.5
        a = np.where(low, 1 - x, x).astype(np.float64)
        far = np.where(a > 1e8, 1 / a, zeta(np.full(x.shape, 2.0), np.minimum(a, 1e8))).astype(x.dtype)
        pi = x.dtype.type(math.pi)
        return np.where(low, (pi / np.sin(pi * x)) ** 2 - far, far)
    scale = math.exp(math.lgamma(n + 1)) * (1 if n % 2 else -1)
    return (scale * zeta(np.full(x.shape, n + 1.0), x.astype(np.float64))).astype(x.dtype)


# ---- modified Bessel functions ---------------------------------------------------------------------------------


def _scaled_bessel(low, high, odd, x):
    """exp(-|x|) I(x)."""
    a = np.abs(x)
    near = _chebyshev(low, np.minimum(a, 8) / 4 - 1)
    if odd:
        near = near * a
    far = _chebyshev(high, 16 / np.maximum(a, 8) - 1) / np.sqrt(a)
    out = np.where(a <= 8, near, far)
    return np.copysign(out, x) if odd else out


@blocked
def i0e(x):
    return _scaled_bessel(_I0_LOW, _I0_HIGH, False, x)


@blocked
def i0(x):
    return _scaled_bessel(_I0_LOW, _I0_HIGH, False, x) * np.exp(np.abs(x))


@blocked
def i1e(x):
    return _scaled_bessel(_I1_LOW, _I1_HIGH, True, x)


@blocked
def i1(x):
    return _scaled_bessel(_I1_LOW, _I1_HIGH, True, x) * np.exp(np.abs(x))


@blocked
def spherical_bessel_j0(x):
    small = np.abs(x) < 0.5
    w = x * x
    series = _horner((-1 / 39916800, 1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1.0), w)
    return np.where(np.isinf(x), 0.0, np.where(small, series, np.sin(x) / np.where(small, 1, x)))


@blocked
def log_ndtr(x):
    """log of the normal distribution function, by erfcx in the left tail."""
    t = x * math.sqrt(0.5)
    left = np.log(_erfcx(np.where(x < -1, -t, 0)) / 2) - t * t
    return np.where(x < -1, left, np.log1p(-_erfc_mid(np.where(x < -1, 0, t)) / 2))


def _erfc_mid(x):
    return _pieces(x, np.abs(x) < 0.5, lambda x: 1 - _erf_near(x), _erfc_far)


# ---- orthogonal polynomials ------------------------------------------------------------------------------------


def _recurrence(x, n, first, second, step):
    """p_n(x) for each pair of elements, from p_0 = `first`, p_1 = `second` and step(k, p_k-1, p_k) = p_k+1."""
    out = np.where(n == 0, first, second)
    p, q = first + 0 * x, second + 0 * x
    for k in range(1, int(n.max(initial=0))):
        p, q = q, step(k, p, q)
        out = np.where(n == k + 1, q, out)
    return out


_LIMIT = 9  # from this degree on, the trigonometric forms hold inside (-1, 1)


def _polynomial(second, step, closed=None):
    """f(x, n): the polynomials with p_1(x) = second(x); `closed(x, n)` gives those of high degree inside (-1, 1)."""

    def f(x, n):
        wide_x, wide_n = np.broadcast_arrays(np.asarray(x, np.float64), np.trunc(np.asarray(n, np.float64)))
        degree = np.where(np.isfinite(wide_n), wide_n, 0)
        high = (degree >= _LIMIT) & (np.abs(wide_x) < 1) if closed is not None else np.zeros(degree.shape, bool)
        out = _recurrence(wide_x, np.where(high, 0, degree), 1.0, second(wide_x), functools.partial(step, wide_x))
        if high.any():
            out = np.where(high, closed(np.where(high, wide_x, 0), degree), out)
        return np.where(degree < 0, 0.0, out).astype(np.result_type(x, n))

    return f


def _chebyshev_step(x, k, p, q):
    return 2 * x * q - p


chebyshev_t = _polynomial(lambda x: x, _chebyshev_step, lambda x, n: np.cos(n * np.arccos(x)))
chebyshev_u = _polynomial(lambda x: 2 * x, _chebyshev_step, lambda x, n: np.sin((n + 1) * np.arccos(x)) / np.sin(np.arccos(x)))
chebyshev_v = _polynomial(lambda x: 2 * x - 1, _chebyshev_step, lambda x, n: np.cos((n + 0.5) * np.arccos(x)) / np.cos(np.arccos(x) / 2))
chebyshev_w = _polynomial(lambda x: 2 * x + 1, _chebyshev_step, lambda x, n: np.sin((n + 0.5) * np.arccos(x)) / np.sin(np.arccos(x) / 2))
hermite_h = _polynomial(lambda x: 2 * x, lambda x, k, p, q: 2 * (x * q - k * p))
hermite_he = _polynomial(lambda x: x, lambda x, k, p, q: x * q - k * p)
laguerre_l = _polynomial(lambda x: 1 - x, lambda x, k, p, q: ((2 * k + 1 - x) * q - k * p) / (k + 1))
legendre_p = _polynomial(lambda x: x, lambda x, k, p, q: ((2 * k + 1) * x * q - k * p) / (k + 1))
