"""Memory formats and layouts: the orders in which memory runs through the dimensions."""

from __future__ import annotations

from rushlight.core.naming import Public, published


class MemoryFormat(metaclass=Public):
    """An order of dimensions in memory; `order` lists them outermost first, None where it says nothing."""

    __slots__ = ("name", "order")

    def __init__(self, name, order=None):
        self.name, self.order = name, order

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return (_named, (self.name,))


class Layout(metaclass=Public):
    """How elements are stored; only `strided` exists here."""

    __slots__ = ("name",)

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"torch.{self.name}"

    def __reduce__(self):
        return (_named, (self.name,))


published(MemoryFormat, "memory_format")
published(Layout, "layout")
contiguous_format = MemoryFormat("contiguous_format")
legacy_contiguous_format = contiguous_format
preserve_format = MemoryFormat("preserve_format")
channels_last = MemoryFormat("channels_last", (0, 2, 3, 1))
channels_last_3d = MemoryFormat("channels_last_3d", (0, 2, 3, 4, 1))
strided, sparse_coo, sparse_csr, sparse_csc, sparse_bsr, sparse_bsc, jagged, _mkldnn = (
    Layout(n) for n in ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "jagged", "_mkldnn")
)


def _named(name):
    return globals()[name]
