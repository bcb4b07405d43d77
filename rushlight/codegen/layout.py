"""Iteration spaces: the dimensions of several operands brought to the fewest that describe them.

`collapse(shape, strides)` drops dimensions of size 1, orders the rest so that the first operand's memory runs forward, and
joins neighbours that every operand walks as one. Strides are in elements; 0 is a broadcast dimension.
"""

from __future__ import annotations

from rushlight.codegen.loops import SIZE

SHORT = {
    "bool": "b1", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64", "uint8": "u8", "uint16": "u16",
    "uint32": "u32", "uint64": "u64", "float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64",
}  # fmt: skip


_WORDS: dict = {}  # by dtype: its name is slow to ask for


def short(dtype):
    """The IR's word for a NumPy dtype; None for one that it does not have, or in foreign byte order."""
    try:
        return _WORDS[dtype]
    except KeyError:
        word = _WORDS[dtype] = SHORT.get(dtype.name) if dtype.isnative else None
        return word


def element_strides(array, shape):
    """The strides of `array` broadcast to `shape`, in elements; None where bytes do not divide."""
    size = array.itemsize
    have = array.strides
    out = [0] * (len(shape) - array.ndim)
    for n, s in zip(array.shape, have):
        q, rest = divmod(s, size)
        if rest:
            return None
        out.append(0 if n == 1 else q)
    return out


def collapse(shape, strides):
    """(shape, strides of each operand) with the fewest dimensions; the first operand decides the order."""
    dims = [d for d, n in enumerate(shape) if n != 1]
    first = strides[0]
    dims.sort(key=lambda d: (-abs(first[d]), d))
    sizes, walks = [], []
    for d in dims:
        walk = [s[d] for s in strides]
        if sizes and all(before == w * shape[d] for before, w in zip(walks[-1], walk)):
            sizes[-1] *= shape[d]
            walks[-1] = walk
        else:
            sizes.append(shape[d])
            walks.append(walk)
    return tuple(sizes), [tuple(w[k] for w in walks) for k in range(len(strides))]


def dense(array):
    """Whether the elements fill one stretch of memory without holes or repeats, in whatever order of dimensions."""
    if array.flags.c_contiguous or array.flags.f_contiguous:
        return True
    expected = array.itemsize
    for stride, n in sorted(zip(array.strides, array.shape)):
        if n != 1:
            if stride != expected:
                return False
            expected *= n
    return True


__all__ = ["SHORT", "SIZE", "collapse", "dense", "element_strides", "short"]
