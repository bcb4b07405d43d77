"""Tests generated from the op table: each row with gradients, driven by its own columns (table_samples.py says how).

For every row: the result equals NumPy's or SciPy's function of that name where there is one; first and second derivatives
agree with finite differences along random directions, in float64 and in complex128; the in-place form and `out=` give
what the row gives; a result shares no memory with what it was made of, unless the row is a view.
"""

import numpy as np
import pytest
from table_samples import KNOWN, SAMPLES, excepted, rows, sample

import rushlight as torch
from rushlight.dispatch import InPlace, apply, view
from rushlight.ops.op import MISSING, TABLE, ZERO

try:
    from scipy import special
except ImportError:
    special = None

REAL, COMPLEX = rows("f"), rows("c")
OTHER_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "atan2": "arctan2",
    "neg": "negative", "pow": "power", "mul": "multiply", "sub": "subtract", "div": "divide", "sgn": "sign", "sigmoid": "expit",
    "lgamma": "gammaln", "mm": "matmul", "mv": "matmul", "bmm": "matmul",
}  # fmt: skip
NOT_NUMPYS = {"sort", "max", "min", "median", "mode", "view", "select", "take", "put", "place", "sum", "mean", "prod", "var", "std", "amax", "amin",
              "cumsum", "cumprod", "transpose", "diagonal", "trace", "tril", "triu", "squeeze", "clip", "stack", "copy", "where"}  # fmt: skip


def names(ops):
    return [op.name for op in ops]


def tensors(arrays, wanted=()):
    made = [torch.from_numpy(a.copy()) for a in arrays]
    for i in wanted:
        made[i].requires_grad_()
    return made


def call(op, args, attrs):
    """The row's results that carry gradients, as a tuple."""
    out = view(op, *args, **attrs) if op.family == "view" else apply(op, tuple(args), attrs)
    if isinstance(out, tuple):
        return tuple(out[i] for i in op.differentiable)
    return (out,)


def test_every_row_is_sampled_or_excepted_with_a_reason():
    missing = []
    for op in TABLE.values():
        if (
            any(g is not None for g in op.grads)
            and excepted(op) is None
            and op.family != "pointwise"
            and op.name not in SAMPLES
        ):
            missing.append(op.name)
    assert not missing, missing
    assert all(name in TABLE for name in SAMPLES)
    assert all(isinstance(r, (str, dict)) for r in KNOWN.values())


def reference(op):
    name = OTHER_NAMES.get(op.name, op.name)
    if op.name in NOT_NUMPYS:
        return None
    for home in (np, special):
        f = getattr(home, name, None)
        if isinstance(f, np.ufunc) or name == "matmul":
            return f
    return None


WITH_REFERENCE = [op for op in REAL if reference(op) is not None]


@pytest.mark.parametrize("op", WITH_REFERENCE, ids=names(WITH_REFERENCE))
def test_values_are_numpys(op):
    arrays, attrs, _ = sample(op)
    got = call(op, tensors(arrays), attrs)[0].numpy()
    np.testing.assert_allclose(
        got, reference(op)(*arrays, **({} if op.family == "pointwise" else attrs)), rtol=1e-12
    )


# ---- derivatives -----------------------------------------------------------------------------------------------


def inner(a, b):
    """The real inner product that gradients belong to."""
    return float(np.real(np.vdot(a, b)))


def directions(arrays, wanted, seed):
    random = np.random.default_rng(seed)
    out = {}
    for i in wanted:
        v = random.standard_normal(arrays[i].shape)
        out[i] = np.asarray(
            v + 1j * random.standard_normal(arrays[i].shape) if arrays[i].dtype.kind == "c" else v
        )
    return out


def pull(op, arrays, attrs, wanted, weights, create=False):
    """(inputs, gradients of the weighted sum of results)."""
    args = tensors(arrays, wanted)
    outs = call(op, args, attrs)
    ws = [
        torch.from_numpy(w).to(o.dtype) if o.is_complex() else torch.from_numpy(np.array(w.real))
        for w, o in zip(weights, outs)
    ]
    live = [(o, w) for o, w in zip(outs, ws) if o.requires_grad]
    inputs = [args[i] for i in wanted]
    grads = torch.autograd.grad(
        [o for o, _ in live],
        inputs,
        [w for _, w in live],
        create_graph=create,
        materialize_grads=True,
    )
    return inputs, grads


def push(op, arrays, attrs, moved, h, weights):
    """The weighted sum of results with the inputs moved by h."""
    args = tensors([a + h * moved[i] if i in moved else a for i, a in enumerate(arrays)])
    outs = call(op, args, attrs)
    return sum(inner(w if o.is_complex() else w.real, o.numpy()) for w, o in zip(weights, outs))


def weights_for(op, arrays, attrs):
    random = np.random.default_rng(99)
    shapes = [o.shape for o in call(op, tensors(arrays), attrs)]
    return [
        np.asarray(random.standard_normal(s) + 1j * random.standard_normal(s))
        for s in map(tuple, shapes)
    ]


