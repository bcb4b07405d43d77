"""The table of distributions that the parity tests go through: one line makes an instance from parameters of any batch shape.

A line is `lambda d, a: d.Class(...)`, where `d` is a module torch.distributions and `a` gives leaves: `a.real()`,
`a.positive()`, `a.unit()` have the batch shape, and an argument adds event dimensions behind it. Leaves differ from each
other, are the same for both libraries, and are kept in `a.leaves` so that gradients can be asked for.
"""

import numpy as np

#: batch shapes of the first, second, third ... parameter (the last one counts for those that follow)
SHAPES = {"scalar": [()], "matrix": [(2, 3)], "mixed": [(2, 1), (3,), ()]}


class Parameters:
    """Leaves of one library, of one row of SHAPES."""

    def __init__(self, m, shapes, dtype="float32", seed=1):
        self.m, self.shapes, self.dtype, self.seed, self.leaves = m, shapes, dtype, seed, []

    def _leaf(self, low, high, event):
        shape = self.shapes[min(len(self.leaves), len(self.shapes) - 1)] + tuple(event)
        rng = np.random.default_rng(len(self.leaves) + self.seed)
        values = (low + (high - low) * rng.random(shape)).astype(self.dtype)
        leaf = self.m.tensor(values, requires_grad=True)
        self.leaves.append(leaf)
        return leaf

    def real(self, *event):
        return self._leaf(-1.5, 1.5, event)

    def positive(self, *event, low=0.4, high=2.5):
        return self._leaf(low, high, event)

    def unit(self, *event):
        return self._leaf(0.1, 0.9, event)

    def tril(self, n):
        below = self.real(n, n)
        return below.tril(-1) + self.m.eye(n, dtype=below.dtype) * 1.2

    def definite(self, n):
        factor = self.tril(n)
        return factor @ factor.mT

    def fixed(self, value):
        return self.m.tensor(value, dtype=getattr(self.m, self.dtype))


