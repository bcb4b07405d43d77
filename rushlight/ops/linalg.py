"""The linear algebra rows: inverses, solvers, determinants and factorizations, batched over leading dimensions.

NumPy's LAPACK computes them where NumPy has them, ops/lapack.py where it has not; PyTorch calls the same LAPACK, so signs
and phases agree. Rows that can fail on the data give an `info` beside the result (0, or LAPACK's number) and never
raise for it: the API decides. Formulas are written out for complex matrices (`mH`), so no row here is conjugated by
the tape (`analytic=False`).

Sources of the formulas: M. Giles, Collected Matrix Derivative Results (2008); M. Seeger et al., Auto-Differentiating
Linear Algebra (2017); S. Walter, L. Lehmann, Algorithmic Differentiation of Linear Algebra Functions (2010); G. Golub,
V. Pereyra (1973) for the pseudo-inverse; I. Najfeld, T. Havel (1995) for the matrix exponential.
"""

from __future__ import annotations

import numpy as np

from rushlight.core import dtype as D
from rushlight.core.shape import broadcast
from rushlight.ops import lapack
from rushlight.ops.families import dtype_of, opaque
from rushlight.ops.lapack import NUMPY
from rushlight.ops.layouts import columns
from rushlight.ops.op import Spec
from rushlight.ops.tiny import inverse, is_tiny

INT = D.int32


def failed(x):
    """Whether there is a NaN, which NumPy gives where LAPACK reports an error (and where the input has one)."""
    return bool(np.isnan(x).any())


def is_vector(a, b):
    """Whether the right side of A X = B is a (batch of) vector(s), as NumPy once decided and PyTorch does."""
    return len(b) == 1 or len(b) == len(a) - 1 and tuple(a[:-1]) == tuple(b)


def _like(args, attrs):
    return Spec(args[0]._data.shape, dtype_of(args[0]))


def _like_info(args, attrs):
    shape = args[0]._data.shape
    return Spec(shape, dtype_of(args[0])), Spec(shape[:-2], INT)


def _batch_only(args, attrs):
    return Spec(args[0]._data.shape[:-2], dtype_of(args[0]))


# ---- inverse and solve -----------------------------------------------------------------------------------------


def _inv(x):
    info = np.zeros(x.shape[:-2], np.int32)
    if is_tiny(x):
        out = inverse(x)
        if out is not None:
            return out, info
    out = NUMPY.inv(x)
    return out, lapack.lu_factor(x)[2] if failed(out) else info


def _inv_back(g, out0):
    h = out0.mH
    return -(h @ g[0] @ h)


def _solve_spec(args, attrs):
    a, b = args[0]._data.shape, args[1]._data.shape
    if is_vector(a, b):
        batch = a[:-2] if len(b) == 1 else broadcast(a[:-2], b[:-1])
        shape = (*batch, a[-1])
    else:
        shape = (*broadcast(a[:-2], b[:-2]), *b[-2:])
        batch = shape[:-2]
    return Spec(shape, dtype_of(args[0])), Spec(a[:-2], INT)


def _solve(a, b, left):
    info = np.zeros(a.shape[:-2], np.int32)
    vector = is_vector(a.shape, b.shape)
    if vector:
        b = b[..., None]
    if not left and not vector:
        a, b = a.swapaxes(-1, -2), b.swapaxes(-1, -2)
    x = NUMPY.solve(a, b)
    if failed(x):
        lu, pivots, info = lapack.lu_factor(a)
        x = _lu_solve(lu, pivots, b, True, False)
    if vector:
        return x[..., 0], info
    return (x if left else x.swapaxes(-1, -2).copy()), info


def _solve_b(g, a, left):
    return a.mH._solve(g[0], left)


def _solve_a(g, a, b_spec, out0, left):
    gb = a.mH._solve(g[0], left)
    if is_vector(a.shape, b_spec.shape):
        return -(gb.unsqueeze(-1) * out0.conj().unsqueeze(-2))
    return -(gb @ out0.mH) if left else -(out0.mH @ gb)


def _triangular(a, b, upper, left, unitriangular):
    if left:
        return lapack.substitute(a, b, upper, unitriangular)
    return lapack.substitute(a.swapaxes(-1, -2), b.swapaxes(-1, -2), not upper, unitriangular).swapaxes(-1, -2).copy()


