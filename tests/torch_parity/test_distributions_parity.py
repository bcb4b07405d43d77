"""rushlight.distributions held to torch's: the same draws from one seed, densities, entropies, divergences, printed forms."""

import numpy as np
import pytest

import rushlight
import rushlight.distributions

torch = pytest.importorskip("torch")


def _r(m, *shape):
    return m.linspace(0.3, 2.5, int(np.prod(shape))).reshape(shape)


CASES = {
    "Normal": lambda m, d: d.Normal(_r(m, 3) - 1, _r(m, 3)),
    "Uniform": lambda m, d: d.Uniform(_r(m, 3) - 1, _r(m, 3) + 1),
    "Exponential": lambda m, d: d.Exponential(_r(m, 3)),
    "Laplace": lambda m, d: d.Laplace(_r(m, 3), _r(m, 3)),
    "Cauchy": lambda m, d: d.Cauchy(_r(m, 3), _r(m, 3)),
    "Gamma": lambda m, d: d.Gamma(_r(m, 3), _r(m, 3)),
    "Beta": lambda m, d: d.Beta(_r(m, 3), _r(m, 3)),
    "Dirichlet": lambda m, d: d.Dirichlet(_r(m, 2, 3)),
    "Bernoulli": lambda m, d: d.Bernoulli(_r(m, 3) / 3),
    "Categorical": lambda m, d: d.Categorical(logits=_r(m, 2, 3)),
    "Binomial": lambda m, d: d.Binomial(7, _r(m, 3) / 3),
    "Geometric": lambda m, d: d.Geometric(_r(m, 3) / 3),
    "Poisson": lambda m, d: d.Poisson(_r(m, 3)),
    "Multinomial": lambda m, d: d.Multinomial(5, _r(m, 2, 3)),
    "MultivariateNormal": lambda m, d: d.MultivariateNormal(_r(m, 2, 3), m.eye(3) * 2 + 0.5),
    "StudentT": lambda m, d: d.StudentT(_r(m, 3) + 2, _r(m, 3), _r(m, 3)),
    "LogNormal": lambda m, d: d.LogNormal(_r(m, 3), _r(m, 3)),
    "HalfNormal": lambda m, d: d.HalfNormal(_r(m, 3)),
    "Independent": lambda m, d: d.Independent(d.Normal(_r(m, 2, 3), _r(m, 2, 3)), 1),
    "Transformed": lambda m, d: d.TransformedDistribution(d.Normal(_r(m, 3), _r(m, 3)), [d.StickBreakingTransform()]),
}
QUESTIONS = {
    "repr": lambda d: repr(d),
    "shapes": lambda d: repr((d.batch_shape, d.event_shape, d.support)),
    "sample": lambda d: d.sample((20,)),
    "log_prob": lambda d: d.log_prob(d.sample((4,))),
    "expanded": lambda d: d.expand((3, *d.batch_shape)).sample(),
    "entropy": lambda d: d.entropy(),
    "mean": lambda d: d.mean,
    "variance": lambda d: d.variance,
}


def _answer(m, make, ask):
    m.manual_seed(5)
    try:
        out = ask(make(m, m.distributions))
    except NotImplementedError:
        return "NotImplementedError"
    return out if isinstance(out, str) else out.detach().numpy()


@pytest.mark.parametrize("ask", QUESTIONS)
@pytest.mark.parametrize("name", CASES)
def test_as_torch(name, ask):
    ours, theirs = (_answer(m, CASES[name], QUESTIONS[ask]) for m in (rushlight, torch))
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6)
