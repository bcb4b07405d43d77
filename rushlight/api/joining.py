"""Stacks, splits and grids: functions that arrange whole tensors, each an ordinary composition of views, cat and stack.

NumPy's names (hstack, dsplit, meshgrid, vander ...) with PyTorch's rules and errors. Nothing here computes, so nothing
here has a gradient formula: what the views and joins record is all there is.
"""

from __future__ import annotations

import itertools
import warnings

import numpy as np

from rushlight.api.shaping import cat, permute, stack
from rushlight.bind import FUNCTIONS, both, function
from rushlight.core import dtype as D
from rushlight.core.layout import contiguous_format
from rushlight.core.promotion import promote
from rushlight.core.shape import wrap_dim
from rushlight.dispatch import apart, under_name
from rushlight.tensor import Tensor, wrap


def _several(name, tensors):
    """f(x, y) or f([x, y]) as a tuple of tensors; TypeError naming what is none."""
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tensors[0]
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}(): expected Tensor as element {i}, but got {type(x).__name__}; write torch.tensor(...) around numbers and lists")
    return tuple(tensors)


# ---- at least so many dimensions -------------------------------------------------------------------------------


def _raised(name, raise_one, doc):
    @function(name=name)
    def f(*tensors):
        several = len(tensors) != 1 or isinstance(tensors[0], (list, tuple))
        if not several and not isinstance(tensors[0], Tensor):
            raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor or tuple of Tensors, not {type(tensors[0]).__name__}")
        out = tuple(raise_one(x) for x in _several(name, tensors))
        return out if several else out[0]

    f.__doc__ = doc
    return f


def _to_1d(x):
    return x if x._data.ndim else x.reshape(1)


def _to_2d(x):
    n = x._data.ndim
    return x if n > 1 else x.unsqueeze(0) if n else x.reshape(1, 1)


def _to_3d(x):
    n = x._data.ndim
    return x if n > 2 else x.unsqueeze(-1) if n == 2 else x.unsqueeze(0).unsqueeze(-1) if n else x.reshape(1, 1, 1)


atleast_1d = _raised("atleast_1d", _to_1d, "Numbers as vectors of one element; the rest as it is.")
atleast_2d = _raised("atleast_2d", _to_2d, "Numbers and vectors as matrices of one row; the rest as it is.")
atleast_3d = _raised("atleast_3d", _to_3d, "Fewer than three dimensions: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1).")


# ---- stacks ----------------------------------------------------------------------------------------------------


def _stacking(name, raise_one, axis, doc, aliases=()):
    def f(tensors, *, out=None):
        if isinstance(tensors, Tensor):
            raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
        tensors = _several(name, (list(tensors),))
        if not tensors:
            raise RuntimeError(f"{name} expects a non-empty TensorList")
        raised = [raise_one(x) for x in tensors]
        return cat(raised, axis(raised), out=out)

    f.__doc__ = doc
    for public in (name, *aliases):
        FUNCTIONS[public] = f
    return function(f, name=name)


hstack = _stacking("hstack", _to_1d, lambda xs: 0 if xs[0]._data.ndim == 1 else 1, "Joined side by side: vectors along dimension 0, the rest along 1.")
vstack = _stacking("vstack", _to_2d, lambda xs: 0, "Joined row after row; vectors count as rows.", aliases=("row_stack",))
dstack = _stacking("dstack", _to_3d, lambda xs: 2, "Joined along the third dimension.")


def _to_columns(x):
    return x.reshape(x.numel(), 1) if x._data.ndim <= 1 else x


column_stack = _stacking("column_stack", _to_columns, lambda xs: 1, "Joined as columns; vectors count as columns.")


# ---- splits ----------------------------------------------------------------------------------------------------


