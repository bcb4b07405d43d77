"""compile() at its corners: what is reached from odd places, changes between calls, threads, hooks, nested calls, garbage.

Each test holds a compiled function to the eager one, whether its program is kept or not.
"""

import collections
import copy
import dataclasses
import gc
import threading
import weakref

import numpy as np
import pytest
from compile_checks import alike

import rushlight as torch
from rushlight import nn
from rushlight.nn import functional as F

pytestmark = pytest.mark.filterwarnings("ignore")


class Config:
    scale = 2.0
    table = {"a": 1.0}


SCALE = 1.0
QUEUE = collections.deque([1.0, 2.0])
NAMES = {"one"}
ARRAY = np.ones(3)


def test_attributes_of_classes_are_guarded():
    f = torch.compile(lambda x: x * Config.scale + Config.table["a"])
    x = torch.ones(3)
    for scale, a in ((2.0, 1.0), (2.0, 1.0), (3.0, 1.0), (3.0, 2.0), (2.0, 1.0)):
        Config.scale, Config.table["a"] = scale, a
        alike(x * scale + a, f(x))


def test_attributes_found_through_the_class_of_an_instance():
    class Scaled:
        factor = 2.0

        def run(self, x):
            return x * self.factor

    s = Scaled()
    f = torch.compile(s.run)
    x = torch.ones(3)
    f(x), f(x)
    Scaled.factor = 5.0
    alike(x * 5, f(x))
    s.factor = 7.0
    alike(x * 7, f(x))
    Scaled.run = lambda self, x: x - 1
    g = torch.compile(lambda x: s.run(x))
    g(x), g(x)
    Scaled.run = lambda self, x: x - 2
    alike(x - 2, g(x))


def test_queues_sets_and_arrays_are_guarded():
    global ARRAY
    f = torch.compile(lambda x: x * QUEUE[0])
    g = torch.compile(lambda x: x + 1 if "two" in NAMES else x - 1)
    h = torch.compile(lambda x: x + torch.tensor(ARRAY, dtype=torch.float32))
    k = torch.compile(lambda x: x * float(ARRAY[0]))
    x = torch.ones(3)
    for n in range(4):
        for c, e in ((f, x * QUEUE[0]), (g, x + 1 if "two" in NAMES else x - 1), (h, x + torch.tensor(ARRAY, dtype=torch.float32)), (k, x * float(ARRAY[0]))):
            alike(e, c(x))
        if n == 1:
            QUEUE.appendleft(5.0)
            QUEUE.pop()
            NAMES.add("two")
            NAMES.discard("one")
            ARRAY[:] = 4


