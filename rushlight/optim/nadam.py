"""NAdam: Adam with Nesterov momentum.

    mu_t = b1 (1 - 0.96^(t * momentum_decay) / 2)       M_t = mu_1 ... mu_t
    m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g^2          d = sqrt(v / (1 - b2^t)) + eps
    p <- p - lr (1 - mu_t) / (1 - M_t) g / d - lr mu_{t+1} / (1 - M_{t+1}) m / d

Dozat, "Incorporating Nesterov Momentum into Adam", 2016. The product M is kept as a 0-dim tensor in
the state.
"""

import rushlight
from rushlight import Tensor

from ._common import check_betas, check_lr, check_nonnegative, number, scalar, scalar_dtype
from .optimizer import Optimizer, ParamsT

__all__ = ["NAdam"]


class NAdam(Optimizer):
    """Adam with Nesterov momentum.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate, a number or a one-element tensor.
        betas: decay rates of the running means.
        eps: added to the denominator.
        weight_decay: adds weight_decay * p to the gradient, or see decoupled_weight_decay.
        momentum_decay: how fast mu_t rises to b1.
        decoupled_weight_decay: shrink p by lr * weight_decay instead (NAdamW).
        foreach, maximize, capturable, differentiable: as in `Adam`.
    """

    _tensor_state = ("step", "mu_product")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
        check_nonnegative("momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, p, g, state, group):
        state["step"] = self._new_step(p, group)
        state["mu_product"] = rushlight.ones((), dtype=scalar_dtype(), device=state["step"].device)
        state["exp_avg"] = rushlight.zeros_like(p)
        state["exp_avg_sq"] = rushlight.zeros_like(p)

    def _rule(self, group):
        lr, eps, (beta1, beta2) = scalar(group["lr"]), group["eps"], group["betas"]
        decay, recorded = group["momentum_decay"], group["differentiable"]
        w1, w2 = 1 - beta1, 1 - beta2

        def update(p, g, state):
            t, product = state["step"], state["mu_product"]
            m, v = state["exp_avg"], state["exp_avg_sq"]
            t.add_(1)
            step = t.item()
            mu = beta1 * (1.0 - 0.5 * 0.96 ** (step * decay))
            mu_next = beta1 * (1.0 - 0.5 * 0.96 ** ((step + 1) * decay))
            product.mul_(mu)
            m.lerp_(g, w1)
            v.mul_(beta2).addcmul_(g, g, value=w2)
            denom = v.div(1 - beta2**step).sqrt()
            if recorded:
                denom = denom.add(eps)
                p.addcdiv_(g * (-lr * (1.0 - mu) / (1.0 - product)), denom)
                p.addcdiv_(m.clone() * (-lr * mu_next / (1.0 - product * mu_next)), denom)
            else:
                denom.add_(eps)
                done = product.item()
                p.addcdiv_(g, denom, value=number(-lr * (1.0 - mu) / (1.0 - done)))
                p.addcdiv_(m, denom, value=number(-lr * mu_next / (1.0 - done * mu_next)))

        return update
