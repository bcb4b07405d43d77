"""`__torch_function__`: classes that answer PyTorch's functions themselves.

The published functions know nothing of it, and while no class overrides them they pay nothing for it. When the first
such class appears (a subclass of Tensor that does not refuse the protocol, a mode that is entered, an operand of a row
that has `__torch_function__`), `activate()` changes every published function once, in place: its code object is
exchanged for one that asks `Overridable.call`, and a twin of the function keeps the old code. So every reference
anybody holds, `torch.add` in a table of handlers or a name imported earlier, is the overridable function from then on
and still the same object.

`Overridable.call` looks for overriding classes among the arguments (and in sequences of them), offers the call to the
innermost mode and then to each class, subclasses first, and runs the twin if there is none. While a twin runs, this
thread's protocol is off: what a function calls inside is no call of the user's.

Invariants: Parameter and Buffer refuse the protocol (`_disabled_torch_function_impl`), as in PyTorch, and so cost
nothing; names with one underscore are the engine's own and never overridable; a handler gets `func`, the types that
override, the arguments as they were given, and None for keywords where there are none.

Source: NEP 18 and PyTorch's documentation of `__torch_function__`.
"""

from __future__ import annotations

import functools
import threading
from types import FunctionType

from rushlight import dispatch
from rushlight.api import gradient
from rushlight.bind import FUNCTIONS, METHODS
from rushlight.core.window import element_strides
from rushlight.ops import views as V
from rushlight.tensor import Tensor, share


class _State(threading.local):
    """What is off in this thread (1: classes, 2: modes too), and the modes entered."""

    def __init__(self):
        self.off, self.modes = 0, []


STATE = _State()
_PLAIN = (Tensor, int, float, bool, str, type(None))
active = [False]


def _disabled_torch_function_impl(func, types, args=(), kwargs=None):
    """The `__torch_function__` of classes that do not override: run the function as for plain tensors."""
    with DisableTorchFunctionSubclass():
        return func(*args, **(kwargs or {}))


class _Off:
    level = 0

    def __enter__(self):
        self.before = STATE.off
        STATE.off = max(self.before, self.level)
        return self

    def __exit__(self, *exc):
        STATE.off = self.before


class DisableTorchFunctionSubclass(_Off):
    """Inside the block classes are not asked; modes are."""

    level = 1


class DisableTorchFunction(_Off):
    """Inside the block neither classes nor modes are asked."""

    level = 2


# ---- who overrides ---------------------------------------------------------------------------------------------


def _overrides(value):
    cls = value.__class__
    if cls in _PLAIN:
        return False
    handler = getattr(cls, "__torch_function__", None)
    return handler is not None and handler is not _disabled_torch_function_impl


def overloaded(arguments):
    """The arguments whose classes override, one a class, subclasses before the classes that they derive from."""
    found = []
    for value in arguments:
        cls = value.__class__
        if cls in _PLAIN or not _overrides(value) or any(cls is f.__class__ for f in found):
            continue
        at = next((i for i, f in enumerate(found) if issubclass(cls, f.__class__)), len(found))
        found.insert(at, value)
    return found


def _flat(args, kwargs):
    for value in (*args, *kwargs.values()):
        if value.__class__ is tuple or value.__class__ is list:
            yield from value
        else:
            yield value


def _offer(func, name, found, args, kwargs):
    """What the innermost mode or the first class says to the call; TypeError where all decline."""
    types = tuple([v.__class__ for v in found])
    if STATE.modes and STATE.off < 2:
        mode = STATE.modes.pop()
        try:
            result = mode.__torch_function__(func, types, args, kwargs)
        finally:
            STATE.modes.append(mode)
        if result is not NotImplemented:
            return result
    for value in found:
        result = value.__torch_function__(func, types, args, kwargs)
        if result is not NotImplemented:
            return result
    if name.startswith("torch.nn.functional."):
        raise TypeError(f"no implementation found for '{name}' on types that implement __torch_function__: {list(types)}")
    lines = "".join(f"\n\n  - tensor subclass {cls}" for cls in types)
    raise TypeError(f"Multiple dispatch failed for '{name}'; all __torch_function__ handlers returned NotImplemented:{lines}")


