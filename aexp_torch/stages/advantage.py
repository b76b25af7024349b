"""Advantage: the agent sees how much better than usual its reward was."""

from collections.abc import Callable
from typing import Literal

import numpy as np
from dm_env import specs
from torch import Tensor, from_numpy

from aexp_torch.env import Env, Stage
from aexp_torch.errors import SpecError
from aexp_torch.specs import EnvSpec, Modality
from aexp_torch.specs.infer import with_sides
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["Advantage"]

FIRST = np.int8(StepType.FIRST)
Baseline = Callable[[Tensor, TimeStep], Tensor]


class Advantage(Stage):
    """Puts the reward's advantage over a running baseline into the observation, and that of the advantage, and so on.

    A^0 is the reward; A^n = A^{n-1} - baseline(A^{n-1}), for n = 1 ... order. Each lane has baselines of its own. They
    start at 0, and go on from one episode to the next unless `reset` says otherwise.

    - "ema": the exponential moving average of the values before this one; afterwards
      baseline = beta * baseline + (1 - beta) * value.
    - "difference": the value before this one, so that A^n is the n-th difference of the reward (what `beta=0` gives).
    - a function of the values A^{n-1} (float32 [B]) and the timestep that returns float32 [B]: a critic, for one.

    Observation: gains `key`, float32 [B, order] (A^1 first), or [B] with `last_only`; in the source's reward units; 0 on
    FIRST, which has no reward and leaves the baselines as they are.  Action: unchanged.

    Args:
      env: the environment below.
      order: how many times a baseline is subtracted, at least 1.
      baseline: "ema", "difference" or a function.
      beta: weight of the past in the moving average, in [0, 1).
      key: the new key.
      last_only: shows A^order alone.
      reset: starts the baselines at 0 with every episode.

    Raises:
      SpecError: wrong options, a key that is taken, or a function that does not return float32 [B].

    >>> import aexp_torch as ae
    >>> env = ae.GymnasiumEnv("CartPole-v1").pipe(ae.Advantage, order=2, beta=0.5)
    >>> timestep = env.reset()
    >>> for _ in range(3):
    ...     timestep = env.step(timestep.step_type.long() * 0)
    >>> timestep.observation["advantage"]  # the reward is 1 each time: ever less of a surprise
    tensor([[ 0.2500, -0.2500]])

    Source: `Advantage` of the artificial-experience project; the baseline of gradient bandits in Sutton & Barto (2018),
    section 2.8.
    """

    def __init__(
        self,
        env: Env,
        order: int = 1,
        baseline: Literal["ema", "difference"] | Baseline = "ema",
        beta: float = 0.99,
        key: str = "advantage",
        last_only: bool = False,
        reset: bool = False,
    ):
        super().__init__(env)
        if not isinstance(order, int) or order < 1 or not 0 <= beta < 1:
            raise SpecError(f"Advantage: expected order >= 1 and beta in [0, 1), got order={order!r}, beta={beta!r}.")
        if not callable(baseline) and baseline not in ("ema", "difference"):
            raise SpecError(
                "Advantage: expected baseline 'ema', 'difference' or a function of values [B] and a timestep, got"
                f" {baseline!r}."
            )
        self.order, self.baseline, self.key = order, baseline, key
        self.beta = 0.0 if baseline == "difference" else beta
        self.last_only, self.given_reset = last_only, reset

    def on_open(self) -> None:
        """Starts without baselines."""
        self._baselines: dict[str, np.ndarray] = {}  # float32 [B, order] by source

    def on_timestep(self, timestep: TimeStep) -> TimeStep:
        """Adds the key."""
        ladder = self._from_function if callable(self.baseline) else self._from_past
        first = timestep.step_type.numpy() == FIRST
        advantage = ladder(timestep, first)  # [B, order]
        advantage[first] = 0.0
        shown = from_numpy(advantage[:, -1].copy() if self.last_only else advantage)
        return timestep._replace(observation={**timestep.observation, self.key: shown})

    def _from_function(self, timestep: TimeStep, first: np.ndarray) -> np.ndarray:
        value, found = timestep.reward, []
        for _ in range(self.order):
            baseline = self.baseline(value, timestep)  # type: ignore[operator]
            if not isinstance(baseline, Tensor) or baseline.shape != value.shape or baseline.dtype != value.dtype:
                came = f"{baseline.dtype} {list(baseline.shape)}" if isinstance(baseline, Tensor) else repr(baseline)
                raise SpecError(
                    f"Advantage: expected baseline= to return float32 {list(value.shape)} for {timestep.source!r}, got"
                    f" {came}."
                )
            value = value - baseline.detach().cpu()
            found.append(value.numpy())
        return np.stack(found, 1)

    def _from_past(self, timestep: TimeStep, first: np.ndarray) -> np.ndarray:
        before = self._baselines.get(timestep.source)
        if before is None:
            before = np.zeros((len(first), self.order), np.float32)
        values = np.empty((len(first), self.order), np.float32)  # A^0, A^1, ...
        advantage = np.empty_like(values)  # A^1, A^2, ...
        values[:, 0] = timestep.reward.numpy()
        for n in range(self.order):
            np.subtract(values[:, n], before[:, n], out=advantage[:, n])
            if n + 1 < self.order:
                values[:, n + 1] = advantage[:, n]
        after = self.beta * before + (1 - self.beta) * values
        if first.any():
            after[first] = 0.0 if self.given_reset else before[first]
        if self.held is not None:
            held = self.held.numpy()
            after[held] = before[held]
        self._baselines[timestep.source] = after
        return advantage

    def on_spec(self, spec: EnvSpec) -> EnvSpec:
        """Adds the key."""
        if self.key in spec.observation:
            raise SpecError(
                f"Advantage: expected a free key, {self.key!r} is in the observation already"
                f" ({sorted(spec.observation)}). Give another one with key=."
            )
        leaf = specs.Array(() if self.last_only else (self.order,), np.float32, self.key)
        new = with_sides(spec, observation={**spec.observation, self.key: leaf})
        new.modalities["observation"][self.key] = Modality("flat", "real", "reward")
        return new

    def state_dict(self) -> dict:
        """Adds the baselines, float32 [B, order] per source."""
        return super().state_dict() | {
            "baselines": {source: from_numpy(baselines) for source, baselines in self._baselines.items()}
        }

    def load_state_dict(self, state: dict) -> None:
        """Restores the baselines."""
        super().load_state_dict(state)
        self._baselines = {source: baselines.numpy() for source, baselines in state["baselines"].items()}
