"""Resampling of images: interpolate, grid_sample, affine_grid, and the shuffles of channels.

Mechanism: interpolate turns a size or a scale into the output size and picks the engine's kernel by
(mode, rank) from one table. Grids are (N, H, W, 2) of positions in [-1, 1], x first.

Invariant: a scale given by the user, and not recomputed, is passed on to the kernel, because the
source positions follow from it and not from the rounded sizes.
"""

import math
import warnings

from rushlight.nn.functional import _primitives as _p

pixel_shuffle = _p.pixel_shuffle
pixel_unshuffle = _p.pixel_unshuffle
channel_shuffle = _p.channel_shuffle
native_channel_shuffle = _p.native_channel_shuffle

GRID_SAMPLE_INTERPOLATION_MODES = {"bilinear": 0, "nearest": 1, "bicubic": 2}
GRID_SAMPLE_PADDING_MODES = {"zeros": 0, "border": 1, "reflection": 2}

# fmt: off
_WITHOUT_CORNERS = {
    ("nearest", 3):       _p.upsample_nearest1d,
    ("nearest", 4):       _p.upsample_nearest2d,
    ("nearest", 5):       _p.upsample_nearest3d,
    ("nearest-exact", 3): _p.upsample_nearest_exact1d,
    ("nearest-exact", 4): _p.upsample_nearest_exact2d,
    ("nearest-exact", 5): _p.upsample_nearest_exact3d,
}
_WITH_CORNERS = {
    ("linear", 3, False):   _p.upsample_linear1d,
    ("bilinear", 4, False): _p.upsample_bilinear2d,
    ("trilinear", 5, False): _p.upsample_trilinear3d,
    ("bicubic", 4, False):  _p.upsample_bicubic2d,
    ("bilinear", 4, True):  _p.upsample_bilinear2d_aa,
    ("bicubic", 4, True):   _p.upsample_bicubic2d_aa,
    ("lanczos", 4, True):   _p.upsample_lanczos2d_aa,
}
_AREA = {3: _p.adaptive_avg_pool1d, 4: _p.adaptive_avg_pool2d, 5: _p.adaptive_avg_pool3d}
_OWN_RANK = {"linear": 3, "bilinear": 4, "trilinear": 5}
# fmt: on


def interpolate(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
):
    """Resize the spatial dimensions of (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    Args:
        size: the new spatial size, an int or one for each dimension; or
        scale_factor: the factor by which the size grows.
        mode: nearest, nearest-exact, area; linear (3-d), bilinear, bicubic (4-d), trilinear (5-d).
        align_corners: make the corner pixels' centres coincide, instead of the images' edges; not
            for nearest and area.
        recompute_scale_factor: derive the scale from the rounded output size, as if `size` had been
            given.
        antialias: widen the filter when shrinking; only for bilinear, bicubic and lanczos of 4-d
            inputs.

    Raises ValueError for arguments that exclude each other, NotImplementedError for a rank the mode
    has not.
    """
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: "
                "linear | bilinear | bicubic | trilinear"
            )
    elif align_corners is None:
        align_corners = False

    size, scales = _output_size(input, size, scale_factor, mode, recompute_scale_factor)
    ndim = input.dim()
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and ndim == 4):
        raise ValueError(
            "Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires "
            "a 4-D tensor as input"
        )
    if mode == "lanczos" and not antialias:
        raise ValueError("Lanczos mode requires antialias=True")
    if mode == "area" and ndim in _AREA:
        return _AREA[ndim](input, size)
    kernel = _WITHOUT_CORNERS.get((mode, ndim))
    if kernel is not None:
        return kernel(input, size, scales)
    kernel = _WITH_CORNERS.get((mode, ndim, bool(antialias)))
    if kernel is not None:
        return kernel(input, size, align_corners, scales)
    if mode in _OWN_RANK and ndim in (3, 4, 5):
        raise NotImplementedError(
            f"Got {ndim}D input, but {mode} mode needs {_OWN_RANK[mode]}D input"
        )
    raise NotImplementedError(
        f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {ndim}D) for the modes: "
        "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact "
        f"(got {mode})"
    )


