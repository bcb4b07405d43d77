"""What a function can reach: the tensors that a captured program takes as inputs, and what it must find unchanged.

`Walk` follows arguments, closure cells, globals that the code names, attributes of objects, modules, optimizers and
containers, into the program's own functions but not into libraries. Each thing is reached by a path, a Python expression
over `args` (the call's arguments) and constants `k0`, `k1`, ...; the conditions that hold along the paths are the guards.
`Walk.check()` makes one Python function of them, which is what a call pays.

Along a path from the arguments every call may bring other objects: types, sizes and layouts are guarded. Elsewhere the
objects themselves are: a model is the same model as long as its parameters are the same memory, its `training` flags and
plain attributes have the same values, and its containers the same length.

Invariant: what is not followed is not guarded; a tensor that is found in such a place makes the program one that is not
replayed (capture.py: stray).
"""

from __future__ import annotations

import enum
import os
import random
import sys
import sysconfig
import types
import weakref
from array import array
from collections import deque
from contextvars import ContextVar

import numpy as np

from rushlight.autograd.modes import PACKAGE
from rushlight.core.device import Device
from rushlight.core.dtype import DType
from rushlight.core.generator import Generator
from rushlight.tensor import Tensor, needs

ndarray = np.ndarray
PLAIN = (bool, int, float, str, bytes, complex, type(None), DType, Device, enum.Enum, range, slice, type(...))
MOST = 100_000  # things that are followed
_LIBRARIES = tuple({os.path.normcase(sysconfig.get_paths()[n]) + os.sep for n in ("stdlib", "platstdlib", "purelib", "platlib")} | {os.path.normcase(PACKAGE)})


def foreign(filename):
    """Whether a file belongs to a library: its functions are taken as they are."""
    return os.path.normcase(filename).startswith(_LIBRARIES) or filename.startswith("<frozen")


class Input:
    """A tensor that a program reads or writes: where it is found, and how it was laid out."""

    __slots__ = ("tensor", "path", "argument", "grad_of")

    def __init__(self, tensor, path, argument, grad_of=None):
        self.tensor, self.path, self.argument, self.grad_of = tensor, path, argument, grad_of


class Slot:
    """A place outside that holds a number: `line` is the guard on its value."""

    __slots__ = ("container", "place", "value", "line")

    def __init__(self, container, place, value, line):
        self.container, self.place, self.value, self.line = container, place, value, line

    @property
    def key(self):
        """What tells a slot apart from call to call."""
        return (id(self.container) if self.container.__class__ is dict else "args", self.place)


