"""torch.autograd.graph and anomaly mode: what programs attach to the recorded graph.

Hooks on saved tensors live in `STATE.saved_hooks`, innermost last; the tape packs what it saves by the last pair.
Anomaly mode and the alias warning are process-wide, as PyTorch's is.
"""

from __future__ import annotations

import contextlib
import warnings
from collections import namedtuple

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE, divert
from rushlight.autograd.tape import AccumulateGrad, Node, _public_edge
from rushlight.bind import FUNCTIONS
from rushlight.core.hooks import RemovableHandle
from rushlight.core.naming import Public
from rushlight.tensor import Tensor, edge, needs

_DISABLED: list[str] = []  # messages of disable_saved_tensors_hooks, innermost last


class saved_tensors_hooks(metaclass=Public):
    """Inside, tensors saved for backward go through pack_hook(tensor) -> anything and come back by unpack_hook."""

    def __init__(self, pack_hook, unpack_hook):
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self):
        if _DISABLED:
            raise RuntimeError(_DISABLED[-1])
        STATE.saved_hooks.append((self.pack_hook, self.unpack_hook))

    def __exit__(self, *exc):
        STATE.saved_hooks.pop()


class save_on_cpu(saved_tensors_hooks):
    """Keep tensors saved for backward in CPU memory."""

    def __init__(self, pin_memory=False, device_type="cuda"):
        super().__init__(lambda x: (x.device, x.detach().cpu()), lambda packed: packed[1].to(packed[0]))


@contextlib.contextmanager
def disable_saved_tensors_hooks(error_message):
    """Inside, entering saved_tensors_hooks raises RuntimeError(error_message)."""
    if STATE.saved_hooks:
        raise RuntimeError(error_message)
    _DISABLED.append(error_message)
    try:
        yield
    finally:
        _DISABLED.pop()


class _Mutations:
    """The copies that one allow_mutation_on_saved_tensors block keeps."""

    def __init__(self):
        self.copies = {}

    def clear(self):
        self.copies.clear()


@contextlib.contextmanager
def allow_mutation_on_saved_tensors():
    """Inside, tensors may be changed in place after they were saved: backward sees the values of the time of saving.

    A copy is kept of everything that is saved (PyTorch copies when the change comes); backward must run inside as well.
    """
    kept = _Mutations()

    def pack(x):
        handle = object()
        kept.copies[handle] = x.detach().clone()
        return handle

    def unpack(handle):
        if handle not in kept.copies:
            raise AssertionError(
                "Trying to backward outside of the 'allow_mutation_on_saved_tensors' context in which the graph was originally recorded."
            )
        return kept.copies[handle]

    with saved_tensors_hooks(pack, unpack):
        try:
            yield kept
        finally:
            kept.clear()


class GradientEdge(namedtuple("GradientEdge", "node output_nr ownership_token", defaults=(None,)), metaclass=Public):
    """Where the gradient of one tensor arrives: a node and the number of its result. Stands for the tensor in grad and backward."""

    __slots__ = ()

    def _edge(self):
        return self.node.edge(self.output_nr)

    def __eq__(self, other):
        return isinstance(other, GradientEdge) and self.node == other.node and self.output_nr == other.output_nr

    def __hash__(self):
        return hash((self.node, self.output_nr))


def get_gradient_edge(tensor):
    """The gradient edge of a tensor that requires grad."""
    if not needs(tensor):
        raise RuntimeError("It is not possible to get the gradient edge for Tensors that do not require gradients (write x.requires_grad_() first)")
    return GradientEdge(*_public_edge(edge(tensor)))


def increment_version(tensor):
    """Count a change that the engine has not seen (made through NumPy, say), so that backward refuses what it saved before."""
    for t in (tensor,) if isinstance(tensor, Tensor) else tensor:
        if t._hist is None:
            raise RuntimeError("increment_version: an inference tensor has no version; write x.clone() outside inference_mode")
        t._shared().count("increment_version")


FUNCTIONS["utils.hooks.RemovableHandle"] = RemovableHandle


class _Handles(RemovableHandle):
    """Takes several hooks out at once."""

    def __init__(self, handles):
        self.handles = tuple(handles)

    def remove(self):
        for h in self.handles:
            h.remove()

    def __getstate__(self):
        return self.handles

    def __setstate__(self, state):
        self.handles = state


def register_multi_grad_hook(tensors, fn, *, mode="all"):
    """Call fn once a backward has the gradients of all `tensors` that it reaches ("all": fn(list, None where there is none)), or the first ("any": fn(grad))."""
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    tensors = list(tensors)
    task, got = [None], {}

    def hook(i):
        def call(g):
            running = STATE.task
            if task[0] is not running:
                task[0] = running
                got.clear()
            if mode == "any":
                if not got:
                    got[i] = g
                    fn(g)
                return
            got[i] = g
            if all(k in got or not running.reaches(t) for k, t in enumerate(tensors)):
                fn([got.get(k) for k in range(len(tensors))])

        return call

    return _Handles([t.register_hook(hook(i)) for i, t in enumerate(tensors) if needs(t)])


