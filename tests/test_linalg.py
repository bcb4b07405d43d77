"""Linear algebra, einsum, Fourier transforms and special functions against NumPy and against their own definitions.

Nothing here needs torch. Gradients are checked to second order by finite differences along one direction.
"""

import math

import numpy as np
import pytest

import rushlight

RNG = np.random.default_rng(0)


def matrix(*shape, kind="general", dtype=np.float64):
    a = RNG.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        a = a + 1j * RNG.standard_normal(shape)
    n = shape[-1]
    if kind == "definite":
        a = a @ a.swapaxes(-1, -2).conj() + n * np.eye(n)
    elif kind == "regular":
        a = a + n * np.eye(n)
    return a.astype(dtype)


def close(t, array, tolerance=1e-9):
    np.testing.assert_allclose(t.detach().numpy(), array, rtol=tolerance, atol=tolerance)


def check_gradient(f, x, step=1e-6, order=2):
    """The derivative of f (to a real scalar) along a random direction, and that of its gradient's."""
    direction = RNG.standard_normal(x.shape)
    if np.iscomplexobj(x):
        direction = direction + 1j * RNG.standard_normal(x.shape)
    d = rushlight.tensor(direction)

    def slope(values):
        t = rushlight.tensor(values, requires_grad=True)
        (g,) = rushlight.autograd.grad(f(t), t, create_graph=True)
        s = (g * d.conj()).real.sum() if t.is_complex() else (g * d).sum()
        return t, s

    values = [f(rushlight.tensor(x + k * step * direction)).item() for k in (-1, 1)]
    t, s = slope(x)
    assert s.item() == pytest.approx((values[1] - values[0]) / (2 * step), rel=1e-5, abs=1e-6)
    if order == 2:
        (h,) = rushlight.autograd.grad(s, t)
        second = ((h * d.conj()).real if t.is_complex() else h * d).sum().item()
        ends = [slope(x + k * step * direction)[1].item() for k in (-1, 1)]
        assert second == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-4, abs=1e-5)


def size(t):
    """A real number that depends on every element, the same for equal absolute values."""
    return (t.abs() ** 2).sum()


COMPLEX = pytest.mark.parametrize("dtype", [np.float64, np.complex128])


@COMPLEX
def test_factorizations_rebuild_their_matrix(dtype):
    a = matrix(2, 4, 3, dtype=dtype)
    t = rushlight.tensor(a)
    q, r = rushlight.linalg.qr(t)
    close(q @ r, a)
    u, s, vh = rushlight.linalg.svd(t, full_matrices=False)
    close(u * s.unsqueeze(-2).to(u.dtype) @ vh, a)
    p, l, u = rushlight.linalg.lu(t)
    close(p @ l @ u, a)
    d = rushlight.tensor(matrix(2, 4, 4, kind="definite", dtype=dtype))
    l = rushlight.linalg.cholesky(d)
    close(l @ l.mH, d.numpy())
    w, v = rushlight.linalg.eigh(d)
    close(v * w.unsqueeze(-2).to(v.dtype) @ v.mH, d.numpy())
    g = rushlight.tensor(matrix(4, 4, dtype=dtype))
    w, v = rushlight.linalg.eig(g)
    close(g.to(v.dtype) @ v, (v * w).numpy())


