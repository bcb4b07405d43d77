"""The tape and the engine where only their own promises can be compared: depth, memory, lines in messages, warnings."""

import gc
import subprocess
import sys
import threading
import warnings
import weakref

import pytest

import rushlight as torch

DEPTH = 100_000


@pytest.fixture
def x():
    return torch.ones(2, dtype=torch.float64, requires_grad=True)


# ---- depth and memory


@pytest.mark.parametrize(
    "step",
    [lambda y: y + 1, lambda y: y.view(2), lambda y: y.sin(), lambda y: y.split(1)[0].expand(2)],
    ids=["add", "view", "sin", "split"],
)
def test_graphs_of_any_depth_are_freed_without_recursion(x, step):
    y = x
    for _ in range(DEPTH):
        y = step(y)
    last = weakref.ref(y.grad_fn)
    del y
    gc.collect()
    assert last() is None


def test_backward_through_any_depth(x):
    y = x
    for _ in range(DEPTH):
        y = y + 1
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_in_place_history_of_any_depth(x):
    base = torch.ones(4, dtype=torch.float64)
    for _ in range(DEPTH // 20):
        base[:2].mul_(x)
    base.sum().backward()
    assert x.grad.tolist() == [DEPTH // 20] * 2


def test_saved_values_are_dropped_as_backward_goes(x):
    """When the gradient of the first op arrives, what the later ones saved is gone."""
    alive, refs = [], []
    y = x.sin()
    y.register_hook(lambda g: alive.append(sum(r() is not None for r in refs)))
    for _ in range(50):
        y = y.sin()
        refs.append(weakref.ref(y._data))
    loss = y.sum()
    del y
    loss.backward()
    assert alive == [0] or alive[0] <= 1


def test_a_result_keeps_no_graph_after_backward(x):
    y = x.exp()
    middle = weakref.ref(y._data)
    loss = (y * y).sum()
    loss.backward()
    del y
    gc.collect()
    assert middle() is None
    assert loss.grad_fn is not None


def test_two_threads_run_backward_at_once():
    shared = torch.ones(3, dtype=torch.float64, requires_grad=True)
    graph = (shared * 2).sin()
    got = {}

    def work(i):
        for _ in range(20):
            (g,) = torch.autograd.grad((graph * (i + 1)).sum(), shared, retain_graph=True)
        got[i] = g.tolist()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got[1] == [2 * v for v in got[0]]


# ---- what messages say


def test_the_version_error_names_op_shape_version_and_line(x):
    y = x * 2
    z = y.sin()
    y.add_(1)  # the line that is looked for
    with pytest.raises(RuntimeError) as caught:
        z.sum().backward()
    text = str(caught.value)
    assert "[torch.DoubleTensor [2]]" in text and "SinBackward0" in text
    assert "is at version 1; expected version 0" in text
    assert "add changed it at" in text and "y.add_(1)  # the line that is looked for" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.mul_(3), lambda w: w.detach().zero_(), lambda w: w.exp_(), lambda w: w.addcmul_(w, w), lambda w: w.untyped_storage().fill_(0),
        lambda w: w.__setitem__(0, 1), lambda w: w.__setitem__(w > 0, 1.0), lambda w: torch.add(w, w, out=w), lambda w: w.view(2)[1:].add_(1), lambda w: w.uniform_(),
    ],
)  # fmt: skip
def test_the_version_error_of_changes_that_are_not_recorded(x, change):
    """The quick way keeps no lines: the error says how to have them noted, and then it names them."""
    for anomaly in (False, True):
        saved = torch.ones(2, dtype=torch.float64)
        with torch.autograd.set_detect_anomaly(anomaly), pytest.raises(RuntimeError) as caught, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            z = x * saved
            change(saved)
            z.sum().backward()
        text = str(caught.value)
        assert "[torch.DoubleTensor [2]]" in text and "MulBackward0" in text and "is at version 1; expected version 0" in text
        assert "changed it at" in text and "lambda w:" in text or not anomaly and "set_detect_anomaly(True) before the forward pass" in text


