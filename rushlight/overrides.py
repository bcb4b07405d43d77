"""torch.overrides: helpers for classes that implement `__torch_function__` (the engine publishes them under `overrides.`).

Importing this module makes the published functions overridable; so does defining a subclass of Tensor.
"""

import functools
import inspect
from types import ModuleType

import rushlight

globals().update({n: f for n, f in rushlight._namespace("overrides").items() if not n.startswith("_")})
_records, _state = rushlight._namespace("overrides")["_records"], rushlight._namespace("overrides")["_state"]
activate = rushlight._namespace("overrides")["activate"]
activate()


def is_tensor_like(inp):
    """Whether `inp` is a tensor or an object of a class with `__torch_function__`."""
    return type(inp) is rushlight.Tensor or hasattr(inp, "__torch_function__")


def wrap_torch_function(dispatcher):
    """Make a function of the user's overridable: dispatcher(*args, **kwargs) lists the arguments whose classes are asked."""

    def decorate(func):
        @functools.wraps(func)
        def wrapped(*args, **kwargs):
            relevant = dispatcher(*args, **kwargs)
            if rushlight.overrides.has_torch_function(relevant):
                return rushlight.overrides.handle_torch_function(wrapped, relevant, *args, **kwargs)
            return func(*args, **kwargs)

        return wrapped

    return decorate


def get_ignored_functions():
    """Published functions that cannot be overridden."""
    known = {id(r.func) for r in _records()}
    return {f for n, f in vars(rushlight).items() if inspect.isfunction(f) and not n.startswith("_") and id(f) not in known}


def get_overridable_functions():
    """The functions that can be overridden, by the module or class that they belong to."""
    found = {}
    for record in _records():
        home = record.name.rpartition(".")[0]
        place = rushlight
        for part in home.split(".")[1:]:
            place = vars(place).get(part) if isinstance(place, type) else getattr(place, part, None)
        if isinstance(place, (ModuleType, type, property)):
            found.setdefault(place, []).append(record.func)
    return found


@functools.lru_cache(None)
def _names():
    return {r.func: r.name for r in _records()}


def resolve_name(f):
    """The full name of an overridable function, such as 'torch.Tensor.add'; None for others."""
    return _names().get(f)


def is_tensor_method_or_property(func):
    """Whether an overridable function is a method or a property of Tensor."""
    return (resolve_name(func) or "").startswith("torch.Tensor.") or getattr(func, "__name__", None) in ("__get__", "__set__")


def _get_current_function_mode():
    return _state().modes[-1] if _state().modes else None


def _get_current_function_mode_stack():
    return list(_state().modes)


def get_testing_overrides():
    """For each overridable function another of the same signature that returns -1."""

    def dummy(f):
        def stand_in(*args, **kwargs):
            return -1

        stand_in.__signature__ = inspect.signature(f)
        return stand_in

    return {r.func: dummy(r.twin) for r in _records()}


__all__ = [*(n for n in rushlight._namespace("overrides") if not n.startswith("_")), "get_ignored_functions", "get_overridable_functions",
           "get_testing_overrides", "is_tensor_like", "is_tensor_method_or_property", "resolve_name", "wrap_torch_function"]  # fmt: skip
