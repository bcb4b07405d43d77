"""Every public function and class is found again by its module and name: pickles, copies, and what is printed of them."""

import copy
import importlib
import pickle
import types

import pytest

import rushlight as torch

MODULES = [
    "", "linalg", "special", "fft", "signal.windows", "random", "cuda", "func", "amp", "autograd", "autograd.functional", "autograd.graph",
    "autograd.forward_ad", "autograd.function", "autograd.grad_mode", "autograd.anomaly_mode", "nn", "nn.functional", "nn.init", "nn.utils", "utils",
    "utils.data", "utils.checkpoint", "utils.dlpack", "utils.hooks", "optim", "optim.lr_scheduler", "testing", "backends", "backends.cuda",
    "backends.cudnn", "backends.mkldnn", "serialization", "overrides", "masked", "return_types", "cpu", "storage", "torch_version",
]  # fmt: skip


def published(path):
    """(name, function or class) of a module's own public names."""
    module = importlib.import_module(f"rushlight.{path}".rstrip("."))
    names = getattr(module, "__all__", None) or [n for n in dir(module) if not n.startswith("_")]
    for name in sorted(names):
        value = getattr(module, name)
        if isinstance(value, (types.FunctionType, type)) and value.__module__.partition(".")[0] in ("rushlight", "torch"):
            yield name, value


@pytest.mark.parametrize("path", MODULES)
def test_pickle_finds_it(path):
    wrong = []
    for name, value in published(path):
        try:
            if pickle.loads(pickle.dumps(value)) is not value:
                wrong.append(f"{name}: another object")
        except Exception as error:
            wrong.append(f"{name}: {error}")
    assert not wrong, "\n".join(wrong)


def test_methods():
    wrong = []
    for name, value in vars(torch.Tensor).items():
        if isinstance(value, types.FunctionType) and not name.startswith("_") and pickle.loads(pickle.dumps(value)) is not value:
            wrong.append(name)
    assert not wrong


def test_names_are_the_ones_called():
    assert torch.arccos.__name__ == "arccos" and torch.acos.__name__ == "acos" and torch.Tensor.arccos_.__name__ == "arccos_"
    assert torch.arccos is torch.Tensor.arccos and torch.arccos is not torch.acos
    assert torch.linalg.det.__name__ == "linalg_det" and torch.special.expit.__name__ == "special_expit"
    assert (torch.linalg.det.__module__, torch.linalg.det.__qualname__) == ("rushlight.linalg", "det")
    assert torch.nn.functional.conv2d is torch.conv2d and torch.sparse_coo_tensor.__name__ == "sparse_coo_tensor"
    assert torch.arccos(torch.ones(2)).equal(torch.acos(torch.ones(2))) and torch.swapaxes(torch.ones(2, 3), 0, 1).shape == (3, 2)


@pytest.mark.parametrize("make", [
    lambda: torch.ones(2, 3).max(0), lambda: torch.ones(3).sort(), lambda: torch.linalg.slogdet(torch.eye(2)), lambda: torch.linalg.svd(torch.eye(2)),
    lambda: torch.frexp(torch.ones(2)),
])  # fmt: skip
def test_named_results(make):
    result = make()
    for again in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
        assert type(again) is type(result) and repr(again) == repr(result)
    assert repr(type(result)).startswith("<class 'torch.return_types.") and repr(result).startswith("torch.return_types.")


def test_errors():
    with pytest.raises(torch.linalg.LinAlgError) as caught:
        torch.linalg.inv(torch.zeros(2, 2))
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is torch.linalg.LinAlgError and again.args == caught.value.args and repr(type(again)) == "<class 'torch._C._LinAlgError'>"


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


def test_nodes_and_classes_print_as_pytorchs():
    x = torch.ones(2, requires_grad=True)
    assert repr(Double.apply(x).grad_fn).startswith("<torch.autograd.function.DoubleBackward object at 0x")
    assert repr(type(Double.apply(x).grad_fn)) == "<class 'torch.autograd.function.DoubleBackward'>"
    y = x * 1
    y[0].mul_(3)
    assert repr(y.grad_fn).startswith("<CopySlices object at 0x") and repr((x * 2).grad_fn).startswith("<MulBackward0 object at 0x")
    assert repr(y.grad_fn.next_functions[0][0].next_functions[0][0]).startswith("<AccumulateGrad object at 0x")
    named = [torch.no_grad, torch.autograd.Function, torch.autograd.graph.saved_tensors_hooks, torch.autograd.set_detect_anomaly, torch.finfo, torch.Generator]
    assert [repr(c) for c in named] == [
        "<class 'torch.autograd.grad_mode.no_grad'>", "<class 'torch.autograd.function.Function'>", "<class 'torch.autograd.graph.saved_tensors_hooks'>",
        "<class 'torch.autograd.anomaly_mode.set_detect_anomaly'>", "<class 'torch.finfo'>", "<class 'torch._C.Generator'>",
    ]  # fmt: skip


def test_a_failure_of_the_numbers_is_not_taken_for_one_of_the_kinds():
    """A size given one by one for each dimension is of the right kind, whatever else is wrong with the call."""
    F, x, w = torch.nn.functional, torch.ones(2, 7, 8, 8), torch.ones(6, 1, 5, 5)
    with pytest.raises(RuntimeError, match="channels"):
        F.conv2d(x, w, None, (1, 1), (2, 2), (1, 1))
    with pytest.raises(RuntimeError, match="channels"):
        F.conv2d(x, w, None, 1, "same")
    with pytest.raises(RuntimeError, match="chan"):
        F.conv_transpose2d(x, w, None, (1, 1), (2, 2), (0, 0), 1, (1, 1))
    with pytest.raises(TypeError, match="padding"):
        F.conv2d(x, torch.ones(6, 7, 5, 5), None, 1, 1.5)
