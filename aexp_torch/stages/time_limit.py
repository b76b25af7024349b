"""TimeLimit: episodes of limited length."""

import numpy as np
from torch import from_numpy

from aexp_torch.env import Env
from aexp_torch.errors import SpecError
from aexp_torch.stages.early_end import EarlyEnd, end_early
from aexp_torch.stages.lane_control import require_lane_control
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["TimeLimit"]

FIRST, MID = np.int8(StepType.FIRST), np.int8(StepType.MID)


class TimeLimit(EarlyEnd):
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
        self.given_max_episode_steps = max_episode_steps

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
        return self.given_max_episode_steps if below is None else min(self.given_max_episode_steps, below)

    @property
    def stream_length(self) -> int | None:
        """Not known: data that is reset starts over."""
        return None

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Counts, and ends what is over."""
        source, step_type = timestep.source, timestep.step_type.numpy()
        before = self._age.get(source, 0)
        age = np.where(step_type == FIRST, 0, before + 1)
        if self.held is not None:
            age = np.where(self.held.numpy(), before, age)
        self._age[source] = age
        over = (age >= self.given_max_episode_steps) & (step_type == MID)
        return end_early(timestep, from_numpy(over)) if over.any() else timestep

    def state_dict(self) -> dict:
        """Adds the transitions since FIRST, int64 [B] per source."""
        return super().state_dict() | {"age": {source: from_numpy(age) for source, age in self._age.items()}}

    def load_state_dict(self, state: dict) -> None:
        """Restores them."""
        super().load_state_dict(state)
        self._age = {source: age.numpy() for source, age in state["age"].items()}
