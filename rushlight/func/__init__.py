"""torch.func: transforms of functions (grad, vjp, jvp, jacobians, vmap) and modules as functions of their parameters.

Transforms nest and compose with ordinary backward. `vmap` is a loop over the batch here: see its file.
"""

import rushlight
from rushlight import nn
from rushlight.func._derivatives import (
    grad,
    grad_and_value,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    vjp,
)
from rushlight.func._vmap import vmap
from rushlight.nn.utils.stateless import _functional_call


def functional_call(module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False):
    """module(*args, **kwargs) with parameters and buffers replaced by those of a dict, or of several dicts."""
    if isinstance(parameter_and_buffer_dicts, dict):
        given = parameter_and_buffer_dicts
    elif isinstance(parameter_and_buffer_dicts, (tuple, list)):
        if not all(isinstance(d, dict) for d in parameter_and_buffer_dicts):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        names = [n for d in parameter_and_buffer_dicts for n in d]
        repeated = sorted({n for n in names if names.count(n) > 1})
        if repeated:
            raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        given = {n: v for d in parameter_and_buffer_dicts for n, v in d.items()}
    else:
        raise ValueError(f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(parameter_and_buffer_dicts)}")
    return _functional_call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models):
    """(parameters, buffers) of several modules of one class, each stacked along a new first dimension."""
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")

    def stacked(tables):
        out = {}
        for name in tables[0]:
            values = [t[name] for t in tables]
            if all(v.requires_grad and v.is_leaf for v in values):
                out[name] = rushlight.stack([v.detach() for v in values]).requires_grad_()
            else:
                out[name] = rushlight.stack(values)
        return out

    return stacked([dict(m.named_parameters()) for m in models]), stacked([dict(m.named_buffers()) for m in models])


def replace_all_batch_norm_modules_(root):
    """Make every batch norm of a module use the statistics of the batch alone; changes `root` and returns it."""
    for module in root.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def debug_unwrap(tensor, *, recurse=True):
    """The tensor itself: transforms wrap nothing here."""
    return tensor


_MISSING = ("functionalize", "rearrange")


def __getattr__(name):
    if name in _MISSING:
        raise NotImplementedError(f"torch.func.{name} is not implemented")
    raise AttributeError(f"module 'torch.func' has no attribute '{name}'")


__all__ = [
    "grad", "grad_and_value", "vmap", "replace_all_batch_norm_modules_", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp",
    "functional_call", "stack_module_state", "debug_unwrap",
]  # fmt: skip
