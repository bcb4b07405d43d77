"""Random chains of views, index writes, in-place ops and backward passes do what they do in PyTorch.

A program is a list of instructions, each five small integers, run step by step in both libraries on the same pool of
tensors. After every step all tensors are compared: values, shape, strides, offset, version, requires_grad, is_leaf,
output_nr and the name of grad_fn; so are the errors, by type and by the beginning of their text; at the end the
gradients of all leaves. RUSHLIGHT_PROGRAMS=5000 runs that many programs (300 otherwise).
"""

import os
import warnings

import pytest

torch = pytest.importorskip("torch")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import rushlight  # noqa: E402

COUNT = int(os.environ.get("RUSHLIGHT_PROGRAMS", "300"))
LIMIT = 14  # tensors in the pool


def _dim(x, n):
    return n % max(x.dim(), 1)


def _split(x, p, q):
    return x.split(1 + p % 2, _dim(x, q))[0]


def _slice(x, p, q):
    d = _dim(x, q)
    return x.narrow(d, p % max(x.shape[d], 1), max(x.shape[d] - p % max(x.shape[d], 1), 0))


def _shaped(m, x):
    """x, where changing its shape leaves its history right: PyTorch lets no_grad break it."""
    if not m.is_grad_enabled() and x.requires_grad:
        raise ValueError("not in these programs")
    return x


def _once(x):
    """x, where no two elements are one: writes by index to expanded tensors are deprecated in PyTorch, and refused here."""
    if any(s == 0 and n > 1 for s, n in zip(x.stride(), x.shape)):
        raise ValueError("not in these programs")
    return x


