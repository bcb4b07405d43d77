"""Devices: meta tensors, the default device, simulated CUDA."""

import copy
import io
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import rushlight as torch
from rushlight.api.devices import simulate


@pytest.fixture
def cuda():
    simulate(2)
    yield
    simulate(0)


# ---- meta ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make, shape, stride", [
    (lambda m: m, (2, 3), (3, 1)),
    (lambda m: m + 1, (2, 3), (3, 1)),
    (lambda m: m.t(), (3, 2), (1, 3)),
    (lambda m: m.t() * 2, (3, 2), (1, 3)),
    (lambda m: m[:, 1:], (2, 2), (3, 1)),
    (lambda m: m @ m.t(), (2, 2), (2, 1)),
    (lambda m: m.sum(0), (3,), (1,)),
    (lambda m: m.expand(4, 2, 3), (4, 2, 3), (0, 3, 1)),
    (lambda m: m.unfold(1, 2, 1), (2, 2, 2), (3, 1, 1)),
    (lambda m: m.diagonal(), (2,), (4,)),
    (lambda m: torch.cat([m, m]), (4, 3), (3, 1)),
    (lambda m: m.permute(1, 0).contiguous(), (3, 2), (2, 1)),
    (lambda m: m.reshape(3, 2), (3, 2), (2, 1)),
    (lambda m: torch.nn.Linear(3, 4, device="meta")(m), (2, 4), (4, 1)),
    (lambda m: torch.where(m > 0, m, 0), (2, 3), (3, 1)),
    (lambda m: m.sort()[1], (2, 3), (3, 1)),
    (lambda m: m.add_(1).mul_(2), (2, 3), (3, 1)),
    (lambda m: torch.zeros_like(m), (2, 3), (3, 1)),
    (lambda m: m.new_zeros(5), (5,), (1,)),
    (lambda m: m.uniform_(), (2, 3), (3, 1)),
    (lambda m: torch.tensor(1.0) * m, (2, 3), (3, 1)),
    (lambda m: copy.deepcopy(m.t()), (3, 2), (1, 3)),
    (lambda m: pickle.loads(pickle.dumps(m.t())), (3, 2), (1, 3)),
])  # fmt: skip
def test_meta_tensors_have_shapes_and_no_values(make, shape, stride):
    y = make(torch.empty(2, 3, device="meta"))
    assert y.is_meta and y.shape == shape and y.stride() == stride


@pytest.mark.parametrize("make", [
    lambda n: torch.empty(n, n, device="meta"),
    lambda n: torch.zeros(n, n, device="meta") + torch.ones(n, n, device="meta"),
    lambda n: torch.randn(n, n, device="meta"),
    lambda n: torch.full((n, n), 2.0, device="meta"),
    lambda n: torch.nn.Linear(n, n, device="meta").weight,
], ids=range(5))  # fmt: skip
def test_meta_tensors_take_no_memory(make):
    assert make(10**6).shape == (10**6, 10**6)


@pytest.mark.parametrize("ask, error", [
    (lambda m: m[0, 0].item(), RuntimeError), (lambda m: bool(m[0, 0] > 0), RuntimeError), (lambda m: m.tolist(), NotImplementedError),
    (lambda m: m.numpy(), TypeError), (lambda m: m.cpu(), NotImplementedError), (lambda m: m.nonzero(), NotImplementedError),
    (lambda m: m[m > 0], NotImplementedError), (lambda m: torch.ones(2, 3).copy_(m), NotImplementedError), (lambda m: m + torch.ones(3), RuntimeError),
])  # fmt: skip
def test_values_of_a_meta_tensor_are_refused(ask, error):
    with pytest.raises(error, match="meta|no data"):
        ask(torch.empty(2, 3, device="meta"))


def test_gradients_have_shapes_too():
    w = torch.empty(2, 3, device="meta", requires_grad=True)
    (w.t() @ w).relu().mean().backward()
    assert w.grad.is_meta and w.grad.shape == (2, 3)
    assert repr(w) == "tensor(..., device='meta', size=(2, 3), requires_grad=True)"


# ---- the default device ----------------------------------------------------------------------------------------


