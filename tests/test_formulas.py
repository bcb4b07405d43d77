"""Formulas read as one kernel: optimizers' updates and gradients of pointwise rows equal what their operations give one by one."""

import numpy as np
import pytest

import rushlight
from rushlight.api import adjoints, updates
from rushlight.backends import compiled
from rushlight.codegen import formulas, native

needs_kernels = pytest.mark.skipif(not native.available(), reason="kernels need llvmlite")

UPDATES = [
    ("SGD", {"lr": 0.01}),
    ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"maximize": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("Adadelta", {}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("Adamax", {}),
    ("Rprop", {}),
    ("ASGD", {"t0": 2}),
]


def trained(name, arguments, dtype=np.float32, shapes=((64, 80), (300,), (7, 5), ()), steps=4):
    """Parameters and state after some steps, with the versions."""
    rng = np.random.default_rng(0)
    params = [rushlight.nn.Parameter(rushlight.tensor(rng.standard_normal(s).astype(dtype))) for s in shapes]
    params[0].data = params[0].data.t()  # another order of memory
    optimizer = getattr(rushlight.optim, name)(params, **arguments)
    for _ in range(steps):
        for p in params:
            g = rng.standard_normal(tuple(p.shape)).astype(dtype)
            p.grad = rushlight.tensor(g) if p is not params[0] else rushlight.tensor(np.ascontiguousarray(g.T)).t()
        optimizer.step()
    tensors = params + [v for p in params for v in optimizer.state[p].values() if isinstance(v, rushlight.Tensor)]
    return [t.detach().numpy().copy() for t in tensors], [t._version for t in tensors]


@needs_kernels
@pytest.mark.parametrize(("name", "arguments"), UPDATES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_update_by_a_kernel_is_the_rule_itself(name, arguments, dtype, monkeypatch):
    done = []
    fused = updates._fused
    monkeypatch.setattr(updates, "_fused", lambda *a: done.append(fused(*a)) or done[-1])
    kernel, versions = trained(name, arguments, dtype)
    assert sum(done) >= len(done) // 2
    monkeypatch.setattr(compiled, "formulas", lambda size: None)
    plain, expected = trained(name, arguments, dtype)
    assert versions == expected
    for a, b in zip(kernel, plain):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@needs_kernels
def test_memory_that_is_shared_or_laid_out_otherwise_takes_the_rule(monkeypatch):
    done = []
    fused = updates._fused
    monkeypatch.setattr(updates, "_fused", lambda *a: done.append(fused(*a)) or done[-1])
    p = rushlight.nn.Parameter(rushlight.zeros(80, 64))
    p.grad = rushlight.ones(64, 80).t()
    rushlight.optim.SGD([p], lr=0.5).step()
    assert done == [False] and float(p.detach().sum()) == -0.5 * p.numel()
    q = rushlight.nn.Parameter(rushlight.ones(80, 64))
    q.grad = q.detach()
    rushlight.optim.SGD([q], lr=0.5).step()
    assert done[-1] is False and float(q.detach().sum()) == 0.5 * q.numel()


@needs_kernels
def test_a_new_learning_rate_is_no_new_kernel():
    p = rushlight.nn.Parameter(rushlight.ones(5000))
    p.grad = rushlight.ones(5000)
    optimizer = rushlight.optim.Adam([p], lr=0.1)
    optimizer.step()
    before = len(formulas._PROGRAMS)
    for lr in (0.3, 0.7, 1.5):
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    assert len(formulas._PROGRAMS) == before

GRADIENTS = {
    "tanh": lambda x, y: x.tanh(),
    "sigmoid": lambda x, y: x.sigmoid(),
    "relu": lambda x, y: x.relu(),
    "leaky_relu": lambda x, y: rushlight.nn.functional.leaky_relu(x, 0.2),
    "elu": lambda x, y: rushlight.nn.functional.elu(x, 0.7),
    "hardswish": lambda x, y: rushlight.nn.functional.hardswish(x),
    "softplus": lambda x, y: rushlight.nn.functional.softplus(x, beta=2.0),
    "mish": lambda x, y: rushlight.nn.functional.mish(x),
    "gelu": lambda x, y: rushlight.nn.functional.gelu(x),
    "silu": lambda x, y: rushlight.nn.functional.silu(x),
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / (y * y + 1),
    "where": lambda x, y: rushlight.where(x > y, x * 2, y),
    "clamp": lambda x, y: x.clamp(-0.5, 0.5),
    "pow": lambda x, y: x**3 + (y * y + 1) ** 0.3,
    "maximum": lambda x, y: rushlight.maximum(x, y),
    "lerp": lambda x, y: x.lerp(y, 0.3),
    "addcdiv": lambda x, y: x.addcdiv(x, y * y + 1, value=0.3),
    "atan2": lambda x, y: rushlight.atan2(x, y),
    "broadcast": lambda x, y: x * y[:1] + y.t().contiguous().t(),
    "transposed": lambda x, y: (x.t() * y.t()).tanh(),
}


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("dtype", [rushlight.float32, rushlight.float64])
def test_gradients_of_large_operands_are_those_of_the_formulas(name, dtype, monkeypatch):
    def found():
        rushlight.manual_seed(0)
        x, y = (rushlight.randn(60, 90, dtype=dtype, requires_grad=True) for _ in range(2))
        out = GRADIENTS[name](x, y)
        out.backward(rushlight.randn(out.shape, dtype=dtype))
        return [t.grad.numpy() for t in (x, y) if t.grad is not None]

    together = found()
    monkeypatch.setattr(adjoints, "SMALL", 1 << 40)
    for a, b in zip(together, found(), strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-6 if dtype is rushlight.float32 else 1e-13, atol=1e-6 if dtype is rushlight.float32 else 1e-14)


@needs_kernels
def test_a_second_derivative_is_still_recorded():
    x = rushlight.randn(4000, requires_grad=True)
    (g,) = rushlight.autograd.grad(x.tanh().sum(), x, create_graph=True)
    (h,) = rushlight.autograd.grad(g.sum(), x)
    t = x.detach().tanh()
    np.testing.assert_allclose(h.numpy(), (-2 * t * (1 - t * t)).numpy(), rtol=1e-4, atol=1e-6)
