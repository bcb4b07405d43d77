"""Products of matrices on rushlight, NumPy and torch: square, tall, wide, batched, transposed, few rows.

    python benchmarks/gemm.py [--only TEXT] [--seconds 0.1] [--threads 2] [--kernel]

Needs torch beside rushlight. All in one process, in turn; best times. `--kernel` times the generated kernel even where
rushlight leaves the product to NumPy. The last column is the share of the machine's GFLOP/s (a loop of multiply-adds in
registers, on all threads).
"""

from __future__ import annotations

import argparse
import ctypes
import math
import time

import numpy as np

SQUARE = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
# (batch, m, n, k)
OTHER = [
    ((), 64, 1000, 512), ((), 64, 784, 256), ((), 128, 3072, 768), ((), 1024, 256, 256), ((), 4096, 64, 64), ((), 64, 4096, 64),
    ((), 1024, 1024, 32), ((), 2000, 2000, 8), ((), 64, 64, 10000), ((), 2000, 10, 500),
    ((), 1, 1024, 1024), ((), 1024, 1, 1024), ((), 8, 1024, 1024), ((), 16, 4096, 1024),
    ((64,), 8, 8, 8), ((64,), 16, 16, 16), ((64,), 32, 32, 32), ((64,), 64, 64, 64), ((8,), 128, 128, 128), ((8,), 512, 512, 512),
    ((64,), 128, 128, 32), ((64,), 128, 32, 128), ((1000,), 4, 4, 4), ((4,), 1, 512, 512),
]  # fmt: skip


def best_time(step, seconds):
    step()
    step()
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - start)
    return best


def peak(threads):
    """GFLOP/s of float32 multiply-adds in registers."""
    from rushlight.codegen import native, pool
    from rushlight.codegen.llvm import Module, const, vector

    m = Module()
    lanes = native.vector_bytes() // 4
    kind = vector("float", lanes)
    b = m.function("peak", [("args", "ptr"), ("begin", "i64"), ("end", "i64"), ("thread", "i64")])
    x = b.load(kind, b.args[0])
    with b.loop(b.args[1], b.args[2], 1, [const(0, kind)] * 12) as l:
        l.next = [b.fma(x, x, c) for c in l.carried]
    total = l.results[0]
    for c in l.results[1:]:
        total = b.op("fadd", total, c)
    with b.when(b.cmp("eq", b.extract(total, 0), const(1, "float"))):
        b.store(total, b.args[0])
    b.ret()
    b.done()
    at = native.load(str(m), ["peak"])["peak"]
    room = (ctypes.c_float * 64)()
    n = 1 << 21
    return 2 * 12 * lanes * n / best_time(lambda: pool.run(at, ctypes.addressof(room), n, n // threads), 0.3) / 1e9


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kernel", action="store_true")
    a = parser.parse_args()

    import torch

    import rushlight
    from rushlight.codegen import matmul

    torch.set_num_threads(a.threads)
    rushlight.set_num_threads(a.threads)
    limit = peak(a.threads)
    print(f"machine: {limit:.0f} GFLOP/s on {a.threads} threads")
    print(f"{'product':34} {'rushlight':>10} {'numpy':>10} {'torch':>10} {'numpy/':>7} {'torch/':>7} {'limit':>6}")
    ratios = []
    cases = [((), n, n, n) for n in SQUARE] + OTHER
    for batch, m, n, k in cases:
        for layout in ("", " transposed"):
            name = f"{'x'.join(map(str, (*batch, m)))} x {k} x {n}{layout}"
            if a.only not in name:
                continue
            x = np.random.rand(*batch, m, k).astype(np.float32)
            y = np.random.rand(*batch, *((n, k) if layout else (k, n))).astype(np.float32)
            y = y.swapaxes(-1, -2) if layout else y
            tx, ty = torch.from_numpy(x), torch.from_numpy(y)
            rx, ry = rushlight.from_numpy(x), rushlight.from_numpy(y)
            ours = best_time((lambda x=x, y=y: matmul.product(x, y)) if a.kernel else (lambda x=rx, y=ry: x @ y), a.seconds)
            numpy = best_time(lambda x=x, y=y: np.matmul(x, y), a.seconds)
            theirs = best_time(lambda x=tx, y=ty: x @ y, a.seconds)
            share = 2 * math.prod((*batch, m, n, k)) / ours / 1e9 / limit
            ratios.append(theirs / ours)
            print(f"{name:34} {ours * 1e6:8.1f}us {numpy * 1e6:8.1f}us {theirs * 1e6:8.1f}us {numpy / ours:6.2f}x {theirs / ours:6.2f}x {share:5.0%}", flush=True)
    if ratios:
        print(f"geometric mean of torch's time over rushlight's: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}x; worst {min(ratios):.2f}x")


if __name__ == "__main__":
    main()
