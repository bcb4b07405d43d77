"""Which rows have a compiled reading, and from which size it is asked.

`ROWS` names, for a row, the function of codegen/ that takes the row's own arrays and attributes and gives the result,
or NotImplemented where NumPy should do it: dtypes, layouts or sizes at which it is not faster. `reading` puts the two
together. The modules are loaded when the first large operand is met, because small programs never need them; without
llvmlite every row is NumPy's.

Invariant: the two readings of a row agree to rounding, so that the switch-over is a matter of speed alone.
"""

from __future__ import annotations

from importlib import import_module

# fmt: off
#: row: (module, function, elements of the largest operand from which it is asked)
ROWS = {
    "mm":                 ("matmul", "matmul",         1 << 10),
    "bmm":                ("matmul", "matmul",         1 << 10),
    "matmul":             ("matmul", "matmul",         1 << 10),
    "addmm":              ("matmul", "addmm",          1 << 10),
    "baddbmm":            ("matmul", "addmm",          1 << 10),
    "linear":             ("matmul", "linear",         1 << 10),
    "linear_batch":       ("matmul", "linear",         1 << 10),
    "linear_plain":       ("matmul", "linear",         1 << 10),
    "linear_plain_batch": ("matmul", "linear",         1 << 10),
    "conv":               ("conv",   "conv",           1 << 9),
    "conv_transpose":     ("conv",   "conv_transpose", 1 << 9),
    "conv_weight":        ("conv",   "conv_weight",    1 << 9),
}
# fmt: on


def _load(module, function):
    """A compiled reading; None where kernels cannot be compiled."""
    if not import_module("rushlight.codegen.native").available():
        return None
    return getattr(import_module(f"rushlight.codegen.{module}"), function)


def reading(name, plain):
    """The reading of row `name`: `plain`, NumPy's, with the compiled one for large operands where the row has one."""
    if name not in ROWS:
        return plain
    module, function, large = ROWS[name]
    compiled = NotImplemented

    def either(*arrays, **attrs):
        nonlocal compiled
        for a in arrays:
            if a is not None and a.size >= large:
                break
        else:
            return plain(*arrays, **attrs)
        if compiled is NotImplemented:
            compiled = _load(module, function)
        result = NotImplemented if compiled is None else compiled(*arrays, **attrs)
        return plain(*arrays, **attrs) if result is NotImplemented else result

    return either
