"""Functions of neighbouring samples and of order: diff, trapezoid, gradient, quantile; and parts of numbers.

Compositions of ops that have their own gradients, except `frexp`, `complex` and `polar`, which are rows.
"""

from __future__ import annotations

import numpy as np

from rushlight.api.reduce import pair
from rushlight.api.shaping import cat
from rushlight.api.writing import delivered
from rushlight.bind import FUNCTIONS, both, function, publish
from rushlight.core import dtype as D
from rushlight.core.shape import broadcast, wrap_dim, wrap_dims
from rushlight.dispatch import apply, under_name
from rushlight.ops import rearranging as R
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor, wrap

for _name in ("sinc", "deg2rad", "rad2deg"):
    publish(TABLE[_name])
FUNCTIONS["special.sinc"] = FUNCTIONS["sinc"]


def _refuse_complex(name):
    real = FUNCTIONS[name]

    def f(input, *, out=None):
        if isinstance(input, Tensor) and input.is_complex():
            raise RuntimeError(f"{name} is not supported for complex tensors.")
        return real(input, out=out)

    f.__doc__ = f"Degrees and radians: {name}(x)."
    return both(f, name=name)


_refuse_complex("deg2rad")
_refuse_complex("rad2deg")


# ---- differences -----------------------------------------------------------------------------------------------


@both
def diff(input, n=1, dim=-1, prepend=None, append=None, *, out=None):
    """The n-th differences of neighbours along `dim`, of the input with `prepend` and `append` joined on."""
    if input._data.ndim < 1:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    d = wrap_dim(dim, input._data.ndim)
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    for end in (prepend, append):
        if end is not None:
            if end._data.ndim != input._data.ndim:
                raise RuntimeError("diff expects prepend or append to be the same dimension as input")
            for k, (have, want) in enumerate(zip(end._data.shape, input._data.shape)):
                if k != d and have != want:
                    raise RuntimeError(f"diff expects the shape of tensor to prepend or append to match that of input except along the differencing dimension; input.size({k}) = {want}, but got tensor.size({k}) = {have}")
    if n == 0:
        return delivered(input.clone(), out, "diff", exact=True, wanted="expected scalar_type {want} but found {found}")
    parts = [p for p in (prepend, input, append) if p is not None]
    x = cat(parts, d) if len(parts) > 1 else input
    if n >= x._data.shape[d]:
        return delivered(x.narrow(d, 0, 0), out, "diff")
    for _ in range(n):
        size = x._data.shape[d] - 1
        late, early = x.narrow(d, 1, size), x.narrow(d, 0, size)
        x = late ^ early if x.dtype is D.bool_ else late - early
    return delivered(x, out, "diff")


def _sample_steps(y, x, d, name):
    """The distances of sample points along dimension d, shaped to multiply y's neighbours."""
    if x._data.ndim == 1:
        if x.numel() != y._data.shape[d]:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        steps = x.diff()
        return steps.view((-1,) + (1,) * (y._data.ndim - d - 1))
    if x._data.ndim < y._data.ndim:
        x = x.view((1,) * (y._data.ndim - x._data.ndim) + x._data.shape)
    return x.diff(dim=d - y._data.ndim)


def _areas(y, x, dx, dim, name):
    d = wrap_dim(dim, y._data.ndim, scalar_ok=False)
    n = y._data.shape[d]
    if n == 0:
        return y, d, True
    both_ends = y.narrow(d, 1, n - 1) + y.narrow(d, 0, n - 1)
    if x is not None:
        return _sample_steps(y, x, d, name) * both_ends, d - y._data.ndim, False
    if y.dtype is D.bool_ and dx is None:
        both_ends = both_ends.to(D.get_default_dtype())
    return (both_ends if dx is None or dx == 1 else both_ends * dx), d, False


def _step(dx):
    if isinstance(dx, bool):
        raise RuntimeError("trapezoid: received a bool input for `dx`, but bool is not supported")
    return dx


def _samples(name, y, x, dx):
    if not isinstance(y, Tensor):
        raise TypeError(f"{name}(): argument 'y' (position 1) must be Tensor, not {type(y).__name__}")
    for v in (y, x):
        if v is not None and v.dtype is D.bool_:
            raise RuntimeError(f"{name}: received a bool input for `{'y' if v is y else 'x'}`, but bool is not supported")
    if x is not None and not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'x' (position 2) must be Tensor, not {type(x).__name__}")
    return _step(dx)


