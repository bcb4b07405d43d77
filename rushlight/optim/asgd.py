"""ASGD: stochastic gradient descent whose iterates are averaged.

    p <- p (1 - lambd eta) - eta g          ax <- ax + mu (p - ax)
    eta_{t+1} = lr / (1 + lambd lr t)^alpha          mu_{t+1} = 1 / max(1, t - t0)

The average is in the state as "ax"; the parameters themselves are not averaged. Polyak and
Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992. eta and mu are 0-dim
tensors, rounded to their dtype between steps.
"""

import rushlight
from rushlight import Tensor

from ._common import check_lr, check_nonnegative, number, scalar, scalar_dtype
from .optimizer import Optimizer, ParamsT

__all__ = ["ASGD"]


class ASGD(Optimizer):
    """Averaged stochastic gradient descent.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: initial step size, a number or a one-element tensor.
        lambd: decay term.
        alpha: power of the step size's decay.
        t0: the step after which averaging starts.
        weight_decay: adds weight_decay * p to the gradient.
        foreach, maximize, differentiable, capturable: as in `Adam`.
    """

    _tensor_state = ("step", "eta", "mu")

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_lr(lr)
        check_nonnegative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, p, g, state, group):
        lr, kind = scalar(group["lr"]), {"dtype": scalar_dtype(), "device": p.device}
        state["step"] = rushlight.zeros((), **kind)
        state["eta"] = rushlight.as_tensor(lr, **kind).detach().clone()
        state["mu"] = rushlight.ones((), **kind)
        state["ax"] = rushlight.zeros_like(p)

    def _rule(self, group):
        lr, lambd, alpha, t0 = scalar(group["lr"]), group["lambd"], group["alpha"], group["t0"]

        def update(p, g, state):
            t, eta_kept, mu_kept, ax = state["step"], state["eta"], state["mu"], state["ax"]
            t.add_(1)
            eta = eta_kept.item()
            p.mul_(1 - lambd * eta)
            p.add_(g, alpha=-eta)
            if mu_kept.item() == 1:
                ax.copy_(p)
            else:
                ax.add_((p - ax).mul_(mu_kept))
            step = t.item()
            eta_kept.fill_(number(lr / (1 + lambd * lr * step) ** alpha))
            mu_kept.fill_(1 / max(1, step - t0))

        return update
