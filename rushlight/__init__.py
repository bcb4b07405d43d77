"""rushlight: PyTorch's public Python API on an engine of our own.

    import rushlight as torch

This file is the list of public names and the only place that attaches methods to Tensor. The large packages (nn, optim,
utils, ...) are imported when they are first used.
"""

# rows before what reads them, names before what takes them: the order of these imports matters
# isort: skip_file

from __future__ import annotations

import importlib
import importlib.util
import math as _math

from rushlight.core import absent as _absent
from rushlight.core import device as _device
from rushlight.core import dtype as _dtypes
from rushlight.core import layout as _layouts
from rushlight.core import naming as _naming
from rushlight.core import version as _version
from rushlight.core.device import Device as device  # noqa: N813
from rushlight.core.dtype import DType as dtype  # noqa: N813
from rushlight.core.layout import Layout as layout  # noqa: N813
from rushlight.core.layout import MemoryFormat as memory_format  # noqa: N813
from rushlight.core.shape import Size
from rushlight.ops import (  # noqa: F401  (their import fills the op table)
    arrangement as _arrangement,
    bounds as _bounds,
    contractions as _contractions,
    fft as _fft_rows,
    indexing as _indexing,
    linalg as _linalg_rows,
    matrices as _matrix_rows,
    memory as _memory,
    neural_activation as _neural_activation,
    neural_attention as _neural_attention,
    neural_conv as _neural_conv,
    neural_embedding as _neural_embedding,
    neural_image as _neural_image,
    neural_loss as _neural_loss,
    neural_norm as _neural_norm,
    neural_pool as _neural_pool,
    neural_recurrent as _neural_recurrent,
    neural_resample as _neural_resample,
    neural_rms as _neural_rms,
    pointwise as _pointwise,
    random as _random_rows,
    rearranging as _rearranging,
    reductions as _reductions,
    sorting as _sorting_rows,
    views as _views,
)
from rushlight.tensor import Tensor
from rushlight import bind as _bind

_bind.FUNCTIONS["Size"] = Size

from rushlight.api import (  # noqa: E402  (each module publishes its names as it is imported)
    adjoints as _adjoints,  # noqa: F401
    arithmetic as _arithmetic,  # noqa: F401
    convert as _convert,  # noqa: F401
    copying as _copying,  # noqa: F401
    counting as _counting,  # noqa: F401
    creation as _creation,  # noqa: F401
    cuda as _cuda,  # noqa: F401
    custom as _custom,
    decompositions as _decompositions,  # noqa: F401
    differences as _differences,  # noqa: F401
    einsum as _einsum,  # noqa: F401
    exchange as _exchange,  # noqa: F401
    facts as _facts,  # noqa: F401
    fft as _fft,  # noqa: F401
    gradient as _gradient,
    graph as _graph,
    indexing as _api_indexing,  # noqa: F401
    joining as _joining,  # noqa: F401
    keywords as _keywords,
    legacy as _legacy,
    linalg as _linalg,  # noqa: F401
    lowrank as _lowrank,  # noqa: F401
    matrices as _matrices,  # noqa: F401
    memory as _tensor_memory,  # noqa: F401
    neural as _neural,  # noqa: F401
    norms as _norms,  # noqa: F401
    overrides as _overrides,  # noqa: F401
    placing as _placing,  # noqa: F401
    printing as _printing,
    products as _products,  # noqa: F401
    random as _random,
    ranges as _ranges,  # noqa: F401
    reduce as _reduce,
    settings as _settings,
    shaping as _shaping,  # noqa: F401
    signal as _signal,  # noqa: F401
    sorting as _sorting,  # noqa: F401
    storages as _storages,  # noqa: F401
    special as _special,  # noqa: F401
    updates as _updates,  # noqa: F401
)
from rushlight import autograd  # noqa: E402

__version__ = _version.TorchVersion(_version.INTERFACE)  # of the interface spoken; rushlight's own is rushlight.version.rushlight

# ---- dtypes, layouts, formats
globals().update(_dtypes.ALL)
globals().update(_dtypes.ALIASES)
bool = _dtypes.bool_  # noqa: A001
globals().update({n: v for n, v in vars(_layouts).items() if isinstance(v, (layout, memory_format))})
inf, nan, pi, e = _math.inf, _math.nan, _math.pi, _math.e
newaxis = None
finfo, iinfo = _legacy.finfo, _legacy.iinfo

# ---- what programs ask about the build
has_lapack, has_mkl, has_openmp, has_spectral = True, False, False, True
PRIVATE_OPS = ("unique_dim",)

