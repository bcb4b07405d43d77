"""utils.data beside torch.utils.data: every case runs on both and must give the same.

A case is a function of (data module, tensor module, kit). What it returns is compared with tensors
taken apart into dtype and numbers; where one raises, the other has to raise the same type; warnings
have to agree in category. The random state afterwards is part of most results.
"""

import collections
import types
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import torch.utils.data as torch_data  # noqa: E402

import rushlight  # noqa: E402
import rushlight.utils.data as our_data  # noqa: E402

Pair = collections.namedtuple("Pair", "a b")


class Sequenced(collections.abc.Sequence):
    def __init__(self, *items):
        self.items = list(items)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Mapped(collections.abc.Mapping):
    def __init__(self, items):
        self.items_ = dict(items)

    def __len__(self):
        return len(self.items_)

    def __getitem__(self, k):
        return self.items_[k]

    def __iter__(self):
        return iter(self.items_)


class MyList(list):
    pass


class MyDict(dict):
    pass


def kit(d):
    """Data sets on one library's base classes."""

    class Numbers(d.Dataset):
        def __init__(self, n=10):
            self.n = n

        def __len__(self):
            return self.n

        def __getitem__(self, i):
            return i

    class Batched(Numbers):
        def __getitems__(self, indices):
            return [f"batch {i}" for i in indices]

    class Short(Numbers):
        def __getitems__(self, indices):
            return [0]

    class NoBatches(Numbers):
        __getitems__ = None

    class Failing(Numbers):
        def __getitem__(self, i):
            raise KeyError(i)

    class Stream(d.IterableDataset):
        def __init__(self, n=10):
            self.n = n

        def __iter__(self):
            return iter(range(self.n))

    class Announced(Stream):
        def __len__(self):
            return 4

    class Doubled(d.TensorDataset):
        def __getitem__(self, i):
            return self.tensors[0][i] * 2

    return types.SimpleNamespace(**{k: v for k, v in locals().items() if isinstance(v, type)})


def plain(x):
    """A result without the library's own types."""
    if hasattr(x, "tolist") and hasattr(x, "requires_grad"):
        return ("tensor", str(x.dtype).split(".")[-1], tuple(x.shape), x.requires_grad, x.tolist())
    if isinstance(x, (np.ndarray, np.generic)):
        return ("numpy", type(x).__name__, str(x.dtype), x.tolist())
    if isinstance(x, collections.abc.Mapping):
        return (type(x).__name__, {k: plain(x[k]) for k in x})
    if isinstance(x, (list, tuple, collections.deque, Sequenced)):
        return (type(x).__name__, [plain(y) for y in x])
    if type(x).__module__.split(".")[0] in ("torch", "rushlight"):
        return type(x).__name__
    return x


def outcome(case, d, t):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = plain(case(d, t, kit(d)))
        except Exception as error:
            result = ("raised", type(error).__name__)
    return result, [w.category.__name__ for w in caught]


def epochs(*args, count=2, **options):
    """Two epochs from seed 0, then the state of the default generator and the length."""

    def case(d, t, k):
        given = {
            n: v(d, t, k) if callable(v) and n != "collate_fn" else v for n, v in options.items()
        }
        t.manual_seed(0)
        loader = d.DataLoader(args[0](d, t, k), *args[1:], **given)
        out = [t.randint(1000, (1,))]
        out += [list(loader) for _ in range(count)]
        out.append(t.randint(1000, (1,)))
        try:
            out.append(len(loader))
        except Exception as error:
            out.append(type(error).__name__)
        return out

    return case


def drawn(make):
    """A sampler's indices twice over, its length, and the default generator afterwards."""

    def case(d, t, k):
        t.manual_seed(0)
        g = t.Generator()
        g.manual_seed(5)
        sampler = make(d, k, g)
        return list(sampler), list(sampler), len(sampler), t.rand(2), t.rand(2, generator=g)

    return case


def generator(seed):
    def make(d, t, k):
        g = t.Generator()
        g.manual_seed(seed)
        return g

    return make


def five(d, t, k):
    return k.Numbers(5)


def stream(d, t, k):
    return k.Stream(5)


def announced(d, t, k):
    return k.Announced(10)


def tensors(d, t, k):
    return d.TensorDataset(t.arange(7), t.arange(14.0).view(7, 2))


