"""Convolution layers, their transposes, and the lazy form of both.

Mechanism: _ConvNd holds and draws the parameters and checks the arguments for any number of
dimensions; the classes for 1, 2 and 3 dimensions only name their function and turn numbers into
tuples. A padding mode other than zeros pads first.

Invariants: the weight is (out, in / groups, *kernel), transposed (in, out / groups, *kernel); it is
drawn before the bias, both from U(-k, k) with k = 1 / sqrt(in / groups * prod(kernel)).
"""

import math
import warnings

import rushlight

from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module
from .utils import _ntuple, _reverse_repeat_tuple


class _ConvNd(Module):
    """Parameters and arguments of a convolution of any number of spatial dimensions."""

    __constants__ = [
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        "output_padding",
        "in_channels",
        "out_channels",
        "kernel_size",
    ]

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding,
        dilation,
        transposed,
        output_padding,
        groups,
        bias,
        padding_mode,
        device=None,
        dtype=None,
    ):
        super().__init__()
        _check_arguments(in_channels, out_channels, stride, padding, groups, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        # in the order that functional.pad wants: last dimension first, before and after
        self._reversed_padding_repeated_twice = _padding_for_pad(padding, dilation, kernel_size)
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        self.weight = Parameter(
            rushlight.empty((first, second // groups, *kernel_size), device=device, dtype=dtype)
        )
        if bias:
            self.bias = Parameter(rushlight.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw weight, then bias, from U(-k, k) with k = 1 / sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self):
        zeros, ones = (0,) * len(self.padding), (1,) * len(self.dilation)
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        ]
        if self.padding != zeros:
            parts.append(f"padding={self.padding}")
        if self.dilation != ones:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != (0,) * len(self.output_padding):
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)

    def __setstate__(self, state):
        super().__setstate__(state)
        if not hasattr(self, "padding_mode"):
            self.padding_mode = "zeros"

    def _conv_forward(self, input, weight, bias):
        if self.padding_mode == "zeros":
            return self._convolution(
                input, weight, bias, self.stride, self.padding, self.dilation, self.groups
            )
        padded = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
        return self._convolution(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def _check_arguments(in_channels, out_channels, stride, padding, groups, padding_mode):
    if groups <= 0:
        raise ValueError(f"groups must be a positive integer, but got groups={groups}")
    for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
        if channels % groups != 0:
            raise ValueError(
                f"{name} must be divisible by groups, but got {name}={channels} and groups={groups}"
            )
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(
                f"Invalid padding string {padding!r}, should be one of 'valid', 'same'"
            )
        if padding == "same" and any(step != 1 for step in stride):
            raise ValueError("padding='same' is not supported for strided convolutions")
    if padding_mode not in _PADDING_MODES:
        raise ValueError(
            f"padding_mode must be one of {set(_PADDING_MODES)}, but got padding_mode="
            f"{padding_mode!r}"
        )


def _padding_for_pad(padding, dilation, kernel_size):
    """The padding in functional.pad's order; an uneven "same" padding has its odd place behind."""
    if padding == "valid":
        return [0, 0] * len(kernel_size)
    if padding != "same":
        return _reverse_repeat_tuple(padding, 2)
    out = []
    for step, size in reversed(list(zip(dilation, kernel_size))):
        total = step * (size - 1)
        out += [total // 2, total - total // 2]
    return out


_CONV_DOC = """Cross-correlation over {n} spatial dimension(s): `y_o = b_o + sum_i w_oi * x_i`.

    Shape: (N, in_channels, *) or (in_channels, *) to the same with out_channels and lengths
    `(length + 2 * padding - dilation * (kernel_size - 1) - 1) / stride + 1`, rounded down.

    Args:
        in_channels, out_channels: channels before and after; both multiples of groups.
        kernel_size, stride, padding, dilation: a number or one for each dimension; padding may also
            be "valid" (none) or
            "same" (keeps the length, stride 1).
        groups: each group of inputs is seen by its group of outputs only.
        bias: add a learned bias.
        padding_mode: zeros, reflect, replicate or circular.

    Attributes: weight (out_channels, in_channels / groups, *kernel_size), bias (out_channels,),
    drawn from U(-k, k),
    k = 1 / sqrt(in_channels / groups * prod(kernel_size)).
    Raises ValueError for groups, paddings and modes that do not fit.
    """

_CONV_TRANSPOSE_DOC = """The gradient of Conv{n}d as a layer; also called deconvolution.

    Shape: (N, in_channels, *) or (in_channels, *) to the same with out_channels and lengths
    `(length - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1`.

    Args:
        in_channels, out_channels: channels before and after; both multiples of groups.
        kernel_size, stride, dilation: a number or one for each dimension.
        padding: how much the result is cut on both sides.
        output_padding: how much longer one side becomes, where a stride leaves several lengths.
        groups, bias: as in Conv{n}d.
        padding_mode: only zeros.

    Attributes: weight (in_channels, out_channels / groups, *kernel_size), bias (out_channels,).
    `forward(input, output_size=None)` may be given the length instead of output_padding.
    Source: Zeiler et al., Deconvolutional Networks (2010).
    """


class _ConvXd(_ConvNd):
    """What Conv1d, Conv2d and Conv3d share; `_n` is the number of dimensions."""

    def _setup(self, in_channels, out_channels, kernel_size, stride, padding, dilation, *rest):
        ntuple = _ntuple(self._n)
        super().__init__(
            in_channels,
            out_channels,
            ntuple(kernel_size),
            ntuple(stride),
            padding if isinstance(padding, str) else ntuple(padding),
            ntuple(dilation),
            False,
            ntuple(0),
            *rest,
        )

    def forward(self, input):
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_ConvXd):
    __doc__ = _CONV_DOC.format(n=1)
    _n = 1
    _convolution = staticmethod(F.conv1d)

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        sizes = (kernel_size, stride, padding, dilation)
        self._setup(in_channels, out_channels, *sizes, groups, bias, padding_mode, device, dtype)


class Conv2d(_ConvXd):
    __doc__ = _CONV_DOC.format(n=2)
    _n = 2
    _convolution = staticmethod(F.conv2d)

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        sizes = (kernel_size, stride, padding, dilation)
        self._setup(in_channels, out_channels, *sizes, groups, bias, padding_mode, device, dtype)


class Conv3d(_ConvXd):
    __doc__ = _CONV_DOC.format(n=3)
    _n = 3
    _convolution = staticmethod(F.conv3d)

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups=1,
        bias=True,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        sizes = (kernel_size, stride, padding, dilation)
        self._setup(in_channels, out_channels, *sizes, groups, bias, padding_mode, device, dtype)


class _ConvTransposeNd(_ConvNd):
    """What the transposed convolutions add: zeros only, and an output size that may be asked
    for."""

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding,
        dilation,
        transposed,
        output_padding,
        groups,
        bias,
        padding_mode,
        device=None,
        dtype=None,
    ):
        if padding_mode != "zeros":
            raise ValueError(
                f'Only "zeros" padding mode is supported for {type(self).__name__}, but got '
                f"{padding_mode!r}"
            )
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            transposed,
            output_padding,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )

    def _output_padding(
        self,
        input,
        output_size,
        stride,
        padding,
        kernel_size,
        num_spatial_dims,
        dilation=None,
    ):
        """The output padding that gives `output_size`, or the layer's own if that is None."""
        n = num_spatial_dims
        if output_size is None:
            return _ntuple(n)(self.output_padding)
        wanted = tuple(output_size)
        if input.dim() == n + 2 and len(wanted) == n + 2:
            wanted = wanted[2:]
        elif input.dim() == n + 1 and len(wanted) == n + 1:
            wanted = wanted[1:]
        if len(wanted) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or "
                f"{input.dim()} elements (got {len(wanted)})"
            )
        own = input.size()[-n:]
        spread = (1,) * n if dilation is None else dilation
        least = [
            (own[d] - 1) * stride[d] - 2 * padding[d] + spread[d] * (kernel_size[d] - 1) + 1
            for d in range(n)
        ]
        most = [size + step - 1 for size, step in zip(least, stride)]
        for size, low, high in zip(wanted, least, most):
            if not low <= size <= high:
                raise ValueError(
                    f"requested an output size of {wanted}, but valid sizes range from {least} to "
                    f"{most} (for an input of {own})"
                )
        return tuple(size - low for size, low in zip(wanted, least))


