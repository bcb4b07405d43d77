"""rushlight.utils.progress around a loader: what it says of waiting and of the loss."""

import io
import sys
import time
import warnings

import pytest

import rushlight
from rushlight.utils import progress
from rushlight.utils.data import DataLoader

module = sys.modules["rushlight.utils.progress"]


@pytest.fixture(params=["tqdm", "plain"])
def out(request, monkeypatch):
    monkeypatch.setattr(module, "LEAST_TIME", 0.0)
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    else:
        pytest.importorskip("tqdm")
    return io.StringIO()


class Slow(rushlight.utils.data.Dataset):
    def __init__(self, seconds):
        self.seconds = seconds

    def __len__(self):
        return 30

    def __getitem__(self, i):
        time.sleep(self.seconds)
        return i


def test_waiting_is_shown_and_named(out):
    bar = progress(DataLoader(Slow(0.003)), "fit", file=out)
    with pytest.warns(UserWarning, match="waited for its data .*num_workers=2") as told:
        assert len([x for x in bar]) == 30
    assert len([w for w in told if "waited" in str(w.message)]) == 1
    assert bar.wait_share > 0.5 and "wait=" in out.getvalue() and "fit" in out.getvalue()
    assert len(bar) == 30


def test_workers_have_another_remedy(out):
    loader = DataLoader(Slow(0.003), num_workers=1, worker_type="thread")
    with pytest.warns(UserWarning, match="num_workers=1 cannot keep up.*prefetch_factor"):
        list(progress(loader, file=out))


def test_no_word_where_the_loop_works(out):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bar = progress(DataLoader(Slow(0)), file=out)
        for _ in bar:
            time.sleep(0.002)
        assert bar.wait_share < 1 / 3
        list(progress(Slow(0.001)[i] for i in range(30)))  # no loader: nothing is said of waiting


def test_the_loss_and_other_notes(out):
    bar = progress(DataLoader(Slow(0)), file=out, wait=False)
    for k, _ in enumerate(bar):
        bar.loss(rushlight.tensor(2.0, requires_grad=True) * 1)
        if k == 3:
            bar.set_postfix(lr=0.5)
    bar.loss(2)
    assert bar._notes["loss"] == "2"
    assert "loss=2" in out.getvalue()


def test_a_loop_that_is_left(out):
    bar = progress(range(10), file=out)
    for k in bar:
        if k == 3:
            break
    with progress(range(3), file=out) as bar:
        assert list(bar) == [0, 1, 2]
