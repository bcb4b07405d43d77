"""Reading and writing at places: flat indices, masks, windows, index tensors as a tuple, repeats.

The relatives of api/indexing.py whose rows stand in ops/rearranging.py. Bounds, dtypes and sizes are checked here;
the rows trust them.
"""

from __future__ import annotations

import operator
import warnings
from math import prod

import numpy as np

from rushlight.api.indexing import (
    _advanced,
    _drop_ones_to,
    _full,
    _index_arg,
    _split,
    broadcast_fails,
    gather,
)
from rushlight.bind import FUNCTIONS, METHODS, both, function, method
from rushlight.core import dtype as D
from rushlight.core.layout import contiguous_format
from rushlight.core.shape import broadcast, wrap_dim
from rushlight.dispatch import InPlace, apply, check_memory
from rushlight.ops import rearranging as R
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, beside, needs, wrap

# ---- flat places -----------------------------------------------------------------------------------------------


def _flat_index(name, input, index):
    """A long index into the flattened input, checked; negative numbers count from the end."""
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' (position 2) must be Tensor, not {type(index).__name__}")
    if index.dtype is not D.int64:
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {index.dtype.title}")
    n, i = input._data.size, index._data
    if i.size:
        if n == 0:
            raise IndexError(f"{name}(): tried to {'take from' if name == 'take' else 'put elements into'} an empty tensor")
        low, high = int(i.min()), int(i.max())
        if low < -n or high >= n:
            raise IndexError(f"out of range: tried to access index {low if low < -n else high} on a tensor of {n} elements.")
    return index


@both
def take(input, index, *, out=None):
    """The elements at places of the flattened input, in the shape of `index`."""
    return apply(R.TAKE, (input, _flat_index("take", input, index)), out=out)


@both(in_place=True)
def put(input, index, source, accumulate=False, *, out=None):
    """input with `source` written (or added, with accumulate) at places of the flattened input."""
    _flat_index("put_", input, index)
    if source.dtype is not input.dtype:
        raise RuntimeError(f"put_(): self and source expected to have the same dtype, but got self.dtype = {input.dtype.title} and source.dtype = {source.dtype.title}")
    if source.numel() != index.numel():
        raise IndexError(f"put_(): Expected source and index to have the same number of elements, but got source.numel() = {source.numel()}, index.numel() = {index.numel()}")
    return apply(R.PUT, (input, index, source), {"accumulate": bool(accumulate)}, out=out)


@both
def take_along_dim(input, indices, dim=None, *, out=None):
    """The elements at `indices` along `dim`, the other dimensions broadcast; without dim, of the flattened input."""
    if indices.dtype is not D.int64:
        raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got {indices.dtype.title}")
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1), out=out)
    n = input._data.ndim
    if n != indices._data.ndim:
        raise RuntimeError(
            f"torch.take_along_dim(): input and indices should have the same number of dimensions, but got {n} dimensions for input, and {indices._data.ndim} dimensions for indices"
        )
    d = wrap_dim(dim, n)
    have, want = list(input._data.shape), list(indices._data.shape)
    if not n:
        return gather(input, d, indices, out=out)
    common = broadcast(have[:d] + [1] + have[d + 1 :], want[:d] + [1] + want[d + 1 :])
    spread = lambda size: common[:d] + (size,) + common[d + 1 :]  # noqa: E731
    i = indices.expand(spread(want[d]))
    if i.numel() and int(i._data.min()) < 0:  # counted from the end
        i = i.where(i >= 0, i + have[d])
    return gather(input.expand(spread(have[d])), d, i, out=out)


@function
def unravel_index(indices, shape):
    """Places of a flattened tensor of `shape` as one index tensor a dimension."""
    if not isinstance(indices, Tensor):
        raise TypeError(f"unravel_index(): argument 'indices' must be Tensor, not {type(indices).__name__}")
    if indices.dtype.category != D.INTEGER:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    shape = (shape,) if hasattr(shape, "__index__") else tuple(shape)
    for n in shape:
        if not hasattr(n, "__index__"):
            raise TypeError(f"expected 'shape' to be int or sequence of ints, but found element type {type(n).__name__}")
        if n < 0:
            raise ValueError(f"'shape' cannot have negative values, but got {shape}")
    out, rest = [], indices
    for n in reversed(shape):
        out.append(rest % n)
        rest = rest // n
    return FUNCTIONS["stack"](out[::-1], -1).unbind(-1) if out else ()


