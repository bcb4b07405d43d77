"""Shapes and the rules about them: Size, broadcasting, dimension numbers, dense strides, which views need no copy.

Everything here is plain arithmetic on tuples of ints; strides count elements. Errors have PyTorch's types and name the
shapes that were found.
"""

from __future__ import annotations

import operator
from math import prod

from rushlight.core.naming import Public, published


class Size(tuple, metaclass=Public):
    """The shape of a tensor: a tuple of ints that prints as `torch.Size([2, 3])`."""

    __slots__ = ()

    def __new__(cls, values=()):
        return tuple.__new__(cls, [v if type(v) is int else operator.index(v) for v in values])

    def numel(self):
        """The number of elements of a tensor of this shape."""
        return prod(self)

    def __repr__(self):
        return f"torch.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def __getitem__(self, key):
        got = tuple.__getitem__(self, key)
        return tuple.__new__(Size, got) if type(got) is tuple else got

    def __add__(self, other):
        return tuple.__new__(Size, tuple.__add__(self, tuple(other)))

    def __radd__(self, other):
        return tuple.__new__(Size, tuple(other) + tuple(self))

    def __mul__(self, n):
        return tuple.__new__(Size, tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __reduce__(self):
        return (Size, (tuple(self),))


published(Size, "Size")


def dense(shape):
    """The strides of a contiguous (row-major) tensor."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n if n > 1 else 1
    strides.reverse()
    return tuple(strides)


def is_dense(shape, strides):
    """Whether elements lie in row-major order without gaps (dimensions of size 1 may have any stride)."""
    step = 1
    for n, s in zip(reversed(shape), reversed(strides)):
        if n == 0:
            return True
        if n != 1:
            if s != step:
                return False
            step *= n
    return True


def wrap_dim(dim, ndim, *, scalar_ok=True):
    """`dim` as a number in [0, ndim); IndexError otherwise. A 0-dim tensor accepts 0 and -1."""
    if type(dim) is not int:
        try:
            dim = operator.index(dim)
        except TypeError:
            raise TypeError(f"dim must be int, not {type(dim).__name__}") from None
    n = ndim
    if n == 0:
        if not scalar_ok:
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        n = 1
    if not -n <= dim < n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim + n if dim < 0 else dim


def wrap_dims(dims, ndim):
    """Several dimension numbers (an int, a sequence or None for all) as a tuple without repeats."""
    if dims is None:
        return tuple(range(ndim))
    if isinstance(dims, (list, tuple)):
        out = tuple(wrap_dim(d, ndim) for d in dims)
        if len(set(out)) != len(out):
            twice = next(d for i, d in enumerate(out) if d in out[:i])
            raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
        return out
    return (wrap_dim(dims, ndim),)


def broadcast(*shapes):
    """The shape that `shapes` broadcast to; RuntimeError naming the first dimension that does not fit."""
    first = shapes[0]
    if all(s == first for s in shapes):
        return tuple(first)
    ndim = max(map(len, shapes))
    out = [1] * ndim
    for shape in shapes:
        lead = ndim - len(shape)
        for i, n in enumerate(shape, lead):
            if n != out[i] and n != 1:
                if out[i] != 1:
                    raise RuntimeError(
                        f"The size of tensor a ({out[i]}) must match the size of tensor b ({n}) at non-singleton dimension {i}"
                        f" (shapes {', '.join(str(list(s)) for s in shapes)})"
                    )
                out[i] = n
    return tuple(out)


def infer(shape, numel):
    """Resolve one -1 in the target of a reshape of `numel` elements."""
    shape = tuple(n if type(n) is int else operator.index(n) for n in shape)
    known, hole = 1, None
    for i, n in enumerate(shape):
        if n == -1:
            if hole is not None:
                raise RuntimeError("only one dimension can be inferred")
            hole = i
        elif n < 0:
            raise RuntimeError(f"invalid shape dimension {n}")
        else:
            known *= n
    if hole is None:
        if known != numel:
            raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
        return shape
    if known == 0:
        if numel == 0:
            raise RuntimeError(
                f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 can be any value and is ambiguous"
            )
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
    if numel % known:
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")
    return shape[:hole] + (numel // known,) + shape[hole + 1 :]


def view_strides(shape, strides, new):
    """The strides with which memory laid out as (shape, strides) reads as `new`, or None where a copy is needed.

    Neighbouring dimensions are merged where one steps exactly over the other; each run is then split again.
    """
    if is_dense(shape, strides):
        return dense(new)
    runs = []  # (elements, innermost stride), outermost first
    for n, s in zip(shape, strides):
        if n == 1:
            continue
        if runs and runs[-1][1] == n * s:
            runs[-1] = (runs[-1][0] * n, s)
        else:
            runs.append((n, s))
    out, left, step = [], 1, 1
    for n in reversed(new):
        if n != 1 and left == 1:
            if not runs:
                return None
            left, step = runs.pop()
        if left % n:
            return None
        out.append(step)
        left //= n
        step *= n
    return tuple(reversed(out)) if left == 1 and not runs else None


def expand_strides(shape, strides, new):
    """The strides that repeat `shape` to `new` without a copy; RuntimeError where sizes do not fit. -1 keeps a size."""
    lead = len(new) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand({list(shape)}, size={list(new)}): the number of sizes provided ({len(new)}) must be greater or equal to "
            f"the number of dimensions in the tensor ({len(shape)})"
        )
    sizes, out = [], []
    for i, n in enumerate(new):
        if i < lead:
            if n < 0:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) isn't allowed in a leading, non-existing dimension {i}"
                )
            sizes.append(n)
            out.append(0)
            continue
        have, step = shape[i - lead], strides[i - lead]
        if n == -1:
            n = have
        if have == n:
            sizes.append(n)
            out.append(step)
        elif have == 1:
            sizes.append(n)
            out.append(0)
        else:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({have}) at non-singleton dimension {i}.  "
                f"Target sizes: {list(new)}.  Tensor sizes: {list(shape)}"
            )
    return tuple(sizes), tuple(out)


def reduced(shape, axes, keepdim):
    """The shape that is left when `axes` are reduced."""
    if keepdim:
        return tuple(1 if i in axes else n for i, n in enumerate(shape))
    return tuple(n for i, n in enumerate(shape) if i not in axes)


def overlaps(shape, strides):
    """Whether two elements certainly share memory (a stride of 0 over more than one element)."""
    return 0 not in shape and any(s == 0 and n > 1 for n, s in zip(shape, strides))
