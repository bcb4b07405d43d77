"""rushlight's Kullback-Leibler divergences held to torch's: the same table of pairs, the same values and gradients."""

import numpy as np
import pytest
from distributions_table import CLASSES, SHAPES, Parameters

import rushlight
import rushlight.distributions

torch = pytest.importorskip("torch")


def _names(registry):
    return {tuple(c.__name__ for c in pair) for pair in registry}


PAIRS = sorted(_names(torch.distributions.kl._KL_REGISTRY))
#: these are asked about through members
MEMBERS = {"ExponentialFamily": "Wishart", "TransformedDistribution": "LogNormal"}


def test_the_same_pairs():
    assert _names(rushlight.distributions.kl._formulas) == set(PAIRS)


def _kl(m, make, shapes):
    """The divergence and its gradients; `make(d, a, b)` gives p and q."""
    a, b = Parameters(m, SHAPES[shapes]), Parameters(m, SHAPES[shapes], seed=51)
    try:
        out = m.distributions.kl_divergence(*make(m.distributions, a, b))
    except (NotImplementedError, ValueError) as e:
        return type(e).__name__
    if out.requires_grad:
        out[out.isfinite()].sum().backward()
    return [out] + [leaf.grad for leaf in a.leaves + b.leaves]


def _check(make, shapes, rtol=1e-4):
    ours, theirs = (_kl(m, make, shapes) for m in (rushlight, torch))
    if isinstance(theirs, str):
        assert ours == theirs
        return
    assert ours[0].shape == theirs[0].shape and str(ours[0].dtype) == str(theirs[0].dtype)
    np.testing.assert_allclose(ours[0].detach().numpy(), theirs[0].detach().numpy(), rtol=rtol, atol=1e-5)
    for mine, true in zip(ours[1:], theirs[1:]):
        # no gradient and a gradient of zero say the same here
        mine, true = np.broadcast_arrays(*(np.zeros(()) if g is None else g.numpy() for g in (mine, true)))
        known = np.isfinite(true)  # PyTorch's has NaN where a branch that was not taken overflows
        np.testing.assert_allclose(mine[known], true[known], rtol=20 * rtol, atol=2e-3)


@pytest.mark.parametrize("p, q", PAIRS)
@pytest.mark.parametrize("shapes", ["matrix", "mixed"])
def test_pairs_as_torch(p, q, shapes):
    p, q = MEMBERS.get(p, p), MEMBERS.get(q, q)
    if p == "Wishart":
        shapes = "scalar"  # PyTorch sums the term of df over the batch
    _check(lambda d, a, b: (CLASSES[p](d, a), CLASSES[q](d, b)), shapes)


