"""The view rows: pure algebra on layouts. A row's NumPy reading must return memory of its input.

Attributes are normalised before they get here (non-negative dimensions, resolved shapes), so that the formulas and the
readings need no checks. Gradients are the transposed views, or `place`/`put_window` where a view reads only a part.
"""

from __future__ import annotations

import numpy as np

from rushlight.core.shape import view_strides
from rushlight.core.window import element_strides
from rushlight.ops.families import view


def _inverse(order):
    out = [0] * len(order)
    for i, d in enumerate(order):
        out[d] = i
    return tuple(out)


def reshaped(x, shape):
    """x with another shape over the same memory; the caller has checked that this needs no copy."""
    if x.flags.c_contiguous:
        return x.reshape(shape)
    strides = view_strides(x.shape, element_strides(x), shape)
    return np.lib.stride_tricks.as_strided(x, shape, tuple(s * x.itemsize for s in strides))


def strided(x, shape, strides):
    """A window that starts where x starts; strides in elements."""
    size = x.itemsize
    steps = tuple([s * size for s in strides])
    if x.flags.c_contiguous and x.size:  # the plain constructor is ten times cheaper than as_strided
        return np.ndarray(shape, x.dtype, x, 0, steps)
    return np.lib.stride_tricks.as_strided(x, shape, steps)


def unsqueezed(x, dim):
    """x with a dimension of size 1, whose stride is what it would be if the dimension had more elements."""
    shape = x.shape[:dim] + (1,) + x.shape[dim:]
    if x.flags.c_contiguous and x.size:
        return x.reshape(shape)
    step = max(x.shape[dim], 1) * x.strides[dim] if dim < x.ndim else x.itemsize
    return np.lib.stride_tricks.as_strided(x, shape, x.strides[:dim] + (step,) + x.strides[dim:])


def indexed(x, key):
    """x[key] for a basic key; new dimensions get strides (NumPy leaves them 0)."""
    x = x[key]
    return with_strides(x) if None in key else x


def with_strides(x):
    """x with strides for the dimensions of size 1 that have none."""
    strides = list(element_strides(x))
    for d in range(x.ndim - 1, -1, -1):
        if strides[d] == 0 and x.shape[d] == 1:
            strides[d] = x.shape[d + 1] * strides[d + 1] if d + 1 < x.ndim else 1
    return strided(x, x.shape, strides)


def _unfolded(x, dim, size, step):
    count = (x.shape[dim] - size) // step + 1
    shape = x.shape[:dim] + (count,) + x.shape[dim + 1 :] + (size,)
    strides = x.strides[:dim] + (x.strides[dim] * step,) + x.strides[dim + 1 :] + (x.strides[dim],)
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def _fold_back(g, x_spec, dim, size, step):
    return g._unfold_backward(x_spec.shape, dim, size, step)


def _diagonal_back(g, x_spec, offset, dim1, dim2):
    z = g.new_zeros(x_spec.shape)
    z.diagonal(offset, dim1, dim2).copy_(g)
    return z


def _diagonal(x, offset, dim1, dim2):
    """Without the read-only flag that NumPy sets."""
    start = (dim2, max(offset, 0)) if offset >= 0 else (dim1, -offset)
    count = max(0, min(x.shape[dim1] + min(offset, 0), x.shape[dim2] - max(offset, 0)))
    kept = [d for d in range(x.ndim) if d not in (dim1, dim2)]
    if count:
        x = x[tuple(slice(start[1], None) if d == start[0] else slice(None) for d in range(x.ndim))]
    shape = tuple(x.shape[d] for d in kept) + (count,)
    strides = tuple(x.strides[d] for d in kept) + (x.strides[dim1] + x.strides[dim2],)
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def _as_strided(x, shape, strides, offset, base):
    """A window on x's storage; `offset` counts from x's first element, `base` are x's own shape and strides."""
    size = x.itemsize
    if 0 in shape:
        return x.reshape(-1)[:0].reshape(shape) if x.flags.c_contiguous else np.empty(shape, x.dtype)
    if offset == 0:
        return np.lib.stride_tricks.as_strided(x, shape, tuple(s * size for s in strides))
    start = x[(slice(0, 1),) * x.ndim].reshape(1) if x.ndim else x.reshape(1)
    if offset > 0:
        start = np.lib.stride_tricks.as_strided(start, (offset + 1,), (size,))[offset:]
    else:  # before x: walk backwards, then forwards from there
        start = np.lib.stride_tricks.as_strided(start, (1 - offset,), (-size,))[-offset:]
    return np.lib.stride_tricks.as_strided(start, shape, tuple(s * size for s in strides))


