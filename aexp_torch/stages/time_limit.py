"""TimeLimit: episodes of limited length."""

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.stages.lane_control import require_lane_control
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["TimeLimit"]

FIRST, MID, LAST = (np.int8(kind) for kind in StepType)


class TimeLimit(Stage):
    """Cuts episodes off after a number of transitions: LAST, truncated (its discount stays what it was, 1).

    The lane is then reset, while the others go on. An episode that ends by itself in time stays as it is.

    Observation: unchanged.  Action: unchanged.

    Args:
      env: the environment below; it needs lane control.
      max_episode_steps: transitions from FIRST to LAST, at least 1.

    Raises:
      SpecError: the environment cannot reset single lanes.

    >>> import aexp_torch as ae, torch
    >>> env = ae.GymnasiumEnv("Pendulum-v1", num_envs=2).pipe(ae.TimeLimit, max_episode_steps=2)
    >>> [env.step(torch.zeros(2, 1)).step_type.tolist() for _ in range(5)]
    [[0, 0], [1, 1], [2, 2], [0, 0], [1, 1]]

    Source: `TimeLimit` of Gymnasium; Pardo et al. 2018 on why it is no termination.
    """

    def __init__(self, env: Env, max_episode_steps: int):
        super().__init__(env)
        if not isinstance(max_episode_steps, int) or max_episode_steps < 1:
            raise SpecError(f"TimeLimit: expected max_episode_steps of at least 1, got {max_episode_steps!r}.")
        require_lane_control(env, "TimeLimit")
        self.given_max_episode_steps = self.limit = max_episode_steps

    def on_open(self) -> None:
        """Starts to count."""
        self._age: dict[str, np.ndarray] = {}

    @property
    def episodic(self) -> bool:
        """Whether lanes reach LAST: always."""
        return True

    @property
    def max_episode_steps(self) -> int | None:
        """The longest episode, in transitions."""
        below = self.env.max_episode_steps
        return self.limit if below is None else min(self.limit, below)

    @property
    def stream_length(self) -> int | None:
        """Not known: data that is reset starts over."""
        return None

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Resets the lanes that were cut off, and steps the others."""
        before, below = self._outstanding, self.env._outstanding
        cut = (before.step_type.numpy() == LAST) & (below.step_type.numpy() != LAST)
        if lanes is None and not cut.any():
            return self.on_timestep(self.env.step(action))
        cut = from_numpy(cut)
        moving = torch.ones_like(cut) if lanes is None else lanes
        reset, step = cut & moving, moving & ~cut
        timestep = below
        if step.any():
            timestep = self.env.step(action, step)
        if reset.any():
            timestep = self.env.reset(reset)
        with self._holding(~moving):
            timestep = self.on_timestep(timestep)
        return timestep if lanes is None else select_lanes(lanes, timestep, before)

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Counts, and ends what is over."""
        source, step_type = timestep.source, timestep.step_type.numpy()
        before = self._age.get(source, 0)
        age = np.where(step_type == FIRST, 0, before + 1)
        if self.held is not None:
            age = np.where(self.held.numpy(), before, age)
        self._age[source] = age
        over = (age >= self.limit) & (step_type == MID)
        if not over.any():
            return timestep
        return timestep._replace(step_type=timestep.step_type.masked_fill(from_numpy(over), StepType.LAST))

    def state_dict(self) -> dict:
        """Adds the transitions since FIRST, int64 [B] per source."""
        return super().state_dict() | {"age": {source: from_numpy(age) for source, age in self._age.items()}}

    def load_state_dict(self, state: dict) -> None:
        """Restores them."""
        super().load_state_dict(state)
        self._age = {source: age.numpy() for source, age in state["age"].items()}
