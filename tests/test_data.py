"""utils.data by itself: data sets, samplers, collation, DataLoader, progress.

The orders are those that PyTorch 2.13 prints for the same seeds, written down here, so that they
are checked where torch is not installed as well (tests/torch_parity compares much more where it
is).
"""

import collections
import io
import sys
import warnings

import numpy as np
import pytest

import rushlight
from rushlight.utils import progress
from rushlight.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)
from rushlight.utils.data._utils import fetch


class Numbers(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return i


class Stream(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


def seeded(seed):
    generator = rushlight.Generator()
    generator.manual_seed(seed)
    return generator


def lists(loader):
    return [batch.tolist() for batch in loader]


# orders that PyTorch gives


def test_shuffle_order_and_state_are_pytorchs():
    rushlight.manual_seed(0)
    assert rushlight.randint(1000, (1,)).item() == 44
    loader = DataLoader(Numbers(5), batch_size=2, shuffle=True)
    assert lists(loader) == [[1, 3], [2, 0], [4]]
    assert lists(loader) == [[1, 0], [4, 2], [3]]
    assert rushlight.randint(1000, (1,)).item() == 683  # two draws an epoch: base seed, order


def test_an_epoch_without_shuffle_draws_the_base_seed():
    rushlight.manual_seed(0)
    rushlight.randint(1000, (1,))
    loader = DataLoader(Numbers(5), batch_size=2)
    assert lists(loader) == lists(loader) == [[0, 1], [2, 3], [4]]
    assert rushlight.randint(1000, (1,)).item() == 379


def test_generator_leaves_the_default_one_alone():
    rushlight.manual_seed(0)
    rushlight.randint(1000, (1,))
    loader = DataLoader(Numbers(5), batch_size=2, shuffle=True, generator=seeded(3))
    assert lists(loader) == [[2, 4], [3, 0], [1]]
    assert lists(loader) == [[0, 2], [1, 4], [3]]
    assert rushlight.randint(1000, (1,)).item() == 239


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({}, [6, 9, 0, 7, 3, 5, 4, 2, 1, 8]),
        ({"num_samples": 4}, [6, 9, 0, 7]),
        ({"replacement": True}, [6, 0, 4, 3, 9, 5, 7, 8, 9, 1]),
        (
            {"num_samples": 25},
            [6, 9, 0, 7, 3, 5, 4, 2, 1, 8, 1, 8, 5, 4, 9, 2, 0, 7, 3, 6, 0, 7, 9, 3, 8],
        ),
    ],
)
def test_random_sampler(options, order):
    rushlight.manual_seed(0)
    sampler = RandomSampler(Numbers(10), **options)
    assert list(sampler) == order and len(sampler) == len(order)


def test_other_samplers():
    rushlight.manual_seed(0)
    assert list(SubsetRandomSampler([5, 6, 7])) == [7, 5, 6]
    rushlight.manual_seed(0)
    assert list(WeightedRandomSampler([0.1, 0.2, 0.7], 5)) == [2, 2, 2, 2, 2]
    rushlight.manual_seed(0)
    assert list(WeightedRandomSampler([0.1, 0.2, 0.7], 2, replacement=False)) == [2, 1]
    assert list(BatchSampler(SequentialSampler(range(5)), 2, True)) == [[0, 1], [2, 3]]
    shares = [DistributedSampler(Numbers(10), 3, rank) for rank in range(3)]
    assert list(shares[0]) == [4, 5, 0, 2] and list(shares[1]) == [1, 3, 8, 4]
    for share in shares:
        share.set_epoch(2)
    assert list(shares[0]) == [8, 5, 0, 3] and list(shares[1]) == [7, 6, 4, 8]


def test_random_split():
    parts = random_split(Numbers(10), [7, 3], generator=seeded(0))
    assert [p.indices for p in parts] == [[4, 1, 7, 5, 3, 9, 0], [8, 6, 2]]
    parts = random_split(Numbers(10), [0.5, 0.25, 0.25], generator=seeded(0))
    assert [p.indices for p in parts] == [[4, 1, 7, 5, 3, 9], [0, 8], [6, 2]]
    with pytest.raises(ValueError, match="Sum of input lengths"):
        random_split(Numbers(10), [7, 4])
    with pytest.warns(UserWarning, match="Length of split at index 1 is 0"):
        random_split(Numbers(3), [0.9, 0.1])


# collation


def test_collate_nested():
    pair = collections.namedtuple("pair", "a b")
    sample = {"x": [(1, "t"), pair(2.0, b"b")], "y": np.zeros(2, np.float32), "z": np.int16(3)}
    batch = default_collate([sample, sample])
    assert batch["x"][0][0].tolist() == [1, 1] and batch["x"][0][1] == ("t", "t")
    assert type(batch["x"][1]) is pair and batch["x"][1].a.dtype is rushlight.float64
    assert batch["y"].shape == (2, 2) and batch["y"].dtype is rushlight.float32
    assert batch["z"].dtype is rushlight.int16


def test_collate_keeps_types():
    counts = collections.defaultdict(list, a=1)
    batch = default_collate([counts, counts])
    assert type(batch) is collections.defaultdict and batch.default_factory is list
    assert counts["a"] == 1  # the sample is not written to
    assert type(default_collate([(1, 2), (3, 4)])) is list


