"""Timing the same workloads on rushlight and on torch, side by side in one run.

Each library runs in processes of its own, in turn, round after round, so that a drift of the machine's speed hits both;
the figure of a workload is its best round. What is reported is a ratio: torch's time over rushlight's, above 1 where
rushlight is faster. A workload is a function of the library that returns the step to be timed.
"""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
import time


def best_time(step, seconds, clock=time.perf_counter):
    """The best time of one call of `step`, in seconds."""
    for _ in range(2):
        step()
    start = clock()
    step()
    batch = max(1, int(0.01 / max(clock() - start, 1e-7)))
    best, deadline = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        start = clock()
        for _ in range(batch):
            step()
        best = min(best, (clock() - start) / batch)
    return best


def child(workloads, library, seconds, threads=2):
    """Time all workloads on one library; one JSON line each. On one thread it is processor time, which other programs disturb less."""
    torch = importlib.import_module(library)
    if hasattr(torch, "set_num_threads"):
        torch.set_num_threads(threads)
    clock = time.perf_counter if threads > 1 else time.process_time
    for name, make in workloads.items():
        try:
            torch.manual_seed(0)
            print(json.dumps([name, best_time(make(torch), seconds, clock)]), flush=True)
        except Exception as error:
            print(json.dumps([name, f"{type(error).__name__}: {error}"[:200]]), flush=True)


def compare(workloads, script, seconds, rounds):
    """{name: (torch's time, rushlight's time)} and {(name, library): error}; `script` is the command line of a child."""
    best, errors = {}, {}
    for _ in range(rounds):
        for library in ("torch", "rushlight"):
            command = [sys.executable, "-W", "ignore", *script, "--child", library, "--seconds", str(seconds)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            for line in done.stdout.splitlines():
                name, value = json.loads(line)
                if isinstance(value, str):
                    errors[name, library] = value
                else:
                    key = (name, library)
                    best[key] = min(best.get(key, math.inf), value)
    both = {n: (best[n, "torch"], best[n, "rushlight"]) for n in workloads if (n, "torch") in best and (n, "rushlight") in best}
    return both, errors


def report(both, errors, worst=10):
    """Print the rows, the geometric mean of the ratios and the worst rows."""
    ratios = {n: t / r for n, (t, r) in both.items()}
    print(f"{'workload':48} {'torch':>10} {'rushlight':>10} {'ratio':>7}")
    for name, (t, r) in both.items():
        print(f"{name:48} {t * 1e6:8.1f}us {r * 1e6:8.1f}us {ratios[name]:6.2f}x")
    for (name, library), text in errors.items():
        print(f"error: {name} on {library}: {text}")
    if ratios:
        mean = math.exp(sum(map(math.log, ratios.values())) / len(ratios))
        print(f"geometric mean {mean:.2f}x over {len(ratios)} workloads; ahead on {sum(r > 1 for r in ratios.values())}")
        print(f"the {worst} worst:", ", ".join(f"{n} {ratios[n]:.2f}x" for n in sorted(ratios, key=ratios.get)[:worst]))
