"""Activation layers.

Mechanism: a layer keeps the arguments of one function of nn.functional and calls it. The repr shows
the attributes named in `_shown`, and `inplace=True` when it is set.

Invariant: layers have no state but these arguments, except PReLU, which has its slopes.
MultiheadAttention has a file of its own and is here by name, where programs look for it.
"""

import warnings

import rushlight

from .. import functional as F
from .. import init
from ..parameter import Parameter
from .attention import MultiheadAttention
from .module import Module


class _Activation(Module):
    """The repr that activations share."""

    _shown = ()

    def extra_repr(self):
        parts = [f"{name}={getattr(self, name)}" for name in self._shown]
        if getattr(self, "inplace", False):
            parts.append("inplace=True")
        return ", ".join(parts)


class Threshold(_Activation):
    """`x` where `x > threshold`, else `value`. Keeps the shape."""

    __constants__ = ["threshold", "value", "inplace"]
    _shown = ("threshold", "value")

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input):
        return F.threshold(input, self.threshold, self.value, self.inplace)


class ReLU(_Activation):
    """`max(x, 0)`. Keeps the shape; `inplace` overwrites the input."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.relu(input, inplace=self.inplace)


class RReLU(_Activation):
    """Leaky ReLU with a slope drawn from U(lower, upper) in training, their mean otherwise.

    Source: Xu et al., arXiv:1505.00853.
    """

    __constants__ = ["lower", "upper", "inplace"]
    _shown = ("lower", "upper")

    def __init__(self, lower=1.0 / 8, upper=1.0 / 3, inplace=False):
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input):
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Hardtanh(_Activation):
    """`min(max(x, min_val), max_val)`. Keeps the shape.

    `min_value` and `max_value` are deprecated names. Raises AssertionError unless max_val >
    min_val.
    """

    __constants__ = ["min_val", "max_val", "inplace"]
    _shown = ("min_val", "max_val")

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False, min_value=None, max_value=None):
        super().__init__()
        for old, value, new in (
            ("min_value", min_value, "min_val"),
            ("max_value", max_value, "max_val"),
        ):
            if value is not None:
                warnings.warn(
                    f"keyword argument `{old}` is deprecated and renamed to `{new}`",
                    FutureWarning,
                    stacklevel=2,
                )
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if not self.max_val > self.min_val:
            raise AssertionError(
                f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})"
            )

    def forward(self, input):
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(Hardtanh):
    """`min(max(x, 0), 6)`. Keeps the shape. Source: Krizhevsky (2010)."""

    _shown = ()

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)


class Sigmoid(Module):
    """`1 / (1 + exp(-x))`. Keeps the shape."""

    def forward(self, input):
        return F.sigmoid(input)


class Hardsigmoid(Module):
    """0 if `x <= -3`, 1 if `x >= 3`, else `x / 6 + 1 / 2`. Keeps the shape."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.hardsigmoid(input, self.inplace)


class Tanh(Module):
    """The hyperbolic tangent. Keeps the shape."""

    def forward(self, input):
        return F.tanh(input)


class SiLU(_Activation):
    """`x * sigmoid(x)`. Keeps the shape. Source: arXiv:1606.08415, arXiv:1702.03118."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.silu(input, inplace=self.inplace)


class Mish(_Activation):
    """`x * tanh(softplus(x))`. Keeps the shape. Source: Misra, arXiv:1908.08681."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.mish(input, inplace=self.inplace)


class Hardswish(Module):
    """0 if `x <= -3`, `x` if `x >= 3`, else `x * (x + 3) / 6`. Keeps the shape.

    Source: Howard et al., arXiv:1905.02244.
    """

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.hardswish(input, self.inplace)


class ELU(_Activation):
    """`x` if `x > 0` else `alpha * (exp(x) - 1)`. Keeps the shape. Source: arXiv:1511.07289."""

    __constants__ = ["alpha", "inplace"]
    _shown = ("alpha",)

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input):
        return F.elu(input, self.alpha, self.inplace)


