"""Kernels from the code generator against the NumPy readings of the same rows, over dtypes and layouts.

Everything here calls the generator itself, so that sizes may be small; that eager mode takes it from `LARGE` elements on
is shown by counting. Without llvmlite the file is skipped, and test_without_llvmlite shows that NumPy alone does.
"""

import subprocess
import sys

import numpy as np
import pytest

import rushlight as torch
from rushlight.backends import compiled
from rushlight.backends.cpu import BACKEND
from rushlight.codegen import native
from rushlight.ops.op import TABLE

needs_llvm = pytest.mark.skipif(not native.available(), reason="needs llvmlite")


def readings(name, *operands, **attrs):
    """(compiled, NumPy's) results of a row."""
    from rushlight.codegen import eager, reduction

    op = TABLE[name]
    spec = op.infer(op, operands, attrs)
    arrays = [getattr(a, "_data", a) for a in operands]
    if op.family == "reduction":
        got = reduction.reduce(op, spec, arrays[0], attrs)
    else:
        got = eager.pointwise(op, spec, arrays, attrs)
    assert got is not None, f"no kernel for {name}"
    return got, BACKEND.apply(op, spec, operands, attrs)


def agree(name, *operands, tolerance=1e-6, **attrs):
    got, want = readings(name, *operands, **attrs)
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def some(dtype, *shape):
    if dtype is torch.bool:
        return torch.rand(*shape) > 0.5
    if dtype.is_floating_point:
        return torch.randn(*shape).to(dtype)
    return torch.randint(0, 100, shape).to(dtype)


DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


@needs_llvm
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["add", "mul", "sub", "lt", "ne", "maximum"])
def test_two_operands(name, dtype):
    agree(name, some(dtype, 7, 39), some(dtype, 7, 39))


@needs_llvm
@pytest.mark.parametrize("n", [1, 3, 31, 32, 33, 100])
def test_every_remainder(n):
    x = torch.randn(n)
    agree("add", x, x)
    agree("lt", x, x * 0)
    agree("sum", x, axes=(0,), keepdim=False)


@needs_llvm
def test_mixed_dtypes_and_numbers():
    x, i = torch.randn(5, 41), torch.randint(-9, 9, (5, 41))
    for pair in ((x, i), (x, x.double()), (x, 2.5), (i, 3), (i, 2.5), (x, torch.tensor(2.0)), (x > 0, i), (x.half(), x)):
        agree("add", *pair)
        agree("gt", *pair)
    agree("where", x > 0, x, 1.0)
    agree("where", x > 0, i, i + 1)