def check_first(op, kind):
    arrays, attrs, wanted = sample(op, kind)
    weights, moved, h = weights_for(op, arrays, attrs), directions(arrays, wanted, 5), 1e-6
    _, grads = pull(op, arrays, attrs, wanted, weights)
    analytical = sum(inner(g.numpy(), moved[i]) for i, g in zip(wanted, grads))
    numerical = (
        push(op, arrays, attrs, moved, h, weights) - push(op, arrays, attrs, moved, -h, weights)
    ) / (2 * h)
    assert analytical == pytest.approx(numerical, rel=2e-5, abs=2e-6)


def check_second(op, kind):
    """d/dh <grad(x + h u), v> against the gradient of <grad, v>."""
    arrays, attrs, wanted = sample(op, kind)
    weights, u, v, h = (
        weights_for(op, arrays, attrs),
        directions(arrays, wanted, 6),
        directions(arrays, wanted, 7),
        1e-6,
    )

    def along(step):
        _, grads = pull(
            op,
            [a + step * u[i] if i in u else a for i, a in enumerate(arrays)],
            attrs,
            wanted,
            weights,
        )
        return sum(inner(g.numpy(), v[i]) for i, g in zip(wanted, grads))

    inputs, grads = pull(op, arrays, attrs, wanted, weights, create=True)
    live = [
        (g, torch.from_numpy(v[i]).to(g.dtype)) for i, g in zip(wanted, grads) if g.requires_grad
    ]
    analytical = 0.0
    if live:
        second = torch.autograd.grad(
            [g for g, _ in live], inputs, [w for _, w in live], materialize_grads=True
        )
        analytical = sum(inner(g.numpy(), u[i]) for i, g in zip(wanted, second))
    numerical = (along(h) - along(-h)) / (2 * h)
    assert analytical == pytest.approx(numerical, rel=1e-4, abs=2e-5)


def differentiated(ops):
    return [
        op
        for op in ops
        if any(callable(g) or g == ZERO for g in op.grads) and MISSING not in op.grads
    ]


@pytest.mark.parametrize("op", differentiated(REAL), ids=names(differentiated(REAL)))
def test_derivatives(op):
    check_first(op, "f")
    if op.name not in KNOWN["second derivative"]:
        check_second(op, "f")


@pytest.mark.parametrize("op", differentiated(COMPLEX), ids=names(differentiated(COMPLEX)))
def test_complex_derivatives(op):
    check_first(op, "c")
    if op.name not in KNOWN["second derivative"]:
        check_second(op, "c")


# ---- writing ---------------------------------------------------------------------------------------------------

SINGLE = [
    op for op in REAL if op.outputs == 1 and op.family in ("pointwise", "scan", "index", "memory")
]


@pytest.mark.parametrize("op", SINGLE, ids=names(SINGLE))
def test_in_place_equals_out_of_place(op):
    arrays, attrs, wanted = sample(op)
    expected = call(op, tensors(arrays), attrs)[0]
    first = 1 if op.name == "where" else 0
    if (
        first
        or expected.shape != arrays[0].shape
        or expected.dtype != torch.from_numpy(arrays[0]).dtype
    ):
        pytest.skip("the result has another shape or dtype than the first input")
    args = tensors(arrays)
    data = args[0]._data
    got = apply(op, tuple(args), attrs, out=InPlace(args[0]))
    assert got is args[0] and got._data is data and got._version == 1
    np.testing.assert_array_equal(got.numpy(), expected.numpy())
    if MISSING in op.grads:
        return
    # and recorded: the same gradients as the out-of-place form
    weights = weights_for(op, arrays, attrs)
    _, expected = pull(op, arrays, attrs, wanted, weights)
    args = tensors(arrays, wanted)
    target = args[0] * 1
    apply(op, (target, *args[1:]), attrs, out=InPlace(target))
    grads = torch.autograd.grad(
        target,
        [args[i] for i in wanted],
        torch.from_numpy(np.array(weights[0].real)),
        materialize_grads=True,
    )
    for g, e in zip(grads, expected):
        np.testing.assert_allclose(g.numpy(), e.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("op", SINGLE, ids=names(SINGLE))
def test_out_gets_the_result(op):
    arrays, attrs, _ = sample(op)
    expected = call(op, tensors(arrays), attrs)[0]
    out = torch.empty(0, dtype=expected.dtype)
    assert apply(op, tuple(tensors(arrays)), attrs, out=out) is out
    np.testing.assert_array_equal(out.numpy(), expected.numpy())


@pytest.mark.parametrize("op", REAL, ids=names(REAL))
def test_results_share_memory_only_where_they_are_views(op):
    arrays, attrs, _ = sample(op)
    args = tensors(arrays)
    for out in call(op, args, attrs):
        shares = any(np.shares_memory(out.numpy(), a.numpy()) for a in args)
        assert shares == (op.family == "view")
