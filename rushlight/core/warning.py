"""Warnings that PyTorch gives once in a process, however often there is a reason."""

from __future__ import annotations

import warnings

_GIVEN = set()


def once(about, text, stacklevel):
    """Warn with `text` the first time that `about` is warned of; the stack is counted from the caller."""
    if about not in _GIVEN:
        _GIVEN.add(about)
        warnings.warn(text, UserWarning, stacklevel=stacklevel + 1)
