"""Reductions and scans under PyTorch's signatures: `dim` as an int, a list or nothing, `keepdim`, `dtype`, `out`."""

from __future__ import annotations

import warnings
from math import prod as prod_
from operator import itemgetter

import numpy as np

from rushlight.api.writing import delivered
from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.backends.compiled import LARGE
from rushlight.bind import F32, F64, both, function, kind_of, method, renamed
from rushlight.core import dtype as D
from rushlight.core.naming import Public
from rushlight.core.shape import wrap_dim, wrap_dims
from rushlight.dispatch import apply, node_of, under_name, wrong_out
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, edge, wrap

ndarray, array = np.ndarray, np.array


class ReturnType(tuple, metaclass=Public):
    """A named result: a tuple whose parts have names, printed as PyTorch prints it. (namedtuple takes ten times as long to make.)"""

    __slots__ = ()
    _fields = ()

    def __new__(cls, *values):
        return tuple.__new__(cls, values if len(values) == len(cls._fields) else values[0])

    def __repr__(self):
        parts = ",\n".join(f"{f}={v!r}" for f, v in zip(self._fields, self))
        return f"torch.return_types.{type(self).__name__}(\n{parts})"

    def __reduce__(self):
        return (_named_result, (type(self).__name__, tuple(self)))


def _named_result(name, values):
    return RETURN_TYPES[name](*values)


def pair(name, fields="values indices"):
    """A named result of PyTorch, such as torch.return_types.max."""
    names = tuple(fields.split())
    parts = {f: property(itemgetter(i)) for i, f in enumerate(names)}
    cls = Public(name, (ReturnType,), {"__slots__": (), "_fields": names, "__module__": "rushlight.return_types", **parts})
    RETURN_TYPES[name] = cls
    return cls


RETURN_TYPES = {}


