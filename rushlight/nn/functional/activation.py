"""Activation functions: pointwise nonlinearities, gates and softmaxes.

Mechanism: a function with `inplace` chooses between an op and its in-place twin; the op itself,
with its gradient, is the engine's (see _primitives). Softsign, tanhshrink, softmin and
gumbel_softmax are compositions.

Invariant: every function keeps its input's shape, except glu, which halves one dimension.
"""

import warnings

import rushlight
from rushlight.nn.functional import _primitives as _p

prelu = _p.prelu
gelu = _p.gelu
softplus = _p.softplus
logsigmoid = _p.logsigmoid
softshrink = _p.softshrink
hardshrink = _p.hardshrink
relu_ = _p.relu_
elu_ = _p.elu_
selu_ = _p.selu_
celu_ = _p.celu_
leaky_relu_ = _p.leaky_relu_
hardtanh_ = _p.hardtanh_
threshold_ = _p.threshold_
rrelu_ = _p.rrelu_


def threshold(input, threshold, value, inplace=False):
    """`x` where `x > threshold`, else `value`, elementwise.

    Args:
        input: a tensor of any shape.
        threshold: the value that `x` has to exceed.
        value: what the other elements become.
        inplace: write into `input`.
    """
    if inplace:
        return _p.threshold_(input, threshold, value)
    return _p.threshold(input, threshold, value)


def relu(input, inplace=False):
    """`max(x, 0)` elementwise; any shape. NaN stays NaN. The gradient at 0 is 0."""
    return _p.relu_(input) if inplace else _p.relu(input)


def relu6(input, inplace=False):
    """`min(max(x, 0), 6)` elementwise; any shape.

    Source: Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10 (2010).
    """
    return _p.relu6_(input) if inplace else _p.relu6(input)


def hardtanh(input, min_val=-1.0, max_val=1.0, inplace=False):
    """`min(max(x, min_val), max_val)` elementwise; any shape.

    Raises ValueError if `min_val > max_val`.
    """
    if min_val > max_val:
        raise ValueError(
            f"min_val cannot be greater than max_val, but got {min_val} > {max_val}; swap them"
        )
    if inplace:
        return _p.hardtanh_(input, min_val, max_val)
    return _p.hardtanh(input, min_val, max_val)


def elu(input, alpha=1.0, inplace=False):
    """`x` if `x > 0` else `alpha * (exp(x) - 1)`, elementwise; any shape.

    Source: Clevert, Unterthiner, Hochreiter, arXiv:1511.07289.
    """
    return _p.elu_(input, alpha) if inplace else _p.elu(input, alpha)


def selu(input, inplace=False):
    """`scale * elu(x, alpha)` with alpha = 1.6732632423543772 and scale = 1.0507009873554805.

    With these two numbers activations tend to mean 0 and variance 1.
    Source: Klambauer et al., Self-Normalizing Neural Networks, arXiv:1706.02515.
    """
    return _p.selu_(input) if inplace else _p.selu(input)


def celu(input, alpha=1.0, inplace=False):
    """`max(0, x) + min(0, alpha * (exp(x / alpha) - 1))` elementwise; any shape.

    Source: Barron, Continuously Differentiable Exponential Linear Units, arXiv:1704.07483.
    """
    return _p.celu_(input, alpha) if inplace else _p.celu(input, alpha)


def leaky_relu(input, negative_slope=0.01, inplace=False):
    """`x` if `x > 0` else `negative_slope * x`, elementwise; any shape."""
    if inplace:
        return _p.leaky_relu_(input, negative_slope)
    return _p.leaky_relu(input, negative_slope)


def rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, inplace=False):
    """Leaky ReLU whose slope is drawn from U(lower, upper) for each element, or is their mean.

    The slope is random in training and `(lower + upper) / 2` otherwise.
    Source: Xu et al., Empirical Evaluation of Rectified Activations, arXiv:1505.00853.
    """
    if inplace:
        return _p.rrelu_(input, lower, upper, training)
    return _p.rrelu(input, lower, upper, training)


def silu(input, inplace=False):
    """`x * sigmoid(x)` elementwise; any shape; also called swish.

    Source: Hendrycks and Gimpel, arXiv:1606.08415; Elfwing et al., arXiv:1702.03118.
    """
    return _p.silu_(input) if inplace else _p.silu(input)


