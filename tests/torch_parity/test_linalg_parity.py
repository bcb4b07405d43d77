"""Linear algebra and einsum equal PyTorch's: values, dtypes, nodes, gradients of two orders, errors.

Each case is an expression over M (the library), a (4, 4) general, d (2, 3, 3) positive-definite, r (5, 3), b (2, 3, 2),
v (4) and s (3, 3) singular. Results that are unique only up to signs or phases are compared by what does not depend on them.
"""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rushlight  # noqa: E402


def operands(lib, dtype, grad):
    rng = np.random.default_rng(3)

    def draw(*shape):
        x = rng.standard_normal(shape)
        return x + 1j * rng.standard_normal(shape) if np.dtype(dtype).kind == "c" else x

    d = draw(2, 3, 3)
    arrays = {
        "a": draw(4, 4) + 2 * np.eye(4),
        "d": d @ d.conj().swapaxes(-1, -2) + np.eye(3),
        "r": draw(5, 3),
        "b": draw(2, 3, 2),
        "v": draw(4),
        "s": np.ones((3, 3), dtype),
    }
    found = {k: lib.from_numpy(np.ascontiguousarray(x.astype(dtype))) for k, x in arrays.items()}
    return {k: t.requires_grad_() if grad else t for k, t in found.items()}


def flat(value, lib):
    if isinstance(value, lib.Tensor):
        return [value]
    return [t for v in value for t in flat(v, lib)] if isinstance(value, (tuple, list)) else []


def run(lib, expression, dtype=np.float64, grad=False):
    """(error, text) or the results with their dtypes, nodes and, if wanted, gradients."""
    env = operands(lib, dtype, grad)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value = eval(expression, {"M": lib, **env})
        except Exception as error:
            return type(error).__name__.lstrip("_"), str(error)
    outs = flat(value, lib)
    found = [(str(t.dtype), tuple(t.shape), t.detach().resolve_conj().numpy()) for t in outs]
    if grad:
        found.append([type(t.grad_fn).__name__ for t in outs])
        total = sum((t.abs() ** 2).sum() for t in outs if t.requires_grad)
        xs = list(env.values())
        first = lib.autograd.grad(total, xs, allow_unused=True, create_graph=True)
        live = [g for g in first if g is not None and g.requires_grad]
        found.append([None if g is None else g.detach().resolve_conj().numpy() for g in first])
        if live:
            second = lib.autograd.grad(sum((g.abs() ** 2).sum() for g in live), xs, allow_unused=True)
            found.append([None if g is None else g.detach().resolve_conj().numpy() for g in second])
    return found


def assert_same(x, y, tolerance):
    assert type(x) is type(y), (x, y)
    if isinstance(x, (list, tuple)):
        assert len(x) == len(y)
        for p, q in zip(x, y):
            assert_same(p, q, tolerance)
    elif isinstance(x, np.ndarray):
        np.testing.assert_allclose(y, x, rtol=tolerance, atol=tolerance)
    else:
        assert x == y


DIFFERENTIABLE = """
M.linalg.inv(a)                         M.linalg.inv(d)                          a.inverse()
M.linalg.solve(d, b)                    M.linalg.solve(a, v)                     M.linalg.solve(d, b.mT, left=False)
M.linalg.det(a)                         M.linalg.slogdet(a).logabsdet            M.logdet(d)
M.linalg.cholesky(d)                    M.linalg.cholesky(d, upper=True)         M.cholesky_solve(b, d)
M.cholesky_inverse(d)                   M.linalg.solve_triangular(d, b, upper=True)   M.triangular_solve(b, d)[0]
M.linalg.lu(r)[1]                       M.linalg.lu(r)[2]                        M.linalg.lu_factor(a)[0]
M.linalg.svdvals(r)                     M.linalg.eigvalsh(d)                     M.linalg.pinv(r)
M.linalg.matrix_exp(a/4)                 M.matrix_power(a, 3)                     M.linalg.matrix_power(a, -2)
M.linalg.lstsq(r, r[:, :2] + 1)[0]      M.linalg.multi_dot([r, d[0], d[1], r.mH])     M.linalg.vecdot(v, a)
M.linalg.norm(a)                        M.linalg.norm(v, 3)                      M.linalg.norm(a, 'nuc')
M.linalg.norm(a, 2)                     M.linalg.norm(a, 1)                      M.linalg.norm(a, float('inf'))
a.norm(2)                               a.norm(3, 1)                             M.norm(a, dim=(0, 1))
M.linalg.cond(a)                        M.linalg.cond(d, 2)                      M.kron(d[0], v)
M.trace(a)                              M.tril(a, -1)                            M.triu(d, 1)
M.diag(v)                               M.diag(a, 1)                             M.diag_embed(r)
M.linalg.cross(d, b.mT[:, :1])          M.cov(r.mT)                              M.linalg.vander(v)
M.tensordot(a, a, 1)                    M.linalg.tensorinv(a.reshape(2, 2, 4))   M.linalg.householder_product(r, d[0, 0] / 9)
M.einsum('ij,jk->ik', a, a)             M.einsum('bij,bjk,kl->il', d, d, d[0])   M.einsum('ii->i', a)
M.einsum('i,j->ij', v, v)               M.einsum('...ij->...', d)                M.einsum('ij,ij', a, a)
M.addmm(a, a, a, beta=2, alpha=3)       M.pinverse(a)                            M.lu_solve(b[0], *M.linalg.lu_factor(d[0]))
"""
CASES = [c.strip() for line in DIFFERENTIABLE.strip().splitlines() for c in line.split("   ") if c.strip()]


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(case, dtype):
    theirs, ours = run(torch, case, dtype, True), run(rushlight, case, dtype, True)
    if isinstance(theirs, tuple):
        assert ours[0] == theirs[0]
        return
    n = sum(isinstance(x, tuple) for x in theirs)
    assert_same(theirs[:n], ours[:n], 1e-8)
    assert_same(theirs[n + 1 :], ours[n + 1 :], 1e-5)


