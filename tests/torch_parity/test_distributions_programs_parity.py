"""Programs with distributions in the manner of public examples: every line that they print is PyTorch's.

In float64, where the two libraries agree to the digits that are printed; the program takes the library under its usual name.
"""

import contextlib
import io

import pytest

import rushlight
import rushlight.distributions

torch = pytest.importorskip("torch")


def vae(torch):
    """Bernoulli decoder, Normal posterior, analytic KL, the standard normal as prior through Independent."""
    nn, D = torch.nn, torch.distributions

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 8))
            self.decoder = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 20))
            self.register_buffer("zeros", torch.zeros(4))

        def forward(self, x):
            loc, scale = self.encoder(x).chunk(2, dim=-1)
            posterior = D.Independent(D.Normal(loc, nn.functional.softplus(scale) + 1e-3), 1)
            prior = D.Independent(D.Normal(self.zeros, torch.ones_like(self.zeros)), 1).expand(posterior.batch_shape)
            z = posterior.rsample()
            likelihood = D.Independent(D.Bernoulli(logits=self.decoder(z)), 1)
            return likelihood.log_prob(x), D.kl_divergence(posterior, prior), likelihood

    torch.manual_seed(0)
    data = D.Bernoulli(torch.rand(20).expand(64, 20)).sample()
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(15):
        optimizer.zero_grad()
        log_likelihood, kl, likelihood = model(data)
        loss = (kl - log_likelihood).mean()
        loss.backward()
        optimizer.step()
        print(f"step {step} elbo {-loss.item():.6f} kl {kl.mean().item():.6f}")
    print(likelihood, likelihood.sample((2,)).sum().item(), f"{likelihood.entropy().mean().item():.6f}")


def policy_gradient(torch):
    """REINFORCE with a Categorical policy and an entropy bonus, then a squashed Gaussian policy, on a toy task."""
    nn, D = torch.nn, torch.distributions
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.RMSprop(policy.parameters(), lr=1e-2)
    for episode in range(12):
        states = torch.randn(32, 3)
        dist = D.Categorical(logits=policy(states))
        actions = dist.sample()
        rewards = (actions == states.abs().argmax(-1)).to(states.dtype)
        advantage = rewards - rewards.mean()
        loss = -(dist.log_prob(actions) * advantage).mean() - 0.01 * dist.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"episode {episode} loss {loss.item():.6f} reward {rewards.mean().item():.4f} perplexity {dist.perplexity().mean().item():.5f}")
    actor = nn.Linear(3, 2)
    loc, log_scale = actor(states).chunk(2, -1)
    squashed = D.TransformedDistribution(D.Normal(loc, log_scale.exp()), [D.TanhTransform(cache_size=1), D.AffineTransform(0.5, 2.0)])
    action = squashed.rsample()
    loss = (squashed.log_prob(action) - action.square()).mean()
    loss.backward()
    print(f"{loss.item():.6f}", actor.weight.grad)


