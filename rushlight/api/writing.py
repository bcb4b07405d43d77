"""How a composite hands over its result: as a new tensor, in `out=`, or into the tensor of an in-place form.

Rows do this in dispatch.into; functions made of several ops call `delivered` at their end, so that the rules of `out=`
(dtype, memory, size, no gradients) are the same for both.
"""

from __future__ import annotations

from rushlight.autograd.modes import STATE
from rushlight.dispatch import (
    InPlace,
    check_castable,
    check_memory,
    check_overlap,
    kind_of,
    resize_out,
)
from rushlight.tensor import Tensor, needs


def delivered(result, out, name, exact=False, wanted=None, apart=()):
    """`result`, or `out` (a tensor, or a sequence of them) after the values were written there.

    `exact`: each `out` must have its result's own dtype; `wanted` is then PyTorch's wording for that, with places {want}
    and {found} for the names of the two dtypes. `apart` are operands that must not share memory with an `out`.
    """
    if out is None:
        return result
    if isinstance(out, InPlace):
        return out.target.copy_(result)
    several = isinstance(out, (tuple, list))
    results, outs = (tuple(result), tuple(out)) if several else ((result,), (out,))
    if len(results) != len(outs):
        raise TypeError(f"{name}(): out must have {len(results)} tensors, got {len(outs)}")
    for r, o in zip(results, outs):
        if not isinstance(o, Tensor):
            raise TypeError(f"{name}(): argument 'out' must be Tensor, not {kind_of(o)}")
        if STATE.grad and (needs(r) or needs(o)):
            raise RuntimeError(f"{name}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad.")
        if exact and r.dtype is not o.dtype:
            if wanted is not None:
                raise RuntimeError(wanted.format(want=r.dtype.title, found=o.dtype.title) + f" ({name}: give out= a tensor of {r.dtype})")
            raise RuntimeError(f"Expected out tensor to have dtype {r.dtype.c_name}, but got {o.dtype.c_name} instead ({name}: give out= a tensor of {r.dtype})")
        check_castable(r.dtype, o.dtype)
        check_memory(o)
        check_overlap(o, apart, apart=True)
    for r, o in zip(results, outs):
        resize_out(None, o, r.shape)
        o.detach().copy_(r)
    return type(result)(*outs) if several and hasattr(result, "_fields") else out


__all__ = ["delivered"]
