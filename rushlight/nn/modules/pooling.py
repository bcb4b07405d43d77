"""Pooling layers.

Mechanism: a layer keeps the arguments of one function of nn.functional. For each kind a base class
holds what the layers for 1, 2 and 3 dimensions share; `_pool` is the function, found when the class
is made.

Shapes: (N, C, *spatial) or (C, *spatial); lengths as functional.max_pool1d and its kin say.
"""

from .. import functional as F
from .module import Module
from .utils import _ntuple, _pair, _single, _triple


def _constants_repr(layer, names):
    return ", ".join(f"{name}={getattr(layer, name)}" for name in names)


class _MaxPoolNd(Module):
    __constants__ = [
        "kernel_size",
        "stride",
        "padding",
        "dilation",
        "return_indices",
        "ceil_mode",
    ]

    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        return_indices=False,
        ceil_mode=False,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input):
        return self._pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )

    def extra_repr(self):
        return _constants_repr(self, ("kernel_size", "stride", "padding", "dilation", "ceil_mode"))


class MaxPool1d(_MaxPoolNd):
    """The maximum of each window of (N, C, L) or (C, L).

    Args:
        kernel_size, stride, padding, dilation: the windows; the stride is kernel_size if not given.
        return_indices: return the maxima's positions too, for MaxUnpool.
        ceil_mode: round lengths up.
    """

    _pool = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPoolNd):
    """The maximum of each window of (N, C, H, W) or (C, H, W); arguments as MaxPool1d, ints or
    pairs."""

    _pool = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPoolNd):
    """The maximum of each window of (N, C, D, H, W) or (C, D, H, W); arguments as MaxPool1d."""

    _pool = staticmethod(F.max_pool3d)


class _MaxUnpoolNd(Module):
    def _keep(self, ntuple, kernel_size, stride, padding):
        super().__init__()
        self.kernel_size = ntuple(kernel_size)
        self.stride = ntuple(kernel_size if stride is None else stride)
        self.padding = ntuple(padding)

    def forward(self, input, indices, output_size=None):
        return self._pool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self):
        return _constants_repr(self, ("kernel_size", "stride", "padding"))


class MaxUnpool1d(_MaxUnpoolNd):
    """Put what MaxPool1d returned with its indices back, zeros elsewhere.

    `forward(input, indices, output_size=None)`; several lengths pool to one, output_size chooses.
    """

    _pool = staticmethod(F.max_unpool1d)

    def __init__(self, kernel_size, stride=None, padding=0):
        self._keep(_single, kernel_size, stride, padding)


class MaxUnpool2d(_MaxUnpoolNd):
    """As MaxUnpool1d, for what MaxPool2d returned."""

    _pool = staticmethod(F.max_unpool2d)

    def __init__(self, kernel_size, stride=None, padding=0):
        self._keep(_pair, kernel_size, stride, padding)


class MaxUnpool3d(_MaxUnpoolNd):
    """As MaxUnpool1d, for what MaxPool3d returned."""

    _pool = staticmethod(F.max_unpool3d)

    def __init__(self, kernel_size, stride=None, padding=0):
        self._keep(_triple, kernel_size, stride, padding)


class _AvgPoolNd(Module):
    __constants__ = ["kernel_size", "stride", "padding", "ceil_mode", "count_include_pad"]

    def extra_repr(self):
        return _constants_repr(self, ("kernel_size", "stride", "padding"))


class AvgPool1d(_AvgPoolNd):
    """The mean of each window of (N, C, L) or (C, L).

    Args:
        kernel_size, stride, padding: the windows; the stride is kernel_size if not given.
        ceil_mode: round lengths up.
        count_include_pad: count the padding's zeros in the mean.
    """

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
    ):
        super().__init__()
        self.kernel_size = _single(kernel_size)
        self.stride = _single(stride if stride is not None else kernel_size)
        self.padding = _single(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input):
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )


