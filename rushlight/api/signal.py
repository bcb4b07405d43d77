"""Short-time Fourier transforms and the window functions of the top-level namespace.

A window is computed once for its length: NumPy arithmetic in the window's own precision, in the order that PyTorch
uses. stft and istft are composites (pad, unfold, product, transform; and the way back with an overlapping sum), so
their gradients follow.
"""

from __future__ import annotations

import operator
import warnings
from math import pi, sqrt

import numpy as np

from rushlight.api.creation import checked_dtype, made
from rushlight.api.fft import fft, ifft, irfft, rfft
from rushlight.api.linalg_common import tensor
from rushlight.api.neural_image import constant_pad_nd
from rushlight.api.neural_image import pad as padded
from rushlight.api.shaping import view_as_real
from rushlight.bind import both, function
from rushlight.core import dtype as D

# ---- windows ---------------------------------------------------------------------------------------------------


def _window(name, n, periodic, dtype, device, requires_grad, shape):
    """`shape(k, n)` at k = 0 ... n - 1; a periodic window is one of length n + 1 without its last element."""
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"{name}(): argument 'window_length' (position 1) must be int, not {type(n).__name__}")
    n = operator.index(n)
    dtype = checked_dtype(dtype)
    if dtype.category == D.COMPLEX:
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{dtype.title}' ({name} makes real windows)")
    if dtype.category < D.FLOAT:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {dtype}")
    if n < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={n}")
    length = n + 1 if periodic and n > 1 else n
    k = np.arange(length, dtype=dtype.compute.np)
    window = k + 1 if n <= 1 else shape(k, length)[:n]
    return made(window.astype(dtype.np), device, requires_grad)


def _cosines(k, n, alpha, beta):
    return np.cos(k * k.dtype.type(2 * pi / (n - 1))) * k.dtype.type(-beta) + k.dtype.type(alpha)


