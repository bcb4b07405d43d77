"""torch.utils.hooks: the handle of registered hooks, and marks about pickling them."""

import warnings

import rushlight

RemovableHandle = rushlight._namespace("utils.hooks")["RemovableHandle"]


def unserializable_hook(f):
    """Mark a hook as one that pickling leaves out without a warning."""
    f.__torch_unserializable__ = True
    return f


def warn_if_has_hooks(tensor):
    """Warn of each hook of `tensor` that a pickle would lose."""
    for hook in (tensor._backward_hooks or {}).values():
        if not hasattr(hook, "__torch_unserializable__"):
            warnings.warn(
                f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can decorate the function with "
                "@torch.utils.hooks.unserializable_hook to suppress this warning",
                stacklevel=2,
            )


__all__ = ["RemovableHandle", "unserializable_hook", "warn_if_has_hooks"]
