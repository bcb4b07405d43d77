"""Custom differentiable functions: torch.autograd.Function, its ctx, once_differentiable.

Mechanism. A Function's `apply` runs `forward` without recording and makes one node, which is the ctx that `forward` and
`backward` share. What the node must know of its results is settled in `_finish`: which were changed in place (their
history becomes this node), which are an input or a view of one (they become views that may not be written to), which
carry no gradient.

Invariants
- A result that is saved is kept as an alias without a node; `saved_tensors` gives it its history back, so that backward
  may be differentiated.
- `backward` gets one gradient for each result, tensor or not, and returns one for each argument of `forward`.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from weakref import ref

from rushlight.api.creation import zeros
from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import Node, Output, note_origin
from rushlight.bind import FUNCTIONS
from rushlight.core import dtype as D
from rushlight.core.naming import Public
from rushlight.dispatch import rebase
from rushlight.tensor import CUSTOM_VIEW, MULTI_VIEW, Tensor, edge, marked, needs, share, view_of

_HOME = "rushlight.autograd.function"


class FunctionCtx(metaclass=Public):
    """What `forward` and `backward` of a custom Function share."""

    def save_for_backward(self, *tensors):
        """Keep tensors for backward; read them there as ctx.saved_tensors."""
        self.to_save = tensors

    def save_for_forward(self, *tensors):
        """Keep tensors for jvp."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *args):
        """Say which inputs forward has changed in place; they must be returned."""
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args):
        """Say which outputs carry no gradient."""
        self.non_differentiable = args

    def set_materialize_grads(self, value):
        """Whether missing gradients arrive in backward as zeros (the default) or as None."""
        self.materialize_grads = value

    def mark_shared_storage(self, *pairs):
        """Gone from PyTorch, and never needed here: storages know who shares them."""
        return None


