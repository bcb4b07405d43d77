"""Workers beside PyTorch's: the same batches in the same order, the same random numbers, the same
types of exceptions, for one seed."""

import random
import sys
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch_data = pytest.importorskip("torch.utils.data")

import rushlight  # noqa: E402
from rushlight.utils import data as our_data  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="closures in worker processes")

BOTH = [(torch, torch_data), (rushlight, our_data)]


def plain(x):
    """What a batch holds, whosever tensors it is made of."""
    if isinstance(x, (torch.Tensor, rushlight.Tensor)):
        return str(x.dtype), tuple(x.shape), tuple(x.stride()), x.tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x).__name__, [plain(v) for v in x]
    return x


def map_style(data, f, n):
    class Calls(data.Dataset):
        def __len__(self):
            return n

        def __getitem__(self, i):
            return f(i)

    return Calls()


def stream(data, counts, length=None):
    class Stream(data.IterableDataset):
        def __iter__(self):
            info = data.get_worker_info()
            me = 0 if info is None else info.id
            return iter(range(100 * me, 100 * me + counts[me]))

    if length is not None:
        Stream.__len__ = lambda self: length
    return Stream()


def epochs(lib, data, make, count=2):
    """Batches of some epochs, and a number of the default generator after each."""
    lib.manual_seed(11)
    random.seed(3)
    np.random.seed(4)
    found = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        loader = make(lib, data)
        for _ in range(count):
            found.append([plain(batch) for batch in loader])
            found.append(lib.randint(10**6, (2,)).tolist())
    # torch warns of more workers than this machine has processors, in words of its own
    kinds = [w.category.__name__ for w in told if "worker processes in total" not in str(w.message)]
    return found, kinds


def draws(lib, data):
    def f(i):
        return (
            lib.rand(2),
            lib.randn(20),
            random.random(),
            np.random.rand(3),
            np.random.randint(100),
            data.get_worker_info().seed,
            lib.initial_seed(),
            lib.get_num_threads(),
        )

    return f


def seeded(lib):
    made = lib.Generator()
    made.manual_seed(8)
    return made


def init(lib, data):
    def f(worker):
        np.random.seed(worker)
        data.get_worker_info().dataset.mark = worker

    return f


def marked(lib, data):
    made = map_style(data, lambda i: (i, np.random.randint(1000), made.mark), 9)
    return made


def simple(data, n=23):
    return map_style(data, lambda i: i, n)