def test_a_device_is_a_context_and_a_decorator():
    with torch.device("meta"):
        assert torch.ones(1).is_meta and torch.tensor([1]).is_meta and torch.nn.Linear(1, 1).weight.is_meta
        assert torch.ones(1, device="cpu").is_cpu
        with torch.device("cpu"):
            assert torch.ones(1).is_cpu
        assert torch.get_default_device() == torch.device("meta")
    assert torch.ones(1).is_cpu

    @torch.device("meta")
    def make():
        return torch.arange(3)

    assert make().is_meta


def test_set_default_device():
    try:
        torch.set_default_device("meta")
        assert torch.ones(1).is_meta and torch.randn(2).is_meta and torch.full((2,), 1.0).is_meta
    finally:
        torch.set_default_device(None)
    assert torch.ones(1).is_cpu


@pytest.mark.parametrize("make", [
    lambda: torch.ones(1).cuda(), lambda: torch.ones(1, device="cuda"), lambda: torch.ones(1).to("cuda:0"), lambda: torch.nn.Linear(1, 1).cuda(),
])  # fmt: skip
def test_without_a_gpu_cuda_is_refused(make):
    with pytest.raises(AssertionError, match="Torch not compiled with CUDA enabled"):
        make()


def test_the_names_of_torch_cuda_without_a_gpu():
    assert not torch.cuda.is_available() and torch.cuda.device_count() == 0 and not torch.cuda.is_initialized()
    assert torch.cuda.memory_allocated() == 0 and torch.cuda.memory_stats() == {} and torch.cuda.get_rng_state_all() == []
    assert not isinstance(torch.ones(1), torch.cuda.FloatTensor) and repr(torch.cuda.FloatTensor) == "<class 'torch.cuda.FloatTensor'>"
    with torch.cuda.stream(None):
        pass
    for make, error in ((torch.cuda.Stream, RuntimeError), (torch.cuda.Event, RuntimeError), (torch.cuda.current_stream, AssertionError), (lambda: torch.cuda.FloatTensor([1]), TypeError)):
        with pytest.raises(error):
            make()


# ---- simulated CUDA --------------------------------------------------------------------------------------------


def test_moving_and_printing(cuda):
    x = torch.arange(3.0)
    y = x.cuda()
    assert repr(y) == "tensor([0., 1., 2.], device='cuda:0')" and y.is_cuda and y.get_device() == 0
    assert y.type() == "torch.cuda.FloatTensor" and isinstance(y, torch.cuda.FloatTensor)
    assert y.cuda() is y and x.cpu() is x and y.to("cuda") is y and y.to("cuda:1").device == torch.device("cuda", 1)
    y[0] = 7
    assert x.tolist() == [0, 1, 2] and y.cpu().tolist() == y.tolist() == [7, 1, 2]
    assert x.to(y).device == y.device and y.type("torch.FloatTensor").is_cpu and x.type(torch.cuda.DoubleTensor).dtype is torch.float64
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        y.numpy()
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        x.cuda(5)


@pytest.mark.parametrize("f", [
    lambda x, y: x + y, lambda x, y: x @ y, lambda x, y: torch.cat([x, y]), lambda x, y: torch.where(x > 0, x, y), lambda x, y: torch.nn.functional.linear(x, y),
    lambda x, y: x + y.to("cuda:1"), lambda x, y: x.add_(y),
])  # fmt: skip
def test_tensors_on_different_devices_do_not_mix(cuda, f):
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device, but found at least two devices, cuda:0 and"):
        f(torch.ones(2, 2, device="cuda"), torch.ones(2, 2))
    assert (torch.ones(2, device="cuda") + torch.tensor(1.0)).is_cuda


