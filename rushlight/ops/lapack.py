"""Factorizations and solvers that NumPy lacks, in NumPy: what stands where PyTorch calls LAPACK directly.

Everything works on batches (any leading dimensions) at once, column by column within a block and by matrix products
between blocks, so that large matrices run at the speed of BLAS. The conventions are LAPACK's: pivots count from 1,
complex pivots are chosen by |re| + |im|, `info` is 0 or the number of the first zero pivot.
"""

from __future__ import annotations

import numpy as np

from rushlight.core.naming import Elsewhere, published
from rushlight.ops import tiny

try:  # NumPy's LAPACK calls without the conversion to double precision that np.linalg puts before them
    from numpy.linalg import _umath_linalg as NUMPY
except ImportError:  # other versions of NumPy
    NUMPY = None

_BLOCK = 48


class LinAlgError(RuntimeError, metaclass=Elsewhere):
    """A matrix on which a factorization or a solver fails: singular, not positive-definite, not finite."""

    home = ("rushlight.linalg", "LinAlgError")


published(LinAlgError, "_LinAlgError", "torch._C")


def size_of(x):
    """What pivots are compared by."""
    return np.abs(x.real) + np.abs(x.imag) if x.dtype.kind == "c" else np.abs(x)


def lu_factor(x):
    """(LU, pivots, info) of x (..., m, n): partial pivoting, L below the diagonal with ones on it."""
    *batch, m, n = x.shape
    k = min(m, n)
    a = np.array(x, order="C").reshape(int(np.prod(batch)), m, n)
    rows = np.arange(len(a))
    pivots = np.zeros((len(a), k), np.int32)
    info = np.zeros(len(a), np.int32)
    for start in range(0, k, _BLOCK):
        stop = min(start + _BLOCK, k)
        for j in range(start, stop):
            if not len(a):
                break
            p = size_of(a[:, j:, j]).argmax(1) + j
            pivots[:, j] = p + 1
            pivot_row = a[rows, p].copy()
            a[rows, p] = a[:, j]
            a[:, j] = pivot_row
            head = a[:, j, j]
            info[(head == 0) & (info == 0)] = j + 1
            a[:, j + 1 :, j] /= np.where(head == 0, 1, head)[:, None]
            a[:, j + 1 :, j + 1 : stop] -= a[:, j + 1 :, j, None] * a[:, j, None, j + 1 : stop]
        if stop < n:
            for j in range(start, stop - 1):
                a[:, j + 1 : stop, stop:] -= a[:, j + 1 : stop, j, None] * a[:, j, None, stop:]
            a[:, stop:, stop:] -= a[:, stop:, start:stop] @ a[:, start:stop, stop:]
    return a.reshape(x.shape), pivots.reshape(*batch, k), info.reshape(batch)


def permutation(pivots, m):
    """The order of rows that `pivots` (..., k) stand for: row i of P^T A is row order[i] of A."""
    flat = pivots.reshape(int(np.prod(pivots.shape[:-1])), pivots.shape[-1])
    order = np.tile(np.arange(m), (len(flat), 1))
    rows = np.arange(len(flat))
    for j in range(flat.shape[1]):
        p = flat[:, j] - 1
        swapped = order[rows, p].copy()
        order[rows, p] = order[:, j]
        order[:, j] = swapped
    return order.reshape(*pivots.shape[:-1], m)


def permutation_matrix(pivots, m, dtype):
    """P with A = P L U."""
    order = permutation(pivots, m)
    return (order[..., None, :] == np.arange(m)[:, None]).astype(dtype)


def unpack(lu):
    """(L, U) of the packed factor."""
    m, n = lu.shape[-2:]
    k = min(m, n)
    return np.tril(lu[..., :k], -1) + np.eye(m, k, dtype=lu.dtype), np.triu(lu[..., :k, :])


