"""NumPy's names of arguments, and errors that name the argument: one wrapper for every public function.

PyTorch accepts `axis` for `dim`, `keepdims` for `keepdim`, `x`, `a` and `x1` for `input`, `x2` for `other`, wherever
its own parser reads the arguments. Here a call goes straight through; only when it has failed is it looked at again:
names that the function does not have are translated and the call repeated (it failed before it began), and an argument
of the wrong kind is reported as PyTorch's parser reports it, which reads all of them before anything else happens. What
kind an argument must be follows from its name and from its default.

The closures of bind.py look at such names themselves, and what is hot and has no such argument is left alone.
"""

from __future__ import annotations

from rushlight.bind import TRANSLATION, kind_of
from rushlight.core.dtype import INTEGER, DType
from rushlight.tensor import Tensor


def _parameters(f):
    code = f.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _defaults(f):
    """The default of each parameter that has one."""
    code, defaults = f.__code__, f.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    found = dict(zip(names[len(names) - len(defaults) :], defaults))
    found.update(f.__kwdefaults__ or {})
    return found


# ---- kinds of arguments ------------------------------------------------------------------------------------------


def _is_int(v):
    if isinstance(v, Tensor):
        return v._data.ndim == 0 and v.dtype.category == INTEGER
    return hasattr(v, "__index__") and not isinstance(v, bool)


def _is_dims(v):
    return _is_int(v) or isinstance(v, (tuple, list)) and all(map(_is_dims, v))


def _is_float(v):
    return isinstance(v, (int, float)) and not isinstance(v, bool) or isinstance(v, Tensor) and v._data.ndim == 0 or _is_int(v) or type(v).__module__ == "numpy"


def _is_number(v):
    return isinstance(v, (bool, complex)) or _is_float(v)


def _is_out(v):
    return isinstance(v, Tensor) or isinstance(v, (tuple, list)) and all(isinstance(t, Tensor) for t in v)


_TENSOR, _INT, _BOOL = (lambda v: isinstance(v, Tensor), "Tensor"), (_is_int, "int"), (lambda v: isinstance(v, bool), "bool")
_DTYPE = (lambda v: isinstance(v, DType) or v in (int, float, bool, complex), "torch.dtype")
_OF_NAME = {
    **dict.fromkeys(("input", "self", "mask", "mat", "mat1", "mat2", "batch1", "batch2", "vec", "vec1", "vec2", "tensor1", "tensor2",
                     "x1", "x2", "boundaries", "sorted_sequence", "sorter", "weights", "LU_data", "LU_pivots", "LU", "pivots", "A", "B", "tau"), _TENSOR),
    **dict.fromkeys(("k", "diagonal", "offset", "dim0", "dim1", "dim2", "chunks", "r", "n_fft", "minlength", "hop_length", "win_length", "steps"), _INT),
    **dict.fromkeys(("dim", "dims"), (_is_dims, "int")),
    **dict.fromkeys(("size", "stride"), (lambda v: not isinstance(v, Tensor) and _is_dims(v), "tuple of ints")),
    **dict.fromkeys(("kernel_size", "dilation", "output_padding"), (_is_dims, "tuple of ints")),
    "padding": (lambda v: isinstance(v, str) or _is_dims(v), "tuple of ints"),  # conv's may be "same" or "valid"
    "alpha": (_is_number, "Number"),
    "beta": (_is_number, "Number"),
    **dict.fromkeys(("std", "spacing"), (lambda v: isinstance(v, (Tensor, list, tuple)) or _is_number(v), "Number")),
    "bins": (lambda v: isinstance(v, (Tensor, list, tuple)) or _is_int(v), "int"),
    **dict.fromkeys(("index", "n"), (lambda v: isinstance(v, Tensor) or _is_int(v), "int")),
    "dtype": _DTYPE,
    "out": (_is_out, "Tensor"),
}  # fmt: skip


def _kind(name, default):
    """(test, word) of what an argument must be; None where nothing is known."""
    if isinstance(default, bool):
        return _BOOL
    found = _OF_NAME.get(name)
    if found is None and type(default) in (int, float):
        return (_is_number, "Number")
    return found


def complaint(f, args, kwargs):
    """The TypeError of PyTorch's parser for the first argument of a wrong kind; None where all are of the right one."""
    names, defaults = _parameters(f), _defaults(f)
    positions = f.__code__.co_argcount
    for i, name in enumerate(names):
        given = i < min(positions, len(args))
        if not given and name not in kwargs:
            continue
        value = args[i] if given else kwargs[name]
        if value is None and defaults.get(name, value) is None and name not in ("input", "self"):
            continue
        kind = _kind(name, defaults.get(name))
        if kind is None or name in defaults and value is defaults[name] or kind[0](value):
            continue
        shown = "input" if name == "self" else name
        place = f" (position {i + 1})" if given else ""
        return TypeError(f"{f.__name__}(): argument '{shown}'{place} must be {kind[1]}, not {kind_of(value)}")
    return None


# ---- the second look ---------------------------------------------------------------------------------------------

_ODD = (AttributeError, KeyError, StopIteration)  # what PyTorch's functions never raise: something was no argument for them


def again(f, args, kwargs, error):
    """The keywords of a second try, None if there is none; TypeError where an argument is of the wrong kind."""
    names = _parameters(f)
    if isinstance(error, (TypeError, AttributeError)):
        changed = {TRANSLATION.get(k, k) if k not in names else k: v for k, v in kwargs.items()}
        if changed.keys() != kwargs.keys() and changed.keys() <= set(names) and len(changed) == len(kwargs):
            return changed
    found = complaint(f, args, kwargs)
    if found is not None:
        raise found from None
    if isinstance(error, _ODD):
        given = ", ".join([*map(kind_of, args), *(f"{k}={kind_of(v)}" for k, v in kwargs.items())])
        wanted = ", ".join(n for n in names if n != "self")
        raise TypeError(f"{f.__name__}() received an invalid combination of arguments - got ({given}), but expected ({wanted})") from error
    return None


def translated(f):
    """`f` under NumPy's argument names too, with PyTorch's errors for arguments of a wrong kind."""

    def call(*args, **kwargs):
        try:
            return f(*args, **kwargs)
        except (TypeError, AttributeError, KeyError, StopIteration, RuntimeError, ValueError, IndexError) as error:
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
    "tensor", "as_tensor", "zeros", "ones", "empty", "full", "arange", "rand", "randn",
}  # fmt: skip


def wrap_all(functions, methods):
    """Wrap what has an argument of one of these names, in both tables; one wrapper a function."""
    wanted = {"dim", "keepdim", "input", "other", "out", "dtype", "size"}
    made = {}
    for table in (functions, methods):
        for name, f in table.items():
            if type(f) is not _FUNCTION or name in _DIRECT or name.rpartition(".")[2].startswith("_") or hasattr(f, "__op__") or hasattr(f, "__wrapped__"):
                continue
            if wanted.intersection(_parameters(f)):
                if f not in made:
                    made[f] = translated(f)
                table[name] = made[f]


_FUNCTION = type(wrap_all)
