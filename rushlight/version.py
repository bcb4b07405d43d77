"""torch.version: what this build is; no CUDA, ROCm or XPU."""

import rushlight

__version__ = rushlight.__version__
debug = False
cuda = hip = rocm = xpu = None
git_version = "unknown"

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "rocm", "xpu"]