def _output_size(input, size, scale_factor, mode, recompute):
    """(output size, scales): scales is None unless the kernel is to use the user's factors."""
    own = list(input.size()[2:])
    n = len(own)
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if isinstance(size, (list, tuple)):
            if len(size) != n:
                raise ValueError(_size_mismatch(own, "output size of", size, "output size", "o"))
            size = list(size)
        else:
            size = [size] * n
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        return size, None
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if isinstance(scale_factor, (list, tuple)):
        if len(scale_factor) != n:
            raise ValueError(
                _size_mismatch(own, "scale_factor of shape", scale_factor, "scale_factor", "s")
            )
        scales = list(scale_factor)
    else:
        scales = [scale_factor] * n
    size = [math.floor(length * factor) for length, factor in zip(own, scales)]
    return size, (None if recompute or mode == "area" else scales)


def _size_mismatch(own, what, given, name, letter):
    noun = "output" if letter == "o" else "scale_factor"
    return (
        f"Input and {noun} must have the same number of spatial dimensions, but got input with "
        f"spatial dimensions of {own} and {what} {given}. Please provide input tensor in "
        f"(N, C, d1, d2, ...,dK) format and {name} in "
        f"({letter}1, {letter}2, ...,{letter}K) format."
    )


def _deprecated(name):
    warnings.warn(
        f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=3,
    )


def upsample(input, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """Deprecated name of interpolate."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input, size=None, scale_factor=None):
    """Deprecated: `interpolate(mode="nearest")`."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input, size=None, scale_factor=None):
    """Deprecated: `interpolate(mode="bilinear", align_corners=True)`."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def _warn_corner_default():
    warnings.warn(
        "Default grid_sample and affine_grid behavior has changed to align_corners=False since "
        "1.3.0. Please specify align_corners=True if the old behavior is desired. See the "
        "documentation of grid_sample for details.",
        stacklevel=3,
    )


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """Values of `input` at the positions of `grid`.

    Shapes: input (N, C, H, W), grid (N, Ho, Wo, 2), result (N, C, Ho, Wo); or input (N, C, D, H,
    W), grid (N, Do, Ho, Wo, 3).

    Args:
        grid: positions (x, y[, z]), -1 and 1 being the input's edges.
        mode: bilinear, nearest or bicubic (4-d input only).
        padding_mode: what lies outside: zeros, the border's value, or the reflection at the border.
        align_corners: -1 and 1 are the centres of the corner pixels, not their outer edges.

    Source: Jaderberg et al., Spatial Transformer Networks, arXiv:1506.02025.
    """
    if mode not in GRID_SAMPLE_INTERPOLATION_MODES:
        raise ValueError(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: '{mode}'"
        )
    if padding_mode not in GRID_SAMPLE_PADDING_MODES:
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: '{padding_mode}'"
        )
    if align_corners is None:
        _warn_corner_default()
        align_corners = False
    return _p.grid_sampler(input, grid, mode, padding_mode, align_corners)


def affine_grid(theta, size, align_corners=None):
    """The grid, for grid_sample, of an affine map of the output's positions.

    Shapes: theta (N, 2, 3) and size (N, C, H, W) give (N, H, W, 2); theta (N, 3, 4) and size (N, C,
    D, H, W) give (N, D, H, W, 3).
    Raises ValueError for a theta of another shape or not floating point, or a size that is not
    positive.
    """
    if align_corners is None:
        _warn_corner_default()
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if len(size) not in (4, 5):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
            f"respectively. Got size {size}."
        )
    n = len(size) - 2
    if theta.dim() != 3 or theta.shape[-2] != n or theta.shape[-1] != n + 1:
        raise ValueError(
            f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {size}. "
            f"Got {theta.shape}."
        )
    if align_corners and min(size[2:]) == 1:
        warnings.warn(
            "Since version 1.3.0, affine_grid behavior has changed for unit-size grids when "
            "align_corners=True. This is not an intended use case of affine_grid. See the "
            "documentation of affine_grid for details.",
            stacklevel=2,
        )
    elif min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    return _p.affine_grid_generator(theta, size, align_corners)