# fmt: off
SPECIAL = {
    "uniform in beta":        lambda d, a, b: (d.Uniform(a.unit() / 4, 0.5 + a.unit() / 2), d.Beta(b.positive(), b.positive())),
    "uniform in gamma":       lambda d, a, b: (d.Uniform(a.unit(), 1 + a.unit()), d.Gamma(b.positive(), b.positive())),
    "uniform in exponential": lambda d, a, b: (d.Uniform(a.unit(), 1 + a.unit()), d.Exponential(b.positive())),
    "uniform in continuous":  lambda d, a, b: (d.Uniform(a.unit() / 4, 0.5 + a.unit() / 2), d.ContinuousBernoulli(b.unit())),
    "uniform in pareto":      lambda d, a, b: (d.Uniform(1 + a.unit(), 2 + a.unit()), d.Pareto(b.unit(), b.positive())),
    "uniform in uniform":     lambda d, a, b: (d.Uniform(a.unit(), 1 + a.unit()), d.Uniform(b.unit() - 1, 2 + b.unit())),
    "beta in uniform":        lambda d, a, b: (d.Beta(a.positive(), a.positive()), d.Uniform(b.unit() - 1, 1 + b.unit())),
    "beta on uniform":        lambda d, a, b: (d.Beta(a.positive(), a.positive()), d.Uniform(b.fixed(0.0), b.fixed(1.0))),
    "continuous in uniform":  lambda d, a, b: (d.ContinuousBernoulli(a.unit()), d.Uniform(b.unit() - 1, 1 + b.unit())),
    "pareto heavy":           lambda d, a, b: (d.Pareto(a.positive(), a.unit()), d.Exponential(b.positive())),
    "pareto light":           lambda d, a, b: (d.Pareto(a.positive(), 2 + a.unit()), d.Normal(b.real(), b.positive())),
    "pareto in pareto":       lambda d, a, b: (d.Pareto(1 + a.unit(), a.positive()), d.Pareto(b.unit(), b.positive())),
    "pareto out of pareto":   lambda d, a, b: (d.Pareto(a.unit(), a.positive()), d.Pareto(1 + b.unit(), b.positive())),
    "binomials":              lambda d, a, b: (d.Binomial(5, a.unit()), d.Binomial(4, b.unit())),
    "binomials of more":      lambda d, a, b: (d.Binomial(4, a.unit()), d.Binomial(5, b.unit())),
    "sure bernoullis":        lambda d, a, b: (d.Bernoulli(a.fixed([0.0, 1.0, 0.0])), d.Bernoulli(b.fixed([0.0, 0.3, 1.0]))),
    "impossible category":    lambda d, a, b: (d.Categorical(a.fixed([0.0, 1.0, 1.0])), d.Categorical(b.fixed([1.0, 0.0, 2.0]))),
    "impossible one-hot":     lambda d, a, b: (d.OneHotCategorical(a.fixed([0.0, 1.0])), d.OneHotCategorical(b.fixed([1.0, 2.0]))),
    "straight through":       lambda d, a, b: (d.OneHotCategorical(a.positive(3)), d.OneHotCategoricalStraightThrough(b.positive(3))),
    "chi2 and gamma":         lambda d, a, b: (d.Chi2(a.positive()), d.Gamma(b.positive(), b.positive())),
    "half-cauchys":           lambda d, a, b: (d.HalfCauchy(a.positive()), d.HalfCauchy(b.positive())),
    "log-normals":            lambda d, a, b: (d.LogNormal(a.real(), a.positive()), d.LogNormal(b.real(), b.positive())),
    "logistic-normals":       lambda d, a, b: (d.LogisticNormal(a.real(3), a.positive(3)), d.LogisticNormal(b.real(3), b.positive(3))),
    "inverse gammas":         lambda d, a, b: (d.InverseGamma(a.positive(), a.positive()), d.InverseGamma(b.positive(), b.positive())),
    "weibulls":               lambda d, a, b: (d.Weibull(a.positive(), a.positive()), d.Weibull(b.positive(), b.positive())),
    "independents":           lambda d, a, b: (d.Independent(d.Normal(a.real(2), a.positive(2)), 1), d.Independent(d.Normal(b.real(2), 1.0), 1)),
    "independents of ranks":  lambda d, a, b: (d.Independent(d.Normal(a.real(2, 2), 1.0), 1), d.Independent(d.Normal(b.real(2, 2), 1.0), 2)),
    "one independent":        lambda d, a, b: (d.Independent(d.Normal(a.real(2), 1.0), 1), d.Normal(b.real(2), 1.0)),
    "event shapes":           lambda d, a, b: (d.MultivariateNormal(a.real(3), a.definite(3)), d.MultivariateNormal(b.real(2), b.definite(2))),
    "low-rank event shapes":  lambda d, a, b: (d.LowRankMultivariateNormal(a.real(3), a.real(3, 1), a.positive(3)),
                                               d.MultivariateNormal(b.real(2), b.definite(2))),
    "no formula":             lambda d, a, b: (d.Normal(a.real(), a.positive()), d.StudentT(b.positive())),
    "families":               lambda d, a, b: (d.Poisson(a.positive()), d.Exponential(b.positive())),
    "relaxed":                lambda d, a, b: (d.RelaxedBernoulli(a.fixed(1.0), a.unit()), d.RelaxedBernoulli(b.fixed(1.0), b.unit())),
}
# fmt: on


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("shapes", ["scalar", "matrix"])
def test_supports_and_boundaries_as_torch(name, shapes):
    _check(SPECIAL[name], shapes)


def test_a_registered_pair_is_found_by_its_nearest_classes():
    for m in (rushlight, torch):
        d = m.distributions
        kinds = [type(name, (d.Normal,), {}) for name in ("First", "Second")]
        first, second = (kind(m.zeros(()), m.ones(())) for kind in kinds)
        assert d.kl_divergence(first, second) == 0
        d.register_kl(kinds[0], d.Normal)(lambda p, q: 5)
        assert d.kl_divergence(first, second) == 5
        assert d.kl_divergence(second, first) == 0
        d.register_kl(d.Normal, kinds[1])(lambda p, q: 6)
        with pytest.warns(RuntimeWarning, match="Ambiguous kl_divergence"):
            assert d.kl_divergence(first, second) == 5
        with pytest.raises(TypeError):
            d.register_kl(3, d.Normal)
