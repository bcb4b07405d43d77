"""Fourier transforms, short-time transforms and windows equal PyTorch's: values, dtypes, gradients of two orders, errors.

Each case is an expression over M (the library), x (3, 6) real, c (3, 6) complex and w (8), a window, in float64.
"""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import rushlight  # noqa: E402


def run(lib, case, dtype=np.float64, grad=True):
    """(error, text), or [dtype, shape, values, gradients, gradients of a function of the gradients]."""
    rng = np.random.default_rng(1)
    x, y, w = rng.standard_normal((3, 6)), rng.standard_normal((3, 6)), rng.uniform(0.5, 1, 8)
    arrays = [x.astype(dtype), (x + 1j * y).astype(np.result_type(dtype, np.complex64)), w.astype(dtype)]
    xs = [lib.from_numpy(a).requires_grad_() for a in arrays]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            out = eval(case, {"M": lib, **dict(zip("xcw", xs))})
        except Exception as error:
            return type(error).__name__, str(error)
    found = [str(out.dtype), tuple(out.shape), out.detach().resolve_conj().numpy()]
    if grad and out.requires_grad:
        first = lib.autograd.grad((out.abs() ** 3).sum(), xs, allow_unused=True, create_graph=True)
        live = sum((g.abs() ** 2).sum() for g in first if g is not None)
        second = lib.autograd.grad(live, xs, allow_unused=True)
        found += [None if g is None else g.detach().resolve_conj().numpy() for g in (*first, *second)]
    return found


TRANSFORMS = [
    f"M.fft.{name}({x}{arguments})"
    for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fftn", "ifftn", "rfftn", "irfftn", "hfftn", "ihfftn", "fft2", "ifft2", "rfft2", "irfft2", "hfft2", "ihfft2")
    for x in "xc"
    for arguments in ("", ", norm='ortho'", ", norm='x'")
] + """
M.fft.fft(x, 4)               M.fft.fft(c, 9, 0)           M.fft.irfft(c, 5)            M.fft.irfft(c, 9, 0, 'forward')
M.fft.rfft(x, 3, 0)           M.fft.hfft(c, 7)             M.fft.fftn(x, (2,))          M.fft.fftn(c, (-1, 8), norm='forward')
M.fft.irfftn(c, (4, 5), (1, 0))   M.fft.rfftn(x, (5, 4), (1, 0))   M.fft.hfftn(c, (3, 4))   M.fft.ihfftn(x, (3, 4), norm='ortho')
M.fft.fft(x, 0)               M.fft.fft(x, dim=5)          M.fft.fftn(x, (1, 2, 3))     M.fft.fftn(x, dim=(0, 0))
M.fft.fftn(x, (2,), (0, 1))   M.fft.fftn(x, dim=())        M.fft.rfftn(x, dim=())       M.fft.fft2(x[0])
M.fft.fft(x, 2.5)             M.fft.fft([1])               M.fft.fft(M.tensor(1.))      M.fft.fft(x.half())
M.fft.fft(M.arange(4))        M.fft.fft(M.tensor([True]))  M.fft.fftshift(x)            M.fft.ifftshift(x, 1)
M.fft.fftshift(x, 5)          M.fft.fftfreq(5)             M.fft.fftfreq(6, 0.5)        M.fft.rfftfreq(5, 2.)
M.fft.fftfreq(0)              M.fft.fftfreq(4, dtype=M.int64)  M.fft.fft(x.detach(), out=M.empty(0))  M.fft.fftfreq(-1)
""".replace("\n", "  ").split("  ")  # fmt: skip

