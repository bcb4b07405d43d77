"""Workers of DataLoader: every kind gives the batches of a loop without them, in their order, and
nothing that happens to a worker goes unnamed or leaves anything behind.

What is compared with PyTorch lies in torch_parity/test_loading_parity.py.
"""

import gc
import os
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest

import rushlight
from rushlight.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    get_worker_info,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="looks at processes of a POSIX system")

KINDS = [
    {"num_workers": 1},
    {"num_workers": 2},
    {"num_workers": 2, "prefetch_factor": 5},
    {"num_workers": 2, "persistent_workers": True},
    {"num_workers": 2, "worker_type": "thread"},
    {"num_workers": 2, "worker_type": "thread", "persistent_workers": True},
]


class Images(Dataset):
    """Sample i: an array full of i, large enough for shared memory, and i."""

    def __init__(self, n=37, side=64):
        self.n, self.side = n, side

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return rushlight.full((self.side, self.side), float(i)), i


class Calls(Dataset):
    """Sample i is f(i)."""

    def __init__(self, f, n=8):
        self.f, self.n = f, n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return self.f(i)


class Shares(IterableDataset):
    """Numbers below n, each worker's share."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, self.n, step))


def children():
    """The processes of this one."""
    found = pathlib.Path(f"/proc/self/task/{os.getpid()}/children")
    return found.read_text().split() if found.exists() else []


def descriptors():
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


def shared_files():
    """Descriptors and mappings of shared memory that this process has."""
    maps = pathlib.Path("/proc/self/maps")
    return maps.read_text().count("rushlight-loader") if maps.exists() else 0


@pytest.fixture(autouse=True)
def nothing_left():
    gc.collect()
    before = children(), descriptors(), shared_files()
    yield
    gc.collect()
    assert (children(), descriptors(), shared_files()) == before


def gone(pid, seconds=20):
    """Whether a process ends within this time."""
    for _ in range(seconds * 50):
        try:
            text = pathlib.Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if text.rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def run(program, *arguments, **options):
    """A program in a process of its own, the tests' folder on its path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        **options,
    )


# what arrives


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_batches_are_those_without_workers(options):
    def epochs(**more):
        rushlight.manual_seed(1)
        loader = DataLoader(Images(), batch_size=4, shuffle=True, **more)
        return [y.tolist() for _ in range(3) for x, y in loader if (x[:, 0, 0] == y).all()]

    if options.get("persistent_workers"):
        # the base seed is drawn once, so later epochs have another order, as with PyTorch
        assert epochs(**options)[:10] == epochs()[:10]
        assert len(epochs(**options)) == 30
    else:
        assert epochs(**options) == epochs()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_start_methods(method):
    loader = DataLoader(Images(9), batch_size=2, num_workers=1, multiprocessing_context=method)
    assert [y.tolist() for _, y in loader] == [[0, 1], [2, 3], [4, 5], [6, 7], [8]]
    del loader
    stop_forkserver()


def stop_forkserver():
    """Both helpers of multiprocessing stay for the next start: not what is tested here."""
    from multiprocessing import forkserver, resource_tracker

    if forkserver._forkserver._forkserver_pid is not None:
        forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()


def test_what_cannot_be_pickled_names_the_remedy():
    loader = DataLoader(
        Images(4), num_workers=1, collate_fn=lambda x: x, multiprocessing_context="spawn"
    )
    with pytest.raises(Exception) as caught:  # noqa: B017 (its type depends on the version of Python)
        iter(loader)
    assert "no lambda" in caught.value.__notes__[0]
    stop_forkserver()


