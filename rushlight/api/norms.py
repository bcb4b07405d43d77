"""Norms of vectors and matrices: torch.norm, Tensor.norm, torch.linalg.norm, vector_norm, matrix_norm, cond."""

from __future__ import annotations

from math import inf

from rushlight.api.linalg_common import delivered, floating, linalg, matrices, square, tensor
from rushlight.api.reduce import vector_norm as _vector_norm
from rushlight.bind import both, function
from rushlight.core import dtype as D
from rushlight.core.shape import wrap_dim, wrap_dims
from rushlight.dispatch import apply
from rushlight.ops.op import TABLE


def _checked_dtype(x, dtype, name):
    """x in `dtype`, under the rules for the dtype of a norm."""
    if dtype is None:
        return x
    if dtype.category < D.FLOAT:
        raise RuntimeError(f"{name}: dtype should be floating point or complex, but got {dtype.title}")
    if (dtype.category == D.COMPLEX) != x.is_complex():
        kind = ("complex", "complex") if x.is_complex() else ("real", "real")
        raise RuntimeError(f"{name}: dtype should be {kind[0]} for {kind[1]} inputs, but got {dtype.title}")
    if dtype.itemsize < x.dtype.itemsize:
        raise RuntimeError(f"{name}: the dtype of the input ({x.dtype.title}) should be convertible without narrowing to the specified dtype ({dtype.title})")
    return x.to(dtype)


@linalg
def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None, out=None):
    """sum(|x| ** ord) ** (1 / ord) over `dim` (all elements by default); inf, -inf and 0 are the limits."""
    floating(tensor(x, "linalg_vector_norm"), "linalg.vector_norm", low=True)
    if isinstance(ord, complex):
        raise RuntimeError("linalg.vector_norm: Expected a non-complex scalar as the order of norm.")
    x = _checked_dtype(x, dtype, "linalg.vector_norm")
    return _vector_norm(x, ord, dim, keepdim, out=out)


def _pair_of(x, dim, name="linalg.matrix_norm"):
    if not isinstance(dim, (tuple, list)):
        dim = (dim,)
    if len(dim) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {' '.join(map(str, dim))}")
    a, b = (wrap_dim(d, x._data.ndim) for d in dim)
    if a == b:
        raise RuntimeError(f"{name}: dims must be different. Got ({dim[0]}, {dim[1]})")
    return a, b


def _largest(x, dim, keepdim=False):
    """amax of what is never negative: 0 where there is nothing."""
    return x.amax(dim, keepdim) if x.shape[dim] else x.sum(dim, keepdim)


@linalg
def matrix_norm(A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None):
    """The norm of matrices in two dimensions: 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2."""
    name = "linalg.matrix_norm"
    floating(matrices(A, name), name, low=not isinstance(ord, str) and abs(ord) != 2 or ord == "fro")
    dims = _pair_of(A, dim)
    A = _checked_dtype(A, dtype, name)
    if ord == "fro":
        return _vector_norm(A, 2, list(dims), keepdim, out=out)
    if ord == "nuc" or not isinstance(ord, str) and abs(ord) == 2:
        rest = [d for d in range(A._data.ndim) if d not in dims]
        s = apply(TABLE["linalg_svdvals"], (A.permute(rest + list(dims)),))
        t = s.sum(-1) if ord == "nuc" else _largest(s, -1) if ord > 0 else s.amin(-1)
        if keepdim:
            for d in sorted(dims):
                t = t.unsqueeze(d)
        return delivered(t, out, "linalg_matrix_norm")
    if isinstance(ord, str) or abs(ord) not in (1, inf):
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    summed, kept = dims if abs(ord) == 1 else dims[::-1]
    sums = _vector_norm(A, 1, [summed], True)
    t = _largest(sums, kept, True) if ord > 0 else sums.amin(kept, True)
    if not keepdim:
        t = t.squeeze(dims)
    return delivered(t, out, "linalg_matrix_norm")


