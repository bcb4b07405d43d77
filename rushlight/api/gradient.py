"""torch.autograd and the gradient methods of tensors: backward, grad, modes, custom Functions."""

from __future__ import annotations

import functools

import numpy as np

from rushlight.autograd import engine
from rushlight.autograd.modes import STATE, divert
from rushlight.autograd.tape import Node, Output
from rushlight.bind import function, method
from rushlight.core import dtype as D
from rushlight.tensor import CUSTOM_VIEW, Tensor, edge, needs, share, view_of, wrap


def _list(values):
    return (values,) if isinstance(values, Tensor) or values is None else tuple(values)


def _first_gradients(outputs, grads, is_grads_batched=False):
    """The gradient of each output: given, or ones for a scalar."""
    out = []
    for x, g in zip(outputs, grads):
        if g is None:
            if not needs(x):
                out.append(None)
                continue
            if x._data.size != 1:
                raise RuntimeError(f"grad can be implicitly created only for scalar outputs (this one has shape {list(x.shape)}; pass gradient=torch.ones_like(x) or reduce it first)")
            if x.dtype.is_complex:
                raise RuntimeError(f"grad can be implicitly created only for real scalar outputs but got {x.dtype}")
            g = x.new_ones(x._data.shape)
        elif isinstance(g, Tensor):
            if g._data.shape != x._data.shape:
                raise RuntimeError(f"Mismatch in shape: grad_output[{len(out)}] has a shape of {g.shape} and output[{len(out)}] has a shape of {x.shape}.")
            if g.dtype.is_complex != x.dtype.is_complex:
                raise RuntimeError(
                    f"For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: grad_output[{len(out)}] has a dtype of {g.dtype} and output[{len(out)}] has a dtype of {x.dtype}."
                )
        else:
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        out.append(g)
    return out


def _requires(outputs):
    for i, x in enumerate(outputs):
        if not isinstance(x, Tensor):
            raise TypeError(f"element {i} of tensors is a {type(x).__name__}, not a Tensor")
        if not needs(x):
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """Accumulate the gradients of `tensors` into the `.grad` of the leaves (or of `inputs` alone).

    RuntimeError if an output is not a scalar and has no gradient given, or does not require grad.
    """
    if inputs is not None and len(_list(inputs)) == 0:
        raise RuntimeError("'inputs' argument to backward() cannot be empty.")
    tensors = _list(tensors)
    grads = (None,) * len(tensors) if grad_tensors is None else _list(grad_tensors)
    if len(grads) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(grads)} gradients")
    grads = _first_gradients(tensors, grads)
    _requires(tensors)
    retain = create_graph if retain_graph is None else retain_graph
    engine.run(tensors, grads, retain, create_graph, None if inputs is None else _list(inputs))


def grad(
    outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True, allow_unused=None, is_grads_batched=False, materialize_grads=False
):
    """The gradients of `outputs` with respect to `inputs`, returned; `.grad` is not touched.

    An input that the outputs do not depend on raises, unless allow_unused (None) or materialize_grads (zeros).
    """
    if allow_unused is False and materialize_grads:
        raise ValueError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.")
    if not only_inputs:
        raise ValueError("only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for other parts of the graph, please use torch.autograd.backward.")
    outputs, inputs = _list(outputs), _list(inputs)
    if not inputs:
        raise ValueError("grad requires non-empty inputs.")
    grads = (None,) * len(outputs) if grad_outputs is None else _list(grad_outputs)
    retain = create_graph if retain_graph is None else retain_graph
    if is_grads_batched:
        rows = [grad(outputs, inputs, [None if g is None else g[i] for g in grads], True, create_graph, True, allow_unused, False, materialize_grads) for i in range(next(g for g in grads if g is not None).shape[0])]
        return tuple(None if r[0] is None else _stack([*r]) for r in zip(*rows))
    grads = _first_gradients(outputs, grads)
    _requires(outputs)
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise TypeError(f"element {i} of inputs is a {type(x).__name__}, not a Tensor")
        if not needs(x):
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    found = engine.run(outputs, grads, retain, create_graph, inputs, accumulate=False)
    for i, (g, x) in enumerate(zip(found, inputs)):
        if g is None:
            if materialize_grads:
                found[i] = x.new_zeros(x.shape)
            elif not allow_unused:
                raise RuntimeError("One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior.")
    return tuple(found)


