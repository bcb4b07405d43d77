"""LazyModuleMixin: modules that learn their input's size from the first forward call.

A lazy module starts with uninitialized parameters and two hooks: a forward pre-hook that calls
`initialize_parameters` with the first batch, and a load hook that takes shapes from a state_dict.
Once every parameter has a shape the hooks go and the module becomes `cls_to_become`.

A lazy layer is `class LazyX(LazyModuleMixin, X)` whose `__init__` registers uninitialized
parameters and which defines `initialize_parameters(self, *args)`.
"""

from __future__ import annotations

from itertools import chain

from ..parameter import is_lazy

__all__ = ["LazyModuleMixin"]


class LazyModuleMixin:
    """Adds lazy initialization to a Module class; put it before that class among the bases.

    Attributes:
        cls_to_become: the class that the module takes once it is initialized; None: it stays.
    """

    cls_to_become = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(
            self._infer_parameters, with_kwargs=True
        )

    def _own_tensors(self):
        return chain(self._parameters.values(), self._buffers.values())

    def has_uninitialized_params(self):
        """Whether a parameter or buffer of this module still waits for its shape."""
        return any(is_lazy(x) for x in self._own_tensors())

    def initialize_parameters(self, *args, **kwargs):
        """Give the parameters their shapes, from the arguments of the first forward call."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        # Uninitialized tensors cannot be detached; they are saved as they are.
        for name, param in self._parameters.items():
            if param is not None:
                kept = is_lazy(param) or keep_vars
                destination[prefix + name] = param if kept else param.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                kept = is_lazy(buffer) or keep_vars
                destination[prefix + name] = buffer if kept else buffer.detach()

    def _lazy_load_hook(
        self,
        state_dict,
        prefix,
        local_metadata,
        strict,
        missing_keys,
        unexpected_keys,
        error_msgs,
    ):
        """Take the shape of each uninitialized tensor from the state_dict that is being loaded."""
        for name, param in chain(self._parameters.items(), self._buffers.items()):
            key = prefix + name
            if param is None or key not in state_dict or not is_lazy(param):
                continue
            found = state_dict[key]
            if not is_lazy(found):
                param.materialize(found.shape)

    def _infer_parameters(self, module, args, kwargs=None):
        """The pre-hook: initialize, take both hooks out, and become the ordinary class."""
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(
                f"module {self._get_name()} has not been fully initialized: its "
                "initialize_parameters must materialize every uninitialized parameter."
            )
        module._initialize_hook.remove()
        module._load_hook.remove()
        delattr(module, "_initialize_hook")
        delattr(module, "_load_hook")
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become

    def _replicate_for_data_parallel(self):
        raise RuntimeError(
            "Modules with uninitialized parameters can't be used with `DataParallel`. Run a dummy "
            "forward pass to correctly initialize the modules."
        )
