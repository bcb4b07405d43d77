"""What importing costs: rushlight, numpy alone and torch, each in fresh processes, best of several.

    python benchmarks/imports.py [--rounds 7]

Byte code is compiled first (pip does that on installation); torch is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import compileall
import importlib.util
import subprocess
import sys

CODE = "import time; t = time.perf_counter(); import {0}; print(time.perf_counter() - t)"


def seconds(module):
    """The time of one import in a fresh process."""
    return float(subprocess.run([sys.executable, "-c", CODE.format(module)], capture_output=True, text=True, check=True).stdout)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rounds", type=int, default=7)
    rounds = p.parse_args().rounds
    compileall.compile_dir(importlib.util.find_spec("rushlight").submodule_search_locations[0], quiet=2)
    modules = [m for m in ("numpy", "rushlight", "torch") if importlib.util.find_spec(m)]
    best = {m: float("inf") for m in modules}
    for _ in range(rounds):
        for m in modules:
            best[m] = min(best[m], seconds(m))
    for m, t in best.items():
        print(f"import {m:10} {t:6.3f} s   {t / best['numpy']:5.2f} x numpy alone")


if __name__ == "__main__":
    main()
