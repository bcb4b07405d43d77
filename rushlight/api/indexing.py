"""Reading and writing by index: x[...] in all its forms, gather and scatter and their kin.

Basic keys (ints, slices, None, Ellipsis) give views: NumPy's own indexing is their reading, with Ellipsis appended so
that a single element is still a view. Keys with tensors, arrays, lists or bools copy; they follow NumPy's placement
rules, which are PyTorch's.
"""

from __future__ import annotations

import warnings

import numpy as np

from rushlight.api.writing import delivered
from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.backends.compiled import checks, extent
from rushlight.bind import FUNCTIONS, METHODS, both, function, method
from rushlight.core import dtype as D
from rushlight.core.shape import broadcast, wrap_dim
from rushlight.core.warning import once
from rushlight.core.window import Window
from rushlight.dispatch import (
    InPlace,
    apply,
    check_history,
    check_memory,
    check_writable,
    kind_of,
    make_view,
    under_name,
    view,
)
from rushlight.ops import views as V
from rushlight.ops.indexing import HOLE
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, beside, needs, view_of

ndarray = np.ndarray
_INDEX_DTYPES = (D.int64, D.int32, D.int16, D.int8, D.uint8, D.bool_)


def _is_plain(key):
    """Whether a key has only ints, forward slices, None and Ellipsis (what the fast path takes)."""
    for k in key:
        kind = k.__class__
        if kind is int or k is None or k is Ellipsis:
            continue
        if kind is slice:
            step = k.step
            if step is None or step.__class__ is int and step > 0:
                continue
        return False
    return True


def getitem(x, key):
    """x[key]: a view for basic keys, a copy for the others."""
    a = x._data
    plain = key if key.__class__ is tuple else (key,)
    if a.__class__ is ndarray and not modes.diverted and _is_plain(plain):
        try:
            data = a[plain] if Ellipsis in plain else a[(*plain, Ellipsis)]
        except IndexError:
            return _checked_getitem(x, plain)
        if None in plain:
            data = V.with_strides(data)
        return make_view(_row_of(plain), x, data, {"key": plain}) if x._rg or x._base is not None else view_of(x, data)
    return _checked_getitem(x, plain)


def _row_of(key):
    """The row that names a basic key: that of its last part that does something."""
    if len(key) == 1 and key[0].__class__ is slice:
        return V.SLICE
    for k in reversed(key):
        if k.__class__ is int:
            return V.SELECT
        if k is None:
            return V.NONE_INDEX
        if k.__class__ is slice and not (k.start is None and k.stop is None and k.step in (None, 1)):
            return V.SLICE
    return V.ALIAS_KEY


def _normal(x, key):
    """The key as a tuple of ints, slices, None, Ellipsis and index tensors/arrays; sequences become tensors."""
    out = []
    for k in key:
        if isinstance(k, Tensor):
            if k._data.ndim == 0 and k.dtype.category == D.INTEGER:
                out.append(int(k.item()) if not isinstance(k._data, Window) else k)
                continue
            if k.dtype not in _INDEX_DTYPES:
                raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors (got {k.dtype})")
            if k.dtype is D.uint8:
                once("byte masks", "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.", 4)
                k = k.to(D.bool_)
            out.append(k)
        elif isinstance(k, (bool, np.bool_)):
            out.append(FUNCTIONS["tensor"](bool(k)))
        elif k is None or k is Ellipsis:
            out.append(k)
        elif isinstance(k, slice):
            k = slice(*[v if v is None else _slice_int(v) for v in (k.start, k.stop, k.step)])
            if k.step is not None and k.step <= 0:
                raise ValueError("step must be greater than zero")
            out.append(k)
        elif isinstance(k, (list, tuple, range, ndarray)):
            t = FUNCTIONS["from_numpy"](np.array(k)) if isinstance(k, ndarray) else FUNCTIONS["tensor"](k)
            if isinstance(k, (list, tuple)) and len(k) == 0:
                t = t.to(D.int64)
            if t.dtype not in _INDEX_DTYPES:
                raise IndexError(f"tensors used as indices must be long, int, byte or bool tensors (got {t.dtype})")
            out.append(t)
        elif hasattr(k, "__index__"):
            out.append(k.__index__())
        else:
            kind = IndexError if isinstance(k, (float, complex)) else TypeError
            raise kind(f"only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {type(k).__name__})")
    return tuple(out)


