"""The rows of singular values, eigenvalues, and what rests on them: pseudo-inverse and least squares.

Vectors are determined up to a phase (and, of equal values, up to a rotation): a gradient that depends on the phase is
refused, by `_gauge`. Sources of the formulas: see ops/linalg.py.
"""

from __future__ import annotations

import numpy as np

from rushlight.core import dtype as D
from rushlight.ops.families import dtype_of
from rushlight.ops.lapack import NUMPY, LinAlgError
from rushlight.ops.linalg import _eye, _one, _several, failed
from rushlight.ops.op import Spec

# ---- singular values and eigenvalues ---------------------------------------------------------------------------


def _svd_spec(args, attrs):
    *batch, m, n = args[0]._data.shape
    k, d = min(m, n), dtype_of(args[0])
    rows, columns = (m, n) if attrs["full_matrices"] else (k, k)
    return Spec((*batch, m, rows), d), Spec((*batch, k), d.to_real()), Spec((*batch, columns, n), d)


def _svd(x, full_matrices):
    *batch, m, n = x.shape
    if x.size == 0:
        k = min(m, n)
        one = lambda i, j: np.broadcast_to(np.eye(i, j, dtype=x.dtype), (*batch, i, j)).copy()  # noqa: E731
        return one(m, m if full_matrices else k), np.zeros((*batch, k), x.real.dtype), one(n if full_matrices else k, n)
    found = (NUMPY.svd_f if full_matrices else NUMPY.svd_s)(x)
    return _converged("linalg.svd", x, found, found[1])


def _converged(name, x, found, values):
    """What was found, unless it is NaN, by which NumPy says that the algorithm did not converge."""
    if not failed(values):
        return found
    bad = np.flatnonzero(~np.isfinite(x).all((-2, -1)))
    if len(bad):
        name += f": (Batch element {bad[0]})" if x.ndim > 2 else ""
        raise LinAlgError(f"{name}: The algorithm failed to converge because the input matrix contained non-finite values.")
    raise LinAlgError(f"{name}: The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated singular values.")


def _skew(x):
    return x - x.mH


def _differences(v):
    """E with E_ij = v_j - v_i, and 1 on the diagonal."""
    e = v.unsqueeze(-2) - v.unsqueeze(-1)
    return e.masked_fill(_eye(v).bool(), 1)


def _svd_back(g, out0, out1, out2, full_matrices):
    gu, gs, gvh = g
    u, s, vh = out0, out1, out2
    m, n, k = u.shape[-2], vh.shape[-1], s.shape[-1]
    if full_matrices and (gu is not None or gvh is not None) and (u.shape[-1] > k or vh.shape[-2] > k):
        raise RuntimeError("svd_backward: the singular vectors of full_matrices=True are not determined by the input; use full_matrices=False to differentiate them")
    u, vh = u.narrow(-1, 0, k), vh.narrow(-2, 0, k)
    if gu is None and gvh is None:
        return (u * gs.unsqueeze(-2)) @ vh
    inner = None
    e = _differences(s * s)
    wide, tall = s.unsqueeze(-2), s.unsqueeze(-1)
    skew_u = skew_v = None
    if gu is not None:
        skew_u = _skew(u.mH @ gu)
        inner = skew_u / e * wide
    if gvh is not None:
        skew_v = _skew(vh @ gvh.mH)
        term = tall * (skew_v / e)
        inner = term if inner is None else inner + term
    if u.is_complex():
        _gauge("svd_backward: The singular vectors", skew_u, skew_v)
        if gu is not None:
            inner = inner + (skew_u.diagonal(0, -2, -1) / (2 * s)).diag_embed()
    if gs is not None:
        inner = inner + gs.to(inner.dtype).diag_embed()
    out = u @ inner @ vh
    if m > k and gu is not None:
        scaled = gu / wide
        out = out + (scaled - u @ (u.mH @ scaled)) @ vh
    if n > k and gvh is not None:
        scaled = gvh / tall
        out = out + u @ (scaled - scaled @ vh.mH @ vh)
    return out


def _gauge(who, *skews):
    """RuntimeError where the gradient depends on the phase of complex vectors, which nothing determines."""
    total = None
    for x in skews:
        if x is not None:
            d = x.diagonal(0, -2, -1).imag
            total = d if total is None else total + d
    if total.numel() and float(total.abs().max()) > 1e-2:
        raise RuntimeError(f"{who} in the complex case are specified up to multiplication by e^{{i phi}}. The specified loss function depends on this quantity, making it ill-defined.")


def _svdvals_spec(args, attrs):
    *batch, m, n = args[0]._data.shape
    return Spec((*batch, min(m, n)), dtype_of(args[0]).to_real())


def _svdvals(x):
    if x.size == 0:
        return np.zeros((*x.shape[:-2], min(x.shape[-2:])), x.real.dtype)
    s = NUMPY.svd(x)
    return _converged("linalg.svd", x, s, s)


def _svdvals_back(g, x):
    u, s, vh = x._svd(False)
    return (u * g.unsqueeze(-2)) @ vh


def _eigh_spec(args, attrs):
    shape, d = args[0]._data.shape, dtype_of(args[0])
    return Spec(shape[:-1], d.to_real()), Spec(shape, d)


def _eigh(x, uplo):
    if x.size == 0:
        return np.zeros(x.shape[:-1], x.real.dtype), x.copy()
    return (NUMPY.eigh_lo if uplo == "L" else NUMPY.eigh_up)(x)