def _triangular_spec(args, attrs):
    a, b = args[0]._data.shape, args[1]._data.shape
    return Spec((*broadcast(a[:-2], b[:-2]), *b[-2:]), dtype_of(args[0]))


def _triangular_b(g, a, upper, left, unitriangular):
    return a.mH._solve_triangular(g, not upper, left, unitriangular)


def _triangular_a(g, a, out, upper, left, unitriangular):
    gb = a.mH._solve_triangular(g, not upper, left, unitriangular)
    ga = -(gb @ out.mH) if left else -(out.mH @ gb)
    k = int(unitriangular)
    return ga.triu(k) if upper else ga.tril(-k)


# ---- determinants ----------------------------------------------------------------------------------------------


def _det_back(g, x, out):
    """g times the matrix of cofactors: det * inverse where there is one, else from the singular values."""
    if bool((out != 0).all()):
        return x.mH._solve((g * out.conj())[..., None, None] * _eye(x), True)
    u, s, vh = x._svd(False)
    n = x.shape[-1]
    others = s.unsqueeze(-2).expand(*s.shape, n)
    others = others.masked_fill(_eye(s).bool(), 1).prod(-1)  # the product of all other singular values
    phase = (u.detach().det() * vh.detach().det()).conj()
    return (u * (others * (g * phase).unsqueeze(-1)).unsqueeze(-2)) @ vh


def _eye(x):
    n = x.shape[-1]
    one = x.new_ones((n,))
    return one.diag_embed()


def _slogdet_spec(args, attrs):
    d = dtype_of(args[0])
    shape = args[0]._data.shape[:-2]
    return Spec(shape, d), Spec(shape, d.to_real())


def _slogdet_back(g, x, out0):
    gs, gl = g
    coefficient = None if gl is None else gl + 0
    if gs is not None and x.is_complex():
        turn = (gs.conj() * out0).imag * -1j
        coefficient = turn if coefficient is None else coefficient + turn
    if coefficient is None:
        return x * 0
    return x.mH._solve(coefficient.to(x.dtype)[..., None, None] * _eye(x), True)


# ---- Cholesky, QR ----------------------------------------------------------------------------------------------


def _cholesky(x, upper):
    if upper:
        out, info = _cholesky(x.swapaxes(-1, -2).conj(), False)
        return out.swapaxes(-1, -2).conj(), info
    info = np.zeros(x.shape[:-2], np.int32)
    out = NUMPY.cholesky_lo(x)
    return out, lapack.first_indefinite(x) if failed(out) else info


def _cholesky_back(g, out0, upper):
    g = g[0]
    l, gl = (out0.mH, g.mH) if upper else (out0, g)
    phi = (l.mH @ gl).tril()
    phi = phi + phi.tril(-1).mH  # (what a Hermitian matrix cannot follow, the diagonal's imaginary part, stays as PyTorch leaves it)
    s = l.mH._solve_triangular(phi, True)  # L^-H phi
    return l._solve_triangular(s, False, False) * 0.5  # L^-H phi L^-1 / 2


def _cholesky_solve_spec(args, attrs):
    b, l = args[0]._data.shape, args[1]._data.shape
    return Spec((*broadcast(b[:-2], l[:-2]), *b[-2:]), dtype_of(args[0]))


def _cholesky_solve(b, l, upper):
    l = l.swapaxes(-1, -2).conj() if upper else l
    return lapack.substitute(l.swapaxes(-1, -2).conj(), lapack.substitute(l, b), upper=True)


def _of_factor(ga, l, upper):
    """The gradient of a Cholesky factor from that of the matrix, for every element, not only its triangle."""
    both = ga + ga.mH
    return l @ both if upper else both @ l


def _cholesky_inverse(l, upper):
    one = np.broadcast_to(np.eye(l.shape[-1], dtype=l.dtype), l.shape)
    return _cholesky_solve(one, l, upper)


def _qr_spec(args, attrs):
    *batch, m, n = args[0]._data.shape
    k = m if attrs["mode"] == "complete" else min(m, n)
    q = (*batch, m, k) if attrs["mode"] != "r" else (0,)
    d = dtype_of(args[0])
    return Spec(q, d), Spec((*batch, k, n), d)


