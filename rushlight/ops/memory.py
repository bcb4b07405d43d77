"""Rows that move values without arithmetic: copies, casts, fills, and windows put into zeros.

`put_window` and `place` are the transposes of views: what a view reads from a tensor, they write into zeros of its
shape; their own gradient is the view again, so views can be differentiated to any order.
"""

from __future__ import annotations

import numpy as np

from rushlight.core.shape import dense, overlaps
from rushlight.ops.families import dtype_of, opaque
from rushlight.ops.op import ZERO, Spec, row


def _copy_spec(op, args, attrs):
    """The target's shape and dtype; the source must broadcast to it."""
    x, y = args
    shape = x._data.shape
    if hasattr(y, "_data") and y._data.shape != shape:
        source = y._data.shape
        lead = len(shape) - len(source)
        if lead < 0:
            raise RuntimeError(f"output with shape {list(shape)} doesn't match the broadcast shape {list(source)} (copying shape {list(source)} into shape {list(shape)})")
        if any(n != m and n != 1 for n, m in zip(source, shape[lead:])):
            raise RuntimeError(
                f"The size of tensor a ({_first_misfit(shape, source)[0]}) must match the size of tensor b ({_first_misfit(shape, source)[1]}) at "
                f"non-singleton dimension {_first_misfit(shape, source)[2]} (copying shape {list(source)} into shape {list(shape)})"
            )
    return Spec(shape, dtype_of(x), None)


def _first_misfit(shape, source):
    n = max(len(shape), len(source))
    a, b = (1,) * (n - len(shape)) + tuple(shape), (1,) * (n - len(source)) + tuple(source)
    return next(((p, q, i) for i, (p, q) in reversed(list(enumerate(zip(a, b)))) if p != q and q != 1), (shape, source, 0))


def _copied(x, y):
    if np.ndim(y) > x.ndim:
        y = y.reshape(y.shape[np.ndim(y) - x.ndim :])
    return y


row("copy", "memory", _copy_spec, inputs=("x", "y"), numpy=_copied, grads=(ZERO, lambda g: g), node="CopyBackwards", analytic=False)


def _clone(x, order=None):
    if order is None:
        return x.copy(order="K") if not overlaps(x.shape, x.strides) else x.copy(order="C")
    return ordered(x, order)


def ordered(x, order):
    """A copy of x whose memory runs through the dimensions in `order`, the last one fastest."""
    if order == "C":
        return x.copy(order="C")
    inverse = np.argsort(order)
    return np.ascontiguousarray(x.transpose(order)).transpose(inverse) if x.flags.owndata else x.transpose(order).copy(order="C").transpose(inverse)


opaque("clone", lambda a, k: Spec(a[0]._data.shape, dtype_of(a[0])), _clone, lambda g: g, family="memory", analytic=False, exact=True)
opaque("cast", lambda a, k: Spec(a[0]._data.shape, k["dtype"]), lambda x, dtype: x, lambda g, x_spec: g.to(x_spec.dtype), family="memory", node="ToCopyBackward0", analytic=False)
opaque("to_device", lambda a, k: Spec(a[0]._data.shape, dtype_of(a[0])), lambda x, device: x, lambda g, device: g.to(device), family="memory", node="ToCopyBackward0", analytic=False)
opaque("fill", lambda a, k: Spec(a[0]._data.shape, dtype_of(a[0])), lambda x, value: value, ZERO, family="memory", node="FillBackward2")
opaque("fill_tensor", lambda a, k: Spec(a[0]._data.shape, dtype_of(a[0])), lambda x, v: np.broadcast_to(v, x.shape), (ZERO, lambda g: g.sum()), inputs=("x", "v"), family="memory", node="FillBackward3")
opaque("zero", lambda a, k: Spec(a[0]._data.shape, dtype_of(a[0])), lambda x: 0, ZERO, family="memory")


def _span(shape, strides):
    return 1 + sum((n - 1) * s for n, s in zip(shape, strides)) if 0 not in shape else 0


def _strided(flat, shape, strides, offset=0):
    item = flat.itemsize
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, tuple(s * item for s in strides))


def _lay_out(x, strides):
    if strides == dense(x.shape) or overlaps(x.shape, strides) or x.size == 0:
        return x.copy(order="C")
    out = _strided(np.zeros(_span(x.shape, strides), x.dtype), x.shape, strides)
    out[...] = x
    return out


opaque("lay_out", lambda a, k: Spec(a[0]._data.shape, dtype_of(a[0])), _lay_out, lambda g: g, family="memory", analytic=False)


def put_window(g, strides, offset, base_shape, base_strides):
    """Zeros of the base with `g` added at the elements that a window (its shape, strides, offset) reads.

    The window may begin before the base and end behind it: what it reads there is nobody's.
    """
    ahead = max(0, -offset)
    offset += ahead
    size = max(ahead + _span(base_shape, base_strides), offset + _span(g.shape, strides))
    flat = np.zeros(size, g.dtype)
    if g.size:
        if _self_overlapping(g.shape, strides):
            np.add.at(flat, _strided(np.arange(size), g.shape, strides, offset), g)
        else:
            _strided(flat, g.shape, strides, offset)[...] = g
    out = _strided(flat, base_shape, base_strides, ahead)
    if _self_overlapping(base_shape, base_strides):
        index = _strided(np.arange(size), base_shape, base_strides, ahead)
        out = out / np.bincount(index.ravel(), minlength=size)[index]
    return out.copy(order="K")


def _self_overlapping(shape, strides):
    """Whether two elements of the window may be the same memory."""
    reach = 1
    for s, n in sorted((s, n) for s, n in zip(strides, shape) if n > 1):
        if s < reach:
            return True
        reach += (n - 1) * s
    return False


def _window_of(g, x_spec, strides, offset, base_shape, base_strides):
    laid = g if tuple(g.stride()) == tuple(base_strides) else g._laid_out(base_strides)
    return laid.as_strided(x_spec.shape, strides, laid.storage_offset() + offset)


opaque("put_window", lambda a, k: Spec(k["base_shape"], dtype_of(a[0])), put_window, _window_of, family="memory", node="AsStridedBackwardBackward0", analytic=False)


def _place(g, key, shape):
    out = np.zeros(shape, g.dtype)
    out[key] = g
    return out


opaque("place", lambda a, k: Spec(k["shape"], dtype_of(a[0])), _place, lambda g, key: g[key], family="memory", node="SelectBackwardBackward0", analytic=False)