OPS = {
    "arithmetic": lambda x: (x * 2 - 1) / (x + 3),
    "integers": lambda x: x.int().floor(),
    "half": lambda x: x.bfloat16() + 1,
    "reduction": lambda x: x.std(1),
    "views": lambda x: x.t()[1:, ::2].unsqueeze(0),
    "mask": lambda x: x[x > 0],
    "index": lambda x: x[torch.tensor([1, 0])],
    "list": lambda x: x[[0]],
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "sort": lambda x: x.sort()[1],
    "topk": lambda x: x.topk(1)[0],
    "cumsum": lambda x: x.cumsum(0),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "softmax": lambda x: x.softmax(1),
    "dropout": lambda x: torch.nn.functional.dropout(x),
    "histogram": lambda x: torch.histc(x, 3),
    "repeat": lambda x: x.repeat_interleave(2),
    "search": lambda x: torch.searchsorted(x.flatten().sort()[0], x),
    "one hot": lambda x: torch.nn.functional.one_hot(x.argmax(1), 3),
    "like": lambda x: torch.zeros_like(x) + torch.ones_like(x) + torch.full_like(x, 2) + torch.rand_like(x),
    "svd": lambda x: torch.linalg.svd(x)[1],
    "close": lambda x: torch.isclose(x, x),
    "in place": lambda x: x.clone().mul_(2).clamp_(min=0),
    "resize": lambda x: x.clone().resize_(2),
    "deepcopy": copy.deepcopy,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
}


@pytest.mark.parametrize("name", OPS)
def test_results_stay_on_the_device_and_equal_the_cpus(cuda, name):
    x = torch.tensor([[1.5, -2.0, 3.0], [0.0, 0.5, -1.0]])
    torch.manual_seed(0)
    expected = OPS[name](x)
    torch.manual_seed(0)
    got = OPS[name](x.to("cuda:1"))
    assert got.device == torch.device("cuda", 1) and got.dtype is expected.dtype and got.shape == expected.shape and got.stride() == expected.stride()
    np.testing.assert_array_equal(np.array(got.tolist()), np.array(expected.tolist()))


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_training_gives_the_cpus_numbers(cuda, optimizer):
    def losses(device):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(4, 2)).to(device)
        opt = getattr(torch.optim, optimizer)(model.parameters(), lr=0.1)
        x, y = torch.randn(5, 3, device=device), torch.tensor([0, 1, 0, 1, 1], device=device)
        out = []
        for _ in range(3):
            opt.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            out.append(loss.item())
        assert all(p.device.type == p.grad.device.type == device for p in model.parameters())
        return out

    assert losses("cuda") == losses("cpu")


def test_gradients_cross_devices(cuda):
    x = torch.ones(2, requires_grad=True)
    y = x.cuda()
    assert repr(y) == "tensor([1., 1.], device='cuda:0', grad_fn=<ToCopyBackward0>)"
    (y * 3).sum().backward()
    assert x.grad.is_cpu and x.grad.tolist() == [3, 3]


def test_the_current_device(cuda):
    assert torch.cuda.is_available() and torch.cuda.device_count() == 2 and torch.cuda.current_device() == 0
    with torch.cuda.device(1):
        assert torch.ones(1, device="cuda").device.index == 1 and torch.cuda.current_device() == 1
    assert torch.cuda.current_device() == 0
    torch.cuda.set_device("cuda:1")
    assert torch.cuda.current_device() == 1
    with torch.device("cuda:0"):
        assert torch.ones(1).device.index == 0


def test_memory_streams_and_events(cuda):
    before = torch.cuda.memory_allocated()
    x = torch.ones(1024, device="cuda")
    assert torch.cuda.memory_allocated() == before + 4096
    del x
    assert torch.cuda.memory_allocated() == before and torch.cuda.max_memory_allocated() >= before + 4096
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record(), end.record()
    torch.cuda.synchronize()
    assert start.elapsed_time(end) >= 0 and torch.cuda.current_stream() == torch.cuda.default_stream()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.ones(1, device="cuda")


def test_checkpoints_remember_the_device(cuda):
    file = io.BytesIO()
    torch.save({"x": torch.arange(3.0, device="cuda:1")}, file)
    file.seek(0)
    assert torch.load(file)["x"].device == torch.device("cuda", 1)
    file.seek(0)
    assert torch.load(file, map_location="cpu")["x"].tolist() == [0, 1, 2]
    simulate(0)
    file.seek(0)
    with pytest.raises(RuntimeError, match=r"torch.cuda.is_available\(\) is False"):
        torch.load(file)


def test_the_environment_switches_it_on():
    code = "import rushlight as torch; print(torch.cuda.device_count(), torch.ones(1, device='cuda'))"
    out = subprocess.run([sys.executable, "-c", code], env={**os.environ, "RUSHLIGHT_SIMULATE_CUDA": "2"}, capture_output=True, text=True, check=True).stdout
    assert out == "2 tensor([1.], device='cuda:0')\n"
