"""NormalizeReward: rewards of a size that does not depend on the environment."""

from math import sqrt
from typing import Any

import numpy as np
from torch import from_numpy

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.stages.running_moments import fresh_moments, updated_moments
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["NormalizeReward"]

FIRST = np.int8(StepType.FIRST)


class NormalizeReward(Stage):
    """Divides rewards by the running standard deviation of the discounted return so far.

    Each lane keeps G = gamma * G + reward, from 0 at FIRST; the variance is that of every G that a source has shown in
    this slot, this one included. It outlives episodes, and is part of the state. (Gymnasium leaves what came before out of
    the G of a step that terminates.) For evaluation, give what `statistics` was in training, and `frozen=True`.

    Observation: unchanged.  Action: unchanged.

    Args:
      env: the environment below.
      gamma: in [0, 1].
      epsilon: is added to the variance, more than 0.
      frozen: uses the statistics as they are.
      statistics: to begin with, as the attribute `statistics` returns them; the default is variance 1.

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("Pendulum-v1", num_envs=8).pipe(ae.NormalizeReward, gamma=0.99)
    >>> env.reset().reward.abs().max()
    tensor(0.)

    Source: `VecNormalize` of OpenAI Baselines; `NormalizeReward` of Gymnasium.
    """

    def __init__(
        self,
        env: Env,
        gamma: float = 0.99,
        epsilon: float = 1e-8,
        frozen: bool = False,
        statistics: dict[str, dict[str, Any]] | None = None,
    ):
        super().__init__(env)
        if not 0 <= gamma <= 1 or not epsilon > 0:
            raise SpecError(
                f"NormalizeReward: expected gamma in [0, 1] and epsilon > 0, got gamma={gamma!r}, epsilon={epsilon!r}."
            )
        if frozen and statistics is None:
            raise SpecError(
                "NormalizeReward: expected statistics= with frozen=True, got None. Give the attribute statistics of the"
                " stage that has learned them."
            )
        self.gamma, self.epsilon, self.frozen, self.given_statistics = gamma, epsilon, frozen, statistics

    def on_open(self) -> None:
        """Starts with the given statistics."""
        given, known = self.given_statistics, list(self.env.specs)
        if given is not None and not set(known) <= set(given):
            raise SpecError(
                f"NormalizeReward: expected statistics of {known}, got {list(given)}. Give the sources the names that"
                " they had where they were learned."
            )
        self._moments = {source: fresh_moments(()) if given is None else dict(given[source]) for source in known}
        self._returns: dict[str, np.ndarray] = {}

    @property
    def statistics(self) -> dict[str, dict[str, Any]]:
        """Mean and variance (float64 scalars) and count of discounted returns, by source."""
        self.open()
        return {source: dict(moments) for source, moments in self._moments.items()}

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Learns, then divides."""
        source, reward = timestep.source, timestep.reward.numpy()
        moments = self._moments[source]
        if not self.frozen:
            before = self._returns.get(source, 0.0)
            after = counted = before * self.gamma + reward.astype(np.float64)
            first = timestep.step_type.numpy() == FIRST
            if self.held is not None:
                held = self.held.numpy()
                counted, after = after[~(first | held)], np.where(held, before, np.where(first, 0.0, after))
            elif first.any():
                counted, after = after[~first], np.where(first, 0.0, after)
            self._returns[source] = after
            moments = self._moments[source] = updated_moments(moments, counted)
        deviation = sqrt(moments["variance"].item() + self.epsilon)
        return timestep._replace(reward=from_numpy(reward / deviation))

    def state_dict(self) -> dict:
        """Adds the statistics, and the returns so far (float64 [B]), per source."""
        self.open()
        returns = {source: from_numpy(values) for source, values in self._returns.items()}
        return super().state_dict() | {"moments": self.statistics, "returns": returns}

    def load_state_dict(self, state: dict) -> None:
        """Restores them."""
        super().load_state_dict(state)
        self._moments = {source: dict(moments) for source, moments in state["moments"].items()}
        self._returns = {source: values.numpy() for source, values in state["returns"].items()}
