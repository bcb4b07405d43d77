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

import sys
from collections import namedtuple

ZERO = "zero"
MISSING = "missing"


class Spec(namedtuple("Spec", "shape dtype compute half", defaults=(None, None))):
    """Shape and dtype of a result; `compute` is the dtype that the operands are converted to first (None: as they are).

    `half` is the common dtype of the operands where that is a half type: numbers beside it are rounded to it.
    """

    __slots__ = ()


_DEFAULTS = {
    "inputs": ("x",),
    "body": None,  # pointwise: body(s, *scalars) over any scalar language s
    "numpy": None,  # numpy(*arrays, **attrs): the NumPy reading, where it does not follow from the body
    "grads": (),  # one formula an input; empty: the result never requires grad
    "wants": (),  # for each formula, the names that it asks for after g
    "node": "",  # the autograd node's name, as PyTorch prints it
    "node_in_place": "",  # the node's name for the in-place form, where PyTorch has another
    "result": "same",  # dtype rule of the family
    "also": (),  # further public names
    "domain": (-2.0, 2.0),  # where tests sample each input
    "dtypes": "bifc",  # categories that it accepts: bool, integer, float, complex
    "optional": (),  # inputs that may be None
    "outputs": 1,
    "autocast": None,  # under autocast: "lower" runs in the lower dtype, "float32" in float32
    "scalars": True,  # whether the second operand may be a Python number
    "wide": (),  # the operands (by place) that keep the precision of float32 as numbers beside a half type
    "stepwise": False,  # half types are not widened: every step is rounded to them
    "narrow": (),  # the attributes that are rounded to the half type of the operands
    "exact": False,  # `out=` must have the result's own dtype: nothing is converted on the way out
    "apart": None,  # the number of the operand from which on none may share memory with what is written
    "has_out": True,  # whether PyTorch's function takes `out=`
    "analytic": True,  # the formulas may be given conjugated values for complex results
    "differentiable": (0,),  # which results carry a gradient
    "joint": False,  # the formula is one for all inputs: it gives a list with a gradient, or None, for each
    "shown": None,  # where PyTorch has several nodes or another order: what `next_functions` says (tape.Shown)
    "reference": None,  # fused rows: the composite that they must equal
    "where": ("", 0),  # file and line of the row
}


class Op:
    """One row. `infer(op, args, attrs)` gives the Spec of the result, or a tuple of Specs where there are several.

    Immutable; equal only to itself. The columns and their defaults are listed above.
    """

    __slots__ = ("name", "family", "infer", *_DEFAULTS)

    def __init__(self, name, family, infer, **columns):
        put = object.__setattr__
        put(self, "name", name)
        put(self, "family", family)
        put(self, "infer", infer)
        for column, default in _DEFAULTS.items():
            put(self, column, columns.pop(column, default))
        if columns:
            raise TypeError(f"op {name!r}: unknown columns {sorted(columns)}")

    def __setattr__(self, column, value):
        raise AttributeError(f"rows are immutable: {self.name}.{column}")

    def __repr__(self):
        return f"<op {self.name} ({self.family})>"


TABLE: dict[str, Op] = {}


def camel(name):
    return "".join(w.capitalize() for w in name.strip("_").split("_"))


def _names(formula):
    if not callable(formula):
        return ()
    code = getattr(formula, "__wrapped__", formula).__code__
    return code.co_varnames[1 : code.co_argcount]


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
