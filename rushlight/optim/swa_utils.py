"""Averages of weights along the training path.

`AveragedModel` keeps a copy of a model whose parameters are a running mean (stochastic weight
averaging) or an exponential one (EMA) of the model's; `SWALR` brings the learning rate to the
constant one that weight averaging wants; `update_bn` computes the batch-norm statistics that the
averaged weights need.

Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018; Polyak
and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.
"""

import itertools
import math
from copy import deepcopy

import rushlight
from rushlight import Tensor
from rushlight.nn import Module
from rushlight.nn.modules.batchnorm import _BatchNorm

from .lr_scheduler import LRScheduler
from .lr_scheduler.base import per_group

__all__ = [
    "AveragedModel",
    "SWALR",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


def _mean_of_two(old, new, weight):
    """old + weight (new - old), in place; integers (a count of batches, say) are rounded towards
    zero."""
    if old.is_floating_point() or old.is_complex():
        old.lerp_(new, weight)
    else:
        old.copy_(old * (1 - weight) + new * weight)


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def get_ema_multi_avg_fn(decay=0.999):
    """A `multi_avg_fn`: average <- decay * average + (1 - decay) * current, for lists of
    tensors."""
    _check_decay(decay)

    @rushlight.no_grad()
    def ema_update(ema_param_list, current_param_list, _):
        for old, new in zip(ema_param_list, current_param_list, strict=True):
            _mean_of_two(old, new, 1 - decay)

    return ema_update


def get_swa_multi_avg_fn():
    """A `multi_avg_fn`: average <- average + (current - average) / (num_averaged + 1), for lists of
    tensors."""

    @rushlight.no_grad()
    def swa_update(averaged_param_list, current_param_list, num_averaged):
        weight = 1 / (num_averaged + 1)
        if isinstance(weight, Tensor):
            weight = weight.item()
        for old, new in zip(averaged_param_list, current_param_list, strict=True):
            _mean_of_two(old, new, weight)

    return swa_update


def get_ema_avg_fn(decay=0.999):
    """An `avg_fn`: decay * average + (1 - decay) * current."""
    _check_decay(decay)

    @rushlight.no_grad()
    def ema_update(ema_param, current_param, num_averaged):
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn():
    """An `avg_fn`: average + (current - average) / (num_averaged + 1)."""

    @rushlight.no_grad()
    def swa_update(averaged_param, current_param, num_averaged):
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


class AveragedModel(Module):
    """A copy of a model whose parameters are averages of the model's.

    Args:
        model: the model to copy.
        device: where to keep the copy.
        avg_fn: avg_fn(average, current, num_averaged) returns the new average of one tensor.
        multi_avg_fn: multi_avg_fn(averages, currents, num_averaged) updates lists of tensors in
            place. Without either, the equal mean of all models is kept.
        use_buffers: average buffers too; otherwise the latest ones are copied.

    Call `update_parameters(model)` after each step; the first call copies. `module` is the averaged
    model and `n_averaged` counts the calls.
    """

    def __init__(
        self, model: Module, device=None, avg_fn=None, multi_avg_fn=None, use_buffers=False
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", rushlight.tensor(0, dtype=rushlight.long, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        """The averaged model's forward."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Take `model`'s parameters into the average."""

        def tensors(module):
            buffers = module.buffers() if self.use_buffers else ()
            return [x.detach() for x in itertools.chain(module.parameters(), buffers)]

        old, new = tensors(self.module), tensors(model)
        new = [x.to(y.device) for x, y in zip(new, old, strict=True)]
        if self.n_averaged == 0:
            for x, y in zip(old, new, strict=True):
                x.copy_(y)
        elif self.multi_avg_fn is not None:
            for kind in {(x.device, x.dtype): None for x in old}:
                pairs = [
                    (x, y) for x, y in zip(old, new, strict=True) if (x.device, x.dtype) == kind
                ]
                self.multi_avg_fn(
                    [x for x, _ in pairs], [y for _, y in pairs], self.n_averaged.to(kind[0])
                )
        else:
            average = self.avg_fn or get_swa_avg_fn()
            for x, y in zip(old, new, strict=True):
                x.copy_(average(x, y, self.n_averaged.to(x.device)))
        if not self.use_buffers:
            for x, y in zip(self.module.buffers(), model.buffers(), strict=True):
                x.detach().copy_(y.detach().to(x.device))
        self.n_averaged += 1


@rushlight.no_grad()
def update_bn(loader, model: Module, device=None) -> None:
    """Compute the running statistics of the model's batch-norm layers anew, in one pass over the
    data.

    Args:
        loader: yields batches; of a list or tuple the first item is the input.
        model: the model, whose mode (train or eval) is kept.
        device: where to send the input first.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    if not layers:
        return
    for layer in layers:
        layer.reset_running_stats()
    momenta = [layer.momentum for layer in layers]
    was_training = model.training
    model.train()
    for layer in layers:
        layer.momentum = None  # the equal mean of all batches
    for batch in loader:
        x = batch[0] if isinstance(batch, list | tuple) else batch
        model(x if device is None else x.to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Anneal the rates to fixed ones and keep those.

    Args:
        optimizer: the optimizer.
        swa_lr: the final rate, one for all groups or a list of one a group.
        anneal_epochs: length of the transition, 0 for none.
        anneal_strategy: "cos" or "linear".
        last_epoch: see `LRScheduler`.
    """

    def __init__(
        self,
        optimizer,
        swa_lr: float,
        anneal_epochs=10,
        anneal_strategy: str = "cos",
        last_epoch=-1,
    ) -> None:
        for rate, group in zip(
            per_group("swa_lr", swa_lr, optimizer), optimizer.param_groups, strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _share(self, step) -> float:
        """The share of the final rate at a step, 0 to 1."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    @staticmethod
    def _get_initial_lr(lr, swa_lr, alpha):
        """The rate from which a share alpha of the way to swa_lr leads to lr."""
        return swa_lr if alpha == 1 else (lr - alpha * swa_lr) / (1 - alpha)

    def get_lr(self):
        self._warn_outside_step()
        # Other schedulers may have moved the rate: go on from the start that it now implies.
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._share(step - 1), self._share(step)
        rates = []
        for group in self.optimizer.param_groups:
            start = self._get_initial_lr(group["lr"], group["swa_lr"], before)
            rates.append(group["swa_lr"] * now + start * (1 - now))
        return rates
