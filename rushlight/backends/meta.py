"""The meta backend: results have shape, dtype and layout, and no values.

Every row is inferred as anywhere else; nothing is computed. Pointwise results and copies keep the layout of the first
operand that has their shape, as they do in memory. An op whose result depends on values asks its Window for them and is
refused there (core/window.py).
"""

from __future__ import annotations

from rushlight.backends.base import Backend
from rushlight.core.device import META
from rushlight.core.shape import dense, overlaps
from rushlight.core.window import Window, element_strides

_KEEPS_LAYOUT = ("pointwise", "memory", "random")


def strides_like(data, itemsize):
    """Strides in bytes of a dense array whose dimensions lie in memory in the order of `data`'s."""
    strides = element_strides(data)
    order = sorted(range(len(strides)), key=lambda d: (-strides[d], d))
    out = [0] * len(strides)
    for d, s in zip(order, dense([data.shape[d] for d in order])):
        out[d] = s * itemsize
    return tuple(out)


class Meta(Backend):
    """Infers; computes nothing."""

    name = "meta"

    def apply(self, op, spec, args, attrs, out=None):
        if out is not None:
            return out._data
        if type(spec) is tuple:
            return tuple([Window(s.shape, s.dtype.np, device=META) for s in spec])
        dtype = spec.dtype.np
        order = attrs.get("order")
        if op.family in _KEEPS_LAYOUT and order is None:
            for a in args:
                data = getattr(a, "_data", None)
                if data is not None and tuple(data.shape) == tuple(spec.shape) and not overlaps(data.shape, data.strides):
                    return Window(spec.shape, dtype, strides_like(data, dtype.itemsize), device=META)
        elif order not in (None, "C"):
            inner = dense([spec.shape[d] for d in order])
            strides = [0] * len(order)
            for d, s in zip(order, inner):
                strides[d] = s * dtype.itemsize
            return Window(spec.shape, dtype, strides, device=META)
        return Window(spec.shape, dtype, device=META)

    def item(self, x):
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")

    def numpy(self, x):
        return x._data.host()


BACKEND = Meta()
