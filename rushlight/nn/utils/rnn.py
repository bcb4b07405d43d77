"""Sequences of different lengths in one batch: padded (a rectangle) or packed (no padding).

A PackedSequence holds step 0 of every sequence that has one, then step 1, and so on;
`batch_sizes[t]` says how many sequences have a step t. So sequences must run from long to short:
`sorted_indices` says how the batch was sorted for that, `unsorted_indices` how to undo it.

Packing is a gather of rows and padding a scatter, so both are differentiable.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import rushlight
from rushlight import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence_(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(PackedSequence_):
    """A batch of sequences without padding; made by `pack_padded_sequence` and `pack_sequence`.

    Attributes:
        data: (sum of lengths, *), the steps in order of time.
        batch_sizes: (longest length,), int64 on the CPU.
        sorted_indices: the original position of each sorted sequence, or None.
        unsorted_indices: the sorted position of each original sequence, or None.
    """

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                "created manually. They should be instantiated by functions like pack_sequence "
                "and pack_padded_sequences in nn.utils.rnn."
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _with_data(self, data):
        """The same sequence with other values; the indices follow to their device."""
        if data is self.data:
            return self

        def follow(indices):
            return None if indices is None else indices.to(data.device)

        return type(self)(
            data, self.batch_sizes, follow(self.sorted_indices), follow(self.unsorted_indices)
        )

    def to(self, *args, **kwargs):
        """As `Tensor.to`, on `data`; returns self when nothing changes."""
        return self._with_data(self.data.to(*args, **kwargs))

    def cuda(self, *args, **kwargs):
        """On a CUDA device."""
        return self._with_data(self.data.cuda(*args, **kwargs))

    def cpu(self, *args, **kwargs):
        """On the CPU."""
        return self._with_data(self.data.cpu(*args, **kwargs))

    def pin_memory(self):
        """In pinned memory."""
        return self._with_data(self.data.pin_memory())

    def double(self):
        return self.to(dtype=rushlight.double)

    def float(self):
        return self.to(dtype=rushlight.float)

    def half(self):
        return self.to(dtype=rushlight.half)

    def long(self):
        return self.to(dtype=rushlight.long)

    def int(self):
        return self.to(dtype=rushlight.int)

    def short(self):
        return self.to(dtype=rushlight.short)

    def char(self):
        return self.to(dtype=rushlight.int8)

    def byte(self):
        return self.to(dtype=rushlight.uint8)

    @property
    def is_cuda(self):
        return self.data.is_cuda

    def is_pinned(self):
        return self.data.is_pinned()


def invert_permutation(permutation):
    """The inverse of a permutation (n,): out[permutation[i]] = i; None for None."""
    if permutation is None:
        return None
    out = rushlight.empty_like(permutation)
    out[permutation] = rushlight.arange(
        permutation.numel(), dtype=permutation.dtype, device=permutation.device
    )
    return out


def _packed_rows(lengths, batch, steps_first):
    """Batch sizes per step, and the row of the flattened padded tensor for each packed row.

    `lengths` runs from long to short; rows are t * batch + b when `steps_first` is None, else
    b * steps_first + t.
    """
    sizes, rows = [], []
    alive = len(lengths)
    for t in range(lengths[0]):
        while lengths[alive - 1] <= t:
            alive -= 1
        sizes.append(alive)
        if steps_first is None:
            rows.extend(range(t * batch, t * batch + alive))
        else:
            rows.extend(range(t, t + alive * steps_first, steps_first))
    return sizes, rows


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Pack a padded batch.

    Args:
        input: (T, B, *), or (B, T, *) with `batch_first`.
        lengths: the length of each sequence, a list or an int64 tensor on the CPU.
        enforce_sorted: the sequences run from long to short already; else they are sorted.

    Raises RuntimeError for lengths that are unsorted, not positive, or of another number than B.
    """
    if not isinstance(lengths, Tensor):
        lengths = rushlight.as_tensor(lengths, dtype=rushlight.int64, device="cpu")
    else:
        lengths = lengths.to(dtype=rushlight.int64)
    if lengths.dim() != 1 or lengths.device.type != "cpu":
        raise RuntimeError(
            "'lengths' argument should be a 1D CPU int64 tensor, but got "
            f"{lengths.dim()}D {lengths.device.type} Long tensor"
        )
    if enforce_sorted:
        sorted_indices = None
    else:
        lengths, sorted_indices = rushlight.sort(lengths, descending=True)
        sorted_indices = sorted_indices.to(input.device)
        input = input.index_select(0 if batch_first else 1, sorted_indices)
    counts = lengths.tolist()
    batch = input.size(0 if batch_first else 1)
    steps = input.size(1 if batch_first else 0)
    if len(counts) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(counts)} "
            f"(batch_size={batch})"
        )
    if not counts:
        raise RuntimeError("Cannot pack an empty batch: `lengths` has no element")
    if any(n <= 0 for n in counts):
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if any(a < b for a, b in zip(counts, counts[1:], strict=False)):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. "
            "You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if counts[0] > steps:
        raise RuntimeError(
            f"Expected lengths of at most {steps}, the number of steps in `input` of shape "
            f"{tuple(input.shape)}, but found {counts[0]}"
        )
    sizes, rows = _packed_rows(counts, batch, steps if batch_first else None)
    flat = input.reshape(-1, *input.shape[2:])
    data = flat.index_select(0, rushlight.tensor(rows, device=input.device))
    return PackedSequence(data, rushlight.tensor(sizes), sorted_indices, None)


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """Undo packing.

    Args:
        sequence: a PackedSequence.
        batch_first: return (B, T, *) instead of (T, B, *).
        padding_value: what fills the places after each end.
        total_length: pad to this T; default: the longest length.

    Returns (padded, lengths), in the order the batch had before it was sorted.
    """
    sizes = sequence.batch_sizes.tolist()
    steps = len(sizes)
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in "
                f"input, but got total_length={total_length} and max sequence length being "
                f"{steps}"
            )
        steps = total_length
    data = sequence.data
    batch = sizes[0]
    counts = [sum(size > b for size in sizes) for b in range(batch)]
    _, rows = _packed_rows(counts, batch, steps if batch_first else None)
    index = rushlight.tensor(rows, device=data.device)
    padded = data.new_full((steps * batch, *data.shape[1:]), padding_value)
    padded = padded.index_copy(0, index, data)
    shape = (batch, steps) if batch_first else (steps, batch)
    padded = padded.reshape(*shape, *data.shape[1:])
    lengths = rushlight.tensor(counts)
    unsort = sequence.unsorted_indices
    if unsort is not None:
        return padded.index_select(0 if batch_first else 1, unsort), lengths[unsort.cpu()]
    return padded, lengths


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Stack sequences (L_i, *) into one tensor (T, B, *), T the longest length.

    Args:
        sequences: tensors that agree in all dimensions but the first.
        batch_first: return (B, T, *).
        padding_value: what fills the missing places.
        padding_side: where they are, "right" or "left".
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    sequences = list(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    first = sequences[0]
    longest = max(x.size(0) for x in sequences)
    rows = []
    for x in sequences:
        missing = longest - x.size(0)
        if missing or x.dtype != first.dtype:
            x = x.to(first.dtype)
            filler = x.new_full((missing, *first.shape[1:]), padding_value)
            x = rushlight.cat([x, filler] if padding_side == "right" else [filler, x])
        rows.append(x)
    return rushlight.stack(rows, dim=0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """Undo `pad_sequence`: a list of tensors (length_i, *)."""
    if not batch_first:
        padded_sequences = padded_sequences.transpose(0, 1)
    return [x[: int(n)] for x, n in zip(padded_sequences, lengths, strict=True)]


def pack_sequence(sequences, enforce_sorted=True):
    """Pack a list of tensors (L_i, *).

    Args:
        enforce_sorted: they run from long to short already; else they are sorted.
    """
    lengths = rushlight.as_tensor([x.size(0) for x in sequences])
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """Undo `pack_sequence`: a list of tensors (L_i, *)."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
