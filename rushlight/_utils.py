"""torch._utils: where pickled tensors find the functions that rebuild them (the engine publishes them under `_utils.`)."""

import rushlight

globals().update(rushlight._namespace("_utils"))

__all__ = [*rushlight._namespace("_utils")]
