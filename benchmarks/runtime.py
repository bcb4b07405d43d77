"""What running a compiled kernel costs beside the kernel: the thread pool, the call from Python, compiling, loading.

    python benchmarks/runtime.py [--threads 2]

Every figure is the median of many calls on kernels that do nothing (or as little as can be), with the tenth best in a
hundred beside it. Cold and warm are measured in a cache folder of their own. torch is not needed.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import struct
import tempfile
import time

FOLDER = tempfile.TemporaryDirectory()
os.environ["RUSHLIGHT_CACHE"] = FOLDER.name  # read when the first kernel is asked for

import numpy as np  # noqa: E402

from rushlight.codegen import cache, launch, native, pool  # noqa: E402

SOURCE = """
define void @nothing(ptr %args, i64 %begin, i64 %end, i64 %thread) {
  ret void
}
define void @meet(ptr %args, i64 %begin, i64 %end, i64 %thread) {
entry:
  %count = load ptr, ptr %args
  %at.n = getelementptr i64, ptr %args, i64 1
  %n = load i64, ptr %at.n
  %mine = atomicrmw add ptr %count, i64 1 seq_cst
  %whole = udiv i64 %mine, %n
  %next = add i64 %whole, 1
  %all = mul i64 %next, %n
  br label %wait
wait:
  %now = load atomic i64, ptr %count seq_cst, align 8
  %early = icmp ult i64 %now, %all
  br i1 %early, label %wait, label %done
done:
  ret void
}
define void @often(ptr %run, ptr %kernel, ptr %args, i64 %times, i64 %total) {
entry:
  br label %again
again:
  %k = phi i64 [ 0, %entry ], [ %next, %again ]
  call void %run(ptr %kernel, ptr %args, i64 %total, i64 1)
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %times
  br i1 %more, label %again, label %done
done:
  ret void
}
"""

# scale(x, n): a small real kernel; the name tells one from another
KERNEL = """
define void @NAME(ptr %args, i64 %begin, i64 %end, i64 %thread) {
entry:
  %x = load ptr, ptr %args
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %out
body:
  %p = getelementptr <8 x float>, ptr %x, i64 %i
  %v = load <8 x float>, ptr %p, align 4
  %w = fmul <8 x float> %v, splat (float 2.0)
  store <8 x float> %w, ptr %p, align 4
  %next = add i64 %i, 1
  br label %head
out:
  ret void
}
"""


def row(name, step, times=2000, pause=0.0, inner=1, each=1):
    """Print the median and the tenth percentile of `times` calls (of `each` things), after `pause` seconds of idling."""
    took = []
    for _ in range(times):
        if pause:
            time.sleep(pause)
        start = time.perf_counter_ns()
        for _ in range(inner):
            step()
        took.append((time.perf_counter_ns() - start) / inner / each)
    took.sort()
    print(f"{name:58} {took[len(took) // 2] / 1e3:10.2f} us {took[len(took) // 10] / 1e3:10.2f} us")


def threads(code):
    """Runs in which every thread waits for every other ("meet"), and runs that need nobody."""
    n, run = pool.get_num_threads(), pool.run_address()
    often = native.function(code["often"], None, *[ctypes.c_void_p] * 3, ctypes.c_int64, ctypes.c_int64)
    count = np.zeros(1, "i8")
    slots = (ctypes.c_int64 * 2)(native.address(count), n)
    row(f"fork + join, {n} threads that meet, hot, from native code", lambda: often(run, code["meet"], slots, 200, n), 50, each=200)
    row(f"fork + join, {n} threads that meet, hot, from Python", lambda: pool.run(code["meet"], slots, n, 1), 1000)
    row(f"fork + join, {n} threads that meet, after 2 ms idle", lambda: pool.run(code["meet"], slots, n, 1), 300, 0.002)
    row("the caller's part, hot, from native code", lambda: often(run, code["nothing"], slots, 200, n), 50, each=200)
    row("the caller's part, hot, from Python", lambda: pool.run(code["nothing"], slots, n, 1), inner=10)
    row("the caller's part, after 2 ms idle (wakes the others)", lambda: pool.run(code["nothing"], slots, n, 1), 300, 0.002)


def calls(code):
    x, y, out = (np.zeros(10, "f4") for _ in range(3))
    pack = struct.Struct("=qqqq").pack
    by_hand = native.function(code["nothing"], None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
    slots = pack(*map(native.address, (x, y, out)), 10)
    packed = lambda a, b, c, n: pool.run(code["nothing"], pack(native.address(a), native.address(b), native.address(c), n), 10, 100)
    quick, portable = launch.launcher(code["nothing"], "pppq"), launch.ctypes_launcher(code["nothing"], "pppq")
    row("numpy: np.add(x, y, out) of 10 numbers, for scale", lambda: np.add(x, y, out), inner=100)
    row("ctypes: the kernel alone, slots ready", lambda: by_hand(slots, 0, 10, 0), inner=100)
    row("ctypes: pack 3 arrays and an int, pool.run", lambda: packed(x, y, out, 10), inner=100)
    row("ctypes launcher (where the native one cannot be)", lambda: portable(10, 100, x, y, out, 10), inner=100)
    row("launcher, 3 arrays and an int", lambda: quick(10, 100, x, y, out, 10), inner=100)
    before = pool.get_num_threads()
    pool.set_num_threads(1)
    row("launcher, the GIL released", lambda: quick(100, 10, x, y, out, 10), inner=100)
    pool.set_num_threads(before)


def loading():
    names = [f"scale{k}" for k in range(100)]
    texts = [KERNEL.replace("NAME", n) for n in names]
    about = (*native._about(), repr(native._PASSES))

    def each(work):
        left = iter(zip(texts, names))
        return lambda: work(*next(left))

    load = lambda text, name: native.load(text, [name])
    row("compile: passes, code, link, write (a small kernel)", each(load), 100)
    row("warm: hash, read, check, link", each(load), 100)
    row("    of which hash, read and check", each(lambda text, name: cache.read(cache.key_of(text, about)) or 1 / 0), 100)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--threads", type=int, default=pool.get_num_threads(), help="no more than there are idle cores")
    pool.set_num_threads(p.parse_args().threads)
    print(f"{'':58} {'median':>13} {'best tenth':>13}")
    start = time.perf_counter()
    native.host(), native._jit()
    print(f"{'import llvmlite, make the compiler (once a process)':58} {(time.perf_counter() - start) * 1e6:10.2f} us")
    code = native.load(SOURCE, ["nothing", "meet", "often"])
    threads(code)
    calls(code)
    loading()


if __name__ == "__main__":
    main()
