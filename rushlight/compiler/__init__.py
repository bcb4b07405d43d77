"""torch.compile and torch.compiler: whole programs captured, fused, and run as one native program.

`compile` is published as `rushlight.compile`. The helpers below are those that programs call around it.
"""

from __future__ import annotations

import functools

from rushlight.autograd.modes import STATE
from rushlight.bind import FUNCTIONS
from rushlight.compiler.capture import Capture
from rushlight.compiler.compiled import GENERATION, Compiled, compile, eagerly
from rushlight.tensor import Tensor

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable", "is_compiling", "is_dynamo_compiling",
    "is_exporting", "list_backends", "reset", "set_stance", "wrap_numpy",
]  # fmt: skip


def reset():
    """Forget all programs: every compiled function is captured anew at its next call."""
    GENERATION[0] += 1


def disable(fn=None, recursive=True, *, reason=None):
    """A function that runs eagerly, also inside a compiled one (which is not captured past it). Works as a decorator."""
    if fn is None:
        return lambda fn: disable(fn, recursive, reason=reason)
    if isinstance(fn, Compiled):
        fn = fn._function

    @functools.wraps(fn)
    def eager(*args, **kwargs):
        eagerly(reason or f"{getattr(fn, '__name__', 'a function')} is marked by compiler.disable")
        return fn(*args, **kwargs)

    return eager


def is_compiling():
    """Whether the calling code is being captured."""
    return isinstance(STATE.backend, Capture)


is_dynamo_compiling = is_compiling


def is_exporting():
    """Whether the calling code is being exported: export comes later, so it is not."""
    return False


def cudagraph_mark_step_begin():
    """Accepted: there are no CUDA graphs whose memory would have to be told apart."""


def allow_in_graph(fn):
    """Accepted: every function is captured by what it does to tensors."""
    return fn


def assume_constant_result(fn):
    """Accepted: what a function returns without tensor operations is a constant of the program anyway."""
    return fn


def wrap_numpy(fn):
    """`fn` on tensors: arguments become arrays, the resulting array a tensor."""

    @functools.wraps(fn)
    def wrapped(*args, **kwargs):
        result = fn(*[a.numpy() if isinstance(a, Tensor) else a for a in args], **{k: v.numpy() if isinstance(v, Tensor) else v for k, v in kwargs.items()})
        return FUNCTIONS["from_numpy"](result)

    return wrapped


def list_backends(exclude_tags=()):
    """The names that `compile(backend=)` knows."""
    return ["rushlight"]


class set_stance:
    """`set_stance("force_eager")` runs compiled functions eagerly, "default" compiles again; also a context manager and decorator."""

    def __init__(self, stance="default", *, skip_guard_eval_unsafe=False, force_backend=None):
        if stance not in ("default", "force_eager", "eager_on_recompile", "fail_on_recompile", "eager_then_compile", "aot_eager_then_compile"):
            raise RuntimeError(f"invalid stance {stance!r}")
        self.before, Compiled.stance = Compiled.stance, stance

    def __enter__(self):
        return self

    def __exit__(self, *error):
        Compiled.stance = self.before
        return False
