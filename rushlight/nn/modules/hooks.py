"""Hooks: functions that see, and may replace, what goes through a Module.

Forward hooks run around `forward`; their order is global ones first, then the module's own, each
in order of registration. Backward hooks see gradients: `BackwardTap` passes the inputs and the
outputs of the module through an identity Function each, whose `backward` is the place where the
gradients come by. So nothing but the public autograd Function is needed.

Invariants
- A hook's result `None` means "unchanged".
- `GLOBAL_HOOKS` is non-empty whenever some global hook might be registered; it is what the fast
  path of `Module.__call__` reads, and the slow path empties it again.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict

from rushlight import Tensor, is_grad_enabled
from rushlight.autograd import Function

from .attributes import (
    buffer_registration_hooks,
    hook_table,
    hooks_of,
    module_registration_hooks,
    parameter_registration_hooks,
)
from .handle import RemovableHandle

GLOBAL_HOOKS = []

_forward = OrderedDict()
_forward_with_kwargs = OrderedDict()
_forward_always = OrderedDict()
_forward_pre = OrderedDict()
_backward = OrderedDict()
_backward_pre = OrderedDict()
_global_backward_is_full = None


def _register_global(hooks, hook, *extras):
    handle = RemovableHandle(hooks, extra_dict=list(extras) or None)
    hooks[handle.id] = hook
    for extra in extras:
        extra[handle.id] = True
    GLOBAL_HOOKS[:] = [True]
    return handle


def register_module_forward_pre_hook(hook):
    """Call `hook(module, args)` before every module's forward; a result replaces the arguments."""
    return _register_global(_forward_pre, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False):
    """Call `hook(module, args, out)` after every module's forward; a result replaces `out`.

    Args:
        with_kwargs: call `hook(module, args, kwargs, out)` instead.
        always_call: call it also when forward raises (with `out=None`).
    """
    extras = [_forward_with_kwargs] * with_kwargs + [_forward_always] * always_call
    return _register_global(_forward, hook, *extras)


def register_module_full_backward_pre_hook(hook):
    """Call `hook(module, grad_output)` for every module before its gradients are computed."""
    return _register_global(_backward_pre, hook)


def register_module_full_backward_hook(hook):
    """Call `hook(module, grad_input, grad_output)` for every module once both are known."""
    _set_global_backward_kind(True)
    return _register_global(_backward, hook)


def register_module_backward_hook(hook):
    """The older form of `register_module_full_backward_hook`: it sees the last node only."""
    _set_global_backward_kind(False)
    return _register_global(_backward, hook)


def _set_global_backward_kind(full):
    global _global_backward_is_full
    if _global_backward_is_full is not None and _global_backward_is_full is not full:
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module "
            "hook. Please use only one of them."
        )
    _global_backward_is_full = full


def register_module_buffer_registration_hook(hook):
    """Call `hook(module, name, buffer)` whenever a buffer is registered; a result replaces it."""
    return _register_plain(buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook):
    """Call `hook(module, name, submodule)` whenever a child is registered."""
    return _register_plain(module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook):
    """Call `hook(module, name, param)` whenever a parameter is registered."""
    return _register_plain(parameter_registration_hooks, hook)


def _register_plain(hooks, hook, prepend=False, extras=()):
    """Enter `hook` in one table, marks for it in others, and hand back what removes all."""
    handle = RemovableHandle(hooks, extra_dict=list(extras) or None)
    hooks[handle.id] = hook
    for extra in extras:
        extra[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class BackwardHookFunction(Function):
    """The identity on several tensors; its backward shows the gradients to a function."""

    @staticmethod
    def forward(ctx, see, *tensors):
        ctx.see = see
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*[x for x in tensors if not x.requires_grad])
        return tensors

    @staticmethod
    def backward(ctx, *grads):
        return (None, *ctx.see(grads))


