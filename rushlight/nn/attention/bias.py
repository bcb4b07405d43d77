"""torch.nn.attention.bias: causal masks by name, for queries and keys of different lengths.

A CausalBias is the bool mask itself, as a subclass of Tensor that remembers its kind, so attention
takes it as any mask.
"""

import warnings
from enum import IntEnum

import rushlight
from rushlight import Tensor

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(IntEnum):
    """Where the diagonal of a causal mask starts: at the first query and key, or ends: at the last."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(Tensor):
    """A bool mask (1, seq_len_q, seq_len_kv), true where query i may see key j.

    UPPER_LEFT: j <= i. LOWER_RIGHT: j - seq_len_kv <= i - seq_len_q; with more queries than keys the
    first queries see nothing, which is warned of.
    """

    __torch_function__ = rushlight._C._disabled_torch_function_impl

    def __new__(cls, variant, seq_len_q, seq_len_kv):
        if not isinstance(variant, CausalVariant):
            raise AssertionError(f"variant must be a CausalVariant, got {type(variant).__name__}")
        shift = 0 if variant == CausalVariant.UPPER_LEFT else seq_len_kv - seq_len_q
        mask = rushlight.ones(seq_len_q, seq_len_kv, dtype=rushlight.bool).tril(shift)
        return Tensor._make_subclass(cls, mask.unsqueeze(0))

    def __init__(self, variant, seq_len_q, seq_len_kv):
        self.variant, self.seq_len_q, self.seq_len_kv = variant, seq_len_q, seq_len_kv
        if seq_len_q > seq_len_kv and variant == CausalVariant.LOWER_RIGHT:
            warnings.warn(
                "Lower right causal bias will produce NaNs in the output when seq_len_q > seq_len_kv!",
                stacklevel=3,
            )

    def _materialize(self, device=None):
        """The mask as a plain tensor."""
        return self.as_subclass(Tensor)[0].to(device or self.device)

    def __repr__(self):
        return repr(self._materialize())


def _of(name, variant, size):
    if len(size) != 2:
        raise AssertionError(f"{name} only supports 2D tensors")
    return CausalBias(variant, *size)


def causal_upper_left(*size):
    """A CausalBias of size (seq_len_q, seq_len_kv) with query i seeing keys up to i."""
    return _of("causal_upper_left", CausalVariant.UPPER_LEFT, size)


def causal_lower_right(*size):
    """A CausalBias of size (seq_len_q, seq_len_kv) with the last query seeing every key."""
    return _of("causal_lower_right", CausalVariant.LOWER_RIGHT, size)
