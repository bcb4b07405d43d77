"""Parametrizations: a parameter or buffer that is computed, on every read, from others.

`register_parametrization(module, "weight", p)` moves the tensor to
`module.parametrizations.weight.original` and puts a property in its place that returns
`p(original)`. The property needs a class of the module's own: the module's class is replaced by
a fresh subclass `Parametrized<Name>`, and given back when the last parametrization is removed.

Invariant: `module.parametrizations` exists exactly while the class is such a subclass.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import contextmanager

from rushlight import Tensor, no_grad

from ..modules.container import ModuleDict, ModuleList
from ..parameter import Parameter

__all__ = [
    "ParametrizationList",
    "cached",
    "is_parametrized",
    "register_parametrization",
    "remove_parametrizations",
    "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]

_cache_enabled = 0
_cache = {}


@contextmanager
def cached():
    """Within the block each parametrized tensor is computed once, at its first read."""
    global _cache, _cache_enabled
    _cache_enabled += 1
    try:
        yield
    finally:
        _cache_enabled -= 1
        if not _cache_enabled:
            _cache = {}


def _register(module, name, value):
    if isinstance(value, Parameter):
        module.register_parameter(name, value)
    else:
        module.register_buffer(name, value)


def _set(into, value):
    """Let `into` share the memory of `value`."""
    if into is not value:
        into.data = value.detach()


def _require_same(what, text, found, expected, labels):
    if found != expected:
        raise ValueError(f"{text}\n{labels[0]} {what}: {expected}\n{labels[1]} {what}: {found}")


def _require_unchanged(found, dtype, shape, how):
    """A parametrization that was registered as safe returns a tensor of the same kind."""
    if not isinstance(found, Tensor):
        raise ValueError(f"A parametrization must return a tensor. Got {type(found).__name__}.")
    labels = ("unparametrized", "parametrized")
    for what, now, before in (("dtype", found.dtype, dtype), ("shape", found.shape, shape)):
        text = f"{how} may not change the {what} of the tensor, unless `unsafe` flag is enabled."
        _require_same(what, text, now, before, labels)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied in order, and the tensors they start from.

    Args:
        modules: the parametrizations, at least one.
        original: the tensor to be parametrized; right_inverse of the modules is applied to it.
        unsafe: allow a change of dtype or shape.

    Attributes:
        original (or original0, original1, ... when right_inverse gives a sequence).
    """

    def __init__(self, modules, original, unsafe=False):
        if len(modules) == 0:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        dtype, shape = original.dtype, original.shape
        with no_grad():
            new = original
            for module in reversed(self):
                if hasattr(module, "right_inverse"):
                    try:
                        new = module.right_inverse(new)
                    except NotImplementedError:
                        pass
        if not isinstance(new, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(new).__name__}"
            )
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        if self.is_tensor:
            text = "When `right_inverse` outputs one tensor, it may not change the {}."
            labels = ("original", "right_inverse(original)")
            _require_same("dtype", text.format("dtype"), new.dtype, original.dtype, labels)
            _require_same("device", text.format("device"), new.device, original.device, labels)
            with no_grad():
                _set(original, new)
            _register(self, "original", original)
        else:
            for i, value in enumerate(new):
                if not isinstance(value, Tensor):
                    raise ValueError(
                        "'right_inverse' must return a Tensor or a Sequence of tensors (list, "
                        f"tuple...). Got element {i} of the sequence with type "
                        f"{type(value).__name__}."
                    )
                if isinstance(original, Parameter):
                    value = Parameter(value, original.requires_grad)
                value.requires_grad_(original.requires_grad)
                _register(self, f"original{i}", value)
        if not self.unsafe:
            _require_unchanged(self(), dtype, shape, "Registering a parametrization")

    def _originals(self):
        if self.is_tensor:
            return (self.original,)
        return tuple(getattr(self, f"original{i}") for i in range(self.ntensors))

    def right_inverse(self, value):
        """Assign `value`: set the originals so that the parametrized tensor becomes it."""
        with no_grad():
            for module in reversed(self):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                value = module.right_inverse(value)
            if self.is_tensor:
                if not isinstance(value, Tensor):
                    raise ValueError(
                        f"`right_inverse` should return a tensor. Got {type(value).__name__}"
                    )
                values = (value,)
            else:
                if not isinstance(value, Sequence):
                    raise ValueError(
                        "'right_inverse' must return a sequence of tensors. Got "
                        f"{type(value).__name__}."
                    )
                if len(value) != self.ntensors:
                    raise ValueError(
                        "'right_inverse' must return a sequence of tensors of length "
                        f"{self.ntensors}. Got a sequence of length {len(value)}."
                    )
                values = value
            for i, (original, new) in enumerate(zip(self._originals(), values, strict=True)):
                name = "original" if self.is_tensor else f"original{i}"
                if not isinstance(new, Tensor):
                    raise ValueError(
                        f"`right_inverse` must return a sequence of tensors. Got element {i} of "
                        f"type {type(new).__name__}"
                    )
                if new.dtype != original.dtype:
                    raise ValueError(
                        f"The tensor returned by `right_inverse` has dtype {new.dtype} while "
                        f"`{name}` has dtype {original.dtype}"
                    )
                _set(original, new)

    def forward(self):
        out = self[0](*self._originals())
        for module in list(self)[1:]:
            out = module(out)
        return out


