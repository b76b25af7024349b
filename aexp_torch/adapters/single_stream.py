"""SingleStream: a pipeline as one environment of one structure, in numpy: what dm_env and Gymnasium take it for."""

from typing import Any, NamedTuple

import numpy as np
import torch

from aexp_torch.adapters.structure import Structure
from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream, SpecError
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["SingleStream", "Step"]


class Step(NamedTuple):
    """Is a timestep as numpy arrays: int8, float32 and float32 [B], a tree of arrays [B, ...], the source's name."""

    step_type: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    observation: dict[str, Any]
    source: str


class SingleStream:
    """Steps a pipeline as one environment.

    Its episodes begin and end per lane, FIRST comes after LAST and nowhere else. In a composition the episodes of
    several sources overlap: there one ends where those of all sources that were seen have ended, and the ends between
    are MID (with the source's reward and discount). A stream that ends amid an episode is cut off: the last
    observation once more, as LAST with reward 0 and discount 1. After its end it starts over.

    Args:
      env: the pipeline.
      who: the adapter, for messages.
      unbatched: num_envs must be 1, and answers have no batch axis.
    """

    def __init__(self, env: Env, who: str, unbatched: bool):
        if not isinstance(env, Env):
            raise SpecError(f"{who}: expected an Env, got {type(env).__name__} {env!r}.")
        self.env = env
        self.unbatched = unbatched
        self.structure = Structure(dict(env.specs), who)
        if unbatched and self.structure.num_envs != 1:
            raise SpecError(
                f"{who}: expected num_envs == 1 for a view without a batch axis, {env.name!r} has"
                f" {self.structure.num_envs}. Build it with num_envs=1 (a dataset with batch_size=1), or use"
                " to_gymnasium_vector."
            )
        self._forget()

    def reset(self, seed: int | None = None, lanes: np.ndarray | None = None) -> Step:
        """Starts a new episode.

        The stream goes on: after LAST with its next episode (a dataset with its next sample), amid an episode as
        `env.reset()` does.

        Args:
          seed: starts the stream over under this seed, as `env.place(seed=seed)` does.
          lanes: bool [B]; only these lanes start anew, the others repeat their last timestep. Needs `lane_control`.
        """
        if seed is not None:
            env = self.env
            env.place(seed=int(seed), slot=env.slot, num_slots=env.num_slots, seed_prefix=env.seed_prefix)
            self._forget()
        if self._timestep is None or not (lanes is None or lanes.all()):
            return self._restart(lanes)
        if self._in_episode().any():
            return self._restart(None)
        return self._advance(self.structure.any_answer(self._timestep.source))

    def step(self, action: Any) -> Step:
        """Answers the last timestep and returns the next; a fresh stream, or one that has ended, starts instead."""
        if self._timestep is None:
            return self._restart(None)
        return self._advance(self.structure.answer(action, self._timestep.source, not self.unbatched))

    def close(self) -> None:
        """Closes the pipeline."""
        self._forget()
        self.env.close()

    def _forget(self) -> None:
        self._timestep: TimeStep | None = None
        self._under_way: dict[str, np.ndarray] = {}  # by source, bool [B]: its episode has not ended

    def _restart(self, lanes: np.ndarray | None) -> Step:
        if lanes is None or self._timestep is None:
            self._forget()
            return self._show(self.env.reset())
        self._under_way = {source: under_way & ~lanes for source, under_way in self._under_way.items()}
        return self._show(self.env.reset(torch.from_numpy(lanes)))

    def _advance(self, answer: dict[str, Any]) -> Step:
        try:
            return self._show(self.env.step(answer))
        except EndOfStream:
            return self._cut_off() if self._in_episode().any() else self._restart(None)

    def _show(self, timestep: TimeStep) -> Step:
        before = self._in_episode()
        self._timestep = timestep
        self._under_way[timestep.source] = ~timestep.last().numpy()
        step_type = np.where(before, np.where(self._in_episode(), StepType.MID, StepType.LAST), StepType.FIRST)
        reward, discount = timestep.reward.numpy().copy(), timestep.discount.numpy().copy()
        return self._as_step(timestep, step_type.astype(np.int8), reward, discount)

    def _cut_off(self) -> Step:
        timestep, num_envs = self._timestep, self.structure.num_envs
        assert timestep is not None
        self._forget()
        last = np.full(num_envs, StepType.LAST, np.int8)
        return self._as_step(timestep, last, np.zeros(num_envs, np.float32), np.ones(num_envs, np.float32))

    def _as_step(self, timestep: TimeStep, step_type: np.ndarray, reward: np.ndarray, discount: np.ndarray) -> Step:
        return Step(step_type, reward, discount, self.structure.observation(timestep), timestep.source)

    def _in_episode(self) -> np.ndarray:
        return np.any([np.zeros(self.structure.num_envs, bool), *self._under_way.values()], axis=0)
