"""Making tensors: from data, of constants, sequences, and from NumPy memory.

Factory functions take `dtype`, `device`, `requires_grad`, `out`; `pin_memory`, `layout` are accepted and must be the
defaults. Numbers decide the dtype as in PyTorch: bool, int64, the default float, its complex.
"""

from __future__ import annotations

import numbers
import operator
import warnings

import numpy as np

from rushlight.api.devices import allocate, exact, placed
from rushlight.api.writing import delivered
from rushlight.autograd import modes
from rushlight.backends.cpu import _convert, cast
from rushlight.bind import FUNCTIONS, function, method
from rushlight.core import device as device_
from rushlight.core import dtype as D
from rushlight.core.promotion import promote
from rushlight.core.shape import Size, dense, overlaps
from rushlight.core.warning import once
from rushlight.dispatch import check_memory, resize_out
from rushlight.storage import ALLOCATORS, Storage
from rushlight.tensor import Tensor, wrap

ndarray = np.ndarray


def sizes(args, name="size"):
    """A shape from f(2, 3) or f((2, 3)); negative or non-integer sizes are refused."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = args[0]
    out = []
    for i, n in enumerate(args):
        if type(n) is not int:
            if isinstance(n, bool) or not hasattr(n, "__index__"):
                raise TypeError(
                    f"{name}(): argument 'size' must be tuple of ints, but found element of type {type(n).__name__} at pos {i + 1}"
                )
            n = operator.index(n)
        out.append(n)
    if out and min(out) < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(out)}: {out}")
    return tuple(out)


def checked_dtype(dtype, default=None):
    """The dtype asked for, or the default; TypeError for what is not a dtype."""
    if dtype is None:
        return default or D.get_default_dtype()
    if dtype.__class__ is D.DType:
        return dtype
    if dtype in (float, int, bool, complex):
        return {float: D.float64, int: D.int64, bool: D.bool_, complex: D.complex128}[dtype]
    raise TypeError(f"argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")


def dtype_beside(out, dtype, default=None):
    """The dtype of a factory's result: the one asked for, that of `out`, or the default; RuntimeError where the first two differ."""
    if out is None:
        return checked_dtype(dtype, default)
    if not isinstance(out, Tensor):
        raise TypeError(f"argument 'out' must be Tensor, not {type(out).__name__}")
    if dtype is not None and checked_dtype(dtype) is not out.dtype:
        raise RuntimeError(f"dtype {checked_dtype(dtype).title} does not match dtype of out parameter ({out.dtype.title}); leave dtype= out")
    return out.dtype


def made(data, device, requires_grad, out=None):
    """The finished tensor of a factory function."""
    if out is not None:
        return delivered(wrap(data), out, "out")
    t = placed(wrap(data), device)
    if requires_grad:
        t.requires_grad_(True)
    return t


# ---- from data -------------------------------------------------------------------------------------------------


def _kind(value):
    """The dtype and shape that nested sequences, numbers, arrays and tensors stand for together."""
    if isinstance(value, Tensor):
        return value.dtype
    if isinstance(value, ndarray):
        return D.of(value.dtype)
    if isinstance(value, np.generic):
        return D.of(value.dtype) if value.dtype.kind != "f" or value.dtype != np.float64 else D.float64
    return D.of_scalar(value)


def _leaves(data, shape, depth, leaves):
    """Collect the scalars of nested sequences, checking that they form a rectangle."""
    n = len(data)
    if depth == len(shape):
        shape.append(n)
    elif shape[depth] != n:
        raise ValueError(f"expected sequence of length {shape[depth]} at dim {depth} (got {n})")
    for item in data:
        if isinstance(item, Tensor) and item.ndim and depth + 1 < len(shape):
            item = item.tolist()  # beside sequences it is one
        if isinstance(item, (list, tuple)) or _is_sequence(item):
            if depth + 1 == len(shape) and leaves:
                raise TypeError(f"not a sequence: a number and a {type(item).__name__} stand side by side at dim {depth}")
            _leaves(item, shape, depth + 1, leaves)
        else:
            if depth + 1 < len(shape):
                raise _no_sequence(item, shape[depth + 1], depth + 1)
            leaves.append(item)


