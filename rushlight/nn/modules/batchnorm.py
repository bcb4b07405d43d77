"""Batch normalization layers, their lazy form, and the one that works across processes.

Mechanism: _NormBase holds scale, shift and running statistics for batch and instance norm alike;
_BatchNorm decides whose statistics are used. In training with tracking, the op updates the running
statistics in place.

Invariants: running statistics are buffers, so they are in the state_dict; without tracking they are
None. A state_dict of version 1 has no num_batches_tracked, and loading one supplies it.
"""

import rushlight

from .. import functional as F
from .. import init
from ..parameter import Parameter, UninitializedBuffer, UninitializedParameter
from ._functions import sync_batch_norm, world_size
from .lazy import LazyModuleMixin
from .module import Module


class _NormBase(Module):
    """Scale, shift and running statistics of num_features channels."""

    _version = 2
    __constants__ = ["track_running_stats", "momentum", "eps", "num_features", "affine"]

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name, wanted in (("weight", affine), ("bias", affine and bias)):
            value = None
            if wanted:
                value = Parameter(rushlight.empty(num_features, device=device, dtype=dtype))
            self.register_parameter(name, value)
        mean = var = batches = None
        if track_running_stats:
            mean = rushlight.zeros(num_features, device=device, dtype=dtype)
            var = rushlight.ones(num_features, device=device, dtype=dtype)
            batches = rushlight.tensor(0, dtype=rushlight.long, device=device)
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", var)
        self.register_buffer("num_batches_tracked", batches)
        self.reset_parameters()

    def reset_running_stats(self):
        """Forget the running statistics: mean 0, variance 1, no batches."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self):
        """Forget the running statistics; set weight to 1 and bias to 0."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def _check_input_dim(self, input):
        raise NotImplementedError(f"{type(self).__name__} does not define _check_input_dim")

    def extra_repr(self):
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
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
        version = local_metadata.get("version", None)
        if (version is None or version < 2) and self.track_running_stats:
            own = self.num_batches_tracked
            if own is None or own.device.type == "meta":
                own = rushlight.tensor(0, dtype=rushlight.long)
            state_dict.setdefault(prefix + "num_batches_tracked", own)
        super()._load_from_state_dict(
            state_dict,
            prefix,
            local_metadata,
            strict,
            missing_keys,
            unexpected_keys,
            error_msgs,
        )


def _check_rank(input, ranks):
    if input.dim() not in ranks:
        wanted = " or ".join(f"{rank}D" for rank in ranks)
        raise ValueError(f"expected {wanted} input (got {input.dim()}D input)")


class _BatchNorm(_NormBase):
    """`(x - mean) / sqrt(var + eps) * weight + bias` for each channel."""

    def _statistics(self):
        """Count the batch; return (use the batch's statistics, momentum, running mean, running
        var)."""
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain average over all batches
                momentum = 1.0 / float(self.num_batches_tracked)
        mean, var = self.running_mean, self.running_var
        from_batch = self.training or (mean is None and var is None)
        if self.training and not self.track_running_stats:
            mean = var = None
        return from_batch, momentum, mean, var

    def forward(self, input):
        self._check_input_dim(input)
        from_batch, momentum, mean, var = self._statistics()
        return F.batch_norm(
            input, mean, var, self.weight, self.bias, from_batch, momentum, self.eps
        )


_DOC = """`(x - mean) / sqrt(var + eps) * weight + bias` for each channel of {shapes}.

    Shape: kept. In training mean and (biased) variance are the batch's over all dimensions but the
    channels', and the
    running ones move: `running = (1 - momentum) * running + momentum * batch`, the variance
        unbiased.
    In evaluation the running ones are used.

    Args:
        num_features: C.
        eps: added to the variance.
        momentum: how fast running statistics move; None averages over all batches.
        affine: learn weight and bias, (C,).
        track_running_stats: keep running statistics; without them the batch's are used in
            evaluation too.
        bias: with affine, learn a bias.

    Raises ValueError for other ranks, and in training for a single value per channel.
    Source: Ioffe and Szegedy, arXiv:1502.03167.
    """


