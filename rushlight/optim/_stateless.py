"""Run an optimizer on other parameters and state for a while, then give it back its own.

The optimizer object stays the same (hooks, class, schedulers); only `param_groups` and `state`
change hands.
"""

import contextlib
from collections import defaultdict
from typing import Any

from rushlight import Tensor

from .optimizer import Optimizer

__all__ = ["swap_in_optimizer_params_and_state"]


def _check(optimizer, params, packed) -> None:
    for field in ("state", "param_groups"):
        if field not in packed:
            raise ValueError(
                f"swapin_optim_state has no {field!r}; expected a dict shaped as "
                "optimizer.state_dict()"
            )
    groups = packed["param_groups"]
    if len(groups) != len(optimizer.param_groups):
        raise ValueError(
            f"swapin_optim_state has {len(groups)} parameter groups, the optimizer has "
            f"{len(optimizer.param_groups)}"
        )
    for i, (group, live) in enumerate(zip(groups, optimizer.param_groups, strict=True)):
        if len(group["params"]) != len(live["params"]):
            raise ValueError(
                f"group {i} of swapin_optim_state has {len(group['params'])} parameters, "
                f"the optimizer's has {len(live['params'])}"
            )
    wanted = sum(len(group["params"]) for group in groups)
    if len(params) != wanted:
        raise ValueError(
            f"swapin_parameters has {len(params)} tensors, the optimizer has {wanted} parameters"
        )


@contextlib.contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: dict[str, Tensor], swapin_optim_state: dict[str, Any]
):
    """Within the context `optimizer` has the given parameters and state; its own come back at the
    end.

    Args:
        optimizer: the optimizer to lend.
        swapin_parameters: name -> tensor, in the order of the optimizer's own parameters.
        swapin_optim_state: shaped as `optimizer.state_dict()`. Its tensors are used as they are, so
            in-place updates are seen by the caller; entries that are put in or replaced are not.

    Raises ValueError where the numbers of groups or of parameters differ.
    """
    _check(optimizer, swapin_parameters, swapin_optim_state)
    tensors = list(swapin_parameters.values())
    groups, owner, offset = [], {}, 0
    for packed, live in zip(
        swapin_optim_state["param_groups"], optimizer.param_groups, strict=True
    ):
        taken = tensors[offset : offset + len(packed["params"])]
        offset += len(taken)
        owner.update(zip(packed["params"], taken, strict=True))
        groups.append({**live, **packed, "params": taken})
    state: defaultdict[Any, Any] = defaultdict(dict)
    for key, value in swapin_optim_state["state"].items():
        state[owner.get(key, key)] = dict(value) if isinstance(value, dict) else value

    own = optimizer.param_groups, optimizer.state
    optimizer.param_groups, optimizer.state = groups, state
    try:
        yield
    finally:
        optimizer.param_groups, optimizer.state = own