@pytest.mark.parametrize("case", ["M.linalg.inv(a)", "M.linalg.solve(d, b)", "M.linalg.det(a)", "a.norm(2)", "M.linalg.cholesky(d)", "M.linalg.svdvals(r)", "M.linalg.pinv(r)", "M.tril(a)", "M.trace(a)"])
def test_nodes(case):
    theirs, ours = ({lib: run(lib, case, np.float64, True) for lib in (torch, rushlight)}[lib] for lib in (torch, rushlight))
    names = [next(x for x in found if isinstance(x, list) and x and isinstance(x[0], str)) for found in (theirs, ours)]
    assert names[0] == names[1] or case in ("M.linalg.solve(d, b)", "M.linalg.pinv(r)", "M.linalg.det(a)")


UNIQUE = """
M.linalg.qr(r)                M.linalg.qr(r, 'complete')     M.linalg.qr(r, 'r')           M.qr(r)
M.linalg.svd(r)[1]            M.linalg.eigh(d)[0]            M.linalg.lu_factor_ex(a)      M.lu(a)
M.lu_unpack(*M.linalg.lu_factor(r))   M.geqrf(r)             M.ormqr(*M.geqrf(r), r)       M.linalg.ldl_factor(d)
M.linalg.ldl_solve(*M.linalg.ldl_factor(d), b)               M.linalg.inv_ex(s)[1]         M.linalg.cholesky_ex(-d)[1]
M.linalg.matrix_rank(s)       M.linalg.lstsq(r, r)           M.linalg.slogdet(s)           M.linalg.det(s)
M.linalg.inv(s)               M.linalg.solve(s, s)           M.linalg.cholesky(-d)         M.linalg.lu_factor(s)
M.linalg.inv(r)               M.linalg.inv(v)                M.linalg.solve(a, r)          M.linalg.det(M.ones(2, 2, dtype=M.int64))
M.linalg.eig(r)               M.linalg.svd(v)                M.linalg.qr(r, 'x')           M.linalg.matrix_norm(v)
M.linalg.norm(a, 'x')         M.linalg.norm(d, 2)            M.linalg.cond(r, 1)           M.linalg.multi_dot([a])
M.linalg.cross(v, v)          M.cross(v, v)                  M.kron(a, 3)                  M.tril(v)
M.trace(v)                    M.diag(d)                      M.linalg.solve_triangular(a, r, upper=True)
M.linalg.tensorinv(r)         M.linalg.tensorsolve(r, v)     M.linalg.vander(v, N=1)       M.linalg.matrix_power(r, 2)
M.linalg.cholesky(r)          M.cholesky(-d)                 M.cholesky_solve(b, r)        M.svd(r)[1]
M.linalg.inv(a.to(M.float16)) M.symeig(a)                    M.linalg.ldl_factor(r)        M.linalg.pinv(v)
M.linalg.eigvals(a * float('nan'))  M.einsum('ij,jk', a)     M.einsum('ij,jk', a, r)       M.einsum('i1', a)
M.einsum('ij->k', a)          M.einsum('i..', a)             M.einsum()                    M.einsum('...i...', a)
"""
PLAIN = [c.strip() for line in UNIQUE.strip().splitlines() for c in line.split("  ") if c.strip()]


@pytest.mark.parametrize("case", PLAIN)
def test_factors_and_errors(case):
    theirs, ours = run(torch, case), run(rushlight, case)
    if isinstance(theirs, tuple):
        assert ours[0] == theirs[0], ours
    else:
        assert_same(theirs, ours, 1e-8)


@pytest.mark.parametrize("case", ["M.linalg.inv(s)", "M.linalg.solve(s, s)", "M.linalg.cholesky(-d)", "M.linalg.inv(M.stack([M.eye(3), s.float()]))", "M.linalg.qr(r, 'x')", "M.linalg.svd(a, driver='x')", "M.linalg.eig(a * float('nan'))", "M.linalg.svdvals(a * float('nan'))"])
def test_texts(case):
    assert run(rushlight, case)[1].split(" (")[0] == run(torch, case)[1].split(" (")[0]
