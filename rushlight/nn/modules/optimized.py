"""OptimizedModule: what `rushlight.compile(module)` gives, a module whose calls run compiled.

It has the original as its child `_orig_mod` (so that its state_dict has PyTorch's keys), answers for the attributes of
that, and hands assignments on to it.
"""

import rushlight

from .module import OPTIMIZED, Module

__all__ = ["OptimizedModule"]

_OWN = frozenset(("_orig_mod", "_compiled", "training"))


class OptimizedModule(Module):
    """A compiled module. `_orig_mod` is the module as it was, `_compiled` the compiled call (its `explain()` says what it does)."""

    def __init__(self, module, compiled):
        super().__init__()
        self._orig_mod = module
        object.__setattr__(self, "_compiled", compiled)
        self.training = module.training

    def forward(self, *args, **kwargs):
        return self._compiled(*args, **kwargs)

    def __call__(self, *args, **kwargs):
        return self._compiled(*args, **kwargs)

    def explain(self):
        """What was captured and why, as text."""
        return self._compiled.explain()

    def train(self, mode=True):
        """Set training mode on the original and its descendants."""
        self._orig_mod.train(mode)
        object.__setattr__(self, "training", mode)
        return self

    def __getattr__(self, name):
        if name == "_orig_mod":
            return self._modules["_orig_mod"]
        return getattr(self._orig_mod, name)

    def __setattr__(self, name, value):
        if name in _OWN or "_orig_mod" not in self.__dict__.get("_modules", ()):
            super().__setattr__(name, value)
        else:
            setattr(self._orig_mod, name, value)

    def __delattr__(self, name):
        delattr(self._orig_mod, name)

    def __dir__(self):
        return sorted({*super().__dir__(), *dir(self._orig_mod)})

    def __len__(self):
        return len(self._orig_mod)

    def __getitem__(self, key):
        return self._orig_mod[key]

    def __iter__(self):
        return iter(self._orig_mod)

    def __reduce__(self):
        return rushlight.compile, (self._orig_mod,)


OPTIMIZED.append(OptimizedModule)