def _no_sequence(item, length, depth):
    """The error for something else where a sequence stands beside others."""
    if isinstance(item, (str, bytes)):
        return TypeError(f"new(): invalid data type '{type(item).__name__}': {item!r}")
    if not isinstance(item, (*_LEAF, Tensor)):
        return RuntimeError(f"Could not infer dtype of {type(item).__name__}")
    return TypeError(f"not a sequence: {item!r} at dim {depth - 1}, where the others have length {length}")


def _is_sequence(item):
    """Whether a part of nested sequences is one itself; tensors count as numbers there."""
    return isinstance(item, ndarray) and item.ndim > 0 or isinstance(item, range)


_LEAF = (int, float, complex, bool, np.generic, numbers.Number)


def from_data(data, dtype):
    """A fresh array from anything that torch.tensor accepts."""
    if isinstance(data, Tensor):
        a = data._data
        return cast(a, dtype.np) if dtype is not None and a.dtype != dtype.np else a.copy()
    if isinstance(data, (bool, int, float, complex)):
        kind = dtype or D.of_scalar(data)
        return _scalar_array(data, kind, kind.name)
    if isinstance(data, np.generic):
        return np.array(data).astype((dtype or D.of(data.dtype)).np)
    if isinstance(data, ndarray):
        if dtype is None:
            dtype = D.of(data.dtype)
        return np.array(cast(data, dtype.np), order="C")
    if isinstance(data, (list, tuple, range)):
        return _nested(data, dtype)
    if hasattr(data, "__array_interface__") or hasattr(data, "__array__"):
        return from_data(np.asarray(data), dtype)
    if isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}': {data!r}")
    if isinstance(data, (dict, set, frozenset)):
        raise RuntimeError(f"Could not infer dtype of {type(data).__name__} (its elements are in no order: write list(...) around what you mean)")
    if hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        return _nested([data[i] for i in range(len(data))], dtype)
    if hasattr(data, "__index__"):
        return from_data(operator.index(data), dtype)
    if hasattr(data, "__float__"):
        return from_data(float(data), dtype)
    raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")


def _scalar_array(value, kind, name=None, size=1):
    if name and kind.category == D.INTEGER and type(value) is int and not -(1 << 63) <= value < 1 << (64 if kind is D.uint64 else 63):
        raise ValueError(f"Overflow when unpacking long long: {value}")
    if name and isinstance(value, complex) and kind.category < D.COMPLEX and kind.category != D.BOOL:
        raise TypeError(f"must be real number, not complex ({value} for a tensor of {kind!r})")
    with np.errstate(all="ignore"):
        return _convert(D.number_for(value, kind, name, D.float64 if name else D.filled(kind, size)), kind.np)


def _nested(data, dtype):
    shape, leaves = [], []
    if len(data) and isinstance(data[0], ndarray):
        once("arrays", "Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting the list to a single numpy.ndarray with numpy.array() before converting to a tensor.", stacklevel=5)
    _leaves(data, shape, 0, leaves)
    if not leaves:
        return np.empty(shape, (dtype or D.get_default_dtype()).np)
    kinds = {type(v) for v in leaves}
    for v in leaves if not kinds <= {int, float, bool, complex} else ():
        if isinstance(v, Tensor):
            if v.numel() != 1:
                raise ValueError(f"only one element tensors can be converted to Python scalars (found one of shape {list(v.shape)}; write torch.stack(...) to join tensors)")
        elif not isinstance(v, _LEAF) and not hasattr(v, "__index__") and not hasattr(v, "__float__"):
            if isinstance(v, str):
                raise ValueError(f"too many dimensions 'str' ({v!r})") if v is leaves[0] else TypeError(f"new(): invalid data type 'str': {v!r}")
            raise RuntimeError(f"Could not infer dtype of {type(v).__name__}")
    if dtype is None:
        dtype = _common_kind(leaves, kinds)
    if kinds == {int} and dtype.category == D.INTEGER:
        try:
            flat = np.array(leaves, np.int64)
        except OverflowError:
            if dtype is not D.uint64:
                raise ValueError(f"Overflow when unpacking long long: {max(leaves, key=abs)}") from None
            flat = np.array(leaves, np.uint64)
        if dtype is not D.int64 and dtype is not D.uint64:
            for v in (int(flat.min()), int(flat.max())):
                D.number_for(v, dtype, dtype.name)
        return flat.astype(dtype.np).reshape(shape)
    values = [v.item() if isinstance(v, (Tensor, np.generic, ndarray)) else v for v in leaves]
    if dtype.category == D.BOOL:
        return np.array([bool(v) for v in values]).reshape(shape)
    if dtype.category < D.COMPLEX and any(type(v) is complex for v in values):
        raise TypeError("must be real number, not complex")
    if dtype.category == D.INTEGER:
        return np.array([D.number_for(v, dtype, dtype.name) for v in values]).astype(dtype.np).reshape(shape)
    wide = np.complex128 if dtype.category == D.COMPLEX else np.float64
    with np.errstate(all="ignore"):
        return cast(np.array(values, wide), dtype.np).reshape(shape)


