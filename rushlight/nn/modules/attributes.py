"""How a Module keeps what is assigned to it: every read and write of an attribute, in one place.

A Module has three tables, `_parameters`, `_buffers` and `_modules`, which decide what belongs to
it. An ordinary look-up finds nothing in them, and the fallback `__getattr__` costs many times an
ordinary attribute, in a forward pass once for each weight and child. So a table is a `Table`: a
dict that *mirrors* its entries in the `__dict__` of the module, whichever way it is changed.
`self.weight` is then an ordinary attribute read, and `module._parameters["weight"] = w` still
works.

Invariants
- A mirrored entry is never the only copy: tables decide, `__getstate__` leaves mirrors out.
- A name that the class defines itself is not mirrored (the class attribute hides the entry, as it
  does when the fallback is the only way in), nor is anything on a class with its own
  `__getattr__`, which may want to see the name first. The fallback serves those.
- One table may serve several modules (`copy.copy` shares tables), so it keeps a list of owners,
  weakly: a table must not keep its module alive.
- Hook tables (`HOOK_TABLES`) do not exist until somebody asks for one. For the tables that
  `__call__` consults, that request sets `_hooked`, so that a module which nobody hooked pays for
  one flag.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict

from rushlight import Tensor

from ..parameter import Buffer, Parameter

TABLES = ("_parameters", "_buffers", "_modules")

CALL_HOOK_TABLES = frozenset(
    """_forward_hooks _forward_hooks_with_kwargs _forward_hooks_always_called _forward_pre_hooks
    _forward_pre_hooks_with_kwargs _backward_hooks _backward_pre_hooks""".split()
)
HOOK_TABLES = CALL_HOOK_TABLES | {
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
}
_SPECIAL = HOOK_TABLES | set(TABLES)

# Called with (module, name, value) when an entry is registered; a result replaces the value.
buffer_registration_hooks = OrderedDict()
module_registration_hooks = OrderedDict()
parameter_registration_hooks = OrderedDict()


class Table(dict):
    """A dict of a module's parameters, buffers or children that mirrors itself in the module."""

    __slots__ = ("_owners",)

    def __init__(self, items=()):
        dict.__init__(self, items)
        self._owners = ()

    def _attach(self, owner):
        if all(ref() is not owner for ref in self._owners):
            self._owners += (weakref.ref(owner),)
        for name, value in self.items():
            _mirror(owner, name, value)

    def _detach(self, owner):
        self._owners = tuple(ref for ref in self._owners if ref() not in (owner, None))
        for name in self:
            owner.__dict__.pop(name, None)

    def __setitem__(self, name, value):
        dict.__setitem__(self, name, value)
        for ref in self._owners:
            owner = ref()
            if owner is not None:
                _mirror(owner, name, value)

    def __delitem__(self, name):
        dict.__delitem__(self, name)
        for ref in self._owners:
            owner = ref()
            if owner is not None:
                owner.__dict__.pop(name, None)

    def pop(self, name, *default):
        if name not in self:
            return dict.pop(self, name, *default)
        value = self[name]
        del self[name]
        return value

    def popitem(self):
        name, value = dict.popitem(self)
        self[name] = value
        del self[name]
        return name, value

    def clear(self):
        for name in list(self):
            del self[name]

    def update(self, *args, **kwargs):
        for name, value in dict(*args, **kwargs).items():
            self[name] = value

    def __ior__(self, other):
        self.update(other)
        return self

    def setdefault(self, name, default=None):
        if name not in self:
            self[name] = default
        return self[name]

    def copy(self):
        return dict(self)

    def __reduce_ex__(self, proto):
        return dict, (), None, None, iter(self.items())


def _mirror(owner, name, value):
    cls = type(owner)
    if cls.__getattr__ is Attributes.__getattr__ and not hasattr(cls, name):
        owner.__dict__[name] = value


def table(module, kind):
    """The table of `kind`, made a `Table` when user code put a plain dict there."""
    current = module.__dict__[kind]
    if type(current) is not Table:
        _adopt(module, kind, current)
        current = module.__dict__[kind]
    return current


def _adopt(module, kind, mapping):
    """Make `mapping` the table of `kind`; a Table is shared, anything else is copied."""
    d = module.__dict__
    old = d.get(kind)
    if type(old) is Table and old is not mapping:
        old._detach(module)
    new = mapping if type(mapping) is Table else Table(mapping)
    d[kind] = new
    new._attach(module)


def hook_table(module, name):
    """The hook table `name`, to read: an empty tuple stands for one that was never needed."""
    return module.__dict__.get(name) or ()


def hooks_of(module, name):
    """The hooks in table `name`, as a list that stays valid while hooks remove themselves."""
    hooks = module.__dict__.get(name)
    return list(hooks.values()) if hooks else ()


def typename(value):
    """The name that error messages give a value: `torch.FloatTensor`, `numpy.ndarray`, `int`."""
    if isinstance(value, Tensor):
        return value.type()
    cls = type(value)
    module = cls.__module__
    return cls.__qualname__ if module in ("builtins", None) else f"{module}.{cls.__qualname__}"


