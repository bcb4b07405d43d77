"""ChannelShuffle: interleave groups of channels."""

from .. import functional as F
from .module import Module


class ChannelShuffle(Module):
    """(N, C, *), seen as (N, groups, C / groups, *), with the two middle dimensions swapped.

    Source: Zhang et al., ShuffleNet, arXiv:1707.01083.
    """

    __constants__ = ["groups"]

    def __init__(self, groups):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self):
        return f"groups={self.groups}"


__all__ = ["ChannelShuffle"]
