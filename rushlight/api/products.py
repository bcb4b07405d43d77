"""Products of vectors and matrices under PyTorch's names. Decompositions are in api/linalg.py."""

from __future__ import annotations

from rushlight.api.writing import delivered
from rushlight.autograd import modes
from rushlight.bind import F32, F64, FUNCTIONS, METHODS, binary, both, function, label
from rushlight.core import dtype as D
from rushlight.dispatch import InPlace, Unsupported, apply, half_number, under_name
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor

_mm = binary(TABLE["mm"])[0]
_bmm = binary(TABLE["bmm"])[0]


@both
def mm(input, mat2, *, out=None):
    """The product of two matrices: (n, k) x (k, m) -> (n, m)."""
    if out is None:
        a = input._data
        if a.ndim == 2 == mat2._data.ndim:
            return _mm(input, mat2)
    return apply(TABLE["mm"], (input, mat2), out=out)


@both
def bmm(input, mat2, *, out=None):
    """The products of two batches of matrices: (b, n, k) x (b, k, m) -> (b, n, m)."""
    return apply(TABLE["bmm"], (input, mat2), out=out)


@both
def mv(input, vec, *, out=None):
    """A matrix times a vector."""
    return apply(TABLE["mv"], (input, vec), out=out)


@both
def dot(input, tensor, *, out=None):
    """The sum of products of two vectors (without conjugation)."""
    return apply(TABLE["dot"], (input, tensor), out=out)


@both
def vdot(input, other, *, out=None):
    """dot with the first vector conjugated."""
    return under_name("VdotBackward0", apply(TABLE["dot"], (input.conj(), other), out=out))


@both
def inner(input, other, *, out=None):
    """Sums of products over the last dimension of both."""
    if input._data.ndim == 0 or other._data.ndim == 0:
        return apply(TABLE["mul"], (input, other), out=out)
    if input.shape[-1] != other.shape[-1]:
        raise RuntimeError(f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)} and {list(other.shape)}")
    return tensordot(input, other, dims=([-1], [-1]), out=out)


@function
def tensordot(a, b, dims=2, out=None):
    """Sums of products over the dimensions named: the last n of a with the first n of b, or two lists."""
    if isinstance(dims, Tensor):
        dims = dims.tolist() if dims.ndim else int(dims)
    if isinstance(dims, int):
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a._data.ndim, b._data.ndim):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        da, db = list(range(a._data.ndim - dims, a._data.ndim)), list(range(dims))
    else:
        da, db = (list(d) if isinstance(d, (list, tuple)) else [d] for d in dims)
    da, db = [d % a._data.ndim for d in da], [d % b._data.ndim for d in db]
    if len(da) != len(db):
        raise RuntimeError("both dimension lists should have same length")
    for i, j in zip(da, db):
        if a.shape[i] == 1 != b.shape[j]:  # a dimension of size 1 meets each element of the other
            b = b.sum(j, True)
        elif b.shape[j] == 1 != a.shape[i]:
            a = a.sum(i, True)
        elif a.shape[i] != b.shape[j]:
            raise RuntimeError(f"contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and second has size {b.shape[j]} in dim {j}")
    ka, kb = [d for d in range(a._data.ndim) if d not in da], [d for d in range(b._data.ndim) if d not in db]
    n = 1
    for d in da:
        n *= a.shape[d]
    shape = [a.shape[d] for d in ka] + [b.shape[d] for d in kb]
    left = a.permute(ka + da).reshape(_count(a, ka), n)
    right = b.permute(db + kb).reshape(n, _count(b, kb))
    return delivered(mm(left, right).reshape(shape), out, "tensordot", exact=True, wanted=_TENSORDOT)


_TENSORDOT = "tensordot: Expected the output tensor to have dtype {want}, but got an output tensor with dtype {found}"


def _count(x, dims):
    n = 1
    for d in dims:
        n *= x.shape[d]
    return n


@both
def outer(input, vec2, *, out=None):
    """All products of the elements of two vectors."""
    if input._data.ndim != 1 or vec2._data.ndim != 1:
        bad = input if input._data.ndim != 1 else vec2
        raise RuntimeError(f"outer: Expected 1-D argument {'self' if bad is input else 'vec2'}, but got {bad._data.ndim}-D")
    return apply(TABLE["mul"], (input.view(-1, 1) if input.is_contiguous() else input.unsqueeze(1), vec2), out=out)


METHODS["ger"] = outer


