"""rushlight.distributions against scipy.stats, moments of draws, and implicit gradients against quantiles."""

import copy
import pickle

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
    (lambda: D.GeneralizedPareto(-0.3, 1.2, 0.1), stats.genpareto(0.1, -0.3, 1.2)),
    (lambda: D.GeneralizedPareto(-0.3, 1.2, -0.4), stats.genpareto(-0.4, -0.3, 1.2)),
    (lambda: D.Gumbel(0.3, 1.2), stats.gumbel_r(0.3, 1.2)),
    (lambda: D.HalfCauchy(1.2), stats.halfcauchy(scale=1.2)),
    (lambda: D.InverseGamma(5.0, 1.7), stats.invgamma(5, scale=1.7)),
    (lambda: D.Pareto(0.04, 5.0), stats.pareto(5, scale=0.04)),
    (lambda: D.Weibull(1.7, 2.5), stats.weibull_min(2.5, scale=1.7)),
]


@pytest.mark.parametrize("make, reference", CASES)
def test_density_entropy_and_moments(make, reference):
    d = make()
    np.testing.assert_allclose(d.log_prob(torch.tensor(X, dtype=torch.float32)).numpy(), reference.logpdf(X), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(d.entropy().item(), reference.entropy(), rtol=1e-4, atol=1e-5)
    if np.isfinite(reference.var()):
        torch.manual_seed(0)
        np.testing.assert_allclose(d.variance.item(), reference.var(), rtol=1e-4)
        draws = d.sample((20000,))
        assert abs(draws.mean().item() - reference.mean()) < 5 * reference.std() / 20000**0.5


def test_densities_without_a_closed_entropy():
    x = torch.tensor(X, dtype=torch.float64)
    two, five, seven = (torch.tensor(v, dtype=torch.float64) for v in (2.0, 5.0, 7.0))
    for found, reference in (
        (D.FisherSnedecor(five, seven), stats.f(5, 7)),
        (D.VonMises(two / 10, two), stats.vonmises(2, 0.2)),
    ):
        np.testing.assert_allclose(found.log_prob(x).numpy(), reference.logpdf(X), rtol=1e-9)
    f = D.FisherSnedecor(five, seven)
    np.testing.assert_allclose([f.mean.item(), f.variance.item()], stats.f(5, 7).stats(), rtol=1e-9)
    k = torch.arange(6.0, dtype=torch.float64)
    np.testing.assert_allclose(D.NegativeBinomial(five, two / 5).log_prob(k).numpy(), stats.nbinom(5, 0.6).logpmf(k.numpy()), rtol=1e-9)
    v = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    w, reference = D.Wishart(five, v), stats.wishart(5, v.numpy())
    np.testing.assert_allclose(w.log_prob(v * 3).item(), reference.logpdf(v.numpy() * 3), rtol=1e-9)
    np.testing.assert_allclose(w.entropy().item(), reference.entropy(), rtol=1e-9)


def _integral(d, n=200001):
    x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    p = d.log_prob(x).exp()
    return p.mean().item(), (p * x).mean().item(), (p * x * x).mean().item(), -(p * p.log()).mean().item(), x[p.argmax()].item()


@pytest.mark.parametrize("probs", [0.1, 0.4992, 0.5, 0.7])
def test_continuous_bernoulli_integrates_to_one(probs):
    d = D.ContinuousBernoulli(torch.tensor(probs, dtype=torch.float64))
    one, mean, square, entropy, _ = _integral(d)
    np.testing.assert_allclose(one, 1, rtol=1e-8)
    np.testing.assert_allclose([d.mean.item(), d.variance.item()], [mean, square - mean**2], rtol=1e-7)
    np.testing.assert_allclose(d.entropy().item(), entropy, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(d.cdf(d.icdf(torch.tensor(0.3, dtype=torch.float64))).item(), 0.3, rtol=1e-9)


def test_kumaraswamy_moments_and_mode():
    d = D.Kumaraswamy(*torch.tensor([2.5, 1.7], dtype=torch.float64))
    one, mean, square, entropy, mode = _integral(d)
    np.testing.assert_allclose([1, d.mean.item(), d.variance.item()], [one, mean, square - mean**2], rtol=1e-6)
    np.testing.assert_allclose([d.entropy().item(), d.mode.item()], [entropy, mode], rtol=1e-4)
    assert torch.isnan(D.Kumaraswamy(0.5, 2.0).mode)


@pytest.mark.parametrize("eta", [0.6, 1.0, 3.0])
def test_lkj_density_in_two_dimensions_is_that_of_one_correlation(eta):
    """(1 + r) / 2 is then Beta(eta, eta); the change of variables from the factor's entry r is the identity."""
    r = torch.tensor([-0.7, 0.1, 0.8], dtype=torch.float64)
    rows = torch.stack([r, (1 - r * r).sqrt()], -1)
    factor = torch.stack([torch.tensor([1.0, 0.0], dtype=torch.float64).expand(3, 2), rows], -2)
    found = D.LKJCholesky(2, torch.tensor(eta, dtype=torch.float64)).log_prob(factor)
    np.testing.assert_allclose(found.numpy(), stats.beta(eta, eta, loc=-1, scale=2).logpdf(r.numpy()), rtol=1e-9)


def test_wishart_divergence_of_a_batch_is_that_of_its_members():
    df, v = torch.tensor([[4.0, 5.5], [6.0, 3.5]]), torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    together = D.kl_divergence(D.Wishart(df[0], v), D.Wishart(df[1], torch.eye(2)))
    alone = [D.kl_divergence(D.Wishart(a, v), D.Wishart(b, torch.eye(2))).item() for a, b in zip(*df)]
    np.testing.assert_allclose(together.detach().numpy(), alone, rtol=1e-5)
    torch.manual_seed(0)
    p, q = D.Wishart(df[0, 0], v), D.Wishart(df[1, 0], torch.eye(2))
    draws = p.sample((4000,))
    assert abs((p.log_prob(draws) - q.log_prob(draws)).mean().item() - alone[0]) < 0.15


def test_wishart_draws_have_the_mean_and_gradients():
    torch.manual_seed(0)
    df = torch.tensor(5.0, requires_grad=True)
    draws = D.Wishart(df, torch.tensor([[2.0, 0.5], [0.5, 1.0]])).rsample((20000,))
    np.testing.assert_allclose(draws.mean(0).detach().numpy(), [[10, 2.5], [2.5, 5]], rtol=0.03)
    draws.mean(0)[0, 0].backward()
    np.testing.assert_allclose(df.grad.item(), 2.0, rtol=0.1)  # the mean is df times 2


def test_divergence_from_the_uniform_distribution_on_the_unit_interval_is_the_negative_entropy():
    p = D.ContinuousBernoulli(torch.tensor([0.2, 0.5, 0.9]))
    np.testing.assert_allclose(D.kl_divergence(p, D.Uniform(0.0, 1.0)).numpy(), -p.entropy().numpy(), atol=1e-6)


def test_a_mixture_chooses_for_every_place_of_the_batch():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 100.0], [1000.0, 2000.0]])
    d = D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.Normal(centres, 0.1))
    draws = d.sample((200,)).round(decimals=-2)
    assert draws.shape == (200, 2) and set(draws[:, 0].tolist()) == {0, 100} and set(draws[:, 1].tolist()) == {1000, 2000}
    assert len({tuple(pair) for pair in draws.tolist()}) == 4


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


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: D.Gumbel(0.0, 1.0),
        lambda: D.Weibull(1.0, 2.0),
        lambda: D.Wishart(4.0, torch.eye(2)),
        lambda: D.VonMises(0.0, 1.0),
        lambda: D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.Normal(torch.ones(2), 1.0)),
        lambda: D.LKJCholesky(3),
        lambda: D.NegativeBinomial(2, 0.3),
        lambda: D.RelaxedOneHotCategorical(torch.tensor(0.5), torch.ones(3)),
    ],
)
def test_copies_draw_the_same(make, copied):
    d = make()
    draws = []
    for each in (d, copied(d)):
        torch.manual_seed(0)
        draws.append(each.sample((3,)))
    assert torch.equal(*draws)


def test_errors_say_what_was_found():
    with pytest.raises(ValueError, match="Expected parameter scale"):
        D.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match="within the support"):
        D.Exponential(1.0).log_prob(torch.tensor(-1.0))
    with pytest.raises(NotImplementedError):
        D.kl_divergence(D.Normal(0.0, 1.0), D.Bernoulli(0.5))
