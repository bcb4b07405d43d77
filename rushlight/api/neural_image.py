"""Padding, interpolation, sampling at points, and shuffles of pixels and channels."""

from __future__ import annotations

import numpy as np

from rushlight.api.neural_activation import tensor_argument
from rushlight.bind import function
from rushlight.core import dtype as D
from rushlight.dispatch import apply
from rushlight.ops import neural_resample as R
from rushlight.ops.layouts import by_channels
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor

# ---- padding -------------------------------------------------------------------------------------


def _pairs(pad):
    """(before, after) of each padded dimension, the last one first."""
    pad = [int(p) for p in pad]
    return list(zip(pad[::2], pad[1::2]))


@function
def constant_pad_nd(input, pad, value=0):
    """`value` around the last dimensions: pad = (before, after) of the last,
    then of the one before it, ...
    """
    tensor_argument("constant_pad_nd", "input", input)
    shape = input._data.shape
    if len(pad) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(pad)}")
    if len(pad) > 2 * len(shape):
        raise RuntimeError(
            "Length of pad should be no more than twice the number of dimensions of the input. "
            f"Pad length is {len(pad)} while the input has {len(shape)} dimensions."
        )
    pairs = _pairs(pad)
    full = tuple([(0, 0)] * (len(shape) - len(pairs)) + pairs[::-1])
    for i, (n, (a, b)) in enumerate(zip(shape, full)):
        if n + a + b < 0:
            raise RuntimeError(
                f"The input size {n}, plus negative padding {a} and {b} resulted in a negative "
                f"output size, which is invalid. Check dimension {i} of your input."
            )
    value = value.item() if isinstance(value, Tensor) else 0 if value is None else value
    return apply(TABLE["constant_pad_nd"], (input,), {"pad": full, "value": D.number_for(value, input.dtype)})


_ROWS = {"reflect": "reflection_pad", "replicate": "replication_pad", "circular": "circular_pad"}


