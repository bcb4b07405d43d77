"""Lines of text files, a block at a time.

Files are cut by bytes: a line belongs to the part in which its first byte lies. So the share of a
worker is known without reading, and its first and last lines are found by looking for line ends.
"""

import codecs
import os

import numpy

from rushlight.data.source import Source, expand

__all__ = ["TextLines", "lines_of"]

BYTES = 1 << 18  # bytes of a block


def lines_of(file, begin, end, head, step, find=True):
    """(bytes of whole lines, place after them) of the lines that begin in [begin, end).

    find: `begin` may lie inside a line, which then belongs to the part before.
    """
    if find and begin > head:
        file.seek(begin - 1)
        file.readline()
    else:
        file.seek(begin)
    at = file.tell()
    while at < end:
        data = file.read(min(step, end - at))
        data += b"" if data.endswith(b"\n") else file.readline()
        if not data:
            return
        at = file.tell()
        yield data, at


class TextLines(Source):
    """The lines of text files as strings, without their line ends.

    paths: a file, a pattern, a folder (its .txt files), or several. encoding: one in which a line
    ends by a byte of its own (UTF-8, Latin-1, ...; UTF-16 is not, and raises ValueError). Batches
    are lists of strings.
    """

    def __init__(self, paths, *, encoding="utf-8", errors="strict", skip_empty=False, **options):
        super().__init__(**options)
        if codecs.lookup(encoding).name.startswith(("utf-16", "utf-32")):
            raise ValueError(
                f"TextLines cuts files at line ends, which {encoding} has none of one byte for; convert "
                "the file: iconv -f utf-16 -t utf-8"
            )
        self.files = expand(paths, ".txt")
        self.encoding, self.errors, self.skip_empty = encoding, errors, skip_empty

    def _pieces(self):
        step = 4 * BYTES
        found = []
        for k, path in enumerate(self.files):
            size = os.path.getsize(path)
            found += [((k, a), min(step, size - a)) for a in range(0, size, step)]
        return found

    def _read(self, piece, begin, end):
        which, first = piece
        with open(self.files[which], "rb") as file:
            for data, at in lines_of(file, first + begin, first + end, 0, BYTES):
                lines = data.decode(self.encoding, self.errors).split("\n")
                if lines[-1] == "":
                    lines.pop()
                lines = [line.removesuffix("\r") for line in lines]
                if self.skip_empty:
                    lines = [line for line in lines if line.strip()]
                values = numpy.empty(len(lines), object)
                values[:] = lines
                yield {"line": values}, len(lines), at - first

    def _row(self, table, i):
        return table["line"][i]

    def _batch(self, table):
        return table["line"].tolist()
