"""What every timestep keeps to: its spec, the rules of reward and discount, and FIRST, LAST and what follows them."""

import numpy as np
import torch
from dm_env import specs

from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream
from aexp_torch.specs import EnvSpec, describe, flatten, path_name
from aexp_torch.specs.check import torch_dtype
from aexp_torch.stages.augment import by_row, lookup
from aexp_torch.testing.require import require
from aexp_torch.testing.rollout import Make, answer_to, fresh, rollout
from aexp_torch.timestep import StepType, TimeStep

__all__ = ["check_data", "check_episodes", "check_signals", "validate"]


def validate(timestep: TimeStep, spec: EnvSpec, who: object) -> None:
    """Requires that one timestep fits its spec: keys, shapes, dtypes, bounds.

    Where a modality is optional, or its source asks for predictions, a value may be None; beside a key there may be
    `mask:<key>`, bool [B]. Rows that lack a key may be 0, whatever the bounds.
    """
    where = f"at step {timestep.ticket.step} of {timestep.source!r}"
    known, given = dict(flatten(spec.observation)), dict(flatten(timestep.observation))
    kinds = dict(flatten(spec.modalities["observation"]))
    predicted = any(key.startswith("predict:") for path, _ in flatten(spec.action) for key in path)
    for path, leaf_spec in known.items():
        do = "Correct the data, or what make_specs and on_spec say."
        require(path in given, who, f"the key {path_name(path)!r}", where, sorted(map(path_name, given)), do)
        value = given.pop(path)
        if value is None:
            may = kinds[path].optional or predicted
            missing = f"a value for {path_name(path)!r}, whose modality is not optional"
            require(may, who, missing, where, None, "Declare it: Modality(..., optional=True).")
            continue
        shape, dtype = (spec.num_envs, *leaf_spec.shape), torch_dtype(leaf_spec)
        expected = f"{path_name(path)!r} as {dtype} {list(shape)}"
        require(isinstance(value, torch.Tensor), who, expected, where, type(value).__name__, do)
        came = f"{value.dtype} {list(value.shape)}"
        require(value.dtype is dtype and value.shape == shape, who, expected, where, came, do)
        if isinstance(leaf_spec, specs.BoundedArray):
            array = value.numpy()
            within = (array >= leaf_spec.minimum) & (array <= leaf_spec.maximum)
            _, present = lookup(timestep.observation, path)
            if present is not None:  # a row that lacks the key is 0
                within |= ~by_row(present, value).numpy() & (array == 0)
            require(
                within.all(), who, f"{path_name(path)!r} within {describe(leaf_spec)}", where, array[~within][:3], do
            )
    for path, value in given.items():
        masked = (*path[:-1], path[-1].removeprefix("mask:"))
        is_mask = path[-1].startswith("mask:") and any(key[: len(masked)] == masked for key in known)
        do = "Declare it in the spec; only mask:<key> of a declared key needs no spec."
        require(is_mask, who, f"the keys {sorted(map(path_name, known))}", where, path_name(path), do)
        fits = value.dtype is torch.bool and value.shape == (spec.num_envs,)
        expected = f"{path_name(path)!r} as bool [{spec.num_envs}]"
        require(fits, who, expected, where, f"{value.dtype} {list(value.shape)}", do)


def check_data(make: Make, num_steps: int = 12) -> None:
    """Checks that observations match `specs`, and that every leaf has a modality."""
    env = fresh(make)
    for timestep in rollout(env, num_steps):
        came = f"{timestep.source!r}"
        require(timestep.source in env.specs, env, f"a source of {list(env.specs)}", "in a ticket", came, "Name it.")
        validate(timestep, env.specs[timestep.source], env)
    for name, spec in env.specs.items():
        for side in ("observation", "action"):
            leaves = [path for path, _ in flatten(getattr(spec, side))]
            described = [path for path, _ in flatten(spec.modalities[side])]
            do = "Build the spec with with_sides, or replace modalities too."
            require(leaves == described, env, f"modalities at {leaves}", f"of the {side} of {name!r}", described, do)
    env.close()


def check_signals(make: Make, num_steps: int = 12) -> None:
    """Checks `step_type`, `reward` and `discount`: dtypes, shapes, range, and 0 and 1 on FIRST."""
    env = fresh(make)
    for timestep in rollout(env, num_steps):
        where = f"at step {timestep.ticket.step} of {timestep.source!r}"
        shape = (env.specs[timestep.source].num_envs,)
        for field, dtype in (("step_type", torch.int8), ("reward", torch.float32), ("discount", torch.float32)):
            value = getattr(timestep, field)
            came = f"{value.dtype} {list(value.shape)}"
            fits = value.dtype is dtype and value.shape == shape
            require(fits, env, f"{field} as {dtype} {list(shape)}", where, came, "Convert it in the source.")
        first, mid = timestep.first(), timestep.mid()
        known = first | mid | timestep.last()
        require(known.all(), env, "step types 0, 1 and 2", where, timestep.step_type, "Use StepType.")
        do = "A new episode has earned nothing yet."
        require((timestep.reward[first] == 0).all(), env, "reward 0 on FIRST", where, timestep.reward, do)
        require((timestep.discount[first] == 1).all(), env, "discount 1 on FIRST", where, timestep.discount, do)
        require(timestep.reward.isfinite().all(), env, "finite rewards", where, timestep.reward, "Clean them.")
        within = (timestep.discount >= 0) & (timestep.discount <= 1)
        require(within.all(), env, "discount in [0, 1]", where, timestep.discount, "Scale it.")
    env.close()


def check_episodes(make: Make, num_steps: int = 24, partial_ends: bool = False) -> None:
    """Checks that lanes start with FIRST, go to FIRST after LAST and nowhere else, and that `reset` gives FIRST.

    Args:
      make: a recipe, or a function that makes an environment.
      num_steps: timesteps to look at.
      partial_ends: requires that some timestep has lanes at LAST and lanes that are not.
    """
    env = fresh(make)
    before: dict[str, np.ndarray] = {}
    some_end = False
    timestep = env.reset()
    for _ in range(num_steps):
        where = f"at step {timestep.ticket.step} of {timestep.source!r}"
        now, last = timestep.step_type.numpy(), before.get(timestep.source)
        due = np.ones(len(now), bool) if last is None else last == StepType.LAST
        if timestep.first().all() and not due.all() and _is_finite(env, timestep.source):
            due = np.ones(len(now), bool)  # it was over and started over
        do = "Lanes restart on their own: the timestep after LAST is FIRST, and no other is."
        require(((now == StepType.FIRST) == due).all(), env, f"FIRST in lanes {np.flatnonzero(due)}", where, now, do)
        before[timestep.source] = now
        some_end |= bool(timestep.last().any() and not timestep.last().all())
        try:
            timestep = env.step(answer_to(env, timestep))
        except EndOfStream:
            timestep, before = env.reset(), {}
    do = "Use more steps, more lanes, or lanes that start differently."
    require(
        some_end or not partial_ends, env, "a timestep where only some lanes end", f"in {num_steps} steps", "none", do
    )
    _check_reset(env)
    env.close()


def _is_finite(env: Env, name: str) -> bool:
    return any(source.name == name and source.stream_length is not None for source in env.sources)


def _check_reset(env: Env) -> None:
    for steps in (1, 2):
        rollout(env, steps, env._outstanding or env.reset())
        timestep = env.reset()
        where = f"after reset() in the middle, of {timestep.source!r}"
        do = "reset() drops what was under way."
        require(timestep.first().all(), env, "FIRST in every lane", where, timestep.step_type, do)