def axes_of(input, dim):
    """Dimension numbers from None, an int, a sequence; an empty sequence means all."""
    if not isinstance(input, Tensor):
        raise TypeError(f"argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    n = input._data.ndim
    if dim is None or dim.__class__ in (list, tuple) and not dim:
        return tuple(range(n))
    axes = wrap_dims(dim if dim.__class__ in (list, tuple) else dim, n)
    return axes if n else ()


def _number(value):
    return value.item() if isinstance(value, Tensor) else value


_SUM, _SUM_DIM, _MEAN, _MEAN_DIM = (TABLE[n] for n in ("sum", "sum_dim", "mean", "mean_dim"))
_add_reduce = np.add.reduce


def _whole(op, reduce, mean):
    """x.sum() and x.mean() with nothing else said: the hot path, with a node that keeps the shape alone."""
    base = node_of(op)

    def spread(self, g):
        shape = self.shape
        if mean:
            g = g / prod_(shape)
        a = g._data
        if STATE.grad or a.__class__ is not ndarray or not shape:
            return [g.expand(shape)]
        return [wrap(ndarray(shape, a.dtype, a, 0, (0,) * len(shape)))]

    cls = type(op.node, (base,), {"__slots__": ("shape",), "backward": spread, "__module__": base.__module__})

    def f(x):
        try:
            a = x._data
            d = a.dtype
            if modes.diverted or not (d is F32 or d is F64) or a.size >= LARGE:
                return None
            r = reduce(a)
        except Exception:
            return None
        t = wrap(r if r.__class__ is ndarray else array(r))
        if (x._rg or x._base is not None) and STATE.grad:
            e = edge(x)
            if e is not None:
                t._node = node = cls((e,))
                node.shape, node.result = a.shape, ((), d)
                t._rg = True
        return t

    return f


def _mean_all(a):
    return np.divide(_add_reduce(a, axis=None), a.size, dtype=a.dtype)


_sum_whole = _whole(_SUM, lambda a: _add_reduce(a, None), False)
_mean_whole = _whole(_MEAN, _mean_all, True)


def _reducible(name, input):
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {kind_of(input)}")


@both
def sum(input=None, dim=None, keepdim=False, *, dtype=None, out=None, **names):
    """The sum over `dim` (all dimensions by default). Integers and bool give int64."""
    if names:
        return sum(dtype=dtype, out=out, **renamed("sum", names, input=input, dim=dim, keepdim=keepdim))
    if dim is None and dtype is None and out is None and not keepdim:
        t = _sum_whole(input)
        if t is not None:
            return t
    _reducible("sum", input)
    if dtype is not None and input.dtype is not dtype:
        input = input.to(dtype)
    attrs = {"axes": axes_of(input, dim), "keepdim": bool(keepdim)}
    if dtype is not None:
        attrs["dtype"] = dtype
    return apply(_SUM if dim is None else _SUM_DIM, (input,), attrs, out=out)


@both
def nansum(input, dim=None, keepdim=False, *, dtype=None, out=None):
    """sum with NaN counted as 0."""
    _reducible("nansum", input)
    if input.dtype.category == D.COMPLEX or dtype is not None and dtype.category == D.COMPLEX:
        return under_name("NansumBackward0", sum(input.where(input == input, 0), dim, keepdim, dtype=dtype, out=out))
    attrs = {"axes": axes_of(input, dim), "keepdim": bool(keepdim)}
    if dtype is not None:
        input, attrs["dtype"] = input.to(dtype), dtype
    return apply(TABLE["nansum"], (input,), attrs, out=out)


@both
def mean(input=None, dim=None, keepdim=False, *, dtype=None, out=None, **names):
    """The mean over `dim` (all dimensions by default), for floating and complex dtypes."""
    if names:
        return mean(dtype=dtype, out=out, **renamed("mean", names, input=input, dim=dim, keepdim=keepdim))
    if dim is None and dtype is None and out is None and not keepdim:
        t = _mean_whole(input)
        if t is not None:
            return t
    _reducible("mean", input)
    if dtype is not None:
        input = input.to(dtype)
    if input.dtype.category < D.FLOAT:
        what = "Input dtype must be either a floating point or complex dtype" if dtype is None else "Optional dtype must be either a floating point or complex dtype"
        raise RuntimeError(f"mean(): could not infer output dtype. {what}. Got: {input.dtype.title} (write x.float().mean())")
    return apply(_MEAN if dim is None else _MEAN_DIM, (input,), {"axes": axes_of(input, dim), "keepdim": bool(keepdim)}, out=out)


@both
def nanmean(input, dim=None, keepdim=False, *, dtype=None, out=None):
    """mean over what is not NaN."""
    if input.dtype.category < D.FLOAT:
        raise RuntimeError(f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype.title}")
    good = (input == input).sum(dim, keepdim) if dim is not None else (input == input).sum()
    total = nansum(input, dim, keepdim, dtype=dtype) / good
    return total if out is None else out.copy_(total)


@both
def prod(input, dim=None, keepdim=False, *, dtype=None, out=None):
    """The product of all elements, or over one dimension."""
    if dtype is not None:
        input = input.to(dtype)
    if dim is None:
        return apply(TABLE["prod"], (input,), {"axes": axes_of(input, None), "keepdim": False}, out=out)
    return apply(TABLE["prod_dim"], (input,), {"axes": axes_of(input, wrap_dim(dim, input._data.ndim)), "keepdim": bool(keepdim)}, out=out)


def _not_empty(name, input, axes):
    shape = input._data.shape
    if 0 in shape:
        for a in axes:
            if shape[a] == 0:
                raise IndexError(f"{name}(): Expected reduction dim {a} to have non-zero size.")


def _amaxmin(name):
    @both(name=name)
    def f(input, dim=(), keepdim=False, *, out=None):
        axes = axes_of(input, dim)
        if 0 in input._data.shape:
            if dim == () or dim is None:
                raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.")
            _not_empty(name, input, axes)
        return apply(TABLE[name], (input,), {"axes": axes, "keepdim": bool(keepdim)}, out=out)

    f.__doc__ = f"The {'largest' if name == 'amax' else 'smallest'} value over `dim`; its gradient is shared by equals."
    return f


amax, amin = _amaxmin("amax"), _amaxmin("amin")


def _extreme(name, other_name):
    result = pair(name)
    everything, along, elementwise = TABLE[name + "_all"], TABLE[name], TABLE[other_name]

    def f(input, dim=None, keepdim=False, *, other=None, out=None):
        other = dim if isinstance(dim, Tensor) else other
        _reducible(name, input)
        if other is not None:
            return apply(elementwise, (input, other), out=out)
        if dim is None:
            if input._data.size == 0:
                raise RuntimeError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.")
            return apply(everything, (input,), {"axes": axes_of(input, None), "keepdim": False}, out=out)
        axis = wrap_dim(dim, input._data.ndim)
        _not_empty(name, input, (axis,) if input._data.ndim else ())
        return result(*apply(along, (input,), {"axis": axis, "keepdim": bool(keepdim)}, out=out))

    f.__doc__ = f"{name}(x): over all elements; {name}(x, dim): values and indices along dim; {name}(x, y): elementwise."
    both(f, name=name)
    return f


_extreme("max", "maximum")
_extreme("min", "minimum")


@function
def aminmax(input, *, dim=None, keepdim=False, out=None):
    """The smallest and the largest value, of all elements or along one dimension."""
    if dim is None:
        if input._data.size == 0:
            raise RuntimeError("aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity.")
        axes = tuple(range(input._data.ndim))
    else:
        axes = (wrap_dim(dim, input._data.ndim),) if input._data.ndim else ()
        _not_empty("aminmax", input, axes)
    values = [apply(TABLE[n], (input,), {"axes": axes, "keepdim": bool(keepdim)}) for n in ("amin", "amax")]
    if out is not None:
        values = delivered(tuple(values), out, "aminmax", exact=True, apart=(input,))
    return _aminmax(*under_name("AminmaxBackward0", *values))


_aminmax = pair("aminmax", "min max")
method(aminmax)


def _middle(name):
    result = pair(name)
    row = TABLE[name]

    @both(name=name)
    def f(input, dim=None, keepdim=False, *, out=None):
        if dim is None:
            if name == "mode":
                dim = -1
            elif input._data.size == 0:
                return input.new_full((), float("nan")) if input.is_floating_point() else input.new_zeros(())
            else:
                values, index = apply(row, (input.reshape(-1),), {"axis": 0, "keepdim": False})
                return under_name(f"{name.capitalize()}Backward0", values)
        axis = wrap_dim(dim, input._data.ndim)
        _not_empty(name, input, (axis,) if input._data.ndim else ())
        return result(*apply(row, (input,), {"axis": axis, "keepdim": bool(keepdim)}, out=out))

    f.__doc__ = f"The {name} along `dim` with its index" + ("." if name == "mode" else "; without dim, of all elements (the lower of two middles).")
    return f


median, nanmedian, mode = _middle("median"), _middle("nanmedian"), _middle("mode")


def _truth(name):
    row = TABLE[name]

    @both(name=name)
    def f(input, dim=None, keepdim=False, *, out=None):
        attrs = {"axes": axes_of(input, dim), "keepdim": bool(keepdim)}
        if out is None and input.dtype is D.uint8 or isinstance(out, Tensor) and out.dtype is D.uint8:  # the one other dtype of an answer
            return delivered(apply(row, (input,), attrs).to(D.uint8), out, name)
        return apply(row, (input,), attrs, out=out)

    f.__doc__ = f"Whether {name} elements are true (not zero)."
    return f


all, any = _truth("all"), _truth("any")


def _arg(name):
    row = TABLE[name]

    @both(name=name)
    def f(input, dim=None, keepdim=False, *, out=None):
        if dim is None:
            if input._data.size == 0:
                raise IndexError(f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
            return apply(row, (input,), {"axes": axes_of(input, None), "keepdim": bool(keepdim)}, out=out)
        axes = axes_of(input, wrap_dim(dim, input._data.ndim))
        _not_empty(name, input, axes)
        return apply(row, (input,), {"axes": axes, "keepdim": bool(keepdim)}, out=out)

    f.__doc__ = f"The index of the {'largest' if name == 'argmax' else 'smallest'} element (the first of equals)."
    return f


argmax, argmin = _arg("argmax"), _arg("argmin")


@both
def count_nonzero(input, dim=None):
    """The number of elements that are not zero."""
    return apply(TABLE["count_nonzero"], (input,), {"axes": axes_of(input, dim), "keepdim": False})


def _spread(name):
    row = TABLE[name]

    @both(name=name)
    def f(input, dim=None, unbiased=None, keepdim=False, *, correction=None, out=None):
        if isinstance(dim, bool):  # var(x, unbiased)
            dim, unbiased = None, dim
        if unbiased is not None and correction is not None:
            raise TypeError(f"{name}(): give either unbiased or correction")
        if input.dtype.category < D.FLOAT:
            raise RuntimeError(f"{name}: only floating point and complex dtypes are supported. Got: {input.dtype.title} (write x.float().{name}())")
        c = _number(correction) if correction is not None else (1 if unbiased is None or unbiased else 0)
        axes = axes_of(input, dim)
        if input._data.size == 0 or c >= prod_(input._data.shape[d] for d in axes):
            warnings.warn(
                f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the number of elements that are reduced (shape "
                f"{list(input._data.shape)}, dim {axes}, correction {c}).",
                UserWarning,
                stacklevel=2,
            )
        return apply(row, (input,), {"axes": axes, "keepdim": bool(keepdim), "correction": c}, out=out)

    f.__doc__ = f"The {'variance' if name == 'var' else 'standard deviation'} over `dim`; divides by n - correction (1 by default)."
    return f


var, std = _spread("var"), _spread("std")


@function
def var_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """(var, mean)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return under_name("VarMeanBackward0", var(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim))


@function
def std_mean(input, dim=None, unbiased=None, keepdim=False, *, correction=None):
    """(std, mean)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    return under_name("StdMeanBackward0", std(input, dim, unbiased, keepdim, correction=correction), mean(input, dim, keepdim))


@both
def logsumexp(input, dim, keepdim=False, *, out=None):
    """log(sum(exp(x))) over `dim`, without overflow."""
    return apply(TABLE["logsumexp"], (input,), {"axes": axes_of(input, dim), "keepdim": bool(keepdim)}, out=out)


def vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None, out=None):
    """The vector norm of the elements along `dim`: sum(|x| ** ord) ** (1 / ord)."""
    if dtype is not None:
        x = x.to(dtype)
    if x.dtype.category < D.FLOAT:
        raise RuntimeError(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {x.dtype.title}")
    ord = _number(ord)
    axes = axes_of(x, dim)
    if 0 in x._data.shape and ord in (float("inf"), -float("inf")) or 0 in x._data.shape and ord < 0:
        sizes = [x._data.shape[a] for a in axes]
        if 0 in sizes:
            raise RuntimeError(f"linalg.vector_norm cannot compute the {ord} norm on an empty tensor because the operation does not have an identity")
    return apply(TABLE["linalg_vector_norm"], (x,), {"axes": axes, "keepdim": bool(keepdim), "ord": float(ord)}, out=out)


@both
def dist(input, other, p=2):
    """The p-norm of input - other."""
    for i, (name, value) in enumerate((("input", input), ("other", other)), 1):
        if not isinstance(value, Tensor):
            raise TypeError(f"dist(): argument '{name}' (position {i}) must be Tensor, not {kind_of(value)}")
    return under_name("DistBackward0", vector_norm(input - other, p))


# ---- scans -----------------------------------------------------------------------------------------------------


def _scan(name):
    row = TABLE[name]

    @both(name=name, in_place=True)
    def f(input, dim, *, dtype=None, out=None):
        attrs = {"axis": wrap_dim(dim, input._data.ndim)}
        if dtype is None and isinstance(out, Tensor):
            dtype = out.dtype  # the sums are formed in the dtype that they are written in
        if dtype is not None:
            if dtype is D.bool_ and input._data.ndim and input._data.size:
                raise NotImplementedError(f'"{name}_out_cpu" not implemented for \'Bool\'')
            if isinstance(out, Tensor) and out.dtype is not dtype:
                raise wrong_out(row, out.dtype, dtype)
            input, attrs["dtype"] = input.to(dtype), dtype
        elif out is not None and input.dtype.category < D.FLOAT:
            attrs["dtype"] = input.dtype
        return apply(row, (input,), attrs, out=out)

    f.__doc__ = f"{name} along `dim`."
    return f


cumsum, cumprod = _scan("cumsum"), _scan("cumprod")


@both
def logcumsumexp(input, dim, *, out=None):
    """log(cumsum(exp(x))) along `dim`, without overflow."""
    return apply(TABLE["logcumsumexp"], (input,), {"axis": wrap_dim(dim, input._data.ndim)}, out=out)

