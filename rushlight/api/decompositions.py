"""Factorizations of matrices under PyTorch's names: Cholesky, QR, LU, LDL, singular values, eigenvalues."""

from __future__ import annotations

import numpy as np

from rushlight.api.linalg_common import (
    LinAlgError,
    culprit,
    delivered,
    floating,
    implemented,
    linalg,
    matrices,
    pair,
    same_dtype,
    square,
    tensor,
)  # fmt: skip
from rushlight.bind import METHODS, both, function, method
from rushlight.core import dtype as D
from rushlight.core.optional import need
from rushlight.dispatch import apply, under_name
from rushlight.ops import lapack
from rushlight.ops.layouts import columns
from rushlight.ops.op import TABLE
from rushlight.tensor import wrap

# ---- Cholesky --------------------------------------------------------------------------------------------------
_cholesky_ex = pair("linalg_cholesky_ex", "L info")


def _refuse_indefinite(info, name):
    found = culprit(info)
    if found:
        raise LinAlgError(
            f"{name}: {found[0]}The factorization could not be completed because the input is not positive-definite (the leading minor of order {found[1]} is not positive-definite)."
        )


@linalg
def cholesky_ex(A, *, upper=False, check_errors=False, out=None):
    """(L, info): cholesky without an error where A is not positive-definite."""
    name = "linalg.cholesky"
    result = _cholesky_ex(*apply(TABLE["linalg_cholesky_ex"], (floating(square(A, name), name),), {"upper": bool(upper)}))
    if check_errors:
        _refuse_indefinite(result.info, "linalg.cholesky_ex")
    return delivered(result, out, "linalg_cholesky_ex", exact=True)


@linalg(name="cholesky")
def linalg_cholesky(A, *, upper=False, out=None):
    """L lower triangular with A = L L^H (or U with A = U^H U), for positive-definite A. LinAlgError where it is not."""
    result = cholesky_ex(A, upper=upper)
    _refuse_indefinite(result.info, "linalg.cholesky")
    return delivered(result.L, out, "linalg_cholesky", exact=True)


@both
def cholesky(input, upper=False, *, out=None):
    """L with A = L L^H, or U with A = U^H U."""
    implemented(square(input, "cholesky"), "cholesky_cpu")
    result, info = apply(TABLE["cholesky"], (input,), {"upper": bool(upper)})
    _refuse_indefinite(info, "cholesky")
    return delivered(result, out, "cholesky")


@both
def cholesky_solve(input, L, upper=False, *, out=None):
    """X with A X = input, from the Cholesky factor of A."""
    for t, what in ((input, "b"), (L, "u")):
        if tensor(t, "cholesky_solve")._data.ndim < 2:
            raise RuntimeError(f"{what} should have at least 2 dimensions, but has {t._data.ndim} dimensions instead")
    square(L, "cholesky_solve")
    if L.shape[-1] != input.shape[-2]:
        raise RuntimeError(f"cholesky_solve: Incompatible matrix sizes for cholesky_solve: each A matrix is {L.shape[-1]} by {L.shape[-1]} but each b matrix is {input.shape[-2]} by {input.shape[-1]}")
    same_dtype(L, input, "cholesky_solve", "A", "b")
    implemented(L, "cholesky_solve_cpu")
    return delivered(input._cholesky_solve(L, bool(upper)), out, "cholesky_solve")


method(lambda self, l, upper: apply(TABLE["cholesky_solve"], (self, l), {"upper": upper}), name="_cholesky_solve")


@both
def cholesky_inverse(input, upper=False, *, out=None):
    """The inverse of A from its Cholesky factor."""
    implemented(square(input, "cholesky_inverse"), "cholesky_inverse_out_cpu")
    return delivered(apply(TABLE["cholesky_inverse"], (input,), {"upper": bool(upper)}), out, "cholesky_inverse")


# ---- QR --------------------------------------------------------------------------------------------------------
_linalg_qr, _torch_qr, _geqrf = pair("linalg_qr", "Q R"), pair("qr", "Q R"), pair("geqrf", "a tau")


@linalg(name="qr")
def linalg_qr(A, mode="reduced", *, out=None):
    """(Q, R) with A = Q R, Q with orthonormal columns, R upper triangular; mode 'reduced', 'complete' or 'r'."""
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    floating(matrices(A, "linalg.qr"), "linalg.qr")
    return delivered(_linalg_qr(*apply(TABLE["linalg_qr"], (A,), {"mode": mode})), out, "linalg_qr", exact=True)


@both
def qr(input, some=True, *, out=None):
    """(Q, R) with A = Q R; linalg.qr is its successor."""
    q, r = linalg_qr(input, "reduced" if some else "complete")
    return delivered(_torch_qr(q, r), out, "qr")


