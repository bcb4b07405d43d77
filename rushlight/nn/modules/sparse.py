"""Embedding and EmbeddingBag: tables of vectors, looked up by number.

Invariant: the row at padding_idx starts at zero and gets no gradient, so it stays zero until
somebody writes it.
"""

import rushlight

from .. import functional as F
from .. import init
from ..parameter import Parameter
from .module import Module


def _check_table(weight, num_embeddings, embedding_dim):
    if list(weight.shape) != [num_embeddings, embedding_dim]:
        raise AssertionError(
            "Shape of weight does not match num_embeddings and embedding_dim: got "
            f"{tuple(weight.shape)}, expected {(num_embeddings, embedding_dim)}"
        )


def _padding_row(padding_idx, num_embeddings, name):
    """padding_idx counted from the front; AssertionError if there is no such row."""
    if padding_idx is None:
        return None
    if not -num_embeddings <= padding_idx < num_embeddings:
        raise AssertionError(
            f"{name} must be within num_embeddings: got {padding_idx}, expected "
            f"{-num_embeddings} to {num_embeddings - 1}"
        )
    return padding_idx % num_embeddings


class _Table(Module):
    """The weight, drawn from the normal distribution, and its padding row."""

    def _make_weight(self, weight, trainable, device, dtype):
        if weight is None:
            size = (self.num_embeddings, self.embedding_dim)
            self.weight = Parameter(
                rushlight.empty(size, device=device, dtype=dtype), requires_grad=trainable
            )
            self.reset_parameters()
        else:
            _check_table(weight, self.num_embeddings, self.embedding_dim)
            self.weight = Parameter(weight, requires_grad=trainable)

    def reset_parameters(self):
        """Draw the rows from N(0, 1); the padding row becomes zero."""
        init.normal_(self.weight)
        self._fill_padding_idx_with_zero()

    def _fill_padding_idx_with_zero(self):
        if self.padding_idx is not None:
            with rushlight.no_grad():
                self.weight[self.padding_idx].fill_(0)

    def _shown(self, *names):
        """`name=value` for those arguments that are not at their defaults."""
        defaults = {"norm_type": 2, "scale_grad_by_freq": False, "sparse": False}
        pairs = ((name, getattr(self, name)) for name in names)
        return [f"{name}={value}" for name, value in pairs if value != defaults.get(name)]


class Embedding(_Table):
    """Rows of a learned table: (*) of indices to (*, embedding_dim).

    Args:
        num_embeddings, embedding_dim: the table's size.
        padding_idx: a row that starts at zero and gets no gradient; may be negative.
        max_norm: shorten, in place, the rows used whose norm is larger.
        norm_type: the p of that norm.
        scale_grad_by_freq: divide a row's gradient by how often it was used in the batch.
        sparse: make the weight's gradient a sparse tensor.

    Attribute: weight (num_embeddings, embedding_dim), from N(0, 1).
    """

    __constants__ = [
        "num_embeddings",
        "embedding_dim",
        "padding_idx",
        "max_norm",
        "norm_type",
        "scale_grad_by_freq",
        "sparse",
    ]

    def __init__(
        self,
        num_embeddings,
        embedding_dim,
        padding_idx=None,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        sparse=False,
        _weight=None,
        _freeze=False,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = _padding_row(padding_idx, num_embeddings, "Padding_idx")
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self._make_weight(_weight, not _freeze, device, dtype)
        self.sparse = sparse

    def forward(self, input):
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self):
        names = ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *self._shown(*names)])

    @classmethod
    def from_pretrained(
        cls,
        embeddings,
        freeze=True,
        padding_idx=None,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        sparse=False,
    ):
        """An Embedding whose table is the 2-d tensor `embeddings`; `freeze` keeps it from
        training."""
        rows, cols = _two_dimensions(embeddings)
        return cls(
            num_embeddings=rows,
            embedding_dim=cols,
            _weight=embeddings,
            _freeze=freeze,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
        )


def _two_dimensions(embeddings):
    if embeddings.dim() != 2:
        raise AssertionError(
            f"Embeddings parameter is expected to be 2-dimensional, but has {embeddings.dim()}"
        )
    return embeddings.shape


class EmbeddingBag(_Table):
    """Sums, means or maxima of bags of rows of a learned table.

    `forward(input, offsets=None, per_sample_weights=None)`: input (B, n), or (n,) with offsets
    (B,); result (B, embedding_dim).

    Args:
        mode: "sum", "mean" or "max".
        include_last_offset: offsets ends with the number of indices.
        padding_idx: indices that are left out.
        The others: as in Embedding.
    """

    __constants__ = [
        "num_embeddings",
        "embedding_dim",
        "max_norm",
        "norm_type",
        "scale_grad_by_freq",
        "mode",
        "sparse",
        "include_last_offset",
        "padding_idx",
    ]

    def __init__(
        self,
        num_embeddings,
        embedding_dim,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        mode="mean",
        sparse=False,
        _weight=None,
        include_last_offset=False,
        padding_idx=None,
        device=None,
        dtype=None,
    ):
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.padding_idx = _padding_row(padding_idx, num_embeddings, "padding_idx")
        self._make_weight(_weight, True, device, dtype)
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset

    def forward(self, input, offsets=None, per_sample_weights=None):
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self):
        return ", ".join(
            [
                f"{self.num_embeddings}, {self.embedding_dim}",
                *self._shown("max_norm", "norm_type", "scale_grad_by_freq"),
                f"mode={self.mode!r}",
                *self._shown("padding_idx"),
            ]
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings,
        freeze=True,
        max_norm=None,
        norm_type=2.0,
        scale_grad_by_freq=False,
        mode="mean",
        sparse=False,
        include_last_offset=False,
        padding_idx=None,
    ):
        """An EmbeddingBag whose table is the 2-d tensor `embeddings`; `freeze` keeps it from
        training."""
        rows, cols = _two_dimensions(embeddings)
        out = cls(
            num_embeddings=rows,
            embedding_dim=cols,
            _weight=embeddings,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            mode=mode,
            sparse=sparse,
            include_last_offset=include_last_offset,
            padding_idx=padding_idx,
        )
        out.weight.requires_grad = not freeze
        return out


__all__ = ["Embedding", "EmbeddingBag"]