def warned(size, **options):
    def case(d, t, k):
        loader = d.DataLoader(k.Announced(10), batch_size=size, **options)
        return len(loader), list(loader)

    return case


def g0(t, seed=0):
    g = t.Generator()
    g.manual_seed(seed)
    return g


def split(lengths, n=10):
    return lambda d, t, k: [
        s.indices for s in d.random_split(k.Numbers(n), lengths, generator=g0(t))
    ]


CASES = {
    # data sets
    "base getitem": lambda d, t, k: d.Dataset()[0],
    "base len": lambda d, t, k: len(d.Dataset()),
    "base add": lambda d, t, k: list(map(lambda i: (k.Numbers(2) + k.Numbers(3))[i], range(5))),
    "stream abstract": lambda d, t, k: d.IterableDataset(),
    "stream getitem": lambda d, t, k: k.Stream()[0],
    "stream add": lambda d, t, k: list(k.Stream(2) + k.Stream(3)),
    "tensors mismatch": lambda d, t, k: d.TensorDataset(t.zeros(3), t.zeros(4)),
    "tensors numpy": lambda d, t, k: d.TensorDataset(np.zeros(3)),
    "tensors item": lambda d, t, k: (
        tensors(d, t, k)[2],
        tensors(d, t, k)[1:3],
        len(tensors(d, t, k)),
    ),
    "stack tuple": lambda d, t, k: d.StackDataset(k.Numbers(), k.Numbers())[1],
    "stack dict": lambda d, t, k: d.StackDataset(a=k.Numbers(), b=k.Numbers())[1],
    "stack both": lambda d, t, k: d.StackDataset(k.Numbers(), b=k.Numbers()),
    "stack none": lambda d, t, k: d.StackDataset(),
    "stack mismatch": lambda d, t, k: d.StackDataset(k.Numbers(), k.Numbers(3)),
    "stack batch": lambda d, t, k: d.StackDataset(k.Numbers(), k.Batched()).__getitems__([1, 2]),
    "stack batch dict": lambda d, t, k: d.StackDataset(a=k.Numbers()).__getitems__([1, 2]),
    "stack batch short": lambda d, t, k: d.StackDataset(k.Short()).__getitems__([1, 2]),
    "concat": lambda d, t, k: [
        d.ConcatDataset([k.Numbers(), k.Numbers(3)])[i] for i in (0, 11, -1)
    ],
    "concat under": lambda d, t, k: d.ConcatDataset([k.Numbers()])[-14],
    "concat over": lambda d, t, k: d.ConcatDataset([k.Numbers()])[13],
    "concat empty": lambda d, t, k: d.ConcatDataset([]),
    "concat stream": lambda d, t, k: d.ConcatDataset([k.Stream()]),
    "concat sizes": lambda d, t, k: d.ConcatDataset([k.Numbers(), k.Numbers(3)]).cummulative_sizes,
    "chain": lambda d, t, k: list(d.ChainDataset([k.Stream(2), k.Stream(3)])),
    "chain bad": lambda d, t, k: list(d.ChainDataset([k.Numbers()])),
    "chain len": lambda d, t, k: len(d.ChainDataset([k.Announced(), k.Announced()])),
    "chain no len": lambda d, t, k: len(d.ChainDataset([k.Stream()])),
    "subset": lambda d, t, k: (
        d.Subset(k.Numbers(), [3, 4])[1],
        len(d.Subset(k.Numbers(), [3, 4])),
    ),
    "subset list": lambda d, t, k: d.Subset(tensors(d, t, k), [3, 4, 5])[[0, 2]],
    "subset batch": lambda d, t, k: d.Subset(tensors(d, t, k), [3, 4, 5]).__getitems__([0, 2]),
    "split ints": split([7, 3]),
    "split zero": split([3, 0], 3),
    "split fractions": split([0.5, 0.25, 0.25]),
    "split uneven": split([0.9, 0.1], 3),
    "split whole": split([1.0]),
    "split one": split([0, 1], 1),
    "split too many": split([7, 4]),
    "split negative": split([-0.5, 1.5]),
    "split too few": split([0.5, 0.1]),
    "split default": lambda d, t, k: (
        t.manual_seed(3),
        d.random_split(k.Numbers(), [5, 5])[0].indices,
        t.rand(1),
    ),
    # samplers
    "sequential": drawn(lambda d, k, g: d.SequentialSampler(k.Numbers(3))),
    "random": drawn(lambda d, k, g: d.RandomSampler(k.Numbers())),
    "random g": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), generator=g)),
    "random few": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), num_samples=4, generator=g)),
    "random many": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), num_samples=25, generator=g)),
    "random repl": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), True)),
    "random repl g": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), True, 70, g)),
    "random repl 64": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), True, 64, g)),
    "random not bool": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), 1)),
    "random 0": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), num_samples=0)),
    "random -1": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), num_samples=-1)),
    "random 2.5": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), num_samples=2.5)),
    "random True": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(), num_samples=True)),
    "random empty": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(0))),
    "random empty 5": drawn(lambda d, k, g: d.RandomSampler(k.Numbers(0), num_samples=5)),
    "random lazy": lambda d, t, k: (
        t.manual_seed(0),
        iter(d.RandomSampler(range(3))) and t.rand(1),
    ),
    "subset random": drawn(lambda d, k, g: d.SubsetRandomSampler([5, 6, 7])),
    "subset random g": drawn(lambda d, k, g: d.SubsetRandomSampler("abc", g)),
    "weighted": drawn(lambda d, k, g: d.WeightedRandomSampler([0.1, 0.2, 0.7], 5)),
    "weighted once": drawn(lambda d, k, g: d.WeightedRandomSampler([0.1, 0.2, 0.7], 2, False, g)),
    "weighted weights": lambda d, t, k: d.WeightedRandomSampler([1, 2], 2).weights,
    "weighted 0": drawn(lambda d, k, g: d.WeightedRandomSampler([0.1], 0)),
    "weighted 2.0": drawn(lambda d, k, g: d.WeightedRandomSampler([0.1], 2.0)),
    "weighted True": drawn(lambda d, k, g: d.WeightedRandomSampler([0.1], True)),
    "weighted not bool": drawn(lambda d, k, g: d.WeightedRandomSampler([0.1], 2, 1)),
    "weighted 2d": drawn(lambda d, k, g: d.WeightedRandomSampler([[0.1]], 2)),
    "weighted too many": drawn(lambda d, k, g: d.WeightedRandomSampler([0.1, 0.9], 5, False)),
    "batches": drawn(lambda d, k, g: d.BatchSampler(d.SequentialSampler(range(10)), 3, False)),
    "batches drop": drawn(lambda d, k, g: d.BatchSampler(d.SequentialSampler(range(10)), 3, True)),
    "batches exact": drawn(lambda d, k, g: d.BatchSampler(range(9), 3, False)),
    "batches 0": drawn(lambda d, k, g: d.BatchSampler(range(9), 0, False)),
    "batches 2.0": drawn(lambda d, k, g: d.BatchSampler(range(9), 2.0, False)),
    "batches True": drawn(lambda d, k, g: d.BatchSampler(range(9), True, False)),
    "batches drop 1": drawn(lambda d, k, g: d.BatchSampler(range(9), 2, 1)),
    "batches generator": lambda d, t, k: list(d.BatchSampler((i for i in range(5)), 2, False)),
    "batches no len": lambda d, t, k: len(d.BatchSampler((i for i in range(5)), 2, False)),
    "sampler argument": lambda d, t, k: d.Sampler(k.Numbers()),
    "sampler iter": lambda d, t, k: iter(d.Sampler()),
    "sampler len": lambda d, t, k: len(d.Sampler()),
    "distributed no group": lambda d, t, k: d.DistributedSampler(k.Numbers()),
    "distributed no rank": lambda d, t, k: d.DistributedSampler(k.Numbers(), num_replicas=2),
    "distributed rank 3": lambda d, t, k: d.DistributedSampler(k.Numbers(), 3, 3),
    "distributed rank -1": lambda d, t, k: d.DistributedSampler(k.Numbers(), 3, -1),
    # DataLoader: what is sampled
    "loader": epochs(five, 2),
    "shuffle": epochs(five, 2, True),
    "shuffle drop": epochs(five, 2, shuffle=True, drop_last=True),
    "shuffle generator": epochs(five, batch_size=2, shuffle=True, generator=generator(3)),
    "generator alone": epochs(five, batch_size=2, generator=generator(3)),
    "no batches": epochs(five, batch_size=None),
    "no batches shuffle": epochs(five, batch_size=None, shuffle=True),
    "no batches drop": epochs(five, batch_size=None, drop_last=True),
    "batch sampler": epochs(
        five, batch_sampler=lambda d, t, k: d.BatchSampler(d.SequentialSampler(range(5)), 2, False)
    ),
    "batch sampler list": epochs(five, batch_sampler=[[0, 1], [2]]),
    "batch sampler size": epochs(five, batch_sampler=[[0, 1], [2]], batch_size=2),
    "batch sampler size None": epochs(five, batch_sampler=[[0, 1], [2]], batch_size=None),
    "batch sampler shuffle": epochs(five, batch_sampler=[[0, 1], [2]], shuffle=True),
    "batch sampler shuffle off": epochs(five, batch_sampler=[[0, 1], [2]], shuffle=False),
    "batch sampler drop": epochs(five, batch_sampler=[[0, 1], [2]], drop_last=True),
    "batch sampler sampler": epochs(five, batch_sampler=[[0, 1], [2]], sampler=[1]),
    "sampler": epochs(five, sampler=[1, 2, 3], batch_size=2),
    "sampler shuffle": epochs(five, sampler=[1, 2], shuffle=True),
    "sampler shuffle off": epochs(five, sampler=[1, 2], shuffle=False),
    "sampler generator": epochs(five, sampler=lambda d, t, k: (i for i in [1, 2, 3]), batch_size=2),
    "sampler random": epochs(five, 2, sampler=lambda d, t, k: d.RandomSampler(range(5))),
    "sampler subset": epochs(five, 2, sampler=lambda d, t, k: d.SubsetRandomSampler([1, 2, 4])),
    "sampler of batches": epochs(
        five, batch_size=None, sampler=lambda d, t, k: d.BatchSampler(range(5), 2, False)
    ),
    "sampler tensor": epochs(tensors, 2, sampler=lambda d, t, k: t.tensor([3, 1, 2])),
    "stream": epochs(stream, 2),
    "stream drop": epochs(stream, 2, drop_last=True),
    "stream no batches": epochs(stream, batch_size=None),
    "stream shuffle": epochs(stream, 2, shuffle=True),
    "stream shuffle off": epochs(stream, 2, shuffle=False),
    "stream sampler": epochs(stream, 2, sampler=[1]),
    "stream batch sampler": epochs(stream, batch_sampler=[[1]]),
    "announced": epochs(announced, 2, count=1),
    "announced none": epochs(announced, batch_size=None, count=1),
    "announced warns": warned(2),
    "announced fits": warned(3),
    "announced drop": warned(3, drop_last=True),
    # options
    "workers -1": epochs(five, num_workers=-1),
    "timeout -1": epochs(five, timeout=-1),
    "timeout 1": epochs(five, timeout=1),
    "timeout text": epochs(five, timeout="a"),
    "prefetch": epochs(five, prefetch_factor=2),
    "prefetch -1": epochs(five, prefetch_factor=-1),
    "prefetch -1 workers": epochs(five, prefetch_factor=-1, num_workers=1),
    "persistent": epochs(five, persistent_workers=True),
    "context": epochs(five, multiprocessing_context="spawn"),
    "context name": epochs(five, multiprocessing_context="spaw", num_workers=1),
    "context type": epochs(five, multiprocessing_context=3, num_workers=1),
    "context none": lambda d, t, k: d.DataLoader(five(d, t, k)).multiprocessing_context,
    "pinned device off": epochs(five, pin_memory_device="cuda"),
    "in order": epochs(five, in_order=False),
    "size 0": epochs(five, batch_size=0),
    "size -1": epochs(five, batch_size=-1),
    "size 1.5": epochs(five, batch_size=1.5),
    "size True": epochs(five, batch_size=True),
    "generator type": epochs(five, generator=3),
    "positional": epochs(five, 2, False, None, None, 0, None, False, True, 0, None, None, None),
    "set batch_size": lambda d, t, k: setattr(d.DataLoader(five(d, t, k)), "batch_size", 3),
    "set dataset": lambda d, t, k: setattr(d.DataLoader(five(d, t, k)), "dataset", 3),
    "set collate_fn": lambda d, t, k: setattr(d.DataLoader(five(d, t, k)), "collate_fn", 3),
    "attributes": lambda d, t, k: {
        n: v
        for n, v in vars(d.DataLoader(five(d, t, k), 2)).items()
        if n not in ("collate_fn", "dataset")
    },
    "attributes stream": lambda d, t, k: {
        n: v
        for n, v in vars(d.DataLoader(stream(d, t, k), None)).items()
        if n not in ("collate_fn", "dataset")
    },
    "subscript": lambda d, t, k: str(d.DataLoader[int]).split(".")[-1],
    "length of iterator": lambda d, t, k: len(iter(d.DataLoader(five(d, t, k), 2))),
    "nested loops": lambda d, t, k: [
        (a, b) for dl in [d.DataLoader(range(3))] for a in dl for b in dl
    ],
    # what is fetched
    "empty": epochs(lambda d, t, k: k.Numbers(0)),
    "empty shuffle": epochs(lambda d, t, k: k.Numbers(0), shuffle=True),
    "list": epochs(lambda d, t, k: [1, 2, 3], 2),
    "tensor": epochs(lambda d, t, k: t.arange(5), 2),
    "dict": epochs(lambda d, t, k: {0: 1, 1: 5}, 2),
    "no length": epochs(lambda d, t, k: d.Dataset()),
    "failing": epochs(lambda d, t, k: k.Failing()),
    "getitems": epochs(lambda d, t, k: k.Batched(5), 2),
    "getitems single": epochs(lambda d, t, k: k.Batched(5), batch_size=None),
    "getitems None": epochs(lambda d, t, k: k.NoBatches(5), 2),
    "getitems subset": epochs(lambda d, t, k: d.Subset(k.Batched(5), [3, 4, 0]), 2),
    "tensors": epochs(tensors, 3, True),
    "tensors single": epochs(tensors, batch_size=None, shuffle=True),
    "tensors own collate": epochs(tensors, 3, collate_fn=lambda batch: len(batch)),
    "tensors subset": epochs(lambda d, t, k: d.Subset(tensors(d, t, k), [6, 0, 3, -1]), 3, True),
    "tensors split": epochs(lambda d, t, k: d.random_split(tensors(d, t, k), [5, 2])[0], 2, True),
    "tensors grad": epochs(lambda d, t, k: d.TensorDataset(t.ones(4, 2, requires_grad=True)), 3),
    "tensors strided": epochs(
        lambda d, t, k: d.TensorDataset(t.arange(12).view(3, 4).t()), 3, True
    ),
    "tensors out of range": epochs(tensors, 2, sampler=[3, 9]),
    "tensors subclass": epochs(lambda d, t, k: k.Doubled(t.arange(3)), 2),
    "collate sum": epochs(five, 2, collate_fn=lambda batch: sum(batch)),
    "collate single": epochs(five, None, collate_fn=lambda sample: sample * 2),
}
for number, options in enumerate([
    dict(num_replicas=3, rank=0), dict(num_replicas=3, rank=1), dict(num_replicas=5, rank=2),
    dict(num_replicas=3, rank=2, drop_last=True), dict(num_replicas=3, rank=2, shuffle=False),
    dict(num_replicas=3, rank=1, seed=4),
    dict(num_replicas=3, rank=2, shuffle=False, drop_last=True),
    dict(num_replicas=23, rank=21), dict(num_replicas=23, rank=21, drop_last=True),
]):  # fmt: skip

    def share(d, t, k, options=options):
        s = d.DistributedSampler(k.Numbers(), **options)
        first = list(s)
        s.set_epoch(2)
        return first, list(s), len(s), s.num_samples, s.total_size, s.epoch

    CASES[f"distributed {number}"] = share