@both
def tensor_split(input, indices_or_sections=None, dim=0, *, indices=None, sections=None, tensor_indices_or_sections=None):
    """Pieces of a dimension: `n` of nearly equal size (the first ones longer), or cut at the indices listed (views)."""
    a = input._data
    if a.ndim == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
    d = wrap_dim(dim, a.ndim)
    n = a.shape[d]
    where = _first_given("tensor_split", indices_or_sections, indices, sections, tensor_indices_or_sections)
    if isinstance(where, Tensor):
        if where.dtype is not D.int64:
            raise RuntimeError(f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {where.dtype.title}")
        if where._data.ndim > 1:
            raise RuntimeError(f"tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, but got a tensor with {where._data.ndim} dims")
        where = where.tolist()
    if isinstance(where, (list, tuple)):
        cuts = [int(c) for c in where]
        return tuple(input[(slice(None),) * d + (slice(b, e),)] for b, e in zip([0, *cuts], [*cuts, n]))
    if where <= 0:
        raise RuntimeError(f"number of sections must be larger than 0, got {where}")
    small, longer = divmod(n, where)
    ends = list(itertools.accumulate([small + 1] * longer + [small] * (where - longer), initial=0))
    return tuple(input[(slice(None),) * d + (slice(b, e),)] for b, e in zip(ends, ends[1:]))


def _first_given(name, *values):
    for v in values:
        if v is not None:
            return v
    raise TypeError(f"{name}() missing 1 required positional argument: 'indices_or_sections'")


def _named_split(name, least, axis, doc):
    def f(input, indices_or_sections=None, *, indices=None, sections=None):
        where = _first_given(name, indices_or_sections, indices, sections)
        n = input._data.ndim
        if n < least:
            raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {n} dimensions!")
        d = axis(n)
        if not isinstance(where, (list, tuple)):
            size = input._data.shape[d]
            if where == 0 or size % where:
                raise RuntimeError(f"torch.{name} attempted to split along dimension {d}, but the size of the dimension {size} is not divisible by the split_size {where}!")
        return tensor_split(input, where, d)

    f.__doc__ = doc
    return both(f, name=name)


hsplit = _named_split("hsplit", 1, lambda n: 0 if n == 1 else 1, "tensor_split along dimension 1 (0 for a vector), into equal parts.")
vsplit = _named_split("vsplit", 2, lambda n: 0, "tensor_split along dimension 0, into equal parts.")
dsplit = _named_split("dsplit", 3, lambda n: 2, "tensor_split along dimension 2, into equal parts.")


# ---- grids and products ----------------------------------------------------------------------------------------


@function
def meshgrid(*tensors, indexing=None):
    """Coordinate grids of vectors: result i has vector i along dimension i ('ij'), or along 1, 0, 2, ... ('xy'). Views."""
    tensors = _several("meshgrid", tensors)
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    if indexing is None:
        warnings.warn("torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.", UserWarning, stacklevel=2)
    elif indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    for x in tensors:
        if x._data.ndim > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {list(x.shape)}")
    if any(x.dtype is not tensors[0].dtype for x in tensors):
        raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    swap = indexing == "xy" and len(tensors) > 1
    order = [tensors[1], tensors[0], *tensors[2:]] if swap else tensors
    shape = tuple(x.numel() for x in order)
    grids = [x.view((1,) * i + (-1,) + (1,) * (len(order) - i - 1)).expand(shape) for i, x in enumerate(order)]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


def _vector(x):
    if x._data.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")


@function
def cartesian_prod(*tensors):
    """Every choice of one element from each vector, as rows; of a single vector, that vector."""
    tensors = _several("cartesian_prod", tensors)
    for x in tensors:
        _vector(x)
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.flatten() for g in meshgrid(*tensors, indexing="ij")], 1)


@function
def combinations(input, r=2, with_replacement=False):
    """The combinations of r elements of a vector, as rows in the order of itertools.combinations."""
    _vector(input)
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty((0,))
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1, r)
    return input[wrap(rows)]


@function
def block_diag(*tensors):
    """Matrices along the diagonal of a matrix of zeros; numbers and vectors count as matrices of one row."""
    tensors = _several("block_diag", tensors)
    if not tensors:
        return FUNCTIONS["empty"](1, 0)
    for i, x in enumerate(tensors):
        if x._data.ndim > 2:
            raise RuntimeError(f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {x._data.ndim} dimensions")
    blocks = [_to_2d(x) for x in tensors]
    width = sum(x._data.shape[1] for x in blocks)
    dtype = blocks[0].dtype
    for x in blocks[1:]:
        dtype = promote(dtype, x.dtype)
    rows, start = [], 0
    for x in blocks:
        h, w = x._data.shape
        zeros = lambda n, h=h, x=x: x.new_zeros((h, n), dtype=dtype)  # noqa: E731
        rows.append(cat([zeros(start), x.to(dtype), zeros(width - start - w)], 1))
        start += w
    return under_name("BlockDiagBackward0", cat(rows, 0))


@function
def vander(x, N=None, increasing=False):
    """The Vandermonde matrix: powers N-1 ... 0 of each element (0 ... N-1 if increasing) as a row."""
    if x._data.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.numel() if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    if x.dtype.category == D.BOOL or x.dtype.category == D.INTEGER:
        x = x.to(D.int64)
    if n == 0:
        return x.new_empty((x.numel(), 0))
    columns = [x.new_ones((x.numel(), 1))]
    if n > 1:
        columns.append(x.unsqueeze(1).expand(x.numel(), n - 1).cumprod(1))
    powers = cat(columns, 1)
    return powers if increasing else powers.flip(1)


# ---- turns -----------------------------------------------------------------------------------------------------


@both
def fliplr(input):
    """The second dimension reversed (a copy)."""
    if input._data.ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return input.flip(1)


@both
def flipud(input):
    """The first dimension reversed (a copy)."""
    if input._data.ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return input.flip(0)


@both
def rot90(input, k=1, dims=(0, 1)):
    """Turned k times by 90 degrees in the plane of two dimensions, from the first towards the second (a copy)."""
    n = input._data.ndim
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {n}")
    if dims[0] == dims[1] or abs(dims[0] - dims[1]) == n:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    a, b = (wrap_dim(d, n) for d in dims)
    k %= 4
    if k == 0:
        return input.clone(memory_format=contiguous_format)
    if k == 2:
        return input.flip((a, b))
    order = list(range(n))
    order[a], order[b] = b, a
    return under_name("Rot90Backward0", apart(permute(input.flip(b if k == 1 else a), order)))
