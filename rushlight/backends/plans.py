"""What is known of a call from shapes and dtypes alone, so that the next such call need not ask again.

`plan(op, spec, args)` notes what inference and conversion have found; `carry_out(plan, op, args, attrs)` is then
backends/cpu.py's `apply` for those operands. Only rows whose result follows from shapes, dtypes and attributes have plans
(`FAMILIES`), and only on plain arrays in host memory.

Invariant: the same results as CPU.apply, bit for bit.
"""

from __future__ import annotations

import numpy as np

from rushlight.backends import compiled
from rushlight.backends.cpu import _convert, _own, cast, kernel, limit
from rushlight.core.quiet import QUIET, reset_errors, set_errors

FAMILIES = frozenset(("pointwise", "reduction", "scan", "contraction", "fused", "arrangement", "memory"))
ndarray = np.ndarray


class Plan:
    """How a row runs on operands of given shapes and dtypes."""

    __slots__ = ("alike", "casts", "compute", "kernel", "many", "several", "spec", "wanted")

    def __init__(self, op, spec, args):
        self.spec, self.kernel, self.many = spec, kernel(op), limit(op)
        self.several = type(spec) is tuple
        self.alike = False  # for large operands in C order: what runs their kernel (None: nothing does), once it was asked for
        self.compute = self.casts = None
        if self.several:
            self.wanted = None
            return
        self.wanted = spec.dtype.np
        if spec.compute is not None:
            to = self.compute = spec.compute.np
            casts = [_convert if not isinstance(getattr(a, "_data", a), ndarray) else cast if a._data.dtype != to else None for a in args]
            if op.result == "second" and args[0]._data.dtype.kind == "b":
                casts[0] = None
            self.casts = casts if any([c is not None for c in casts]) else None


def plan(op, spec, args):
    """The plan of a row whose result is `spec`; None where a half type's numbers have to be rounded first."""
    if type(spec) is not tuple and spec.half is not None:
        return None
    return Plan(op, spec, args)


def carry_out(plan, op, args, attrs, dense):
    """The row's result, or results, as arrays; `dense`: whether all operands are in C order."""
    arrays = [getattr(a, "_data", a) for a in args]
    spec = plan.spec
    if not plan.several:
        many = plan.many
        for a in arrays:
            if a.__class__ is ndarray and a.size >= many:
                if dense and op.family == "pointwise":
                    if plan.alike is False:
                        plan.alike = compiled.ready(op, spec, arrays, attrs)
                    if plan.alike is not None:
                        return plan.alike(arrays)
                result = compiled.run(op, spec, args, attrs, None)
                if result is not None:
                    return result
                break
        if plan.casts is not None:
            to = plan.compute
            arrays = [a if c is None else c(a, to) for a, c in zip(arrays, plan.casts)]
    token = set_errors(QUIET)
    try:
        result = plan.kernel(*arrays, **attrs)
        if plan.several:
            return tuple([_own(r, s, arrays) for r, s in zip(result, spec)])
        if result.__class__ is ndarray and result.dtype is plan.wanted and result.base is None:
            for a in arrays:
                if a is result:
                    break
            else:
                return result
        return _own(result, spec, arrays)
    finally:
        reset_errors(token)
