"""Attention, distances between vectors, bilinear forms, and the connectionist temporal loss."""

from __future__ import annotations

import math

import numpy as np

from rushlight.api.neural_activation import dropout, tensor_argument
from rushlight.api.neural_loss import reduction_name
from rushlight.backends.switches import ATTENTION_KERNELS
from rushlight.bind import function
from rushlight.core import dtype as D
from rushlight.core.shape import broadcast
from rushlight.dispatch import apply
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, beside, wrap


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    """softmax(query key^T scale + mask) value.

    Shapes: (..., T, E), (..., S, E) and (..., S, V) give (..., T, V). A bool mask says what may be
    seen, another is added to the scores. `is_causal` lets query i see keys up to i. With
    `enable_gqa` several query heads (dimension -3) share one head of key and value. The scale is
    1 / sqrt(E) by default. Source: Vaswani et al., arXiv:1706.03762.
    """
    q, k, v = (
        tensor_argument("scaled_dot_product_attention", n, t, i)
        for i, (n, t) in enumerate((("query", query), ("key", key), ("value", value)), 1)
    )
    if not q.dtype is k.dtype is v.dtype:
        raise RuntimeError(
            "Expected query, key, and value to have the same dtype, but got query.dtype: "
            f"{q.dtype} key.dtype: {k.dtype} and value.dtype: {v.dtype} instead."
        )
    if min(t._data.ndim for t in (q, k, v)) < 2:
        raise RuntimeError(
            "Expected query, key, and value to all be  at least 2 dimensional, but got "
            f"query.dim: {q.dim()}, key.dim: {k.dim()} and value.dim: {v.dim()} instead."
        )
    if attn_mask is not None and attn_mask.dtype not in (D.bool_, q.dtype, D.float32):
        raise RuntimeError(
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got "
            f"attn_mask.dtype: {attn_mask.dtype} and  query.dtype: {q.dtype} instead."
        )
    if enable_gqa:
        k, v = _repeated_heads(q, k, v)
    scale = (
        1 / math.sqrt(q._data.shape[-1])
        if scale is None and q._data.shape[-1]
        else 1.0
        if scale is None
        else float(scale)
    )
    if attn_mask is not None:
        broadcast((*q._data.shape[:-1], k._data.shape[-2]), attn_mask._data.shape)
    if ATTENTION_KERNELS["flash"] and dropout_p == 0 and _one_node(q, k, v, attn_mask):
        if is_causal and attn_mask is not None:
            seen = beside(q, np.tri(q.shape[-2], k.shape[-2], dtype=bool))
            own = attn_mask.dtype is D.bool_
            attn_mask = attn_mask & seen if own else attn_mask.masked_fill(~seen, -math.inf)
            is_causal = False
        return apply(
            TABLE["attention"], (q, k, v, attn_mask), {"scale": scale, "causal": bool(is_causal)}
        )[0]
    if is_causal and attn_mask is not None:  # the fused kernel applies both
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
            "is_causal=True"
        )
    if not ATTENTION_KERNELS["math"]:
        raise RuntimeError(_no_kernel(q, k, v, attn_mask, dropout_p))
    return _composed(q, k, v, attn_mask, dropout_p, is_causal, scale)


def _no_kernel(q, k, v, mask, dropout_p):
    """Why nothing computes this attention while the composite is switched off."""
    if not ATTENTION_KERNELS["flash"]:
        return (
            "No viable backend for scaled_dot_product_attention was found. "
            "This is likely due to turning off both the math kernel and the fused kernels: "
            "allow one with torch.nn.attention.sdpa_kernel([SDPBackend.MATH])"
        )
    shapes = ", ".join(str(list(t.shape)) for t in (q, k, v))
    return (
        "No available kernel. Aborting execution. (the fused kernel takes 4-dimensional query, key "
        "and value of one batch, head count and head size, without dropout, and a mask that needs "
        f"no gradient; got {shapes}, dropout_p={dropout_p}, "
        f"{'no mask' if mask is None else f'a mask of {list(mask.shape)}'}: allow SDPBackend.MATH too)"
    )