@function
def hann_window(window_length, periodic=True, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """0.5 - 0.5 cos(2 pi k / (n - 1)); `periodic` for the window of one period, else symmetric."""
    return _window("hann_window", window_length, periodic, dtype, device, requires_grad, lambda k, n: _cosines(k, n, 0.5, 0.5))


@function
def hamming_window(
    window_length, periodic=True, alpha=0.54, beta=0.46, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """alpha - beta cos(2 pi k / (n - 1))."""
    return _window("hamming_window", window_length, periodic, dtype, device, requires_grad, lambda k, n: _cosines(k, n, alpha, beta))


def _blackman(k, n):
    x = k * k.dtype.type(pi / (n - 1))
    return np.cos(4 * x) * k.dtype.type(0.08) - np.cos(2 * x) * k.dtype.type(0.5) + k.dtype.type(0.42)


@function
def blackman_window(window_length, periodic=True, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """0.42 - 0.5 cos(2 pi k / (n - 1)) + 0.08 cos(4 pi k / (n - 1))."""
    return _window("blackman_window", window_length, periodic, dtype, device, requires_grad, _blackman)


@function
def bartlett_window(window_length, periodic=True, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False):
    """A triangle from 0 through 1 to 0."""

    def shape(k, n):
        x = k * k.dtype.type(2 / (n - 1))
        return np.where(k <= (n - 1) // 2, x, 2 - x)

    return _window("bartlett_window", window_length, periodic, dtype, device, requires_grad, shape)


@function
def kaiser_window(
    window_length, periodic=True, beta=12.0, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """I0(beta sqrt(1 - (2 k / (n - 1) - 1)^2)) / I0(beta), I0 the modified Bessel function of order 0."""

    def shape(k, n):
        x = 2 * k.astype(np.float64) / (n - 1) - 1
        return np.i0(beta * np.sqrt(np.maximum(1 - x * x, 0))) / np.i0(float(beta))

    return _window("kaiser_window", window_length, periodic, dtype, device, requires_grad, shape)


# ---- short-time transforms -------------------------------------------------------------------------------------


def _fitted(window, win_length, n_fft, x):
    """The window in the middle of n_fft points, or None for all ones."""
    if window is None and win_length == n_fft:
        return None
    if window is None:
        window = x.new_ones((win_length,), dtype=x.dtype.to_real())
    if win_length == n_fft:
        return window
    left = (n_fft - win_length) // 2
    return constant_pad_nd(window, [left, n_fft - win_length - left], 0)


def _no_window(advice):
    warnings.warn(
        "A window was not provided. A rectangular window will be applied, which is known to cause spectral leakage. " + advice +
        " To use a rectangular window without this warning, set window=torch.ones(win_length).",
        UserWarning,
        stacklevel=4,
    )  # fmt: skip


@both
def stft(
    input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect", normalized=False, onesided=None,
    return_complex=None, align_to_window=None,
):  # fmt: skip
    """The Fourier transforms of windowed frames of a signal (n) or (batch, n): (..., frequencies, frames).

    Frames have n_fft points and start every hop_length (n_fft // 4); with `center` the signal is padded by n_fft // 2 at
    both ends first. `onesided` (the default for real signals and windows) gives n_fft // 2 + 1 frequencies.
    """
    x = tensor(input, "stft")
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    if window is None:
        _no_window("Other windows such as torch.hann_window are recommended.")
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    if return_complex is None and x.dtype.category < D.COMPLEX and (window is None or not window.is_complex()):
        raise RuntimeError(
            "stft requires the return_complex parameter be given for real inputs, and will further require that return_complex=True in a future PyTorch release."
        )
    if center:
        ndim = x._data.ndim
        wide = x.reshape([1] * (3 - ndim) + list(x.shape))
        wide = padded(wide, [n_fft // 2, n_fft // 2], pad_mode)
        x = wide.reshape(wide.shape[3 - ndim :]) if ndim < 3 else wide
    found = (
        f"stft(torch.{x.dtype.legacy or x.dtype.name}{list(x.shape)}, n_fft={n_fft}, hop_length={hop_length}, win_length={win_length}, "
        f"window={'None' if window is None else list(window.shape)}, normalized={int(normalized)}, onesided={onesided}, return_complex={return_complex})"
    )
    if x.dtype.category < D.FLOAT:
        raise RuntimeError(f"{found}: expected a tensor of floating point or complex values")
    if x._data.ndim not in (1, 2):
        raise RuntimeError(f"{found}: expected a 1D or 2D tensor")
    batch = x if x._data.ndim == 2 else x.unsqueeze(0)
    n = batch.shape[1]
    if not 0 < n_fft <= n:
        raise RuntimeError(f"{found}: expected 0 < n_fft < {n}, but got n_fft={n_fft}")
    if hop_length <= 0:
        raise RuntimeError(f"{found}: expected hop_length > 0, but got hop_length={hop_length}")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{found}: expected 0 < win_length <= n_fft, but got win_length={win_length}")
    if window is not None and tuple(window._data.shape) != (win_length,):
        raise RuntimeError(f"{found}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with size {list(window.shape)}")
    if align_to_window and win_length < n_fft:
        left = (n_fft - win_length) // 2
        batch = constant_pad_nd(batch, [left, n_fft - win_length - left], 0)
    frames = batch.unfold(1, n_fft, hop_length)
    window = _fitted(window, win_length, n_fft, batch)
    if window is not None:
        frames = frames * window
    whole = frames.is_complex()
    if onesided is None:
        onesided = not whole
    if onesided and whole:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    norm = "ortho" if normalized else None
    out = (rfft if onesided else fft)(frames, norm=norm).transpose(1, 2)
    if x._data.ndim == 1:
        out = out.squeeze(0)
    if return_complex is False:
        warnings.warn(
            "stft with return_complex=False is deprecated: take torch.view_as_real of the complex result.", UserWarning, stacklevel=3
        )
        return view_as_real(out)
    return out


@both
def istft(
    input, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None, length=None,
    return_complex=False,
):  # fmt: skip
    """The signal whose stft is `input` (..., frequencies, frames): the least squares estimate by overlapping sums.

    Source: D. Griffin, J. Lim, Signal estimation from modified short-time Fourier transform (1984).
    """
    x = tensor(input, "istft")
    hop_length = n_fft // 4 if hop_length is None else hop_length
    win_length = n_fft if win_length is None else win_length
    if window is None:
        _no_window("Give the window that stft was given.")
    found = (
        f"istft({x.dtype.title}{list(x.shape)}, n_fft={n_fft}, hop_length={hop_length}, win_length={win_length}, "
        f"window={'None' if window is None else list(window.shape)}, center={int(center)}, normalized={int(normalized)}, onesided={onesided}, length={length}, "
        f"return_complex={int(return_complex)})"
    )
    if x.dtype.category != D.COMPLEX:
        raise RuntimeError("istft requires a complex-valued input tensor matching the output from stft with return_complex=True.")
    if not x._data.size:
        raise RuntimeError(f"{found}: input tensor cannot be empty.")
    if x._data.ndim < 2:
        raise IndexError(f"{found}: expected a tensor with 2 or 3 dimensions (..., frequencies, frames), but got {x._data.ndim}")
    if x._data.ndim > 3:
        raise RuntimeError(f"{found}: expected a tensor with 3 or 4 dimensions, but got {x._data.ndim + 1} (counting real and imaginary parts)")
    points, count = x.shape[-2:]
    if onesided is None:
        onesided = points != n_fft
    if onesided and points != n_fft // 2 + 1:
        raise RuntimeError(f"{found}: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft / 2 + 1 when onesided=True, but got {points}")
    if not onesided and points != n_fft:
        raise RuntimeError(f"{found}: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft when onesided=False, but got {points}")
    if not 0 < hop_length <= win_length:
        raise RuntimeError(f"{found}: expected 0 < hop_length <= win_length")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{found}: expected 0 < win_length <= n_fft")
    if window is not None and tuple(window._data.shape) != (win_length,):
        raise RuntimeError(f"{found}: Invalid window shape. window has to be 1D and length of `win_length`")
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if not return_complex and window is not None and window.is_complex():
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    frames = (x if x._data.ndim == 3 else x.unsqueeze(0)).transpose(1, 2)
    if normalized:
        frames = frames * sqrt(n_fft)
    if return_complex:
        frames = ifft(frames)
    else:
        frames = irfft(frames if onesided else frames.narrow(-1, 0, n_fft // 2 + 1), n_fft)
    fitted = _fitted(window, win_length, n_fft, frames)
    if fitted is None:
        fitted = frames.new_ones((n_fft,))
    total = n_fft + hop_length * (count - 1)
    frames = frames * fitted
    y = frames._unfold_backward((frames.shape[0], total), 1, n_fft, hop_length)
    weight = (fitted * fitted).expand(1, count, n_fft)._unfold_backward((1, total), 1, n_fft, hop_length)
    start = n_fft // 2 if center else 0
    stop = start + length if length is not None else total - n_fft // 2 if center else total
    kept = max(0, min(stop, total) - start)
    y, weight = y.narrow(1, start, kept), weight.narrow(1, start, kept)
    if kept and float(weight.detach().abs().min()) <= 1e-11:
        raise RuntimeError(f"{found} window overlap add min: 1: the windows leave a part of the signal uncovered; use a smaller hop_length or center=True")
    y = y / weight
    if stop > total:
        warnings.warn("The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail.", UserWarning, stacklevel=3)
        y = constant_pad_nd(y, [0, stop - total], 0)
    return y.squeeze(0) if x._data.ndim == 2 else y


__all__ = ["istft", "stft"]
