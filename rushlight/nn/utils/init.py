"""Making modules: without drawing their initial values, and with the arguments of factories."""

from __future__ import annotations

import inspect

from ..modules.module import Module

__all__ = ["factory_kwargs", "skip_init"]

_SIMPLE = ("device", "dtype", "memory_format")


def skip_init(module_cls, *args, **kwargs):
    """`module_cls(*args, **kwargs)` with parameters and buffers of arbitrary values.

    The module is built on the meta device, where filling costs nothing, and then given memory; so
    the class must take `device=` and pass it on to whatever it creates.
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    return module_cls(*args, device="meta", **kwargs).to_empty(device=device)


def factory_kwargs(kwargs):
    """The keyword arguments for functions such as `empty`, from those of a module's constructor.

    `device`, `dtype` and `memory_format` are taken from `kwargs` and from its entry
    `factory_kwargs`, a dict. Raises TypeError for other names and for one that is given twice.
    """
    if kwargs is None:
        return {}
    unexpected = kwargs.keys() - {*_SIMPLE, "factory_kwargs"}
    if unexpected:
        raise TypeError(f"unexpected kwargs {unexpected}")
    out = dict(kwargs.get("factory_kwargs", {}))
    for name in _SIMPLE:
        if name in kwargs:
            if name in out:
                raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
            out[name] = kwargs[name]
    return out
