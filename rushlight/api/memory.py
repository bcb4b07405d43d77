"""Memory: what a tensor's window is set to, copies of views, and element-by-element Python functions.

`resize_` and `set_` change the tensor itself, not its values: no history is recorded and none may be needed. A
`*_copy` is the view of the same name copied; `unsafe_*` are the splits whose pieces promise nothing about aliasing.
"""

from __future__ import annotations

import warnings
from math import prod

import numpy as np

from rushlight.api.creation import checked_dtype, made, sizes
from rushlight.api.writing import delivered
from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.bind import FUNCTIONS, METHODS, both, function, method
from rushlight.core import dtype as D
from rushlight.core import layout as L
from rushlight.core.shape import dense, is_dense
from rushlight.core.window import element_strides
from rushlight.dispatch import apart
from rushlight.storage import Storage
from rushlight.tensor import Tensor, needs, wrap

# ---- the tensor's own window -----------------------------------------------------------------------------------


def _no_history(name, x):
    if needs(x):
        raise RuntimeError(f"cannot {name} variables that require grad")


def _rewindow(x, shape, strides, offset, grow):
    """Point x at another window of its storage, which becomes larger first where `grow` allows and it must."""
    data = x._data
    storage = x._shared()
    item = data.itemsize
    need = (offset + sum((n - 1) * s for n, s in zip(shape, strides)) + 1) * item if 0 not in shape else 0
    if need > storage.nbytes():
        if not grow:
            raise RuntimeError(f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and itemsize {item} requiring a storage size of {need} are out of bounds for storage of size {storage.nbytes()}")
        storage.resize_(need)
    x._data = storage.window(x.dtype.np, tuple(shape), tuple(strides), offset)


@method
def resize_(self, *size, memory_format=None):
    """Give the tensor another size, over the same memory where that is large enough; new elements are uninitialised."""
    shape = _resize_shape(size)
    _no_history("resize", self)
    order = getattr(memory_format, "order", None)
    strides = dense(shape)
    if order is not None and len(order) == len(shape):
        strides = _strides_in(shape, order)
    if shape == self._data.shape and order is None:
        return self
    if modes.diverted and STATE.backend is not None:
        STATE.backend.numpy(self)  # memory of another size is no op: a program that is being recorded ends here
    _rewindow(self, shape, strides, self.storage_offset(), True)
    return self


def _resize_shape(size):
    shape = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to resize tensor to negative dimension {min(shape)}: {list(shape)}")
    return sizes((tuple(shape),), "resize_")


def _strides_in(shape, order):
    inner = dense([shape[d] for d in order])
    out = [0] * len(shape)
    for d, s in zip(order, inner):
        out[d] = s
    return tuple(out)


@both(name="resize_as_")
def resize_as_(input, the_template, *, memory_format=None):
    """resize_ to the size of another tensor."""
    return input.resize_(the_template.shape, memory_format=memory_format)


FUNCTIONS["resize_"] = METHODS["resize_"]


def _old_resize(self, shape):
    n = prod(shape)
    if n != self.numel():
        raise RuntimeError(
            f"requested resize to {'x'.join(map(str, shape))} ({n} elements in total), but the given tensor has a size of {'x'.join(map(str, self.shape))} "
            f"({self.numel()} elements). autograd's resize can only change the shape of a given tensor, while preserving the number of elements. "
        )
    return self.contiguous().view(shape)


@method
def resize(self, *size):
    """view under its old name (deprecated): the number of elements must stay."""
    warnings.warn("non-inplace resize is deprecated", UserWarning, stacklevel=2)
    return _old_resize(self, _resize_shape(size))


@method
def resize_as(self, tensor):
    """view_as under its old name (deprecated)."""
    warnings.warn("non-inplace resize_as is deprecated", UserWarning, stacklevel=2)
    return _old_resize(self, tuple(tensor.shape))


@method
def set_(self, source=None, storage_offset=0, size=None, stride=None):
    """Make the tensor a window on the memory of another tensor or storage, or empty without one."""
    if needs(self):
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation." if self._node is None else "set_() of a tensor with a history; detach() it first")
    if source is None:
        self._storage = Storage(0, device=self.device)
        self._data = self._storage.window(self.dtype.np, (0,), (1,), 0)
        return self
    if isinstance(source, Tensor):
        if source.dtype is not self.dtype:
            raise RuntimeError(f"Could not set tensor of type {source.dtype.title} to a tensor of type {self.dtype.title}")
        self._storage = source._shared()
        if size is None:
            self._data = source._data
            return self
        storage_offset += source.storage_offset()
    else:
        storage = getattr(source, "_untyped_storage", source)
        if not isinstance(storage, Storage) or size is None and storage_offset:
            raise TypeError(f"set_() received an invalid combination of arguments - got ({type(source).__name__}, ...); write x.set_(), x.set_(tensor), x.set_(storage) or x.set_(storage, offset, size, stride)")
        self._storage = storage
        if size is None:
            size = (self._storage.nbytes() // self._data.itemsize - storage_offset,)
    size = tuple(size)
    _rewindow(self, size, dense(size) if stride is None else tuple(stride), storage_offset, True)
    return self


@method
def is_set_to(self, tensor):
    """Whether two tensors are the same window on the same memory."""
    return (
        self._shared() is tensor._shared()
        and self._data.shape == tensor._data.shape
        and element_strides(self._data) == element_strides(tensor._data)
        and self.storage_offset() == tensor.storage_offset()
    )


@both
def is_same_size(input, other):
    """Whether two tensors have the same shape."""
    return input._data.shape == other._data.shape


@method
def dim_order(self, *, ambiguity_check=False):
    """The dimensions from the outermost in memory to the innermost."""
    shape, strides = self._data.shape, element_strides(self._data)
    if isinstance(ambiguity_check, (list, tuple)):
        fitting = {L.contiguous_format: tuple(range(len(shape)))} if self.is_contiguous() else {}
        for f in ambiguity_check:
            if getattr(f, "order", None) is not None and len(f.order) == len(shape) and self.is_contiguous(f):
                fitting[f] = f.order
        fitting = [fitting[f] for f in ambiguity_check if f in fitting]
        if len(fitting) == 1:
            return fitting[0]
    order = tuple(sorted(range(len(shape)), key=lambda d: (-strides[d], 0)))
    # dimensions of size 1 may stand anywhere: the order is unique if no two such strides are alike
    if ambiguity_check and (isinstance(ambiguity_check, (list, tuple)) or len(set(strides)) < len(strides) or any(n == 1 for n in shape) and not is_dense(shape, strides)):
        raise RuntimeError("The tensor does not have unique dim order, or cannot map to exact one of the given memory formats.")
    return order


@function
def empty_permuted(size, physical_layout, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """Uninitialised memory of shape `size` whose dimensions lie in memory in the order `physical_layout`."""
    size, order = sizes((tuple(size),), "empty_permuted"), tuple(physical_layout)
    if len(size) != len(order):
        raise RuntimeError(
            f"Number of dimensions in size does not match the length of the physical_layout; i.e. len(size) = {len(size)} is not equal to len(physical_layout) = {len(order)}"
        )
    for d in order:
        if not 0 <= d < len(size):
            raise RuntimeError(f"Dimension out of range (expected to be between 0 and {len(size) - 1}, but got {d} in the physical layout). Negative dims are not supported.")
    if len(set(order)) != len(order):
        raise RuntimeError("Duplicate dim not allowed")
    data = np.empty([size[d] for d in order], checked_dtype(dtype).np).transpose(np.argsort(order) if order else None)
    return made(data, device, requires_grad)


# ---- copies of views -------------------------------------------------------------------------------------------


def _copied(name, out, result):
    given = delivered(result, out, f"{name}_copy", exact=True)
    return None if out is not None and isinstance(result, tuple) else given


def _copy_of(name, find):
    def f(input, *args, out=None, **kwargs):
        got = find(input)(*args, **kwargs)
        got = tuple(v.clone(memory_format=L.contiguous_format) for v in got) if isinstance(got, tuple) else got.clone(memory_format=L.contiguous_format)
        return _copied(name, out, got)

    f.__doc__ = f"{name} as a copy instead of a view."
    return function(f, name=f"{name}_copy")


for _name in ("as_strided", "detach", "diagonal", "expand", "permute", "select", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold", "unsqueeze", "view"):
    _copy_of(_name, lambda x, _name=_name: getattr(x, _name))
for _name in ("view_as_real", "view_as_complex"):
    _copy_of(_name, lambda x, _name=_name: lambda: FUNCTIONS[_name](x))
_copy_of("alias", lambda x: lambda: x)
_copy_of("slice", lambda x: lambda dim=0, start=None, end=None, step=1: x[(slice(None),) * (dim % max(x.dim(), 1)) + (slice(start, end, step),)])


@both
def narrow_copy(input, dim, start, length, *, out=None):
    """narrow as a copy."""
    if input._data.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    if dim >= input._data.ndim:  # of all functions only this one has a RuntimeError for it
        raise RuntimeError(f"Expected dim < {input._data.ndim}, the number of dimensions of the input, but got dim {dim}")
    return _copied("narrow", out, input.narrow(dim, start, length).clone(memory_format=L.contiguous_format))


def _unsafe(name, split):
    @both(name=f"unsafe_{name}")
    def f(*args, **kwargs):
        return tuple([apart(piece) for piece in split(*args, **kwargs)])

    f.__doc__ = f"{name} whose pieces share memory, and which PyTorch lets be written to as if they did not."


for _name in ("split", "chunk", "split_with_sizes"):
    _unsafe(_name, FUNCTIONS[_name])


@function
def slice_inverse(input, src, dim=0, start=None, end=None, step=1):
    """A view of `src`'s size on input's memory, such that the slice of it is input; RuntimeError where the memory is too small."""
    return input.as_strided(src.shape, src.stride(), src.storage_offset())


METHODS["slice_inverse"] = slice_inverse

# ---- Python functions, element by element ----------------------------------------------------------------------


def _mapped(name, tensors, function_):
    x = tensors[0]
    if any(needs(t) for t in tensors):
        raise RuntimeError(f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() instead.")
    for t in tensors[1:]:
        if t.dtype is not x.dtype:
            raise TypeError(f"{name}: expected {x.type()} for 'other' (got {t.type()})")
    others = [np.broadcast_to(t._data, x._data.shape) for t in tensors[1:]]
    values = [function_(*v) for v in zip(x._data.ravel().tolist(), *(o.ravel().tolist() for o in others))]
    x.copy_(wrap(np.array(values, None if x.dtype.category != D.FLOAT else np.float64).reshape(x._data.shape)) if values else x.detach().clone())
    return x


@method
def apply_(self, callable):
    """Replace each element by callable(element). Slow: a Python call for each."""
    return _mapped("apply_", (self,), callable)


@method
def map_(self, tensor, callable):
    """Replace each element by callable(element, element of tensor)."""
    return _mapped("map_", (self, tensor), callable)


@method
def map2_(self, x, y, callable):
    """Replace each element by callable(element, element of x, element of y)."""
    return _mapped("map2_", (self, x, y), callable)


