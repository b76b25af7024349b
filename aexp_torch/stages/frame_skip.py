"""FrameSkip: each answer is sent several times."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.specs import flatten
from aexp_torch.specs.modality import is_image
from aexp_torch.stages.augment import Keys, both, by_row, matches
from aexp_torch.stages.lane_control import require_lane_control
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["FrameSkip"]

MID = np.int8(StepType.MID)


class FrameSkip(Stage):
    """Sends each answer `skip` times and shows only the last timestep; rewards add up, weighed by running discounts.

    A lane that ends on the way shows its LAST at once, and FIRST stands alone: both take one step of the environment.

    Observation: same specs; chosen values are the element-wise maximum of the last two that the lane has made with this
    answer.  Action: unchanged.

    Args:
      env: the environment below; it needs lane control.
      skip: how many times, at least 1.
      keys: which values are a maximum, as a glob over their names or a predicate of their `Modality`; by default grids
        of numbers, since some screens flicker. `""` is none.

    Raises:
      SpecError: the environment cannot hold single lanes.

    >>> import aexp_torch as ae, torch
    >>> env = ae.GymnasiumEnv("MountainCar-v0", num_envs=2, vectorization="sync").pipe(ae.FrameSkip, skip=4)
    >>> _ = env.reset()
    >>> env.step(torch.tensor([2, 2])).reward
    tensor([-4., -4.])

    Source: Mnih et al. 2015; `MaxAndSkipObservation` of Gymnasium.
    """

    def __init__(self, env: Env, skip: int = 4, keys: Keys = is_image):
        super().__init__(env)
        if not isinstance(skip, int) or skip < 1:
            raise SpecError(f"FrameSkip: expected skip of at least 1, got {skip!r}.")
        require_lane_control(env, "FrameSkip")
        self.skip, self.keys = skip, keys

    def on_open(self) -> None:
        """Finds the values that are a maximum."""
        self._pooled = {
            source: {
                path for path, modality in flatten(spec.modalities["observation"]) if matches(self.keys, path, modality)
            }
            for source, spec in self.env.specs.items()
        }

    @property
    def max_episode_steps(self) -> int | None:
        """The longest episode, in transitions that are shown."""
        below = self.env.max_episode_steps
        return None if below is None else -(-below // self.skip)

    @property
    def stream_length(self) -> int | None:
        """Not known: it depends on where lanes end."""
        return None

    def step(self, action: dict, lanes: Tensor | None = None) -> TimeStep:
        """Sends the answer until every lane has shown enough."""
        before = self._outstanding
        timestep = older = self.env.step(action, lanes)
        reward, discount = timestep.reward.numpy(), timestep.discount.numpy()
        moving = timestep.step_type.numpy() == MID
        if lanes is not None:
            moving &= lanes.numpy()
        pooled = self._pooled[timestep.source]
        for _ in range(self.skip - 1):
            if not moving.any():
                break
            previous, stepped = timestep, None if moving.all() else from_numpy(moving)
            timestep = self.env.step(action, stepped)
            reward = np.where(moving, reward + discount * timestep.reward.numpy(), reward)
            discount = np.where(moving, discount * timestep.discount.numpy(), discount)
            if pooled:
                older = previous if stepped is None else select_lanes(stepped, previous, older)
            moving = moving & (timestep.step_type.numpy() == MID)
        observation = _maximum(timestep.observation, older.observation, pooled) if pooled else timestep.observation
        signals = from_numpy(reward), from_numpy(discount)
        timestep = TimeStep(timestep.step_type, *signals, observation, timestep.ticket)
        return timestep if lanes is None else select_lanes(lanes, timestep, before)


def _maximum(newer: dict, older: dict, pooled: set[tuple[str, ...]], *path: str) -> dict:
    """Returns the newer observation, with the maximum where both have a pooled value."""
    result: dict[str, Any] = {}
    for key, value in newer.items():
        if isinstance(value, dict):
            result[key] = _maximum(value, older[key], pooled, *path, key)
        elif (*path, key) in pooled and value is not None and older[key] is not None:
            present = both(newer.get(f"mask:{key}"), older.get(f"mask:{key}"))
            larger = torch.maximum(value, older[key])
            result[key] = larger if present is None else torch.where(by_row(present, value), larger, value)
        else:
            result[key] = value
    return result
