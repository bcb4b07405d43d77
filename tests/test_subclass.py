"""Subclasses of Tensor, `__torch_function__`, modes."""

import copy
import pickle
import subprocess
import sys

import pytest

import rushlight as torch
from rushlight.overrides import TorchFunctionMode, has_torch_function, is_tensor_like, resolve_name

CALLS = []


class Plain(torch.Tensor):
    """Inherits the default handler."""


class Logged(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        CALLS.append((func, types, args, kwargs))
        return super().__torch_function__(func, types, args, kwargs)


class Tagged(torch.Tensor):
    """Carries a unit along."""

    @staticmethod
    def __new__(cls, data, unit=None):
        return torch.as_tensor(data).as_subclass(cls)

    def __init__(self, data, unit=None):
        self.unit = unit

    def __repr__(self):
        return f"{self.tolist()} {self.unit}"

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        out = super().__torch_function__(func, types, args, kwargs)
        if isinstance(out, Tagged):
            out.unit = next((a.unit for a in args if hasattr(a, "unit")), None)
        return out


class Refuses(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return NotImplemented


class Duck:
    """No tensor at all."""

    handlers = {}

    def __init__(self, value):
        self.value = value

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func not in cls.handlers:
            return NotImplemented
        return cls.handlers[func](*args, **(kwargs or {}))


def implements(f):
    def enter(g):
        Duck.handlers[f] = g
        return g

    return enter


@implements(torch.mean)
def mean(x):
    return x.value / 2


@implements(torch.add)
def add(x, y):
    return Duck(getattr(x, "value", x) + getattr(y, "value", y))


@implements(torch.cat)
def cat(items, dim=0):
    return len(items), dim


@pytest.fixture
def x():
    CALLS.clear()
    return torch.ones(2, 2).as_subclass(Logged)


def names():
    return [f.__name__ for f, *_ in CALLS]


@pytest.mark.parametrize("call, name", [
    (lambda x: x + 1, "add"), (lambda x: 1 + x, "add"), (lambda x: 1 - x, "__rsub__"), (lambda x: x @ x, "matmul"), (lambda x: -x, "neg"), (lambda x: x == x, "__eq__"),
    (lambda x: x > 0, "gt"), (lambda x: x[0], "__getitem__"), (lambda x: x.shape, "__get__"), (lambda x: x.size(), "size"), (lambda x: len(x), "__len__"),
    (lambda x: torch.add(x, 1), "add"), (lambda x: torch.stack([x, x], dim=0), "stack"), (lambda x: torch.sum(input=x), "sum"), (lambda x: torch.nn.functional.relu(x), "relu"),
    (lambda x: torch.nn.functional.layer_norm(x, (2,)), "layer_norm"), (lambda x: torch.linalg.svd(x), "linalg_svd"), (lambda x: x.backward, None), (lambda x: torch.zeros_like(x), "zeros_like"),
    (lambda x: x.add_(1), "add_"), (lambda x: repr(x), "__repr__"), (lambda x: x.tolist(), "tolist"), (lambda x: torch.tensor(x), None),
])  # fmt: skip
def test_a_handler_sees_one_call_of_the_users_and_none_of_the_librarys(x, call, name):
    with pytest.warns(UserWarning) if call.__code__.co_names == ("torch", "tensor") else pytest.MonkeyPatch.context():
        call(x)
    assert names() == ([name] if name else [])


def test_what_a_handler_is_given(x):
    torch.add(x, 1, alpha=2)
    func, types, args, kwargs = CALLS[0]
    assert func is torch.add and types == (Logged,) and args[0] is x and args[1:] == (1,) and kwargs == {"alpha": 2}
    x.sum()
    assert CALLS[1][0] is torch.Tensor.sum and CALLS[1][3] is None
    x.shape  # noqa: B018
    assert CALLS[2][0] == torch.Tensor.shape.__get__
    x.requires_grad = True
    assert CALLS[3][0] == torch.Tensor.requires_grad.__set__


def test_results_have_the_subclass():
    s = Plain([[1.0, 2.0], [3.0, 4.0]])
    for y in (s + 1, torch.ones(2, 2) + s, s[0], s.t(), s.max(0).values, s.split(1)[1], torch.stack([s, s]), s.detach(), s.data, next(iter(s)), torch.nn.Linear(2, 2)(s), copy.deepcopy(s), copy.copy(s), pickle.loads(pickle.dumps(s))):
        assert type(y) is Plain
    assert type(s.shape) is torch.Size and type(s.sum().item()) is float
    assert repr(s) == "Plain([[1., 2.],\n       [3., 4.]])"


def test_gradients_flow_through():
    s = Plain([1.0, 2.0]).requires_grad_()
    y = s * s
    assert repr(y) == "Plain([1., 4.], grad_fn=<AliasBackward0>)"
    y.sum().backward()
    assert s.grad.tolist() == [2, 4] and type(s.grad) is torch.Tensor


def test_attributes_of_the_users():
    t = Tagged([1, 2], "m")
    assert repr(t + 1) == "[2, 3] m" and (t * 2)[0].unit == "m"
    assert pickle.loads(pickle.dumps(t)).unit == "m"


def test_parameters_of_a_subclass_keep_it():
    p = torch.nn.Parameter(Plain([1.0, 2.0]))
    assert type(p) is Plain and isinstance(p, torch.nn.Parameter) and p.requires_grad
    assert type(torch.nn.Parameter(torch.ones(1)) + 1) is torch.Tensor


def test_a_class_may_decline():
    n = torch.ones(1).as_subclass(Refuses)
    with pytest.raises(TypeError, match="Multiple dispatch failed for 'torch.add'"):
        torch.add(n, 1)
    with pytest.raises(TypeError, match=r"unsupported operand type\(s\) for \+"):
        n + 1
    with pytest.raises(TypeError, match="no implementation found for 'torch.nn.functional.relu'"):
        torch.nn.functional.relu(n)
    with pytest.raises(TypeError, match="Multiple dispatch failed for 'torch.Tensor.shape.__get__'"):
        n.shape  # noqa: B018


def test_unrelated_subclasses_do_not_mix_and_the_derived_one_is_asked_first():
    class Derived(Plain):
        pass

    assert type(torch.ones(2).as_subclass(Plain) + torch.ones(2).as_subclass(Derived)) is Derived
    with pytest.raises(TypeError):
        torch.ones(2).as_subclass(Plain) + Tagged([1.0, 2.0])


def test_objects_that_are_no_tensors():
    d = Duck(4)
    assert torch.mean(d) == 2 and torch.add(d, 1).value == 5 and torch.cat([d, torch.ones(1)], dim=1) == (2, 1)
    assert (torch.ones(1) + Duck(torch.ones(1))).value.tolist() == [2]
    with pytest.raises(TypeError, match="Multiple dispatch failed"):
        torch.sin(d)
    assert is_tensor_like(d) and is_tensor_like(torch.ones(1)) and not is_tensor_like(3)
    assert has_torch_function((d, 1)) and not has_torch_function((torch.ones(1), torch.nn.Parameter(torch.ones(1))))


def test_the_protocol_can_be_switched_off(x):
    with torch._C.DisableTorchFunctionSubclass():
        assert type(x + 1) is torch.Tensor and not has_torch_function((x,))
    assert CALLS == [] and type(x + 1) is Logged


def test_modes_see_every_call_and_nest():
    seen = []

    class Mode(TorchFunctionMode):
        def __init__(self, name):
            self.name = name

        def __torch_function__(self, func, types, args=(), kwargs=None):
            seen.append((self.name, func.__name__))
            return func(*args, **(kwargs or {}))

    with Mode("outer"), Mode("inner"):
        torch.ones(2) + 1
        torch.nn.functional.relu(torch.ones(1))
    assert seen == [(m, f) for f in ("ones", "add", "ones", "relu") for m in ("inner", "outer")]
    torch.ones(1)
    assert len(seen) == 8


def test_names_of_functions():
    assert resolve_name(torch.add) in ("torch.add", "torch.Tensor.add")
    assert resolve_name(torch.Tensor.shape.__get__) == "torch.Tensor.shape.__get__" and resolve_name(print) is None
    assert torch.add in torch.overrides.get_testing_overrides() and torch.is_tensor in torch.overrides.get_ignored_functions()
    assert any(torch.nn.functional.relu in v for v in torch.overrides.get_overridable_functions().values())


def test_functions_are_as_they_were_until_a_class_overrides():
    code = """if True:
        import inspect
        import rushlight as torch
        add, before = torch.add, torch.add.__code__
        class Quiet(torch.nn.Parameter):
            pass
        assert torch.add.__code__ is before
        signature = inspect.signature(torch.flatten)
        class Loud(torch.Tensor):
            pass
        assert torch.add is add and torch.add.__code__ is not before
        assert inspect.signature(torch.flatten) == signature
        assert type(add(torch.ones(1).as_subclass(Loud), 1)) is Loud
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_operand_that_overrides_is_asked_even_if_it_is_the_first_ever():
    code = """if True:
        import rushlight as torch
        class Duck:
            def __torch_function__(self, func, types, args=(), kwargs=None):
                return func.__name__, types == (Duck,)
        assert torch.mul(Duck(), 2) == torch.ones(1) * Duck() == ("mul", True), torch.mul(Duck(), 2)
        assert torch.mean(Duck()) == ("mean", True)
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_wrapper_subclasses_have_a_shape_and_no_memory():
    w = torch.Tensor._make_wrapper_subclass(Plain, (2, 3), dtype=torch.float64)
    assert type(w) is Plain and w.shape == (2, 3) and w.dtype is torch.float64


def test_frames_of_overridable_functions_can_be_looked_into():
    """Debuggers and pytest read the local variables of every frame, those of exchanged functions too."""
    text = """
import sys
import rushlight as torch

class Sub(torch.Tensor):
    pass

def look(frame, event, arg):
    frame.f_locals
    return look

x = torch.ones(3).as_subclass(Sub)
sys.settrace(look)
(x + 1).sum(), torch.arccos(x), x.add_(1), torch.linalg.det(torch.eye(3)), torch.nn.functional.relu(x)
try:
    torch.add("a", 2)
except TypeError as error:
    frames = error.__traceback__
    while frames:
        frames.tb_frame.f_locals
        frames = frames.tb_next
"""
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
