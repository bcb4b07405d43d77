"""`repr` of tensors, settings and summaries, against texts written out here.

A small fake tensor (a NumPy array and the attributes that printing reads) stands in for the real
class, so that printing is proved alone.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from rushlight.api import printing
from rushlight.core import dtype as dtypes


class Tensor:
    """The attributes that `tensor_str` may read, and a count of the elements it converted."""

    converted = 0

    def __init__(self, values, dtype="float32", device="cpu", grad_fn=None, requires_grad=False):
        self.dtype = dtypes.named(dtype)
        self.array = np.asarray(values, self.dtype.np)
        self.device = Device(device)
        self.grad_fn, self.requires_grad = grad_fn, requires_grad

    @property
    def shape(self):
        return self.array.shape

    def is_floating_point(self):
        return self.dtype.is_floating_point

    def is_complex(self):
        return self.dtype.is_complex

    def detach(self):
        return Tensor(self.array, self.dtype.name, str(self.device))

    def cpu(self):
        return Tensor(self.array, self.dtype.name)

    def float(self):
        return Tensor(self.array.astype(np.float32))

    def __getitem__(self, index):
        return Tensor(self.array[index], self.dtype.name, str(self.device))

    def numpy(self):
        assert self.device.type == "cpu"
        Tensor.converted += self.array.size
        return self.array

    def item(self):
        return self.array.item()

    def __format__(self, spec):
        return printing.format_tensor(self, spec)

    def __repr__(self):
        return printing.tensor_str(self)


class Device(SimpleNamespace):
    def __init__(self, name):
        super().__init__(name=name, type=name.split(":")[0])

    def __str__(self):
        return self.name


class Parameter(Tensor):
    def __repr__(self):
        return "Parameter containing:\n" + super().__repr__()


class Weight(Parameter):
    pass


class Sub(Tensor):
    pass


class MulBackward0:
    pass


@pytest.fixture(autouse=True)
def restore():
    yield
    printing.set_printoptions(profile="default")
    dtypes.set_default_dtype(dtypes.float32)


nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (1.5, "tensor(1.5000)"),
        (-0.0, "tensor(-0.)"),
        (nan, "tensor(nan)"),
        ([1, 2], "tensor([1., 2.])"),
        ([-1.5, 2], "tensor([-1.5000,  2.0000])"),
        ([0, -0.0], "tensor([0., -0.])"),
        ([nan, 1], "tensor([nan, 1.])"),
        ([inf, 1.5], "tensor([   inf, 1.5000])"),
        ([-inf, nan], "tensor([-inf, nan])"),
        ([1, 1000], "tensor([   1., 1000.])"),
        ([1, 1001], "tensor([1.0000e+00, 1.0010e+03])"),
        ([1.5, 1500], "tensor([   1.5000, 1500.0000])"),
        ([1e8], "tensor([100000000.])"),
        ([1.5e8], "tensor([1.5000e+08])"),
        ([1e-5, 0], "tensor([1.0000e-05, 0.0000e+00])"),
        ([[1, 2], [3, 4]], "tensor([[1., 2.],\n        [3., 4.]])"),
        ([[[1], [2]], [[3], [4]]],
         "tensor([[[1.],\n         [2.]],\n\n        [[3.],\n         [4.]]])"),
        ([], "tensor([])"),
        (np.empty((0, 3)), "tensor([], size=(0, 3))"),
    ],
)  # fmt: skip
def test_floats(values, expected):
    assert repr(Tensor(values)) == expected


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("int64", [1, -20, 3], "tensor([  1, -20,   3])"),
        ("int64", [2**63 - 1, -(2**63)], "tensor([ 9223372036854775807, -9223372036854775808])"),
        ("int32", 7, "tensor(7, dtype=torch.int32)"),
        ("uint64", [2**64 - 1], "tensor([18446744073709551615], dtype=torch.uint64)"),
        ("bool", [True, False], "tensor([ True, False])"),
        ("bool", [], "tensor([], dtype=torch.bool)"),
        ("int64", np.empty((2, 0)), "tensor([], size=(2, 0), dtype=torch.int64)"),
        ("float64", [1.5], "tensor([1.5000], dtype=torch.float64)"),
        ("float16", [1.5, 1501], "tensor([1.5000e+00, 1.5010e+03], dtype=torch.float16)"),
        ("bfloat16", [1e-5], "tensor([1.0014e-05], dtype=torch.bfloat16)"),
        ("float8_e5m2", [1, 2.5], "tensor([1.0000, 2.5000], dtype=torch.float8_e5m2)"),
        ("complex64", 1 + 2j, "tensor(1.+2.j)"),
        ("complex64", [complex(nan, 1), complex(1, -inf)], "tensor([nan+1.j, 1.-infj])"),
        ("complex64", [1.5 - 3j, 1500 - 3e-5j],
         "tensor([   1.5000-3.0000e+00j, 1500.0000-3.0000e-05j])"),
        ("complex128", [1j], "tensor([0.+1.j], dtype=torch.complex128)"),
    ],
)  # fmt: skip
def test_other_dtypes(dtype, values, expected):
    assert repr(Tensor(values, dtype)) == expected


def test_dtype_suffix_follows_the_default_dtype():
    dtypes.set_default_dtype(dtypes.float64)
    assert repr(Tensor([1.0])) == "tensor([1.], dtype=torch.float32)"
    assert repr(Tensor([1.0], "float64")) == "tensor([1.])"
    assert repr(Tensor([1j], "complex128")) == "tensor([0.+1.j])"
    assert repr(Tensor([1j], "complex64")) == "tensor([0.+1.j], dtype=torch.complex64)"


def test_lines_are_wrapped():
    expected = (
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n"
        "        18, 19, 20, 21])"
    )
    assert repr(Tensor(range(22), "int64")) == expected
    printing.set_printoptions(linewidth=20)
    assert repr(Tensor(range(3), "int64")) == "tensor([0, 1, 2])"
    assert repr(Tensor(range(5), "int64")) == "tensor([0, 1, 2, 3,\n        4])"
    assert repr(Tensor([1], "int8")) == "tensor([1],\n       dtype=torch.int8)"


def test_history_device_and_classes():
    assert repr(Tensor([1.0], requires_grad=True)) == "tensor([1.], requires_grad=True)"
    made = Tensor([1.0], requires_grad=True, grad_fn=MulBackward0())
    assert repr(made) == "tensor([1.], grad_fn=<MulBackward0>)"
    assert repr(Tensor([1.5], device="cuda:0")) == "tensor([1.5000], device='cuda:0')"
    meta = Tensor(np.ones((2, 3)), "float64", device="meta")
    assert repr(meta) == "tensor(..., device='meta', size=(2, 3), dtype=torch.float64)"
    meta = Tensor(1, "int64", device="meta")
    assert repr(meta) == "tensor(..., device='meta', size=(), dtype=torch.int64)"
    parameter = Parameter([1.0, 2.0], requires_grad=True)
    assert repr(parameter) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    assert repr(Sub([[1.0], [2.0]])) == "Sub([[1.],\n     [2.]])"
    assert repr(Weight([1.0])) == "Parameter containing:\nParameter(Weight([1.]))"
    marked = Sub([1.0])
    marked._is_param = True
    assert repr(marked) == "Parameter(Sub([1.]))"


def test_a_lost_history_does_not_stop_printing():
    class Lost(Tensor):
        @property
        def grad_fn(self):
            raise RuntimeError("the base was overwritten")

        @grad_fn.setter
        def grad_fn(self, value):
            pass

    assert repr(Lost([1.0])) == "Lost([1.], grad_fn=<Invalid>)"


def test_summary_converts_only_the_corners():
    large = Tensor(np.arange(10**6).reshape(1000, 1000), "int64")
    Tensor.converted = 0
    expected = (
        "tensor([[     0,      1,      2,  ...,    997,    998,    999],\n"
        "        [  1000,   1001,   1002,  ...,   1997,   1998,   1999],\n"
        "        [  2000,   2001,   2002,  ...,   2997,   2998,   2999],\n"
        "        ...,\n"
        "        [997000, 997001, 997002,  ..., 997997, 997998, 997999],\n"
        "        [998000, 998001, 998002,  ..., 998997, 998998, 998999],\n"
        "        [999000, 999001, 999002,  ..., 999997, 999998, 999999]])"
    )
    assert repr(large) == expected
    assert Tensor.converted == 36


def test_summary_of_many_dimensions():
    expected = (
        "tensor([[[0.],\n         ...,\n         [0.]],\n\n        ...,\n\n"
        "        [[0.],\n         ...,\n         [0.]]])"
    )
    printing.set_printoptions(edgeitems=1, threshold=5)
    assert repr(Tensor(np.zeros((3, 3, 1)))) == expected
    printing.set_printoptions(edgeitems=0)
    assert repr(Tensor(np.zeros((3, 3, 1)))) == "tensor([...], size=(3, 3, 1))"


def test_options():
    default = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80, "sci_mode": None}
    assert printing.get_printoptions() == default
    with printing.printoptions(precision=2, sci_mode=True):
        assert repr(Tensor([1.0, -200.0])) == "tensor([ 1.00e+00, -2.00e+02])"
    assert printing.get_printoptions() == default
    printing.set_printoptions(sci_mode=False)
    assert repr(Tensor([1, 2**35])) == "tensor([          1., 34359738368.])"
    printing.set_printoptions(profile="full", precision=1)
    assert printing.get_printoptions() == {**default, "threshold": inf, "precision": 1}
    assert repr(Tensor(np.full(1001, 0.5))).count("0.5") == 1001
    printing.set_printoptions(profile="short")
    assert printing.get_printoptions() == {**default, "precision": 2, "edgeitems": 2}
    with pytest.raises(ZeroDivisionError), printing.printoptions(profile="default"):
        1 / 0  # noqa: B018
    assert printing.get_printoptions()["precision"] == 2


def test_format():
    assert f"{Tensor(1.5):.2f}|{Tensor(3, 'int64'):>4}|{Tensor(2.5)}" == "1.50|   3|2.5"
    assert f"{Tensor([1.0])}" == "tensor([1.])"
    assert f"{Tensor(1.0, device='meta')}" == "tensor(..., device='meta', size=())"
    with pytest.raises(TypeError, match="unsupported format string passed to Tensor.__format__"):
        f"{Tensor([1.0]):.2f}"
    with pytest.raises(TypeError, match="unsupported format string passed to Parameter.__format__"):
        f"{Parameter(1.0):.2f}"
