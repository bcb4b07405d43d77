"""DistributedDataParallel: the name only, for isinstance checks of programs that may run without it."""

from ..modules.module import Module


class DistributedDataParallel(Module):
    """Not implemented: making one raises NotImplementedError."""

    def __init__(self, module, *args, **kwargs):
        raise NotImplementedError(
            "torch.nn.parallel.DistributedDataParallel is not implemented: training over several "
            "processes is not there yet; use the module itself in one process"
        )
