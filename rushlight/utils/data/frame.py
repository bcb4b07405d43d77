"""Data of other libraries as a data set: what DataLoader takes as it is.

A pandas frame is indexed by column, so its rows need a data set around it (`Frame`); everything
else that has `__getitem__` and `__len__` (Hugging Face data sets, lists, arrays), or only `__iter__`
(their streams), is one already.
"""

import numpy

from rushlight.utils.data.dataset import Dataset

__all__ = ["Frame", "as_dataset"]

NUMBERS = "biufc"  # kinds of NumPy dtypes that a tensor can hold


class Frame(Dataset):
    """The rows of a pandas DataFrame (or Series): `frame[i]` is a dict from column to value.

    Numbers and booleans keep their dtype, dates are int64 nanoseconds since 1970 (NaT is the
    smallest int64), categories are their int64 codes (-1: missing), everything else stays what it
    is. A whole batch is fetched by one step a column. A Series gives its values themselves.
    """

    def __init__(self, frame) -> None:
        self.frame = frame
        self._single = not hasattr(frame, "columns")
        columns = {None: frame} if self._single else {c: frame[c] for c in frame.columns}
        self._columns = {name: _values(column) for name, column in columns.items()}

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a frame with {len(self)} rows")
        if self._single:
            return self._columns[None][index]
        return {name: values[index] for name, values in self._columns.items()}

    def __getitems__(self, indices: list[int]) -> list:
        picked = [values[indices] for values in self._columns.values()]
        if self._single:
            return list(picked[0])
        names = list(self._columns)
        return [dict(zip(names, row)) for row in zip(*picked)]


def _values(column):
    """A column as an ndarray."""
    kind = getattr(column, "cat", None)
    if kind is not None:
        return kind.codes.to_numpy().astype(numpy.int64)
    values = column.to_numpy()
    if values.dtype.kind in "mM":
        return values.astype(f"{values.dtype.kind}8[ns]").view(numpy.int64)
    if values.dtype.kind == "O" and getattr(column.dtype, "kind", "O") in NUMBERS:
        # pandas' own number types with missing values
        return column.to_numpy(dtype=numpy.float64, na_value=numpy.nan)
    return values


def as_dataset(data):
    """`data`, or a Frame around it where it is pandas'."""
    if hasattr(data, "iloc") and type(data).__module__.split(".")[0] == "pandas":
        return Frame(data)
    return data
