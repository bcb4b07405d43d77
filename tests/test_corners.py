"""Small promises at the corners of ordinary calls."""

import subprocess
import sys

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