def _slice_int(v):
    if hasattr(v, "__index__"):
        return v.__index__()
    raise TypeError("slice indices must be integers or None or have an __index__ method")


def _consumed(k):
    """How many dimensions of the tensor a part of the key takes."""
    if k is None or k is Ellipsis:
        return 0
    return k._data.ndim if isinstance(k, Tensor) and k.dtype is D.bool_ else 1


def _full(x, key):
    """The key with its Ellipsis written out; IndexError where it has too many parts or an int is out of range."""
    shape = x._data.shape
    n = sum(map(_consumed, key))
    if n > len(shape):
        if not shape:
            raise IndexError("invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim tensor to a number")
        raise IndexError(f"too many indices for tensor of dimension {len(shape)}")
    dots = [i for i, k in enumerate(key) if k is Ellipsis]
    if len(dots) > 1:  # PyTorch takes the others for empty ones
        key = tuple([k for i, k in enumerate(key) if i not in dots[1:]])
    if not dots:
        key, dots = (*key, Ellipsis), [len(key)]
    i = dots[0]
    key = key[:i] + (slice(None),) * (len(shape) - n) + key[i + 1 :]
    dim = 0
    for k in key:
        if k.__class__ is int and not -shape[dim] <= k < shape[dim]:
            raise IndexError(f"index {k} is out of bounds for dimension {dim} with size {shape[dim]}")
        if isinstance(k, Tensor) and k.dtype is D.bool_:
            for j, m in enumerate(k._data.shape):
                if m != shape[dim + j]:
                    raise IndexError(
                        f"The shape of the mask {list(k._data.shape)} at index {j} does not match the shape of the indexed tensor {list(shape)} at index {dim + j}"
                    )
        dim += _consumed(k)
    return key


def _checked_getitem(x, key):
    if x.__class__ is not Tensor and not isinstance(x, Tensor):
        raise TypeError(f"indexing needs a Tensor, not {type(x).__name__}")
    key = _full(x, _normal(x, _as_tuple(key)))
    if not any(isinstance(k, Tensor) for k in key):
        return view(_row_of(key), x, key=(*key, Ellipsis))
    return _advanced(*_without_bools(x, key))


def _as_tuple(key):
    """A key of one sequence that holds more than numbers is the tuple of its parts: x[[[0, 1], [1, 0]]] is x[[0, 1], [1, 0]]."""
    if len(key) != 1 or not isinstance(key[0], (list, tuple)):
        return key
    parts = key[0]
    if not any(isinstance(k, (slice, Tensor, list, tuple, type(None), type(Ellipsis))) for k in parts):
        return key
    if isinstance(parts, list):
        warnings.warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated: use x[tuple(seq)] instead of x[seq], or x[torch.tensor(seq)] for an "
            "index of so many dimensions.",
            UserWarning,
            stacklevel=4,
        )
    return tuple(parts)


def _without_bools(x, key):
    """True and False are index tensors [0] and [] of a new dimension of size 1."""
    out, dim = [], 0
    for k in key:
        if isinstance(k, Tensor) and k.dtype is D.bool_ and k._data.ndim == 0:
            x = x.unsqueeze(dim)
            k = FUNCTIONS["tensor"]([0] if bool(k) else [], dtype=D.int64)
        out.append(k)
        dim += _consumed(k)
    return x, tuple(out)


def _on_device_of(x, k):
    """An index tensor where the indexed one is: those of the CPU go anywhere."""
    if k.device.type != "cpu":
        raise RuntimeError(f"indices should be either on cpu or on the same device as the indexed tensor ({x.device}); they are on {k.device}")
    return k.to(x.device)