def _common_kind(leaves, kinds):
    if kinds <= {int, float, bool, complex}:
        if complex in kinds:
            return D.get_default_dtype().to_complex()
        if float in kinds:
            return D.get_default_dtype()
        return D.int64 if int in kinds else D.bool_
    from_kinds = None
    for v in leaves:
        k = _kind(v) if isinstance(v, (Tensor, np.generic, ndarray, bool, int, float, complex)) else (D.int64 if hasattr(v, "__index__") else D.get_default_dtype())
        from_kinds = k if from_kinds is None else promote(from_kinds, k)
    return from_kinds


@function
def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """A new tensor holding a copy of `data`: a number, nested sequences, an ndarray, a tensor.

    ValueError for sequences that form no rectangle, TypeError/RuntimeError for elements that are no numbers.
    """
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        device = data.device if device is None else device
    a = from_data(data, None if dtype is None else checked_dtype(dtype))
    t = wrap(a) if device is None and device_._default[0] is None and not modes.diverted else placed(wrap(a), device)
    if requires_grad:
        t.requires_grad_(True)
    return t


@function
def as_tensor(data, dtype=None, device=None):
    """`data` as a tensor, sharing its memory where dtype and device allow."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype) if dtype is not None or device is not None else data
    if isinstance(data, ndarray):
        t = from_numpy(data)
        return t.to(device=device, dtype=dtype) if dtype is not None or device is not None else t
    return tensor(data, dtype=dtype, device=device)


@function
def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """`obj` as a tensor; `copy` True always copies, False never (ValueError where it must), None where it must."""
    if isinstance(obj, Tensor):
        t = obj
    elif isinstance(obj, ndarray):
        t = from_numpy(obj)
    elif hasattr(obj, "__dlpack__") and not isinstance(obj, np.generic):
        t = FUNCTIONS["from_dlpack"](obj)
    elif isinstance(obj, (bytes, bytearray, memoryview)):
        t = FUNCTIONS["frombuffer"](obj, dtype=dtype or D.get_default_dtype())
    else:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        t = tensor(obj, dtype=dtype, device=device)
        return t.requires_grad_() if requires_grad else t
    changed = (dtype is not None and dtype is not t.dtype) or (device is not None and device_.Device(device) != t.device)
    if changed and copy is False:
        raise ValueError(f"can't alias tensor with dtype {t.dtype} into dtype {dtype}." if dtype not in (None, t.dtype) else f"can't alias tensor from device '{t.device}' to '{device}'.")
    if changed:
        t = t.to(dtype=dtype, device=device)
    elif copy:
        t = t.clone()
    if requires_grad:
        t = t.detach().requires_grad_() if t._node is not None else t.requires_grad_()
    elif t.requires_grad:
        t = t.detach()
    return t


@function
def from_numpy(ndarray_):
    """A tensor sharing the memory of an ndarray."""
    if not isinstance(ndarray_, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray_).__name__})")
    D.of(ndarray_.dtype)
    if not ndarray_.dtype.isnative:
        raise ValueError("given numpy array has byte order different from the native byte order. Conversion between byte orders is currently not supported.")
    if any(s < 0 for s in ndarray_.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently supported. "
            "(You can probably work around this by making a copy of your array  with array.copy().) "
        )
    if any(s % ndarray_.itemsize for s in ndarray_.strides):
        raise ValueError("given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the memory.")
    if not ndarray_.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. Here writing to the tensor raises "
            "RuntimeError; copy the array first (array.copy()) to get a tensor that can be written to.",
            UserWarning,
            stacklevel=2,
        )
    if type(ndarray_) is not np.ndarray:
        ndarray_ = ndarray_.view(np.ndarray)
    t = wrap(ndarray_)
    t._storage = Storage(ndarray_)
    return t


# ---- constants -------------------------------------------------------------------------------------------------


def _in_format(t, memory_format):
    """Fresh memory in the order of a memory format."""
    order = memory_format.order
    if memory_format.name == "preserve_format":
        raise RuntimeError("unsupported memory format Preserve")
    if order is None:
        return t
    if len(order) != t._data.ndim:
        raise RuntimeError(f"required rank {len(order)} tensor to use {memory_format.name} format")
    return t.contiguous(memory_format=memory_format)


def _factory(name, fill, doc):
    def f(*size, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, names=None, memory_format=None, **kw):
        if kw:
            size = (kw.pop("size"),) if "size" in kw else size
            if kw:
                raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(kw))}'")
        shape = sizes(size, name)
        d = dtype_beside(out, dtype)
        if out is not None:
            check_memory(out)
            resize_out(None, out, shape)
            return out.fill_(1) if name == "ones" else out.zero_() if name == "zeros" else out
        t = allocate(shape, d, device, fill)
        if memory_format is not None:
            t = _in_format(t, memory_format)
        return t.requires_grad_(True) if requires_grad else t

    f.__name__ = f.__qualname__ = name
    f.__doc__ = doc
    return function(f)


zeros = _factory("zeros", np.zeros, "A tensor of zeros: zeros(2, 3) or zeros((2, 3)).")
ones = _factory("ones", np.ones, "A tensor of ones: ones(2, 3) or ones((2, 3)).")
empty = _factory("empty", np.empty, "A tensor of uninitialised elements.")


@function
def full(size, fill_value, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False, names=None):
    """A tensor of shape `size` filled with `fill_value`, whose type gives the dtype."""
    shape = sizes((size,) if not isinstance(size, int) else size, "full") if not isinstance(size, int) else _bad_size(size)
    d = dtype_beside(out, dtype, None if dtype is not None or out is not None else _kind(fill_value))
    if isinstance(fill_value, Tensor):
        fill_value = fill_value.item()
    if out is None and exact(device).type != "cpu":
        t = empty_layout(shape, dense(shape), d, exact(device)).fill_(fill_value)
        return t.requires_grad_(True) if requires_grad else t
    data = _filled(shape, fill_value, d)
    return made(data, device, requires_grad, out)


def _bad_size(size):
    raise TypeError(f"full(): argument 'size' (position 1) must be tuple of ints, not int; write full(({size},), ...)")


def _filled(shape, value, dtype):
    a = np.empty(shape, dtype.np)
    a[...] = _scalar_array(value, dtype, size=a.size)
    return a


def _like(name, make):
    def f(input, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, pin_memory=False):
        d = checked_dtype(dtype, input.dtype)
        a = input._data
        device = input.device if device is None else device
        if isinstance(a, ndarray):
            a = empty_in_order(a, d.np, memory_format)
            if make is not None:
                a[...] = make
            t = placed(wrap(a), device)
        elif exact(device).type == "cpu":
            laid = np.lib.stride_tricks.as_strided(np.empty(1, np.dtype(a.dtype.str)), a.shape, a.strides)  # never looked into

            def fill(shape, dtype):
                out = empty_in_order(laid, dtype, memory_format)
                out[...] = make or 0
                return out

            t = allocate(a.shape, d, device, fill)
        else:
            t = empty_layout(a.shape, _like_strides(a, memory_format), d, exact(device))
            if make is not None:
                t.fill_(make)
        return t.requires_grad_(True) if requires_grad else t

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"A tensor like `input` in shape, dtype and layout: {name[:-5]}."
    return function(f)


def _like_strides(a, memory_format):
    """The strides, in elements, of a new tensor like the window `a`."""
    order = getattr(memory_format, "order", None)
    if order is None:
        given = memory_format is not None and memory_format.name == "contiguous_format" or overlaps(a.shape, a.strides)
        order = range(a.ndim) if given else sorted(range(a.ndim), key=lambda i: (-a.strides[i], i))
    strides = dict(zip(order, dense([a.shape[i] for i in order])))
    return tuple(strides[i] for i in range(a.ndim))


def empty_layout(shape, strides, dtype, device):
    """A tensor of uninitialised elements with strides (in elements), on any device and without values on the way."""
    span = 1 + sum((n - 1) * s for n, s in zip(shape, strides)) if 0 not in shape else 0
    storage = Storage(ALLOCATORS[device.type]((span,), dtype.np, device))
    t = wrap(storage.window(dtype.np, tuple(shape), strides, 0))
    t._storage = storage
    return t


def empty_in_order(a, dtype, memory_format=None):
    """Uninitialised memory in the shape and order of array `a` (or in that of a memory format)."""
    order = getattr(memory_format, "order", None)
    if order is not None and len(order) == a.ndim:
        inverse = np.argsort(order)
        return np.empty(tuple(a.shape[i] for i in order), dtype).transpose(inverse)
    if memory_format is not None and memory_format.name == "contiguous_format":
        return np.empty(a.shape, dtype)
    return np.empty_like(a, dtype=dtype, subok=False)


zeros_like = _like("zeros_like", 0)
ones_like = _like("ones_like", 1)
empty_like = _like("empty_like", None)


@function
def full_like(input, fill_value, *, dtype=None, layout=None, device=None, requires_grad=False, memory_format=None, pin_memory=False):
    """A tensor like `input`, filled with `fill_value`."""
    t = empty_like(input, dtype=dtype, device=device, memory_format=memory_format)
    t.fill_(fill_value)
    return t.requires_grad_(True) if requires_grad else t


@function
def eye(n, m=None, *, out=None, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """The n x m matrix with ones on the diagonal."""
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(f"{'n' if n < 0 else 'm'} must be greater or equal to 0, got {n if n < 0 else m}")
    d = dtype_beside(out, dtype)
    return made(np.eye(n, m, dtype=np.float32).astype(d.np), device, requires_grad, out)


@function
def scalar_tensor(s, *, dtype=None, device=None, layout=None, requires_grad=False, pin_memory=False):
    """A 0-dim tensor of a number, in the default float."""
    return made(_filled((), s, checked_dtype(dtype)), device, requires_grad)


@function
def empty_strided(size, stride, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Uninitialised memory read with the given strides (in elements)."""
    d = checked_dtype(dtype)
    size, stride = tuple(size), tuple(stride)
    span = 1 + sum((n - 1) * s for n, s in zip(size, stride)) if 0 not in size else 0
    flat = np.empty(span, d.np)
    data = np.lib.stride_tricks.as_strided(flat, size, tuple(s * d.itemsize for s in stride))
    t = placed(wrap(data), device)
    return t.requires_grad_(True) if requires_grad else t


