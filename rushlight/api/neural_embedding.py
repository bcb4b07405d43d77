"""Embeddings: rows of a table by number, their renormalization, and sums of bags of rows."""

from __future__ import annotations

import numpy as np

from rushlight.api.neural_activation import tensor_argument
from rushlight.api.reduce import vector_norm
from rushlight.backends.compiled import extent
from rushlight.bind import function
from rushlight.dispatch import apply
from rushlight.ops.op import TABLE
from rushlight.tensor import beside


def _indices(name, index, rows, position=2):
    """Check dtype and range of indices; negative ones are out of range."""
    tensor_argument(name, "indices", index, position)
    if index.dtype.title not in ("Long", "Int"):
        raise RuntimeError(
            f"Expected tensor for argument #{position} 'indices' to have one of the following "
            "scalar types: Long, Int; "
            f"but got {index.type()} instead (while checking arguments for {name}; write "
            "indices.long())"
        )
    data = index._data
    low, high = extent(data) if isinstance(data, np.ndarray) and data.size else (0, -1)
    if low < 0 or high >= rows:
        bad = data[(data < 0) | (data >= rows)].flat[0]
        raise IndexError(
            f"index out of range in self ({name}: index {bad} into a table of {rows} rows)"
        )


def _no_sparse(sparse, weight):
    if sparse and weight.requires_grad:
        raise NotImplementedError(
            "embedding with sparse=True gives a sparse gradient, and there are no sparse tensors "
            "here: write sparse=False"
        )


def embedding(input, weight, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """weight[input]: (*) of int64 or int32 with (V, D) to (*, D);
    the row `padding_idx` (-1 for none) gets no gradient.
    """
    tensor_argument("embedding", "weight", weight)
    if weight._data.ndim != 2:
        raise RuntimeError(f"'weight' must be 2-D (got shape {list(weight.shape)})")
    _indices("embedding", input, weight._data.shape[0])
    _no_sparse(sparse, weight)
    attrs = {
        "padding_idx": padding_idx if padding_idx is not None and padding_idx >= 0 else None,
        "scale_grad_by_freq": bool(scale_grad_by_freq),
    }
    return apply(TABLE["embedding"], (weight, input), attrs)


@function(name="embedding")
def _embedding(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    """weight[indices], the arguments in the order of torch.embedding."""
    return embedding(indices, weight, padding_idx, scale_grad_by_freq, sparse)


@function
def embedding_renorm_(weight, input, max_norm, norm_type):
    """Scale the rows of `weight` that `input` names down to a norm of at most `max_norm`,
    in place.
    """
    _indices("embedding_renorm_", input, weight._data.shape[0])
    rows = np.unique(input._data)
    if rows.size:
        rows = beside(input, rows)
        norms = vector_norm(weight.detach()[rows], norm_type, 1, True)
        factor = (max_norm / (norms + 1e-7)).where(norms > max_norm, 1)
        plain = weight.detach()
        plain[rows] = plain[rows] * factor.to(weight.dtype)
    return weight


_MODES = ("sum", "mean", "max")


def embedding_bag(
    input,
    weight,
    offsets,
    scale_grad_by_freq=False,
    mode="sum",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """The sum, mean or maximum of the rows of each bag;
    input is flat, offsets say where bags begin.
    """
    return _bag(
        input,
        weight,
        offsets,
        scale_grad_by_freq,
        mode,
        sparse,
        per_sample_weights,
        include_last_offset,
        padding_idx,
    )[0]


def _bag(
    input,
    weight,
    offsets,
    scale_grad_by_freq,
    mode,
    sparse,
    per_sample_weights,
    include_last_offset,
    padding_idx,
):
    """(result, number of each index's bag, bag sizes, places of maxima)."""
    mode = mode if isinstance(mode, str) else _MODES[mode]
    tensor_argument("embedding_bag", "weight", weight)
    if weight._data.ndim != 2:
        raise RuntimeError(
            f"weight has to be a 2D Tensor, but got Tensor of dimension {weight._data.ndim}"
        )
    if input._data.ndim != 1:
        raise RuntimeError(
            f"input has to be a 1D Tensor here, but got Tensor of dimension {input._data.ndim}"
        )
    if offsets._data.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    _indices("embedding_bag", input, weight._data.shape[0])
    if offsets.dtype.title not in ("Long", "Int"):
        raise RuntimeError(f"expected offsets of dtype int64 or int32 but got {offsets.dtype}")
    _no_sparse(sparse, weight)
    if scale_grad_by_freq and mode == "max":
        raise RuntimeError(
            "embedding_bag: scaling gradients by frequency is not supported with mode 'max'"
        )
    if per_sample_weights is not None:
        if mode != "sum":
            raise RuntimeError("embedding_bag: per_sample_weights only supported with mode='sum'")
        if per_sample_weights.dtype is not weight.dtype:
            raise RuntimeError(
                f"expected per_sample_weights of dtype {weight.dtype} but got "
                f"{per_sample_weights.dtype}"
            )
        if per_sample_weights.shape != input.shape:
            raise RuntimeError(
                "expected per_sample_weights to be of the same shape as input "
                f"({list(input.shape)}), but got {list(per_sample_weights.shape)}"
            )
    start = offsets._data
    if include_last_offset and start.size < 1:
        raise RuntimeError("include_last_offset: number of offset should be at least 1")
    if start.size and start[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start "
            f"from position 0. However, got {start[0]}"
        )
    if start.size and start[-1] > input._data.size:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length({input._data.size}) but got "
            f"offsets[-1] of {start[-1]}"
        )
    bags = start.size - 1 if include_last_offset else start.size
    bag = (
        np.searchsorted(start[:bags], np.arange(input._data.size), side="right").astype(np.int64)
        - 1
    )
    attrs = {
        "mode": mode,
        "bags": bags,
        "padding_idx": None if padding_idx is None else padding_idx % weight._data.shape[0],
        "scale_grad_by_freq": bool(scale_grad_by_freq),
    }
    bag = beside(input, bag)
    out, size, where = apply(
        TABLE["embedding_bag"], (weight, input, bag, per_sample_weights), attrs
    )
    return out, bag, size, where


@function(name="embedding_bag")
def _embedding_bag(
    weight,
    indices,
    offsets,
    scale_grad_by_freq=False,
    mode=0,
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """embedding_bag, the arguments in the order of torch.embedding_bag:
    (result, offset2bag, bag_size, max_indices).
    """
    return _bag(
        indices,
        weight,
        offsets,
        scale_grad_by_freq,
        mode,
        sparse,
        per_sample_weights,
        include_last_offset,
        padding_idx,
    )


__all__ = ["embedding", "embedding_bag", "embedding_renorm_"]
