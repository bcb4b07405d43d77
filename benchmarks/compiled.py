"""Whole training steps and inference, eager and compiled, against torch.

    python benchmarks/compiled.py [--only WORD] [--torch-compile] [--seconds 0.5] [--rounds 2]

Needs torch beside rushlight. A row is torch's best time over rushlight's compiled one; behind it rushlight's eager time and
the time of the first two calls (capture and compilation). With --torch-compile torch's best is the better of eager and
torch.compile, which takes up to a minute a row and a C++ compiler.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import subprocess
import sys
import time

THREADS = int(os.environ.get("BENCH_THREADS", "2"))


def _training(model, data, optimizer, loss=lambda t: t.nn.CrossEntropyLoss()):
    def make(torch):
        torch.manual_seed(0)
        m, (x, y), lossf = model(torch), data(torch), loss(torch)
        m(x)
        opt = optimizer(torch, m.parameters())

        def step():
            opt.zero_grad()
            out = lossf(m(x), y)
            out.backward()
            opt.step()
            return out

        return step

    return make


def _inference(model, data):
    def make(torch):
        torch.manual_seed(0)
        m, x = model(torch).eval(), data(torch)

        def step():
            with torch.no_grad():
                return m(x)

        return step

    return make


def _adam(t, p):
    return t.optim.Adam(p, lr=1e-3)


def _momentum(t, p):
    return t.optim.SGD(p, lr=0.01, momentum=0.9)


def _mlp(sizes):
    def make(t):
        layers = [m for a, b in zip(sizes, sizes[1:]) for m in (t.nn.Linear(a, b), t.nn.ReLU())]
        return t.nn.Sequential(*layers[:-1])

    return make


def _classes(shape, classes):
    return lambda t: (t.randn(*shape), t.randint(0, classes, (shape[0],)))


def _convolutions(width):
    def make(t):
        n = t.nn
        block = lambda a, b: (n.Conv2d(a, b, 3, padding=1), n.BatchNorm2d(b), n.ReLU(), n.MaxPool2d(2))  # noqa: E731
        return n.Sequential(*block(3, width), *block(width, 2 * width), n.Flatten(), n.Linear(2 * width * 64, 10))

    return make


def _recurrent(kind):
    def make(t):
        class Last(t.nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn, self.head = getattr(t.nn, kind)(32, 64, batch_first=True), t.nn.Linear(64, 10)

            def forward(self, x):
                return self.head(self.rnn(x)[0][:, -1])

        return Last()

    return make


def _encoder(t):
    layer = t.nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
    return t.nn.Sequential(t.nn.TransformerEncoder(layer, 2), t.nn.Flatten(), t.nn.Linear(64 * 32, 10))


def _autoencoder(t):
    return _mlp((256, 64, 16, 64, 256))(t)


WORKLOADS = {
    "logistic regression, 1000 x 20, SGD": _training(lambda t: t.nn.Linear(20, 1), lambda t: (t.randn(1000, 20), (t.rand(1000, 1) > 0.5).float()), lambda t, p: t.optim.SGD(p, lr=0.1), lambda t: t.nn.BCEWithLogitsLoss()),
    "linear regression, 200 x 5, Adam": _training(lambda t: t.nn.Linear(5, 1), lambda t: (t.randn(200, 5), t.randn(200, 1)), _adam, lambda t: t.nn.MSELoss()),
    "MLP 32-64-64-4, batch 32, Adam": _training(_mlp((32, 64, 64, 4)), _classes((32, 32), 4), _adam),
    "MLP 784-256-128-10, batch 128, Adam": _training(_mlp((784, 256, 128, 10)), _classes((128, 784), 10), _adam),
    "autoencoder 256-16-256, batch 64, Adam": _training(_autoencoder, lambda t: (t.rand(64, 256), t.rand(64, 256)), _adam, lambda t: t.nn.MSELoss()),
    "CNN 3x32x32, batch 32, SGD momentum": _training(_convolutions(16), _classes((32, 3, 32, 32), 10), _momentum),
    "LSTM 32-64, 20 steps, batch 16, Adam": _training(_recurrent("LSTM"), _classes((16, 20, 32), 10), _adam),
    "GRU 32-64, 20 steps, batch 16, Adam": _training(_recurrent("GRU"), _classes((16, 20, 32), 10), _adam),
    "Transformer 2 x 64, 32 tokens, batch 16, Adam": _training(_encoder, _classes((16, 32, 64), 10), _adam),
    "MLP inference, batch 1": _inference(_mlp((784, 256, 128, 10)), lambda t: t.randn(1, 784)),
    "CNN inference, batch 1": _inference(_convolutions(16), lambda t: t.randn(1, 3, 32, 32)),
    "Transformer inference, batch 1": _inference(_encoder, lambda t: t.randn(1, 32, 64)),
}


def measure(step, seconds):
    """(best time of a call, time of the first two calls)."""
    start = time.perf_counter()
    step(), step()
    first = time.perf_counter() - start
    for _ in range(3):
        step()
    start = time.perf_counter()
    step()
    batch = max(1, int(0.02 / max(time.perf_counter() - start, 1e-7)))
    best, deadline = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        start = time.perf_counter()
        for _ in range(batch):
            step()
        best = min(best, (time.perf_counter() - start) / batch)
    return best, first


def child(module, mode, only, seconds):
    torch = importlib.import_module(module)
    torch.set_num_threads(THREADS)
    for name, make in WORKLOADS.items():
        if only in name:
            step = make(torch)
            print(json.dumps([name, *measure(torch.compile(step) if mode == "compiled" else step, seconds)]), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--only", default="")
    p.add_argument("--torch-compile", action="store_true")
    p.add_argument("--seconds", type=float, default=0.5)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--child", nargs=2)
    a = p.parse_args()
    if a.child:
        return child(*a.child, a.only, a.seconds)
    pairs = [("torch", "eager"), ("rushlight", "eager"), ("rushlight", "compiled"), *([("torch", "compiled")] if a.torch_compile else [])]
    best, first = {}, {}
    for _ in range(a.rounds):
        for module, mode in pairs:
            line = [sys.executable, "-W", "ignore", __file__, "--child", module, mode, "--only", a.only, "--seconds", str(a.seconds)]
            for text in subprocess.run(line, capture_output=True, text=True).stdout.splitlines():
                name, seconds, start = json.loads(text)
                key = (name, module, mode)
                best[key] = min(best.get(key, math.inf), seconds)
                first.setdefault(key, start)
    ratios = []
    print(f"{'':48} {'torch':>11} {'eager':>11} {'compiled':>11} {'ratio':>7} {'first calls':>12}")
    for name in WORKLOADS:
        theirs = min((best[k] for k in ((name, "torch", "eager"), (name, "torch", "compiled")) if k in best), default=None)
        ours = best.get((name, "rushlight", "compiled"))
        if theirs and ours:
            ratios.append(theirs / ours)
            eager = best.get((name, "rushlight", "eager"), math.nan)
            print(f"{name:48} {theirs * 1e6:9.1f}us {eager * 1e6:9.1f}us {ours * 1e6:9.1f}us {theirs / ours:6.2f}x {first[name, 'rushlight', 'compiled']:11.2f}s")
    if ratios:
        print(f"geometric mean {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}x; ahead on {sum(r > 1 for r in ratios)} of {len(ratios)}; worst {min(ratios):.2f}x")


if __name__ == "__main__":
    main()
