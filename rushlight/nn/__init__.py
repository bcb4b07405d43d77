"""Neural networks: modules hold state, `nn.functional` holds the mathematics, `nn.init` the draws.

This file is the list of public names; nothing else is defined here. Every name is imported from
the file that holds it.
"""

from . import init, utils
from .modules.container import (
    Container,
    ModuleDict,
    ModuleList,
    ParameterDict,
    ParameterList,
    Sequential,
)
from .modules.module import Module
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "Buffer",
    "Container",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "Sequential",
    "UninitializedBuffer",
    "UninitializedParameter",
]
