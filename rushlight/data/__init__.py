"""rushlight.data: data where people have it, as data sets for DataLoader.

| source | reads |
|---|---|
| `CSV`, `Parquet`, `Arrow` | tables in files, a block at a time (pyarrow) |
| `SQL` | a query of SQLite, PostgreSQL or any DB-API connection |
| `TextLines` | lines of text files |
| `MemoryMap` | rows of NumPy's files, mapped |
| `ImageFolder` | images in a folder for each class (Pillow) |
| `Frame` | a pandas DataFrame (DataLoader takes one as it is) |

The first three rows are streams: shuffled, shared out by worker and rank, and able to go on where they
stood (`Source`); the others are indexed, and the samplers do that. None holds more than a window of its
data in memory. PyTorch has none of these: its users write them.
"""

from rushlight.data.arrays import MemoryMap
from rushlight.data.arrow import CSV, Arrow, Parquet
from rushlight.data.columns import Columns, Hash
from rushlight.data.images import ImageFolder
from rushlight.data.source import Source
from rushlight.data.sql import SQL
from rushlight.data.text import TextLines
from rushlight.utils.data.frame import Frame

__all__ = [
    "Arrow",
    "CSV",
    "Columns",
    "Frame",
    "Hash",
    "ImageFolder",
    "MemoryMap",
    "Parquet",
    "SQL",
    "Source",
    "TextLines",
]
