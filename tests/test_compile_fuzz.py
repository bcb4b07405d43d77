"""Random programs compiled give what they give eagerly: results, state, gradients, versions, random state, call after call.

A program is drawn from a seed: a pool of tensors (arguments, tensors held by the closure, parameters with an optimizer), then 5 to
30 instructions (values, views, writes, reductions, products, random draws, indices), then a loss, backward and an optimizer's
step, or results whose backward is called outside. Both sides run it several times on new arguments.

RUSHLIGHT_PROGRAMS=5000 runs that many programs (150 otherwise); RUSHLIGHT_FIRST=n begins at another seed.
"""

import os
import random
import warnings

import numpy as np
import pytest
from compile_checks import difference

import rushlight as torch

COUNT = int(os.environ.get("RUSHLIGHT_PROGRAMS", "150"))
FIRST = int(os.environ.get("RUSHLIGHT_FIRST", "0"))
CALLS = 4
SHAPES = [(3, 4), (4, 3), (4, 4), (2, 3, 4), (4,), (1, 4), (5, 1)]

# fmt: off
VALUES = [
    lambda m, x, y, k: x + y, lambda m, x, y, k: x * y, lambda m, x, y, k: x - 0.5 * y, lambda m, x, y, k: x * 0.5, lambda m, x, y, k: x / (y * y + 1),
    lambda m, x, y, k: x.sin(), lambda m, x, y, k: x.tanh(), lambda m, x, y, k: x.sigmoid(), lambda m, x, y, k: x.relu(), lambda m, x, y, k: x.clamp(-0.5, 0.7),
    lambda m, x, y, k: m.where(x > y, x, y), lambda m, x, y, k: m.maximum(x, y), lambda m, x, y, k: (x > 0).to(x.dtype) * y, lambda m, x, y, k: x.abs().sqrt(),
    lambda m, x, y, k: x.clone(), lambda m, x, y, k: m.cat([x, x * 2], k % x.dim()), lambda m, x, y, k: m.stack([x, x.cos()]), lambda m, x, y, k: m.zeros_like(x),
    lambda m, x, y, k: m.softmax(x, k % x.dim()), lambda m, x, y, k: m.log_softmax(x, -1), lambda m, x, y, k: m.full((2, 3), 0.25 * k, dtype=x.dtype), lambda m, x, y, k: m.arange(4, dtype=x.dtype) * x.mean(),
    lambda m, x, y, k: m.zeros(3, dtype=x.dtype), lambda m, x, y, k: m.ones_like(y) * k, lambda m, x, y, k: x.exp().log1p(), lambda m, x, y, k: m.lerp(x, x * 2, 0.3), lambda m, x, y, k: x.pow(2), lambda m, x, y, k: x.double().to(x.dtype),
    lambda m, x, y, k: x.flip(k % x.dim()), lambda m, x, y, k: x.roll(1, k % x.dim()), lambda m, x, y, k: m.nn.functional.layer_norm(x, x.shape[-1:]), lambda m, x, y, k: m.nn.functional.gelu(x),
    lambda m, x, y, k: x.repeat(*[2] * x.dim()), lambda m, x, y, k: x.masked_fill(x > 0.3, 0.1 * k), lambda m, x, y, k: x.contiguous(), lambda m, x, y, k: x.tril() if x.dim() > 1 else x * 1,
]
REDUCTIONS = [
    lambda m, x, y, k: x.sum(), lambda m, x, y, k: x.sum(k % x.dim()), lambda m, x, y, k: x.mean(k % x.dim(), keepdim=True), lambda m, x, y, k: x.amax(k % x.dim()), lambda m, x, y, k: x.max(k % x.dim())[0],
    lambda m, x, y, k: x.var(), lambda m, x, y, k: x.std(k % x.dim(), unbiased=False), lambda m, x, y, k: x.logsumexp(k % x.dim()), lambda m, x, y, k: x.norm(), lambda m, x, y, k: x.cumsum(k % x.dim()),
    lambda m, x, y, k: x.argmax(k % x.dim()).to(x.dtype), lambda m, x, y, k: x.sort(k % x.dim())[0], lambda m, x, y, k: x.min() + y, lambda m, x, y, k: (x > 0).any().to(x.dtype) * x, lambda m, x, y, k: x.mean(),
]
PRODUCTS = [
    lambda m, x, y, k: x @ y, lambda m, x, y, k: x @ x.transpose(-1, -2), lambda m, x, y, k: x.t() @ y, lambda m, x, y, k: m.nn.functional.linear(x, y), lambda m, x, y, k: m.einsum("...i,...i->...", x, x), lambda m, x, y, k: m.outer(x.flatten()[:3], y.flatten()[:2]),
]
VIEWS = [
    lambda m, x, y, k: x.t(), lambda m, x, y, k: x.transpose(0, -1), lambda m, x, y, k: x[k % x.shape[0]], lambda m, x, y, k: x[..., : 1 + k % 3], lambda m, x, y, k: x[::2], lambda m, x, y, k: x.unsqueeze(k % x.dim()),
    lambda m, x, y, k: x.reshape(-1), lambda m, x, y, k: x.view(-1), lambda m, x, y, k: x.expand(2, *x.shape), lambda m, x, y, k: x.diagonal(), lambda m, x, y, k: x.narrow(-1, 0, 2), lambda m, x, y, k: x.chunk(2, -1)[k % 2],
    lambda m, x, y, k: x.detach(), lambda m, x, y, k: x.squeeze(), lambda m, x, y, k: x.unbind(0)[0], lambda m, x, y, k: x.permute(*reversed(range(x.dim()))),
]
WRITES = [
    lambda m, x, y, k: x.add_(y), lambda m, x, y, k: x.mul_(0.5), lambda m, x, y, k: x.copy_(y), lambda m, x, y, k: x.zero_(), lambda m, x, y, k: x.fill_(0.25 * k), lambda m, x, y, k: x.tanh_(), lambda m, x, y, k: x.relu_(), lambda m, x, y, k: x.sub_(x),
    lambda m, x, y, k: x.clamp_(-0.4, 0.6), lambda m, x, y, k: x.__setitem__(k % x.shape[0], 0.5), lambda m, x, y, k: x.__setitem__(slice(1, None), y), lambda m, x, y, k: x.__setitem__((Ellipsis, 0), x[..., -1]), lambda m, x, y, k: x.masked_fill_(x > 0.2, 0.75),
    lambda m, x, y, k: m.add(x, y, out=x), lambda m, x, y, k: x.addcmul_(y, y, value=0.1), lambda m, x, y, k: x.lerp_(y, 0.1), lambda m, x, y, k: x.mul_(x),
]
DRAWS = [
    lambda m, x, y, k: x + m.randn_like(x), lambda m, x, y, k: m.rand(x.shape, dtype=x.dtype) * x, lambda m, x, y, k: m.nn.functional.dropout(x, 0.3), lambda m, x, y, k: x.clone().detach().normal_(), lambda m, x, y, k: x * m.randint(0, 3, x.shape), lambda m, x, y, k: x[m.randperm(x.shape[0])],
]
INDICES = [
    lambda m, x, y, k: x[[0, -1]], lambda m, x, y, k: x.index_select(0, m.tensor([0, 1])), lambda m, x, y, k: x.gather(-1, m.zeros(x.shape[:-1] + (2,), dtype=m.int64)), lambda m, x, y, k: x.index_add(0, m.tensor([0, 0]), x[:2] * 1), lambda m, x, y, k: m.nn.functional.embedding(m.tensor([[0, 1]]), x), lambda m, x, y, k: x.scatter(-1, m.zeros(x.shape, dtype=m.int64), y.expand_as(x)),
]
# fmt: on
KINDS = [(VALUES, 9), (REDUCTIONS, 3), (PRODUCTS, 2), (VIEWS, 5), (WRITES, 4), (DRAWS, 1), (INDICES, 1)]
OPTIMIZERS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"]