def test_globals_and_closures_that_are_bound_anew():
    global SCALE
    inner = 1.0

    def f(x):
        return x * SCALE + inner

    c = torch.compile(f)
    x = torch.ones(2)
    for SCALE, inner in ((1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (2.0, 5.0), (1.0, 1.0)):  # noqa: B007, B020
        alike(f(x), c(x))
    weight = torch.ones(2)
    g = torch.compile(lambda x: x * weight)
    g(x), g(x)
    weight = torch.full((2,), 3.0)
    alike(x * 3, g(x))


def test_hooks_run_at_every_call():
    w = torch.ones(3, requires_grad=True)
    seen = []
    w.register_hook(lambda g: seen.append(float(g.sum())) or g * 2)

    def step(x):
        w.grad = None
        (w * x).sum().backward()

    c = torch.compile(step)
    for n in range(8):
        c(torch.full((3,), float(n)))
        alike(torch.full((3,), 2.0 * n), w.grad)
    assert seen == [3.0 * n for n in range(8)]


def test_hooks_registered_later_and_hooks_on_results_inside():
    w = torch.ones(3, requires_grad=True)
    c = torch.compile(lambda x: (w * x).sum())
    x = torch.ones(3)
    for _ in range(3):
        w.grad = None
        c(x).backward()
    w.register_hook(lambda g: g * 3)
    w.grad = None
    c(x).backward()
    alike(torch.full((3,), 3.0), w.grad)
    kept = []

    def inside(x):
        y = w * x
        y.register_hook(lambda g: kept.append(g.clone()))
        return y.sum()

    d = torch.compile(inside)
    for _ in range(6):
        d(x).backward()
    assert len(kept) == 6


def test_hooks_of_modules():
    m = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    c = torch.compile(lambda x: m(x))
    x = torch.randn(2, 3)
    c(x), c(x)
    calls = []
    handle = m[0].register_forward_hook(lambda mod, args, out: calls.append(1) or out * 2)
    for n in range(1, 7):
        alike(m(x).detach(), c(x).detach())
        assert len(calls) == 2 * n
    handle.remove()
    alike(m(x).detach(), c(x).detach())


def test_containers_as_arguments():
    Pair = collections.namedtuple("Pair", "a b")

    @dataclasses.dataclass
    class Box:
        a: object
        n: float

    f = torch.compile(lambda p, d, box, *rest, k=1.0, **more: (p.a + p.b * d["x"][0] + box.a * box.n + sum(rest) * k, {"y": more["z"]}, Pair(p.b, p.a)))
    e = f._function
    for n in range(5):
        a, b = torch.full((2,), float(n)), torch.ones(2)
        args = (Pair(a, b), {"x": [a * 2]}, Box(b, 1.0 + n), a, b)
        alike(list(e(*args, k=2.0, z=a)[:2]), list(f(*args, k=2.0, z=a)[:2]))
        assert type(f(*args, k=2.0, z=a)[2]) is Pair


def test_generators_as_arguments():
    f = torch.compile(lambda items: sum(t * 2 for t in items))
    for n in range(5):
        alike(torch.full((2,), 6.0 + 2 * n), f(t for t in (torch.ones(2), torch.full((2,), 2.0 + n))))


def test_seeds_inside_are_not_frozen():
    def f(x):
        torch.manual_seed(3)
        return x + torch.rand(2)

    c = torch.compile(f)
    x = torch.zeros(2)
    expected = f(x)
    for _ in range(6):
        torch.rand(7)
        alike(expected, c(x))
    g = torch.Generator()

    def h(x):
        g.manual_seed(5)
        return x + torch.rand(2, generator=g)

    d = torch.compile(h)
    expected = h(x)
    for _ in range(6):
        alike(expected, d(x))


def test_python_and_numpy_draws_are_not_frozen():
    rng, other = np.random.default_rng(0), np.random.default_rng(0)
    c = torch.compile(lambda x: x * float(rng.random()))
    for _ in range(6):
        alike(torch.ones(2) * float(other.random()), c(torch.ones(2)))


def test_generators_of_the_program_are_drawn_from():
    a, b = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    c = torch.compile(lambda x: x + torch.rand(3, generator=b))
    for _ in range(5):
        alike(torch.zeros(3) + torch.rand(3, generator=a), c(torch.zeros(3)))


def test_in_place_on_results_saved_for_backward_is_an_error():
    w = torch.ones(3, requires_grad=True)
    c = torch.compile(lambda x: (w * x).exp())
    x = torch.ones(3)
    c(x), c(x)
    y = c(x)
    with torch.no_grad():
        y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_gradients_that_are_one_tensor_are_kept_apart():
    f = torch.compile(lambda x, y: x + y)
    for _ in range(4):
        x, y, g = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True), torch.ones(3)
        f(x, y).backward(g)
        f(x, y).backward(g)
        alike([torch.full((3,), 2.0)] * 2, [x.grad, y.grad])
        alike(torch.ones(3), g)


def test_histories_of_arguments():
    f = torch.compile(lambda x, w: (x * w).sum())
    for _ in range(4):
        w = torch.full((3,), 2.0, requires_grad=True)
        f(w * 3, w).backward()
        alike(torch.full((3,), 12.0), w.grad)

    def back(loss):
        loss.backward()

    c = torch.compile(back)
    for n in range(6):
        w = torch.ones(3, requires_grad=True)
        c((w * n).sum() if n % 2 else w.sum() * n)
        alike(torch.full((3,), float(n)), w.grad)


def test_recorded_writes_to_arguments():
    def f(x):
        x.mul_(2)
        return x.sum()

    c = torch.compile(f)
    for _ in range(5):
        w = torch.ones(3, requires_grad=True)
        x = w * 1
        c(x)
        x.sum().backward()
        alike(torch.full((3,), 2.0), w.grad)


def test_memory_that_is_replaced():
    w = torch.ones(3)

    def f(x):
        w.data = x * 2
        return w + 1

    c = torch.compile(f)
    for n in range(6):
        alike(torch.full((3,), 2.0 * n + 1), c(torch.full((3,), float(n))))
        alike(torch.full((3,), 2.0 * n), w)
    v = torch.ones(2, 3)
    t = torch.compile(lambda x: v.t_() * x)
    for n in range(4):
        assert t(torch.ones(())).shape == ((3, 2) if n % 2 == 0 else (2, 3))
    r = torch.compile(lambda x: x.resize_(4).zero_())
    for _ in range(4):
        assert r(torch.ones(2)).tolist() == [0] * 4


def test_constants_made_inside_are_new_every_time():
    f = torch.compile(lambda x: (torch.zeros(3), torch.ones(3) + x, torch.arange(3.0)))
    for _ in range(4):
        a, b, c = f(torch.ones(3))
        alike([torch.zeros(3), torch.full((3,), 2.0), torch.arange(3.0)], [a, b, c])
        a.add_(1), c.mul_(5)


