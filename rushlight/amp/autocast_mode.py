"""autocast: a region in which the engine may run operations in a lower dtype.

The context turns the switches of `state.py` and turns them back; the casting itself is done by the
engine, which reads them. Regions nest, and a region with enabled=False inside one switches casting
off there.
"""

import functools
import warnings
from collections.abc import Mapping

import rushlight
from rushlight import Tensor

from . import state
from .state import is_autocast_available

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]


def cuda_is_available() -> bool:
    cuda = getattr(rushlight, "cuda", None)
    return cuda is not None and cuda.is_available()


class autocast:  # noqa: N801
    """Context manager and decorator: run suitable operations of this region in a lower dtype.

    Args:
        device_type: "cpu", "cuda", ...: the devices whose operations are meant.
        dtype: the lower dtype; default `get_autocast_dtype(device_type)`: bfloat16 on the CPU,
            float16 on a GPU.
        enabled: False makes a region without casting.
        cache_enabled: keep casted weights until the outermost region ends; default as it is.

    Which operations are cast is up to the engine; an engine without casting runs the region in the
    dtypes it is given. Warns, and is disabled, where the device or its dtype is not available.
    """

    def __init__(
        self,
        device_type: str,
        dtype=None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.fast_dtype = state.get_autocast_dtype(device_type) if dtype is None else dtype
        self.device = device_type
        if not is_autocast_available(device_type):
            raise RuntimeError(
                f"User specified an unsupported autocast device_type '{device_type}'"
            )
        if enabled and device_type == "cuda" and not cuda_is_available():
            warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=2)
            enabled = False
        if (
            enabled
            and device_type == "cpu"
            and self.fast_dtype not in (rushlight.bfloat16, rushlight.float16)
        ):
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        self._cache_enabled = (
            state.is_autocast_cache_enabled() if cache_enabled is None else cache_enabled
        )
        self._enabled = enabled
        self._outer: list[
            tuple
        ] = []  # what to restore; a stack, since one object may be entered again

    def __enter__(self):
        device = self.device
        before = (
            state.is_autocast_enabled(device),
            state.get_autocast_dtype(device),
            state.is_autocast_cache_enabled(),
        )
        self._outer.append(before)
        state.set_autocast_enabled(device, self._enabled)
        state.set_autocast_dtype(device, self.fast_dtype)
        state.set_autocast_cache_enabled(self._cache_enabled)
        state.autocast_increment_nesting()
        return self

    def __exit__(self, exc_type, exc_val, exc_tb):
        if state.autocast_decrement_nesting() == 0:
            state.clear_autocast_cache()
        enabled, dtype, cache = self._outer.pop()
        state.set_autocast_enabled(self.device, enabled)
        state.set_autocast_dtype(self.device, dtype)
        state.set_autocast_cache_enabled(cache)
        return False

    def __call__(self, func):
        @functools.wraps(func)
        def decorate_autocast(*args, **kwargs):
            with self:
                return func(*args, **kwargs)

        return decorate_autocast


def _cast(value, device_type: str, dtype):
    """Floating tensors of the device, float64 excepted, in `dtype`; containers likewise."""
    if isinstance(value, Tensor):
        eligible = (
            value.is_floating_point()
            and value.device.type == device_type
            and value.dtype != rushlight.float64
        )
        return value.to(dtype) if eligible else value
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping):
        return {
            _cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return type(value)(_cast(v, device_type, dtype) for v in value)
    return value


def _check_device(device_type) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def custom_fwd(fwd=None, *, device_type: str, cast_inputs=None):
    """Decorator of a custom Function's forward.

    Without `cast_inputs` forward sees the region's autocast as it is. With it, in an enabled
    region, floating inputs of the device are cast to that dtype and forward runs with autocast off.
    `custom_bwd` reads what is noted on ctx.
    """
    _check_device(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorate_fwd(*args, **kwargs):
        ctx = args[0]
        ctx._dtype = state.get_autocast_dtype(device_type)
        enabled = state.is_autocast_enabled(device_type)
        if cast_inputs is None:
            ctx._fwd_used_autocast = enabled
            return fwd(*args, **kwargs)
        ctx._fwd_used_autocast = False
        if not enabled:
            return fwd(*args, **kwargs)
        with autocast(device_type=device_type, enabled=False):
            return fwd(
                ctx,
                *_cast(args[1:], device_type, cast_inputs),
                **_cast(kwargs, device_type, cast_inputs),
            )

    return decorate_fwd


def custom_bwd(bwd=None, *, device_type: str):
    """Decorator of a custom Function's backward: run it with the autocast state of its forward."""
    _check_device(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorate_bwd(*args, **kwargs):
        ctx = args[0]
        with autocast(device_type=device_type, enabled=ctx._fwd_used_autocast, dtype=ctx._dtype):
            return bwd(*args, **kwargs)

    return decorate_bwd
