"""Muon: momentum whose matrix is replaced by the nearest semi-orthogonal one.

    b <- momentum b + (1 - momentum) g          u = g + momentum (b - g) if nesterov, else b
    X = u / |u|_F;  ns_steps times:  A = X X^T,  X <- a X + (b A + c A A) X          (Newton-Schulz,
    in bfloat16)
    p <- p (1 - lr weight_decay) - lr' X

lr' is lr sqrt(max(1, rows / columns)), or lr 0.2 sqrt(max(rows, columns)), which gives the update
the root mean square that AdamW's has. Jordan et al., "Muon: An optimizer for hidden layers in
neural networks", 2024; the second scale is from Liu et al., "Muon is Scalable for LLM Training",
2025.
"""

import math

import rushlight
from rushlight import Tensor

from ._common import check_lr, number, require, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["Muon"]


def orthogonalized(g: Tensor, coefficients, steps: int, eps: float) -> Tensor:
    """Singular values of the matrix `g` moved near 1 by a quintic Newton-Schulz iteration in
    bfloat16."""
    require(
        steps < 100,
        f"Number of steps must be less than 100 for computational efficiency, but ns_steps={steps}",
    )
    require(g.ndim == 2, f"Param gradient must be a 2D matrix, but it has shape {tuple(g.shape)}")
    require(
        len(coefficients) == 3,
        f"Coefficients must be a tuple of exactly 3 values, but got {coefficients}",
    )
    a, b, c = coefficients
    tall = g.shape[0] > g.shape[1]
    x = g.bfloat16()
    if tall:
        x = x.T
    # Only the singular values' ratio to 1 matters, so the Frobenius norm bounds them well enough.
    x.div_(x.norm().clamp(min=eps))
    for _ in range(steps):
        gram = x @ x.T
        x = rushlight.addmm(x, rushlight.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class Muon(Optimizer):
    """Muon, for the weight matrices of hidden layers; train embeddings, heads and vectors with
    AdamW.

    Args:
        params: matrices, (name, matrix) pairs or parameter groups. ValueError for another number of
            dims.
        lr: learning rate.
        weight_decay: shrinks p by lr * weight_decay.
        momentum: decay rate of the buffer.
        nesterov: look ahead along the buffer.
        ns_coefficients: (a, b, c) of the iteration.
        eps: smallest norm divided by.
        ns_steps: number of iterations, under 100.
        adjust_lr_fn: "original" (also None) or "match_rms_adamw", see the file's docstring.
    """

    _decoupled_decay = True
    _complex = "error"

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        check_lr(lr, "Learning rate should be >= 0 but is: {}")
        require(0.0 <= momentum, f"momentum should be >= 0 but is: {momentum}")
        require(0.0 <= weight_decay, f"weight decay should be >= 0 but is: {weight_decay}")
        require(
            adjust_lr_fn in (None, "original", "match_rms_adamw"),
            f"Adjust learning rate function {adjust_lr_fn} is not supported; "
            'expected "original" or "match_rms_adamw"',
        )
        defaults = {
            "lr": lr,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_coefficients": ns_coefficients,
            "eps": eps,
            "ns_steps": ns_steps,
            "adjust_lr_fn": adjust_lr_fn,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            for p in group["params"]:
                require(
                    p.ndim == 2,
                    "Muon only supports 2D parameters whereas we found a parameter with "
                    f"size: {p.size()}",
                )

    def _init_state(self, p, g, state, group):
        state["momentum_buffer"] = rushlight.zeros_like(g)

    def _rule(self, group):
        lr, momentum, nesterov = scalar(group["lr"]), group["momentum"], group["nesterov"]
        coefficients, steps, eps = group["ns_coefficients"], group["ns_steps"], group["eps"]
        match_rms = group["adjust_lr_fn"] == "match_rms_adamw"

        def update(p, g, state):
            b = state["momentum_buffer"]
            b.lerp_(g, 1 - momentum)
            u = orthogonalized(g.lerp(b, momentum) if nesterov else b, coefficients, steps, eps)
            rows, cols = p.shape
            ratio = (
                0.2 * math.sqrt(max(rows, cols)) if match_rms else math.sqrt(max(1, rows / cols))
            )
            p.add_(u, alpha=number(-(lr * ratio)))

        return update
