"""Columns: how a column of a table becomes numbers, as the program states it.

`columns` of a source is None (all), names, or a dict from name to an encoding:

| encoding | gives |
|---|---|
| None | numbers and booleans with their dtype; dates, times and durations as int64 nanoseconds; decimals as float64; lists of one length as rows; text and bytes as they are |
| a dtype | that dtype |
| a list of values | int64: the place of the value in the list; ValueError for any other value |
| `Hash(n)` | int64 in [0, n): the same number for the same text, in every process and version |
| a function | what it makes of the column's array |

Missing values are NaN where the column becomes floating-point numbers. Anywhere else they are an
error that says so, unless `missing` says what stands for them (a value, or one for each name).
"""

import datetime
import decimal
import zlib

import numpy

import rushlight

__all__ = ["Columns", "Hash"]

EPOCH = datetime.datetime(1970, 1, 1)


class Hash:
    """Text as a number in [0, n), by CRC-32: for columns with more values than one can list."""

    def __init__(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"Hash(n) needs n > 0, got {n}")
        self.n = n

    def __repr__(self):
        return f"Hash({self.n})"

    def __call__(self, values):
        codes = [zlib.crc32(v if isinstance(v, bytes) else str(v).encode()) % self.n for v in values]
        return numpy.array(codes, numpy.int64)


class _Places:
    """Values as their place in a list."""

    def __init__(self, name, values):
        self.name, self.values = name, list(values)
        self.place = {v: k for k, v in enumerate(self.values)}

    def __call__(self, values):
        try:
            return numpy.array([self.place[v] for v in values.tolist()], numpy.int64)
        except (KeyError, TypeError):
            wrong = next(v for v in values.tolist() if v not in self.place)
            raise ValueError(
                f"column {self.name!r} holds {wrong!r}, which is none of {self.values}; add it to the "
                "list, or use rushlight.data.Hash(n)"
            ) from None


class Columns:
    """Which columns are read, and what becomes of them."""

    def __init__(self, columns=None, missing=None):
        self.names = None if columns is None else list(columns)
        self.missing = missing
        self.encodings = {}
        for name, how in columns.items() if isinstance(columns, dict) else ():
            self.encodings[name] = _encoding(name, how)

    def check(self, have):
        """The names to read of those there are; ValueError for a name that is not there."""
        if self.names is None:
            return list(have)
        wrong = [n for n in self.names if n not in have]
        if wrong:
            raise ValueError(f"no column {wrong[0]!r}; there are {list(have)}")
        return self.names

    def dtype(self, name):
        """The NumPy dtype that a column is stated to have, or None."""
        found = self.encodings.get(name)
        return found if isinstance(found, numpy.dtype) else None

    def _filler(self, name):
        if isinstance(self.missing, dict):
            return self.missing.get(name)
        return self.missing

    def finish(self, name, values, absent):
        """A column as it is given out. absent: a mask of what is missing, or None."""
        how = self.encodings.get(name)
        if absent is not None and absent.any():
            values = self._fill(name, values, absent, how)
        if how is None:
            return values
        if isinstance(how, numpy.dtype):
            try:
                return values.astype(how)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"column {name!r} cannot be read as {how}: {error}; state another encoding in "
                    f"columns={{{name!r}: ...}}"
                ) from None
        made = how(values)
        if isinstance(made, rushlight.Tensor):
            made = made.numpy()
        return numpy.asarray(made)

    def _fill(self, name, values, absent, how):
        filler = self._filler(name)
        if filler is None:
            floats = how.kind == "f" if isinstance(how, numpy.dtype) else values.dtype.kind == "f"
            if not floats:
                raise ValueError(
                    f"column {name!r} has missing values, and {how or values.dtype} has nothing that "
                    f"stands for them; write missing={{{name!r}: value}}, or read it as floating-point "
                    f"numbers, where they are NaN: columns={{{name!r}: rushlight.float32, ...}}"
                )
            values = values.astype(numpy.float64 if how is None else how)
            filler = numpy.nan
        else:
            values = values.copy()
        values[absent] = filler
        return values

    # ---- from lists of Python values (SQL)

    def of_list(self, name, values, kind):
        """A column of Python values, of the kind that `kind_of` found."""
        absent = numpy.array([v is None for v in values], bool)
        how = self.encodings.get(name)
        if kind in ("text", "bytes") or (how is not None and not isinstance(how, numpy.dtype)):
            made = numpy.empty(len(values), object)
            made[:] = values
        else:
            zero = {"time": EPOCH, "bool": False}.get(kind, 0)
            plain = [zero if v is None else v for v in values] if absent.any() else values
            try:
                made = _numbers(plain, kind)
            except (TypeError, ValueError, OverflowError):
                wrong = next((v for v in plain if kind_of([v]) != kind), plain[0])
                raise ValueError(
                    f"column {name!r} holds {wrong!r}, but its first values are {kind}; state what it "
                    f"is: columns={{{name!r}: rushlight.float64, ...}}, or cast it in the query"
                ) from None
        return self.finish(name, made, absent)


def _encoding(name, how):
    if how is None or callable(how) and not isinstance(how, (type, rushlight.dtype)):
        return how
    if isinstance(how, rushlight.dtype):
        return rushlight.empty(0, dtype=how).numpy().dtype
    if isinstance(how, (list, tuple)):
        return _Places(name, how)
    try:
        return numpy.dtype(how)
    except TypeError:
        raise TypeError(
            f"column {name!r}: expected a dtype, a list of values, Hash(n), a function or None, got "
            f"{how!r}"
        ) from None


_KINDS = [
    ("bool", bool),
    ("integers", int),
    ("numbers", (int, float, decimal.Decimal)),
    ("text", str),
    ("bytes", (bytes, bytearray, memoryview)),
    ("time", (datetime.datetime, datetime.date)),
]


def kind_of(values):
    """What Python values of a column are; "numbers" where there are none to tell."""
    there = [v for v in values if v is not None]
    for kind, types in _KINDS:
        if all(isinstance(v, types) for v in there):
            return kind if there else "numbers"
    names = sorted({type(v).__name__ for v in there})
    raise ValueError(f"a column of {' and '.join(names)}: cast it to one of them in the query")


def _nanoseconds(value):
    if not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return (value - EPOCH) // datetime.timedelta(microseconds=1) * 1000


def _numbers(values, kind):
    if kind == "time":
        return numpy.array([_nanoseconds(v) for v in values], numpy.int64)
    types = dict(_KINDS)[kind]
    if not all(isinstance(v, types) for v in values):
        raise TypeError(kind)
    return numpy.array(values, {"bool": bool, "integers": numpy.int64, "numbers": numpy.float64}[kind])
