"""The base of every optimizer: groups, state, checkpoints and the walk over the parameters.

Mechanism. `param_groups` is a list of dicts: the parameters ("params") and their hyper-parameters.
`state` maps a parameter to a dict of what must be remembered for it. An optimizer of this package
states two methods and nothing else:

    _init_state(p, g, state, group)   fills the empty dict `state` for one parameter
    _rule(group)                      reads hyper-parameters, returns update(p, g, state)

and `step` walks the groups: the hyper-parameters are resolved once a group, each parameter then
costs one look-up of its state and the tensor operations of `update`. What nearly all rules share
(sign of the gradient, coupled or decoupled weight decay, complex parameters seen as pairs of reals)
is done by the walk, once, from the class's flags.

Invariants.
- `update` changes `p` and the tensors of `state` in place and uses only public tensor operations,
  in the order of operations of PyTorch's per-parameter loop, so that the digits agree and one
  kernel can later serve every parameter.
- A checkpoint is PyTorch's: {"state": {index: {...}}, "param_groups": [{..., "params": [index]}]};
  "step" is a 0-dim tensor in the optimizers that keep it so there.
- Hooks run once a step, around the outermost `step`, also around the `step` of a user's own
  subclass.
- Hooks, and the `step` that a scheduler puts on the instance, are neither pickled nor copied.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any

import rushlight
from rushlight import Tensor

from ._common import number, scalar, scalar_dtype
from ._hooks import (
    Hooked,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

__all__ = [
    "Optimizer",
    "register_optimizer_step_post_hook",
    "register_optimizer_step_pre_hook",
    "required",
]

StateDict = dict[str, Any]
ParamsT = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]

CAPTURABLE_DEVICES = ("cuda", "xpu", "hpu", "privateuseone", "xla")

# What a checkpoint written before a hyper-parameter existed means by its absence.
_ABSENT = {
    "momentum": 0,
    "nesterov": False,
    "amsgrad": False,
    "centered": False,
    "maximize": False,
    "foreach": None,
    "capturable": False,
    "differentiable": False,
    "decoupled_weight_decay": False,
    "fused": None,
}


class _RequiredParameter:
    """The default of a hyper-parameter that every group must state for itself."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _RequiredParameter()


def _typename(x) -> str:
    kind = type(x)
    return (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )


