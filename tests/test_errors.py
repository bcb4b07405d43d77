"""Bad input raises PyTorch's exception type with a text that names what was found; a failed in-place op changed nothing."""

import numpy as np
import pytest
from bad_input import CASES, IN_PLACE, readonly

import rushlight as torch


@pytest.mark.parametrize("name, call, kind, words", CASES, ids=[c[0] for c in CASES])
def test_bad_input(name, call, kind, words):
    with pytest.raises(kind) as caught:
        call(torch)
    text = str(caught.value)
    assert text
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"


@pytest.mark.parametrize("name, make, fail", IN_PLACE, ids=[c[0] for c in IN_PLACE])
def test_a_failed_in_place_op_has_changed_nothing(name, make, fail):
    x = make(torch)
    before, version = x.detach().clone(), x._version
    with pytest.raises((RuntimeError, IndexError)):
        fail(torch, x)
    assert torch.equal(x.detach(), before) and x._version == version
    assert x.is_leaf and x.grad_fn is None


def test_read_only_arrays_can_be_read_and_not_written():
    with pytest.warns(UserWarning, match="not writable"):
        x = torch.from_numpy(readonly(torch))
    assert float((x + 1).sum()) == 6.0
    for write in (lambda: x.add_(1), lambda: x.zero_(), lambda: x.__setitem__(0, 5.0), lambda: x.copy_(x + 1), lambda: x.fill_(2)):
        with pytest.raises(RuntimeError, match="read-only"):
            write()
    assert x.tolist() == [0.0, 1.0, 2.0] and x._version == 0


ZERO = [
    lambda x: x + 1, lambda x: x.exp(), lambda x: x.sum(), lambda x: x.sum(0), lambda x: x.cumsum(0), lambda x: x.sort(0),
    lambda x: x.reshape(0), lambda x: x.t() if x.dim() == 2 else x, lambda x: x[x > 0], lambda x: x.clone(), lambda x: torch.cat([x, x]),
    lambda x: x.mean(0), lambda x: x.prod(), lambda x: x.all(), lambda x: x.any(), lambda x: x.add_(1), lambda x: x.zero_(),
    lambda x: x.unique(), lambda x: x.nonzero(), lambda x: repr(x), lambda x: x.numpy(), lambda x: x.tolist(), lambda x: x.topk(0, 0),
    lambda x: x.unsqueeze(0), lambda x: x.expand(2, *x.shape), lambda x: x.flip(0), lambda x: x.roll(1, 0), lambda x: x.softmax(0),
]  # fmt: skip


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)], ids=str)
@pytest.mark.parametrize("call", ZERO)
def test_zero_sizes(shape, call):
    call(torch.ones(shape))


@pytest.mark.parametrize("shape", [(0, 3)], ids=str)
def test_gradients_of_zero_sizes(shape):
    x = torch.ones(shape, requires_grad=True)
    (x.exp() * x).sum().backward()
    assert x.grad.shape == shape


NUMBER = [
    lambda x: x + 1, lambda x: 2**x, lambda x: x.sum(0), lambda x: x.mean(-1), lambda x: x.max(0)[0], lambda x: x.sort(0)[0],
    lambda x: x.cumsum(0), lambda x: x.reshape(1), lambda x: x.squeeze(), lambda x: x.unsqueeze(0), lambda x: x[None], lambda x: x[...],
    lambda x: x.clone(), lambda x: x.expand(3), lambda x: x.flatten(), lambda x: x.view(1, 1), lambda x: x.softmax(0), lambda x: x.T,
    lambda x: x.index_select(0, torch.tensor([0])), lambda x: x.gather(0, torch.tensor(0)), lambda x: x.topk(1)[0],
    lambda x: x.permute(()), lambda x: x.transpose(0, -1), lambda x: x.flip(()), lambda x: x.median(), lambda x: x.std(unbiased=False),
]  # fmt: skip


@pytest.mark.parametrize("call", NUMBER)
def test_numbers_as_tensors(call):
    x = torch.tensor(0.5, requires_grad=True)
    y = call(x)
    assert isinstance(y, torch.Tensor)
    y.sum().backward()
    assert x.grad.shape == () and np.isfinite(x.grad.item())
