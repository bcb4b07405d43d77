"""The parts of DataLoader: collation, fetching, pinned memory, workers. PyTorch's file names."""

from rushlight.utils.data._utils import collate, fetch, pin_memory, worker
