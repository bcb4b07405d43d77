"""rushlight.utils: what surrounds a training loop.

`data` holds data sets, samplers and DataLoader, under PyTorch's names, `checkpoint` the recomputation of what a
forward pass would save, `hooks` the handle of registered hooks; `progress` is a progress bar (ours: PyTorch has none).
"""

from rushlight.utils import checkpoint, data, dlpack, hooks
from rushlight.utils.progress import progress

__all__ = ["checkpoint", "data", "dlpack", "hooks", "progress"]