@COMPLEX
def test_solvers(dtype):
    a, b = matrix(2, 3, 3, kind="regular", dtype=dtype), matrix(2, 3, 2, dtype=dtype)
    t, u = rushlight.tensor(a), rushlight.tensor(b)
    close(t @ rushlight.linalg.solve(t, u), b)
    close(rushlight.linalg.solve(t.mT, u.mT, left=False) @ t.mT, b.swapaxes(-1, -2))
    close(t.triu() @ rushlight.linalg.solve_triangular(t, u, upper=True), b)
    lu, pivots = rushlight.linalg.lu_factor(t)
    close(t @ rushlight.linalg.lu_solve(lu, pivots, u), b)
    close(t.mH @ rushlight.linalg.lu_solve(lu, pivots, u, adjoint=True), b)
    close(rushlight.linalg.inv(t) @ t, np.broadcast_to(np.eye(3), a.shape))
    close(rushlight.linalg.det(t), np.linalg.det(a))
    tall, right = matrix(5, 3, dtype=dtype), matrix(5, 2, dtype=dtype)
    close(rushlight.linalg.lstsq(rushlight.tensor(tall), rushlight.tensor(right)).solution, np.linalg.lstsq(tall, right, rcond=None)[0])
    close(rushlight.linalg.pinv(rushlight.tensor(tall)), np.linalg.pinv(tall))


@pytest.mark.parametrize("n", [1, 47, 48, 49, 130])
def test_lu_and_substitution_across_blocks(n):
    a, b = matrix(n, n, kind="regular"), matrix(n, 2)
    p, l, u = rushlight.linalg.lu(rushlight.tensor(a))
    close(p @ l @ u, a)
    x = rushlight.linalg.solve_triangular(rushlight.tensor(a), rushlight.tensor(b), upper=False)
    close(rushlight.tensor(a).tril() @ x, b)


GRADIENTS = {
    "inv": ("regular", rushlight.linalg.inv),
    "det": ("general", rushlight.linalg.det),
    "logabsdet": ("regular", lambda t: rushlight.linalg.slogdet(t).logabsdet),
    "cholesky": ("definite", lambda t: rushlight.linalg.cholesky((t + t.mH) / 2)),
    "qr": ("regular", lambda t: rushlight.linalg.qr(t).R),
    "lu": ("regular", lambda t: rushlight.linalg.lu(t).U),
    "lu_solve": ("regular", lambda t: rushlight.linalg.lu_solve(*rushlight.linalg.lu_factor(t), t @ t)),
    "solve": ("regular", lambda t: rushlight.linalg.solve(t, t @ t + 1)),
    "solve_triangular": ("regular", lambda t: rushlight.linalg.solve_triangular(t, t + 1, upper=True)),
    "svdvals": ("general", lambda t: rushlight.linalg.svdvals(t)[:2] ** 3),
    "eigvalsh": ("definite", lambda t: rushlight.linalg.eigvalsh((t + t.mH) / 2) ** 3),
    "eigh": ("definite", lambda t: rushlight.linalg.eigh((t + t.mH) / 2).eigenvectors.abs() ** 3),
    "eigvals": ("general", lambda t: rushlight.linalg.eigvals(t) ** 3),
    "pinv": ("regular", lambda t: rushlight.linalg.pinv(t[:, :2])),
    "matrix_exp": ("general", rushlight.linalg.matrix_exp),
    "matrix_power": ("regular", lambda t: rushlight.linalg.matrix_power(t, -3)),
    "norm": ("general", lambda t: rushlight.linalg.norm(t, "nuc")),
    "cov": ("general", rushlight.cov),
    "einsum": ("general", lambda t: rushlight.einsum("ij,kj,ki->ik", t, t, t)),
    "fft": ("general", lambda t: rushlight.fft.fftn(t, s=(4, 3)) ** 2),
    "cholesky_solve": ("regular", lambda t: rushlight.cholesky_solve(t, t.tril())),
}


@COMPLEX
@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_to_second_order(name, dtype):
    kind, f = GRADIENTS[name]
    check_gradient(lambda t: size(f(t)), matrix(3, 3, kind=kind, dtype=dtype))


