"""torch.special: special functions (published by the engine under `special.`)."""

import rushlight

globals().update(rushlight._namespace("special"))

__all__ = [*rushlight._namespace("special")]
