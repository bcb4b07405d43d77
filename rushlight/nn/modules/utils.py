"""Small helpers for layers: sizes as tuples, and prefixes of state_dicts.

`_single`, `_pair`, `_triple` and `_quadruple` turn a number into a tuple of that many, and a
sequence into a tuple.
"""

from itertools import repeat

from ..functional._sizes import ntuple
from ..functional._sizes import with_default as _list_with_default


def _ntuple(n, name="parse"):
    """A function that makes a tuple of `n` numbers of one, and a tuple of any sequence."""

    def parse(x):
        return ntuple(x, n)

    parse.__name__ = name
    return parse


_single = _ntuple(1, "_single")
_pair = _ntuple(2, "_pair")
_triple = _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")


def _reverse_repeat_tuple(t, n):
    """(a, b) to (b, b, a, a) for n = 2: the order that functional.pad wants."""
    return tuple(x for x in reversed(t) for _ in repeat(None, n))


def consume_prefix_in_state_dict_if_present(state_dict, prefix):
    """Take `prefix` off the keys that have it, in place; also off the state_dict's metadata.

    This is for loading what a wrapper saved, such as `module.` of DataParallel.
    """
    for key in list(state_dict):
        if key.startswith(prefix):
            state_dict[key[len(prefix) :]] = state_dict.pop(key)
    metadata = getattr(state_dict, "_metadata", None)
    if metadata is None:
        return
    for key in list(metadata):
        # the prefix without its dot names the wrapped module, which becomes the root ""
        if key and (key == prefix.rstrip(".") or key.startswith(prefix)):
            metadata[key[len(prefix) :]] = metadata.pop(key)


__all__ = ["consume_prefix_in_state_dict_if_present", "_list_with_default"]
