"""FakeGymEnv: a Gymnasium environment with every kind of space, whose steps can be foretold."""

from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

__all__ = ["FakeGymEnv"]

WORDS = ("", "a", "bé", "ccc")


class FakeGymEnv(gymnasium.Env):
    """Counts its steps, in Box, Discrete, MultiBinary, MultiDiscrete and Text within Dict and Tuple.

    Step k of an episode shows `count` k, `pair` (k modulo 3, the bits of k) and `word` number k modulo 4 of "", "a",
    "bé", "ccc"; `draw` is random. The reward is 10 times the action's `move`, plus k.

    Args:
      length: transitions of an episode.
      ending: how it ends.
      rewards: rewards of the steps of an episode instead, to hand out odd ones.
    """

    def __init__(
        self,
        length: int = 4,
        ending: Literal["terminated", "truncated", "both"] = "terminated",
        rewards: tuple[float, ...] | None = None,
    ):
        self.observation_space = spaces.Dict(
            {
                "count": spaces.Box(0, 100, (1,), np.float64),
                "pair": spaces.Tuple([spaces.Discrete(3), spaces.MultiBinary(4)]),
                "word": spaces.Text(3, min_length=0, charset="abcé"),
                "draw": spaces.Box(0, 1, (2,), np.float32),
            }
        )
        self.action_space = spaces.Dict({"move": spaces.Discrete(3), "aim": spaces.MultiDiscrete([2, 3])})
        self.length, self.ending, self.rewards = length, ending, rewards
        self.count = 0
        self.received: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[dict, dict]:
        """Starts an episode."""
        super().reset(seed=seed)
        self.count = 0
        return self._observation(), {}

    def step(self, action: dict) -> tuple[dict, float, bool, bool, dict]:
        """Counts on."""
        if not self.action_space.contains(action):
            raise ValueError(f"FakeGymEnv: expected an action of {self.action_space}, got {action!r}.")
        self.received.append({"move": int(action["move"]), "aim": action["aim"].tolist()})
        self.count += 1
        reward = self.rewards[self.count - 1] if self.rewards else 10.0 * int(action["move"]) + self.count
        over = self.count >= self.length
        return (
            self._observation(),
            reward,
            over and self.ending in ("terminated", "both"),
            over and self.ending in ("truncated", "both"),
            {},
        )

    def _observation(self) -> dict:
        bits = np.array([self.count >> place & 1 for place in range(4)], np.int8)
        return {
            "count": np.array([self.count], np.float64),
            "pair": (np.int64(self.count % 3), bits),
            "word": WORDS[self.count % len(WORDS)],
            "draw": self.np_random.random(2, dtype=np.float32),
        }
