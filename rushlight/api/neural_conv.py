"""Linear maps, convolutions, and sliding windows as columns.

`linear` is the hot path of small models: for operands of one dtype it multiplies, adds and records
in this file, and leaves everything else, errors included, to dispatch.apply.
"""

from __future__ import annotations

from collections.abc import Iterable

from rushlight.api.neural_activation import tensor_argument
from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import next_sequence
from rushlight.bind import F32, F64, FUNCTIONS, function
from rushlight.dispatch import apply, node_of
from rushlight.ops.contractions import same_dtype
from rushlight.ops.neural_conv import out_length
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, edge

_new = object.__new__
_LINEAR, _LINEAR_BATCH = TABLE["linear"], TABLE["linear_batch"]
_PLAIN, _PLAIN_BATCH = TABLE["linear_plain"], TABLE["linear_plain_batch"]
_LINEAR_NODE, _PLAIN_NODE = node_of(_LINEAR), node_of(_PLAIN)
assert _LINEAR_NODE.names == _PLAIN_NODE.names == ("w", "x")


def linear(input, weight, bias=None):
    """input @ weight.T + bias: (..., in) with (out, in) and (out,) to (..., out)."""
    try:
        x, w = input._data, weight._data
        d = x.dtype
        if (
            x.ndim != 2
            or w.ndim != 2
            or d is not w.dtype
            or not (d is F32 or d is F64)
            or modes.diverted
        ):
            return _linear(input, weight, bias)
        out = x.dot(w.T)
        if bias is not None:
            b = bias._data
            if b.dtype is not d or b.ndim != 1 or b.shape[0] != out.shape[1]:
                return _linear(input, weight, bias)
            out += b
    except (AttributeError, ValueError):
        return _linear(input, weight, bias)
    t = _new(Tensor)
    t._data = out
    t._storage = t._node = t._grad = t._base = t._hooks = None
    t._rg = False
    t._hist = 0
    if not STATE.grad:
        return t
    ex = ew = eb = sx = sw = vx = vw = None
    if input._rg or input._base is not None:
        ex = edge(input)
    if weight._rg or weight._base is not None:
        ew = edge(weight)
    if bias is not None and (bias._rg or bias._base is not None):
        eb = edge(bias)
    if ex is None and ew is None and eb is None:
        return t
    if ex is not None:
        sw, vw = weight, 0 if weight._storage is None else weight._storage.version
    if ew is not None:
        sx, vx = input, 0 if input._storage is None else input._storage.version
    if bias is None:
        node = _new(_PLAIN_NODE)
        node.edges = (ex, ew)
    else:
        node = _new(_LINEAR_NODE)
        node.edges = (ex, ew, eb)
    node.saved, node.versions = (sw, sx), (vw, vx)
    node.specs = node.attrs = node.hooks = None
    node.result = (out.shape, d)
    node.seq = next_sequence()
    if STATE.saved_hooks:
        node.pack(STATE.saved_hooks[-1])
    t._node = node
    t._rg = True
    return t


def _linear(input, weight, bias):
    """The general path of linear."""
    tensor_argument("linear", "input", input)
    tensor_argument("linear", "weight", weight, 2)
    if weight._data.ndim == 1:
        if bias is not None and bias._data.ndim:
            raise RuntimeError(
                f"linear(): a 1-D weight takes no bias, or one of shape [] (got {list(bias.shape)})"
            )
        out = input.matmul(weight)
        return out if bias is None else out + bias
    if weight._data.ndim != 2:
        raise RuntimeError(
            f"t() expects a tensor with <= 2 dimensions, but self is {weight._data.ndim}D (linear "
            "takes weights of shape (out, in))"
        )
    batched = input._data.ndim != 2
    if bias is None:
        same_dtype(_PLAIN, input, weight)
        return apply(_PLAIN_BATCH if batched else _PLAIN, (input, weight))
    tensor_argument("linear", "bias", bias, 3)
    n = weight._data.shape[0]
    if bias._data.ndim > 1 or bias._data.size not in (1, n):
        raise RuntimeError(
            f"The expanded size of the tensor ({n}) must match the existing size "
            f"({bias._data.shape[-1]}) at non-singleton dimension 1 (bias of linear: shape "
            f"{list(bias.shape)})"
        )
    return apply(_LINEAR_BATCH if batched else _LINEAR, (input, weight, bias))


