"""GradScaler: multiply the loss so that float16 gradients do not vanish, divide the gradients
before the step.

The scale adapts itself: a step with an infinite or undefined gradient is skipped and lowers it by
backoff_factor; growth_interval steps in a row without one raise it by growth_factor. Micikevicius
et al., "Mixed Precision Training", 2018.

Invariants. Between two `update()` calls an optimizer goes READY -> UNSCALED -> STEPPED, never
twice. The scale is a float32 tensor made at the first `scale()`, on that output's device. Disabled,
every method passes its argument on.
"""

import warnings
from collections import defaultdict
from collections.abc import Iterable
from enum import Enum

import rushlight
from rushlight import Tensor

from .autocast_mode import cuda_is_available

__all__ = ["GradScaler", "OptState"]


class OptState(Enum):
    """How far an optimizer has come since the last update."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh_state() -> dict:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


class GradScaler:
    """Scales losses and unscales gradients.

    Args:
        device: "cuda" or "cpu"; on "cuda" without a GPU the scaler warns and is disabled.
        init_scale: the first scale.
        growth_factor: more than 1.
        backoff_factor: less than 1.
        growth_interval: steps without an infinity after which the scale grows.
        enabled: False makes every method a no-op.

    ::

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)  # only if the gradients are to be looked at or clipped
        scaler.step(optimizer)
        scaler.update()
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = enabled
        if enabled and device == "cuda" and not cuda_is_available():
            warnings.warn(
                "GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2
            )
            self._enabled = False
        if not self._enabled:
            return
        if growth_factor <= 1.0:
            raise AssertionError(f"The growth factor must be > 1.0. Got {growth_factor}")
        if backoff_factor >= 1.0:
            raise AssertionError(f"The backoff factor must be < 1.0. Got {backoff_factor}")
        self._init_scale = init_scale
        self._scale: Tensor | None = None
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._init_growth_tracker = 0
        self._growth_tracker: Tensor | None = None
        self._per_optimizer_states: defaultdict[int, dict] = defaultdict(_fresh_state)

    def _check_scale_growth_tracker(self, funcname: str) -> tuple[Tensor, Tensor]:
        if self._scale is None or self._growth_tracker is None:
            raise AssertionError(
                f"Attempted {funcname} but _scale is None.  This may indicate your script "
                "did not use "
                "scaler.scale(loss or outputs) earlier in the iteration."
            )
        return self._scale, self._growth_tracker

    def _lazy_init_scale_growth_tracker(self, device) -> None:
        self._scale = rushlight.full((), self._init_scale, dtype=rushlight.float32, device=device)
        self._growth_tracker = rushlight.full(
            (), self._init_growth_tracker, dtype=rushlight.int32, device=device
        )

    def scale(self, outputs):
        """The outputs times the scale: a tensor, or an iterable of tensors, nested as it is."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._lazy_init_scale_growth_tracker(outputs.device)
            return outputs * self._scale.to(device=outputs.device)
        if isinstance(outputs, list | tuple):
            return type(outputs)(self.scale(x) for x in outputs)
        if isinstance(outputs, Iterable) and not isinstance(outputs, str | bytes):
            return map(self.scale, outputs)
        raise ValueError(
            f"outputs must be a Tensor or an iterable of Tensors, but got {type(outputs).__name__}"
        )

    def _unscale_grads_(
        self, optimizer, inv_scale: Tensor, found_inf: Tensor, allow_fp16: bool
    ) -> dict:
        """Multiply the gradients in place; the result says, for each device, whether one was not
        finite."""
        seen: dict = {}
        with rushlight.no_grad():
            for group in optimizer.param_groups:
                for p in group["params"]:
                    g = p.grad
                    if g is None:
                        continue
                    if not allow_fp16 and g.dtype == rushlight.float16:
                        raise ValueError(
                            "Attempting to unscale FP16 gradients. Keep the parameters in "
                            "float32 and let autocast "
                            "run the forward pass in float16."
                        )
                    values = g._values() if g.is_sparse else g
                    device = values.device
                    if device not in seen:
                        seen[device] = found_inf.to(device).clone()
                    if not values.isfinite().all():
                        seen[device].fill_(1.0)
                    values.mul_(inv_scale.to(device))
        return seen

    def unscale_(self, optimizer) -> None:
        """Divide the optimizer's gradients by the scale, once an iteration, before they are
        clipped, say."""
        if not self._enabled:
            return
        self._check_scale_growth_tracker("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        # The reciprocal of a float32 scale is rounded once, from float64.
        inv_scale = self._scale.double().reciprocal().float()
        found_inf = rushlight.full((), 0.0, dtype=rushlight.float32, device=self._scale.device)
        state["found_inf_per_device"] = self._unscale_grads_(optimizer, inv_scale, found_inf, False)
        state["stage"] = OptState.UNSCALED

    def step(self, optimizer, *args, **kwargs):
        """Unscale the gradients if that is still to be done, then step unless one is infinite or
        undefined.

        Returns what `optimizer.step(*args, **kwargs)` returns, None for a skipped step. A closure
        is not supported.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_scale_growth_tracker("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if state["stage"] is OptState.READY:
            self.unscale_(optimizer)
        if not state["found_inf_per_device"]:
            raise AssertionError(
                "No inf checks were recorded for this optimizer: none of its parameters has "
                "a gradient."
            )
        out = None
        if not sum(flag.item() for flag in state["found_inf_per_device"].values()):
            out = optimizer.step(*args, **kwargs)
        state["stage"] = OptState.STEPPED
        return out

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale after the steps of an iteration, or set it to `new_scale`."""
        if not self._enabled:
            return
        scale, tracker = self._check_scale_growth_tracker("update")
        if new_scale is None:
            self._adapt(scale, tracker)
        elif isinstance(new_scale, Tensor):
            if new_scale.numel() != 1 or new_scale.requires_grad:
                raise AssertionError(
                    "new_scale should be a float or a 1-element tensor with "
                    "requires_grad=False, but it has "
                    f"{new_scale.numel()} elements and requires_grad={new_scale.requires_grad}"
                )
            scale.copy_(new_scale.reshape(()))
        else:
            scale.fill_(new_scale)
        self._per_optimizer_states = defaultdict(_fresh_state)

    def _adapt(self, scale: Tensor, tracker: Tensor) -> None:
        found = [
            flag.item()
            for state in self._per_optimizer_states.values()
            for flag in state["found_inf_per_device"].values()
        ]
        if not found:
            raise AssertionError("No inf checks were recorded prior to update.")
        if any(found):
            scale.mul_(self._backoff_factor)
            tracker.fill_(0)
            return
        steps = tracker.item() + 1
        if steps == self._growth_interval:
            grown = scale * self._growth_factor
            if grown.isfinite():
                scale.copy_(grown)
            steps = 0
        tracker.fill_(steps)

    def get_scale(self) -> float:
        """The scale as a Python float, 1.0 if disabled."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        return (
            self._init_growth_tracker
            if self._growth_tracker is None
            else self._growth_tracker.item()
        )

    def get_growth_factor(self) -> float:
        """The factor by which the scale grows."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set the factor by which the scale grows."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """The factor by which an infinity lowers the scale."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set the factor by which an infinity lowers the scale."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many steps without an infinity raise the scale."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many steps without an infinity raise the scale."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def state_dict(self) -> dict:
        """Scale, factors, interval and growth count; empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over what `state_dict()` gave; nothing if disabled."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a "
                "disabled instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        if self._scale is not None:
            self._scale.fill_(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._growth_tracker is not None:
            self._growth_tracker.fill_(state_dict["_growth_tracker"])

    def __getstate__(self) -> dict:
        state = self.__dict__.copy()
        if self._enabled:
            if self._per_optimizer_states:
                raise AssertionError(
                    "A GradScaler instance may only be pickled at the beginning of an "
                    "iteration, or at the end after "
                    "scaler.update()."
                )
            state["_init_scale"] = self.get_scale()
            state["_init_growth_tracker"] = self._get_growth_tracker()
            state["_scale"] = None
            state["_growth_tracker"] = None
        return state
