"""torch.nn.parallel: one model on several devices.

There is one device here, or none beside the CPU: DataParallel wraps a module and calls it, as PyTorch's
does without GPUs, so that the names in a checkpoint ("module.weight") are the same. What needs
several devices or processes is not there and says so.
"""

from .data_parallel import DataParallel, data_parallel
from .distributed import DistributedDataParallel
from .pieces import gather, parallel_apply, replicate, scatter

__all__ = [
    "DataParallel",
    "DistributedDataParallel",
    "data_parallel",
    "gather",
    "parallel_apply",
    "replicate",
    "scatter",
]
