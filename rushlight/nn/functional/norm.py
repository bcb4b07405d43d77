"""Normalizations: subtract a mean, divide by a deviation, scale and shift.

Mechanism: the engine has one fused op for each kind; this file checks what PyTorch checks in Python
(enough values to have a deviation). local_response_norm is composed of an average pool; normalize
of a vector norm.

Invariant: the result has the input's shape and dtype. Running statistics are updated in place, by
the op.
"""

import math

import rushlight
from rushlight.nn.functional import _primitives as _p


def batch_norm(
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
):
    """`(x - mean) / sqrt(var + eps) * weight + bias` for each channel of (N, C, *).

    In training mean and (biased) variance are the batch's, over all dimensions but C, and the
    running
    statistics move towards them: `running = (1 - momentum) * running + momentum * batch`, with the
    unbiased variance. Otherwise the running statistics are used.

    Raises ValueError in training when a channel has a single value, or eps is not positive.
    Source: Ioffe and Szegedy, arXiv:1502.03167.
    """
    if training:
        _check_many_values(input.size())
        if eps <= 0.0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    return _p.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _check_many_values(size):
    if math.prod(size[:1]) * math.prod(size[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {size}"
        )


def instance_norm(
    input,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
):
    """batch_norm of every sample by itself: statistics over the spatial dimensions of (N, C, *).

    Raises ValueError when there is a single spatial element and its own statistics are asked for.
    Source: Ulyanov, Vedaldi, Lempitsky, arXiv:1607.08022.
    """
    if use_input_stats:
        size = input.size()
        if math.prod(size[2:]) == 1:
            raise ValueError(
                f"Expected more than 1 spatial element when training, got input size {size}"
            )
    return _p.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def layer_norm(input, normalized_shape, weight=None, bias=None, eps=1e-5):
    """Normalize over the last dimensions, `normalized_shape`; weight and bias have that shape.

    Shape: (*, *normalized_shape), kept. Source: Ba, Kiros, Hinton, arXiv:1607.06450.
    """
    _check_shape_argument("layer_norm", normalized_shape)
    return _p.layer_norm(input, normalized_shape, weight, bias, eps)


def rms_norm(input, normalized_shape, weight=None, eps=None):
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimensions, `normalized_shape`.

    `eps=None` takes the machine epsilon of the input's dtype. Source: Zhang and Sennrich,
    arXiv:1910.07467.
    """
    _check_shape_argument("rms_norm", normalized_shape)
    return _p.rms_norm(input, normalized_shape, weight, eps)


def _check_shape_argument(name, shape):
    if isinstance(shape, int):
        raise TypeError(
            f"{name}(): argument 'normalized_shape' (position 2) must be tuple of ints, not int; "
            f"write ({shape},)"
        )


def group_norm(input, num_groups, weight=None, bias=None, eps=1e-5):
    """Normalize each of `num_groups` groups of channels of each sample of (N, C, *).

    weight and bias have shape (C,). Raises RuntimeError if C is not a multiple of `num_groups`.
    Source: Wu and He, arXiv:1803.08494.
    """
    if input.dim() < 2:
        raise RuntimeError(
            f"Expected at least 2 dimensions for input tensor but received {input.dim()}"
        )
    size = input.size()
    if num_groups and size[0] * size[1] // num_groups * math.prod(size[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {list(size)}"
        )
    return _p.group_norm(input, num_groups, weight, bias, eps)


def local_response_norm(input, size, alpha=1e-4, beta=0.75, k=1.0):
    """`x / (k + alpha * mean(x^2 over size neighbouring channels))^beta` of (N, C, *).

    Channels beyond the first and last count as zeros. Raises ValueError for fewer than 3
    dimensions.
    Source: Krizhevsky, Sutskever, Hinton, ImageNet Classification with Deep CNNs (2012).
    """
    ndim = input.dim()
    if ndim < 3:
        raise ValueError(f"Expected 3D or higher dimensionality input (got {ndim} dimensions)")
    if input.numel() == 0:
        return input
    before, after = size // 2, (size - 1) // 2
    squares = input.mul(input)
    if ndim == 3:
        # channels become the first of two spatial dimensions
        squares = _p.pad(squares.unsqueeze(1), (0, 0, before, after))
        mean = _p.avg_pool2d(squares, (size, 1), stride=1).squeeze(1)
    else:
        shape = input.size()
        squares = squares.view(shape[0], 1, shape[1], shape[2], -1)
        squares = _p.pad(squares, (0, 0, 0, 0, before, after))
        mean = _p.avg_pool3d(squares, (size, 1, 1), stride=1).squeeze(1).view(shape)
    return input / mean.mul(alpha).add(k).pow(beta)


def normalize(input, p=2.0, dim=1, eps=1e-12, out=None):
    """`x / max(||x||_p, eps)` along `dim`; any shape.

    `out`, a tensor for the result, makes the call not differentiable.
    """
    length = input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)
    return input / length if out is None else rushlight.div(input, length, out=out)
