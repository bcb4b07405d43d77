"""What the linear algebra functions share: checks in PyTorch's words, named results, `out=`, errors from `info`."""

from __future__ import annotations

from rushlight.api.reduce import pair
from rushlight.api.writing import delivered
from rushlight.bind import FUNCTIONS, label
from rushlight.core import dtype as D
from rushlight.ops.lapack import LinAlgError
from rushlight.tensor import Tensor

FUNCTIONS["linalg.LinAlgError"] = LinAlgError
LOW = (D.float16, D.bfloat16)


def tensor(x, function, name="input", position=1):
    """x if it is a tensor, else PyTorch's TypeError."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{function}(): argument '{name}' (position {position}) must be Tensor, not {type(x).__name__}")
    return x


def matrices(x, name, what="A"):
    """RuntimeError unless x has at least two dimensions."""
    tensor(x, name.replace(".", "_"))
    if x._data.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor {what} must have at least 2 dimensions." + f" (its shape is {list(x.shape)})")
    return x


def square(x, name, what="A"):
    """RuntimeError unless x is a matrix or a batch of matrices with as many rows as columns."""
    matrices(x, name, what)
    m, n = x._data.shape[-2:]
    if m != n:
        raise RuntimeError(f"{name}: {what} must be batches of square matrices, but they are {m} by {n} matrices")
    return x


def floating(x, name, low=False):
    """RuntimeError unless x is floating or complex (and, unless `low`, not a half type)."""
    d = x.dtype
    if d.category < D.FLOAT:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {d.title}" + f" (write x.{'float' if d is not D.float64 else 'double'}())")
    if not low and d in LOW:
        raise RuntimeError(f"{name}: Low precision dtypes not supported. Got {d.title}" + " (write x.float())")
    return x


def implemented(x, kernel):
    """NotImplementedError in the words of a kernel that knows no such dtype."""
    if x.dtype.category < D.FLOAT or x.dtype in LOW:
        raise NotImplementedError(f'"{kernel}" not implemented for \'{x.dtype.title}\': it takes float32, float64 and complex tensors')
    return x


def same_dtype(a, b, name, first="A", second="B"):
    """RuntimeError unless both have one dtype."""
    if a.dtype is not b.dtype:
        raise RuntimeError(
            f"{name}: Expected {first} and {second} to have the same dtype, but found {first} of type {a.dtype.title} and {second} of type {b.dtype.title} instead"
        )


def culprit(info):
    """(text that names the batch element, its info) for the first nonzero `info`; None if all is well."""
    flags = info._data
    if not flags.any():
        return None
    if flags.ndim == 0:
        return "", int(flags)
    first = int(flags.reshape(-1).nonzero()[0][0])
    return f"(Batch element {first}): ", int(flags.reshape(-1)[first])


def linalg(f=None, *, name=None):
    """Publish f as torch.linalg.<name>, with PyTorch's __name__ linalg_<name>."""
    if f is None:
        return lambda g: linalg(g, name=name)
    short = name or f.__name__
    FUNCTIONS["linalg." + short] = label(f, "linalg_" + short, doc=f.__doc__)
    return f


__all__ = ["LinAlgError", "culprit", "delivered", "floating", "implemented", "linalg", "matrices", "pair", "same_dtype", "square", "tensor"]
