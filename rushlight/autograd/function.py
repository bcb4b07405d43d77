"""torch.autograd.function: custom differentiable functions (the engine publishes them under `autograd.function.`)."""

import rushlight

globals().update(rushlight._namespace("autograd.function"))

__all__ = [*rushlight._namespace("autograd.function")]