class Walk:
    """Everything reachable from a function and the arguments of a call."""

    def __init__(self, function, args, kwargs):
        self.refused = None  # something that the function can reach and whose state no guard can see
        self.generators = []  # (random generators that the function can reach, their state)
        self.constants = {}
        self.names = {}  # id -> name of a constant
        self.lines = []  # guards: Python expressions that must be true
        self.inputs = []  # Inputs, each tensor once
        self.seen = set()
        self.tensors = {}  # id -> Input
        self.codes = set()
        self.kinds = set()
        self.iterator = None  # an iterator that the function can reach: next() cannot be replayed
        self.left = MOST
        self.slots = {}  # path -> Slot, for numbers in dicts and among the arguments
        self.argument(args, "args")
        self.argument(kwargs, "kwargs")
        self.function(function)

    # ---- names
    def name(self, value):
        """A constant's name in the guards."""
        found = self.names.get(id(value))
        if found is None:
            found = self.names[id(value)] = f"k{len(self.constants)}"
            self.constants[found] = value
        return found

    def same(self, path, value):
        self.lines.append(f"{path} is {self.name(value)}")

    # ---- arguments
    def argument(self, value, path):
        """What a call brings: guarded by its kind."""
        kind = type(value)
        if isinstance(value, Tensor):
            self.tensor(value, path, True)
        elif kind in (tuple, list):
            self.lines.append(f"{path}.__class__ is {self.name(kind)} and len({path}) == {len(value)}")
            for i, v in enumerate(value):
                self.argument(v, f"{path}[{i}]")
                if path == "args":
                    self.slot(value, i, v, f"args[{i}]")
        elif kind is dict and all(isinstance(k, (str, int)) for k in value):
            self.lines.append(f"{path}.__class__ is dict and len({path}) == {len(value)}")
            self.lines.extend(f"{k!r} in {path}" for k in value)
            for k, v in value.items():
                self.argument(v, f"{path}[{k!r}]")
        elif isinstance(value, tuple) and hasattr(kind, "_fields"):
            self.lines.append(f"{path}.__class__ is {self.name(kind)}")
            for i, v in enumerate(value):
                self.argument(v, f"{path}[{i}]")
        elif isinstance(value, PLAIN):
            self.plain(value, path)
        elif isinstance(value, np.generic):
            self.lines.append(f"{path}.__class__ is {self.name(kind)} and {path} == {self.name(value)}")
        else:
            self.held(value, path)

    def plain(self, value, path):
        kind = type(value)
        if value is None or kind is bool or isinstance(value, (DType, enum.Enum)):
            self.same(path, value)
        elif value != value:
            self.lines.append(f"{path} != {path}")
        elif kind in (int, str):
            self.lines.append(f"{path} == {value!r} and {path}.__class__ is {kind.__name__}")
        else:
            self.lines.append(f"{path}.__class__ is {self.name(kind)} and {path} == {self.name(value)}")

    def slot(self, container, place, value, path):
        """Note a number that may become an input (its guard has just been written)."""
        if value.__class__ in (float, int) and value == value:
            self.slots[path] = Slot(container, place, value, self.lines[-1])

    def tensor(self, value, path, argument):
        known = self.tensors.get(id(value))
        if known is not None:
            if argument and known.argument:
                self.lines.append(f"{path} is {known.path}")
            elif not argument and not known.argument:
                self.same(path, value)
            else:
                self.same(path, value)
            return
        data = value._data
        if data.__class__ is not ndarray:
            self.same(path, value)
            return
        if argument:
            self.lines.append(f"{path}.__class__ is {self.name(type(value))}")
            layout = (data.shape, data.strides)
            self.lines.append(f"{path}._data.__class__ is {self.name(ndarray)} and {path}._data.dtype == {self.name(data.dtype)}")
            self.lines.append(f"({path}._data.shape, {path}._data.strides) == {self.name(layout)}")
            self.lines.append(f"{path}._rg is {value._rg} and {'' if value._node is None else 'not '}({path}._node is None)")
            self.lines.append(f"({path}._base is None or not {self.name(needs)}({path}))" if value._base is None or not needs(value) else f"{path}._base is not None and {self.name(needs)}({path})")
            self.lines.append(f"{path}._hooks is {self.name(value._hooks)} and ({path}._hist is None) is {value._hist is None}")
            found = Input(value, path, True)
        else:
            k = self.name(value)
            if path != k:
                self.same(path, value)
            self.lines.append(f"{k}._data is {self.name(data)} and {k}._rg is {value._rg} and {k}._hooks is {self.name(value._hooks)}")
            found = Input(value, k, False)
        self.tensors[id(value)] = found
        self.inputs.append(found)
        if value._hooks is not None:
            h = self.name(value._hooks)
            self.held(value._hooks.tensor, f"{h}.tensor")
            self.held(value._hooks.accumulated, f"{h}.accumulated")
        grad = value._grad
        if grad is not None and id(grad) not in self.tensors and grad._data.__class__ is ndarray:
            self.tensors[id(grad)] = inner = Input(grad, f"{found.path}._grad", argument, value)
            self.inputs.append(inner)

    # ---- what is held
    def held(self, value, path):
        """An object that must be the same one: it, and what it holds."""
        if isinstance(value, PLAIN):
            self.plain(value, path)
            return
        if isinstance(value, Tensor):
            self.tensor(value, path, False)
            return
        if self.left <= 0:
            self.refused = f"it can reach more than {MOST} things"
            return
        self.left -= 1
        kind = type(value)
        if isinstance(value, (types.ModuleType, np.generic)):
            if not isinstance(value, types.ModuleType):
                self.same(path, value)
            return
        self.same(path, value)
        if id(value) in self.seen:
            return
        self.seen.add(id(value))
        k = self.name(value)
        if isinstance(value, type):
            self.kind(value)
            return
        if isinstance(value, types.BuiltinFunctionType):
            owner = getattr(value, "__self__", None)
            if owner is not None and not isinstance(owner, (types.ModuleType, type)):
                self.held(owner, f"{k}.__self__")
            return
        if isinstance(value, (Generator, random.Random)) or kind.__module__.startswith("numpy.random"):
            self.generators.append((value, state_of(value)))
            return
        if isinstance(value, (ndarray, bytearray, memoryview, array)):
            self.contents(value, k)
            return
        if isinstance(value, (types.FunctionType, types.MethodType)):
            self.function(value)
        elif kind.__name__ == "partial" and kind.__module__ == "functools":
            self.function(value.func)
            self.held(value.args, f"{k}.args")
            self.held(value.keywords, f"{k}.keywords")
        elif isinstance(value, (list, tuple, deque)):
            if not isinstance(value, tuple):
                self.lines.append(f"len({k}) == {len(value)}")
            for i, v in enumerate(value):
                self.held(v, f"{k}[{i}]")
        elif isinstance(value, dict):
            self.lines.append(f"len({k}) == {len(value)}")
            for key, v in list(value.items()):
                plain = isinstance(key, (str, int))
                path = f"{k}[{key!r}]" if plain else f"{k}.get({self.name(key)})"
                self.held(v, path)
                if plain and kind is dict:
                    self.slot(value, key, v, path)
        elif isinstance(value, (set, frozenset)):
            self.lines.append(f"{k} == {self.name(frozenset(value))}")
        elif isinstance(value, ContextVar):
            self.held(value.get(None), f"{k}.get(None)")
        elif isinstance(value, weakref.ref):
            self.held(value(), f"{k}()")
        elif hasattr(kind, "__next__"):
            self.iterator = self.iterator or kind.__name__
        else:
            self.instance(value, k)

    def instance(self, value, k):
        """An object with attributes."""
        kind = type(value)
        attributes = getattr(value, "__dict__", None)
        if attributes is not None:
            name = self.name(attributes)
            ours = kind.__module__.split(".")[0] in ("rushlight", "torch")
            if not ours or hasattr(kind, "named_modules"):  # a new attribute may hide the class's
                self.lines.append(f"len({name}) == {len(attributes)}")
            for n, v in list(attributes.items()):
                if isinstance(v, (types.ModuleType, type)) or ours and n in _UNGUARDED:
                    continue
                if isinstance(v, PLAIN):
                    self.plain(v, f"{name}[{n!r}]")
                    self.slot(attributes, n, v, f"{name}[{n!r}]")
                elif v.__class__ is dict and not v and ours:
                    self.lines.append(f"not {name}[{n!r}]")
                else:
                    self.held(v, f"{name}[{n!r}]")
        for slot in _slots(kind):
            try:
                v = getattr(value, slot)
            except AttributeError:
                continue
            self.held(v, f"{k}.{slot}")
        for base in kind.__mro__:
            self.kind(base)

    def kind(self, value):
        """A class: the code of its methods, and of the program's own classes the attributes."""
        if value in self.kinds:
            return
        self.kinds.add(value)
        module = sys.modules.get(value.__module__)
        file = getattr(module, "__file__", None)
        own = file is not None and not foreign(file) or value.__module__ == "__main__"
        k = self.name(value)
        for n, member in list(vars(value).items()):
            member = getattr(member, "__func__", member)
            member = getattr(member, "fget", member)
            if isinstance(member, types.FunctionType):
                self.code_of(member)
                if own:
                    self.lines.append(f"{k}.__dict__[{n!r}] is {self.name(vars(value)[n])}")
            elif own and not (n.startswith("__") and n.endswith("__")) and not isinstance(member, _MEMBERS):
                self.held(member, f"{k}.__dict__[{n!r}]")
        if own:
            for base in value.__mro__[1:-1]:
                self.kind(base)

    def contents(self, value, k):
        """Memory that is no tensor: its bytes must be the same."""
        view = memoryview(value) if not isinstance(value, ndarray) else value
        if view.nbytes > CONTENTS or isinstance(value, ndarray) and value.dtype.hasobject:
            self.refused = f"it can reach {type(value).__name__} of {view.nbytes} bytes, whose values may change: make it a tensor"
            return
        self.lines.append(f"{k}.tobytes() == {self.name(value.tobytes())}" if not isinstance(value, bytearray) else f"{k} == {self.name(bytes(value))}")

    def function(self, value):
        """A function: its closure, defaults and the globals that it names."""
        if isinstance(value, types.MethodType):
            self.held(value.__self__, self.name(value.__self__))
            value = value.__func__
        if not isinstance(value, types.FunctionType):
            if value.__class__ not in (types.BuiltinFunctionType, type) and not isinstance(value, type):
                self.held(value, self.name(value))
            return
        self.code_of(value)

    def code_of(self, value):
        code = value.__code__
        if id(value) in self.codes or foreign(code.co_filename):
            return
        self.codes.add(id(value))
        for cell in value.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            self.held(content, f"{self.name(cell)}.cell_contents")
        for n, v in enumerate(value.__defaults__ or ()):
            self.held(v, f"{self.name(value)}.__defaults__[{n}]")
        for n, v in (value.__kwdefaults__ or {}).items():
            self.held(v, f"{self.name(value)}.__kwdefaults__[{n!r}]")
        self.globals_of(code, value.__globals__)

    def globals_of(self, code, scope):
        for name in code.co_names:
            if name in scope:
                v = scope[name]
                if isinstance(v, types.ModuleType):
                    self.module_of(v, code)
                else:
                    self.held(v, f"{self.name(scope)}[{name!r}]")
            elif isinstance(sys.modules.get(name), types.ModuleType):
                self.module_of(sys.modules[name], code)
        for inner in code.co_consts:
            if isinstance(inner, types.CodeType):
                self.globals_of(inner, scope)

    def module_of(self, module, code):
        """The functions that the code may call in one of the program's own modules."""
        file = getattr(module, "__file__", None)
        if file is None or foreign(file) or (id(module), code) in self.codes:
            return
        self.codes.add((id(module), code))
        scope = vars(module)
        for name in code.co_names:
            if name in scope:
                if isinstance(scope[name], types.ModuleType):
                    self.module_of(scope[name], code)
                else:
                    self.held(scope[name], f"{self.name(scope)}[{name!r}]")

    # ---- the guards as a function
    def check(self, also=()):
        """check(args, kwargs): whether everything is as it was found."""
        lines = list(dict.fromkeys([*self.lines, *also]))
        return conjunction(lines, self.constants)


