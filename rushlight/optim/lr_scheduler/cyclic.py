"""Schedules that move the rate up and down and the momentum the other way.

Both keep their bounds in the parameter groups ("max_lr", "base_momentum", ...), as PyTorch does, so
that they travel with the optimizer's checkpoint. The momentum is "momentum", or the first of
"betas".

Smith, "Cyclical Learning Rates for Training Neural Networks", 2017; Smith and Topin,
"Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2018.
"""

import math
import types
from functools import partial

from .base import LRScheduler, check_optimizer, copied, per_group, set_value

__all__ = ["CyclicLR", "OneCycleLR"]


def _uses_beta1(optimizer, what: str) -> bool:
    """Whether the momentum is the first of "betas"; ValueError if there is none."""
    if "momentum" in optimizer.defaults:
        return False
    if "betas" in optimizer.defaults:
        return True
    raise ValueError(
        "optimizer must support momentum or beta1 with `cycle_momentum` option enabled, but "
        f"{what} has neither; "
        "write cycle_momentum=False"
    )


def _set_momentum(group: dict, value, beta1: bool) -> None:
    if beta1:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class CyclicLR(LRScheduler):
    """The rate goes from base_lr to max_lr in step_size_up batches, back in step_size_down, and
    again.

    Args:
        optimizer: the optimizer.
        base_lr, max_lr: the bounds, one for all groups or a list of one a group.
        step_size_up, step_size_down: batches of the rise and of the fall (default: as many as of
            the rise).
        mode: "triangular", "triangular2" (the height halves every cycle) or "exp_range" (height
            gamma ** batch).
        gamma: for "exp_range".
        scale_fn: own factor of the height, a function of what scale_mode says; mode is then
            ignored.
        scale_mode: "cycle" or "iterations".
        cycle_momentum: move the momentum between max_momentum (at base_lr) and base_momentum (at
            max_lr).
        base_momentum, max_momentum: its bounds, one for all groups or a list.
        last_epoch: the last batch, see `LRScheduler`.

    To be stepped after every batch.
    """

    def __init__(
        self,
        optimizer,
        base_lr: float | list[float],
        max_lr: float | list[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn=None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float = 0.8,
        max_momentum: float = 0.9,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        base_lrs = per_group("base_lr", base_lr, optimizer)
        if last_epoch == -1:
            for rate, group in zip(base_lrs, optimizer.param_groups, strict=True):
                set_value(group, "lr", rate)
        self.max_lrs = per_group("max_lr", max_lr, optimizer)

        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size

        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise ValueError(
                "mode is invalid and scale_fn is None: expected 'triangular', 'triangular2' "
                "or 'exp_range', "
                f"but got {mode!r}"
            )
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        self.scale_mode = scale_mode
        self._init_scale_fn()

        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer, type(optimizer).__name__)
            self.base_momentums = per_group("base_momentum", base_momentum, optimizer)
            self.max_momentums = per_group("max_momentum", max_momentum, optimizer)
            if last_epoch == -1:
                for high, low, group in zip(
                    self.max_momentums, self.base_momentums, optimizer.param_groups, strict=True
                ):
                    _set_momentum(group, high, self.use_beta1)
                    group["max_momentum"] = high
                    group["base_momentum"] = low
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def _init_scale_fn(self) -> None:
        if self._scale_fn_custom is not None:
            return
        if self.mode == "triangular":
            self._scale_fn_ref = self._triangular_scale_fn
            self.scale_mode = "cycle"
        elif self.mode == "triangular2":
            self._scale_fn_ref = self._triangular2_scale_fn
            self.scale_mode = "cycle"
        elif self.mode == "exp_range":
            self._scale_fn_ref = partial(self._exp_range_scale_fn, self.gamma)
            self.scale_mode = "iterations"

    def scale_fn(self, x) -> float:
        """The factor of the height at cycle or batch x."""
        return self._scale_fn_ref(x) if self._scale_fn_custom is None else self._scale_fn_custom(x)

    @staticmethod
    def _triangular_scale_fn(x: float) -> float:
        return 1.0

    @staticmethod
    def _triangular2_scale_fn(x: float) -> float:
        return 1 / (2.0 ** (x - 1))

    @staticmethod
    def _exp_range_scale_fn(gamma: float, x: float) -> float:
        return gamma**x

    def get_lr(self):
        self._warn_outside_step()
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        height = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        at = cycle if self.scale_mode == "cycle" else self.last_epoch
        rates = []
        for base, most in zip(self.base_lrs, self.max_lrs, strict=True):
            rates.append(base + (most - base) * height * self.scale_fn(at))
        if self.cycle_momentum:
            for low, high, group in zip(
                self.base_momentums, self.max_momentums, self.optimizer.param_groups, strict=True
            ):
                value = high - (high - low) * height * self.scale_fn(at)
                _set_momentum(group, value, self.use_beta1)
        return rates

    def state_dict(self) -> dict:
        """Every attribute but the optimizer; of a custom scale_fn only the attributes, if it is an
        object."""
        state = super().state_dict()
        state.pop("_scale_fn_ref", None)
        custom = state.pop("_scale_fn_custom")
        state["_scale_fn_custom"] = None
        if custom is not None and not isinstance(custom, types.FunctionType):
            state["_scale_fn_custom"] = custom.__dict__.copy()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over the attributes that `state_dict()` gave."""
        custom = state_dict["_scale_fn_custom"]
        self.__dict__.update({k: v for k, v in state_dict.items() if k != "_scale_fn_custom"})
        if custom is not None:
            self._scale_fn_custom.__dict__.update(custom)
        self._init_scale_fn()


class OneCycleLR(LRScheduler):
    """One cycle: from max_lr / div_factor up to max_lr, then down to far below the start.

    Args:
        optimizer: the optimizer.
        max_lr: the top, one for all groups or a list of one a group.
        total_steps: length of the cycle in batches, or give epochs and steps_per_epoch.
        pct_start: part of the cycle that is the rise.
        anneal_strategy: "cos" or "linear".
        cycle_momentum: move the momentum between max_momentum (at the ends) and base_momentum (at
            the top).
        base_momentum, max_momentum: its bounds, one for all groups or a list.
        div_factor: initial_lr = max_lr / div_factor.
        final_div_factor: min_lr = initial_lr / final_div_factor.
        three_phase: first fall back to initial_lr as long as the rise was, then on to min_lr.
        last_epoch: the last batch, see `LRScheduler`.

    To be stepped after every batch; ValueError after total_steps of them.
    """

    def __init__(
        self,
        optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        if not isinstance(pct_start, float | int) or not 0 <= pct_start <= 1:
            raise ValueError(f"Expected float between 0 and 1 pct_start, but got {pct_start}")
        self._schedule_phases = _phases(self.total_steps, pct_start, three_phase)
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_func_type = anneal_strategy

        if last_epoch == -1:
            for top, group in zip(
                per_group("max_lr", max_lr, optimizer), optimizer.param_groups, strict=True
            ):
                group["initial_lr"] = top / div_factor
                group["max_lr"] = top
                group["min_lr"] = group["initial_lr"] / final_div_factor

        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _uses_beta1(optimizer, type(optimizer).__name__)
            if last_epoch == -1:
                highs = per_group("max_momentum", max_momentum, optimizer)
                lows = per_group("base_momentum", base_momentum, optimizer)
                for high, low, group in zip(highs, lows, optimizer.param_groups, strict=True):
                    _set_momentum(group, high, self.use_beta1)
                    group["max_momentum"] = high
                    group["base_momentum"] = low
        super().__init__(optimizer, last_epoch)

    def _anneal_func(self, *args, **kwargs):
        if self._anneal_func_type == "cos":
            return self._annealing_cos(*args, **kwargs)
        return self._annealing_linear(*args, **kwargs)

    @staticmethod
    def _annealing_cos(start, end, pct):
        """From start to end along half a cosine as pct goes from 0 to 1."""
        return end + (start - end) / 2.0 * (math.cos(math.pi * pct) + 1)

    @staticmethod
    def _annealing_linear(start, end, pct):
        return (end - start) * pct + start

    def get_lr(self):
        self._warn_outside_step()
        step = self.last_epoch
        if step > self.total_steps:
            raise ValueError(
                f"Tried to step {step} times. The specified number of total steps is "
                f"{self.total_steps}"
            )
        start_step = 0.0
        for phase in self._schedule_phases:
            end_step = phase["end_step"]
            if step <= end_step or phase is self._schedule_phases[-1]:
                break
            start_step = end_step
        pct = (step - start_step) / (end_step - start_step)
        rates = []
        for group in self.optimizer.param_groups:
            rates.append(
                copied(self._anneal_func(group[phase["start_lr"]], group[phase["end_lr"]], pct))
            )
            if self.cycle_momentum:
                ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
                _set_momentum(group, self._anneal_func(*ends, pct), self.use_beta1)
        return rates


def _total_steps(total_steps, epochs, steps_per_epoch) -> int:
    def positive(name, value):
        if value <= 0 or not isinstance(value, int):
            raise ValueError(f"Expected positive integer {name}, but got {value}")
        return value

    if total_steps is not None:
        return positive("total_steps", total_steps)
    if epochs is None or steps_per_epoch is None:
        raise ValueError("You must define either total_steps OR (epochs AND steps_per_epoch)")
    return positive("epochs", epochs) * positive("steps_per_epoch", steps_per_epoch)


def _phases(total: int, pct_start: float, three_phase: bool) -> list[dict]:
    """The phases as (end, rate from, rate to, momentum from, momentum to), the names being those of
    group entries."""
    top = float(pct_start * total) - 1
    rise = (top, "initial_lr", "max_lr", "max_momentum", "base_momentum")
    if three_phase:
        rows = [
            rise,
            (
                float(2 * pct_start * total) - 2,
                "max_lr",
                "initial_lr",
                "base_momentum",
                "max_momentum",
            ),
            (total - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum"),
        ]
    else:
        rows = [rise, (total - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]
    keys = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    return [dict(zip(keys, row, strict=True)) for row in rows]
