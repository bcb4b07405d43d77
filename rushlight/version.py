"""torch.version: what this build is; no CUDA, ROCm or XPU.

`__version__` is the version of PyTorch's interface that is spoken here, for programs that ask which PyTorch they run
on; `rushlight` is rushlight's own.
"""

import rushlight as _torch

__version__ = str.__str__(_torch.__version__)
rushlight = _torch._version.RUSHLIGHT
debug = False
cuda = hip = rocm = xpu = None
git_version = "unknown"

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "rocm", "rushlight", "xpu"]