# ---- convolution ---------------------------------------------------------------------------------


def each(name, value, n):
    """`value` for each of n spatial dimensions: one number, or one or n in a sequence."""
    if value.__class__ is int:
        return (value,) * n
    if value.__class__ is tuple and len(value) == n and all([v.__class__ is int for v in value]):
        return value
    if not isinstance(value, Iterable):
        if not hasattr(value, "__index__"):
            raise TypeError(f"{name} must be int or a sequence of ints, not {type(value).__name__}")
        return (value.__index__(),) * n
    value = tuple(int(v) for v in value)
    if len(value) == 1:
        return value * n
    if len(value) != n:
        raise RuntimeError(
            f"expected {name} to be a single integer value or a list of {n} values to match the "
            f"convolution dimensions, but got {name}={list(value)}"
        )
    return value


def _same_type(name, x, w, b):
    if x.dtype is not w.dtype:
        raise RuntimeError(
            f"Input type ({x.type()}) and weight type ({w.type()}) should be the same ({name}: "
            f"write input.to({w.dtype}))"
        )
    if b is not None and b.dtype is not x.dtype:
        raise RuntimeError(
            f"Input type ({_c(x)}) and bias type ({_c(b)}) should be the same ({name})"
        )


def _c(x):
    return str(x.dtype)[6:].replace("float32", "float").replace("float64", "double")


def _check(name, x, w, b, stride, padding, dilation, groups, transposed):
    n = w._data.ndim - 2
    shape, kernel = x._data.shape, w._data.shape[2:]
    size = list(w._data.shape)
    if groups <= 0:
        raise RuntimeError(f"non-positive groups is not supported ({name}: groups={groups})")
    if any(p < 0 for p in padding):
        raise RuntimeError(f"negative padding is not supported ({name}: padding={list(padding)})")
    if any(s <= 0 for s in stride):
        raise RuntimeError(f"non-positive stride is not supported ({name}: stride={list(stride)})")
    if any(d <= 0 for d in dilation):
        raise RuntimeError(
            f"dilation should be greater than zero ({name}: dilation={list(dilation)})"
        )
    if size[0] < groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be at least {groups} at dimension 0, but "
            f"got weight of size {size} instead"
        )
    if size[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, expected weight to be divisible by {groups} at dimension 0, "
            f"but got weight of size {size} instead"
        )
    channels = size[0] if transposed else size[1] * groups
    if shape[1] != channels:
        kind = "transposed=1" if transposed else f"groups={groups}"
        raise RuntimeError(
            f"Given {kind}, weight of size {size}, expected input{list(shape)} to have {channels} "
            f"channels, but got {shape[1]} channels instead"
        )
    out = size[1] * groups if transposed else size[0]
    if b is not None and b._data.shape != (out,):
        kind = "transposed=1, " if transposed else ""
        raise RuntimeError(
            f"Given {kind}weight of size {size}, expected bias to be 1-dimensional with {out} "
            f"elements, but got bias of size {list(b.shape)} instead"
        )
    if not transposed:
        full = [m + 2 * p for m, p in zip(shape[2:], padding)]
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel)]
        if any(f < r for f, r in zip(full, reach)):
            raise RuntimeError(
                f"Calculated padded input size per channel: ({' x '.join(map(str, full))}). "
                f"Kernel size: ({' x '.join(map(str, reach))}). "
                "Kernel size can't be greater than actual input size"
            )
    if any(k == 0 for k in kernel):
        raise RuntimeError(
            "weight should have at least one element in each spatial dimension, got weight of "
            f"size {size}"
        )
    return n


def _batched(name, input, n):
    """The input with a batch, and whether it had one."""
    ndim = input._data.ndim
    if ndim not in (n + 1, n + 2):
        raise RuntimeError(
            f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input "
            f"of size: {list(input.shape)}"
        )
    return (input, True) if ndim == n + 2 else (input.unsqueeze(0), False)


def _arguments(name, input, weight, bias, n):
    tensor_argument(name, "input", input)
    tensor_argument(name, "weight", weight, 2)
    if bias is not None:
        tensor_argument(name, "bias", bias, 3)
    if weight._data.ndim != n + 2:
        raise RuntimeError(
            f"weight should have {n + 2} dimensions for {name}, but got weight of size "
            f"{list(weight.shape)}"
        )


