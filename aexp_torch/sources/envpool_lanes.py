"""How the lanes of an EnvPoolEnv are stepped: all at once by the pool, or those that are asked for."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from aexp_torch.sources.gymnasium_lanes import OwnVector
from aexp_torch.sources.lanes import Outcome
from aexp_torch.specs.tree import map_tree

__all__ = ["EnvPoolLanes"]


class EnvPoolLanes(OwnVector):
    """Steps the lanes of a pool, whose seeds were given to it when it was made."""

    def reset(self, seeds: list[int] | None, active: np.ndarray | None) -> dict:
        """Resets lanes."""
        if active is None or active.all():
            return self._read(self._vector.reset()[0])
        observation, _ = self._vector.reset(env_id=_ids(active))
        return self._spread(self._read(observation), active)

    def step(self, action: dict, done: np.ndarray, active: np.ndarray | None) -> Outcome:
        """Steps lanes."""
        if active is None or active.all():
            return super().step(action, done, None)
        chosen = torch.from_numpy(active)
        observation, reward, terminated, truncated, _ = self._step(
            self._write(map_tree(lambda leaf: leaf[chosen], action)), _ids(active)
        )
        outcome = np.zeros((2, len(active)), bool)
        outcome[:, active] = terminated, truncated
        rewards = np.zeros(len(active), np.float32)
        rewards[active] = reward
        over, discount = outcome.any(0), (~outcome[0]).astype(np.float32)
        return Outcome(self._spread(self._read(observation), active), rewards, over, discount)

    def _spread(self, observation: dict, active: np.ndarray) -> dict:
        """Puts the rows that came into those of all lanes."""
        chosen = torch.from_numpy(active)

        def spread(rows: Tensor) -> Tensor:
            leaf = rows.new_zeros((len(active), *rows.shape[1:]))
            leaf[chosen] = rows
            return leaf

        return map_tree(spread, observation)

    def why_not_resumable(self) -> str | None:
        """Says what stands in the way of a state."""
        return (
            "EnvPool keeps its environments in C++ and gives no state of them. Use GymnasiumEnv with vectorization='sync'"
            " where Gymnasium has the same task"
        )

    def close(self) -> None:
        """Ends the threads, which live as long as the pool does."""
        self._vector.close()
        self._vector = self._step = None


def _ids(active: np.ndarray) -> Any:
    return np.flatnonzero(active).astype(np.int32)