def test_results_that_share_memory_share_a_version():
    f = torch.compile(lambda x: (lambda y: (y, y[1:]))(x * 2))
    for _ in range(3):
        a, b = f(torch.ones(3))
        b.zero_()
        assert a.tolist() == [2, 0, 0] and a._version == b._version == 1


def test_switches_inside_and_outside():
    w = torch.ones(3, requires_grad=True)

    def f(x, on):
        with torch.set_grad_enabled(on):
            y = w * x
        return y, torch.is_grad_enabled()

    c = torch.compile(f)
    for on in (True, False, True, True, False):
        for outer in (torch.enable_grad, torch.no_grad):
            with outer():
                alike(list(f(torch.ones(3), on))[1:], list(c(torch.ones(3), on))[1:])
                assert f(torch.ones(3), on)[0].requires_grad == c(torch.ones(3), on)[0].requires_grad
    with torch.inference_mode():
        assert c(torch.ones(3), False)[0].is_inference()
    g = torch.compile(lambda x: torch.mm(x, x))
    for dtype in (torch.float32, torch.bfloat16, torch.float32):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is torch.bfloat16):
            assert g(torch.ones(2, 2)).dtype is dtype
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.compile(lambda: torch.zeros(2))().dtype is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_compiled_in_compiled_and_two_that_share_a_model():
    m = nn.Linear(3, 3)
    inner = torch.compile(lambda x: m(x).relu())
    outer = torch.compile(lambda x: inner(x) * 2)
    o = torch.optim.SGD(m.parameters(), 0.1)

    def train(x):
        o.zero_grad()
        m(x).square().sum().backward()
        o.step()

    step = torch.compile(train)
    for _ in range(5):
        x = torch.randn(2, 3)
        alike((m(x).relu() * 2).detach(), outer(x).detach())
        alike(m(x).relu().detach(), inner(x).detach())
        step(x)


def test_threads_call_one_function():
    m = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))
    c = torch.compile(lambda x: m(x))
    xs = [torch.randn(4, 8) for _ in range(4)]
    expected = [m(x).detach() for x in xs]
    wrong = []

    def work(n):
        try:
            for _ in range(20):
                alike(expected[n], c(xs[n]).detach())
        except BaseException as e:
            wrong.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, wrong[0]


def test_bad_targets_in_a_step_and_the_next_call():
    def make():
        torch.manual_seed(0)
        m = nn.Linear(3, 2)
        o = torch.optim.SGD(m.parameters(), 0.1, momentum=0.9)

        def step(x, y):
            o.zero_grad()
            loss = F.cross_entropy(m(x), y)
            loss.backward()
            o.step()
            return loss

        return m, step

    a, eager = make()
    b, step = make()
    c = torch.compile(step)
    x, good, bad = torch.randn(4, 3), torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 5, 0])
    for y in (good, good, good, bad, good, bad, good):
        for f in (eager, c):
            if y is bad:
                with pytest.raises(IndexError):
                    f(x, y)
        if y is good:
            alike(eager(x, y).detach(), c(x, y).detach())
        alike([p.detach() for p in a.parameters()], [p.detach() for p in b.parameters()])
    assert c.programs


@pytest.mark.parametrize("index", [-1, 3])
def test_indices_out_of_bounds(index):
    x, good, bad = torch.ones(3, 3), torch.tensor([0, 2]), torch.tensor([0, index])
    for f in (lambda x, i: x.index_select(0, i), lambda x, i: F.embedding(i, x), lambda x, i: x.gather(0, i[None].expand(3, 2)), lambda x, i: x.index_add(0, i, x[:2] * 1)):
        c = torch.compile(f)
        alike(f(x, good), c(x, good))
        alike(f(x, good), c(x, good))
        with pytest.raises((IndexError, RuntimeError)) as e:
            f(x, bad)
        with pytest.raises(e.type):
            c(x, bad)


def test_custom_functions_checkpoints_and_tied_weights():
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x**2

    from rushlight.utils.checkpoint import checkpoint

    torch.manual_seed(0)
    e = nn.Embedding(5, 4)
    h = nn.Linear(4, 5, bias=False)
    h.weight = e.weight
    o = torch.optim.SGD(e.parameters(), 0.1)

    def step(i, train=True):
        z = checkpoint(lambda v: v.tanh() * 2, Cube.apply(e(i)), use_reentrant=False)
        loss = F.cross_entropy(h(z), i)
        if train:
            o.zero_grad()
            loss.backward()
            o.step()
        return loss.detach()

    start = e.weight.detach().clone()
    i = torch.tensor([0, 1, 4])
    expected = [step(i) for _ in range(5)]
    with torch.no_grad():
        e.weight.copy_(start)
    c = torch.compile(step)
    alike(expected, [c(i) for _ in range(5)])


