"""The closed forms of KL(p || q), entered in the table of kl.py.

Mechanism. Pairs of one class have a formula each. Pairs of different classes are the cross entropy E_p[-log q(x)] less the
entropy of p; the cross entropy with a given q asks only for a few expectations under p (the mean, the variance, E[log x],
E[e^(s x)]), so that one function for each q serves every p. Where p reaches outside the support of q the divergence is
infinite. Two exponential families of one class that have no formula of their own go through the Bregman divergence of their
log normaliser (Nielsen and Nock 2010).
"""

from __future__ import annotations

import math

import rushlight
from rushlight.distributions.bernoulli import Bernoulli
from rushlight.distributions.beta import Beta
from rushlight.distributions.binomial import Binomial
from rushlight.distributions.categorical import Categorical
from rushlight.distributions.cauchy import Cauchy
from rushlight.distributions.continuous_bernoulli import ContinuousBernoulli
from rushlight.distributions.dirichlet import Dirichlet
from rushlight.distributions.exp_family import ExponentialFamily
from rushlight.distributions.exponential import Exponential
from rushlight.distributions.gamma import Gamma
from rushlight.distributions.geometric import Geometric
from rushlight.distributions.gumbel import Gumbel
from rushlight.distributions.half_normal import HalfNormal
from rushlight.distributions.independent import Independent
from rushlight.distributions.kl import kl_divergence, register_kl
from rushlight.distributions.laplace import Laplace
from rushlight.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from rushlight.distributions.multivariate_normal import MultivariateNormal
from rushlight.distributions.normal import Normal
from rushlight.distributions.one_hot_categorical import OneHotCategorical
from rushlight.distributions.pareto import Pareto
from rushlight.distributions.poisson import Poisson
from rushlight.distributions.transformed_distribution import TransformedDistribution
from rushlight.distributions.uniform import Uniform
from rushlight.distributions.utils import _sum_rightmost, euler_constant

__all__ = []


def _inside(result, condition):
    """`result` where the support of p lies inside that of q, else infinity."""
    return rushlight.where(condition, result, math.inf)


# ---- one class


@register_kl(ExponentialFamily, ExponentialFamily)
def bregman(p, q):
    if type(p) is not type(q):
        raise NotImplementedError(f"The cross KL-divergence between different exponential families, {type(p).__name__} and "
                                  f"{type(q).__name__}, is not a Bregman divergence; register_kl can add it.")  # fmt: skip
    own = [x.detach().requires_grad_() for x in p._natural_params]
    normaliser = p._log_normalizer(*own)
    gradients = rushlight.autograd.grad(normaliser.sum(), own, create_graph=True)
    result = q._log_normalizer(*q._natural_params) - normaliser
    for theirs, mine, g in zip(q._natural_params, own, gradients):
        part = (theirs - mine) * g
        result = result - _sum_rightmost(part, part.dim() - result.dim())
    return result


@register_kl(Bernoulli, Bernoulli)
def bernoullis(p, q):
    softplus = rushlight.nn.functional.softplus
    t1 = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    t1 = rushlight.where(q.probs == 0, math.inf, t1)
    t1 = rushlight.where(p.probs == 0, 0.0, t1)
    t2 = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    t2 = rushlight.where(q.probs == 1, math.inf, t2)
    return t1 + rushlight.where(p.probs == 1, 0.0, t2)


@register_kl(Beta, Beta)
@register_kl(Dirichlet, Dirichlet)
def dirichlets(p, q):
    a, b = (getattr(d, "_dirichlet", d).concentration for d in (p, q))
    total = a.sum(-1)
    normalisers = total.lgamma() - b.sum(-1).lgamma() - (a.lgamma() - b.lgamma()).sum(-1)
    return normalisers + ((a - b) * (a.digamma() - total.digamma().unsqueeze(-1))).sum(-1)


@register_kl(Binomial, Binomial)
def binomials(p, q):
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials is implemented for q.total_count <= p.total_count only")
    kl = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return _inside(kl, p.total_count <= q.total_count)


@register_kl(Categorical, Categorical)
def categoricals(p, q):
    t = p.probs * (p.logits - q.logits)
    t = rushlight.where(q.probs == 0, math.inf, t)
    return rushlight.where(p.probs == 0, 0.0, t).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def one_hots(p, q):
    return categoricals(p._categorical, q._categorical)