CASES = {
    "one worker": lambda lib, d: d.DataLoader(simple(d), 4, num_workers=1),
    "two": lambda lib, d: d.DataLoader(simple(d), 4, num_workers=2),
    "shuffled": lambda lib, d: d.DataLoader(simple(d), 4, shuffle=True, num_workers=2),
    "drop_last": lambda lib, d: d.DataLoader(
        simple(d), 4, shuffle=True, drop_last=True, num_workers=2
    ),
    "prefetch": lambda lib, d: d.DataLoader(
        simple(d), 2, shuffle=True, num_workers=2, prefetch_factor=7
    ),
    "no batches": lambda lib, d: d.DataLoader(simple(d), None, shuffle=True, num_workers=2),
    "generator": lambda lib, d: d.DataLoader(
        simple(d), 4, shuffle=True, num_workers=2, generator=seeded(lib)
    ),
    "persistent": lambda lib, d: d.DataLoader(
        simple(d), 4, shuffle=True, num_workers=2, persistent_workers=True
    ),
    "weights": lambda lib, d: d.DataLoader(
        simple(d), 4, sampler=d.WeightedRandomSampler([1.0, 2, 3] * 7, 30), num_workers=2
    ),
    "subset": lambda lib, d: d.DataLoader(
        simple(d), 4, sampler=d.SubsetRandomSampler(range(3, 20)), num_workers=2
    ),
    "replacement": lambda lib, d: d.DataLoader(
        simple(d), 4, sampler=d.RandomSampler(simple(d), True, 70), num_workers=2
    ),
    "batch_sampler": lambda lib, d: d.DataLoader(
        simple(d), batch_sampler=[[1, 2], [5], [7, 8, 9]], num_workers=2
    ),
    "empty": lambda lib, d: d.DataLoader(simple(d, 0), 4, num_workers=2),
    "fewer batches than workers": lambda lib, d: d.DataLoader(simple(d, 1), 4, num_workers=2),
    "tensors": lambda lib, d: d.DataLoader(
        d.TensorDataset(lib.arange(3000.0).reshape(30, 100), lib.arange(30)),
        8,
        shuffle=True,
        num_workers=2,
    ),
    "random numbers": lambda lib, d: d.DataLoader(
        map_style(d, draws(lib, d), 9), 2, num_workers=2
    ),
    "random numbers of persistent workers": lambda lib, d: d.DataLoader(
        map_style(d, draws(lib, d), 9), 2, num_workers=2, persistent_workers=True, shuffle=True
    ),
    "worker_init_fn": lambda lib, d: d.DataLoader(
        marked(lib, d), 2, num_workers=2, worker_init_fn=init(lib, d)
    ),
    "structures": lambda lib, d: d.DataLoader(
        map_style(
            d,
            lambda i: {
                "image": np.full((3, 50, 50), i, np.float32),
                "turned": lib.full((70, 90), float(i)).t(),
                "pair": (i, str(i)),
                "flag": i > 2,
                "byte": np.uint8(i),
                "number": i / 3,
            },
            7,
        ),
        3,
        num_workers=2,
    ),
    "layouts": lambda lib, d: d.DataLoader(
        map_style(d, lambda i: (lib.ones(40, 90).t() * i, lib.ones(2, 9).t()), 3),
        None,
        num_workers=1,
    ),
    "stream": lambda lib, d: d.DataLoader(stream(d, [5, 9]), 2, num_workers=2),
    "stream that ends early": lambda lib, d: d.DataLoader(stream(d, [1, 9]), 2, num_workers=2),
    "three streams": lambda lib, d: d.DataLoader(stream(d, [1, 7, 3]), 2, num_workers=3),
    "an empty stream": lambda lib, d: d.DataLoader(stream(d, [0, 4, 0, 2]), 3, num_workers=4),
    "stream with drop_last": lambda lib, d: d.DataLoader(
        stream(d, [5, 8, 2]), 2, num_workers=3, drop_last=True
    ),
    "stream with prefetch": lambda lib, d: d.DataLoader(
        stream(d, [5, 8, 2]), 2, num_workers=3, prefetch_factor=4
    ),
    "stream without batches": lambda lib, d: d.DataLoader(stream(d, [3, 6]), None, num_workers=2),
    "persistent streams": lambda lib, d: d.DataLoader(
        stream(d, [3, 6]), 2, num_workers=2, persistent_workers=True
    ),
    "collate_fn": lambda lib, d: d.DataLoader(
        simple(d), 4, num_workers=2, collate_fn=lambda s: sum(s)
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_same_batches(name):
    expected = epochs(*BOTH[0], CASES[name])
    assert epochs(*BOTH[1], CASES[name]) == expected


@pytest.mark.parametrize("name", ["two", "shuffled", "stream that ends early", "three streams"])
def test_threads_give_the_same(name):
    def threaded(lib, data):
        class Threads(our_data.DataLoader):
            def __init__(self, *args, **options):
                super().__init__(*args, worker_type="thread", **options)

        kit = type("Kit", (), {**vars(data), "DataLoader": Threads})
        return CASES[name](lib, kit)

    assert epochs(rushlight, our_data, threaded) == epochs(torch, torch_data, CASES[name])


def test_a_stream_that_lied_about_its_length():
    def make(lib, data):
        loader = data.DataLoader(stream(data, [3, 4], length=5), 1, num_workers=2)
        assert len(loader) == 5
        return loader

    expected = epochs(torch, torch_data, make)
    assert expected[1].count("UserWarning") > 0
    assert epochs(rushlight, our_data, make) == expected


ERRORS = {
    "value": ValueError("bad"),
    "key": KeyError("k"),
    "index": IndexError("i"),
    "type": TypeError("t"),
    "file": FileNotFoundError(2, "none"),
    "assertion": AssertionError(),
    "runtime": RuntimeError("r"),
    "stop": StopIteration("s"),
}


def seen(data, error):
    """What a loop sees of an exception in the middle: batches, exceptions, batches."""

    def f(i):
        if i == 3:
            raise error
        return i

    found = []
    iterator = iter(data.DataLoader(map_style(data, f, 7), 2, num_workers=2))
    for _ in range(5):
        try:
            found.append(next(iterator).tolist())
        except Exception as caught:
            text = str(caught)
            told = f"Caught {type(error).__name__} in DataLoader worker process 1" in text
            found.append((type(caught).__name__, told, "Original Traceback" in text))
    return found


@pytest.mark.parametrize("name", ERRORS)
def test_same_exceptions(name):
    assert seen(our_data, ERRORS[name]) == seen(torch_data, ERRORS[name])


def test_same_attributes_of_iterators():
    for _, data in BOTH:
        loader = data.DataLoader(simple(data), 2, num_workers=2, persistent_workers=True)
        iterator = iter(loader)
        assert iter(loader) is iterator and len(iterator) == 12
        assert type(iterator).__name__ == "_MultiProcessingDataLoaderIter"
        single = iter(data.DataLoader(simple(data), 2))
        assert type(single).__name__ == "_SingleProcessDataLoaderIter"
        assert iter(single) is single and single is not iterator
        del iterator, loader