class CELU(_Activation):
    """`max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`. Keeps the shape.

    Source: Barron, arXiv:1704.07483.
    """

    __constants__ = ["alpha", "inplace"]
    _shown = ("alpha",)

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input):
        return F.celu(input, self.alpha, self.inplace)


class SELU(_Activation):
    """Scaled ELU with the self-normalizing constants; see functional.selu. Keeps the shape.

    Use it with init.kaiming_normal_(nonlinearity="linear"). Source: arXiv:1706.02515.
    """

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.selu(input, self.inplace)


class GLU(_Activation):
    """`a * sigmoid(b)` of the two halves along `dim`: (*, 2 n, *) to (*, n, *).

    Source: Dauphin et al., arXiv:1612.08083.
    """

    __constants__ = ["dim"]
    _shown = ("dim",)

    def __init__(self, dim=-1):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        return F.glu(input, self.dim)


class GELU(Module):
    """`x * Phi(x)`, Phi the normal distribution function. Keeps the shape.

    `approximate="tanh"` uses `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    Source: Hendrycks and Gimpel, arXiv:1606.08415.
    """

    __constants__ = ["approximate"]

    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class _Shrink(Module):
    """What the two shrinkages share: their threshold."""

    __constants__ = ["lambd"]

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def extra_repr(self):
        return str(self.lambd)


class Hardshrink(_Shrink):
    """`x` where `|x| > lambd`, else 0. Keeps the shape."""

    def forward(self, input):
        return F.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """`x - lambd` where `x > lambd`, `x + lambd` where `x < -lambd`, else 0. Keeps the shape."""

    def forward(self, input):
        return F.softshrink(input, self.lambd)


class LeakyReLU(_Activation):
    """`max(0, x) + negative_slope * min(0, x)`. Keeps the shape."""

    __constants__ = ["inplace", "negative_slope"]
    _shown = ("negative_slope",)

    def __init__(self, negative_slope=1e-2, inplace=False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input):
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class LogSigmoid(Module):
    """`log(1 / (1 + exp(-x)))`. Keeps the shape."""

    def forward(self, input):
        return F.logsigmoid(input)


class Softplus(_Activation):
    """`log(1 + exp(beta * x)) / beta`, and `x` itself where `beta * x > threshold`.

    Keeps the shape.
    """

    __constants__ = ["beta", "threshold"]
    _shown = ("beta", "threshold")

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)


class PReLU(_Activation):
    """`max(0, x) + weight * min(0, x)` with learned slopes, one or one for each channel.

    Shape: (N, C, *), kept. Attribute: weight (num_parameters,). Source: He et al.,
    arXiv:1502.01852.
    """

    __constants__ = ["num_parameters"]
    _shown = ("num_parameters",)

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(rushlight.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self):
        """Set every slope to `init`."""
        init.constant_(self.weight, self.init)

    def forward(self, input):
        return F.prelu(input, self.weight)


class Softsign(Module):
    """`x / (1 + |x|)`. Keeps the shape."""

    def forward(self, input):
        return F.softsign(input)


class Tanhshrink(Module):
    """`x - tanh(x)`. Keeps the shape."""

    def forward(self, input):
        return F.tanhshrink(input)


class _AlongDim(_Activation):
    """What the softmaxes share: the dimension that they normalize."""

    __constants__ = ["dim"]
    _shown = ("dim",)

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def __setstate__(self, state):
        super().__setstate__(state)
        if not hasattr(self, "dim"):
            self.dim = None


class Softmin(_AlongDim):
    """`softmax(-x)` along `dim`. Keeps the shape."""

    def forward(self, input):
        return F.softmin(input, self.dim, _stacklevel=5)


class Softmax(_AlongDim):
    """`exp(x_i) / sum_j exp(x_j)` along `dim`. Keeps the shape."""

    def forward(self, input):
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input):
        if input.dim() not in (3, 4):
            raise ValueError(
                f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead"
            )
        return F.softmax(input, -3, _stacklevel=5)


class LogSoftmax(_AlongDim):
    """`log(softmax(x))` along `dim`. Keeps the shape."""

    def forward(self, input):
        return F.log_softmax(input, self.dim, _stacklevel=5)


__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "MultiheadAttention",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]
