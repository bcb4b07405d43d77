"""rushlight.distributions against scipy.stats, moments of draws, and implicit gradients against quantiles."""

import numpy as np
import pytest

import rushlight as torch
import rushlight.distributions as D

stats = pytest.importorskip("scipy.stats")
special = pytest.importorskip("scipy.special")
X = np.linspace(0.05, 0.95, 7)

CASES = [
    (lambda: D.Normal(0.3, 1.2), stats.norm(0.3, 1.2)),
    (lambda: D.Uniform(-1.0, 2.0), stats.uniform(-1, 3)),
    (lambda: D.Exponential(1.7), stats.expon(scale=1 / 1.7)),
    (lambda: D.Laplace(0.3, 1.2), stats.laplace(0.3, 1.2)),
    (lambda: D.Cauchy(0.3, 1.2), stats.cauchy(0.3, 1.2)),
    (lambda: D.Gamma(2.5, 1.7), stats.gamma(2.5, scale=1 / 1.7)),
    (lambda: D.Chi2(3.0 * torch.ones(())), stats.chi2(3)),
    (lambda: D.Beta(2.0, 3.0), stats.beta(2, 3)),
    (lambda: D.StudentT(4.0, 0.3, 1.2), stats.t(4, 0.3, 1.2)),
    (lambda: D.LogNormal(0.3, 0.5), stats.lognorm(0.5, scale=np.exp(0.3))),
    (lambda: D.HalfNormal(1.2), stats.halfnorm(scale=1.2)),
]


@pytest.mark.parametrize("make, reference", CASES)
def test_density_entropy_and_moments(make, reference):
    d = make()
    np.testing.assert_allclose(d.log_prob(torch.tensor(X, dtype=torch.float32)).numpy(), reference.logpdf(X), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(d.entropy().item(), reference.entropy(), rtol=1e-4)
    if np.isfinite(reference.var()):
        torch.manual_seed(0)
        np.testing.assert_allclose(d.variance.item(), reference.var(), rtol=1e-4)
        draws = d.sample((20000,))
        assert abs(draws.mean().item() - reference.mean()) < 5 * reference.std() / 20000**0.5


@pytest.mark.parametrize("a", [0.05, 0.7, 3.0, 80.0, 1e5])
def test_gamma_gradient_is_the_derivative_of_the_quantile(a):
    from rushlight.distributions.implicit import standard_gamma_grad

    u, h = np.array([1e-3, 0.2, 0.5, 0.9, 0.9999]), 2e-5 * a
    z = special.gammaincinv(a, u)
    expected = (special.gammaincinv(a + h, u) - special.gammaincinv(a - h, u)) / (2 * h)
    found = standard_gamma_grad(torch.tensor(z), torch.full((5,), a, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-5)


@pytest.mark.parametrize("a, b", [(0.3, 0.4), (2.0, 3.0), (0.5, 40.0), (200.0, 3.0)])
def test_beta_gradient_is_the_derivative_of_the_quantile(a, b):
    from rushlight.distributions.implicit import beta_grad

    u, h = np.array([0.01, 0.2, 0.5, 0.8]), 1e-4 * a
    x = special.betaincinv(a, b, u)
    expected = (special.betaincinv(a + h, b, u) - special.betaincinv(a - h, b, u)) / (2 * h) / (1 - x)
    full = [torch.full((4,), v, dtype=torch.float64) for v in (a, b)]
    np.testing.assert_allclose(beta_grad(torch.tensor(x), *full).numpy(), expected, rtol=2e-5)


def test_errors_say_what_was_found():
    with pytest.raises(ValueError, match="Expected parameter scale"):
        D.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match="within the support"):
        D.Exponential(1.0).log_prob(torch.tensor(-1.0))
    with pytest.raises(NotImplementedError):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Bernoulli(0.5))
