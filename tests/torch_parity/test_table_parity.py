"""The rows of the op table against torch: value, dtype, the name of the node, the gradient.

A row is compared where torch has a function of its name (or of the name in `THEIRS`) that takes the same operands.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent.parent))
from table_samples import rows, sample  # noqa: E402

import rushlight  # noqa: E402
from rushlight.dispatch import apply, view  # noqa: E402

F = torch.nn.functional
#: row -> the same in torch, of the tensors and the row's attributes
THEIRS = {
    "add_scaled": lambda x, y, alpha: torch.add(x, y, alpha=alpha),
    "sub_scaled": lambda x, y, alpha: torch.sub(x, y, alpha=alpha),
    "pow_scalar": lambda x, exponent: x**exponent,
    "rpow": lambda y, base: base**y,
    "polygamma_of": lambda x, n: torch.polygamma(n, x),
    "lerp_scalar": lambda x, y, weight: torch.lerp(x, y, weight),
    "addcmul": lambda x, y, z, value: torch.addcmul(x, y, z, value=value),
    "addcdiv": lambda x, y, z, value: torch.addcdiv(x, y, z, value=value),
    "round_decimals": lambda x, decimals: torch.round(x, decimals=decimals),
    "nan_to_num": lambda x, nan, posinf, neginf: torch.nan_to_num(x, nan, posinf, neginf),
    "div_floor": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "trunc_divide": lambda x, y: torch.div(x, y, rounding_mode="trunc"),
    "leaky_relu": lambda x, negative_slope: F.leaky_relu(x, negative_slope),
    "hardtanh": lambda x, min_val, max_val: F.hardtanh(x, min_val, max_val),
    "softplus": lambda x, beta, threshold: F.softplus(x, beta, threshold),
    "softshrink": lambda x, lambd: F.softshrink(x, lambd),
    "hardshrink": lambda x, lambd: F.hardshrink(x, lambd),
    "threshold": lambda x, threshold, value: F.threshold(x, threshold, value),
    "gelu": lambda x, approximate: F.gelu(x, approximate=approximate),
    "sum_dim": lambda x, axes, keepdim: x.sum(axes, keepdim),
    "mean_dim": lambda x, axes, keepdim: x.mean(axes, keepdim),
    "amax": lambda x, axes, keepdim: x.amax(axes, keepdim),
    "amin": lambda x, axes, keepdim: x.amin(axes, keepdim),
    "max": lambda x, axis, keepdim: x.max(axis, keepdim)[0],
    "min": lambda x, axis, keepdim: x.min(axis, keepdim)[0],
    "median": lambda x, axis, keepdim: x.median(axis, keepdim)[0],
    "mode": lambda x, axis, keepdim: x.mode(axis, keepdim)[0],
    "var": lambda x, axes, keepdim, correction: x.var(axes, correction=correction, keepdim=keepdim),
    "std": lambda x, axes, keepdim, correction: x.std(axes, correction=correction, keepdim=keepdim),
    "sum": lambda x, axes, keepdim: x.sum(),
    "mean": lambda x, axes, keepdim: x.mean(),
    "prod": lambda x, axes, keepdim: x.prod(),
    "max_all": lambda x, axes, keepdim: x.max(),
    "min_all": lambda x, axes, keepdim: x.min(),
    "logsumexp": lambda x, axes, keepdim: x.logsumexp(axes, keepdim),
    "cumsum": lambda x, axis: x.cumsum(axis),
    "cumprod": lambda x, axis: x.cumprod(axis),
    "logcumsumexp": lambda x, axis: x.logcumsumexp(axis),
    "gather": lambda x, i, axis: x.gather(axis, i),
    "scatter": lambda x, i, s, axis: x.scatter(axis, i, s),
    "scatter_value": lambda x, i, axis, value: x.scatter(axis, i, value),
    "scatter_add": lambda x, i, s, axis: x.scatter_add(axis, i, s),
    "index_select": lambda x, i, axis: x.index_select(axis, i),
    "index_add": lambda x, i, s, axis, alpha: x.index_add(axis, i, s, alpha=alpha),
    "index_copy": lambda x, i, s, axis: x.index_copy(axis, i, s),
    "index_fill": lambda x, i, axis, value: x.index_fill(axis, i, value),
    "masked_fill": lambda x, m, value: x.masked_fill(m, value),
    "view": lambda x, shape: x.view(shape),
    "transpose": lambda x, dim0, dim1: x.transpose(dim0, dim1),
    "permute": lambda x, order: x.permute(order),
    "expand": lambda x, shape, strides: x.expand(shape),
    "unsqueeze": lambda x, dim: x.unsqueeze(dim),
    "diagonal": lambda x, offset, dim1, dim2: x.diagonal(offset, dim1, dim2),
    "unfold": lambda x, dim, size, step: x.unfold(dim, size, step),
    "select": lambda x, key: x[key[0]],
    "slice": lambda x, key: x[key[0]],
    "clone": lambda x, order: x.clone(),
    "softmax": lambda x, axis: x.softmax(axis),
    "log_softmax": lambda x, axis: x.log_softmax(axis),
    "glu": lambda x, axis: F.glu(x, axis),
    "tril": lambda x, diagonal: x.tril(diagonal),
    "triu": lambda x, diagonal: x.triu(diagonal),
    "square": None,  # a product in PyTorch is a power: the node's name is pow's
    "celu": None,  # elu with other attributes
    "elu": None,
}

#: node names that differ, of 2026-11: PyTorch numbers the forms with a number and with a tensor apart (the row has the
#: number's), and gives a real tensor itself for its conjugate
OTHER_NODE = {"fmod", "remainder", "conj_physical"}


def theirs(op):
    if op.name in THEIRS:
        return THEIRS[op.name]
    home = torch
    for part in op.name.split("."):
        home = getattr(home, part, None)
    if home is None and op.name.startswith("special_"):
        home = getattr(torch.special, op.name[8:], None)
    return home if callable(home) else None


def compared(kind):
    return [op for op in rows(kind) if theirs(op) is not None]


def outcome(m, f, arrays, attrs, wanted):
    args = [m.from_numpy(a.copy()) for a in arrays]
    for i in wanted:
        args[i].requires_grad_()
    out = f(*args, **attrs)
    out = out[0] if isinstance(out, tuple) else out
    grads = []
    if out.requires_grad:
        weights = m.from_numpy(
            np.cos(np.arange(out.numel(), dtype=np.float64)).reshape(tuple(out.shape))
        )
        grads = m.autograd.grad(
            out, [args[i] for i in wanted], weights.to(out.dtype), allow_unused=True
        )
    return out, [None if g is None else g.detach().resolve_conj().numpy() for g in grads]


@pytest.mark.parametrize("kind", ["f", "c"])
@pytest.mark.parametrize("name", [op.name for op in compared("f")])
def test_row(name, kind):
    op = next(o for o in compared("f") if o.name == name)
    if kind not in op.dtypes:
        pytest.skip("takes no complex tensors")
    arrays, attrs, wanted = sample(op, kind)

    def ours(*args, **attrs):
        return view(op, *args, **attrs) if op.family == "view" else apply(op, args, attrs)

    try:
        out, grads = outcome(torch, theirs(op), arrays, attrs, wanted)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        pytest.skip(f"torch: {str(error)[:60]}")
    got, ours_grads = outcome(rushlight, ours, arrays, attrs, wanted)
    assert str(got.dtype) == str(out.dtype)
    np.testing.assert_allclose(
        got.detach().numpy(), out.detach().resolve_conj().numpy(), rtol=1e-9, atol=1e-12
    )
    if kind == "f" and name not in OTHER_NODE:
        assert type(got.grad_fn).__name__ == type(out.grad_fn).__name__
    for g, e in zip(ours_grads, grads):
        if g is None or e is None:
            assert (g is None or not g.any()) and (e is None or not e.any())
        else:
            np.testing.assert_allclose(g, e, rtol=1e-8, atol=1e-11)