def _getstate(self):
    raise RuntimeError(
        "Serialization of parametrized modules is only supported through state_dict(). Save "
        "module.state_dict(), and register the parametrizations again before loading it."
    )


def _deepcopy(self, memo):
    if id(self) in memo:
        return memo[id(self)]
    out = self.__new__(type(self))
    memo[id(self)] = out
    # The state that the class had before `_getstate` forbade it.
    state = super(type(self), self).__getstate__()
    out.__setstate__(copy.deepcopy(state, memo))
    return out


def _inject_class(module):
    cls = type(module)
    members = {"__getstate__": _getstate}
    if not hasattr(cls, "__deepcopy__"):
        members["__deepcopy__"] = _deepcopy
    module.__class__ = type(f"Parametrized{cls.__name__}", (cls,), members)


def _inject_property(module, name):
    def get(self):
        parametrization = self.parametrizations[name]
        if not _cache_enabled:
            return parametrization()
        key = (id(self), name)
        if key not in _cache:
            _cache[key] = parametrization()
        return _cache[key]

    def put(self, value):
        self.parametrizations[name].right_inverse(value)

    setattr(type(module), name, property(get, put))


def register_parametrization(module, tensor_name, parametrization, *, unsafe=False):
    """Let `module.<tensor_name>` be `parametrization(original)` from now on.

    Registering several parametrizations on one tensor composes them. With a `right_inverse` the
    tensor can be assigned, and the original starts as `right_inverse(tensor)`.

    Args:
        parametrization: a Module from the original tensor(s) to one tensor.
        unsafe: do not check that dtype and shape stay.

    Returns the module. Raises ValueError when there is no such parameter or buffer, or when the
    parametrization breaks the rules above.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        if not unsafe:
            _check_composition(module, tensor_name, parametrization)
        module.parametrizations[tensor_name].append(parametrization)
        module.parametrizations[tensor_name].unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        chain = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            _inject_class(module)
            module.parametrizations = ModuleDict()
        _inject_property(module, tensor_name)
        module.parametrizations[tensor_name] = chain
    else:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    return module


def _check_composition(module, name, parametrization):
    before = getattr(module, name)
    after = parametrization(before)
    _require_unchanged(after, before.dtype, before.shape, "Registering a parametrization")
    if not hasattr(parametrization, "right_inverse"):
        return
    try:
        back = parametrization.right_inverse(after)
    except NotImplementedError:
        return
    if not isinstance(back, Tensor):
        raise ValueError(
            f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}"
        )
    for what, found, expected in (
        ("dtype", back.dtype, before.dtype),
        ("shape", back.shape, before.shape),
    ):
        if found != expected:
            raise ValueError(
                f"The tensor returned by parametrization.right_inverse must have the same {what} "
                f"as module.{name}, unless the `unsafe` flag is enabled.\n"
                f"module.{name}.{what}: {expected}\nreturned {what}: {found}"
            )


def is_parametrized(module, tensor_name=None):
    """Whether `module` has a parametrization (of `tensor_name`, if that is given)."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    if tensor_name is None:
        return len(parametrizations) > 0
    return tensor_name in parametrizations


def remove_parametrizations(module, tensor_name, leave_parametrized=True):
    """Make `module.<tensor_name>` an ordinary parameter or buffer again; returns the module.

    Args:
        leave_parametrized: keep the value that the parametrization gives, else the original's.
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    chain = module.parametrizations[tensor_name]
    if chain.is_tensor:
        original = chain.original
        if leave_parametrized:
            with no_grad():
                _set(original, getattr(module, tensor_name))
    elif leave_parametrized:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    delattr(type(module), tensor_name)
    del module.parametrizations[tensor_name]
    if len(module.parametrizations) == 0:
        delattr(module, "parametrizations")
        module.__class__ = type(module).__bases__[0]
    _register(module, tensor_name, original)
    return module


def type_before_parametrizations(module):
    """The class of `module` without the subclass that parametrizations put in."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module, to_module, tensor_name=None):
    """Give `to_module` the parametrizations of `from_module`, and their originals; returns it.

    Args:
        tensor_name: which tensor; None: all that are parametrized.
    """
    if not is_parametrized(from_module):
        return to_module
    names = list(from_module.parametrizations) if tensor_name is None else [tensor_name]
    for name in names:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name)))
        source = from_module.parametrizations[name]
        for parametrization in source:
            register_parametrization(to_module, name, parametrization)
        target = to_module.parametrizations[name]
        for original in source._parameters.keys() | source._buffers.keys():
            setattr(target, original, getattr(source, original))
    return to_module
