"""torch.utils.dlpack: memory shared with other libraries (the engine publishes the functions under `utils.dlpack.`)."""

import rushlight

globals().update(rushlight._namespace("utils.dlpack"))

__all__ = [*rushlight._namespace("utils.dlpack")]