def _split(x, key):
    """A key with tensors as (key with holes, index tensors, result shape); masks become index tensors."""
    shape = x._data.shape
    indices, holes, dim = [], [], 0
    for k in key:
        if isinstance(k, Tensor):
            if k._data.__class__ is not x._data.__class__:
                k = _on_device_of(x, k)
            if k.dtype is D.bool_:
                found = np.nonzero(k._data)
                indices += [beside(x, f) for f in found]
                holes += [HOLE] * len(found)
                dim += k._data.ndim
                continue
            _check_range(k, shape[dim], dim)
            indices.append(k)
            holes.append(HOLE)
        else:
            holes.append(k)
        dim += _consumed(k)
    try:
        together = broadcast(*[i._data.shape for i in indices])
    except RuntimeError:
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {', '.join(str(list(i._data.shape)) for i in indices)}"
        ) from None
    return tuple(holes), tuple(indices), _result_shape(shape, holes, together)


def _result_shape(shape, holes, together):
    """The shape of advanced indexing: index dimensions stand where the index parts were if these are neighbours, else first."""
    out, dim, places = [], 0, []
    for pos, h in enumerate(holes):
        if h is None:
            out.append((pos, 1))
            continue
        if h is HOLE or h.__class__ is int:
            places.append(pos)
        else:
            out.append((pos, len(range(*h.indices(shape[dim])))))
        dim += 1
    neighbours = places == list(range(places[0], places[-1] + 1))
    before = [n for pos, n in out if neighbours and pos < places[0]]
    after = [n for pos, n in out if not (neighbours and pos < places[0])]
    return (*before, *together, *after)


def _check_range(index, size, dim):
    i = index._data
    if i.size:
        low, high = extent(i)
        if low < -size or high >= size:
            bad = low if low < -size else high
            raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {size}")


def _without_ints(x, key):
    """Apply the ints and slices that stand beside index tensors as views first, as PyTorch does: only tensors stay advanced."""
    if not any(k.__class__ is int for k in key):
        return x, key
    plain, rest = [], []
    for k in key:
        if isinstance(k, Tensor):
            plain += [slice(None)] * _consumed(k)
            rest.append(k)
        elif k is None:
            plain.append(None)
            rest.append(slice(None))
        else:
            plain.append(k)
            if k.__class__ is not int:
                rest.append(slice(None))
    return view(_row_of(tuple(plain)), x, key=(*plain, Ellipsis)), tuple(rest)


def _advanced(x, key):
    x, key = _without_ints(x, key)
    holes, indices, shape = _split(x, key)
    return apply(TABLE["index"], (x, *indices), {"key": holes, "shape": shape})


@method
def _index_add_at(self, indices, key, g):
    """This tensor with `g` added at an advanced key (the transpose of reading there)."""
    return apply(TABLE["index_put"], (self, g, *indices), {"key": key, "shape": None, "accumulate": True})


@method
def _index_zero_at(self, indices, key):
    return apply(TABLE["index_put"], (self, self.new_zeros(()), *indices), {"key": key, "shape": None, "accumulate": False})


@method
def _index_at(self, indices, key):
    it = iter(indices)
    return _checked_getitem(self, tuple(next(it) if k is HOLE else k for k in key))


@method
def _into_corner(self, shape):
    """Zeros of `shape` with this tensor in the corner where all indices start."""
    if self._data.shape == tuple(shape):
        return self
    return self._place(tuple(slice(0, n) for n in self._data.shape), shape)


def setitem(x, key, value):
    """x[key] = value: written through a view for basic keys, by index_put for the others."""
    if key is True or key is False:  # x itself, or nothing of it
        if key:
            setitem(x, (None, Ellipsis), value)
        elif not isinstance(value, Tensor):
            _converted(_as_value(x, value), x)
        return
    key = _full(x, _normal(x, _as_tuple(key if key.__class__ is tuple else (key,))))
    if not isinstance(value, Tensor):
        value = _as_value(x, value)
    if not any(isinstance(k, Tensor) for k in key):
        target = x if _is_whole(x, key) else view(_row_of(key), x, key=(*key, Ellipsis))
        if isinstance(value, Tensor):
            target.copy_(_drop_ones(value, target))
        else:
            check_memory(target)
            alone = x.dtype.compute is not x.dtype or STATE.grad and needs(x)  # written as one element of the type
            target.fill_(x.new_full((), value) if alone else value)
        return
    if len(key) == 1 and key[0].dtype is D.bool_ and not isinstance(value, Tensor) and not x.requires_grad:
        np.copyto(x._data, _converted(value, x), where=_mask_for(x, key[0]), casting="unsafe") if _writable(x) else None
        x._shared().count("masked_fill")
        return
    target, rest = _without_ints(*_without_bools(x, key))
    holes, indices, shape = _split(target, rest)
    v = value if isinstance(value, Tensor) else x.new_full((), value)
    if v.dtype is not x.dtype:
        masks_only = all(k.dtype is D.bool_ and k._data.ndim for k in key if isinstance(k, Tensor))
        if isinstance(value, Tensor) and not (masks_only and v._data.ndim == 0):
            raise RuntimeError(
                f"Index put requires the source and destination dtypes match, got {x.dtype.title} for the destination and {v.dtype.title} for the source."
            )
        v = v.to(x.dtype)
    v = _drop_ones_to(v, shape)
    if broadcast_fails(v._data.shape, shape):
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(v._data.shape)} cannot be broadcast to indexing result of shape {list(shape)}")
    apply(TABLE["index_put"], (target, v, *indices), {"key": holes, "shape": shape, "accumulate": False}, out=InPlace(target))