def test_anomaly_mode_names_every_line(x):
    saved = torch.ones(2, dtype=torch.float64)
    with torch.autograd.set_detect_anomaly(True):
        z = x * saved
        saved += 1  # not recorded
        with pytest.raises(RuntimeError, match="not recorded"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            z.sum().backward()


def test_anomaly_mode_shows_the_forward_lines_of_nan(x):
    with torch.autograd.set_detect_anomaly(True):
        y = (x * 0).sqrt() * 0  # gives nan backward
        with (
            pytest.raises(
                RuntimeError, match="'SqrtBackward0' returned nan values in its 0th output"
            ),
            pytest.warns(UserWarning, match="gives nan backward"),
        ):
            y.sum().backward()


def test_anomaly_mode_in_double_backward_names_the_first_backward(x):
    with torch.autograd.set_detect_anomaly(True):
        (g,) = torch.autograd.grad((x * 0).pow(1.5).sum(), x, create_graph=True)
        with pytest.raises(RuntimeError), pytest.warns(UserWarning) as caught:
            g.sum().backward()
    assert any("was induced by" in str(w.message) for w in caught)


# ---- a name kept from .grad


@pytest.fixture
def watched():
    torch.warn_alias(True)
    yield
    torch.warn_alias(False)


def test_a_kept_gradient_changed_by_backward_is_reported(x, watched):
    (x * 2).sum().backward()
    kept = x.grad  # taken
    with pytest.warns(
        UserWarning,
        match=r"kept at .*test_autograd.* is changed by backward\(\) at .*test_autograd",
    ):
        (x * 2).sum().backward()
    assert kept.tolist() == [4.0, 4.0]


def test_a_kept_gradient_changed_by_zero_is_reported(x, watched):
    (x * 2).sum().backward()
    kept = x.grad
    with pytest.warns(UserWarning, match=r"zero_\(\)"):
        x.grad.zero_()
    assert kept.tolist() == [0.0, 0.0]


def test_ordinary_use_is_not_reported(x, watched):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            (x * 2).sum().backward()
            x.data.sub_(x.grad * 0.1)
            x.grad.zero_()
        kept = x.grad.clone()
        (x * 2).sum().backward()
    assert kept.tolist() == [0.0, 0.0]


# ---- modes


def test_an_inference_tensor_cannot_be_saved(x):
    with torch.inference_mode():
        y = torch.ones(2, dtype=torch.float64)
    for f in (
        lambda: x * y,
        lambda: y * x,
        lambda: torch.dot(x, y),
        lambda: torch.addcmul(x, x, y),
    ):
        with pytest.raises(RuntimeError, match="Inference tensors cannot be saved"):
            f()


def test_modes_are_of_one_thread():
    seen = []
    with torch.no_grad():
        t = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


# ---- checkpoint


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_checkpoint_keeps_no_intermediate_and_the_same_dropout(use_reentrant):
    refs = []

    def block(a):
        b = a.sin()
        refs.append(weakref.ref(b._data))
        return torch.nn.functional.dropout(b, 0.5).exp()

    x = torch.ones(64, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    expected = torch.autograd.grad(block(x).sum(), x)[0]
    refs.clear()
    torch.manual_seed(1)
    y = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=use_reentrant)
    gc.collect()
    assert refs[0]() is None
    y.sum().backward()
    assert x.grad.tolist() == expected.tolist()


def test_names_are_there_as_attributes_and_as_imports():
    import rushlight.autograd.functional as functional
    from rushlight.autograd.gradcheck import GradcheckError

    assert torch.autograd.functional is functional
    assert torch.autograd.gradcheck(
        lambda x: x * 2, torch.ones(2, dtype=torch.float64, requires_grad=True)
    )
    assert issubclass(GradcheckError, RuntimeError)
    assert torch.autograd.graph.Node and torch.autograd.function.once_differentiable
    with pytest.raises(NotImplementedError, match="profile"):
        torch.autograd.profiler.profile  # noqa: B018
    with torch.autograd.profiler.record_function("step"):
        pass


@pytest.mark.parametrize("name", ["result", "saved", "op", "edges", "hooks", "outputs", "versions", "backward", "node", "names", "function", "meta", "unpack"])
def test_ctx_of_a_function_is_the_programs_own(name):
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            setattr(ctx, name, "mine")
            ctx.save_for_backward(x, y)
            return x * y

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            assert getattr(ctx, name) == "mine" and ctx.needs_input_grad == (True, True) and len(ctx.next_functions) == 2
            return g * y, g * x

    x, y = (torch.full((2,), n, requires_grad=True) for n in (2.0, 3.0))
    z = Product.apply(x, y)
    assert len(z.grad_fn.saved_tensors) == 2 and len(z.grad_fn.next_functions) == 2
    z.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0] and y.grad.tolist() == [2.0, 2.0]


def test_ctx_is_freed_with_its_graph_and_says_so():
    kept = []

    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.note = 5
            kept.append(ctx)
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g

    y = Keeps.apply(torch.ones(2, requires_grad=True))
    assert kept[0].saved_tensors[0].tolist() == [1.0, 1.0] and y.grad_fn.note == 5 and repr(kept[0]).startswith("<torch.autograd.function.KeepsBackward")
    node = weakref.ref(y.grad_fn)
    del y
    assert node() is None and kept[0].note == 5
    with pytest.raises(RuntimeError, match="outlived its graph"):
        kept[0].saved_tensors  # noqa: B018


@pytest.mark.parametrize("n", [1, 1000, 40_000])
def test_threads_accumulate_into_one_leaf(n):
    """Nothing is lost where two backward passes reach a leaf at once."""
    x = torch.ones(n, requires_grad=True)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=lambda: [(x * 2).sum().backward() for _ in range(40)]) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(before)
    assert x.grad.min().item() == x.grad.max().item() == 2 * 40 * 4


def test_threads_that_are_the_first_to_need_a_kernel():
    text = """
import sys, threading
import rushlight as torch
sys.setswitchinterval(1e-6)
x, failed = torch.ones(40_000), []
def work():
    try:
        for _ in range(30):
            assert (x * 2).sum().item() == 80_000 and x.exp().max().item() > 2
    except Exception as error:
        failed.append(error)
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads], [t.join() for t in threads]
sys.exit(len(failed))
"""
    for _ in range(3):
        assert subprocess.run([sys.executable, "-c", text]).returncode == 0


@pytest.mark.parametrize("shared", [True, False])
def test_two_backward_passes_at_once_through_one_graph(shared):
    x = torch.ones(500, requires_grad=True)
    y = (x * x).exp().sum()
    threads = [
        threading.Thread(target=lambda: [y.backward(retain_graph=True) if shared else torch.autograd.grad(y, x, retain_graph=True) for _ in range(20)])
        for _ in range(3)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not shared or torch.allclose(x.grad, torch.full((500,), 60 * 2 * 2.718281828))
