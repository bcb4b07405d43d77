"""Normalization layers without running statistics: layer, group, RMS and local response norm.

Invariant: learned scales start at 1 and shifts at 0; nothing is drawn.
"""

import numbers

import rushlight

from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module


class _ResponseNorm(Module):
    """The arguments that both response norms have, and their repr."""

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def extra_repr(self):
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LocalResponseNorm(_ResponseNorm):
    """`x / (k + alpha * mean of x^2 over size neighbouring channels)^beta`; (N, C, *), kept.

    Source: Krizhevsky, Sutskever, Hinton (2012).
    """

    __constants__ = ["size", "alpha", "beta", "k"]

    def forward(self, input):
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)


class CrossMapLRN2d(_ResponseNorm):
    """`x / (k + alpha / size * S)^beta` of (N, C, H, W), S a sum of x^2 over nearby channels.

    S reaches (size - 1) // 2 channels to both sides, and holds the first channel's square for every
    later channel: PyTorch's running sum never takes that one out, and trained models count on it.
    The gradient is this formula's derivative; PyTorch's own is not.
    """

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1):
        super().__init__(size, alpha, beta, k)

    def forward(self, input):
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        reach, channels = (self.size - 1) // 2, input.size(1)
        window = [
            [float(abs(c - j) <= reach or (j == 0 and c > reach)) for j in range(channels)]
            for c in range(channels)
        ]
        window = rushlight.tensor(window, dtype=input.dtype, device=input.device)
        sums = (window @ input.pow(2).flatten(2)).view(input.shape)
        return input * (self.k + self.alpha / self.size * sums).pow(-self.beta)


def _shape_tuple(shape):
    return (shape,) if isinstance(shape, numbers.Integral) else tuple(shape)


class LayerNorm(Module):
    """`(x - mean) / sqrt(var + eps) * weight + bias` over the last dimensions.

    Shape: (*, *normalized_shape), kept.

    Args:
        normalized_shape: the sizes of the last dimensions, or the last one's.
        eps: added to the variance.
        elementwise_affine: learn weight, and bias.
        bias: with elementwise_affine, learn a bias.

    Source: Ba, Kiros, Hinton, arXiv:1607.06450.
    """

    __constants__ = ["normalized_shape", "eps", "elementwise_affine"]

    def __init__(
        self,
        normalized_shape,
        eps=1e-5,
        elementwise_affine=True,
        bias=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.normalized_shape = _shape_tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        _register_affine(
            self, self.normalized_shape, elementwise_affine, bias, device=device, dtype=dtype
        )
        self.reset_parameters()

    def reset_parameters(self):
        """Set weight to 1 and bias to 0."""
        _reset_affine(self)

    def forward(self, input):
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


def _register_affine(layer, shape, weight, bias, device, dtype):
    """Give `layer` its scale and shift, or None for them."""
    for name, wanted in (("weight", weight), ("bias", weight and bias)):
        value = None
        if wanted:
            value = Parameter(rushlight.empty(shape, device=device, dtype=dtype))
        layer.register_parameter(name, value)


def _reset_affine(layer):
    if layer.weight is not None:
        init.ones_(layer.weight)
    if layer.bias is not None:
        init.zeros_(layer.bias)


class GroupNorm(Module):
    """Normalize each of num_groups groups of channels of each sample of (N, C, *).

    Attributes: weight, bias (num_channels,). Raises ValueError unless num_groups divides
    num_channels.
    Source: Wu and He, arXiv:1803.08494.
    """

    __constants__ = ["num_groups", "num_channels", "eps", "affine"]

    def __init__(
        self,
        num_groups,
        num_channels,
        eps=1e-5,
        affine=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        _register_affine(self, num_channels, affine, bias, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self):
        """Set weight to 1 and bias to 0."""
        _reset_affine(self)

    def forward(self, input):
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimensions.

    Shape: (*, *normalized_shape), kept. `eps=None` takes the dtype's machine epsilon.
    Source: Zhang and Sennrich, arXiv:1910.07467.
    """

    __constants__ = ["normalized_shape", "eps", "elementwise_affine"]

    def __init__(
        self, normalized_shape, eps=None, elementwise_affine=True, device=None, dtype=None
    ):
        super().__init__()
        self.normalized_shape = _shape_tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if elementwise_affine:
            self.weight = Parameter(
                rushlight.empty(self.normalized_shape, device=device, dtype=dtype)
            )
        else:
            self.register_parameter("weight", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Set weight to 1."""
        if self.elementwise_affine:
            init.ones_(self.weight)

    def forward(self, input):
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]
