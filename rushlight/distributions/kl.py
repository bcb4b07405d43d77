"""Kullback-Leibler divergences KL(p || q) = E_p[log p(x) - log q(x)], in closed form, by pairs of classes.

Mechanism. `register_kl` fills a table; `kl_divergence` takes the entry of the most specific pair of base classes and
remembers it. Two exponential families of one class that have no entry go through the Bregman divergence of their log
normaliser. Pairs that are not in the table raise NotImplementedError.
"""

from __future__ import annotations

import math
import warnings

import rushlight
from rushlight.distributions.bernoulli import Bernoulli
from rushlight.distributions.beta import Beta
from rushlight.distributions.binomial import Binomial
from rushlight.distributions.categorical import Categorical
from rushlight.distributions.cauchy import Cauchy
from rushlight.distributions.dirichlet import Dirichlet
from rushlight.distributions.distribution import Distribution
from rushlight.distributions.exp_family import ExponentialFamily
from rushlight.distributions.exponential import Exponential
from rushlight.distributions.gamma import Gamma
from rushlight.distributions.geometric import Geometric
from rushlight.distributions.half_normal import HalfNormal
from rushlight.distributions.independent import Independent
from rushlight.distributions.laplace import Laplace
from rushlight.distributions.multivariate_normal import MultivariateNormal
from rushlight.distributions.normal import Normal
from rushlight.distributions.poisson import Poisson
from rushlight.distributions.transformed_distribution import TransformedDistribution
from rushlight.distributions.uniform import Uniform
from rushlight.distributions.utils import _sum_rightmost

__all__ = ["register_kl", "kl_divergence"]

_KL_REGISTRY = {}
_KL_MEMOIZE = {}


def register_kl(type_p, type_q):
    """Decorator: register a function (p, q) -> KL(p || q) for two classes of distributions and their subclasses."""
    for kind, name in ((type_p, "type_p"), (type_q, "type_q")):
        if not isinstance(kind, type) and issubclass(kind, Distribution):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def decorator(fun):
        _KL_REGISTRY[type_p, type_q] = fun
        _KL_MEMOIZE.clear()
        return fun

    return decorator


def _dispatch_kl(type_p, type_q):
    matches = [pair for pair in _KL_REGISTRY if issubclass(type_p, pair[0]) and issubclass(type_q, pair[1])]
    if not matches:
        return NotImplemented

    def rank(pair, first):  # how far up the classes lie, one of them deciding before the other
        steps = type_p.__mro__.index(pair[0]), type_q.__mro__.index(pair[1])
        return steps if first else steps[::-1]

    left, right = min(matches, key=lambda m: rank(m, True)), min(matches, key=lambda m: rank(m, False))
    if _KL_REGISTRY[left] is not _KL_REGISTRY[right]:
        warnings.warn(f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). "
                      f"Please register_kl({left[0].__name__}, {right[1].__name__})", RuntimeWarning, stacklevel=3)  # fmt: skip
    return _KL_REGISTRY[left]


def kl_divergence(p, q):
    """KL(p || q), of the batch shape of the two; NotImplementedError for pairs without a closed form here."""
    pair = type(p), type(q)
    if pair not in _KL_MEMOIZE:
        _KL_MEMOIZE[pair] = _dispatch_kl(*pair)
    fun = _KL_MEMOIZE[pair]
    if fun is NotImplemented:
        raise NotImplementedError(f"No KL(p || q) is implemented for p type {pair[0].__name__} and q type {pair[1].__name__}")
    return fun(p, q)


def _xlogx(x):
    return rushlight.xlogy(x, x)


def _inside(result, condition):
    """`result` where the support of p lies inside that of q, else infinity."""
    return rushlight.where(condition, result, math.inf)