def substitute(a, b, upper=False, unit=False):
    """The solution X of A X = B for triangular A (only that triangle is read); batches broadcast."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x = np.array(np.broadcast_to(b, (*batch, *b.shape[-2:])), order="C")
    n = a.shape[-1]
    if upper:  # turned by half a turn, an upper triangle is a lower one
        return substitute(a[..., ::-1, ::-1], x[..., ::-1, :], False, unit)[..., ::-1, :].copy()
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        if start:
            x[..., start:stop, :] -= a[..., start:stop, :start] @ x[..., :start, :]
        for j in range(start, stop):
            if not unit:
                x[..., j, :] /= a[..., j, j, None]
            x[..., j + 1 : stop, :] -= a[..., j + 1 : stop, j, None] * x[..., j, None, :]
    return x


def first_indefinite(x):
    """For each matrix of a batch the order of its first leading minor that is not positive-definite, 0 if there is none."""
    info = np.zeros(x.shape[:-2], np.int32)
    for at in np.ndindex(*info.shape):
        a = np.tril(x[at])
        for j in range(len(a)):
            d = (a[j, j] - np.vdot(a[j, :j], a[j, :j])).real
            if not d > 0:
                info[at] = j + 1
                break
            a[j, j] = np.sqrt(d)
            a[j + 1 :, j] = (a[j + 1 :, j] - a[j + 1 :, :j] @ a[j, :j].conj()) / a[j, j]
    return info


class _Safe:
    """np.linalg under the names of `NUMPY`: a matrix that fails gives NaN, and the others of its batch their result."""

    def __getattr__(self, name):
        f = {
            "svd_f": lambda x: np.linalg.svd(x, True), "svd_s": lambda x: np.linalg.svd(x, False), "svd": np.linalg.svdvals,
            "eigh_lo": lambda x: np.linalg.eigh(x, "L"), "eigh_up": lambda x: np.linalg.eigh(x, "U"), "cholesky_lo": np.linalg.cholesky,
        }.get(name) or getattr(np.linalg, name)  # fmt: skip

        def each(*arrays):
            try:
                return f(*arrays)
            except np.linalg.LinAlgError:
                batch = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
                if not batch:
                    return _all_nan(f, arrays)
                arrays = [np.broadcast_to(a, (*batch, *a.shape[-2:])) for a in arrays]
                found = [each(*(a[i] for a in arrays)) for i in range(batch[0])]
                return tuple(map(np.stack, zip(*found))) if isinstance(found[0], tuple) else np.stack(found)

        return each


def _all_nan(f, arrays):
    """f's result for identity matrices, with NaN in place of every value."""
    ones = [np.broadcast_to(np.eye(*a.shape[-2:], dtype=a.dtype), a.shape) for a in arrays]
    found = f(*ones)
    return tuple(x * np.nan for x in found) if isinstance(found, tuple) else found * np.nan


if NUMPY is None:
    NUMPY = _Safe()


def det(x):
    """The product of the pivots. Large matrices take NumPy's, by logarithms."""
    n = x.shape[-1]
    if n > 32:
        return NUMPY.det(x)
    found = tiny.lu(x) if tiny.is_tiny(x) else None
    if found is not None:
        a, rows = found
        odd = sum(rows[i] > rows[j] for j in range(n) for i in range(j)) % 2
    else:
        a, pivots, _ = lu_factor(x)
        odd = (pivots != np.arange(1, n + 1)).sum(-1) % 2
    product = np.multiply.reduce(np.diagonal(a, axis1=-2, axis2=-1), axis=-1)
    return np.asarray(np.where(odd, -product, product))


# the coefficients of the [13/13] Pade approximant of exp (Higham, The scaling and squaring method revisited, 2005)
_PADE = (64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0, 10559470521600.0,
         670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0)  # fmt: skip
_THETA = 5.371920351148152


def expm(x):
    """The exponential of square matrices (..., n, n), by scaling, a Pade approximant and squaring."""
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    a = x.astype(wide)
    n = a.shape[-1]
    if not a.size:
        return x.copy()
    norm = np.abs(a).sum(-2).max(-1)
    good = np.isfinite(norm)
    steps = np.ceil(np.log2(np.maximum(np.where(good, norm, 1), _THETA) / _THETA)).astype(int)
    a = np.where(good[..., None, None], a, 0) * (0.5**steps)[..., None, None]
    one, c = np.eye(n), _PADE
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    u = a @ (a6 @ (c[13] * a6 + c[11] * a4 + c[9] * a2) + c[7] * a6 + c[5] * a4 + c[3] * a2 + c[1] * one)
    v = a6 @ (c[12] * a6 + c[10] * a4 + c[8] * a2) + c[6] * a6 + c[4] * a4 + c[2] * a2 + c[0] * one
    out = np.linalg.solve(v - u, v + u)
    for i in range(int(steps.max(initial=0))):
        out = np.where((i < steps)[..., None, None], out @ out, out)
    return np.where(good[..., None, None], out, np.nan).astype(x.dtype)
