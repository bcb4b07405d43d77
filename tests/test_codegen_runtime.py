"""What runs compiled kernels: the thread pool, the object cache on disk and the launcher. Nothing here measures time."""

import ctypes
import os
import subprocess
import sys
import threading
import time
from functools import cache

import numpy as np
import pytest

import rushlight
from rushlight.codegen import cache as disk
from rushlight.codegen import launch, native, pool
from rushlight.core.settings import SETTINGS, default_threads

pytestmark = pytest.mark.skipif(not native.available(), reason="llvmlite is not installed")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

# mark(counts, calls, -, -): adds 1 to counts[i] of each iteration, and to calls[thread]
# gate(counts, calls, flag, arrived): the same, but waits for the flag first
# nest(counts, calls, run, width): iteration i runs mark on counts[i * width : (i + 1) * width] through `run`
KERNELS = """
define void @mark(ptr %args, i64 %begin, i64 %end, i64 %thread) {
entry:
  %counts = load ptr, ptr %args
  %q = getelementptr ptr, ptr %args, i64 1
  %calls = load ptr, ptr %q
  %own = getelementptr i64, ptr %calls, i64 %thread
  %o = atomicrmw add ptr %own, i64 1 seq_cst
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %out
body:
  %p = getelementptr i32, ptr %counts, i64 %i
  %v = atomicrmw add ptr %p, i32 1 monotonic
  %next = add i64 %i, 1
  br label %head
out:
  ret void
}
define void @gate(ptr %args, i64 %begin, i64 %end, i64 %thread) {
entry:
  %q2 = getelementptr ptr, ptr %args, i64 2
  %flag = load ptr, ptr %q2
  %q3 = getelementptr ptr, ptr %args, i64 3
  %arrived = load ptr, ptr %q3
  %a = atomicrmw add ptr %arrived, i64 1 seq_cst
  br label %wait
wait:
  %f = load atomic i64, ptr %flag seq_cst, align 8
  %shut = icmp eq i64 %f, 0
  br i1 %shut, label %wait, label %open
open:
  call void @mark(ptr %args, i64 %begin, i64 %end, i64 %thread)
  ret void
}
define void @nest(ptr %args, i64 %begin, i64 %end, i64 %thread) {
entry:
  %inner = alloca [2 x ptr]
  %counts = load ptr, ptr %args
  %q1 = getelementptr ptr, ptr %args, i64 1
  %calls = load ptr, ptr %q1
  %q2 = getelementptr ptr, ptr %args, i64 2
  %run = load ptr, ptr %q2
  %q3 = getelementptr ptr, ptr %args, i64 3
  %width = load i64, ptr %q3
  %c = getelementptr ptr, ptr %inner, i64 1
  store ptr %calls, ptr %c
  br label %head
head:
  %i = phi i64 [ %begin, %entry ], [ %next, %body ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %body, label %out
body:
  %first = mul i64 %i, %width
  %p = getelementptr i32, ptr %counts, i64 %first
  store ptr %p, ptr %inner
  call void %run(ptr @mark, ptr %inner, i64 %width, i64 1)
  %next = add i64 %i, 1
  br label %head
out:
  ret void
}
"""


@cache
def kernel(name):
    return native.load(KERNELS, ["mark", "gate", "nest"])[name]


@cache
def portable_run():
    """The pool as other systems than Linux have it."""
    at = native.load(pool.source(futex=False), ["rushlight_run", "rushlight_pool_reset"])
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(at["rushlight_pool_reset"])(SETTINGS.threads_address)
    return at["rushlight_run"]


