"""Automatic mixed precision: the autocast switch and the scaling of losses.

`state.py` holds the switches of one thread, `autocast_mode.py` the context that turns them,
`grad_scaler.py` keeps small gradients from vanishing in float16.
"""

from .autocast_mode import autocast, custom_bwd, custom_fwd, is_autocast_available
from .grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