def _qr(x, mode):
    *batch, m, n = x.shape
    if mode == "r":
        return np.zeros((0,), x.dtype), np.linalg.qr(x, "r")
    if m == 0 or n == 0:
        k = m if mode == "complete" else 0
        return np.broadcast_to(np.eye(m, k, dtype=x.dtype), (*batch, m, k)).copy(), np.zeros((*batch, k, n), x.dtype)
    return tuple(np.linalg.qr(x, mode))


def _hermitian_from_upper(x):
    """X + X^H with the diagonal counted once: the adjoint of reading the upper triangle."""
    d = x.diagonal(0, -2, -1)
    return x + x.mH - (d.real if x.is_complex() else d).to(x.dtype).diag_embed()


def _qr_back(g, out0, out1, x, mode):
    gq, gr = g
    if mode == "r":
        raise RuntimeError("The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use linalg.qr(A, mode='reduced') if you are going to differentiate through linalg.qr.")
    m, n = x.shape[-2:]
    if mode == "complete" and m > n:
        raise RuntimeError(f"The QR decomposition is not differentiable when mode='complete' and nrows > ncols (here {m} > {n}); use mode='reduced'")
    q, r = out0, out1
    gq = q * 0 if gq is None else gq
    gr = r * 0 if gr is None else gr
    tail = None
    if m < n:  # A = [X Y], R = [U V]: Y depends on Q through V = Q^H Y
        tail = q @ gr.narrow(-1, m, n - m)
        gq = gq + x.narrow(-1, m, n - m) @ gr.narrow(-1, m, n - m).mH
        r, gr = r.narrow(-1, 0, m), gr.narrow(-1, 0, m)
    inner = (gr @ r.mH - q.mH @ gq).triu()
    gx = r.mH._solve_triangular(gq + q @ _hermitian_from_upper(inner), False, False)
    return gx if tail is None else gx._cat(tail, -1)


# ---- LU --------------------------------------------------------------------------------------------------------


def _lu_factor_spec(args, attrs):
    *batch, m, n = shape = args[0]._data.shape
    return Spec(shape, dtype_of(args[0])), Spec((*batch, min(m, n)), INT), Spec(tuple(batch), INT)


def lu_gradient(p, l, u, gl, gu):
    """The gradient of A = P L U from those of L (below its diagonal) and U."""
    m, n = l.shape[-2], u.shape[-1]
    k = min(m, n)
    gl = l * 0 if gl is None else gl
    gu = u * 0 if gu is None else gu
    l1, u1 = l.narrow(-2, 0, k), u.narrow(-1, 0, k)
    lower, upper = l1.mH @ gl.narrow(-2, 0, k), gu.narrow(-1, 0, k) @ u1.mH
    rest = None
    if n > k:
        gu2 = gu.narrow(-1, k, n - k)
        lower = lower - gu2 @ u.narrow(-1, k, n - k).mH
        rest = l1.mH._solve_triangular(gu2, True, True, True)
    elif m > k:
        gl2 = gl.narrow(-2, k, m - k)
        upper = upper - l.narrow(-2, k, m - k).mH @ gl2
        rest = u1.mH._solve_triangular(gl2, False, False)
    inner = lower.tril(-1) + upper.triu()
    inner = u1.mH._solve_triangular(l1.mH._solve_triangular(inner, True, True, True), False, False)
    if rest is not None:
        inner = inner._cat(rest, -1 if n > k else -2)
    return p @ inner


def _lu_factor_back(g, out0, out1):
    g, lu = g[0], out0
    m, n = lu.shape[-2:]
    k = min(m, n)
    p, l, u = lu._lu_unpack(out1)
    return lu_gradient(p, l, u, g.narrow(-1, 0, k).tril(-1), g.narrow(-2, 0, k).triu())


def _lu_spec(args, attrs):
    *batch, m, n = args[0]._data.shape
    k, d = min(m, n), dtype_of(args[0])
    return Spec((*batch, m, m), d), Spec((*batch, m, k), d), Spec((*batch, k, n), d)


def _lu(x):
    lu, pivots, _ = lapack.lu_factor(x)
    return (lapack.permutation_matrix(pivots, x.shape[-2], x.dtype), *lapack.unpack(lu))


def _lu_solve_spec(args, attrs):
    a, b = args[0]._data.shape, args[2]._data.shape
    return Spec((*broadcast(a[:-2], b[:-2]), *b[-2:]), dtype_of(args[0]))


