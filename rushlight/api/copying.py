"""Copies and pickles of tensors: `copy.copy`, `copy.deepcopy`, `pickle`, and what checkpoints rebuild tensors with.

A tensor is pickled as (how to rebuild it, storage, offset, size, stride, requires_grad, hooks), the storage as an object
of its own: tensors that share memory share it again after loading, since pickle meets the storage once. The rebuilding
functions have the names and arguments of PyTorch's, so that the same records make up its checkpoint files.
"""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict

from rushlight.api.creation import empty_layout
from rushlight.api.devices import exact
from rushlight.api.storages import TypedStorage
from rushlight.autograd.modes import STATE
from rushlight.bind import FUNCTIONS, METHODS, function, method
from rushlight.core import layout as layouts
from rushlight.core.layout import Layout
from rushlight.core.window import element_strides
from rushlight.tensor import Tensor, needs, wrap


def utility(f):
    """Publish f in torch._utils, where pickles look for it."""
    return function(f, name=f"_utils.{f.__name__}")


def _window(storage, dtype, offset, size, stride):
    storage = getattr(storage, "_untyped_storage", storage)
    t = wrap(storage.window(dtype.np, tuple(size), tuple(stride), offset))
    t._storage = storage
    return t


def _with_hooks(t, requires_grad, backward_hooks):
    if requires_grad:
        t.requires_grad_(True)
    for hook in backward_hooks.values() if backward_hooks else ():
        t.register_hook(hook)
    return t


@utility
def _rebuild_tensor(storage, storage_offset, size, stride):
    """A tensor over a typed storage."""
    return _window(storage, storage.dtype, storage_offset, size, stride)


@utility
def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, metadata=None):
    """A tensor over a typed storage, with its flag and hooks."""
    return _with_hooks(_rebuild_tensor(storage, storage_offset, size, stride), requires_grad, backward_hooks)


@utility
def _rebuild_tensor_v3(storage, storage_offset, size, stride, requires_grad, backward_hooks, dtype, metadata=None):
    """A tensor over an untyped storage read as `dtype`."""
    return _with_hooks(_window(storage, dtype, storage_offset, size, stride), requires_grad, backward_hooks)


@utility
def _rebuild_meta_tensor_no_storage(dtype, size, stride, requires_grad):
    """A meta tensor: shape, strides and dtype are all it has."""
    t = empty_layout(tuple(size), tuple(stride), dtype, exact("meta"))
    return t.requires_grad_(True) if requires_grad else t


@utility
def _rebuild_device_tensor_from_numpy(data, dtype, device, requires_grad):
    """A tensor of an ndarray's values on a device."""
    t = FUNCTIONS["from_numpy"](data).to(dtype=dtype, device=device)
    return t.requires_grad_(True) if requires_grad else t


def _rebuild_from_type_v2(func, new_type, args, state):
    """A tensor of a subclass, or one with attributes of the user's."""
    out = func(*args)
    if type(out) is not new_type:
        out = out.as_subclass(new_type)
    if getattr(out.__class__, "__setstate__", None) not in (None, METHODS.get("__setstate__")):
        out.__setstate__(state)
    else:
        _set_state(out, state)
    return out


FUNCTIONS["_tensor._rebuild_from_type_v2"] = _rebuild_from_type_v2
_rebuild_from_type_v2.__module__ = "rushlight._tensor"


def _set_state(out, state):
    slots = None
    if isinstance(state, tuple):
        state, slots = state
    out.__dict__.update(state or {})
    for name, value in (slots or {}).items():
        setattr(out, name, value)


_PLAIN_SLOTS = frozenset(Tensor.__slots__)


def _state_of(x):
    """What a subclass instance carries beyond the tensor: its __dict__, and the slots of its classes."""
    slots = {
        name: getattr(x, name)
        for cls in type(x).__mro__
        for name in ([cls.__dict__["__slots__"]] if isinstance(cls.__dict__.get("__slots__"), str) else cls.__dict__.get("__slots__", ()))
        if name not in _PLAIN_SLOTS and hasattr(x, name)
    }
    state = dict(x.__dict__)
    return (state, slots) if slots else state


