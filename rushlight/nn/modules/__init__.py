"""The layers of rushlight.nn, one file for each family.

`rushlight.nn` lists the public names; here they can be read too (`nn.modules.Linear`), which
programs written for PyTorch do.
"""

import rushlight

from . import container, lazy, module, optimized


def __getattr__(name):
    if name.startswith("_") or name not in rushlight.nn.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(rushlight.nn, name)
