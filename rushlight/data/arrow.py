"""Parquet, Arrow and CSV, read through pyarrow a block at a time.

Parquet's pieces are its row groups, Arrow's its record batches, both of known numbers of rows. A
CSV file is cut by bytes: a row belongs to the part in which its first byte lies, so no pass over the
file is needed before it can be shared out. Only where values may hold line breaks
(`newlines_in_values=True`) the file is looked through once for places between rows.

Column types are those of the file; those of CSV are inferred once from the first rows and hold for
the whole file, so that every worker reads the same ones.
"""

import io
import os

import numpy

from rushlight.data.columns import Columns
from rushlight.data.source import Source, expand
from rushlight.data.text import lines_of

__all__ = ["CSV", "Arrow", "Parquet"]

ROWS = 8192  # rows of a block
BYTES = 1 << 20  # bytes of a block of CSV
SAMPLE = 1 << 18  # bytes of CSV that types are inferred from


def _pyarrow(what):
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f"rushlight.data.{what} reads through pyarrow; install it with: pip install "
            "'rushlight[data]'"
        ) from error
    return pyarrow


class _ArrowSource(Source):
    """Columns out of pyarrow's record batches."""

    _endings = ()

    def __init__(self, paths, columns=None, *, missing=None, **options):
        super().__init__(**options)
        self._columns = Columns(columns, missing)
        self.files = expand(paths, *self._endings)
        _pyarrow(type(self).__name__)

    def _table(self, batch):
        """A record batch as a dict of arrays."""
        found = {}
        for name in self._columns.check(batch.schema.names):
            column = batch.column(batch.schema.get_field_index(name))
            values, absent = to_numpy(name, column)
            found[name] = self._columns.finish(name, values, absent)
        return found

    def _parts(self, batches, begin, end):
        """What of a run of record batches lies in the rows [begin, end)."""
        at = 0
        for batch in batches:
            first, last = max(begin - at, 0), min(end - at, batch.num_rows)
            at += batch.num_rows
            if first < last:
                yield self._table(batch.slice(first, last - first)), last - first, min(at, end)
            if at >= end:
                return


def to_numpy(name, column):
    """(array, mask of what is missing or None) of a pyarrow array."""
    pa = _pyarrow("Parquet")
    types, kind = pa.types, column.type
    if types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    absent = None
    if column.null_count:
        absent = column.is_null().to_numpy(zero_copy_only=False)
    if types.is_date(kind) or types.is_timestamp(kind):
        column = column.cast(pa.timestamp("ns")) if types.is_date(kind) else column
        column = column.cast(pa.timestamp("ns", getattr(kind, "tz", None))).cast(pa.int64())
    elif types.is_time(kind):
        column = column.cast(pa.time64("ns")).cast(pa.int64())
    elif types.is_duration(kind):
        column = column.cast(pa.duration("ns")).cast(pa.int64())
    elif types.is_decimal(kind):
        column = column.cast(pa.float64())
    elif types.is_null(kind):
        column = column.cast(pa.float64())
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _rows(column), absent
    elif types.is_struct(kind) or types.is_map(kind) or types.is_union(kind):
        raise NotImplementedError(
            f"column {name!r} is of type {kind}, which is no column of numbers or text; leave it out "
            "(columns=[...]), or write its fields as columns of their own"
        )
    kind = column.type
    if types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind):
        if absent is not None:
            column = column.fill_null(False if types.is_boolean(kind) else 0)
        values = column.to_numpy(zero_copy_only=False)
        return (values if values.flags.writeable else values.copy()), absent
    values = numpy.empty(len(column), object)
    values[:] = column.to_pylist()
    return values, absent


