"""Counting episodes per lane: their returns and lengths, and which of them an evaluation wants."""

from typing import NamedTuple

import torch
from torch import Tensor

from aexp_torch.timestep import StepType, TimeStep

__all__ = ["Episode", "EpisodeCounter", "EpisodeQuota"]


class Episode(NamedTuple):
    """One finished episode.

    Args:
      lane: where it ran.
      episodic_return: sum of its rewards, in the source's units.
      episodic_length: number of its transitions.
    """

    lane: int
    episodic_return: float
    episodic_length: int


class EpisodeCounter:
    """Adds up rewards and transitions per lane of one stream, and reports each episode when it ends."""

    def __init__(self):
        self._return: Tensor | None = None
        self._length: Tensor | None = None

    def update(self, timestep: TimeStep) -> list[Episode]:
        """Takes the stream's next timestep and returns the episodes that end in it, in the order of lanes."""
        reward = timestep.reward.detach().to("cpu", torch.float64)
        step_type = timestep.step_type.cpu()
        if self._return is None:
            self._return, self._length = torch.zeros_like(reward), torch.zeros(len(reward), dtype=torch.int64)
        going_on = step_type != StepType.FIRST
        self._return = torch.where(going_on, self._return + reward, 0.0)
        self._length = torch.where(going_on, self._length + 1, 0)
        ended = torch.nonzero(step_type == StepType.LAST).flatten().tolist()
        return [Episode(lane, float(self._return[lane]), int(self._length[lane])) for lane in ended]

    def state_dict(self) -> dict:
        """Returns the sums of the episodes under way."""
        return {"return": self._return, "length": self._length}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self._return, self._length = state["return"], state["length"]


class EpisodeQuota:
    """Lets the first N episodes of a source pass, in the order (round, slot, lane).

    Every lane has its share from the beginning, so that short episodes have no advantage. A lane that has had its share
    shows FIRST with reward 0 from then on: an episode that waits to begin counts nowhere.

    Args:
      episodes: N.
      num_envs: lanes per slot.
      num_slots: number of slots on all ranks.
      numbers: the slots that run here; all by default.
    """

    def __init__(self, episodes: int, num_envs: int, num_slots: int, numbers: list[int] | None = None):
        lanes = torch.arange(num_slots * num_envs)
        shares = torch.clamp((episodes - lanes + len(lanes) - 1) // len(lanes), min=0)
        self._left = shares.view(num_slots, num_envs)[list(range(num_slots)) if numbers is None else numbers]

    def filter(self, timestep: TimeStep, place: int) -> TimeStep:
        """Counts what ends in this timestep of the slot at `place`, and hides lanes that have had their share."""
        over = self._left[place] <= 0
        self._left[place] -= (timestep.last() & ~over).long()
        if not over.any():
            return timestep
        return timestep._replace(
            step_type=torch.where(over, torch.full_like(timestep.step_type, StepType.FIRST), timestep.step_type),
            reward=torch.where(over, 0.0, timestep.reward),
            discount=torch.where(over, 1.0, timestep.discount),
        )

    def met(self, place: int | None = None) -> bool:
        """Tells whether every lane (of the slot at `place`, or of all) has had its share."""
        left = self._left if place is None else self._left[place]
        return not bool((left > 0).any())