def _as_strided_back(g, shape, strides, offset, base):
    return g._put_window(strides, offset, base)


# fmt: off
SELECT     = view("select",     indexed,                                 lambda g, key, x_spec: g._place(key, x_spec.shape))
SPLIT      = view("split",      lambda x, key: x[key],                                   lambda g, key, x_spec: g._place(key, x_spec.shape))
SPLIT_WITH_SIZES = view("split_with_sizes", lambda x, key: x[key],                       lambda g, key, x_spec: g._place(key, x_spec.shape))
UNBIND     = view("unbind",     indexed,                                 lambda g, key, x_spec: g._place(key, x_spec.shape))
SLICE      = view("slice",      indexed,                                 lambda g, key, x_spec: g._place(key, x_spec.shape))
NONE_INDEX = view("unsqueeze_index", indexed,                            lambda g, key, x_spec: g._place(key, x_spec.shape), node="UnsqueezeBackward0")
ALIAS_KEY  = view("alias_key",  lambda x, key: x[key],                                   lambda g, key, x_spec: g.reshape(x_spec.shape), node="AliasBackward0")
ALIAS      = view("alias",      lambda x: x[...],                                        lambda g: g)
VIEW       = view("view",       lambda x, shape: reshaped(x, shape),                     lambda g, x_spec: g.reshape(x_spec.shape))
RESHAPE_ALIAS = view("reshape_alias", lambda x, shape: reshaped(x, shape),               lambda g, x_spec: g.reshape(x_spec.shape))
UNSAFE     = view("unsafe_view", lambda x, shape: reshaped(x, shape),                    lambda g, x_spec: g.reshape(x_spec.shape))
TRANSPOSE  = view("transpose",  lambda x, dim0, dim1: x.swapaxes(dim0, dim1) if x.ndim else x[...], lambda g, dim0, dim1: g.transpose(dim0, dim1))
T          = view("t",          lambda x: x.T,                                           lambda g: g.t())
PERMUTE    = view("permute",    lambda x, order: x.transpose(order),                     lambda g, order: g.permute(_inverse(order)))
EXPAND     = view("expand",     lambda x, shape, strides: strided(x, shape, strides),    lambda g, x_spec: g.sum_to_size(x_spec.shape))
UNSQUEEZE  = view("unsqueeze",  unsqueezed,                   lambda g, dim: g.squeeze(dim))
SQUEEZE    = view("squeeze",    lambda x, shape: reshaped(x, shape),                     lambda g, x_spec: g.reshape(x_spec.shape))
SQUEEZE1   = view("squeeze_dim", lambda x, shape: reshaped(x, shape),                    lambda g, x_spec: g.reshape(x_spec.shape), node="SqueezeBackward1")
SQUEEZE2   = view("squeeze_dims", lambda x, shape: reshaped(x, shape),                   lambda g, x_spec: g.reshape(x_spec.shape), node="SqueezeBackward2")
DIAGONAL   = view("diagonal",   _diagonal,                                               _diagonal_back)
UNFOLD     = view("unfold",     _unfolded,                                               _fold_back)
AS_STRIDED = view("as_strided", _as_strided,                                             _as_strided_back)
REAL       = view("view_real",  lambda x: x.real,                                        lambda g: g.to(g.dtype.to_complex()), node="SelectBackward0", analytic=False)
IMAG       = view("view_imag",  lambda x: x.imag,                                        lambda g: g * 1j, node="SelectBackward0", analytic=False)
AS_REAL    = view("view_as_real", lambda x: x[..., None].view(x.real.dtype),             lambda g: g.contiguous()._as_complex(), analytic=False)
AS_COMPLEX = view("view_as_complex", lambda x: x.view(np.result_type(x.dtype, np.complex64))[..., 0], lambda g: g._as_real(), analytic=False)
VIEW_DTYPE = view("view_dtype", lambda x, dtype: x.view(dtype.np),                       None)
# fmt: on
