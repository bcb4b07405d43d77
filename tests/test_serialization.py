"""Copies, pickles and checkpoint files, without PyTorch."""

import copy
import io
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

import rushlight as torch


def through_pickle(x):
    return pickle.loads(pickle.dumps(x))


def through_file(x, **options):
    file = io.BytesIO()
    torch.save(x, file)
    file.seek(0)
    return torch.load(file, **options)


ROUTES = {"pickle": through_pickle, "deepcopy": copy.deepcopy, "save": through_file, "save, anything": lambda x: through_file(x, weights_only=False)}


def values():
    torch.manual_seed(0)
    return {
        "matrix": torch.randn(3, 4),
        "transposed": torch.arange(6.0).view(2, 3).t(),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "complex": torch.tensor([1 + 2j]),
        "unsigned": torch.tensor([1, 2], dtype=torch.uint16),
        "eight bits": torch.ones(2, dtype=torch.float8_e5m2),
        "flags": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(3),
        "leaf": torch.ones(2, requires_grad=True),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", values())
def test_tensors_come_back(route, name):
    x = values()[name]
    y = ROUTES[route](x)
    assert type(y) is type(x) and y.dtype is x.dtype and y.shape == x.shape and y.stride() == x.stride()
    assert y.requires_grad == x.requires_grad and y is not x
    assert x.tolist() == y.tolist()
    if x.numel():
        assert x.data_ptr() != y.data_ptr()


@pytest.mark.parametrize("route", ROUTES)
def test_views_share_memory_afterwards_as_before(route):
    x = torch.arange(6.0)
    whole, part, shaped = ROUTES[route]([x, x[2:4], x.view(2, 3)])
    part[0] = 9
    assert whole[2] == 9 and shaped[0, 2] == 9 and x[2] == 2
    assert whole.untyped_storage() == part.untyped_storage() and part.storage_offset() == 2


def test_a_small_view_takes_its_whole_storage_along():
    file = io.BytesIO()
    torch.save(torch.arange(1000.0)[:2], file)
    assert len(file.getvalue()) > 4000


@pytest.mark.parametrize("value", [torch.float32, torch.device("cuda", 1), torch.Size([2, 3]), torch.strided, torch.channels_last, None, {1, 2}, b"ab", 10**30, (1, 2.5, "x"), OrderedDict(a=1), 1j], ids=repr)
def test_what_checkpoints_hold_beside_tensors(value):
    for route in ROUTES.values():
        assert route(value) == value and type(route(value)) is type(value)


def test_functions_and_classes_pickle_by_name():
    for f in (torch.add, torch.relu, torch.Tensor.add_, torch.Tensor, torch.dtype, torch.nn.Linear):
        assert through_pickle(f) is f
    assert repr(torch.Tensor) == "<class 'torch.Tensor'>" and repr(type(torch.float32)) == "<class 'torch.dtype'>"


def test_generators_keep_their_place():
    g = torch.Generator().manual_seed(3)
    torch.rand(5, generator=g)
    for route in (through_pickle, copy.deepcopy, ROUTES["save, anything"]):
        assert torch.rand(3, generator=route(g)).tolist() == torch.rand(3, generator=g.clone_state()).tolist()


def test_copy_shares_and_deepcopy_does_not():
    x = torch.ones(2)
    x.note = [1]
    shallow, deep = copy.copy(x), copy.deepcopy(x)
    x[0] = 5
    assert shallow[0] == 5 and deep[0] == 1
    assert shallow.note is x.note and deep.note == [1] and deep.note is not x.note


def test_deepcopy_takes_gradients_along_and_meets_each_object_once():
    x = torch.ones(2, requires_grad=True)
    x.grad = torch.full((2,), 3.0)
    a, b = copy.deepcopy([x, x])
    assert a is b and a.grad.tolist() == [3, 3] and a.grad is not x.grad


def test_deepcopy_is_for_leaves():
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(torch.ones(1, requires_grad=True) * 2)


def test_a_training_state_continues_where_it_was(tmp_path):
    def make():
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        return model, torch.optim.Adam(model.parameters(), lr=0.1)

    def step(model, optimizer):
        optimizer.zero_grad()
        loss = (model(torch.ones(2, 3)) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss.item()

    model, optimizer = make()
    step(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    expected = [step(model, optimizer) for _ in range(3)]
    model, optimizer = make()
    state = torch.load(tmp_path / "state.pt")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    assert [step(model, optimizer) for _ in range(3)] == expected


def test_the_file_is_a_zip_whose_storages_are_aligned(tmp_path):
    torch.save({"a": torch.ones(3), "b": torch.ones(5)}, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    with zipfile.ZipFile(tmp_path / "x.pt") as archive:
        assert {"x/data.pkl", "x/byteorder", "x/data/0", "x/data/1", "x/version"} <= set(archive.namelist())
        for info in archive.infolist():
            name, extra = np.frombuffer(data[info.header_offset + 26 : info.header_offset + 30], "<u2")
            assert (info.header_offset + 30 + int(name) + int(extra)) % 64 == 0
        names = [a for op, a, _ in pickletools.genops(archive.read("x/data.pkl")) if op.name == "GLOBAL"]
    assert "torch._utils _rebuild_tensor_v2" in names and not any("rushlight" in n for n in names)


def test_mapped_files_are_read_when_they_are_touched_and_never_changed(tmp_path):
    torch.save(torch.arange(5.0), tmp_path / "x.pt")
    x = torch.load(tmp_path / "x.pt", mmap=True)
    x[0] = 7
    assert x.tolist() == [7, 1, 2, 3, 4] and torch.load(tmp_path / "x.pt").tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="file path"):
        torch.load(io.BytesIO((tmp_path / "x.pt").read_bytes()), mmap=True)


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.pt"
    torch.save(torch.ones(2), path)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        torch.save([torch.zeros(2), lambda: 0], path)
    assert torch.load(path).tolist() == [1, 1] and os.listdir(tmp_path) == ["x.pt"]


class Thing:
    def __init__(self):
        self.x = torch.ones(1)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def test_loading_runs_no_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for bad in (Evil(), Thing(), torch.nn.Linear(1, 1), os.mkdir):
        with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
            through_file(bad)
    assert not os.path.exists("evil")


@pytest.mark.parametrize("program", [
    b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
    b"\x80\x02ctorch\nTensor\n}X\x0d\x00\x00\x00__init_subclass__K\x01sb.",
    b"\x80\x02ccollections\nOrderedDict\n)R(K\x01K\x02e.",
    b"\x80\x02K\x01K\x02\x85R.",
    b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.",
    b"\x80\x02ios\nsystem\n.",
])  # fmt: skip
def test_pickles_that_try_are_refused(program):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", "3")
    file.seek(0)
    with pytest.raises(Exception) as error:
        torch.load(file)
    assert isinstance(error.value, (pickle.UnpicklingError, ValueError, AttributeError, TypeError))


def test_classes_are_allowed_by_name():
    thing = Thing()
    with torch.serialization.safe_globals([Thing]):
        assert through_file(thing).x.tolist() == [1]
    with pytest.raises(pickle.UnpicklingError, match=r"add_safe_globals\(\[Thing\]\)"):
        through_file(thing)
    torch.serialization.add_safe_globals([Thing])
    assert torch.serialization.get_safe_globals() == [Thing]
    torch.serialization.clear_safe_globals()
    assert through_file(thing, weights_only=False).x.tolist() == [1]
    file = io.BytesIO()
    torch.save(thing, file)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(file) == [f"{__name__}.Thing"]


def test_map_location():
    seen = []
    x = through_file(torch.ones(2), map_location=lambda storage, location: seen.append((type(storage), location)))
    assert x.tolist() == [1, 1] and seen == [(torch.UntypedStorage, "cpu")]
    for where in ("meta", torch.device("meta"), {"cpu": "meta"}):
        assert through_file(torch.ones(2), map_location=where).is_meta
    with pytest.raises(RuntimeError, match=r"torch.cuda.is_available\(\) is False"):
        through_file(torch.ones(2), map_location="cuda")


def test_errors_name_what_was_given(tmp_path):
    with pytest.raises(AttributeError, match="'write' attribute"):
        torch.save(1, 5)
    with pytest.raises(RuntimeError, match="Parent directory"):
        torch.save(1, tmp_path / "none" / "x.pt")
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "x.pt")
    with pytest.raises(AttributeError, match="seek"):
        torch.load(5)
    with pytest.raises(EOFError):
        torch.load(io.BytesIO())
    with pytest.raises(RuntimeError, match="explicit pickle_module"):
        torch.load(io.BytesIO(b"x"), pickle_module=pickle, weights_only=True)