class BackwardTap:
    """The backward hooks of one call of one module.

    The gradients of the outputs arrive first (`_see_outputs`: pre-hooks may replace them), those
    of the inputs last (`_see_inputs`: the full hooks run, with both). When no input needs a
    gradient the full hooks run at the outputs, with None in the inputs' place.
    """

    def __init__(self, module, hooks, pre_hooks):
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_outputs = None
        self.inputs = None  # positions of the tensors among the inputs, None if none records
        self.outputs = None
        self.n_inputs = -1
        self.n_outputs = -1

    def wrap_inputs(self, args):
        wrapped, self.inputs = _pass_through(args, self._see_inputs)
        self.n_inputs = len(args)
        return wrapped

    def wrap_outputs(self, out):
        if not isinstance(out, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of "
                f"Tensors but received {type(out)}",
                stacklevel=4,
            )
            return out
        if isinstance(out, Tensor):
            (wrapped,), self.outputs = _pass_through((out,), self._see_outputs)
            self.n_outputs = 1
        else:
            wrapped, self.outputs = _pass_through(out, self._see_outputs)
            self.n_outputs = len(out)
        return wrapped

    def _see_outputs(self, grads):
        full = _spread(grads, self.outputs, self.n_outputs)
        for hook in self.pre_hooks:
            full = self._replaced(hook(self.module, full), full, "pre hook", "grad_output")
        self.grad_outputs = full
        if self.inputs is None:
            self._run_without_inputs()
        return [full[i] for i in self.outputs]

    def _run_without_inputs(self):
        if self.hooks:
            warnings.warn(
                "Full backward hook is firing when gradients are computed with respect to module "
                "outputs since no inputs require gradients. Make an input require grad, or expect "
                "None in place of the input gradients.",
                stacklevel=5,
            )
        for hook in self.hooks:
            result = hook(self.module, (None,) * self.n_inputs, self.grad_outputs)
            if result is None or (isinstance(result, tuple) and all(g is None for g in result)):
                continue
            raise RuntimeError(
                "Backward hook for Modules where no input requires gradient should always return "
                "None or None for all gradients."
            )
        self.grad_outputs = None

    def _see_inputs(self, grads):
        if self.grad_outputs is None:
            return grads  # the inputs' gradients came by another way than the outputs
        full = _spread(grads, self.inputs, self.n_inputs)
        for hook in self.hooks:
            result = hook(self.module, full, self.grad_outputs)
            full = self._replaced(result, full, "hook", "grad_input")
        self.grad_outputs = None
        return [full[i] for i in self.inputs]

    @staticmethod
    def _replaced(result, full, kind, what):
        if result is None:
            return full
        if isinstance(result, Tensor):
            result = (result,)
        if len(result) != len(full):
            raise RuntimeError(
                f"Backward {kind} returned an invalid number of {what}, got {len(result)}, but "
                f"expected {len(full)}"
            )
        return tuple(result)


def _pass_through(values, see):
    """`values` with its tensors sent through the tap, and their positions (None: nothing records).

    Only worth it, and only possible, when grad mode is on and some tensor requires grad.
    """
    where = [i for i, x in enumerate(values) if isinstance(x, Tensor)]
    if not is_grad_enabled() or not any(values[i].requires_grad for i in where):
        return values, None
    tensors = BackwardHookFunction.apply(see, *[values[i] for i in where])
    out = list(values)
    for i, x in zip(where, tensors, strict=True):
        out[i] = x
    if isinstance(values, tuple) and hasattr(values, "_fields"):
        return type(values)(*out), where
    return tuple(out), where


def _spread(grads, where, n):
    full = [None] * n
    for i, g in zip(where, grads, strict=True):
        full[i] = g
    return tuple(full)


def _first_tensor(out):
    while not isinstance(out, Tensor):
        if isinstance(out, dict):
            out = next(v for v in out.values() if isinstance(v, Tensor))
        else:
            out = out[0]
    return out


def _warn_non_full(args, out, grad_fn):
    """Say which gradients a non-full backward hook is going to miss."""
    for what, missing, values in (
        ("return", "some of the grad_output", (out,) if isinstance(out, Tensor) else out),
        ("take as input", "some of the grad_input", (args,) if isinstance(args, Tensor) else args),
    ):
        if not isinstance(values, tuple) or not all(isinstance(x, Tensor) for x in values):
            _warn_deprecated(
                f"Using non-full backward hooks on a Module that does not {what} a single Tensor "
                f"or a tuple of Tensors is deprecated and will be removed in future versions. "
                f"This hook will be missing {missing}."
            )
            return
    outs = (out,) if isinstance(out, Tensor) else out
    if any(x.grad_fn is not grad_fn for x in outs):
        _warn_deprecated(
            "Using a non-full backward hook when outputs are generated by different autograd "
            "Nodes is deprecated and will be removed in future versions. This hook will be "
            "missing some grad_output."
        )
        return
    ins = (args,) if isinstance(args, Tensor) else args
    expected = {x.grad_fn for x in ins if x.grad_fn is not None}
    found = {node for node, _ in grad_fn.next_functions if node is not None}
    if found != expected:
        _warn_deprecated(
            "Using a non-full backward hook when the forward contains multiple autograd Nodes is "
            "deprecated and will be removed in future versions. This hook will be missing some "
            "grad_input."
        )


def _warn_deprecated(text):
    warnings.warn(
        f"{text} Please use register_full_backward_hook to get the documented behavior.",
        FutureWarning,
        stacklevel=6,
    )


