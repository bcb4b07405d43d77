"""torch.return_types: the named results of functions that give several tensors."""

import rushlight

_TYPES = rushlight._RETURN_TYPES
globals().update(_TYPES)
all_return_types = list(_TYPES.values())

__all__ = [*_TYPES, "all_return_types"]
