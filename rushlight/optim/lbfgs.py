"""L-BFGS: Newton's direction from the last few steps and changes of the gradient.

All parameters are one flat vector x. With steps s_i, gradient changes y_i and r_i = 1 / (y_i .
s_i), the two-loop
recursion applies the inverse Hessian that they imply to the gradient; x <- x + t d with t = lr, or
with t found by a line search that meets the strong Wolfe conditions.

Nocedal and Wright, "Numerical Optimization", 2nd ed., algorithms 7.4, 3.5 and 3.6; the safeguards
of the line search (10% from the ends of the bracket, the minimum of a cubic) are those of M.
Schmidt's minFunc, 2005.

Invariant. Dot products stay 0-dim tensors and losses Python floats, so that the arithmetic between
them rounds as PyTorch's does.
"""

from typing import NamedTuple

import rushlight
from rushlight import Tensor

from ._common import check_lr, number, scalar
from .optimizer import Optimizer, ParamsT

__all__ = ["LBFGS"]


#: what one step leaves to the next, in the order in which a checkpoint has it
_MEMORY = ("d", "t", "old_dirs", "old_stps", "ro", "H_diag", "prev_flat_grad", "prev_loss")


class _Point(NamedTuple):
    """A place on the line: its t, the loss f, the gradient g there and the slope g . d."""

    t: float | Tensor
    f: float
    g: Tensor
    slope: Tensor


def _value(loss):
    """What a closure returned, as a Python number."""
    return loss.item() if isinstance(loss, Tensor) else float(loss)


def _cubic_minimum(a: _Point, b: _Point, bounds=None):
    """Where the cubic with the values and slopes of `a` and `b` is least, within `bounds` (default:
    between them)."""
    low, high = bounds or ((a.t, b.t) if a.t <= b.t else (b.t, a.t))
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:  # also where a loss is not finite
        return (low + high) / 2.0
    d2 = square.sqrt()
    if a.t <= b.t:
        t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    else:
        t = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2))
    return min(max(t, low), high)


def strong_wolfe(at, t, d, start, c1=1e-4, c2=0.9, tolerance=1e-9, max_steps=25):
    """Find t with f(t) <= f(0) + c1 t slope(0) and |slope(t)| <= c2 |slope(0)|.

    `at(t)` evaluates a _Point, `start` is the one at 0. First the step grows until a bracket holds
    such a t, then the bracket shrinks around it, in at most max_steps evaluations after the first.
    Returns the best point found and how often `at` was called.
    """

    def too_high(new):
        return new.f > start.f + c1 * new.t * start.slope

    def flat(new):
        return abs(new.slope) <= -c2 * start.slope

    width = d.abs().max()
    prev, new = start, at(t)
    calls, steps, bracket = 1, 0, None
    while steps < max_steps:
        if too_high(new) or (steps > 1 and new.f >= prev.f):
            bracket = [prev, new]
            break
        if flat(new):
            return new, calls
        if new.slope >= 0:
            bracket = [prev, new]
            break
        least = new.t + 0.01 * (new.t - prev.t)
        t = _cubic_minimum(prev, new, bounds=(least, new.t * 10))
        prev, new = new, at(t)
        calls += 1
        steps += 1
    if bracket is None:
        bracket = [start, new]

    stalled = False
    low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
    while steps < max_steps:
        ends = [p.t for p in bracket]
        if abs(ends[1] - ends[0]) * width < tolerance:
            break
        t = _cubic_minimum(*bracket)
        left, right = min(ends), max(ends)
        margin = 0.1 * (right - left)
        # A minimum close to an end twice in a row, or at it, would shrink the bracket too slowly.
        if min(right - t, t - left) < margin:
            if stalled or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        new = at(t)
        calls += 1
        steps += 1
        if too_high(new) or new.f >= bracket[low].f:
            bracket[high] = new
            low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
            continue
        done = flat(new)
        if not done and new.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
        if done:
            break
    return bracket[low], calls


