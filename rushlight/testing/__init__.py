"""torch.testing: comparing results and making inputs for tests."""

from rushlight.testing.comparison import assert_allclose, assert_close
from rushlight.testing.inputs import make_tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]