class Context(FunctionCtx):
    """The `ctx` that forward, backward and hooks of one call see: what they put on it, whatever its name, stays theirs.

    It is not the node itself, since an attribute `ctx.result` must not meet one of the engine's. It asks the node, which
    it does not keep alive, for what PyTorch's ctx has of one (PUBLIC); the node in turn answers with its attributes.
    """

    PUBLIC = ("next_functions", "name", "metadata", "register_hook", "register_prehook", "_sequence_nr", "_input_metadata")

    def __init__(self, node):
        put = self.__dict__
        put["_Context__node"] = ref(node)
        put["to_save"] = put["dirty_tensors"] = put["non_differentiable"] = ()
        put["materialize_grads"] = True
        put["needs_input_grad"] = ()

    @property
    def saved_tensors(self):
        """The tensors given to save_for_backward."""
        if self.to_save:  # still inside forward
            return tuple(self.to_save)
        return self._recorded().saved_tensors

    saved_variables = saved_tensors

    def _recorded(self):
        node = self.__node()
        if node is None:
            raise RuntimeError("this ctx outlived its graph: keep the result of apply() (its grad_fn) as long as the ctx is used")
        return node

    def __getattr__(self, name):
        if name in self.PUBLIC:
            return getattr(self._recorded(), name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __repr__(self):
        return f"<torch.autograd.function.{type(self).__name__} object at {hex(id(self))}>"


class BackwardCFunction(Node, metaclass=Public):
    """The node of a custom Function: its place in the graph, and its ctx."""

    __slots__ = ("ctx", "out_specs", "input_specs", "saved_outputs", "outputs", "__dict__")
    function = context = None
    takes_absent = True

    def __init__(self):
        super().__init__((), (), (), None)
        self.ctx = self.context(self)
        self.outputs = 1
        self.saved_outputs = ()
        if modes.diverted and modes.anomaly:
            note_origin(self)

    def __repr__(self):
        return f"<torch.autograd.function.{type(self).__name__} object at {hex(id(self))}>"

    def __getattr__(self, name):
        if name in ("ctx", "shown", "meta"):  # a slot that is not filled
            raise AttributeError(name)
        try:
            return self.ctx.__dict__[name]
        except KeyError:
            return super().__getattr__(name)

    @property
    def saved_tensors(self):
        """The tensors given to save_for_backward."""
        values = self.unpack()
        if self.saved_outputs:
            values = list(values)
            for k, i in self.saved_outputs:
                t = values[k] = values[k]._alias()
                t._node, t._rg = self if self.outputs == 1 else Output(self, i), True
        return tuple(values)

    saved_variables = saved_tensors

    def apply(self, *args):
        """The Function's backward, on gradients."""
        cls = self.function
        if cls.vjp is not Function.vjp:
            if cls.backward is not Function.backward:
                raise RuntimeError(
                    "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only implement one of them."
                )
            return cls.vjp(self.ctx, *args)
        return cls.backward(self.ctx, *args)

    def backward(self, g):
        grads = [g] if self.outputs == 1 else [None] * self.outputs if g is None else list(g)
        if self.ctx.materialize_grads:
            grads = [zeros(s[0], dtype=s[1], device=s[2]) if g is None and s is not None else g for g, s in zip(grads, self.out_specs)]
        results = self.apply(*grads)
        results = results if isinstance(results, (tuple, list)) else (results,)
        name, count = type(self).__name__, len(self.edges)
        if len(results) > count and all(r is None for r in results[count:]):
            results = results[:count]
        if len(results) != count:
            raise RuntimeError(f"function {name} returned an incorrect number of gradients (expected {count}, got {len(results)})")
        return [self._checked(r, i) for i, r in enumerate(results)]

    def _checked(self, r, i):
        """Gradient number i, in the shape and dtype of its argument."""
        spec, name = self.input_specs[i], type(self).__name__
        if r is None:
            return None
        if spec is None:
            raise RuntimeError(
                f"function {name} returned a gradient different than None at position {i + 1}, but the corresponding forward input was not a Variable"
            )
        if not isinstance(r, Tensor):
            raise RuntimeError(f"expected Variable or None (got {type(r).__name__})")
        if self.edges[i] is None:
            return None
        if r._data.shape != spec[0]:
            try:
                r = r.sum_to_size(spec[0])
            except RuntimeError:
                raise RuntimeError(
                    f"Function {name} returned an invalid gradient at index {i} - got {list(r.shape)} but expected shape compatible with {list(spec[0])}"
                ) from None
        if r.dtype is not spec[1]:
            r = r.real.to(spec[1]) if r.dtype.is_complex and not spec[1].is_complex else r.to(spec[1])
        return r


class FunctionMeta(Public):
    """Makes the node class of each Function."""

    def __init__(cls, name, bases, space):
        super().__init__(name, bases, space)
        context = Public(name + "Backward", (Context,), {"__module__": _HOME})
        cls._backward_cls = Public(name + "Backward", (BackwardCFunction,), {"__slots__": (), "function": cls, "context": context, "__module__": _HOME})
        cls._bound = None


class Function(FunctionCtx, metaclass=FunctionMeta):
    """Base of custom differentiable functions: static `forward(ctx, ...)` (or `forward(...)` and `setup_context`) and `backward(ctx, *grads)`."""

    generate_vmap_rule = False

    def __init__(self, *args, **kwargs):
        warnings.warn(
            f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should invoke them on the class itself: "
            f"{type(self).__name__}.apply(...)",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args, **kwargs):
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use new-style autograd function with static forward method: "
            f"{type(self).__name__}.apply(...)"
        )

    @staticmethod
    def forward(*args, **kwargs):
        """The result, from ctx and the arguments (or from the arguments alone, with setup_context)."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Save on ctx what backward needs (when forward takes no ctx)."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """The gradient of each argument of forward, None where there is none."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Forward-mode derivative."""
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function to use it with forward mode AD.")

    @staticmethod
    def vmap(info, in_dims, *args):
        """The rule for torch.vmap; not asked for here, where vmap runs the function for each element."""
        raise NotImplementedError("To use autograd.Function with vmap, you must either override the vmap staticmethod or set generate_vmap_rule=True.")

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run forward and record it as one node."""
        separate = cls.setup_context is not Function.setup_context
        if kwargs or separate:
            args = cls._bind(args, kwargs, separate)
        node = cls._backward_cls()
        ctx = node.ctx
        edges = tuple([edge(a) if isinstance(a, Tensor) else None for a in args])
        ctx.needs_input_grad = tuple([e is not None for e in edges])
        recording = STATE.grad and any(ctx.needs_input_grad)
        before = STATE.grad
        STATE.grad = False
        try:
            if separate:
                out = cls.forward(*args)
                cls.setup_context(ctx, args, out)
            else:
                out = cls.forward(ctx, *args)
        finally:
            STATE.grad = before
        return _finish(node, args, edges, out, recording)

    @classmethod
    def _bind(cls, args, kwargs, separate):
        """The arguments in forward's order, defaults filled in."""
        if cls._bound is None:
            cls._bound = inspect.signature(cls.forward)
        bound = cls._bound.bind(*args, **kwargs) if separate else cls._bound.bind(None, *args, **kwargs)
        bound.apply_defaults()
        return bound.args if separate else bound.args[1:]


class InplaceFunction(Function):
    """A Function with an `inplace` flag of its own (kept for old programs)."""

    def __init__(self, inplace=False):
        self.inplace = inplace


class NestedIOFunction(Function):
    """Functions over nested tuples and lists: PyTorch keeps the name for old programs; it is not here."""

    @classmethod
    def apply(cls, *args, **kwargs):
        raise NotImplementedError("torch.autograd.function.NestedIOFunction is not implemented: derive from torch.autograd.Function and pass tensors")


