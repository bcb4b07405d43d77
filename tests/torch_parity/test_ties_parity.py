"""The order of equal elements against torch: topk, kthvalue, mode and sorts that are not stable give the same indices."""

import numpy as np
import pytest

import rushlight
from rushlight.core import selection

torch = pytest.importorskip("torch")

KINDS = ("int64", "uint8", "float32", "bfloat16", "float16", "nan")


def _pair(kind, shape, seed):
    numbers = np.random.default_rng(seed).integers(0, 9, shape)
    a, b = torch.from_numpy(numbers.copy()), rushlight.from_numpy(numbers.copy())
    if kind == "nan":
        return torch.where(a > 6, float("nan"), a.float()), rushlight.where(b > 6, float("nan"), b.float())
    return a.to(getattr(torch, kind)), b.to(getattr(rushlight, kind))


def _same(want, got):
    for w, g in zip(want, got):
        assert tuple(g.shape) == tuple(w.shape)
        np.testing.assert_array_equal(g.double().numpy(), w.double().numpy())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(5,), (40,), (300,), (7, 30), (3, 20, 5)])
def test_topk_and_kthvalue(kind, shape):
    x, y = _pair(kind, shape, 0)
    for dim in range(x.ndim):
        n = x.shape[dim]
        for k in sorted({1, 2, n // 2, n}):
            for largest in (True, False):
                _same(x.topk(k, dim, largest), y.topk(k, dim, largest))
            _same(x.kthvalue(k, dim), y.kthvalue(k, dim))
            _same(x.kthvalue(k, dim, True), y.kthvalue(k, dim, True))


@pytest.mark.parametrize("kind", KINDS)
def test_sort_and_mode(kind):
    for seed, shape in enumerate([(16,), (17,), (1000,), (6, 50), (50, 6)]):
        x, y = _pair(kind, shape, seed)
        for dim in range(x.ndim):
            for descending in (False, True):
                _same(x.sort(dim, descending), y.sort(dim, descending))
                _same(x.sort(dim=dim, descending=descending, stable=True), y.sort(dim=dim, descending=descending, stable=True))
            _same([x.argsort(dim)], [y.argsort(dim)])
            if kind != "nan":
                _same(x.mode(dim), y.mode(dim))


def _killer(n):
    """A permutation on which every median of three is a bad pivot, so that depth runs out (Musser)."""
    a, k = [0] * n, n // 2
    for i in range(1, k + 1):
        if i % 2:
            a[i - 1] = i
            if i < k:
                a[i] = k + i
        a[k + i - 1] = 2 * i
    return np.array(a)


@pytest.mark.parametrize("divisor", [1, 2, 3])
def test_when_partitions_degenerate(divisor, monkeypatch):
    used = []
    heap = selection._heap_select
    monkeypatch.setattr(selection, "_heap_select", lambda *a: used.append(1) or heap(*a))
    numbers = _killer(4000) // divisor
    x, y = torch.from_numpy(numbers), rushlight.from_numpy(numbers.copy())
    _same(x.sort(), y.sort())
    for k in (1333, 2000, 3999):
        _same(x.topk(k, largest=False), y.topk(k, largest=False))
        _same(x.kthvalue(k), y.kthvalue(k))
    _same(x.mode(), y.mode())
    assert divisor == 1 or used


@pytest.mark.parametrize("text", ["T.tensor([True]).topk(1)", "T.tensor([1j]).topk(1)", "T.tensor([1j]).sort()", "T.tensor([1.]).topk(2)", "T.tensor([1.]).kthvalue(0)"])
def test_errors(text):
    with pytest.raises(Exception) as theirs:
        eval(text, {"T": torch})
    with pytest.raises(theirs.type):
        eval(text, {"T": rushlight})
