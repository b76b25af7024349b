"""Running mean and variance of a stream of batches."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["fresh_moments", "updated_moments"]


def fresh_moments(shape: tuple[int, ...]) -> dict[str, Any]:
    """Returns mean 0 and variance 1 (float64), and a count of almost nothing (1e-4)."""
    mean = torch.zeros(shape, dtype=torch.float64)
    return {"mean": mean, "variance": torch.ones_like(mean), "count": 1e-4}


def updated_moments(moments: dict[str, Any], batch: Tensor) -> dict[str, Any]:
    """Returns the moments of all batches so far and this one.

    Args:
      moments: mean and variance float64 [...], and the count of rows.
      batch: float64 [N, ...]; no row: nothing changes.

    Source: Chan et al. 1979, the parallel algorithm.
    """
    if not len(batch):
        return moments
    mean, variance = moments["mean"], moments["variance"]
    batch_variance, batch_mean = torch.var_mean(batch, 0, correction=0)
    count = moments["count"] + len(batch)
    share = len(batch) / count
    delta = batch_mean - mean
    spread = variance.lerp(batch_variance, share).addcmul_(delta, delta, value=share * (1 - share))
    return {"mean": mean.lerp(batch_mean, share), "variance": spread, "count": count}