def _new_method(name, make):
    def f(self, *size, dtype=None, device=None, layout=None, requires_grad=False, pin_memory=False, **kw):
        size = (kw.pop("size"),) if "size" in kw else size
        return make(*size, dtype=self.dtype if dtype is None else dtype, device=self.device if device is None else device, requires_grad=requires_grad)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{name[4:]} with this tensor's dtype and device."
    return method(f)


_new_method("new_zeros", zeros)
_new_method("new_ones", ones)
_new_method("new_empty", empty)
_new_method("new_full", lambda size, fill_value, **kw: full(size, fill_value, **kw))
_new_method("new_empty_strided", empty_strided)


@method
def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False, layout=None, pin_memory=False):
    """torch.tensor with this tensor's dtype and device."""
    return tensor(data, dtype=self.dtype if dtype is None else dtype, device=self.device if device is None else device, requires_grad=requires_grad)


# ---- the constructor --------------------------------------------------------------------------------------------


def construct(cls, *args, device=None, dtype=None):
    """torch.Tensor(...): sizes give uninitialised memory, a sequence gives its values, in the default float (or `dtype`)."""
    d = dtype or D.get_default_dtype()
    if not args:
        data = np.empty(0, d.np)
    elif len(args) == 1 and isinstance(args[0], Tensor):
        source = args[0]
        if source.dtype is not d and dtype is not None:
            raise TypeError(f"expected {_legacy_name(d)} (got {_legacy_name(source.dtype)})")
        t = Tensor._make_subclass(cls, source)
        return t
    elif len(args) == 1 and isinstance(args[0], Size):
        data = np.empty(tuple(args[0]), d.np)
    elif len(args) == 1 and not isinstance(args[0], int):
        if isinstance(args[0], (float, complex, str)):
            raise TypeError(f"new(): data must be a sequence (got {type(args[0]).__name__})")
        if isinstance(args[0], Storage):
            data = args[0].memory
        else:
            data = from_data(args[0], d)
    else:
        data = np.empty(sizes(args, "new"), d.np)
    t = object.__new__(cls)
    t._data = data
    t._storage = t._node = t._grad = t._base = t._hooks = None
    t._rg = False
    t._hist = 0
    return t


def _legacy_name(d):
    return f"torch.{d.legacy}" if d.legacy else str(d)