class LBFGS(Optimizer):
    """L-BFGS, for problems whose loss can be evaluated several times a step, without noise.

    Args:
        params: tensors or (name, tensor) pairs; one group only.
        lr: step length along the direction (the line search's first guess).
        max_iter: iterations a step.
        max_eval: evaluations of the closure a step; default max_iter * 1.25.
        tolerance_grad: stop when no element of the gradient is larger.
        tolerance_change: stop when neither loss nor parameters change by more.
        history_size: pairs of vectors remembered, each as large as all parameters.
        line_search_fn: "strong_wolfe" or None.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        check_lr(lr)
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    # ---- the parameters as one vector

    @property
    def _params(self) -> list[Tensor]:
        return self.param_groups[0]["params"]

    def _flat_grad(self) -> Tensor:
        parts = []
        for p in self._params:
            g = p.grad
            if g is None:
                g = p.new_zeros(p.shape)
            elif g.is_sparse:
                g = g.to_dense()
            parts.append((rushlight.view_as_real(g) if g.is_complex() else g).reshape(-1))
        return rushlight.cat(parts, 0)

    def _move(self, t, d: Tensor) -> None:
        """x <- x + t d."""
        t, offset = number(t), 0
        for p in self._params:
            q = rushlight.view_as_real(p) if p.is_complex() else p
            q.add_(d[offset : offset + q.numel()].view_as(q), alpha=t)
            offset += q.numel()

    def _line_search(self, closure, t, d, start, max_steps):
        before = [p.clone() for p in self._params]

        def at(t):
            self._move(t, d)
            f, g_new = _value(closure()), self._flat_grad()
            for p, saved in zip(self._params, before, strict=True):
                p.copy_(saved)
            return _Point(t, f, g_new, g_new.dot(d))

        return strong_wolfe(at, t, d, start, max_steps=max_steps)

    # ---- the step

    @staticmethod
    def _direction(g, state, memory, history_size):
        """-H g by the two-loop recursion, after the last step and change of gradient have joined
        the history."""
        dirs, steps, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
        y, s = g.sub(memory["prev_flat_grad"]), memory["d"].mul(memory["t"])
        ys = y.dot(s)
        if ys > 1e-10:
            if len(dirs) == history_size:
                for kept in (dirs, steps, ro):
                    kept.pop(0)
            dirs.append(y)
            steps.append(s)
            ro.append(ys.reciprocal())
            memory["H_diag"] = ys / y.dot(y)
        al = state.setdefault("al", [None] * history_size)
        q = g.neg()
        for i in reversed(range(len(dirs))):
            al[i] = steps[i].dot(q) * ro[i]
            q.add_(dirs[i], alpha=-al[i].item())
        d = q.mul(memory["H_diag"])
        for i in range(len(dirs)):
            d.add_(steps[i], alpha=(al[i] - dirs[i].dot(d) * ro[i]).item())
        return d

    def step(self, closure):
        """Run up to max_iter iterations.

        Args:
            closure: clears the gradients, computes the loss, calls backward() and returns the loss.
                It is called several times. Returns its first result.
        """
        with rushlight.no_grad():
            return self._minimize(rushlight.enable_grad()(closure))

    def _minimize(self, closure):
        group = self.param_groups[0]
        lr, search = scalar(group["lr"]), group["line_search_fn"]
        tolerance_grad, tolerance_change = group["tolerance_grad"], group["tolerance_change"]

        # One state for the whole vector, kept under the first parameter.
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = closure()
        loss = _value(first_loss)
        evals, iters = 1, 0
        state["func_evals"] += 1
        g = self._flat_grad()
        if g.abs().max() <= tolerance_grad:
            return first_loss

        memory = {k: state.get(k) for k in _MEMORY}
        while iters < group["max_iter"]:
            iters += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                memory.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
                d = g.neg()
                t = min(1.0, 1.0 / g.abs().sum()) * lr
            else:
                d = self._direction(g, state, memory, group["history_size"])
                t = lr
            prev_loss = loss
            memory.update(d=d, t=t, prev_flat_grad=g.clone(), prev_loss=prev_loss)
            slope = g.dot(d)
            if slope > -tolerance_change:
                break

            used, optimal = 0, False
            if search is not None:
                if search != "strong_wolfe":
                    raise RuntimeError(
                        f"only 'strong_wolfe' is supported, but line_search_fn={search!r}"
                    )
                left = group["max_eval"] - evals
                best, used = self._line_search(closure, t, d, _Point(0, loss, g, slope), left)
                t, loss, g = best.t, best.f, best.g
                memory["t"] = t
                self._move(t, d)
                optimal = g.abs().max() <= tolerance_grad
            else:
                self._move(t, d)
                # The gradient after the last iteration is the next step's first evaluation.
                if iters != group["max_iter"]:
                    loss, g, used = _value(closure()), self._flat_grad(), 1
                    optimal = g.abs().max() <= tolerance_grad
            evals += used
            state["func_evals"] += used
            if evals >= group["max_eval"] or optimal:
                break
            if d.mul(t).abs().max() <= tolerance_change or abs(loss - prev_loss) < tolerance_change:
                break
        state.update(memory)
        return first_loss
