"""Ops whose limit is memory: sorting and selection, reductions, copies in another order, gathers, norms, scans, against torch.

    python benchmarks/streaming.py [--threads 1] [--only sort,sum] [--seconds 0.2] [--rounds 2]
    python benchmarks/streaming.py --first

On one thread (the default) the figures are processor time. `--first` needs no torch: what the first use of a kernel costs,
with an empty cache and with a warm one. The others need torch beside rushlight.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time

from side_by_side import child, compare, report

ROWS, COLUMNS = 4096, 1024


def _on(use, make=None):
    """A workload: `use` of the tensors that `make` gives, a matrix of 4096 x 1024 float32 by default."""

    def workload(torch):
        things = make(torch) if make else (torch.randn(ROWS, COLUMNS),)
        return lambda: use(torch, *things)

    return workload


def _trained(loss):
    """Forward and backward of loss(torch, x, g)."""

    def workload(torch):
        x, g = torch.randn(ROWS, COLUMNS, requires_grad=True), torch.randn(ROWS, COLUMNS)
        more = torch.ones(COLUMNS), torch.randint(0, COLUMNS, (ROWS,))

        def step():
            x.grad = None
            loss(torch.nn.functional, x, g, *more)

        return step

    return workload


def _places(torch):
    return torch.randn(ROWS, COLUMNS), torch.randint(0, COLUMNS, (ROWS, COLUMNS)), torch.randn(ROWS, COLUMNS)


def _rows(torch):
    return torch.randn(ROWS, COLUMNS), torch.randint(0, ROWS, (2 * ROWS,)), torch.randn(2 * ROWS, COLUMNS)


def _line(torch):
    return (torch.randn(ROWS * COLUMNS),)


def _numbers(torch):
    return (torch.randint(0, 1 << 20, (1 << 20,)),)


# fmt: off
WORKLOADS = {
    "sort, rows of 1024": _on(lambda t, x: x.sort()),
    "sort, columns of 4096": _on(lambda t, x: x.sort(0)),
    "argsort": _on(lambda t, x: x.argsort()),
    "sort, one row of 4M": _on(lambda t, x: x.sort(), _line),
    "sort, float64": _on(lambda t, x: x.sort(), lambda t: (t.randn(2048, 1024, dtype=t.float64),)),
    "sort, 1M int64": _on(lambda t, x: x.sort(), _numbers),
    "sort, rows of 20": _on(lambda t, x: x.sort(), lambda t: (t.randn(100000, 20),)),
    "topk(50) of 50257": _on(lambda t, x: x.topk(50), lambda t: (t.randn(256, 50257),)),
    "topk(10) of 4M": _on(lambda t, x: x.topk(10), _line),
    "kthvalue": _on(lambda t, x: x.kthvalue(500)),
    "median, rows": _on(lambda t, x: x.median(-1)),
    "median, all": _on(lambda t, x: x.median()),
    "unique, 1M int64": _on(lambda t, x: t.unique(x), _numbers),
    **{f"{n}": _on(lambda t, x, n=n: getattr(x, n)()) for n in ("sum", "mean", "max", "prod", "norm", "var", "argmax", "any", "count_nonzero", "aminmax")},
    **{f"{n}, columns": _on(lambda t, x, n=n: getattr(x, n)(0)) for n in ("sum", "max", "var", "argmax")},
    **{f"{n}, rows": _on(lambda t, x, n=n: getattr(x, n)(1)) for n in ("sum", "amax", "max", "var", "all", "logsumexp")},
    "transpose": _on(lambda t, x: x.t().contiguous()),
    "transpose, float64": _on(lambda t, x: x.t().contiguous(), lambda t: (t.randn(2048, 1024, dtype=t.float64),)),
    "permute(1, 2, 0)": _on(lambda t, x: x.view(64, 64, 1024).permute(1, 2, 0).contiguous()),
    "permute(0, 2, 1, 3)": _on(lambda t, x: x.view(64, 64, 32, 32).permute(0, 2, 1, 3).contiguous()),
    "clone": _on(lambda t, x: x.clone()),
    "flip": _on(lambda t, x: x.flip(1)),
    "repeat": _on(lambda t, x: x[:1024].repeat(2, 2)),
    "tril": _on(lambda t, x: x.tril()),
    "cat": _on(lambda t, x: t.cat([x, x], 1)),
    "stack": _on(lambda t, x: t.stack([x, x], -1)),
    "gather": _on(lambda t, x, i, y: x.gather(1, i), _places),
    "scatter_add": _on(lambda t, x, i, y: y.scatter_add(1, i, x), _places),
    "index_select": _on(lambda t, x, i, y: x.index_select(0, i), _rows),
    "index_add": _on(lambda t, x, i, y: x.index_add(0, i, y), _rows),
    "embedding": _on(lambda t, x, i, y: t.nn.functional.embedding(i, x), _rows),
    "x[i]": _on(lambda t, x, i, y: x[i], _rows),
    "layer_norm": _on(lambda t, x: t.nn.functional.layer_norm(x, (COLUMNS,))),
    "softmax": _on(lambda t, x: x.softmax(-1)),
    "softmax, columns": _on(lambda t, x: x.softmax(0)),
    "log_softmax": _on(lambda t, x: x.log_softmax(-1)),
    "layer_norm, both ways": _trained(lambda F, x, g, w, k: F.layer_norm(x, (COLUMNS,), w).backward(g)),
    "rms_norm, both ways": _trained(lambda F, x, g, w, k: F.rms_norm(x, (COLUMNS,), w).backward(g)),
    "softmax, both ways": _trained(lambda F, x, g, w, k: F.softmax(x, -1).backward(g)),
    "log_softmax, both ways": _trained(lambda F, x, g, w, k: F.log_softmax(x, -1).backward(g)),
    "cross_entropy, both ways": _trained(lambda F, x, g, w, k: F.cross_entropy(x, k).backward()),
    "cumsum, rows": _on(lambda t, x: x.cumsum(1)),
    "cumsum, columns": _on(lambda t, x: x.cumsum(0)),
    "cumsum, one row of 4M": _on(lambda t, x: x.cumsum(0), _line),
    "cumprod, rows": _on(lambda t, x: x.cumprod(1)),
    "cummax, rows": _on(lambda t, x: x.cummax(1)),
    "cummax, columns": _on(lambda t, x: x.cummax(0)),
    "logcumsumexp, rows": _on(lambda t, x: x.logcumsumexp(1)),
}
FIRST = {
    "add": lambda x: x + x, "exp": lambda x: x.exp(), "tanh": lambda x: x.tanh(), "sum": lambda x: x.sum(), "sum, columns": lambda x: x.sum(0), "var": lambda x: x.var(1),
    "softmax": lambda x: x.softmax(-1), "logsumexp": lambda x: x.logsumexp(1), "sort": lambda x: x.sort(), "topk": lambda x: x.topk(5), "transpose": lambda x: x.t().contiguous(),
    "flip": lambda x: x.flip(1), "index_select": lambda x: x.index_select(0, x[:, 0].long() * 0), "cumsum": lambda x: x.cumsum(1), "cummax": lambda x: x.cummax(0),
}
# fmt: on


def first():
    """Milliseconds of processor time from the first call of each function to its result, the second call's taken off."""
    import rushlight as torch

    torch.set_num_threads(1)
    x = torch.randn(256, 1024)
    torch.nn.functional.relu(x)  # llvmlite, the pool and the launcher are there from here on
    for name, f in FIRST.items():
        times = []
        for _ in range(2):
            start = time.process_time()
            f(x)
            times.append(time.process_time() - start)
        print(f"{name}\t{1e3 * (times[0] - times[1]):.2f}", flush=True)


