"""RemovableHandle: what every hook registration hands back."""

from __future__ import annotations

import weakref
from collections import OrderedDict


class RemovableHandle:
    """Removes a hook from its table: `handle.remove()`, or leaving a `with` block.

    The table is referenced weakly, so a handle never keeps a module alive, and removing a hook
    twice, or after the module has gone, does nothing. `extra_dict` is a table, or several, that
    hold a mark under the same id.
    """

    next_id = 0

    def __init__(self, hooks_dict, *, extra_dict=None):
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        if extra_dict is None:
            extra_dict = ()
        elif isinstance(extra_dict, dict):
            extra_dict = (extra_dict,)
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extra_dict)

    def remove(self):
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self):
        return (
            self.hooks_dict_ref(),
            self.id,
            tuple(ref() for ref in self.extra_dict_ref),
        )

    def __setstate__(self, state):
        hooks, self.id, extras = state
        self.hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extras if d is not None)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()
