"""The neural operations that the engine supplies: the one seam between functional and the engine.

Purpose: everything else in this package is a composite over the public tensor API. What is listed
here is not: each entry is one autograd node (or one opaque kernel) whose name users see as
`grad_fn`, so only the engine can give it.

Mechanism: PRIMITIVES maps a name to (signature, who depends on it). Each name is looked up once in
`rushlight.api.neural` and becomes a global of this module, so a call costs nothing more than the
engine's own function. A name which the engine does not have is replaced by a function that raises
NotImplementedError naming it.

Invariants: arguments have the names, order and meaning of torch.nn.functional's, less the
deprecated ones; `reduction` is a string ("none", "mean", "sum"); sizes, strides and paddings may be
an int or a sequence; a trailing underscore means in place; "with_indices" functions return
(values, int64 indices). The caller has validated what PyTorch validates in Python (probabilities,
legacy reductions); shapes and dtypes are for the engine to check.
"""

import rushlight
from rushlight.api import neural as _neural

_CONV = "(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1)"
_CONV_TRANSPOSE = (
    "(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1)"
)
_MAX_POOL = "(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False)"
_AVG_POOL1D = (
    "(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True)"
)
_AVG_POOL = _AVG_POOL1D[:-1] + ", divisor_override=None)"
_BATCH_NORM = "(input, running_mean, running_var, weight, bias, training, momentum, eps)"
_INSTANCE_NORM = "(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)"
_BAG = (
    "(input, weight, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights, "
    "include_last_offset, padding_idx)"
)
_CTC = "(log_probs, targets, input_lengths, target_lengths, blank, reduction, zero_infinity)"
_ATTENTION = (
    "(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, "
    "enable_gqa=False)"
)

