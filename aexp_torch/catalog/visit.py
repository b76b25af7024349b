"""Visit: one stay of an experience in one of its environments."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aexp_torch.timestep import StepType, TimeStep

__all__ = ["Visit", "introduced"]


@dataclass
class Visit:
    """Is what changes during a stay.

    Args:
      index: the environment, -1 for none.
      limit: timesteps of the environment after which it ends; None for any number.
      shown: those that it has shown.
      to_tell: timesteps of its instruction that are still to come before the first.
      told: those that were shown.
      ended: bool [B], lanes that have been LAST; None as long as it has shown nothing.
      over: the outstanding timestep is its last one.
      gone: the environment is not there any more to be answered.
      next: the one that comes after it, where the agent has said so, else -1.
    """

    index: int
    limit: int | None = None
    shown: int = 0
    to_tell: int = 0
    told: int = 0
    ended: Tensor | None = None
    over: bool = False
    gone: bool = False
    next: int = -1

    def note(self, timestep: TimeStep, by_episode: bool, cut: bool) -> None:
        """Counts a timestep, and finds out whether it is the last one.

        Args:
          timestep: what the environment shows.
          by_episode: it is, when each lane has been LAST.
          cut: it is in any case.
        """
        self.shown += 1
        last = timestep.last()
        if self.ended is None or self.ended.shape != last.shape:  # another source of the same environment
            self.ended = last
        elif last.any():
            self.ended = self.ended | last
        at_limit = self.limit is not None and self.shown >= self.limit
        self.over = cut or at_limit or (by_episode and bool(self.ended.all()))

    def state_dict(self) -> dict[str, Any]:
        """Returns it as tensors and primitives."""
        return dict(vars(self))


def introduced(timestep: TimeStep, told: int, telling: bool) -> TimeStep:
    """Returns the first timestep of an environment as it looks with an instruction before it, or as that looks.

    Where lanes begin an episode, FIRST is what comes first, and MID what follows.

    Args:
      timestep: the environment's.
      told: how many timesteps of the instruction were shown.
      telling: it is to look like another of these: reward 0, discount 1, no LAST.
    """
    step_type, first = timestep.step_type, timestep.first()
    if telling:
        step_type = torch.where(first, step_type, int(StepType.MID)).to(torch.int8)
        timestep = timestep._replace(
            reward=torch.zeros_like(timestep.reward), discount=torch.ones_like(timestep.discount)
        )
    if told:
        step_type = step_type.masked_fill(first, int(StepType.MID))
    return timestep._replace(step_type=step_type)
