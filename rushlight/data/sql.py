"""Rows of a database, through any DB-API connection.

The query is cut into ranges of an integer key, which are the pieces: each worker of each rank asks
for its own ranges over a connection of its own, and reads them through a cursor that the server
keeps (PostgreSQL) or that steps (SQLite), never a whole result. Without a key there is one share.
"""

import os
import sqlite3

from rushlight.data.columns import Columns, kind_of
from rushlight.data.source import Source

__all__ = ["SQL"]

ROWS = 4096  # rows fetched at once, and a piece of unknown density
SAMPLE = 200  # rows that types are inferred from


class _Connect:
    """Opens a connection: of SQLite to a file, of PostgreSQL to a URL."""

    def __init__(self, place):
        self.place = os.fspath(place)

    def __call__(self):
        if not self.place.startswith(("postgresql://", "postgres://")):
            path = os.path.abspath(self.place).replace("?", "%3f").replace("#", "%23")
            return sqlite3.connect(f"file:{path}?mode=ro", uri=True, check_same_thread=False)
        try:
            import psycopg
        except ImportError as error:
            raise ImportError(
                "rushlight.data.SQL reads PostgreSQL through psycopg; install it with: pip install "
                "'rushlight[sql]', or give a function that opens a connection of another library"
            ) from error
        return psycopg.connect(self.place)


class SQL(Source):
    """The rows of a query: a dict from column to value, or batches with `batch_size`.

    database: a file of SQLite, a URL "postgresql://...", or a function that opens a connection (any
    DB-API library's; each worker calls it). query: a SELECT. key: an integer column of its result
    without NULLs, by which it is cut, shared out and shuffled; it should have an index. params: for
    the query's own placeholders. rows: about how many rows a piece has. quote: what the database
    quotes names by (MySQL: "`"). columns, missing: see `rushlight.data.Columns`; what is not stated
    is inferred from the first rows. Options: those of `rushlight.data.Source`.
    """

    def __init__(
        self,
        database,
        query,
        *,
        key=None,
        params=(),
        rows=ROWS,
        quote='"',
        columns=None,
        missing=None,
        **options,
    ):
        super().__init__(**options)
        self.connect = database if callable(database) else _Connect(database)
        self.query, self.key, self.params = query.strip().rstrip(";"), key, params
        self.rows, self.quote = rows, quote
        self._columns = Columns(columns, missing)
        self._kinds = self._names = None
        self._divisible = key is not None

    def _execute(self, connection, text, server=False):
        if server and type(connection).__module__.split(".")[0] in ("psycopg", "psycopg2"):
            cursor = connection.cursor(name="rushlight")  # a cursor that the server keeps
            cursor.itersize = ROWS
        else:
            cursor = connection.cursor()
        if self.params:
            cursor.execute(text, self.params)
        else:
            cursor.execute(text)
        return cursor

    def _pieces(self):
        connection = self.connect()
        try:
            cursor = self._execute(connection, f"SELECT * FROM ({self.query}) AS q LIMIT {SAMPLE}")
            self._names = [column[0] for column in cursor.description]
            first = cursor.fetchall()
            wanted = self._columns.check(self._names)
            places = {name: self._names.index(name) for name in wanted}
            self._kinds = {n: kind_of([row[k] for row in first]) for n, k in places.items()}
            if not first:
                return []
            if self.key is None:
                return [(None, 1)]
            if self.key not in self._names:
                raise ValueError(f"the key {self.key!r} is no column of the query: {self._names}")
            key = self._quoted()
            text = f"SELECT min({key}), max({key}), count(*), count({key}) FROM ({self.query}) AS q"
            low, high, count, keys = self._execute(connection, text).fetchone()
            if not isinstance(low, int) or not isinstance(high, int):
                raise ValueError(f"the key {self.key!r} holds {low!r}; it has to be of integers")
            if keys < count:
                raise ValueError(
                    f"{count - keys} rows have no {self.key!r} and would be lost; choose a key without "
                    f"NULLs, or leave them out: ... WHERE {self.key} IS NOT NULL"
                )
            step = max(1, (high - low + 1) * self.rows // count)
            return [(a, min(step, high + 1 - a)) for a in range(low, high + 1, step)]
        finally:
            connection.close()

    def _quoted(self):
        mark = self.quote
        return mark + self.key.replace(mark, mark * 2) + mark

    def _check_shares(self, shares):
        if self.key is None and shares > 1:
            raise ValueError(
                f"a query without a key cannot be shared out to {shares} workers or ranks, because its "
                "rows have no order that all would see; name an integer column: key='id'"
            )

    def _read(self, piece, begin, end):
        text = f"SELECT * FROM ({self.query}) AS q"
        at = None
        if self.key is not None:
            key = self._quoted()
            text += f" WHERE {key} >= {piece + begin} AND {key} < {piece + end} ORDER BY {key}"
            at = self._names.index(self.key)
        connection = self.connect()
        try:
            cursor = self._execute(connection, text, server=True)
            if at is None:
                yield from self._unordered(cursor, begin)
                return
            held = []
            while True:
                more = cursor.fetchmany(ROWS)
                rows = held + more
                # rows of one key stay together: a reader goes on at a key
                whole = len(rows)
                while more and whole and rows[whole - 1][at] == rows[-1][at]:
                    whole -= 1
                rows, held = rows[:whole], rows[whole:]
                if rows:
                    yield self._table(rows), len(rows), rows[-1][at] + 1 - piece
                if not more:
                    return
        finally:
            connection.close()

    def _unordered(self, cursor, skip):
        """All rows of a query without a key, but the first `skip`; its order has to be its own."""
        position = 0
        while rows := cursor.fetchmany(ROWS):
            position += len(rows)
            if position > skip:
                yield self._table(rows), len(rows), position

    def _table(self, rows):
        columns = list(zip(*rows))
        return {
            name: self._columns.of_list(name, list(columns[self._names.index(name)]), kind)
            for name, kind in self._kinds.items()
        }
