"""Dropout in its variants.

Mechanism: each function checks its probability and calls the engine's op, which draws the mask from
the default generator.
The channel variants draw one number for each (sample, channel).

Invariant: outside training, or with p = 0, the input comes back untouched and nothing is drawn.
"""

import warnings

from rushlight.nn.functional import _primitives as _p


def _check_probability(p):
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def dropout(input, p=0.5, training=True, inplace=False):
    """Zero each element with probability `p` and divide the others by `1 - p`; any shape.

    Raises ValueError unless 0 <= p <= 1.
    Source: Hinton et al., Improving neural networks by preventing co-adaptation of feature
    detectors, arXiv:1207.0580.
    """
    _check_probability(p)
    return _p.dropout_(input, p, training) if inplace else _p.dropout(input, p, training)


def alpha_dropout(input, p=0.5, training=False, inplace=False):
    """Dropout that keeps mean 0 and variance 1 of selu activations; any shape.

    Dropped elements become selu's negative limit, then an affine map restores the two moments.
    Source: Klambauer et al., arXiv:1706.02515.
    """
    _check_probability(p)
    if inplace:
        return _p.alpha_dropout_(input, p, training)
    return _p.alpha_dropout(input, p, training)


def feature_alpha_dropout(input, p=0.5, training=False, inplace=False):
    """alpha_dropout of whole channels; (N, C, *)."""
    _check_probability(p)
    if inplace:
        return _p.feature_alpha_dropout_(input, p, training)
    return _p.feature_alpha_dropout(input, p, training)


def _drop_channels(input, p, training, inplace, batched):
    """Feature dropout of a batch, or of one sample treated as a batch of one."""
    x = input if batched else (input.unsqueeze_(0) if inplace else input.unsqueeze(0))
    out = _p.feature_dropout_(x, p, training) if inplace else _p.feature_dropout(x, p, training)
    if batched:
        return out
    return out.squeeze_(0) if inplace else out.squeeze(0)


def dropout1d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (N, C, L) or (C, L) with probability `p`.

    Raises ValueError for p outside [0, 1], RuntimeError for other ranks.
    """
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input. dropout1d "
            "drops channels of inputs with 1 spatial dimension: pass (N, C, L) or (C, L)"
        )
    return _drop_channels(input, p, training, inplace, input.dim() == 3)


def _warn_rank(name, given, spatial, instead):
    warnings.warn(
        f"{name}: Received a {given}-D input to {name}, which is deprecated and will result in an "
        f"error in a future release. To retain the behavior and silence this warning, please use "
        f"{instead} instead. Note that {name} exists to provide channel-wise dropout on inputs "
        f"with {spatial} spatial dimensions, a channel dimension, and an optional batch dimension "
        f"(i.e. {spatial + 1}D or {spatial + 2}D inputs).",
        stacklevel=3,
    )


def dropout2d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (N, C, H, W) with probability `p`.

    A 3-d input is taken as (N, C, L), with a warning, not as one image without a batch. Other ranks
    warn.
    Source: Tompson et al., Efficient Object Localization Using Convolutional Networks,
    arXiv:1411.4280.
    """
    _check_probability(p)
    ndim = input.dim()
    if ndim not in (3, 4):
        _warn_rank("dropout2d", ndim, 2, "dropout")
    if ndim == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout "
            "behavior is desired - input is interpreted as shape (N, C, L), where C is the channel "
            "dim. This behavior will change in a future release to interpret the input as one "
            "without a batch dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise "
            "dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return _drop_channels(input, p, training, inplace, True)


def dropout3d(input, p=0.5, training=True, inplace=False):
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W) with probability `p`. Other ranks
    warn."""
    _check_probability(p)
    ndim = input.dim()
    if ndim not in (4, 5):
        _warn_rank("dropout3d", ndim, 3, "dropout")
    return _drop_channels(input, p, training, inplace, ndim == 5)