# fmt: off
VIEWS = [
    lambda m, x, y, p, q: x[p % x.shape[0]],
    lambda m, x, y, p, q: x[p % 3 :],
    lambda m, x, y, p, q: x[:: 1 + p % 2],
    lambda m, x, y, p, q: x[..., p % x.shape[-1]],
    lambda m, x, y, p, q: x[None],
    lambda m, x, y, p, q: x.transpose(_dim(x, p), _dim(x, q)),
    lambda m, x, y, p, q: x.t(),
    lambda m, x, y, p, q: x.view(-1),
    lambda m, x, y, p, q: x.view(x.shape),
    lambda m, x, y, p, q: x.reshape(-1),
    lambda m, x, y, p, q: x.unsqueeze(_dim(x, p)),
    lambda m, x, y, p, q: x.squeeze(),
    lambda m, x, y, p, q: x.expand(2, *x.shape),
    lambda m, x, y, p, q: x.diagonal(),
    lambda m, x, y, p, q: _slice(x, p, q),
    lambda m, x, y, p, q: _split(x, p, q),
    lambda m, x, y, p, q: x.split(1 + p % 2, _dim(x, q))[-1],
    lambda m, x, y, p, q: x.chunk(2, _dim(x, q))[p % 2],
    lambda m, x, y, p, q: x.unbind(_dim(x, q))[0],
    lambda m, x, y, p, q: x.detach(),
    lambda m, x, y, p, q: x.data,
    lambda m, x, y, p, q: x.view_as(x),
    lambda m, x, y, p, q: x.unfold(_dim(x, q), 2, 2),
    lambda m, x, y, p, q: x.as_strided((2, 2), (2 + p % 2, 1)),
    lambda m, x, y, p, q: x.expand_as(y),
]
VALUES = [
    lambda m, x, y, p, q: x + y,
    lambda m, x, y, p, q: x * y,
    lambda m, x, y, p, q: x * 0.5,
    lambda m, x, y, p, q: x.sin(),
    lambda m, x, y, p, q: x.tanh(),
    lambda m, x, y, p, q: x.sigmoid(),
    lambda m, x, y, p, q: x.clone(),
    lambda m, x, y, p, q: x.sum(),
    lambda m, x, y, p, q: x.sum(_dim(x, p)),
    lambda m, x, y, p, q: x[x > 0.3],
    lambda m, x, y, p, q: x[[0, 0]],
    lambda m, x, y, p, q: m.cat([x, x]),
    lambda m, x, y, p, q: m.stack([x, y]),
    lambda m, x, y, p, q: m.where(x > y, x, y),
    lambda m, x, y, p, q: x.relu(),
    lambda m, x, y, p, q: x.contiguous(),
    lambda m, x, y, p, q: m.zeros_like(x),
    lambda m, x, y, p, q: x.max(_dim(x, p))[0],
]
WRITES = [
    lambda m, x, y, p, q: x.add_(y),
    lambda m, x, y, p, q: x.add_(1.5),
    lambda m, x, y, p, q: x.mul_(y),
    lambda m, x, y, p, q: x.mul_(0.5),
    lambda m, x, y, p, q: x.sub_(x),
    lambda m, x, y, p, q: x.mul_(x),
    lambda m, x, y, p, q: x.copy_(y),
    lambda m, x, y, p, q: x.zero_(),
    lambda m, x, y, p, q: x.fill_(0.25),
    lambda m, x, y, p, q: x.sin_(),
    lambda m, x, y, p, q: x.tanh_(),
    lambda m, x, y, p, q: x.sigmoid_(),
    lambda m, x, y, p, q: x.relu_(),
    lambda m, x, y, p, q: x.clamp_(-0.4, 0.6),
    lambda m, x, y, p, q: _once(x).masked_fill_(x > 0.2, 0.75),
    lambda m, x, y, p, q: x.__setitem__(p % x.shape[0], y),
    lambda m, x, y, p, q: x.__setitem__(slice(p % 2, None), 0.5),
    lambda m, x, y, p, q: _once(x).__setitem__(x > 0.1, 0.125),
    lambda m, x, y, p, q: _once(x).__setitem__([0], y),
    lambda m, x, y, p, q: x.__setitem__((Ellipsis, 0), x[..., -1]),
    lambda m, x, y, p, q: x.add_(y, alpha=0.5),
    lambda m, x, y, p, q: x.addcmul_(y, y, value=0.5),
    lambda m, x, y, p, q: x.div_(y.abs() + 1),
    lambda m, x, y, p, q: x.pow_(2),
    lambda m, x, y, p, q: x.neg_(),
    lambda m, x, y, p, q: x.lerp_(y, 0.25),
    lambda m, x, y, p, q: m.add(x, y, out=y),
]
STATE = [
    lambda m, x, y, p, q: x.detach_() if x._is_view() or x.is_leaf else None,
    lambda m, x, y, p, q: x.requires_grad_(p % 2 == 0),
    lambda m, x, y, p, q: x.retain_grad(),
    lambda m, x, y, p, q: None if x._is_view() else x.register_hook(lambda g: g * 2),
    lambda m, x, y, p, q: x.sum().backward(retain_graph=True),
    lambda m, x, y, p, q: x.sum().backward(inputs=[y], retain_graph=True),
    lambda m, x, y, p, q: m.autograd.grad(x.sum(), y, retain_graph=True, allow_unused=True)[0].clone(),
    lambda m, x, y, p, q: setattr(x, "grad", None),
    lambda m, x, y, p, q: _shaped(m, x).transpose_(_dim(x, p), _dim(x, q)),
    lambda m, x, y, p, q: _shaped(m, x).unsqueeze_(0),
    lambda m, x, y, p, q: _shaped(m, x).squeeze_(),
]
# fmt: on
KINDS = [VIEWS, VIEWS, WRITES, WRITES, VALUES, STATE]


def start(m):
    """The tensors that a program begins with."""
    a = (m.arange(12, dtype=m.float64).reshape(3, 4) / 6 - 0.8).requires_grad_()
    b = m.arange(12, dtype=m.float64).reshape(3, 4).sin()
    c = m.tensor([0.5, -0.3, 0.2, 0.9], dtype=m.float64, requires_grad=True)
    return [a, b, c, a * 1, b[1:], a[:2] * 0.5]