@function
def trapezoid(y, x=None, *, dx=None, dim=-1):
    """The integral along `dim` by the trapezoidal rule, with sample points x or distances dx (1)."""
    dx = _samples("trapezoid", y, x, dx)
    areas, d, empty = _areas(y, x, dx, dim, "trapezoid")
    if empty:
        return y.new_zeros(y._data.shape[:d] + y._data.shape[d + 1 :])
    return areas.sum(d) / 2.0


@function
def trapz(y, x=None, *, dx=None, dim=-1):
    """trapezoid under its old name."""
    return trapezoid(y, x, dx=dx, dim=dim)


@function
def cumulative_trapezoid(y, x=None, *, dx=None, dim=-1):
    """The running integral along `dim` by the trapezoidal rule, one value fewer than samples."""
    dx = _samples("cumulative_trapezoid", y, x, dx)
    areas, d, empty = _areas(y, x, dx, dim, "cumulative_trapezoid")
    return y if empty else areas.cumsum(d) / 2.0


def _spacings(input, spacing, dims, given):
    """One number or tensor of coordinates a dimension."""
    n = len(dims)
    if spacing is None:
        return [1] * n
    if isinstance(spacing, Tensor):
        spacing = (spacing,) if spacing._data.ndim else spacing.item()
    if not isinstance(spacing, (list, tuple)):
        return [spacing] * n
    if len(spacing) != n:
        what = f"the same length as dim, {n}" if given else f"length equal to 'self.dim() = {n}', since dim argument was not given"
        raise RuntimeError(f"torch.gradient expected spacing to be unspecified, a scalar, or a list of {what}, but got a list of length {len(spacing)}")
    for s in spacing:
        if isinstance(s, Tensor) and s._data.ndim > 1:
            raise RuntimeError(f"torch.gradient expected each element of spacing to have one dimension, but got an element with {s._data.ndim} dimensions")
    return list(spacing)


def _along_dim(x, d, spacing, edge_order):
    n = x._data.shape[d]
    part = lambda start, size: x.narrow(d, start, size)  # noqa: E731
    if isinstance(spacing, Tensor):
        steps = spacing.diff().to(x.dtype if x.dtype.category >= D.FLOAT else D.get_default_dtype())
        shape = (-1,) + (1,) * (x._data.ndim - d - 1)
        h = steps.view(shape)
        first, second = h[:-1], h[1:]
        inner = -second / (first * (first + second)) * part(0, n - 2) + (second - first) / (first * second) * part(1, n - 2) + first / (second * (first + second)) * part(2, n - 2)
        h0, h1, l1, l0 = h[:1], h[1:2], h[-2:-1], h[-1:]
    else:
        h0 = h1 = l0 = l1 = spacing
        inner = (part(2, n - 2) - part(0, n - 2)) / (2 * spacing)
    if edge_order == 1:
        left = (part(1, 1) - part(0, 1)) / h0
        right = (part(n - 1, 1) - part(n - 2, 1)) / l0
    else:
        total = h0 + h1
        left = -(2 * h0 + h1) / (h0 * total) * part(0, 1) + total / (h0 * h1) * part(1, 1) - h0 / (total * h1) * part(2, 1)
        total = l1 + l0
        right = l0 / (l1 * total) * part(n - 3, 1) - total / (l1 * l0) * part(n - 2, 1) + (2 * l0 + l1) / (l0 * total) * part(n - 1, 1)
    return cat([left, inner, right], d)


@function
def gradient(input, *, spacing=1, dim=None, edge_order=1):
    """The derivative along each dimension by central differences (one-sided of order `edge_order` at the ends).

    `spacing`: a distance, one for each dimension, or tensors of coordinates.
    """
    n = input._data.ndim
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    dims = wrap_dims(dim, n)
    spacing = _spacings(input, spacing, dims, dim is not None)
    for d in dims:
        if (input._data.shape[d] if n else 1) < edge_order + 1:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
    if input.dtype is D.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    return tuple(_along_dim(input, d, s, edge_order) for d, s in zip(dims, spacing))


# ---- order statistics ------------------------------------------------------------------------------------------

