"""Pooling: maxima, averages and power means of windows, and the inverse of max pooling.

Mechanism: the engine pools; this file works out output sizes where PyTorch does so in Python, and
dispatches on `return_indices`. One family of functions for 1, 2 and 3 spatial dimensions; only the
signatures are written three times.

Shapes: (N, C, *spatial) or (C, *spatial). A pooled length is `(length + 2 * padding - dilation *
(kernel - 1) - 1) / stride + 1`, rounded down, or up with `ceil_mode`.
"""

import math

import rushlight
from rushlight.nn.functional import _primitives as _p
from rushlight.nn.functional._sizes import ntuple, with_default

avg_pool1d = _p.avg_pool1d
avg_pool2d = _p.avg_pool2d
avg_pool3d = _p.avg_pool3d
adaptive_avg_pool1d = _p.adaptive_avg_pool1d


def _max_pool_family(n):
    """max_pool{n}d and max_pool{n}d_with_indices."""
    plain = getattr(_p, f"max_pool{n}d")
    both = getattr(_p, f"max_pool{n}d_with_indices")

    def with_indices(
        input,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        ceil_mode=False,
        return_indices=False,
    ):
        return both(
            input,
            kernel_size,
            kernel_size if stride is None else stride,
            padding,
            dilation,
            ceil_mode,
        )

    def pool(
        input,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        ceil_mode=False,
        return_indices=False,
    ):
        op = both if return_indices else plain
        return op(
            input,
            kernel_size,
            kernel_size if stride is None else stride,
            padding,
            dilation,
            ceil_mode,
        )

    return _named(pool, f"max_pool{n}d", _MAX_POOL.format(n=n)), _named(
        with_indices, f"max_pool{n}d_with_indices", f"max_pool{n}d with `return_indices=True`."
    )


_MAX_POOL = """The maximum of each window of {n} spatial dimension(s).

Args:
    input: (N, C, *spatial) or (C, *spatial).
    kernel_size: size of the window.
    stride: step of the window; None takes `kernel_size`.
    padding: how many places of negative infinity on both sides, at most half of the window.
    dilation: distance of a window's elements.
    ceil_mode: let the last window reach beyond the padding.
    return_indices: also return the maxima's flat positions in the spatial dimensions, for
        max_unpool{n}d.
"""


def _named(function, name, doc):
    """A generated function under its public name."""
    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


max_pool1d, max_pool1d_with_indices = _max_pool_family(1)
max_pool2d, max_pool2d_with_indices = _max_pool_family(2)
max_pool3d, max_pool3d_with_indices = _max_pool_family(3)


def _adaptive_max_family(n):
    """adaptive_max_pool{n}d and its twin with indices."""
    both = getattr(_p, f"adaptive_max_pool{n}d_with_indices")

    def with_indices(input, output_size, return_indices=False):
        return both(input, with_default(output_size, input.size()))

    def pool(input, output_size, return_indices=False):
        pooled = both(input, with_default(output_size, input.size()))
        return pooled if return_indices else pooled[0]

    name = f"adaptive_max_pool{n}d"
    doc = f"""The maxima of windows chosen so that the result has `output_size`.

    Shape: (N, C, *spatial) to (N, C, *output_size), {n} spatial dimension(s); None keeps the
    input's size.
    With `return_indices` also the maxima's flat positions.
    """
    return _named(pool, name, doc), _named(
        with_indices, name + "_with_indices", f"{name} with `return_indices=True`."
    )


adaptive_max_pool1d, adaptive_max_pool1d_with_indices = _adaptive_max_family(1)
adaptive_max_pool2d, adaptive_max_pool2d_with_indices = _adaptive_max_family(2)
adaptive_max_pool3d, adaptive_max_pool3d_with_indices = _adaptive_max_family(3)


def adaptive_avg_pool2d(input, output_size):
    """The means of windows chosen so that the result has `output_size`.

    Shape: (N, C, H, W) to (N, C, *output_size); an int stands for both, None keeps the input's
    size.
    """
    return _p.adaptive_avg_pool2d(input, with_default(output_size, input.size()))


def adaptive_avg_pool3d(input, output_size):
    """As adaptive_avg_pool2d, for (N, C, D, H, W)."""
    return _p.adaptive_avg_pool3d(input, with_default(output_size, input.size()))


def _unpool_size(input, kernel_size, stride, padding, output_size):
    """The spatial size before pooling: the given one if it is possible, else the smallest natural
    one."""
    n = len(kernel_size)
    own = input.size()[-n:]
    natural = [
        (length - 1) * step + window - 2 * pad
        for length, step, window, pad in zip(own, stride, kernel_size, padding)
    ]
    if output_size is None:
        return natural
    given = tuple(output_size)
    if len(given) == n + 2:
        given = given[2:]
    if len(given) != n:
        raise ValueError(
            f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a "
            f"length of '{len(given)}'"
        )
    for axis, (size, middle, step) in enumerate(zip(given, natural, stride)):
        if not middle - step < size < middle + step:
            raise ValueError(
                f'invalid output_size "{given}" (dim {axis} must be between '
                f"{middle - step} and {middle + step})"
            )
    return list(given)


