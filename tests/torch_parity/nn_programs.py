"""Programs that run on PyTorch and on rushlight, and the comparison of what they return.

A program takes the library `T` and returns plain values and tensors; an exception becomes its type
and its text. `check` compares the results of the two runs piece by piece.
"""

import re
import warnings

import numpy as np
import torch

import rushlight


def attempt(function):
    """The result, or what was raised."""
    try:
        return function()
    except Exception as error:
        return "raised", type(error).__name__, str(error)


def plain(x):
    """A result as something that compares across the libraries."""
    if hasattr(x, "detach") and hasattr(x, "tolist"):
        return "tensor", str(x.dtype), tuple(x.shape), np.asarray(x.detach().cpu().tolist())
    if isinstance(x, dict):
        return [(str(k), plain(v)) for k, v in x.items()]
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    if isinstance(x, str):
        text = x.replace("rushlight.", "torch.")
        return re.sub(r" at 0x[0-9a-f]+", "", text)
    if isinstance(x, (int, float, type(None))):
        return x
    return plain(str(x))


def differences(a, b, path=""):
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        if a.shape == b.shape and np.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True):
            return []
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        if len(a) == len(b):
            pairs = enumerate(zip(a, b, strict=True))
            return [d for i, (x, y) in pairs for d in differences(x, y, f"{path}[{i}]")]
    elif a == b:
        return []
    return [f"{path}: rushlight gives {str(a)[:500]}, torch {str(b)[:500]}"]


def run(function, library):
    library.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = attempt(lambda: function(library))
    return plain(result), [w.category.__name__ for w in caught]


def check(function):
    ours, theirs = run(function, rushlight), run(function, torch)
    found = differences(list(ours), list(theirs))
    assert not found, "\n".join(found)
