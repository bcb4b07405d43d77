"""torch.einsum: sums of products named by subscripts.

    einsum("bij,bjk->bik", x, y)        einsum(x, [0, 1], y, [1, 2], [0, 2])

The equation becomes one list of labels an operand (numbers: 0..51 for A..Z a..z, 52 and up for the dimensions an
ellipsis covers, counted from the right). Operands are contracted from left to right; a label is summed as soon as
neither the output nor a later operand needs it. Each step is a view (diagonal, permute, reshape), a sum, a product or
one matrix product, so gradients of any order follow from those.

Invariant: after a step, the labels of an operand are distinct and none of its dimensions has size 1 where the label's
size is larger (such dimensions are dropped: they broadcast).
"""

from __future__ import annotations

from math import prod

from rushlight.bind import function
from rushlight.dispatch import apply
from rushlight.ops.op import TABLE
from rushlight.tensor import Tensor

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NUMBER = {c: i for i, c in enumerate(_LETTERS)}
_FIRST = len(_LETTERS)  # the label of the last dimension that an ellipsis covers
_REST = "..."


def _fail(text):
    raise RuntimeError(f"einsum(): {text}")


def _tokens(text, start, place):
    """The labels of one term, `...` among them; `start` is its place in the equation, for errors."""
    out, i = [], 0
    while i < len(text):
        c = text[i]
        if c == ".":
            if _REST in out:
                _fail(f"found '.' for {place} {'for which' if place != 'output' else 'but'} an ellipsis {'was already found' if place != 'output' else '(...) was already found'}")
            if text[i : i + 3] != _REST:
                _fail(f"found '.' for {place} that is not part of any ellipsis (...)")
            out.append(_REST)
            i += 3
            continue
        if c != " ":
            if c not in _NUMBER:
                _fail(f"invalid subscript given at index {start + i} in the equation string, subscripts must be in [a-zA-Z]")
            out.append(_NUMBER[c])
        i += 1
    return out


def _parsed(equation, count):
    """(terms, output or None) of an equation for `count` operands."""
    left, arrow, right = equation.partition("->")
    terms, at = [], 0
    for i, part in enumerate(left.split(",")):
        terms.append(_tokens(part, at, f"operand {i}"))
        at += len(part) + 1
    if len(terms) != count:
        _fail(f"{'more' if len(terms) < count else 'fewer'} operands were provided than specified in the equation ({count} and {len(terms)})")
    return terms, _tokens(right, len(left) + 2, "output") if arrow else None


def _sublist(labels):
    """The labels of the second form: numbers from 0 to 51 and Ellipsis."""
    out = []
    for n in labels:
        if n is Ellipsis:
            out.append(_REST)
            continue
        if not hasattr(n, "__index__"):
            raise TypeError(f"einsum(): subscripts must be integers or Ellipsis, not {type(n).__name__}")
        if not 0 <= n < _FIRST:
            raise ValueError("einsum(): subscript in subscript list is not within the valid range [0, 52)")
        out.append(int(n))
    return out


def _name(label):
    return _LETTERS[label] if label < _FIRST else _REST


def _numbered(term, x, i):
    """A term with its ellipsis replaced by labels for the dimensions that it covers."""
    n, ndim = len(term), x._data.ndim
    if _REST in term:
        n -= 1
        if n > ndim:
            _fail(f"the number of subscripts in the equation ({n}) is more than the number of dimensions ({ndim}) for operand {i}")
        at = term.index(_REST)
        return term[:at] + [_FIRST + k for k in reversed(range(ndim - n))] + term[at + 1 :]
    if n != ndim:
        _fail(f"the number of subscripts in the equation ({n}) does not match the number of dimensions ({ndim}) for operand {i} and no ellipsis was given")
    return term


def _output(output, terms):
    """The output's labels: as given, or the ellipsis and then the labels that occur once, in alphabetical order."""
    every = [n for t in terms for n in t]
    rest = sorted({n for n in every if n >= _FIRST}, reverse=True)
    if output is None:
        return rest + sorted(n for n in set(every) if n < _FIRST and every.count(n) == 1)
    out = []
    for n in output:
        if n is not _REST and n in out:
            _fail(f"output subscript {_name(n)} appears more than once in the output")
        if n is not _REST and n not in every:
            _fail(f"output subscript {_name(n)} does not appear in the equation for any input operand")
        out += rest if n is _REST else [n]
    return out


def _sizes(terms, operands):
    """The size of each label; dimensions of size 1 broadcast between operands."""
    sizes = {}
    for i, (term, x) in enumerate(zip(terms, operands)):
        own = {}
        for n, size in zip(term, x._data.shape):
            if own.setdefault(n, size) != size:
                _fail(f"subscript {_name(n)} is repeated for operand {i} but the sizes don't match, {size} != {own[n]}")
            if sizes.get(n, 1) == 1:
                sizes[n] = size
            elif size not in (1, sizes[n]):
                if n >= _FIRST:
                    _fail(f"operands do not broadcast with remapped shapes: the dimensions of the ellipsis have sizes {sizes[n]} and {size}")
                _fail(f"subscript {_name(n)} has size {size} for operand {i} which does not broadcast with previously seen size {sizes[n]}")
    return sizes