def run_of(kind):
    address = pool.run_address() if kind == "futex" else portable_run()
    return native.function(address, None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@pytest.fixture(params=["futex", "condition"])
def run(request):
    if request.param == "condition" and not sys.platform.startswith(("linux", "darwin")):
        pytest.skip("no POSIX threads")
    return run_of(request.param)


@pytest.fixture
def threads():
    before = pool.get_num_threads()
    yield pool.set_num_threads
    pool.set_num_threads(before)


class Job:
    """Slots of the kernels above and what they write."""

    def __init__(self, total, extra=(0, 0)):
        self.counts, self.calls = np.zeros(total + 1, "i4"), np.zeros(pool.MAX_THREADS, "i8")
        self.flag, self.arrived = np.zeros(1, "i8"), np.zeros(1, "i8")
        self.slots = (ctypes.c_int64 * 4)(native.address(self.counts), native.address(self.calls), *extra)

    def gated(self):
        self.slots[2], self.slots[3] = native.address(self.flag), native.address(self.arrived)
        return self

    def done(self, total):
        return bool((self.counts[:total] == 1).all()) and self.counts[total] == 0


def eventually(condition):
    """Wait for a condition, a minute at most."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "this never came"
        time.sleep(0.001)


# ---- the pool


@pytest.mark.parametrize("n", [1, 2, 3, 17])
def test_every_iteration_runs_once(run, threads, n):
    threads(n)
    for total in (1, 2, 5, 999, 50_000):
        for grain in (-3, 0, 1, 2, 7, 1000, total - 1, total, 2**62):
            job = Job(total)
            run(kernel("mark"), job.slots, total, grain)
            assert job.done(total), (total, grain)
            assert not job.calls[n:].any()
            if total <= grain or n == 1:
                assert job.calls[0] == 1 and job.calls.sum() == 1
            elif grain > 0:
                assert job.calls.sum() == -(-total // grain)


def test_nothing_to_do(run, threads):
    threads(2)
    for total in (0, -1, -(2**63)):
        job = Job(0)
        run(kernel("mark"), job.slots, total, 1)
        assert not job.calls.any()


def test_more_chunks_than_a_ticket_counts(run, threads):
    threads(2)
    total = pool.MAX_CHUNKS * 2 + 1
    job = Job(total)
    run(kernel("mark"), job.slots, total, 1)
    assert job.done(total)
    assert job.calls.sum() <= pool.MAX_CHUNKS


def test_many_runs_and_changing_numbers_of_threads(run, threads):
    for k in range(3000):
        n = 1 + k % 5
        threads(n)
        job = Job(24)
        run(kernel("mark"), job.slots, 24, 1 + k % 7)
        assert job.done(24) and not job.calls[n:].any()


def test_workers_work_at_the_same_time(run, threads):
    threads(3)
    job = Job(3).gated()
    caller = threading.Thread(target=run, args=(kernel("gate"), job.slots, 3, 1))
    caller.start()
    eventually(lambda: job.arrived[0] == 3)  # each of the three waits at the gate, in a thread of its own
    job.flag[0] = 1
    caller.join(60)
    assert job.done(3) and job.calls[:3].tolist() == [1, 1, 1]


def test_nested_runs_are_serial_and_complete(run, threads):
    threads(4)
    job = Job(60 * 50, (ctypes.cast(run, ctypes.c_void_p).value, 50))
    run(kernel("nest"), job.slots, 60, 1)
    assert job.done(60 * 50)
    assert job.calls[0] == 60 and job.calls.sum() == 60  # one call each, as thread 0


def test_two_python_threads(run, threads):
    threads(3)
    wrong = []

    def many():
        for k in range(1500):
            job = Job(40)
            run(kernel("mark"), job.slots, 40, 1 + k % 11)
            if not job.done(40):
                wrong.append(k)

    callers = [threading.Thread(target=many) for _ in range(4)]
    for c in callers:
        c.start()
    for c in callers:
        c.join()
    assert not wrong


def test_a_second_caller_does_not_wait_for_the_first(run, threads):
    threads(2)
    held, free = Job(2).gated(), Job(100)
    caller = threading.Thread(target=run, args=(kernel("gate"), held.slots, 2, 1))
    caller.start()
    eventually(lambda: held.arrived[0] > 0)
    run(kernel("mark"), free.slots, 100, 1)
    assert free.done(100) and free.calls[0] == 1
    held.flag[0] = 1
    caller.join(60)
    assert held.done(2)


def test_runs_through_the_module(threads):
    threads(2)
    job = Job(1000)
    pool.run(kernel("mark"), bytes(job.slots), 1000, 10)
    assert job.done(1000)
    assert pool.get_num_threads() == SETTINGS.threads == 2


@pytest.mark.parametrize("system, machine", [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64"), ("freebsd14", "amd64"), ("linux", "riscv64")])
def test_the_text_for_other_systems_is_sound(system, machine):
    text = pool.source(system, machine)
    assert "$" not in text
    llvm = pytest.importorskip("llvmlite.binding")
    llvm.parse_assembly(text).verify()


@pytest.mark.parametrize(
    "environ, expected",
    [
        ({"RUSHLIGHT_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"}, 3),
        ({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "0"}, 2),
        ({"OMP_NUM_THREADS": "2,4"}, 2),
        ({"OMP_NUM_THREADS": " +2 "}, 2),
        ({"OMP_NUM_THREADS": "1x"}, None),
        ({"MKL_NUM_THREADS": "1x"}, 1),
        ({"OMP_NUM_THREADS": "1000"}, None),  # no more than there are cores
        ({"OMP_NUM_THREADS": "many"}, None),
        ({"OMP_NUM_THREADS": "0", "RUSHLIGHT_NUM_THREADS": "-2"}, None),
        ({}, None),
    ],
)
def test_default_number_of_threads(environ, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    assert default_threads(environ) == (expected or 8)


def test_numbers_of_threads_that_cannot_be():
    before = rushlight.get_num_threads()
    for n, error in ((0, RuntimeError), (-1, RuntimeError), (2.0, RuntimeError), (2**31, ValueError), (2**70, ValueError)):
        with pytest.raises(error):
            rushlight.set_num_threads(n)
    assert rushlight.get_num_threads() == before


def script(text, **environ):
    """Run a program; its output."""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120, env={**os.environ, **environ})
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout.strip()


def test_setting_threads_starts_nothing():
    text = "import sys, rushlight as t; t.set_num_threads(3); print(t.get_num_threads(), 'llvmlite' in sys.modules)"
    assert script(text) == "3 False"
    assert script("import rushlight as t; print(t.get_num_threads())", RUSHLIGHT_NUM_THREADS="5") == "5"


# ---- fork and exit


def child_of(work):
    """The exit status of a forked child that does `work`; a child that hangs is killed and fails."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    status = []

    def over():
        found, code = os.waitpid(pid, os.WNOHANG)
        if found:
            status.append(os.waitstatus_to_exitcode(code))
        return bool(found)

    try:
        eventually(over)
    except AssertionError:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise
    return status[0]


def marks(total=500):
    job = Job(total)
    pool.run(kernel("mark"), job.slots, total, 3)
    return job.done(total)


@forks
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_a_pool_of_its_own(threads):
    threads(3)
    assert marks()

    def work():
        job = Job(3).gated()
        caller = threading.Thread(target=pool.run, args=(kernel("gate"), job.slots, 3, 1))
        caller.start()
        eventually(lambda: job.arrived[0] == 3)  # the child's workers are new ones, and they work
        job.flag[0] = 1
        caller.join()
        return job.done(3) and marks() and child_of(marks) == 0

    assert child_of(work) == 0
    assert marks()


@forks
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_fork_in_the_middle_of_a_run(threads):
    threads(2)
    job = Job(2).gated()
    caller = threading.Thread(target=pool.run, args=(kernel("gate"), job.slots, 2, 1))
    caller.start()
    eventually(lambda: job.arrived[0] == 2)
    try:
        assert child_of(marks) == 0
        assert child_of(lambda: bool(native.load(KERNELS.replace("@mark", "@again"), ["again"]))) == 0
    finally:
        job.flag[0] = 1
        caller.join(60)
    assert job.done(2) and marks()


START = """
import ctypes, os, sys, threading, time
sys.path.insert(0, {tests!r})
from test_codegen_runtime import Job, eventually, kernel, marks, native, pool
pool.set_num_threads(3)
assert marks()
"""


def test_exit_while_workers_sleep():
    here = os.path.dirname(os.path.abspath(__file__))
    assert script(START.format(tests=here) + "print('fine')") == "fine"


def test_exit_while_a_run_never_ends():
    here = os.path.dirname(os.path.abspath(__file__))
    text = START.format(tests=here) + (
        "job = Job(3).gated()\n"
        "threading.Thread(target=pool.run, args=(kernel('gate'), job.slots, 3, 1), daemon=True).start()\n"
        "eventually(lambda: job.arrived[0] == 3)\n"
        "print('fine', flush=True)\n"
    )
    assert script(text) == "fine"


# ---- the cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "objects"
    monkeypatch.setenv("RUSHLIGHT_CACHE", str(path))
    disk.folder.cache_clear()
    yield path
    disk.folder.cache_clear()


class Compiler:
    """A stand-in that counts its calls."""

    def __init__(self):
        self.calls = 0

    def __call__(self, text):
        self.calls += 1
        return b"object of " + text.encode()


def entry(folder):
    (path,) = folder.glob("*.o")
    return path


def test_an_object_is_compiled_once(folder):
    compile = Compiler()
    for _ in range(3):
        assert disk.fetch("text", ("cpu",), compile) == b"object of text"
    assert compile.calls == 1
    assert folder.stat().st_mode & 0o777 == 0o700 and entry(folder).stat().st_mode & 0o777 == 0o600
    assert [p.name for p in folder.iterdir()] == [entry(folder).name]


def test_whatever_decides_the_object_is_in_its_key(folder):
    keys = {disk.key_of("t", a) for a in ((), ("x",), ("x", "y"), ("xy",), ("y", "x"), ("",))} | {disk.key_of("u", ("x",)), disk.key_of("x\0t")}
    assert len(keys) == 8


@pytest.mark.parametrize("damage", ["head", "seal", "object", "cut", "longer", "empty", "only the seal", "another file"])
def test_a_damaged_entry_is_rebuilt(folder, damage):
    compile = Compiler()
    disk.fetch("text", (), compile)
    path = entry(folder)
    data = bytearray(path.read_bytes())
    if damage in ("head", "seal", "object"):
        data[{"head": 0, "seal": disk._HEAD - 1, "object": -1}[damage]] ^= 1
    elif damage == "cut":
        del data[-3:]
    elif damage == "longer":
        data += b"!"
    elif damage == "empty":
        data.clear()
    elif damage == "only the seal":
        del data[disk._HEAD :]
    else:
        data[:] = b"\x7fELF of somebody else"
    path.write_bytes(data)
    assert disk.fetch("text", (), compile) == b"object of text" and compile.calls == 2
    assert disk.fetch("text", (), compile) == b"object of text" and compile.calls == 2


def test_an_entry_under_another_name_is_not_loaded(folder):
    compile = Compiler()
    disk.fetch("one", (), compile)
    entry(folder).rename(folder / (disk.key_of("two") + ".o"))
    assert disk.fetch("two", (), compile) == b"object of two" and compile.calls == 2


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners")
def test_files_that_others_may_write_are_not_loaded(folder):
    compile = Compiler()
    disk.fetch("text", (), compile)
    entry(folder).chmod(0o666)
    assert disk.fetch("text", (), compile) == b"object of text" and compile.calls == 2
    if os.geteuid() == 0:
        os.chown(entry(folder), 12345, 12345)
        disk.fetch("text", (), compile)
        assert compile.calls == 3
    disk.fetch("text", (), compile)
    assert compile.calls == (3 if os.geteuid() == 0 else 2)


def test_a_folder_in_an_entrys_place(folder):
    compile = Compiler()
    disk.fetch("text", (), compile)
    path = entry(folder)
    path.unlink()
    path.mkdir()
    assert disk.fetch("text", (), compile) == b"object of text"
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("value", ["", "0"])
def test_switched_off(monkeypatch, tmp_path, value):
    monkeypatch.setenv("RUSHLIGHT_CACHE", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    disk.folder.cache_clear()
    compile = Compiler()
    try:
        assert disk.folder() is None
        assert disk.fetch("text", (), compile) == disk.fetch("text", (), compile) == b"object of text"
    finally:
        disk.folder.cache_clear()
    assert compile.calls == 2 and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("RUSHLIGHT_CACHE", str(tmp_path / "file" / "objects"))
    disk.folder.cache_clear()
    try:
        assert disk.folder() is None
        assert disk.fetch("text", (), Compiler()) == b"object of text"
    finally:
        disk.folder.cache_clear()


def test_a_folder_that_went_away(folder):
    compile = Compiler()
    disk.fetch("text", (), compile)
    entry(folder).unlink()
    folder.rmdir()
    assert disk.fetch("text", (), compile) == b"object of text"
    disk.sweep()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="other folders there")
def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert disk.default_folder() == str(tmp_path / "rushlight" / "objects")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert disk.default_folder() == "/home/somebody/.cache/rushlight/objects"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="files have no owners")
def test_a_default_folder_that_others_may_write_is_not_used(monkeypatch, tmp_path):
    monkeypatch.delenv("RUSHLIGHT_CACHE", raising=False)
    monkeypatch.setattr(disk, "default_folder", lambda: str(tmp_path / "objects"))
    try:
        disk.folder.cache_clear()
        assert disk.folder() == str(tmp_path / "objects")
        (tmp_path / "objects").chmod(0o777)
        disk.folder.cache_clear()
        assert disk.folder() is None
    finally:
        disk.folder.cache_clear()


