"""The autocast switches of one thread: enabled and dtype for each kind of device, and one weight
cache.

This is state only. Which operations run in the lower dtype is the engine's business (the column
`autocast` of the op table): it is told of every change on the CPU. It keeps no casted weights, so
the cache switch has no effect on results or memory.
Public names as in PyTorch.
"""

import threading
import warnings

import rushlight

_BFLOAT16 = ("cpu", "hpu", "maia", "xla")
_FLOAT16 = ("cuda", "ipu", "mps", "mtia", "privateuseone", "xpu")


class _Current(threading.local):
    """The switches; `cache` maps what the engine likes to a casted tensor."""

    def __init__(self):
        self.enabled: dict[str, bool] = {}
        self.dtype: dict[str, object] = {}
        self.cache_enabled = True
        self.cache: dict = {}
        self.nesting = 0


CURRENT = _Current()


def _kind(device_type) -> str:
    return rushlight.device(device_type).type


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows this kind of device."""
    if not isinstance(device_type, str):
        raise TypeError(
            "is_autocast_available(): argument 'device_type' (position 1) must be str, "
            f"not {type(device_type).__name__}"
        )
    return _kind(device_type) in _BFLOAT16 + _FLOAT16


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether autocast is on for this kind of device; without one, for "cuda" (as PyTorch has
    it)."""
    return CURRENT.enabled.get("cuda" if device_type is None else _kind(device_type), False)


def set_autocast_enabled(device_type, enabled: bool | None = None) -> None:
    """Turn autocast on or off for a kind of device; with one argument, for "cuda"."""
    if enabled is None:
        device_type, enabled = "cuda", device_type
    if not isinstance(enabled, bool):
        raise TypeError(
            "set_autocast_enabled(): argument 'enabled' (position 2) must be bool, not "
            f"{type(enabled).__name__}"
        )
    CURRENT.enabled[_kind(device_type)] = enabled
    _tell_engine()


def _tell_engine() -> None:
    """The engine casts on the CPU: it is told the dtype of this thread, or None."""
    on = CURRENT.enabled.get("cpu", False)
    rushlight._autocast_engine(get_autocast_dtype("cpu") if on else None)


def get_autocast_dtype(device_type: str):
    """The dtype that autocast casts to on this kind of device."""
    kind = _kind(device_type)
    if kind in CURRENT.dtype:
        return CURRENT.dtype[kind]
    if kind in _BFLOAT16:
        return rushlight.bfloat16
    if kind in _FLOAT16:
        return rushlight.float16
    raise RuntimeError(
        f"autocast has no dtype for device type {kind!r}; it knows {sorted(_BFLOAT16 + _FLOAT16)}"
    )


def set_autocast_dtype(device_type: str, dtype) -> None:
    """Set the dtype that autocast casts to on this kind of device."""
    CURRENT.dtype[_kind(device_type)] = dtype
    _tell_engine()


def is_autocast_cache_enabled() -> bool:
    """Whether casted weights are kept until the outermost region ends."""
    return CURRENT.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Keep casted weights, or cast them at every use."""
    CURRENT.cache_enabled = enabled


def clear_autocast_cache() -> None:
    """Forget the casted weights."""
    CURRENT.cache.clear()


def autocast_increment_nesting() -> int:
    """Enter a region; returns how many are open."""
    CURRENT.nesting += 1
    return CURRENT.nesting


def autocast_decrement_nesting() -> int:
    """Leave a region; returns how many are still open."""
    CURRENT.nesting -= 1
    return CURRENT.nesting


def _for_device(old: str, new, kind: str):
    """The older name of `new` for one kind of device, which warns."""

    def function(*args):
        warnings.warn(
            f"{old}() is deprecated. Please use "
            f"{new.__name__}({kind!r}{', ...' if args else ''}) instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        return new(kind, *args)

    function.__name__ = function.__qualname__ = old
    function.__doc__ = f"Deprecated: {new.__name__}({kind!r})."
    return function


is_autocast_cpu_enabled = _for_device("is_autocast_cpu_enabled", is_autocast_enabled, "cpu")
set_autocast_cpu_enabled = _for_device("set_autocast_cpu_enabled", set_autocast_enabled, "cpu")
get_autocast_cpu_dtype = _for_device("get_autocast_cpu_dtype", get_autocast_dtype, "cpu")
set_autocast_cpu_dtype = _for_device("set_autocast_cpu_dtype", set_autocast_dtype, "cpu")
get_autocast_gpu_dtype = _for_device("get_autocast_gpu_dtype", get_autocast_dtype, "cuda")
set_autocast_gpu_dtype = _for_device("set_autocast_gpu_dtype", set_autocast_dtype, "cuda")

__all__ = [
    "autocast_decrement_nesting",
    "autocast_increment_nesting",
    "clear_autocast_cache",
    "get_autocast_cpu_dtype",
    "get_autocast_dtype",
    "get_autocast_gpu_dtype",
    "is_autocast_available",
    "is_autocast_cache_enabled",
    "is_autocast_cpu_enabled",
    "is_autocast_enabled",
    "set_autocast_cache_enabled",
    "set_autocast_cpu_dtype",
    "set_autocast_cpu_enabled",
    "set_autocast_dtype",
    "set_autocast_enabled",
    "set_autocast_gpu_dtype",
]
