"""Activations, softmaxes and dropout.

A function and its in-place twin are one function: the twin passes `out=InPlace(input)` to the same
row.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from rushlight.autograd import modes
from rushlight.autograd.modes import STATE
from rushlight.autograd.tape import keep, record
from rushlight.backends import streams
from rushlight.bind import F32, F64, FUNCTIONS, METHODS, binary, both, function, method
from rushlight.core import dtype as D
from rushlight.core.generator import DEFAULT
from rushlight.core.shape import is_dense, wrap_dim
from rushlight.dispatch import InPlace, apply, node_of
from rushlight.ops.layouts import laid_out
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, beside, wrap

ndarray, array = np.ndarray, np.array
SMALL = 1 << 12  # elements below which NumPy is asked without looking for a compiled kernel
relu, relu_ = FUNCTIONS["relu"], FUNCTIONS["relu_"]
sigmoid, tanh = FUNCTIONS["sigmoid"], FUNCTIONS["tanh"]
_mul = binary(TABLE["mul"])[0]


def tensor_argument(function, name, value, position=1):
    """`value` if it is a tensor; TypeError with its place otherwise."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{function}(): argument '{name}' (position {position}) must be Tensor, not "
            f"{type(value).__name__}"
        )
    return value


def one(row, input, attrs, out=None):
    """apply(row, (input,), attrs), with a short way for a small CPU tensor of float32 or float64."""
    try:
        a = input._data
        d = a.dtype
        if out is None and not modes.diverted and (d is F32 or d is F64) and a.size < SMALL:
            return ran(row, (input,), attrs)
    except (AttributeError, ValueError, TypeError):
        pass
    return apply(row, (input,), attrs, out=out)


def ran(row, args, attrs):
    """apply for arguments that are known to be what the kernel takes:
    run it, wrap the result, record.
    """
    with np.errstate(all="ignore"):
        r = row.numpy(*[None if a is None else a._data for a in args], **attrs)
    t = wrap(laid_out(row, r, args) if r.__class__ is ndarray else array(r))
    if STATE.grad and args[0].requires_grad:
        node = record(node_of(row), args, attrs)
        if node is not None:
            t._node, t._rg = node, True
            keep(node, (t,))
    return t


def twin(f, public=False):
    """f and its in-place form; with `public` both are also torch's own names."""

    @functools.wraps(f)
    def f_(input, *args, **kwargs):
        return f(input, *args, out=InPlace(tensor_argument(f.__name__, "input", input)), **kwargs)

    f_.__name__ = f_.__qualname__ = f.__name__ + "_"
    f_.__doc__ = f"The in-place form of {f.__name__}."
    if public:
        function(f)
        function(f_)
    return f, f_


def _leaky_relu(input, negative_slope=0.01, *, out=None):
    """x where x > 0, negative_slope * x elsewhere."""
    return apply(TABLE["leaky_relu"], (input,), {"negative_slope": negative_slope}, out=out)


def _hardtanh(input, min_val=-1.0, max_val=1.0, *, out=None):
    """x held within [min_val, max_val]."""
    if isinstance(input, Tensor) and input.dtype is D.bool_:
        raise RuntimeError("Bool inputs not supported for hardtanh")
    if isinstance(input, Tensor) and not input.dtype.is_signed and min_val < 0:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")
    return apply(TABLE["hardtanh"], (input,), {"min_val": min_val, "max_val": max_val}, out=out)


def _relu6(input, *, out=None):
    """x held within [0, 6]."""
    return _hardtanh(input, 0.0, 6.0, out=out)


def _elu(input, alpha=1.0, scale=1.0, input_scale=1.0, *, out=None):
    """x where x > 0, alpha * (exp(x) - 1) elsewhere, times scale."""
    return apply(
        TABLE["elu"],
        (input,),
        {"alpha": alpha, "scale": scale, "input_scale": input_scale},
        out=out,
    )


def _selu(input, *, out=None):
    """elu with the two constants that keep mean 0 and variance 1."""
    return _elu(
        input, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, out=out
    )