@register_kl(Cauchy, Cauchy)
def cauchys(p, q):
    """Chyzak and Nielsen 2019."""
    return ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log() - (4 * p.scale * q.scale).log()


@register_kl(Exponential, Exponential)
def exponentials(p, q):
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(Gamma, Gamma)
def gammas(p, q):
    a, b = p.concentration, q.concentration
    return (b * (p.rate / q.rate).log() + rushlight.lgamma(b) - rushlight.lgamma(a)
            + (a - b) * rushlight.digamma(a) + (q.rate - p.rate) * (a / p.rate))  # fmt: skip


@register_kl(Geometric, Geometric)
def geometrics(p, q):
    return -p.entropy() - rushlight.log1p(-q.probs) / p.probs - q.logits


@register_kl(Laplace, Laplace)
def laplaces(p, q):
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + distance / q.scale + ratio * rushlight.exp(-distance / p.scale) - 1


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def multivariate_normals(p, q):
    """log det(S_q) / 2 - log det(S_p) / 2 + (tr(S_q^-1 S_p) + (m_q - m_p)^T S_q^-1 (m_q - m_p) - n) / 2."""
    if p.event_shape != q.event_shape:
        raise ValueError("KL-divergence between two Multivariate Normals with different event shapes cannot be computed: "
                         f"found {tuple(p.event_shape)} and {tuple(q.event_shape)}")  # fmt: skip
    squares = q._whitened((q.loc - p.loc).unsqueeze(-1)) + sum(q._whitened(root) for root in p._roots())
    return q._half_log_det() - p._half_log_det() + 0.5 * (squares - p.event_shape[0])


@register_kl(Normal, Normal)
def normals(p, q):
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(HalfNormal, HalfNormal)
def half_normals(p, q):
    return normals(p.base_dist, q.base_dist)


@register_kl(Poisson, Poisson)
def poissons(p, q):
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Uniform, Uniform)
def uniforms(p, q):
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return _inside(result, (q.low <= p.low) & (q.high >= p.high))


@register_kl(TransformedDistribution, TransformedDistribution)
def transformed(p, q):
    """A bijection of both changes nothing."""
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError("KL between TransformedDistributions needs the same transforms and event shapes")
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Independent, Independent)
def independents(p, q):
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("KL between Independents needs the same reinterpreted_batch_ndims: "
                                  f"found {p.reinterpreted_batch_ndims} and {q.reinterpreted_batch_ndims}")  # fmt: skip
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


# ---- expectations under p


def _log_mean(p):
    """E[log x]."""
    if isinstance(p, Beta):
        return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    if isinstance(p, Exponential):
        return -p.rate.log() - euler_constant
    if isinstance(p, Pareto):
        return p.scale.log() + p.alpha.reciprocal()
    return _log_mean_between(p.low, p.high)


def _log_mean_between(low, high):
    """The mean of log x over an interval."""
    return (rushlight.xlogy(high, high) - rushlight.xlogy(low, low)) / (high - low) - 1


def _laplace_transform(p, s):
    """log E[e^(-s x)], for s > 0."""
    if isinstance(p, Exponential):
        return -(s / p.rate).log1p()
    if isinstance(p, Gamma):
        return -p.concentration * (s / p.rate).log1p()
    if isinstance(p, Gumbel):
        return (1 + s * p.scale).lgamma() - s * p.loc
    if isinstance(p, Normal):
        return (s * p.scale).pow(2) / 2 - s * p.loc
    width = s * (p.high - p.low)
    return (-(-width).expm1() / width).log() - s * p.low


# ---- the cross entropy with q, less the entropy of p


def _against_normal(p, q):
    spread = (p.variance + (p.mean - q.loc).pow(2)) / (2 * q.scale.pow(2))
    return 0.5 * math.log(2 * math.pi) + q.scale.log() + spread - p.entropy()


def _against_exponential(p, q):
    return q.rate * p.mean - q.rate.log() - p.entropy()


def _against_gamma(p, q):
    a = q.concentration
    return a.lgamma() - a * q.rate.log() - (a - 1) * _log_mean(p) + q.rate * p.mean - p.entropy()


def _against_pareto(p, q):
    return (q.alpha + 1) * _log_mean(p) - q.alpha.log() - q.alpha * q.scale.log() - p.entropy()


