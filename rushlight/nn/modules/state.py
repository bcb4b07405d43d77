"""state_dict: a Module's parameters and buffers as a flat dict of names, out and back in.

Each module saves and loads only what is its own (`_save_to_state_dict`, `_load_from_state_dict`,
the places to override) and the two public methods walk the tree. A state_dict carries `_metadata`
with each module's `_version`, so that a module can read what an older version of it wrote.

Errors are collected, all of them, and raised once.
"""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Mapping

from rushlight import Tensor, no_grad

from ..parameter import Parameter, is_lazy
from .attributes import hooks_of
from .handle import RemovableHandle

_EXTRA_STATE_KEY_SUFFIX = "_extra_state"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What `load_state_dict(strict=False)` could not match."""

    __slots__ = ()

    def __repr__(self):
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"_IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )

    __str__ = __repr__


class _WithModule:
    """A load hook that also receives its module (which is one of the arguments of the others).

    The module is held weakly, or it would keep itself alive; a copy of the module gets its own.
    """

    def __init__(self, hook, module):
        self.hook = hook
        self.module = weakref.ref(module)

    def __call__(self, *args):
        return self.hook(self.module(), *args)

    def __getstate__(self):
        return self.hook, self.module()

    def __setstate__(self, state):
        self.hook, module = state
        self.module = weakref.ref(module)


def _quoted(keys):
    return ", ".join(f'"{key}"' for key in keys)


class State:
    """The state_dict methods of Module."""

    _version = 1

    # out

    def state_dict(self, *args, destination=None, prefix="", keep_vars=False):
        """All parameters and persistent buffers, by their dotted names, in an OrderedDict.

        Args:
            destination: a dict to fill; a new one when left out.
            prefix: put before every name.
            keep_vars: keep the tensors' graph (by default they are detached, not copied).
        """
        if args:
            warnings.warn(
                "Positional args are being deprecated, use kwargs instead: "
                "state_dict(destination=..., prefix=..., keep_vars=...).",
                FutureWarning,
                stacklevel=2,
            )
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and prefix == "" else prefix
            keep_vars = args[2] if len(args) > 2 and keep_vars is False else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        local_metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = local_metadata
        for hook in hooks_of(self, "_state_dict_pre_hooks"):
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in hooks_of(self, "_state_dict_hooks"):
            result = hook(self, destination, prefix, local_metadata)
            if getattr(hook, "_from_public_api", False):
                if result is not None:
                    raise RuntimeError("state_dict post-hook must return None")
            elif result is not None:
                destination = result
        return destination

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        """Write what is this module's own, not its children's, into `destination`."""
        for name, param in self._parameters.items():
            if param is not None:
                destination[prefix + name] = param if keep_vars else param.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        if type(self).get_extra_state is not State.get_extra_state:
            destination[prefix + _EXTRA_STATE_KEY_SUFFIX] = self.get_extra_state()

    def get_extra_state(self):
        """What else belongs into the state_dict; override it together with `set_extra_state`."""
        raise RuntimeError(
            f"{type(self).__name__} has no get_extra_state(). Override it, and set_extra_state(), "
            "to keep more than tensors in the state_dict."
        )

    def set_extra_state(self, state):
        """Take back what `get_extra_state` returned."""
        raise RuntimeError(
            f"{type(self).__name__} has no set_extra_state(). Override it, and get_extra_state(), "
            "to keep more than tensors in the state_dict."
        )

    # in

    def load_state_dict(self, state_dict, strict=True, assign=False):
        """Copy values from `state_dict` into this module and its descendants.

        Args:
            state_dict: names to tensors, as `state_dict()` gives them.
            strict: raise unless the names match exactly.
            assign: keep the tensors of `state_dict` themselves instead of copying their values;
                properties such as dtype then come from them (except requires_grad).

        Returns a named tuple (missing_keys, unexpected_keys).
        Raises RuntimeError listing every mismatch of names (when strict) and of shapes.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing, unexpected, errors = [], [], []
        metadata = getattr(state_dict, "_metadata", None)
        state_dict = OrderedDict(state_dict)
        if metadata is not None:
            state_dict._metadata = metadata

        def load(module, state, prefix):
            local = {} if metadata is None else metadata.get(prefix[:-1], {})
            if assign:
                local["assign_to_params_buffers"] = assign
            module._load_from_state_dict(state, prefix, local, True, missing, unexpected, errors)
            for name, child in module._modules.items():
                if child is not None:
                    start = f"{prefix}{name}."
                    load(child, {k: v for k, v in state.items() if k.startswith(start)}, start)
            keys = _IncompatibleKeys(missing, unexpected)
            for hook in hooks_of(module, "_load_state_dict_post_hooks"):
                if hook(module, keys) is not None:
                    raise AssertionError(
                        "Hooks registered with ``register_load_state_dict_post_hook`` are not "
                        "expected to return new values, if incompatible_keys need to be modified, "
                        "it should be done inplace."
                    )

        load(self, state_dict, "")
        if strict:
            if unexpected:
                errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
            if missing:
                errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if errors:
            lines = "\n\t".join(errors)
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{lines}"
            )
        return _IncompatibleKeys(missing, unexpected)

    def _load_from_state_dict(
        self,
        state_dict,
        prefix,
        local_metadata,
        strict,
        missing_keys,
        unexpected_keys,
        error_msgs,
    ):
        """Load what is this module's own; children are not visited.

        `local_metadata["version"]` says which version of the module wrote it (absent in state
        dicts without metadata). Mismatches go into the three lists.
        """
        for hook in hooks_of(self, "_load_state_dict_pre_hooks"):
            hook(
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        own = {name: p for name, p in self._parameters.items() if p is not None}
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                own[name] = buffer
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, param in own.items():
            key = prefix + name
            if key in state_dict:
                self._load_one(name, key, param, state_dict[key], assign, error_msgs)
            elif strict:
                missing_keys.append(key)

        extra_key = prefix + _EXTRA_STATE_KEY_SUFFIX
        if type(self).set_extra_state is not State.set_extra_state:
            if extra_key in state_dict:
                self.set_extra_state(state_dict[extra_key])
            elif strict:
                missing_keys.append(extra_key)
        elif strict and extra_key in state_dict:
            unexpected_keys.append(extra_key)

        if strict:
            for key in state_dict:
                if not key.startswith(prefix) or key == extra_key:
                    continue
                first, dot, _ = key[len(prefix) :].partition(".")
                if first not in (self._modules if dot else own):
                    unexpected_keys.append(key)

    def _load_one(self, name, key, param, found, assign, errors):
        if not isinstance(found, Tensor):
            errors.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
                f"object from checkpoint but received {type(found)}"
            )
            return
        lazy = is_lazy(param)
        # Scalars were once saved with one element.
        if not lazy and param.dim() == 0 and found.dim() == 1:
            found = found[0]
        if not lazy and found.shape != param.shape:
            errors.append(
                f"size mismatch for {key}: copying a param with shape {found.shape} from "
                f"checkpoint, the shape in current model is {param.shape}."
            )
            return
        if not lazy and param.is_meta and not found.is_meta and not assign:
            warnings.warn(
                f"for {key}: copying from a non-meta parameter in the checkpoint to a meta "
                "parameter in the current model, which is a no-op. (Did you mean to pass "
                "`assign=True` to assign items in the state dictionary to their corresponding key "
                "in the module instead of copying them in place?)",
                stacklevel=5,
            )
        try:
            with no_grad():
                if assign:
                    self._assign_one(name, param, found)
                else:
                    param.copy_(found)
        except Exception as error:
            errors.append(
                f'While copying the parameter named "{key}", whose dimensions in the model are '
                f"{param.size()} and whose dimensions in the checkpoint are {found.size()}, an "
                f"exception occurred : {error.args}."
            )

    def _assign_one(self, name, param, found):
        if isinstance(param, Parameter):
            if isinstance(found, Parameter):
                found.requires_grad_(param.requires_grad)
            else:
                found = Parameter(found, requires_grad=param.requires_grad)
        setattr(self, name, found)

    # hooks

    def register_state_dict_pre_hook(self, hook):
        """Call `hook(module, prefix, keep_vars)` before `state_dict` reads the module."""
        return self._enter(self._state_dict_pre_hooks, hook)

    def register_state_dict_post_hook(self, hook):
        """Call `hook(module, state_dict, prefix, local_metadata)` after `state_dict`.

        It may change the dict in place; it must return None.
        """
        hook._from_public_api = True
        return self._enter(self._state_dict_hooks, hook)

    def _register_state_dict_hook(self, hook):
        """As the post hook, but a result replaces the dict."""
        if getattr(hook, "_from_public_api", False):
            raise RuntimeError(
                "Cannot register the same function as the state dict post hook that was "
                "previously registered via register_state_dict_post_hook"
            )
        return self._enter(self._state_dict_hooks, hook)

    def register_load_state_dict_pre_hook(self, hook):
        """Call `hook` before this module's part is loaded.

        Its arguments: module, state_dict, prefix, local_metadata, strict, missing_keys,
        unexpected_keys, error_msgs; all may be changed in place.
        """
        return self._register_load_state_dict_pre_hook(hook, with_module=True)

    def _register_load_state_dict_pre_hook(self, hook, with_module=False):
        if with_module:
            hook = _WithModule(hook, self)
        return self._enter(self._load_state_dict_pre_hooks, hook)

    def register_load_state_dict_post_hook(self, hook):
        """Call `hook(module, incompatible_keys)` after this module and its children were loaded.

        `incompatible_keys` has `missing_keys` and `unexpected_keys`, to be changed in place.
        """
        return self._enter(self._load_state_dict_post_hooks, hook)

    @staticmethod
    def _enter(hooks, hook):
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle
