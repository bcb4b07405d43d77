"""How a tensor becomes text: PyTorch's `repr`, to the character.

Purpose.  `tensor_str` is `Tensor.__repr__`; `set_printoptions` and its kin are its settings.

Mechanism.  Three steps, each ignorant of the others:
  1. fetch    values -> NumPy. A tensor of more than `threshold` elements gives up only its corners,
              `edgeitems` from either end of each dimension longer than both ends together;
  2. texts    all values of one tensor become texts of one width (`_texts`), a flat list in C order;
  3. layout   texts are set in nested brackets (`_block`), and what the values do not show follows
              (`device=`, `size=`, `dtype=`, `grad_fn=`), on a new line where the line is full.

Invariants.
  - Only public attributes of the tensor are read, so every object that has them can be printed; no
    op is recorded, and only the corners of a large tensor are converted or moved between devices.
  - The width of a column is set by its finite non-zero values alone: `nan`, `inf` and zeros neither
    choose the notation nor widen the column.
  - Printing a tensor never raises because of its autograd history.
"""

from contextlib import contextmanager
from itertools import product
from math import inf, prod

import numpy as np

from rushlight.core import dtype as dtypes

__all__ = [
    "format_tensor", "get_printoptions", "printoptions", "set_printoptions", "tensor_str",
]  # fmt: skip

_PROFILES = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short":   {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full":    {"precision": 4, "threshold": inf,  "edgeitems": 3, "linewidth": 80},
}  # fmt: skip

_options = {**_PROFILES["default"], "sci_mode": None}


# ---------------------------------------------------------------------------------------- settings
def set_printoptions(
    precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None
):
    """Set how tensors are printed from now on.

    `profile` ("default", "short" or "full") is applied first, then every argument that is not None.

    - precision: digits after the point (default 4).
    - threshold: a tensor of more elements is summarised (default 1000; `inf` prints everything).
    - edgeitems: elements shown at either end of a summarised dimension (default 3).
    - linewidth: characters in a line (default 80).
    - sci_mode: True or False forces scientific notation on or off; None, which is also what a call
      that does not name it sets, decides by the values of each tensor.
    """
    _options.update(_PROFILES.get(profile, {}))
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    _options.update({name: value for name, value in given.items() if value is not None})
    _options["sci_mode"] = sci_mode


def get_printoptions():
    """The settings in force: a new dict with the keywords of `set_printoptions`, less `profile`."""
    return dict(_options)