def test_structures_travel():
    x = rushlight.arange(60000).reshape(200, 300)
    samples = {
        "half": rushlight.ones(30000, dtype=rushlight.bfloat16),
        "turned": x.t(),
        "last": rushlight.randn(2, 3, 60, 60).contiguous(memory_format=rushlight.channels_last),
        "piece": x[::2, 5:9],
        "none": rushlight.empty(0, 3),
        "number": rushlight.tensor(2.5),
        "complex": rushlight.randn(20000, dtype=rushlight.complex64).conj(),
        "array": np.asfortranarray(np.random.rand(100, 300)),
        "leaf": rushlight.ones(9000, requires_grad=True),
        "parameter": rushlight.nn.Parameter(rushlight.ones(3)),
        "text": ("a", b"b", None, {1: 2.0}),
    }
    loader = DataLoader(
        Calls(lambda i: samples, 3), batch_size=None, num_workers=1, collate_fn=lambda x: x
    )
    for got in loader:
        assert list(got) == list(samples)
        for name, want in samples.items():
            have = got[name]
            assert type(have) is type(want), name
            if isinstance(want, rushlight.Tensor):
                assert have.dtype == want.dtype and have.shape == want.shape, name
                assert bool((have == want).all()) and have.requires_grad == want.requires_grad
            elif isinstance(want, np.ndarray):
                assert (have == want).all() and have.flags.f_contiguous
        assert got["text"] == samples["text"]
        assert got["turned"].stride() == (1, 300)
        assert got["last"].is_contiguous(memory_format=rushlight.channels_last)
        got["turned"].add_(1)  # a batch is the program's to write to


def test_batches_that_are_kept_stay_what_they_are():
    loader = DataLoader(Images(400, 100), batch_size=2, num_workers=2)
    before = descriptors()
    kept = [x for x, _ in loader]
    assert descriptors() <= before + 2
    assert all((x[0] == 2 * k).all() and (x[1] == 2 * k + 1).all() for k, x in enumerate(kept))
    piece = kept[3][0, 0]
    del kept
    assert len(list(loader)) == 200
    assert (piece == 6).all()


def test_blocks_are_used_again():
    loader = DataLoader(Images(300, 100), batch_size=2, num_workers=1)
    iterator = iter(loader)
    for k, (x, _) in enumerate(iterator):
        assert (x[0] == 2 * k).all()
        assert len(iterator._crew.members[0].borrower.blocks) <= 8
    assert x.storage_offset() >= 0


def test_streams_are_shared_out():
    for options in KINDS:
        loader = DataLoader(Shares(11), batch_size=2, **options)
        for _ in range(2):
            assert sorted(i for batch in loader for i in batch.tolist()) == list(range(11))


def test_any_order():
    def slow_first(i):
        time.sleep(0.3 if i == 0 else 0)
        return i

    for kind in ("process", "thread"):
        loader = DataLoader(
            Calls(slow_first, 12), num_workers=2, in_order=False, batch_size=1, worker_type=kind
        )
        got = [int(x) for x in loader]
        assert sorted(got) == list(range(12)) and got[0] != 0


def test_batches_of_a_tensor_dataset_and_a_sampler_of_batches():
    x = rushlight.randn(50, 900)
    data = TensorDataset(x, rushlight.arange(50))
    batches = [[3, -1, 7], [0], list(range(20))]
    for got, want in zip(DataLoader(data, batch_sampler=batches, num_workers=2), batches):
        assert (got[0] == x[want]).all() and got[1].tolist() == [w % 50 for w in want]


def test_collate_fn_may_keep_its_batches():
    kept = []

    def collate(samples):
        kept.append(rushlight.utils.data.default_collate(samples))
        return kept[0]

    for x, y in DataLoader(Images(8), batch_size=2, num_workers=1, collate_fn=collate):
        assert y.tolist() == [0, 1] and (x[1] == 1).all()


def test_pinning_is_accepted():
    with pytest.warns(UserWarning, match="no accelerator is found"):
        assert len(list(DataLoader(Images(4), num_workers=1, pin_memory=True))) == 4