def _finish(node, args, edges, out, recording):
    """Give the results of forward their history."""
    ctx = node.ctx
    single = not isinstance(out, (tuple, list))
    outs = [out] if single else list(out)
    inputs = {id(a) for a in args if isinstance(a, Tensor)}
    dirty = {id(t) for t in ctx.dirty_tensors}
    if dirty - {id(o) for o in outs}:
        raise RuntimeError(
            "Some elements marked as dirty during the forward method were not returned as output. The inputs that are modified inplace must all be "
            "outputs of the Function."
        )
    results = []
    for o in outs:
        if isinstance(o, Tensor):
            if id(o) in dirty:
                _check_dirty(o, outs, recording)
                o._shared().count(f"{type(ctx).__name__[:-8]}.forward")
            elif id(o) in inputs:  # returned as it came: a view of it, so that it has a history of its own
                o = view_of(o, o._data)
                if not STATE.grad:
                    o._base = None
        results.append(o)
    node.outputs = len(results)
    if recording:
        node.edges = edges
        node.input_specs = [(a._data.shape, a.dtype) if isinstance(a, Tensor) else None for a in args]
        node.out_specs = [(o._data.shape, o.dtype, o.device) if isinstance(o, Tensor) else None for o in results]
        _attach(node, outs, results, dirty)
        _save(node, outs)
    return results[0] if single else type(out)(results) if type(out) in (tuple, list) else tuple(results)


def _check_dirty(o, outs, recording):
    if not STATE.grad:
        return
    base = o._base
    if base is None:
        if o._rg and o._node is None:
            raise RuntimeError("a leaf Variable that requires grad has been used in an in-place operation. (clone it in forward, or call apply on x.clone())")
    elif recording:
        if sum(isinstance(t, Tensor) for t in outs) > 1:
            raise RuntimeError(
                "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot return more than one Tensor. Make sure "
                "that the input is no view (x.clone()), or make two Functions: one that changes it in place, and one for the rest."
            )
        if base._node is None and base._rg:
            raise RuntimeError("a view of a leaf Variable that requires grad has been used in an in-place operation. (call apply on x.clone())")


def _attach(node, outs, results, dirty):
    fixed = {id(t) for t in node.ctx.non_differentiable}
    node.result = [(o._data.shape, o._data.dtype) for o in results if isinstance(o, Tensor)]
    views = sum(isinstance(o, Tensor) and o._base is not None for o in results)
    for i, (given, o) in enumerate(zip(outs, results)):
        if not isinstance(o, Tensor) or o.dtype.category < D.FLOAT:
            continue
        if id(given) in fixed:
            o._node, o._rg = None, False
            continue
        place = node if node.outputs == 1 else Output(node, i)
        if id(given) in dirty:
            if o._base is not None:
                rebase(o, node)
                continue
        elif o._base is not None:
            o._hist = marked(MULTI_VIEW if views > 1 else CUSTOM_VIEW, o._storage.version)
        o._node, o._rg = place, True


def _save(node, outs):
    """Keep what save_for_backward was given, the function's own results as aliases."""
    ctx = node.ctx
    saved, versions, own = [], [], []
    for k, t in enumerate(ctx.to_save):
        if t is not None and not isinstance(t, Tensor):
            raise TypeError(f"save_for_backward can only save variables, but argument {k} is of type {type(t).__name__}")
        if t is not None:
            place = next((i for i, o in enumerate(outs) if o is t and isinstance(o, Tensor)), None)
            if place is not None and t._node is not None and getattr(t._node, "node", t._node) is node:
                t = share(t, t._data)
                own.append((k, place))
        saved.append(t)
        versions.append(None if t is None else t._version)
    node.saved, node.versions, node.saved_outputs = tuple(saved), tuple(versions), tuple(own)
    ctx.to_save = ctx.dirty_tensors = ctx.non_differentiable = ()
    if STATE.saved_hooks:
        node.pack(STATE.saved_hooks[-1])


def once_differentiable(fn):
    """Decorates a backward that must not be differentiated again."""

    @functools.wraps(fn)
    def wrapper(ctx, *args):
        before = STATE.grad
        STATE.grad = False
        try:
            out = fn(ctx, *args)
        finally:
            STATE.grad = before
        asked = [a for a in args if isinstance(a, Tensor) and needs(a)]
        if not before or not asked:
            return out
        single = not isinstance(out, tuple)
        marked = []
        for o in (out,) if single else out:
            if isinstance(o, Tensor) and o.dtype.category >= D.FLOAT:
                o = share(o, o._data)
                o._node, o._rg = _Refuses((edge(asked[0]),), (), (), None), True
            marked.append(o)
        return marked[0] if single else tuple(marked)

    return wrapper


class _Refuses(Node):
    """The history of what a once-differentiable backward gave."""

    def name(self):
        return "torch::autograd::Error"

    def backward(self, g):
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


for _name in ("Function", "FunctionCtx", "FunctionMeta", "BackwardCFunction", "InplaceFunction", "NestedIOFunction", "once_differentiable"):
    FUNCTIONS["autograd.function." + _name] = globals()[_name]
    globals()[_name].__module__ = _HOME
__all__ = ["Function", "FunctionCtx", "once_differentiable"]
