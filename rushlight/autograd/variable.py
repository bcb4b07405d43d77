"""torch.autograd.Variable: what tensors were called before they all could require grad.

`Variable(x, requires_grad=True)` still gives a tensor over x's memory, and isinstance(x, Variable) is true of every tensor.
"""

import rushlight
from rushlight import Tensor


class _AnyTensor(type):
    def __instancecheck__(cls, other):
        return isinstance(other, Tensor)


class Variable(metaclass=_AnyTensor):
    """A tensor over the memory of `data` with a history of its own."""

    def __new__(cls, data=None, requires_grad=False, volatile=None):
        if volatile is not None:
            raise RuntimeError("volatile is gone: compute inside `with torch.no_grad():` instead")
        data = rushlight.empty(0) if data is None else data
        return data.detach().requires_grad_(requires_grad)


__all__ = ["Variable"]