def test_what_was_used_longest_ago_goes_first(folder):
    compile = Compiler()
    now = time.time()
    for k in range(10):
        disk.fetch(f"text {k}", (), compile)
        os.utime(folder / (disk.key_of(f"text {k}") + ".o"), (now - 9000 + k, now - 9000 + k))
    assert disk.fetch("text 0", (), compile) and compile.calls == 10  # used again: now the newest
    size = (folder / (disk.key_of("text 0") + ".o")).stat().st_size
    disk.sweep(limit=10 * size)
    assert len(list(folder.glob("*.o"))) == 10
    disk.sweep(limit=8 * size)
    left = {k for k in range(10) if (folder / (disk.key_of(f"text {k}") + ".o")).exists()}
    assert left == {0, 4, 5, 6, 7, 8, 9}  # 7/8 of the limit


def test_the_cache_stays_bounded(folder, monkeypatch):
    monkeypatch.setattr(disk, "LIMIT", 4000)
    monkeypatch.setattr(disk.random, "random", lambda: 0.0)  # every write sweeps
    for k in range(200):
        disk.fetch(f"text {k}", (), Compiler())
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 4000


def test_remains_of_dead_processes_are_swept(folder):
    disk.fetch("text", (), Compiler())
    old, new = folder / "aa.part", folder / "bb.part"
    for path, age in ((old, 10_000), (new, 0)):
        path.write_bytes(b"torn")
        os.utime(path, (time.time() - age,) * 2)
    disk.sweep()
    assert not old.exists() and new.exists()


