"""Attention: scaled dot products, and the multi-head block with its projections and masks.

Mechanism: multi_head_attention_forward works on (length, batch, embedding). It checks shapes, turns
every mask into an additive float mask, projects, splits the embedding into heads, lengthens the
keys where asked, and then either forms the weights (to return them) or calls the engine's fused
attention.

Invariants: masks are additive past `_additive_mask`; the heads are the slower part of the merged
dimension's inner index, that is a (batch * heads) dimension counts head by head within a sample.
"""

import math
import warnings

import rushlight
from rushlight.nn.functional import _primitives as _p

scaled_dot_product_attention = _p.scaled_dot_product_attention


def multi_head_attention_forward(
    query,
    key,
    value,
    embed_dim_to_check,
    num_heads,
    in_proj_weight,
    in_proj_bias,
    bias_k,
    bias_v,
    add_zero_attn,
    dropout_p,
    out_proj_weight,
    out_proj_bias,
    training=True,
    key_padding_mask=None,
    need_weights=True,
    attn_mask=None,
    use_separate_proj_weight=False,
    q_proj_weight=None,
    k_proj_weight=None,
    v_proj_weight=None,
    static_k=None,
    static_v=None,
    average_attn_weights=True,
    is_causal=False,
):
    """Multi-head attention with its projections; see nn.MultiheadAttention, whose forward this is.

    Shapes: query (L, N, E) or (L, E), key (S, N, E) or (S, E), value likewise; key_padding_mask (N,
    S) or (S,);
    attn_mask (L, S) or (N * heads, L, S). Masks are bool (True: not allowed) or float (added to the
    scores).

    Args:
        embed_dim_to_check: what E has to be.
        num_heads: number of heads, a divisor of E.
        in_proj_weight, in_proj_bias: (3 E, E) and (3 E,), the projections of query, key and value.
        bias_k, bias_v: (1, 1, E), one more key and value for all queries.
        add_zero_attn: one more key and value, of zeros.
        dropout_p: dropout of the weights, in training.
        out_proj_weight, out_proj_bias: (E, E) and (E,).
        need_weights: return the weights too; without them the fused attention is used.
        use_separate_proj_weight: q_proj_weight (E, Eq), k_proj_weight, v_proj_weight stand for
            in_proj_weight.
        static_k, static_v: (N * heads, S, E / heads), keys and values that are projected already.
        average_attn_weights: return the weights' mean over the heads, (N, L, S), not (N, heads, L,
            S).
        is_causal: a hint that attn_mask is the causal mask; attn_mask must be given.

    Returns (output (L, N, E), weights or None). Raises AssertionError or RuntimeError for shapes
    that do not fit.
    Source: Vaswani et al., Attention Is All You Need, arXiv:1706.03762.
    """
    batched = _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        # with a batch of one, without copying; query, key and value may be one object and stay so
        query, key, value = _map_distinct(lambda x: x.unsqueeze(1), query, key, value)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)

    tgt_len, bsz, embed_dim = query.shape
    _check_sizes(key, value, embed_dim, embed_dim_to_check, num_heads, use_separate_proj_weight)
    head_dim = embed_dim // num_heads
    key_padding_mask, attn_mask, is_causal = _masks(
        query, key_padding_mask, attn_mask, is_causal, need_weights
    )
    attn_mask = _check_attn_mask(attn_mask, tgt_len, key.shape[0], bsz * num_heads)

    if use_separate_proj_weight:
        for name, w in (("q", q_proj_weight), ("k", k_proj_weight), ("v", v_proj_weight)):
            _assert(
                w is not None, f"use_separate_proj_weight is True but {name}_proj_weight is None"
            )
        biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        q, k, v = _in_projection(
            query, key, value, q_proj_weight, k_proj_weight, v_proj_weight, *biases
        )
    else:
        _assert(
            in_proj_weight is not None,
            "use_separate_proj_weight is False but in_proj_weight is None",
        )
        q, k, v = _in_projection_packed(query, key, value, in_proj_weight, in_proj_bias)

    if bias_k is not None and bias_v is not None:
        _assert(static_k is None, "bias cannot be added to static key.")
        _assert(static_v is None, "bias cannot be added to static value.")
        k = rushlight.cat([k, bias_k.repeat(1, bsz, 1)])
        v = rushlight.cat([v, bias_v.repeat(1, bsz, 1)])
        key_padding_mask, attn_mask = _one_key_more(key_padding_mask, attn_mask)
    else:
        _assert(bias_k is None and bias_v is None, "bias_k and bias_v must be given together")

    q = _split_heads(q, bsz * num_heads, head_dim)  # (N * heads, L, E / heads)
    k = _static_or_split("static_k", static_k, k, bsz * num_heads, head_dim)
    v = _static_or_split("static_v", static_v, v, bsz * num_heads, head_dim)
    if add_zero_attn:
        zeros = (bsz * num_heads, 1, head_dim)
        k = rushlight.cat([k, rushlight.zeros(zeros, dtype=k.dtype, device=k.device)], dim=1)
        v = rushlight.cat([v, rushlight.zeros(zeros, dtype=v.dtype, device=v.device)], dim=1)
        key_padding_mask, attn_mask = _one_key_more(key_padding_mask, attn_mask)
    src_len = k.size(1)

    if key_padding_mask is not None:
        _assert(
            tuple(key_padding_mask.shape) == (bsz, src_len),
            f"expecting key_padding_mask shape of {(bsz, src_len)}, "
            f"but got {tuple(key_padding_mask.shape)}",
        )
        per_head = (
            key_padding_mask.view(bsz, 1, 1, src_len)
            .expand(-1, num_heads, -1, -1)
            .reshape(bsz * num_heads, 1, src_len)
        )
        attn_mask = per_head if attn_mask is None else attn_mask + per_head

    dropout_p = dropout_p if training else 0.0
    if need_weights:
        _assert(
            not (is_causal and attn_mask is None),
            "FIXME: is_causal not implemented for need_weights",
        )
        weights = _attention_weights(q, k, attn_mask, head_dim)
        if dropout_p > 0.0:
            weights = _p.dropout(weights, dropout_p, True)
        out = rushlight.bmm(weights, v).transpose(0, 1).contiguous()
    else:
        weights = None
        if attn_mask is not None:
            attn_mask = (
                attn_mask.unsqueeze(0)
                if attn_mask.size(0) == 1 and attn_mask.dim() == 3
                else attn_mask.view(bsz, num_heads, -1, src_len)
            )
        out = scaled_dot_product_attention(
            q.view(bsz, num_heads, tgt_len, head_dim),
            k.view(bsz, num_heads, src_len, head_dim),
            v.view(bsz, num_heads, src_len, head_dim),
            attn_mask,
            dropout_p,
            is_causal,
        )
        out = out.permute(2, 0, 1, 3).contiguous()

    out = _p.linear(out.view(tgt_len * bsz, embed_dim), out_proj_weight, out_proj_bias)
    out = out.view(tgt_len, bsz, out.size(1))
    if weights is not None:
        weights = weights.view(bsz, num_heads, tgt_len, src_len)
        if average_attn_weights:
            weights = weights.mean(dim=1)
    if batched:
        return out, weights
    return out.squeeze(1), None if weights is None else weights.squeeze(0)