def test_shared_memory_that_is_too_small(monkeypatch):
    """RLIMIT_FSIZE bounds files in memory as a full /dev/shm does."""
    from rushlight.utils.data._utils import shared

    def no_room(fd, offset, size, real=os.posix_fallocate):
        if size > 10**5:
            raise OSError(28, os.strerror(28))
        return real(fd, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(shared.NoRoom, match="could not be reserved: No space left"):
        shared.make_file(10**6)
    before = descriptors()
    with pytest.warns(UserWarning, match="go through pipes.*--shm-size.*prefetch_factor"):
        got = [(x, y) for x, y in DataLoader(Images(9, 200), batch_size=3, num_workers=2)]
    assert descriptors() == before
    assert all((x[:, 5, 5] == y).all() for x, y in got) and len(got) == 3


def test_a_folder_for_shared_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("RUSHLIGHT_SHARED_MEMORY", str(tmp_path))
    assert sum(len(y) for _, y in DataLoader(Images(), batch_size=4, num_workers=2)) == 37
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("RUSHLIGHT_SHARED_MEMORY", str(tmp_path / "missing"))
    with pytest.warns(UserWarning, match="go through pipes"):
        assert sum(len(y) for _, y in DataLoader(Images(), batch_size=4, num_workers=1)) == 37


# seeds


def draws(i):
    return random.random(), np.random.rand(), rushlight.rand(()).item(), get_worker_info().seed


def test_random_numbers_differ_for_workers_and_epochs_and_come_again():
    def numbers():
        rushlight.manual_seed(5)
        loader = DataLoader(Calls(draws, 4), batch_size=None, num_workers=2)
        return [draw for _ in range(2) for draw in loader]

    first = numbers()
    assert first == numbers()
    for column in range(3):
        assert len({draw[column] for draw in first}) == 8
    assert len({draw[3] for draw in first}) == 4


def test_threads_have_random_numbers_of_their_own():
    def draw(i):
        rng = get_worker_info().rng
        return (
            rng.random_generator.random(),
            rng.numpy_generator.random(),
            rushlight.rand((), generator=rng.torch_generator).item(),
        )

    def numbers():
        rushlight.manual_seed(5)
        loader = DataLoader(Calls(draw, 4), batch_size=None, num_workers=2, worker_type="thread")
        return [x for x in loader]

    state = random.getstate()
    first = numbers()
    assert first == numbers() and random.getstate() == state
    assert all(len({x[column] for x in first}) == 4 for column in range(3))


def test_worker_info():
    def told(i):
        info = get_worker_info()
        return info.id, info.num_workers, len(info.dataset), info.worker_method

    assert get_worker_info() is None
    assert list(DataLoader(Calls(told, 2), batch_size=None, num_workers=2)) == [
        [0, 2, 2, "multiprocessing"],
        [1, 2, 2, "multiprocessing"],
    ]
    threads = DataLoader(Calls(told, 1), batch_size=None, num_workers=1, worker_type="thread")
    assert list(threads) == [[0, 1, 1, "thread"]]
    assert get_worker_info() is None


# what goes wrong


class Odd(Exception):
    def __init__(self, first, second):
        super().__init__(first, second)


def trouble(error):
    def f(i):
        if i == 5:
            raise error
        return i

    return f


@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad"),
        KeyError("k"),
        Odd(1, 2),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "no"),
        FileNotFoundError(2, "none"),
        StopIteration(3),
    ],
    ids=lambda e: type(e).__name__,
)
def test_exceptions_arrive(kind, error):
    loader = DataLoader(Calls(trouble(error)), batch_size=4, num_workers=2, worker_type=kind)
    iterator = iter(loader)
    assert next(iterator).tolist() == [0, 1, 2, 3]
    with pytest.raises(type(error)) as caught:
        next(iterator)
    text = str(caught.value) + "".join(getattr(caught.value, "__notes__", ()))
    assert f"Caught {type(error).__name__} in DataLoader worker {kind} 1 (" in text
    assert "dataset index 5, sample 1 of the batch [4, 5, 6, 7], batch 1" in text
    assert "Original Traceback" in text and "raise error" in text
    with pytest.raises(StopIteration):
        next(iterator)


