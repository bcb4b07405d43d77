"""torch.fft: discrete Fourier transforms (the functions are published by the engine under `fft.`)."""

import rushlight

globals().update(rushlight._namespace("fft"))

__all__ = [*rushlight._namespace("fft")]