def test_processes_share_the_cache(folder):
    text = (
        "import os, random\n"
        "from rushlight.codegen import cache\n"
        "cache.LIMIT = 30_000\n"
        "for k in range(200):\n"
        "    n = random.randrange(30)\n"
        "    want = b'%d ' % n * 500\n"
        "    assert cache.fetch(f'text {n}', (), lambda text: want) == want, n\n"
        "    if k % 50 == 0: cache.sweep(5_000)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for w in writers:
        _, error = w.communicate(timeout=120)
        assert w.returncode == 0, error
    assert not list(folder.glob("*.part"))


def test_real_objects_survive_damage(folder):
    def marks_as(name):
        text = KERNELS.replace("@mark", "@" + name)
        code = native.load(text, [name])[name]
        job = Job(10)
        pool.run(code, job.slots, 10, 20)
        return job.done(10)

    assert marks_as("kept")
    assert marks_as("kept")
    path = entry(folder)
    path.write_bytes(path.read_bytes()[:-200])
    assert marks_as("kept")
    assert len(path.read_bytes()) > 200 and marks_as("kept")


# ---- the launcher


@pytest.fixture(params=["native", "ctypes"])
def make(request):
    return launch.launcher if request.param == "native" else launch.ctypes_launcher


def test_the_launcher_is_native_on_cpython():
    if sys.implementation.name != "cpython":
        pytest.skip("not CPython")
    assert launch.native_launcher() is not None
    assert type(launch.launcher(kernel("mark"), "pp")) is type(len)


def test_launching(make, threads):
    threads(3)
    f = make(kernel("mark"), "pp")
    for total, grain in ((1, 1), (100, 1000), (5000, 7), (0, 0), (-5, 3)):
        job = Job(max(total, 0))
        assert f(total, grain, job.counts, job.calls) is None
        assert job.done(max(total, 0))
    job = Job(20)
    f(10, 1, job.counts[5:], native.address(job.calls))  # a view; an address
    assert job.counts.tolist() == [0] * 5 + [1] * 10 + [0] * 6


def test_slots_hold_what_was_given(make):
    at = native.load(launch.source(), launch._NAMES)["rushlight_launch_test"]
    n = 11
    found = np.zeros(n, "i8")
    array = np.arange(12.0).reshape(3, 4).T[1:]
    make(at, "pqqqqddddpqp")(n, n, array, 0, -1, True, np.int32(-7), 0.5, -1.0, 3, np.float64(2.5), 123, np.array(9), found)
    floats = np.array([0.5, -1.0, 3.0, 2.5]).view("i8").tolist()
    assert found.tolist() == [array.__array_interface__["data"][0], 0, -1, 1, -7, *floats, 123, 9]


WRONG = [
    ((), TypeError),
    ((1,), TypeError),
    ((1, 1), TypeError),
    ((1, 1, 0, 2.0), TypeError),
    ((1, 1, 0, 2.0, 3, 4), TypeError),
    (("1", 1, 0, 2.0, 3), TypeError),
    ((1, None, 0, 2.0, 3), TypeError),
    ((1.0, 1, 0, 2.0, 3), TypeError),
    ((2**70, 1, 0, 2.0, 3), OverflowError),
    ((1, 1, "p", 2.0, 3), TypeError),
    ((1, 1, None, 2.0, 3), TypeError),
    ((1, 1, [1.0], 2.0, 3), TypeError),
    ((1, 1, 1.5, 2.0, 3), TypeError),
    ((1, 1, memoryview(b"abc"), 2.0, 3), TypeError),
    ((1, 1, np.ndarray, 2.0, 3), TypeError),
    ((1, 1, np.float64(1), 2.0, 3), TypeError),
    ((1, 1, 2**70, 2.0, 3), OverflowError),
    ((1, 1, 0, "2.0", 3), TypeError),
    ((1, 1, 0, b"2", 3), TypeError),
    ((1, 1, 0, 1j, 3), TypeError),
    ((1, 1, 0, None, 3), TypeError),
    ((1, 1, 0, 2.0, 3.0), TypeError),
    ((1, 1, 0, 2.0, np.zeros(2)), TypeError),
    ((1, 1, 0, 2.0, "3"), TypeError),
    ((1, 1, 0, 2.0, 2**63), OverflowError),
]


@pytest.mark.parametrize("args, error", WRONG)
def test_wrong_arguments_raise(make, args, error):
    f = make(kernel("mark"), "pdq")
    with pytest.raises(error):
        f(*args)


def test_errors_say_what_was_given(make):
    f = make(kernel("mark"), "pdq")
    with pytest.raises(TypeError, match="array or an address .an int., not of <class 'list'>"):
        f(1, 1, [1.0], 2.0, 3)
    with pytest.raises(TypeError):
        f(1, 1, 0, 2.0, grain=3)
    with pytest.raises(ValueError, match="'p', 'q' and 'd', not 'px'"):
        launch.launcher(kernel("mark"), "px")
    with pytest.raises(TypeError):
        launch.launcher("address", "p")


def test_errors_of_conversions_come_through(make):
    class Broken:
        def __index__(self):
            raise ZeroDivisionError

        def __float__(self):
            raise ZeroDivisionError

    f = make(kernel("mark"), "pdq")
    for args in ((Broken(), 1, 0, 0.0, 0), (1, Broken(), 0, 0.0, 0), (1, 1, Broken(), 0.0, 0), (1, 1, 0, Broken(), 0), (1, 1, 0, 0.0, Broken())):
        with pytest.raises(ZeroDivisionError):
            f(*args)


def test_launching_keeps_reference_counts():
    f = launch.launcher(kernel("mark"), "pp")
    job, total = Job(10), 10**6 + 5
    before = [sys.getrefcount(o) for o in (job.counts, job.calls, None, np.ndarray, total, f)]
    for _ in range(100):
        f(10, total, job.counts, job.calls)
        with pytest.raises(TypeError):
            f(10, total, job.counts, [])
    after = [sys.getrefcount(o) for o in (job.counts, job.calls, None, np.ndarray, total, f)]
    assert all(abs(a - b) < 50 for a, b in zip(after, before))


def test_long_kernels_let_other_threads_in(make, threads):
    threads(2)
    job = Job(4)
    f = make(kernel("gate"), "pppp")
    caller = threading.Thread(target=f, args=(4, 2, job.counts, job.calls, job.flag, job.arrived))
    caller.start()
    eventually(lambda: job.arrived[0] > 0)  # hangs where the GIL is kept
    job.flag[0] = 1
    caller.join(60)
    assert job.done(4)


def test_more_slots_than_a_launcher_fills(threads):
    threads(1)
    n = launch.MOST + 5
    f = launch.launcher(kernel("mark"), "pp" + "q" * n)
    job = Job(30)
    f(30, 4, job.counts, job.calls, *range(n))
    assert job.done(30)