def _parts(x):
    """(function, arguments) that rebuild x as a plain tensor."""
    hooks = OrderedDict(x._hooks.tensor) if x._hooks is not None and x._node is None else OrderedDict()
    for hook in hooks.values():
        if not getattr(hook, "__torch_unserializable__", False):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can decorate the function with "
                "@torch.utils.hooks.unserializable_hook to suppress this warning",
                stacklevel=4,
            )
    size, stride = tuple(x._data.shape), x.stride()
    if x.is_meta:
        return _rebuild_meta_tensor_no_storage, (x.dtype, size, stride, needs(x))
    storage, dtype = x._shared(), x.dtype
    where = (x.storage_offset(), size, stride, needs(x), OrderedDict())
    if dtype.legacy is None:
        return _rebuild_tensor_v3, (storage, *where, dtype)
    return _rebuild_tensor_v2, (TypedStorage(wrap_storage=storage, dtype=dtype, _internal=True), *where)


@method
def __reduce_ex__(self, proto):
    make, args = _parts(self)
    if type(self) is Tensor and not self.__dict__:
        return make, args
    return _rebuild_from_type_v2, (make, type(self), args, _state_of(self))


@method
def __setstate__(self, state):
    """What pickle of very old files calls."""
    if not self.is_leaf:
        raise RuntimeError("__setstate__ can be only called on leaf Tensors")
    if len(state) == 4:
        self.set_(*state)
        return
    if len(state) == 5:
        self.data, state = state[0], (state[3], state[4], state[2])
    self.requires_grad, _, hooks = state
    _with_hooks(self, False, hooks)


@method
def __copy__(self):
    if type(self).__reduce_ex__ is not Tensor.__reduce_ex__:  # Parameter and what else says itself how it is made
        make, args = self.__reduce_ex__(2)[:2]
        return make(*args)
    make, args = _parts(self)
    if type(self) is Tensor and not self.__dict__:
        return make(*args)
    return _rebuild_from_type_v2(make, type(self), args, _state_of(self))


@method
def __deepcopy__(self, memo):
    """A copy with memory of its own; tensors that share memory share the copy's. Leaves only (RuntimeError otherwise)."""
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  If you were attempting to "
            "deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, see https://github.com/pytorch/pytorch/pull/103001"
        )
    if id(self) in memo:
        return memo[id(self)]
    grad = STATE.grad
    STATE.grad = False
    try:
        if self.is_meta:
            make, args = _parts(self)
            t = make(*args)
        else:
            storage = copy.deepcopy(self._shared(), memo)
            t = _window(storage, self.dtype, self.storage_offset(), self._data.shape, element_strides(self._data))
    finally:
        STATE.grad = grad
    if type(self) is not Tensor:
        if type(self).new_empty is not Tensor.new_empty:  # (PyTorch asks of all subclasses; inherited, the copy just keeps the class)
            made = self.new_empty([])
            if type(made) is not type(self):
                raise RuntimeError(
                    "The default implementation of __deepcopy__() for non-wrapper subclasses only works for subclass types that implement new_empty() "
                    "and for which that function returns another instance of the same subclass. You should either properly implement new_empty() for "
                    "your subclass or override __deepcopy__() if it is intended behavior for new_empty() to return an instance of a different type."
                )
        t = Tensor._make_subclass(type(self), t)
    if needs(self):
        t.requires_grad_(True)
    memo[id(self)] = t
    if self._grad is not None:
        t._grad = copy.deepcopy(self._grad, memo)
    if type(self) is not Tensor or self.__dict__:
        state = _state_of(self)
        _set_state(t, copy.deepcopy(state, memo))
    return t


@function(name="serialization._get_layout")
def _get_layout(name):
    """The layout of that name, 'torch.strided'."""
    found = getattr(layouts, name.rpartition(".")[2], None)
    if not isinstance(found, Layout):
        raise RuntimeError(f"there is no layout {name!r}")
    return found

