"""The record of an op and the table of all of them.

A row says what an op computes and how its gradients are formed; it never says how tensors are made, checked or
recorded. Its readings stand elsewhere: the NumPy kernel in backends/, the tape's node in autograd/, the public
function, method and in-place form in bind.py, the generated tests in tests/.

Gradient formulas. There is one for each input, written in Tensor operations, so that it can be differentiated again.
Its parameter names say what the tape saves and nothing else is saved: `g` the incoming gradient, `out` the result
(`out0`, `out1` of several), an input's own name, `x_spec` the shape and dtype of input `x`, or an attribute's name.
Three deliberate kinds of "no formula": `None` (the input is not differentiable, such as an index), `ZERO` (the
derivative is zero), `MISSING` (there is one, and it is not written: backward raises and names the op).

Invariants: rows are immutable; names are unique; `infer` is the only place that decides shapes and dtypes.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple

ZERO = "zero"
MISSING = "missing"


class Spec(NamedTuple):
    """Shape and dtype of a result; `compute` is the dtype that the operands are converted to first (None: as they are)."""

    shape: tuple
    dtype: Any
    compute: Any = None


@dataclass(frozen=True, slots=True)
class Op:
    """One row. `infer(op, args, attrs)` gives the Spec of the result, or a tuple of Specs where there are several."""

    name: str
    family: str
    infer: Callable
    inputs: tuple[str, ...] = ("x",)
    body: Callable | None = None  # pointwise: body(s, *scalars) over any scalar language s
    numpy: Callable | None = None  # numpy(*arrays, **attrs): the NumPy reading, where it does not follow from the body
    grads: tuple = ()  # one formula an input; empty: the result never requires grad
    node: str = ""  # the autograd node's name, as PyTorch prints it
    result: str = "same"  # dtype rule of the family
    also: tuple[str, ...] = ()  # further public names
    domain: tuple = (-2.0, 2.0)  # where tests sample each input
    dtypes: str = "bifc"  # categories that it accepts: bool, integer, float, complex
    outputs: int = 1
    analytic: bool = True  # the formulas may be given conjugated values for complex results
    differentiable: tuple[int, ...] = (0,)  # which results carry a gradient
    reference: Callable | None = None  # fused rows: the composite they must equal
    optional: tuple[str, ...] = ()  # inputs that may be None
    wants: tuple = field(default=())  # for each formula, the names it asks for after g
    where: tuple = ("", 0)  # file and line of the row

    def __repr__(self):
        return f"<op {self.name} ({self.family})>"

    def __hash__(self):
        return hash(self.name)

    def __eq__(self, other):
        return self is other


TABLE: dict[str, Op] = {}


def camel(name):
    return "".join(w.capitalize() for w in name.strip("_").split("_"))


def _names(formula):
    if not callable(formula):
        return ()
    return tuple(inspect.signature(formula).parameters)[1:]


def row(name, family, infer, depth=2, **columns):
    """Enter a row in the table (the family constructors call it) and return it."""
    if name in TABLE:
        raise ValueError(f"op {name!r} is already in the table")
    caller = sys._getframe(depth)
    grads = columns.pop("grads", ())
    if not isinstance(grads, tuple):
        grads = (grads,)
    columns.setdefault("node", camel(name) + "Backward0")
    op = Op(
        name=name,
        family=family,
        infer=infer,
        grads=grads,
        wants=tuple(map(_names, grads)),
        where=(caller.f_code.co_filename, caller.f_lineno),
        **columns,
    )
    TABLE[name] = op
    return op
