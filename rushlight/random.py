"""torch.random: seeds and states of the default generator (the functions are published by the engine under `random.`)."""

import rushlight

globals().update(rushlight._namespace("random"))
default_generator = rushlight.default_generator

__all__ = ["default_generator", *rushlight._namespace("random")]
