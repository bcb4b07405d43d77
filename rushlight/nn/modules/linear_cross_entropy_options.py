"""LinearCrossEntropyOptions: how linear_cross_entropy may split its batch.

The options bound the memory for logits and never change the value. This engine computes the loss
over the whole batch, so they are checked and kept, and have no further effect.
"""

import re
from dataclasses import dataclass

import rushlight

_POLICIES = ("accurate", "balanced", "compact", "auto")


@dataclass(frozen=True, slots=True)
class LinearCrossEntropyOptions:
    """Options of linear_cross_entropy.

    Args:
        allow_retain_graph: allow several backward passes.
        batch_chunk_size: samples at a time; None lets chunking_method decide.
        chunking_method: "auto", "aspect_ratio:X" with a number X, or None.
        acc_policy: "accurate", "balanced", "compact" or "auto".
        acc_dtype: the dtype of sums; None lets the policy decide.

    Raises ValueError for other values.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: object = None

    def __post_init__(self):
        size = self.batch_chunk_size
        if size is not None and (not isinstance(size, int) or size <= 0):
            raise ValueError(f"batch_chunk_size must be positive int or None, got {size}")
        method = self.chunking_method
        if method not in (None, "auto"):
            if re.fullmatch(r"aspect_ratio:\d+(\.\d+)?", str(method)) is None:
                raise ValueError(f"invalid chunking_method: {method!r}")
        if self.acc_policy not in _POLICIES:
            raise ValueError(f"invalid acc_policy: {self.acc_policy!r}")
        names = ("float16", "bfloat16", "float32", "float64")
        if self.acc_dtype not in (None, *(getattr(rushlight, name) for name in names)):
            raise ValueError(
                "acc_dtype must be one of {None, torch.float16, torch.bfloat16, torch.float32, "
                f"torch.float64}}, got {self.acc_dtype}. Pass acc_dtype=None to let the op pick "
                "automatically."
            )


__all__ = ["LinearCrossEntropyOptions"]