def _rows(column):
    """A column of lists: a matrix where all have one length, else an array of arrays."""
    lists = column.to_pylist()
    lengths = {len(x) if x is not None else 0 for x in lists}
    flat = column.flatten()
    if len(lengths) == 1 and column.null_count == 0 and flat.null_count == 0:
        return flat.to_numpy(zero_copy_only=False).reshape(len(column), -1).copy()
    values = numpy.empty(len(lists), object)
    for k, x in enumerate(lists):
        values[k] = None if x is None else numpy.asarray(x)
    return values


class Parquet(_ArrowSource):
    """Rows of Parquet files: a dict from column to value, or batches with `batch_size`.

    paths: a file, a pattern, a folder, or several. columns, missing: see `rushlight.data.Columns`.
    Only the columns asked for are read, a block of a row group at a time, so memory does not grow
    with the file. Options: those of `rushlight.data.Source`.
    """

    _endings = (".parquet", ".pq")

    def _pieces(self):
        pq = _pyarrow("Parquet").parquet
        found = []
        for k, path in enumerate(self.files):
            with pq.ParquetFile(path) as file:
                self._columns.check(file.schema_arrow.names)
                meta = file.metadata
                found += [
                    ((k, g), meta.row_group(g).num_rows) for g in range(meta.num_row_groups)
                ]
        return found

    def _read(self, piece, begin, end):
        which, group = piece
        with _pyarrow("Parquet").parquet.ParquetFile(self.files[which], pre_buffer=False) as file:
            batches = file.iter_batches(
                min(ROWS, self.window) if self.shuffle else ROWS,
                row_groups=[group],
                columns=self._columns.names,
                use_threads=False,
            )
            yield from self._parts(batches, begin, end)


class Arrow(_ArrowSource):
    """Rows of Arrow IPC files (Feather version 2 is one), or of streams saved to files.

    As `Parquet`; the pieces are record batches.
    """

    _endings = (".arrow", ".feather", ".ipc", ".arrows")

    def _open(self, path):
        """(file, reader, whether batches can be asked for by number)."""
        pa = _pyarrow("Arrow")
        file = pa.OSFile(path)
        try:
            return file, pa.ipc.open_file(file), True
        except pa.ArrowInvalid:
            file.seek(0)
            return file, pa.ipc.open_stream(file), False

    def _pieces(self):
        found = []
        for k, path in enumerate(self.files):
            file, reader, random = self._open(path)
            with file:
                self._columns.check(reader.schema.names)
                if random:
                    sizes = (reader.get_batch(b).num_rows for b in range(reader.num_record_batches))
                    found += [((k, b), n) for b, n in enumerate(sizes)]
                else:
                    found.append(((k, None), sum(batch.num_rows for batch in reader)))
        return found

    def _read(self, piece, begin, end):
        which, number = piece
        file, reader, _ = self._open(self.files[which])
        with file:
            batches = iter(reader) if number is None else (reader.get_batch(number),)
            small = (b.slice(k, ROWS) for b in batches for k in range(0, b.num_rows, ROWS))
            yield from self._parts(small, begin, end)


