"""Convolutions and the (un)folding of sliding windows.

Mechanism: all of them are the engine's; this file gives them their public names. unfold and fold
check the input's rank where PyTorch does it in Python.

Invariant: batch first, channels second, then 1 to 3 spatial dimensions; the batch may be left out.
"""

from rushlight.nn.functional import _primitives as _p

conv1d = _p.conv1d
conv2d = _p.conv2d
conv3d = _p.conv3d
conv_transpose1d = _p.conv_transpose1d
conv_transpose2d = _p.conv_transpose2d
conv_transpose3d = _p.conv_transpose3d
conv_tbc = _p.conv_tbc


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Columns of all sliding windows of a batch of images (im2col).

    Shape: (N, C, H, W) to (N, C * prod(kernel_size), L), L the number of windows; without N also.
    Every size is an int or a pair. A value that several windows hold is copied into each.
    """
    return _p.unfold(input, kernel_size, dilation=dilation, padding=padding, stride=stride)


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Sum sliding windows back into images (col2im): the adjoint of unfold.

    Shape: (N, C * prod(kernel_size), L) to (N, C, *output_size); without N also.
    """
    return _p.fold(
        input, output_size, kernel_size, dilation=dilation, padding=padding, stride=stride
    )
