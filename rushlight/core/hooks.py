"""RemovableHandle: what every registration of a hook hands back, for tensors, nodes, modules and optimizers.

A table of hooks is an OrderedDict from the handle's id to the hook. The handle refers to it weakly, so that it keeps
neither a module nor a graph alive.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict

from rushlight.core.naming import Public, published


class RemovableHandle(metaclass=Public):
    """Removes a hook from its table: `handle.remove()`, or leaving a `with` block.

    Removing a hook twice, or after the table has gone, does nothing. `extra_dict` is a table, or several, that hold a
    mark under the same id.
    """

    next_id = 0

    def __init__(self, hooks_dict, *, extra_dict=None):
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.id = RemovableHandle.next_id
        RemovableHandle.next_id += 1
        extras = () if extra_dict is None else (extra_dict,) if isinstance(extra_dict, dict) else extra_dict
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extras)

    def remove(self):
        """Take the hook out."""
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self):
        return self.hooks_dict_ref(), self.id, tuple(ref() for ref in self.extra_dict_ref)

    def __setstate__(self, state):
        hooks, self.id, extras = state
        self.hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extras if d is not None)
        RemovableHandle.next_id = max(RemovableHandle.next_id, self.id + 1)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()


published(RemovableHandle, "RemovableHandle", "rushlight.utils.hooks")


def registered(table, hook):
    """Enter a hook into a table and give its handle."""
    handle = RemovableHandle(table)
    table[handle.id] = hook
    return handle
