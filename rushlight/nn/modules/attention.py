"""MultiheadAttention: the projections of attention as a layer.

Mechanism: the layer holds the parameters; functional.multi_head_attention_forward does the rest on
(length, batch, embedding), to which batch_first tensors are transposed.

Invariant: in_proj_weight packs the three projections when keys and values have the queries' size;
otherwise there are three weights. Draws: the output projection's (as a Linear's), then the input
projections', then the key and value biases'.
"""

import rushlight

from .. import functional as F
from .. import init
from ..parameter import Parameter
from .linear import NonDynamicallyQuantizableLinear
from .module import Module


class MultiheadAttention(Module):
    """Attention by several heads, each on its part of the embedding.

    `out = concat(head_1, ..., head_h) W_o` with `head_i = softmax(Q W_i^Q (K W_i^K)^T / sqrt(d)) V
    W_i^V`.

    Args:
        embed_dim: E, the size of queries and of the result; a multiple of num_heads.
        num_heads: number of heads.
        dropout: dropout of the attention weights.
        bias: the projections have biases.
        add_bias_kv: one learned key and value more.
        add_zero_attn: one zero key and value more.
        kdim, vdim: the sizes of keys and values; E if not given.
        batch_first: tensors are (N, L, E) and not (L, N, E).

    Attributes: in_proj_weight (3 E, E) and in_proj_bias (3 E,), or q_proj_weight, k_proj_weight,
    v_proj_weight if the
    sizes differ; out_proj, a Linear; bias_k and bias_v (1, 1, E).
    Source: Vaswani et al., arXiv:1706.03762.
    """

    __constants__ = ["batch_first"]

    def __init__(
        self,
        embed_dim,
        num_heads,
        dropout=0.0,
        bias=True,
        add_bias_kv=False,
        add_zero_attn=False,
        kdim=None,
        vdim=None,
        batch_first=False,
        device=None,
        dtype=None,
    ):
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                f"num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")

        def parameter(*size):
            return Parameter(rushlight.empty(size, device=device, dtype=dtype))

        if self._qkv_same_embed_dim:
            self.in_proj_weight = parameter(3 * embed_dim, embed_dim)
            self.register_parameter("q_proj_weight", None)
            self.register_parameter("k_proj_weight", None)
            self.register_parameter("v_proj_weight", None)
        else:
            self.q_proj_weight = parameter(embed_dim, embed_dim)
            self.k_proj_weight = parameter(embed_dim, self.kdim)
            self.v_proj_weight = parameter(embed_dim, self.vdim)
            self.register_parameter("in_proj_weight", None)
        if bias:
            self.in_proj_bias = parameter(3 * embed_dim)
        else:
            self.register_parameter("in_proj_bias", None)
        self.out_proj = NonDynamicallyQuantizableLinear(
            embed_dim, embed_dim, bias=bias, device=device, dtype=dtype
        )
        if add_bias_kv:
            self.bias_k = parameter(1, 1, embed_dim)
            self.bias_v = parameter(1, 1, embed_dim)
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self):
        if self._qkv_same_embed_dim:
            init.xavier_uniform_(self.in_proj_weight)
        else:
            init.xavier_uniform_(self.q_proj_weight)
            init.xavier_uniform_(self.k_proj_weight)
            init.xavier_uniform_(self.v_proj_weight)
        if self.in_proj_bias is not None:
            init.constant_(self.in_proj_bias, 0.0)
            init.constant_(self.out_proj.bias, 0.0)
        if self.bias_k is not None:
            init.xavier_normal_(self.bias_k)
        if self.bias_v is not None:
            init.xavier_normal_(self.bias_v)

    def __setstate__(self, state):
        state.setdefault("_qkv_same_embed_dim", True)
        super().__setstate__(state)

    def forward(
        self,
        query,
        key,
        value,
        key_padding_mask=None,
        need_weights=True,
        attn_mask=None,
        average_attn_weights=True,
        is_causal=False,
    ):
        """Attend from `query` to `key`, giving mixtures of `value`.

        Args:
            query: (L, N, E), or (N, L, E) with batch_first, or (L, E).
            key, value: the same with S for L.
            key_padding_mask: (N, S) or (S,), True or minus infinity where a key is padding.
            need_weights: return the weights too; False is faster.
            attn_mask: (L, S) or (N * num_heads, L, S), True or minus infinity where attention is
                not allowed.
            average_attn_weights: the weights' mean over heads, (N, L, S), not (N, num_heads, L, S).
            is_causal: a hint that attn_mask is the causal mask.

        Returns (output of query's shape, weights or None).
        """
        swap = self.batch_first and query.dim() == 3
        if swap:
            # one tensor in two roles stays one tensor: the projection then is one product
            query, key, value = F.attention._map_distinct(
                lambda x: x.transpose(1, 0), query, key, value
            )
        same = self._qkv_same_embed_dim
        out, weights = F.multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not same,
            q_proj_weight=None if same else self.q_proj_weight,
            k_proj_weight=None if same else self.k_proj_weight,
            v_proj_weight=None if same else self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return out.transpose(1, 0) if swap else out, weights

    def merge_masks(self, attn_mask, key_padding_mask, query):
        """One mask out of two, and its kind: 0 attention only, 1 padding only, 2 both, None none.

        With attn_mask the result is (N, num_heads, L, L).
        """
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        if query.dim() != 3:
            raise ValueError(f"merge_masks: query has to be 3-d, got {query.dim()}-d")
        batch, length, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, length, length)
        else:
            merged = attn_mask.view(1, 1, length, length).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            padding = key_padding_mask.view(batch, 1, 1, length).expand(-1, self.num_heads, -1, -1)
            merged = merged + padding
        return merged, 2


__all__ = ["MultiheadAttention"]
