"""The rows of the discrete Fourier transform: real to complex, complex to real, complex to complex.

Every public transform is one of these three after its input has been cut or padded to size. `axes` are distinct and
not empty; `scale` multiplies the sum (1 for no normalization); `forward` chooses the sign of the exponent. The adjoint
of a transform is the transform of the other direction with the same scale, so the gradients are these rows again.

Invariant: a transform keeps the precision of its input (float32 and complex64, float64 and complex128).
"""

from __future__ import annotations

import numpy as np

from rushlight.ops.families import dtype_of, opaque
from rushlight.ops.op import Spec


def _scaled(x, scale):
    return x if scale == 1 else x * x.real.dtype.type(scale)


def _c2c(x, axes, scale, forward):
    if x.size == 0:
        return x.copy()
    transform = np.fft.fftn if forward else np.fft.ifftn
    return _scaled(transform(x, axes=axes, norm="backward" if forward else "forward"), scale)


def _r2c_spec(args, attrs):
    shape = list(args[0]._data.shape)
    if attrs["onesided"]:
        shape[attrs["axes"][-1]] = shape[attrs["axes"][-1]] // 2 + 1
    return Spec(tuple(shape), dtype_of(args[0]).to_complex())


def _r2c(x, axes, scale, onesided, forward):
    if x.size == 0:
        return np.zeros(_half_shape(x.shape, axes, onesided), np.result_type(x.dtype, np.complex64))
    if onesided:
        out = np.fft.rfftn(x, axes=axes)
        return _scaled(out if forward else out.conj(), scale)
    return _c2c(x.astype(np.result_type(x.dtype, np.complex64)), axes, scale, forward)


def _half_shape(shape, axes, onesided):
    shape = list(shape)
    if onesided:
        shape[axes[-1]] = shape[axes[-1]] // 2 + 1
    return shape


def _r2c_back(g, x_spec, axes, scale, onesided, forward):
    last = axes[-1]
    missing = x_spec.shape[last] - g.shape[last]
    if missing:
        shape = list(g.shape)
        shape[last] = missing
        g = g._cat(g.new_zeros(shape), last)
    return g._fft_c2c(axes, scale, not forward).real


def _c2r_spec(args, attrs):
    shape = list(args[0]._data.shape)
    shape[attrs["axes"][-1]] = attrs["n"]
    return Spec(tuple(shape), dtype_of(args[0]).to_real())


def _c2r(x, axes, scale, n):
    if x.size == 0:
        shape = list(x.shape)
        shape[axes[-1]] = n
        return np.zeros(shape, x.real.dtype)
    if len(axes) > 1:
        x = np.fft.ifftn(x, axes=axes[:-1], norm="forward")
    return _scaled(np.fft.irfft(x, n, axes[-1], norm="forward"), scale)


def _c2r_back(g, x_spec, axes, scale, n):
    """The half spectrum of g; its inner terms stand for two conjugated ones and count twice."""
    last = axes[-1]
    half = g._fft_r2c(axes, scale, True, True)
    size = x_spec.shape[last]
    weight = np.ones(size)
    weight[1 : 1 + n - size] = 2
    shape = [1] * len(x_spec.shape)
    shape[last] = size
    return half * g.new_tensor(weight).reshape(shape)


# fmt: off
opaque("fft_c2c", lambda a, k: Spec(a[0]._data.shape, dtype_of(a[0])), _c2c, lambda g, axes, scale, forward: g._fft_c2c(axes, scale, not forward), dtypes="c", node="FftC2CBackward0", analytic=False)
opaque("fft_r2c", _r2c_spec, _r2c, _r2c_back, dtypes="f", node="FftR2CBackward0", analytic=False)
opaque("fft_c2r", _c2r_spec, _c2r, _c2r_back, dtypes="c", node="FftC2RBackward0", analytic=False)
# fmt: on
