"""The observations of MiniGrid in the spaces that everybody knows: missions as text, symbols within their bounds.

This module imports minigrid: import it where a source is open.
"""

import io
import itertools
from contextlib import nullcontext, redirect_stdout
from typing import Any

import gymnasium
import numpy as np
from dm_env import specs
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, DIR_TO_VEC, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.mission import MissionSpace
from minigrid.envs.babyai.core.roomgrid_level import RoomGridLevel

__all__ = ["Instructed", "is_symbolic"]

# The agent itself is a cell of the whole grid; its state is a direction.
LARGEST = np.array(
    [
        max(OBJECT_TO_IDX.values()),
        max(COLOR_TO_IDX.values()),
        max(*STATE_TO_IDX.values(), len(DIR_TO_VEC) - 1),
    ],
    np.uint8,
)
# BabyAI: two parts joined by ", after you" or ", then", each of two actions joined by "and", of which "put the yellow ball
# in front of you next to the purple ball in front of you" is the longest.
LONGEST_SENTENCE = 321
MOST_MISSIONS = 100_000
ASCII = "".join(map(chr, range(1, 128)))


class Instructed(gymnasium.Wrapper):
    """Shows `mission` as `text:instruction`, of at most `length` bytes, and says how large symbols get."""

    def __init__(self, env: gymnasium.Env, length: int | None = None):
        super().__init__(env)
        self._symbolic = not any("RGB" in type(layer).__name__ for layer in _layers(env))
        self._says = False
        space = env.observation_space
        if not isinstance(space, spaces.Dict):
            self.observation_space = self._bounded(space)
            return
        members: dict[str, spaces.Space] = {}
        for key, member in space.spaces.items():
            if isinstance(member, MissionSpace):
                self._says = True
                members["text:instruction"] = spaces.Text(length or longest(member), min_length=0, charset=ASCII)
            else:
                members[key] = self._bounded(member) if key == "image" else member
        self.observation_space = spaces.Dict(members)

    def _bounded(self, space: spaces.Space) -> spaces.Space:
        if self._symbolic and isinstance(space, spaces.Box) and space.shape[2:] == LARGEST.shape:
            return spaces.Box(np.zeros_like(space.low), np.broadcast_to(LARGEST, space.shape), dtype=np.uint8)
        return space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        """Begins an episode; BabyAI prints whenever it draws a mission anew, which is nobody's concern."""
        prints = isinstance(self.unwrapped, RoomGridLevel)
        with redirect_stdout(io.StringIO()) if prints else nullcontext():
            observation, info = self.env.reset(seed=seed, options=options)
        return self._translated(observation), info

    def step(self, action: Any) -> tuple:
        """Steps the environment."""
        observation, *rest = self.env.step(action)
        return self._translated(observation), *rest

    def _translated(self, observation: Any) -> Any:
        if not self._says:
            return observation
        return {"text:instruction" if key == "mission" else key: value for key, value in observation.items()}


def longest(space: MissionSpace) -> int:
    """Returns the length in bytes of the longest mission: of all, where they are listed; else of BabyAI's grammar."""
    choices = space.ordered_placeholders
    if choices is None and space.mission_func.__code__.co_argcount == 0:
        fixed = type(space) is MissionSpace
        return len(space.mission_func().encode()) if fixed else LONGEST_SENTENCE
    if np.prod([len(words) for words in choices]) > MOST_MISSIONS:
        return LONGEST_SENTENCE
    return max(len(space.mission_func(*words).encode()) for words in itertools.product(*choices))


def is_symbolic(spec: specs.Array) -> bool:
    """Says whether a leaf has the bounds of MiniGrid's symbols."""
    bounded = isinstance(spec, specs.BoundedArray) and len(spec.shape) == 3 and spec.shape[-1] == len(LARGEST)
    return bounded and bool((spec.maximum == LARGEST).all())


def _layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers
