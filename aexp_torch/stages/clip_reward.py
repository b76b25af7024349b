"""ClipReward: rewards within bounds."""

from dataclasses import replace

import numpy as np
from dm_env import specs

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec
from aexp_torch.timestep import TimeStep

__all__ = ["ClipReward"]


class ClipReward(Stage):
    """Clips rewards; on FIRST they stay 0.

    Observation: unchanged.  Action: unchanged.  The reward's spec gets the bounds.

    Args:
      env: the environment below.
      min_reward: the smallest, or None.
      max_reward: the largest, or None.

    >>> import aexp_torch as ae, torch
    >>> env = ae.GymnasiumEnv("Pendulum-v1", num_envs=2).pipe(ae.ClipReward, min_reward=-0.5, max_reward=0.5)
    >>> env.reward_spec().minimum
    array(-0.5, dtype=float32)

    Source: Mnih et al. 2015; `ClipReward` of Gymnasium.
    """

    def __init__(self, env: Env, min_reward: float | None = None, max_reward: float | None = None):
        super().__init__(env)
        low = -np.inf if min_reward is None else min_reward
        high = np.inf if max_reward is None else max_reward
        if not low < high or (low == -np.inf and high == np.inf):
            raise SpecError(
                f"ClipReward: expected min_reward, max_reward or both, the first below the second, got {min_reward!r} and"
                f" {max_reward!r}."
            )
        self.min_reward, self.max_reward = min_reward, max_reward

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Clips."""
        reward = timestep.reward.clamp(self.min_reward, self.max_reward)
        if (self.min_reward or 0) > 0 or (self.max_reward or 0) < 0:  # 0 is not within
            reward = reward.masked_fill_(timestep.first(), 0.0)
        return timestep._replace(reward=reward)

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Narrows the bounds of the reward."""
        low, high = getattr(spec.reward, "minimum", -np.inf), getattr(spec.reward, "maximum", np.inf)
        low, high = np.clip((low, high), self.min_reward, self.max_reward)
        return replace(spec, reward=specs.BoundedArray((), np.float32, min(low, 0.0), max(high, 0.0), spec.reward.name))