def _stack(rows):
    first = rows[0]
    out = first.new_empty((len(rows), *first.shape))
    for i, r in enumerate(rows):
        out[i] = r
    return out


@method(name="backward")
def _backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
    """Accumulate the gradient of this tensor into the leaves; `gradient` is needed unless it is a scalar."""
    if gradient is None and not create_graph and inputs is None and self._data.size == 1 and needs(self) and self._data.dtype.kind == "f":
        data = self._data
        g = wrap(np.array(1.0, data.dtype)) if data.__class__ is np.ndarray and not data.shape else self.new_ones(data.shape)
        engine.run((self,), (g,), bool(retain_graph), False)
        return
    backward(self, gradient, retain_graph, create_graph, inputs=inputs)


# ---- modes -----------------------------------------------------------------------------------------------------


class _Mode:
    """A context manager that also decorates functions and generators."""

    def __call__(self, f):
        if isinstance(f, type):
            raise TypeError(f"Decorating a class with {type(self).__name__} is not there; decorate its methods instead")
        if hasattr(f, "__code__") and f.__code__.co_flags & 0x20:

            @functools.wraps(f)
            def generator(*args, **kwargs):
                it = f(*args, **kwargs)
                value = None
                while True:
                    with self.clone():
                        try:
                            got = it.send(value)
                        except StopIteration as stop:
                            return stop.value
                    value = yield got

            return generator

        @functools.wraps(f)
        def decorated(*args, **kwargs):
            with self.clone():
                return f(*args, **kwargs)

        return decorated

    def clone(self):
        """A fresh copy, so that one object can be entered again while it is active."""
        return type(self)()


class no_grad(_Mode):
    """Record nothing inside: `with torch.no_grad():` or `@torch.no_grad()`."""

    def __new__(cls, f=None):
        self = object.__new__(cls)
        return self if f is None else self(f)

    def __enter__(self):
        self.before = STATE.grad
        STATE.grad = False

    def __exit__(self, *exc):
        STATE.grad = self.before


class enable_grad(_Mode):
    """Record inside, even within no_grad."""

    def __new__(cls, f=None):
        self = object.__new__(cls)
        return self if f is None else self(f)

    def __enter__(self):
        self.before = STATE.grad
        STATE.grad = True

    def __exit__(self, *exc):
        STATE.grad = self.before


class set_grad_enabled(_Mode):
    """Switch recording on or off, as a function (at once) or as a context manager."""

    def __init__(self, mode):
        self.before, self.mode = STATE.grad, bool(mode)
        STATE.grad = self.mode

    def __call__(self, f):
        STATE.grad = self.before
        return super().__call__(f)

    def __enter__(self):
        STATE.grad = self.mode

    def __exit__(self, *exc):
        STATE.grad = self.before

    def clone(self):
        before = STATE.grad
        copy = set_grad_enabled(self.mode)
        STATE.grad = copy.before = before
        return copy


class inference_mode(_Mode):
    """no_grad, and tensors made inside can never be recorded."""

    def __new__(cls, mode=True):
        if callable(mode):
            return cls(True)(mode)
        self = object.__new__(cls)
        self.mode = bool(mode)
        return self

    def clone(self):
        return inference_mode(self.mode)

    def __enter__(self):
        self.before = STATE.grad, STATE.inference
        STATE.grad, STATE.inference = (False, True) if self.mode else (True, False)
        if self.mode:
            divert(+1)

    def __exit__(self, *exc):
        STATE.grad, STATE.inference = self.before
        if self.mode:
            divert(-1)


@function
def is_grad_enabled():
    """Whether operations are recorded in this thread."""
    return STATE.grad


@function
def is_inference_mode_enabled():
    """Whether this thread is in inference mode."""
    return STATE.inference


# ---- custom Functions ------------------------------------------------------------------------------------------


class FunctionCtx:
    """What `forward` and `backward` of a custom Function share."""

    def save_for_backward(self, *tensors):
        """Keep tensors for backward; read them there as ctx.saved_tensors."""
        self.to_save = tensors

    def save_for_forward(self, *tensors):
        """Keep tensors for jvp."""
        self.saved_for_forward = tensors

    def mark_dirty(self, *tensors):
        """Say which inputs forward has changed in place; they must be returned."""
        self.dirty = tensors

    def mark_non_differentiable(self, *tensors):
        """Say which outputs carry no gradient."""
        self.non_differentiable = tensors

    def set_materialize_grads(self, value):
        """Whether missing gradients arrive in backward as zeros (the default) or as None."""
        self.materialize_grads = value


