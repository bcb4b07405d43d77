"""A pickle reader that never runs code: the `weights_only=True` of torch.load.

A pickle is a program for a small stack machine. `pickletools.genops` decodes it without running anything, and `Unpickler`
is the machine: it builds containers and numbers, takes persistent ids (storages), and calls only what stands in an
allow-list: the functions that rebuild tensors, a few harmless types, and what the user entered with
`torch.serialization.add_safe_globals`. Any other name, any other opcode and any other kind of state is refused with
pickle.UnpicklingError.

Invariants: a name that is not in the list is never imported; state is set only on instances of listed types, and never
under a dunder name.
"""

from __future__ import annotations

import _compat_pickle
import collections
import pickletools
from pickle import UnpicklingError

import rushlight
from rushlight._tensor import _rebuild_from_type_v2
from rushlight.nn.parameter import Parameter, _rebuild_parameter, _rebuild_parameter_with_state

Storage, TypedStorage = rushlight.UntypedStorage, rushlight.TypedStorage

_user = []  # classes and functions, or (object, full name) pairs


def _add_safe_globals(safe_globals):
    """Enter classes and functions (or pairs of one and its full name in the file) into the allow-list."""
    for entry in list(safe_globals):
        if entry not in _user:
            _user.append(entry)


def _get_safe_globals():
    """What the user has entered."""
    return list(_user)


def _clear_safe_globals():
    """Take out what the user has entered."""
    _user.clear()


class _safe_globals:  # noqa: N801
    """add_safe_globals for the length of a `with` block."""

    def __init__(self, safe_globals):
        self.entries = list(safe_globals)

    def __enter__(self):
        self.before = list(_user)
        _add_safe_globals(self.entries)

    def __exit__(self, *exc):
        _user[:] = self.before


def _encode(text, encoding="latin1"):
    """How bytes are written by old protocols: encode(text, 'latin1'), and no other codec."""
    if encoding not in ("latin1", "latin-1"):
        raise UnpicklingError(f"_codecs.encode with encoding {encoding!r} is not allowed")
    return text.encode("latin1")


def _safe_from_type(func, new_type, args, state):
    slots = state[1] if isinstance(state, tuple) and len(state) == 2 else None
    if not isinstance(new_type, type) or not issubclass(new_type, rushlight.Tensor) or func not in _rebuilders.values():
        raise UnpicklingError(f"_rebuild_from_type_v2 of {new_type!r} by {func!r} is not allowed")
    _checked_names(slots)
    return _rebuild_from_type_v2(func, new_type, args, state)


def _checked_names(names):
    for name in names or ():
        if not isinstance(name, str) or name.startswith("__"):
            raise UnpicklingError(f"state under the name {name!r} is not allowed")


_rebuilders = {
    **{f"torch._utils.{n}": f for n, f in rushlight._namespace("_utils").items()},
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter_with_state,
}


def _fixed():
    """The allow-list by the names that checkpoint files use."""
    found = {
        "collections.OrderedDict": collections.OrderedDict,
        "collections.Counter": collections.Counter,
        "builtins.set": set,
        "builtins.bytearray": bytearray,
        "builtins.complex": complex,
        "_codecs.encode": _encode,
        "torch.Size": rushlight.Size,
        "torch.Tensor": rushlight.Tensor,
        "torch.device": rushlight.device,
        "torch.nn.parameter.Parameter": Parameter,
        "torch.nn.Parameter": Parameter,
        "torch.storage.UntypedStorage": Storage,
        "torch.storage.TypedStorage": TypedStorage,
        "torch.UntypedStorage": Storage,
        "torch._tensor._rebuild_from_type_v2": _safe_from_type,
        "torch.serialization._get_layout": rushlight._namespace("serialization")["_get_layout"],
        **_rebuilders,
    }
    for name, value in vars(rushlight).items():
        if isinstance(value, (rushlight.dtype, rushlight.memory_format)) and str(value) == f"torch.{name}":
            found[f"torch.{name}"] = value
        elif isinstance(value, type) and (name.endswith("Storage") or name.endswith("Tensor")) and isinstance(getattr(value, "dtype", None), rushlight.dtype):
            found[f"torch.{name}"] = value
    return found