SIGNALS = """
M.stft(x, 4)                              M.stft(x, 4, return_complex=True)                M.stft(x, 4, return_complex=False)
M.stft(c, 4)                              M.stft(c, 4, onesided=True)                      M.stft(x[0], 4, 2, return_complex=True)
M.stft(x.repeat(1, 4), 8, 3, window=w, return_complex=True)                                M.stft(x, 4, win_length=5, return_complex=True)
M.stft(x, 6, 1, 3, M.ones(3).double(), return_complex=True)                                M.stft(x, 4, 0, return_complex=True)
M.stft(x, 5, normalized=True, return_complex=True)                                         M.stft(x, 4, window=w, return_complex=True)
M.stft(x, 4, center=False, return_complex=True)                                            M.stft(x, 4, pad_mode='x', return_complex=True)
M.stft(x, 4, pad_mode='constant', return_complex=True)                                     M.stft(x, 50, return_complex=True)
M.stft(x, 4, 1, 2, M.ones(2).double(), center=False, align_to_window=True, return_complex=True)   M.stft(x[None], 4, return_complex=True)
M.istft(c[:, :].reshape(3, 6), 4)         M.istft(c, 4, center=False)                      M.istft(c, 4, length=9)
M.istft(c, 4, 2, normalized=True)         M.istft(c, 4, onesided=False)                    M.istft(c, 3, onesided=False, return_complex=True)
M.istft(c, 4, return_complex=True)        M.istft(x, 4)                                    M.istft(c, 4, 5)
M.istft(c, 4, 1, 5)                       M.istft(c[0], 4)                                 M.istft(c, 4, length=40)
M.istft(c.reshape(1, 3, 6), 4, 1, window=w[:4])                                            M.istft(c[:, :0], 4)
"""
SIGNALS = [c.strip() for line in SIGNALS.strip().splitlines() for c in line.split("   ") if c.strip()]

WINDOWS = [f"M.{n}_window({a})" for n in ("hann", "hamming", "blackman", "bartlett", "kaiser") for a in ("1", "2", "9", "9, False", "-1", "9, dtype=M.float64", "9, dtype=M.int64", "2.5")] + [
    f"M.signal.windows.{n}({a})" for n in torch.signal.windows.__all__ if n != "general_cosine" for a in ("1", "2", "9", "9, sym=False", "-1", "9, dtype=M.float64", "9, dtype=M.int64")
] + ["M.signal.windows.general_cosine(9, a=[0.5, 0.3, 0.2])", "M.signal.windows.general_cosine(9, a=[])", "M.signal.windows.general_cosine(9, a=3)", "M.hamming_window(9, True, 0.6, 0.4)",
     "M.signal.windows.gaussian(9, std=-1)", "M.signal.windows.exponential(9, tau=0)", "M.signal.windows.exponential(9, center=3, sym=False)", "M.signal.windows.kaiser(9, beta=3.)"]  # fmt: skip


@pytest.mark.parametrize("case", [c.strip() for c in TRANSFORMS if c.strip()] + SIGNALS + WINDOWS)
def test_case(case):
    theirs, ours = run(torch, case), run(rushlight, case)
    if isinstance(theirs, tuple):
        assert ours[0] == theirs[0], (ours, theirs)
        return
    assert not isinstance(ours, tuple), ours
    assert ours[:2] == theirs[:2]
    assert len(ours) == len(theirs)
    for x, y in zip(theirs[2:], ours[2:]):
        assert (x is None) == (y is None)
        if x is not None:
            tolerance = 1e-6 if str(x.dtype) in ("float32", "complex64") else 1e-9
            np.testing.assert_allclose(y, x, rtol=tolerance, atol=tolerance * max(1, np.abs(x).max(initial=0)))


@pytest.mark.parametrize("case", ["M.fft.fft(x)", "M.fft.irfftn(c)", "M.fft.hfft(c)", "M.fft.ihfft(x, 9)"])
def test_single_precision(case):
    theirs, ours = run(torch, case, np.float32), run(rushlight, case, np.float32)
    assert ours[:2] == theirs[:2]
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-5, atol=1e-5)


def test_nodes():
    for case in ("M.fft.fft(x)", "M.fft.fft(c)", "M.fft.rfft(x)", "M.fft.irfft(c)", "M.fft.hfft(c)", "M.fft.fftshift(x)"):
        nodes = []
        for lib in (torch, rushlight):
            x = lib.ones(4, dtype=lib.float64, requires_grad=True)
            c = lib.ones(4, dtype=lib.complex128, requires_grad=True)
            nodes.append(type(eval(case, {"M": lib, "x": x, "c": c}).grad_fn).__name__)
        assert nodes[0] == nodes[1], case
