"""Performance: how well each lane of one source does, and how much better than some steps before."""

import numpy as np
from torch import from_numpy

__all__ = ["Performance"]


class Performance:
    """Follows the performance of lanes, along restored episodes too.

    Args:
      num_envs: lanes B.
      gamma: discount of the return, for each step since the episode's fresh start.
      window: steps over which a rise is taken, back to the first timestep of the episode at most; None: the performance
        itself is what counts.
    """

    def __init__(self, num_envs: int, gamma: float, window: int | None):
        self.gamma, self.window = gamma, window
        self.step = np.zeros(num_envs, np.int64)  # since the fresh start, through restores
        self.now = np.zeros(num_envs)
        self.weight = np.ones(num_envs)  # of the next reward
        self._age = np.zeros(num_envs, np.int64)  # steps since FIRST
        self._start = np.zeros(num_envs)  # at FIRST
        self._past = np.zeros((num_envs, window or 0))  # [b, t % window] is that of step t since FIRST

    def begin(self, lane: int, place: dict | None) -> None:
        """Starts an episode: a fresh one, or one at a stored place (as `place` describes it)."""
        place = place or {"step": 0, "performance": 0.0, "weight": 1.0}
        self._age[lane] = 0
        self.step[lane], self.now[lane], self.weight[lane] = place["step"], place["performance"], place["weight"]

    def place(self, lane: int) -> dict:
        """Describes where a lane is, for `begin`."""
        step, performance, weight = self.step[lane], self.now[lane], self.weight[lane]
        return {"step": int(step), "performance": float(performance), "weight": float(weight)}

    def earn(self, going: np.ndarray, reward: np.ndarray) -> None:
        """Takes the rewards (float32 [B]) of lanes that go on (bool [B]) into the discounted return."""
        self.now[going] += (self.weight * reward)[going]
        self.weight[going] *= self.gamma

    def rise(self, moving: np.ndarray, first: np.ndarray) -> np.ndarray:
        """Returns how much the performance has risen over the window, float64 [B]; lanes that do not move mean nothing.

        Args:
          moving: bool [B].
          first: bool [B], which of them are at FIRST.
        """
        if self.window is None:
            return self.now.copy()
        self._age[moving & ~first] += 1
        self._start[first] = self.now[first]
        lanes, slots = np.arange(len(self.now)), self._age % self.window
        rise = self.now - np.where(self._age >= self.window, self._past[lanes, slots], self._start)
        self._past[lanes[moving], slots[moving]] = self.now[moving]
        return rise

    def state_dict(self) -> dict:
        """Returns what is known of each lane."""
        return {name: from_numpy(value.copy()) for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def load_state_dict(self, state: dict) -> None:
        """Restores it."""
        for name, value in state.items():
            setattr(self, name, value.numpy().copy())