# fmt: off
CLASSES = {
    "Bernoulli":                 lambda d, a: d.Bernoulli(a.unit()),
    "Bernoulli logits":          lambda d, a: d.Bernoulli(logits=a.real()),
    "Beta":                      lambda d, a: d.Beta(a.positive(), a.positive()),
    "Binomial":                  lambda d, a: d.Binomial(7, a.unit()),
    "Binomial logits":           lambda d, a: d.Binomial(a.fixed(5.0), logits=a.real()),
    "Categorical":               lambda d, a: d.Categorical(a.positive(4)),
    "Categorical logits":        lambda d, a: d.Categorical(logits=a.real(4)),
    "Cauchy":                    lambda d, a: d.Cauchy(a.real(), a.positive()),
    "Chi2":                      lambda d, a: d.Chi2(a.positive()),
    "ContinuousBernoulli":       lambda d, a: d.ContinuousBernoulli(a.unit()),
    "ContinuousBernoulli logits": lambda d, a: d.ContinuousBernoulli(logits=a.real()),
    "ContinuousBernoulli half":  lambda d, a: d.ContinuousBernoulli(0.5 + (a.unit() - 0.5) / 600),
    "Dirichlet":                 lambda d, a: d.Dirichlet(a.positive(3)),
    "Exponential":               lambda d, a: d.Exponential(a.positive()),
    "FisherSnedecor":            lambda d, a: d.FisherSnedecor(a.positive(low=1, high=7), a.positive(low=1, high=7)),
    "Gamma":                     lambda d, a: d.Gamma(a.positive(), a.positive()),
    "GeneralizedPareto":         lambda d, a: d.GeneralizedPareto(a.real(), a.positive(), a.real()),
    "GeneralizedPareto 0":       lambda d, a: d.GeneralizedPareto(a.real(), a.positive(), 0.0),
    "Geometric":                 lambda d, a: d.Geometric(a.unit()),
    "Geometric logits":          lambda d, a: d.Geometric(logits=a.real()),
    "Gumbel":                    lambda d, a: d.Gumbel(a.real(), a.positive()),
    "HalfCauchy":                lambda d, a: d.HalfCauchy(a.positive()),
    "HalfNormal":                lambda d, a: d.HalfNormal(a.positive()),
    "Independent":               lambda d, a: d.Independent(d.Normal(a.real(2), a.positive(2)), 1),
    "InverseGamma":              lambda d, a: d.InverseGamma(a.positive(), a.positive()),
    "Kumaraswamy":               lambda d, a: d.Kumaraswamy(a.positive(), a.positive()),
    "LKJCholesky":               lambda d, a: d.LKJCholesky(3, a.positive()),
    "LKJCholesky 5":             lambda d, a: d.LKJCholesky(5, a.positive()),
    "Laplace":                   lambda d, a: d.Laplace(a.real(), a.positive()),
    "LogNormal":                 lambda d, a: d.LogNormal(a.real(), a.positive()),
    "LogisticNormal":            lambda d, a: d.LogisticNormal(a.real(3), a.positive(3)),
    "LowRankMultivariateNormal": lambda d, a: d.LowRankMultivariateNormal(a.real(4), a.real(4, 2), a.positive(4)),
    "MixtureSameFamily":         lambda d, a: d.MixtureSameFamily(d.Categorical(a.positive(3)), d.Normal(a.real(3), a.positive(3))),
    "MixtureSameFamily counts":  lambda d, a: d.MixtureSameFamily(d.Categorical(logits=a.real(2)), d.Poisson(a.positive(2))),
    "MixtureSameFamily vectors": lambda d, a: d.MixtureSameFamily(
        d.Categorical(a.positive(3)), d.Independent(d.Normal(a.real(3, 2), a.positive(3, 2)), 1)),
    "Multinomial":               lambda d, a: d.Multinomial(5, a.positive(3)),
    "Multinomial logits":        lambda d, a: d.Multinomial(5, logits=a.real(3)),
    "MultivariateNormal":        lambda d, a: d.MultivariateNormal(a.real(3), a.definite(3)),
    "MultivariateNormal tril":   lambda d, a: d.MultivariateNormal(a.real(3), scale_tril=a.tril(3)),
    "MultivariateNormal precision": lambda d, a: d.MultivariateNormal(a.real(3), precision_matrix=a.definite(3)),
    "NegativeBinomial":          lambda d, a: d.NegativeBinomial(a.positive(), a.unit()),
    "NegativeBinomial logits":   lambda d, a: d.NegativeBinomial(3, logits=a.real()),
    "Normal":                    lambda d, a: d.Normal(a.real(), a.positive()),
    "OneHotCategorical":         lambda d, a: d.OneHotCategorical(a.positive(4)),
    "OneHotCategoricalStraightThrough": lambda d, a: d.OneHotCategoricalStraightThrough(logits=a.real(4)),
    "Pareto":                    lambda d, a: d.Pareto(a.positive(), a.positive()),
    "Poisson":                   lambda d, a: d.Poisson(a.positive()),
    "RelaxedBernoulli":          lambda d, a: d.RelaxedBernoulli(a.fixed(0.7), a.unit()),
    "RelaxedBernoulli logits":   lambda d, a: d.RelaxedBernoulli(a.positive(), logits=a.real()),
    "RelaxedOneHotCategorical":  lambda d, a: d.RelaxedOneHotCategorical(a.fixed(0.7), a.positive(4)),
    "RelaxedOneHotCategorical logits": lambda d, a: d.RelaxedOneHotCategorical(a.fixed(1.3), logits=a.real(4)),
    "StudentT":                  lambda d, a: d.StudentT(a.positive(), a.real(), a.positive()),
    "TransformedDistribution":   lambda d, a: d.TransformedDistribution(
        d.Normal(a.real(), a.positive()), [d.AffineTransform(0.5, -2.0), d.SigmoidTransform()]),
    "TransformedDistribution stick": lambda d, a: d.TransformedDistribution(
        d.Normal(a.real(3), a.positive(3)), [d.StickBreakingTransform()]),
    "Uniform":                   lambda d, a: d.Uniform(a.real() - 2, a.positive()),
    "VonMises":                  lambda d, a: d.VonMises(a.real(), a.positive()),
    "Weibull":                   lambda d, a: d.Weibull(a.positive(), a.positive()),
    "Wishart":                   lambda d, a: d.Wishart(a.positive(low=4, high=7), a.definite(3)),
    "Wishart tril":              lambda d, a: d.Wishart(a.positive(low=4, high=7), scale_tril=a.tril(3)),
    "Wishart precision":         lambda d, a: d.Wishart(a.positive(low=4, high=7), precision_matrix=a.definite(3)),
    "Wishart 1":                 lambda d, a: d.Wishart(a.positive(low=4, high=7), a.definite(1)),
}
# fmt: on

#: (class, question): where PyTorch 2.13 is known to be wrong (seen in November 2026), and what is true instead
BETTER = {
    ("Kumaraswamy", "mode"): "PyTorch gives NaN everywhere; ours is the maximum of the density where there is one",
    ("Wishart", "rsample gradient"): "PyTorch's backward raises RuntimeError about a mask modified in place",
}

#: (class, question): tolerances of a single precision that is lost in PyTorch
LOOSE = {
    ("ContinuousBernoulli", "log_prob gradient"): 2e-2,  # near 1/2; both agree in float64
    ("ContinuousBernoulli", "entropy gradient"): 2e-2,
    ("LKJCholesky", "sample"): 1e-3,  # the root of what is left of 1 may be the root of one rounding error
    ("LKJCholesky", "expanded sample"): 1e-3,
}