class Optimizer(Hooked):
    """Base class of all optimizers.

    Args:
        params: an iterable of tensors, of (name, tensor) pairs, or of dicts that each define a
            parameter group. The order must be the same from run to run, because a checkpoint refers
            to parameters by position.
        defaults: hyper-parameters for the groups that do not state their own.

    A subclass of one's own overrides `step`; see the file's docstring for the two methods that the
    optimizers of this package define instead.
    """

    _decoupled_decay = False  # weight decay multiplies p instead of joining the gradient
    _own_decay = False  # the rule applies weight decay itself
    _sparse_ok = False  # the rule accepts a sparse gradient
    _foreach_excludes_recording = (
        True  # foreach=True and differentiable=True cannot both be asked for
    )
    _complex = "pairs"  # complex parameters: as "pairs" of reals, "native", or an "error"
    _tensor_state: tuple[str, ...] = ()  # state entries that old checkpoints hold as numbers
    _no_sparse = "{} does not support sparse gradients"

    def __init__(self, params: ParamsT, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._init_hooks()
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                "dicts, but got "
                f"{params.type()}; for a single tensor write [tensor] instead"
            )
        self.state: defaultdict[Tensor, Any] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        groups = list(params)
        if not groups:
            raise ValueError(
                "optimizer got an empty parameter list: a generator such as "
                "model.parameters() can be read only once"
            )
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # ---- pickling, repr

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._init_hooks()
        for group in self.param_groups:
            for name, value in _ABSENT.items():
                if name in self.defaults:
                    group.setdefault(name, value)
            for p in group["params"]:
                kept = self.state.get(p) or {}
                for name in self._tensor_state:
                    if name in kept and not isinstance(kept[name], Tensor):
                        kept[name] = rushlight.tensor(float(kept[name]), dtype=scalar_dtype())

    def __repr__(self) -> str:
        lines = [type(self).__name__ + " ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
            lines.append("")
        lines[-1] = ")"
        return "\n".join(lines)

    # ---- checkpoints

    def state_dict(self) -> StateDict:
        """The state of the optimizer as a dict of two entries.

        "state" maps a parameter's index to what is remembered for it; "param_groups" is a list of
        the groups' dicts in which "params" holds indices. Tensors are shared with the optimizer,
        not copied.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        index: dict[int, int] = {}
        groups, start = [], 0
        for group in self.param_groups:
            packed = {key: value for key, value in group.items() if key != "params"}
            params = group["params"]
            index.update({id(p): i for i, p in enumerate(params, start) if id(p) not in index})
            start += len(params)
            packed["params"] = [index[id(p)] for p in params]
            groups.append(packed)
        state = {index[id(k)] if isinstance(k, Tensor) else k: v for k, v in self.state.items()}
        out = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            replaced = hook(self, out)
            if replaced is not None:
                out = replaced
        return out

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Take over hyper-parameters and state from a dict made by `state_dict()`, here or in
        PyTorch.

        Parameters are matched by position. State tensors are converted to their parameter's dtype
        and device, "step" excepted. Raises ValueError where the number of groups, or of parameters
        in one, differs.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            if replaced is not None:
                state_dict = replaced

        groups, saved_groups = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups: "
                f"it has {len(saved_groups)}, the optimizer has {len(groups)}"
            )
        for i, (group, saved) in enumerate(zip(groups, saved_groups, strict=True)):
            if len(group["params"]) != len(saved["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the "
                    "size of optimizer's group: "
                    f"group {i} has {len(saved['params'])} parameters in the dict, "
                    f"{len(group['params'])} here"
                )

        owner = {}
        for group, saved in zip(groups, saved_groups, strict=True):
            for key, p in zip(saved["params"], group["params"], strict=True):
                owner[key] = (p, group)
        state: defaultdict[Any, Any] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            if key in owner:
                p, group = owner[key]
                state[p] = _cast(p, value, group)
            else:
                state[key] = value

        for group, saved in zip(groups, saved_groups, strict=True):
            saved["params"] = group["params"]
            if "param_names" in group and "param_names" not in saved:
                saved["param_names"] = group["param_names"]
        self.__setstate__({"state": state, "param_groups": saved_groups})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    # ---- groups

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, for instance layers that were frozen until now.

        Args:
            param_group: {"params": tensors or (name, tensor) pairs} and the hyper-parameters that
                differ from the defaults. The dict itself becomes the group.

        Raises TypeError for what is not a dict, for a set and for what is not a tensor; ValueError
        for a tensor that is not a leaf, that another group holds, or where some parameters have
        names and others have not.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = list(params)
        names = [item[0] for item in params if isinstance(item, tuple)]
        if names:
            if len(names) != len(params):
                raise ValueError(
                    "all optimizer params should be with/without names. "
                    "Some param names are missing: "
                    f"{len(names)} of {len(params)} parameters are (name, tensor) pairs"
                )
            params = [item[1] for item in params]
            param_group["param_names"] = names
        param_group["params"] = params

        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {_typename(p)}"
                )
            if not self.defaults.get("differentiable") and not (p.is_leaf or p.retains_grad):
                raise ValueError(
                    "can't optimize a non-leaf Tensor: the result of an operation is recomputed, "
                    "not trained; pass what it is computed from, or its .detach().requires_grad_()"
                )
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization "
                    f"parameter {name}"
                )
            param_group.setdefault(name, default)
        ids = {id(p) for p in params}
        if len(ids) != len(params):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; "
                "in future, this will cause an error",
                stacklevel=3,
            )
        if any(id(p) in ids for group in self.param_groups for p in group["params"]):
            raise ValueError("some parameters appear in more than one parameter group")
        named = "param_names" in param_group
        if self.param_groups and named != ("param_names" in self.param_groups[0]):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if named else 'without'} names to the optimizer"
            )
        self.param_groups.append(param_group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros in place if `set_to_none`
        is False.

        A dropped gradient costs no memory and skips the parameter at the next step; a zero one does
        not skip it (moments decay, weight decay acts).
        """
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if set_to_none:
                    p.grad = None
                    continue
                if p.grad.grad_fn is not None:
                    p.grad.detach_()
                else:
                    p.grad.requires_grad_(False)
                p.grad.zero_()

    # ---- the step

    def _init_state(self, p: Tensor, g: Tensor, state: dict, group: dict) -> None:
        """Fill the empty `state` of one parameter."""

    def _rule(self, group: dict) -> Callable[[Tensor, Tensor, dict], None]:
        """Read the hyper-parameters of `group` and return its `update(p, g, state)`."""
        raise NotImplementedError(f"{type(self).__name__} defines neither step() nor _rule()")

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient.

        Args:
            closure: clears the gradients, computes the loss, calls backward() and returns the loss;
                it runs with gradients enabled. Returns its result, else None.
        """
        loss = None
        if closure is not None:
            with rushlight.enable_grad():
                loss = closure()
        with rushlight.set_grad_enabled(bool(self.defaults.get("differentiable"))):
            for group in self.param_groups:
                self._step_group(group)
        return loss

    def _step_group(self, group: dict) -> None:
        update = self._rule(group)
        states, sparse_ok = self.state, self._sparse_ok
        maximize = group.get("maximize")
        # a group may carry keys that the optimizer does not know
        decay = group["weight_decay"] if "weight_decay" in self.defaults else None
        if (
            self._foreach_excludes_recording
            and group.get("foreach")
            and group.get("differentiable")
        ):
            raise AssertionError(
                "_foreach ops don't support autograd: leave out foreach=True or differentiable=True"
            )
        shrink = None
        if self._own_decay or not decay:
            decay = None
        elif self._decoupled_decay or group.get("decoupled_weight_decay"):
            shrink, decay = 1 - scalar(group["lr"]) * decay, None
        else:
            decay = number(scalar(decay))
        if group.get("capturable"):
            self._check_capturable(group)

        def whole(p, g, state):
            if maximize:
                g = -g
            if shrink is not None:
                if isinstance(shrink, Tensor) and shrink.requires_grad:
                    p.copy_(p.clone() * shrink)  # the gradient of lr needs p as it was
                else:
                    p.mul_(shrink)
            elif decay is not None:
                if g.is_sparse:
                    raise RuntimeError(
                        "weight_decay option is not compatible with sparse gradients"
                    )
                g = g.add(p, alpha=decay)
            if p.is_complex() and self._complex != "native":
                p, g, state = self._pairs(p, g, state)
            update(p, g, state)

        items = []
        for p in group["params"]:
            g = p.grad
            if g is None:
                continue
            if g.is_sparse and not sparse_ok:
                raise RuntimeError(self._no_sparse.format(type(self).__name__))
            state = states.get(p)
            if not state:
                state = {}
                self._init_state(p, g, state, group)
                if state:
                    states[p] = state
            items.append((p, g, state))
        rushlight._update_each(whole, items)

    def _pairs(self, p, g, state):
        """A complex parameter, its gradient and state as real views with a last dim of two."""
        if self._complex == "error":
            raise RuntimeError(f"{type(self).__name__} does not support complex parameters")
        view = rushlight.view_as_real
        seen = {
            k: view(v) if isinstance(v, Tensor) and v.is_complex() else v for k, v in state.items()
        }
        return view(p), view(g), seen

    def _check_capturable(self, group) -> None:
        for p in group["params"]:
            if p.device.type not in CAPTURABLE_DEVICES:
                raise AssertionError(
                    "If capturable=True, params and state_steps must be on supported devices: "
                    f"{list(CAPTURABLE_DEVICES)}. Found a parameter on {p.device}; write "
                    "capturable=False there."
                )

    @staticmethod
    def _new_step(p: Tensor, group: dict) -> Tensor:
        """A step count of zero: on the host, unless a kernel on the parameter's device is to read
        it."""
        if group.get("capturable") or group.get("fused"):
            return rushlight.zeros((), dtype=scalar_dtype(), device=p.device)
        return rushlight.tensor(0.0, dtype=scalar_dtype())


def _cast(p: Tensor, value, group: dict, key=None):
    """State read from a checkpoint as the parameter needs it: floating state in p's dtype, all on
    p's device."""
    if isinstance(value, Tensor):
        if key == "step":
            if group.get("capturable") or group.get("fused"):
                return value.to(dtype=rushlight.float32, device=p.device)
            return value
        if p.is_floating_point():
            return value.to(dtype=p.dtype, device=p.device)
        return value.to(device=p.device)
    if isinstance(value, Mapping):
        return {k: _cast(p, v, group, key=k) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return type(value)(_cast(p, v, group) for v in value)
    return value
