"""Small promises at the corners of ordinary calls."""

import subprocess
import sys

import numpy as np
import pytest

import rushlight as torch

INFINITIES = """
import warnings, rushlight as torch
x = torch.tensor([float("inf"), 3e38])
x - x, x * 0, x + x, x * x, torch.tensor(3e38) * 10, x.double() - x.double()
warnings.simplefilter("error")
assert (x - x).isnan().tolist() == [True, False]
"""


def test_infinities_are_values_like_others():
    done = subprocess.run([sys.executable, "-c", INFINITIES], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_flip_of_a_number():
    assert torch.tensor(3.0).flip(0).item() == 3


def test_conj_physical_of_a_real_tensor_is_the_tensor():
    x = torch.ones(3)
    assert x.conj_physical() is x and torch.conj_physical(x) is x
    assert x.conj_physical_() is x


def test_sum_to_size_of_integers():
    assert torch.ones(2, 3, dtype=torch.int32).sum_to_size(3).dtype is torch.int64
    assert torch.ones(2, 3, dtype=torch.int32).sum_to_size(2, 3).dtype is torch.int32


def test_none_is_no_number():
    x = torch.ones(2)
    for f in (lambda: x + None, lambda: None + x, lambda: x < None, lambda: torch.add(x, None)):
        with pytest.raises(TypeError):
            f()
    assert (x == None) is False and (x != None) is True  # noqa: E711


def test_hooks_after_accumulation_return_nothing():
    x = torch.ones(2, requires_grad=True)
    x.register_post_accumulate_grad_hook(lambda p: p.grad)
    with pytest.raises(RuntimeError, match="should return None"):
        x.sum().backward()


def test_an_array_is_not_assigned():
    with pytest.raises(TypeError, match="can't assign a numpy.ndarray to a torch.FloatTensor"):
        torch.zeros(2)[:] = np.ones(2)