def test_errors_of_singular_and_indefinite_matrices():
    singular = rushlight.tensor([[1.0, 2.0], [2.0, 4.0]])
    with pytest.raises(rushlight.linalg.LinAlgError, match="The diagonal element 2 is zero, the inversion could not be completed"):
        rushlight.linalg.inv(singular)
    with pytest.raises(rushlight.linalg.LinAlgError, match=r"\(Batch element 1\)"):
        rushlight.linalg.inv(rushlight.stack([rushlight.eye(2), singular]))
    with pytest.raises(RuntimeError, match="the leading minor of order 2 is not positive-definite"):
        rushlight.linalg.cholesky(-rushlight.eye(2) + rushlight.diag(rushlight.tensor([2.0, 0.0])))
    assert rushlight.linalg.inv_ex(singular).info.item() == 2
    with pytest.raises(NotImplementedError, match="lobpcg"):
        rushlight.lobpcg(singular)


def test_named_results_print_their_fields():
    assert str(rushlight.linalg.eigh(rushlight.eye(1))).startswith("torch.return_types.linalg_eigh(\neigenvalues=tensor([1.]),\neigenvectors=")


def test_svd_lowrank_finds_a_matrix_of_low_rank():
    rushlight.manual_seed(0)
    a = rushlight.tensor(matrix(8, 3) @ matrix(3, 6))
    u, s, v = rushlight.svd_lowrank(a, 4)
    close(u * s @ v.mH, a.numpy(), 1e-8)


# ---- einsum ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("equation", ["ij,jk->ik", "ij,jk", "ij,jk->", "ij->ji", "ij->j", "ij,ij->ij", "ii->i", "ii", "...ij,...jk->...ik", "ij,jk,kl->il"])
def test_einsum_is_numpys(equation):
    operands = [matrix(3, 3) for _ in equation.split("->")[0].split(",")]
    close(rushlight.einsum(equation, *map(rushlight.tensor, operands)), np.einsum(equation, *operands))


def test_einsum_broadcasts_and_takes_lists_of_labels():
    a, b = matrix(2, 1, 3), matrix(4, 3, 5)
    close(rushlight.einsum("...ij,...jk->...ik", rushlight.tensor(a[:, None]), rushlight.tensor(b)), a[:, None] @ b)
    close(rushlight.einsum(rushlight.tensor(b), [..., 0, 1], rushlight.tensor(b), [..., 0, 1], [..., 1]), (b * b).sum(1))
    with pytest.raises(RuntimeError, match="does not broadcast with previously seen size"):
        rushlight.einsum("ij,ij", rushlight.ones(2, 3), rushlight.ones(3, 2))
    with pytest.raises(RuntimeError, match="fewer operands were provided"):
        rushlight.einsum("ij,jk", rushlight.ones(2, 3))


# ---- Fourier transforms ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_transforms_are_numpys(name, norm):
    x = matrix(3, 6) if name in ("rfft", "ihfft") else matrix(3, 6, dtype=np.complex128)
    for n in (None, 4, 9):
        close(getattr(rushlight.fft, name)(rushlight.tensor(x), n, norm=norm), getattr(np.fft, name)(x, n, norm=norm))
    if not name.endswith("hfft"):
        close(getattr(rushlight.fft, name + "n")(rushlight.tensor(x), norm=norm), getattr(np.fft, name + "n")(x, norm=norm))


def test_transforms_keep_the_precision():
    assert rushlight.fft.fft(rushlight.ones(3)).dtype is rushlight.complex64
    assert rushlight.fft.irfft(rushlight.ones(3, dtype=rushlight.complex128)).dtype is rushlight.float64
    with pytest.raises(RuntimeError, match="Invalid number of data points"):
        rushlight.fft.fft(rushlight.ones(3), 0)
    with pytest.raises(RuntimeError, match="rfft expects a real input tensor"):
        rushlight.fft.rfft(rushlight.ones(3, dtype=rushlight.complex64))


@pytest.mark.parametrize("f", [lambda t: rushlight.fft.rfft2(t, (4, 5)), lambda t: rushlight.fft.irfft(rushlight.fft.rfft(t) ** 2, 5), rushlight.fft.ihfftn, rushlight.fft.fftshift])
def test_gradients_of_real_transforms(f):
    check_gradient(lambda t: size(f(t) ** 2), matrix(3, 4))


