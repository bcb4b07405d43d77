"""RAdam: Adam that waits for the variance of its denominator to settle.

    r_inf = 2 / (1 - b2) - 1          r_t = r_inf - 2 t b2^t / (1 - b2^t)
    p <- p - lr m_hat l r             where r_t > 5:  l = sqrt(1 - b2^t) / (sqrt(v) + eps),
                                      r = sqrt((r_t - 4)(r_t - 2) r_inf / ((r_inf - 4)(r_inf - 2)
                                      r_t))
    p <- p - lr m_hat                 before

Liu et al., "On the Variance of the Adaptive Learning Rate and Beyond", 2019.
"""

import rushlight
from rushlight import Tensor

from ._common import check_betas, check_lr, check_nonnegative, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """Rectified Adam.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate, a number or a one-element tensor.
        betas: decay rates of the running means.
        eps: added to the denominator.
        weight_decay: adds weight_decay * p to the gradient, or see decoupled_weight_decay.
        decoupled_weight_decay: shrink p by lr * weight_decay instead (RAdamW).
        foreach, maximize, capturable, differentiable: as in `Adam`.
    """

    _tensor_state = ("step",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
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
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, p, g, state, group):
        state["step"] = self._new_step(p, group)
        state["exp_avg"] = rushlight.zeros_like(p)
        state["exp_avg_sq"] = rushlight.zeros_like(p)

    def _rule(self, group):
        lr, eps, (beta1, beta2) = scalar(group["lr"]), group["eps"], group["betas"]
        w1, w2, recorded = 1 - beta1, 1 - beta2, group["differentiable"]
        rho_inf = 2 / (1 - beta2) - 1

        def update(p, g, state):
            t, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]
            t.add_(1)
            step = t.item()
            m.lerp_(g, w1)
            v.mul_(beta2).addcmul_(g, g, value=w2)
            correction2 = 1 - beta2**step
            delta = m.div(1 - beta1**step) * lr
            rho = rho_inf - 2 * step * (beta2**step) / correction2
            if rho > 5.0:
                rect = (
                    (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
                ) ** 0.5
                root = v.sqrt()
                root = root.add(eps) if recorded else root.add_(eps)
                delta = delta * (root.reciprocal() * correction2**0.5) * rect
            p.add_(delta, alpha=-1.0)

        return update