def _lu_solve(lu, pivots, b, left, adjoint):
    if not left:  # X A = B is A^H X^H = B^H
        return _lu_solve(lu, pivots, b.swapaxes(-1, -2).conj(), True, not adjoint).swapaxes(-1, -2).conj()
    order = lapack.permutation(pivots, lu.shape[-1])
    batch = np.broadcast_shapes(lu.shape[:-2], b.shape[:-2])
    if adjoint:
        h = lu.swapaxes(-1, -2).conj()
        order = order.argsort(-1)
        x = lapack.substitute(h, lapack.substitute(h, b), upper=True, unit=True)
        return columns(np.take_along_axis(x, np.broadcast_to(order, (*batch, order.shape[-1]))[..., None], -2), ())
    b = np.broadcast_to(b, (*batch, *b.shape[-2:]))
    b = np.take_along_axis(b, np.broadcast_to(order, (*batch, order.shape[-1]))[..., None], -2)
    return columns(lapack.substitute(lu, lapack.substitute(lu, b, unit=True), upper=True), ())


def _lu_solve_lu(g, lu, pivots, out, left, adjoint):
    gb = lu._lu_solve(pivots, g, left, not adjoint)
    if adjoint:
        ga = -(out @ gb.mH) if left else -(gb.mH @ out)
    else:
        ga = -(gb @ out.mH) if left else -(out.mH @ gb)
    p, l, u = lu._lu_unpack(pivots)
    ga = p.mT @ ga
    return (ga @ u.mH).tril(-1) + (l.mH @ ga).triu()


# ---- exponential -----------------------------------------------------------------------------------------------


def _expm_back(g, x):
    """The top right block of exp([[X^H, G], [0, X^H]])."""
    h = x.mH
    n = x.shape[-1]
    top = h._cat(g, -1)
    bottom = (g * 0)._cat(h, -1)
    return top._cat(bottom, -2)._matrix_exp().narrow(-2, 0, n).narrow(-1, n, n)


def _several(name, shape, numpy, grad, n, **columns):
    columns.setdefault("differentiable", tuple(range(n)))
    return opaque(name, shape, numpy, grad, outputs=n, dtypes="fc", analytic=False, **columns)


def _one(name, shape, numpy, grad, **columns):
    return opaque(name, shape, numpy, grad, dtypes="fc", analytic=False, **columns)


# fmt: off
_several("linalg_inv_ex",        _like_info,      _inv,               _inv_back,       2, differentiable=(0,))
_several("linalg_solve_ex",      _solve_spec,     _solve,             (_solve_a, _solve_b), 2, inputs=("a", "b"), differentiable=(0,))
_one("linalg_solve_triangular",  _triangular_spec, _triangular,       (_triangular_a, _triangular_b), inputs=("a", "b"))
_one("linalg_det",               _batch_only,     lapack.det,         _det_back)
_several("linalg_slogdet",       _slogdet_spec,   lambda x: NUMPY.slogdet(x), _slogdet_back, 2)
_several("linalg_cholesky_ex",   _like_info,      _cholesky,          _cholesky_back,  2, differentiable=(0,))
_several("cholesky",             _like_info,      _cholesky,          _cholesky_back,  2, differentiable=(0,))
_one("cholesky_solve",           _cholesky_solve_spec, _cholesky_solve, (lambda g, l, upper: g._cholesky_solve(l, upper), lambda g, l, out, upper: _of_factor(-(g._cholesky_solve(l, upper) @ out.mH), l, upper)), inputs=("b", "l"))
_one("cholesky_inverse",         _like,           _cholesky_inverse,  lambda g, l, out, upper: _of_factor(-(out @ g @ out), l, upper), inputs=("l",))
_several("linalg_qr",            _qr_spec,        _qr,                _qr_back,        2)
_several("linalg_lu_factor_ex",  _lu_factor_spec, lapack.lu_factor,   _lu_factor_back, 3, differentiable=(0,))
_several("linalg_lu",            _lu_spec,        _lu,                lambda g, out0, out1, out2: lu_gradient(out0, out1, out2, g[1], g[2]), 3, differentiable=(1, 2))
_one("linalg_lu_solve",          _lu_solve_spec,  _lu_solve,          (_lu_solve_lu, None, lambda g, lu, pivots, left, adjoint: lu._lu_solve(pivots, g, left, not adjoint)), inputs=("lu", "pivots", "b"))
_one("linalg_matrix_exp",        _like,           lapack.expm,        _expm_back)
# fmt: on
