"""Adafactor: Adam's second moment kept as one row and one column.

    b_t = 1 - t^beta2_decay          a = max(eps2, rms(p)) min(lr, 1 / sqrt(t))
    matrices: R <- b_t R + (1 - b_t) row means of g^2, C the same of columns, V = R C / mean(R)
    other:    V <- b_t V + (1 - b_t) g^2
    u = g / sqrt(max(V, eps1^2))          p <- p (1 - lr weight_decay) - a u / max(1, rms(u) / d)

Shazeer and Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018. The last
two dims are the matrix; dims before them are a batch. There is no first moment.
"""

import rushlight
from rushlight import Tensor

from ._common import check_lr, number, require, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    """Adafactor, whose state is smaller than the parameters.

    Args:
        params: tensors, (name, tensor) pairs or parameter groups.
        lr: the largest relative step, a number or a one-element tensor.
        beta2_decay: exponent of the decay rate b_t, at most 0.
        eps: (eps1, eps2), the floors of V's root and of rms(p); None for eps1 is the dtype's
            machine epsilon.
        d: largest root mean square of the update before it is clipped.
        weight_decay: shrinks p by lr * weight_decay.
        foreach, maximize: as in `Adam`.
    """

    _own_decay = True  # rms(p) is taken before the decay
    _complex = "error"
    _tensor_state = ("step",)

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
    ) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is: {}")
        require(0.0 >= beta2_decay, f"beta2_decay should be <= 0 but is: {beta2_decay}")
        require(eps[0] is None or 0.0 <= eps[0], f"epsilon1 should be >= 0 but is: {eps[0]}")
        require(0.0 <= eps[1], f"epsilon2 should be >= 0 but is: {eps[1]}")
        require(1.0 <= d, f"Clipping threshold d should be >= 1 but is: {d}")
        require(0.0 <= weight_decay, f"weight_decay should be >= 0 but is: {weight_decay}")
        defaults = {
            "lr": lr,
            "beta2_decay": beta2_decay,
            "eps": eps,
            "d": d,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _init_state(self, p, g, state, group):
        state["step"] = self._new_step(p, group)
        if g.ndim > 1:
            state["row_var"] = g.new_zeros((*g.shape[:-1], 1))
            state["col_var"] = g.new_zeros((*g.shape[:-2], 1, g.shape[-1]))
        else:
            state["variance"] = rushlight.zeros_like(g)

    def _rule(self, group):
        lr, beta2_decay, d = scalar(group["lr"]), group["beta2_decay"], group["d"]
        (eps1_given, eps2), decay = group["eps"], group["weight_decay"]

        def update(p, g, state):
            t = state["step"]
            t.add_(1)
            step = t.item()
            eps1 = rushlight.finfo(p.dtype).eps if eps1_given is None else eps1_given
            w = step**beta2_decay
            size = max(eps2, p.norm(2).item() / p.numel() ** 0.5) * min(lr, 1 / step**0.5)
            if decay:
                p.mul_(1 - lr * decay)
            if g.ndim > 1:
                rows, cols = state["row_var"], state["col_var"]
                rows.lerp_(g.norm(2, dim=-1, keepdim=True).square_().div_(g.shape[-1]), w)
                cols.lerp_(g.norm(2, dim=-2, keepdim=True).square_().div_(g.shape[-2]), w)
                v = (rows @ cols).div_(rows.mean(dim=-2, keepdim=True).clamp_(min=eps1))
            else:
                v = state["variance"]
                v.lerp_(g * g, w)
                v = v.clone()
            u = v.clamp_(min=eps1 * eps1).rsqrt_().mul_(g)
            clip = max(1.0, u.norm(2).item() / (u.numel() ** 0.5 * d))
            p.add_(u, alpha=number(-size / clip))

        return update
