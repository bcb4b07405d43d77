"""Root-mean-square normalization: one node against the composite, to second order; compiled kernels against NumPy's readings."""

import numpy as np
import pytest

import rushlight as torch
from rushlight.codegen import native
from rushlight.ops.op import TABLE

F = torch.nn.functional


def composite(x, w, count, eps):
    out = x * ((x * x).mean(list(range(-count, 0)), True) + eps).rsqrt()
    return out if w is None else out * w


@pytest.mark.parametrize("shape", [(3, 4, 5), (200, 30, 10)], ids=str)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("weighted", [True, False])
def test_values_and_gradients(shape, count, weighted):
    torch.manual_seed(0)
    x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    w = torch.randn(*shape[-count:], dtype=torch.float64, requires_grad=True) if weighted else None
    g = torch.randn(*shape, dtype=torch.float64)
    inputs = [x] if w is None else [x, w]
    found = []
    for f in (lambda: F.rms_norm(x, shape[-count:], w, 0.1), lambda: composite(x, w, count, 0.1)):
        out = f()
        first = torch.autograd.grad((out * g).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum((a * a).sum() for a in first), inputs)
        found.append([t.detach().numpy() for t in (out, *first, *second)])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_the_graph_is_shown_as_pytorch_has_it():
    x, w = torch.randn(3, 4, requires_grad=True), torch.randn(4, requires_grad=True)
    node = F.rms_norm(x, (4,), w).grad_fn
    assert node.name() == "MulBackward0" and [n.name() for n, _ in node.next_functions] == ["MulBackward0", "torch::autograd::AccumulateGrad"]
    inner = node.next_functions[0][0]
    assert [n.name() for n, _ in inner.next_functions] == ["torch::autograd::AccumulateGrad", "RsqrtBackward0"]
    assert [n.name() for n, _ in F.rms_norm(x, (4,)).grad_fn.next_functions] == ["torch::autograd::AccumulateGrad", "RsqrtBackward0"]


@pytest.mark.skipif(not native.available(), reason="needs llvmlite")
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda d: d.__name__)
@pytest.mark.parametrize("shape, count", [((5, 33), 1), ((40, 3, 50), 2), ((1, 1), 1), ((7, 1000), 1)], ids=str)
def test_kernels(dtype, shape, count):
    from rushlight.codegen import rms

    rng = np.random.default_rng(0)
    x, g = rng.standard_normal(shape).astype(dtype), rng.standard_normal(shape).astype(dtype)
    w = rng.standard_normal(shape[-count:]).astype(dtype)
    tolerance = dict(rtol=2e-5, atol=1e-5) if dtype is np.float32 else dict(rtol=1e-11, atol=1e-11)
    for got, want in zip(rms.rms_norm(x, w, count, 0.1), TABLE["rms_norm"].numpy(x, w, count=count, eps=0.1)):
        np.testing.assert_allclose(got, want, **tolerance)
    out, scale = rms.rms_norm_plain(x, count, 0.1)
    np.testing.assert_allclose(out, TABLE["rms_norm_plain"].numpy(x, count=count, eps=0.1)[0], **tolerance)
    for weight in (w, None):
        want = TABLE["rms_norm_backward"].numpy(g, x, weight, scale, count=count, eps=0.1)
        np.testing.assert_allclose(rms.rms_norm_adjoint(g, x, weight, scale, count, 0.1), want, **tolerance)
    want = TABLE["rms_norm_weight"].numpy(g, x, scale, count=count, eps=0.1)
    np.testing.assert_allclose(rms.rms_norm_weight(g, x, scale, count, 0.1), want, **tolerance)