class Hooks:
    """The hook methods of Module, and the call that consults them."""

    _is_full_backward_hook = None

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """Call `hook(module, args)` before `forward`; a result replaces the arguments.

        Args:
            prepend: run before the hooks that this module already has.
            with_kwargs: call `hook(module, args, kwargs)`; it returns None or `(args, kwargs)`.

        Returns a handle; `handle.remove()` takes the hook out again.
        """
        extras = [self._forward_pre_hooks_with_kwargs] if with_kwargs else ()
        return _register_plain(self._forward_pre_hooks, hook, prepend, extras)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """Call `hook(module, args, out)` after `forward`; a result replaces `out`.

        Args:
            prepend: run before the hooks that this module already has.
            with_kwargs: call `hook(module, args, kwargs, out)`.
            always_call: call it also when forward raises (with `out=None`).
        """
        extras = [self._forward_hooks_with_kwargs] if with_kwargs else []
        if always_call:
            extras.append(self._forward_hooks_always_called)
        return _register_plain(self._forward_hooks, hook, prepend, extras)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """Call `hook(module, grad_output)` before the module's gradients are computed.

        `grad_output` is a tuple; a tuple in return is used in its place.
        """
        return _register_plain(self._backward_pre_hooks, hook, prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """Call `hook(module, grad_input, grad_output)` once both gradients are known.

        Both are tuples with None for arguments that are no tensors; a tuple in return is used in
        place of `grad_input`. Inputs and outputs must not be changed in place.
        """
        self._set_backward_kind(True)
        return _register_plain(self._backward_hooks, hook, prepend)

    def register_backward_hook(self, hook):
        """Deprecated in favour of `register_full_backward_hook`: it sees the last node only."""
        self._set_backward_kind(False)
        return _register_plain(self._backward_hooks, hook)

    def _set_backward_kind(self, full):
        if self._is_full_backward_hook is not None and self._is_full_backward_hook is not full:
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        self._is_full_backward_hook = full

    def _get_backward_hooks(self):
        """The full and the non-full backward hooks that concern this module."""
        full, non_full = [], []
        for hooks, is_full in (
            (_backward.values(), _global_backward_is_full),
            (hooks_of(self, "_backward_hooks"), self._is_full_backward_hook),
        ):
            (full if is_full is True else non_full).extend(hooks)
        return full, non_full

    def _get_backward_pre_hooks(self):
        return [*_backward_pre.values(), *hooks_of(self, "_backward_pre_hooks")]

    def _call_impl(self, *args, **kwargs):
        """`forward` with the hooks around it."""
        called = set()
        try:
            return self._call_with_hooks(args, kwargs, called)
        except Exception:
            self._run_always_called(args, kwargs, called)
            raise

    def _call_with_hooks(self, args, kwargs, called):
        full, non_full = self._get_backward_hooks()
        pre = self._get_backward_pre_hooks()
        own = hook_table(self, "_forward_pre_hooks")
        if own or _forward_pre:
            args, kwargs = self._run_pre_hooks(args, kwargs, own)
        tap = BackwardTap(self, full, pre) if full or pre else None
        if tap is not None:
            args = tap.wrap_inputs(args)
        out = self.forward(*args, **kwargs)
        for key, hook, with_kwargs, _ in self._all_forward_hooks():
            called.add(key)
            result = hook(self, args, kwargs, out) if with_kwargs else hook(self, args, out)
            if result is not None:
                out = result
        if tap is not None:
            out = tap.wrap_outputs(out)
        if non_full:
            grad_fn = _first_tensor(out).grad_fn
            if grad_fn is not None:
                for hook in non_full:
                    grad_fn.register_hook(_keep_name(functools.partial(hook, self), hook))
                _warn_non_full(args, out, grad_fn)
        return out

    def _run_pre_hooks(self, args, kwargs, own):
        marked = hook_table(self, "_forward_pre_hooks_with_kwargs")
        hooks = [(hook, False) for hook in _forward_pre.values()]
        hooks += [(own[key], key in marked) for key in list(own)]
        for hook, with_kwargs in hooks:
            if not with_kwargs:
                result = hook(self, args)
                if result is not None:
                    args = result if isinstance(result, tuple) else (result,)
                continue
            result = hook(self, args, kwargs)
            if result is None:
                continue
            if not isinstance(result, tuple) or len(result) != 2:
                raise RuntimeError(
                    "forward pre-hook must return None or a tuple of (new_args, new_kwargs), but "
                    f"got {result}."
                )
            args, kwargs = result
        return args, kwargs

    def _all_forward_hooks(self):
        """(id, hook, with kwargs, always called) of each forward hook, global ones first."""
        hooks = [
            (key, hook, key in _forward_with_kwargs, key in _forward_always)
            for key, hook in _forward.items()
        ]
        own = hook_table(self, "_forward_hooks")
        if own:
            kw = hook_table(self, "_forward_hooks_with_kwargs")
            always = hook_table(self, "_forward_hooks_always_called")
            hooks += [(key, own[key], key in kw, key in always) for key in list(own)]
        return hooks

    def _run_always_called(self, args, kwargs, called):
        """After an error: the hooks that asked to be called all the same, and were not yet."""
        for key, hook, with_kwargs, always in self._all_forward_hooks():
            if not always or key in called:
                continue
            try:
                hook(self, args, kwargs, None) if with_kwargs else hook(self, args, None)
            except Exception as error:
                warnings.warn(
                    "module forward hook with ``always_call=True`` raised an exception that was "
                    f"silenced as another error was raised in forward: {error}",
                    stacklevel=4,
                )


def _keep_name(wrapped, hook):
    return functools.update_wrapper(wrapped, hook) if hasattr(hook, "__name__") else wrapped


def settle_global_hooks():
    """Empty `GLOBAL_HOOKS` when the last global hook has gone, so that calls are fast again."""
    if not (_forward or _forward_pre or _backward or _backward_pre):
        GLOBAL_HOOKS.clear()
