"""The backend contract: a whole training step is captured by a recording backend and replayed to equal results."""

import threading

import numpy as np
import pytest
from recording_backend import Recorder

import rushlight as torch
from rushlight.autograd import modes


def problem():
    torch.manual_seed(0)
    x = torch.randn(50, 4)
    y = (torch.rand(50, 1) > 0.5).float()
    model = torch.nn.Linear(4, 1)
    return x, y, model


def logistic_regression(**options):
    x, y, model = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, **options)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step, list(model.parameters())


def by_hand():
    """Views and in-place writes on the way: the base's history is rewritten, and views see it."""
    x, y, _ = problem()
    w = torch.zeros(5, requires_grad=True)

    def step():
        w.grad = None
        z = torch.zeros(50, 1)
        z += (x @ w[:4]).unsqueeze(1)
        z[10:20].mul_(0.5)
        z.view(-1)[::2].add_(w[4])
        loss = (torch.log(1 + torch.exp(-z)) + (1 - y) * z).mean()
        loss.backward()
        with torch.no_grad():
            w[1:].sub_(w.grad[1:] * 0.3)
            w.sub_(w.grad, alpha=0.1)
        return loss

    return step, [w]


PROGRAMS = {
    "sgd": lambda: logistic_regression(),
    "sgd with momentum and decay": lambda: logistic_regression(momentum=0.9, weight_decay=0.01),
    "views and in-place writes": by_hand,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_captured_step_replays_to_equal_results(name):
    eager, expected = PROGRAMS[name]()
    step, parameters = PROGRAMS[name]()
    first = eager(), step()  # state that is made lazily exists afterwards
    assert first[0].item() == first[1].item()

    before = [p.detach().numpy().copy() for p in parameters]
    recorder = Recorder()
    with modes.interpose(recorder):
        loss = step()
    assert len(recorder.nodes) > 10
    for p, b in zip(parameters, before):
        assert np.array_equal(p.detach().numpy(), b), "capture has written outside memory"
        p.grad = None

    for _ in range(5):
        want = eager()
        (got,) = recorder.replay(loss)
        np.testing.assert_allclose(got, want.detach().numpy(), rtol=1e-6)
        for p, q in zip(parameters, expected):
            np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=2e-6, atol=1e-7)


def test_asking_for_a_captured_value_says_so():
    x = torch.ones(3)
    with modes.interpose(Recorder()):
        total = (x * 2).sum()
        with pytest.raises(RuntimeError, match="captured"):
            total.item()


def test_other_threads_run_on():
    got = []
    with modes.interpose(Recorder()):
        t = threading.Thread(target=lambda: got.append((torch.ones(3) * 2).sum().item()))
        t.start()
        t.join()
    assert got == [6.0]
