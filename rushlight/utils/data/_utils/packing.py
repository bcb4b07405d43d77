"""Packing: a batch as a message, its arrays apart from its structure.

The structure (dicts, tuples, classes of the user's, strings) is pickled; the memory of arrays and
tensors is not: pickle's protocol 5 hands out their buffers, which are written into shared memory
(or lie there already, see `room`) and named in the message by block and place. Whatever can be
pickled can be in a batch. Plain tensors have a short form of their own, because the general one
costs more than a small batch takes to make.

`room(shape, dtype)` is asked by the collate functions for the memory to stack samples into: in a
worker process that is the block that travels, so a batch is copied once, from sample to batch. Only
while the loader's own default_collate runs: what a program's code makes is the program's to keep.
"""

import contextlib
import io
import pickle

import numpy as np

import rushlight
from rushlight import Tensor
from rushlight.utils.data._utils.shared import SMALL

__all__ = ["pack", "room", "room_for", "rooms_of", "unpack"]

_LENDER = []  # the worker process's own, while its batch is collated

_HALVES = {rushlight.bfloat16: rushlight.int16}
for _name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"):
    if hasattr(rushlight, _name):
        _HALVES[getattr(rushlight, _name)] = rushlight.uint8
_DTYPES = {}  # "float32" -> dtype, filled as they are met


@contextlib.contextmanager
def rooms_of(lender):
    """Within this, `room` gives the lender's memory."""
    _LENDER.append(lender)
    try:
        yield
    finally:
        _LENDER.clear()


def room(shape, dtype):
    """An array of the batch's shared memory to write to, or None: memory of one's own will do."""
    return _LENDER[0].empty(shape, dtype) if _LENDER else None


def room_for(t, shape):
    """An uninitialised tensor of t's dtype in the batch's shared memory, or None."""
    if not _LENDER or type(t) is not Tensor or t.requires_grad or t.dtype in _HALVES:
        return None
    if t.device.type != "cpu" or t.layout is not rushlight.strided:
        return None
    array = _LENDER[0].empty(shape, _numpy_dtype(t.dtype))
    return None if array is None else rushlight.from_numpy(array)


def _array_of(t):
    """A plain tensor's memory as an ndarray, without a copy."""
    t = t.detach()
    other = _HALVES.get(t.dtype)
    return (t if other is None else t.view(other)).numpy()


def _tensor(buffer, dtype, shape, order, requires_grad):
    """The tensor of a message: on `buffer`, its dimensions in memory in `order` (None: in theirs)."""
    kind = _DTYPES.get(dtype)
    if kind is None:
        kind = _DTYPES[dtype] = getattr(rushlight, dtype)
    stored = _HALVES.get(kind)
    if len(buffer):
        array = np.frombuffer(buffer, _numpy_dtype(kind if stored is None else stored))
    else:
        array = np.empty(0, _numpy_dtype(kind if stored is None else stored))
    t = rushlight.from_numpy(array.reshape(shape))
    if stored is not None:
        t = t.view(kind)
    if order is not None:
        t = t.permute(order)
    return t.requires_grad_() if requires_grad else t


_NUMPY = {}


def _numpy_dtype(kind):
    found = _NUMPY.get(kind)
    if found is None:
        found = _NUMPY[kind] = rushlight.empty(0, dtype=kind).numpy().dtype
    return found


def _dense(array):
    """(the memory in one piece, order of its dimensions): transposed arrays travel as they lie."""
    if array.flags.c_contiguous:
        return array, None
    by_step = sorted(range(array.ndim), key=lambda d: -array.strides[d])
    turned = array.transpose(by_step)
    if not turned.flags.c_contiguous:
        return np.ascontiguousarray(array), None
    order = [0] * array.ndim
    for place, dim in enumerate(by_step):
        order[dim] = place
    return turned, tuple(order)


class _Packer(pickle.Pickler):
    def reducer_override(self, x):
        if type(x) is not Tensor or x.layout is not rushlight.strided or x.device.type != "cpu":
            return NotImplemented
        if x.requires_grad and not x.is_leaf:
            raise RuntimeError(
                "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd "
                "does not support crossing process boundaries. If you just want to transfer the "
                "data, call detach() on the tensor (in __getitem__ or collate_fn)."
            )
        if x.is_conj() or x.is_neg():
            x = x.resolve_conj().resolve_neg()
        array, order = _dense(_array_of(x))
        shape = array.shape
        buffer = pickle.PickleBuffer(array.reshape(-1).view(np.uint8))
        name = str(x.dtype).rpartition(".")[2]
        return _tensor, (buffer, name, shape, order, x.requires_grad)


def pack(data, lender):
    """(pickled structure, places of its buffers) of a batch; lender None: all in the pickle."""
    out = io.BytesIO()
    found = []

    def keep(buffer):
        # in the pickle: what is small, and everything where there is no shared memory
        if lender is None or lender.reason is not None:
            return True
        raw = buffer.raw()
        if raw.nbytes < SMALL:
            return True
        place = lender.place(raw)
        if place is None:
            return True
        found.append(place)
        return False

    _Packer(out, 5, buffer_callback=keep).dump(data)
    if lender is not None:
        lender.finish(found)
    return out.getvalue(), found


def unpack(payload, refs, borrower):
    """The batch of a message."""
    return pickle.loads(payload, buffers=borrower.views(refs) if refs else ())
