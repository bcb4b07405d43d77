"""Rprop: resilient backpropagation. Only the signs of the gradient matter.

Each element has a step size: times eta+ where g keeps its sign, times eta- where the sign flips
(and that element
waits one step), clipped to the given bounds; p <- p - sign(g) * size.

Riedmiller and Braun, "A Direct Adaptive Method for Faster Backpropagation Learning: The RPROP
Algorithm", 1993. It needs full batches: the noise of small ones flips signs.
"""

import rushlight
from rushlight import Tensor

from ._common import check_lr, number, require, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["Rprop"]


class Rprop(Optimizer):
    """Resilient backpropagation.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: the initial step size of every element.
        etas: factors for a flipped and for a kept sign, 0 < eta- < 1 < eta+.
        step_sizes: the smallest and the largest step size.
        capturable, foreach, maximize, differentiable: as in `Adam`.
    """

    _tensor_state = ("step",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_lr(lr)
        require(
            0.0 < etas[0] < 1.0 < etas[1],
            f"Invalid eta values: {etas[0]}, {etas[1]}; expected 0 < etas[0] < 1 < etas[1]",
        )
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, p, g, state, group):
        lr = number(scalar(group["lr"]))
        state["step"] = self._new_step(p, group)
        state["prev"] = rushlight.zeros_like(p)
        state["step_size"] = rushlight.full_like(g, complex(lr, lr) if p.is_complex() else lr)

    def _rule(self, group):
        (down, up), (least, most) = group["etas"], group["step_sizes"]
        recorded = group["differentiable"]

        def update(p, g, state):
            prev, size = state["prev"], state["step_size"]
            state["step"].add_(1)
            agree = g.detach().mul(prev).sign()  # a sign has no gradient
            flipped = agree < 0
            size.mul_(
                agree.masked_fill(agree == 0, 1)
                .masked_fill_(agree > 0, up)
                .masked_fill_(flipped, down)
            )
            size.clamp_(least, most)
            g = g.masked_fill(flipped, 0)
            p.addcmul_(g.sign(), size.clone() if recorded else size, value=-1)
            prev.copy_(g.detach())

        return update