def _unpool_arguments(input, kernel_size, stride, padding, output_size, n):
    kernel_size = ntuple(kernel_size, n)
    stride = kernel_size if stride is None else ntuple(stride, n)
    padding = ntuple(padding, n)
    return _unpool_size(input, kernel_size, stride, padding, output_size), stride, padding


def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """Put pooled maxima back at their `indices`, zero elsewhere; (N, C, L) or (C, L).

    Args:
        input, indices: what max_pool1d returned with `return_indices=True`.
        kernel_size, stride, padding: as they were for the pooling.
        output_size: the length before pooling, where several are possible.

    Raises ValueError for an output size that pooling could not have had.
    """
    size, _, _ = _unpool_arguments(input, kernel_size, stride, padding, output_size, 1)
    out = _p.max_unpool2d(input.unsqueeze(-1), indices.unsqueeze(-1), size + [1])
    return out.squeeze(-1)


def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """As max_unpool1d, for (N, C, H, W) or (C, H, W)."""
    size, _, _ = _unpool_arguments(input, kernel_size, stride, padding, output_size, 2)
    return _p.max_unpool2d(input, indices, size)


def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None):
    """As max_unpool1d, for (N, C, D, H, W) or (C, D, H, W)."""
    size, stride, padding = _unpool_arguments(input, kernel_size, stride, padding, output_size, 3)
    return _p.max_unpool3d(input, indices, size, stride, padding)


def _lp_pool(average, input, norm_type, kernel_size, stride, ceil_mode):
    """(sum of x^p over a window)^(1/p), as the window's mean times its size."""
    stride = kernel_size if stride is None else stride
    mean = average(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    kernel_size = (kernel_size,) if isinstance(kernel_size, int) else tuple(kernel_size)
    return mean, math.prod(kernel_size)


def _root(mean, count, norm_type):
    # negative sums (odd powers) count as zero after the relu of their size, with their sign kept
    return (rushlight.sign(mean) * _p.relu(rushlight.abs(mean))).mul(count).pow(1.0 / norm_type)


def lp_pool1d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """`(sum over a window of x^p)^(1/p)` with p = `norm_type`; (N, C, L) or (C, L).

    p = 1 is the sum, p towards infinity the maximum. If the sum is 0 the gradient is not defined
    (NaN or infinite).
    """
    mean, count = _lp_pool(_p.avg_pool1d, input, norm_type, kernel_size, stride, ceil_mode)
    return _root(mean, count, norm_type)


def lp_pool2d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """As lp_pool1d, for (N, C, H, W) or (C, H, W)."""
    kernel_size = ntuple(kernel_size, 2)
    mean, count = _lp_pool(_p.avg_pool2d, input, norm_type, kernel_size, stride, ceil_mode)
    return _root(mean, count, norm_type)


def lp_pool3d(input, norm_type, kernel_size, stride=None, ceil_mode=False):
    """As lp_pool1d, for (N, C, D, H, W) or (C, D, H, W)."""
    kernel_size = ntuple(kernel_size, 3)
    mean, count = _lp_pool(_p.avg_pool3d, input, norm_type, kernel_size, stride, ceil_mode)
    return _root(mean, count, norm_type)


def _fractional_family(n):
    """fractional_max_pool{n}d and its twin with indices."""
    both = getattr(_p, f"fractional_max_pool{n}d_with_indices")
    name = f"fractional_max_pool{n}d"

    def with_indices(
        input,
        kernel_size,
        output_size=None,
        output_ratio=None,
        return_indices=False,
        _random_samples=None,
    ):
        if output_size is None:
            if output_ratio is None:
                raise ValueError(
                    f"{name} requires specifying either an output_size or an output_ratio"
                )
            output_size = [
                int(length * ratio)
                for length, ratio in zip(input.size()[-n:], ntuple(output_ratio, n))
            ]
        if _random_samples is None:
            batch = 1 if input.dim() == n + 1 else input.size(0)
            _random_samples = rushlight.rand(
                batch, input.size(-n - 1), n, dtype=input.dtype, device=input.device
            )
        return both(input, ntuple(kernel_size, n), ntuple(output_size, n), _random_samples)

    def pool(
        input,
        kernel_size,
        output_size=None,
        output_ratio=None,
        return_indices=False,
        _random_samples=None,
    ):
        pooled = with_indices(
            input, kernel_size, output_size, output_ratio, return_indices, _random_samples
        )
        return pooled if return_indices else pooled[0]

    doc = f"""The maxima of windows at pseudo-random places, so that the size shrinks by any factor.

    Args:
        input: (N, C, *spatial) or (C, *spatial), {n} spatial dimensions.
        kernel_size: size of the window.
        output_size: the result's size; or
        output_ratio: the result's size over the input's, between 0 and 1.
        return_indices: also return the maxima's flat positions.

    Raises ValueError when neither size nor ratio is given. Source: Graham, arXiv:1412.6071.
    """
    return _named(pool, name, doc), _named(
        with_indices, name + "_with_indices", f"{name} with `return_indices=True`."
    )


fractional_max_pool2d, fractional_max_pool2d_with_indices = _fractional_family(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = _fractional_family(3)
