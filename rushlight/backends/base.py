"""The contract between the front end and whatever computes.

    data = backend.apply(op, spec, args, attrs, out=None)

The front end has validated, promoted and broadcast: `args` are tensors and Python numbers in the order of the row's
inputs, `spec` says shape and dtype of the result (a tuple of Specs where there are several) and, in `spec.compute`,
the dtype that the operands are converted to first; `attrs` are the row's other arguments. A backend trusts all of
that and checks nothing.

What it returns is the new tensor's `_data`: memory of its own that no other tensor shares. With `out` (a tensor whose
shape is the spec's) the result is written there instead, cast to its dtype, and `out._data` is returned. This is every
in-place op and every `out=` of the API; the front end bumps the version afterwards.

View ops never reach a backend. Host reads are `item(x)` and `numpy(x)`.

A backend that records instead of running (a graph backend) implements the same verbs and two more, because what the CPU
does without asking a backend has to be noticed: `view(op, x, attrs, make_view)` for view ops, and `constant(data)` for the
fresh memory of factory functions. It is made active by `modes.interpose(backend)`, which sends every op of the thread
through it. What it gives as `_data` may be a `core.window.Window`: shape, dtype and strides without memory.
"""

from __future__ import annotations


class Backend:
    """The verbs of a backend."""

    name = ""

    def apply(self, op, spec, args, attrs, out=None):
        raise NotImplementedError

    def view(self, op, x, attrs, make_view):
        """A view of x: the row's own reading of its memory (interposed backends only)."""
        return make_view(op, x, op.numpy(x._data, **attrs), attrs)

    def constant(self, data):
        """Memory that a factory function has just made (interposed backends only)."""
        return data

    def backward(self, nodes):
        """A backward is about to run these nodes and leaves (interposed backends only)."""

    def item(self, x):
        raise NotImplementedError

    def numpy(self, x):
        raise NotImplementedError
