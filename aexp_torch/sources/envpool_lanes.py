"""How the lanes of an EnvPoolEnv are stepped: all at once by the pool, or those that are asked for.

The pool's compiled part is called directly: what its Python part adds is a sixth of a step of 64 CartPoles.
"""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, from_numpy

from aexp_torch.sources.lanes import Lanes, Outcome
from aexp_torch.specs.space_data import action_writer, batch_reader
from aexp_torch.specs.tree import map_tree, unflatten

__all__ = ["EnvPoolLanes"]

count_nonzero = np.count_nonzero
FLOAT32 = np.dtype(np.float32)


class EnvPoolLanes(Lanes):
    """Steps the lanes of a pool, whose seeds were given to it when it was made.

    Args:
      pool: of `envpool.make_gymnasium`, synchronous, with one player in a lane.
    """

    def __init__(self, pool: Any):
        self._pool, self._num_envs, self._everyone = pool, len(pool), pool.all_env_ids
        self._send, self._recv, self._reset = pool._send, pool._recv, pool._reset
        self._read = batch_reader(pool.single_observation_space, "observation")
        self._write = action_writer(pool.single_action_space, "action")
        self._ones = np.ones(self._num_envs, FLOAT32)
        self._dtype = np.dtype(pool.spec.action_array_spec["action"].dtype)
        places = {key: place for place, key in enumerate(pool._state_keys)}
        self._reward, self._done, self._truncated = places["reward"], places["done"], places["trunc"]
        leaves = {key: place for key, place in places.items() if key.partition(":")[0] == "obs"}
        self._leaves = [(tuple(key[4:].replace(":", ".").split(".")), place) for key, place in leaves.items()]
        self._leaf = None if isinstance(pool.single_observation_space, spaces.Dict) else self._leaves[0][1]

    def reset(self, seeds: list[int] | None, active: np.ndarray | None) -> dict:
        """Resets lanes."""
        if active is None or active.all():
            self._reset(self._everyone)
            return self._observation(self._recv())
        self._reset(_ids(active))
        return self._spread(self._observation(self._recv()), active)

    def step(self, action: dict, done: np.ndarray, active: np.ndarray | None) -> Outcome:
        """Steps lanes."""
        if active is None or active.all():
            return self._step(action, self._everyone, done)
        chosen = from_numpy(active)
        outcome = self._step(map_tree(lambda leaf: leaf[chosen], action), _ids(active), done[active])
        over, reward, discount = np.zeros((3, self._num_envs), FLOAT32)
        over[active], reward[active], discount[active] = outcome.done, outcome.reward, outcome.discount
        return Outcome(self._spread(outcome.observation, active), reward, over.astype(bool), discount)

    def _step(self, action: dict, ids: np.ndarray, before: np.ndarray) -> Outcome:
        self._send([ids, ids, self._write(action).astype(self._dtype, "C")])
        values = self._recv()
        reward, done = values[self._reward], values[self._done]
        if reward.dtype is not FLOAT32:
            reward = reward.astype(FLOAT32)
        if count_nonzero(before):  # tasks of dm_control pay for a reset
            reward = np.where(before, np.float32(0), reward)
        discount = self._ones[: len(ids)].copy()  # an eighth of the time of np.ones
        if count_nonzero(done):  # a third of the time of done.any()
            discount[done & ~values[self._truncated]] = 0
        return Outcome(self._observation(values), reward, done, discount)

    def _observation(self, values: list[np.ndarray]) -> dict:
        if self._leaf is not None:
            return self._read(values[self._leaf])
        return self._read(unflatten([(path, values[place]) for path, place in self._leaves]))

    def _spread(self, observation: dict, active: np.ndarray) -> dict:
        """Puts the rows that came where their lanes are."""
        chosen = from_numpy(active)

        def spread(rows: Tensor) -> Tensor:
            leaf = torch.zeros((self._num_envs, *rows.shape[1:]), dtype=rows.dtype)
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
        self._pool.close()
        self.__dict__.clear()


def _ids(active: np.ndarray) -> np.ndarray:
    return np.flatnonzero(active).astype(np.int32)
