"""Adam, its AMSGrad variant, and decoupled weight decay.

    m <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g^2
    p <- p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)

Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2014; AMSGrad (v replaced by its
running maximum) from Reddi et al., "On the Convergence of Adam and Beyond", 2018. The bias
corrections are Python floats, so one step costs eight tensor operations a parameter. A
differentiable step computes them as tensors instead, and lets the sign and the size of the step
enter the denominator, so that gradients reach `lr` and the betas.
"""

import rushlight
from rushlight import Tensor

from ._common import check_betas, check_fused, check_lr, check_nonnegative, number, require, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["Adam"]


class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate, a number or a one-element tensor.
        betas: decay rates of the two running means, both numbers or both tensors.
        eps: added to the denominator.
        weight_decay: adds weight_decay * p to the gradient, or see decoupled_weight_decay.
        amsgrad: divide by the largest mean square seen so far.
        maximize: ascend instead of descend.
        foreach, fused: accepted; every choice runs the same arithmetic.
        capturable: keeps the step count on the parameters' device; an error on the CPU, as in
            PyTorch.
        differentiable: record the update so that gradients flow through it.
        decoupled_weight_decay: shrink p by lr * weight_decay instead: AdamW.
    """

    _tensor_state = ("step",)
    _no_sparse = "Adam does not support sparse gradients, please consider SparseAdam instead"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_lr(lr)
        if foreach and not capturable:
            for name, value in (("lr", lr), ("betas[0]", betas[0]), ("betas[1]", betas[1])):
                require(
                    not isinstance(value, Tensor),
                    f"{name} as a Tensor is not supported for capturable=False and foreach=True",
                )
        check_nonnegative("epsilon value", eps)
        check_betas(betas)
        check_nonnegative("weight_decay value", weight_decay)
        require(
            isinstance(betas[0], Tensor) == isinstance(betas[1], Tensor),
            "betas must be either both floats or both Tensors",
        )
        for i in (0, 1):
            require(
                not isinstance(betas[i], Tensor) or betas[i].numel() == 1,
                f"Tensor betas[{i}] must be 1-element",
            )
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    def _init_state(self, p, g, state, group):
        state["step"] = self._new_step(p, group)
        state["exp_avg"] = rushlight.zeros_like(p)
        state["exp_avg_sq"] = rushlight.zeros_like(p)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = rushlight.zeros_like(p)

    def _rule(self, group):
        lr, eps, amsgrad = scalar(group["lr"]), group["eps"], group["amsgrad"]
        beta1, beta2 = map(scalar, group["betas"])
        w1, w2 = 1 - beta1, number(1 - beta2)
        if group["differentiable"]:
            return _recorded_rule(lr, beta1, beta2, eps, amsgrad)

        def update(p, g, state):
            t, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]
            t.add_(1)
            m.lerp_(g, w1)
            v.mul_(beta2).addcmul_(g, g, value=w2)
            step = t.item()
            if amsgrad:
                top = state["max_exp_avg_sq"]
                v = top.copy_(top.maximum(v))
            denom = v.sqrt().div_((1 - beta2**step) ** 0.5).add_(eps)
            p.addcdiv_(m, denom, value=number(-(lr / (1 - beta1**step))))

        return update


def _recorded_rule(lr, beta1, beta2, eps, amsgrad):
    """The update in tensor operations only, none of which overwrites what its gradient needs."""
    w1, w2 = 1 - beta1, 1 - beta2

    def update(p, g, state):
        t, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]
        t.add_(1)
        m.lerp_(g, w1)
        if isinstance(w2, Tensor):
            v.mul_(beta2).add_(g * g * w2)
        else:
            v.mul_(beta2).addcmul_(g, g, value=w2)
        if amsgrad:
            top = state["max_exp_avg_sq"]
            v = top.copy_(rushlight.maximum(top.clone(), v.clone()))
        size = -(lr / (1 - beta1**t))
        denom = (v.sqrt() / ((1 - beta2**t).sqrt() * size)).add_(eps / size)
        p.addcdiv_(m.clone(), denom)

    return update
