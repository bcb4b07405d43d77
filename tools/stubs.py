"""Write rushlight/__init__.pyi, from which editors complete `torch.` and the methods of Tensor.

    python tools/stubs.py            write the file
    python tools/stubs.py --check    exit with 1 if the file is not what would be written

The names and signatures are read off the imported package; the types of parameters and results follow from their names
(tables below), and are Any where a name says nothing.
"""

import inspect
import keyword
import pathlib
import sys

import rushlight

TARGET = pathlib.Path(rushlight.__file__).parent / "__init__.pyi"

HEADER = '''"""Types of rushlight's public names. Written by tools/stubs.py: do not edit."""

import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any

'''

_SIZES = "builtins.int | Sequence[builtins.int]"
#: the type of a parameter, by its name
PARAMETERS = {
    "input": "Tensor", "self": "Tensor", "mat1": "Tensor", "mat2": "Tensor", "tensor": "Tensor", "source": "Tensor", "src": "Tensor", "mask": "Tensor",
    "index": "Tensor | builtins.int", "indices": "Tensor", "weight": "Tensor | None", "condition": "Tensor",
    "other": "Tensor | builtins.float", "tensors": "Sequence[Tensor]", "out": "Tensor | None", "dtype": "_dtype | None", "device": "_device | builtins.str | builtins.int | None",
    "layout": "_layout | None", "memory_format": "memory_format | None", "generator": "Generator | None", "requires_grad": "builtins.bool", "pin_memory": "builtins.bool",
    "keepdim": "builtins.bool", "dim": f"{_SIZES} | None", "dims": _SIZES, "size": _SIZES, "sizes": _SIZES, "shape": _SIZES, "non_blocking": "builtins.bool",
    "descending": "builtins.bool", "largest": "builtins.bool", "sorted": "builtins.bool", "stable": "builtins.bool", "inplace": "builtins.bool",
    "dim0": "builtins.int", "dim1": "builtins.int", "dim2": "builtins.int", "start_dim": "builtins.int", "end_dim": "builtins.int", "diagonal": "builtins.int",
    "steps": "builtins.int", "k": "builtins.int", "n": "builtins.int", "m": "builtins.int | None", "chunks": "builtins.int", "length": "builtins.int",
    "eps": "builtins.float", "p": "builtins.float", "alpha": "builtins.float", "beta": "builtins.float", "value": "Tensor | builtins.float",
    "reduction": "builtins.str", "equation": "builtins.str", "callable": "Callable[..., Any]", "hook": "Callable[..., Any]",
}  # fmt: skip
_TUPLE = "tuple[Tensor, ...]"
#: the type of a result, by the function's name; what is in no table gives a Tensor
RESULTS = {
    **dict.fromkeys("allclose equal can_cast is_same_size has_names __bool__ __contains__".split(), "builtins.bool"),
    **dict.fromkeys("numel nelement dim ndimension element_size data_ptr storage_offset get_device __len__ __int__ __index__ seed initial_seed get_num_threads".split(), "builtins.int"),
    **dict.fromkeys(["__float__"], "builtins.float"),
    **dict.fromkeys("split chunk unbind tensor_split hsplit vsplit dsplit split_with_sizes meshgrid broadcast_tensors atleast_1d nonzero_static".split(), _TUPLE),
    **dict.fromkeys("promote_types result_type get_default_dtype".split(), "_dtype"),
    **dict.fromkeys("set_default_dtype set_default_device set_default_tensor_type set_printoptions set_num_threads backward retain_grad save manual_seed_all set_rng_state".split(), "None"),
    **dict.fromkeys("item tolist numpy type size stride max min median mode kthvalue cummax cummin sort topk aminmax unique unique_consecutive std_mean var_mean load".split(), "Any"),
    **dict.fromkeys("get_default_device".split(), "_device"),
    **dict.fromkeys("manual_seed".split(), "Generator"),
    **dict.fromkeys("broadcast_shapes".split(), "Size"),
    "untyped_storage": "UntypedStorage", "storage": "TypedStorage", "__iter__": "Iterator[Tensor]", "__repr__": "builtins.str", "__format__": "builtins.str",
}  # fmt: skip
PROPERTIES = {
    "shape": "Size", "dtype": "_dtype", "device": "_device", "layout": "_layout", "ndim": "builtins.int", "nbytes": "builtins.int", "itemsize": "builtins.int",
    "requires_grad": "builtins.bool", "is_leaf": "builtins.bool", "grad": "Tensor | None", "data": "Tensor", "T": "Tensor", "mT": "Tensor", "H": "Tensor", "mH": "Tensor",
    "real": "Tensor", "imag": "Tensor", "is_meta": "builtins.bool", "is_cuda": "builtins.bool", "is_cpu": "builtins.bool", "retains_grad": "builtins.bool", "output_nr": "builtins.int",
}  # fmt: skip


def annotated(p):
    """One parameter as it stands in the stub."""
    kind = PARAMETERS.get(p.name, "Any")
    if p.kind is p.VAR_POSITIONAL:
        return f"*{p.name}: {'builtins.int | Sequence[builtins.int]' if p.name in ('size', 'shape', 'sizes', 'dims', 'repeats') else 'Any'}"
    if p.default is p.empty:
        return f"{p.name}: {kind}"
    default = repr(p.default) if isinstance(p.default, (bool, int, float, str, type(None))) and repr(p.default) not in ("inf", "-inf", "nan") else "..."
    if p.default is None and "None" not in kind and kind != "Any":
        kind += " | None"
    return f"{p.name}: {kind} = {default}"