def _shared(x, y):
    return x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()


def step(m, pool, instruction):
    """Run one instruction; returns the error's text or None."""
    kind, which, i, j, n = instruction
    ops = KINDS[kind % len(KINDS)]
    x, y = pool[i % len(pool)], pool[j % len(pool)]
    p, q = n % 7, n // 7
    if ops is WRITES and y is not x and _shared(x, y) and not (x.is_contiguous() and y.is_contiguous()):
        y = y.detach().clone()  # reading what is being written, with gaps: undefined in PyTorch
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if n % 5 == 4:
                with m.no_grad():
                    out = ops[which % len(ops)](m, x, y, p, q)
            else:
                out = ops[which % len(ops)](m, x, y, p, q)
    except Exception as error:
        return error
    if isinstance(out, m.Tensor) and not any(out is t for t in pool):
        if len(pool) >= LIMIT:
            pool[3 + n % (LIMIT - 3)] = out
        else:
            pool.append(out)
    return None


def describe(t):
    """All that is compared of a tensor."""
    with warnings.catch_warnings():  # of .grad of non-leaves
        warnings.simplefilter("ignore")
        grad = None if t.grad is None else (list(t.grad.shape), t.grad.tolist())
    return {
        "shape": list(t.shape),
        "stride": tuple(s for s, n in zip(t.stride(), t.shape) if n > 1)
        if t.numel() and t._is_view()
        else None,
        "offset": t.storage_offset() if t.numel() else None,
        "values": t.tolist(),
        "version": t._version,
        "requires_grad": t.requires_grad,
        "is_leaf": _tried(lambda: t.is_leaf),
        "output_nr": t.output_nr,
        "view": t._is_view() if t.requires_grad else None,
        "grad_fn": _tried(lambda: type(t.grad_fn).__name__),
        "grad": grad,
    }


def _tried(f):
    """What f gives, or the type of its error: asking for the node of a forbidden view raises."""
    try:
        return f()
    except RuntimeError as error:
        return type(error).__name__


def same(a, b):
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) <= 1e-9 * max(1.0, abs(a), abs(b)) or (a != a and b != b)
    return a == b


def compare_errors(theirs, ours):
    if theirs is None or ours is None:
        assert theirs is ours, f"torch: {theirs!r}\nours: {ours!r}"
        return
    if "is a view and its base" in str(theirs):
        return  # which of two reasons is found first
    assert type(theirs).__name__ == type(ours).__name__, f"torch: {theirs!r}\nours: {ours!r}"


def compare(theirs, ours):
    for k, (t, o) in enumerate(zip(theirs, ours)):
        a, b = describe(t), describe(o)
        for key, value in a.items():
            assert same(value, b[key]), f"tensor {k}, {key}: torch {value}, ours {b[key]}"


def run(program):
    """Run a program in both libraries, comparing after each step."""
    theirs, ours = start(torch), start(rushlight)
    for instruction in program:
        a, b = step(torch, theirs, instruction), step(rushlight, ours, instruction)
        if "INTERNAL ASSERT" in str(a):
            return  # a bug of PyTorch's
        compare_errors(a, b)
        assert len(theirs) == len(ours)
        compare(theirs, ours)
    for pool in (theirs, ours):
        for t in pool:
            try:
                if t.requires_grad:
                    t.sum().backward(retain_graph=True)
            except RuntimeError:
                pass
    compare(theirs, ours)


SMALL = st.integers(0, 41)
PROGRAMS = st.lists(
    st.tuples(
        st.integers(0, 5), SMALL, st.integers(0, LIMIT - 1), st.integers(0, LIMIT - 1), SMALL
    ),
    min_size=2,
    max_size=12,
)


@settings(
    max_examples=COUNT,
    deadline=None,
    derandomize=COUNT <= 300,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(PROGRAMS)
def test_random_programs(program):
    run(program)
