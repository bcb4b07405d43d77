"""Adagrad: each element's rate falls with the sum of its squared gradients.

    s <- s + g^2          p <- p - lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps)

Duchi, Hazan and Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
Optimization", 2011. The state exists from construction on, so that it can be shared between
processes before training begins. A sparse gradient touches only the elements it names.
"""

import rushlight
from rushlight import Tensor

from ._common import check_fused, check_lr, check_nonnegative, number, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Adagrad, for gradients in which rare features matter.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate, a number or a one-element tensor.
        lr_decay: the rate also falls as 1 / (1 + (t - 1) lr_decay).
        weight_decay: adds weight_decay * p to the gradient; an error with sparse gradients.
        initial_accumulator_value: what the sum of squares starts from.
        eps: added to the denominator.
        foreach, maximize, differentiable, fused: as in `Adam`.
    """

    _sparse_ok = True
    _tensor_state = ("step",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_lr(lr)
        check_nonnegative("lr_decay value", lr_decay)
        check_nonnegative("weight_decay value", weight_decay)
        check_nonnegative("initial_accumulator_value value", initial_accumulator_value)
        check_nonnegative("epsilon value", eps)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        check_fused(fused, foreach, differentiable)
        for group in self.param_groups:
            for p in group["params"]:
                self._init_state(p, None, self.state[p], group)

    def _init_state(self, p, g, state, group):
        start = group["initial_accumulator_value"]
        state["step"] = self._new_step(p, group)
        state["sum"] = rushlight.full_like(p, complex(start, start) if p.is_complex() else start)

    def share_memory(self) -> None:
        """Move the sums of squares to memory that other processes can share."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["sum"].share_memory_()

    def _rule(self, group):
        lr, decay, eps = scalar(group["lr"]), group["lr_decay"], group["eps"]
        recorded = group["differentiable"]

        def update(p, g, state):
            t, total = state["step"], state["sum"]
            t.add_(1)
            size = number(-(lr / (1 + (t.item() - 1) * decay)))
            if g.is_sparse:
                g = g.coalesce()
                index, values = g._indices(), g._values()
                total.add_(rushlight.sparse_coo_tensor(index, values.pow(2), g.shape))
                root = total.sparse_mask(g)._values().sqrt_().add_(eps)
                p.add_(rushlight.sparse_coo_tensor(index, values / root, g.shape), alpha=size)
                return
            total.addcmul_(g, g, value=1)
            root = total.sqrt()
            root = root.add(eps) if recorded else root.add_(eps)
            p.addcdiv_(g, root, value=size)

        return update