class _Context(Node, FunctionCtx):
    """The node of a custom Function: its ctx and its place in the graph."""

    function = None

    def __init__(self):
        super().__init__((), (), (), None)
        self.to_save, self.dirty, self.non_differentiable, self.materialize_grads = (), (), (), True
        self.needs_input_grad = ()
        self.outputs = 1

    @property
    def saved_tensors(self):
        """The tensors given to save_for_backward."""
        if not self.saved and self.to_save:  # still inside forward
            return tuple(self.to_save)
        return tuple(self.unpack())

    saved_variables = saved_tensors

    def backward(self, g):
        grads = [g] if self.outputs == 1 else list(g)
        if self.materialize_grads:
            like = next(g for g in grads if g is not None)
            grads = [like.new_zeros(s[0], dtype=s[1]) if g is None else g for g, s in zip(grads, self.out_specs)]
        results = self.function.backward(self, *grads)
        results = results if isinstance(results, (tuple, list)) else (results,)
        name = self.function.__name__
        if len(results) > len(self.positions):
            if any(r is not None for r in results[len(self.positions) :]):
                raise RuntimeError(f"function {name}Backward returned an incorrect number of gradients (expected {len(self.positions)}, got {len(results)})")
            results = results[: len(self.positions)]
        if len(results) < len(self.positions):
            raise RuntimeError(f"function {name}Backward returned an incorrect number of gradients (expected {len(self.positions)}, got {len(results)})")
        out = []
        for i, (r, e, spec) in enumerate(zip(results, self.edges, self.input_specs)):
            if e is None or r is None:
                out.append(None)
                continue
            if not isinstance(r, Tensor):
                raise TypeError(f"expected Variable or None (got {type(r).__name__})")
            if r._data.shape != spec[0]:
                try:
                    r = r.sum_to_size(spec[0])
                except RuntimeError:
                    raise RuntimeError(
                        f"Function {name}Backward returned an invalid gradient at index {i} - got {list(r.shape)} but expected shape compatible with {list(spec[0])}"
                    ) from None
            if r.dtype is not spec[1]:
                r = r.real.to(spec[1]) if r.dtype.is_complex and not spec[1].is_complex else r.to(spec[1])
            out.append(r)
        return out


class _FunctionMeta(type):
    def __init__(cls, name, bases, space):
        super().__init__(name, bases, space)
        cls._backward_cls = type(name + "Backward", (_Context,), {"function": cls, "__module__": space.get("__module__", "torch")})


class Function(FunctionCtx, metaclass=_FunctionMeta):
    """Base of custom differentiable functions: static `forward(ctx, ...)` (or forward plus `setup_context`) and `backward(ctx, *grads)`."""

    def __init__(self, *args, **kwargs):
        raise RuntimeError(f"{type(self)} should not be instantiated. Methods on autograd functions are all static, so you should invoke them on the class itself: {type(self).__name__}.apply(...)")

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
        raise NotImplementedError("You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD.")

    vjp = backward

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Forward-mode derivative."""
        raise NotImplementedError("You must implement the jvp function for custom autograd.Function to use it with forward mode AD.")

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run forward and record it as one node."""
        ctx = cls._backward_cls()
        tensors = [a if isinstance(a, Tensor) else None for a in args]
        ctx.needs_input_grad = tuple(t is not None and needs(t) for t in tensors)
        recording = STATE.grad and any(ctx.needs_input_grad)
        edges = tuple(edge(t) if t is not None else None for t in tensors)
        before = STATE.grad
        STATE.grad = False
        try:
            if cls.setup_context is not Function.setup_context:
                out = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, out)
            else:
                out = cls.forward(ctx, *args, **kwargs)
        finally:
            STATE.grad = before
        return _finish_function(cls, ctx, args, edges, out, recording)


