"""torch.random: seeds and states of the default generator."""

from rushlight.api.random import DEFAULT as default_generator
from rushlight.api.random import fork_rng, get_rng_state, initial_seed, manual_seed, seed, set_rng_state

__all__ = ["default_generator", "fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]
