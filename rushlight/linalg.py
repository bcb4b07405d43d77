"""torch.linalg: linear algebra (the functions are published by the engine under `linalg.`)."""

import rushlight

globals().update(rushlight._namespace("linalg"))

__all__ = [*rushlight._namespace("linalg")]
