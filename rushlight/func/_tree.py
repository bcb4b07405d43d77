"""Nested tuples, lists and dicts of leaves: taken apart and put together again."""

from collections import OrderedDict

_DICTS = (dict, OrderedDict)


def flatten(tree):
    """(leaves, structure); `unflatten` puts them together."""
    leaves = []
    return leaves, _shape(tree, leaves)


def _shape(tree, leaves):
    kind = type(tree)
    if kind in _DICTS:
        return (kind, tuple(tree), [_shape(v, leaves) for v in tree.values()])
    if kind in (tuple, list):
        return (kind, len(tree), [_shape(v, leaves) for v in tree])
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return (kind, tree._fields, [_shape(v, leaves) for v in tree])
    leaves.append(tree)
    return None


def unflatten(leaves, structure):
    """The tree of this structure over new leaves."""
    return _build(iter(leaves), structure)


def _build(leaves, structure):
    if structure is None:
        return next(leaves)
    kind, keys, parts = structure
    values = [_build(leaves, p) for p in parts]
    if kind in _DICTS:
        return kind(zip(keys, values))
    return kind(values) if kind in (tuple, list) else kind(*values)


def spread(prefix, structure, leaf=lambda p: p is None or isinstance(p, int)):
    """The leaves of `prefix`, each repeated for all leaves of the subtree that it stands for; None where it does not fit."""
    if leaf(prefix):
        return [prefix] * _count(structure)
    if structure is None or type(prefix) is not structure[0] and not (isinstance(prefix, (tuple, list)) and structure[0] in (tuple, list)):
        return None
    parts = list(prefix.values()) if type(prefix) in _DICTS else list(prefix)
    if len(parts) != len(structure[2]):
        return None
    out = []
    for p, s in zip(parts, structure[2]):
        inner = spread(p, s, leaf)
        if inner is None:
            return None
        out += inner
    return out


def _count(structure):
    return 1 if structure is None else sum(map(_count, structure[2]))


def describe(structure):
    """The structure in one line, `*` for each leaf."""
    if structure is None:
        return "*"
    kind, keys, parts = structure
    inner = [describe(p) for p in parts]
    if kind in _DICTS:
        return "{" + ", ".join(f"{k!r}: {p}" for k, p in zip(keys, inner)) + "}"
    return "[" + ", ".join(inner) + "]" if kind is list else "(" + ", ".join(inner) + ("," if len(inner) == 1 else "") + ")"
