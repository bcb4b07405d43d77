"""Products of matrices by groups, and in scaled low precision.

grouped_mm is a loop of plain products, with gradients. The scaled products exist for float8 and
float4 tensor cores,
which the engine does not have: they raise NotImplementedError.
"""

import enum

import rushlight


class ScalingType(enum.Enum):
    """How a low-precision matrix has been scaled: one factor for all, for each row, or for each
    block."""

    TensorWise = 0
    RowWise = 1
    BlockWise1x16 = 2
    BlockWise1x32 = 3
    BlockWise1x128 = 4
    BlockWise128x128 = 5


class SwizzleType(enum.Enum):
    """In which order the scaling factors lie in memory."""

    NO_SWIZZLE = 0
    SWIZZLE_32_4_4 = 1


def grouped_mm(mat_a, mat_b, *, offs=None, bias=None, out_dtype=None):
    """One product for each group; groups are a leading dimension, or slices that end at `offs`.

    Shapes: (G, M, K) @ (G, K, N) to (G, M, N); (M, K) @ (G, K, N) with offs along M to (M, N);
    (G, M, K) @ (K, N) with offs along N to (M, N); (M, K) @ (K, N) with offs along K to (G, M, N).
    Rows and columns past the last offset are zero. Raises RuntimeError if offs and the ranks do not
    go together.
    """
    ranks = mat_a.dim(), mat_b.dim()
    if set(ranks) - {2, 3}:
        raise RuntimeError(
            f"grouped_mm: matrices have to be 2D or 3D, but got {ranks[0]}D and {ranks[1]}D"
        )
    if (offs is None) != (ranks == (3, 3)):
        raise RuntimeError(
            "grouped_mm: offs has to be given exactly when one of the matrices is 2D"
        )
    if ranks == (3, 3):
        out = rushlight.bmm(mat_a, mat_b)
    else:
        ends = [int(end) for end in offs.tolist()]
        starts = [0, *ends[:-1]]
        out = _ragged_products(mat_a, mat_b, ranks, list(zip(starts, ends)))
    if bias is not None:
        out = out + bias
    return out if out_dtype is None else out.to(out_dtype)


def _ragged_products(mat_a, mat_b, ranks, slices):
    if ranks == (2, 2):
        return rushlight.stack([mat_a[:, i:j] @ mat_b[i:j] for i, j in slices])
    axis = 0 if ranks == (2, 3) else 1
    if axis == 0:
        parts = [mat_a[i:j] @ mat_b[g] for g, (i, j) in enumerate(slices)]
        missing = (mat_a.size(0) - slices[-1][1], mat_b.size(2))
    else:
        parts = [mat_a[g] @ mat_b[:, i:j] for g, (i, j) in enumerate(slices)]
        missing = (mat_a.size(1), mat_b.size(1) - slices[-1][1])
    if missing[axis]:
        parts.append(mat_a.new_zeros(missing))
    return rushlight.cat(parts, dim=axis)


def scaled_mm(
    mat_a,
    mat_b,
    scale_a,
    scale_recipe_a,
    scale_b,
    scale_recipe_b,
    swizzle_a=None,
    swizzle_b=None,
    bias=None,
    output_dtype=rushlight.bfloat16,
    contraction_dim=(),
    use_fast_accum=False,
):
    """Product of low-precision matrices with scaling factors; not implemented."""
    raise NotImplementedError(
        "scaled_mm is for float8 and float4 tensor cores, which this engine does not have; "
        "multiply (mat_a.float() * scale_a) @ (mat_b.float() * scale_b) instead"
    )


def scaled_grouped_mm(
    mat_a,
    mat_b,
    scale_a,
    scale_recipe_a,
    scale_b,
    scale_recipe_b,
    swizzle_a=None,
    swizzle_b=None,
    bias=None,
    offs=None,
    output_dtype=rushlight.bfloat16,
    contraction_dim=(),
    use_fast_accum=False,
):
    """grouped_mm of low-precision matrices with scaling factors; not implemented."""
    raise NotImplementedError(
        "scaled_grouped_mm is for float8 and float4 tensor cores, which this engine does not have; "
        "scale the matrices in float32 and use grouped_mm"
    )
