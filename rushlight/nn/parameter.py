"""Parameter and Buffer: the tensors that a Module owns.

A Parameter is a Tensor subclass, so that attribute assignment on a Module can tell weights from
other tensors by type. It adds no state: `Tensor._make_subclass` gives a second tensor over the
same storage. A Buffer is a mark on an ordinary tensor (`_is_buffer`, `persistent`), because
buffers take part in arithmetic whose results are plain tensors.

The uninitialized classes stand in for tensors whose shape the first forward call decides; they
hold an empty tensor for device and dtype, refuse every operation but a few, and become the real
class through `materialize`, by changing `__class__` in place so that references stay valid.

Invariant: the four classes have one memory layout (no slots of their own); else `__class__`
could not be assigned.
"""

from __future__ import annotations

from collections import OrderedDict

import rushlight
from rushlight import Tensor
from rushlight._C import _disabled_torch_function_impl

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "UninitializedTensorMixin",
    "is_lazy",
]


def _rebuild_parameter(data, requires_grad, backward_hooks):
    """What a pickled Parameter calls; hooks are not restored (they seldom pickle)."""
    return Parameter(data, requires_grad)


def _rebuild_parameter_with_state(data, requires_grad, backward_hooks, state):
    """As above, for a Parameter that carries attributes of the user's."""
    out = Parameter(data, requires_grad)
    out.__dict__.update(state)
    return out


class _ParameterMeta(type(Tensor)):
    """A tensor subclass of the user's is a Parameter when `_is_param` marks it so."""

    def __instancecheck__(cls, instance):
        if super().__instancecheck__(instance):
            return True
        if cls is not Parameter or not isinstance(instance, Tensor):
            return False
        return getattr(instance, "_is_param", False)


class Parameter(Tensor, metaclass=_ParameterMeta):
    """A Tensor that registers itself when it is assigned as an attribute of a Module.

    Args:
        data: the tensor whose storage the parameter shares; an empty tensor when left out.
        requires_grad: whether the tape records operations on it (default True).

    Raises RuntimeError when `data` is of an integer or bool dtype and `requires_grad` is True.
    """

    __torch_function__ = _disabled_torch_function_impl

    def __new__(cls, data=None, requires_grad=True):
        if data is None:
            data = rushlight.empty(0)
        kind = type(data)
        if kind is Tensor or kind is Parameter:
            return Tensor._make_subclass(cls, data, requires_grad)
        # A subclass keeps its own type and is only marked.
        out = data.detach().requires_grad_(requires_grad)
        if type(out) is not kind:
            raise RuntimeError(
                f"Creating a Parameter from an instance of type {kind.__name__} requires that "
                f"detach() returns an instance of the same type, but it returned "
                f"{type(out).__name__}. Write a detach() that keeps the type."
            )
        out._is_param = True
        return out

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        data = self.data.clone(memory_format=rushlight.preserve_format)
        out = type(self)(data, self.requires_grad)
        memo[id(self)] = out
        return out

    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, proto):
        state = getattr(self, "__dict__", None)
        if state:
            args = (self.data, self.requires_grad, OrderedDict(), dict(state))
            return _rebuild_parameter_with_state, args
        return _rebuild_parameter, (self.data, self.requires_grad, OrderedDict())


class _BufferMeta(type(Tensor)):
    """A tensor is a Buffer when `_is_buffer` marks it so."""

    def __instancecheck__(cls, instance):
        if super().__instancecheck__(instance):
            return True
        if cls is not Buffer or not isinstance(instance, Tensor):
            return False
        return getattr(instance, "_is_buffer", False)


class Buffer(Tensor, metaclass=_BufferMeta):
    """A tensor that registers itself as a buffer when assigned as an attribute of a Module.

    Args:
        data: the tensor whose storage the buffer shares; an empty tensor when left out.
        persistent: whether it belongs to the module's `state_dict` (default True).
    """

    __torch_function__ = _disabled_torch_function_impl

    def __new__(cls, data=None, *, persistent=True):
        if data is None:
            data = rushlight.empty(0)
        out = data.detach().requires_grad_(data.requires_grad)
        out.persistent = persistent
        out._is_buffer = True
        return out


# What an uninitialized tensor can do: be moved and cast, and what Python itself needs of an object.
_ALLOWED = frozenset(
    """size copy_ is_complex is_floating_point half float double bfloat16 char short int long cuda
    cpu to get_device type materialize requires_grad_ share_memory_""".split()
) | frozenset(dir(object)) - {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}


def _refusal(name):
    def refuse(self, *args, **kwargs):
        kind = type(self).__name__
        raise ValueError(
            f"Attempted to use an uninitialized parameter in Tensor.{name}. This error happens "
            "when you are using a `LazyModule` or explicitly manipulating "
            f"`torch.nn.parameter.{kind}` objects. When using LazyModules Call `forward` with a "
            "dummy batch to initialize the parameters before calling torch functions"
        )

    refuse.__name__ = name
    return refuse


class UninitializedTensorMixin:
    """What uninitialized parameters and buffers share: refusal, and `materialize`."""

    def materialize(self, shape, device=None, dtype=None):
        """Give the tensor memory of `shape` and make it an ordinary parameter or buffer.

        Device and dtype stay as they are unless named. The values are arbitrary.
        """
        device = self.data.device if device is None else device
        dtype = self.data.dtype if dtype is None else dtype
        self.data = rushlight.empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self):
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Call `forward` to initialize the parameters before accessing their "
            "attributes."
        )

    def share_memory_(self):
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to "
            "initialize the parameters before calling `module.share_memory()`."
        )

    def __repr__(self):
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, proto):
        return type(self), (self.requires_grad,)


# Methods and operators of Tensor, all the others: names with one underscore are the engine's own.
for _name in dir(Tensor):
    _public = _name.startswith("__") or not _name.startswith("_")
    if _public and _name not in _ALLOWED and _name not in vars(UninitializedTensorMixin):
        if callable(getattr(Tensor, _name)) and not _name.startswith("__torch"):
            setattr(UninitializedTensorMixin, _name, _refusal(_name))


def is_lazy(param):
    """Whether `param` still waits for its shape."""
    return isinstance(param, UninitializedTensorMixin)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A Parameter whose shape is not known yet.

    Args:
        requires_grad: whether the parameter will record (default True).
        device, dtype: of the parameter once it is materialized.
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        data = rushlight.empty(0, device=device, dtype=dtype)
        return Tensor._make_subclass(cls, data, requires_grad)

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        out = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        memo[id(self)] = out
        return out


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape is not known yet.

    Args:
        requires_grad: whether the buffer will record (default False).
        device, dtype: of the buffer once it is materialized.
        persistent: whether it belongs to the module's `state_dict`.
    """

    __torch_function__ = _disabled_torch_function_impl

    cls_to_become = Tensor

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        data = rushlight.empty(0, device=device, dtype=dtype)
        out = Tensor._make_subclass(cls, data, requires_grad)
        out.persistent = persistent
        out._is_buffer = True
        return out