def _is_whole(x, key):
    """Whether a basic key is all of x, so that a write to it is a write to x itself."""
    if any(k is Ellipsis for k in key):
        return all(k is Ellipsis or k.__class__ is slice and k == slice(None) for k in key)
    return all(k.__class__ is slice and k.indices(n) == (0, n, 1) for k, n in zip(key, x._data.shape))


def _mask_for(x, mask):
    m = mask._data
    return m.reshape(m.shape + (1,) * (x._data.ndim - m.ndim))


def _converted(value, x):
    return np.asarray(D.number_for(value, x.dtype, within=D.filled(x.dtype))).astype(x._data.dtype)


def _writable(x):
    check_history(x, False)
    check_writable(TABLE["fill"], x, ())
    return True


def broadcast_fails(source, target):
    """Whether `source` does not broadcast to exactly `target`."""
    lead = len(target) - len(source)
    return lead < 0 or any(n not in (1, m) for n, m in zip(source, target[lead:]))


def _drop_ones_to(v, shape):
    while v._data.ndim > len(shape) and v._data.shape[0] == 1:
        v = v.squeeze(0)
    return v


def _drop_ones(value, target):
    """Leading dimensions of size 1 that the target does not have are ignored on assignment."""
    n = target._data.ndim
    return _drop_ones_to(value, target._data.shape) if value._data.ndim > n else value


def _as_value(x, value):
    if isinstance(value, (bool, int, float, complex)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (ndarray, list, tuple)):
        raise TypeError(f"can't assign a {kind_of(value)} to a {x.type()}; write torch.tensor(value)")
    raise TypeError(f"can't assign a {type(value).__name__} to a {x.type()}")


METHODS["__getitem__"], METHODS["__setitem__"] = getitem, setitem


@method
def __delitem__(self, key):
    raise TypeError("Tensor does not support deleting items")


@method
def __contains__(self, element):
    """Whether any element equals `element`."""
    if isinstance(element, (Tensor, bool, int, float, complex)):
        return bool((element == self).any().item())
    raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}.")


# ---- along one dimension ---------------------------------------------------------------------------------------


def _index_arg(name, index, *, vector=False):
    if not isinstance(index, Tensor):
        raise TypeError(f"{name}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index.dtype not in (D.int64, D.int32) and (vector or index._data.size):
        raise RuntimeError(f"{name}(): Expected dtype int64 for index (got {index.dtype})" if not vector else f"{name}(): Expected dtype int32 or int64 for index (got {index.dtype})")
    if vector and index._data.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, but got dim: {index._data.ndim} with type: {index.dtype.title} and size: {list(index._data.shape)}")
    return index


_CHECKED = ("gather", "scatter_add")  # rows whose kernels find indices out of range


def _in_range(name, index, size, dim):
    i = index._data
    if i.__class__ is ndarray and i.size and not (name in _CHECKED and not modes.diverted and checks(i)):
        low, high = extent(i)
        if low < 0 or high >= size:
            raise RuntimeError(f"index {low if low < 0 else high} is out of bounds for dimension {dim} with size {size}")


def _fits(name, x, index, d, src=None):
    """gather and scatter: index must not be larger than x (except along d), nor than src."""
    a, i = x._data, index._data
    if i.size == 0:
        return
    if max(a.ndim, 1) != max(i.ndim, 1):
        raise RuntimeError(f"Index tensor must have the same number of dimensions as input tensor ({name}: {i.ndim} and {a.ndim})")
    for k in range(a.ndim if i.ndim else 0):
        if k != d and i.shape[k] > a.shape[k] or src is not None and src._data.ndim and i.shape[k] > src._data.shape[k]:
            more = f" and to be no larger size than src {list(src._data.shape)}" if src is not None else ""
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index {list(i.shape)} to be no larger than self {list(a.shape)} apart from dimension {d}{more}"
            )


