"""What every rank keeps for itself (generators, replay, timesteps before), in the one checkpoint that all share."""

from typing import Any

import numpy as np
import torch
from lightning import Trainer

__all__ = ["all_ranks", "own_rank", "rank_seed"]


def all_ranks(state: dict[str, Any], trainer: Trainer) -> list[dict[str, Any]]:
    """Returns the state of every rank; called on all of them."""
    if trainer.world_size == 1:
        return [state]
    states: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(states, state)
    return states


def own_rank(states: list[dict[str, Any]], trainer: Trainer | None) -> dict[str, Any]:
    """Returns this rank's part; the first without a trainer."""
    return states[0 if trainer is None else trainer.global_rank % len(states)]


def rank_seed(seed: int, rank: int) -> int:
    """Returns the seed of a rank's generator, so that no two ranks draw alike. Rank 0 has `seed` itself."""
    if rank == 0:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(rank,)).generate_state(1)[0])
