"""Adamax: Adam whose second moment is a decaying maximum.

    m <- b1 m + (1 - b1) g          u <- max(b2 u, |g| + eps)
    p <- p - lr / (1 - b1^t) * m / u

Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014, section 7.1. The maximum has no
bias to correct.
"""

import rushlight
from rushlight import Tensor

from ._common import check_betas, check_lr, check_nonnegative, number, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["Adamax"]


class Adamax(Optimizer):
    """Adamax, the infinity-norm variant of Adam.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate, a number or a one-element tensor.
        betas: decay rates of the mean and of the maximum.
        eps: added to |g| before the maximum is taken.
        weight_decay: adds weight_decay * p to the gradient.
        foreach, maximize, differentiable, capturable: as in `Adam`.
    """

    _tensor_state = ("step",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_nonnegative("epsilon value", eps)
        check_betas(betas)
        check_nonnegative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, p, g, state, group):
        state["step"] = self._new_step(p, group)
        state["exp_avg"] = rushlight.zeros_like(p)
        state["exp_inf"] = rushlight.zeros_like(p)

    def _rule(self, group):
        lr, eps, (beta1, beta2) = scalar(group["lr"]), group["eps"], group["betas"]
        w1, recorded = 1 - beta1, group["differentiable"]

        def update(p, g, state):
            t, m, u = state["step"], state["exp_avg"], state["exp_inf"]
            t.add_(1)
            m.lerp_(g, w1)
            u.mul_(beta2)
            size = g.abs().add_(eps)
            if recorded:
                u.copy_(rushlight.maximum(u.clone(), size))
                m, u = m.clone(), u.clone()  # later steps overwrite what this one's gradient needs
            else:
                u.copy_(u.maximum(size))
            p.addcdiv_(m, u, value=number(-(lr / (1 - beta1 ** t.item()))))

        return update
