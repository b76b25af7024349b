"""Running mean and variance of a stream of batches."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, from_numpy

__all__ = ["fresh_moments", "updated_moments"]


def fresh_moments(shape: tuple[int, ...]) -> dict[str, Any]:
    """Returns mean 0 and variance 1 (float64), and a count of almost nothing (1e-4)."""
    mean = torch.zeros(shape, dtype=torch.float64)
    return {"mean": mean, "variance": torch.ones_like(mean), "count": 1e-4}


def updated_moments(moments: dict[str, Any], batch: np.ndarray) -> dict[str, Any]:
    """Returns the moments of all batches so far and this one.

    Args:
      moments: mean and variance float64 [...], and the count of rows.
      batch: float64 [N, ...]; no row: nothing changes.

    Source: Chan et al. 1979, the parallel algorithm.
    """
    rows = len(batch)
    if not rows:
        return moments
    mean, variance = moments["mean"].numpy(), moments["variance"].numpy()
    batch_mean = np.add.reduce(batch, 0) / rows
    centred = batch - batch_mean
    batch_variance = np.add.reduce(centred * centred, 0) / rows
    count = moments["count"] + rows
    share, delta = rows / count, batch_mean - mean
    variance = variance + share * (batch_variance - variance + (1 - share) * delta * delta)
    return {"mean": _tensor(mean + share * delta), "variance": _tensor(variance), "count": count}


def _tensor(value: Any) -> Tensor:
    return from_numpy(np.asarray(value))