@contextmanager
def printoptions(**options):
    """`set_printoptions(**options)` for the length of a `with` block."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


# ------------------------------------------------------------------------------------------- fetch
def _host(x):
    """The values of a small detached tensor as a NumPy array of a type NumPy owns."""
    if x.device.type != "cpu":
        x = x.cpu()
    itemsize = x.dtype.itemsize
    if itemsize < 4 and x.is_floating_point():
        x = x.float()  # half, bfloat16, float8: what is printed is the float32 of the same value
    elif itemsize < 8 and x.is_complex():
        x = x.cfloat()
    return x.numpy()


def _corners(x, cut, edge):
    """The values of `x` with only `edge` entries from either end of each axis that `cut` marks."""
    ends = (slice(None, edge), slice(-edge, None))
    out = None
    for corner in product(*[ends if c else (slice(None),) for c in cut]):
        piece = _host(x[corner])
        if out is None:
            shape = [2 * edge if c else n for c, n in zip(cut, x.shape)]
            out = np.empty(shape, piece.dtype)
        out[corner] = piece
    return out


# ------------------------------------------------------------------------------------------- texts
def _real_texts(values):
    """Python floats -> (their texts at one width, that width)."""
    precision, sci = _options["precision"], _options["sci_mode"]
    shown = [v for v in values if v and v - v == 0]  # v - v is nan for nan and for the infinities
    whole = all([v.is_integer() for v in shown])
    if not shown:
        sci = False
    elif sci is None:
        sizes = [abs(v) for v in shown]
        low, high = min(sizes), max(sizes)
        sci = high > 1e8 or high / low > 1000 or (not whole and low < 1e-4)
    spec = f".{precision}e" if sci else ".0f" if whole else f".{precision}f"
    width = max([len(format(v, spec)) for v in shown], default=1)
    texts = [format(v, spec) for v in values]
    if whole and not sci:
        texts = [t + "." if v - v == 0 else t for t, v in zip(texts, values)]
        width += bool(shown)
    return [t.rjust(width) for t in texts], width


def _texts(array):
    """NumPy array -> (texts of its elements in C order, all of one width; the width of a cell)."""
    kind = array.dtype.kind
    if kind == "f":
        return _real_texts(array.ravel().tolist())
    if kind == "c":
        real, real_width = _real_texts(array.real.ravel().tolist())
        imag, imag_width = _real_texts(array.imag.ravel().tolist())
        imag = [t.lstrip() for t in imag]  # the padding would stand between the sign and the digits
        texts = [r + (i if i[0] == "-" else "+" + i) + "j" for r, i in zip(real, imag)]
        return texts, real_width + imag_width + 1
    texts = [str(v) for v in array.ravel().tolist()]
    width = max([len(t) for t in texts])
    return [t.rjust(width) for t in texts], width


# ------------------------------------------------------------------------------------------ layout
def _block(texts, shape, cut, cell, edge, indent):
    """Nested brackets around `texts`, cells of an array of `shape`; `cut` marks shortened axes."""
    last = len(shape) - 1

    def block(axis, start, count, indent):
        # `count` cells from `start` on make up this block: shape[axis] equal parts of it.
        size = shape[axis]
        if axis == last:
            cells = texts[start : start + count]
            if cut[axis]:
                cells = [*cells[:edge], " ...", *cells[edge:]]
            per_line = max(1, (_options["linewidth"] - indent) // (cell + 2))
            parts = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
        else:
            step = count // size
            parts = [block(axis + 1, start + i * step, step, indent + 1) for i in range(size)]
            if cut[axis]:
                parts.insert(edge, "...")
        gap = "," + "\n" * max(1, last - axis) + " " * (indent + 1)
        return "[" + gap.join(parts) + "]"

    return block(0, 0, len(texts), indent)


def _contents(x, indent):
    """The values of the non-empty tensor `x` as they stand inside `tensor(...)`."""
    shape = tuple(x.shape)
    x = x.detach()
    if not shape:
        return _texts(_host(x))[0][0]
    edge, cut = _options["edgeitems"], (False,) * len(shape)
    if prod(shape) > _options["threshold"]:
        if not edge:
            return "[...]"
        cut = tuple([n > 2 * edge for n in shape])
    array = _corners(x, cut, edge) if True in cut else _host(x)
    texts, cell = _texts(array)
    return _block(texts, array.shape, cut, cell, edge, indent)


def _history(x):
    """`grad_fn=<...>`, `requires_grad=True` or None."""
    try:
        node = x.grad_fn
    except RuntimeError:  # a view whose base was overwritten in a way that leaves it no gradient
        return "grad_fn=<Invalid>"
    if node is not None:
        return f"grad_fn=<{type(node).__name__}>"
    return "requires_grad=True" if x.requires_grad else None


def _implied(dtype_name, values_shown):
    """Can a reader tell the dtype from the values alone (given the default dtype)?"""
    default = str(dtypes.get_default_dtype())
    if dtype_name == default:
        return True
    if not values_shown:
        return False
    if dtype_name in ("torch.int64", "torch.bool"):
        return True
    return dtype_name == ("torch.complex128" if default == "torch.float64" else "torch.complex64")


def _suffixes(x, shape, is_meta, has_values):
    """What follows the values: device, size, dtype and history, each where it is not evident."""
    found = []
    if x.device.type != "cpu":
        found.append(f"device='{x.device}'")
    # The brackets show the size, unless there is nothing in them.
    hidden = not _options["edgeitems"] if has_values else len(shape) != 1
    if is_meta or hidden:
        found.append(f"size={shape}")
    dtype_name = str(x.dtype)
    if not _implied(dtype_name, has_values and not is_meta):
        found.append(f"dtype={dtype_name}")
    history = _history(x)
    if history:
        found.append(history)
    return found


def _around(head, suffixes, indent):
    """Join `head`, the text so far, and the suffixes, breaking lines that would be too long."""
    linewidth = _options["linewidth"]
    used = len(head) - head.rfind("\n") + 1
    parts = [head]
    for suffix in suffixes:
        if used + len(suffix) + 2 > linewidth:
            parts.append(",\n" + " " * indent + suffix)
            used = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            used += len(suffix) + 2
    return "".join(parts) + ")"


def tensor_str(tensor, tensor_contents=None):
    """The `repr` of a tensor of any kind, as PyTorch prints it.

    A subclass prints under its own name, and one that is a parameter as well inside
    `Parameter(...)`; a meta tensor has `...` for values. The line "Parameter containing:" above a
    Parameter is that class's own. `tensor_contents` replaces the text of the values.
    """
    prefix, wrapped, cls = "tensor(", False, type(tensor)
    if cls.__name__ not in ("Tensor", "Parameter"):
        prefix = cls.__name__ + "("
        # A tensor of another class that was made a Parameter carries the mark `_is_param`.
        wrapped = getattr(tensor, "_is_param", False) or any(
            base.__name__ == "Parameter" for base in cls.__mro__
        )
    indent = len(prefix)
    shape = tuple(tensor.shape)
    is_meta, has_values = tensor.device.type == "meta", 0 not in shape
    if tensor_contents is None:
        if is_meta:
            tensor_contents = "..."
        else:
            tensor_contents = _contents(tensor, indent) if has_values else "[]"
    suffixes = _suffixes(tensor, shape, is_meta, has_values)
    text = _around(prefix + tensor_contents, suffixes, indent)
    return f"Parameter({text})" if wrapped else text


def format_tensor(tensor, spec):
    """`format(tensor, spec)`: a plain tensor of no dimensions formats as the number it holds.

    Any other tensor has only its `repr`; a non-empty `spec` raises TypeError, as for every object.
    """
    cls = type(tensor)
    if cls.__name__ == "Tensor" and not tensor.shape and tensor.device.type != "meta":
        return format(tensor.item(), spec)
    return object.__format__(tensor, spec)
