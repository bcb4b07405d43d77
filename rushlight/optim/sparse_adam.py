"""SparseAdam: Adam on the elements that a sparse gradient names.

Moments and parameters change only where the gradient has an entry: "lazy" Adam, which is not Adam
with zeros filled in, since there the moments of the other elements would decay. The bias
corrections count steps of the parameter, not of the element. See `Adam` for the formula; here eps
joins sqrt(v) before the correction of v.
"""

import rushlight
from rushlight import Tensor

from ._common import check_betas, check_lr, require, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam for sparse gradients, such as those of an embedding with sparse=True.

    Args:
        params: dense real tensors, (name, tensor) pairs or parameter groups.
        lr: learning rate, a number or a one-element tensor.
        betas: decay rates of the running means.
        eps: added to the denominator; more than 0.
        maximize: ascend instead of descend.

    A step raises RuntimeError for a dense gradient: use `Adam` there.
    """

    _sparse_ok = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        check_lr(lr)
        require(0.0 < eps, f"Invalid epsilon value: {eps}; expected a number > 0")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        places = [
            ([i, j], p)
            for i, group in enumerate(self.param_groups)
            for j, p in enumerate(group["params"])
        ]
        sparse = [place for place, p in places if p.is_sparse]
        require(
            not sparse,
            f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors",
        )
        complex_ = [place for place, p in places if p.is_complex()]
        require(
            not complex_,
            f"Complex params at indices {complex_}: SparseAdam does not support complex parameters",
        )

    def _init_state(self, p, g, state, group):
        state["step"] = 0
        state["exp_avg"] = rushlight.zeros_like(p)
        state["exp_avg_sq"] = rushlight.zeros_like(p)

    def _rule(self, group):
        lr, eps, (beta1, beta2) = scalar(group["lr"]), group["eps"], group["betas"]

        def update(p, g, state):
            if not g.is_sparse:
                raise RuntimeError(
                    "SparseAdam does not support dense gradients, please consider Adam instead"
                )
            state["step"] += 1
            step, m, v = state["step"], state["exp_avg"], state["exp_avg_sq"]
            g = g.coalesce()
            if g._nnz() == 0:
                return
            index, values = g._indices(), g._values()

            def spread(x):
                return rushlight.sparse_coo_tensor(index, x, g.shape)

            m_old, v_old = m.sparse_mask(g)._values(), v.sparse_mask(g)._values()
            m_change = values.sub(m_old).mul_(1 - beta1)
            v_change = values.pow(2).sub_(v_old).mul_(1 - beta2)
            m.add_(spread(m_change))
            v.add_(spread(v_change))
            denom = v_change.add_(v_old).sqrt_().add_(eps)
            size = lr * (1 - beta2**step) ** 0.5 / (1 - beta1**step)
            p.add_(spread(-size * m_change.add_(m_old).div_(denom)))

        return update
