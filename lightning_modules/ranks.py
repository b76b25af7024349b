"""What every rank has of its own (streams, generators, replay, counts), put together for all of them."""

from typing import Any

import numpy as np
import torch
from lightning import Trainer

__all__ = ["all_ranks", "own_rank", "rank_seed"]


def all_ranks(own: Any, world_size: int) -> list[Any]:
    """Returns what every rank has, in their order; called on all of them."""
    if world_size == 1:
        return [own]
    everyone: list[Any] = [None] * world_size
    torch.distributed.all_gather_object(everyone, own)
    return everyone


def own_rank(states: list[dict[str, Any]], trainer: Trainer | None) -> dict[str, Any]:
    """Returns this rank's part; the first without a trainer."""
    return states[0 if trainer is None else trainer.global_rank % len(states)]


def rank_seed(seed: int, rank: int) -> int:
    """Returns the seed of a rank's generator, so that no two ranks draw alike. Rank 0 has `seed` itself."""
    if rank == 0:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(rank,)).generate_state(1)[0])
