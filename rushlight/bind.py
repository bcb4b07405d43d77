"""From rows to the functions and methods that users call.

`publish(row)` makes closures specialised to the row: one serves as `torch.f`, `Tensor.f` and operator, another as
`Tensor.f_`. Each tries the common case (CPU, float32, float64 or int64 operands of one dtype, nothing interposed) with
no look-up left, and falls back to dispatch.apply on anything else, any error included: the general path finds out what
is wrong and says it properly.

`FUNCTIONS` and `METHODS` collect what api/ defines (the decorators `function`, `method`, `both`); __init__ publishes them.
"""

from __future__ import annotations

import functools

import numpy as np

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import NOWHERE, keep, next_sequence, record, saved_names
from rushlight.backends import compiled
from rushlight.backends.compiled import LARGE
from rushlight.backends.cpu import kernel, limit
from rushlight.core import dtype as D
from rushlight.core.quiet import QUIET, quietly, reset_errors, set_errors
from rushlight.dispatch import FOREIGN, InPlace, Unsupported, apply, check_history, kind_of, node_of
from rushlight.ops.layouts import iterated
from rushlight.ops.op import Spec
from rushlight.tensor import Tensor, edge, wrap

F32, F64, I64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)
ndarray, array = np.ndarray, np.array
_new = object.__new__

FUNCTIONS: dict[str, object] = {}
METHODS: dict[str, object] = {}

#: NumPy's names of arguments, which PyTorch accepts beside its own
TRANSLATION = {"axis": "dim", "keepdims": "keepdim", "x": "input", "a": "input", "x1": "input", "x2": "other"}


def renamed(name, names, **given):
    """The arguments of a call with the keywords `names` that the function does not have, translated; TypeError for others."""
    for k, v in names.items():
        ours = TRANSLATION.get(k)
        if ours not in given or given[ours] is not None and given[ours] is not False:
            raise TypeError(f"{name}() got an unexpected keyword argument '{k}'")
        given[ours] = v
    return given


def _saver(op):
    """How a binary row's node keeps x and y: for each, whether x's formula and whether y's formula wants it."""
    wx, wy = (set(w) for w in op.wants)
    if (wx | wy) - {"x", "y"}:
        return None
    return ("x" in wx, "x" in wy, "y" in wx, "y" in wy)


def recorder(op):
    """record(x, y, t): attach a node to t, the result of a binary row, if a gradient may be asked for.

    The same as tape.record and keep, for two operands and without a loop: this runs for every op of a small model.
    """
    cls = node_of(op)
    names = cls.names
    saver = _saver(op)
    x_x, x_y, y_x, y_y = saver or (False,) * 4
    first, single = names[0] if names else None, len(names) == 1
    broadcasts = op.family == "pointwise"

    def record_binary(x, y, t):
        if not STATE.grad:
            return t
        number = y.__class__ is float or y.__class__ is int
        if saver is None:
            node = record(cls, (x, y))
            if node is not None:
                t._node, t._rg = node, True
                keep(node, (t,))
            return t
        ex = ey = None
        if x._rg or x._base is not None:
            ex = x._node if x._base is None else edge(x)
            if ex is None and x._rg:
                ex = x
        if not number and (y._rg or y._base is not None):
            ey = y._node if y._base is None else edge(y)
            if ey is None and y._rg:
                ey = y
        if ex is None and ey is None:
            return t
        if ex is NOWHERE or ey is NOWHERE:
            node = record(cls, (x, y))
            t._node, t._rg = node, True
            keep(node, (t,))
            return t
        node = _new(cls)
        node.edges = (ex, ey)
        node.seq = next_sequence()
        node.specs = node.attrs = node.hooks = None
        data = t._data
        node.result = shape, _ = data.shape, data.dtype
        if broadcasts and not number and (x._data.shape != shape or y._data.shape != shape):
            node.specs = (Spec(x._data.shape, x.dtype), Spec(y._data.shape, y.dtype))
        if names:
            sx = sy = vx = vy = None
            if x_x and ex is not None or x_y and ey is not None:
                sx, vx = x, 0 if x._storage is None else x._storage.version
            if y_x and ex is not None or y_y and ey is not None:
                sy = y
                if not number:
                    vy = 0 if y._storage is None else y._storage.version
            if single:
                node.saved, node.versions = ((sx,), (vx,)) if first == "x" else ((sy,), (vy,))
            else:
                node.saved, node.versions = ((sx, sy), (vx, vy)) if first == "x" else ((sy, sx), (vy, vx))
            if STATE.saved_hooks:
                node.pack(STATE.saved_hooks[-1])
        else:
            node.saved = node.versions = ()
        t._node = node
        t._rg = True
        return t

    return record_binary


