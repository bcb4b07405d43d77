"""The strides of results, over every order that the operands' dimensions can have in memory."""

import itertools

import pytest

import rushlight

torch = pytest.importorskip("torch")

SHAPES = [(5, 9), (2, 3, 4)]


def layouts(m, shape):
    """Tensors of one shape, or that broadcast to it, in all orders of memory."""
    n = len(shape)
    for order in itertools.permutations(range(n)):
        back = [order.index(i) for i in range(n)]
        yield m.ones([shape[i] for i in order]).permute(back)
    yield m.ones([shape[0]] + [1] * (n - 1)).expand(shape)
    yield m.ones([1, *shape[1:]]).transpose(0, -1).contiguous().transpose(0, -1)
    yield m.ones(shape[-1:])
    yield m.ones([2 * k for k in shape])[tuple([slice(None, None, 2)] * n)]
    yield m.ones(())


def strides(t):
    return [s for s, n in zip(t.stride(), t.shape) if n > 1]


BINARY = {
    "add": lambda m, x, y: x + y,
    "div": lambda m, x, y: x / y,
    "eq": lambda m, x, y: x == y,
    "pow": lambda m, x, y: x**y,
    "sub": lambda m, x, y: x.sub(y, alpha=2),
    "maximum": lambda m, x, y: x.maximum(y),
    "where": lambda m, x, y: m.where(x > 0, x, y),
    "whole numbers": lambda m, x, y: x.long() * y.long(),
    "mixed": lambda m, x, y: x.int() + y.bfloat16(),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_two_operands(name, shape):
    f = BINARY[name]
    ours, theirs = list(layouts(rushlight, shape)), list(layouts(torch, shape))
    for i, j in itertools.product(range(len(ours)), repeat=2):
        found, wanted = f(rushlight, ours[i], ours[j]), f(torch, theirs[i], theirs[j])
        assert strides(found) == strides(wanted), (i, j)


UNARY = {
    "exp": lambda m, x: x.exp(),
    "clone": lambda m, x: x.clone(),
    "double": lambda m, x: x.double(),
    "empty_like": lambda m, x: m.empty_like(x),
    "clamp": lambda m, x: x.clamp(0, 1),
    "sum": lambda m, x: x.sum(0),
    "cumsum": lambda m, x: x.cumsum(0),
    "flip": lambda m, x: x.flip(0),
    "roll": lambda m, x: x.roll(1, 0) if x.dim() else x,
    "sort": lambda m, x: x.sort(0)[0],
    "softmax": lambda m, x: x.softmax(-1),
    "cat": lambda m, x: m.cat([x, x]) if x.dim() else x,
    "stack": lambda m, x: m.stack([x, x]),
    "row": lambda m, x: x[[0]] if x.dim() else x,
    "index_select": lambda m, x: x.index_select(0, m.tensor([0, 0])) if x.dim() else x,
    "repeat": lambda m, x: x.repeat(*[2] * max(1, x.dim())),
    "pad": lambda m, x: m.nn.functional.pad(x, (1, 1)) if x.dim() else x,
    "masked_fill": lambda m, x: x.masked_fill(x > 0, 0),
    "norm": lambda m, x: x.norm(dim=0) if x.dim() else x,
    "scatter": lambda m, x: x.scatter(0, x.long() * 0, x),
    "index_put": lambda m, x: x.index_put((m.tensor([0]),), x[0] * 1) if x.dim() else x,
}


@pytest.mark.parametrize("shape", [*SHAPES, (2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_one_operand(name, shape):
    f = UNARY[name]
    for i, (x, y) in enumerate(zip(layouts(rushlight, shape), layouts(torch, shape))):
        assert strides(f(rushlight, x)) == strides(f(torch, y)), i


def test_large_operands():
    def run(m):
        a, b = m.ones(700, 300).t(), m.ones(300, 700)
        c = m.ones(2, 32, 40, 50).contiguous(memory_format=m.channels_last)
        d = m.ones(2, 32, 40, 50)
        return [x.stride() for x in (a + b, b + a, a == b, a.sub(b, alpha=3), c + d, d + c, c * 2)]

    assert run(rushlight) == run(torch)
