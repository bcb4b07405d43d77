"""Every row of the op table compiled equals the row run eagerly: values, layout, gradients, in-place form.

The samples are those of test_table.py. One program per row and dtype does forward and backward; another leaves backward
outside. Rows of integers and truth values are run without gradients.
"""

import math

import numpy as np
import pytest
from compile_checks import side_by_side
from table_samples import SAMPLES, excepted, rows, sample

import rushlight as torch
from rushlight.dispatch import InPlace, apply, view
from rushlight.ops.op import MISSING, TABLE

REAL, COMPLEX = rows("f"), rows("c")


def plain_rows():
    """Pointwise rows without gradients, besides those of test_table.py."""
    have = {op.name for op in (*REAL, *COMPLEX)}
    return [op for op in TABLE.values() if op.family == "pointwise" and op.body is not None and op.name not in have and excepted(op) is None]


PLAIN = plain_rows()
WHOLE = [op for op in TABLE.values() if op.family == "pointwise" and "i" in op.dtypes and excepted(op) is None]


LOOKING = {"prod", "prod_dim", "cumprod"}  # rows whose gradient looks at values


#: rows whose result has a layout of its own, which no capture knows beforehand
LAYOUT = {"lay_out"}


def names(ops):
    return [op.name for op in ops]


def run(op, args, attrs):
    out = view(op, *args, **attrs) if op.family == "view" else apply(op, tuple(args), attrs)
    return out if isinstance(out, tuple) else (out,)


def maker(arrays, wanted, double=True):
    """A function that makes the arguments anew."""
    single = {np.dtype(np.float64): np.float32, np.dtype(np.complex128): np.complex64}

    def make():
        made = []
        for i, a in enumerate(arrays):
            t = torch.from_numpy(a.copy() if double else a.astype(single.get(a.dtype, a.dtype)))
            made.append(t.requires_grad_() if i in wanted else t)
        return made

    return make


def programs(op, attrs, wanted):
    def forward(*args):
        return run(op, args, attrs)

    def both(*args):
        outs = [o for i, o in enumerate(run(op, args, attrs)) if o.requires_grad]
        weights = [torch.linspace(0.5, 1.5, o.numel(), dtype=torch.float64).reshape(o.shape).to(o.dtype) for o in outs]
        return [o.detach() for o in outs], torch.autograd.grad(outs, [args[i] for i in wanted], weights, materialize_grads=True)

    return forward, both


def check(op, kind, double):
    arrays, attrs, wanted = sample(op, kind)
    make = maker(arrays, wanted, double)
    forward, both = programs(op, attrs, wanted)
    if MISSING in op.grads or not any(o.requires_grad for o in forward(*make())):
        wanted = []
    side_by_side(forward, lambda: [t.detach() for t in make()], layout=op.name not in LAYOUT)
    if wanted:
        side_by_side(both, make, kept=op.name not in LOOKING, layout=op.name not in LAYOUT)


@pytest.mark.parametrize("op", REAL, ids=names(REAL))
def test_rows_compiled_are_rows_run_eagerly(op):
    check(op, "f", True)
    check(op, "f", False)


@pytest.mark.parametrize("op", COMPLEX, ids=names(COMPLEX))
def test_complex_rows(op):
    check(op, "c", True)


@pytest.mark.parametrize("op", REAL, ids=names(REAL))
def test_backward_outside(op):
    arrays, attrs, wanted = sample(op, "f")
    make = maker(arrays, wanted)
    forward, _ = programs(op, attrs, wanted)
    if MISSING in op.grads or not any(o.requires_grad for o in forward(*make())):
        return
    compiled = torch.compile(forward)
    for _ in range(3):
        gradients = []
        for f in (forward, compiled):
            args = make()
            outs = [o for o in f(*args) if o.requires_grad]
            weights = [torch.linspace(0.5, 1.5, o.numel(), dtype=torch.float64).reshape(o.shape) for o in outs]
            gradients.append(torch.autograd.grad(outs, [args[i] for i in wanted], weights, materialize_grads=True))
        for a, b in zip(*gradients):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)
    assert compiled.programs or op.name in LOOKING or op.family == "view", compiled.history


INTEGERS = {"int64": np.int64, "int32": np.int32, "uint8": np.uint8, "bool": np.bool_}


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("op", WHOLE, ids=names(WHOLE))
def test_rows_of_whole_numbers(op, dtype):
    arrays, attrs, _ = sample(op, "f")
    if dtype == "bool" and op.name in ("sub_scaled", "addcmul"):
        return  # refused before the row
    low = 1 if dtype != "bool" else 0
    made = [(np.arange(a.size).reshape(a.shape) * 3 % (5 if dtype != "bool" else 2) + low).astype(INTEGERS[dtype]) for a in arrays]
    forward, _ = programs(op, {n: math.ceil(v) if isinstance(v, float) else v for n, v in attrs.items()}, [])
    try:
        forward(*maker(made, [])())
    except (RuntimeError, TypeError, NotImplementedError, ValueError):
        return  # the front end keeps such operands away from the row
    side_by_side(forward, maker(made, []))


@pytest.mark.parametrize("op", PLAIN, ids=names(PLAIN))
def test_rows_without_gradients(op):
    arrays, attrs, _ = sample(op, "f")
    forward, _ = programs(op, attrs, [])
    try:
        forward(*maker(arrays, [])())
    except (RuntimeError, TypeError, NotImplementedError, ValueError):
        return
    side_by_side(forward, maker(arrays, []))


SINGLE = [op for op in REAL if op.outputs == 1 and op.family in ("pointwise", "scan", "index", "memory") and op.name != "where"]


@pytest.mark.parametrize("op", SINGLE, ids=names(SINGLE))
def test_in_place_forms(op):
    arrays, attrs, wanted = sample(op)
    made = maker(arrays, [])
    result = apply(op, tuple(made()), attrs)
    if result.shape != made()[0].shape or result.dtype != made()[0].dtype:
        return

    def into_argument(*args):
        apply(op, args, attrs, out=InPlace(args[0]))
        return args[0].sum()

    def recorded(*args):
        target = args[0] * 1
        apply(op, (target, *args[1:]), attrs, out=InPlace(target))
        return target.detach(), torch.autograd.grad(target.sum(), [args[i] for i in wanted], materialize_grads=True)

    side_by_side(into_argument, made)
    if MISSING not in op.grads and wanted:
        side_by_side(recorded, maker(arrays, wanted), kept=op.name not in LOOKING)


def test_samples_are_of_rows_that_exist():
    assert all(name in TABLE for name in SAMPLES)
