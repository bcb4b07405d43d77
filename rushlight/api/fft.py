"""torch.fft: discrete Fourier transforms under PyTorch's names.

Each function checks its arguments, brings the input to the right kind (real or complex) and size (cut or padded with
zeros), and applies one of the three rows of ops/fft.py. Sizes: a real signal of n has a half spectrum of n // 2 + 1.
Normalization: "backward" (the default) divides the inverse by n, "forward" divides the forward transform, "ortho"
divides both by sqrt(n); transforms of Hermitian signals (hfft, ihfft) count as the opposite direction.
"""

from __future__ import annotations

import operator
from math import prod, sqrt

import numpy as np

from rushlight.api.creation import checked_dtype, made
from rushlight.api.linalg_common import delivered, tensor
from rushlight.api.neural_image import constant_pad_nd
from rushlight.api.shaping import roll
from rushlight.bind import FUNCTIONS, label, method
from rushlight.core import dtype as D
from rushlight.core.shape import wrap_dim
from rushlight.dispatch import apply
from rushlight.ops.op import TABLE

method(lambda self, axes, scale, forward: _row("c2c", self, axes, scale, forward=forward), name="_fft_c2c")
method(lambda self, axes, scale, onesided, forward: _row("r2c", self, axes, scale, onesided=onesided, forward=forward), name="_fft_r2c")


def _row(kind, x, axes, scale, **attrs):
    return apply(TABLE["fft_" + kind], (x,), {"axes": tuple(axes), "scale": scale, **attrs})


def fourier(f=None, *, name=None):
    """Publish f as torch.fft.<name>, with PyTorch's __name__ fft_<name>."""
    if f is None:
        return lambda g: fourier(g, name=name)
    short = name or f.__name__
    FUNCTIONS["fft." + short] = label(f, "fft_" + short, doc=f.__doc__)
    return f


# ---- arguments -------------------------------------------------------------------------------------------------


def _scale(norm, sizes, forward):
    """What the sum is multiplied by: `norm` under PyTorch's names for a transform of these sizes."""
    if norm not in (None, "backward", "forward", "ortho"):
        raise RuntimeError(f'Invalid normalization mode: "{norm}" (expected "backward", "forward" or "ortho")')
    n = prod(sizes)
    if norm == "ortho":
        return 1 / sqrt(n)
    return 1 / n if (norm == "forward") == forward else 1


def _prepared(x, name, wanted):
    """x as a floating (`wanted` "real"), a complex ("complex") or either kind of tensor ("any")."""
    d = tensor(x, "fft_" + name).dtype
    if wanted == "real" and d.category == D.COMPLEX:
        raise RuntimeError(f"{name} expects a {'real-valued' if name.endswith(('n', '2')) else 'real'} input tensor, but got {d.title} (take x.real)")
    if d is not d.compute:
        raise RuntimeError(f"Unsupported dtype {d.title} (write x.float())")
    if d.category < D.FLOAT:
        d = D.get_default_dtype()
    return x.to(d.to_complex() if wanted == "complex" else d)


def _integer(n, name, argument, position):
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"fft_{name}(): argument '{argument}' (position {position}) must be int, not {type(n).__name__}")
    return operator.index(n)


def _points(n):
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return n


def _sized(x, axes, sizes):
    """x cut or padded with zeros at the end, to `sizes` along `axes`."""
    pad, padded = [0] * (2 * x._data.ndim), False
    for axis, n in zip(axes, sizes):
        have = x._data.shape[axis]
        if n < have:
            x = x.narrow(axis, 0, n)
        elif n > have:
            pad[2 * (x._data.ndim - 1 - axis) + 1], padded = n - have, True
    return constant_pad_nd(x, pad, 0) if padded else x


def _one(x, n, dim, name):
    """(axis, number of points) of a transform in one dimension."""
    if n is not None:
        n = _integer(n, name, "n", 2)
    dim = _integer(dim, name, "dim", 3)
    if not x._data.ndim:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return wrap_dim(dim, x._data.ndim), n


def _list(value, name, argument, position):
    if value is None:
        return None
    if hasattr(value, "__index__"):
        return [operator.index(value)]
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"fft_{name}(): argument '{argument}' (position {position}) must be tuple of ints, not {type(value).__name__}")
    return [_integer(v, name, argument, position) for v in value]


def _many(x, s, dim, name):
    """(axes, sizes) of a transform in several dimensions."""
    s, dim = _list(s, name, "s", 2), _list(dim, name, "dim", 3)
    shape = x._data.shape
    if dim is not None:
        axes = [wrap_dim(d, len(shape), scalar_ok=False) for d in dim]
        if len(set(axes)) < len(axes):
            raise RuntimeError(f"FFT dims must be unique (they are {dim})")
        if s is not None and len(s) != len(dim):
            raise RuntimeError(f"When given, dim and shape arguments must have the same length ({len(dim)} and {len(s)})")
    else:
        if s is not None and len(s) > len(shape):
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {len(shape)} dimensions.")
        axes = list(range(len(shape) - (len(shape) if s is None else len(s)), len(shape)))
    if s is None:
        return axes, [shape[a] for a in axes]
    return axes, [shape[a] if n == -1 else n for a, n in zip(axes, s)]