def _first_uses():
    with tempfile.TemporaryDirectory() as cache:
        found = []
        for _ in range(2):
            done = subprocess.run([sys.executable, __file__, "--child-first"], env={**os.environ, "RUSHLIGHT_CACHE": cache}, stdout=subprocess.PIPE, text=True, check=True)
            found.append(dict(line.split("\t") for line in done.stdout.splitlines()))
    print(f"{'first use of':20} {'empty cache':>12} {'warm cache':>12}")
    for name in FIRST:
        print(f"{name:20} {found[0][name]:>9} ms {found[1][name]:>9} ms")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seconds", type=float, default=0.2)
    p.add_argument("--rounds", type=int, default=2)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--only", default="")
    p.add_argument("--first", action="store_true")
    p.add_argument("--child")
    p.add_argument("--child-first", action="store_true")
    args = p.parse_args()
    if args.child_first:
        return first()
    if args.first:
        return _first_uses()
    chosen = {n: w for n, w in WORKLOADS.items() if not args.only or any(n.startswith(o) for o in args.only.split(","))}
    if args.child:
        return child(chosen, args.child, args.seconds, args.threads)
    script = [__file__, "--threads", str(args.threads), "--only", args.only]
    report(*compare(chosen, script, args.seconds, args.rounds))


if __name__ == "__main__":
    main()