_MODES_ONLY = ("torch.tensor", "torch.as_tensor", "torch.asarray")  # they read any class as data


class Overridable:
    """One published function: the object that users know it by (`func`), its full name, and the twin that computes."""

    __slots__ = ("func", "name", "twin", "operator")

    def __init__(self, func, name, twin, operator=False):
        self.func, self.name, self.twin, self.operator = func, name, twin, operator

    def call(self, args, kwargs):
        """What the function's exchanged code does."""
        state = STATE
        if state.off < 2:
            found = () if state.off or self.name in _MODES_ONLY else overloaded(_flat(args, kwargs))
            if found or state.modes:
                if not self.operator:
                    return _offer(self.func, self.name, found, args, kwargs or None)
                try:
                    return _offer(self.func, self.name, found, args, kwargs or None)
                except TypeError as error:
                    if "Multiple dispatch failed" in str(error):
                        return NotImplemented
                    raise
        before, state.off = state.off, 2
        try:
            return self.twin(*args, **kwargs)
        finally:
            state.off = before


# ---- the exchange ----------------------------------------------------------------------------------------------


@functools.cache
def _template(names):
    """The code that stands in an exchanged function with free variables `names`.

    It uses none of them, but they have to be its own: who looks at the local variables of a running frame (debuggers,
    pytest) finds them there.
    """
    used = "; ".join(names) or "pass"
    space = {}
    exec(f"def outer({', '.join(names)}):\n def call(*args, **kwargs):\n  if 0: {used}\n  return 'record'.call(args, kwargs)\n return call", space)
    return space["outer"](*names).__code__


SWAPPED = {}  # id of the function -> its record (which keeps the function)


