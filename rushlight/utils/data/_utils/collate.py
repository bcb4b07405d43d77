"""Collation: from a list of samples to a batch of tensors.

`default_collate` goes by the first sample's type: a tensor, array or number becomes one tensor with
a new first dimension, a str or bytes stays a list, and a mapping, namedtuple or sequence is taken
apart, collated field by field and put together again. The rules for leaves are a table (type ->
function) that `collate` takes as an argument, so a user's type is one more row.
"""

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence

import numpy

import rushlight
from rushlight import Tensor
from rushlight.utils.data._utils.packing import room

__all__ = [
    "collate",
    "default_collate",
    "default_collate_err_msg_format",
    "default_collate_fn_map",
    "default_convert",
]

default_collate_err_msg_format = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)

TEXT_KINDS = "SUO"  # numpy's bytes, str and object arrays: no tensor holds them


def _is_namedtuple(x) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def _like_mapping(model, items: dict):
    """A mapping of the model's type with these values; a dict where the type cannot be rebuilt."""
    try:
        if isinstance(model, MutableMapping):
            # a shallow copy keeps what a constructor would ask for (defaultdict's factory)
            made = copy.copy(model)
            for key, value in items.items():
                made[key] = value
            return made
        return type(model)(items)
    except TypeError:
        return items


def _like_sequence(model, values: list):
    """A sequence of the model's type with these values; a list where the type cannot be rebuilt."""
    try:
        if isinstance(model, MutableSequence):
            made = copy.copy(model)
            for i, value in enumerate(values):
                made[i] = value
            return made
        return type(model)(values)
    except TypeError:
        return values


def rebuild(data, f: Callable):
    """`data` with f applied to every member of a container, any other `data` itself.

    A tuple that is no namedtuple comes back as a list: the form in which a batch has it.
    """
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: f(data[key]) for key in data})
    if _is_namedtuple(data):
        return type(data)(*(f(x) for x in data))
    if isinstance(data, tuple):
        return [f(x) for x in data]
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [f(x) for x in data])
    return data


def default_convert(data):
    """NumPy arrays and scalars in `data` as tensors, everything else as it is, at any depth.

    What DataLoader applies to each sample with `batch_size=None`.
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (numpy.ndarray, numpy.generic)):
        # numpy's str and bytes are Python's as well: they stay
        return data if data.dtype.kind in TEXT_KINDS else rushlight.as_tensor(data)
    return rebuild(data, default_convert)


def collate(batch, *, collate_fn_map: dict | None = None):
    """Collate by a table from types (or tuples of types) to functions.

    The first sample's exact type is looked up first, then its base classes in the table's order. A
    function is called as `f(batch, collate_fn_map=table)`. TypeError for a type in no row that is
    no container, RuntimeError for sequences of unequal length.
    """
    first = batch[0]
    kind = type(first)
    table = collate_fn_map or {}
    if kind in table:
        return table[kind](batch, collate_fn_map=collate_fn_map)
    for kinds, f in table.items():
        if isinstance(first, kinds):
            return f(batch, collate_fn_map=collate_fn_map)

    def inner(column):
        return collate(column, collate_fn_map=collate_fn_map)

    if isinstance(first, Mapping):
        return _like_mapping(
            first, {key: inner([sample[key] for sample in batch]) for key in first}
        )
    if _is_namedtuple(first):
        return kind(*(inner(column) for column in zip(*batch)))
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [inner(column) for column in zip(*batch)]
        return columns if isinstance(first, tuple) else _like_sequence(first, columns)
    raise TypeError(default_collate_err_msg_format.format(kind))


def collate_tensor_fn(batch, *, collate_fn_map=None):
    stacked = _stacked_tensors(batch)
    return rushlight.stack(batch, 0) if stacked is None else stacked


def _stacked_tensors(batch):
    """`stack` of plain tensors of one shape and dtype by one copy of their memory; None for others."""
    first = batch[0]
    if type(first) is not Tensor or first.dim() == 0 or first.requires_grad:
        return None
    try:
        arrays = [x.numpy() for x in batch if type(x) is Tensor]
    except (RuntimeError, TypeError):
        return None  # another device or layout, a gradient, a dtype that NumPy lacks
    shape, dtype = arrays[0].shape, arrays[0].dtype
    if len(arrays) < len(batch) or not all(
        a.shape == shape and a.dtype == dtype and a.flags.c_contiguous for a in arrays
    ):
        return None
    place = room((len(arrays), *shape), dtype)
    if place is None:
        place = numpy.empty((len(arrays), *shape), dtype)
    numpy.concatenate(arrays, out=place.reshape(len(arrays) * shape[0], *shape[1:]))
    return rushlight.from_numpy(place)


def collate_numpy_array_fn(batch, *, collate_fn_map=None):
    if batch[0].dtype.kind in TEXT_KINDS:
        raise TypeError(default_collate_err_msg_format.format(batch[0].dtype))
    stacked = _stacked(batch)
    if stacked is not None:
        return stacked
    return collate([rushlight.as_tensor(b) for b in batch], collate_fn_map=collate_fn_map)


def _stacked(batch):
    """Arrays of one shape and dtype as one tensor, by one copy; None for any other batch."""
    first = batch[0]
    shape, dtype = first.shape, first.dtype
    if dtype.kind not in "biufc" or not dtype.isnative:
        return None
    if not all(type(x) is numpy.ndarray and x.shape == shape and x.dtype == dtype for x in batch):
        return None
    try:
        rushlight.as_tensor(numpy.empty(0, dtype))  # TypeError where no tensor has this dtype
    except TypeError:
        return None
    return rushlight.from_numpy(numpy.stack(batch, out=room((len(batch), *shape), dtype)))


def collate_numpy_scalar_fn(batch, *, collate_fn_map=None):
    return rushlight.as_tensor(numpy.asarray(batch))


def collate_float_fn(batch, *, collate_fn_map=None):
    return rushlight.tensor(batch, dtype=rushlight.float64)


def collate_int_fn(batch, *, collate_fn_map=None):
    return rushlight.tensor(batch)


def collate_str_fn(batch, *, collate_fn_map=None):
    return batch


# fmt: off
default_collate_fn_map: dict = {
    Tensor:                                       collate_tensor_fn,
    numpy.ndarray:                                collate_numpy_array_fn,
    (numpy.bool_, numpy.number, numpy.object_):   collate_numpy_scalar_fn,
    float:                                        collate_float_fn,
    int:                                          collate_int_fn,
    str:                                          collate_str_fn,
    bytes:                                        collate_str_fn,
}
# fmt: on


def default_collate(batch):
    """Samples -> batch, each leaf with a new first dimension.

    [tensor (a, b)] * n -> tensor (n, a, b); numpy arrays and scalars likewise with their dtype;
    floats -> float64, ints -> int64, bools -> bool; str and bytes -> the list; mappings,
    namedtuples, sequences -> the same with collated members (a tuple becomes a list). TypeError for
    anything else.
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