def test_a_loop_goes_on_after_an_exception():
    iterator = iter(DataLoader(Calls(trouble(ValueError("bad"))), num_workers=2))
    got = []
    while True:
        try:
            got.append(next(iterator).item())
        except ValueError:
            got.append("error")
        except StopIteration:
            break
    assert got == [0, 1, 2, 3, 4, "error", 6, 7]


def test_an_exception_of_worker_init_fn_collate_fn_and_packing():
    def bad(*_):
        raise ValueError("not so")

    with pytest.raises(ValueError, match="before its first sample(.|\n)*not so"):
        next(iter(DataLoader(Images(), num_workers=1, worker_init_fn=bad)))
    with pytest.raises(ValueError, match=r"collating dataset indices \[0\](.|\n)*not so"):
        next(iter(DataLoader(Images(), num_workers=1, collate_fn=bad)))
    loader = DataLoader(Calls(lambda i: rushlight.ones(2, requires_grad=True) * 2), num_workers=1, batch_size=None)
    with pytest.raises(RuntimeError, match="Cowardly refusing to serialize non-leaf tensor"):
        next(iter(loader))


def test_a_killed_worker_is_named():
    def die(i):
        if i == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return i

    iterator = iter(DataLoader(Calls(die), batch_size=2, num_workers=2, prefetch_factor=1))
    with pytest.raises(RuntimeError) as caught:
        list(iterator)
    text = str(caught.value)
    assert "DataLoader worker (pid " in text and "is killed by signal: Killed (SIGKILL)" in text
    assert "worker 0 of 2, at dataset index 5, sample 1 of the batch [4, 5], batch 2" in text
    assert "memory had been" in text and "out-of-memory killer" in text
    with pytest.raises(RuntimeError, match="SIGKILL"):
        next(iterator)


def test_an_exit_is_named():
    def leave(i):
        os._exit(3)

    with pytest.raises(RuntimeError, match=r"exited unexpectedly with exit code 3.*worker 0 of 1"):
        list(DataLoader(Calls(leave), num_workers=1))


def test_persistent_workers_begin_anew_after_a_death():
    flag = rushlight.zeros(1)
    path = []

    def die(i):
        if flag.item() == 0 and i == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return i

    loader = DataLoader(Calls(die), num_workers=1, persistent_workers=True)
    with pytest.raises(RuntimeError, match="SIGTERM"):
        list(loader)
    flag.fill_(1)
    assert len(list(loader)) == 8 and path == []
    del loader


def test_a_timeout_is_named():
    def wait(i):
        time.sleep(60 if i == 1 else 0)
        return i

    iterator = iter(DataLoader(Calls(wait), num_workers=1, timeout=0.5))
    with pytest.raises(RuntimeError, match=r"timed out after 0.5 seconds: worker 0 \(pid \d+\) is at dataset index 1"):
        list(iterator)


def test_a_stopped_worker_does_not_stop_the_end():
    iterator = iter(DataLoader(Images(300), num_workers=1))
    next(iterator)
    pid = iterator._crew.pid(0)
    os.kill(pid, signal.SIGSTOP)
    del iterator
    gc.collect()
    assert gone(pid)