def signature(f, method=False):
    """`(a: Tensor, *, b: ...)`: the signature of a function; of a method with `self`."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        return "(self, *args: Any, **kwargs: Any)" if method else "(*args: Any, **kwargs: Any)"
    translated = any(p.kind is p.VAR_KEYWORD for p in parameters)  # input=None there stands for NumPy's names of it
    parts, star = [], False
    for i, p in enumerate(parameters):
        if p.kind is p.VAR_KEYWORD or keyword.iskeyword(p.name):
            continue
        if method and i == 0 and p.kind is not p.VAR_POSITIONAL:
            parts.append("self")
            continue
        if translated and p.default is None and p.name in ("input", "other", "x", "y"):
            p = p.replace(default=p.empty)
        if p.kind is p.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        star = star or p.kind is p.VAR_POSITIONAL
        parts.append(annotated(p))
    if method and parts[:1] != ["self"]:
        parts.insert(0, "self")
    return f"({', '.join(parts)})"


def result(name):
    """The type of what a function gives."""
    return RESULTS.get(name) or ("builtins.bool" if name.startswith("is_") else "Tensor")


def function(name, f, indent="", method=False):
    """The lines of one function."""
    if inspect.isclass(f):
        return f"{indent}class {name}: ...\n" if not method else ""
    return f"{indent}def {name}{signature(f, method)} -> {result(name)}: ...\n"


def tensor():
    """The class Tensor."""
    lines = ["class Tensor:\n", "    def __init__(self, *args: Any, device: Any = None) -> None: ...\n"]
    skipped = {"__new__", "__init__", "__init_subclass__", "__module__", "__doc__", "__slots__", "__dict__", "__weakref__", "__torch_function__", "__hash__", "__qualname__"}
    for name, f in sorted(vars(rushlight.Tensor).items()):
        if name in skipped or name.startswith("_") and not name.startswith("__") or keyword.iskeyword(name):
            continue
        if isinstance(f, property):
            kind = PROPERTIES.get(name, "builtins.bool" if name.startswith("is_") else "Any")
            lines.append(f"    @property\n    def {name}(self) -> {kind}: ...\n")
            if f.fset:
                lines.append(f"    @{name}.setter\n    def {name}(self, value: {kind}) -> None: ...\n")
        elif inspect.isfunction(f):
            lines.append(function(name, f, "    ", method=True))
        elif isinstance(f, bool):
            lines.append(f"    {name}: builtins.bool\n")
    return "".join(lines)


def stub():
    """The whole text."""
    names = {n: v for n, v in vars(rushlight).items() if not n.startswith("_")}
    classes = {"Tensor": tensor()}
    text = [HEADER]
    packages = sorted(n for n in rushlight._LAZY if not n.startswith("_") and (TARGET.parent / n / "__init__.py").exists() or (TARGET.parent / f"{n}.py").exists() and n in rushlight._LAZY and not n.startswith("_"))
    text += [f"from . import {n} as {n}\n" for n in packages]
    text += ["from . import autograd as autograd\n"]
    text += [f"from .{home} import {n} as {n}\n" for n, home in sorted(rushlight._HOME.items(), key=lambda item: item[::-1])]
    text += ["\n__version__: builtins.str\n"]
    text += [f"{n}: builtins.float\n" for n in ("inf", "nan", "pi", "e")]
    values = {"dtype": rushlight.dtype, "layout": rushlight.layout, "memory_format": rushlight.memory_format}
    for kind, cls in values.items():
        text += [f"{n}: {kind}\n" for n, v in sorted(names.items()) if isinstance(v, cls)]
    text.append("\n")
    for name in ("dtype", "layout", "memory_format", "device", "Size", "Generator", "UntypedStorage", "TypedStorage"):
        base = "(tuple[builtins.int, ...])" if name == "Size" else ""
        public = [m for m in sorted(vars(names[name])) if not m.startswith("_") and m not in ("index", "count")]
        if name == "device":
            public = ["type", "index"]
        body = [f"    {m}: Any\n" for m in public] or ["    ...\n"]
        init = "    def __init__(self, *args: Any, **kwargs: Any) -> None: ...\n"
        classes[name] = f"class {name}{base}:\n" + init + "".join(body)
    text += [classes[n] + "\n" for n in classes]
    text += ["# inside class Tensor these names are its properties\n", *(f"_{n} = {n}\n" for n in ("dtype", "device", "layout")), "\n"]
    done = set(classes) | set(rushlight._HOME)
    for name, f in sorted(names.items()):
        if name not in done and callable(f) and not isinstance(f, type(sys)) and not keyword.iskeyword(name) and not isinstance(f, tuple(values.values())):
            text.append(function(name, f))
    return "".join(text)


def main():
    if "--check" in sys.argv[1:]:
        sys.exit(0 if TARGET.exists() and TARGET.read_text() == stub() else "rushlight/__init__.pyi is not current: run python tools/stubs.py")
    TARGET.write_text(stub())


if __name__ == "__main__":
    main()