@register_kl(ExponentialFamily, ExponentialFamily)
def _kl_expfamily_expfamily(p, q):
    if type(p) is not type(q):
        raise NotImplementedError("The cross KL-divergence between different exponential families cannot be computed "
                                  "using Bregman divergences")  # fmt: skip
    own = [x.detach().requires_grad_() for x in p._natural_params]
    normaliser = p._log_normalizer(*own)
    gradients = rushlight.autograd.grad(normaliser.sum(), own, create_graph=True)
    result = q._log_normalizer(*q._natural_params) - normaliser
    for theirs, mine, g in zip(q._natural_params, own, gradients):
        result = result - _sum_rightmost((theirs - mine) * g, len(q.event_shape))
    return result


@register_kl(Bernoulli, Bernoulli)
def _kl_bernoulli_bernoulli(p, q):
    softplus = rushlight.nn.functional.softplus
    t1 = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    t1 = rushlight.where(q.probs == 0, math.inf, t1)
    t1 = rushlight.where(p.probs == 0, 0.0, t1)
    t2 = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    t2 = rushlight.where(q.probs == 1, math.inf, t2)
    return t1 + rushlight.where(p.probs == 1, 0.0, t2)


@register_kl(Beta, Beta)
@register_kl(Dirichlet, Dirichlet)
def _kl_dirichlet_dirichlet(p, q):
    a, b = (getattr(d, "_dirichlet", d).concentration for d in (p, q))
    total = a.sum(-1)
    normalisers = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return normalisers + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Binomial, Binomial)
def _kl_binomial_binomial(p, q):
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return rushlight.where(p.total_count > q.total_count, math.inf, kl)


@register_kl(Categorical, Categorical)
def _kl_categorical_categorical(p, q):
    t = p.probs * (p.logits - q.logits)
    t = rushlight.where(q.probs == 0, math.inf, t)
    return rushlight.where(p.probs == 0, 0.0, t).sum(-1)


@register_kl(Exponential, Exponential)
def _kl_exponential_exponential(p, q):
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Gamma, Gamma)
def _kl_gamma_gamma(p, q):
    a, b = p.concentration, q.concentration
    return (b * (p.rate / q.rate).log() + rushlight.lgamma(b) - rushlight.lgamma(a)
            + (a - b) * rushlight.digamma(a) + (q.rate - p.rate) * (a / p.rate))  # fmt: skip


@register_kl(Geometric, Geometric)
def _kl_geometric_geometric(p, q):
    return -p.entropy() - rushlight.log1p(-q.probs) / p.probs - q.logits