def _distinct(x, term, sizes):
    """x with repeated labels as one diagonal each, and without dimensions that broadcast."""
    term = list(term)
    for n in dict.fromkeys(term):
        while term.count(n) > 1:
            i = term.index(n)
            j = term.index(n, i + 1)
            x = x.diagonal(0, i, j).movedim(-1, i)
            del term[j]
    for i in reversed(range(len(term))):
        if x._data.shape[i] == 1 != sizes[term[i]]:
            x = x.squeeze(i)
            del term[i]
    return x, term


def _summed(x, term, kept):
    """x summed over the labels that are not in `kept`, integers as int64."""
    axes = [i for i, n in enumerate(term) if n not in kept]
    if not axes:
        return x, term
    return x.sum(axes), [n for n in term if n in kept]


def _arranged(x, term, order):
    """x with its dimensions in the order of the labels `order`."""
    dims = [term.index(n) for n in order]
    return x if dims == list(range(len(dims))) else x.permute(dims)


def _pair(x, a, y, b, kept):
    """The product of x (labels a) and y (labels b) summed over all labels outside `kept`, and its labels."""
    x, a = _summed(x, a, kept | set(b))
    y, b = _summed(y, b, kept | set(a))
    summed = [n for n in a if n in b and n not in kept]
    batch = [n for n in a if n in b and n in kept]
    left, right = [n for n in a if n not in b], [n for n in b if n not in a]
    labels = batch + left + right
    if not summed:  # a product of elements
        x = _arranged(x, a, batch + left)
        y = _arranged(y, b, batch + right)
        x = x.reshape([*x.shape, *[1] * len(right)]) if right else x
        y = y.reshape([*y.shape[: len(batch)], *[1] * len(left), *y.shape[len(batch) :]]) if left else y
        return apply(TABLE["mul"], (x, y)), labels
    x, y = _arranged(x, a, batch + left + summed), _arranged(y, b, batch + summed + right)
    sx, sy, nb, nl, ns = x._data.shape, y._data.shape, len(batch), len(left), len(summed)
    k = prod(sx[nb + nl :])
    shape = (*sx[: nb + nl], *sy[nb + ns :])
    rows, columns = prod(sx[nb : nb + nl]), prod(sy[nb + ns :])
    if not batch:
        return x.reshape(rows, k).mm(y.reshape(k, columns)).reshape(shape), labels
    count = prod(sx[:nb])
    return x.reshape(count, rows, k).bmm(y.reshape(count, k, columns)).reshape(shape), labels


def _operands(args):
    """(terms, output or None, operands) from either form of the call."""
    if len(args) < 2:
        raise ValueError("einsum(): must specify the equation string and at least one operand, or at least one operand and its subscripts list")
    if isinstance(args[0], Tensor):
        operands = list(args[: len(args) - len(args) % 2 : 2])
        terms = [_sublist(t) for t in args[1::2]]
        return terms, _sublist(args[-1]) if len(args) % 2 else None, operands
    equation, *operands = args
    if not isinstance(equation, str):
        raise TypeError(f"einsum(): argument 'equation' (position 1) must be str, not {type(equation).__name__}")
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = list(operands[0])
    return *_parsed(equation, len(operands)), operands


@function
def einsum(*args):
    """Products of the operands' elements, summed over the labels that the output does not have.

    `einsum("ij,jk->ik", x, y)`: one letter a dimension; a letter that occurs twice in one operand takes its diagonal;
    `...` stands for further dimensions, which broadcast. Without `->` the output has the letters that occur once, in
    alphabetical order. The other form is `einsum(x, [0, 1], y, [1, 2], [0, 2])`. RuntimeError where the equation and
    the operands disagree.
    """
    terms, output, operands = _operands(args)
    for i, x in enumerate(operands):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 1, but got {type(x).__name__}")
    terms = [_numbered(t, x, i) for i, (t, x) in enumerate(zip(terms, operands))]
    output = _output(output, terms)
    sizes = _sizes(terms, operands)
    pairs = [_distinct(x, t, sizes) for x, t in zip(operands, terms)]
    kept = [set(output)]  # what the output and the operands after each need
    for _, t in reversed(pairs[1:]):
        kept.append(kept[-1] | set(t))
    x, labels = pairs[0]
    for (y, t), needed in zip(pairs[1:], reversed(kept[:-1])):
        x, labels = _pair(x, labels, y, t, needed)
    x, labels = _summed(x, labels, kept[0])
    return _arranged(x, labels, output) if labels == output or len(labels) == len(output) else _widened(x, labels, output)


def _widened(x, labels, output):
    """x with dimensions of size 1 for output labels that every operand broadcast."""
    missing = [n for n in output if n not in labels]
    return _arranged(x.reshape([*x.shape, *[1] * len(missing)]), labels + missing, output)
