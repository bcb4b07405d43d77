"""An epoch that was left, or killed, goes on with the very next sample: none lost, none twice."""

import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import rushlight
from rushlight.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)

N = 23


class Shares(IterableDataset):
    """Numbers below n, each worker's share."""

    def __init__(self, n):
        self.n, self.at, self.begin = n, 0, 0

    def __iter__(self):
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        begin, self.begin = self.begin, 0
        for self.at in itertools.count(begin):
            if first + self.at * step >= self.n:
                return
            value = first + self.at * step
            self.at += 1  # what comes next, should anybody ask now
            yield value


class Standing(Shares):
    """Can say where it stands."""

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.begin = state["at"]


class Walk:
    """A stream whose iterator knows where it stands."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return WalkIterator(self.n)


class WalkIterator:
    def __init__(self, n):
        self.n, self.at = n, 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.at == self.n:
            raise StopIteration
        self.at += 1
        return self.at - 1

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


class Plain:
    """A sampler that knows nothing of states, with PyTorch's random numbers, Python's or NumPy's."""

    def __init__(self, draw):
        self.draw = draw

    def __iter__(self):
        return iter(self.draw())

    def __len__(self):
        return N


class Lazy(RandomSampler):
    """Overrides what makes the order, and draws as it goes."""

    def __iter__(self):
        left = list(range(N))
        while left:
            yield left.pop(random.randrange(len(left)))


class Stateful:
    """A sampler object with a state of its own."""

    def __init__(self):
        self.at = 0

    def __iter__(self):
        while self.at < N:
            self.at += 1
            yield N - self.at
        self.at = 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


def generator():
    made = rushlight.Generator()
    made.manual_seed(3)
    return made


def shuffled():
    return random.sample(range(N), N)


LOADERS = {
    "in order": lambda **o: DataLoader(range(N), 2, **o),
    "shuffled": lambda **o: DataLoader(range(N), 2, shuffle=True, **o),
    "generator": lambda **o: DataLoader(range(N), 2, shuffle=True, generator=generator(), **o),
    "drop_last": lambda **o: DataLoader(range(N), 2, shuffle=True, drop_last=True, **o),
    "one by one": lambda **o: DataLoader(range(N), None, shuffle=True, **o),
    "replacement": lambda **o: DataLoader(
        range(N), 2, sampler=RandomSampler(range(N), replacement=True, num_samples=70), **o
    ),
    "weights": lambda **o: DataLoader(
        range(N), 3, sampler=WeightedRandomSampler(np.arange(1.0, N + 1), 20), **o
    ),
    "subset": lambda **o: DataLoader(range(N), 2, sampler=SubsetRandomSampler(range(5, N)), **o),
    "distributed": lambda **o: DataLoader(
        range(N), 2, sampler=DistributedSampler(range(N), 2, 1, seed=4), **o
    ),
    "list": lambda **o: DataLoader(range(N), 2, sampler=[3, 1, 2, 6, 7, 8, 9], **o),
    "batches": lambda **o: DataLoader(range(N), batch_sampler=[[3, 1], [2], [6, 7, 8]] * 3, **o),
    "plain": lambda **o: DataLoader(
        range(N), 2, sampler=Plain(lambda: rushlight.randperm(N).tolist()), **o
    ),
    "python": lambda **o: DataLoader(range(N), 2, sampler=Plain(shuffled), **o),
    "numpy": lambda **o: DataLoader(
        range(N), 2, sampler=Plain(lambda: np.random.permutation(N).tolist()), **o
    ),
    "batches of plain": lambda **o: DataLoader(
        range(N), batch_sampler=BatchSampler(Plain(shuffled), 4, False), **o
    ),
    "lazy": lambda **o: DataLoader(range(N), 2, sampler=Lazy(range(N)), **o),
    "stateful": lambda **o: DataLoader(range(N), 2, sampler=Stateful(), **o),
    "stream": lambda **o: DataLoader(Shares(N), 2, **o),
    "stream one by one": lambda **o: DataLoader(Shares(N), None, **o),
    "stateful stream": lambda **o: DataLoader(Standing(N), 3, **o),
    "stateful iterator": lambda **o: DataLoader(Walk(N), 2, **o),
}


