"""Storages and shared memory as PyTorch has them."""

import array

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")
BYTES = bytearray(range(16))

CALLS = [
    lambda t: t.tensor([1.0, 2.0]).untyped_storage(),
    lambda t: t.tensor([1.0, 2.0]).storage(),
    lambda t: t.UntypedStorage([1, 2, 3])[1:],
    lambda t: t.UntypedStorage([1, 2, 3])[-1],
    lambda t: t.UntypedStorage([1, 2])[2],
    lambda t: t.UntypedStorage([1, 2])["a"],
    lambda t: t.UntypedStorage([1, 2])[::2],
    lambda t: t.UntypedStorage("a"),
    lambda t: t.UntypedStorage(3, device="meta"),
    lambda t: t.UntypedStorage(3, device="meta")[0],
    lambda t: t.UntypedStorage([1, 2]).copy_(3),
    lambda t: t.UntypedStorage([1, 2]).type(),
    lambda t: t.UntypedStorage([1, 2]).float(),
    lambda t: t.UntypedStorage([1, 2]).filename,
    lambda t: t.FloatStorage([1, 2]).double(),
    lambda t: t.FloatStorage([1, 2]).copy_(t.IntStorage([3, 4])),
    lambda t: t.FloatStorage([1, 2])[5],
    lambda t: t.FloatStorage([1, 2])[0:1],
    lambda t: t.FloatStorage([1, 2]).type(),
    lambda t: t.FloatStorage([1, 2]).pickle_storage_type(),
    lambda t: t.ones(2, 2).t().storage_type(),
    lambda t: t.TypedStorage([1, 2], dtype=t.int8),
    lambda t: t.ones(2).storage().copy_(t.ones(3).storage()),
    lambda t: t.ones(3).set_(5),
    lambda t: t.ones(3).set_(t.ones(2, dtype=t.int32)),
    lambda t: t.ones(3).set_(t.arange(4.0).untyped_storage()),
    lambda t: t.ones(3).set_(t.arange(4.0).untyped_storage(), 1, (2,), (2,)),
    lambda t: t.ones(3).set_(t.arange(4.0).storage(), 1),
    lambda t: t.ones(3, requires_grad=True).set_(t.ones(2)),
    lambda t: t.ones(3, requires_grad=True).resize_(4),
    lambda t: t.ones(3)[1:].resize_(4).untyped_storage().nbytes(),
    lambda t: t.ones(3).resize_(1).untyped_storage().nbytes(),
    lambda t: t.ones(2).share_memory_().is_shared(),
    lambda t: t.ones(2).pin_memory(),
    lambda t: t.ones(2).is_pinned(),
    lambda t: t.frombuffer(BYTES, dtype=t.int32, offset=4, count=2),
    lambda t: t.frombuffer(BYTES, dtype=t.int32, offset=3),
    lambda t: t.frombuffer(BYTES, dtype=t.int32, offset=16),
    lambda t: t.frombuffer(BYTES, dtype=t.int32, count=0),
    lambda t: t.frombuffer(BYTES, dtype=t.bfloat16),
    lambda t: t.frombuffer(3, dtype=t.int8),
    lambda t: t.frombuffer(array.array("i", [1, 2]), dtype=t.int32),
    lambda t: t.from_dlpack(np.arange(6).reshape(2, 3).T).stride(),
    lambda t: np.from_dlpack(t.arange(6).view(2, 3).t()).strides,
    lambda t: t.ones(1, requires_grad=True).__dlpack__(),
    lambda t: t.ones(1, device="meta").__dlpack__(),
    lambda t: t.from_dlpack(3),
    lambda t: t.empty(2, 3, memory_format=t.channels_last),
    lambda t: t.empty(2, 3, 4, 4, memory_format=t.channels_last).stride(),
    lambda t: t.ones(2, 3, 4).to(memory_format=t.channels_last),
    lambda t: t.ones(2, 1, 4, 4).is_contiguous(memory_format=t.channels_last),
    lambda t: t.ones(2, 3, 4).is_contiguous(memory_format=t.channels_last),
    lambda t: t.ones(2, 3, 4, 4).double(memory_format=t.channels_last).stride(),
    lambda t: t.ones(1, 2, 3, 4, 5).to(memory_format=t.channels_last_3d).stride(),
    lambda t: t.ones(2, 3, 4, 4).to(memory_format=t.channels_last).double().relu().stride(),
    lambda t: t.ones(2, 3, 4, 4).resize_(1, 2, 3, 3, memory_format=t.channels_last).stride(),
    lambda t: [type(t.float32), type(t.device("cpu")), t.Size, t.layout, t.Tensor, t.UntypedStorage, t.FloatStorage, t.FloatTensor, t.nn.Parameter],
]


def outcome(f, t):
    try:
        return repr(f(t))
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("f", CALLS, ids=range(len(CALLS)))
def test_same_outcome(f):
    assert outcome(f, rushlight) == outcome(f, torch)
