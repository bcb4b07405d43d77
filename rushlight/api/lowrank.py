"""Approximate factorizations of low rank: torch.svd_lowrank, torch.pca_lowrank, and the absent torch.lobpcg.

An orthonormal basis of the range is found by multiplying with a few random vectors and iterating; the exact SVD is taken
of the small rest. Same seed, same vectors.

Source: N. Halko, P. Martinsson, J. Tropp, Finding structure with randomness (2009), algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from rushlight.api.decompositions import linalg_qr, linalg_svd
from rushlight.api.linalg_common import tensor
from rushlight.bind import FUNCTIONS, function


def _basis(A, q, niter):
    """Q (..., m, q) with orthonormal columns and Q Q^H A near A."""
    start = FUNCTIONS["randn"](A.shape[-1], q, dtype=A.dtype, device=A.device)
    Q = linalg_qr(A @ start).Q
    for _ in range(niter):
        Q = linalg_qr(A.mH @ Q).Q
        Q = linalg_qr(A @ Q).Q
    return Q


@function
def svd_lowrank(A, q=6, niter=2, M=None):
    """(U, S, V) with A - M near U diag(S) V^H, of rank q, by `niter` rounds of subspace iteration.

    A has the shape (..., m, n); q should exceed the rank that is looked for. M (the same shape, or one that broadcasts)
    is subtracted first.
    """
    tensor(A, "svd_lowrank")
    m, n = A.shape[-2:]
    q = 6 if q is None else q
    if M is not None:
        A = A - M
    if m < n:
        A = A.mH
    Q = _basis(A, q, 2 if niter is None else niter)
    U, S, Vh = linalg_svd(Q.mH @ A, full_matrices=False)
    U, V = Q @ U, Vh.mH
    return (V, S, U) if m < n else (U, S, V)


@function
def pca_lowrank(A, q=None, center=True, niter=2):
    """(U, S, V): the principal components (columns of V) of the rows of A, of rank q; `center` subtracts the mean row.

    ValueError where q exceeds min(m, n) (the default is at most 6).
    """
    tensor(A, "pca_lowrank")
    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)


@function
def lobpcg(*args, **kwargs):
    """A few extreme eigenvalues by the block preconditioned conjugate gradient method: not implemented."""
    raise NotImplementedError("torch.lobpcg is not implemented; use torch.linalg.eigh(A), which gives all eigenvalues and vectors of a symmetric matrix")
