"""torch._tensor: where pickled tensors find the functions that rebuild them (the engine publishes them under `_tensor.`)."""

import rushlight

globals().update(rushlight._namespace("_tensor"))

__all__ = [*rushlight._namespace("_tensor")]