@pytest.mark.parametrize("batch", [[None], [1j], [{1}], [np.array("a")], [np.array([None])]])
def test_collate_says_what_it_cannot(batch):
    with pytest.raises(TypeError, match="default_collate: batch must contain tensors"):
        default_collate(batch)


def test_collate_unequal():
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([[1, 2], [3]])
    with pytest.raises(RuntimeError, match="equal size"):
        default_collate([rushlight.ones(2), rushlight.ones(3)])


def test_convert():
    assert default_convert(np.float32(2)).dtype is rushlight.float32
    assert default_convert({"a": np.ones(2)})["a"].dtype is rushlight.float64
    assert default_convert((1, "a", None)) == [1, "a", None]


# data sets


def test_compositions():
    both = ConcatDataset([Numbers(3), Numbers(2)])
    assert [both[i] for i in range(5)] == [0, 1, 2, 0, 1] and both[-1] == 1
    assert StackDataset(a=Numbers(3), b=Numbers(3))[1] == {"a": 1, "b": 1}
    with pytest.raises(AssertionError, match=r"Size mismatch between tensors.*\[3, 4\]"):
        TensorDataset(rushlight.ones(3), rushlight.ones(4))
    with pytest.raises(TypeError, match="ndarray.*as_tensor"):
        TensorDataset(np.ones(3))
    assert list(Stream(2) + Stream(1)) == [0, 1, 0]


# the loader


@pytest.mark.parametrize("source", ["whole", "subset"])
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "bfloat16"])
def test_whole_batches_equal_single_samples(source, dtype, monkeypatch):
    x = (rushlight.arange(24).view(8, 3) % 5).to(getattr(rushlight, dtype))
    dataset = TensorDataset(x, rushlight.arange(8))
    if source == "subset":
        dataset = Subset(dataset, [7, 0, -2, 3, 3])
    fast = list(DataLoader(dataset, 3, shuffle=True, generator=seeded(1)))
    monkeypatch.setattr(fetch, "_whole_batch", lambda dataset, index: None)
    slow = list(DataLoader(dataset, 3, shuffle=True, generator=seeded(1)))
    assert len(fast) == len(slow)
    for a, b in zip(fast, slow):
        assert type(a) is type(b) is list
        for s, t in zip(a, b):
            assert s.dtype is t.dtype and s.shape == t.shape and s.tolist() == t.tolist()
            assert s.is_contiguous() and not s.requires_grad


def test_batches_are_copies():
    x = rushlight.zeros(4, 2)
    for (batch,) in DataLoader(TensorDataset(x), batch_size=2):
        batch += 1
    assert x.sum().item() == 0


def test_a_batch_keeps_the_graph():
    x = rushlight.ones(4, 2, requires_grad=True)
    (batch,) = next(iter(DataLoader(TensorDataset(x), batch_size=4)))
    batch.sum().backward()
    assert x.grad.tolist() == [[1, 1]] * 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size should be a positive integer"),
        ({"batch_size": None, "drop_last": True}, "mutually exclusive with drop_last"),
        ({"sampler": [0], "shuffle": True}, "mutually exclusive with shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler option is mutually exclusive"),
        ({"num_workers": -1}, "num_workers option should be non-negative"),
        ({"timeout": -1}, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, "prefetch_factor option"),
        ({"persistent_workers": True}, "persistent_workers option needs num_workers > 0"),
        ({"multiprocessing_context": "spawn"}, "multiprocessing_context can only be used"),
    ],
)
def test_options_that_contradict(options, words):
    with pytest.raises(ValueError, match=words):
        DataLoader(Numbers(3), **options)


def test_options_of_streams():
    for name, value in {"shuffle": True, "sampler": [0], "batch_sampler": [[0]]}.items():
        with pytest.raises(ValueError, match=f"expected unspecified {name} option"):
            DataLoader(Stream(3), **{name: value})
    assert lists(DataLoader(Stream(5), 2)) == [[0, 1], [2, 3], [4]]
    assert lists(DataLoader(Stream(5), 2, drop_last=True)) == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(3), None)) == [0, 1, 2]


def test_a_stream_that_lied_about_its_length():
    class Liar(Stream):
        def __len__(self):
            return 1

    loader = DataLoader(Liar(6), batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(loader)  # nobody asked for the length
    assert len(loader) == 1
    with pytest.warns(UserWarning, match="was reported to be 1"):
        list(loader)


def test_pinning_without_an_accelerator_warns():
    loader = DataLoader(Numbers(3), pin_memory=True)
    with pytest.warns(UserWarning, match="no accelerator is found"):
        assert lists(loader) == [[0], [1], [2]]


def test_attributes_stay():
    loader = DataLoader(Numbers(3))
    with pytest.raises(ValueError, match="batch_size attribute should not be set after"):
        loader.batch_size = 4
    with pytest.raises(AssertionError, match="requires timeout == 0"):
        iter(DataLoader(Numbers(3), timeout=1))


# progress


def test_progress_passes_items_through():
    out = io.StringIO()
    assert list(progress([1, 2, 3], "fit", file=out)) == [1, 2, 3]
    assert "fit" in out.getvalue()


def test_progress_without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    out = io.StringIO()
    bar = progress([1, 2], "fit", file=out)
    for _ in bar:
        bar.set_postfix(loss=0.5)
    assert "fit: started of 2" in out.getvalue() and "fit: done, 2 of 2, loss=0.5" in out.getvalue()
    assert len(bar) == 2
    assert list(progress(iter("ab"), disable=True, file=out)) == ["a", "b"]