def test_istft_is_the_inverse_of_stft():
    x = rushlight.tensor(matrix(2, 50))
    window = rushlight.hann_window(10, dtype=rushlight.float64)
    for onesided in (True, False):
        s = rushlight.stft(x, 16, 4, 10, window, onesided=onesided, return_complex=True)
        close(rushlight.istft(s, 16, 4, 10, window, onesided=onesided, length=50), x.numpy())


# ---- special functions -----------------------------------------------------------------------------------------
def test_special_functions_without_scipy():
    from rushlight.core import special

    x = np.linspace(-6, 6, 241)
    np.testing.assert_allclose(special._erf_double(x), [math.erf(v) for v in x], rtol=1e-14)
    single = x.astype(np.float32)
    np.testing.assert_allclose(special.erf(single), [math.erf(v) for v in single], rtol=6.5e-8)
    np.testing.assert_allclose(special.erfc(x), [math.erfc(v) for v in x], rtol=1e-13)
    positive = x[x > 0]
    np.testing.assert_allclose(special.lgamma(positive), [math.lgamma(v) for v in positive], rtol=1e-12, atol=1e-13)
    inside = np.linspace(-0.999, 0.999, 101)
    np.testing.assert_allclose(special._erf_double(special.erfinv(inside)), inside, rtol=1e-14, atol=1e-16)
    np.testing.assert_allclose(special.i0(x), np.i0(x), rtol=1e-13)
    np.testing.assert_allclose(special.digamma(positive + 1) - special.digamma(positive), 1 / positive, rtol=1e-10)
    np.testing.assert_allclose(special.zeta(np.array([2.0, 4.0]), np.array([1.0, 1.0])), [math.pi**2 / 6, math.pi**4 / 90], rtol=1e-14)
    assert special.erf(np.float32([0.5])).dtype == np.float32


SPECIAL = {
    "i0": lambda t: rushlight.special.i0(t), "i0e": lambda t: rushlight.special.i0e(t), "i1": lambda t: rushlight.special.i1(t),
    "i1e": lambda t: rushlight.special.i1e(t), "entr": lambda t: rushlight.special.entr(t.abs()), "erfcx": lambda t: rushlight.special.erfcx(t),
    "ndtr": lambda t: rushlight.special.ndtr(t), "log_ndtr": lambda t: rushlight.special.log_ndtr(t), "mvlgamma": lambda t: rushlight.mvlgamma(t.abs() + 2, 3),
    "polygamma": lambda t: rushlight.special.polygamma(1, t.abs() + 1), "xlog1py": lambda t: rushlight.special.xlog1py(t, t.abs()),
    "zeta": lambda t: rushlight.special.zeta(3.0, t.abs() + 1),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECIAL)
def test_gradients_of_special_functions(name):
    check_gradient(lambda t: SPECIAL[name](t).sum(), matrix(5))


def test_polynomials_follow_their_recurrences():
    x = rushlight.linspace(-1.5, 1.5, 13, dtype=rushlight.float64)
    np.testing.assert_allclose(rushlight.special.chebyshev_polynomial_t(x, 3), 4 * x.numpy() ** 3 - 3 * x.numpy(), atol=1e-12)
    np.testing.assert_allclose(rushlight.special.legendre_polynomial_p(x, 2), (3 * x.numpy() ** 2 - 1) / 2, atol=1e-12)
    np.testing.assert_allclose(rushlight.special.hermite_polynomial_h(x, 3), 8 * x.numpy() ** 3 - 12 * x.numpy(), atol=1e-12)
    inside = x[x.abs() < 1]
    np.testing.assert_allclose(rushlight.special.chebyshev_polynomial_u(inside, 12), np.sin(13 * np.arccos(inside)) / np.sin(np.arccos(inside)), atol=1e-10)