def _repeated_heads(q, k, v):
    n, m, w = (t._data.shape[-3] for t in (q, k, v))
    if n % m or n % w:
        raise RuntimeError(
            f"Number of heads in key and value must divide the number of heads in query: got {n}, "
            f"{m} and {w}"
        )
    return _each_head(k, n // m), _each_head(v, n // w)


def _each_head(x, times):
    """Every head of (..., heads, length, size) `times` times in a row."""
    if times == 1:
        return x
    *lead, heads, length, size = x._data.shape
    many = x.unsqueeze(-3).expand(*lead, heads, times, length, size)
    return many.reshape(*lead, heads * times, length, size)


def _one_node(q, k, v, mask):
    """Whether the fused row takes these: 4-d, one batch and head count, one head size,
    a mask without gradient.
    """
    a, b, c = (t._data.shape for t in (q, k, v))
    if not (
        len(a) == len(b) == len(c) == 4
        and a[:2] == b[:2] == c[:2]
        and a[3] == b[3] == c[3]
        and b[2] == c[2]
    ):
        return False
    if 0 in a or 0 in b or q.dtype.category != D.FLOAT:
        return False
    return mask is None or not mask.requires_grad and mask._data.ndim in (2, 4)


def _composed(q, k, v, mask, dropout_p, is_causal, scale):
    """Products, a softmax that gives 0 where nothing is seen, dropout, a product: a node each; half types in float32."""
    if q.dtype is not q.dtype.compute:
        half, wide = q.dtype, q.dtype.compute
        return _composed(q.to(wide), k.to(wide), v.to(wide), mask, dropout_p, is_causal, scale).to(half)
    if is_causal:
        mask = beside(q, np.tri(q.shape[-2], k.shape[-2], dtype=bool))
    if mask is not None and mask.dtype is D.bool_:
        mask = q.new_zeros(mask.shape).masked_fill(~mask, -math.inf)
    root = math.sqrt(abs(scale))
    scores = (q * (root if scale >= 0 else -root)).matmul(k.transpose(-2, -1) * root)
    if mask is not None:
        scores = scores + mask.to(scores.dtype)
    weights = apply(TABLE["safe_softmax"], (scores,), {"axis": scores._data.ndim - 1})
    return dropout(weights, dropout_p, True).matmul(v)


# ---- distances -----------------------------------------------------------------------------------


@function
def pdist(input, p=2.0):
    """The p-norm distances between all pairs of rows of (N, M): (N (N - 1) / 2,)."""
    if tensor_argument("pdist", "input", input)._data.ndim != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input._data.ndim}D")
    if input.dtype not in (D.float32, D.float64):
        raise RuntimeError(f"pdist only supports floating-point dtypes (got {input.dtype})")
    if p < 0:
        raise RuntimeError(f"pdist only supports non-negative p values (got {p})")
    return apply(TABLE["pdist"], (input,), {"p": float(p)})


@function
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """The p-norm distances of all rows of x1 (..., P, M) from all rows of x2 (..., R, M):
    (..., P, R).
    """
    tensor_argument("cdist", "x1", x1)
    tensor_argument("cdist", "x2", x2, 2)
    a, b = x1._data.shape, x2._data.shape
    for name, shape in (("X1", a), ("X2", b)):
        if len(shape) < 2:
            raise RuntimeError(
                f"cdist only supports at least 2D tensors, {name} got: {len(shape)}D"
            )
    if a[-1] != b[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {a[-1]} X2: {b[-1]}"
        )
    if p < 0:
        raise RuntimeError(f"cdist only supports non-negative p values (got {p})")
    if x1.dtype.compute is not x1.dtype:
        raise NotImplementedError(f'"cdist" not implemented for \'{x1.dtype.title}\': convert the inputs with .float() first')
    if a[:-2] != b[:-2]:
        lead = np.broadcast_shapes(a[:-2], b[:-2])
        x1, x2 = x1.expand(*lead, *a[-2:]), x2.expand(*lead, *b[-2:])
    return apply(TABLE["cdist"], (x1, x2), {"p": float(p)})


@function
def pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    """The p-norm of x1 - x2 + eps along the last dimension."""
    difference = apply(TABLE["add"], (x1 - x2, eps))
    return apply(
        TABLE["pairwise_norm"],
        (difference,),
        {"axes": (difference._data.ndim - 1,), "keepdim": bool(keepdim), "ord": float(p)},
    )