def _conv(name, n):
    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        _arguments(name, input, weight, bias, n)
        x, batched = _batched(name, input, n)
        _same_type(name, x, weight, bias)
        stride, dilation = each("stride", stride, n), each("dilation", dilation, n)
        if isinstance(padding, str):
            x, padding = _named_padding(x, weight, padding, stride, dilation, n)
        else:
            padding = each("padding", padding, n)
        _check(name, x, weight, bias, stride, padding, dilation, groups, False)
        attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        out = apply(TABLE["conv"], (x, weight, bias), attrs)
        return out if batched else out.squeeze(0)

    conv.__name__ = conv.__qualname__ = name
    conv.__doc__ = (
        f"The convolution (cross-correlation) of {n} spatial dimension(s): (N, C, *size) or (C, "
        "*size) with weights (O, C / groups, *kernel).\n\n"
        '`padding` is a number, one a dimension, "valid" (none) or "same" (keeps the size; '
        "stride 1 only)."
    )
    return function(conv)


def _named_padding(x, weight, padding, stride, dilation, n):
    """The padding that a name stands for; an odd one is put on the far side first."""
    if padding == "valid":
        return x, (0,) * n
    if padding != "same":
        raise RuntimeError(f"Invalid padding string: '{padding}' (choose 'valid' or 'same')")
    if any(s != 1 for s in stride):
        raise RuntimeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) for d, k in zip(dilation, weight._data.shape[2:])]
    if any(t % 2 for t in total):
        x = FUNCTIONS["constant_pad_nd"](x, [p for t in reversed(total) for p in (0, t % 2)], 0)
    return x, tuple(t // 2 for t in total)


def _conv_transpose(name, n):
    def conv_transpose(
        input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
    ):
        _arguments(name, input, weight, bias, n)
        x, batched = _batched(name, input, n)
        _same_type(name, x, weight, bias)
        stride, padding, dilation = (
            each("stride", stride, n),
            each("padding", padding, n),
            each("dilation", dilation, n),
        )
        extra = each("output_padding", output_padding, n)
        if any(e < 0 for e in extra):
            raise RuntimeError(
                f"negative output_padding is not supported ({name}: output_padding={list(extra)})"
            )
        if any(e >= s and e >= d for e, s, d in zip(extra, stride, dilation)):
            raise RuntimeError(
                "output padding must be smaller than either stride or dilation, but got "
                f"output_padding: {list(extra)} stride: {list(stride)} dilation: {list(dilation)}"
            )
        _check(name, x, weight, bias, stride, padding, dilation, groups, True)
        size = tuple(
            (m - 1) * s - 2 * p + d * (k - 1) + e + 1
            for m, s, p, d, k, e in zip(
                x._data.shape[2:], stride, padding, dilation, weight._data.shape[2:], extra
            )
        )
        if any(m <= 0 for m in size):
            raise RuntimeError(
                f"Given input size per channel: {list(x._data.shape[2:])}. Calculated output size "
                f"per channel: {list(size)}. Output size is too small"
            )
        attrs = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "size": size,
        }
        out = apply(TABLE["conv_transpose"], (x, weight, bias), attrs)
        return out if batched else out.squeeze(0)

    conv_transpose.__name__ = conv_transpose.__qualname__ = name
    conv_transpose.__doc__ = (
        f"The adjoint of the convolution of {n} spatial dimension(s): (N, C, *size) with weights "
        "(C, O / groups, *kernel).\n\n"
        "`output_padding` adds to one side of the result, where several input sizes give one "
        "output size."
    )
    return function(conv_transpose)


