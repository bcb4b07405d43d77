"""Triangles, diagonals, traces and products of matrices under PyTorch's names: what needs no factorization."""

from __future__ import annotations

import numpy as np

from rushlight.api.creation import checked_dtype, made
from rushlight.api.linalg_common import delivered, floating, linalg, tensor
from rushlight.api.products import dot, outer
from rushlight.api.reduce import vector_norm
from rushlight.bind import FUNCTIONS, METHODS, both, function, method
from rushlight.core import dtype as D
from rushlight.core.shape import wrap_dim
from rushlight.core.warning import once
from rushlight.dispatch import apply
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor


def _triangle(name):
    row = TABLE[name]

    @both(name=name, in_place=True)
    def f(input, diagonal=0, *, out=None):
        tensor(input, name)
        if input._data.ndim < 2:
            raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions" + f" (its shape is {list(input.shape)})")
        return apply(row, (input,), {"diagonal": int(diagonal)}, out=out)

    f.__doc__ = f"The {'lower' if name == 'tril' else 'upper'} triangle of matrices (..., m, n): zeros {'above' if name == 'tril' else 'below'} `diagonal`."
    return f


tril, triu = _triangle("tril"), _triangle("triu")


def _indices(name, lower):
    @function(name=name)
    def f(row, col, offset=0, *, dtype=None, device=None, layout=None, requires_grad=False, pin_memory=False):
        for n, what in ((row, "row"), (col, "col")):
            if n < 0:
                raise RuntimeError(f"{what} must be non-negative, got{n}")
        i, j = np.arange(row)[:, None], np.arange(col)
        picked = np.stack(np.nonzero((j - i <= offset) if lower else (j - i >= offset)))
        return made(picked.astype(checked_dtype(dtype, D.int64).np), device, requires_grad)

    f.__doc__ = f"The row and column numbers (2, count) of the {'lower' if lower else 'upper'} triangle of a row x col matrix, row by row."


_indices("tril_indices", True)
_indices("triu_indices", False)


@both
def trace(input):
    """The sum of the diagonal of a matrix."""
    if tensor(input, "trace")._data.ndim != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {input._data.ndim}")
    return apply(TABLE["trace"], (input,))


@both
def diag(input, diagonal=0, *, out=None):
    """A vector as the diagonal of a matrix, or the diagonal of a matrix as a vector (a copy)."""
    n = tensor(input, "diag")._data.ndim
    if n == 1:
        return apply(TABLE["diag_embed"], (input,), {"offset": diagonal, "dim1": 0, "dim2": 1}, out=out)
    if n == 2:
        return apply(TABLE["diagonal_copy"], (input,), {"offset": diagonal}, out=out)
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {n}D")


@both
def diagflat(input, offset=0):
    """All elements as the diagonal of a square matrix."""
    return apply(TABLE["diag_embed"], (tensor(input, "diagflat").reshape(-1),), {"offset": offset, "dim1": 0, "dim2": 1})


@both
def diag_embed(input, offset=0, dim1=-2, dim2=-1):
    """Matrices, in dimensions dim1 and dim2, whose diagonals are the last dimension of the input."""
    n = tensor(input, "diag_embed")._data.ndim + 1
    d1, d2 = wrap_dim(dim1, n), wrap_dim(dim2, n)
    if d1 == d2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return apply(TABLE["diag_embed"], (input,), {"offset": offset, "dim1": d1, "dim2": d2})


@linalg
def diagonal(A, *, offset=0, dim1=-2, dim2=-1):
    """The diagonals of matrices (a view); the last two dimensions by default."""
    return A.diagonal(offset, dim1, dim2)


