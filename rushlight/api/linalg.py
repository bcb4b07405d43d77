"""Inverses, solvers, determinants, powers and functions of matrices under PyTorch's names."""

from __future__ import annotations

import numpy as np

from rushlight.api.arithmetic import where
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
from rushlight.api.products import matmul
from rushlight.api.shaping import cat
from rushlight.bind import FUNCTIONS, METHODS, both, function, method
from rushlight.core import dtype as D
from rushlight.core.shape import broadcast
from rushlight.dispatch import apply
from rushlight.ops import linalg as rows
from rushlight.ops import spectral
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, wrap

# ---- inverse and solve -----------------------------------------------------------------------------------------
_inv_ex = pair("linalg_inv_ex", "inverse info")
_solve_ex = pair("linalg_solve_ex", "result info")


def _inverse(A, name):
    return apply(TABLE["linalg_inv_ex"], (floating(square(A, name), name),))


def _refuse_singular(info, name="linalg.inv"):
    found = culprit(info)
    if found:
        raise LinAlgError(f"{name}: {found[0]}The diagonal element {found[1]} is zero, the inversion could not be completed because the input matrix is singular.")


@linalg
def inv(A, *, out=None):
    """The inverse of square matrices. LinAlgError where one is singular."""
    result, info = _inverse(A, "linalg.inv")
    _refuse_singular(info)
    return delivered(result, out, "linalg_inv", exact=True)


@linalg
def inv_ex(A, *, check_errors=False, out=None):
    """(inverse, info): info is 0, or the number of the first zero pivot of a singular matrix."""
    result = _inv_ex(*_inverse(A, "linalg.inv"))
    if check_errors:
        _refuse_singular(result.info, "linalg.inv_ex")
    return delivered(result, out, "linalg_inv_ex", exact=True)


@both
def inverse(input, *, out=None):
    """The inverse of square matrices; see linalg.inv."""
    return inv(input, out=out)


def _check_solve(A, B, left, name):
    square(A, name), tensor(B, name, "B", 2)
    floating(A, name)
    same_dtype(A, B, name)
    a, b = A._data.shape, B._data.shape
    vector = rows.is_vector(a, b)
    if vector and not left:
        raise RuntimeError(f"{name}: Vector broadcasting of the left hand side is not supported for left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)")
    if not vector and len(b) < 2:
        raise RuntimeError(f"{name}: The input tensor B must have at least 2 dimensions.")
    if vector:
        if b[-1] != a[-1]:
            raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation AX = B ({a[-2]}x{a[-1]} and {b[-1]}x1)")
        return
    if b[-2 if left else -1] != a[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} ({a[-2]}x{a[-1]} and {b[-2]}x{b[-1]})")
    broadcast(a[:-2], b[:-2])


def _solve(A, B, left, name):
    _check_solve(A, B, left, name)
    return apply(TABLE["linalg_solve_ex"], (A, B), {"left": bool(left)})


def _refuse_solve(info):
    found = culprit(info)
    if found:
        raise LinAlgError(f"torch.linalg.solve: {found[0]}The solver failed because the input matrix is singular.")


@linalg
def solve(A, B, *, left=True, out=None):
    """X with A X = B (or X A = B): square A, B a vector, matrices or batches. LinAlgError where A is singular."""
    result, info = _solve(A, B, left, "linalg.solve")
    _refuse_solve(info)
    return delivered(result, out, "linalg_solve", exact=True)


@linalg
def solve_ex(A, B, *, left=True, check_errors=False, out=None):
    """(result, info): solve without an error for singular matrices."""
    result = _solve_ex(*_solve(A, B, left, "linalg.solve"))
    if check_errors:
        _refuse_solve(result.info)
    return delivered(result, out, "linalg_solve_ex", exact=True)


method(lambda self, b, left=True: apply(TABLE["linalg_solve_ex"], (self, b), {"left": left})[0], name="_solve")


@method
def _solve_triangular(self, b, upper, left=True, unit=False):
    return apply(TABLE["linalg_solve_triangular"], (self, b), {"upper": upper, "left": left, "unitriangular": unit})


@linalg
def solve_triangular(A, B, *, upper, left=True, unitriangular=False, out=None):
    """X with A X = B (or X A = B) for triangular A; the other triangle is not read, nor the diagonal if `unitriangular`."""
    name = "linalg.solve_triangular"
    square(A, name), matrices(B, name, "B")
    same_dtype(A, B, name)
    implemented(A, "triangular_solve_cpu")
    a, b = A._data.shape, B._data.shape
    if b[-2 if left else -1] != a[-1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} ({a[-2]}x{a[-1]} and {b[-2]}x{b[-1]})")
    return delivered(A._solve_triangular(B, bool(upper), bool(left), bool(unitriangular)), out, "linalg_solve_triangular", exact=True)


