"""Adadelta: steps scaled by the ratio of two running root mean squares.

    v <- rho v + (1 - rho) g^2
    delta = sqrt(u + eps) / sqrt(v + eps) * g
    u <- rho u + (1 - rho) delta^2          p <- p - lr delta

Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012.
"""

import rushlight
from rushlight import Tensor

from ._common import check_lr, check_nonnegative, number, require, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """Adadelta, which needs no learning rate of the right scale.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: multiplies the step.
        rho: decay rate of both running means, 0 to 1.
        eps: added under the roots.
        weight_decay: adds weight_decay * p to the gradient.
        foreach, capturable, maximize, differentiable: as in `Adam`.
    """

    _tensor_state = ("step",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        require(0.0 <= rho <= 1.0, f"Invalid rho value: {rho}; expected 0 <= rho <= 1")
        check_nonnegative("epsilon value", eps)
        check_nonnegative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, p, g, state, group):
        state["step"] = self._new_step(p, group)
        state["square_avg"] = rushlight.zeros_like(p)
        state["acc_delta"] = rushlight.zeros_like(p)

    def _rule(self, group):
        alpha, rho, eps = number(-scalar(group["lr"])), group["rho"], group["eps"]
        w, recorded = 1 - rho, group["differentiable"]

        def update(p, g, state):
            v, u = state["square_avg"], state["acc_delta"]
            state["step"].add_(1)
            v.mul_(rho).addcmul_(g, g, value=w)
            std = v.add(eps).sqrt_()
            delta = u.add(eps).sqrt_()
            delta = delta / std * g if recorded else delta.div_(std).mul_(g)
            u.mul_(rho).addcmul_(delta, delta, value=w)
            p.add_(delta, alpha=alpha)

        return update
