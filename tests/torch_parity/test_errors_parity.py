"""PyTorch raises the exception types that tests/bad_input.py says."""

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parent.parent))
from bad_input import CASES, IN_PLACE  # noqa: E402


@pytest.mark.parametrize("name, call, kind, words", CASES, ids=[c[0] for c in CASES])
def test_torch_raises_this_type(name, call, kind, words):
    if name == "another device" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(kind):
        call(torch)


@pytest.mark.parametrize("name, make, fail", IN_PLACE, ids=[c[0] for c in IN_PLACE])
def test_torch_refuses_this_write(name, make, fail):
    x = make(torch)
    with pytest.raises((RuntimeError, IndexError)):
        fail(torch, x)