# ---- functions and methods
_keywords.wrap_all(_bind.FUNCTIONS, _bind.METHODS)
_naming.settle(_bind.FUNCTIONS, _bind.METHODS)
globals().update({n: f for n, f in _bind.FUNCTIONS.items() if "." not in n})
for _name, _method in _bind.METHODS.items():
    setattr(Tensor, _name, _method)
set_printoptions = _printing.set_printoptions
Tensor.__repr__ = lambda self, *, tensor_contents=None: _printing.tensor_str(self, tensor_contents)
# a function of its own: overriding classes redirect what Tensor publishes, not what prints
Tensor.__format__ = _bind.label(lambda self, spec: _printing.format_tensor(self, spec), "__format__")
_bind.label(Tensor.__repr__, "__repr__")

# ---- autograd
no_grad, enable_grad, inference_mode, set_grad_enabled = (
    _gradient.no_grad, _gradient.enable_grad, _gradient.inference_mode, _gradient.set_grad_enabled
)  # fmt: skip
for _name in ("backward", "grad", "no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "set_multithreading_enabled",
              "is_multithreading_enabled", "enforce_grad_layout_policy"):  # fmt: skip
    setattr(autograd, _name, getattr(_gradient, _name))
for _name in ("Function", "NestedIOFunction"):
    setattr(autograd, _name, getattr(_custom, _name))
autograd.detect_anomaly, autograd.set_detect_anomaly = _graph.detect_anomaly, _graph.set_detect_anomaly
autograd._is_checkpoint_valid = _graph.is_checkpoint_valid
_graph.METHOD.update(zero_=Tensor.zero_, fill_=Tensor.fill_)
Generator, default_generator = _random.Generator, _random.DEFAULT
_RETURN_TYPES = _reduce.RETURN_TYPES


def _namespace(prefix):
    """What the engine publishes under a dotted name, such as `linalg.det`: the contents of the module `linalg`."""
    return {n[len(prefix) + 1 :]: f for n, f in _bind.FUNCTIONS.items() if n.startswith(prefix + ".")}


#: packages that are imported on first use
_LAZY = {"_C", "_utils", "nn", "data", "serialization", "overrides", "optim", "utils", "amp", "viz", "linalg", "special", "fft", "signal", "distributions", "cuda", "random", "func", "testing",
         "jit", "compiler", "return_types", "torch_version", "version", "functional", "accelerator", "xpu", "mps", "mtia", "__config__", "cpu", "masked", "distributed", "onnx", "hub", "profiler", "types", "futures", "multiprocessing"}  # fmt: skip


#: public names that live in such a package
_ELSEWHERE = {
    "finder": ("as_torch",),
    "serialization": ("save", "load"),
    "func": ("vmap",),
    "utils.summary": ("summary",),
    "compiler": ("compile",),
    "_losses": ("cosine_embedding_loss", "grid_sampler_2d", "grid_sampler_3d", "hinge_embedding_loss", "kl_div", "margin_ranking_loss", "norm_except_dim",
                "poisson_nll_loss", "triplet_margin_loss"),
    "amp": ("autocast", "GradScaler"),
    "amp.state": ("is_autocast_enabled", "set_autocast_enabled", "get_autocast_dtype", "set_autocast_dtype", "is_autocast_cache_enabled",
                  "set_autocast_cache_enabled", "is_autocast_available", "clear_autocast_cache", "autocast_increment_nesting",
                  "autocast_decrement_nesting", "is_autocast_cpu_enabled", "set_autocast_cpu_enabled", "get_autocast_cpu_dtype",
                  "set_autocast_cpu_dtype", "get_autocast_gpu_dtype", "set_autocast_gpu_dtype"),
}  # fmt: skip
_HOME = {name: home for home, names in _ELSEWHERE.items() for name in names}


_settings.DEVICE_MODULES.update({kind: lambda kind=kind: importlib.import_module(f"rushlight.{kind}") for kind in ("cpu", "cuda")})


def __getattr__(name):
    if name in _HOME:
        value = globals()[name] = getattr(importlib.import_module(f"rushlight.{_HOME[name]}"), name)
        return value
    if name in _LAZY:
        try:
            return importlib.import_module(f"rushlight.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"rushlight.{name}":
                raise
    raise _absent.refusal(name) or AttributeError(f"module 'rushlight' has no attribute '{name}'")


def __dir__():
    packages = {n for n in _LAZY if importlib.util.find_spec(f"rushlight.{n}") is not None}
    return sorted({*globals(), *packages, *_HOME})