def binary(op, operator=False):
    """The closures of a two-operand row: f(input, other), f(other, input) for numbers on the left, and f_."""
    ufunc = kernel(op)
    numbers = op.scalars
    ints = "i" in op.dtypes and op.result != "float" and isinstance(ufunc, np.ufunc)
    large, many = compiled.flat(op), limit(op)
    single = isinstance(ufunc, np.ufunc)  # it takes a Python number as weak; a composed body must get one of the array's type
    risky = op.result == "float"
    pointwise = op.family == "pointwise"

    def first_record(x, y, t):
        nonlocal record_binary
        record_binary = recorder(op)
        return record_binary(x, y, t)

    record_binary = first_record if op.grads else None
    general = functools.partial(_general_operator, op) if operator else functools.partial(_general, op)

    def f(input=None, other=None, *, out=None, **names):
        if names:
            return f(out=out, **renamed(op.name, names, input=input, other=other))
        try:
            kind = other.__class__
            a = input._data
            d = a.dtype
            if kind is float or kind is int:
                if out is not None or modes.diverted or not (d is F32 or d is F64 or (ints and d is I64 and kind is int)) or not numbers:
                    return general(input, other, out)
                number = other if single else d.type(other)
                r = large(a, number) if a.size >= many else quietly(ufunc, a, number) if risky else ufunc(a, number)
                other_recorded = False
            else:
                b = other._data
                if d is not b.dtype or out is not None or modes.diverted or not (d is F32 or d is F64 or (ints and d is I64)):
                    return general(input, other, out)
                r = large(a, b) if a.size >= many else quietly(ufunc, a, b) if risky else ufunc(a, b)
                if pointwise and r.ndim > 1 and not (a.flags.c_contiguous and b.flags.c_contiguous):  # NumPy prefers rows where operands differ, PyTorch the first
                    r = iterated(r, (input, other))
                other_recorded = other._rg or other._base is not None
        except Exception:
            return general(input, other, out)
        t = _new(Tensor)
        t._data = r if r.__class__ is ndarray else array(r)
        t._storage = t._node = t._grad = t._base = t._hooks = None
        t._rg = False
        t._hist = 0
        if record_binary is not None and (other_recorded or input._rg or input._base is not None):
            return record_binary(input, other, t)
        return t

    def reflected(self, other):
        """other (a number) op self."""
        if not isinstance(self, Tensor):
            raise TypeError(f"a reflected operator of Tensor doesn't apply to a '{kind_of(self)}' object")
        return general(other, self, None)

    plain = isinstance(ufunc, np.ufunc) and op.result not in ("bool",)

    def f_(self, other):
        try:
            a = self._data
            d = a.dtype
            recorded = self._rg or self._base is not None
            if recorded and STATE.grad or not plain or modes.diverted or self._hist is None:
                return _general_in_place(op, self, other)
            kind = other.__class__
            if kind is float or kind is int:
                if not (d is F32 or d is F64 or (ints and d is I64 and kind is int)) or 0 in a.strides:
                    return _general_in_place(op, self, other)
                if a.size >= many:
                    large(a, other, a)
                else:
                    quietly(ufunc, a, other, a)
            else:
                b = other._data
                if d is not b.dtype or not (d is F32 or d is F64 or (ints and d is I64)) or 0 in a.strides:
                    return _general_in_place(op, self, other)
                if STATE.grad and (other._rg or other._base is not None) or other._storage is not None and other._storage is self._storage:
                    return _general_in_place(op, self, other)
                if a.size >= many:
                    large(a, b, a)
                else:
                    quietly(ufunc, a, b, a)
        except Exception:
            return _general_in_place(op, self, other)
        storage = self._storage
        if storage is None:
            storage = self._shared()
        storage.version += 1
        return self

    return f, reflected, f_