def normalizing_flow(torch):
    """Affine coupling layers as Transforms inside a TransformedDistribution, trained on two half moons."""
    nn, D = torch.nn, torch.distributions

    class Coupling(D.Transform):
        domain = D.constraints.real_vector
        codomain = D.constraints.real_vector
        bijective = True

        def __init__(self, net, flip):
            super().__init__()
            self.net, self.flip = net, flip

        def _split(self, x):
            a, b = x.chunk(2, -1)
            return (b, a) if self.flip else (a, b)

        def _join(self, a, b):
            return torch.cat([b, a] if self.flip else [a, b], -1)

        def _parameters(self, a):
            shift, log_scale = self.net(a).chunk(2, -1)
            return shift, log_scale.tanh()

        def _call(self, x):
            a, b = self._split(x)
            shift, log_scale = self._parameters(a)
            return self._join(a, b * log_scale.exp() + shift)

        def _inverse(self, y):
            a, b = self._split(y)
            shift, log_scale = self._parameters(a)
            return self._join(a, (b - shift) * (-log_scale).exp())

        def log_abs_det_jacobian(self, x, y):
            return self._parameters(self._split(x)[0])[1].sum(-1)

    torch.manual_seed(0)
    angle = torch.rand(128) * 3.14159
    side = (torch.rand(128) > 0.5).to(angle.dtype)
    data = torch.stack([angle.cos() + side, (1 - 2 * side) * angle.sin()], -1) + 0.1 * torch.randn(128, 2)
    nets = nn.ModuleList(nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 2)) for _ in range(4))
    base = D.MultivariateNormal(torch.zeros(2), torch.eye(2))
    flow = D.TransformedDistribution(base, [Coupling(net, i % 2 == 1) for i, net in enumerate(nets)])
    optimizer = torch.optim.Adam(nets.parameters(), lr=1e-2)
    for step in range(15):
        loss = -flow.log_prob(data).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step} loss {loss.item():.6f}")
    print(flow.sample((3,)), flow.batch_shape, flow.event_shape, flow.support)


def mixture(torch):
    """A Gaussian mixture fitted by gradients on unconstrained parameters (transform_to), and a Poisson one by its posterior."""
    D = torch.distributions
    torch.manual_seed(0)
    truth = D.MixtureSameFamily(
        D.Categorical(torch.tensor([0.3, 0.7])),
        D.MultivariateNormal(torch.tensor([[-2.0, 0.0], [2.0, 1.0]]), scale_tril=torch.eye(2) * torch.tensor([0.5, 1.0]).view(2, 1, 1)),
    )
    data = truth.sample((200,))
    print(truth, truth.mean, truth.variance)
    free = {
        "weights": torch.zeros(3, requires_grad=True),
        "means": torch.randn(3, 2, requires_grad=True),
        "factors": torch.zeros(3, 2, 2, requires_grad=True),
    }
    optimizer = torch.optim.Adam(list(free.values()), lr=0.05)
    for step in range(15):
        weights = D.transform_to(D.constraints.simplex)(free["weights"])
        factors = D.transform_to(D.constraints.lower_cholesky)(free["factors"])
        model = D.MixtureSameFamily(D.Categorical(weights), D.MultivariateNormal(free["means"], scale_tril=factors))
        prior = D.Dirichlet(torch.full((3,), 2.0)).log_prob(weights) + D.LKJCholesky(2, 2.0).log_prob(torch.eye(2))
        loss = -model.log_prob(data).mean() - prior / 200
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step} loss {loss.item():.6f} weights {[round(w, 5) for w in weights.tolist()]}")
    counts = D.NegativeBinomial(4.0, torch.tensor(0.6)).sample((50,))
    rates = torch.tensor([2.0, 9.0])
    joint = D.Poisson(rates).log_prob(counts.unsqueeze(-1)) + torch.tensor([0.5, 0.5]).log()
    print(joint.softmax(-1).mean(0), D.Gamma(1 + counts.sum(), 1.0 + len(counts)).mean.item())
    relaxed = D.RelaxedOneHotCategorical(torch.tensor(0.5), logits=torch.zeros(3, requires_grad=True))
    print(relaxed.rsample((2,)), D.VonMises(0.0, 4.0).sample((3,)), D.Wishart(5.0, torch.eye(2)).sample())


@pytest.mark.filterwarnings("ignore:Singular sample")  # of PyTorch, about any draw
@pytest.mark.parametrize("program", [vae, policy_gradient, normalizing_flow, mixture], ids=lambda p: p.__name__)
def test_every_line_is_equal(program):
    printed = []
    for library in (rushlight, torch):
        library.set_default_dtype(library.float64)
        try:
            with contextlib.redirect_stdout(io.StringIO()) as out:
                program(library)
        finally:
            library.set_default_dtype(library.float32)
        printed.append(out.getvalue().splitlines())
    assert printed[0] == printed[1]
