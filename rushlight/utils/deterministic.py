"""torch.utils.deterministic: what use_deterministic_algorithms() does to uninitialised memory (nothing here)."""

fill_uninitialized_memory = True

__all__ = ["fill_uninitialized_memory"]