def _delivered(result, out, name):
    if out is not None and (out.dtype.category == D.COMPLEX) != (result.dtype.category == D.COMPLEX):
        kind = "complex" if result.dtype.category == D.COMPLEX else "floating point"
        raise RuntimeError(f"{name} expects a {kind} output tensor, but got {out.dtype.title}")
    return delivered(result, out, "fft_" + name)


def _some(axes, name):
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")


# ---- one dimension ---------------------------------------------------------------------------------------------


def _complex(x, axes, sizes, norm, forward):
    """fftn and ifftn of either kind of input: a real one takes the row of real signals."""
    if not axes:
        return x.to(x.dtype.to_complex()) if x.dtype.category < D.COMPLEX else x.clone()
    for n in sizes:
        _points(n)
    x = _sized(x, axes, sizes)
    scale = _scale(norm, sizes, forward)
    if x.dtype.category == D.COMPLEX:
        return _row("c2c", x, axes, scale, forward=forward)
    return _row("r2c", x, axes, scale, onesided=False, forward=forward)


def _real(x, axes, sizes, norm, forward):
    """The half spectrum of a real signal."""
    for n in sizes:
        _points(n)
    scale = _scale(norm, sizes, forward)
    out = _row("r2c", _sized(x, axes, sizes), axes, scale, onesided=True, forward=True)
    return out if forward else out.conj()


