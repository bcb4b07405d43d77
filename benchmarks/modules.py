"""Modules of torch.nn, forward and backward, small and large, against torch.

    python benchmarks/modules.py [--only TEXT] [--seconds 0.2] [--rounds 2]

Needs torch beside rushlight. Small sizes show the overhead of a call, large ones the kernels.
"""

from __future__ import annotations

import argparse

from side_by_side import child, compare, report

# fmt: off
#: name -> (constructor, small input shape, large input shape)
MODULES = {
    "Linear":            (lambda nn, n: nn.Linear(n, n),                      (4, 8),          (256, 512)),
    "ReLU":              (lambda nn, n: nn.ReLU(),                            (4, 8),          (512, 1024)),
    "Sigmoid":           (lambda nn, n: nn.Sigmoid(),                         (4, 8),          (512, 1024)),
    "Tanh":              (lambda nn, n: nn.Tanh(),                            (4, 8),          (512, 1024)),
    "GELU":              (lambda nn, n: nn.GELU(),                            (4, 8),          (512, 1024)),
    "SiLU":              (lambda nn, n: nn.SiLU(),                            (4, 8),          (512, 1024)),
    "ELU":               (lambda nn, n: nn.ELU(),                             (4, 8),          (512, 1024)),
    "LeakyReLU":         (lambda nn, n: nn.LeakyReLU(),                       (4, 8),          (512, 1024)),
    "Softplus":          (lambda nn, n: nn.Softplus(),                        (4, 8),          (512, 1024)),
    "Hardswish":         (lambda nn, n: nn.Hardswish(),                       (4, 8),          (512, 1024)),
    "Softmax":           (lambda nn, n: nn.Softmax(-1),                       (4, 8),          (512, 1024)),
    "LogSoftmax":        (lambda nn, n: nn.LogSoftmax(-1),                    (4, 8),          (512, 1024)),
    "Dropout":           (lambda nn, n: nn.Dropout(0.5),                      (4, 8),          (512, 1024)),
    "LayerNorm":         (lambda nn, n: nn.LayerNorm(n),                      (4, 8),          (512, 1024)),
    "RMSNorm":           (lambda nn, n: nn.RMSNorm(n),                        (4, 8),          (512, 1024)),
    "BatchNorm1d":       (lambda nn, n: nn.BatchNorm1d(n),                    (4, 8),          (512, 1024)),
    "BatchNorm2d":       (lambda nn, n: nn.BatchNorm2d(8),                    (2, 8, 4, 4),    (16, 8, 64, 64)),
    "GroupNorm":         (lambda nn, n: nn.GroupNorm(2, 8),                   (2, 8, 4, 4),    (16, 8, 64, 64)),
    "InstanceNorm2d":    (lambda nn, n: nn.InstanceNorm2d(8),                 (2, 8, 4, 4),    (16, 8, 64, 64)),
    "Conv1d":            (lambda nn, n: nn.Conv1d(8, 8, 3, padding=1),        (2, 8, 16),      (16, 8, 1024)),
    "Conv2d":            (lambda nn, n: nn.Conv2d(8, 8, 3, padding=1),        (2, 8, 8, 8),    (16, 8, 56, 56)),
    "Conv2d depthwise":  (lambda nn, n: nn.Conv2d(8, 8, 3, padding=1, groups=8), (2, 8, 8, 8), (16, 8, 56, 56)),
    "ConvTranspose2d":   (lambda nn, n: nn.ConvTranspose2d(8, 8, 2, stride=2), (2, 8, 8, 8),   (16, 8, 28, 28)),
    "MaxPool2d":         (lambda nn, n: nn.MaxPool2d(2),                      (2, 8, 8, 8),    (16, 8, 64, 64)),
    "AvgPool2d":         (lambda nn, n: nn.AvgPool2d(2),                      (2, 8, 8, 8),    (16, 8, 64, 64)),
    "AdaptiveAvgPool2d": (lambda nn, n: nn.AdaptiveAvgPool2d(1),              (2, 8, 8, 8),    (16, 8, 64, 64)),
    "Upsample bilinear": (lambda nn, n: nn.Upsample(scale_factor=2, mode="bilinear"), (2, 8, 8, 8), (8, 8, 32, 32)),
    "PixelShuffle":      (lambda nn, n: nn.PixelShuffle(2),                   (2, 8, 8, 8),    (16, 8, 32, 32)),
    "ZeroPad2d":         (lambda nn, n: nn.ZeroPad2d(1),                      (2, 8, 8, 8),    (16, 8, 64, 64)),
    "RNN":               (lambda nn, n: nn.RNN(n, n, batch_first=True),       (2, 4, 8),       (32, 32, 64)),
    "LSTM":              (lambda nn, n: nn.LSTM(n, n, batch_first=True),      (2, 4, 8),       (32, 32, 64)),
    "GRU":               (lambda nn, n: nn.GRU(n, n, batch_first=True),       (2, 4, 8),       (32, 32, 64)),
    "TransformerEncoderLayer": (lambda nn, n: nn.TransformerEncoderLayer(n, 2, 2 * n, 0.0, batch_first=True), (2, 4, 8), (8, 64, 128)),
    "Flatten":           (lambda nn, n: nn.Flatten(),                         (2, 4, 8),       (64, 32, 64)),
}
LOSSES = {
    "MSELoss":           (lambda nn: nn.MSELoss(),           lambda t, s: t.randn(s)),
    "L1Loss":            (lambda nn: nn.L1Loss(),            lambda t, s: t.randn(s)),
    "SmoothL1Loss":      (lambda nn: nn.SmoothL1Loss(),      lambda t, s: t.randn(s)),
    "BCEWithLogitsLoss": (lambda nn: nn.BCEWithLogitsLoss(), lambda t, s: t.rand(s)),
    "CrossEntropyLoss":  (lambda nn: nn.CrossEntropyLoss(),  lambda t, s: t.randint(0, s[1], (s[0],))),
}
# fmt: on


def _module(make, shape, backward):
    def workload(torch):
        m = make(torch.nn, shape[-1])
        x = torch.randn(shape)
        if not backward:

            def step():
                with torch.no_grad():
                    m(x)

            return step
        x.requires_grad_()

        def step():
            x.grad = None
            for p in m.parameters():
                p.grad = None
            out = m(x)
            (out[0] if isinstance(out, tuple) else out).sum().backward()

        return step

    return workload


def _loss(make, target, shape):
    def workload(torch):
        m, x, y = make(torch.nn), torch.randn(shape), target(torch, shape)
        x.requires_grad_()

        def step():
            x.grad = None
            m(x, y).backward()

        return step

    return workload


def workloads(only=""):
    """name -> workload, for all modules and losses whose name contains `only`."""
    out = {}
    for name, (make, small, large) in MODULES.items():
        for size, shape in (("small", small), ("large", large)):
            for what, backward in (("forward", False), ("forward+backward", True)):
                out[f"{name} {size} {what}"] = _module(make, shape, backward)
    for name, (make, target) in LOSSES.items():
        for size, shape in (("small", (4, 8)), ("large", (512, 1024))):
            out[f"{name} {size} forward+backward"] = _loss(make, target, shape)
    return {n: w for n, w in out.items() if only in n}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--only", default="")
    p.add_argument("--seconds", type=float, default=0.2)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--child")
    a = p.parse_args()
    if a.child:
        return child(workloads(a.only), a.child, a.seconds)
    chosen = workloads(a.only)
    both, errors = compare(chosen, [__file__, "--only", a.only], a.seconds, a.rounds)
    report(both, errors)


if __name__ == "__main__":
    main()