#: attributes of modules and optimizers that no call depends on
_MEMBERS = (types.MemberDescriptorType, types.GetSetDescriptorType, property, types.ModuleType)
CONTENTS = 1 << 20  # bytes of an array that are compared at every call


def state_of(generator):
    """Where a random generator stands, as something that can be compared."""
    if isinstance(generator, Generator):
        return (generator._at, id(generator._words), generator._seed, generator._fresh, generator.next_normal)
    if isinstance(generator, random.Random):
        return generator.getstate()
    bits = getattr(generator, "bit_generator", None) or getattr(generator, "_bit_generator", generator)
    return repr(bits.state)


_UNGUARDED = frozenset((
    "_opt_called", "_zero_grad_profile_name", "_compiled_call_impl", "_non_persistent_buffers_set", "defaults",
    "_optimizer_state_dict_pre_hooks", "_optimizer_state_dict_post_hooks", "_optimizer_load_state_dict_pre_hooks", "_optimizer_load_state_dict_post_hooks",
    "_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
))  # fmt: skip


def _slots(kind):
    """The slots of a class of the program's own."""
    if kind.__module__.split(".")[0] in ("rushlight", "builtins", "numpy", "collections"):
        return
    for base in kind.__mro__:
        slots = vars(base).get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else (s for s in slots if s not in ("__dict__", "__weakref__"))


_FLAT = 400  # conditions in one expression


def conjunction(lines, constants):
    """One function (args, kwargs) -> bool of many conditions. A path that leads nowhere any more is a condition that fails."""
    parts = [lines[i : i + _FLAT] for i in range(0, len(lines), _FLAT)] or [["True"]]
    text = ["def check(args, kwargs):", "  try:"]
    for part in parts:
        text.append("    if not (" + "\n      and ".join(f"({c})" for c in part) + "): return False")
    text += ["  except (AttributeError, KeyError, IndexError, TypeError, ValueError): return False", "  return True"]
    scope = dict(constants)
    exec(compile("\n".join(text), "<guards>", "exec"), scope)  # text that this file wrote
    return scope["check"]


def failing(lines, constants, args, kwargs):
    """The conditions that do not hold now, to say why."""
    scope = {**constants, "args": args, "kwargs": kwargs}
    for line in lines:
        try:
            if not eval(line, scope):  # text that this file wrote
                yield line
        except Exception:
            yield line


__all__ = ["Input", "Walk", "conjunction", "failing"]
