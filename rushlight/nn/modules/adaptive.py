"""AdaptiveLogSoftmaxWithLoss: log softmax over very many classes, rare ones in clusters.

Mechanism: the head scores the frequent classes and one entry for each cluster; a cluster scores its
classes through a narrow projection. A class's log probability is its cluster's plus its own in the
cluster.

Invariant: classes are numbered by falling frequency; cutoffs end with n_classes.
"""

from collections import namedtuple

import rushlight

from .. import functional as F
from .container import ModuleList, Sequential
from .linear import Linear
from .module import Module

_ASMoutput = namedtuple("_ASMoutput", ["output", "loss"])


class AdaptiveLogSoftmaxWithLoss(Module):
    """Negative log likelihood over n_classes classes that are sorted by frequency.

    Args:
        in_features: size of the input's last dimension.
        n_classes: number of classes.
        cutoffs: where clusters begin; classes before the first cutoff are in the head.
        div_value: each cluster's projection is smaller by this factor than the one before.
        head_bias: the head has a bias.

    `forward(input, target)`: (N, in_features) and (N,), or (in_features,) and (); returns the named
    tuple (output, loss):
    the targets' log probabilities and the negative mean of them.
    Raises ValueError for cutoffs that are not positive, increasing and below n_classes.
    Source: Grave et al., Efficient softmax approximation for GPUs, arXiv:1609.04309.
    """

    def __init__(
        self,
        in_features,
        n_classes,
        cutoffs,
        div_value=4.0,
        head_bias=False,
        device=None,
        dtype=None,
    ):
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        increasing = all(a < b for a, b in zip(cutoffs, cutoffs[1:]))
        whole = all(int(c) == c for c in cutoffs)
        if not increasing or not whole or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(self.cutoffs) - 1
        self.head_size = self.shortlist_size + self.n_clusters
        where = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **where)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            narrow = int(in_features // (div_value ** (i + 1)))
            classes = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(
                    Linear(in_features, narrow, bias=False, **where),
                    Linear(narrow, classes, bias=False, **where),
                )
            )

    def reset_parameters(self):
        """Draw the head's and then the clusters' parameters."""
        self.head.reset_parameters()
        for narrow, wide in self.tail:
            narrow.reset_parameters()
            wide.reset_parameters()

    def forward(self, input_, target_):
        rank = target_.dim()
        if rank == 1:
            if input_.shape[0] != target_.shape[0]:
                raise RuntimeError(
                    "Input and target should have the same size in the batch dimension."
                )
            if input_.dim() != 2:
                raise RuntimeError(
                    "1D target tensor expects 2D input tensors, but found inputs with size "
                    f"{input_.size()}"
                )
        elif rank == 0:
            if input_.dim() != 1:
                raise RuntimeError(
                    "0D target tensor expects 1D input tensors, but found inputs with size "
                    f"{input_.size()}"
                )
        else:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        batched = rank > 0
        input = input_ if batched else input_.unsqueeze(0)
        target = target_ if batched else target_.unsqueeze(0)

        output = input.new_zeros(target.size(0))
        in_head = target.new_empty(target.size(0))
        used = 0
        for i, (low, high) in enumerate(zip([0, *self.cutoffs], self.cutoffs)):
            rows = ((target >= low) & (target < high)).nonzero().squeeze()
            if rows.numel() == 0:
                continue
            if i == 0:
                in_head.index_copy_(0, rows, target[rows])
            else:
                relative = target[rows] - low
                scores = F.log_softmax(self.tail[i - 1](input.index_select(0, rows)), dim=1)
                in_head.index_fill_(0, rows, self.shortlist_size + i - 1)
                output.index_copy_(0, rows, scores.gather(1, relative.view(-1, 1)).view(rows.shape))
            used += rows.numel()
        if used != target.size(0):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )
        head = F.log_softmax(self.head(input), dim=1)
        output = output + head.gather(1, in_head.unsqueeze(1)).squeeze()
        loss = (-output).mean()
        return _ASMoutput(output if batched else output.squeeze(0), loss)

    def _get_full_log_prob(self, input, head_output):
        """Log probabilities of all classes, (N, n_classes), given the head's scores."""
        head = F.log_softmax(head_output, dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            own = head[:, self.shortlist_size + i].unsqueeze(1)
            parts.append(F.log_softmax(cluster(input), dim=1) + own)
        return rushlight.cat(parts, dim=1)

    def log_prob(self, input):
        """Log probabilities of all classes: (N, in_features) to (N, n_classes)."""
        return self._get_full_log_prob(input, self.head(input))

    def predict(self, input):
        """The most probable class of each row, (N,), looking into clusters only where needed."""
        head = self.head(input)
        out = head.argmax(dim=1)
        in_cluster = out >= self.shortlist_size
        if not in_cluster.any():
            return out
        if in_cluster.all():
            return self._get_full_log_prob(input, head).argmax(dim=1)
        out[in_cluster] = self._get_full_log_prob(input[in_cluster], head[in_cluster]).argmax(dim=1)
        return out


__all__ = ["AdaptiveLogSoftmaxWithLoss"]
