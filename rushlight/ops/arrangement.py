"""Rows that join, repeat and reorder elements: cat, stack, flip, roll, repeat, and the transpose of unfold."""

from __future__ import annotations

import numpy as np

from rushlight.core.promotion import promote
from rushlight.core.shape import wrap_dim
from rushlight.ops.families import dtype_of, opaque
from rushlight.ops.op import Spec, row


def _common(args):
    dtype = dtype_of(args[0])
    for a in args[1:]:
        dtype = promote(dtype, dtype_of(a))
    return dtype


def _cat_spec(op, args, attrs):
    shapes = [a._data.shape for a in args]
    used = [(i, s) for i, s in enumerate(shapes) if s != (0,)] or [(0, shapes[0])]
    first = used[0][1]
    if not first:
        raise RuntimeError(f"zero-dimensional tensor (at position {used[0][0]}) cannot be concatenated")
    dim = wrap_dim(attrs["dim"], len(first))
    total = 0
    for i, s in used:
        if len(s) == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
        if len(s) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(s)}")
        for d, (n, m) in enumerate(zip(first, s)):
            if d != dim and n != m:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {n} but got size {m} for tensor number {i} in the list."
                )
        total += s[dim]
    dtype = _common(args)
    return Spec(first[:dim] + (total,) + first[dim + 1 :], dtype, dtype)


LAST = {4: (0, 2, 3, 1), 5: (0, 2, 3, 4, 1)}  # the order of dimensions in memory with the channels last


def _cat(*arrays, dim):
    used = [a for a in arrays if a.shape != (0,)] or [arrays[0]]
    order = LAST.get(used[0].ndim)
    if order and all(not a.flags.c_contiguous and a.transpose(order).flags.c_contiguous for a in used):  # channels last stays so
        return np.concatenate([a.transpose(order) for a in used], order.index(wrap_dim(dim, len(order)))).transpose(np.argsort(order))
    return np.ascontiguousarray(np.concatenate(used, axis=dim)) if len(used) > 1 else used[0].copy()


def _cat_piece(i):
    def formula(g, specs, dim):
        shapes = [s.shape for s in specs]
        if shapes[i] == (0,):
            return g.new_zeros((0,))
        dim = wrap_dim(dim, g.dim())
        start = sum(s[dim] for s in shapes[:i] if s != (0,))
        return g.narrow(dim, start, shapes[i][dim])

    return formula


def _stack_piece(i):
    return lambda g, dim: g.select(dim, i)


def _stack(*arrays, dim):
    """What cat gives, its dimension taken apart, so that images keep their channels last."""
    shape = arrays[0].shape
    if dim == len(shape) or shape == (0,):
        return np.ascontiguousarray(np.stack(arrays, dim))
    return _cat(*arrays, dim=dim).reshape(shape[:dim] + (len(arrays),) + shape[dim:])


def _stack_spec(op, args, attrs):
    shape, dim = args[0]._data.shape, attrs["dim"]
    dtype = _common(args)
    return Spec(shape[:dim] + (len(args),) + shape[dim:], dtype, dtype)


CAT = row("cat", "arrangement", _cat_spec, inputs=("*x",), numpy=_cat, grads=(_cat_piece,), analytic=False, apart=0)
STACK = row("stack", "arrangement", _stack_spec, inputs=("*x",), numpy=_stack, grads=(_stack_piece,), analytic=False, apart=0)


def _keep(args, attrs):
    return Spec(args[0]._data.shape, dtype_of(args[0]))


def _repeat_spec(args, attrs):
    shape, repeats = args[0]._data.shape, attrs["repeats"]
    shape = (1,) * (len(repeats) - len(shape)) + shape
    return Spec(tuple(n * r for n, r in zip(shape, repeats)), dtype_of(args[0]))


def _repeat_back(g, x_spec, repeats):
    """Each dimension split into (repeats, size) and summed over the first."""
    shape = (1,) * (len(repeats) - len(x_spec.shape)) + tuple(x_spec.shape)
    if 0 in repeats or 0 in shape:
        return g.new_zeros(x_spec.shape)
    g = g.reshape([m for n, r in zip(shape, repeats) for m in (r, n)])
    return g.sum(list(range(0, 2 * len(repeats), 2))).reshape(x_spec.shape)


def _unfold_backward(g, shape, dim, size, step):
    out = np.zeros(shape, g.dtype)
    for k in range(size):
        window = [slice(None)] * len(shape)
        window[dim] = slice(k, k + (g.shape[dim] - 1) * step + 1, step)
        out[tuple(window)] += g[..., k]
    return out


# fmt: off
opaque("flip",   _keep, lambda x, axes: np.flip(x, axes) if axes and x.ndim else x, lambda g, axes: g.flip(axes), family="arrangement", analytic=False)
opaque("roll",   _keep, lambda x, shifts, axes: np.roll(x, shifts, axes) if axes else np.roll(x, shifts[0]), lambda g, shifts, axes: g.roll([-s for s in shifts], list(axes)), family="arrangement", analytic=False)
opaque("repeat", _repeat_spec, lambda x, repeats: np.tile(x, repeats), _repeat_back, family="arrangement", analytic=False)
opaque("unfold_backward", lambda a, k: Spec(k["shape"], dtype_of(a[0])), _unfold_backward, lambda g, dim, size, step: g.unfold(dim, size, step), family="arrangement", analytic=False)
# fmt: on
