"""torch.backends: the switches and questions that programs have about libraries underneath.

None of those libraries is here, so a switch only remembers what it was set to and a question about a GPU or a vendor's
library is answered with False. Each is a module, so that `import torch.backends.cudnn as cudnn` works, and each has
exactly the names below: a misspelt switch is an AttributeError when it is read.

Invariant: nothing here is read by a kernel; results do not depend on it.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType

from rushlight.core.naming import settle_module
from rushlight.core.settings import SETTINGS

_HERE = "rushlight.backends"
_MODULES = []


class Precisions:
    """Reduced-precision switches of one library: attributes that remember."""

    def __init__(self, **values):
        self.__dict__.update(values)

    def __setattr__(self, name, value):
        if name not in self.__dict__:
            raise AttributeError(f"Unknown attribute {name}")
        self.__dict__[name] = value

    def __getattr__(self, name):
        raise AttributeError(f"Unknown attribute {name}")


def _module(name, doc, **contents):
    module = ModuleType(f"{_HERE}.{name}", doc)
    module.__spec__ = ModuleSpec(module.__name__, None)
    vars(module).update(contents)
    sys.modules[module.__name__] = module
    _MODULES.append(module)
    return module


def _no():
    return False


def _yes():
    return True


def _nothing():
    return None


def _flags(module, names):
    """A context manager flags(**switches) and a function set_flags(**switches) over some attributes of a module."""

    def set_flags(**kwargs):
        """Set switches by their (underscored) names; gives the values before."""
        before = tuple(getattr(module, n) for n in names)
        for key, value in kwargs.items():
            key = key.lstrip("_")
            if key not in names:
                raise TypeError(f"set_flags() got an unexpected keyword argument '{key}'")
            if value is not None:
                setattr(module, key, value)
        return before

    @contextlib.contextmanager
    def flags(**kwargs):
        """Switches for the time of a with block."""
        before = set_flags(**kwargs)
        try:
            yield
        finally:
            for name, value in zip(names, before):
                setattr(module, name, value)

    module.set_flags, module.flags = set_flags, flags
    return module


# ---- one module a library --------------------------------------------------------------------------------------


def is_acceptable(tensor):
    """Whether cuDNN could take a tensor: never."""
    return False


cudnn = _flags(
    _module(
        "cudnn",
        "cuDNN: not here; the switches are remembered.",
        enabled=True,
        deterministic=False,
        benchmark=False,
        benchmark_limit=None,
        allow_tf32=True,
        fp32_precision="none",
        is_available=_no,
        version=_nothing,
        is_acceptable=is_acceptable,
        conv=Precisions(fp32_precision="tf32"),
        rnn=Precisions(fp32_precision="tf32"),
    ),
    ("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32", "fp32_precision"),
)

#: which kernels attention may use
ATTENTION_KERNELS = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def _kernel_switch(name):
    def enabled():
        return ATTENTION_KERNELS[name]

    def enable(enabled):
        ATTENTION_KERNELS[name] = bool(enabled)

    enabled.__doc__ = f"Whether attention may use the {name} kernel."
    enable.__doc__ = f"Allow attention the {name} kernel or not."
    return enabled, enable


@contextlib.contextmanager
def sdp_kernel(enable_flash=True, enable_math=True, enable_mem_efficient=True, enable_cudnn=True):
    """Attention kernels allowed in a with block (deprecated in favour of torch.nn.attention.sdpa_kernel)."""
    warnings.warn("`torch.backends.cuda.sdp_kernel()` is deprecated. In the future, this context manager will be removed.", FutureWarning, stacklevel=3)
    before = dict(ATTENTION_KERNELS)
    ATTENTION_KERNELS.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        ATTENTION_KERNELS.update(before)


class PlanCache:
    """cuFFT's plan cache; there is none without CUDA."""

    def __getattr__(self, name):
        raise AssertionError("Torch not compiled with CUDA enabled")

    def __getitem__(self, device):
        raise AssertionError("Torch not compiled with CUDA enabled")


_LIBRARIES = {"linalg": "default", "blas": "default"}


def preferred_linalg_library(backend=None):
    """The library for linear algebra on a GPU: remembered."""
    _LIBRARIES["linalg"] = _LIBRARIES["linalg"] if backend is None else backend
    return _LIBRARIES["linalg"]


def preferred_blas_library(backend=None):
    """The BLAS on a GPU: remembered."""
    _LIBRARIES["blas"] = _LIBRARIES["blas"] if backend is None else backend
    return _LIBRARIES["blas"]


def _refused(params, debug=False):
    """Whether a GPU kernel could compute this attention: never without one."""
    return False


