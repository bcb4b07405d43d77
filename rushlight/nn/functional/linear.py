"""Linear and bilinear maps of the last dimension, as the engine has them.

Invariant: leading dimensions are batch dimensions and come through unchanged.
"""

import rushlight
from rushlight.nn.functional import _primitives as _p

linear = _p.linear
bilinear = rushlight.bilinear
