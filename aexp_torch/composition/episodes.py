"""Episodes of a composition: when they end, and how lanes are joined so that FIRST follows LAST and nothing else."""

from typing import Literal, get_args

import torch
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.timestep import StepType, TimeStep, select_lanes

__all__ = ["AfterDone", "Done", "check_done", "cut_off", "ending", "joined"]

Done = Literal["first", "all"] | None
AfterDone = Literal["reset", "skip", "freeze"] | None


def check_done(done: Done, after_done: AfterDone, who: str) -> tuple[Done, str]:
    """Returns both options, `after_done` with its default; refuses what they cannot be."""
    if done not in (None, "first", "all"):
        raise SpecError(f"{who}: expected done=None, 'first' or 'all', got {done!r}.")
    choices = get_args(get_args(AfterDone)[0])
    if after_done is not None and after_done not in choices:
        raise SpecError(f"{who}: expected after_done in {choices}, got {after_done!r}.")
    if done is None and after_done not in (None, "reset"):
        raise SpecError(
            f"{who}: expected done='first' or 'all' with after_done={after_done!r}: without an episode of the composition,"
            " an environment that is done starts over. Add done='all', or leave after_done out."
        )
    return done, after_done or ("skip" if done == "all" else "reset")


def cut_off(timestep: TimeStep) -> TimeStep:
    """Ends the episodes that go on: MID becomes LAST, truncated. FIRST stays."""
    going_on = timestep.mid()
    if not going_on.any():
        return timestep
    lost = going_on & (timestep.discount == 0)
    return timestep._replace(
        step_type=timestep.step_type.masked_fill(going_on, StepType.LAST),
        discount=timestep.discount.masked_fill(lost, 1.0),
    )


def ending(timestep: TimeStep) -> TimeStep:
    """Repeats a timestep as the end of its episodes, where there is nothing newer to show: LAST, reward 0, discount 1."""
    return timestep._replace(
        step_type=torch.full_like(timestep.step_type, StepType.LAST),
        reward=torch.zeros_like(timestep.reward),
        discount=torch.ones_like(timestep.discount),
    )


def joined(before: TimeStep, timestep: TimeStep) -> TimeStep:
    """Has FIRST follow LAST, and nothing else, from one timestep of a source to the next.

    A lane that starts over within an episode ends it first, with its last observation; it shows FIRST one step later, at
    whatever the new episode has come to.
    """
    ended, first = before.last(), timestep.first()
    if torch.equal(ended, first):
        return timestep
    cut, late = first & ~ended, ended & ~first
    if cut.any():
        timestep = select_lanes(~cut, timestep, ending(before))
    return _starting(timestep, late) if late.any() else timestep


def _starting(timestep: TimeStep, lanes: Tensor) -> TimeStep:
    return timestep._replace(
        step_type=timestep.step_type.masked_fill(lanes, StepType.FIRST),
        reward=timestep.reward.masked_fill(lanes, 0.0),
        discount=timestep.discount.masked_fill(lanes, 1.0),
    )
