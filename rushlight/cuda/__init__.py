"""torch.cuda: GPUs, or programs being told that there is none (the engine publishes the functions under `cuda.`).

The typed tensors of old programs (`torch.cuda.FloatTensor`) are here too: types for isinstance(), and constructors where
there is a device.
"""

import rushlight
from rushlight.cuda import amp

globals().update(rushlight._namespace("cuda"))
default_generators = ()
has_half = True
OutOfMemoryError = rushlight.OutOfMemoryError

__all__ = ["OutOfMemoryError", "amp", *[n for n in rushlight._namespace("cuda") if not n.startswith("_")]]
