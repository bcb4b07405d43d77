"""Module: the base of every network, put together from its parts.

    attributes  what is assigned to a module and how it is read back
    hooks       functions called around forward and backward
    state       state_dict and load_state_dict
    casting     dtype, device and memory
    tree        descendants, by walking or by name

This file adds construction, the call, training mode, and the text of `repr`.

The call is the hot path of every layer: a module that nobody hooked reads one flag and one list
and goes to `forward`.
"""

from __future__ import annotations

import rushlight

from .attributes import Attributes, init_tables
from .casting import Casting
from .hooks import (
    GLOBAL_HOOKS,
    Hooks,
    register_module_backward_hook,
    register_module_buffer_registration_hook,
    register_module_forward_hook,
    register_module_forward_pre_hook,
    register_module_full_backward_hook,
    register_module_full_backward_pre_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
    settle_global_hooks,
)
from .state import State, _IncompatibleKeys  # noqa: F401  (programs import it from here)
from .tree import Tree

__all__ = [
    "Module",
    "register_module_backward_hook",
    "register_module_buffer_registration_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_module_full_backward_pre_hook",
    "register_module_module_registration_hook",
    "register_module_parameter_registration_hook",
]


OPTIMIZED = []  # the class of compiled modules, which is itself a module (optimized.py)


def _addindent(text, n_spaces):
    """`text` with every line but the first moved right."""
    return text.replace("\n", "\n" + " " * n_spaces)


class Module(Hooks, State, Casting, Tree, Attributes):
    """Base class of all neural network modules.

    A subclass calls `super().__init__()`, assigns its parameters and children as attributes, and
    defines `forward`. Calling the module runs `forward` with the hooks around it:

        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.hidden = nn.Linear(20, 64)
                self.out = nn.Linear(64, 2)

            def forward(self, x):                          # (N, 20)
                return self.out(self.hidden(x).relu())     # (N, 2)

    Attributes:
        training: True in training mode, False in evaluation mode (`train()`, `eval()`).
    """

    dump_patches = False
    call_super_init = False
    _compiled_call_impl = None

    training: bool

    def __init__(self, *args, **kwargs):
        if self.call_super_init is False:
            name = f"{type(self).__name__}.__init__()"
            if kwargs:
                raise TypeError(f"{name} got an unexpected keyword argument '{next(iter(kwargs))}'")
            if args:
                raise TypeError(
                    f"{name} takes 1 positional argument but {len(args) + 1} were given"
                )
        init_tables(self)
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def forward(self, *input):
        """The computation; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args, **kwargs):
        if self._hooked or GLOBAL_HOOKS:
            return self._call_slow(*args, **kwargs)
        if kwargs:
            return self.forward(*args, **kwargs)
        return self.forward(*args)

    def _call_slow(self, *args, **kwargs):
        """The call when there are, or were, hooks, or when the module was compiled."""
        settle_global_hooks()
        if self._compiled_call_impl is not None:
            return self._compiled_call_impl(*args, **kwargs)
        return self._call_impl(*args, **kwargs)

    def compile(self, *args, **kwargs):
        """Run this module's calls through `torch.compile`, with the arguments of that function."""
        self._compiled_call_impl = rushlight.compile(self._call_impl, *args, **kwargs)
        self._hooked = True

    def _optimized(self, compiled):
        """What `torch.compile` makes of this module, whose compiled call it gives."""
        return OPTIMIZED[0](self, compiled)

    def apply(self, fn):
        """Call `fn` on every descendant, children first, and on this module; returns it.

        Typical use: `model.apply(init_weights)`.
        """
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self, mode=True):
        """Set training mode on this module and all descendants; returns the module."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self):
        """Set evaluation mode: `train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad=True):
        """Say for all parameters whether they record; returns the module."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none=True):
        """Drop the gradients of all parameters, or fill them with zeros."""
        for param in self.parameters():
            grad = param.grad
            if grad is None:
                continue
            if set_to_none:
                param.grad = None
                continue
            if grad.grad_fn is not None:
                grad.detach_()
            else:
                grad.requires_grad_(False)
            grad.zero_()

    # text

    def _get_name(self):
        return type(self).__name__

    def extra_repr(self):
        """What stands between the parentheses of `repr`; override it in subclasses."""
        return ""

    def __repr__(self):
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [
            f"({name}): {_addindent(repr(module), 2)}" for name, module in self._modules.items()
        ]
        name = self._get_name()
        if len(lines) == 1 and not children:
            return f"{name}({lines[0]})"
        lines += children
        if not lines:
            return f"{name}()"
        return name + "(\n  " + "\n  ".join(lines) + "\n)"