BATCHES = {
    "tensors": lambda t: [t.ones(2), t.zeros(2)],
    "tensors grad": lambda t: [t.ones(2, requires_grad=True), t.zeros(2)],
    "tensors 0-dim": lambda t: [t.tensor(1), t.tensor(2)],
    "tensors dtypes": lambda t: [t.tensor(1), t.tensor(2.0)],
    "tensors shapes": lambda t: [t.ones(2), t.zeros(3)],
    "arrays": lambda t: [np.ones(2), np.zeros(2)],
    "arrays 32": lambda t: [np.ones(2, np.float32), np.zeros(2, np.float32)],
    "arrays 0-dim": lambda t: [np.array(2), np.array(3)],
    "arrays text": lambda t: [np.array("a"), np.array("b")],
    "arrays object": lambda t: [np.array([None]), np.array([1], dtype=object)],
    "float32": lambda t: [np.float32(2), np.float32(3)],
    "float64": lambda t: [np.float64(2), np.float64(3)],
    "int16": lambda t: [np.int16(2), np.int16(3)],
    "bool_": lambda t: [np.bool_(2), np.bool_(0)],
    "str_": lambda t: [np.str_("a"), np.str_("b")],
    "datetime": lambda t: [np.datetime64("2001-01-01")],
    "float": lambda t: [1.0, 2.0],
    "int": lambda t: [1, 2],
    "bool": lambda t: [True, False],
    "float int": lambda t: [1.0, 2],
    "int float": lambda t: [1, 2.5],
    "complex": lambda t: [1j, 2.5],
    "str": lambda t: ["a", "b"],
    "bytes": lambda t: [b"a", b"b"],
    "bytearray": lambda t: [bytearray(b"ab"), bytearray(b"cd")],
    "dict": lambda t: [{"a": 1, "b": 2.0}, {"a": 3, "b": 4.0}],
    "dict missing": lambda t: [{"a": 1, "b": 2.0}, {"a": 3}],
    "dict extra": lambda t: [{"a": 3}, {"a": 1, "b": 2.0}],
    "ordered": lambda t: [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    "defaultdict": lambda t: [collections.defaultdict(int, a=1), collections.defaultdict(int, a=2)],
    "own dict": lambda t: [MyDict(a=1), MyDict(a=2)],
    "own mapping": lambda t: [Mapped({"a": 1}), Mapped({"a": 2})],
    "mapping proxy": lambda t: [types.MappingProxyType({"a": 1})] * 2,
    "namedtuple": lambda t: [Pair(1, 2), Pair(3, 4)],
    "tuple": lambda t: [(1, 2.0), (3, 4.0)],
    "list": lambda t: [[1, 2.0], [3, 4.0]],
    "own list": lambda t: [MyList([1, 2.0]), MyList([3, 4.0])],
    "own sequence": lambda t: [Sequenced(1, 2.0), Sequenced(3, 4.0)],
    "deque": lambda t: [collections.deque([1, 2]), collections.deque([3, 4])],
    "range": lambda t: [range(3), range(3)],
    "unequal": lambda t: [[1, 2.0], [3]],
    "tuple list": lambda t: [(1, 2.0), [3, 4]],
    "empty": lambda t: [],
    "empty inside": lambda t: [[], []],
    "none": lambda t: [None, None],
    "object": lambda t: [Ellipsis, 2],
    "set": lambda t: [{1}, {2}],
    "nested": lambda t: [{"x": [(1, "a"), Pair(2.0, b"b")], "y": {"z": t.zeros(1)}}] * 2,
    "a tuple of samples": lambda t: (1, 2),
}
for name, batch in BATCHES.items():
    CASES[f"collate {name}"] = lambda d, t, k, b=batch: d.default_collate(b(t))
    CASES[f"convert {name}"] = lambda d, t, k, b=batch: d.default_convert(b(t))
CASES["convert set"] = lambda d, t, k: d.default_convert({1})
CASES["convert none"] = lambda d, t, k: d.default_convert(None)
CASES["collate by table"] = lambda d, t, k: d._utils.collate.collate(
    [1, 2], collate_fn_map={(float, int): lambda batch, *, collate_fn_map=None: ("mine", batch)}
)
CASES["collate no table"] = lambda d, t, k: d._utils.collate.collate([1, 2])


@pytest.mark.parametrize("name", CASES)
def test_same_as_torch(name):
    expected = outcome(CASES[name], torch_data, torch)
    assert outcome(CASES[name], our_data, rushlight) == expected


def test_names_of_torch_are_there():
    gone = {  # the retired data pipes
        "DFIterDataPipe", "DataChunk", "IterDataPipe", "MapDataPipe", "argument_validation",
        "functional_datapipe", "guaranteed_datapipes_determinism", "non_deterministic",
        "runtime_validation", "runtime_validation_disabled", "_DatasetKind",
    }  # fmt: skip
    assert set(torch_data.__all__) - gone == set(our_data.__all__)
