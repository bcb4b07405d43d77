"""Small tensors: what one call costs, against torch.

    python benchmarks/small.py [--seconds 0.5] [--rounds 3]

Needs torch beside rushlight.
"""

from __future__ import annotations

import argparse

from side_by_side import child, compare, report


def _backward(torch):
    a, b = torch.rand(10, requires_grad=True), torch.rand(10)

    def step():
        a.grad = None
        (a * b).sum().backward()

    return step


def _logistic_regression(torch):
    torch.manual_seed(0)
    model, loss = torch.nn.Linear(20, 1), torch.nn.BCEWithLogitsLoss()
    x, y = torch.randn(1000, 20), (torch.rand(1000, 1) > 0.5).float()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step():
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    return step


def _of(make, use):
    def workload(torch):
        things = make(torch)
        return lambda: use(*things)

    return workload


WORKLOADS = {
    "a + b, 10 numbers": _of(lambda t: (t.rand(10), t.rand(10)), lambda a, b: a + b),
    "a + b, 10 numbers, recorded": _of(lambda t: (t.rand(10, requires_grad=True), t.rand(10)), lambda a, b: a + b),
    "a[2:5, 1], 10 x 10": _of(lambda t: (t.rand(10, 10),), lambda a: a[2:5, 1]),
    "a.view(5, 20)": _of(lambda t: (t.rand(10, 10),), lambda a: a.view(5, 20)),
    "(a * b).sum().backward(), 10 numbers": _backward,
    "nn.Linear(10, 10), batch of 4": _of(lambda t: (t.nn.Linear(10, 10), t.rand(4, 10)), lambda m, x: m(x)),
    "logistic regression step, 1000 x 20": _logistic_regression,
}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--child")
    a = p.parse_args()
    if a.child:
        return child(WORKLOADS, a.child, a.seconds)
    report(*compare(WORKLOADS, [__file__], a.seconds, a.rounds), worst=3)


if __name__ == "__main__":
    main()
