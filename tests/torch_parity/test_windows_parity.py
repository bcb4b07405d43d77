"""Gradients of as_strided: windows that begin before their base, end behind it, or read elements twice."""

import itertools
import math

import pytest

import rushlight

torch = pytest.importorskip("torch")

BASES = {
    "rows": lambda x: x[:12].view(3, 4),
    "every second": lambda x: x[:24:2],
    "every second column": lambda x: x[:24].view(3, 8)[:, ::2],
    "columns": lambda x: x[:12].view(3, 4).t(),
    "not at the front": lambda x: x[5:17].view(3, 4),
    "far from the front": lambda x: x[10:34:2],
    "expanded": lambda x: x[:3].view(3, 1).expand(3, 4),
    "overlapping": lambda x: x.as_strided((3, 3), (1, 1), 2),
    "number": lambda x: x[3],
}
WINDOWS = [
    ((2, 3), (3, 1)),
    ((2, 2), (1, 1)),
    ((4,), (2,)),
    ((2, 2), (5, 2)),
    ((3,), (0,)),
    ((), ()),
    ((0, 2), (1, 1)),
]


@pytest.mark.parametrize("name", BASES)
def test_gradients(name):
    def run(m, size, stride, offset):
        x = BASES[name](m.arange(60, dtype=m.float64)).detach().requires_grad_()
        y = x.as_strided(size, stride, offset)
        weights = (m.arange(y.numel(), dtype=m.float64) + 1).reshape(y.shape)
        (g,) = m.autograd.grad(y, x, weights)
        return y.tolist(), g.tolist()

    for (size, stride), offset in itertools.product(WINDOWS, (None, 0, 1, 4)):
        found, wanted = run(rushlight, size, stride, offset), run(torch, size, stride, offset)
        assert found == wanted, (size, stride, offset)


def test_scatter_into_a_window():
    def run(m, size, stride, offset):
        x = m.arange(60.0)[5:17].view(3, 4)
        src = m.arange(float(math.prod(size))).reshape(size) - 50
        try:
            return m.as_strided_scatter(x, src, size, stride, offset).tolist()
        except RuntimeError:
            return RuntimeError

    for (size, stride), offset in itertools.product(WINDOWS, (None, 0, 1, 4, 9)):
        found, wanted = run(rushlight, size, stride, offset), run(torch, size, stride, offset)
        assert found == wanted, (size, stride, offset)
