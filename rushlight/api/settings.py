"""Small functions at module level that programs call: threads, precision, determinism, checks, symbolic numbers.

What a switch cannot change here (a result never depends on it) is remembered and given back. Checks raise what
PyTorch's raise; `sym_*` on plain numbers are plain arithmetic.
"""

from __future__ import annotations

import math
import operator
import os
import warnings

import numpy as np

from rushlight.bind import FUNCTIONS, function
from rushlight.core import device as device_
from rushlight.core import dtype as D
from rushlight.core.naming import Public, published
from rushlight.core.settings import SETTINGS
from rushlight.tensor import Tensor

# ---- threads ---------------------------------------------------------------------------------------------------


def _count(name, value):
    if isinstance(value, bool) or not isinstance(value, int):
        raise RuntimeError(f"{name} expects an int, but got {type(value).__name__}")
    if value <= 0:
        raise RuntimeError(f"{name} expects a positive integer")
    if value >= 2**31:
        raise ValueError(f"Overflow when unpacking long: {name} takes an int32, got {value}")
    return value


@function
def set_num_threads(int):
    """How many threads one op may use, the calling one included; more than there are cores make nothing faster."""
    SETTINGS.threads = _count("set_num_threads", int)


@function
def get_num_threads():
    """How many threads one op may use."""
    return SETTINGS.threads


@function
def set_num_interop_threads(int):
    """How many ops may run at once; can be set once."""
    count = _count("set_num_interop_threads", int)
    if SETTINGS.interop_set:
        raise RuntimeError("Error: cannot set number of interop threads after parallel work has started or set_num_interop_threads called")
    SETTINGS.interop_threads, SETTINGS.interop_set = count, True


@function
def get_num_interop_threads():
    """How many ops may run at once."""
    return SETTINGS.interop_threads


@function
def init_num_threads():
    """Does nothing: threads are started when they are first needed."""


# ---- determinism -----------------------------------------------------------------------------------------------


@function
def use_deterministic_algorithms(mode, *, warn_only=False):
    """Ask for deterministic algorithms. All are, so this is only remembered."""
    for name, value in (("mode", mode), ("warn_only", warn_only)):
        if not isinstance(value, bool):
            raise TypeError(f"use_deterministic_algorithms(): argument '{name}' must be bool, not {type(value).__name__}")
    SETTINGS.deterministic, SETTINGS.warn_only = mode, warn_only


@function
def are_deterministic_algorithms_enabled():
    """Whether deterministic algorithms were asked for."""
    return SETTINGS.deterministic


@function
def is_deterministic_algorithms_warn_only_enabled():
    """Whether an op without a deterministic algorithm would only warn."""
    return SETTINGS.warn_only


@function
def set_deterministic_debug_mode(debug_mode):
    """0 or 'default', 1 or 'warn', 2 or 'error'."""
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    names = {"default": 0, "warn": 1, "error": 2}
    if isinstance(debug_mode, str):
        if debug_mode not in names:
            raise RuntimeError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}")
        debug_mode = names[debug_mode]
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    SETTINGS.deterministic, SETTINGS.warn_only = debug_mode > 0, debug_mode == 1


@function
def get_deterministic_debug_mode():
    """0, 1 or 2, as set_deterministic_debug_mode takes them."""
    return 0 if not SETTINGS.deterministic else 1 if SETTINGS.warn_only else 2


# ---- arithmetic ------------------------------------------------------------------------------------------------


@function
def set_float32_matmul_precision(precision):
    """'highest', 'high' or 'medium': remembered; float32 products are always computed in float32."""
    if precision not in ("highest", "high", "medium"):
        warnings.warn(f"{precision} is not one of 'highest', 'high', or 'medium'; the currentsetFloat32MatmulPrecision call has no effect.", UserWarning, stacklevel=2)
        return
    SETTINGS.matmul_precision = precision


@function
def get_float32_matmul_precision():
    """The precision last asked for."""
    return SETTINGS.matmul_precision


@function
def set_flush_denormal(mode):
    """Whether denormal numbers count as zero. False: NumPy's kernels keep them, so it cannot be switched on."""
    if not isinstance(mode, bool):
        raise RuntimeError(f"flush_denormal expects a bool, but got {type(mode).__name__}")
    return not mode


@function
def set_warn_always(b):
    """Whether warnings that come once only come each time."""
    if not isinstance(b, bool):
        raise RuntimeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    SETTINGS.warn_always = b


@function
def is_warn_always_enabled():
    """Whether warnings come each time."""
    return SETTINGS.warn_always


# ---- about the build and about objects -------------------------------------------------------------------------


@function
def compiled_with_cxx11_abi():
    """True; there is no C++ whose ABI could differ."""
    return True


@function
def is_vulkan_available():
    """False: there is no Vulkan backend."""
    return False


@function
def is_distributed(input):
    """False: no tensor is spread over processes."""
    return False


@function
def typename(obj, /):
    """The type of an object with its module, such as 'torch.FloatTensor'."""
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) or callable(obj) and hasattr(obj, "__qualname__") else type(obj)
    module = getattr(kind, "__module__", None) or ""
    if module in ("", "builtins"):
        return kind.__qualname__
    return f"{'torch' + module[9:] if module.split('.')[0] == 'rushlight' else module}.{kind.__qualname__}"


