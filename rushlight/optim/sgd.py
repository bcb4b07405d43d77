"""Stochastic gradient descent with momentum.

    b <- momentum b + (1 - dampening) g     (b = g at the first step)
    g <- g + momentum b  if nesterov, else b
    p <- p - lr g

The buffer holds the sum of gradients, without the learning rate: a change of lr acts at once.
Nesterov's form is the one of Sutskever et al., "On the importance of initialization and momentum in
deep learning", 2013.
"""

from rushlight import Tensor

from ._common import check_fused, check_lr, check_nonnegative, number, require, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate, a number or a one-element tensor.
        momentum: factor of the buffer; 0 keeps no buffer.
        dampening: the new gradient enters the buffer times (1 - dampening).
        weight_decay: adds weight_decay * p to the gradient.
        nesterov: look ahead along the buffer; needs momentum > 0 and dampening 0.
        maximize: ascend instead of descend.
        foreach, fused: accepted; every choice runs the same arithmetic.
        differentiable: record the update so that gradients flow through it; the first gradient
            enters the buffer detached, as in PyTorch.
    """

    _sparse_ok = True
    _foreach_excludes_recording = False
    _complex = "native"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_nonnegative("momentum value", momentum)
        check_nonnegative("weight_decay value", weight_decay)
        require(
            not nesterov or (momentum > 0 and dampening == 0),
            "Nesterov momentum requires a momentum and zero dampening, "
            f"but got momentum={momentum}, dampening={dampening}",
        )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)

    def _init_state(self, p, g, state, group):
        if group["momentum"]:
            state["momentum_buffer"] = None

    def _rule(self, group):
        momentum, nesterov = group["momentum"], group["nesterov"]
        fresh = 1 - group["dampening"]
        lr = scalar(group["lr"])
        recorded = isinstance(lr, Tensor) and lr.requires_grad and group["differentiable"]
        alpha = None if recorded else number(-lr)

        def update(p, g, state):
            if momentum:
                b = state.get("momentum_buffer")
                if b is None:
                    b = state["momentum_buffer"] = g.detach().clone()
                else:
                    b.mul_(momentum).add_(g, alpha=fresh)
                g = g.add(b, alpha=momentum) if nesterov else b
            if recorded:
                # The buffer is overwritten by the next step, and lr's gradient needs it.
                p.addcmul_(g.clone(), lr, value=-1)
            else:
                p.add_(g, alpha=alpha)

        return update