def pad(input, pad, mode="constant", value=None):
    """Pad the last dimensions by a constant, by reflection without the border, by repeating it,
    or by wrapping around.
    """
    tensor_argument("pad", "input", input)
    if isinstance(pad, Tensor):
        pad = pad.tolist()
    pad = list(pad)
    if len(pad) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2 (got {pad})")
    shape = input._data.shape
    if len(pad) > 2 * len(shape):
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but "
            f"got padding length {len(pad)} and input of dimension {len(shape)}"
        )
    if mode == "constant":
        return constant_pad_nd(input, pad, 0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    n = len(pad) // 2
    if mode not in _ROWS or not (1 <= n <= 3 and len(shape) in (n + 1, n + 2)):
        if mode not in _ROWS:
            raise NotImplementedError(f"Unrecognised padding mode {mode}")
        raise NotImplementedError(
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now "
            f"(a pad of {len(pad)} numbers needs an input of {n + 1} or {n + 2} dimensions, got "
            f"{len(shape)})"
        )
    return _pad_by_table(input, _pairs(pad)[::-1], mode, n)


def _pad_by_table(input, pairs, mode, n):
    shape = input._data.shape
    kept = shape[len(shape) - n :]
    batched = len(shape) == n + 2
    if 0 in shape[1 if batched else 0 :] and mode != "circular":
        raise RuntimeError(
            f"Expected {n + 1}D or {n + 2}D (batch mode) tensor with possibly 0 batch size and "
            f"other non-zero dimensions for input, but got: {list(shape)}"
        )
    for i, (length, (a, b)) in enumerate(zip(kept, pairs)):
        if mode == "reflect" and (a >= length or b >= length):
            raise RuntimeError(
                "Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({a}, {b}) at dimension {len(shape) - n + i} of input {list(shape)}"
            )
        if mode == "circular":
            if a > length or b > length:
                raise RuntimeError("Padding value causes wrapping around more than once.")
            if length + a + b < 0:
                raise RuntimeError("Negative padding value is resulting in an empty dimension")
        if length + a + b < 1 and mode != "circular":
            raise RuntimeError(
                f"input ({', '.join(map(str, kept))}) is too small. Calculated output size: "
                f"{length + a + b} at dimension {len(shape) - n + i}"
            )
    tables = tuple(
        None if a == b == 0 else R.padding_taps(length, a, b, mode)
        for length, (a, b) in zip(kept, pairs)
    )
    return apply(
        TABLE[_ROWS[mode] + ("" if mode == "circular" else f"{n}d")], (input,), {"tables": tables}
    )


# ---- interpolation -------------------------------------------------------------------------------


def _number(x):
    """The type in which positions are computed."""
    return np.float64 if x.dtype is D.float64 else np.float32


#: what PyTorch computes with weights of the input's own half type (three dimensions only where they are row-major)
_ROUNDED = ("upsample_linear1d", "upsample_trilinear3d", "upsample_bicubic2d")


def _upsample(name, n, table):
    row = TABLE[name]

    def check(input, output_size, scales):
        shape = tensor_argument(name, "input", input)._data.shape
        if input.dtype.category < D.FLOAT and input.dtype is not D.uint8:
            raise NotImplementedError(
                f"\"{name}\" not implemented for '{input.dtype.title}': it takes floating "
                "point and uint8 tensors; convert the input with .to(...) first"
            )
        if len(shape) != n + 2:
            raise RuntimeError(
                f"It is expected input_size equals to {n + 2}, but got size {len(shape)}"
            )
        size = tuple(int(v) for v in output_size)
        if len(size) != n:
            raise RuntimeError(
                f"It is expected output_size equals to {n}, but got size {len(size)}"
            )
        if 0 in shape[1:]:
            raise RuntimeError(
                f"Non-empty {n + 2}D data tensor expected but got a tensor with sizes {list(shape)}"
            )
        if min(size) <= 0:
            raise RuntimeError(
                "Input and output sizes should be greater than 0, but got input "
                f"{list(shape[2:])} output {list(size)}"
            )
        return shape[2:], size, (None,) * n if scales is None else tuple(scales)

    if table is None:

        def upsample(input, output_size, scales=None):
            own, size, scales = check(input, output_size, scales)
            exact = "exact" in name
            return apply(
                row,
                (input,),
                {"tables": tuple(R.nearest(a, b, s, exact) for a, b, s in zip(own, size, scales))},
            )

    else:

        def upsample(input, output_size, align_corners, scales=None):
            own, size, scales = check(input, output_size, scales)
            number = (_number(input),)
            if name in _ROUNDED and input.dtype is not input.dtype.compute and not (n == 3 and by_channels(input._data)):
                number = (*number, input._data.dtype)
            return apply(
                row,
                (input,),
                {
                    "tables": tuple(
                        table(a, b, bool(align_corners), s, *number)
                        for a, b, s in zip(own, size, scales)
                    )
                },
            )

    upsample.__name__ = upsample.__qualname__ = name
    upsample.__doc__ = (
        f"(N, C, *size) to (N, C, *output_size) by {name.replace('_', ' ')}; `scales` are the "
        "factors asked for, where they decide the positions."
    )
    return upsample


def _antialiased(kind):
    return lambda a, b, align, s, number: R.antialiased(a, b, align, s, number, kind)


upsample_nearest1d, upsample_nearest2d, upsample_nearest3d = (
    _upsample(f"upsample_nearest{n}d", n, None) for n in (1, 2, 3)
)
upsample_nearest_exact1d, upsample_nearest_exact2d, upsample_nearest_exact3d = (
    _upsample(f"upsample_nearest_exact{n}d", n, None) for n in (1, 2, 3)
)
upsample_linear1d = _upsample("upsample_linear1d", 1, R.linear)
upsample_bilinear2d = _upsample("upsample_bilinear2d", 2, R.linear)
upsample_trilinear3d = _upsample("upsample_trilinear3d", 3, R.linear)
upsample_bicubic2d = _upsample("upsample_bicubic2d", 2, R.cubic)
upsample_bilinear2d_aa = _upsample("upsample_bilinear2d_aa", 2, _antialiased("bilinear"))
upsample_bicubic2d_aa = _upsample("upsample_bicubic2d_aa", 2, _antialiased("bicubic"))
upsample_lanczos2d_aa = _upsample("upsample_lanczos2d_aa", 2, _antialiased("lanczos"))


# ---- sampling ------------------------------------------------------------------------------------

_MODES, _PADDINGS = ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection")


@function
def grid_sampler(input, grid, mode, padding_mode, align_corners):
    """The values of images at the points of a grid:
    names as in grid_sample, or PyTorch's numbers for them.
    """
    mode = _MODES[mode] if isinstance(mode, int) else mode
    padding_mode = _PADDINGS[padding_mode] if isinstance(padding_mode, int) else padding_mode
    x, points = (
        tensor_argument("grid_sampler", "input", input)._data.shape,
        tensor_argument("grid_sampler", "grid", grid, 2)._data.shape,
    )
    if input.dtype is not grid.dtype:
        raise RuntimeError(
            "grid_sampler(): expected input and grid to have same dtype, but input has "
            f"{input.dtype} and grid has {grid.dtype}"
        )
    if len(x) not in (4, 5) or len(points) != len(x):
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, "
            f"but got input with sizes {list(x)} and grid with sizes {list(points)}"
        )
    if x[0] != points[0]:
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with "
            f"sizes {list(x)} and grid with sizes {list(points)}"
        )
    if points[-1] != len(x) - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {len(x) - 2} in last dimension, but got "
            f"grid with sizes {list(points)}"
        )
    if 0 in x[1:]:
        raise RuntimeError(
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
            f"sizes {list(x)}"
        )
    if mode == "bicubic" and len(x) == 5:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    attrs = {"mode": mode, "padding": padding_mode, "align": bool(align_corners)}
    return apply(TABLE[f"grid_sampler_{len(x) - 2}d"], (input, grid), attrs)


