"""Products and inverses of tiny matrices have PyTorch's digits."""

import numpy as np
import pytest

import rushlight

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6, 8])
def test_digits(n):
    draw = np.random.default_rng(n)
    for _ in range(20):
        a, b = (draw.standard_normal((n, n)).astype(np.float32) for _ in range(2))
        theirs, ours = (t.from_numpy(a.copy()) for t in (torch, rushlight))
        if n < 8:
            assert np.array_equal(theirs.inverse().numpy(), ours.inverse().numpy())
        x, y = theirs.mm(torch.from_numpy(b)), ours.mm(rushlight.from_numpy(b))
        assert np.array_equal(x.numpy(), y.numpy())
