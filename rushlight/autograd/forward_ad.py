"""torch.autograd.forward_ad: dual numbers, carried by backward.

    with forward_ad.dual_level():
        y = f(forward_ad.make_dual(x, v))
        primal, tangent = forward_ad.unpack_dual(y)        # tangent = J v

There is no forward-mode engine here: a dual is a tensor that requires grad and remembers its tangent, and unpack_dual
finds Jv by backward twice (v'J is linear in v, so its derivative gives J again). It costs two backward passes for each
unpack, and what was computed under no_grad has no tangent: make_dual refuses to start there.
"""

from collections import namedtuple
from contextlib import contextmanager

import rushlight
from rushlight import Tensor, autograd

_LEVELS = []  # of each level that is entered, the list of (dual, tangent) pairs made in it

UnpackedDualTensor = namedtuple("UnpackedDualTensor", "primal tangent")


def enter_dual_level():
    """Begin a level; the number of it. Levels do not nest."""
    if _LEVELS:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _LEVELS.append([])
    return len(_LEVELS) - 1


def exit_dual_level(*, level=None):
    """End the level: its duals have no tangents any more."""
    if not _LEVELS or level not in (None, len(_LEVELS) - 1):
        raise RuntimeError(f"Trying to exit a forward AD level that was not the last one that was created: got level {level}, there are {len(_LEVELS)}")
    _LEVELS.pop()


@contextmanager
def dual_level():
    """A level for a `with` block."""
    level = enter_dual_level()
    try:
        yield level
    finally:
        exit_dual_level(level=level)


def make_dual(tensor, tangent, *, level=None):
    """A tensor with the values of `tensor` that carries `tangent` (same shape and dtype)."""
    if not _LEVELS:
        raise RuntimeError("Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first.")
    for name, x in (("tensor", tensor), ("tangent", tangent)):
        if not isinstance(x, Tensor) or not (x.is_floating_point() or x.is_complex()):
            raise ValueError(f"Expected {name} to be floating point or complex, but got: {x.dtype if isinstance(x, Tensor) else type(x).__name__}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(f"Expected tensor and tangent to have the same shape, got {list(tensor.shape)} and {list(tangent.shape)}")
    if not rushlight.is_grad_enabled():
        raise NotImplementedError("forward_ad.make_dual under no_grad is not implemented: tangents are found by recorded operations here")
    dual = tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_()
    _LEVELS[-1].append((dual, tangent))
    return dual


def unpack_dual(tensor, *, level=None):
    """(primal, tangent) of a tensor computed in this level; tangent None where it depends on no dual."""
    if not _LEVELS or not tensor.requires_grad:
        return UnpackedDualTensor(tensor, None)
    pairs = _LEVELS[-1]
    if not pairs:
        return UnpackedDualTensor(tensor, None)
    for dual, tangent in pairs:
        if dual is tensor:
            return UnpackedDualTensor(tensor.detach(), tangent)
    u = rushlight.zeros_like(tensor, requires_grad=True)
    duals = [d for d, _ in pairs]
    turned = autograd.grad(tensor, duals, u, create_graph=True, allow_unused=True)
    found = [(g, t) for g, (_, t) in zip(turned, pairs) if g is not None]
    if not found:
        return UnpackedDualTensor(tensor, None)
    live = [(g, t) for g, t in found if g.requires_grad]
    tangent = None
    if live:
        (tangent,) = autograd.grad([g for g, _ in live], u, [t for _, t in live], allow_unused=True, create_graph=True)
    if tangent is None:
        tangent = rushlight.zeros_like(tensor)
    if not any(t.requires_grad for _, t in pairs):
        tangent = tangent.detach()
    return UnpackedDualTensor(tensor.detach(), tangent)


__all__ = ["UnpackedDualTensor", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual", "dual_level"]