def matmul(input, other, *, out=None):
    """The matrix product with PyTorch's rules for vectors (prepended or appended 1) and batches (broadcast)."""
    try:
        a, b = input._data, other._data
        n, m = a.ndim, b.ndim
        if n == 2 and m == 2 and out is None and not modes.diverted and (a.dtype is F32 or a.dtype is F64):
            return _mm(input, other)
    except AttributeError:
        bad, i = (input, 1) if not isinstance(input, Tensor) else (other, 2)
        raise Unsupported(f"matmul(): argument '{'input' if i == 1 else 'other'}' (position {i}) must be Tensor, not {type(bad).__name__}") from None
    if n == 0 or m == 0:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {n}D and {m}D")
    if n == 1 and m == 1:
        return apply(TABLE["dot"], (input, other), out=out)
    if n == 2 and m == 1:
        return apply(TABLE["mv"], (input, other), out=out)
    if n == 2 and m == 2:
        return apply(TABLE["mm"], (input, other), out=out)
    if n == 1:
        t = under_name("SqueezeBackward4" if m == 2 else "UnsafeViewBackward0", matmul(input.unsqueeze(0), other).squeeze(-2))
    elif m == 1:
        t = under_name("UnsafeViewBackward0", matmul(input, other.unsqueeze(-1)).squeeze(-1))
    else:
        return apply(TABLE["matmul"], (input, other), out=out)
    return delivered(t, out, "matmul", exact=True)


both(matmul)


def _at(self, other):
    try:
        return matmul(self, other)
    except Unsupported:
        return NotImplemented


METHODS["__matmul__"] = label(_at, "__matmul__")
METHODS["__rmatmul__"] = lambda self, other: _at(other, self) if isinstance(other, Tensor) else NotImplemented
METHODS["__imatmul__"] = lambda self, other: self.copy_(matmul(self, other))


@both(in_place=True)
def addmm(input, mat1, mat2, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * (mat1 @ mat2)."""
    return apply(TABLE["addmm"], (input, mat1, mat2), _factors(input, beta, alpha), out=out)


def _factors(input, beta, alpha):
    """beta and alpha as numbers of the tensor's kind: integer tensors cut them off."""
    if input._data.dtype.kind in "iu":
        beta, alpha = int(beta), int(alpha)
    return {"beta": beta, "alpha": alpha}


@both(in_place=True)
def addmv(input, mat, vec, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * (mat @ vec)."""
    return apply(TABLE["addmv"], (input, mat, vec), _factors(input, beta, alpha), out=out)


@both(in_place=True)
def baddbmm(input, batch1, batch2, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * (batch1 @ batch2), batchwise."""
    return apply(TABLE["baddbmm"], (input, batch1, batch2), _factors(input, beta, alpha), out=out)


@both(in_place=True)
def addbmm(input, batch1, batch2, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * the sum of the batch of products."""
    return apply(TABLE["addbmm"], (input, batch1, batch2), _factors(input, beta, alpha), out=out)


@both(in_place=True)
def addr(input, vec1, vec2, *, beta=1, alpha=1, out=None):
    """beta * input + alpha * outer(vec1, vec2)."""
    left = vec1
    for name, factor in (("beta", beta), ("alpha", alpha)):
        if isinstance(factor, float) and input.dtype.category < D.FLOAT and vec1.dtype.category < D.FLOAT and vec2.dtype.category < D.FLOAT:
            raise RuntimeError(f"For integral input tensors, argument {name} must not be a floating point number.")
    if input.dtype is vec1.dtype is vec2.dtype is D.bool_:
        product = outer(vec1, vec2)
        first = input if beta else FUNCTIONS["zeros_like"](input)
        return apply(TABLE["bitwise_or"], (first, product if alpha else FUNCTIONS["zeros_like"](product)), out=out)
    if D.is_half(input._data):  # PyTorch's kernel rounds to the half type after each step, the factors first
        beta, alpha = half_number(beta, input.dtype), half_number(alpha, input.dtype)
    product = outer(left * alpha if alpha != 1 else left, vec2)
    if beta == 0:
        return apply(TABLE["add"], (product, input.new_zeros(())), out=out)
    t = apply(TABLE["add"], (input * beta if beta != 1 else input, product), out=out)
    return t if isinstance(out, InPlace) else under_name("AddrBackward0", t)


@function
def chain_matmul(*matrices, out=None):
    """The product of a chain of matrices."""
    t = matrices[0]
    for m in matrices[1:]:
        t = mm(t, m)
    return delivered(t, out, "chain_matmul", exact=True)