@both
def geqrf(input, *, out=None):
    """(a, tau): R above the diagonal of `a`, Householder vectors below it, their factors in tau."""
    implemented(matrices(input, "torch.geqrf", "input") if tensor(input, "geqrf")._data.ndim >= 2 else _geqrf_small(input), "geqrf_cpu")
    if input.requires_grad:
        input = input.detach()
    h, tau = np.linalg.qr(input._data, "raw")
    a = columns(h.swapaxes(-1, -2), ()) if input._data.size else input._data.copy()
    return delivered(_geqrf(wrap(a), wrap(np.ascontiguousarray(tau))), out, "geqrf")


def _geqrf_small(x):
    raise RuntimeError(f"torch.geqrf: input must have at least 2 dimensions. (its shape is {list(x.shape)})")


def _reflected(vectors, tau, x, backwards):
    """H1 H2 ... Hk x (or in the other order), Hi = 1 - tau_i v_i v_i^H with the v_i below the diagonal of `vectors`."""
    k = tau.shape[-1]
    m = vectors.shape[-2]
    if not k:
        return x + (vectors * 0).sum() + (tau * 0).sum()
    ones = vectors.new_ones((k,)).diag_embed()
    if m > k:
        ones = ones._cat(vectors.new_zeros((m - k, k)), 0)
    v = vectors.narrow(-1, 0, k).tril(-1) + ones
    for i in range(k - 1, -1, -1) if backwards else range(k):
        vi = v.narrow(-1, i, 1)
        x = x - vi @ (vi.mH @ x) * tau.narrow(-1, i, 1).unsqueeze(-1)
    return x


