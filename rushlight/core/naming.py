"""Names: classes and functions are found under rushlight (so pickles load), classes print as PyTorch prints them.

A program that prints a type, or compares the text of one, expects `<class 'torch.Tensor'>`. A pickle needs the module
where the class really is. So `__module__` tells the truth, and a metaclass prints the other name. (An exception's module
is printed by Python itself, in tracebacks: `Elsewhere` is for those.)

`settle` gives every published function the module and the names that it is published under.
"""

from __future__ import annotations

import copyreg
from importlib import import_module
from types import FunctionType

OURS, THEIRS = "rushlight", "torch"
#: modules whose functions PyTorch names after the module as well: torch.linalg.det is `linalg_det`
_PREFIXED = ("linalg", "special", "fft")


def public_name(module):
    """PyTorch's name of one of our modules; other modules keep theirs."""
    if module == OURS or module.startswith(OURS + "."):
        return THEIRS + module[len(OURS) :]
    return module


class Public(type):
    """The class of classes that print as `<class 'torch.x'>`."""

    def __repr__(cls):
        return f"<class '{public_name(cls.__module__)}.{cls.__qualname__}'>"


class Elsewhere(Public):
    """The class of classes whose `__module__` has to be torch's; `home` is where pickles find them: (module, name)."""


def _found(module, name):
    return getattr(import_module(module), name)


copyreg.pickle(Elsewhere, lambda cls: (_found, cls.home))


def published(cls, name, module=OURS):
    """Give a class the name and module under which users find it; returns it."""
    cls.__name__ = cls.__qualname__ = name
    cls.__module__ = module
    return cls


def twin(f, name):
    """The same function once more, under another name."""
    other = FunctionType(f.__code__, f.__globals__, name, f.__defaults__, f.__closure__)
    other.__kwdefaults__, other.__doc__, other.__annotations__ = f.__kwdefaults__, f.__doc__, f.__annotations__
    other.__dict__.update(f.__dict__)
    return other


def settle(functions, methods):
    """Make each entry of the two tables a function that is called, printed and pickled by the name of the entry.

    What is entered under several names (`acos`, `arccos`) becomes one function for each; a method that is a function as
    well stays one object with it. Operators keep the names of the functions behind them.
    """
    taken = {}  # function -> the entry that keeps the object itself: the one that it was named for, else the first
    for table in (functions, methods):
        for entry, f in table.items():
            if type(f) is FunctionType and (f not in taken or entry == f.__name__ != taken[f]):
                taken[f] = entry
    twins = {}
    for table, owner in ((functions, ""), (methods, "Tensor.")):
        for entry, f in table.items():
            home, _, short = entry.rpartition(".")
            if type(f) is not FunctionType or short.startswith("__"):
                continue
            name = f"{home}_{short}" if home in _PREFIXED else short
            if taken[f] != entry:
                original, f = f, twins.get((f, entry))
                if f is None:
                    f = twins[original, entry] = twin(original, name)
                table[entry] = f
            if owner and functions.get(entry) is f:
                continue
            f.__name__, f.__qualname__ = name, owner + short
            f.__module__ = f"{OURS}.{home}" if home else OURS


def settle_module(module):
    """The same for a module that was put together from functions made elsewhere."""
    for name, f in list(vars(module).items()):
        if type(f) is FunctionType and not name.startswith("_"):
            f = twin(f, name)
            f.__qualname__, f.__module__ = name, module.__name__
            setattr(module, name, f)
