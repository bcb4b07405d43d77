"""torch.autograd.graph: nodes, edges and hooks of the recorded graph (the engine publishes them under `autograd.graph.`)."""

import rushlight

globals().update(rushlight._namespace("autograd.graph"))

__all__ = [*rushlight._namespace("autograd.graph")]