def _against_gumbel(p, q):
    s = q.scale.reciprocal()
    return q.scale.log() + s * (p.mean - q.loc) + (_laplace_transform(p, s) + s * q.loc).exp() - p.entropy()


def _against_continuous_bernoulli(p, q):
    return -q._log_constant() - (-q.probs).log1p() - p.mean * q.logits - p.entropy()


for _q, _kinds, _formula in (
    (Normal, (Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Uniform), _against_normal),
    (Exponential, (Beta, ContinuousBernoulli, Gamma), _against_exponential),
    (Gamma, (Beta, Exponential), _against_gamma),
    (Gumbel, (Exponential, Gamma, Gumbel, Normal, Uniform), _against_gumbel),
    (ContinuousBernoulli, (Beta, ContinuousBernoulli), _against_continuous_bernoulli),
):
    for _p in _kinds:
        register_kl(_p, _q)(_formula)


@register_kl(Normal, Laplace)
def normal_laplace(p, q):
    away, ratio = p.loc - q.loc, p.scale / q.scale
    z = away / p.scale
    distance = math.sqrt(2 / math.pi) * p.scale * rushlight.exp(-0.5 * z.pow(2)) + away * rushlight.erf(math.sqrt(0.5) * z)
    return -ratio.log() + distance / q.scale - 0.5 * math.log(0.5 * math.pi) - 0.5 + 0 * ratio


@register_kl(Bernoulli, Poisson)
def bernoulli_poisson(p, q):
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


# ---- finite only where the moments of p are


def _of_heavy_tails(q, formula, least):
    """Register `formula` for Pareto distributions, infinite unless alpha exceeds `least`."""

    @register_kl(Pareto, q)
    def pareto(p, q):
        finite = p.alpha > least
        # an infinite moment would make the gradient NaN even where it is not taken
        light = Pareto(p.scale, rushlight.where(finite, p.alpha, least + 1.0), validate_args=False)
        return _inside(formula(light, q), finite)


_of_heavy_tails(Normal, _against_normal, 2)
_of_heavy_tails(Exponential, _against_exponential, 1)
_of_heavy_tails(Gamma, _against_gamma, 1)


# ---- finite only where one support lies inside the other


@register_kl(Pareto, Pareto)
def paretos(p, q):
    return _inside(_against_pareto(p, q), p.scale >= q.scale)


@register_kl(Uniform, Pareto)
def uniform_pareto(p, q):
    return _inside(_against_pareto(p, q), p.low >= q.scale)


@register_kl(Uniform, Exponential)
def uniform_exponential(p, q):
    return _inside(_against_exponential(p, q), p.low >= 0)


@register_kl(Uniform, Gamma)
def uniform_gamma(p, q):
    return _inside(_against_gamma(p, q), p.low >= 0)


@register_kl(Uniform, ContinuousBernoulli)
def uniform_continuous_bernoulli(p, q):
    return _inside(_against_continuous_bernoulli(p, q), (p.low >= 0) & (p.high <= 1))


@register_kl(Uniform, Beta)
def uniform_beta(p, q):
    a, b = q.concentration1, q.concentration0
    log_beta = a.lgamma() + b.lgamma() - (a + b).lgamma()
    above = _log_mean_between(1 - p.high, 1 - p.low)  # E[log(1 - x)]
    result = log_beta - (a - 1) * _log_mean(p) - (b - 1) * above - p.entropy()
    return _inside(result, (p.low >= 0) & (p.high <= 1))


@register_kl(Beta, Uniform)
@register_kl(ContinuousBernoulli, Uniform)
def unit_interval_uniform(p, q):
    return _inside(q.entropy() - p.entropy(), (q.low <= 0) & (q.high >= 1))


# ---- never finite: p reaches outside the support of q


def outside(p, q):
    return rushlight.full_like(p.mean, math.inf)


for _p, _kinds in (
    (Beta, (Pareto,)),
    (ContinuousBernoulli, (Pareto,)),
    (Exponential, (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gamma, (Beta, ContinuousBernoulli, Pareto, Uniform)),
    (Gumbel, (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Laplace, (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Normal, (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)),
    (Pareto, (Beta, ContinuousBernoulli, Uniform)),
    (Poisson, (Bernoulli, Binomial)),
):
    for _q in _kinds:
        register_kl(_p, _q)(outside)
