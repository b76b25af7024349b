"""Minibatches of the rows of a trajectory, equally many on every rank."""

from lightning import Trainer
from torch import Tensor

__all__ = ["minibatches"]


def minibatches(order: Tensor, count: int, trainer: Trainer) -> list[Tensor]:
    """Cuts rows (int64 [N]) into at most `count` parts of nearly equal size.

    With several ranks there are always `count`, empty ones at the end: each is an update, and ranks update together.
    """
    parts = [part for part in order.chunk(count) if len(part)]
    return parts if trainer.world_size == 1 else parts + [order[:0]] * (count - len(parts))