def mish(input, inplace=False):
    """`x * tanh(softplus(x))` elementwise; any shape. Source: Misra, arXiv:1908.08681."""
    return _p.mish_(input) if inplace else _p.mish(input)


def hardswish(input, inplace=False):
    """0 if `x <= -3`, `x` if `x >= 3`, else `x * (x + 3) / 6`; any shape.

    Source: Howard et al., Searching for MobileNetV3, arXiv:1905.02244.
    """
    return _p.hardswish_(input) if inplace else _p.hardswish(input)


def hardsigmoid(input, inplace=False):
    """0 if `x <= -3`, 1 if `x >= 3`, else `x / 6 + 1 / 2`; any shape."""
    return _p.hardsigmoid_(input) if inplace else _p.hardsigmoid(input)


def sigmoid(input):
    """`1 / (1 + exp(-x))` elementwise; any shape."""
    return _p.sigmoid(input)


def tanh(input):
    """`(exp(x) - exp(-x)) / (exp(x) + exp(-x))` elementwise; any shape."""
    return _p.tanh(input)


def tanhshrink(input):
    """`x - tanh(x)` elementwise; any shape."""
    return input - _p.tanh(input)


def softsign(input):
    """`x / (1 + |x|)` elementwise; any shape."""
    return input / (input.abs() + 1)


def glu(input, dim=-1):
    """Gated linear unit: `a * sigmoid(b)`, where `a` and `b` are the halves of `input` along `dim`.

    Shape: (*, 2 n, *) to (*, n, *). Raises RuntimeError for a 0-d input or an odd size.
    Source: Dauphin et al., Language Modeling with Gated Convolutional Networks, arXiv:1612.08083.
    """
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    return _p.glu(input, dim)


def _implicit_dim(name, ndim, stacklevel):
    """The dimension a softmax takes when none is given (deprecated): 0 or 1 by the input's rank."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """`exp(x_i) / sum_j exp(x_j)` along `dim`; any shape, the sums along `dim` are 1.

    Args:
        input: a tensor of any shape.
        dim: the dimension to normalize; leaving it out is deprecated and warns.
        dtype: convert the input to it first, which keeps half precision from overflowing.
    """
    if dim is None:
        dim = _implicit_dim("softmax", input.dim(), _stacklevel)
    return _p.softmax(input, dim) if dtype is None else _p.softmax(input, dim, dtype=dtype)


def softmin(input, dim=None, _stacklevel=3, dtype=None):
    """`softmax(-x)` along `dim`; arguments as softmax."""
    if dim is None:
        dim = _implicit_dim("softmin", input.dim(), _stacklevel)
    return _p.softmax(-input, dim) if dtype is None else _p.softmax(-input, dim, dtype=dtype)


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """`log(softmax(x))` along `dim`, computed without forming the quotient; arguments as
    softmax."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input.dim(), _stacklevel)
    return _p.log_softmax(input, dim) if dtype is None else _p.log_softmax(input, dim, dtype=dtype)


def gumbel_softmax(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A differentiable sample of a categorical distribution: `softmax((logits + G) / tau)`.

    G is Gumbel noise, `-log(E)` with E exponential of rate 1.

    Args:
        logits: (*, classes), unnormalized log probabilities.
        tau: temperature; towards 0 the sample becomes one-hot.
        hard: return a one-hot sample whose gradient is that of the soft one (straight-through).
        eps: deprecated, without effect.
        dim: the dimension of the classes.

    Source: Jang, Gu, Poole, arXiv:1611.01144; Maddison, Mnih, Teh, arXiv:1611.00712.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    exponential = rushlight.empty_like(
        logits, memory_format=rushlight.legacy_contiguous_format
    ).exponential_()
    soft = _p.softmax((logits - exponential.log()) / tau, dim)
    if not hard:
        return soft
    choice = soft.max(dim, keepdim=True)[1]
    one_hot = rushlight.zeros_like(
        logits, memory_format=rushlight.legacy_contiguous_format
    ).scatter_(dim, choice, 1.0)
    # the one-hot value with the soft sample's gradient
    return one_hot - soft.detach() + soft
