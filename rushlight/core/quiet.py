"""NumPy's switch for floating-point warnings, without the cost of np.errstate's context manager.

    before = set_errors(QUIET)
    try: ...
    finally: reset_errors(before)
"""

from __future__ import annotations

import numpy as np

try:
    from numpy._core.umath import _extobj_contextvar as _ERRORS
    from numpy._core.umath import _make_extobj

    QUIET = _make_extobj(all="ignore")
    set_errors, reset_errors = _ERRORS.set, _ERRORS.reset
except ImportError:  # other versions of NumPy
    QUIET = None

    def set_errors(_):
        return np.seterr(all="ignore")

    def reset_errors(before):
        np.seterr(**before)


def quietly(function, *operands):
    """Call a function of arrays without floating-point warnings (in-place forms must not fail halfway)."""
    token = set_errors(QUIET)
    try:
        return function(*operands)
    finally:
        reset_errors(token)