@both
def gather(input, dim, index, *, sparse_grad=False, out=None):
    """out[i][j] = input[index[i][j]][j] along `dim`."""
    d = wrap_dim(dim, input._data.ndim)
    _index_arg("gather", index)
    _fits("gather", input, index, d)
    _in_range("gather", index, input._data.shape[d] if input._data.ndim else 1, d)
    return apply(TABLE["gather"], (input, index), {"axis": d}, out=out)


@both(in_place=True)
def scatter(input, dim, index, src=None, *, value=None, reduce=None, out=None):
    """input with src (a tensor or number) written at index along `dim`; `reduce` 'add' or 'multiply' combines."""
    d = wrap_dim(dim, input._data.ndim)
    _index_arg("scatter", index)
    src = value if src is None else src
    tensor = isinstance(src, Tensor)
    _fits("scatter", input, index, d, src if tensor else None)
    _in_range("scatter", index, input._data.shape[d] if input._data.ndim else 1, d)
    if tensor and src.dtype is not input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise RuntimeError("reduce argument must be either add or multiply.")
        s = src if tensor else input.new_full(index.shape, src)
        return apply(TABLE["scatter_reduce"], (input, index, s), {"axis": d, "reduce": "sum" if reduce == "add" else "prod", "include_self": True}, out=out)
    if tensor:
        return apply(TABLE["scatter"], (input, index, src), {"axis": d}, out=out)
    return apply(TABLE["scatter_value"], (input, index), {"axis": d, "value": D.number_for(src, input.dtype)}, out=out)


@both(in_place=True)
def scatter_add(input, dim, index, src, *, out=None):
    """input with src added at index along `dim`; repeated places add up."""
    d = wrap_dim(dim, input._data.ndim)
    _index_arg("scatter_add", index)
    _fits("scatter_add", input, index, d, src)
    _in_range("scatter_add", index, input._data.shape[d] if input._data.ndim else 1, d)
    if src.dtype is not input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    return apply(TABLE["scatter_add"], (input, index, src), {"axis": d}, out=out)


@both(in_place=True)
def scatter_reduce(input, dim, index, src, reduce, *, include_self=True, out=None):
    """input combined at index along `dim` with src by 'sum', 'prod', 'mean', 'amax' or 'amin'."""
    d = wrap_dim(dim, input._data.ndim)
    _index_arg("scatter_reduce", index)
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    _fits("scatter_reduce", input, index, d, src)
    _in_range("scatter_reduce", index, input._data.shape[d] if input._data.ndim else 1, d)
    if src.dtype is not input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    return apply(TABLE["scatter_reduce"], (input, index, src), {"axis": d, "reduce": reduce, "include_self": include_self}, out=out)


@both
def index_select(input, dim, index, *, out=None):
    """The elements of a dimension named by an index vector."""
    d = wrap_dim(dim, input._data.ndim)
    _index_arg("index_select", index, vector=True)
    n = input._data.shape[d] if input._data.ndim else 1
    i = index._data
    if i.__class__ is ndarray and i.size:
        low, high = extent(i)
        if low < 0 or high >= n:
            raise IndexError(f"index out of range in self (index {low if low < 0 else high}, dimension {d} of size {n})")
    return apply(TABLE["index_select"], (input, index), {"axis": d}, out=out)


@both(in_place=True)
def index_add(input, dim, index, source, *, alpha=1, out=None):
    """input with alpha * source added at the indices of a dimension."""
    d = wrap_dim(dim, input._data.ndim)
    _index_arg("index_add", index, vector=True)
    _check_source("index_add", input, d, index, source)
    return apply(TABLE["index_add"], (input, index, source), {"axis": d, "alpha": alpha}, out=out)