def _hermitian(x, axes, sizes, norm, forward):
    """The real signal of a half spectrum; `forward` with the sign of the forward transform."""
    for n in sizes:
        _points(n)
    scale = _scale(norm, sizes, forward)
    x = _sized(x, axes, [*sizes[:-1], sizes[-1] // 2 + 1])
    return _row("c2r", x.conj() if forward else x, axes, scale, n=sizes[-1])


@fourier
def fft(input, n=None, dim=-1, norm=None, *, out=None):
    """X[k] = sum over j of x[j] exp(-2 pi i j k / n), along `dim`, cut or padded to n."""
    x = _prepared(input, "fft", "any")
    axis, n = _one(x, n, dim, "fft")
    return _delivered(_complex(x, [axis], [x.shape[axis] if n is None else n], norm, True), out, "fft")


@fourier
def ifft(input, n=None, dim=-1, norm=None, *, out=None):
    """The inverse of fft."""
    x = _prepared(input, "ifft", "any")
    axis, n = _one(x, n, dim, "ifft")
    return _delivered(_complex(x, [axis], [x.shape[axis] if n is None else n], norm, False), out, "ifft")


@fourier
def rfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The first n // 2 + 1 terms of fft for a real input (the others are their conjugates)."""
    x = _prepared(input, "rfft", "real")
    axis, n = _one(x, n, dim, "rfft")
    return _delivered(_real(x, [axis], [x.shape[axis] if n is None else n], norm, True), out, "rfft")


@fourier
def irfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The inverse of rfft: a real signal of n (2 * (size - 1) by default)."""
    x = _prepared(input, "irfft", "complex")
    axis, n = _one(x, n, dim, "irfft")
    return _delivered(_hermitian(x, [axis], [2 * (x.shape[axis] - 1) if n is None else n], norm, False), out, "irfft")


@fourier
def hfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The real spectrum of a signal of which half is given, the rest being its conjugate mirrored."""
    x = _prepared(input, "hfft", "complex")
    axis, n = _one(x, n, dim, "hfft")
    return _delivered(_hermitian(x, [axis], [2 * (x.shape[axis] - 1) if n is None else n], norm, True), out, "hfft")


@fourier
def ihfft(input, n=None, dim=-1, norm=None, *, out=None):
    """The inverse of hfft: the first half of the signal with this real spectrum."""
    x = _prepared(input, "ihfft", "real")
    axis, n = _one(x, n, dim, "ihfft")
    return _delivered(_real(x, [axis], [x.shape[axis] if n is None else n], norm, False), out, "ihfft")


# ---- several dimensions ----------------------------------------------------------------------------------------


def _fftn(input, s, dim, norm, out, name, forward):
    x = _prepared(input, name, "any")
    return _delivered(_complex(x, *_many(x, s, dim, name), norm, forward), out, name)


def _rfftn(input, s, dim, norm, out, name):
    x = _prepared(input, name, "real")
    axes, sizes = _many(x, s, dim, name)
    _some(axes, name)
    return _delivered(_real(x, axes, sizes, norm, True), out, name)


def _last(sizes, s):
    """The sizes with the last one that of the real signal, where `s` does not give it."""
    if s is None or s[-1] == -1:
        sizes[-1] = 2 * (sizes[-1] - 1)
    return sizes


def _irfftn(input, s, dim, norm, out, name):
    x = _prepared(input, name, "complex")
    axes, sizes = _many(x, s, dim, name)
    _some(axes, name)
    return _delivered(_hermitian(x, axes, _last(sizes, _list(s, name, "s", 2)), norm, False), out, name)


def _hfftn(input, s, dim, norm, out, name):
    """fft over all but the last dimension, hfft over that."""
    x = _prepared(input, name, "complex")
    axes, sizes = _many(x, s, dim, name)
    _some(axes, name)
    sizes = _last(sizes, _list(s, name, "s", 2))
    return _delivered(_hermitian(x, axes, sizes, norm, True), out, name)


def _ihfftn(input, s, dim, norm, out, name):
    """ihfft over the last dimension, ifft over the others."""
    d = tensor(input, "fft_" + name).dtype
    if d.category == D.COMPLEX:
        raise RuntimeError(f"Only supports floating-point dtypes, but found: {d.title}")
    x = _prepared(input, name, "real")
    axes, sizes = _many(x, s, dim, name)
    _some(axes, name)
    return _delivered(_real(x, axes, sizes, norm, False), out, name)


@fourier
def fftn(input, s=None, dim=None, norm=None, *, out=None):
    """fft over each dimension of `dim` (all by default, or the last len(s)), cut or padded to `s` (-1: as it is)."""
    return _fftn(input, s, dim, norm, out, "fftn", True)


@fourier
def ifftn(input, s=None, dim=None, norm=None, *, out=None):
    """The inverse of fftn."""
    return _fftn(input, s, dim, norm, out, "ifftn", False)


@fourier
def rfftn(input, s=None, dim=None, norm=None, *, out=None):
    """fftn of a real input; half of the last dimension."""
    return _rfftn(input, s, dim, norm, out, "rfftn")


@fourier
def irfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The inverse of rfftn."""
    return _irfftn(input, s, dim, norm, out, "irfftn")


@fourier
def hfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The real spectrum of a signal that is Hermitian in the last dimension, of which half is given."""
    return _hfftn(input, s, dim, norm, out, "hfftn")


@fourier
def ihfftn(input, s=None, dim=None, norm=None, *, out=None):
    """The inverse of hfftn."""
    return _ihfftn(input, s, dim, norm, out, "ihfftn")


@fourier
def fft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """fftn over two dimensions, the last two by default."""
    return _fftn(input, s, dim, norm, out, "fft2", True)


@fourier
def ifft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """The inverse of fft2."""
    return _fftn(input, s, dim, norm, out, "ifft2", False)


@fourier
def rfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """rfftn over two dimensions, the last two by default."""
    return _rfftn(input, s, dim, norm, out, "rfft2")


@fourier
def irfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """The inverse of rfft2."""
    return _irfftn(input, s, dim, norm, out, "irfft2")


@fourier
def hfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """hfftn over two dimensions, the last two by default."""
    return _hfftn(input, s, dim, norm, out, "hfft2")


@fourier
def ihfft2(input, s=None, dim=(-2, -1), norm=None, *, out=None):
    """ihfftn over two dimensions, the last two by default."""
    return _ihfftn(input, s, dim, norm, out, "ihfft2")


# ---- frequencies and shifts ------------------------------------------------------------------------------------


def _frequencies(numbers, name, n, d, dtype, out, device, requires_grad):
    dtype = checked_dtype(dtype, out.dtype if out is not None else None)
    if dtype.category < D.FLOAT:
        raise RuntimeError(f"{name} requires a floating point or complex dtype")
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    scale = 1 / (n * d) if n else 0.0
    return made((numbers.astype(dtype.compute.np) * dtype.compute.np.type(scale)).astype(dtype.np), device, requires_grad, out)


@fourier
def fftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of the terms of fft for n samples at distance d: 0, 1, ... then the negative ones, over n d."""
    numbers = np.concatenate([np.arange((n + 1) // 2), np.arange(-(n // 2), 0)])
    return _frequencies(numbers, "fftfreq", n, d, dtype, out, device, requires_grad)


@fourier
def rfftfreq(n, d=1.0, *, out=None, dtype=None, layout=None, device=None, requires_grad=False):
    """The frequencies of the terms of rfft for n samples at distance d."""
    return _frequencies(np.arange(n // 2 + 1), "rfftfreq", n, d, dtype, out, device, requires_grad)


def _shift(x, dim, name, amount):
    dims = _list(dim, name, "dim", 2)
    n = tensor(x, "fft_" + name)._data.ndim
    dims = list(range(n)) if dims is None else dims
    axes = [wrap_dim(d, n) for d in dims]
    if not axes:
        raise RuntimeError("`shifts` required")
    return roll(x, [amount(x.shape[a]) for a in axes], axes)


@fourier
def fftshift(input, dim=None):
    """The frequency 0 moved to the middle of `dim` (all dimensions by default)."""
    return _shift(input, dim, "fftshift", lambda n: n // 2)


@fourier
def ifftshift(input, dim=None):
    """The inverse of fftshift."""
    return _shift(input, dim, "ifftshift", lambda n: (n + 1) // 2)
