"""torch._C: the few names of PyTorch's C++ module that programs use (the engine publishes them under `_C.`)."""

import rushlight

globals().update(rushlight._namespace("_C"))
Generator = rushlight.Generator
TensorBase = rushlight.Tensor

__all__ = [*rushlight._namespace("_C"), "Generator", "TensorBase"]
