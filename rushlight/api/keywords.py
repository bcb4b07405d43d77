"""NumPy's names of arguments, and errors that name the argument: one wrapper for every public function.

PyTorch accepts `axis` for `dim`, `keepdims` for `keepdim`, `x`, `a` and `x1` for `input`, `x2` for `other`, wherever
its own parser reads the arguments. Here a call goes straight through; only when it has failed is it looked at again:
names that the function does not have are translated and the call repeated (it failed before it began), and a first
argument that is no tensor is reported as PyTorch reports it.

The closures of bind.py look at such names themselves, and what is hot and has no such argument is left alone.
"""

from __future__ import annotations

from rushlight.bind import TRANSLATION, kind_of
from rushlight.tensor import Tensor


def _parameters(f):
    code = f.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def again(f, args, kwargs, error):
    """The keywords of a second try, None if there is none; TypeError where an argument should have been a tensor."""
    names = _parameters(f)
    changed = {TRANSLATION.get(k, k) if k not in names else k: v for k, v in kwargs.items()}
    if changed.keys() != kwargs.keys() and changed.keys() <= set(names) and len(changed) == len(kwargs):
        return changed
    given = [*zip(names, args), *((k, v) for k, v in kwargs.items() if k in names)]
    for position, (name, value) in enumerate(given, 1):
        if isinstance(value, Tensor):
            continue
        # the attribute of a tensor was looked for in something else, or there is no tensor to begin with
        if value is getattr(error, "obj", error) or position == 1 and name in ("input", "self"):
            name = "input" if name == "self" else name
            raise TypeError(f"{f.__name__}(): argument '{name}' (position {position}) must be Tensor, not {kind_of(value)}")
    return None


def translated(f):
    """`f` under NumPy's argument names too."""

    def call(*args, **kwargs):
        try:
            return f(*args, **kwargs)
        except (TypeError, AttributeError) as error:
            changed = again(f, args, kwargs, error)
            if changed is None:
                raise
        return f(*args, **changed)

    call.__name__, call.__qualname__, call.__doc__, call.__module__ = f.__name__, f.__qualname__, f.__doc__, f.__module__
    call.__wrapped__ = call.direct = f  # the first is replaced where classes override functions
    return call


#: called for every op of a small model, and without an argument that NumPy calls otherwise
_DIRECT = {
    "reshape", "view", "expand", "expand_as", "transpose", "t", "permute", "clone", "detach", "contiguous", "to", "item", "copy_", "fill_", "zero_",
    "matmul", "add", "sub", "add_", "sub_", "pow", "pow_", "sum", "mean", "numel", "linear", "where", "addcmul_", "addcdiv_", "lerp_", "sum_to_size",
}  # fmt: skip


def wrap_all(functions, methods):
    """Wrap what has an argument of one of these names, in both tables; one wrapper a function."""
    wanted = {"dim", "keepdim", "input", "other"}
    made = {}
    for table in (functions, methods):
        for name, f in table.items():
            if type(f) is not _FUNCTION or name in _DIRECT or name.startswith("__") or hasattr(f, "__op__") or hasattr(f, "__wrapped__"):
                continue
            if wanted.intersection(_parameters(f)):
                if f not in made:
                    made[f] = translated(f)
                table[name] = made[f]


_FUNCTION = type(wrap_all)
