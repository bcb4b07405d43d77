"""Linear and bilinear maps of the last dimension.

Mechanism: linear is the engine's matmul with a bias; bilinear is a composition of one matmul and
one weighted sum.

Invariant: leading dimensions are batch dimensions and come through unchanged.
"""

import rushlight
from rushlight.nn.functional import _primitives as _p

linear = _p.linear


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
    out = rushlight.matmul(left, x2.unsqueeze(-1)).reshape(*batch, out_features)
    return out if bias is None else out + bias