@linalg
def norm(A, ord=None, dim=None, keepdim=False, *, out=None, dtype=None):
    """A vector norm or a matrix norm, by the number of dimensions; without `ord` the 2-norm of all elements."""
    tensor(A, "linalg_norm")
    if dim is not None and not isinstance(dim, int):
        dim = tuple(dim)
    if dim is not None:
        n = 1 if isinstance(dim, int) else len(dim)
        if n not in (1, 2) and (ord is not None):
            raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got [{', '.join(map(str, dim))}]")
    elif ord is not None and A._data.ndim not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A._data.ndim}D.")
    is_matrix = ord is not None and (len(dim) == 2 if isinstance(dim, tuple) else dim is None and A._data.ndim == 2)
    if isinstance(ord, str) and not is_matrix:
        dim = (tuple(range(A._data.ndim)) if dim is None else (dim,) if isinstance(dim, int) else dim)
        return matrix_norm(A, ord, dim, keepdim, dtype=dtype, out=out)
    if is_matrix:
        return matrix_norm(A, ord, (0, 1) if dim is None else dim, keepdim, dtype=dtype, out=out)
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype, out=out)


@both(name="norm")
def torch_norm(input, p="fro", dim=None, keepdim=False, out=None, dtype=None):
    """torch.norm: the p-norm over `dim` (all elements by default); 'fro' is the 2-norm, 'nuc' the sum of singular values."""
    tensor(input, "norm")
    if dim is not None and not isinstance(dim, int):
        dim = list(dim)
    if p == "fro":
        p = 2
    elif p == "nuc":
        dims = list(range(input._data.ndim)) if dim is None else [dim] if isinstance(dim, int) else dim
        return matrix_norm(input, "nuc", tuple(dims), keepdim, dtype=dtype, out=out)
    elif isinstance(p, str):
        return matrix_norm(input, p, tuple(dim) if isinstance(dim, list) else (-2, -1), keepdim, dtype=dtype, out=out)
    return vector_norm(input, 2 if p is None else p, dim, keepdim, dtype=dtype, out=out)


@function
def nuclear_norm(input, dim=(-2, -1), keepdim=False, *, out=None):
    """The sum of the singular values."""
    return matrix_norm(input, "nuc", dim, keepdim, out=out)


@function
def frobenius_norm(input, dim=(), keepdim=False, *, out=None):
    """The 2-norm over one or two dimensions (all by default)."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    if len(dims) > 2:
        raise RuntimeError(f"Expected at most 2 dimensions, but got {len(dims)} dimensions instead.")
    return _vector_norm(floating(input, "frobenius_norm", low=True), 2, list(wrap_dims(dims, input._data.ndim)) if dims else None, keepdim, out=out)


@linalg
def cond(A, p=None, *, out=None):
    """The condition number of matrices: norm(A) * norm(A^-1), in the norm p (2 by default: the ratio of singular values)."""
    if tensor(A, "linalg_cond")._data.ndim < 2:
        raise RuntimeError(f"linalg.cond: The input tensor must have at least 2 dimensions. (its shape is {list(A.shape)})")
    if p is None or not isinstance(p, str) and abs(p) == 2:
        s = apply(TABLE["linalg_svdvals"], (floating(A, "linalg.svd"),))
        if A._data.size == 0 or s.shape[-1] == 0:
            return delivered(s.new_zeros(s.shape[:-1]), out, "linalg_cond")
        first, last = s.narrow(-1, 0, 1), s.narrow(-1, s.shape[-1] - 1, 1)
        ratio = last / first if p == -2 else first / last
        return delivered(ratio.squeeze(-1), out, "linalg_cond")
    if isinstance(p, str) and p not in ("fro", "nuc") or not isinstance(p, str) and p not in (1, -1, inf, -inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    square(A, f"linalg.cond(ord={p})")
    if A._data.size == 0:
        return delivered(A.new_zeros(A.shape[:-2], dtype=A.dtype.to_real()), out, "linalg_cond")
    inverse, info = apply(TABLE["linalg_inv_ex"], (floating(A, "linalg.inv_ex"),))
    if info._data.any():
        inverse = inverse.masked_fill((info != 0)[..., None, None], inf)
    t = matrix_norm(A, p) * matrix_norm(inverse, p)
    return delivered(t.nan_to_num(inf, inf, -inf), out, "linalg_cond")


__all__ = ["matrix_norm", "vector_norm"]
