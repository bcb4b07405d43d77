"""Activation layers and MultiheadAttention.

Mechanism: a layer keeps the arguments of one function of nn.functional and calls it. The repr shows
the attributes named in
`_shown`, and `inplace=True` when it is set.

Invariant: layers have no state but these arguments, except PReLU (its slopes) and
MultiheadAttention (its projections).
"""

import warnings

import rushlight

from .. import functional as F
from .. import init
from ..parameter import Parameter
from .linear import NonDynamicallyQuantizableLinear
from .module import Module


class _Activation(Module):
    """The repr that activations share."""

    _shown = ()

    def extra_repr(self):
        parts = [f"{name}={getattr(self, name)}" for name in self._shown]
        if getattr(self, "inplace", False):
            parts.append("inplace=True")
        return ", ".join(parts)


class Threshold(_Activation):
    """`x` where `x > threshold`, else `value`. Keeps the shape."""

    __constants__ = ["threshold", "value", "inplace"]
    _shown = ("threshold", "value")

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input):
        return F.threshold(input, self.threshold, self.value, self.inplace)


class ReLU(_Activation):
    """`max(x, 0)`. Keeps the shape; `inplace` overwrites the input."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.relu(input, inplace=self.inplace)


class RReLU(_Activation):
    """Leaky ReLU with a slope drawn from U(lower, upper) in training, their mean otherwise.

    Source: Xu et al., arXiv:1505.00853.
    """

    __constants__ = ["lower", "upper", "inplace"]
    _shown = ("lower", "upper")

    def __init__(self, lower=1.0 / 8, upper=1.0 / 3, inplace=False):
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input):
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Hardtanh(_Activation):
    """`min(max(x, min_val), max_val)`. Keeps the shape.

    `min_value` and `max_value` are deprecated names. Raises AssertionError unless max_val >
    min_val.
    """

    __constants__ = ["min_val", "max_val", "inplace"]
    _shown = ("min_val", "max_val")

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False, min_value=None, max_value=None):
        super().__init__()
        for old, value, new in (
            ("min_value", min_value, "min_val"),
            ("max_value", max_value, "max_val"),
        ):
            if value is not None:
                warnings.warn(
                    f"keyword argument `{old}` is deprecated and renamed to `{new}`",
                    FutureWarning,
                    stacklevel=2,
                )
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if not self.max_val > self.min_val:
            raise AssertionError(
                f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})"
            )

    def forward(self, input):
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)


class ReLU6(Hardtanh):
    """`min(max(x, 0), 6)`. Keeps the shape. Source: Krizhevsky (2010)."""

    _shown = ()

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)


class Sigmoid(Module):
    """`1 / (1 + exp(-x))`. Keeps the shape."""

    def forward(self, input):
        return F.sigmoid(input)


class Hardsigmoid(Module):
    """0 if `x <= -3`, 1 if `x >= 3`, else `x / 6 + 1 / 2`. Keeps the shape."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.hardsigmoid(input, self.inplace)


class Tanh(Module):
    """The hyperbolic tangent. Keeps the shape."""

    def forward(self, input):
        return F.tanh(input)


