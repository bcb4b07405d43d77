"""The neural operations of the engine, collected: what nn.functional imports.

Each family is a file of its own; the torch-level names among them publish themselves as they are
imported.
"""

from __future__ import annotations

from rushlight.api.neural_activation import *  # noqa: F403
from rushlight.api.neural_attention import *  # noqa: F403
from rushlight.api.neural_conv import *  # noqa: F403
from rushlight.api.neural_embedding import *  # noqa: F403
from rushlight.api.neural_image import *  # noqa: F403
from rushlight.api.neural_loss import *  # noqa: F403
from rushlight.api.neural_norm import *  # noqa: F403
from rushlight.api.neural_pool import *  # noqa: F403
from rushlight.api.neural_recurrent import *  # noqa: F403