LAYOUTS = {
    "transposed": lambda x: (x.t(), x.t()),
    "one of them transposed": lambda x: (x.t(), x.t().contiguous()),
    "rows": lambda x: (x, x[:1]),
    "columns": lambda x: (x, x[:, :1]),
    "outer": lambda x: (x[:, :1], x[:1]),
    "steps": lambda x: (x[::2, ::3], x[1::2, ::3]),
    "flipped memory": lambda x: (x, torch.from_numpy(x.numpy()[::-1, ::-1].copy())[:, :]),
    "channels": lambda x: (x.reshape(2, 5, 6, -1), torch.randn(5, 1, 1)),
    "permuted": lambda x: (x.reshape(2, 5, 6, -1).permute(0, 2, 3, 1), torch.randn(2, 6, x.numel() // 60, 5)),
}


@needs_llvm
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout):
    x = torch.randn(60, 110)
    agree("sub", *LAYOUTS[layout](x))


@needs_llvm
def test_attributes_are_parameters_where_the_body_allows():
    from rushlight.codegen import eager

    x = torch.randn(50)
    agree("leaky_relu", x, negative_slope=0.1)
    made = sum(len(k) for k in eager._KINDS.values())
    for slope in (0.2, 0.3, 0.4):
        agree("leaky_relu", x, negative_slope=slope)
    assert sum(len(k) for k in eager._KINDS.values()) == made
    for exponent in (2.0, 3.0, 0.5, -1.0, -2.0):
        agree("pow_scalar", x.abs() + 0.1, exponent=exponent)
    agree("clamp", x, min=-0.5, max=None)
    agree("addcmul", x, x, x, value=0.5)


@needs_llvm
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("name", ["sum_dim", "mean_dim", "amax", "amin"])
def test_reductions(name, axes):
    x = torch.randn(6, 35, 50)
    for t in (x, x.double(), x.bfloat16(), x.permute(2, 0, 1)):
        agree(name, t, axes=axes, keepdim=False, tolerance=1e-2 if t.dtype is torch.bfloat16 else 1e-5)


@needs_llvm
def test_reductions_of_other_dtypes():
    i = torch.randint(-50, 50, (33, 70))
    for axes in ((0,), (1,), (0, 1)):
        agree("sum_dim", i, axes=axes, keepdim=True)
        agree("amax", i, axes=axes, keepdim=True)
        agree("all", i > -50, axes=axes, keepdim=False)
        agree("any", i == 49, axes=axes, keepdim=False)
        agree("sum_dim", i > 0, axes=axes, keepdim=False)


@needs_llvm
def test_sums_are_exact_to_rounding():
    x = torch.rand(1_000_003)
    got, _ = readings("sum", x, axes=(0,), keepdim=False)
    assert abs(float(got) - x.double().sum().item()) <= 2**-24 * x.numel()
    got, _ = readings("sum_dim", x[:1_000_000].reshape(10_000, 100), axes=(0,), keepdim=False)
    np.testing.assert_allclose(got, x[:1_000_000].double().reshape(10_000, 100).sum(0).numpy(), rtol=3e-7)


@needs_llvm
def test_nan_goes_through_extremes():
    x = torch.randn(100)
    x[37] = float("nan")
    for name in ("amax", "amin"):
        assert np.isnan(readings(name, x, axes=(0,), keepdim=False)[0])
    got, want = readings("maximum", x, x * 0)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


@needs_llvm
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalizations(dtype):
    from rushlight.codegen import batchnorm, rows

    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((3, 8, 5, 7)).astype(dtype) for _ in range(2))
    w, b = (rng.standard_normal(8).astype(dtype) for _ in range(2))
    lw = rng.standard_normal(35).astype(dtype)
    close = lambda got, want: [np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-5) for a, c in zip(got, want, strict=True)]
    flat = lambda a: a.reshape(3, 8, 35)
    layer = TABLE["layer_norm"].numpy(flat(x), lw, None, count=1, eps=1e-5)
    close(rows.layer_norm(flat(x), lw, None, 1, 1e-5), layer)
    close([rows.layer_norm_adjoint(flat(g), flat(x), lw, *layer[1:], 1, 1e-5)], [TABLE["layer_norm_backward"].numpy(flat(g), flat(x), lw, *layer[1:], count=1, eps=1e-5)])
    close([rows.layer_norm_weight(flat(g), flat(x), *layer[1:], 1, 1e-5)], [TABLE["layer_norm_weight"].numpy(flat(g), flat(x), *layer[1:], count=1, eps=1e-5)])
    close(rows.group_norm(x, w, b, 4, 1e-5), TABLE["group_norm"].numpy(x, w, b, groups=4, eps=1e-5))
    batch = TABLE["batch_norm"].numpy(x, w, b, None, None, training=True, eps=1e-5)
    close(batchnorm.batch_norm(x, w, b, None, None, True, 1e-5), batch)
    close([batchnorm.batch_norm_adjoint(g, x, w, batch[1], batch[2], True, 1e-5)], [TABLE["batch_norm_backward"].numpy(g, x, w, batch[1], batch[2], training=True, eps=1e-5)])
    close([batchnorm.batch_norm_weight(g, x, batch[1], batch[2], True, 1e-5)], [TABLE["batch_norm_weight"].numpy(g, x, batch[1], batch[2], training=True, eps=1e-5)])


@needs_llvm
def test_a_kernel_prints_as_python_that_makes_it_again():
    from rushlight.codegen import eager, loops

    x = torch.randn(40)
    op = TABLE["lerp_scalar"]
    spec = op.infer(op, (x, x), {"weight": 0.3})
    text = str(eager._kind(op, spec, [x._data, x._data], {"weight": 0.3}, np.dtype(np.float32)).program(None).kernel)
    assert str(loops.rebuild(text)) == text and "call('fma'" in text


@needs_llvm
def test_the_loop_ir_is_checked():
    from rushlight.codegen.loops import Buffer, Kernel, Lanes, Store, call, const, load, ref

    x = load("x", (("i", 1),), "f32")
    with pytest.raises(TypeError, match="one dtype"):
        call("add", x, const(1, "f64"))
    with pytest.raises(TypeError, match="before it is defined"):
        Kernel("k", (Buffer("x", "f32"),), (Lanes("i", None, None, (Store("x", (("i", 1),), ref("y", "f32")),)),))
    with pytest.raises(TypeError, match="stored to"):
        Kernel("k", (Buffer("x", "f32"),), (Lanes("i", None, None, (Store("x", (("i", 1),), x != x),)),))