@register_kl(HalfNormal, HalfNormal)
def _kl_halfnormal_halfnormal(p, q):
    return _kl_normal_normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _kl_laplace_laplace(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * rushlight.exp(-distance / p.scale) - 1


@register_kl(MultivariateNormal, MultivariateNormal)
def _kl_multivariatenormal_multivariatenormal(p, q):
    if p.event_shape != q.event_shape:
        raise ValueError("KL-divergence between two Multivariate Normals with different event shapes cannot be computed: "
                         f"found {tuple(p.event_shape)} and {tuple(q.event_shape)}")  # fmt: skip
    solve = rushlight.linalg.solve_triangular
    factor = q._unbroadcasted_scale_tril
    spread = solve(factor, p._unbroadcasted_scale_tril, upper=False).pow(2).sum((-2, -1))
    distance = solve(factor, (q.loc - p.loc).unsqueeze(-1), upper=False).pow(2).sum((-2, -1))
    return q._half_log_det() - p._half_log_det() + 0.5 * (spread + distance - p.event_shape[0])


@register_kl(Normal, Normal)
def _kl_normal_normal(p, q):
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(Poisson, Poisson)
def _kl_poisson_poisson(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def _kl_uniform_uniform(p, q):
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return _inside(result, ~((q.low > p.low) | (q.high < p.high)))


@register_kl(Cauchy, Cauchy)
def _kl_cauchy_cauchy(p, q):
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(TransformedDistribution, TransformedDistribution)
def _kl_transformed_transformed(p, q):
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def _kl_independent_independent(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


# ---- different classes: E_p[-log q(x)] less the entropy of p


@register_kl(Normal, Laplace)
def _kl_normal_laplace(p, q):
    away, ratio = p.loc - q.loc, p.scale / q.scale
    z = away / p.scale
    distance = math.sqrt(2 / math.pi) * p.scale * rushlight.exp(-0.5 * z.pow(2)) + away * rushlight.erf(math.sqrt(0.5) * z)
    return -ratio.log() + distance / q.scale - 0.5 * math.log(0.5 * math.pi) - 0.5 + 0 * ratio


def _against_normal(p, q):
    return 0.5 * math.log(2 * math.pi) + q.scale.log() + (p.variance + (p.mean - q.loc).pow(2)) / (2 * q.scale.pow(2)) - p.entropy()


for _kind in (Beta, Exponential, Gamma, Laplace, Uniform):
    register_kl(_kind, Normal)(_against_normal)


@register_kl(Exponential, Gamma)
def _kl_exponential_gamma(p, q):
    ratio = q.rate / p.rate
    a = q.concentration
    return -a * ratio.log() + ratio + a.lgamma() + a * 0.57721566490153286060 - (1 + 0.57721566490153286060)


def _against_exponential(p, q):
    return -p.entropy() - q.rate.log() + q.rate * p.mean


for _kind in (Beta, Gamma):
    register_kl(_kind, Exponential)(_against_exponential)


@register_kl(Beta, Gamma)
def _kl_beta_gamma(p, q):
    log_mean = p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    a = q.concentration
    return -p.entropy() + a.lgamma() - a * q.rate.log() - (a - 1) * log_mean + q.rate * p.mean


@register_kl(Beta, Uniform)
def _kl_beta_uniform(p, q):
    return _inside(-p.entropy() + (q.high - q.low).log(), (q.low <= 0) & (q.high >= 1))


@register_kl(Uniform, Beta)
def _kl_uniform_beta(p, q):
    a, b, width = q.concentration1, q.concentration0, p.high - p.low
    below = (_xlogx(p.high) - _xlogx(p.low) - width) / width  # E[log x]
    above = (_xlogx(1 - p.low) - _xlogx(1 - p.high) - width) / width  # E[log(1 - x)]
    result = -width.log() + a.lgamma() + b.lgamma() - (a + b).lgamma() - (a - 1) * below - (b - 1) * above
    return _inside(result, (p.low >= 0) & (p.high <= 1))


@register_kl(Uniform, Gamma)
def _kl_uniform_gamma(p, q):
    a, width = q.concentration, p.high - p.low
    log_mean = (_xlogx(p.high) - _xlogx(p.low) - width) / width
    result = -width.log() + a.lgamma() - a * q.rate.log() - (a - 1) * log_mean + q.rate * (p.high + p.low) / 2
    return _inside(result, p.low >= 0)


@register_kl(Bernoulli, Poisson)
def _kl_bernoulli_poisson(p, q):
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


def _never(p, q):
    """The support of p reaches outside that of q."""
    return rushlight.full_like(p.mean, math.inf)


for _p, _q in ((Exponential, Beta), (Exponential, Uniform), (Gamma, Beta), (Gamma, Uniform), (Laplace, Beta),
               (Laplace, Exponential), (Laplace, Gamma), (Laplace, Uniform), (Normal, Beta), (Normal, Exponential),
               (Normal, Gamma), (Normal, Uniform), (Poisson, Bernoulli), (Poisson, Binomial)):  # fmt: skip
    register_kl(_p, _q)(_never)


@register_kl(Uniform, Exponential)
def _kl_uniform_exponential(p, q):
    result = q.rate * (p.high + p.low) / 2 - ((p.high - p.low) * q.rate).log()
    return _inside(result, p.low >= 0)
