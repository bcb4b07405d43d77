"""Look-up of rows: embedding, sums of bags of rows, and one-hot vectors.

Mechanism: the arguments are checked and brought to one form (a flat index tensor with offsets, a
non-negative padding index), then the engine gathers. With `max_norm` the rows that are looked up
are first shortened in place, outside the graph.

Invariant: the gradient of a row at the padding index is zero.
"""

import warnings

import rushlight
from rushlight.nn.functional import _primitives as _p


def _renormalize(weight, indices, max_norm, norm_type):
    with rushlight.no_grad():
        _p.embedding_renorm_(weight, indices, max_norm, norm_type)


def embedding(
    input,
    weight,
    padding_idx=None,
    max_norm=None,
    norm_type=2.0,
    scale_grad_by_freq=False,
    sparse=False,
):
    """Rows of `weight` at the indices `input`.

    Shapes: input (*) of int64 or int32, weight (V, D); result (*, D).

    Args:
        padding_idx: this row gets no gradient; may be negative.
        max_norm: first shorten, in place, the rows used whose norm is larger.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often the row is in `input`.
        sparse: give the gradient of `weight` as a sparse tensor.

    Raises AssertionError for a padding index out of range, IndexError for an index out of range.
    """
    if padding_idx is None:
        padding_idx = -1
    else:
        rows = weight.size(0)
        if not -rows <= padding_idx < rows:
            raise AssertionError(
                f"Padding_idx must be within num_embeddings: got {padding_idx}, expected "
                f"{-rows} to {rows - 1}"
            )
        padding_idx %= rows
    if max_norm is not None:
        input = input.contiguous()
        _renormalize(weight, input, max_norm, norm_type)
    return _p.embedding(input, weight, padding_idx, scale_grad_by_freq, sparse)


def embedding_bag(
    input,
    weight,
    offsets=None,
    max_norm=None,
    norm_type=2,
    scale_grad_by_freq=False,
    mode="mean",
    sparse=False,
    per_sample_weights=None,
    include_last_offset=False,
    padding_idx=None,
):
    """Sum, mean or maximum of the rows of each bag of indices, without forming the rows.

    Shapes: input (B, n), every row a bag; or (n,) with offsets (B,), the bags' first positions.
    weight (V, D). Result (B, D).

    Args:
        max_norm, norm_type, scale_grad_by_freq, sparse: as for embedding.
        mode: "sum", "mean" or "max".
        per_sample_weights: a factor for each index, of input's shape; only for "sum".
        include_last_offset: offsets ends with the total number of indices.
        padding_idx: indices with this value are left out of their bag.

    Raises ValueError for shapes and modes that do not go together.
    """
    if weight.dtype == rushlight.long and input.is_floating_point():
        warnings.warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage "
            "`embedding_bag(weight, input, ...)` is deprecated, and should now be "
            "`embedding_bag(input, weight, ...)`.",
            stacklevel=2,
        )
        input, weight = weight, input
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then "
            f"it must have the same shape as the input ({input.shape})"
        )
    if weight.dim() != 2:
        raise ValueError(
            f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}"
        )
    input, offsets, per_sample_weights = _flat_bags(input, offsets, per_sample_weights)
    _check_bag_mode(mode, scale_grad_by_freq, sparse, per_sample_weights)
    if max_norm is not None:
        _renormalize(weight, input, max_norm, norm_type)
    if padding_idx is not None:
        rows = weight.size(0)
        if not -rows <= padding_idx < rows:
            raise RuntimeError(
                f"padding_idx must be within the number of embeddings, {-rows} through {rows - 1}, "
                f"but got {padding_idx}"
            )
        padding_idx %= rows
    return _p.embedding_bag(
        input,
        weight,
        offsets,
        scale_grad_by_freq,
        mode,
        sparse,
        per_sample_weights,
        include_last_offset,
        padding_idx,
    )


def _flat_bags(input, offsets, per_sample_weights):
    """One index vector and the bags' offsets, from either form of input."""
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
        bags, length = input.size()
        if length:
            offsets = rushlight.arange(
                0, bags * length, length, dtype=input.dtype, device=input.device
            )
        else:
            offsets = rushlight.zeros(bags, dtype=input.dtype, device=input.device)
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.reshape(-1)
        return input.reshape(-1), offsets, per_sample_weights
    if input.dim() != 1:
        raise ValueError(
            f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}"
        )
    if not isinstance(offsets, rushlight.Tensor):
        raise ValueError(
            f"offsets has to be a 1D Tensor but got {type(offsets).__name__}"
            if offsets is not None
            else "offsets has to be a 1D Tensor but got None"
        )
    if offsets.dim() != 1:
        raise ValueError(f"offsets has to be a 1D Tensor, but got {offsets.dim()} dimensions")
    return input, offsets, per_sample_weights


def _check_bag_mode(mode, scale_grad_by_freq, sparse, per_sample_weights):
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"mode has to be one of sum, mean or max, but got {mode!r}")
    if mode == "max" and scale_grad_by_freq:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported "
            f"for mode='sum' (got mode='{mode}')"
        )


def one_hot(tensor, num_classes=-1):
    """Vectors that are 1 at the position `tensor` gives and 0 elsewhere.

    Shapes: tensor (*) of int64; result (*, num_classes) of int64. With -1 the number of classes is
    the largest value + 1.
    Raises RuntimeError for another dtype, a negative value, or one that does not fit.
    """
    if tensor.dtype != rushlight.int64:
        raise RuntimeError(
            "one_hot is only applicable to index tensor of type LongTensor, but got "
            f"{tensor.dtype}; write tensor.long()"
        )
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return rushlight.zeros(
            (*tensor.shape, num_classes), dtype=rushlight.int64, device=tensor.device
        )
    if tensor.min().item() < 0:
        raise RuntimeError("Class values must be non-negative.")
    largest = tensor.max().item()
    if num_classes == -1:
        num_classes = largest + 1
    elif largest >= num_classes:
        raise RuntimeError(
            f"Class values must be smaller than num_classes: got {largest} with {num_classes}"
        )
    out = rushlight.zeros((*tensor.shape, num_classes), dtype=rushlight.int64, device=tensor.device)
    return out.scatter_(-1, tensor.unsqueeze(-1), 1)