class Attributes:
    """The part of Module that stores; see the head of this file."""

    _hooked = False

    # reading and writing

    def __getattr__(self, name):
        d = self.__dict__
        for kind in TABLES:
            if kind in d and name in d[kind]:
                return d[kind][name]
        if name in HOOK_TABLES:
            hooks = d[name] = OrderedDict()
            if name in CALL_HOOK_TABLES:
                d["_hooked"] = True
            return hooks
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name, value):
        d = self.__dict__
        params = d.get("_parameters")
        is_tensor = isinstance(value, Tensor)
        if is_tensor and isinstance(value, Parameter):
            self._make_room(name, "parameters", ("_buffers", "_modules"))
            self.register_parameter(name, value)
        elif params is not None and name in params:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' "
                    "(torch.nn.Parameter or None expected)"
                )
            self.register_parameter(name, value)
        elif isinstance(value, Attributes):
            self._make_room(name, "module", ("_parameters", "_buffers"))
            table(self, "_modules")[name] = _registered(
                module_registration_hooks, self, name, value
            )
        elif params is not None and name in d["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' "
                    "(torch.nn.Module or None expected)"
                )
            table(self, "_modules")[name] = _registered(
                module_registration_hooks, self, name, value
            )
        elif is_tensor and isinstance(value, Buffer):
            self._make_room(name, "buffer", ("_parameters", "_modules"))
            self.register_buffer(name, value, value.persistent)
        elif params is not None and name in d["_buffers"]:
            if value is not None and not is_tensor:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(torch.nn.Buffer, torch.Tensor or None expected)"
                )
            table(self, "_buffers")[name] = _registered(
                buffer_registration_hooks, self, name, value
            )
        elif name in _SPECIAL:
            self._set_table(name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name):
        for kind in TABLES:
            if name in self.__dict__.get(kind, ()):
                del table(self, kind)[name]
                if kind == "_buffers":
                    self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def _make_room(self, name, what, kinds):
        """Before `name` is registered: take it out of the other tables and of plain attributes."""
        d = self.__dict__
        if "_parameters" not in d:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        for kind in kinds:
            if name in d[kind]:
                del table(self, kind)[name]
        d.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _set_table(self, name, value):
        if name in HOOK_TABLES:
            self.__dict__[name] = value
            if name in CALL_HOOK_TABLES:
                self.__dict__["_hooked"] = True
        else:
            _adopt(self, name, value)

    def __dir__(self):
        names = set(dir(type(self))) | set(self.__dict__)
        for kind in TABLES:
            names.update(self.__dict__.get(kind, ()))
        # Names such as "0" cannot be written after a dot.
        return sorted(name for name in names if not name[:1].isdigit())

    # registration under a name

    def _check_name(self, name, what, kind):
        """The rules that parameter, buffer and module names share."""
        if "_parameters" not in self.__dict__:
            raise AttributeError(f"cannot assign {what} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{what} name should be a string. Got {typename(name)}")
        if "." in name:
            found = f", got: {name}" if what == "module" else ""
            raise KeyError(f'{what} name can\'t contain "."{found}')
        if name == "":
            raise KeyError(f'{what} name can\'t be empty string ""')
        if name not in self.__dict__[kind] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def register_parameter(self, name, param):
        """Add a parameter under `name`; `None` holds the place without one.

        Raises KeyError for a name that is empty, holds a dot or is taken, TypeError when `param`
        is no Parameter, ValueError when it was computed from other tensors.
        """
        self._check_name(name, "parameter", "_parameters")
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(torch.nn.Parameter or None required)"
                )
            if param.grad_fn is not None:
                raise ValueError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must "
                    f"be created explicitly. To express '{name}' as a function of another "
                    "Tensor, compute the value in the forward() method."
                )
            param = _registered(parameter_registration_hooks, self, name, param)
        table(self, "_parameters")[name] = param

    def register_buffer(self, name, tensor, persistent=True):
        """Add a tensor that is state but no parameter, such as a running mean.

        Args:
            name: the attribute it is read by.
            tensor: the buffer; `None` holds the place and is left out of the state_dict.
            persistent: whether it belongs to the state_dict.
        """
        self._check_name(name, "buffer", "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' "
                "(torch Tensor or None required)"
            )
        tensor = _registered(buffer_registration_hooks, self, name, tensor)
        table(self, "_buffers")[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name, module):
        """Add a child under `name`; `None` holds the place without one."""
        if module is not None and not isinstance(module, Attributes):
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name(name, "module", "_modules")
        module = _registered(module_registration_hooks, self, name, module)
        table(self, "_modules")[name] = module

    def register_module(self, name, module):
        """Alias of `add_module`."""
        self.add_module(name, module)

    # pickling and copying

    def __getstate__(self):
        d = self.__dict__
        state = dict(d)
        state.pop("_compiled_call_impl", None)
        for kind in TABLES:
            for name, value in d.get(kind, {}).items():
                if d.get(name, self) is value:
                    del state[name]
        return state

    def __setstate__(self, state):
        state = dict(state)
        tables = {kind: state.pop(kind, None) or {} for kind in TABLES}
        self.__dict__.update(state)
        self.__dict__.setdefault("_non_persistent_buffers_set", set())
        for kind, mapping in tables.items():
            _adopt(self, kind, mapping)
        # State written elsewhere may bring hook tables without the flag.
        if any(self.__dict__.get(name) for name in CALL_HOOK_TABLES):
            self.__dict__["_hooked"] = True


def _registered(hooks, module, name, value):
    """`value` after the registration hooks have seen it."""
    for hook in hooks.values():
        replacement = hook(module, name, value)
        if replacement is not None:
            value = replacement
    return value


def init_tables(module):
    """What `Module.__init__` puts into a new instance."""
    d = module.__dict__
    d["training"] = True
    owners = (weakref.ref(module),)
    for kind in TABLES:
        if d.get(kind):  # __init__ ran before, by another branch of the class tree
            table(module, kind)._detach(module)
        new = d[kind] = Table()
        new._owners = owners
    d["_non_persistent_buffers_set"] = set()