class SiLU(_Activation):
    """`x * sigmoid(x)`. Keeps the shape. Source: arXiv:1606.08415, arXiv:1702.03118."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.silu(input, inplace=self.inplace)


class Mish(_Activation):
    """`x * tanh(softplus(x))`. Keeps the shape. Source: Misra, arXiv:1908.08681."""

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.mish(input, inplace=self.inplace)


class Hardswish(Module):
    """0 if `x <= -3`, `x` if `x >= 3`, else `x * (x + 3) / 6`. Keeps the shape.

    Source: Howard et al., arXiv:1905.02244.
    """

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.hardswish(input, self.inplace)


class ELU(_Activation):
    """`x` if `x > 0` else `alpha * (exp(x) - 1)`. Keeps the shape. Source: arXiv:1511.07289."""

    __constants__ = ["alpha", "inplace"]
    _shown = ("alpha",)

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input):
        return F.elu(input, self.alpha, self.inplace)


class CELU(_Activation):
    """`max(0, x) + min(0, alpha * (exp(x / alpha) - 1))`. Keeps the shape.

    Source: Barron, arXiv:1704.07483.
    """

    __constants__ = ["alpha", "inplace"]
    _shown = ("alpha",)

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input):
        return F.celu(input, self.alpha, self.inplace)


class SELU(_Activation):
    """Scaled ELU with the self-normalizing constants; see functional.selu. Keeps the shape.

    Use it with init.kaiming_normal_(nonlinearity="linear"). Source: arXiv:1706.02515.
    """

    __constants__ = ["inplace"]

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.selu(input, self.inplace)


class GLU(_Activation):
    """`a * sigmoid(b)` of the two halves along `dim`: (*, 2 n, *) to (*, n, *).

    Source: Dauphin et al., arXiv:1612.08083.
    """

    __constants__ = ["dim"]
    _shown = ("dim",)

    def __init__(self, dim=-1):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        return F.glu(input, self.dim)


class GELU(Module):
    """`x * Phi(x)`, Phi the normal distribution function. Keeps the shape.

    `approximate="tanh"` uses `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))`.
    Source: Hendrycks and Gimpel, arXiv:1606.08415.
    """

    __constants__ = ["approximate"]

    def __init__(self, approximate="none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self):
        return f"approximate={self.approximate!r}"


class _Shrink(Module):
    """What the two shrinkages share: their threshold."""

    __constants__ = ["lambd"]

    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def extra_repr(self):
        return str(self.lambd)


class Hardshrink(_Shrink):
    """`x` where `|x| > lambd`, else 0. Keeps the shape."""

    def forward(self, input):
        return F.hardshrink(input, self.lambd)


class Softshrink(_Shrink):
    """`x - lambd` where `x > lambd`, `x + lambd` where `x < -lambd`, else 0. Keeps the shape."""

    def forward(self, input):
        return F.softshrink(input, self.lambd)


class LeakyReLU(_Activation):
    """`max(0, x) + negative_slope * min(0, x)`. Keeps the shape."""

    __constants__ = ["inplace", "negative_slope"]
    _shown = ("negative_slope",)

    def __init__(self, negative_slope=1e-2, inplace=False):
        super().__init__()
        self.negative_slope = negative_slope
        self.inplace = inplace

    def forward(self, input):
        return F.leaky_relu(input, self.negative_slope, self.inplace)


class LogSigmoid(Module):
    """`log(1 / (1 + exp(-x)))`. Keeps the shape."""

    def forward(self, input):
        return F.logsigmoid(input)


class Softplus(_Activation):
    """`log(1 + exp(beta * x)) / beta`, and `x` itself where `beta * x > threshold`.

    Keeps the shape.
    """

    __constants__ = ["beta", "threshold"]
    _shown = ("beta", "threshold")

    def __init__(self, beta=1.0, threshold=20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input):
        return F.softplus(input, self.beta, self.threshold)


class PReLU(_Activation):
    """`max(0, x) + weight * min(0, x)` with learned slopes, one or one for each channel.

    Shape: (N, C, *), kept. Attribute: weight (num_parameters,). Source: He et al.,
    arXiv:1502.01852.
    """

    __constants__ = ["num_parameters"]
    _shown = ("num_parameters",)

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(rushlight.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self):
        """Set every slope to `init`."""
        init.constant_(self.weight, self.init)

    def forward(self, input):
        return F.prelu(input, self.weight)


class Softsign(Module):
    """`x / (1 + |x|)`. Keeps the shape."""

    def forward(self, input):
        return F.softsign(input)


class Tanhshrink(Module):
    """`x - tanh(x)`. Keeps the shape."""

    def forward(self, input):
        return F.tanhshrink(input)


class _AlongDim(_Activation):
    """What the softmaxes share: the dimension that they normalize."""

    __constants__ = ["dim"]
    _shown = ("dim",)

    def __init__(self, dim=None):
        super().__init__()
        self.dim = dim

    def __setstate__(self, state):
        super().__setstate__(state)
        if not hasattr(self, "dim"):
            self.dim = None


class Softmin(_AlongDim):
    """`softmax(-x)` along `dim`. Keeps the shape."""

    def forward(self, input):
        return F.softmin(input, self.dim, _stacklevel=5)


class Softmax(_AlongDim):
    """`exp(x_i) / sum_j exp(x_j)` along `dim`. Keeps the shape."""

    def forward(self, input):
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input):
        if input.dim() not in (3, 4):
            raise ValueError(
                f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead"
            )
        return F.softmax(input, -3, _stacklevel=5)


class LogSoftmax(_AlongDim):
    """`log(softmax(x))` along `dim`. Keeps the shape."""

    def forward(self, input):
        return F.log_softmax(input, self.dim, _stacklevel=5)


class MultiheadAttention(Module):
    """Attention by several heads, each on its part of the embedding.

    `out = concat(head_1, ..., head_h) W_o` with
    `head_i = softmax(Q W_i^Q (K W_i^K)^T / sqrt(d)) V W_i^V`.

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


__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "MultiheadAttention",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]