def _assert(condition, message):
    if not condition:
        raise AssertionError(message)


def _map_distinct(f, query, key, value):
    """`f` of the three, calling it once where they are one object."""
    new_query = f(query)
    new_key = new_query if key is query else f(key)
    new_value = new_key if value is key else new_query if value is query else f(value)
    return new_query, new_key, new_value


def _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads):
    """Whether the input has a batch dimension; AssertionError where ranks do not go together."""
    ndim = query.dim()
    _assert(
        ndim in (2, 3),
        f"query should be unbatched 2D or batched 3D tensor but received {ndim}-D query tensor",
    )
    kind = "batched (3-D)" if ndim == 3 else "unbatched (2-D)"
    _assert(
        key.dim() == ndim and value.dim() == ndim,
        f"For {kind} `query`, expected `key` and `value` to be {ndim}-D but found "
        f"{key.dim()}-D and {value.dim()}-D tensors respectively",
    )
    if key_padding_mask is not None:
        _assert(
            key_padding_mask.dim() == ndim - 1,
            f"For {kind} `query`, expected `key_padding_mask` to be `None` or {ndim - 1}-D but "
            f"found {key_padding_mask.dim()}-D tensor instead",
        )
    if attn_mask is not None:
        _assert(
            attn_mask.dim() in (2, 3),
            f"For {kind} `query`, expected `attn_mask` to be `None`, 2-D or 3-D but found "
            f"{attn_mask.dim()}-D tensor instead",
        )
        if ndim == 2 and attn_mask.dim() == 3:
            wanted = (num_heads, query.shape[0], key.shape[0])
            _assert(
                tuple(attn_mask.shape) == wanted,
                f"Expected `attn_mask` shape to be {wanted} but got {tuple(attn_mask.shape)}",
            )
    return ndim == 3


def _check_sizes(key, value, embed_dim, wanted, num_heads, separate):
    _assert(
        embed_dim == wanted, f"was expecting embedding dimension of {wanted}, but got {embed_dim}"
    )
    _assert(
        embed_dim % num_heads == 0, f"embed_dim {embed_dim} not divisible by num_heads {num_heads}"
    )
    if separate:
        _assert(
            key.shape[:2] == value.shape[:2],
            f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}",
        )
    else:
        _assert(
            key.shape == value.shape,
            f"key shape {key.shape} does not match value shape {value.shape}",
        )


def _none_or_dtype(mask):
    return None if mask is None else mask.dtype


def _canonical_mask(mask, mask_name, other_type, other_name, target_type, check_other=True):
    """A float mask to add to scores: a bool mask becomes 0 and minus infinity; None stays None."""
    if mask is None:
        return None
    is_float = mask.is_floating_point()
    _assert(
        is_float or mask.dtype == rushlight.bool,
        f"only bool and floating types of {mask_name} are supported, but got {mask.dtype}",
    )
    if check_other and other_type is not None and other_type != mask.dtype:
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for "
            "both instead.",
            stacklevel=4,
        )
    if is_float:
        return mask
    return rushlight.zeros_like(mask, dtype=target_type).masked_fill_(mask, -math.inf)


