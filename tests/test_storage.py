"""Storages as users see them, and memory shared with other libraries."""

import numpy as np
import pytest

import rushlight as torch


def test_bytes_of_a_tensor():
    s = torch.tensor([1.0, 2.0]).untyped_storage()
    assert s.tolist() == list(np.array([1, 2], np.float32).tobytes())
    assert len(s) == s.size() == s.nbytes() == 8 and s.device == torch.device("cpu") and s.element_size() == 1
    assert s[2] == 128 and s[0:3].tolist() == [0, 0, 128] and s[-1] == 64
    assert repr(torch.UntypedStorage([1, 2])) == " 1\n 2\n[torch.storage.UntypedStorage(device=cpu) of size 2]"


def test_writes_show_in_the_tensor_and_count_as_a_change():
    x = torch.zeros(2, dtype=torch.uint8)
    version = x._version
    s = x.untyped_storage()
    s[0] = 7
    assert x.tolist() == [7, 0] and x._version > version
    s.copy_(torch.UntypedStorage([3, 4]))
    assert x.tolist() == [3, 4]
    s.fill_(1)
    assert x.tolist() == [1, 1] and s.clone().tolist() == [1, 1] and s.clone() != s


@pytest.mark.parametrize("call, error, text", [
    (lambda s: s[8], IndexError, "out of range"),
    (lambda s: s["a"], TypeError, "can't index"),
    (lambda s: s[::2], RuntimeError, "step of 2"),
    (lambda s: s.copy_(3), TypeError, "must be torch.Storage"),
    (lambda s: s.copy_(torch.UntypedStorage(3)), RuntimeError, "size does not match"),
    (lambda s: torch.UntypedStorage(-1), RuntimeError, "-1"),
    (lambda s: torch.UntypedStorage("a"), RuntimeError, "type str"),
    (lambda s: torch.UntypedStorage(3, device="meta")[0], NotImplementedError, "no data"),
    (lambda s: s.pin_memory(), RuntimeError, "accelerator"),
])  # fmt: skip
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(torch.ones(2).untyped_storage())


@pytest.mark.filterwarnings("ignore:TypedStorage")
def test_typed_storages():
    x = torch.tensor([1.0, 2.0])
    s = x.storage()
    assert s.dtype is torch.float32 and s.tolist() == [1, 2] and len(s) == 2 and s.nbytes() == 8
    s[0] = 5
    assert x.tolist() == [5, 2] and s.type() == "torch.FloatStorage" and isinstance(s, torch.FloatStorage)
    assert not isinstance(s, torch.DoubleStorage) and torch.FloatStorage([1, 2]).double().dtype is torch.float64
    assert torch.TypedStorage([1, 2], dtype=torch.int8).tolist() == [1, 2]
    assert x._typed_storage().untyped() is x.untyped_storage()
    assert repr(torch.IntStorage([3])) == " 3\n[torch.storage.TypedStorage(dtype=torch.int32, device=cpu) of size 1]"
    with pytest.raises(RuntimeError, match="slices are only supported"):
        s[0:1]


def test_a_storage_that_grows_takes_its_tensors_along():
    x = torch.arange(4.0)
    v = x[1:3]
    x.resize_(8)
    v[0] = 9
    assert x[:4].tolist() == [0, 9, 2, 3] and x.untyped_storage() == v.untyped_storage()
    s = x.untyped_storage()
    s.resize_(0)
    assert x.shape == (8,) and s.nbytes() == 0
    s.resize_(32)
    x.fill_(1)
    assert v.tolist() == [1, 1]


def test_set_in_all_its_forms():
    source = torch.arange(6.0)
    s = source.untyped_storage()
    x = torch.zeros(1)
    assert x.set_(source).data_ptr() == source.data_ptr()
    assert x.set_(s).tolist() == source.tolist()
    assert x.set_(s, 1, (2, 2), (2, 1)).tolist() == [[1, 2], [3, 4]]
    assert x.set_(source, 2, (2,)).tolist() == [2, 3]
    assert x.set_(source._typed_storage(), 0, (1,), (1,)).tolist() == [0]
    assert x.set_().shape == (0,)
    for args in ((5,), (s, 1)):
        with pytest.raises(TypeError, match="set_"):
            x.set_(*args)
    with pytest.raises(RuntimeError, match="Could not set tensor of type"):
        x.set_(torch.ones(2, dtype=torch.int32))