@linalg
def householder_product(A, tau, *, out=None):
    """The first n columns of the product of the Householder reflections that `geqrf` gives."""
    name = "torch.linalg.householder_product"
    tensor(A, "linalg_householder_product"), tensor(tau, "linalg_householder_product", "tau", 2)
    if A._data.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    m, n = A.shape[-2:]
    if m < n:
        raise RuntimeError(f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if tau._data.ndim < 1 or n < tau.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    if A._data.ndim - tau._data.ndim != 1:
        raise RuntimeError(f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal to {tau._data.ndim} and input.ndim is equal to {A._data.ndim}")
    if A._data.shape[:-2] != tau._data.shape[:-1]:
        raise RuntimeError(f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau.shape[:-1])}")
    if A.dtype is not tau.dtype:
        raise RuntimeError(f"{name}: tau dtype {tau.dtype.title} does not match input dtype {A.dtype.title}")
    implemented(A, "orgqr_cpu")
    one = A.new_ones((n,)).diag_embed()
    if m > n:
        one = one._cat(A.new_zeros((m - n, n)), 0)
    q = _reflected(A, tau, one.expand(A.shape), True)
    return delivered(under_name("LinalgHouseholderProductBackward0", q), out, "linalg_householder_product", exact=True)


@both
def orgqr(input, tau):
    """linalg.householder_product."""
    return householder_product(input, tau)


@both
def ormqr(input, tau, other, left=True, transpose=False, *, out=None):
    """Q @ other (or other @ Q), with Q the product of Householder reflections; Q^H if `transpose`."""
    name = "torch.ormqr"
    for t, what in ((input, "input"), (other, "other")):
        if t._data.ndim < 2:
            raise RuntimeError(f"{name}: {what} must have at least 2 dimensions.")
    side = -2 if left else -1
    if tau.shape[-1] > min(input.shape[-2:]) or other.shape[side] < tau.shape[-1]:
        raise RuntimeError(f"{name}: other.shape[{side}] must be greater than or equal to tau.shape[-1]")
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(f"{name}: other.shape[{side}] must be equal to input.shape[-2]")
    if input._data.ndim - tau._data.ndim != 1:
        raise RuntimeError(f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal to {tau._data.ndim} and input.ndim is equal to {input._data.ndim}")
    if input._data.ndim != other._data.ndim:
        raise RuntimeError(f"{name}: Expected other to have the same number of dimensions as input, but got other.ndim equal to {other._data.ndim} and input.ndim is equal to {input._data.ndim}")
    if input._data.shape[:-2] != tau._data.shape[:-1]:
        raise RuntimeError(f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau.shape[:-1])}")
    if input._data.shape[:-2] != other._data.shape[:-2]:
        raise RuntimeError(f"{name}: Expected batch dimensions of other to be equal to input.shape[:-2], but got {list(other.shape[:-2])}")
    for t, what in ((tau, "tau"), (other, "other")):
        if t.dtype is not input.dtype:
            raise RuntimeError(f"{name}: Expected input and {what} to have the same dtype, but input has dtype {input.dtype.title} and {what} has dtype {t.dtype.title}")
    implemented(input, "ormqr_cpu")
    x = other if left else other.mH
    adjoint = bool(transpose) == bool(left)  # other @ Q is (Q^H @ other^H)^H
    x = _reflected(input, tau.conj() if adjoint else tau, x, not adjoint)
    return delivered(x if left else x.mH, out, "ormqr")


# ---- LU --------------------------------------------------------------------------------------------------------
_lu_named, _lu_factor_named = pair("linalg_lu", "P L U"), pair("linalg_lu_factor", "LU pivots")
_lu_factor_ex_named, _lu_unpack_named = pair("linalg_lu_factor_ex", "LU pivots info"), pair("lu_unpack", "P L U")
_lu_with_info = pair("_lu_with_info", "LU pivots info")


def _check_lu(A, name, pivot):
    tensor(A, "linalg_lu")
    if A._data.ndim < 2:
        raise RuntimeError(f"{name}: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead")
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")
    return implemented(A, "lu_cpu")


def _refuse_lu(info, name):
    found = culprit(info)
    if found:
        i = found[1]
        raise RuntimeError(
            f"{name}: {found[0]}U[{i},{i}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform the factorization, "
            "consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
        )


@linalg
def lu_factor_ex(A, *, pivot=True, check_errors=False, out=None):
    """(LU, pivots, info): lu_factor without an error for singular matrices."""
    result = _lu_factor_ex_named(*apply(TABLE["linalg_lu_factor_ex"], (_check_lu(A, "torch.lu_factor", pivot),)))
    if check_errors:
        _refuse_lu(result.info, "torch.linalg.lu_factor_ex")
    return delivered(result, out, "linalg_lu_factor_ex", exact=True)


@linalg
def lu_factor(A, *, pivot=True, out=None):
    """(LU, pivots) with A = P L U: both factors in one matrix, pivots counted from 1."""
    lu, pivots, info = lu_factor_ex(A, pivot=pivot)
    _refuse_lu(info, "torch.linalg.lu_factor")
    return delivered(_lu_factor_named(lu, pivots), out, "linalg_lu_factor", exact=True)


@linalg(name="lu")
def linalg_lu(A, *, pivot=True, out=None):
    """(P, L, U) with A = P L U."""
    return delivered(_lu_named(*apply(TABLE["linalg_lu"], (_check_lu(A, "linalg.lu", pivot),))), out, "linalg_lu", exact=True)


@both
def lu(A, pivot=True, get_infos=False, out=None):
    """(LU, pivots) or (LU, pivots, infos); linalg.lu_factor is its successor."""
    result = lu_factor_ex(A, pivot=pivot)
    result = _lu_with_info(*result) if get_infos else tuple(result[:2])
    return delivered(result, out, "lu")


@function
def lu_unpack(LU_data, LU_pivots, unpack_data=True, unpack_pivots=True, *, out=None):
    """(P, L, U) from what lu_factor gives."""
    if unpack_pivots and LU_pivots.dtype is not D.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\n"
            "Note: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    p = lower = upper = LU_data.new_zeros((0,))
    m, n = LU_data.shape[-2:]
    if unpack_pivots:
        flat = LU_pivots._data
        if flat.size and (flat.min() < 1 or flat.max() > m):
            raise RuntimeError(f"pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive, here {m}. Did you properly pass the result of lu_factor?")
        p = wrap(lapack.permutation_matrix(flat, m, LU_data._data.dtype))
    if unpack_data:
        k = min(m, n)
        one = LU_data.new_ones((k,)).diag_embed()
        if m > k:
            one = one._cat(LU_data.new_zeros((m - k, k)), 0)
        lower, upper = LU_data.narrow(-1, 0, k).tril(-1) + one, LU_data.narrow(-2, 0, k).triu()
    return delivered(_lu_unpack_named(p, lower, upper), out, "lu_unpack")


METHODS["_lu_unpack"] = lu_unpack


@linalg(name="lu_solve")
def linalg_lu_solve(LU, pivots, B, *, left=True, adjoint=False, out=None):
    """X with A X = B, X A = B, A^H X = B or X A^H = B, from lu_factor(A)."""
    name = "linalg.lu_solve"
    square(LU, name, "LU"), matrices(B, name, "B")
    same_dtype(LU, B, name, "LU", "B")
    if pivots.dtype is not D.int32:
        raise RuntimeError(f"{name}: Expected pivots to be a Tensor of scalar type torch.int32. Got {pivots.dtype}")
    if B.shape[-2 if left else -1] != LU.shape[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} ({LU.shape[-2]}x{LU.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})")
    if pivots._data.shape != LU._data.shape[:-1]:
        raise RuntimeError(f"{name}: Number of pivots per batch should be same as the dimension of the matrix")
    implemented(LU, "linalg_lu_solve_cpu")
    return delivered(LU._lu_solve(pivots, B, bool(left), bool(adjoint)), out, "linalg_lu_solve", exact=True)


@method
def _lu_solve(self, pivots, b, left, adjoint):
    return apply(TABLE["linalg_lu_solve"], (self, pivots, b), {"left": left, "adjoint": adjoint})


@both
def lu_solve(input, LU_data, LU_pivots, *, out=None):
    """X with A X = input, from lu_factor(A)."""
    return delivered(linalg_lu_solve(LU_data, LU_pivots, input), out, "lu_solve", exact=True)


# ---- LDL -------------------------------------------------------------------------------------------------------
_ldl_named, _ldl_ex_named = pair("linalg_ldl_factor", "LD pivots"), pair("linalg_ldl_factor_ex", "LD pivots info")


def _sytrf(name, array, hermitian):
    lapack_ = need("scipy.linalg.lapack", "scipy", "torch.linalg." + name)
    kind = "he" if hermitian and array.dtype.kind == "c" else "sy"
    return lapack_, kind


@linalg
def ldl_factor_ex(A, *, hermitian=False, check_errors=False, out=None):
    """(LD, pivots, info) of the factorization A = L D L^T (or L D L^H) of symmetric matrices, as LAPACK packs it."""
    name = "torch.linalg.ldl_factor_ex"
    implemented(square(A, name), "ldl_factor_cpu")
    a = A._data
    package, kind = _sytrf("ldl_factor", a, hermitian)
    factor = getattr(package, {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}[a.dtype.name] + kind + "trf")
    ld, pivots, info = np.zeros_like(a, order="C"), np.zeros(a.shape[:-1], np.int32), np.zeros(a.shape[:-2], np.int32)
    for at in np.ndindex(*a.shape[:-2]):
        if a.shape[-1]:
            packed, order, info[at] = factor(a[at], lower=1)
            ld[at], pivots[at] = np.tril(packed), order
    result = _ldl_ex_named(wrap(ld), wrap(pivots), wrap(info))
    if check_errors:
        _refuse_ldl(result.info)
    return delivered(result, out, "linalg_ldl_factor_ex", exact=True)


def _refuse_ldl(info):
    found = culprit(info)
    if found:
        raise LinAlgError(f"torch.linalg.ldl_factor_ex: {found[0]}The diagonal element {found[1]} is zero, the factorization was completed, but dividing by D will fail")


@linalg
def ldl_factor(A, *, hermitian=False, out=None):
    """(LD, pivots) of the factorization A = L D L^T (or L D L^H) of symmetric matrices."""
    result = ldl_factor_ex(A, hermitian=hermitian, check_errors=True)
    return delivered(_ldl_named(result.LD, result.pivots), out, "linalg_ldl_factor", exact=True)


@linalg
def ldl_solve(LD, pivots, B, *, hermitian=False, out=None):
    """X with A X = B, from ldl_factor(A)."""
    name = "torch.linalg.ldl_solve"
    square(LD, name)
    if B._data.ndim < 2:
        raise RuntimeError(f"{name}: Expected B to have at least 2 dimensions, but it has {B._data.ndim} dimensions instead")
    if pivots._data.shape != LD._data.shape[:-1]:
        raise RuntimeError(f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape {list(pivots.shape)} instead")
    if pivots.dtype.category != D.INTEGER:
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {pivots.dtype.title}")
    same_dtype(LD, B, name, "LD", "B")
    implemented(LD, "ldl_solve_cpu")
    a, b = LD._data, B._data
    package, kind = _sytrf("ldl_solve", a, hermitian)
    solver = getattr(package, {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}[a.dtype.name] + kind + "trs")
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b, p = np.broadcast_to(a, (*batch, *a.shape[-2:])), np.broadcast_to(b, (*batch, *b.shape[-2:])), np.broadcast_to(pivots._data, (*batch, a.shape[-1]))
    x = np.zeros(b.shape, b.dtype)
    for at in np.ndindex(*batch):
        if b[at].size:
            x[at] = solver(a[at], p[at], b[at], lower=1)[0]
    return delivered(wrap(x), out, "linalg_ldl_solve", exact=True)


# ---- singular values -------------------------------------------------------------------------------------------
_linalg_svd, _torch_svd = pair("linalg_svd", "U S Vh"), pair("svd", "U S V")


def _factor_svd(A, full_matrices, name="linalg.svd"):
    return apply(TABLE["linalg_svd"], (floating(matrices(A, name), name),), {"full_matrices": bool(full_matrices)})


@linalg(name="svd")
def linalg_svd(A, full_matrices=True, *, driver=None, out=None):
    """(U, S, Vh) with A = U diag(S) Vh; U and Vh unitary, S falling. Without full_matrices only the first min(m, n) vectors."""
    if driver is not None:
        raise RuntimeError("torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.")
    return delivered(_linalg_svd(*_factor_svd(A, full_matrices)), out, "linalg_svd", exact=True)


@linalg
def svdvals(A, *, driver=None, out=None):
    """The singular values, falling."""
    if driver is not None:
        raise RuntimeError("torch.linalg.svdvals: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.")
    return delivered(apply(TABLE["linalg_svdvals"], (floating(matrices(A, "linalg.svd"), "linalg.svd"),)), out, "linalg_svdvals", exact=True)


@both
def svd(input, some=True, compute_uv=True, *, out=None):
    """(U, S, V) with A = U diag(S) V^H; linalg.svd is its successor."""
    if tensor(input, "svd")._data.ndim < 2:
        raise RuntimeError(f"linalg.svd: input should have at least 2 dimensions, but has {input._data.ndim} dimensions instead")
    if compute_uv:
        u, s, vh = _factor_svd(input, not some)
        return delivered(_torch_svd(u, s, vh.mH), out, "svd")
    s = svdvals(input)
    *batch, m, n = input.shape
    k = (m, n)
    return delivered(_torch_svd(input.new_zeros((*batch, m, k[0])), s, input.new_zeros((*batch, n, k[1]))), out, "svd")


METHODS["_svd"] = _factor_svd

# ---- eigenvalues -----------------------------------------------------------------------------------------------
_eigh_named, _eig_named = pair("linalg_eigh", "eigenvalues eigenvectors"), pair("linalg_eig", "eigenvalues eigenvectors")


def _symmetric(A, UPLO):
    square(A, "linalg.eigh")
    if len(UPLO) != 1 or UPLO.upper() not in "LU":
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return implemented(A, "linalg_eigh_cpu"), {"uplo": UPLO.upper()}


@linalg
def eigh(A, UPLO="L", *, out=None):
    """(eigenvalues, eigenvectors) of symmetric or Hermitian matrices, rising; only the triangle UPLO is read."""
    x, attrs = _symmetric(A, UPLO)
    return delivered(_eigh_named(*apply(TABLE["linalg_eigh"], (x,), attrs)), out, "linalg_eigh", exact=True)


@linalg
def eigvalsh(A, UPLO="L", *, out=None):
    """The eigenvalues of symmetric or Hermitian matrices, rising."""
    x, attrs = _symmetric(A, UPLO)
    return delivered(apply(TABLE["linalg_eigvalsh"], (x,), attrs), out, "linalg_eigvalsh", exact=True)


method(lambda self, uplo: apply(TABLE["linalg_eigh"], (self,), {"uplo": uplo}), name="_eigh")
method(lambda self: apply(TABLE["linalg_eig"], (self,)), name="_eig")


@linalg
def eig(A, *, out=None):
    """(eigenvalues, eigenvectors) of square matrices, complex; the vectors have norm 1."""
    floating(square(A, "linalg.eig"), "linalg.eig")
    if not np.isfinite(A._data).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    return delivered(_eig_named(*apply(TABLE["linalg_eig"], (A,))), out, "linalg_eig", exact=True)


@linalg
def eigvals(A, *, out=None):
    """The eigenvalues of square matrices, complex."""
    return delivered(apply(TABLE["linalg_eigvals"], (floating(square(A, "linalg.eigvals"), "linalg.eigvals"),)), out, "linalg_eigvals", exact=True)


# ---- functions that are gone -----------------------------------------------------------------------------------


def _removed(name, successor):
    def f(*args, **kwargs):
        raise RuntimeError(f"This function was deprecated since version 1.9 and is now removed. Please use the `torch.linalg.{successor}` function instead. (torch.{name})")

    f.__doc__ = f"Removed from PyTorch; linalg.{successor} is its successor."
    return f


for _name, _successor in {"symeig": "eigh", "matrix_rank": "matrix_rank", "lstsq": "lstsq", "eig": "eig", "solve": "solve"}.items():
    _f = _removed(_name, _successor)
    function(_f, name=_name)
    if _name in ("symeig", "lstsq", "eig", "solve"):
        METHODS[_name] = _f