class CSV(_ArrowSource):
    """Rows of CSV files with a line of names at the top (or `names=[...]` where there is none).

    delimiter, quote, encoding: of the file. newlines_in_values: whether quoted values may hold line
    breaks. null_values: texts that mean a missing value. The rest is as in `Parquet`; a stated dtype
    is what the text is parsed as.
    """

    _endings = (".csv", ".tsv", ".txt")

    def __init__(
        self,
        paths,
        columns=None,
        *,
        names=None,
        delimiter=",",
        quote='"',
        encoding="utf8",
        newlines_in_values=False,
        null_values=("", "NA", "N/A", "NaN", "nan", "NULL", "null"),
        missing=None,
        **options,
    ):
        super().__init__(paths, columns, missing=missing, **options)
        self.names, self.delimiter, self.quote, self.encoding = names, delimiter, quote, encoding
        self.newlines_in_values, self.null_values = newlines_in_values, list(null_values)
        self._divisible = not newlines_in_values
        self._heads, self._types = None, None

    def _pieces(self):
        self._heads = [0 if self.names is not None else _line_after(p, 0) for p in self.files]
        self._infer()
        found = []
        for k, (path, head) in enumerate(zip(self.files, self._heads)):
            size = os.path.getsize(path)
            if self.newlines_in_values:
                cuts = _cuts(path, head, self.quote.encode())
                found += [((k, a, b), b - a) for a, b in zip(cuts, cuts[1:])]
            else:
                step = 4 * BYTES
                found += [
                    ((k, a, min(a + step, size)), min(step, size - a)) for a in range(head, size, step)
                ]
        return found

    def _infer(self):
        """The names and types of columns, from the beginning of the first file."""
        pa = _pyarrow("CSV")
        with open(self.files[0], "rb") as file:
            head = file.read(self._heads[0])
            data = file.read(SAMPLE)
            data += file.readline()
        if self.names is None:
            line = pa.csv.read_csv(
                io.BytesIO(head + head), parse_options=self._parsing(pa), read_options=self._reading(pa)
            )
            self.names = line.column_names
        self._columns.check(self.names)
        if data:
            found = self._parse(data, {}).schema
            self._types = {f.name: f.type for f in found}
        else:
            self._types = {}
        for name in self.names:
            stated = self._columns.dtype(name)
            if stated is not None:
                self._types[name] = pa.from_numpy_dtype(stated)

    def _parsing(self, pa):
        return pa.csv.ParseOptions(
            delimiter=self.delimiter,
            quote_char=self.quote,
            newlines_in_values=self.newlines_in_values,
        )

    def _reading(self, pa, names=None, size=None):
        return pa.csv.ReadOptions(
            column_names=names,
            use_threads=False,
            encoding=self.encoding,
            block_size=max(size or 0, 1 << 16) + 1,
        )

    def _parse(self, data, types):
        pa = _pyarrow("CSV")
        converting = pa.csv.ConvertOptions(
            column_types=types,
            include_columns=self._columns.names or [],
            null_values=self.null_values,
            strings_can_be_null=False,
        )
        try:
            table = pa.csv.read_csv(
                pa.BufferReader(data),
                read_options=self._reading(pa, self.names, len(data)),
                parse_options=self._parsing(pa),
                convert_options=converting,
            )
            if not self.newlines_in_values and table.num_rows != _lines(data):
                raise pa.ArrowInvalid(
                    f"{table.num_rows} rows in {_lines(data)} lines: a value holds a line break"
                )
            return table
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"{error}; if values hold line breaks, write newlines_in_values=True; if a column "
                "holds other values than its first rows have, state its type: "
                "columns={'name': rushlight.float64, ...}"
            ) from None

    def _read(self, piece, begin, end):
        which, first, _ = piece
        begin, end = first + begin, first + end
        with open(self.files[which], "rb") as file:
            for data, at in lines_of(file, begin, end, self._heads[which], BYTES, self._divisible):
                batches = self._parse(data, self._types).combine_chunks().to_batches()
                if batches:  # one: the chunks are combined
                    yield self._table(batches[0]), batches[0].num_rows, at - first


def _line_after(path, at):
    """The place after the line that begins at `at`."""
    with open(path, "rb") as file:
        file.seek(at)
        file.readline()
        return file.tell()


def _lines(data):
    """The number of lines that are not empty."""
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if data.startswith((b"\n", b"\r\n")) or b"\n\n" in data or b"\n\r\n" in data:
        return sum(1 for line in data.split(b"\n") if line.rstrip(b"\r"))
    return lines


def _cuts(path, head, quote):
    """Places between rows, some BYTES apart: where a line ends and no quote is open."""
    cuts, at, is_open = [head], head, False
    with open(path, "rb") as file:
        file.seek(head)
        for line in file:
            at += len(line)
            is_open ^= line.count(quote) % 2 == 1
            if not is_open and at - cuts[-1] >= BYTES:
                cuts.append(at)
    if cuts[-1] != at:
        cuts.append(at)
    return cuts
