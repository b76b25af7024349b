"""Streams that the tests of agents share."""

import gymnasium
import numpy as np
from gymnasium import spaces

import aexp_torch as ae


class Counting(gymnasium.Env):
    """Shows the number of its step; every third step ends the episode, truncated or terminated in turns."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self):
        self.episode = -1

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_number, self.episode = 0, self.episode + 1
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.step_number += 1
        end, terminates = self.step_number == 3, self.episode % 2 == 1
        observation = np.array([self.step_number], np.float32)
        return observation, float(self.step_number), end and terminates, end and not terminates, {}


class Everything(gymnasium.Env):
    """Has every kind of leaf in its nested observation and action."""

    observation_space = spaces.Dict(
        {
            "image": spaces.Box(0, 255, (8, 8, 3), np.uint8),
            "text": spaces.Text(6),
            "inner": spaces.Dict({"choice": spaces.Discrete(3), "numbers": spaces.Box(-5, 5, (2,), np.float32)}),
        }
    )
    action_space = spaces.Dict(
        {
            "move": spaces.Discrete(3),
            "force": spaces.Box(-1, 1, (2,), np.float32),
            "bits": spaces.MultiBinary(3),
            "several": spaces.MultiDiscrete([2, 3]),
        }
    )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._draw(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return self._draw(), float(action["bits"].sum()), bool(self.np_random.random() < 0.2), False, {}

    def _draw(self):
        image = self.np_random.integers(0, 256, (8, 8, 3), np.uint8)
        text = "".join(self.np_random.choice(list("abc"), self.np_random.integers(1, 7)))
        inner = {"choice": self.np_random.integers(3), "numbers": self.np_random.uniform(-5, 5, 2).astype(np.float32)}
        return {"image": image, "text": text, "inner": inner}


def counting(num_envs: int = 2) -> ae.Env:
    """Returns lanes of Counting."""
    return ae.GymnasiumEnv(Counting, num_envs=num_envs, name="counting")


def everything(num_envs: int = 2) -> ae.Env:
    """Returns lanes of Everything."""
    return ae.GymnasiumEnv(Everything, num_envs=num_envs, name="everything")