def seed():
    rushlight.manual_seed(1)
    random.seed(1)
    np.random.seed(1)


def values(batch):
    return batch.tolist() if isinstance(batch, rushlight.Tensor) else batch


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("workers", [0, 2])
def test_the_rest_of_an_epoch(name, workers):
    """Its batches, and the next epoch's, are those of a run that was not interrupted."""
    options = {"num_workers": workers, "worker_type": "thread"} if workers else {}
    seed()
    loader = LOADERS[name](**options)
    whole = [values(b) for b in loader]
    later = [values(b) for b in loader]
    for k in {0, 1, min(5, len(whole)), len(whole) - 1, len(whole)}:
        seed()
        loader = LOADERS[name](**options)
        iterator = iter(loader)
        given = [values(next(iterator)) for _ in range(k)]
        state = json.loads(json.dumps(loader.state_dict()))
        states = rushlight.get_rng_state(), random.getstate(), np.random.get_state()
        del iterator
        rushlight.manual_seed(77)
        random.seed(77)
        np.random.seed(77)
        loader = LOADERS[name](**options)
        loader.load_state_dict(state)
        rushlight.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
        assert loader.state_dict() == state
        rest = [values(b) for b in loader]
        if name == "lazy" and workers:
            # it draws as it goes, and workers are ahead: another order, but each index once
            assert sorted(sum(given + rest, [])) == list(range(N))
            continue
        assert given + rest == whole, k
        if k or "plain" not in name:
            assert [values(b) for b in loader] == later, k


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_any_order(kind):
    options = {"num_workers": 2, "in_order": False, "shuffle": True, "worker_type": kind}
    loader = DataLoader(range(N), 2, **options)
    for k in (1, 4, 9):
        iterator = iter(loader)
        given = [i for _ in range(k) for i in next(iterator).tolist()]
        state = loader.state_dict()
        del iterator
        again = DataLoader(range(N), 2, **options)
        again.load_state_dict(state)
        rest = [i for batch in again for i in batch.tolist()]
        assert sorted(given + rest) == list(range(N))


def test_persistent_workers_and_another_number_of_them():
    rushlight.manual_seed(2)
    loader = DataLoader(range(N), 2, shuffle=True, num_workers=2, persistent_workers=True)
    whole = [values(b) for b in loader]
    iterator = iter(loader)
    second = [values(next(iterator)) for _ in range(3)]
    state = loader.state_dict()
    second += [values(b) for b in iterator]
    assert sorted(sum(second, [])) == sorted(sum(whole, []))
    loader.load_state_dict(state)  # into the same loader, whose workers are there
    assert [values(b) for b in loader] == second[3:]
    for workers in (0, 1):
        other = DataLoader(range(N), 2, shuffle=True, num_workers=workers)
        other.load_state_dict(state)
        assert [values(b) for b in other] == second[3:]


def test_streams_of_unequal_length():
    class Uneven(IterableDataset):
        def __iter__(self):
            me = get_worker_info().id
            return iter(range(100 * me, 100 * me + [1, 7, 4][me]))

    options = {"num_workers": 3, "worker_type": "thread"}
    whole = [values(b) for b in DataLoader(Uneven(), 2, **options)]
    for k in range(len(whole) + 1):
        loader = DataLoader(Uneven(), 2, **options)
        iterator = iter(loader)
        given = [values(next(iterator)) for _ in range(k)]
        again = DataLoader(Uneven(), 2, **options)
        again.load_state_dict(loader.state_dict())
        assert given + [values(b) for b in again] == whole


