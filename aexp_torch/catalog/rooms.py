"""Rooms: a small grid world, in which a sentence says where to go."""

from collections import deque
from typing import Any, Literal

import numpy as np
import torch
from dm_env import specs

from aexp_torch.errors import SpecError
from aexp_torch.sources.lanes import Lanes, Simulator, SingleLanes
from aexp_torch.sources.simulator import SimulatorEnv
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.state import pack_generator, unpack_generator

__all__ = ["COLORS", "MOVES", "SHAPES", "RoomsEnv"]

COLORS, SHAPES = ("red", "green", "blue", "grey"), ("ball", "box", "key")
FLOOR, WALL, AGENT, OBJECTS = 0, 1, 2, 3  # cells; objects are 3 + 3 * color + shape
KINDS = len(COLORS) * len(SHAPES)
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
LENGTH = len("go to the green ball")


class RoomsEnv(SimulatorEnv):
    """Runs `num_envs` lanes of a world of two rooms with a door, in which three objects lie.

    Observation: `grid` uint8 [size, size]: 0 floor, 1 wall, 2 the agent, 3 + 3 c + s an object of color c (red, green, blue,
    grey) and shape s (ball, box, key); `text:instruction` uint8 [20], `go to the red ball`, zero-padded.
    Action: `action` int64: 0 up, 1 right, 2 down, 3 left; a wall stops the agent.
    The episode ends (discount 0) at the first object that is reached, with reward 1 where it is the one that was named,
    else 0; after `max_steps` it is cut off (discount 1). There is always a way to the object that was named.

    Args:
      num_envs: number of lanes B.
      size: cells of a side, from 6 on, walls included.
      max_steps: steps until the episode is cut off.
      name: names the source.
      seed: S of the lane seeds.
      on_missing: as for every Env.
      feedback_timeout: as for every Env, in seconds.

    Raises:
      SpecError: too small a world.

    >>> env = RoomsEnv(num_envs=2)
    >>> env.reset().observation["grid"].shape
    torch.Size([2, 8, 8])

    Source: the task is that of Chevalier-Boisvert et al. (2019), BabyAI.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        size: int = 8,
        max_steps: int = 40,
        name: str = "rooms",
        seed: int = 0,
        on_missing: Literal["error", "repeat", "sample"] = "error",
        feedback_timeout: float = 60.0,
    ):
        super().__init__(num_envs, name, seed=seed, on_missing=on_missing, feedback_timeout=feedback_timeout)
        if size < 6 or max_steps < 1:
            raise SpecError(f"RoomsEnv: expected size from 6 and max_steps from 1 on, got {size!r} and {max_steps!r}.")
        self.size, self.max_episode_steps = size, max_steps

    def open_lanes(self) -> Lanes:
        """Makes the worlds."""
        return SingleLanes([Rooms(self.size, self.max_episode_steps) for _ in range(self.num_envs)], _move)

    def make_specs(self) -> dict[str, EnvSpec]:
        """Describes one world."""
        observation = {
            "grid": specs.BoundedArray((self.size, self.size), np.uint8, 0, OBJECTS + KINDS - 1, "grid"),
            "text:instruction": specs.BoundedArray((LENGTH,), np.uint8, 0, 255, "text:instruction"),
        }
        action = {"action": specs.DiscreteArray(len(MOVES), np.int64, "action")}
        kinds = {
            "grid": Modality("grid", "categorical", "computer"),
            "text:instruction": Modality("sequence", "categorical", "text:en"),
        }
        return {self.name: EnvSpec(observation, action, modalities={"observation": kinds}, num_envs=self.num_envs)}


class Rooms(Simulator):
    """Is one world."""

    def __init__(self, size: int, max_steps: int):
        self.size, self.max_steps = size, max_steps
        self.rng = np.random.default_rng(0)
        self.grid, self.agent = np.zeros((size, size), np.uint8), (0, 0)
        self.wanted, self.steps = OBJECTS, 0

    def reset(self, seed: int | None) -> dict:
        """Builds a world in which there is a way to the object that is named."""
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.steps = 0
        while True:
            self.grid, cells = self._build()
            self.agent, *places = cells
            kinds = self.rng.choice(KINDS, len(places), replace=False)
            for place, kind in zip(places, kinds):
                self.grid[place] = OBJECTS + kind
            self.wanted = OBJECTS + int(kinds[0])
            if self._reaches(places[0]):
                return self._seen()

    def _build(self) -> tuple[np.ndarray, list[tuple[int, int]]]:
        """Returns two rooms with a door between them, and four different cells of the floor."""
        grid = np.full((self.size, self.size), WALL, np.uint8)
        grid[1:-1, 1:-1] = FLOOR
        grid[:, self.rng.integers(2, self.size - 2)] = WALL
        between = int(np.flatnonzero(grid[1, 1:-1] == WALL)[0]) + 1
        grid[self.rng.integers(1, self.size - 1), between] = FLOOR
        grid = grid.T.copy() if self.rng.integers(2) else grid
        floor = np.argwhere(grid == FLOOR)
        chosen = self.rng.choice(len(floor), 4, replace=False)
        return grid, [(int(row), int(column)) for row, column in floor[chosen]]

    def _reaches(self, goal: tuple[int, int]) -> bool:
        """Tells whether there is a way that touches no other object."""
        seen, waiting = {self.agent}, deque([self.agent])
        while waiting:
            row, column = waiting.popleft()
            for down, across in MOVES:
                cell = (row + down, column + across)
                if cell == goal:
                    return True
                if self.grid[cell] == FLOOR and cell not in seen:
                    seen.add(cell)
                    waiting.append(cell)
        return False

    def step(self, action: int) -> tuple[dict, float, bool, float]:
        """Moves the agent."""
        self.steps += 1
        cell = (self.agent[0] + MOVES[action][0], self.agent[1] + MOVES[action][1])
        found = int(self.grid[cell])
        if found != WALL:
            self.agent = cell
        ended = found >= OBJECTS
        reward = float(found == self.wanted)
        return self._seen(), reward, ended or self.steps >= self.max_steps, 0.0 if ended else 1.0

    def _seen(self) -> dict:
        grid = self.grid.copy()
        grid[self.agent] = AGENT
        color, shape = divmod(self.wanted - OBJECTS, len(SHAPES))
        sentence = f"go to the {COLORS[color]} {SHAPES[shape]}".encode().ljust(LENGTH, b"\0")
        return {"grid": grid, "text:instruction": np.frombuffer(sentence, np.uint8)}

    def close(self) -> None:
        """Does nothing."""

    def why_not_resumable(self) -> None:
        """Nothing stands in the way of a state."""

    def state_dict(self) -> dict:
        """Returns the world and its generator."""
        return {
            "grid": torch.from_numpy(self.grid.copy()),
            "agent": list(self.agent),
            "wanted": self.wanted,
            "steps": self.steps,
            "rng": pack_generator(self.rng),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores the world and its generator."""
        self.grid, self.agent = state["grid"].numpy().copy(), (state["agent"][0], state["agent"][1])
        self.wanted, self.steps, self.rng = state["wanted"], state["steps"], unpack_generator(state["rng"])


def _move(action: dict, lane: int) -> Any:
    return int(action["action"][lane])
