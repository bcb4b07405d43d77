"""DistributedSampler: each of several processes visits its own share of a data set.

All processes shuffle with one seed (`seed + epoch`) and take every `num_replicas`-th index from
their rank on, so that the shares do not overlap and no process has to talk to another. Shares have
one length: indices are repeated, or with `drop_last=True` left out, until the number divides.
"""

import math
from collections.abc import Iterator

import rushlight
from rushlight.utils.data.dataset import Dataset
from rushlight.utils.data.resume import Order, Resumable
from rushlight.utils.data.sampler import Sampler

__all__ = ["DistributedSampler"]


def _group():
    """The distributed package once its process group stands, else ValueError."""
    group = getattr(rushlight, "distributed", None)
    if group is None or not group.is_available() or not group.is_initialized():
        raise ValueError(
            "Default process group has not been initialized, please make sure to call "
            "init_process_group. Or say what it would tell: "
            "DistributedSampler(dataset, num_replicas=..., rank=...)"
        )
    return group


class DistributedSampler(Resumable, Sampler[int]):
    """The share of process `rank` among `num_replicas`; call `set_epoch(epoch)` before each epoch.

    num_replicas, rank: those of the process group by default. shuffle: in random order, from
    `seed`. drop_last: leave out the tail instead of repeating samples. ValueError for a rank out of
    range.
    """

    def __init__(
        self,
        dataset: Dataset,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None:
            num_replicas = _group().get_world_size()
        if rank is None:
            rank = _group().get_rank()
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        n = len(dataset)
        if drop_last and n % num_replicas:
            self.num_samples = math.ceil((n - num_replicas) / num_replicas)
        else:
            self.num_samples = math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def _begin(self, state):
        return Order(self._draw, state)

    def _draw(self, start):
        if start is not None:
            self.epoch = start
        return self.epoch, self._share()

    def _share(self) -> Iterator[int]:
        n = len(self.dataset)
        if self.shuffle:
            generator = rushlight.Generator()
            generator.manual_seed(self.seed + self.epoch)
            indices = rushlight.randperm(n, generator=generator).tolist()
        else:
            indices = list(range(n))
        if not self.drop_last and indices:
            indices *= math.ceil(self.total_size / len(indices))
        return iter(indices[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Give this epoch an order of its own; without it every epoch has the same order."""
        self.epoch = epoch