_triangular_solve = pair("triangular_solve", "solution cloned_coefficient")


@both
def triangular_solve(input, A, upper=True, transpose=False, unitriangular=False, *, out=None):
    """(X, A) with A X = input for triangular A; linalg.solve_triangular is its successor."""
    name = "triangular_solve"
    square(A, name), matrices(input, name, "b")
    same_dtype(A, input, name)
    implemented(A, "triangular_solve_cpu")
    if input.shape[-2] != A.shape[-2]:
        raise RuntimeError(f"{name}: Incompatible matrix sizes for triangular_solve: each A matrix is {A.shape[-1]} by {A.shape[-1]} but each b matrix is {input.shape[-2]} by {input.shape[-1]}")
    a = A.mT if transpose else A
    x = a._solve_triangular(input, bool(upper) != bool(transpose), True, bool(unitriangular))
    return delivered(_triangular_solve(x, A.expand(*x.shape[:-2], *A.shape[-2:]).clone()), out, name)


# ---- determinants ----------------------------------------------------------------------------------------------
_slogdet = pair("linalg_slogdet", "sign logabsdet")
_torch_slogdet = pair("slogdet", "sign logabsdet")


@linalg(name="det")
def linalg_det(A, *, out=None):
    """The determinant of square matrices."""
    return delivered(apply(TABLE["linalg_det"], (floating(square(A, "linalg.det"), "linalg.det"),)), out, "linalg_det", exact=True)


@both
def det(input):
    """The determinant of square matrices."""
    return linalg_det(input)


def _sign_and_log(A):
    return apply(TABLE["linalg_slogdet"], (floating(square(A, "linalg.slogdet"), "linalg.slogdet"),))


@linalg(name="slogdet")
def linalg_slogdet(A, *, out=None):
    """(sign, log |det|) of square matrices."""
    return delivered(_slogdet(*_sign_and_log(A)), out, "linalg_slogdet", exact=True)


@both
def slogdet(input, *, out=None):
    """(sign, log |det|) of square matrices."""
    return delivered(_torch_slogdet(*_sign_and_log(input)), out, "slogdet", exact=True)


@both
def logdet(input):
    """log(det): NaN where the determinant is negative, -inf where it is 0."""
    sign, log = _sign_and_log(floating(square(input, "logdet"), "logdet"))
    if input.is_complex():
        return sign.log() + log
    return where(sign == -1, float("nan"), log)


# ---- powers and functions --------------------------------------------------------------------------------------


@linalg(name="matrix_power")
def linalg_matrix_power(A, n, *, out=None):
    """A multiplied with itself n times; negative n: of the inverse."""
    square(A, "linalg.matrix_power")
    if n == 0:
        one = A.new_ones((A.shape[-1],)).diag_embed()
        return delivered(A.clone().copy_(one), out, "linalg_matrix_power")
    if n < 0:
        A, n = inv(A), -n
        if n == 1:
            return delivered(A, out, "linalg_matrix_power")
    elif n == 1:
        return delivered(A.clone(), out, "linalg_matrix_power")
    result = None
    while n:
        if n & 1:
            result = A if result is None else result @ A
        n >>= 1
        if n:
            A = A @ A
    return delivered(result, out, "linalg_matrix_power")


@both
def matrix_power(input, n, *, out=None):
    """A multiplied with itself n times; negative n: of the inverse."""
    return linalg_matrix_power(input, n, out=out)


@linalg(name="matrix_exp")
def linalg_matrix_exp(A):
    """The exponential of square matrices: the sum of A^k / k!."""
    name = "linalg.matrix_exp"
    floating(square(A, name), name, low=True)
    low = A.dtype if A.dtype is not A.dtype.compute else None
    out = apply(TABLE["linalg_matrix_exp"], (A.to(A.dtype.compute) if low else A,))
    return out.to(low) if low else out


@both
def matrix_exp(input):
    """The exponential of square matrices: the sum of A^k / k!."""
    return linalg_matrix_exp(input)


METHODS["_matrix_exp"] = linalg_matrix_exp


@linalg
def multi_dot(tensors, *, out=None):
    """The product of a chain of matrices (the first and the last may be vectors), in the order of least work."""
    n = len(tensors)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    first, last = tensors[0], tensors[-1]
    for t, which in ((first, "first"), (last, "last")):
        if t._data.ndim not in (1, 2):
            raise RuntimeError(f"multi_dot(): the {which} tensor must be 1D or 2D but got {t._data.ndim}D")
    ts = [first.unsqueeze(0) if first._data.ndim == 1 else first, *tensors[1:-1], last.unsqueeze(1) if last._data.ndim == 1 else last]
    for i, t in enumerate(ts):
        if t._data.ndim != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {t._data.ndim}D")
        if t.dtype is not first.dtype:
            raise RuntimeError("multi_dot(): all tensors must have be the same dtype but tensor 0 is " f"{first.dtype.title} and tensor {i} {t.dtype.title}")
    for i in range(n - 1):
        if ts[i].shape[1] != ts[i + 1].shape[0]:
            raise RuntimeError(f"multi_dot(): tensors {i} and {i + 1} with shapes {list(ts[i].shape)} and {list(ts[i + 1].shape)} cannot be multiplied")
    t = _chain(ts, _order([t.shape[0] for t in ts] + [ts[-1].shape[1]]), 0, n - 1)
    shape = [t.shape[0]] * (first._data.ndim == 2) + [t.shape[1]] * (last._data.ndim == 2)
    return delivered(t.view(shape), out, "linalg_multi_dot")


