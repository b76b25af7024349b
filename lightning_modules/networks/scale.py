"""Scale: running statistics that normalise numbers, equal on all ranks."""

import torch
from torch import Tensor, nn

__all__ = ["Scale"]


class Scale(nn.Module):
    """Keeps the mean and the variance of all rows so far; each element has its own.

    Rows are added in two steps, `add(sums(rows))`, so that ranks can add up their sums in between.

    Args:
      shape: of a row.

    Source: Chan et al. 1979, the parallel algorithm.
    """

    mean: Tensor
    variance: Tensor
    count: Tensor

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        for name, value in (("mean", torch.zeros(shape)), ("variance", torch.ones(shape)), ("count", torch.zeros(()))):
            self.register_buffer(name, value)

    @property
    def std(self) -> Tensor:
        """The standard deviation of each element, at least 1e-4: what never changes has none."""
        return (self.variance + 1e-8).sqrt()

    @property
    def num_sums(self) -> int:
        """How many numbers `sums` returns: 1 + 2 K for K elements."""
        return 1 + 2 * self.mean.numel()

    def normalize(self, value: Tensor) -> Tensor:
        """Returns (value - mean) / std of rows [N, ...], within 10 of 0."""
        return ((value - self.mean) / self.std).clamp(-10, 10)

    def sums(self, rows: Tensor) -> Tensor:
        """Returns what float32 rows [N, ...] add to the statistics, float32 [num_sums]."""
        distance = (rows - self.mean).reshape(len(rows), self.mean.numel())  # [N, K]
        return torch.cat([self.count.new_tensor([len(rows)]), distance.sum(0), distance.square().sum(0)])

    def add(self, sums: Tensor) -> None:
        """Takes what `sums` returned, added up over ranks."""
        rows, (distance, square) = sums[0], sums[1:].view(2, *self.mean.shape)
        if rows == 0:
            return
        total = self.count + rows
        shift = distance / total
        variance = (self.variance * self.count + square) / total - shift.square()
        self.mean += shift
        self.variance.copy_(variance.clamp(min=0))
        self.count.copy_(total)
