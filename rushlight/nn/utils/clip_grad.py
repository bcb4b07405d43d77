"""Gradient clipping: bound the norm of all gradients together, or each value by itself."""

from __future__ import annotations

import warnings

import rushlight
from rushlight import Tensor, no_grad

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
]


def _as_list(tensors):
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _grads(parameters):
    return [p.grad for p in _as_list(parameters) if p.grad is not None]


@no_grad()
def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of several tensors, taken as one vector.

    Args:
        tensors: a tensor or an iterable of tensors.
        norm_type: the order p; `inf` takes the largest magnitude.
        error_if_nonfinite: raise RuntimeError when the norm is nan or infinite.
        foreach: accepted for compatibility; there is one implementation.

    Returns a 0-dim tensor.
    """
    tensors = _as_list(tensors)
    norm_type = float(norm_type)
    if not tensors:
        return rushlight.tensor(0.0)
    device = tensors[0].device
    norms = [rushlight.linalg.vector_norm(x, norm_type) for x in tensors]
    norms = [n if n.device == device else n.to(device) for n in norms]
    total = rushlight.linalg.vector_norm(rushlight.stack(norms), norm_type)
    if error_if_nonfinite and not bool(rushlight.isfinite(total)):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            "so it cannot be clipped. To disable this error and scale the gradients by the "
            "non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


@no_grad()
def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Scale the gradients of `parameters`, in place, by min(1, max_norm / (total_norm + 1e-6))."""
    grads = _grads(parameters)
    if not grads:
        return
    # A product with 1 rather than a test: no value has to leave the device.
    factor = rushlight.clamp(float(max_norm) / (total_norm + 1e-6), max=1.0)
    for g in grads:
        g.mul_(factor if factor.device == g.device else factor.to(g.device))


@no_grad()
def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scale gradients in place so that their norm together is at most `max_norm`.

    Args: see `get_total_norm`; `parameters` is a tensor or an iterable of tensors with `.grad`.

    Returns the norm before clipping, a 0-dim tensor.
    """
    parameters = _as_list(parameters)
    total_norm = get_total_norm(_grads(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total_norm, foreach)
    return total_norm


def clip_grad_norm(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Deprecated alias of `clip_grad_norm_`."""
    warnings.warn(
        "`torch.nn.utils.clip_grad_norm` is now deprecated in favor of "
        "`torch.nn.utils.clip_grad_norm_`.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters, clip_value, foreach=None):
    """Clamp every gradient value, in place, into [-clip_value, clip_value]."""
    bound = float(clip_value)
    for g in _grads(parameters):
        g.clamp_(min=-bound, max=bound)
