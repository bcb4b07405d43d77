"""Which rows have a compiled reading, and from which size it is asked.

`ROWS` names, for a row, the function of codegen/ that takes the row's own arrays and attributes and gives the result,
or NotImplemented where NumPy should do it: dtypes, layouts or sizes at which it is not faster. `reading` puts the two
together. The modules are loaded when the first large operand is met, because small programs never need them; without
llvmlite every row is NumPy's.

Pointwise rows and reductions need no entry: their kernels follow from the row's body (codegen/eager.py, reduction.py).

Invariant: the two readings of a row agree to rounding, so that the switch-over is a matter of speed alone.
"""

from __future__ import annotations

from importlib import import_module

#: elements from which pointwise rows and reductions are asked for a compiled kernel
LARGE = 1 << 15

# fmt: off
#: row: (module, function, elements of the largest operand from which it is asked)
ROWS = {
    "softmax":             ("rows", "softmax", 1 << 11),
    "log_softmax":         ("rows", "log_softmax", 1 << 11),
    "softmax_backward":    ("rows", "softmax_adjoint", 1 << 12),
    "log_softmax_backward": ("rows", "log_softmax_adjoint", 1 << 12),
    "layer_norm":          ("rows", "layer_norm", 1 << 10),
    "rms_norm":            ("rms", "rms_norm", 1 << 12),
    "rms_norm_plain":      ("rms", "rms_norm_plain", 1 << 12),
    "rms_norm_backward":   ("rms", "rms_norm_adjoint", 1 << 12),
    "rms_norm_weight":     ("rms", "rms_norm_weight", 1 << 12),
    "layer_norm_backward": ("rows", "layer_norm_adjoint", 1 << 12),
    "layer_norm_weight":   ("rows", "layer_norm_weight", 1 << 12),
    "group_norm":          ("rows", "group_norm", 1 << 12),
    "batch_norm":          ("batchnorm", "batch_norm", 1 << 10),
    "batch_norm_backward": ("batchnorm", "batch_norm_adjoint", 1 << 10),
    "batch_norm_gradients": ("batchnorm", "batch_norm_gradients", 1 << 10),
    "batch_norm_weight":   ("batchnorm", "batch_norm_weight", 1 << 10),
    "sort":               ("sorting", "sort",          1 << 9),
    "topk":               ("sorting", "topk",          1 << 9),
    "kthvalue":           ("sorting", "kthvalue",      1 << 9),
    "median":             ("sorting", "median",        1 << 9),
    "cummax":             ("scans", "cummax",          1 << 12),
    "cummin":             ("scans", "cummin",          1 << 12),
    "max":                ("extremes", "max_dim",      1 << 13),
    "min":                ("extremes", "min_dim",      1 << 13),
    "argmax":             ("extremes", "argmax",       1 << 13),
    "argmin":             ("extremes", "argmin",       1 << 13),
    "gather":             ("gathering", "gather",        1 << 12),
    "scatter":            ("gathering", "scatter",       1 << 12),
    "scatter_value":      ("gathering", "scatter_value", 1 << 12),
    "scatter_add":        ("gathering", "scatter_add",   1 << 10),
    "index_select":       ("gathering", "index_select",  1 << 14),
    "index_add":          ("gathering", "index_add",     1 << 10),
    "index":              ("gathering", "index",         1 << 14),
    "index_put":          ("gathering", "index_put",     1 << 10),
    "embedding":          ("gathering", "embedding",     1 << 14),
    "embedding_backward": ("gathering", "embedding_adjoint", 1 << 10),
    "cat":                ("copying", "cat",          1 << 15),
    "stack":              ("copying", "stack",        1 << 15),
    "tril":               ("copying", "tril",         1 << 13),
    "triu":               ("copying", "triu",         1 << 13),
    "flip":               ("copying", "flip",         1 << 14),
    "repeat":             ("copying", "repeat",       1 << 12),
    "mm":                 ("matmul", "matmul",         1 << 13),
    "bmm":                ("matmul", "matmul",         1 << 10),
    "matmul":             ("matmul", "matmul",         1 << 10),
    "addmm":              ("matmul", "addmm",          1 << 10),
    "baddbmm":            ("matmul", "addmm",          1 << 10),
    "linear":             ("matmul", "linear",         1 << 10),
    "linear_batch":       ("matmul", "linear",         1 << 10),
    "linear_plain":       ("matmul", "linear",         1 << 10),
    "linear_plain_batch": ("matmul", "linear",         1 << 10),
    "attention":          ("attention", "attention",         1 << 11),
    "attention_backward": ("attention", "attention_adjoint", 1 << 11),
    "max_pool":           ("windows", "max_plain",   1 << 11),
    "max_pool2d":         ("windows", "max_pool",    1 << 11),
    "max_pool3d":         ("windows", "max_pool",    1 << 11),
    "avg_pool2d":         ("windows", "avg_pool",    1 << 11),
    "avg_pool3d":         ("windows", "avg_pool",    1 << 11),
    "avg_pool_backward":  ("windows", "avg_adjoint", 1 << 11),
    "put_flat":           ("windows", "put_flat",    1 << 11),
    "lstm_layer":          ("recurrent", "lstm",         1 << 11),
    "lstm_layer_packed":   ("recurrent", "lstm",         1 << 11),
    "lstm_layer_float32":  ("recurrent", "lstm",         1 << 11),
    "lstm_layer_backward": ("recurrent", "lstm_adjoint", 1 << 11),
    "gru_layer":           ("recurrent", "gru",          1 << 11),
    "gru_layer_packed":    ("recurrent", "gru",          1 << 11),
    "gru_layer_backward":  ("recurrent", "gru_adjoint",  1 << 11),
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


_FAMILIES = {"pointwise": ("eager", "pointwise"), "reduction": ("reduction", "reduce"), "scan": ("scans", "scan")}
_COPIES = ("clone", "copy")
_loaded = {}


def run(op, spec, args, attrs, out):
    """The result of a pointwise row or a reduction on large operands; None where NumPy should do it."""
    where = ("eager", op.name) if op.name in _COPIES else _FAMILIES.get(op.family)
    if where is None or spec.__class__ is tuple:
        return None
    found = _loaded.get(where, _loaded)
    if found is _loaded:
        found = _loaded[where] = _load(*where)
    if found is None:
        return None
    if where[0] == "eager":
        return found(op, spec, [getattr(a, "_data", a) for a in args], attrs, None if out is None else out._data)
    return found(op, spec, args[0]._data, attrs) if out is None else None


def ready(op, spec, arrays, attrs):
    """A pointwise kernel for further calls on such arrays (codegen/eager.py: ready); None where there is none."""
    found = _loaded.get("ready", _loaded)
    if found is _loaded:
        found = _loaded["ready"] = _load("eager", "ready")
    return None if found is None else found(op, spec, arrays, attrs)


def many_words(twister, out):
    """Write whole blocks of random words by a kernel (codegen/twister.py); whether that could be."""
    found = _loaded.get("words", _loaded)
    if found is _loaded:
        found = _loaded["words"] = _load("twister", "fill")
    if found is None:
        return False
    found(twister, out)
    return True


def formulas(size):
    """The module codegen/formulas.py where kernels can be compiled, and either are already or `size` elements are worth it; else None."""
    found = _loaded.get("formulas", _loaded)
    if found is _loaded:
        if size < LARGE >> 3 and not _loaded:
            return None
        found = _loaded["formulas"] = import_module("rushlight.codegen.formulas") if import_module("rushlight.codegen.native").available() else None
    return found


def extent(a):
    """(smallest, largest) of an array of integers that is not empty, as Python's."""
    if a.size >= LARGE:
        found = _loaded.get("extent", _loaded)
        if found is _loaded:
            found = _loaded["extent"] = _load("reduction", "extent")
        if found is not None:
            ends = found(a)
            if ends is not None:
                return ends
    return int(a.min()), int(a.max())


def checks(index):
    """Whether gather, scatter and scatter_add find out themselves that an index is out of range: large ones, on kernels."""
    if index.size < LARGE:
        return False
    found = _loaded.get("checks", _loaded)
    if found is _loaded:
        found = _loaded["checks"] = _load("gathering", "gather")
    return found is not None


def distinct(a, inverse, counts):
    """(values in order, number of each element's value, counts) of a large array, of the last two what is asked for.

    None where NumPy should do it."""
    if a.size < LARGE:
        return None
    found = _loaded.get("distinct", _loaded)
    if found is _loaded:
        found = _loaded["distinct"] = _load("sorting", "distinct")
    return None if found is None else found(a, inverse, counts)


def flat(op):
    """run(x, y=None, out=None) for large contiguous operands of one shape (codegen/eager.py: flat).

    LookupError where the general path has to decide.
    """
    found = None

    def run(*arrays):
        nonlocal found
        if found is None:
            made = _load("eager", "flat")
            found = _otherwise if made is None else made(op)
        return found(*arrays)

    return run


def _otherwise(*arrays):
    raise LookupError


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
