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
        self.now += np.where(going, self.weight * reward, 0.0)
        if self.gamma != 1.0:
            self.weight[going] *= self.gamma

    def rise(self, first: np.ndarray, going: np.ndarray) -> np.ndarray:
        """Returns how much the performance has risen over the window, float64 [B]; that of held lanes means nothing.

        Args:
          first: bool [B], lanes at FIRST.
          going: bool [B], lanes that go on.
        """
        if self.window is None:
            return self.now.copy()
        self._age += going
        self._start[first] = self.now[first]
        slot = np.arange(len(self.now)), self._age % self.window
        before = self._past[slot]
        self._past[slot] = np.where(first | going, self.now, before)
        return self.now - np.where(self._age >= self.window, before, self._start)

    def state_dict(self) -> dict:
        """Returns what is known of each lane."""
        return {name: from_numpy(value.copy()) for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def load_state_dict(self, state: dict) -> None:
        """Restores it."""
        for name, value in state.items():
            setattr(self, name, value.numpy().copy())