class Drawn:
    """A program in numbers: what both sides, and other libraries, run."""

    def __init__(self, seed):
        r = random.Random(seed)
        self.seed = seed
        self.dtype = r.choice(["float32", "float64", "float64"])
        self.arguments = [r.choice(SHAPES) for _ in range(r.randint(1, 3))]
        self.held = [r.choice(SHAPES) for _ in range(r.randint(0, 2))]
        self.parameters = [r.choice(SHAPES) for _ in range(r.randint(0, 3))]
        self.instructions = []
        for _ in range(r.randint(5, 30)):
            table = r.choices([t for t, _ in KINDS], [w for _, w in KINDS])[0]
            self.instructions.append((table, r.randrange(len(table)), r.randrange(1 << 16), r.randrange(1 << 16), r.randrange(8), r.random() < 0.1))
        self.optimizer = r.choice(OPTIMIZERS)
        self.ending = r.choice(["step", "step", "outside", "forward"]) if self.parameters else "forward"
        self.returned = [r.randrange(1 << 16) for _ in range(r.randint(1, 3))]


class Side:
    """The program over one library, with state of its own."""

    def __init__(self, drawn, m):
        self.drawn, self.m = drawn, m
        rng = np.random.default_rng(drawn.seed)
        self.dtype = getattr(m, drawn.dtype)
        self.held = [self.made(rng, s) for s in drawn.held]
        self.parameters = [self.made(rng, s).requires_grad_() for s in drawn.parameters]
        self.optimizer = getattr(m.optim, drawn.optimizer)(self.parameters, 0.01) if self.parameters else None

    def made(self, rng, shape):
        return self.m.tensor(rng.uniform(-1, 1, shape), dtype=self.dtype)

    def arguments(self, call):
        rng = np.random.default_rng((self.drawn.seed, call))
        return [self.made(rng, s) for s in self.drawn.arguments]

    def function(self, plan=None):
        """The function; `plan` is the list of which instructions are possible, filled by the first run."""
        drawn, m, held, parameters, optimizer = self.drawn, self.m, self.held, self.parameters, self.optimizer

        def program(*arguments):
            pool = [*arguments, *held, *parameters]
            for n, (table, which, a, b, k, quiet) in enumerate(drawn.instructions):
                if plan[n] is False:
                    continue
                x, y = pool[a % len(pool)], pool[b % len(pool)]
                if quiet:
                    with m.no_grad():
                        out = table[which](m, x, y, k)
                else:
                    out = table[which](m, x, y, k)
                if isinstance(out, m.Tensor) and out is not x:
                    pool.append(out)
            results = [pool[-1 - r % min(len(pool), 6)] for r in drawn.returned]
            if drawn.ending == "forward":
                return [r.detach() for r in results]
            loss = sum((p.double().square().mean() for p in pool if p.is_floating_point() and p.numel() and p.requires_grad), m.zeros((), dtype=m.float64))
            if drawn.ending == "outside":
                return loss, [r.detach().clone() for r in results]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.detach(), [r.detach() for r in results]

        return program

    def call(self, function, call):
        """One call with what belongs to it outside; everything that can be compared afterwards."""
        m = self.m
        m.manual_seed(call)
        arguments = self.arguments(call)
        result = function(*arguments)
        if self.drawn.ending == "outside":
            for p in self.parameters:
                p.grad = None
            if result[0].requires_grad:
                result[0].backward()
            self.optimizer.step()
        tensors = [*arguments, *self.held, *self.parameters]
        return result, tensors, [t.grad for t in tensors if t.is_leaf and t.grad is not None], [t._version for t in tensors], m.rand(2)