class _ConvTransposeXd(_ConvTransposeNd):
    """What ConvTranspose1d, 2d and 3d share; `_n` is the number of dimensions."""

    def _setup(self, in_channels, out_channels, sizes, output_padding, *rest):
        ntuple = _ntuple(self._n)
        kernel_size, stride, padding, dilation = map(ntuple, sizes)
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            True,
            ntuple(output_padding),
            *rest,
        )

    def forward(self, input, output_size=None):
        if self.padding_mode != "zeros":
            raise ValueError(f"Only `zeros` padding mode is supported for {type(self).__name__}")
        output_padding = self._output_padding(
            input,
            output_size,
            self.stride,
            self.padding,
            self.kernel_size,
            self._n,
            self.dilation,
        )
        return self._convolution(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            output_padding,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTransposeXd):
    __doc__ = _CONV_TRANSPOSE_DOC.format(n=1)
    _n = 1
    _convolution = staticmethod(F.conv_transpose1d)

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        sizes = (kernel_size, stride, padding, dilation)
        rest = (groups, bias, padding_mode, device, dtype)
        self._setup(in_channels, out_channels, sizes, output_padding, *rest)


class ConvTranspose2d(_ConvTransposeXd):
    __doc__ = _CONV_TRANSPOSE_DOC.format(n=2)
    _n = 2
    _convolution = staticmethod(F.conv_transpose2d)

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        sizes = (kernel_size, stride, padding, dilation)
        rest = (groups, bias, padding_mode, device, dtype)
        self._setup(in_channels, out_channels, sizes, output_padding, *rest)


class ConvTranspose3d(_ConvTransposeXd):
    __doc__ = _CONV_TRANSPOSE_DOC.format(n=3)
    _n = 3
    _convolution = staticmethod(F.conv_transpose3d)

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups=1,
        bias=True,
        dilation=1,
        padding_mode="zeros",
        device=None,
        dtype=None,
    ):
        sizes = (kernel_size, stride, padding, dilation)
        rest = (groups, bias, padding_mode, device, dtype)
        self._setup(in_channels, out_channels, sizes, output_padding, *rest)


class _ConvTransposeMixin(_ConvTransposeNd):
    """A former name of _ConvTransposeNd."""

    def __init__(self, *args, **kwargs):
        warnings.warn(
            "`_ConvTransposeMixin` is a deprecated internal class. Please consider using public "
            "APIs.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__(*args, **kwargs)


__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]
