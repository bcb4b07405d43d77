"""RMSprop: gradients divided by a running root mean square.

    v <- a v + (1 - a) g^2          d = sqrt(v) + eps          (centered: d = sqrt(v - mean(g)^2) +
    eps)
    b <- momentum b + g / d         p <- p - lr b              (without momentum: p <- p - lr g / d)

Hinton, "Neural Networks for Machine Learning", lecture 6, 2012; the centered form is from Graves,
"Generating Sequences With Recurrent Neural Networks", 2013. eps is added after the root, where
TensorFlow adds it before.
"""

import rushlight
from rushlight import Tensor

from ._common import check_lr, check_nonnegative, number, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """RMSprop, optionally centered and with momentum.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate, a number or a one-element tensor.
        alpha: decay rate of the mean square.
        eps: added to the denominator.
        weight_decay: adds weight_decay * p to the gradient.
        momentum: factor of the buffer of scaled gradients; 0 keeps no buffer.
        centered: subtract the squared running mean, so that the variance is divided by.
        capturable, foreach, maximize, differentiable: as in `Adam`.
    """

    _tensor_state = ("step",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        check_nonnegative("epsilon value", eps)
        check_nonnegative("momentum value", momentum)
        check_nonnegative("weight_decay value", weight_decay)
        check_nonnegative("alpha value", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, p, g, state, group):
        state["step"] = self._new_step(p, group)
        state["square_avg"] = rushlight.zeros_like(p)
        if group["momentum"] > 0:
            state["momentum_buffer"] = rushlight.zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = rushlight.zeros_like(p)

    def _rule(self, group):
        step_size, a, eps = number(-scalar(group["lr"])), group["alpha"], group["eps"]
        momentum, centered, recorded = group["momentum"], group["centered"], group["differentiable"]
        w = 1 - a

        def update(p, g, state):
            v = state["square_avg"]
            state["step"].add_(1)
            v.mul_(a).addcmul_(g, g, value=w)
            if centered:
                mean = state["grad_avg"]
                mean.lerp_(g, w)
                if recorded:
                    mean = mean.clone()  # the next step overwrites it, this one's gradient needs it
                denom = v.addcmul(mean, mean, value=-1).sqrt_()
            else:
                denom = v.sqrt()
            denom = denom.add(eps) if recorded else denom.add_(eps)
            if momentum > 0:
                b = state["momentum_buffer"]
                b.mul_(momentum).addcdiv_(g, denom)
                p.add_(b, alpha=step_size)
            else:
                p.addcdiv_(g, denom, value=step_size)

        return update
