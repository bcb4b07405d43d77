"""Special functions equal PyTorch's: every name of torch.special, values, dtypes, gradients of two orders, errors.

The functions without SciPy are held to PyTorch's as well, by their NumPy bodies.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rushlight  # noqa: E402
from rushlight.core import special  # noqa: E402


@pytest.mark.parametrize("name", sorted(n for n in dir(torch.special) if not n.startswith("_") and n not in ("Tensor", "torch", "common_args", "multi_dim_common")))
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_special_functions(name, dtype):
    x = np.linspace(-3.3, 4.1, 23).round(3) if "float" in dtype else np.arange(-2, 6) if dtype == "int64" else np.array([True, False])
    found = []
    for lib in (torch, rushlight):
        t = lib.from_numpy(x.astype(dtype))
        above = t if dtype == "bool" else t.abs() + 1
        arguments = {"polygamma": (1, above), "multigammaln": (above + 2, 2), "softmax": (t, 0), "log_softmax": (t, 0), "logsumexp": (t, 0)}.get(name)
        try:
            out = getattr(lib.special, name)(*(arguments or (t,)))
        except TypeError:
            try:
                out = getattr(lib.special, name)(above if "gammainc" in name else t, (t * 0 + 3) if dtype != "bool" else t)
            except Exception as error:
                out = error
        except Exception as error:
            out = error
        found.append(out)
    theirs, ours = found
    if isinstance(theirs, Exception):
        assert isinstance(ours, type(theirs)), ours
        return
    assert str(ours.dtype) == str(theirs.dtype)
    tolerance = 1e-4 if dtype != "float64" else 1e-6 if "bessel" in name or name == "airy_ai" else 1e-9
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=tolerance, atol=tolerance)


DIFFERENTIABLE = {
    "digamma": "x.abs() + 0.3", "entr": "x.abs() + 0.1", "erf": "x", "erfc": "x", "erfcx": "x", "erfinv": "x.tanh() * 0.9", "exp2": "x", "expit": "x", "expm1": "x",
    "gammaln": "x.abs() + 0.3", "i0": "x", "i0e": "x", "i1": "x", "i1e": "x", "log1p": "x.abs()", "log_ndtr": "x * 4", "logit": "x.sigmoid()", "ndtr": "x",
    "ndtri": "x.sigmoid()", "psi": "x.abs() + 0.3", "sinc": "x",
}  # fmt: skip
TWO = {
    "xlogy": "x, x.abs() + 0.2", "xlog1py": "x, x.abs()", "polygamma": "2, x.abs() + 0.4", "multigammaln": "x.abs() + 2, 3", "gammainc": "x.detach().abs() + 0.5, x.abs() + 0.2",
    "gammaincc": "x.detach().abs() + 0.5, x.abs() + 0.2", "zeta": "x.detach().abs() + 1.5, x.abs() + 0.2", "softmax": "x, 0", "log_softmax": "x, 0", "logsumexp": "x, 0",
}  # fmt: skip


@pytest.mark.parametrize("name", [*DIFFERENTIABLE, *TWO])
def test_gradients(name):
    found = []
    for lib in (torch, rushlight):
        x = lib.from_numpy(np.linspace(-2.1, 2.3, 12)).requires_grad_()
        out = eval(f"M.special.{name}({ {**DIFFERENTIABLE, **TWO}[name] })", {"M": lib, "x": x})
        (first,) = lib.autograd.grad((out * lib.arange(out.numel(), dtype=lib.float64).reshape(out.shape)).sum(), x, create_graph=True)
        (second,) = lib.autograd.grad(first.sum(), x)
        found.append((out.detach().numpy(), first.detach().numpy(), second.numpy()))
    for theirs, ours in zip(*found):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9)


def test_functions_without_a_derivative_say_so():
    for name in ("bessel_j0", "airy_ai", "modified_bessel_k0", "spherical_bessel_j0"):
        for lib in (torch, rushlight):
            x = lib.ones(3, requires_grad=True)
            try:
                out = getattr(lib.special, name)(x)
                out.sum().backward()
                got = "gradient"
            except Exception as error:
                got = type(error).__name__
            assert got == "NotImplementedError" or got == "RuntimeError", (lib.__name__, name, got)


WITHOUT_SCIPY = {
    "erf": (-6, 6), "erfc": (-6, 20), "erfcx": (-5, 50), "erfinv": (-0.9999999, 0.9999999), "lgamma": (-9.7, 40), "digamma": (-9.7, 40), "i0": (-30, 30), "i0e": (-300, 300),
    "i1": (-30, 30), "i1e": (-300, 300), "log_ndtr": (-30, 30), "spherical_bessel_j0": (-20, 20),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_SCIPY)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bodies_without_scipy(name, dtype):
    x = np.concatenate([np.linspace(*WITHOUT_SCIPY[name], 1001), [np.nan, 0.0]]).astype(dtype)
    theirs = getattr(torch.special, {"lgamma": "gammaln"}.get(name, name))(torch.from_numpy(x)).numpy()
    body = special._erf_double if name == "erf" and dtype is np.float64 else getattr(special, name)
    tolerance = 3e-6 if dtype is np.float32 else 1e-11
    np.testing.assert_allclose(body(x), theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", ["M.special.polygamma(1., v)", "M.special.entr(3)", "M.mvlgamma(v, 0)", "M.special.airy_ai(v.to(M.float16))", "M.special.zeta(v)", "v.i0_().sum() and v.mvlgamma_(2)"])
def test_errors(case):
    found = []
    for lib in (torch, rushlight):
        try:
            eval(case, {"M": lib, "v": lib.ones(3) * 2})
            found.append(None)
        except Exception as error:
            found.append(type(error))
    assert found[0] is found[1] or issubclass(found[1], found[0])
