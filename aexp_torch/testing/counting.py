"""CountingEnv: a source whose every value tells which step it is, and whose reward is the answer it got."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from dm_env import specs
from torch import Tensor

from aexp_torch.errors import EndOfStream
from aexp_torch.sources.restorable import Restorable, show_restored
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.state import pack_generator, unpack_generator
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["CountingEnv"]


class CountingEnv(Restorable):
    """Counts, so that a wrong order, a lost step and an answer in the wrong place become visible.

    A lane's observation is the number of timesteps that this lane has shown since the environment was opened, from 0; a
    reset does not set it back (for a restored episode, it goes back to what it was then). Its reward is the action it got
    (without actions: its observation). Even lanes end with terminated, odd ones with truncated, each after its own number
    of transitions.

    Observation: `observation` float32 [B]; with `nested`: `count` float32 [B], `where/lane` int64 [B] and `where/age`
    (transitions since FIRST) int64 [B]; with `random`: also `random` float32 [B] in [0, 1), drawn per lane; with
    `optional`: also `sometimes` float32 [B], the count where that is odd; other lanes lack it.
    Action: `action` int64 [B] in 0..num_actions-1, or empty.

    Args:
      num_envs: number of lanes B.
      lengths: transitions of an episode, for each lane; the default is 3, 4, 5, ...
      stream_length: timesteps until the stream ends; None for ever.
      num_actions: number of actions; 0: no answer is due.
      nested: gives a nested dict.
      random: adds a value that follows from the seeds of the lane.
      optional: adds a key that a lane has at every other of its timesteps.
      options: `name`, `seed`, `on_missing` and `feedback_timeout`, as for every Env.

    While it is open, `received` lists every action it got, int64 [B] each, with None where it was reset.

    >>> env = CountingEnv(num_envs=2)
    >>> timestep = env.reset()
    >>> for _ in range(3):
    ...     timestep = env.step(torch.tensor([3, 4]))
    >>> timestep.observation["observation"], timestep.reward, timestep.step_type
    (tensor([3., 3.]), tensor([3., 4.]), tensor([2, 1], dtype=torch.int8))
    """

    lane_control = True

    def __init__(
        self,
        num_envs: int = 2,
        lengths: Sequence[int] | None = None,
        *,
        stream_length: int | None = None,
        num_actions: int = 5,
        nested: bool = False,
        random: bool = False,
        optional: bool = False,
        **options: Any,
    ):
        super().__init__(**options)
        self.num_envs, self.num_actions, self.nested, self.random = num_envs, num_actions, nested, random
        self.optional = optional
        self.lengths = tuple(lengths or range(3, 3 + num_envs))
        self.max_episode_steps = max(self.lengths)
        self.given_lengths, self.given_stream_length = lengths, stream_length

    @property
    def stream_length(self) -> int | None:
        """The number of timesteps until the stream ends."""
        return self.given_stream_length

    def on_open(self) -> None:
        """Starts to count."""
        self._count = torch.full((self.num_envs,), -1)
        self._age = torch.zeros(self.num_envs, dtype=torch.int64)
        self._shown = 0
        self._generators = [np.random.default_rng(self.seeds(lane)) for lane in range(self.num_envs)]
        self.received: list[Tensor | None] = []

    def make_specs(self) -> dict[str, EnvSpec]:
        """Describes the counters."""
        observation: dict[str, Any] = {"observation": specs.Array((), np.float32)}
        if self.nested:
            lane, age = (
                specs.DiscreteArray(self.num_envs, np.int64),
                specs.BoundedArray((), np.int64, 0, max(self.lengths)),
            )
            observation = {"count": specs.Array((), np.float32), "where": {"lane": lane, "age": age}}
        if self.random:
            observation["random"] = specs.BoundedArray((), np.float32, 0.0, 1.0)
        modalities: dict[str, Any] = {}
        if self.optional:
            observation["sometimes"] = specs.Array((), np.float32)
            modalities["sometimes"] = Modality("flat", "real", optional=True)
        action = {"action": specs.DiscreteArray(self.num_actions, np.int64)} if self.num_actions else {}
        given = {"observation": modalities}
        return {self.name: EnvSpec(observation, action, modalities=given, num_envs=self.num_envs)}

    def reset(self, lanes: Tensor | None = None) -> TimeStep:
        """Starts new episodes; the counters go on."""
        self._shown = 1 if lanes is None else self._shown + 1
        moving = torch.ones(self.num_envs, dtype=torch.bool) if lanes is None else lanes
        self.received.append(None)
        rows, begin = self.begin_episodes(moving)
        return show_restored(self._show(begin, begin, torch.zeros(self.num_envs)), rows)

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Counts on, and pays the action back."""
        if self.given_stream_length is not None and self._shown >= self.given_stream_length:
            raise EndOfStream(f"{self.name}: {self.given_stream_length} timesteps were shown.")
        self._shown += 1
        moving = torch.ones(self.num_envs, dtype=torch.bool) if lanes is None else lanes
        ended = moving & self._outstanding.last()
        rows, begin = self.begin_episodes(ended)
        moving = (moving & ~ended) | begin
        reward = self._count + 1.0
        if self.num_actions:
            self.received.append(action["action"].clone())
            reward = action["action"].float()
        return show_restored(self._show(moving, begin, torch.where(begin, 0.0, reward)), rows)

    def _show(self, moving: Tensor, begin: Tensor, reward: Tensor) -> TimeStep:
        self._count = self._count + moving
        self._age = torch.where(begin, 0, self._age + moving)
        end = self._age >= torch.tensor(self.lengths)
        step_type = torch.where(begin, StepType.FIRST, torch.where(end, StepType.LAST, StepType.MID)).to(torch.int8)
        discount = torch.where(end & (torch.arange(self.num_envs) % 2 == 0), 0.0, 1.0)
        timestep = TimeStep(step_type, reward, discount, self._observation(moving))
        if moving.all() or self._outstanding is None:  # where the stream was over, the other lanes are restored
            return timestep
        return select_lanes(moving, timestep, self._outstanding)

    def _observation(self, moving: Tensor) -> dict:
        observation: dict[str, Any] = {"observation": self._count.float()}
        if self.nested:
            where = {"lane": torch.arange(self.num_envs), "age": self._age.clone()}
            observation = {"count": self._count.float(), "where": where}
        if self.random:
            draws = [rng.random(dtype=np.float32) if moves else 0 for rng, moves in zip(self._generators, moving)]
            observation["random"] = torch.tensor(draws, dtype=torch.float32)
        if self.optional:
            odd = self._count % 2 == 1
            observation["sometimes"] = torch.where(odd, self._count, 0).float() if odd.any() else None
            if odd.any() and not odd.all():
                observation["mask:sometimes"] = odd
        return observation

    def lane_state(self, lane: int) -> dict:
        """Returns the counters and the generator of a lane."""
        generator = pack_generator(self._generators[lane])
        return {"count": int(self._count[lane]), "age": int(self._age[lane]), "generator": generator}

    def load_lane_state(self, lane: int, state: dict) -> None:
        """Sets the counters and the generator of a lane back."""
        self._count, self._age = self._count.clone(), self._age.clone()
        self._count[lane], self._age[lane] = state["count"], state["age"]
        self._generators[lane] = unpack_generator(state["generator"])

    def state_dict(self) -> dict:
        """Adds the counters and the generators."""
        return super().state_dict() | {
            "count": self._count,
            "age": self._age,
            "shown": self._shown,
            "generators": [pack_generator(generator) for generator in self._generators],
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores the counters and the generators."""
        super().load_state_dict(state)
        self._count, self._age, self._shown = state["count"], state["age"], state["shown"]
        self._generators = [unpack_generator(packed) for packed in state["generators"]]
