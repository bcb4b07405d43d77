"""Optional third-party libraries, imported on first use, with an error that names the extra to install."""

from __future__ import annotations

from functools import cache
from importlib import import_module


class MissingExtra(ImportError):
    """An optional dependency is not installed."""


@cache
def _load(module):
    try:
        return import_module(module)
    except ImportError:
        return None


def optional_module(module):
    """The optional module, or None where it is not installed."""
    return _load(module)


def need(module, extra, what):
    """The optional module, or an ImportError that says how to install it."""
    found = _load(module)
    if found is None:
        raise MissingExtra(f"{what} needs {module.split('.')[0]}; install it with: pip install 'rushlight[{extra}]'")
    return found


def scipy_special(what, optional=False):
    """scipy.special, or None where it is optional and not there."""
    return _load("scipy.special") if optional else need("scipy.special", "scipy", what)
