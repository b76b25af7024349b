"""Running an environment with answers that follow from the step, so that two runs can be compared bit for bit."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream
from aexp_torch.specs import flatten, map_tree, path_name
from aexp_torch.specs.sample import sample_action
from aexp_torch.timestep import TimeStep

__all__ = [
    "Make",
    "answer_to",
    "difference",
    "fresh",
    "next_timestep",
    "rollout",
    "snapshot",
    "streams_differ",
    "values_differ",
]

Make = Env | Callable[[], Env]


def fresh(make: Make) -> Env:
    """Returns an environment that has not been opened: what the function makes, or a copy of the recipe."""
    return copy.copy(make) if isinstance(make, Env) else make()


def answer_to(env: Env, timestep: TimeStep) -> dict:
    """Returns a random answer that follows from the timestep's place in its stream alone."""
    spec, ticket = env.specs[timestep.source], timestep.ticket
    return sample_action(spec.action, spec.num_envs, np.random.default_rng([ticket.slot, ticket.step]))


def next_timestep(env: Env, timestep: TimeStep) -> TimeStep:
    """Answers, and returns the next timestep; a finite stream starts over."""
    try:
        return env.step(answer_to(env, timestep))
    except EndOfStream:
        return env.reset()


def rollout(env: Env, num_steps: int, timestep: TimeStep | None = None) -> list[TimeStep]:
    """Returns `num_steps` timesteps: from a reset, or those after `timestep`, which is answered first."""
    timesteps = []
    for _ in range(num_steps):
        timestep = env.reset() if timestep is None else next_timestep(env, timestep)
        timesteps.append(timestep)
    return timesteps


def snapshot(value: Any) -> Any:
    """Copies a timestep or an answer, so that later changes show."""
    if isinstance(value, TimeStep):
        return TimeStep._make([*(map_tree(_clone, field) for field in value[:4]), value.ticket])
    return map_tree(_clone, value)


def streams_differ(ours: list[TimeStep], theirs: list[TimeStep]) -> str | None:
    """Says where two streams first differ, or None."""
    for place, (one, other) in enumerate(zip(ours, theirs)):
        found = difference(one, other)
        if found:
            return f"timestep {place}: {found}"
    return None if len(ours) == len(theirs) else f"{len(ours)} timesteps and {len(theirs)}"


def difference(one: TimeStep, other: TimeStep) -> str | None:
    """Says what differs, bit for bit, places in the stream included; or None."""
    for field in ("source", "slot", "step"):
        if getattr(one.ticket, field) != getattr(other.ticket, field):
            return f"ticket.{field} {getattr(one.ticket, field)!r} and {getattr(other.ticket, field)!r}"
    return values_differ(dict(zip(TimeStep._fields[:4], one)), dict(zip(TimeStep._fields[:4], other)))


def values_differ(one: dict, other: dict) -> str | None:
    """Says which leaf of two trees of tensors differs, bit for bit; or None."""
    ours, theirs = dict(flatten(one)), dict(flatten(other))
    if ours.keys() != theirs.keys():
        return f"keys {[path_name(path) for path in ours]} and {[path_name(path) for path in theirs]}"
    for path, leaf in ours.items():
        if not _same(leaf, theirs[path]):
            return f"{path_name(path)} {leaf} and {theirs[path]}"
    return None


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.numpy(force=True).tobytes() == other.numpy(force=True).tobytes()


def _clone(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, Tensor) else leaf
