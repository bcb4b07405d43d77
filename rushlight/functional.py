"""torch.functional: functions that torch has at its top as well, under the module name that older programs import."""

import rushlight

NAMES = (
    "atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors", "cartesian_prod", "cdist", "chain_matmul", "einsum",
    "istft", "lu", "meshgrid", "norm", "pca_lowrank", "split", "stft", "svd_lowrank", "tensordot", "unique", "unique_consecutive", "unravel_index",
)  # fmt: skip
globals().update({name: getattr(rushlight, name) for name in NAMES})

__all__ = [*NAMES]
