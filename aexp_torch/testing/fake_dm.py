"""FakeDmEnv: an environment of dm_env with every kind of spec, whose steps can be foretold."""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs

__all__ = ["FakeDmEnv"]


class FakeDmEnv(dm_env.Environment):
    """Counts its steps, in every kind of spec within dicts, tuples and lists, always in the same memory.

    Step k of an episode shows `position` (k and a random number), `parts` (k modulo 5, and k), `says` (k times "é") and
    `seen`. The discount is 0.75, the reward k - 0.5, and None for the first step.

    Args:
      seed: of the random numbers.
      length: transitions of an episode.
      final: its last discount.
      changes: fields of every timestep but the first that are others, to hand out odd ones.
    """

    def __init__(self, seed: int | None = None, length: int = 4, final: float = 0.0, **changes: Any):
        self.random = np.random.RandomState(seed)
        self.length, self.final, self.changes = length, final, changes
        self.count = 0
        self.received: list[Any] = []
        self._position = np.zeros(2, np.float64)

    def observation_spec(self) -> dict:
        """Returns specs of every kind."""
        return {
            "position": specs.BoundedArray((2,), np.float64, [0, np.nan], [9, np.nan]),
            "parts": (specs.DiscreteArray(5, np.int32), [specs.Array((), np.float32)]),
            "says": specs.StringArray(()),
            "seen": {"deep": specs.BoundedArray((3,), bool, False, True)},
        }

    def action_spec(self) -> list:
        """Returns a list of specs."""
        return [specs.BoundedArray((2,), np.float32, [-1, np.nan], 1), {"choice": specs.DiscreteArray(3)}]

    def reward_spec(self) -> specs.BoundedArray:
        """Returns a number with bounds."""
        return specs.BoundedArray((), np.float64, -3, 10)

    def discount_spec(self) -> specs.BoundedArray:
        """Returns a number with bounds."""
        return specs.BoundedArray((), np.float64, 0, 0.75)

    def reset(self) -> dm_env.TimeStep:
        """Starts an episode."""
        self.count = 0
        return dm_env.restart(self._observation())

    def step(self, action: Any) -> dm_env.TimeStep:
        """Counts on."""
        if self.count == self.length:
            return self.reset()
        self.received.append(action)
        self.count += 1
        reward = None if self.count == 1 else self.count - 0.5
        kind = dm_env.StepType.LAST if self.count == self.length else dm_env.StepType.MID
        discount = self.final if self.count == self.length else 0.75
        return dm_env.TimeStep(kind, reward, discount, self._observation())._replace(**self.changes)

    def _observation(self) -> dict:
        self._position[:] = self.count, self.random.random_sample()
        parts = self.count % 5, (np.float32(self.count),)
        return {
            "position": self._position,
            "parts": parts,
            "says": "é" * self.count,
            "seen": {"deep": [True, False, True]},
        }