# ---- index tensors as a tuple ----------------------------------------------------------------------------------


def _as_key(indices):
    if isinstance(indices, Tensor) or not isinstance(indices, (tuple, list)):
        raise TypeError(f"index_put(): argument 'indices' (position 2) must be tuple of Tensors, not {type(indices).__name__}")
    for k in indices:
        if k is not None and not isinstance(k, Tensor):
            raise TypeError(f"index_put(): indices must be Tensors or None, not {type(k).__name__}")
        if k is not None and k.dtype not in (D.int64, D.int32, D.uint8, D.bool_):
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    return tuple(slice(None) if k is None else k.to(D.bool_) if k.dtype is D.uint8 else k for k in indices)


@both(in_place=True)
def index_put(input, indices, values, accumulate=False, *, out=None):
    """input with `values` written (or added, with accumulate) where x[indices] would read."""
    if input.dtype is not values.dtype:
        raise RuntimeError(
            f"Index put requires the source and destination dtypes match, got {input.dtype.title} for the destination and {values.dtype.title} for the source."
        )
    holes, tensors, shape = _split(input, _full(input, _as_key(indices)))
    values = _drop_ones_to(values, shape)
    if broadcast_fails(values._data.shape, shape):
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(values._data.shape)} cannot be broadcast to indexing result of shape {list(shape)}")
    return apply(TABLE["index_put"], (input, values, *tensors), {"key": holes, "shape": shape, "accumulate": bool(accumulate)}, out=out)


FUNCTIONS["_unsafe_index_put"] = index_put


@function
def _index_put_impl_(input, indices, values, accumulate=False, unsafe=False):
    """index_put in place."""
    return index_put(input, indices, values, accumulate, out=InPlace(input))


def _index(self, indices):
    """x[indices] for a tuple of index tensors (None keeps a dimension)."""
    return _advanced(self, _full(self, _as_key(indices)))


METHODS["index"] = FUNCTIONS["_unsafe_index"] = _index


# ---- masks -----------------------------------------------------------------------------------------------------


@both(in_place=True)
def masked_scatter(input, mask, source, *, out=None):
    """input with the elements of `source`, in order, where mask is true."""
    if input.dtype is not source.dtype:
        raise RuntimeError(f"masked_scatter: expected self and source to have same dtypes but got {input.dtype.title} and {source.dtype.title}")
    shape = broadcast(input._data.shape, mask._data.shape)
    if mask.dtype is not D.bool_:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype.title}")
    if np.count_nonzero(np.broadcast_to(mask._data, shape)) > source.numel():
        raise RuntimeError("Number of elements of source < number of ones in mask")
    return apply(R.MASKED_SCATTER, (input, mask, source), out=out)


@both
def nonzero_static(input, *, size, fill_value=-1, out=None):
    """nonzero() with exactly `size` rows: cut off, or filled up with fill_value."""
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    found = input.nonzero()._data[:size]
    rows = np.full((size, found.shape[1]), fill_value, np.int64)
    rows[: len(found)] = found
    return beside(input, rows) if out is None else out.resize_(rows.shape).copy_(wrap(rows))


# ---- windows ---------------------------------------------------------------------------------------------------


