"""torch.autograd and the gradient methods of tensors: backward, grad, and the modes that switch recording.

Roots and inputs may be tensors or gradient edges (`torch.autograd.graph.get_gradient_edge`): both answer `_edge()`.
"""

from __future__ import annotations

import functools
import warnings

import numpy as np

from rushlight.autograd import engine
from rushlight.autograd.modes import STATE, divert, set_autocast
from rushlight.bind import function, method
from rushlight.core.naming import Public, published
from rushlight.core.warning import once
from rushlight.tensor import Tensor, needs, wrap


def _list(values):
    return (values,) if hasattr(values, "_edge") or values is None else tuple(values)


def _is_edge(x):
    """Whether x is a gradient edge: a place in the graph without a tensor."""
    return hasattr(x, "_edge") and not isinstance(x, Tensor)


def _first_gradients(outputs, grads, is_grads_batched=False):
    """The gradient of each output: given, or ones for a scalar."""
    out = []
    for x, g in zip(outputs, grads):
        if _is_edge(x):
            if g is None:
                raise RuntimeError("a GradientEdge as output needs its gradient: pass grad_outputs (an edge does not know the shape)")
        elif g is None:
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
            if g.dtype is not x.dtype:
                g = g.to(x.dtype)
        else:
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        out.append(g)
    return out


def _requires(outputs):
    for i, x in enumerate(outputs):
        if _is_edge(x):
            continue
        if not isinstance(x, Tensor):
            raise TypeError(f"element {i} of tensors is a {type(x).__name__}, not a Tensor")
        if not needs(x):
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")


def backward(tensors, grad_tensors=None, retain_graph=None, create_graph=False, grad_variables=None, inputs=None):
    """Accumulate the gradients of `tensors` into the `.grad` of the leaves (or of `inputs` alone).

    RuntimeError if an output is not a scalar and has no gradient given, or does not require grad.
    """
    if inputs is not None:
        inputs = _list(inputs)
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        for x in inputs:
            if not hasattr(x, "_edge"):
                raise RuntimeError(f"all inputs have to be Tensors or GradientEdges, but got {type(x).__name__}")
    tensors = _list(tensors)
    grads = (None,) * len(tensors) if grad_tensors is None else _list(grad_tensors)
    if len(grads) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(grads)} gradients")
    grads = _first_gradients(tensors, grads)
    _requires(tensors)
    for x in inputs or ():
        if isinstance(x, Tensor) and (not needs(x) or not x.is_leaf):
            x.retain_grad()
    if create_graph:
        once(
            "create_graph",
            "Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient which can cause a memory leak: "
            "the gradient keeps the graph, which keeps the parameter. Write torch.autograd.grad(...), or set .grad to None when done with it.",
            stacklevel=3,
        )
    retain = create_graph if retain_graph is None else retain_graph
    engine.run(tensors, grads, retain, create_graph, inputs)


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
        if _is_edge(x):
            continue
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
                raise RuntimeError(
                    f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior."
                )
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


class _Mode(metaclass=Public):
    """A context manager that also decorates functions and generators."""

    def __call__(self, f):
        if isinstance(f, type):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate functions or methods. To preserve "
                "the current behavior of class decoration, you can directly decorate the `__init__` method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
        if hasattr(f, "__code__") and f.__code__.co_flags & 0x20:

            @functools.wraps(f)
            def generator(*args, **kwargs):
                it = f(*args, **kwargs)
                resume = functools.partial(next, it)
                while True:
                    try:
                        with self.clone():
                            got = resume()
                    except StopIteration as stop:
                        return stop.value
                    try:
                        resume = functools.partial(it.send, (yield got))
                    except GeneratorExit:
                        with self.clone():
                            it.close()
                        raise
                    except BaseException as error:
                        resume = functools.partial(it.throw, error)

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
def _autocast_engine(dtype):
    """What amp tells the engine: the lower dtype of this thread's autocast region on the CPU, or None."""
    set_autocast(dtype)


@function
def is_inference_mode_enabled():
    """Whether this thread is in inference mode."""
    return STATE.inference


class set_multithreading_enabled(_Mode):
    """PyTorch's switch between one backward thread and one for each device. Here backward always runs in its caller's thread."""

    enabled = False

    def __init__(self, mode):
        self.before, self.mode = set_multithreading_enabled.enabled, bool(mode)
        set_multithreading_enabled.enabled = self.mode

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        set_multithreading_enabled.enabled = self.before

    def clone(self):
        return set_multithreading_enabled(self.mode)


def is_multithreading_enabled():
    """What set_multithreading_enabled was told last (True to begin with, as in PyTorch)."""
    return set_multithreading_enabled.enabled


set_multithreading_enabled.enabled = True


class enforce_grad_layout_policy(_Mode):
    """Whether a first gradient is brought to its parameter's layout (always here, so that False has no effect)."""

    def __init__(self, enable=True):
        self.enable = enable

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        return None

    def clone(self):
        return enforce_grad_layout_policy(self.enable)


for _c in (no_grad, enable_grad, set_grad_enabled, inference_mode, set_multithreading_enabled, enforce_grad_layout_policy):
    published(_c, _c.__name__, "rushlight.autograd.grad_mode")