@function
def affine_grid_generator(theta, size, align_corners):
    """The points, for grid_sampler, of affine maps theta (N, n,
    n + 1) of an output of shape `size` (N, C, *n sizes).
    """
    tensor_argument("affine_grid_generator", "theta", theta)
    return apply(
        TABLE["affine_grid_generator"],
        (theta,),
        {"size": tuple(int(v) for v in size)[2:], "align": bool(align_corners)},
    )


# ---- shuffles ------------------------------------------------------------------------------------


@function
def pixel_shuffle(input, upscale_factor):
    """(*, C r^2, H, W) to (*, C, H r, W r)."""
    shape, r = tensor_argument("pixel_shuffle", "input", input)._data.shape, upscale_factor
    if len(shape) < 3:
        raise RuntimeError(
            "pixel_shuffle expects input to have at least 3 dimensions, but got input with "
            f"{len(shape)} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    if shape[-3] % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={shape[-3]} is not divisible by {r * r}"
        )
    return apply(TABLE["pixel_shuffle"], (input,), {"r": r})


@function
def pixel_unshuffle(input, downscale_factor):
    """(*, C, H r, W r) to (*, C r^2, H, W)."""
    shape, r = tensor_argument("pixel_unshuffle", "input", input)._data.shape, downscale_factor
    if len(shape) < 3:
        raise RuntimeError(
            "pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{len(shape)} dimension(s)"
        )
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    for name, n, i in (("height", shape[-2], -2), ("width", shape[-1], -1)):
        if n % r:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but "
                f"input.size({i})={n} is not divisible by {r}"
            )
    return apply(TABLE["pixel_unshuffle"], (input,), {"r": r})


@function
def channel_shuffle(input, groups):
    """Channels (dimension 1) of `groups` groups, one of each group in turn."""
    shape = tensor_argument("channel_shuffle", "input", input)._data.shape
    if len(shape) < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    if shape[1] % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {shape[1]} channels and "
            f"{groups} groups."
        )
    return apply(TABLE["channel_shuffle"], (input,), {"groups": groups})


native_channel_shuffle = function(channel_shuffle, name="native_channel_shuffle")
function(channel_shuffle)