def exchange(f, name, func=None, operator=False):
    """Make `f` overridable in place; returns its record."""
    if id(f) in SWAPPED:
        return SWAPPED[id(f)]
    twin = FunctionType(f.__code__, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
    twin.__kwdefaults__ = f.__kwdefaults__
    twin.__qualname__, twin.__doc__, twin.__module__ = f.__qualname__, f.__doc__, f.__module__
    twin.__dict__.update(f.__dict__)
    record = Overridable(f if func is None else func, name, twin, operator)
    template = _template(f.__code__.co_freevars)
    f.__code__ = template.replace(
        co_consts=tuple(record if c == "record" else c for c in template.co_consts),
        co_name=f.__name__,
        co_filename=f.__code__.co_filename,
        co_firstlineno=f.__code__.co_firstlineno,
    )
    f.__wrapped__ = twin
    SWAPPED[id(f)] = record
    return record


#: published functions that take no tensors to speak of, or are about tensors as such
IGNORED = frozenset(
    """is_tensor is_storage manual_seed seed initial_seed get_rng_state set_rng_state set_default_dtype get_default_dtype
    set_default_device get_default_device set_default_tensor_type set_printoptions get_num_threads set_num_threads
    set_grad_enabled is_grad_enabled no_grad enable_grad promote_types can_cast from_numpy from_dlpack typename
    _get_layout broadcast_shapes compile set_flush_denormal""".split()
)
#: methods of Tensor with dunder names that classes may answer
DUNDERS = frozenset(
    """__len__ __bool__ __int__ __float__ __complex__ __index__ __getitem__ __setitem__ __contains__ __repr__
    __format__ __array__ __array_wrap__ __dir__ __deepcopy__ __reduce_ex__ __setstate__ __dlpack__ __dlpack_device__ __invert__
    __neg__ __pos__ __abs__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__""".split()
) | {
    f"__{prefix}{n}__"
    for n in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
    for prefix in ("", "r", "i")
}
#: under which method a handler knows an operator
_KNOWN_AS = {
    "__add__": "add", "__radd__": "add", "__iadd__": "add_", "__sub__": "sub", "__isub__": "sub_", "__mul__": "mul", "__rmul__": "mul",
    "__imul__": "mul_", "__truediv__": "div", "__itruediv__": "div_", "__ifloordiv__": "floor_divide_", "__mod__": "remainder",
    "__imod__": "remainder_", "__pow__": "pow", "__ipow__": "pow_", "__matmul__": "matmul", "__xor__": "bitwise_xor", "__rxor__": "bitwise_xor", "__imatmul__": "matmul", "__ne__": "ne",
    "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge", "__neg__": "neg", "__abs__": "abs", "__pos__": "positive",
}  # fmt: skip
_FALLS_BACK = {f"__{p}{n}__" for n in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift") for p in ("", "r")} | {
    "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"
}  # fmt: skip
_LATER = []
_NAMESPACES = ("", "linalg", "fft", "special", "nn", "signal", "functional")


def _overridable_name(name):
    short = name.rpartition(".")[2]
    return name in DUNDERS if short.startswith("__") else not short.startswith("_") and short not in IGNORED


def activate():
    """Make the published functions and the methods of Tensor overridable. Only the first call does anything."""
    if active[0]:
        return
    active[0] = True
    plain = vars(Tensor).copy()
    for name, f in plain.items():
        known = name == "_version" or _overridable_name(name)
        if not known or name in ("__new__", "__init_subclass__", "__torch_function__", "as_subclass"):
            continue
        if isinstance(f, FunctionType):
            known_as = plain.get(_KNOWN_AS.get(name))
            if known_as is f or id(f) in SWAPPED or f is FUNCTIONS.get(name) and "." in name:
                continue
            if name in DUNDERS:
                f.__name__ = name
            exchange(f, f"torch.Tensor.{name}", known_as if isinstance(known_as, FunctionType) else None, name in _FALLS_BACK)
        elif isinstance(f, property):
            for accessor, bound in ((f.fget, "__get__"), (f.fset, "__set__"), (f.fdel, "__delete__")):
                if isinstance(accessor, FunctionType):
                    exchange(accessor, f"torch.Tensor.{name}.{bound}", getattr(f, bound))
    for name, f in FUNCTIONS.items():
        if isinstance(f, FunctionType) and _overridable_name(name) and name.rpartition(".")[0].partition(".")[0] in _NAMESPACES:
            exchange(f, f"torch.{name}").name = f"torch.{name}"
    for f in (gradient.backward, gradient.grad):
        exchange(f, f"torch.autograd.{f.__name__}")
    for f, name in _LATER:
        exchange(f, name)


def overridable(functions, module):
    """Let the Python functions of a public module be overridden as a whole, now or when the protocol becomes active."""
    for name, f in functions.items():
        if isinstance(f, FunctionType) and not name.startswith("_") and id(f) not in SWAPPED:
            if active[0]:
                exchange(f, f"{module}.{name}")
            else:
                _LATER.append((f, f"{module}.{name}"))


def foreign(op, args):
    """A row met an operand that is no tensor: if its class overrides, the call is the published function's after all."""
    if active[0] or not any(hasattr(a.__class__, "__torch_function__") for a in args):
        return None
    activate()
    return FUNCTIONS.get(op.name) or METHODS.get(op.name)


dispatch.FOREIGN[0] = foreign


# ---- subclasses of Tensor --------------------------------------------------------------------------------------


def _init_subclass(cls, **kwargs):
    super(Tensor, cls).__init_subclass__(**kwargs)
    if cls.__torch_function__ is not _disabled_torch_function_impl:
        activate()


METHODS["__init_subclass__"] = classmethod(_init_subclass)


def as_subclass(self, cls):
    """The same tensor, with its history, as an instance of `cls`, a subclass of Tensor."""
    if not isinstance(cls, type) or not issubclass(cls, Tensor):
        raise TypeError(f"as_subclass(): argument 'cls' must be a subclass of torch.Tensor, not {cls!r}")
    t = dispatch.view(V.ALIAS, self) if self.requires_grad else share(self, self._data)
    out = object.__new__(cls)
    for slot in ("_data", "_storage", "_node", "_rg", "_grad", "_base", "_hist", "_hooks"):
        setattr(out, slot, getattr(t, slot))
    return out


METHODS["as_subclass"] = as_subclass
as_subclass.__module__, as_subclass.__qualname__ = "rushlight", "Tensor.as_subclass"


def _convert(ret, cls):
    """Plain tensors in a result as `cls`."""
    if cls is Tensor:
        return ret
    if isinstance(ret, Tensor):
        return ret if isinstance(ret, cls) else as_subclass(ret, cls)
    if isinstance(ret, (tuple, list)):
        items = [_convert(r, cls) for r in ret]
        return type(ret)(*items) if hasattr(ret, "_fields") else type(ret)(items)
    return ret


def get_default_nowrap_functions():
    """Functions whose results the default handler leaves as they are: what a tensor holds, not what is computed of it."""
    return {vars(Tensor)[n].__get__ for n in ("_grad", "grad", "_base") if isinstance(vars(Tensor).get(n), property)}


def _default(cls, func, types, args=(), kwargs=None):
    """The handler that subclasses inherit: run the function, and give its tensors the class `cls`.

    NotImplemented where an argument is of a class that `cls` does not derive from.
    """
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    with DisableTorchFunctionSubclass():
        ret = func(*args, **(kwargs or {}))
    return ret if func in get_default_nowrap_functions() else _convert(ret, cls)


METHODS["__torch_function__"] = classmethod(_default)


def _make_wrapper_subclass(cls, size, *, strides=None, storage_offset=None, memory_format=None, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False, **ignored):
    """An instance of `cls` with shape and dtype and no memory (it has the layout of a meta tensor)."""
    t = FUNCTIONS["empty"](tuple(size), dtype=dtype, device="meta")
    if strides is not None and tuple(strides) != element_strides(t._data):
        t = FUNCTIONS["empty_strided"](tuple(size), tuple(strides), dtype=dtype, device="meta")
    return Tensor._make_subclass(cls, t, requires_grad)


METHODS["_make_wrapper_subclass"] = staticmethod(_make_wrapper_subclass)


# ---- what torch.overrides publishes ----------------------------------------------------------------------------


def has_torch_function(relevant_args):
    """Whether any of the arguments has a class that overrides (in this thread, now)."""
    return STATE.off < 2 and (bool(STATE.modes) or not STATE.off and any(_overrides(a) for a in relevant_args))


def has_torch_function_unary(arg):
    """has_torch_function of one argument."""
    return has_torch_function((arg,))


def has_torch_function_variadic(*args):
    """has_torch_function of the arguments given."""
    return has_torch_function(args)


def handle_torch_function(public_api, relevant_args, *args, **kwargs):
    """Offer a call of `public_api(*args, **kwargs)` to the classes of the relevant arguments; TypeError where all decline."""
    activate()
    found = overloaded(relevant_args)
    name = f"{public_api.__module__}.{public_api.__name__}"
    try:
        return _offer(public_api, name, found, args, kwargs)
    except TypeError as error:
        if "Multiple dispatch failed" not in str(error):
            raise
        raise TypeError(f"no implementation found for '{name}' on types that implement __torch_function__: {[v.__class__ for v in found]}") from None


class TorchFunctionMode:
    """Inside `with mode:` every published function is offered to the mode's `__torch_function__` first.

    Inside that method the mode itself is off, so that it may call the function.
    """

    inner = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        raise NotImplementedError("a TorchFunctionMode defines __torch_function__(self, func, types, args=(), kwargs=None)")

    def __enter__(self):
        activate()
        STATE.modes.append(self)
        return self

    def __exit__(self, *exc):
        STATE.modes.pop()


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that changes nothing."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


for _f in (has_torch_function, has_torch_function_unary, has_torch_function_variadic, handle_torch_function, TorchFunctionMode, BaseTorchFunctionMode, get_default_nowrap_functions, activate, overridable):
    FUNCTIONS[f"overrides.{_f.__name__}"] = _f
FUNCTIONS["overrides._records"], FUNCTIONS["overrides._state"] = (lambda: list(SWAPPED.values())), (lambda: STATE)
for _f in (DisableTorchFunctionSubclass, DisableTorchFunction, _disabled_torch_function_impl):
    FUNCTIONS[f"_C.{_f.__name__}"] = _f
