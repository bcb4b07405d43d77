"""What PyTorch has and rushlight lacks says so by name, and what it has under other names of PyTorch's works."""

import pickle

import pytest

import rushlight as torch
from rushlight.core.absent import ABSENT

NAMES_ONLY = [torch.complex32, torch.quint8, torch.qint32, torch.int4, torch.uint1, torch.bits16, torch.float4_e2m1fn_x2]


@pytest.mark.parametrize("name", ["jit", "sparse", "ScriptModule", "fake_quantize_per_tensor_affine", "cudnn_convolution", "quasirandom"])
def test_a_missing_name(name):
    assert not hasattr(torch, name) and getattr(torch, name, 7) == 7
    with pytest.raises(NotImplementedError, match=f"torch.{name} is not implemented"):
        getattr(torch, name)
    with pytest.raises(AttributeError):
        getattr(torch, name)
    with pytest.raises(AttributeError) as caught:
        torch.no_such_name  # noqa: B018
    assert not isinstance(caught.value, NotImplementedError)


def test_missing_names_are_missing():
    assert not [name for name in ABSENT if name in vars(torch) or name in dir(torch)]


@pytest.mark.parametrize("dtype", NAMES_ONLY, ids=repr)
def test_dtypes_that_are_names(dtype):
    assert repr(dtype).startswith("torch.") and {dtype: 1}[dtype] == 1 and dtype.itemsize in (1, 2, 4) and isinstance(dtype, torch.dtype)
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    for use in (
        lambda: torch.zeros(2, dtype=dtype), lambda: torch.tensor([1], dtype=dtype), lambda: torch.ones(2).to(dtype), lambda: torch.ones(2).sum(dtype=dtype),
        lambda: torch.arange(3, dtype=dtype), lambda: torch.empty(2, dtype=dtype), lambda: torch.ones(4).view(dtype),
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match=repr(dtype)):
            use()


def test_half_and_complex():
    half = torch.ones(2, 2).half()
    for make in (lambda: half * 1j, lambda: torch.complex(half, half), lambda: torch.view_as_complex(half), lambda: half.chalf()):
        with pytest.raises(NotImplementedError, match="complex32"):
            make()
    assert torch.promote_types(torch.complex32, torch.float32) is torch.complex64
    assert torch.finfo(torch.complex32) == torch.finfo(torch.float16) and torch.complex32.to_real() is torch.float16
    assert (half + torch.ones(2, 2, dtype=torch.complex64)).dtype is torch.complex64


@pytest.mark.parametrize("make", ["sparse_coo_tensor", "sparse_csr_tensor", "hspmm", "quantize_per_tensor"])
def test_sparse_and_quantized_functions(make):
    with pytest.raises(NotImplementedError, match=make):
        getattr(torch, make)(torch.zeros(2, 1), torch.ones(1))
    with pytest.raises(NotImplementedError, match="to_sparse"):
        torch.ones(2).to_sparse()


def test_devices_that_are_not_there():
    assert not torch.xpu.is_available() and not torch.mps.is_available() and torch.mtia.device_count() == 0 and not torch.accelerator.is_available()
    with pytest.raises(NotImplementedError, match="torch.xpu.current_device"):
        torch.xpu.current_device()
    with pytest.raises(RuntimeError, match="Cannot access accelerator device"):
        torch.accelerator.synchronize()
    assert torch.accelerator.current_accelerator() is None and torch.accelerator.device_count() == 0


def test_losses_of_the_top_level():
    F = torch.nn.functional
    x, y = torch.tensor([[-1.0, -2.0], [-0.5, -3.0]]), torch.tensor([[0.3, 0.7], [0.1, 0.9]])
    assert torch.kl_div(x, y, 2).equal(F.kl_div(x, y, reduction="sum")) and torch.kl_div(x, y, 0).shape == (2, 2)
    assert torch.margin_ranking_loss(x, y, torch.ones(2, 2), 0.5).equal(F.margin_ranking_loss(x, y, torch.ones(2, 2), 0.5))
    assert torch.triplet_margin_loss(x, y, x + 1).equal(F.triplet_margin_loss(x, y, x + 1))
    assert torch.poisson_nll_loss(x, y, True, False, 1e-8, 1).equal(F.poisson_nll_loss(x, y))
    assert torch.norm_except_dim(y, 2, 1).shape == (1, 2) and torch.norm_except_dim(y, 2, -1).equal(y.norm())
    with pytest.raises(ValueError, match="reduction"):
        torch.kl_div(x, y, 3)


def test_grad_dtype():
    x = torch.ones(2, dtype=torch.float16, requires_grad=True)
    x.grad_dtype = torch.float32
    for _ in range(2):
        (x * 2).sum().backward()
    assert x.grad.dtype is torch.float32 and x.grad.tolist() == [4.0, 4.0] and torch.ones(2).grad_dtype is torch.float32
    with pytest.raises(RuntimeError):
        x.grad = torch.ones(2, dtype=torch.float16)
    with pytest.raises(RuntimeError):
        (x * 2).grad_dtype = torch.float32
