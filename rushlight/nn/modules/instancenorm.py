"""Instance normalization layers: batch norm of every sample by itself.

Invariant: a sample without a batch dimension is one batch of one. Without affine, num_features is
not needed, and a size that does not match it only warns.
"""

import warnings

from .. import functional as F
from .batchnorm import _LazyNormBase, _NormBase


class _InstanceNorm(_NormBase):
    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=False,
        track_running_stats=False,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def _get_no_batch_dim(self):
        raise NotImplementedError(f"{type(self).__name__} does not define _get_no_batch_dim")

    def _check_input_dim(self, input):
        low = self._get_no_batch_dim()
        if input.dim() not in (low, low + 1):
            raise ValueError(f"expected {low}D or {low + 1}D input (got {input.dim()}D input)")

    def _handle_no_batch_input(self, input):
        return self._apply_instance_norm(input.unsqueeze(0)).squeeze(0)

    def _apply_instance_norm(self, input):
        return F.instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )

    def _load_from_state_dict(
        self,
        state_dict,
        prefix,
        local_metadata,
        strict,
        missing_keys,
        unexpected_keys,
        error_msgs,
    ):
        # before version 2 statistics were tracked by default; a layer that does not would drop them
        # unseen
        if local_metadata.get("version", None) is None and not self.track_running_stats:
            stale = [
                prefix + name
                for name in ("running_mean", "running_var")
                if prefix + name in state_dict
            ]
            if stale:
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {' and '.join(map(repr, stale))} for "
                    f"{type(self).__name__} with track_running_stats=False. If state_dict is a "
                    "checkpoint of a version before 0.4.0, this may be expected because "
                    f"{type(self).__name__} does not track running stats by default since then: "
                    "remove these keys from state_dict, or construct the layer with "
                    "track_running_stats=True."
                )
                for key in stale:
                    state_dict.pop(key)
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )

    def forward(self, input):
        self._check_input_dim(input)
        axis = input.dim() - self._get_no_batch_dim()
        if input.size(axis) != self.num_features:
            if self.affine:
                raise ValueError(
                    f"expected input's size at dim={axis} to match num_features "
                    f"({self.num_features}), but got: {input.size(axis)}."
                )
            warnings.warn(
                f"input's size at dim={axis} does not match num_features. You can silence this "
                "warning by not passing in num_features, which is not used because affine=False",
                stacklevel=2,
            )
        if input.dim() == self._get_no_batch_dim():
            return self._handle_no_batch_input(input)
        return self._apply_instance_norm(input)


_DOC = """`(x - mean) / sqrt(var + eps) * weight + bias` for each sample and channel of {shapes}.

    Shape: kept. Mean and (biased) variance are over the spatial dimensions.

    Args:
        num_features: C; needed only with affine.
        eps: added to the variance.
        momentum: how fast running statistics move.
        affine: learn weight and bias, (C,).
        track_running_stats: keep running statistics and use them in evaluation.
        bias: with affine, learn a bias.

    Raises ValueError for other ranks. Source: Ulyanov, Vedaldi, Lempitsky, arXiv:1607.08022.
    """


class InstanceNorm1d(_InstanceNorm):
    __doc__ = _DOC.format(shapes="(N, C, L) or (C, L)")

    def _get_no_batch_dim(self):
        return 2


class InstanceNorm2d(_InstanceNorm):
    __doc__ = _DOC.format(shapes="(N, C, H, W) or (C, H, W)")

    def _get_no_batch_dim(self):
        return 3


class InstanceNorm3d(_InstanceNorm):
    __doc__ = _DOC.format(shapes="(N, C, D, H, W) or (C, D, H, W)")

    def _get_no_batch_dim(self):
        return 4


class LazyInstanceNorm1d(_LazyNormBase, _InstanceNorm):
    """An InstanceNorm1d that takes num_features from its first input, and then is one."""

    cls_to_become = InstanceNorm1d
    _get_no_batch_dim = InstanceNorm1d._get_no_batch_dim
    _check_input_dim = InstanceNorm1d._check_input_dim


class LazyInstanceNorm2d(_LazyNormBase, _InstanceNorm):
    """An InstanceNorm2d that takes num_features from its first input, and then is one."""

    cls_to_become = InstanceNorm2d
    _get_no_batch_dim = InstanceNorm2d._get_no_batch_dim
    _check_input_dim = InstanceNorm2d._check_input_dim


class LazyInstanceNorm3d(_LazyNormBase, _InstanceNorm):
    """An InstanceNorm3d that takes num_features from its first input, and then is one."""

    cls_to_become = InstanceNorm3d
    _get_no_batch_dim = InstanceNorm3d._get_no_batch_dim
    _check_input_dim = InstanceNorm3d._check_input_dim


__all__ = [
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
]