class _Matmul(Precisions):
    """Switches of matrix products; allow_tf32 and the float32 precision are one setting."""

    @property
    def allow_tf32(self):
        return SETTINGS.matmul_precision != "highest"

    def __setattr__(self, name, value):
        if name == "allow_tf32":
            SETTINGS.matmul_precision = "high" if value else "highest"
        else:
            super().__setattr__(name, value)


cuda = _module(
    "cuda",
    "CUDA's libraries: not here; the switches are remembered.",
    is_built=_no,
    matmul=_Matmul(allow_fp16_reduced_precision_reduction=True, allow_bf16_reduced_precision_reduction=True, allow_fp16_accumulation=False, fp32_precision="none"),
    cufft_plan_cache=PlanCache(),
    preferred_linalg_library=preferred_linalg_library,
    preferred_blas_library=preferred_blas_library,
    sdp_kernel=sdp_kernel,
    is_flash_attention_available=_no,
    can_use_flash_attention=_refused,
    can_use_efficient_attention=_refused,
    can_use_cudnn_attention=_refused,
)
for _name in ATTENTION_KERNELS:
    _is, _set = _kernel_switch(_name)
    setattr(cuda, f"{_name}_sdp_enabled", _is)
    setattr(cuda, f"enable_{_name}_sdp", _set)
ATTENTION_KERNELS["reduced"] = False
cuda.fp16_bf16_reduction_math_sdp_allowed, cuda.allow_fp16_bf16_reduction_math_sdp = _kernel_switch("reduced")

mps = _module("mps", "Apple's GPUs: not here.", is_available=_no, is_built=_no, is_macos13_or_newer=lambda minor=0: False, is_macos_or_newer=lambda major, minor: False)


class verbose:
    """What the library prints about its calls: nothing, as it is not here."""

    def __init__(self, enable=0):
        self.enable = enable

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return False


def _verbose(level=0):
    """verbose of the library's own levels."""
    return verbose(level)


mkl = _module("mkl", "Intel's MKL: not here.", is_available=_no, verbose=verbose, VERBOSE_OFF=0, VERBOSE_ON=1)
mkldnn = _flags(
    _module(
        "mkldnn",
        "oneDNN: not here; the switches are remembered.",
        enabled=True,
        deterministic=False,
        allow_tf32=True,
        fp32_precision="none",
        is_available=_no,
        verbose=_verbose,
        VERBOSE_OFF=0,
        VERBOSE_ON=1,
        VERBOSE_ON_CREATION=2,
        matmul=Precisions(fp32_precision="none"),
        conv=Precisions(fp32_precision="none"),
        rnn=Precisions(fp32_precision="none"),
    ),
    ("enabled", "deterministic", "allow_tf32", "fp32_precision"),
)
openmp = _module("openmp", "OpenMP: not here; threads are the engine's own.", is_available=_no)
nnpack = _flags(_module("nnpack", "NNPACK: not here.", enabled=True, is_available=_no), ("enabled",))
opt_einsum = _flags(_module("opt_einsum", "opt_einsum: not used; einsum contracts from left to right.", enabled=False, strategy=None, is_available=_no, get_opt_einsum=_nothing), ("enabled", "strategy"))
quantized = _module("quantized", "Engines for quantized tensors: none.", engine="none", supported_engines=["none"])
cusparselt = _module("cusparselt", "cuSPARSELt: not here.", is_available=_no, version=_nothing, get_max_alg_id=_nothing)
kleidiai = _module("kleidiai", "KleidiAI: not here.", is_available=_no)
miopen = _flags(_module("miopen", "MIOpen: not here.", immediate=False), ("immediate",))
_FAST = [True]


def get_fastpath_enabled():
    """Whether nn.MultiheadAttention may take its inference path."""
    return _FAST[0]


def set_fastpath_enabled(value):
    """Allow nn.MultiheadAttention its inference path or not."""
    _FAST[0] = bool(value)


mha = _module("mha", "The inference path of nn.MultiheadAttention.", get_fastpath_enabled=get_fastpath_enabled, set_fastpath_enabled=set_fastpath_enabled)

_FROZEN = [False]


def flags_frozen():
    """Whether disable_global_flags() was called."""
    return _FROZEN[0]


def disable_global_flags():
    """Ask that switches be set by flags() only."""
    _FROZEN[0] = True


__all__ = ["cuda", "cudnn", "cusparselt", "disable_global_flags", "flags_frozen", "kleidiai", "mha", "miopen", "mkl", "mkldnn", "mps", "nnpack", "openmp", "opt_einsum", "quantized"]


for _m in _MODULES:
    settle_module(_m)
