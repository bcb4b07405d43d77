"""rushlight.utils: what surrounds a training loop.

`data` holds data sets, samplers and DataLoader, under PyTorch's names; `progress` is a progress bar
(ours: PyTorch has none).
"""

from rushlight.utils import data
from rushlight.utils.progress import progress

__all__ = ["data", "progress"]
