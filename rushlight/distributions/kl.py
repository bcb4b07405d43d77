"""Kullback-Leibler divergences KL(p || q) = E_p[log p(x) - log q(x)] by pairs of classes.

Mechanism. `register_kl` fills a table; `kl_divergence` takes the entry of the most specific pair of base classes and
remembers it. The closed forms are in divergences.py. Pairs that are not in the table raise NotImplementedError.
"""

from __future__ import annotations

import warnings

__all__ = ["register_kl", "kl_divergence"]

_formulas = {}
_found = {}


def register_kl(type_p, type_q):
    """Decorator: register a function (p, q) -> KL(p || q) for two classes of distributions and their subclasses."""
    for kind, name in ((type_p, "type_p"), (type_q, "type_q")):
        if not isinstance(kind, type):  # mixins that are no Distribution themselves are welcome
            raise TypeError(f"Expected {name} to be a class, a Distribution subclass, but got {kind}")

    def decorator(fun):
        _formulas[type_p, type_q] = fun
        _found.clear()
        return fun

    return decorator


def _search(type_p, type_q):
    matches = [pair for pair in _formulas if issubclass(type_p, pair[0]) and issubclass(type_q, pair[1])]
    if not matches:
        return NotImplemented

    def rank(pair, first):  # how far up the classes lie, one of them deciding before the other
        steps = type_p.__mro__.index(pair[0]), type_q.__mro__.index(pair[1])
        return steps if first else steps[::-1]

    left, right = min(matches, key=lambda m: rank(m, True)), min(matches, key=lambda m: rank(m, False))
    if _formulas[left] is not _formulas[right]:
        warnings.warn(f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}): two formulas are equally near, and the nearer to the "
                      f"first class is taken. register_kl({left[0].__name__}, {right[1].__name__}) would decide.", RuntimeWarning, stacklevel=3)  # fmt: skip
    return _formulas[left]


def kl_divergence(p, q):
    """KL(p || q), of the batch shape of the two; NotImplementedError for pairs without a closed form here."""
    pair = type(p), type(q)
    if pair not in _found:
        _found[pair] = _search(*pair)
    fun = _found[pair]
    if fun is NotImplemented:
        raise NotImplementedError(f"No KL(p || q) is implemented for p a {pair[0].__name__} and q a {pair[1].__name__}: add one with register_kl")
    return fun(p, q)
