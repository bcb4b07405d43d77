"""Checkpoint files travel between PyTorch and rushlight."""

import collections
import io
import pickle

import pytest

import rushlight

torch = pytest.importorskip("torch")


def state(t):
    t.manual_seed(0)
    model = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4), t.nn.Linear(4, 1))
    optimizer = t.optim.AdamW(model.parameters(), lr=0.1)
    model(t.randn(5, 3)).sum().backward()
    optimizer.step()
    return {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}


def mixed(t):
    noted = t.ones(2)
    noted.note = [1, "a"]
    return {
        "list": [t.arange(6.0).view(2, 3).t(), (t.zeros(0, 3), t.tensor(3))],
        "ordered": collections.OrderedDict(p=t.nn.Parameter(t.ones(2)), leaf=t.ones(2, requires_grad=True)),
        "dtypes": {n: t.arange(3).to(getattr(t, n)) for n in ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32", "float64", "complex64", "complex128", "float8_e5m2", "float8_e4m3fn")},
        "types": [t.float32, t.Size([1, 2]), t.device("cpu"), t.device("cuda", 1), t.strided],
        "python": [None, True, 1, 10**30, -1.5, 1j, "x", b"y", {1, 2}, frozenset([3])],
        "meta": t.empty(2, 3, device="meta").t(),
        "noted": noted,
        "channels last": t.ones(1, 2, 3, 3).to(memory_format=t.channels_last),
    }


def shared(t):
    x = t.arange(6.0)
    return [x, x[2:4], x.view(2, 3)]


def plain(value):
    """Both libraries' objects as the same Python values."""
    if isinstance(value, (torch.Tensor, rushlight.Tensor)):
        values = "meta" if value.is_meta else repr(value.tolist())
        notes = plain(getattr(value, "note", None))
        return (type(value).__name__, str(value.dtype), tuple(value.shape), value.stride(), value.storage_offset(), value.requires_grad, values, notes)
    if isinstance(value, dict):
        return type(value).__name__, {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [plain(v) for v in value]
    return repr(value)


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("make", [state, mixed, shared], ids=lambda f: f.__name__)
@pytest.mark.parametrize("writer, reader", [(torch, rushlight), (rushlight, torch)], ids=["read", "write"])
def test_files_travel(writer, reader, make, weights_only):
    file = io.BytesIO()
    if make is mixed:  # PyTorch's reader without code refuses frozensets
        value = mixed(writer)
        value["python"].pop() if weights_only else None
    else:
        value = make(writer)
    writer.save(value, file)
    file.seek(0)
    got = reader.load(file, weights_only=weights_only)
    assert plain(got) == plain(value)
    if make is shared:
        got[1][0] = 9
        assert got[0][2] == 9 and got[2][0, 2] == 9


@pytest.mark.parametrize("writer, reader", [(torch, rushlight), (rushlight, torch)], ids=["read", "write"])
def test_whole_modules_and_generators_travel(writer, reader):
    model = writer.nn.Sequential(writer.nn.Linear(2, 3), writer.nn.ReLU())
    for value, show in ((model, repr), (writer.Generator().manual_seed(5), lambda g: g.initial_seed())):
        file = io.BytesIO()
        writer.save(value, file)
        file.seek(0)
        assert show(reader.load(file, weights_only=False)) == show(value)


@pytest.mark.parametrize("writer, reader", [(torch, rushlight), (rushlight, torch)], ids=["read", "write"])
def test_files_are_mapped(writer, reader, tmp_path):
    writer.save({"x": writer.arange(5.0)}, tmp_path / "x.pt")
    assert reader.load(tmp_path / "x.pt", mmap=True)["x"].tolist() == [0, 1, 2, 3, 4]


def test_the_old_format_is_read():
    file = io.BytesIO()
    torch.save(shared(torch), file, _use_new_zipfile_serialization=False)
    file.seek(0)
    assert plain(rushlight.load(file)) == plain(shared(torch))


@pytest.mark.parametrize("f", [
    lambda t: t.load(5), lambda t: t.load(io.BytesIO()), lambda t: t.save(1, 5), lambda t: t.load("none.pt"), lambda t: t.load(io.BytesIO(b"x"), mmap=True),
    lambda t: t.load(io.BytesIO(b"x"), weights_only=True, pickle_module=pickle), lambda t: t.save(1, "no/such/x"), lambda t: t.serialization.add_safe_globals(3),
    lambda t: __import__("copy").deepcopy(t.ones(1, requires_grad=True) * 2),
])  # fmt: skip
def test_errors_have_the_same_type(f):
    with pytest.raises(Exception) as theirs:
        f(torch)
    with pytest.raises(Exception) as ours:
        f(rushlight)
    assert type(ours.value) is type(theirs.value)