def _order(p):
    """The split of each partial product that costs least (dynamic programming)."""
    n = len(p) - 1
    cost, split = [[0] * n for _ in range(n)], [[0] * n for _ in range(n)]
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            cost[i][j], split[i][j] = min((cost[i][k] + cost[k + 1][j] + p[i] * p[k + 1] * p[j + 1], k) for k in range(i, j))
    return split


def _chain(ts, split, i, j):
    if i == j:
        return ts[i]
    k = split[i][j]
    return _chain(ts, split, i, k).mm(_chain(ts, split, k + 1, j))


FUNCTIONS["linalg.matmul"] = matmul


@linalg(name="vander")
def linalg_vander(x, *, N=None):
    """The Vandermonde matrices (..., n, N) with columns x^0 ... x^(N-1)."""
    if N is not None and N <= 1 or N is None and not tensor(x, "linalg_vander")._data.ndim:
        raise RuntimeError("N must be greater than 1.")
    if x.dtype is D.bool_:
        raise RuntimeError(f"vander not implemented for {x.dtype.title}")
    count = x.shape[-1] if N is None else N
    if x.dtype.category == D.INTEGER:
        x = x.to(D.int64)
    x = x if x._data.ndim else x.unsqueeze(0)
    ones = x.new_ones((*x.shape, 1))
    powers = x.unsqueeze(-1).expand(*x.shape, count - 1).cumprod(-1)
    return cat([ones, powers], -1)


@function
def vander(x, N=None, increasing=False):
    """The Vandermonde matrix of a vector, with decreasing powers unless `increasing`."""
    if tensor(x, "vander")._data.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    if x.dtype.category < D.FLOAT:
        x = x.to(D.int64)
    out = x.new_ones((x.shape[0], 1)) if count else x.new_ones((x.shape[0], 0))
    if count > 1:
        out = cat([out, x.unsqueeze(-1).expand(-1, count - 1).cumprod(-1)], -1)
    return out if increasing else out.flip(1)


# ---- least squares, rank, pseudo-inverse -----------------------------------------------------------------------


def _tolerances(A, atol, rtol, name):
    """Absolute and relative cutoff as arrays, by PyTorch's defaults: eps * max(m, n) relative, unless atol is given."""
    if atol is None and rtol is None or rtol is None and not isinstance(atol, Tensor) and atol == 0 or rtol is None and isinstance(atol, Tensor):
        default = np.finfo(A.dtype.to_real().np).eps * max(A.shape[-2:])
        if isinstance(atol, Tensor):
            rtol = np.where(atol._data > 0, 0, default)
        else:
            rtol = default
    tolerances = []
    for t, which in ((atol, "atol"), (rtol, "rtol")):
        if isinstance(t, Tensor):
            if t.is_complex():
                raise RuntimeError(f"{name}: {which} tensor of complex type is not supported.")
            t = t._data
        tolerances.append(np.asarray(0 if t is None else t, np.float64)[..., None])
    return tolerances


def _pinv(A, atol=None, rtol=None, hermitian=False):
    a, r = _tolerances(A, atol, rtol, "torch.linalg.pinv")
    return apply(TABLE["linalg_pinv"], (A,), {"atol": a, "rtol": r, "hermitian": hermitian})


@linalg
def pinv(A, *, atol=None, rtol=None, hermitian=False, out=None, rcond=None):
    """The Moore-Penrose inverse of matrices; singular values up to max(atol, rtol * largest) count as zero."""
    tensor(A, "linalg_pinv")
    if A._data.ndim < 2 or A.dtype.category < D.FLOAT or A.dtype is not A.dtype.compute:
        raise RuntimeError(f"linalg.pinv({A.dtype.title}{{{list(A.shape)}}}): expected a tensor with 2 or more dimensions of float, double, cfloat or cdouble types")
    if hermitian:
        square(A, "linalg.eigh")
    if rcond is not None:
        rtol = rcond
    return delivered(_pinv(A, atol, rtol, hermitian), out, "linalg_pinv")


METHODS["_pinv"] = _pinv


