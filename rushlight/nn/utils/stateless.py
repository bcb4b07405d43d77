"""functional_call: run a module with other tensors in place of its own, for one call.

The tensors are put into the module's tables, the call is made, and the tables are put back, also
when the call raises. Names that lead to the same tensor are tied: replacing one replaces all.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager

from rushlight import Tensor

from ..modules.attributes import table

__all__ = ["functional_call"]

_MISSING = object()


def functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Deprecated: use `torch.func.functional_call`."""
    warnings.warn(
        "`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be "
        "removed in a future version of PyTorch. Please use `torch.func.functional_call` instead "
        "which is a drop-in replacement.",
        FutureWarning,
        stacklevel=2,
    )
    return _functional_call(
        module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def _functional_call(
    module, parameters_and_buffers, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Call `module(*args, **kwargs)` with the tensors of a dict in place of its own.

    Args:
        parameters_and_buffers: dotted names to tensors.
        args: a tuple of arguments, or one argument.
        tie_weights: names of one tensor are replaced together.
        strict: raise RuntimeError unless the names are exactly the module's.
    """
    args = () if args is None else args
    args = args if isinstance(args, tuple) else (args,)
    with _reparametrize_module(module, parameters_and_buffers, tie_weights, strict):
        return module(*args, **(kwargs or {}))


@contextmanager
def _reparametrize_module(module, parameters_and_buffers, tie_weights=False, strict=False):
    if tie_weights:
        parameters_and_buffers = _untie_named_tensors_map(module, parameters_and_buffers)
    if strict:
        _require_all(module, parameters_and_buffers)
    kept = []
    try:
        for name, value in parameters_and_buffers.items():
            path, _, last = name.rpartition(".")
            owner = module.get_submodule(path)
            kept.append((owner, last, _swap(owner, last, value)))
        yield
    finally:
        for owner, last, value in reversed(kept):
            _swap(owner, last, value)


def _swap(owner, name, value):
    """Put `value` in place of `owner.name`; the old value, `_MISSING` for none."""
    if value is not None and value is not _MISSING and not isinstance(value, Tensor):
        raise TypeError(f"{value} is not an instance of torch.Tensor")
    for kind in ("_parameters", "_buffers"):
        entries = table(owner, kind)
        if name in entries:
            old = entries[name]
            entries[name] = value
            return old
    old = getattr(owner, name, _MISSING)
    if value is _MISSING:
        delattr(owner, name)
    else:
        setattr(owner, name, value)
    return old


def _named_tensors(module, remove_duplicate):
    yield from module.named_parameters(remove_duplicate=remove_duplicate)
    yield from module.named_buffers(remove_duplicate=remove_duplicate)


def _require_all(module, given):
    own = [name for name, _ in _named_tensors(module, remove_duplicate=False)]
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in set(own)]
    if not missing and not unexpected:
        return
    text = f"Error(s) in reparametrizing for {module._get_name()}:"
    for what, keys in (("Unexpected", unexpected), ("Missing", missing)):
        if keys:
            listed = ", ".join(f"'{key}'" for key in sorted(keys))
            text += f"\n\t{what} key(s): {listed}."
    raise RuntimeError(text)


def _untie_named_tensors_map(module, given):
    """`given` with an entry for every name that is tied to one of its names."""
    by_tensor = {}
    for name, x in _named_tensors(module, remove_duplicate=False):
        by_tensor.setdefault(id(x), []).append(name)
    out = dict(given)
    for names in by_tensor.values():
        if len(names) < 2:
            continue
        present = sorted(name for name in names if name in given)
        if len(present) > 1 and len({id(given[name]) for name in present}) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {present}, which are tied. "
                "Consider using tie_weights=False"
            )
        if present:
            out.update((name, given[present[0]]) for name in names)
    return out