class _AvgPoolOverride(_AvgPoolNd):
    """What AvgPool2d and AvgPool3d share."""

    __constants__ = [*_AvgPoolNd.__constants__, "divisor_override"]

    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        return self._pool(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def __setstate__(self, state):
        for name, value in (("padding", 0), ("ceil_mode", False), ("count_include_pad", True)):
            state.setdefault(name, value)
        super().__setstate__(state)


class AvgPool2d(_AvgPoolOverride):
    """The mean of each window of (N, C, H, W) or (C, H, W); arguments as AvgPool1d, ints or pairs.

    `divisor_override` divides the sum instead of the window's size.
    """

    _pool = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPoolOverride):
    """The mean of each window of (N, C, D, H, W) or (C, D, H, W); arguments as AvgPool2d."""

    _pool = staticmethod(F.avg_pool3d)


class _FractionalMaxPoolNd(Module):
    __constants__ = ["kernel_size", "return_indices", "output_size", "output_ratio"]

    def __init__(
        self,
        kernel_size,
        output_size=None,
        output_ratio=None,
        return_indices=False,
        _random_samples=None,
    ):
        super().__init__()
        ntuple = _ntuple(self._n)
        self.kernel_size = ntuple(kernel_size)
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else ntuple(output_size)
        self.output_ratio = None if output_ratio is None else ntuple(output_ratio)
        name = type(self).__name__
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None:
            if not all(0 < ratio < 1 for ratio in self.output_ratio):
                raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input):
        return self._pool(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Maxima of windows at pseudo-random places of (N, C, H, W) or (C, H, W).

    Args:
        kernel_size: size of the window.
        output_size: the result's size; or
        output_ratio: the result's size over the input's, between 0 and 1.
        return_indices: return the maxima's positions too.

    Raises ValueError unless exactly one of size and ratio is given. Source: Graham,
    arXiv:1412.6071.
    """

    _n = 2
    _pool = staticmethod(F.fractional_max_pool2d)


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """As FractionalMaxPool2d, for (N, C, D, H, W) or (C, D, H, W)."""

    _n = 3
    _pool = staticmethod(F.fractional_max_pool3d)


class _LPPoolNd(Module):
    __constants__ = ["norm_type", "kernel_size", "stride", "ceil_mode"]

    def __init__(self, norm_type, kernel_size, stride=None, ceil_mode=False):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input):
        return self._pool(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self):
        return _constants_repr(self, self.__constants__)


class LPPool1d(_LPPoolNd):
    """`(sum over a window of x^p)^(1/p)`, p = norm_type, of (N, C, L) or (C, L)."""

    _pool = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPoolNd):
    """As LPPool1d, for (N, C, H, W) or (C, H, W)."""

    _pool = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPoolNd):
    """As LPPool1d, for (N, C, D, H, W) or (C, D, H, W)."""

    _pool = staticmethod(F.lp_pool3d)


class _AdaptiveMaxPoolNd(Module):
    __constants__ = ["output_size", "return_indices"]

    def __init__(self, output_size, return_indices=False):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input):
        return self._pool(input, self.output_size, self.return_indices)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Maxima of as many windows as output_size asks for: (N, C, L) to (N, C, output_size)."""

    _pool = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Maxima of windows: (N, C, H, W) to (N, C, *output_size); None keeps a size."""

    _pool = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Maxima of windows: (N, C, D, H, W) to (N, C, *output_size); None keeps a size."""

    _pool = staticmethod(F.adaptive_max_pool3d)


class _AdaptiveAvgPoolNd(Module):
    __constants__ = ["output_size"]

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def forward(self, input):
        return self._pool(input, self.output_size)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Means of as many windows as output_size asks for: (N, C, L) to (N, C, output_size)."""

    _pool = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Means of windows: (N, C, H, W) to (N, C, *output_size); None keeps a size."""

    _pool = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Means of windows: (N, C, D, H, W) to (N, C, *output_size); None keeps a size."""

    _pool = staticmethod(F.adaptive_avg_pool3d)


__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "FractionalMaxPool2d",
    "FractionalMaxPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]