@needs_llvm
def test_results_do_not_depend_on_the_number_of_threads():
    x = torch.randn(300_000)
    y = x.reshape(300, 1000)
    one = torch.get_num_threads()
    try:
        results = []
        for n in (1, 2):
            torch.set_num_threads(n)
            results.append([x.sum(), y.sum(0), y.mean(1), x * 2 + x, torch.nn.functional.layer_norm(y, (1000,))])
    finally:
        torch.set_num_threads(one)
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@needs_llvm
def test_eager_mode_takes_kernels_for_large_operands(monkeypatch):
    from rushlight.codegen.program import Program

    calls = []
    run = Program.__call__
    monkeypatch.setattr(Program, "__call__", lambda self, *args: (calls.append(self.kernel.name), run(self, *args))[1])
    x = torch.ones(compiled.LARGE)
    small = torch.ones(8)
    small + small, small.relu(), small.sum()
    assert calls == []
    y = x + x
    y.add_(x)
    assert y.relu().sum() == 3 * compiled.LARGE and len(calls) >= 4


@needs_llvm
def test_writing_over_an_operand():
    x = torch.arange(70_000.0)
    want = x.numpy().copy()
    x.mul_(x)
    np.testing.assert_array_equal(x.numpy(), want * want)
    y = torch.arange(70_001.0)
    y[1:].copy_(y[:-1] + 0)
    torch.add(y[1:], y[:-1], out=(out := torch.empty(70_000)))
    np.testing.assert_array_equal(out.numpy(), y.numpy()[1:] + y.numpy()[:-1])


def test_without_llvmlite():
    code = """
import sys
sys.modules["llvmlite"] = sys.modules["llvmlite.binding"] = None
import rushlight as torch
x = torch.ones(300, 300, requires_grad=True)
y = torch.nn.functional.layer_norm(x + x * 2, (300,)).sum() + (x @ x).sum()
y.backward()
conv = torch.nn.functional.conv2d(torch.ones(4, 8, 30, 30), torch.ones(8, 8, 3, 3))
print(float(y), float(conv.sum()), float(x.grad.sum()))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [float(v) for v in out] == [27e6, 4 * 8 * 28 * 28 * 72, 54e6]




@needs_llvm
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [1, 7, 32, 100, 1003])
def test_softmaxes(dtype, m):
    from rushlight.codegen import rows

    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((13, m)).astype(dtype) * 10 for _ in range(2))
    for name, f, back in (("softmax", rows.softmax, rows.softmax_adjoint), ("log_softmax", rows.log_softmax, rows.log_softmax_adjoint)):
        out = TABLE[name].numpy(x, axis=1)
        np.testing.assert_allclose(f(x, 1), out, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(back(g, out, 1), TABLE[name + "_backward"].numpy(g, out, axis=1), rtol=1e-4, atol=1e-5)


@needs_llvm
def test_softmax_of_infinities():
    from rushlight.codegen import rows

    x = np.array([[-np.inf, 0, 1], [-np.inf] * 3, [np.inf, 0, 1], [np.nan, 0, 1]], np.float32)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(rows.softmax(x, 1), TABLE["softmax"].numpy(x, axis=1), rtol=1e-6)


@needs_llvm
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "erf", "log1p", "sin", "gelu", "gelu_backward", "silu", "silu_backward", "elu", "softplus", "mish", "log_sigmoid"])
def test_functions(name):
    x = torch.randn(1000)
    attrs = {"gelu": {"approximate": "none"}, "gelu_backward": {"approximate": "tanh"}, "elu": dict(alpha=1.0, scale=1.0, input_scale=1.0), "softplus": dict(beta=1.0, threshold=20.0)}.get(name, {})
    x = x.abs() if name == "log1p" else x
    agree(name, *([x, x + 1] if name.endswith("_backward") else [x]), tolerance=3e-6, **attrs)


@needs_llvm
@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_of_memory_in_another_order(dtype):
    x = some(dtype, 211, 173)
    for t in (x.t(), x.reshape(-1)[: 200 * 180].reshape(10, 20, 180).permute(2, 0, 1), x[::2, 1::2].t(), x[:1].expand(211, 173)):
        if t.numel() < compiled.LARGE:
            t = t.unsqueeze(0).expand(8, *t.shape)
        np.testing.assert_array_equal(t.clone(memory_format=torch.contiguous_format).float().numpy(), t.float().numpy())
        assert t.contiguous().is_contiguous()