def test_more_workers_than_processors_warns(monkeypatch):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("no affinity here")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    with pytest.warns(UserWarning, match="will create 3 worker processes in total"):
        DataLoader(Images(), num_workers=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DataLoader(Images(), num_workers=2)
        DataLoader(Images(), num_workers=3, worker_type="thread")


def test_options():
    with pytest.raises(ValueError, match="worker_type should be 'process' or 'thread'"):
        DataLoader(Images(), num_workers=1, worker_type="fiber")
    with pytest.raises(AssertionError):
        iter(DataLoader(Images(), num_workers=1, prefetch_factor=0))


# ends


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_break_leaves_nothing(options):
    loader = DataLoader(Images(200), batch_size=4, **options)
    for _ in range(3):
        for _ in loader:
            break
    if options.get("persistent_workers"):
        assert len([y for _, y in loader]) == 50


def test_a_loop_in_a_loop():
    outer = DataLoader(Images(5), num_workers=1)
    inner = DataLoader(Images(3), num_workers=1)
    assert sum(int(a) * int(b) for _, a in outer for _, b in inner) == 30


def test_a_forked_child_takes_nothing_along():
    iterator = iter(DataLoader(Images(40), num_workers=1))
    next(iterator)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            next(iterator)
        except RuntimeError as error:
            code = 0 if "belongs to another process" in str(error) else 2
        del iterator
        gc.collect()
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(list(iterator)) == 39


PROGRAM = """
    import os, sys, time
    from test_loading import Calls, DataLoader, Images
    import signal

    loader = DataLoader(Images(10**6), num_workers=2, persistent_workers=bool({persistent}))
    iterator = iter(loader)
    next(iterator)
    print(*[iterator._crew.pid(w) for w in range(2)], flush=True)
    {end}
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("sys.exit(0)", 0),
        ("raise ValueError", 1),
        ("os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("os._exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(60)", -2),
    ],
)
@pytest.mark.parametrize("persistent", [0, 1])
def test_the_end_of_the_program(end, code, persistent):
    done = run(PROGRAM.format(end=end, persistent=persistent), cwd=os.path.dirname(__file__))
    pids = [int(p) for p in done.stdout.split()]
    assert done.returncode in (code, 1 if code == -2 else code), done.stderr
    assert len(pids) == 2 and all(gone(pid) for pid in pids)


def test_fork_while_threads_compute():
    """Kernels, compilation and random numbers hold locks: a fork must not find them held."""
    done = run(
        """
        import threading
        import rushlight
        from test_loading import Calls, DataLoader

        stop = False

        def work():
            k = 0
            while not stop:
                k += 1
                x = rushlight.rand(200, 300 + k % 50) @ rushlight.rand(300 + k % 50, 64)
                (x.exp() * k).sum()

        def sample(i):
            x = rushlight.rand(100, 120) @ rushlight.rand(120, 80)
            return (x.tanh() + i).sum() + rushlight.randn(70000).exp().mean()

        rushlight.set_num_threads(2)
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(6):
            assert len(list(DataLoader(Calls(sample, 6), num_workers=2, timeout=60))) == 6
        stop = True
        for thread in threads:
            thread.join()
        """,
        cwd=os.path.dirname(__file__),
    )
    assert done.returncode == 0, done.stderr


def test_soak():
    """Workers killed at random, loops left at random: RUSHLIGHT_SOAK says how many epochs."""
    epochs = int(os.environ.get("RUSHLIGHT_SOAK", 12))
    dice = random.Random(epochs)
    data = Images(60)
    list(DataLoader(data, num_workers=2))
    gc.collect()
    before = children(), descriptors(), shared_files()
    killed = 0
    for epoch in range(epochs):
        loader = DataLoader(
            data,
            batch_size=dice.choice([1, 4]),
            num_workers=2,
            persistent_workers=dice.random() < 0.3,
            in_order=dice.random() < 0.8,
            timeout=60,
        )
        fate, seen = dice.choice(["kill", "leave", "end"]), []
        iterator = iter(loader)
        victim = iterator._crew.pid(dice.randrange(2))
        moment = dice.randrange(15)
        try:
            for k, (x, y) in enumerate(iterator):
                seen += y.tolist()
                assert (x[:, 1, 1] == y).all()
                if k == moment and fate == "kill":
                    os.kill(victim, signal.SIGKILL)
                if k == moment and fate == "leave":
                    break
            else:
                # who was killed after its last batch has done its work
                assert sorted(seen) == list(range(60))
        except RuntimeError as error:
            assert fate == "kill" and "SIGKILL" in str(error)
            killed += 1
        del iterator, loader
        x = y = None
        gc.collect()
        assert (children(), descriptors(), shared_files()) == before, (epoch, fate)
    assert killed or epochs < 12