_RULES = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantiles(name, input, q, dim, keepdim, interpolation, out, ignore_nan):
    if not isinstance(q, (Tensor, float, int)):
        raise TypeError(f"{name}() received an invalid combination of arguments: q must be a float or a Tensor, not {type(q).__name__}")
    if interpolation not in _RULES:
        raise RuntimeError(f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}")
    if input.dtype not in (D.float32, D.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype")
    if isinstance(q, Tensor):
        if q._data.ndim > 1:
            raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
        if q.dtype is not input.dtype:
            raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
        if not bool(((q >= 0) & (q <= 1)).all()):
            raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
    else:
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
        q = input.new_full((), q)
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty")
    if out is not None and out.dtype is not input.dtype:
        raise RuntimeError(f"{name}() out tensor must be same dtype as the input tensor")
    n = input._data.ndim
    d = wrap_dim(0 if dim is None else dim, n)
    x = input.reshape(-1, 1) if dim is None or n == 0 else input.transpose(d, -1).unsqueeze(-2)
    x = x.reshape(1, -1) if dim is None or n == 0 else x.squeeze(-2)
    values = x.sort(-1)[0]  # NaN last
    last = values._data.shape[-1] - 1
    nans = x.isnan()
    if ignore_nan:
        top = (last - nans.sum(-1, keepdim=True)).clamp(min=0).to(x.dtype)
        rank = q.reshape(-1) * top
    else:
        rank = (q.reshape(-1) * last).where(~nans.any(-1, keepdim=True), float(last))
    rank = rank.expand((*x._data.shape[:-1], q.numel()))
    if interpolation == "nearest":
        result = values.gather(-1, rank.round().to(D.int64))
    elif interpolation == "lower":
        result = values.gather(-1, rank.floor().to(D.int64))
    elif interpolation == "higher":
        result = values.gather(-1, rank.ceil().to(D.int64))
    else:
        low, high = rank.detach().floor(), rank.detach().ceil()
        weight = rank - low if interpolation == "linear" else FUNCTIONS["full_like"](rank, 0.5)
        result = values.gather(-1, low.to(D.int64)).lerp(values.gather(-1, high.to(D.int64)), weight)
    if dim is None or n == 0:
        result = result.reshape(q.shape + ((1,) * n if keepdim else ()))
    else:
        result = result.unsqueeze(0).transpose(0, -1).squeeze(-1)  # (q, ..., one less)
        order = result.unsqueeze(-1).transpose(d + 1, -1)
        result = order if keepdim else order.squeeze(d + 1)
        result = result if q._data.ndim else result.squeeze(0)
    return delivered(result, out, name)


@both
def quantile(input, q, dim=None, keepdim=False, *, interpolation="linear", out=None):
    """The q-quantiles (q in [0, 1]) along `dim`, or of all elements; where NaN occurs the result is NaN."""
    return _quantiles("quantile", input, q, dim, keepdim, interpolation, out, False)


@both
def nanquantile(input, q, dim=None, keepdim=False, *, interpolation="linear", out=None):
    """quantile of what is not NaN."""
    return _quantiles("nanquantile", input, q, dim, keepdim, interpolation, out, True)


_HISTOGRAMDD = pair("histogramdd", "hist bin_edges")


def _edges(data, bins, limits):
    dims = data.shape[-1]
    bins = [bins] * dims if isinstance(bins, int) else list(bins)
    if len(bins) != dims:
        raise RuntimeError(f"histogramdd: The size of bins must be equal to the innermost dimension of the input. ({len(bins)} and {dims})")
    if isinstance(bins[0], Tensor):
        return [b._data for b in bins]
    out = []
    for k, count in enumerate(bins):
        if limits is not None:
            low, high = limits[2 * k], limits[2 * k + 1]
        else:
            low, high = (float(data[:, k].min()), float(data[:, k].max())) if data.size else (0.0, 1.0)
        if low == high:
            low, high = low - 0.5, high + 0.5
        out.append(np.linspace(low, high, count + 1).astype(data.dtype))
    return out


@function
def histogramdd(input, bins, *, range=None, weight=None, density=False):
    """Counts of points (rows of the last dimension) in a grid of bins, given by numbers and range or by their edges."""
    if input._data.ndim < 2:
        raise RuntimeError(f"torch.histogramdd: input tensor should have at least 2 dimensions, but got {input._data.ndim}")
    if input.dtype not in (D.float32, D.float64):
        raise NotImplementedError(f'"histogramdd" not implemented for \'{input.dtype.title}\'')
    points = input._data.reshape(-1, input._data.shape[-1])
    edges = _edges(points, bins, range)
    weights = None if weight is None else weight._data.reshape(-1)
    hist = np.histogramdd(points, edges, weights=weights, density=bool(density))[0].astype(points.dtype)
    return _HISTOGRAMDD(wrap(hist), tuple(wrap(np.array(e)) for e in edges))


# ---- parts of numbers ------------------------------------------------------------------------------------------

_FREXP = pair("frexp", "mantissa exponent")


@both
def frexp(input, *, out=None):
    """input = mantissa * 2 ** exponent, with |mantissa| in [0.5, 1)."""
    if input.dtype.category != D.FLOAT:
        raise RuntimeError("torch.frexp() only supports floating-point dtypes")
    return _FREXP(*apply(R.FREXP, (input,), {}, out=out))


@both(in_place=True)
def ldexp(input, other, *, out=None):
    """input * 2 ** other."""
    if not isinstance(other, Tensor):
        raise TypeError(f"ldexp(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    if not isinstance(input, Tensor):
        raise TypeError(f"ldexp(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    power = FUNCTIONS["pow"](2.0, other)
    if input.dtype.category >= D.FLOAT > other.dtype.category:
        power = power.to(input.dtype.to_real())
    return under_name("LdexpBackward0", apply(TABLE["mul"], (input, power), out=out))


def _complex_parts(name, **parts):
    for i, (argument, v) in enumerate(parts.items(), 1):
        if not isinstance(v, Tensor):
            raise TypeError(f"{name}(): argument '{argument}' (position {i}) must be Tensor, not {type(v).__name__}")
    x, y = parts.values()
    if any(v.dtype not in (D.float16, D.float32, D.float64) for v in (x, y)):
        raise RuntimeError(f"Expected both inputs to be Half, Float or Double tensors but got {x.dtype.title} and {y.dtype.title}")
    if x.dtype is not y.dtype:
        raise RuntimeError(f"Expected object of scalar type {x.dtype.title} but got scalar type {y.dtype.title} for second argument")
    broadcast(x._data.shape, y._data.shape)


def _complex_out(name, out, x):
    want = x.dtype.to_complex()
    if out is not None and out.dtype is not want:
        raise RuntimeError(f"Expected object of scalar type {want.title} but got scalar type {out.dtype.title} for argument 'out'")
    return out


@function(name="complex")
def complex_(real, imag, *, out=None):
    """real + i imag."""
    _complex_parts("complex", real=real, imag=imag)
    return apply(R.COMPLEX, (real, imag), {}, out=_complex_out("complex", out, real))


@function
def polar(abs, angle, *, out=None):
    """abs * (cos(angle) + i sin(angle))."""
    _complex_parts("polar", abs=abs, angle=angle)
    return apply(R.POLAR, (abs, angle), {}, out=_complex_out("polar", out, abs))


@both
def isreal(input):
    """Whether each element has no imaginary part."""
    if input.is_complex():
        return input.imag == 0
    return FUNCTIONS["ones_like"](input, dtype=D.bool_)


@both
def hash_tensor(input, dim=(), *, keepdim=False, mode=0, out=None):
    """The xor of the elements' bits (float types as float64's, integers widened to 64 bits) over `dim`, as uint64."""
    if mode != 0:
        raise RuntimeError(f"hash_tensor: Unsupported mode {mode}; 0 (xor) is the only one")
    a = input._data
    if input.dtype.category >= D.COMPLEX:
        raise NotImplementedError(f'"hash_tensor" not implemented for \'{input.dtype.title}\'')
    bits = a.astype(np.float64).view(np.uint64) if input.dtype.category == D.FLOAT else a.astype(np.int64).view(np.uint64)
    axes = wrap_dims(None if dim is None or isinstance(dim, (tuple, list)) and not dim else dim, a.ndim) if a.ndim else ()
    result = wrap(np.asarray(np.bitwise_xor.reduce(bits, axis=axes, keepdims=keepdim), np.uint64))
    return delivered(result, out, "hash_tensor", exact=True, wanted="Expected result to be of dtype uint64, but got {found}")