def test_the_end_and_the_beginning():
    loader = DataLoader(range(5), 2)
    assert loader.state_dict()["finished"]
    list(loader)
    state = loader.state_dict()
    assert state == {"version": 1, "finished": True, "generator": None}
    loader.load_state_dict(state)
    assert len(list(loader)) == 3
    iterator = iter(loader)
    next(iterator)
    loader.load_state_dict(loader.state_dict())
    assert len(list(loader)) == 2 and len(list(loader)) == 3


def test_states_that_do_not_fit():
    loader = DataLoader(range(5), 2)
    next(iter(loader))
    with pytest.raises(ValueError, match="expected what DataLoader.state_dict"):
        loader.load_state_dict({"epoch": 1})
    with pytest.raises(ValueError, match="version 9"):
        loader.load_state_dict({**loader.state_dict(), "version": 9})
    with pytest.raises(ValueError, match="fits a stream only"):
        DataLoader(Shares(5)).load_state_dict(loader.state_dict())
    streams = DataLoader(Shares(5), num_workers=2, worker_type="thread")
    next(iter(streams))
    with pytest.raises(ValueError, match="as many workers as before, num_workers=2"):
        DataLoader(Shares(5)).load_state_dict(streams.state_dict())


def test_a_checkpoint_holds_it():
    loader = DataLoader(range(N), 2, shuffle=True, generator=generator())
    iterator = iter(loader)
    next(iterator)
    file = io.BytesIO()
    rushlight.save({"loader": loader.state_dict()}, file)
    file.seek(0)
    state = rushlight.load(file, weights_only=True)["loader"]
    assert state == loader.state_dict()


@pytest.mark.parametrize(
    "make",
    [
        lambda: SequentialSampler(range(N)),
        lambda: RandomSampler(range(N)),
        lambda: RandomSampler(range(N), generator=generator()),
        lambda: RandomSampler(range(5), num_samples=33, replacement=True),
        lambda: SubsetRandomSampler(range(7, N)),
        lambda: WeightedRandomSampler([1.0, 2.0, 3.0], 9),
        lambda: DistributedSampler(range(N), 3, 1),
        lambda: BatchSampler(RandomSampler(range(N)), 4, False),
    ],
)
def test_samplers(make):
    rushlight.manual_seed(6)
    sampler = make()
    assert sampler.state_dict() == {}
    iterator = iter(sampler)
    given = list(itertools.islice(iterator, 4))
    state = json.loads(json.dumps(sampler.state_dict()))
    rest = list(iterator)
    assert sampler.state_dict() == {} and len(given + rest) == len(sampler)
    rushlight.manual_seed(60)
    again = make()
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert list(again) == rest
    assert len(list(again)) == len(sampler)


PROGRAM = """
    import json, os, sys
    import rushlight
    from rushlight.utils.data import DataLoader
    from test_loading_resume import Shares

    folder, kind, seed = sys.argv[1:]
    rushlight.manual_seed(int(seed))
    if kind == "stream":
        loader = DataLoader(Shares(200), 3, num_workers=2)
    else:
        loader = DataLoader(range(200), 3, shuffle=True, num_workers=2)
    path = os.path.join(folder, "state")
    done = []
    if os.path.exists(path):
        saved = json.load(open(path))
        loader.load_state_dict(saved["loader"])
        done = saved["done"]
    for batch in loader:
        done += batch.tolist()
        with open(path + ".new", "w") as file:
            json.dump({"loader": loader.state_dict(), "done": done}, file)
        os.rename(path + ".new", path)  # a step of training and its checkpoint
        print(len(done), flush=True)
    print("end", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="kills processes")
@pytest.mark.parametrize("kind", ["shuffled", "stream"])
def test_killed_again_and_again(kind, tmp_path):
    dice = random.Random(kind)
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path), kind, str(attempt)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.path.dirname(__file__),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        most = dice.randrange(1, 22) if attempt < 3 else 1000
        lines = list(itertools.islice(process.stdout, most))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert lines[-1] == "end\n"
    done = json.loads((tmp_path / "state").read_text())["done"]
    assert sorted(done) == list(range(200)) and (kind == "stream" or done != sorted(done))
