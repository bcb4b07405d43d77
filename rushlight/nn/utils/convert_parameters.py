"""Parameters as one flat vector, and back: for second-order methods and line searches."""

from __future__ import annotations

import rushlight
from rushlight import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def _require_one_device(params):
    devices = {param.device for param in params}
    if len(devices) > 1:
        found = ", ".join(sorted(str(device) for device in devices))
        raise TypeError(
            f"Found parameters on different devices ({found}), this is currently not supported. "
            "Move them to one device first: module.to(device)."
        )


def parameters_to_vector(parameters):
    """All parameters flattened and joined, in order: a tensor of shape (sum of sizes,)."""
    params = list(parameters)
    _require_one_device(params)
    return rushlight.cat([param.view(-1) for param in params])


def vector_to_parameters(vec, parameters):
    """Let the parameters be views of consecutive pieces of `vec`, each in its own shape."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    params = list(parameters)
    _require_one_device(params)
    start = 0
    for param in params:
        n = param.numel()
        param.data = vec[start : start + n].view_as(param).data
        start += n