def _fits_window(window, src):
    if window._data.shape != src._data.shape:
        raise RuntimeError(f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = {list(window.shape)}")


@both
def select_scatter(input, src, dim, index):
    """A copy of input with `src` in place of input.select(dim, index)."""
    _fits_window(input.detach().select(dim, index), src)
    d = wrap_dim(dim, input._data.ndim)
    return apply(R.SELECT_SCATTER, (input, src), {"key": (slice(None),) * d + (operator.index(index), Ellipsis)})


@both
def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """A copy of input with `src` in place of the slice start:end:step of a dimension."""
    if step <= 0:
        raise RuntimeError("slice step must be positive")
    key = (slice(None),) * wrap_dim(dim, input._data.ndim) + (slice(start, end, step), Ellipsis)
    _fits_window(input.detach()[key], src)
    return apply(R.SLICE_SCATTER, (input, src), {"key": key})


@method
def _scattered_key(self, key, src):
    """This tensor with `src` (zeros if None) at a basic key."""
    src = self.new_zeros(self._data[key].shape) if src is None else src
    return apply(R.SLICE_SCATTER, (self, src), {"key": key})


@both
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """A copy of input with `src` in place of its diagonal."""
    _fits_window(input.detach().diagonal(offset, dim1, dim2), src)
    n = input._data.ndim
    return apply(R.DIAGONAL_SCATTER, (input, src), {"offset": offset, "dim1": wrap_dim(dim1, n), "dim2": wrap_dim(dim2, n)})


@both
def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """A copy of input with `src` in the window that as_strided would give."""
    size, stride = tuple(size), tuple(stride)
    if not needs(input) and not needs(src):  # the window lies in a copy of input's memory, which begins before input may
        here, strides = input.storage_offset(), input.stride()
        reach = here + (1 + sum((n - 1) * s for n, s in zip(input.shape, strides)) if input.numel() else 0)
        memory = input.as_strided((reach,), (1,), 0).clone()
        window = memory.as_strided(size, stride, here if storage_offset is None else storage_offset)
        _fits_window(window, src)
        window.copy_(src)
        return memory.as_strided(input.shape, strides, here).clone()
    offset = 0 if storage_offset is None else storage_offset
    window = input.detach().clone(memory_format=contiguous_format).as_strided(size, stride, offset)
    check_memory(window)
    _fits_window(window, src)
    return apply(R.STRIDED_SCATTER, (input, src), {"shape": size, "strides": stride, "offset": offset})


# ---- along one dimension ---------------------------------------------------------------------------------------


@both(in_place=True)
def index_reduce(input, dim, index, source, reduce, *, include_self=True, out=None):
    """input combined with source at the indices of a dimension by 'prod', 'mean', 'amax' or 'amin'."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    warnings.warn("index_reduce() is in beta and the API may change at any time.", UserWarning, stacklevel=3)
    if input.dtype.category in (D.BOOL, D.COMPLEX):
        raise NotImplementedError(f'"index_func_" not implemented for \'{input.dtype.title}\': index_reduce takes integer and floating tensors')
    a = input._data
    d = wrap_dim(dim, a.ndim)
    _index_arg("index_reduce", index, vector=True)
    if source.dtype is not input.dtype:
        raise RuntimeError(f"index_reduce(): self and source must have the same scalar type, but got {input.dtype.title} and {source.dtype.title}")
    want = a.shape[:d] + (index.numel(),) + a.shape[d + 1 :] if a.ndim else ()
    if a.ndim and source._data.shape != want or not a.ndim and source.numel() != index.numel():
        raise RuntimeError(f"index_reduce(): source of shape {list(source.shape)} does not match {index.numel()} indices into dimension {d} of {list(a.shape)} (expected {list(want)})")
    i = index._data
    n = a.shape[d] if a.ndim else 1
    if i.size and (int(i.min()) < 0 or int(i.max()) >= n):
        raise IndexError(f"index out of range in self (index {int(i.min()) if int(i.min()) < 0 else int(i.max())}, dimension {d} of size {n})")
    if a.ndim:
        index = index.reshape((1,) * d + (-1,) + (1,) * (a.ndim - d - 1)).expand(want)
    return apply(R.INDEX_REDUCE, (input, index, source), {"axis": d, "reduce": reduce, "include_self": bool(include_self)}, out=out)


@both
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Each element of a dimension (of the flattened input without dim) repeated; with repeats alone, the places that it repeats."""
    if repeats is None:
        return _repeated_places(input, output_size)
    if dim is None:
        input, dim = input.reshape(-1), 0
    d = wrap_dim(dim, input._data.ndim)
    if not input._data.ndim:
        input = input.reshape(1)
    n = input._data.shape[d]
    if not isinstance(repeats, Tensor):
        if isinstance(repeats, (list, tuple)):
            raise TypeError("repeat_interleave(): argument 'repeats' must be Tensor or int, not list; write torch.tensor(repeats)")
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        if output_size is not None and n * repeats != output_size:
            raise RuntimeError("allocated size does not match required size")
        shape = [*input._data.shape]
        many = input.unsqueeze(d + 1).expand(*shape[: d + 1], repeats, *shape[d + 1 :]).clone(memory_format=contiguous_format)
        return many.view(*shape[:d], n * repeats, *shape[d + 1 :])
    else:
        if repeats._data.ndim > 1:
            raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
        if repeats._data.ndim == 1 and repeats.numel() not in (1, n):
            raise RuntimeError(f"repeats must have the same size as input along dim, but got repeats.size(0) = {repeats.numel()} and input.size({d}) = {n}")
        places = _repeated_places(repeats.reshape(-1).expand(n), output_size)
    if output_size is not None and places.numel() != output_size:
        raise RuntimeError("allocated size does not match required size")
    return input.index_select(d, places)


def _repeated_places(repeats, output_size=None):
    if repeats.dtype not in (D.int64, D.int32):
        raise RuntimeError("repeats has to be Long or Int tensor")
    if repeats._data.ndim != 1:
        raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
    counts = repeats._data
    if counts.size and int(counts.min()) < 0:
        raise RuntimeError("repeats can not be negative")
    places = np.repeat(np.arange(counts.size, dtype=counts.dtype), counts)
    if output_size is not None and places.size != output_size:
        raise RuntimeError("allocated size does not match required size")
    return beside(repeats, places)


# ---- segments --------------------------------------------------------------------------------------------------


@function
def segment_reduce(data, reduce, *, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None):
    """Consecutive segments of a dimension reduced ('sum', 'mean', 'max', 'min', 'prod'), their lengths or offsets given."""
    if reduce not in ("sum", "mean", "max", "min", "prod"):
        raise RuntimeError(f"segment_reduce(): reduce must be one of sum, mean, max, min, prod, got {reduce}")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if lengths is None:
        lengths = offsets.diff(dim=-1)
    d = wrap_dim(axis, data._data.ndim)
    if lengths._data.ndim != d + 1:
        raise RuntimeError(f"segment_reduce(): lengths has {lengths._data.ndim} dimensions, expected axis + 1 = {d + 1}")
    flat_lengths = lengths._data.reshape(-1, lengths._data.shape[-1])
    rows = data.reshape((prod(data._data.shape[:d]), *data._data.shape[d:]))
    whole = {"sum": 0.0, "mean": float("nan"), "prod": 1.0, "max": -float("inf"), "min": float("inf")}[reduce]
    out = []
    for row, sizes in zip(rows.unbind(0), flat_lengths.tolist()):
        if sum(sizes) != row._data.shape[0] and not unsafe:
            raise RuntimeError("segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when !unsafe.")
        start = 0
        for n in sizes:
            out.append(_reduced_segment(row.narrow(0, start, n), reduce, n, initial, whole))
            start += n
    stacked = TABLE["stack"]
    shape = (*lengths._data.shape, *data._data.shape[d + 1 :])
    return apply(stacked, tuple(out), {"dim": 0}).reshape(shape) if out else data.new_empty(shape)


def _reduced_segment(piece, reduce, n, initial, empty):
    start = None if initial is None else piece.new_full(piece._data.shape[1:], initial)
    if n == 0:
        return piece.new_full(piece._data.shape[1:], empty) if start is None else start
    if reduce in ("sum", "mean"):
        total = piece.sum(0) if start is None else piece.sum(0) + start
        return total / n if reduce == "mean" else total
    if reduce == "prod":
        return piece.prod(0) if start is None else piece.prod(0) * start
    if start is not None:
        piece = piece._cat_first(start)
    return piece.amax(0) if reduce == "max" else piece.amin(0)


@method
def _cat_first(self, row):
    return row.unsqueeze(0)._cat(self, 0)


