"""Hooks of optimizers: around each step, around saving and loading, for one optimizer or for all.

A hook table is an ordered dict of handle id to function. The step hooks run in a wrapper around the
class's `step`, put there when the first instance is made, so that a user's own subclass has them
too; the wrapper is silent where it is reached through `super().step()`.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain

from rushlight.nn.modules.handle import RemovableHandle

__all__ = ["Hooked", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]

_HOOK_TABLES = (
    "_optimizer_step_pre_hooks",
    "_optimizer_step_post_hooks",
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)

_global_optimizer_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_global_optimizer_post_hooks: OrderedDict[int, Callable] = OrderedDict()


def _add_hook(table, hook, prepend=False):
    """Put `hook` into `table`; the handle returned takes it out again."""
    handle = RemovableHandle(table)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def register_optimizer_step_pre_hook(hook):
    """Run `hook(optimizer, args, kwargs)` before each step of every optimizer; see
    `Optimizer.register_step_pre_hook`."""
    return _add_hook(_global_optimizer_pre_hooks, hook)


def register_optimizer_step_post_hook(hook):
    """Run `hook(optimizer, args, kwargs)` after each step of every optimizer."""
    return _add_hook(_global_optimizer_post_hooks, hook)


class Hooked:
    """The hook tables of one optimizer, and its wrapped `step`."""

    def _init_hooks(self) -> None:
        """Make the tables that are missing and wrap `step`."""
        for table in _HOOK_TABLES:
            self.__dict__.setdefault(table, OrderedDict())
        self._hook_step()

    def _hook_step(self) -> None:
        """Wrap this class's `step`, once, so that hooks run around it."""
        cls = type(self)
        if not getattr(cls.step, "hooked", False):
            cls.step = self.profile_hook_step(cls.step)

    @staticmethod
    def profile_hook_step(func):
        """Wrap a `step` function so that the optimizer's step hooks run around it."""

        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            self = args[0]
            # Reached through super().step(): the outer step has run, and will run, the hooks.
            if type(self).step is not wrapper:
                return func(*args, **kwargs)
            if _global_optimizer_pre_hooks or self._optimizer_step_pre_hooks:
                hooks = (
                    _global_optimizer_pre_hooks.values(),
                    self._optimizer_step_pre_hooks.values(),
                )
                for hook in list(chain(*hooks)):
                    result = hook(self, args, kwargs)
                    if result is None:
                        continue
                    if not (isinstance(result, tuple) and len(result) == 2):
                        raise RuntimeError(
                            f"{func} must return None or a tuple of (new_args, new_kwargs), "
                            f"but got {result}."
                        )
                    args, kwargs = result
            out = func(*args, **kwargs)
            if _global_optimizer_post_hooks or self._optimizer_step_post_hooks:
                hooks = (
                    self._optimizer_step_post_hooks.values(),
                    _global_optimizer_post_hooks.values(),
                )
                for hook in list(chain(*hooks)):
                    hook(self, args, kwargs)
            return out

        wrapper.hooked = True
        return wrapper

    def register_step_pre_hook(self, hook):
        """Call `hook(optimizer, args, kwargs)` before each step; `args` includes the optimizer.

        The hook may return (new_args, new_kwargs) to replace them. Returns a handle with
        `remove()`.
        """
        return _add_hook(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """Call `hook(optimizer, args, kwargs)` after each step. Returns a handle with
        `remove()`."""
        return _add_hook(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook, prepend: bool = False):
        """Call `hook(optimizer)` before `state_dict()` reads anything."""
        return _add_hook(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook, prepend: bool = False):
        """Call `hook(optimizer, state_dict)` on the result of `state_dict()`; a dict it returns
        replaces the result."""
        return _add_hook(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook, prepend: bool = False):
        """Call `hook(optimizer, state_dict)` before loading; a dict it returns is loaded
        instead."""
        return _add_hook(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook, prepend: bool = False):
        """Call `hook(optimizer)` after `load_state_dict()`."""
        return _add_hook(self._optimizer_load_state_dict_post_hooks, hook, prepend)
