"""torch.torch_version: the class of `torch.__version__`."""

import rushlight

TorchVersion = type(rushlight.__version__)

__all__ = ["TorchVersion"]