PRIMITIVES = {
    # name: (signature, functions built on it)
    # -- activations
    "relu": ("(input)", "relu"),
    "relu_": ("(input)", "relu, relu_"),
    "sigmoid": ("(input)", "sigmoid, LSTM, GRU"),
    "tanh": ("(input)", "tanh, tanhshrink, RNN, LSTM, GRU"),
    "hardtanh": ("(input, min_val=-1.0, max_val=1.0)", "hardtanh"),
    "hardtanh_": ("(input, min_val=-1.0, max_val=1.0)", "hardtanh, hardtanh_"),
    "relu6": ("(input)", "relu6; its node is HardtanhBackward0"),
    "relu6_": ("(input)", "relu6"),
    "elu": ("(input, alpha=1.0)", "elu"),
    "elu_": ("(input, alpha=1.0)", "elu, elu_"),
    "selu": ("(input)", "selu; its node is EluBackward0"),
    "selu_": ("(input)", "selu, selu_"),
    "celu": ("(input, alpha=1.0)", "celu"),
    "celu_": ("(input, alpha=1.0)", "celu, celu_"),
    "leaky_relu": ("(input, negative_slope=0.01)", "leaky_relu"),
    "leaky_relu_": ("(input, negative_slope=0.01)", "leaky_relu, leaky_relu_"),
    "prelu": ("(input, weight)", "prelu"),
    "rrelu": ("(input, lower=1/8, upper=1/3, training=False)", "rrelu"),
    "rrelu_": ("(input, lower=1/8, upper=1/3, training=False)", "rrelu, rrelu_"),
    "gelu": ("(input, *, approximate='none')", "gelu"),
    "silu": ("(input)", "silu"),
    "silu_": ("(input)", "silu"),
    "mish": ("(input)", "mish"),
    "mish_": ("(input)", "mish"),
    "softplus": ("(input, beta=1, threshold=20)", "softplus"),
    "logsigmoid": ("(input)", "logsigmoid, multilabel_soft_margin_loss"),
    "softshrink": ("(input, lambd=0.5)", "softshrink"),
    "hardshrink": ("(input, lambd=0.5)", "hardshrink"),
    "hardswish": ("(input)", "hardswish"),
    "hardswish_": ("(input)", "hardswish"),
    "hardsigmoid": ("(input)", "hardsigmoid"),
    "hardsigmoid_": ("(input)", "hardsigmoid"),
    "threshold": ("(input, threshold, value)", "threshold"),
    "threshold_": ("(input, threshold, value)", "threshold, threshold_"),
    "glu": ("(input, dim=-1)", "glu"),
    "softmax": ("(input, dim, dtype=None)", "softmax, softmin, gumbel_softmax, attention"),
    "log_softmax": ("(input, dim, dtype=None)", "log_softmax, cross_entropy"),
    # -- dropout
    "dropout": ("(input, p, train)", "dropout, attention, RNN layers"),
    "dropout_": ("(input, p, train)", "dropout"),
    "alpha_dropout": ("(input, p, train)", "alpha_dropout"),
    "alpha_dropout_": ("(input, p, train)", "alpha_dropout"),
    "feature_dropout": ("(input, p, train)", "dropout1d, dropout2d, dropout3d"),
    "feature_dropout_": ("(input, p, train)", "dropout1d, dropout2d, dropout3d"),
    "feature_alpha_dropout": ("(input, p, train)", "feature_alpha_dropout"),
    "feature_alpha_dropout_": ("(input, p, train)", "feature_alpha_dropout"),
    # -- contractions
    "linear": ("(input, weight, bias=None)", "linear, attention, RNN, linear_cross_entropy"),
    "conv1d": (_CONV, "conv1d"),
    "conv2d": (_CONV, "conv2d"),
    "conv3d": (_CONV, "conv3d"),
    "conv_transpose1d": (_CONV_TRANSPOSE, "conv_transpose1d"),
    "conv_transpose2d": (_CONV_TRANSPOSE, "conv_transpose2d"),
    "conv_transpose3d": (_CONV_TRANSPOSE, "conv_transpose3d"),
    "conv_tbc": ("(input, weight, bias, pad=0)", "conv_tbc"),
    "unfold": (
        "(input, kernel_size, dilation=1, padding=0, stride=1)",
        "unfold; its node is Im2ColBackward0",
    ),
    "fold": (
        "(input, output_size, kernel_size, dilation=1, padding=0, stride=1)",
        "fold; its node is Col2ImBackward0",
    ),
    # -- pooling
    "max_pool1d": (_MAX_POOL, "max_pool1d"),
    "max_pool2d": (_MAX_POOL, "max_pool2d"),
    "max_pool3d": (_MAX_POOL, "max_pool3d"),
    "max_pool1d_with_indices": (_MAX_POOL, "max_pool1d(return_indices=True)"),
    "max_pool2d_with_indices": (_MAX_POOL, "max_pool2d(return_indices=True)"),
    "max_pool3d_with_indices": (_MAX_POOL, "max_pool3d(return_indices=True)"),
    "max_unpool2d": ("(input, indices, output_size)", "max_unpool1d, max_unpool2d"),
    "max_unpool3d": ("(input, indices, output_size, stride, padding)", "max_unpool3d"),
    "avg_pool1d": (_AVG_POOL1D, "avg_pool1d, lp_pool1d"),
    "avg_pool2d": (_AVG_POOL, "avg_pool2d, lp_pool2d, local_response_norm"),
    "avg_pool3d": (_AVG_POOL, "avg_pool3d, lp_pool3d, local_response_norm"),
    "adaptive_avg_pool1d": (
        "(input, output_size)",
        "adaptive_avg_pool1d, interpolate(mode='area')",
    ),
    "adaptive_avg_pool2d": (
        "(input, output_size)",
        "adaptive_avg_pool2d, interpolate(mode='area')",
    ),
    "adaptive_avg_pool3d": (
        "(input, output_size)",
        "adaptive_avg_pool3d, interpolate(mode='area')",
    ),
    "adaptive_max_pool1d_with_indices": ("(input, output_size)", "adaptive_max_pool1d"),
    "adaptive_max_pool2d_with_indices": ("(input, output_size)", "adaptive_max_pool2d"),
    "adaptive_max_pool3d_with_indices": ("(input, output_size)", "adaptive_max_pool3d"),
    "fractional_max_pool2d_with_indices": (
        "(input, kernel_size, output_size, random_samples)",
        "fractional_max_pool2d",
    ),
    "fractional_max_pool3d_with_indices": (
        "(input, kernel_size, output_size, random_samples)",
        "fractional_max_pool3d",
    ),
    # -- normalization
    "batch_norm": (_BATCH_NORM, "batch_norm"),
    "instance_norm": (_INSTANCE_NORM, "instance_norm"),
    "layer_norm": ("(input, normalized_shape, weight, bias, eps)", "layer_norm"),
    "group_norm": ("(input, num_groups, weight, bias, eps)", "group_norm"),
    "rms_norm": ("(input, normalized_shape, weight, eps)", "rms_norm"),
    # -- embedding
    "embedding": (
        "(input, weight, padding_idx=-1, scale_grad_by_freq=False, sparse=False)",
        "embedding; padding_idx=-1 means none",
    ),
    "embedding_renorm_": (
        "(weight, input, max_norm, norm_type)",
        "embedding, embedding_bag with max_norm",
    ),
    "embedding_bag": (_BAG, "embedding_bag; flat input, mode a string, padding_idx None for none"),
    # -- losses
    "mse_loss": ("(input, target, reduction)", "mse_loss"),
    "smooth_l1_loss": ("(input, target, reduction, beta)", "smooth_l1_loss"),
    "huber_loss": ("(input, target, reduction, delta)", "huber_loss"),
    "binary_cross_entropy": ("(input, target, weight, reduction)", "binary_cross_entropy"),
    "binary_cross_entropy_with_logits": (
        "(input, target, weight, pos_weight, reduction)",
        "binary_cross_entropy_with_logits",
    ),
    "nll_loss": (
        "(input, target, weight, reduction, ignore_index)",
        "nll_loss, cross_entropy; input (N, C) or (C,)",
    ),
    "nll_loss2d": (
        "(input, target, weight, reduction, ignore_index)",
        "nll_loss, cross_entropy; input (N, C, H, W)",
    ),
    "soft_margin_loss": ("(input, target, reduction)", "soft_margin_loss"),
    "multi_margin_loss": ("(input, target, p, margin, weight, reduction)", "multi_margin_loss"),
    "multilabel_margin_loss": ("(input, target, reduction)", "multilabel_margin_loss"),
    "ctc_loss": (_CTC, "ctc_loss"),
    # -- distance
    "pdist": ("(input, p=2.0)", "pdist"),
    "pairwise_distance": (
        "(x1, x2, p=2.0, eps=1e-6, keepdim=False)",
        "pairwise_distance, triplet losses; nodes NormBackward1 <- AddBackward1",
    ),
    "cosine_similarity": ("(x1, x2, dim=1, eps=1e-8)", "cosine_similarity; node SumBackward1"),
    # -- images and channels
    "upsample_nearest1d": (
        "(input, output_size, scales=None)",
        "interpolate; `scales`: one float or None a dimension",
    ),
    "upsample_nearest2d": ("(input, output_size, scales=None)", "interpolate"),
    "upsample_nearest3d": ("(input, output_size, scales=None)", "interpolate"),
    "upsample_nearest_exact1d": ("(input, output_size, scales=None)", "interpolate"),
    "upsample_nearest_exact2d": ("(input, output_size, scales=None)", "interpolate"),
    "upsample_nearest_exact3d": ("(input, output_size, scales=None)", "interpolate"),
    "upsample_linear1d": ("(input, output_size, align_corners, scales=None)", "interpolate"),
    "upsample_bilinear2d": ("(input, output_size, align_corners, scales=None)", "interpolate"),
    "upsample_trilinear3d": ("(input, output_size, align_corners, scales=None)", "interpolate"),
    "upsample_bicubic2d": ("(input, output_size, align_corners, scales=None)", "interpolate"),
    "upsample_bilinear2d_aa": (
        "(input, output_size, align_corners, scales=None)",
        "interpolate(antialias=True)",
    ),
    "upsample_bicubic2d_aa": (
        "(input, output_size, align_corners, scales=None)",
        "interpolate(antialias=True)",
    ),
    "upsample_lanczos2d_aa": (
        "(input, output_size, align_corners, scales=None)",
        "interpolate(antialias=True)",
    ),
    "grid_sampler": (
        "(input, grid, mode, padding_mode, align_corners)",
        "grid_sample; strings, as in grid_sample",
    ),
    "affine_grid_generator": ("(theta, size, align_corners)", "affine_grid"),
    "pixel_shuffle": ("(input, upscale_factor)", "pixel_shuffle"),
    "pixel_unshuffle": ("(input, downscale_factor)", "pixel_unshuffle"),
    "channel_shuffle": ("(input, groups)", "channel_shuffle"),
    "native_channel_shuffle": ("(input, groups)", "native_channel_shuffle"),
    "pad": (
        "(input, pad, mode='constant', value=None)",
        "pad, convolutions' padding_mode; ConstantPadNd, ReflectionPad1D, ReplicationPad1D ...",
    ),
    # -- attention
    "scaled_dot_product_attention": (_ATTENTION, "multi_head_attention_forward"),
}


def _missing(name):
    def primitive(*args, **kwargs):
        raise NotImplementedError(f"the engine has no operation {name}{PRIMITIVES[name][0]} yet")

    primitive.__name__ = primitive.__qualname__ = name
    return primitive


def _public(name):
    """The engine's function, under its public name where torch itself has it too (nn.functional.conv2d is torch.conv2d)."""
    given, public = getattr(_neural, name), getattr(rushlight, name, None)
    return public if getattr(public, "direct", None) is given else given


MISSING = tuple(name for name in PRIMITIVES if not hasattr(_neural, name))

globals().update(
    {name: _missing(name) if name in MISSING else _public(name) for name in PRIMITIVES}
)
