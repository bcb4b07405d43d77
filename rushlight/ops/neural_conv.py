"""Convolution rows, and the sliding windows that they are made of.

Three rows are closed under differentiation. With C(x, w) the convolution, T(g, w) its adjoint in x
(the transposed convolution) and W(g, x) its adjoint in w,

    <g, C(x, w)> = <T(g, w), x> = <W(g, x), w>,

so the gradients of T are C and W, and those of W are C and T. Each has one product of matrices over
columns of windows (im2col), laid out as (groups, channels * window, samples * places) so that BLAS
gets one large product for a block of samples; blocks keep the columns within the cache. Depthwise
convolutions are a sum over the places of the window instead.

Attributes: `stride`, `padding`, `dilation` are tuples, one number a spatial dimension; `size` is
the spatial size of the result (of T: the input's, of W: the window's).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from rushlight.ops.neural_base import Spec, as_it_is, dtype_of, neural, type_name

_BLOCK = 1 << 20  # elements of columns at a time


def out_length(n, k, s, p, d):
    """How many windows fit."""
    return (n + 2 * p - d * (k - 1) - 1) // s + 1


def padded(x, padding, value=0):
    """x with its last dimensions padded on both sides; itself without padding."""
    if not any(padding):
        return x
    lead = x.ndim - len(padding)
    out = np.empty(
        x.shape[:lead] + tuple(n + 2 * p for n, p in zip(x.shape[lead:], padding)), x.dtype
    )
    out.fill(value)
    out[(..., *(slice(p, p + n) for n, p in zip(x.shape[lead:], padding)))] = x
    return out


def windows(x, kernel, stride, dilation, places):
    """A view (*lead, *kernel, *places) of the windows over the last dimensions of a padded x."""
    n = len(kernel)
    steps = x.strides[-n:]
    strides = (
        x.strides[:-n]
        + tuple(s * d for s, d in zip(steps, dilation))
        + tuple(s * t for s, t in zip(steps, stride))
    )
    return np.lib.stride_tricks.as_strided(x, x.shape[:-n] + tuple(kernel) + tuple(places), strides)


def offsets(kernel, stride, dilation, places):
    """For each place of the window: its index, and the slices of the padded input that it reads."""
    for index in itertools.product(*map(range, kernel)):
        yield (
            index,
            tuple(
                slice(i * d, i * d + (m - 1) * s + 1, s)
                for i, d, s, m in zip(index, dilation, stride, places)
            ),
        )


def _pointwise(kernel, stride, padding):
    return all(k == 1 for k in kernel) and all(s == 1 for s in stride) and not any(padding)


def _blocks(samples, per_sample):
    step = max(1, _BLOCK // max(per_sample, 1))
    return [(i, min(i + step, samples)) for i in range(0, samples, step)]


def _columns(x, groups, kernel, stride, dilation, places):
    """The windows of padded samples x as matrices (groups, channels * window, samples * places)."""
    n, c = x.shape[:2]
    view = np.moveaxis(
        windows(x, kernel, stride, dilation, places), 0, 1 + len(kernel)
    )  # (C, *kernel, N, *places)
    return view.reshape(groups, c // groups * math.prod(kernel), n * math.prod(places))


def _rows(g, groups):
    """Samples (N, O, *places) as matrices (groups, O / groups, N * places)."""
    n, o = g.shape[:2]
    if n == 1:
        return g.reshape(groups, o // groups, -1)
    return g.reshape(n, o, -1).swapaxes(0, 1).reshape(groups, o // groups, -1)


def _product(a, b):
    """Batched a @ b; a plain product where the batch is one."""
    return a[0].dot(b[0])[None] if len(a) == 1 else np.matmul(a, b)


def _add_bias(out, b):
    if b is not None:
        out += b.reshape((-1,) + (1,) * (out.ndim - 2))
    return out


def conv(x, w, b, stride, padding, dilation, groups, places=None):
    """(N, C, *size) with weights (O, C / groups, *kernel) to (N, O, *places);
    the last places may be left out.
    """
    n, o, kernel = x.shape[0], w.shape[0], w.shape[2:]
    places = places or tuple(map(out_length, x.shape[2:], kernel, stride, padding, dilation))
    out = np.empty((n, o, *places), np.result_type(x, w))
    if not out.size:
        return out
    if not x.size or not w.size:
        out.fill(0)
        return _add_bias(out, b)
    if _pointwise(kernel, stride, padding) and groups == 1 and places == x.shape[2:]:
        np.matmul(w.reshape(o, -1), x.reshape(n, x.shape[1], -1), out=out.reshape(n, o, -1))
        return _add_bias(out, b)
    x = padded(x, padding)
    if w.shape[1] == 1 and groups > 1:
        return _add_bias(_depthwise(x, w, out, stride, dilation, groups, places), b)
    matrix = w.reshape(groups, o // groups, -1)
    for i, j in _blocks(n, x.shape[1] * math.prod(kernel) * math.prod(places)):
        columns = _columns(x[i:j], groups, kernel, stride, dilation, places)
        if j - i == 1:
            np.matmul(matrix, columns, out=out[i].reshape(groups, o // groups, -1))
        else:
            out[i:j] = _product(matrix, columns).reshape(o, j - i, *places).swapaxes(0, 1)
    return _add_bias(out, b)


def _depthwise(x, w, out, stride, dilation, groups, places):
    """One input channel a group: a sum over the places of the window."""
    n, o = out.shape[:2]
    x = x[:, :, None]
    out5 = out.reshape(n, groups, o // groups, *places)
    w = w.reshape(groups, o // groups, *w.shape[2:])
    first = True
    for index, key in offsets(w.shape[2:], stride, dilation, places):
        factor = w[(slice(None), slice(None), *index)].reshape(
            (groups, o // groups) + (1,) * len(places)
        )
        if first:
            np.multiply(x[(..., *key)], factor, out=out5)
            first = False
        else:
            out5 += x[(..., *key)] * factor
    return out


def accumulate(out, key, part, step):
    """out[key] += part, where a half type rounds the part and the sum."""
    if step is as_it_is:
        out[key] += part
    else:
        out[key] = step(out[key] + step(part))


def _depthwise_adjoint(x, w, out, stride, dilation, groups, places, step):
    """Add to `out` (N, groups, ...) what each group's result channels read of it."""
    n, o = x.shape[:2]
    x = x.reshape(n, groups, o // groups, *places)
    w = w.reshape(groups, o // groups, *w.shape[2:])
    for index, key in offsets(w.shape[2:], stride, dilation, places):
        part = x * w[(slice(None), slice(None), *index)].reshape(
            (groups, o // groups) + (1,) * len(places)
        )
        part = part[:, :, 0] if o == groups else np.add.reduce(part, axis=2)
        accumulate(out, (..., *key), part, step)


def conv_transpose(x, w, b, stride, padding, dilation, groups, size, step):
    """(N, O, *places) with weights (O, C / groups, *kernel) to (N, C, *size):
    the adjoint of conv in its input.

    Half types round the columns and every sum of two of them.
    """
    n, o, places, kernel = x.shape[0], w.shape[0], x.shape[2:], w.shape[2:]
    c = w.shape[1] * groups
    full = tuple(
        max(m + 2 * p, (l - 1) * s + d * (k - 1) + 1)
        for m, p, l, s, d, k in zip(size, padding, places, stride, dilation, kernel)
    )
    inside = (..., *(slice(p, p + m) for p, m in zip(padding, size)))
    if not x.size or not w.size:
        return _add_bias(np.zeros((n, c, *size), np.result_type(x, w)), b)
    matrix = w.reshape(groups, o // groups, -1).swapaxes(1, 2)
    if _pointwise(kernel, stride, padding) and groups == 1:
        out = np.empty((n, c, *size), np.result_type(x, w))
        np.matmul(matrix[0], x.reshape(n, o, -1), out=out.reshape(n, c, -1))
        return _add_bias(step(out), b)
    out = np.zeros((n, c, *full), np.result_type(x, w))
    if w.shape[1] == 1 and groups > 1:
        _depthwise_adjoint(x, w, out, stride, dilation, groups, places, step)
        n = 0
    for i, j in _blocks(n, c * math.prod(kernel) * math.prod(places)):
        columns = _product(matrix, _rows(x[i:j], groups)).reshape(c, *kernel, j - i, *places)
        block = out[i:j].swapaxes(0, 1)
        for index, key in offsets(kernel, stride, dilation, places):
            accumulate(block, (..., *key), columns[(slice(None), *index)], step)
    if any(padding) or full != tuple(size):
        out = np.ascontiguousarray(out[inside])
    return _add_bias(step(out), b)


def conv_weight(g, x, stride, padding, dilation, groups, size, step):
    """The adjoint of conv in its weights, from g (N, O, *places) and x (N, C, *size):
    (O, C / groups, *kernel). Half types round the sum after each sample.
    """
    n, o, places = g.shape[0], g.shape[1], g.shape[2:]
    cg = x.shape[1] // groups
    dtype = np.result_type(g, x)
    if not g.size or not x.size:
        return np.zeros((o, cg, *size), dtype)
    x = padded(x, padding)
    one_by_one = step is not as_it_is
    if cg == 1 and groups > 1 and not one_by_one:
        out = np.empty((o, 1, *size), dtype)
        x = np.repeat(x, o // groups, 1) if o != groups else x
        for index, key in offsets(size, stride, dilation, places):
            part = g * x[(..., *key)]
            out[(slice(None), 0, *index)] = np.add.reduce(
                np.add.reduce(part.reshape(n, o, -1), axis=2), axis=0
            )
        return out
    total = None
    each = x.shape[1] * math.prod(size) * math.prod(places)
    for i, j in _blocks(n, _BLOCK if one_by_one else each):
        columns = _columns(x[i:j], groups, size, stride, dilation, places)
        part = _product(_rows(g[i:j], groups), columns.swapaxes(1, 2))
        total = part if total is None else np.add(total, part, out=total)
        if one_by_one:
            total = step(total)
    out = np.empty((o, cg, *size), dtype)
    out[...] = total.reshape(out.shape)
    return out


# ---- shapes --------------------------------------------------------------------------------------


def _conv_spec(op, args, attrs):
    x, w = args[0]._data.shape, args[1]._data.shape
    places = attrs.get("places") or tuple(
        map(out_length, x[2:], w[2:], attrs["stride"], attrs["padding"], attrs["dilation"])
    )
    return Spec((x[0], w[0], *places), dtype_of(args[0]))


def _transpose_spec(op, args, attrs):
    return Spec(
        (args[0]._data.shape[0], args[1]._data.shape[1] * attrs["groups"], *attrs["size"]),
        dtype_of(args[0]),
    )


def _weight_spec(op, args, attrs):
    return Spec(
        (args[0]._data.shape[1], args[1]._data.shape[1] // attrs["groups"], *attrs["size"]),
        dtype_of(args[0]),
    )


def _geometry(stride, padding, dilation, groups):
    return {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def _conv_x(g, w, x_spec, stride, padding, dilation, groups):
    return g._fused(
        "conv_transpose",
        w,
        None,
        size=tuple(x_spec.shape[2:]),
        **_geometry(stride, padding, dilation, groups),
    )


def _conv_w(g, x, w_spec, stride, padding, dilation, groups):
    return g._fused(
        "conv_weight",
        x,
        size=tuple(w_spec.shape[2:]),
        **_geometry(stride, padding, dilation, groups),
    )


def _bias(g):
    return g.sum([0, *range(2, g.dim())])


def _transpose_x(g, w, x_spec, stride, padding, dilation, groups):
    return g._fused(
        "conv",
        w,
        None,
        places=tuple(x_spec.shape[2:]),
        **_geometry(stride, padding, dilation, groups),
    )


def _transpose_w(g, x, w_spec, stride, padding, dilation, groups):
    return x._fused(
        "conv_weight",
        g,
        size=tuple(w_spec.shape[2:]),
        **_geometry(stride, padding, dilation, groups),
    )


def _weight_g(h, x, g_spec, stride, padding, dilation, groups):
    return x._fused(
        "conv",
        h,
        None,
        places=tuple(g_spec.shape[2:]),
        **_geometry(stride, padding, dilation, groups),
    )


def _weight_x(h, g, x_spec, stride, padding, dilation, groups):
    return g._fused(
        "conv_transpose",
        h,
        None,
        size=tuple(x_spec.shape[2:]),
        **_geometry(stride, padding, dilation, groups),
    )


# ---- columns as public ops -----------------------------------------------------------------------


def _places(size, kernel, stride, padding, dilation):
    return tuple(map(out_length, size, kernel, stride, padding, dilation))


def im2col(x, kernel, stride, padding, dilation):
    """(N, C, H, W) to (N, C * window, places)."""
    n, c = x.shape[:2]
    places = _places(x.shape[2:], kernel, stride, padding, dilation)
    out = np.empty((n, c * math.prod(kernel), math.prod(places)), x.dtype)
    out.reshape(n, c, *kernel, *places)[...] = windows(
        padded(x, padding), kernel, stride, dilation, places
    )
    return out


def col2im(x, size, kernel, stride, padding, dilation, step):
    """(N, C * window, places) to (N, C, H, W): overlapping windows are summed."""
    n, c = x.shape[0], x.shape[1] // math.prod(kernel)
    places = _places(size, kernel, stride, padding, dilation)
    x = x.reshape(n, c, *kernel, *places)
    out = np.zeros((n, c, *(m + 2 * p for m, p in zip(size, padding))), x.dtype)
    for index, key in offsets(kernel, stride, dilation, places):
        accumulate(out, (..., *key), x[(slice(None), slice(None), *index)], step)
    return np.ascontiguousarray(out[(..., *(slice(p, p + m) for p, m in zip(padding, size)))])


def _im2col_spec(op, args, attrs):
    n, c, *size = args[0]._data.shape
    places = _places(size, attrs["kernel"], attrs["stride"], attrs["padding"], attrs["dilation"])
    return Spec((n, c * math.prod(attrs["kernel"]), math.prod(places)), dtype_of(args[0]))


def _col2im_spec(op, args, attrs):
    n, c = args[0]._data.shape[:2]
    return Spec((n, c // math.prod(attrs["kernel"]), *attrs["size"]), dtype_of(args[0]))


def _im2col_back(g, x_spec, kernel, stride, padding, dilation):
    return g._fused(
        "col2im",
        size=tuple(x_spec.shape[2:]),
        kernel=kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
    )


def _col2im_back(g, kernel, stride, padding, dilation):
    return g._fused("im2col", kernel=kernel, stride=stride, padding=padding, dilation=dilation)


# fmt: off
neural("conv",           _conv_spec,      conv,           _conv_x, _conv_w, _bias,           inputs=("x", "w", "b"), optional=("b",), node="ConvolutionBackward0", dtypes="bifc", autocast="lower")
neural("conv_transpose", _transpose_spec, conv_transpose, _transpose_x, _transpose_w, _bias, inputs=("x", "w", "b"), optional=("b",), node="ConvolutionBackward0", dtypes="bifc", autocast="lower")
neural("conv_weight",    _weight_spec,    conv_weight,    _weight_g, _weight_x,              inputs=("g", "x"), node="ConvolutionBackwardBackward0", dtypes="bifc")
neural("im2col",         _im2col_spec,    im2col,         _im2col_back, node="Im2ColBackward0", dtypes="bfc")
neural("col2im",         _col2im_spec,    col2im,         _col2im_back, node="Col2ImBackward0", dtypes="bfc")
# fmt: on

__all__ = [
    "col2im",
    "conv",
    "conv_transpose",
    "conv_weight",
    "im2col",
    "offsets",
    "out_length",
    "padded",
    "type_name",
    "windows",
]
