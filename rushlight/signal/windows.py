"""torch.signal.windows: windows as SciPy defines them, symmetric by default.

Each is a formula over k = 0 ... M - 1; a periodic window (`sym=False`) is the symmetric one of M + 1 points without its
last. Sums of cosines (general_cosine) give bartlett's siblings: hann, hamming, blackman, nuttall.

Source: F. Harris, On the use of windows for harmonic analysis with the discrete Fourier transform (1978).
"""

from __future__ import annotations

import math

import rushlight
from rushlight import Tensor

__all__ = ["bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann", "kaiser", "nuttall"]


def _checked(name, M, dtype, layout):  # noqa: N803
    """The dtype, after what PyTorch checks for every window."""
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not rushlight.strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    dtype = rushlight.get_default_dtype() if dtype is None else dtype
    if dtype not in (rushlight.float32, rushlight.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    return dtype


def _steps(start, end, M, **options):  # noqa: N803
    return rushlight.linspace(start, end, M, **options)


def exponential(M, *, center=None, tau=1.0, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """exp(-|k - center| / tau), the centre (M - 1) / 2 where it is not given."""
    dtype = _checked("exponential", M, dtype, layout)
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    options = {"dtype": dtype, "device": device, "requires_grad": requires_grad}
    if M == 0:
        return rushlight.empty((0,), **options)
    if center is None:
        center = (M if not sym and M > 1 else M - 1) / 2.0
    k = _steps(-center / tau, (-center + (M - 1)) / tau, M, **options)
    return rushlight.exp(-rushlight.abs(k))


def cosine(M, *, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """sin(pi (k + 1/2) / M)."""
    dtype = _checked("cosine", M, dtype, layout)
    options = {"dtype": dtype, "device": device, "requires_grad": requires_grad}
    if M == 0:
        return rushlight.empty((0,), **options)
    step = math.pi / (M + 1 if not sym and M > 1 else M)
    return rushlight.sin(_steps(0.5 * step, (0.5 + (M - 1)) * step, M, **options))


def gaussian(M, *, std=1.0, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """exp(-((k - (M - 1) / 2) / std)^2 / 2)."""
    dtype = _checked("gaussian", M, dtype, layout)
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    options = {"dtype": dtype, "device": device, "requires_grad": requires_grad}
    if M == 0:
        return rushlight.empty((0,), **options)
    start = -(M if not sym and M > 1 else M - 1) / 2.0
    scale = 1 / (std * math.sqrt(2))
    k = _steps(start * scale, (start + (M - 1)) * scale, M, **options)
    return rushlight.exp(-(k**2))


def kaiser(M, *, beta=12.0, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """I0(beta sqrt(1 - (2 k / (M - 1) - 1)^2)) / I0(beta)."""
    dtype = _checked("kaiser", M, dtype, layout)
    beta = beta.item() if isinstance(beta, Tensor) else beta
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    options = {"dtype": dtype, "device": device, "requires_grad": requires_grad}
    if M == 0:
        return rushlight.empty((0,), **options)
    if M == 1:
        return rushlight.ones((1,), **options)
    step = 2.0 * beta / (M if not sym else M - 1)
    k = _steps(-beta, min(beta, -beta + (M - 1) * step), M, **options)
    # the rounding of the last step must not make the root's argument negative
    return rushlight.i0(rushlight.sqrt(rushlight.clamp(beta * beta - k * k, min=0))) / rushlight.i0(rushlight.tensor(beta, dtype=dtype, device=device))


def hamming(M, *, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """0.54 - 0.46 cos(2 pi k / (M - 1))."""
    return general_hamming(M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hann(M, *, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """0.5 - 0.5 cos(2 pi k / (M - 1))."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def blackman(M, *, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """0.42 - 0.5 cos(2 pi k / (M - 1)) + 0.08 cos(4 pi k / (M - 1))."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def bartlett(M, *, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """1 - |2 k / (M - 1) - 1|."""
    dtype = _checked("bartlett", M, dtype, layout)
    options = {"dtype": dtype, "device": device, "requires_grad": requires_grad}
    if M == 0:
        return rushlight.empty((0,), **options)
    if M == 1:
        return rushlight.ones((1,), **options)
    step = 2 / (M if not sym else M - 1)
    return 1 - rushlight.abs(_steps(-1, -1 + (M - 1) * step, M, **options))


def general_cosine(M, *, a, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """sum over i of (-1)^i a[i] cos(2 pi i k / (M - 1))."""
    dtype = _checked("general_cosine", M, dtype, layout)
    options = {"dtype": dtype, "device": device, "requires_grad": requires_grad}
    if M == 0:
        return rushlight.empty((0,), **options)
    if M == 1:
        return rushlight.ones((1,), **options)
    if not isinstance(a, (list, tuple)):
        raise TypeError("Coefficients must be a list/tuple")
    if not a:
        raise ValueError("Coefficients cannot be empty")
    step = 2 * math.pi / (M if not sym else M - 1)
    k = _steps(0, (M - 1) * step, M, **options)
    signed = rushlight.tensor([(-1) ** i * w for i, w in enumerate(a)], dtype=dtype, device=device)
    i = rushlight.arange(len(a), dtype=dtype, device=device)
    return (signed.unsqueeze(-1) * rushlight.cos(i.unsqueeze(-1) * k)).sum(0)


def general_hamming(M, *, alpha=0.54, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """alpha - (1 - alpha) cos(2 pi k / (M - 1))."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def nuttall(M, *, sym=True, dtype=None, layout=rushlight.strided, device=None, requires_grad=False):  # noqa: N803
    """The minimal four-term window of Nuttall (1981): cosines with weights 0.3635819, 0.4891775, 0.1365995, 0.0106411."""
    return general_cosine(
        M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
    )
