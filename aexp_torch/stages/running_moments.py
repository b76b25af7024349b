"""Running mean and variance of a stream of batches."""

import torch
from torch import Tensor

__all__ = ["fresh_moments", "updated_moments"]


def fresh_moments(shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Returns mean 0, variance 1 and a count of almost nothing (1e-4), float64."""
    mean = torch.zeros(shape, dtype=torch.float64)
    return {"mean": mean, "variance": torch.ones_like(mean), "count": torch.tensor(1e-4, dtype=torch.float64)}


def updated_moments(moments: dict[str, Tensor], batch: Tensor) -> dict[str, Tensor]:
    """Returns the moments of all batches so far and this one.

    Args:
      moments: mean and variance float64 [...], count float64.
      batch: float64 [N, ...]; no row: nothing changes.

    Source: Chan et al. 1979, the parallel algorithm.
    """
    num_rows = len(batch)
    if not num_rows:
        return moments
    mean, variance, count = moments["mean"], moments["variance"], moments["count"]
    batch_variance, batch_mean = torch.var_mean(batch, 0, correction=0)
    total, delta = count + num_rows, batch_mean - mean
    squares = variance * count + batch_variance * num_rows + delta.square() * (count * num_rows / total)
    return {"mean": mean + delta * (num_rows / total), "variance": squares / total, "count": total}
