"""Upsample and its two fixed forms: interpolate as a layer."""

from .. import functional as F
from .module import Module


class Upsample(Module):
    """Resize the spatial dimensions of (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    Args:
        size: the new spatial size; or
        scale_factor: the factor by which it grows.
        mode: nearest, linear, bilinear, bicubic or trilinear.
        align_corners: make the corner pixels' centres coincide; not for nearest.
        recompute_scale_factor: derive the scale from the rounded size.
    """

    __constants__ = [
        "size",
        "scale_factor",
        "mode",
        "align_corners",
        "name",
        "recompute_scale_factor",
    ]

    def __init__(
        self,
        size=None,
        scale_factor=None,
        mode="nearest",
        align_corners=None,
        recompute_scale_factor=None,
    ):
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor = tuple(float(factor) for factor in scale_factor)
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input):
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def __setstate__(self, state):
        # layers saved before the argument existed recomputed
        state.setdefault("recompute_scale_factor", True)
        super().__setstate__(state)

    def extra_repr(self):
        if self.scale_factor is not None:
            how = f"scale_factor={self.scale_factor!r}"
        else:
            how = f"size={self.size!r}"
        return f"{how}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """(N, C, H, W) by the nearest pixel; `interpolate(mode="nearest")` is preferred."""

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """(N, C, H, W) bilinearly with aligned corners; `interpolate(...)` is preferred."""

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


__all__ = ["Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]