def possible(drawn, m):
    """Which instructions this program can do, found by trying: the others are left out. None where it has no sensible end."""
    side = Side(drawn, m)
    plan = [True] * len(drawn.instructions)
    pool = [*side.arguments(0), *side.held, *side.parameters]
    for n, (table, which, a, b, k, quiet) in enumerate(drawn.instructions):
        x, y = pool[a % len(pool)], pool[b % len(pool)]
        try:
            with m.set_grad_enabled(not quiet):
                out = table[which](m, x, y, k)
            if isinstance(out, m.Tensor) and out.numel() > 2000:
                raise ValueError("too large")
        except Exception:
            side = Side(drawn, m)  # a failed instruction may have left a trace: begin anew without it
            plan[n] = False
            return_to = list(plan)
            pool = _replayed(drawn, m, side, return_to, n)
            if pool is None:
                return None
            continue
        if isinstance(out, m.Tensor) and out is not x:
            pool.append(out)
    try:
        m.manual_seed(0)
        side = Side(drawn, m)
        run = side.function(plan)
        for call in range(2):
            result = side.call(run, call)
            if not all(bool(m.isfinite(t).all()) for t in result[1]):
                return None
    except Exception:
        return None
    return plan


def _replayed(drawn, m, side, plan, until):
    pool = [*side.arguments(0), *side.held, *side.parameters]
    try:
        for n, (table, which, a, b, k, quiet) in enumerate(drawn.instructions[:until]):
            if plan[n]:
                x, y = pool[a % len(pool)], pool[b % len(pool)]
                with m.set_grad_enabled(not quiet):
                    out = table[which](m, x, y, k)
                if isinstance(out, m.Tensor) and out is not x:
                    pool.append(out)
    except Exception:
        return None
    return pool


def check(seed):
    """Run the program of a seed on both sides; gives whether it was captured, None where it has no sensible end."""
    drawn = Drawn(seed)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        plan = possible(drawn, torch)
        if plan is None:
            return None
        eager, other = Side(drawn, torch), Side(drawn, torch)
        run, compiled = eager.function(plan), torch.compile(other.function(plan))
        tolerance = 2e-3 if drawn.dtype == "float32" else 1e-7
        for call in range(CALLS):
            a, b = eager.call(run, call), other.call(compiled, call)
            problem = difference(a, b, tolerance)
            assert problem is None, f"seed {seed}, call {call}: {problem}\n{compiled.explain()}"
    return bool(compiled.programs)


@pytest.mark.parametrize("part", range(10))
def test_programs(part):
    kept = [check(seed) for seed in range(FIRST + part, FIRST + COUNT, 10)]
    assert sum(k is True for k in kept) >= sum(k is not None for k in kept) // 3, "few programs were captured"


def test_the_generator_draws_what_it_says():
    drawn = [Drawn(seed) for seed in range(200)]
    assert {d.ending for d in drawn} == {"step", "outside", "forward"}
    assert all(5 <= len(d.instructions) <= 30 for d in drawn)