#: functions whose first operand may be a number too; of the first five both
_NUMBER_FIRST = ("add", "sub", "mul", "div", "floor_divide", "remainder", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift")
_NUMBER = (bool, int, float, complex)


def _general(op, x, y, out=None):
    if isinstance(x, _NUMBER) and op.name in _NUMBER_FIRST:
        if isinstance(y, Tensor):
            return apply(op, (x, y), out=out)
        if isinstance(y, _NUMBER) and op.name in _NUMBER_FIRST[:5]:
            return apply(op, tuple(wrap(np.array(v, D.of_scalar(v).np)) for v in (x, y)), out=out)
    for value, name, place in ((x, "input", 1), (y, "other", 2)):
        if not isinstance(value, Tensor) and (place == 1 or not op.scalars):
            again = FOREIGN[0](op, (x, y))
            if again is not None:
                return again(x, y)
            raise Unsupported(f"{op.name}(): argument '{name}' (position {place}) must be Tensor, not {kind_of(value)}")
    return apply(op, (x, y), out=out)


def _general_operator(op, x, y, out=None):
    if y.__class__ is ndarray and op.name == "eq":  # alone among the operators it takes an array
        y = wrap(y)
    try:
        return apply(op, (x, y))
    except Unsupported:
        again = FOREIGN[0](op, (y,))
        return NotImplemented if again is None else again(x, y)


def _general_in_place(op, x, *rest):
    return apply(op, (x, *rest), out=InPlace(x))


def _general_unary(op, x, out):
    if out is not None and not op.has_out and out.__class__ is not InPlace:
        raise TypeError(f"{op.name}() got an unexpected keyword argument 'out'")
    if not isinstance(x, Tensor):
        again = FOREIGN[0](op, (x,))
        if again is not None:
            return again(x)
        raise Unsupported(f"{op.name}(): argument 'input' (position 1) must be Tensor, not {kind_of(x)}")
    return apply(op, (x,), out=out)


def unary(op):
    """The closures of a one-operand row: f(input) and f_."""
    ufunc = kernel(op)
    ints = "i" in op.dtypes and op.result not in ("float", "float_real") and isinstance(ufunc, np.ufunc)
    grads = bool(op.grads)
    risky = op.result == "float"  # may raise a floating-point flag on ordinary numbers, and NumPy would warn
    large, many = compiled.flat(op), limit(op)
    cls = None  # made when it is first recorded: classes are slow to make, and most are never needed
    names = saved_names(op)
    keeps_x, keeps_out = names == ("x",), names == ("out",)
    plain = keeps_x or keeps_out or not names

    def f(input=None, *, out=None, **names):
        if names:
            return f(out=out, **renamed(op.name, names, input=input))
        try:
            a = input._data
            d = a.dtype
            if out is not None or modes.diverted or not (d is F32 or d is F64 or (ints and d is I64)):
                return _general_unary(op, input, out)
            r = large(a) if a.size >= many else quietly(ufunc, a) if risky else ufunc(a)
        except Exception:
            return _general_unary(op, input, out)
        t = _new(Tensor)
        t._data = r if r.__class__ is ndarray else array(r)
        t._storage = t._node = t._grad = t._base = t._hooks = None
        t._rg = False
        t._hist = 0
        if grads and (input._rg or input._base is not None) and STATE.grad:
            e = edge(input)
            if e is not None:
                nonlocal cls
                if cls is None:
                    cls = node_of(op)
                if not plain or e is NOWHERE or STATE.saved_hooks:
                    node = record(cls, (input,))
                    keep(node, (t,))
                elif keeps_x:
                    node = cls((e,), (input,), (0 if input._storage is None else input._storage.version,), None)
                elif keeps_out:
                    s = _new(Tensor)
                    s._data = t._data
                    s._storage = t._shared()
                    s._node = s._grad = s._base = s._hooks = None
                    s._rg = False
                    s._hist = 0
                    node = cls((e,), (s,), (0,), None)
                else:
                    node = cls((e,), (), (), None)
                node.result = (t._data.shape, t._data.dtype)
                t._node, t._rg = node, True
        return t

    is_ufunc = isinstance(ufunc, np.ufunc) and op.result not in ("bool", "real", "float_real")

    def f_(self):
        try:
            a = self._data
            d = a.dtype
            if modes.diverted or a.size >= many or not is_ufunc or not (d is F32 or d is F64) or 0 in a.strides or self._hist is None:
                return _general_in_place(op, self)
            if (self._rg or self._base is not None) and STATE.grad:
                return _general_in_place(op, self)
            quietly(ufunc, a, a)
        except Exception:
            return _general_in_place(op, self)
        self._shared().version += 1
        return self

    return f, f_


def update(op, x, others, attrs):
    """The in-place form of a row with attributes or three operands: the updates that optimizers are made of.

    Short-cut for unrecorded float operands of one dtype and shape; anything else goes the general way.
    """
    try:
        a = x._data
        d = a.dtype
        if (d is F32 or d is F64) and not modes.diverted and a.size < LARGE and x._hist is not None and not (STATE.grad and (x._rg or x._base is not None)) and 0 not in a.strides:
            arrays, shape = [a], a.shape
            for y in others:
                b = y._data
                if b.dtype is not d or b.shape != shape or STATE.grad and (y._rg or y._base is not None) or y._storage is not None and y._storage is x._storage:
                    break
                arrays.append(b)
            else:
                token = set_errors(QUIET)
                try:
                    result = kernel(op)(*arrays, **attrs)
                finally:
                    reset_errors(token)
                a[...] = result
                x._shared().version += 1
                return x
    except (AttributeError, ValueError):
        pass
    return apply(op, (x, *others), attrs, out=InPlace(x))


def several(op):
    """The closures of a row with three or more operands, all by the general path."""

    def f(*args, out=None):
        return apply(op, args, out=out)

    def f_(self, *args):
        return apply(op, (self, *args), out=InPlace(self))

    return f, f_


# ---- publishing ------------------------------------------------------------------------------------------------


def label(function, name, op=None, doc=None):
    """Give a generated callable a name, a module and a line to be found by."""
    home, _, short = name.rpartition(".")  # where pickle finds it again
    function.__name__ = short
    function.__qualname__ = f"Tensor.{short}" if short[-1] == "_" else short
    function.__module__ = f"rushlight.{home}" if home else "rushlight"
    if doc is not None:
        function.__doc__ = doc
    if op is not None:
        function.__row__ = op.where
        function.__op__ = op
    return function


def publish(op, name=None, function=True, method=True, in_place=True):
    """Bind a row and enter its function, its method and its in-place method under `name`; return the function."""
    name = name or op.name
    arity = len(op.inputs)
    if arity == 1:
        f, f_ = unary(op)
    elif arity == 2:
        f, _, f_ = binary(op)
    else:
        f, f_ = several(op)
    arguments = ", ".join(("input", "other", "third")[:arity])
    label(f, name, op, f"{name}({arguments}, *, out=None): {op.family} op; see the row {op.name!r} of the table.")
    label(f_, name + "_", op, f"The in-place form of {name}.")
    for public in (name, *op.also):
        if function:
            FUNCTIONS[public] = f
        if method and "." not in public:
            METHODS[public] = f
        if in_place and "." not in public:
            METHODS[public + "_"] = f_
            if function and arity == 1:
                FUNCTIONS[public + "_"] = f_
    return f


def function(f=None, *, name=None):
    """Publish `f` as torch.<name>."""
    if f is None:
        return functools.partial(function, name=name)
    name = name or f.__name__
    FUNCTIONS[name] = label(f, name, doc=f.__doc__)
    return f


def method(f=None, *, name=None):
    """Publish `f` as Tensor.<name>."""
    if f is None:
        return functools.partial(method, name=name)
    METHODS[name or f.__name__] = f
    f.__module__ = "rushlight"
    f.__qualname__ = f"Tensor.{name or f.__name__}"
    return f


def both(f=None, *, name=None, in_place=False):
    """Publish `f` as torch.<name> and Tensor.<name>; with `in_place` also the form f_ that writes into its first argument.

    For that form `f` must pass its `out` argument to one `apply`, and return what that gives.
    """
    if f is None:
        return functools.partial(both, name=name, in_place=in_place)
    name = name or f.__name__
    FUNCTIONS[name] = METHODS[name] = label(f, name, doc=f.__doc__)
    if in_place:

        def f_(self, *args, **kwargs):
            return f(self, *args, out=InPlace(self), **kwargs)

        METHODS[name + "_"] = label(f_, name + "_", doc=f"The in-place form of {name}.")
    return f


__all__ = ["FUNCTIONS", "METHODS", "both", "check_history", "function", "kind_of", "method", "publish", "quietly", "renamed", "wrap", "D"]