@function
def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) along `dim`; the arguments broadcast."""
    dtype = (x1.new_zeros(()) + x2.new_zeros(())).dtype if x1.dtype is not x2.dtype else x1.dtype
    if dtype.category < D.FLOAT:
        raise RuntimeError(
            f"expected common dtype to be floating point, yet common dtype is {dtype.title}"
        )
    x1, x2 = x1.to(dtype), x2.to(dtype)
    shape = np.broadcast_shapes(x1._data.shape, x2._data.shape)
    x1, x2 = (x if x._data.shape == shape else x.expand(shape) for x in (x1, x2))
    unit = [x / _norm(x, dim).clamp(min=eps) for x in (x1, x2)]
    return (unit[0] * unit[1]).sum(dim)


def _norm(x, dim):
    axis = dim % x._data.ndim if x._data.ndim else 0
    return apply(
        TABLE["linalg_vector_norm"],
        (x,),
        {"axes": (axis,) if x._data.ndim else (), "keepdim": True, "ord": 2.0},
    )


@function
def bilinear(input1, input2, weight, bias=None):
    """`y_o = x1^T A_o x2 + b_o`.

    Shapes: input1 (*, in1), input2 (*, in2), weight (out, in1, in2), bias (out,); result (*, out).
    Raises RuntimeError when batch dimensions, weight or bias do not fit.
    """
    out_features, in1, in2 = weight.size(0), weight.size(1), weight.size(2)
    if input1.dim() != input2.dim():
        raise RuntimeError(
            f"bilinear(): input dimensions do not match: got {input1.dim()} and {input2.dim()}"
        )
    for axis in range(input1.dim() - 1):
        if input1.size(axis) != input2.size(axis):
            raise RuntimeError(
                f"bilinear(): input batch dimensions do not match at dim {axis}: "
                f"got {input1.size(axis)} and {input2.size(axis)}"
            )
    for which, x, wanted in (("input1", input1, in1), ("input2", input2, in2)):
        if x.size(-1) != wanted:
            raise RuntimeError(
                f"bilinear(): {which} size does not match weight size: "
                f"got {x.size(-1)} but expected {wanted}"
            )
    if bias is not None and bias.size(0) != out_features:
        raise RuntimeError(
            "bilinear(): bias size does not match weight size: "
            f"got {bias.size(0)} but expected {out_features}"
        )
    batch = input1.shape[:-1]
    x1, x2 = input1.reshape(-1, in1), input2.reshape(-1, in2)
    # x1 A_o for every o in one product, then the sum over in2 as a second one
    left = x1 @ weight.transpose(0, 1).reshape(in1, out_features * in2)
    left = left.reshape(-1, out_features, in2)  # (batch, out, in2)
    out = left.matmul(x2.unsqueeze(-1)).reshape(*batch, out_features)
    return out if bias is None else out + bias


# ---- connectionist temporal classification -------------------------------------------------------


def _lengths(name, value):
    """Lengths as an int64 tensor."""
    if isinstance(value, Tensor):
        if value.dtype.category != D.INTEGER:
            raise RuntimeError(f"{name} must be integral")
        return wrap(np.array(value._data, np.int64).reshape(-1))
    return wrap(np.array(tuple(value) if hasattr(value, "__iter__") else (value,), np.int64))


@function
def ctc_loss(
    log_probs,
    targets,
    input_lengths,
    target_lengths,
    blank=0,
    reduction="mean",
    zero_infinity=False,
):
    """-log of the probability of all alignments of targets: (T, N, C) or (T, C) log probabilities;
    targets padded (N, S) or joined.
    """
    reduction = reduction_name(reduction)
    tensor_argument("ctc_loss", "log_probs", log_probs)
    batched = log_probs._data.ndim == 3
    x = log_probs if batched else log_probs.unsqueeze(1)
    t, n, c = x._data.shape
    ins, outs = _lengths("input_lengths", input_lengths), _lengths("target_lengths", target_lengths)
    if targets.dtype not in (D.int64, D.int32):
        raise RuntimeError(
            "Expected tensor for argument #2 'targets' to have one of the following scalar "
            f"types: Long, Int; but got {targets.type()} instead (while checking arguments for "
            "ctc_loss)"
        )
    if not 0 <= blank < c:
        raise RuntimeError(f"blank must be in label range (0 to {c - 1}, got {blank})")
    for name, lengths in (("input_lengths", ins), ("target_lengths", outs)):
        if lengths._data.size != n:
            raise RuntimeError(f"{name} must be of size batch_size ({n}, got {lengths._data.size})")
        if lengths._data.size and lengths._data.min() < 0:
            raise RuntimeError(f"{name} must be non-negative")
    if n and ins._data.max() > t:
        raise RuntimeError(
            f"Expected input_lengths to have value at most {t}, but got value {ins._data.max()} "
            "(while checking arguments for ctc_loss)"
        )
    padded = beside(x, _padded_targets(targets._data, outs._data, n))
    losses = apply(
        TABLE["ctc_loss"],
        (x, padded, ins, outs),
        {"blank": int(blank), "zero_infinity": bool(zero_infinity)},
    )
    if reduction == "mean":
        return (losses / outs.clamp(min=1).to(losses.dtype)).mean()
    if reduction == "sum":
        return losses.sum()
    return losses if batched else losses.squeeze(0)


def _padded_targets(targets, lengths, n):
    """Targets (N, longest), whichever way they came."""
    width = int(lengths.max(initial=0))
    out = np.zeros((n, width), np.int64)
    inside = np.arange(width) < lengths[:, None]
    if targets.ndim == 1 and not (n == 1 and targets.size >= width):
        if targets.size != int(lengths.sum()):
            raise RuntimeError(
                f"Expected a tensor of size {int(lengths.sum())} (the sum of target_lengths) for "
                f"1-D targets, but got {targets.size}"
            )
        out[inside] = targets
    else:
        targets = targets.reshape(n, -1)
        if targets.shape[1] < width:
            raise RuntimeError(
                f"Expected tensor to have size at least {width} at dimension 1, but got size "
                f"{list(targets.shape)} for argument #2 'targets' (while checking arguments for "
                "ctc_loss)"
            )
        out[...] = np.where(inside, targets[:, :width], 0)
    return out
