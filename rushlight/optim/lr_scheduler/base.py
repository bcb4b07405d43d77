"""The base of schedulers: counts steps, asks `get_lr()` for the rates and writes them into the
parameter groups.

Mechanism. A schedule exists in two forms. The chainable form, `get_lr()`, makes the next rate from
the rate that the group has now, so that several schedulers can act on one optimizer. The closed
form, `_get_closed_form_lr()`, makes it from `base_lrs` and `last_epoch`, and is what `step(epoch)`
uses where it exists. They agree up to rounding.

Invariants.
- `last_epoch` is -1 before the first, automatic, step and 0 after it; a group's starting rate is
  its "initial_lr".
- A rate that is a tensor is written in place: an optimizer or a compiled program that holds it sees
  the new value.
- `state_dict()` is everything but the optimizer, under PyTorch's names.
"""

import contextlib
import functools
import warnings
import weakref

from rushlight import Tensor

from .._common import number
from ..optimizer import Optimizer

EPOCH_DEPRECATION_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated "
    "where possible. Please use "
    "`scheduler.step()` to step the scheduler. During the deprecation, if epoch is different "
    "from None, the closed "
    "form is used instead of the new chainable form, where available."
)

_ORDER = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. Call them in the "
    "opposite order: "
    "`optimizer.step()` before `lr_scheduler.step()`. Failure to do this will result in "
    "skipping the first value of "
    "the learning rate schedule."
)
_OVERRIDDEN = (
    "Seems like `optimizer.step()` has been overridden after learning rate scheduler "
    "initialization. Please, make "
    "sure to call `optimizer.step()` before `lr_scheduler.step()`."
)


def copied(x):
    """A rate that later in-place changes of the original do not reach."""
    return x.clone() if isinstance(x, Tensor) else x


def group_values(optimizer: Optimizer, key: str = "lr") -> list:
    return [copied(group[key]) for group in optimizer.param_groups]


def set_value(group: dict, key: str, value) -> None:
    """Give a group's hyper-parameter a new value, in place if it is a tensor."""
    if isinstance(group[key], Tensor):
        group[key].fill_(number(value))
    else:
        group[key] = value


def per_group(name: str, value, optimizer: Optimizer) -> list:
    """One value a group, from one value for all or from a list of the right length."""
    groups = optimizer.param_groups
    if isinstance(value, list | tuple):
        if len(value) != len(groups):
            raise ValueError(
                f"{name} must have the same length as optimizer.param_groups. "
                f"{name} has {len(value)} values, param_groups has {len(groups)}."
            )
        return list(value)
    return [value] * len(groups)


def check_optimizer(optimizer) -> None:
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def watch_step(optimizer: Optimizer) -> None:
    """Have the optimizer remember, as `_opt_called`, that its `step` ran."""
    bound = optimizer.step
    if getattr(bound, "_wrapped_by_lr_sched", False):
        return
    func, ref = bound.__func__, weakref.ref(optimizer)

    @functools.wraps(func)
    def step(*args, **kwargs):
        optimizer = ref()
        optimizer._opt_called = True
        return func(optimizer, *args, **kwargs)

    step._wrapped_by_lr_sched = True
    optimizer.step = step


class LRScheduler:
    """Base class of schedulers; a subclass defines `get_lr()`.

    Args:
        optimizer: the optimizer whose groups get the rates.
        last_epoch: -1 to start; otherwise the epoch to go on after, and every group must have
            "initial_lr".

    Within `get_lr()`, `self.last_epoch` is the epoch to give rates for, `self.base_lrs` are the
    starting rates and `self.optimizer.param_groups` hold the present ones.
    """

    _get_lr_called_within_step: bool = False
    _is_initial: bool = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    "scheduler with last_epoch >= 0. Load the optimizer's state dict first, which "
                    "holds it, or start with last_epoch=-1 and load the scheduler's state dict."
                )
        self.base_lrs = group_values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        watch_step(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        """The automatic step that sets the rates of the first epoch."""
        self._step_count = 0
        with self._flag("_is_initial"):
            self.step()

    @contextlib.contextmanager
    def _flag(self, name):
        setattr(self, name, True)
        try:
            yield
        finally:
            setattr(self, name, False)

    def state_dict(self) -> dict:
        """Every attribute but the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict) -> None:
        """Take over the attributes that `state_dict()` gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list:
        """The rates that the last step wrote, one a group."""
        return self._last_lr

    def get_lr(self) -> list:
        """The rates of epoch `last_epoch`, one a group, in the chainable form."""
        raise NotImplementedError(f"{type(self).__name__} must define get_lr()")

    def _warn_outside_step(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, "
                "please use `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch, or to `epoch` (deprecated), and write its rates into the groups."""
        self._check_order()
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_DEPRECATION_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _check_order(self) -> None:
        """Warn, at the first step of the user's, if the optimizer has not stepped before."""
        if self._step_count != 1:
            return
        if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
            warnings.warn(_OVERRIDDEN, UserWarning, stacklevel=3)
        elif not getattr(self.optimizer, "_opt_called", False):
            warnings.warn(_ORDER, UserWarning, stacklevel=3)

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._flag("_get_lr_called_within_step"):
            if epoch is None:
                self.last_epoch += 1
                rates = self.get_lr()
            else:
                self.last_epoch = epoch
                closed = getattr(self, "_get_closed_form_lr", None)
                rates = self.get_lr() if closed is None else closed()
        self._write(rates)

    def _write(self, rates) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            set_value(group, "lr", rate)
        self._last_lr = group_values(self.optimizer)


def save_functions(functions) -> list:
    """The state of callable objects; None for plain functions, which a checkpoint cannot hold."""
    return [None if hasattr(f, "__code__") else f.__dict__.copy() for f in functions]


def load_functions(functions, saved) -> None:
    for f, kept in zip(functions, saved, strict=True):
        if kept is not None:
            f.__dict__.update(kept)
