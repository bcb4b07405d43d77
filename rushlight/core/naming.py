"""Names: classes are found under rushlight (so pickles load) and print as PyTorch prints them.

A program that prints a type, or compares the text of one, expects `<class 'torch.Tensor'>`. A pickle needs the module
where the class really is. So `__module__` tells the truth, and a metaclass prints the other name.
"""

from __future__ import annotations

OURS, THEIRS = "rushlight", "torch"


def public_name(module):
    """PyTorch's name of one of our modules; other modules keep theirs."""
    if module == OURS or module.startswith(OURS + "."):
        return THEIRS + module[len(OURS) :]
    return module


class Public(type):
    """The class of classes that print as `<class 'torch.x'>`."""

    def __repr__(cls):
        return f"<class '{public_name(cls.__module__)}.{cls.__qualname__}'>"


def published(cls, name, module=OURS):
    """Give a class the name and module under which users find it; returns it."""
    cls.__name__ = cls.__qualname__ = name
    cls.__module__ = module
    return cls