def _celu(input, alpha=1.0, *, out=None):
    """x where x > 0, alpha * (exp(x / alpha) - 1) elsewhere."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return apply(
        TABLE["celu"], (input,), {"alpha": alpha, "scale": 1.0, "input_scale": 1.0 / alpha}, out=out
    )


def _threshold(input, threshold, value, *, out=None):
    """x where x > threshold, value elsewhere."""
    return apply(TABLE["threshold"], (input,), {"threshold": threshold, "value": value}, out=out)


def _plain(row, name):
    def f(input, *, out=None):
        return apply(row, (input,), out=out) if row.numpy is None else one(row, input, {}, out)

    f.__name__ = f.__qualname__ = name
    f.__doc__ = f"{name} of each element."
    return f


def _rrelu(input, lower=1.0 / 8, upper=1.0 / 3, training=False, generator=None, *, out=None):
    """leaky_relu with slopes drawn from [lower, upper) in training, their mean otherwise."""
    if lower > upper:
        raise RuntimeError(
            f"Lower bound should be less than or equal to the upper bound (got {lower} and {upper})"
        )
    if not training:
        return apply(TABLE["rrelu"], (input,), {"slope": (lower + upper) / 2}, out=out)
    noise = streams.rrelu_noise(generator or DEFAULT, input._data, lower, upper)
    return apply(TABLE["rrelu_with_noise"], (input, beside(input, noise)), out=out)


_leaky_relu.__name__, _hardtanh.__name__, _relu6.__name__, _elu.__name__, _selu.__name__ = (
    "leaky_relu",
    "hardtanh",
    "relu6",
    "elu",
    "selu",
)
_celu.__name__, _threshold.__name__, _rrelu.__name__ = "celu", "threshold", "rrelu"
leaky_relu, leaky_relu_ = twin(_leaky_relu)
hardtanh, hardtanh_ = twin(_hardtanh)
relu6, relu6_ = twin(_relu6)
elu, elu_ = twin(_elu)
selu, selu_ = twin(_selu, public=True)
celu, celu_ = twin(_celu, public=True)
threshold, threshold_ = twin(_threshold, public=True)
rrelu, rrelu_ = twin(_rrelu, public=True)
silu, silu_ = twin(_plain(TABLE["silu"], "silu"))
mish, mish_ = twin(_plain(TABLE["mish"], "mish"))
hardswish, hardswish_ = twin(_plain(TABLE["hardswish"], "hardswish"))
hardsigmoid, hardsigmoid_ = twin(_plain(TABLE["hardsigmoid"], "hardsigmoid"))
logsigmoid = _plain(TABLE["log_sigmoid"], "logsigmoid")
METHODS["_log_sigmoid"] = logsigmoid


def gelu(input, *, approximate="none", out=None):
    """x times the normal distribution function of x, exact or by tanh."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(
            f"approximate argument must be either none or tanh. (got {approximate!r})"
        )
    return one(TABLE["gelu"], input, {"approximate": approximate}, out)


def softplus(input, beta=1.0, threshold=20.0, *, out=None):
    """log(1 + exp(beta x)) / beta, x itself where beta x > threshold."""
    return apply(TABLE["softplus"], (input,), {"beta": beta, "threshold": threshold}, out=out)


METHODS["_softplus"] = softplus


def _not_negative(lambd):
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")


def softshrink(input, lambd=0.5, *, out=None):
    """x moved towards 0 by lambd, 0 within it."""
    _not_negative(lambd)
    return apply(TABLE["softshrink"], (input,), {"lambd": lambd}, out=out)


@both
def hardshrink(input, lambd=0.5, *, out=None):
    """x outside [-lambd, lambd], 0 within."""
    return apply(TABLE["hardshrink"], (input,), {"lambd": lambd}, out=out)


@both
def prelu(input, weight):
    """x where x > 0, weight * x elsewhere; one weight, or one for each channel (dimension 1)."""
    tensor_argument("prelu", "input", input)
    tensor_argument("prelu", "weight", weight, 2)
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {input.dtype.title} and "
            f"{weight.dtype.title}"
        )
    n, ndim = weight._data.size, input._data.ndim
    if weight._data.ndim > 1:
        raise RuntimeError(
            "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = "
            f"{weight._data.ndim}"
        )
    if n != 1:
        if ndim == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        channels = input._data.shape[1] if ndim > 1 else 1
        if channels != n:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{n} and channel size = {channels}."
            )
    shape = [1] * ndim
    if ndim > 1:
        shape[1] = n
    elif ndim == 1:
        shape[0] = n
    return apply(
        TABLE["prelu"], (input, weight if list(weight._data.shape) == shape else weight.view(shape))
    )


def glu(input, dim=-1, *, out=None):
    """The first half of dimension `dim` times the sigmoid of the second."""
    if tensor_argument("glu", "input", input)._data.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    return apply(TABLE["glu"], (input,), {"axis": wrap_dim(dim, input._data.ndim)}, out=out)


def _normalizer(name):
    row = TABLE[name]

    @both(name=name)
    def f(input, dim, dtype=None, *, out=None):
        tensor_argument(name, "input", input)
        if dtype is not None and input.dtype is not dtype:
            input = input.to(dtype)
        return one(row, input, {"axis": wrap_dim(dim, input._data.ndim)}, out)

    f.__doc__ = f"{name} along `dim`, in `dtype` if that is given."
    return f


softmax, log_softmax = _normalizer("softmax"), _normalizer("log_softmax")


# ---- dropout -------------------------------------------------------------------------------------


def _check_probability(p):
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")


def _mask(x, p, shape=None):
    """True where an element of array x is kept; drawn in the order of x's memory."""
    if shape is not None:
        return streams.keep_mask(DEFAULT, shape, p)
    mask = streams.keep_mask(DEFAULT, x.shape, p)
    if x.flags.c_contiguous:
        return mask
    order = np.empty_like(x, dtype=bool)
    return mask if is_dense(order.shape, order.strides) else streams.place(order, mask.reshape(-1))