conv1d, conv2d, conv3d = (_conv(f"conv{n}d", n) for n in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (
    _conv_transpose(f"conv_transpose{n}d", n) for n in (1, 2, 3)
)


@function
def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    """The convolution, or its adjoint where `transposed`, of any number of spatial dimensions."""
    n = weight.dim() - 2
    if transposed:
        return (conv_transpose1d, conv_transpose2d, conv_transpose3d)[n - 1](
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )
    return (conv1d, conv2d, conv3d)[n - 1](input, weight, bias, stride, padding, dilation, groups)


@function
def conv_tbc(input, weight, bias, pad=0):
    """conv1d over (time, batch, channels) with weights (kernel, in, out)."""
    for name, x, n in (("input", input, 3), ("weight", weight, 3), ("bias", bias, 1)):
        if x._data.ndim != n:
            raise RuntimeError(
                f"{name.capitalize()} must have {n} dims: "
                + (
                    "time, batch, in_channel"
                    if name == "input"
                    else "kernel_width, in_channels, out_channels."
                    if name == "weight"
                    else f"{name} must be {n}-D"
                )
            )
    if input.shape[2] != weight.shape[1]:
        raise RuntimeError("Input dim 2 (input channels) is not == dim 1 in the weight tensor.")
    if bias.shape[0] != weight.shape[2]:
        raise RuntimeError("Bias size must equal dim 2 in the weight tensor (output channels).")
    return conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, pad).permute(2, 0, 1)


# ---- columns -------------------------------------------------------------------------------------


def _windows(kernel_size, dilation, padding, stride):
    kernel, dilation = each("kernel_size", kernel_size, 2), each("dilation", dilation, 2)
    padding, stride = each("padding", padding, 2), each("stride", stride, 2)
    for name, value, least in (
        ("kernel_size", kernel, 1),
        ("dilation", dilation, 1),
        ("padding", padding, 0),
        ("stride", stride, 1),
    ):
        if min(value) < least:
            what = "non-negative" if least == 0 else "greater than zero"
            raise RuntimeError(
                f"{name} should be {what}, but got {name}_height: {value[0]} {name}_width: "
                f"{value[1]}"
            )
    return {"kernel": kernel, "dilation": dilation, "padding": padding, "stride": stride}


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """The windows of (N, C, H, W) or (C, H, W) as columns (N, C * window, places)."""
    shape = tensor_argument("im2col", "input", input)._data.shape
    attrs = _windows(kernel_size, dilation, padding, stride)
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        kind = IndexError if len(shape) < 3 else RuntimeError
        raise kind(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {list(shape)}"
        )
    places = [
        out_length(n, *v)
        for n, v in zip(
            shape[-2:], zip(attrs["kernel"], attrs["stride"], attrs["padding"], attrs["dilation"])
        )
    ]
    if min(places) < 1:
        raise RuntimeError(
            f"Given input with spatial size {tuple(shape[-2:])}, kernel_size={attrs['kernel']}, "
            f"dilation={attrs['dilation']}, padding={attrs['padding']}, "
            f"stride={attrs['stride']}, calculated shape of the array of sliding blocks as "
            f"{tuple(places)}, but its components must be at least one."
        )
    if len(shape) == 4:
        return apply(TABLE["im2col"], (input,), attrs)
    return apply(TABLE["im2col"], (input.unsqueeze(0),), attrs).squeeze(0)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns (N, C * window, places) or (C * window, places) summed into (N, C, *output_size):
    the adjoint of unfold.
    """
    shape = tensor_argument("col2im", "input", input)._data.shape
    attrs = {
        "size": each("output_size", output_size, 2),
        **_windows(kernel_size, dilation, padding, stride),
    }
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and "
            f"non-zero dimensions for input, but got: {list(shape)}"
        )
    window = attrs["kernel"][0] * attrs["kernel"][1]
    if shape[-2] % window:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, "
            f"but got input.size(1)={shape[-2]} and kernel_size={attrs['kernel']}."
        )
    places = [
        out_length(n, *v)
        for n, v in zip(
            attrs["size"],
            zip(attrs["kernel"], attrs["stride"], attrs["padding"], attrs["dilation"]),
        )
    ]
    if min(places) < 1 or places[0] * places[1] != shape[-1]:
        raise RuntimeError(
            f"Given output_size={attrs['size']}, kernel_size={attrs['kernel']}, "
            f"dilation={attrs['dilation']}, padding={attrs['padding']}, stride={attrs['stride']}, "
            "expected size of input's dimension 2 to match the calculated number of sliding "
            f"blocks {places[0]} * {places[1]} = {places[0] * places[1]}, "
            f"but got input.size(2)={shape[-1]}."
        )
    if len(shape) == 3:
        return apply(TABLE["col2im"], (input,), attrs)
    return apply(TABLE["col2im"], (input.unsqueeze(0),), attrs).squeeze(0)