_FIXED = _fixed()


def _full_name(module, name, protocol):
    """The name of a global in the file, in Python 3's and PyTorch's spelling."""
    if protocol <= 2:
        if (module, name) in _compat_pickle.NAME_MAPPING:
            module, name = _compat_pickle.NAME_MAPPING[module, name]
        elif module in _compat_pickle.IMPORT_MAPPING:
            module = _compat_pickle.IMPORT_MAPPING[module]
    if module == "rushlight" or module.startswith("rushlight."):
        module = "torch" + module[len("rushlight") :]
    return f"{module}.{name}"


def _user_table():
    table = {}
    for entry in _user:
        obj, name = entry if isinstance(entry, tuple) else (entry, None)
        if name is None:
            module = obj.__module__
            name = f"{'torch' + module[9:] if module.split('.')[0] == 'rushlight' else module}.{obj.__qualname__}"
        table[name] = obj
    return table


def globals_in(data):
    """The full names of all globals that a pickle mentions, in order."""
    found, strings, memo, last, protocol = [], [], {}, None, 0
    for op, arg, _ in pickletools.genops(data):
        if op.name == "PROTO":
            protocol = arg
        elif op.name == "GLOBAL":
            found.append(_full_name(*arg.split(" ", 1), protocol))
        elif op.name == "STACK_GLOBAL":
            found.append(_full_name(*strings[-2:], protocol))
        if "UNICODE" in op.name:
            strings.append(arg)
            last = arg
        elif op.name == "MEMOIZE":
            memo[len(memo)] = last
        elif op.name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[arg] = last
        elif op.name in ("BINGET", "LONG_BINGET", "GET"):
            strings.append(memo.get(arg))
        else:
            last = None
    return list(dict.fromkeys(found))


def unsafe_globals(data):
    """Those of them that are not allowed."""
    user = _user_table()
    return [n for n in globals_in(data) if n not in _FIXED and n not in user]


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_LITERALS = frozenset(
    """INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES
    BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8""".split()
)


