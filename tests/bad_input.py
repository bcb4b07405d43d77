"""Calls with bad input: what is called, and the exception type that PyTorch raises.

One table serves two tests: tests/test_errors.py (the type, a text that teaches, nothing changed) and
tests/torch_parity/test_errors_parity.py (PyTorch raises the same type). Each entry is a function of the module.
"""

import numpy as np


def readonly(t):
    array = np.arange(3.0)
    array.flags.writeable = False
    return array


# fmt: off
#: (name, call(torch), exception type, words that the text must contain)
CASES = [
    ("shapes that do not broadcast", lambda t: t.ones(2, 3) + t.ones(4), RuntimeError, ["3", "4", "non-singleton dimension 1"]),
    ("in place into a smaller shape", lambda t: t.ones(3).add_(t.ones(2, 3)), RuntimeError, ["[3]", "[2, 3]"]),
    ("matrix product of misfits", lambda t: t.ones(2, 3) @ t.ones(2, 3), RuntimeError, ["2x3 and 2x3"]),
    ("matrix product of dtypes", lambda t: t.ones(2, 2) @ t.ones(2, 2, dtype=t.float64), RuntimeError, ["dtype"]),
    ("product with a number of dimensions 0", lambda t: t.tensor(1.0) @ t.ones(2), RuntimeError, ["1D"]),
    ("dot of lengths", lambda t: t.dot(t.ones(2), t.ones(3)), RuntimeError, ["2", "3"]),
    ("dot of matrices", lambda t: t.dot(t.ones(2, 2), t.ones(2, 2)), RuntimeError, ["1D"]),
    ("view of the wrong size", lambda t: t.ones(6).view(4, 2), RuntimeError, ["[4, 2]", "6"]),
    ("view of what is not contiguous", lambda t: t.ones(2, 3).t().view(6), RuntimeError, ["reshape"]),
    ("two inferred sizes", lambda t: t.ones(6).view(-1, -1), RuntimeError, ["only one dimension can be inferred"]),
    ("dimension out of range", lambda t: t.ones(2, 3).sum(2), IndexError, ["[-2, 1]", "2"]),
    ("dimension out of range below", lambda t: t.ones(2, 3).squeeze(-3), IndexError, ["[-2, 1]", "-3"]),
    ("dimension twice", lambda t: t.ones(2, 3).sum((0, 0)), RuntimeError, ["multiple times"]),
    ("index out of range", lambda t: t.ones(3)[3], IndexError, ["3", "size 3"]),
    ("index tensor out of range", lambda t: t.ones(3)[t.tensor([0, 5])], IndexError, ["5", "size 3"]),
    ("too many indices", lambda t: t.ones(3)[0, 0], IndexError, ["too many indices", "1"]),
    ("index of a 0-dim tensor", lambda t: t.tensor(1.0)[0], IndexError, ["0-dim"]),
    ("float index", lambda t: t.ones(3)[t.tensor([1.0])], IndexError, ["long"]),
    ("negative step", lambda t: t.ones(3)[::-1], ValueError, ["step must be greater than zero"]),
    ("mask of another shape", lambda t: t.ones(3)[t.tensor([True, False])], IndexError, ["mask"]),
    ("float result into integers", lambda t: t.ones(3, dtype=t.int64).div_(2), RuntimeError, ["can't be cast", "Long"]),
    ("negative of bool", lambda t: -t.tensor([True]), RuntimeError, []),
    ("bool minus bool", lambda t: t.tensor([True]) - t.tensor([True]), RuntimeError, []),
    ("integer division by zero", lambda t: t.tensor([1]) // t.tensor([0]), RuntimeError, ["ZeroDivisionError"]),
    ("integer to a negative power", lambda t: t.tensor([2]) ** -1, RuntimeError, ["negative"]),
    ("mean of integers", lambda t: t.tensor([1, 2]).mean(), RuntimeError, ["float"]),
    ("max of nothing", lambda t: t.ones(0).max(), RuntimeError, ["dim"]),
    ("argmax of nothing", lambda t: t.ones(0).argmax(), IndexError, []),
    ("truth of several elements", lambda t: bool(t.ones(2)), RuntimeError, ["ambiguous"]),
    ("item of several elements", lambda t: t.ones(2).item(), RuntimeError, ["2 elements"]),
    ("length of a 0-dim tensor", lambda t: len(t.tensor(1)), TypeError, ["0-d"]),
    ("iteration over a 0-dim tensor", lambda t: list(t.tensor(1)), TypeError, ["0-d"]),
    ("negative size", lambda t: t.zeros(-1), RuntimeError, ["negative"]),
    ("size of the wrong type", lambda t: t.zeros(2.5), TypeError, ["size"]),
    ("ragged sequences", lambda t: t.tensor([[1, 2], [3]]), ValueError, ["2", "1"]),
    ("a string", lambda t: t.tensor(["a"]), (TypeError, ValueError), []),
    ("a tensor and a string", lambda t: t.ones(2) + "a", TypeError, []),
    ("cat of shapes", lambda t: t.cat([t.ones(2, 2), t.ones(2, 3)]), RuntimeError, ["2", "3"]),
    ("cat of nothing", lambda t: t.cat([]), (RuntimeError, ValueError), ["non-empty"]),
    ("stack of shapes", lambda t: t.stack([t.ones(2), t.ones(3)]), RuntimeError, ["[2]", "[3]"]),
    ("expand of a size", lambda t: t.ones(3).expand(2, 4), RuntimeError, ["3", "4"]),
    ("permute of too few", lambda t: t.ones(2, 3).permute(0), RuntimeError, []),
    ("topk of too many", lambda t: t.ones(3).topk(5), RuntimeError, ["k"]),
    ("gather of indices out of range", lambda t: t.ones(3).gather(0, t.tensor([4])), RuntimeError, ["4", "3"]),
    ("scatter of another dtype", lambda t: t.ones(3).scatter(0, t.tensor([0]), t.ones(1, dtype=t.float64)), RuntimeError, ["dtype"]),
    ("numpy of a recorded tensor", lambda t: t.ones(2, requires_grad=True).numpy(), RuntimeError, ["detach()"]),
    ("gradient of integers", lambda t: t.tensor([1], requires_grad=True), RuntimeError, ["floating point"]),
    ("backward of several elements", lambda t: t.ones(2, requires_grad=True).mul(2).backward(), RuntimeError, ["scalar"]),
    ("backward of what is not recorded", lambda t: t.ones(()).backward(), RuntimeError, ["does not require grad"]),
    ("in place on a leaf", lambda t: t.ones(2, requires_grad=True).add_(1), RuntimeError, ["leaf"]),
    ("in place on an expanded tensor", lambda t: t.ones(1).expand(3).add_(1), RuntimeError, ["clone()"]),
    ("another device", lambda t: t.ones(2).cuda(), AssertionError, []),
    ("a device that is none", lambda t: t.ones(2, device="gpu"), RuntimeError, ["device"]),
    ("a dtype that is none", lambda t: t.ones(2, dtype="float32"), TypeError, ["dtype"]),
    ("arange without a step", lambda t: t.arange(0, 1, 0), RuntimeError, ["nonzero"]),
    ("arange backwards", lambda t: t.arange(1, 0), RuntimeError, ["step"]),
    ("randint of an empty range", lambda t: t.randint(3, 3, (2,)), RuntimeError, ["3"]),
    ("negative strides", lambda t: t.from_numpy(np.arange(3.0)[::-1]), ValueError, ["copy"]),
    ("an array of objects", lambda t: t.from_numpy(np.array([object()])), TypeError, ["object"]),
    ("from_numpy of a list", lambda t: t.from_numpy([1.0]), TypeError, ["ndarray"]),
    ("out of another dtype", lambda t: t.add(t.ones(2), t.ones(2), out=t.ones(2, dtype=t.int64)), RuntimeError, ["cast"]),
    ("where of a condition that is none", lambda t: t.where(t.ones(2), t.ones(2), t.ones(2)), RuntimeError, ["bool"]),
    ("masked_fill with a float mask", lambda t: t.ones(2).masked_fill(t.ones(2), 1), RuntimeError, ["bool"]),
    ("clamp without bounds", lambda t: t.ones(2).clamp(), RuntimeError, ["min", "max"]),
    ("split of negative size", lambda t: t.ones(3).split(-1), RuntimeError, ["-1"]),
    ("narrow beyond the end", lambda t: t.ones(3).narrow(0, 2, 2), RuntimeError, ["2", "3"]),
    ("unflatten that does not fit", lambda t: t.ones(6).unflatten(0, (4, 2)), RuntimeError, ["6"]),
    ("t of three dimensions", lambda t: t.ones(2, 2, 2).t(), RuntimeError, ["3D"]),
]

#: (name, make(torch) -> tensor, fail(torch, tensor)): an in-place op that fails and must have changed nothing
IN_PLACE = [
    ("shape", lambda t: t.arange(3.0), lambda t, x: x.add_(t.ones(2, 3))),
    ("dtype", lambda t: t.arange(3), lambda t, x: x.mul_(1.5)),
    ("integer division by zero", lambda t: t.arange(3), lambda t, x: x.floor_divide_(t.tensor([1, 1, 0]))),
    ("index out of range", lambda t: t.arange(3.0), lambda t, x: x.__setitem__(t.tensor([0, 7]), 5.0)),
    ("value of another shape", lambda t: t.zeros(2, 3), lambda t, x: x.__setitem__(slice(0, 2), t.ones(4))),
    ("copy of another shape", lambda t: t.zeros(2, 3), lambda t, x: x.copy_(t.ones(2, 2))),
    ("scatter out of range", lambda t: t.zeros(3), lambda t, x: x.scatter_(0, t.tensor([0, 9]), t.ones(2))),
    ("index_add out of range", lambda t: t.zeros(3), lambda t, x: x.index_add_(0, t.tensor([0, 9]), t.ones(2))),
    ("leaf", lambda t: t.zeros(3, requires_grad=True), lambda t, x: x.add_(1)),
    ("fill with a matrix", lambda t: t.zeros(3), lambda t, x: x.fill_(t.ones(2, 2))),
    ("negative standard deviation", lambda t: t.zeros(3), lambda t, x: x.normal_(0, -1)),
]
# fmt: on
