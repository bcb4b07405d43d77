"""Differentiation: the tape and the engine (floor), and on the public floor functional, gradcheck, graph and the other names
of torch.autograd, which are imported when they are first used.
"""

from importlib import import_module

_PUBLIC = ("anomaly_mode", "forward_ad", "function", "functional", "grad_mode", "graph", "profiler", "variable")
_INSIDE = {"gradcheck": "gradcheck", "gradgradcheck": "gradcheck", "GradcheckError": "gradcheck", "Variable": "variable", "SavedTensor": "tape"}


def __getattr__(name):
    if name in _PUBLIC:
        return import_module(f"{__name__}.{name}")
    if name in _INSIDE:
        return getattr(import_module(f"{__name__}.{_INSIDE[name]}"), name)
    raise AttributeError(f"module 'torch.autograd' has no attribute '{name}'")


def __dir__():
    return sorted({*globals(), *_PUBLIC, *_INSIDE})