class BatchNorm1d(_BatchNorm):
    __doc__ = _DOC.format(shapes="(N, C) or (N, C, L)")

    def _check_input_dim(self, input):
        _check_rank(input, (2, 3))


class BatchNorm2d(_BatchNorm):
    __doc__ = _DOC.format(shapes="(N, C, H, W)")

    def _check_input_dim(self, input):
        _check_rank(input, (4,))


class BatchNorm3d(_BatchNorm):
    __doc__ = _DOC.format(shapes="(N, C, D, H, W)")

    def _check_input_dim(self, input):
        _check_rank(input, (5,))


class _LazyNormBase(LazyModuleMixin, _NormBase):
    """Batch and instance norm that take num_features from the first input."""

    def __init__(
        self,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        # without parameters and buffers first: they have no size yet
        super().__init__(0, eps, momentum, False, False, device, dtype)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = rushlight.tensor(0, dtype=rushlight.long, device=device)

    def reset_parameters(self):
        """Set parameters and statistics, once their sizes are known."""
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input):
        """Set num_features from the input's channels and make the parameters."""
        if not self.has_uninitialized_params():
            return
        self.num_features = input.shape[1]
        for value in (self.weight, self.bias, self.running_mean, self.running_var):
            if value is not None:
                value.materialize((self.num_features,))
        self.reset_parameters()


class LazyBatchNorm1d(_LazyNormBase, _BatchNorm):
    """A BatchNorm1d that takes num_features from its first input, and then is one."""

    cls_to_become = BatchNorm1d
    _check_input_dim = BatchNorm1d._check_input_dim


class LazyBatchNorm2d(_LazyNormBase, _BatchNorm):
    """A BatchNorm2d that takes num_features from its first input, and then is one."""

    cls_to_become = BatchNorm2d
    _check_input_dim = BatchNorm2d._check_input_dim


class LazyBatchNorm3d(_LazyNormBase, _BatchNorm):
    """A BatchNorm3d that takes num_features from its first input, and then is one."""

    cls_to_become = BatchNorm3d
    _check_input_dim = BatchNorm3d._check_input_dim


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose batch is that of all processes of a group; (N, C, *).

    Arguments as BatchNorm1d's, and process_group, whose processes share statistics; None is all.
    Without an initialized rushlight.distributed, or alone in the group, it is plain batch norm.
    """

    def __init__(
        self,
        num_features,
        eps=1e-5,
        momentum=0.1,
        affine=True,
        track_running_stats=True,
        process_group=None,
        device=None,
        dtype=None,
        *,
        bias=True,
    ):
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self.process_group = process_group

    def _check_input_dim(self, input):
        if input.dim() < 2:
            raise ValueError(f"expected at least 2D input (got {input.dim()}D input)")

    def _check_non_zero_input_channels(self, input):
        if input.size(1) == 0:
            raise ValueError("SyncBatchNorm number of input channels should be non-zero")

    def forward(self, input):
        self._check_input_dim(input)
        self._check_non_zero_input_channels(input)
        from_batch, momentum, mean, var = self._statistics()
        if from_batch and self.training and world_size(self.process_group) > 1:
            return sync_batch_norm(
                input,
                mean,
                var,
                self.weight,
                self.bias,
                momentum,
                self.eps,
                self.process_group,
            )
        return F.batch_norm(
            input, mean, var, self.weight, self.bias, from_batch, momentum, self.eps
        )

    @classmethod
    def convert_sync_batchnorm(cls, module, process_group=None):
        """`module` with every BatchNorm layer in it replaced by a SyncBatchNorm of the same state.

        The root is returned anew if it is itself such a layer; otherwise it is changed in place and
        returned.
        """
        out = module
        if isinstance(module, _BatchNorm):
            out = cls(
                module.num_features,
                module.eps,
                module.momentum,
                module.affine,
                module.track_running_stats,
                process_group,
                bias=module.bias is not None,
            )
            if module.affine:
                with rushlight.no_grad():
                    out.weight = module.weight
                    out.bias = module.bias
            out.running_mean = module.running_mean
            out.running_var = module.running_var
            out.num_batches_tracked = module.num_batches_tracked
            out.training = module.training
        for name, child in module.named_children():
            out.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return out


__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "SyncBatchNorm",
]