def _check_source(name, x, d, index, source):
    if source.dtype is not x.dtype:
        raise RuntimeError(f"{name}(): self ({x.dtype.title}) and source ({source.dtype.title}) must have the same scalar type")
    shape = x._data.shape
    expected = shape[:d] + (index._data.size,) + shape[d + 1 :] if shape else ()
    have = source._data.shape
    if have != expected and not (len(expected) <= 1 and source.numel() == index.numel()):
        raise RuntimeError(f"{name}(): source of shape {list(have)} does not match {list(index._data.shape)} indices into dimension {d} of {list(shape)} (expected {list(expected)})")
    i, n = index._data, (shape[d] if shape else 1)
    if i.__class__ is ndarray and i.size and (int(i.min()) < 0 or int(i.max()) >= n):
        raise IndexError(f"index out of range in self (index {int(i.max())}, dimension {d} of size {n})")


@both(in_place=True)
def index_copy(input, dim, index, source, *, out=None):
    """input with source written at the indices of a dimension."""
    d = wrap_dim(dim, input._data.ndim)
    _index_arg("index_copy", index, vector=True)
    _check_source("index_copy", input, d, index, source)
    return apply(TABLE["index_copy"], (input, index, source), {"axis": d}, out=out)


@both(in_place=True)
def index_fill(input, dim, index, value, *, out=None):
    """input with a number written at the indices of a dimension."""
    d = wrap_dim(dim, input._data.ndim)
    _index_arg("index_fill", index, vector=True)
    if isinstance(value, Tensor):
        if value._data.ndim:
            raise RuntimeError(f"Only supports 0-dimension value tensor but got tensor with {value._data.ndim} dimensions.")
    n = input._data.shape[d] if input._data.ndim else 1
    i = index._data
    if i.__class__ is ndarray and i.size and (int(i.min()) < -n or int(i.max()) >= n):
        raise IndexError(f"index {int(i.max())} is out of bounds for dimension {d} with size {n}")
    if isinstance(value, Tensor):
        return apply(TABLE["index_fill_tensor"], (input, index, value), {"axis": d}, out=out)
    return apply(TABLE["index_fill"], (input, index), {"axis": d, "value": D.number_for(value, input.dtype)}, out=out)


@function
def nonzero(input, *, as_tuple=False, out=None):
    """The places of the elements that are not zero: one row each, or one index vector a dimension with as_tuple."""
    found = np.nonzero(np.atleast_1d(input._data))
    if as_tuple:
        return tuple(beside(input, np.ascontiguousarray(f)) for f in found)
    t = beside(input, np.stack(found).T if input._data.ndim else np.zeros((found[0].size, 0), np.int64))  # a dimension after another, as PyTorch keeps them
    return delivered(t, out, "nonzero", exact=True, apart=(input,))


METHODS["nonzero"] = nonzero


@both
def masked_select(input, mask, *, out=None):
    """The elements where mask is true, in one dimension."""
    if mask.dtype is not D.bool_:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, got {mask.dtype}")
    shape = broadcast(input._data.shape, mask._data.shape)
    t = under_name("MaskedSelectBackward0", input.expand(shape or (1,))[mask.expand(shape or (1,))])
    return delivered(t, out, "masked_select", exact=True, apart=(input, mask))


@both(in_place=True)
def masked_fill(input, mask, value, *, out=None):
    """input with `value` (a number or 0-dim tensor) where mask is true."""
    if mask.dtype is not D.bool_:
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    if isinstance(value, Tensor) and value._data.ndim:
        raise RuntimeError(f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {value._data.ndim} dimension(s).")
    if isinstance(value, Tensor):
        if value.is_complex() and input.dtype.category < D.COMPLEX:
            raise RuntimeError(f"value cannot be converted to type {input.dtype.name}_t without overflow")
        return apply(TABLE["masked_fill_tensor"], (input, mask, value), {}, out=out)
    return apply(TABLE["masked_fill"], (input, mask), {"value": D.number_for(value, input.dtype)}, out=out)
