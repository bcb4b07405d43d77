"""Learning-rate schedulers.

`base.py` states what a scheduler is and counts its steps; `decay.py` holds the schedules that are
one formula, `cyclic.py` the two that also move the momentum, `plateau.py` the one that watches a
metric, `combined.py` schedules made of schedules. A schedule gives the rates that PyTorch's gives,
digit by digit.
"""

from .base import EPOCH_DEPRECATION_WARNING, LRScheduler
from .combined import ChainedScheduler, SequentialLR
from .cyclic import CyclicLR, OneCycleLR
from .decay import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from .plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class _LRScheduler(LRScheduler):
    """The base under its name before it was public: schedulers of old programs derive from it."""


for _name in __all__:
    globals()[_name].__module__ = __name__
del _name