class Unpickler:
    """Runs one pickle. `persistent_load` turns persistent ids into storages."""

    def __init__(self, file, *, encoding="bytes"):
        self.data = file.read() if hasattr(file, "read") else file
        self.persistent_load = None
        self.user = _user_table()
        self.allowed = {**_FIXED, **self.user}

    def find_class(self, module, name):
        """What stands in the list under this name; UnpicklingError for what does not."""
        full = _full_name(module, name, self.protocol)
        try:
            return self.allowed[full]
        except KeyError:
            short = full.rpartition(".")[2]
            raise UnpicklingError(
                f"Unsupported global: GLOBAL {full} was not an allowed global by default. Please use "
                f"`torch.serialization.add_safe_globals([{short}])` or the `torch.serialization.safe_globals([{short}])` context manager to allowlist "
                "this global if you trust this class/function."
            ) from None

    def _call(self, function, args):
        if isinstance(function, (rushlight.dtype, rushlight.memory_format)) or not any(function is f for f in self.allowed.values()):
            raise UnpicklingError(f"Trying to call reduce for unrecognized function {function!r}")
        return function(*args)

    def _new(self, cls, args):
        if cls is Parameter or cls in (collections.OrderedDict, collections.Counter, set):
            return cls(*args)
        if isinstance(cls, type) and any(cls is c for c in self.user.values()):
            return cls.__new__(cls, *args)
        raise UnpicklingError(f"Can not create new object for {cls!r}")

    def _build(self, instance, state):
        kind = type(instance)
        if kind is rushlight.Tensor or kind is Parameter:
            instance.__setstate__(state)
        elif kind is collections.OrderedDict:
            instance.__dict__.update(state)
        elif any(kind is c for c in self.user.values()):
            if hasattr(instance, "__setstate__"):
                instance.__setstate__(state)
                return
            slots = None
            if isinstance(state, tuple) and len(state) == 2:
                state, slots = state
            _checked_names(state), _checked_names(slots)
            if state:
                instance.__dict__.update(state)
            for name, value in (slots or {}).items():
                setattr(instance, name, value)
        else:
            raise UnpicklingError(f"Can only build Tensor, Parameter, OrderedDict or types allowlisted via `add_safe_globals`, but got {kind}")

    def load(self):
        """The object that the pickle describes."""
        stack, marks, memo = [], [], {}
        self.protocol = 0

        def since_mark():
            nonlocal stack
            items, stack = stack, marks.pop()
            return items

        for op, arg, at in pickletools.genops(self.data):
            name = op.name
            if name in _LITERALS:
                stack.append(arg)
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                stack.append(memo[arg])
            elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
                memo[arg] = stack[-1]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            elif name == "MARK":
                marks.append(stack)
                stack = []
            elif name == "GLOBAL":
                stack.append(self.find_class(*arg.split(" ", 1)))
            elif name == "STACK_GLOBAL":
                short, module = stack.pop(), stack.pop()
                if type(module) is not str or type(short) is not str:
                    raise UnpicklingError("STACK_GLOBAL requires str")
                stack.append(self.find_class(module, short))
            elif name == "BINPERSID":
                stack.append(self._persistent(stack.pop()))
            elif name == "REDUCE":
                args = stack.pop()
                stack[-1] = self._call(stack[-1], args)
            elif name == "NEWOBJ":
                args = stack.pop()
                stack[-1] = self._new(stack[-1], args)
            elif name == "BUILD":
                state = stack.pop()
                self._build(stack[-1], state)
            elif name == "EMPTY_TUPLE":
                stack.append(())
            elif name == "TUPLE":
                items = since_mark()
                stack.append(tuple(items))
            elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
                n = int(name[-1])
                stack[-n:] = [tuple(stack[-n:])]
            elif name == "EMPTY_LIST":
                stack.append([])
            elif name == "LIST":
                items = since_mark()
                stack.append(items)
            elif name == "APPEND":
                value = stack.pop()
                self._typed(stack[-1], (list,), "append to").append(value)
            elif name == "APPENDS":
                items = since_mark()
                self._typed(stack[-1], (list,), "append to").extend(items)
            elif name == "EMPTY_DICT":
                stack.append({})
            elif name == "DICT":
                items = since_mark()
                stack.append(dict(zip(items[::2], items[1::2])))
            elif name == "SETITEM":
                value, key = stack.pop(), stack.pop()
                self._typed(stack[-1], (dict,), "set items of")[key] = value
            elif name == "SETITEMS":
                items = since_mark()
                target = self._typed(stack[-1], (dict,), "set items of")
                for key, value in zip(items[::2], items[1::2]):
                    target[key] = value
            elif name == "EMPTY_SET":
                stack.append(set())
            elif name == "ADDITEMS":
                items = since_mark()
                self._typed(stack[-1], (set,), "add to").update(items)
            elif name == "FROZENSET":
                items = since_mark()
                stack.append(frozenset(items))
            elif name == "POP":
                if stack:
                    stack.pop()
                else:
                    since_mark()
            elif name == "POP_MARK":
                since_mark()
            elif name == "DUP":
                stack.append(stack[-1])
            elif name == "PROTO":
                self.protocol = arg
            elif name == "STOP":
                return stack.pop()
            elif name != "FRAME":
                raise UnpicklingError(f"Unsupported operand {ord(op.code)} ({name} at byte {at})")
        raise EOFError("the pickle ends without STOP")

    def _typed(self, target, kinds, what):
        if not isinstance(target, kinds):
            raise UnpicklingError(f"Can only {what} {kinds[0].__name__}, but got {type(target)}")
        return target

    def _persistent(self, pid):
        if type(pid) is not tuple and not (type(pid) is int and self.protocol):
            raise UnpicklingError(f"persistent_load id must be tuple or int, but got {type(pid)}")
        if type(pid) is tuple and pid and pid[0] != "storage":
            raise UnpicklingError(f"Only persistent_load of storage is allowed, but got {pid[0]}")
        if self.persistent_load is None:
            raise UnpicklingError("a persistent id, and nothing to load it with")
        return self.persistent_load(pid)


def load(file, *, encoding="bytes"):
    """Unpickle without running code."""
    return Unpickler(file, encoding=encoding).load()