def _recorded_mask(input, p, shape=None):
    """The mask as a tensor drawn by a row, where a backend is interposed that has to know of it; else None."""
    if not modes.diverted or STATE.backend is None:
        return None
    order = None
    if shape is None:
        shape, strides = input._data.shape, input._data.strides
        order = None if input._data.flags.c_contiguous else sorted(range(len(shape)), key=lambda d: -strides[d])
    return apply(TABLE["bernoulli"], (), {"generator": DEFAULT, "shape": tuple(shape), "dtype": D.bool_, "p": 1.0 - p, "order": order})


def _times(input, noise, out):
    """input * noise under the node of a product."""
    return _mul(input, noise) if out is None else apply(TABLE["mul"], (input, noise), out=out)


def _idle(input, p, train):
    _check_probability(p)
    return p == 0 or not train or input._data.size == 0


def _feature_shape(input):
    shape = input._data.shape
    if len(shape) < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    return shape[:2] + (1,) * (len(shape) - 2)


def _noise(input, p, shape=None):
    data = input._data
    dtype = data.dtype
    if input.dtype.category < D.FLOAT:
        raise RuntimeError(
            f"result type Float can't be cast to the desired output type {input.dtype.title} "
            "(dropout takes floating point tensors: write input.float())"
        )
    if input.dtype.category == D.COMPLEX:
        raise NotImplementedError(f'"bernoulli_scalar_cpu_" not implemented for \'{input.dtype.title}\'')
    scale = np.float32(1 / (1 - p)) if dtype.itemsize == 2 else dtype.type(1) / dtype.type(1 - p)
    mask = _recorded_mask(input, p, shape)
    if mask is not None:
        return mask.to(input.dtype).mul_(float(scale))
    mask = _mask(data, p, shape)
    return beside(input, np.asarray(mask * scale, dtype))


def _dropout(input, p, train, *, out=None):
    """Each element zeroed with probability p, the others divided by 1 - p."""
    if _idle(input, p, train):
        return input
    if p == 1:
        return _times(input, input.new_zeros(()), out)
    return _times(input, _noise(input, p), out)


def _feature_dropout(input, p, train, *, out=None):
    """dropout of whole channels (dimension 1)."""
    if _idle(input, p, train):
        return input
    if p == 1:
        return _times(input, input.new_zeros(()), out)
    return _times(input, _noise(input, p, _feature_shape(input)), out)


_ALPHA = 1.7580993408473766


def _alpha(input, p, shape, out):
    if p == 1:
        return _times(input, input.new_zeros(()), out)
    data = input._data
    noise = _recorded_mask(input, p, shape)
    noise = beside(input, _mask(data, p, shape).astype(data.dtype)) if noise is None else noise.to(input.dtype)
    a = 1.0 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    b = noise.add(-1).mul_(_ALPHA * a).add_(_ALPHA * a * p)
    noise.mul_(a)
    kept = _times(input, noise, out)
    return kept.add(b) if out is None else kept.add_(b)


def _alpha_dropout(input, p, train, *, out=None):
    """dropout for selu: dropped elements take its negative limit, mean and variance are kept."""
    return input if _idle(input, p, train) else _alpha(input, p, None, out)


def _feature_alpha_dropout(input, p, train, *, out=None):
    """alpha_dropout of whole channels (dimension 1)."""
    return input if _idle(input, p, train) else _alpha(input, p, _feature_shape(input), out)


for _f in (_dropout, _feature_dropout, _alpha_dropout, _feature_alpha_dropout):
    _f.__name__ = _f.__name__[1:]
dropout, dropout_ = twin(_dropout, public=True)
feature_dropout, feature_dropout_ = twin(_feature_dropout, public=True)
alpha_dropout, alpha_dropout_ = twin(_alpha_dropout, public=True)
feature_alpha_dropout, feature_alpha_dropout_ = twin(_feature_alpha_dropout, public=True)


@function
def native_dropout(input, p, train):
    """(dropout(input), the mask of what was kept)."""
    if train is False or input._data.size == 0:
        return input.clone(), input.new_ones(input.shape, dtype=D.bool_)
    if p == 1:
        return input * 0, input.new_zeros(input.shape, dtype=D.bool_)
    mask = _recorded_mask(input, p)
    mask = beside(input, _mask(input._data, p)) if mask is None else mask
    return apply(TABLE["native_dropout"], (input, mask), {"scale": 1 / (1 - p)}), mask


@method(name="_fused")
def _fused(self, name, *others, **attrs):
    """Run row `name` on self; its `reference` composite where the result is to be differentiated
    (see ops/neural_base).
    """
    row = TABLE[name]
    if (
        row.reference is not None
        and STATE.grad
        and any(t is not None and t.requires_grad for t in (self, *others))
    ):
        return row.reference(self, *others, **attrs)
    return apply(row, (self, *others), attrs)