@function
def is_signed(input):
    """Whether the dtype of a tensor can hold negative numbers."""
    return input.is_signed()


@function
def get_device(input):
    """The index of the device of a tensor; -1 for the CPU."""
    return input.get_device()


@function
def get_device_module(device=None):
    """The module of a device type, such as torch.cpu or torch.cuda."""
    kind = device_.Device(device).type if device is not None else "cpu"
    module = DEVICE_MODULES.get(kind)
    if module is None:
        raise RuntimeError(f"Invalid device module '{kind}': {', '.join(DEVICE_MODULES)} are there")
    return module()


DEVICE_MODULES = {}  # device type: a function that gives its module; entered by __init__, which alone knows them


@function
def get_file_path(*path_components):
    """A path inside the installed package."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.path.join(root, *path_components)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} does not exist")
    return path


# ---- checks ----------------------------------------------------------------------------------------------------

_VAGUE = "Expected cond to be True, but got False. (Could this error message be improved? If so, please report an enhancement request to PyTorch.)"


def _checked(kind, cond, message):
    if not isinstance(cond, bool):
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    if cond:
        return
    if message is None:
        raise kind(_VAGUE)
    if not callable(message):
        raise TypeError("message must be a callable")
    raise kind(str(message()))


@function
def _check_with(error_type, cond, message=None):
    """Raise error_type(message()) unless cond is True."""
    _checked(error_type, cond, message)


for _name, _kind in {"_check": RuntimeError, "_check_index": IndexError, "_check_value": ValueError, "_check_type": TypeError, "_check_not_implemented": NotImplementedError}.items():

    def _check(cond, message=None, _kind=_kind):
        _checked(_kind, cond, message)

    _check.__doc__ = f"Raise {_kind.__name__}(message()) unless cond is True."
    function(_check, name=_name)


@function
def _check_is_size(i, message=None, *, max=None):
    """Raise RuntimeError unless i is a possible size."""
    _checked(RuntimeError, bool(i >= 0 and (max is None or i <= max)), message)


@function
def _check_tensor_all_with(error_type, cond, message=None):
    """Raise error_type(message()) unless all elements of cond are true."""
    if not isinstance(cond, Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if cond.dtype is not D.bool_:
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    _checked(error_type, bool(cond.all()), message)


@function
def _check_tensor_all(cond, message=None):
    """Raise RuntimeError(message()) unless all elements of cond are true."""
    _check_tensor_all_with(RuntimeError, cond, message)


@function
def _assert(condition, message):
    """assert as a function."""
    assert condition, message


# ---- numbers that may be symbolic ------------------------------------------------------------------------------


class SymInt(metaclass=Public):
    """A size that is not known yet. None is made here, so that isinstance(x, torch.SymInt) is False."""


class SymFloat(metaclass=Public):
    """A number that depends on a size that is not known yet. None is made here."""


class SymBool(metaclass=Public):
    """A comparison that depends on a size that is not known yet. None is made here."""


FUNCTIONS.update({c.__name__: published(c, c.__name__) for c in (SymInt, SymFloat, SymBool)})


@function
def sym_int(a):
    """a as an int, rounded towards zero."""
    return math.trunc(a)


@function
def sym_float(a):
    """a as a float."""
    return float(a)


@function
def sym_not(a):
    """not a."""
    return not a


@function
def sym_max(a, b):
    """The larger; a float if one is."""
    return _like_both(max, a, b)


@function
def sym_min(a, b):
    """The smaller; a float if one is."""
    return _like_both(min, a, b)


def _like_both(choose, a, b):
    if isinstance(a, float) or isinstance(b, float):
        return choose(float(a), float(b))
    return choose(a, b)


@function
def sym_ite(b, t, f):
    """t if b else f."""
    if not isinstance(b, bool) or type(t) is not type(f):
        raise AssertionError(f"sym_ite(): a bool and two values of one type, not {type(b).__name__}, {type(t).__name__}, {type(f).__name__}")
    return t if b else f


@function
def sym_sum(args):
    """The sum of a list of numbers."""
    return sum(args)


for _name in ("sqrt", "cos", "cosh", "sin", "sinh", "tan", "tanh", "asin", "acos", "atan", "log2"):

    def _symbolic(a, _of=_name):
        return getattr(math, _of)(a)

    _symbolic.__doc__ = f"{_name} of a number."
    function(_symbolic, name="sym_sqrt" if _name == "sqrt" else f"_sym_{_name}")


@function
def from_file(filename, shared=False, size=0, *, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False):
    """A vector over the memory of a file: `shared` writes changes back, and makes the file long enough first."""
    dtype = dtype or FUNCTIONS["get_default_dtype"]()
    need = operator.index(size) * dtype.itemsize
    if shared and (not os.path.exists(filename) or os.path.getsize(filename) < need):
        with open(filename, "ab") as f:
            f.truncate(need)
    elif os.path.getsize(filename) < need:
        raise RuntimeError(f"file {filename} of {os.path.getsize(filename)} bytes is too short for {size} elements of {dtype}")
    memory = np.memmap(filename, dtype.np, "r+" if shared else "c", shape=(size,)) if size else np.empty(0, dtype.np)
    t = FUNCTIONS["from_numpy"](np.asarray(memory))
    return t.requires_grad_() if requires_grad else t