def _finish_function(cls, ctx, args, edges, out, recording):
    single = not isinstance(out, (tuple, list))
    outs = [out] if single else list(out)
    dirty = {id(t) for t in ctx.dirty}
    fixed = {id(t) for t in ctx.non_differentiable}
    inputs = {id(a): a for a in args if isinstance(a, Tensor)}
    results = []
    for o in outs:
        if not isinstance(o, Tensor):
            results.append(o)
            continue
        if id(o) in dirty:
            o._shared().version += 1
            results.append(o)
        elif id(o) in inputs and recording:
            v = view_of(o, o._data) if id(o) not in fixed else share(o, o._data)
            v._base = None
            results.append(v)
        else:
            results.append(o)
    if not recording:
        return results[0] if single else tuple(results)
    ctx.positions = edges
    ctx.edges = edges
    ctx.input_specs = tuple((a._data.shape, a.dtype) if isinstance(a, Tensor) else None for a in args)
    tensors = [o for o in results if isinstance(o, Tensor)]
    ctx.out_specs = [(o._data.shape, o.dtype) if isinstance(o, Tensor) else ((), D.get_default_dtype()) for o in results]
    ctx.outputs = len(results)
    for i, o in enumerate(results):
        if isinstance(o, Tensor) and id(outs[i]) not in fixed and o.dtype.category >= D.FLOAT:
            if o._base is not None and id(outs[i]) not in dirty:
                o._hist = CUSTOM_VIEW
            elif o._base is not None:
                o._base = None
            o._node, o._rg = (ctx if ctx.outputs == 1 else Output(ctx, i)), True
            if id(outs[i]) in dirty:
                o._hist += 1
    saved, versions = [], []
    for t in ctx.to_save:
        if t is not None and not isinstance(t, Tensor):
            raise TypeError(f"save_for_backward can only save variables, but argument {len(saved)} is of type {type(t).__name__}")
        if t is not None and any(t is o for o in tensors) and id(t) not in inputs:
            t = share(t, t._data)  # an alias, or result and node would keep each other alive
        saved.append(t)
        versions.append(None if t is None else saved[-1]._version)
    ctx.saved, ctx.versions = tuple(saved), tuple(versions)
    ctx.to_save = ()
    if STATE.saved_hooks:
        ctx.pack(STATE.saved_hooks[-1])
    return results[0] if single else tuple(results)


def once_differentiable(f):
    """Decorates a backward that must not be differentiated again."""

    @functools.wraps(f)
    def wrapper(ctx, *args):
        before = STATE.grad
        STATE.grad = False
        try:
            out = f(ctx, *args)
        finally:
            STATE.grad = before
        if not before or not any(isinstance(a, Tensor) and needs(a) for a in args):
            return out
        single = not isinstance(out, tuple)
        marked = []
        for o in (out,) if single else out:
            if isinstance(o, Tensor) and o.dtype.category >= D.FLOAT:
                t = share(o, o._data)
                t._node, t._rg = _Refuses((edge(next(a for a in args if isinstance(a, Tensor) and needs(a))),), (), (), None), True
                o = t
            marked.append(o)
        return marked[0] if single else tuple(marked)

    return wrapper


class _Refuses(Node):
    def backward(self, g):
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


class saved_tensors_hooks:
    """Inside, tensors saved for backward go through pack_hook(tensor) -> anything and come back by unpack_hook."""

    def __init__(self, pack_hook, unpack_hook):
        self.hooks = (pack_hook, unpack_hook)

    def __enter__(self):
        STATE.saved_hooks.append(self.hooks)

    def __exit__(self, *exc):
        STATE.saved_hooks.pop()


class save_on_cpu(saved_tensors_hooks):
    """Keep tensors saved for backward in CPU memory."""

    def __init__(self, pin_memory=False, device_type="cuda"):
        super().__init__(lambda x: (x.device, x.detach().cpu().clone()), lambda packed: packed[1].to(packed[0]))


def register_multi_grad_hook(tensors, fn, *, mode="all"):
    """Call fn once the gradients of several tensors are known (mode 'all'), or with the first ('any')."""
    tensors = list(tensors)
    got, state = {}, {"done": False}

    def make(i):
        def hook(g):
            if mode == "any":
                if not state["done"]:
                    state["done"] = True
                    fn(g)
                return
            got[i] = g
            if len(got) == sum(1 for t in tensors if needs(t)):
                grads = [got.get(k) for k in range(len(tensors))]
                got.clear()
                fn(grads)

        return hook

    handles = [t.register_hook(make(i)) for i, t in enumerate(tensors) if needs(t)]

    class Handles:
        """Takes all the hooks out."""

        def remove(self):
            for h in handles:
                h.remove()

    return Handles()