@both
def pinverse(input, rcond=1e-15):
    """The Moore-Penrose inverse of matrices."""
    return pinv(input, rtol=rcond)


@linalg
def matrix_rank(A, *, atol=None, rtol=None, hermitian=False, out=None, tol=None):
    """The number of singular values above max(atol, rtol * largest)."""
    matrices(A, "torch.linalg.matrix_rank", "input")
    floating(A, "linalg.eigh" if hermitian else "linalg.svd")
    if tol is not None:
        atol, rtol = tol, 0.0
    a, r = _tolerances(A, atol, rtol, "torch.linalg.matrix_rank")
    x = A.detach()
    if hermitian:
        square(A, "linalg.eigh")
        s = np.abs(apply(TABLE["linalg_eigvalsh"], (x,), {"uplo": "L"})._data)
    else:
        s = apply(TABLE["linalg_svdvals"], (x,))._data
    return delivered(wrap(np.asarray((s > spectral.cutoff(s, a, r)).sum(-1), np.int64)), out, "linalg_matrix_rank")


_lstsq = pair("linalg_lstsq", "solution residuals rank singular_values")


@linalg
def lstsq(A, B, rcond=None, *, driver=None):
    """(solution, residuals, rank, singular_values) of min |A X - B|, batched; `driver` as LAPACK names them (gelsy)."""
    name = "torch.linalg.lstsq"
    tensor(A, "linalg_lstsq"), tensor(B, "linalg_lstsq", "b", 2)
    if A._data.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if B._data.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    if A._data.ndim - B._data.ndim not in (0, 1) and not A._data.ndim < B._data.ndim:
        raise RuntimeError(f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1")
    vector = rows.is_vector(A._data.shape, B._data.shape) and B._data.ndim == A._data.ndim - 1
    b = B.unsqueeze(-1) if vector else B
    if A.shape[-2] != b.shape[-2]:
        raise RuntimeError(f"{name}: input.size(-2) should match other.size({'-1' if vector else '-2'})")
    if A.dtype is not B.dtype:
        raise RuntimeError(f"{name}: Expected input and other to have the same dtype, but got input's dtype {A.dtype.title} and other's dtype {B.dtype.title}")
    implemented(A, "linalg_lstsq_cpu")
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    m, n = A.shape[-2:]
    batch = broadcast(A._data.shape[:-2], b._data.shape[:-2])
    a, b = A.expand(*batch, m, n), b.expand(*batch, m, b.shape[-1])
    if rcond is None:
        rcond = float(np.finfo(A.dtype.to_real().np).eps) * max(m, n)
    x, rank, s = apply(TABLE["linalg_lstsq"], (a, b), {"rcond": float(rcond)})
    full = driver == "gels" or driver in ("gelsd", "gelss") and (not batch or bool((rank._data == n).all()))
    residuals = x.new_zeros((0,), dtype=A.dtype.to_real())
    if m > n and full:
        r = (a @ x - b).abs()
        residuals = (r * r).sum(-2)
    if vector:
        x = x.squeeze(-1)
    rank = rank.new_zeros((0,)) if driver == "gels" else rank
    s = s if driver in ("gelsd", "gelss") else s.new_zeros((0,))
    return _lstsq(x, residuals, rank, s)


# ---- tensors as matrices ---------------------------------------------------------------------------------------


def _product(sizes):
    n = 1
    for s in sizes:
        n *= s
    return n


@linalg
def tensorinv(A, ind=2, *, out=None):
    """The inverse of A seen as a matrix of its first `ind` dimensions by the rest."""
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    shape = tensor(A, "linalg_tensorinv")._data.shape
    rows_, columns = _product(shape[:ind]), _product(shape[ind:])
    if rows_ != columns:
        raise RuntimeError(f"Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got {columns} != {rows_}")
    result, info = _inverse(A.reshape(rows_, columns), "linalg.inv")
    if culprit(info):
        raise LinAlgError("Failed to invert the input tensor, because it is singular.")
    return delivered(result.reshape(shape[ind:] + shape[:ind]), out, "linalg_tensorinv")


@linalg
def tensorsolve(A, B, dims=None, *, out=None):
    """X with tensordot(A, X) = B: A seen as a matrix of B's elements by the rest."""
    a = tensor(A, "linalg_tensorsolve")
    if dims is not None:
        moved = [d % a._data.ndim for d in dims]
        a = a.permute([d for d in range(a._data.ndim) if d not in moved] + moved)
    shape = a._data.shape
    ndim = B._data.ndim
    rest, first = _product(shape[ndim:]), _product(shape[:ndim])
    if rest != first:
        raise RuntimeError(f"Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got {rest} != {first}")
    x = solve(a.reshape(first, rest), B.reshape(-1))
    return delivered(x.reshape(shape[ndim:]), out, "linalg_tensorsolve")
