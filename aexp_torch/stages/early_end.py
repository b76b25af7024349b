"""EarlyEnd: what stages share that end episodes which go on below (no stage of its own)."""

import numpy as np
import torch
from torch import Tensor, from_numpy

from aexp_torch.env import Stage
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["EarlyEnd", "end_early"]

LAST = np.int8(StepType.LAST)


class EarlyEnd(Stage):
    """Resets lanes that are LAST here and not below, while the others go on.

    A subclass ends them in `on_timestep`, with `end_early`; that needs lane control.
    """

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


def end_early(timestep: TimeStep, lanes: Tensor) -> TimeStep:
    """Cuts lanes (bool [B]) off: LAST, truncated. Their discount stays what it is, or becomes 1 where it is 0."""
    return timestep._replace(
        step_type=timestep.step_type.masked_fill(lanes, StepType.LAST),
        discount=timestep.discount.masked_fill(lanes & (timestep.discount == 0), 1.0),
    )