def test_lbfgs_scalers_and_schedulers_inside():
    def make(kind):
        torch.manual_seed(0)
        m = nn.Linear(3, 1)
        x, y = torch.randn(6, 3), torch.randn(6, 1)
        if kind == "lbfgs":
            o = torch.optim.LBFGS(m.parameters(), lr=0.5, max_iter=3)

            def step():
                def closure():
                    o.zero_grad()
                    loss = F.mse_loss(m(x), y)
                    loss.backward()
                    return loss

                return o.step(closure)
        else:
            o = torch.optim.SGD(m.parameters(), 0.1)
            s = torch.optim.lr_scheduler.StepLR(o, 2, 0.5)
            scaler = torch.amp.GradScaler("cpu", enabled=kind == "scaler")

            def step():
                o.zero_grad()
                loss = F.mse_loss(m(x), y)
                scaler.scale(loss).backward()
                scaler.step(o)
                scaler.update()
                s.step()
                return loss.detach()

        return step

    for kind in ("lbfgs", "scheduler", "scaler"):
        eager, c = make(kind), torch.compile(make(kind))
        alike([eager().detach() for _ in range(9)], [c().detach() for _ in range(9)])


def test_models_are_copied_and_changed():
    m = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    c = torch.compile(m)
    x = torch.randn(4, 3)
    c(x), c(x)
    d = copy.deepcopy(c)
    with torch.no_grad():
        d._orig_mod[0].weight.zero_()
    c.eval(), d.eval()
    alike(m(x).detach(), c(x).detach())
    assert not torch.equal(c(x), d(x))
    m[1].eps = 1.0
    alike(m(x).detach(), c(x).detach())
    m[0] = nn.Identity()
    alike(m(x).detach(), c(x).detach())


def test_nothing_is_kept_of_arguments_and_calls():
    f = torch.compile(lambda x: (x * 2).sum())
    f(torch.ones(5)), f(torch.ones(5))
    x = torch.ones(5)
    gone = weakref.ref(x)
    f(x)
    del x
    gc.collect()
    assert gone() is None
    w = torch.ones(5, requires_grad=True)
    g = torch.compile(lambda x: (w * x).exp().sum())
    for _ in range(3):
        g(torch.ones(5)).backward()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(300):
        f(torch.ones(5))
        g(torch.ones(5)).backward()
    gc.collect()
    assert len(gc.get_objects()) - before < 50


def test_shapes_in_python_and_ragged_batches():
    def f(x):
        return x.sum() / x.shape[0] if len(x) % 2 else x.mean() * x.size(1)

    c = torch.compile(f)
    for n in (4, 4, 3, 4, 3, 2, 4):
        x = torch.randn(n, 3)
        alike(f(x), c(x))


def test_subclasses():
    class Mine(torch.Tensor):
        pass

    f = torch.compile(lambda x: x * 2)
    for _ in range(3):
        x = torch.ones(2).as_subclass(Mine)
        assert type(f(x)) is Mine and type(f(torch.ones(2))) is torch.Tensor


def test_a_warning_names_the_programs_own_line():
    def f(x):
        y = x * 2
        return nn.functional.gaussian_nll_loss(x, x, y.abs())  # looks at values

    with pytest.warns(UserWarning, match=r"test_compile_corners.py:\d+"):
        torch.compile(f)(torch.ones(3))


def test_check_mode_compares_results_and_state(monkeypatch):
    from rushlight.compiler import compiled

    monkeypatch.setattr(compiled, "CHECK", True)
    torch.manual_seed(0)
    m = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 2))
    n = copy.deepcopy(m)

    def make(m):
        o = torch.optim.SGD(m.parameters(), 0.01, momentum=0.9)

        def step(x):
            o.zero_grad()
            loss = m(x).square().mean()
            loss.backward()
            o.step()
            return loss.detach()

        return step

    eager, c = make(m), torch.compile(make(n))
    for k in range(7):
        x = torch.randn(5, 3)
        torch.manual_seed(k)
        a = eager(x)
        torch.manual_seed(k)
        alike(a, c(x))
    assert c.programs
    alike([p.detach() for p in m.parameters()], [p.detach() for p in n.parameters()])
    program = c.programs[0][1]
    right = program.run
    program.run = lambda args, kwargs: right(args, kwargs) + 1
    with pytest.raises(RuntimeError, match="RUSHLIGHT_CHECK.*result 0"):
        c(x)