@method
def fill_diagonal_(self, fill_value, wrap=False):
    """Write fill_value to the main diagonal; with `wrap` go on after n rows of a tall matrix."""
    shape = self._data.shape
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    step = sum(self.stride())
    self.as_strided((min(shape),), (step,)).fill_(fill_value)
    m, n = shape[:2]
    if wrap and len(shape) == 2 and m > n + 1 and n:
        start = self.storage_offset() + self.stride(0) * (n + 1)
        self.as_strided((-(-m * n // (n + 1)) - n,), (step,), start).fill_(fill_value)
    return self


def _cross(input, other, axis, out):
    return apply(TABLE["linalg_cross"], (input, other), {"axis": axis}, out=out)


@linalg(name="cross")
def linalg_cross(input, other, *, dim=-1, out=None):
    """The cross product of vectors of three elements along `dim`; the other dimensions broadcast."""
    tensor(input, "linalg_cross"), tensor(other, "linalg_cross", "other", 2)
    n, m = input._data.ndim, other._data.ndim
    if n != m:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions." + f" (they have {n} and {m})")
    axis = wrap_dim(dim, n)
    if n == 0 or input.shape[axis] != 3 or other.shape[axis] != 3:
        sizes = (1, 1) if n == 0 else (input.shape[axis], other.shape[axis])
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {sizes[0]} and {sizes[1]}")
    return _cross(input, other, axis, out)


@both
def cross(input, other, dim=None, *, out=None):
    """The cross product along `dim`, or along the first dimension of size 3."""
    if dim is None:
        tensor(input, "cross"), tensor(other, "cross", "other", 2)
        if input._data.ndim != other._data.ndim:
            raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
        once("cross", "Using torch.cross without specifying the dim arg is deprecated. Please either pass the dim explicitly or simply use torch.linalg.cross.", 3)
        found = [d for d, n in enumerate(input.shape) if n == 3]
        if not found:
            raise RuntimeError("no dimension of size 3 in input")
        dim = found[0]
    return linalg_cross(input, other, dim=dim, out=out)


method(lambda self, other, axis: _cross(self, other, axis, None), name="_cross")


@both
def kron(input, other, *, out=None):
    """The Kronecker product: every element of `input` times the whole of `other`."""
    a, b = tensor(input, "kron"), tensor(other, "kron", "other", 2)
    n = max(a._data.ndim, b._data.ndim)
    sa = (1,) * (n - a._data.ndim) + tuple(a.shape)
    sb = (1,) * (n - b._data.ndim) + tuple(b.shape)
    wide = a.reshape([k for s in sa for k in (s, 1)]) * b.reshape([k for s in sb for k in (1, s)])
    return delivered(wide.reshape([p * q for p, q in zip(sa, sb)]), out, "kron")


@both(in_place=True)
def renorm(input, p, dim, maxnorm, *, out=None):
    """Slices along `dim` whose p-norm exceeds maxnorm, scaled down to it."""
    n = tensor(input, "renorm")._data.ndim
    if n < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {n} dimensions")
    if isinstance(p, complex):
        raise RuntimeError("renorm: p must be real-valued")
    if not p > 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if isinstance(maxnorm, complex):
        raise RuntimeError("renorm: maxnorm must be real-valued")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    return apply(TABLE["renorm"], (floating(input, "renorm", low=True),), {"p": float(p), "axis": wrap_dim(dim, n), "maxnorm": float(maxnorm)}, out=out)


method(lambda self, p, dims: vector_norm(self, p, dims, True), name="_norm_along")


# ---- covariance ------------------------------------------------------------------------------------------------


@both
def cov(input, *, correction=1, fweights=None, aweights=None):
    """The covariance matrix of variables (rows) over observations (columns), weighted by counts and importances."""
    n = tensor(input, "cov")._data.ndim
    if n > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {n} dimensions")
    if input.dtype is D.bool_:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape(1, -1) if n < 2 else input
    count = x.shape[1]
    weights = None
    if fweights is not None:
        _check_weights(fweights, "fweights", count, whole=True)
        weights = fweights
    if aweights is not None:
        _check_weights(aweights, "aweights", count, whole=False)
        weights = aweights if weights is None else fweights * aweights
    if x.dtype.category < D.FLOAT:
        x = x.to(D.get_default_dtype())
    if weights is None:
        total = count
        mean = x.sum(1, True) / max(count, 1) if count else x.sum(1, True) / 0.0
        scale = total - correction
    else:
        total = weights.sum()
        if count and float(total) == 0:
            raise RuntimeError("cov(): weights sum to zero, can't be normalized")
        mean = (x * weights).sum(1, True) / total
        scale = total - correction
        if aweights is not None and correction != 0:
            scale = total - correction * (weights * aweights).sum() / total
    centred = x - mean
    other = centred if weights is None else centred * weights
    if isinstance(scale, Tensor):
        scale = scale.clamp(min=0)
    else:
        scale = max(scale, 0)
    product = centred @ other.mH
    result = product / scale if not isinstance(scale, Tensor) else product / scale.to(product.dtype.to_real())
    return result.squeeze()


def _check_weights(w, name, count, whole):
    if w._data.ndim > 1:
        raise RuntimeError(f"cov(): expected {name} to have one or fewer dimensions but got {name} with {w._data.ndim} dimensions")
    if whole and w.dtype.category != D.INTEGER:
        raise RuntimeError(f"cov(): expected fweights to have integral dtype but got fweights with {w.dtype.title} dtype")
    if not whole and w.dtype.category != D.FLOAT:
        raise RuntimeError(f"cov(): expected aweights to have floating point dtype but got aweights with {w.dtype.title} dtype")
    if w._data.size != count:
        raise RuntimeError(f"cov(): expected {name} to have the same numel as there are observations in the input but got {w._data.size} != {count}")
    if count and float(w.min()) < 0:
        raise RuntimeError(f"cov(): {name} cannot be negative")


@both
def corrcoef(input):
    """Pearson's correlation coefficients of variables (rows) over observations (columns)."""
    if tensor(input, "corrcoef")._data.ndim > 2:
        raise RuntimeError(f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input._data.ndim} dimensions")
    c = cov(input)
    if c._data.ndim == 0:
        return c / c
    deviation = c.diagonal().real.sqrt() if c.is_complex() else c.diagonal().sqrt()
    c = c / deviation.unsqueeze(-1) / deviation.unsqueeze(0)
    if c.is_complex():
        return c.real.clamp(-1, 1) + c.imag.clamp(-1, 1) * 1j
    return c.clamp(-1, 1)


@linalg
def vecdot(x, y, *, dim=-1, out=None):
    """sum(conj(x) * y) along `dim`, broadcasting."""
    if x.dtype is not y.dtype and (tensor(x, "linalg_vecdot"), tensor(y, "linalg_vecdot")):
        raise RuntimeError(f"linalg.vecdot: Expected x and y to have the same dtype, but got {x.dtype.title} and {y.dtype.title}")
    if x.dtype.category == D.BOOL or x._data.ndim == 1 == y._data.ndim and x.shape != y.shape:
        return dot(x, y, out=out)
    return delivered((x.conj() * y).sum(dim), out, "linalg_vecdot")


FUNCTIONS["ger"] = METHODS["ger"] = outer
