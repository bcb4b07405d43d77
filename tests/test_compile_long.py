"""A hundred steps of ten kinds of models: losses of compiled and eager runs are the same within 1e-6, relatively."""

import pytest
from test_compile import MODELS, Auto

import rushlight as torch
from rushlight import nn
from rushlight.nn import functional as F

STEPS = 100


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Pair(nn.Module):
    """Two towers and a distance."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.scale = nn.Linear(6, 4), nn.Bilinear(6, 6, 4), nn.Parameter(torch.ones(()))

    def forward(self, x):
        return F.normalize(self.a(x), dim=-1).mul(F.normalize(self.b(x, x.flip(0)), dim=-1))[:, :3] * self.scale.exp()


KINDS = {**MODELS, "logistic": (lambda: nn.Linear(6, 3), (5, 6)), "pair": (Pair, (5, 6)), "autoencoder": (Auto, (5, 6))}


def losses(kind, compiled):
    torch.manual_seed(0)
    model, shape = KINDS[kind]
    m = model()
    x = torch.randint(0, 11, (4, 5)) if shape is None else torch.randn(shape)
    y = torch.randint(0, 3, (x.shape[0],))
    m(x)
    o = torch.optim.SGD(m.parameters(), 0.01, momentum=0.9)

    def step(x, y):
        o.zero_grad()
        out = m(x)
        loss = out if kind == "autoencoder" else F.cross_entropy(out, y)
        loss.backward()
        o.step()
        return loss.detach()

    run = torch.compile(step) if compiled else step
    found = [float(run(x, y)) for _ in range(STEPS)]
    assert not compiled or run.programs
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_hundred_steps(kind):
    assert losses(kind, True) == pytest.approx(losses(kind, False), rel=1e-6)