def test_sharing_between_processes_is_accepted():
    x = torch.ones(2)
    assert not x.is_shared() and x.share_memory_() is x and x.is_shared() and x.untyped_storage().is_shared()
    assert not x.is_pinned()


def test_files_and_buffers(tmp_path):
    (tmp_path / "x").write_bytes(bytes([1, 2, 3]))
    s = torch.UntypedStorage.from_file(str(tmp_path / "x"), shared=True, nbytes=3)
    s[0] = 9
    assert (tmp_path / "x").read_bytes() == bytes([9, 2, 3]) and s.filename == str(tmp_path / "x")
    assert torch.UntypedStorage.from_buffer(b"ab").tolist() == [97, 98]


def test_dlpack_shares_memory_both_ways():
    x = torch.arange(6.0).view(2, 3).t()
    a = np.from_dlpack(x)
    x[0, 0] = 9
    assert a[0, 0] == 9 and a.strides == (4, 12)
    b = np.arange(3.0)
    y = torch.from_dlpack(b)
    y[0] = 7
    assert b[0] == 7
    z = torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x))
    z[0, 1] = 5
    assert x[0, 1] == 5 and torch.from_dlpack(x, copy=True).data_ptr() != x.data_ptr()
    assert tuple(x.__dlpack_device__()) == (1, 0)
    with pytest.raises(BufferError, match="require gradient"):
        torch.ones(1, requires_grad=True).__dlpack__()
    with pytest.raises(BufferError, match="meta"):
        torch.ones(1, device="meta").__dlpack__()
    with pytest.raises(RuntimeError, match="invalid capsule"):
        torch.from_dlpack(3)


def test_buffers_share_memory():
    b = bytearray(range(16))
    x = torch.frombuffer(b, dtype=torch.int16, offset=3, count=2)
    x[0] = 0
    assert b[3] == b[4] == 0 and torch.frombuffer(b, dtype=torch.bfloat16).shape == (8,)
    for options, text in (({"offset": 16}, "offset"), ({"count": 0}, "must not be 0"), ({"offset": 3}, "multiple"), ({"count": 9}, "requested")):
        with pytest.raises(ValueError, match=text):
            torch.frombuffer(b, dtype=torch.int32, **options)
    with pytest.warns(UserWarning, match="not writable"):
        fixed = torch.frombuffer(b"abcd", dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="read-only"):
        fixed[0] = 1


@pytest.mark.parametrize("make", [
    lambda x, f: x.contiguous(memory_format=f),
    lambda x, f: x.to(memory_format=f),
    lambda x, f: x.to(torch.float64, memory_format=f),
    lambda x, f: x.double(memory_format=f),
    lambda x, f: x.clone(memory_format=f),
    lambda x, f: x.cpu(memory_format=f),
    lambda x, f: torch.empty_like(x, memory_format=f),
    lambda x, f: torch.rand_like(x, memory_format=f),
    lambda x, f: torch.empty(2, 3, 4, 5, memory_format=f),
    lambda x, f: x.to(memory_format=f).relu(),
    lambda x, f: torch.zeros_like(x.to(memory_format=f)),
    lambda x, f: x.to("meta").to(memory_format=f),
])  # fmt: skip
def test_channels_last(make):
    y = make(torch.ones(2, 3, 4, 5), torch.channels_last)
    assert y.shape == (2, 3, 4, 5) and y.stride() == (60, 1, 15, 3)
    assert y.is_contiguous(memory_format=torch.channels_last) and not y.is_contiguous()


def test_one_handle_for_all_hooks():
    handle = torch.ones(1, requires_grad=True).register_hook(lambda g: None)
    module = torch.nn.Linear(1, 1).register_forward_hook(lambda *a: None)
    assert type(handle) is type(module) is torch.utils.hooks.RemovableHandle


def test_a_storage_without_memory_is_at_address_0():
    assert torch.rand(1, 4, device="meta").untyped_storage().data_ptr() == 0