def _eigh_back(g, out0, out1):
    gl, gv = g
    values, v = out0, out1
    if gv is None:
        return (v * gl.unsqueeze(-2)) @ v.mH
    inner = v.mH @ gv
    if v.is_complex():
        _gauge("linalg_eigh_backward: The eigenvectors", inner)
    inner = (inner / _differences(values)).masked_fill(_eye(values).bool(), 0)
    if gl is not None:
        inner = inner + gl.to(inner.dtype).diag_embed()
    return v @ inner @ v.mH


def _eigvalsh_back(g, x, uplo):
    v = x._eigh(uplo)[1]
    return (v * g.unsqueeze(-2)) @ v.mH


def _eig_spec(args, attrs):
    shape, d = args[0]._data.shape, dtype_of(args[0]).to_complex()
    return Spec(shape[:-1], d), Spec(shape, d)


def _eig(x):
    if x.size == 0:
        wide = np.result_type(x.dtype, np.complex64)
        return np.zeros(x.shape[:-1], wide), x.astype(wide)
    return NUMPY.eig(x)


def _eig_back(g, out0, out1):
    gl, gv = g
    values, v = out0, out1
    if gv is None:
        return v.mH._solve(gl.unsqueeze(-1) * v.mH, True)
    inner = v.mH @ gv
    _gauge("linalg_eig_backward: The eigenvectors", inner)
    inner = inner - (v.mH @ v) * inner.diagonal(0, -2, -1).real.unsqueeze(-2)
    diagonal = _eye(values).bool()
    inner = (inner / _differences(values).conj()).masked_fill(diagonal, 0)
    if gl is not None:
        inner = inner + gl.diag_embed()
    return v.mH._solve(inner @ v.mH, True)


def _eigvals(x):
    """Eigenvalues alone; NaN for a matrix with elements that are not finite."""
    if x.size == 0:
        return _eig(x)[0]
    good = np.isfinite(x).all((-2, -1), keepdims=True)
    return np.where(good[..., 0], NUMPY.eigvals(np.where(good, x, 0)), np.nan)


def _eigvals_back(g, x):
    return _eig_back([g, None], *x._eig())


# ---- least squares and pseudo-inverse --------------------------------------------------------------------------


def _pinv_spec(args, attrs):
    *batch, m, n = args[0]._data.shape
    return Spec((*batch, n, m), dtype_of(args[0]))


def cutoff(s, atol, rtol):
    """The singular values at most this large count as zero."""
    top = np.abs(s).max(-1, keepdims=True, initial=0)
    return np.maximum(atol, rtol * top)


def _pinv(x, atol, rtol, hermitian):
    if x.size == 0:
        return np.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)
    if hermitian:
        s, u = NUMPY.eigh_lo(x)
        vh = u.swapaxes(-1, -2).conj()
    else:
        u, s, vh = _svd(x, False)
    kept = np.abs(s) > cutoff(s, atol, rtol)
    inverse = np.where(kept, 1 / np.where(kept, s, 1), 0).astype(s.dtype)
    return (vh.swapaxes(-1, -2).conj() * inverse[..., None, :]) @ u.swapaxes(-1, -2).conj()


def pinv_gradient(g, x, p):
    """The gradient of the pseudo-inverse p of x, at constant rank (Golub and Pereyra)."""
    ph, gh = p.mH, g.mH
    return (gh - x @ (p @ gh)) @ (p @ ph) + (ph @ p) @ (gh - (gh @ p) @ x) - ph @ g @ ph


def _lstsq_spec(args, attrs):
    a, b = args[0]._data.shape, args[1]._data.shape
    d = dtype_of(args[0])
    k = min(a[-2:])
    return Spec((*a[:-2], a[-1], b[-1]), d), Spec(a[:-2], D.int64), Spec((*a[:-2], k), d.to_real())


def _lstsq(a, b, rcond):
    *batch, m, n = a.shape
    out = np.zeros((*batch, n, b.shape[-1]), a.dtype)
    rank, s = np.zeros(batch, np.int64), np.zeros((*batch, min(m, n)), a.real.dtype)
    for at in np.ndindex(*batch):
        if a.size and b.size:
            out[at], _, rank[at], s[at] = np.linalg.lstsq(a[at], b[at], rcond=rcond)
    return out, rank, s


def _lstsq_a(g, a, b):
    p = a._pinv()
    return pinv_gradient(g[0] @ b.mH, a, p)


def _lstsq_b(g, a):
    return a._pinv().mH @ g[0]


# fmt: off
_several("linalg_svd",           _svd_spec,       _svd,               _svd_back,       3)
_one("linalg_svdvals",           _svdvals_spec,   _svdvals,           _svdvals_back, node="LinalgSvdBackward0")
_several("linalg_eigh",          _eigh_spec,      _eigh,              _eigh_back,      2)
_one("linalg_eigvalsh",          lambda a, k: _eigh_spec(a, k)[0], lambda x, uplo: _eigh(x, uplo)[0], _eigvalsh_back, node="LinalgEighBackward0")
_several("linalg_eig",           _eig_spec,       _eig,               _eig_back,       2)
_one("linalg_eigvals",           lambda a, k: _eig_spec(a, k)[0], _eigvals, _eigvals_back, node="LinalgEigBackward0")
_one("linalg_pinv",              _pinv_spec,      _pinv,              lambda g, x, out: pinv_gradient(g, x, out))
_several("linalg_lstsq",         _lstsq_spec,     _lstsq,             (_lstsq_a, _lstsq_b), 3, inputs=("a", "b"), differentiable=(0,))
# fmt: on