def _masks(query, key_padding_mask, attn_mask, is_causal, need_weights):
    """Both masks as additive ones, and whether the fused attention may apply the causal mask
    itself."""
    key_padding_mask = _canonical_mask(
        key_padding_mask, "key_padding_mask", _none_or_dtype(attn_mask), "attn_mask", query.dtype
    )
    if not is_causal:
        mask = _canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False)
        return key_padding_mask, mask, False
    if attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint: pass "
            "Transformer.generate_square_subsequent_mask(L) as attn_mask"
        )
    if key_padding_mask is None and not need_weights:
        return None, None, True
    mask = _canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, False)
    return key_padding_mask, mask, key_padding_mask is None


def _check_attn_mask(attn_mask, tgt_len, src_len, heads):
    """The attention mask as 3-d, once its shape is right."""
    if attn_mask is None:
        return None
    ndim = attn_mask.dim()
    wanted = (tgt_len, src_len) if ndim == 2 else (heads, tgt_len, src_len)
    if ndim not in (2, 3):
        raise RuntimeError(f"attn_mask's dimension {ndim} is not supported")
    if tuple(attn_mask.shape) != wanted:
        raise RuntimeError(
            f"The shape of the {ndim}D attn_mask is {tuple(attn_mask.shape)}, "
            f"but should be {wanted}."
        )
    return attn_mask.unsqueeze(0) if ndim == 2 else attn_mask


def _in_projection_packed(q, k, v, w, b=None):
    """The three projections by one packed weight (3 E, E); one product where the inputs are one
    tensor."""
    embed_dim = q.size(-1)
    if k is v and q is k:
        packed = _p.linear(q, w, b)
        parts = packed.unflatten(-1, (3, embed_dim)).unsqueeze(0).transpose(0, -2).squeeze(-2)
        parts = parts.contiguous()
        return parts[0], parts[1], parts[2]
    if k is v:
        w_q, w_kv = w.split([embed_dim, 2 * embed_dim])
        b_q, b_kv = (None, None) if b is None else b.split([embed_dim, 2 * embed_dim])
        packed = _p.linear(k, w_kv, b_kv)
        parts = packed.unflatten(-1, (2, embed_dim)).unsqueeze(0).transpose(0, -2).squeeze(-2)
        parts = parts.contiguous()
        return _p.linear(q, w_q, b_q), parts[0], parts[1]
    w_q, w_k, w_v = w.chunk(3)
    b_q, b_k, b_v = (None,) * 3 if b is None else b.chunk(3)
    return _p.linear(q, w_q, b_q), _p.linear(k, w_k, b_k), _p.linear(v, w_v, b_v)


def _in_projection(q, k, v, w_q, w_k, w_v, b_q=None, b_k=None, b_v=None):
    """The three projections by three weights, (E, Eq), (E, Ek) and (E, Ev)."""
    embed_dim = q.size(-1)
    for name, w, x, b in (("q", w_q, q, b_q), ("k", w_k, k, b_k), ("v", w_v, v, b_v)):
        wanted = (embed_dim, x.size(-1))
        _assert(
            tuple(w.shape) == wanted,
            f"expecting {name} weights shape of {wanted}, but got {tuple(w.shape)}",
        )
        _assert(
            b is None or tuple(b.shape) == (embed_dim,),
            f"expecting {name} bias shape of {(embed_dim,)}, but got {getattr(b, 'shape', None)}",
        )
    return _p.linear(q, w_q, b_q), _p.linear(k, w_k, b_k), _p.linear(v, w_v, b_v)


def _one_key_more(key_padding_mask, attn_mask):
    """Both masks with one more key, which is allowed."""
    if attn_mask is not None:
        attn_mask = _p.pad(attn_mask, (0, 1))
    if key_padding_mask is not None:
        key_padding_mask = _p.pad(key_padding_mask, (0, 1))
    return key_padding_mask, attn_mask


def _split_heads(x, heads, head_dim):
    """(length, N, E) to (N * heads, length, E / heads)."""
    return x.view(x.shape[0], heads, head_dim).transpose(0, 1)


def _static_or_split(name, static, x, heads, head_dim):
    if static is None:
        return _split_heads(x, heads, head_dim)
    for axis, wanted in ((0, heads), (2, head_dim)):
        _assert(
            static.size(axis) == wanted,
            f"expecting {name}.size({axis}) of {wanted}, but got {static.size(axis)}",
        )
    return static


def _attention_weights(q, k, attn_mask, head_dim):
    """softmax(q k^T / sqrt(head_dim) + mask), (N * heads, L, S)."""
    scaled = q * math.sqrt(1.0 / head_dim)
    if attn_mask is None:
        scores = rushlight.bmm(scaled, k.transpose(-2, -1))
    else:
        scores = rushlight.baddbmm(attn_mask, scaled, k.transpose(-2, -1))
    return _p.softmax(scores, -1)
