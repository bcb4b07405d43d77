"""Memory formats of convolution weights: store channels innermost, values unchanged."""

from __future__ import annotations

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]

_CONVS = {
    4: ("Conv2d", "ConvTranspose2d"),
    5: ("Conv3d", "ConvTranspose3d"),
}


def _convert(module, memory_format, dim):
    kinds = [cls.__name__ for cls in type(module).__mro__]
    if any(name in kinds for name in _CONVS[dim]):
        module.weight.data = module.weight.detach().clone(memory_format=memory_format)
    for child in module.children():
        _convert(child, memory_format, dim)
    return module


def convert_conv2d_weight_memory_format(module, memory_format):
    """Give the weights of all 2-d convolutions in `module` the memory format; returns it."""
    return _convert(module, memory_format, 4)


def convert_conv3d_weight_memory_format(module, memory_format):
    """Give the weights of all 3-d convolutions in `module` the memory format; returns it."""
    return _convert(module, memory_format, 5)