def _absent(name):
    def raises(*args, **kwargs):
        raise NotImplementedError(f"torch.autograd.graph.{name} is not implemented")

    return raises


def is_checkpoint_valid():
    """Whether the running backward is one without `inputs`, inside which backward may be called again."""
    return STATE.task is None or STATE.task.targets is None


# ---- anomaly mode ----------------------------------------------------------------------------------------------


def _anomaly(enabled, check_nan):
    level = (2 if check_nan else 1) if enabled else 0
    divert(bool(level) - bool(modes.anomaly))
    before, modes.anomaly = modes.anomaly, level
    return before


class set_detect_anomaly(metaclass=Public):
    """Switch anomaly detection on or off, at once or for a `with` block: forward lines are recorded, and NaN in backward raises."""

    def __init__(self, mode, check_nan=True):
        self.before = _anomaly(mode, check_nan)

    def __enter__(self):
        return None

    def __exit__(self, *exc):
        _anomaly(self.before, self.before == 2)


def set_anomaly_enabled(enabled, check_nan=True):
    """Switch anomaly detection on or off, until it is switched again."""
    _anomaly(enabled, check_nan)


class detect_anomaly(metaclass=Public):
    """Inside, each recorded op keeps the lines that made it, and a backward that gives NaN raises and shows them."""

    def __init__(self, check_nan=True):
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging.", stacklevel=2
        )

    def __enter__(self):
        self.before = _anomaly(True, self.check_nan)

    def __exit__(self, *exc):
        _anomaly(self.before, self.before == 2)


def is_anomaly_enabled():
    """Whether anomaly detection is on."""
    return modes.anomaly > 0


def is_anomaly_check_nan_enabled():
    """Whether anomaly detection looks for NaN."""
    return modes.anomaly == 2


# ---- a name kept from x.grad -----------------------------------------------------------------------------------


def warn_alias(mode=True):
    """Warn when a name kept from `x.grad` sees its values changed by a later backward() or zero_(); both lines are named.

    `.grad` is accumulated in place, so `g = x.grad` is not a copy: keep `x.grad.clone()`. Costs a little while it is on.
    """
    if mode == modes.alias_watch:
        return
    modes.alias_watch = bool(mode)
    Tensor.grad = _WATCHED if mode else _PLAIN
    for name in ("zero_", "fill_"):
        setattr(Tensor, name, _watching(METHOD[name]) if mode else METHOD[name])


METHOD = {}  # the plain in-place methods, filled by rushlight/__init__.py
_PLAIN = Tensor.grad


def _line():
    frame = modes.user_frame()
    if frame is None:
        return ("<unknown>", 0, None)
    return (frame.f_code.co_filename, frame.f_lineno, frame.f_code)


def _kept(x):
    g = x._grad
    if g is not None:
        lines = g.__dict__.setdefault("_taken", [])
        here = _line()
        if here in lines:
            lines.remove(here)
        lines.append(here)
        del lines[:-8]
    return g


_WATCHED = property(_kept, _PLAIN.fset, _PLAIN.fdel, _PLAIN.__doc__)


def _watching(plain):
    def in_place(self, *args, **kwargs):
        taken = self.__dict__.get("_taken")
        if taken and modes.holders(self) > 1:  # the caller's own reference, and another
            report_alias(self, plain.__name__ + "()")
        return plain(self, *args, **kwargs)

    return in_place


def report_alias(g, change):
    """Warn that `change` alters a gradient which a name was kept of, unless it was taken on this very line."""
    here = _line()
    taken = [t for t in g.__dict__.get("_taken", ()) if t[:2] != here[:2]]
    if not taken:
        return
    file, number, _ = taken[0]
    warnings.warn_explicit(
        f"the gradient kept at {file}:{number} is changed by {change} at {here[0]}:{here[1]}: .grad is accumulated in place, and the name is no copy "
        f"of it. Write x.grad.clone() at {file}:{number} to keep the values, or x.grad = None before the next backward().",
        UserWarning,
        here[0],
        here[1],
    )


modes.report_alias = report_alias

# ---- names -----------------------------------------------------------------------------------------------------

for _f in (saved_tensors_hooks, save_on_cpu, disable_saved_tensors_hooks, register_multi_grad_hook, allow_mutation_on_saved_tensors, get_gradient_edge, increment_version, GradientEdge):
    FUNCTIONS["autograd.graph." + _f.__name__] = _f
    _f.__module__ = "rushlight.autograd.graph"
FUNCTIONS["autograd.graph.Node"] = Node
for _n in ("region_activation_memory_budget", "set_warn_on_accumulate_grad_stream_mismatch", "set_override_stale_capture_stream"):
    FUNCTIONS["autograd.graph." + _n] = _absent(_n)
for _f in (detect_anomaly, set_detect_anomaly):
    FUNCTIONS["autograd.anomaly_mode." + _f.__name__] = _f
    _f.__module__ = "rushlight.autograd.anomaly_mode"
for _f in (set_anomaly_enabled, is_anomaly_enabled, is_anomaly_check_nan_enabled, warn_alias):
    FUNCTIONS[_f.__name__] = _f

__all__ = ["AccumulateGrad", "GradientEdge", "saved_tensors_hooks"]
