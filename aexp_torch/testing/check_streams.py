"""What every stream keeps to: seeds, restoring at every step, recipes, closing, and held lanes."""

import copy
import io
import pickle
import random
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from aexp_torch.env import Env
from aexp_torch.errors import EndOfStream, FeedbackError, SpecError
from aexp_torch.specs import flatten, map_tree
from aexp_torch.specs.sample import sample_action
from aexp_torch.testing.require import require
from aexp_torch.testing.rollout import (
    Make,
    answer_to,
    fresh,
    next_timestep,
    rollout,
    snapshot,
    streams_differ,
    values_differ,
)
from aexp_torch.timestep import TimeStep

__all__ = [
    "check_close",
    "check_lane_control",
    "check_no_global_generator",
    "check_recipe",
    "check_restore",
    "check_seeds",
    "check_spawn",
]


def check_seeds(make: Make, num_steps: int = 12, random: bool = False) -> None:
    """Checks that the same seed and slot give the same stream, and (where it is random) that others do not."""

    def stream(seed: int, slot: int) -> list[TimeStep]:
        env = fresh(make)
        env.place(seed=seed, slot=slot, num_slots=2)
        timesteps = rollout(env, num_steps)
        env.close()
        return timesteps

    ours = stream(7, 0)
    found = streams_differ(ours, stream(7, 0))
    do = "Draw everything from self.seeds(lane), in on_open or later."
    require(found is None, fresh(make), "the same stream", "under the same seed", found, do)
    if random:
        for seed, slot in ((8, 0), (7, 1)):
            values = [_values(timestep) for timestep in stream(seed, slot)]
            same = all(values_differ(_values(one), other) is None for one, other in zip(ours, values))
            where = f"under seed {seed}, slot {slot}"
            require(not same, fresh(make), "another stream", where, "the same", "Use self.seeds(lane) for the seeds.")


def _values(timestep: TimeStep) -> dict:
    return dict(zip(TimeStep._fields[:4], timestep))


def check_restore(make: Make, num_steps: int = 10) -> None:
    """Checks that a state taken at any step, loaded into a fresh environment, gives the rest bit for bit.

    States are taken before the first reset, with the answer pending, and with the answer given; they travel through
    `torch.save` and `torch.load(weights_only=True)`. One is loaded into an environment that has moved on, too. An
    environment that is not `resumable` must refuse to give a state, and say why.
    """
    env = fresh(make)
    env.reset()
    if not env.resumable:
        _check_refusal(env)
        return
    env.close()
    env = fresh(make)
    env.open()
    states = [(0, False, _save(env))]
    timesteps: list[TimeStep] = []
    for step in range(num_steps):
        timesteps.append(next_timestep(env, timesteps[-1]) if timesteps else env.reset())
        states.append((step + 1, False, _save(env)))
        if env.specs[timesteps[-1].source].action:
            timesteps[-1].reply(answer_to(env, timesteps[-1]))
            states.append((step + 1, True, _save(env)))
    for shown, answered, state in states:
        _check_rest(fresh(make), timesteps, shown, answered, state)
    for shown, answered, state in states[:4]:
        _check_rest(env, timesteps, shown, answered, state)


def _check_refusal(env: Env) -> None:
    do = "Raise a SpecError that names what stands in the way, or be resumable."
    try:
        env.state_dict()
    except SpecError as error:
        require(len(str(error)) > 20, env, "the reason", "in the error of state_dict()", error, do)
    else:
        require(False, env, "a SpecError", "from state_dict(), since it is not resumable", "a state", do)
    env.close()


def _check_rest(env: Env, timesteps: list[TimeStep], shown: int, answered: bool, state: bytes) -> None:
    where = f"after a restore at timestep {shown}, {'answered' if answered else 'not answered'}"
    do = "state_dict() holds everything that changes, as values that later steps leave alone."
    try:
        loaded = torch.load(io.BytesIO(state), weights_only=True)
    except pickle.UnpicklingError as error:
        require(False, env, "tensors and primitives", "in state_dict()", error, "Convert arrays and classes.")
    env.load_state_dict(loaded)
    again = shown > 0 and not answered and bool(env.specs[timesteps[shown - 1].source].action)
    expected = timesteps[shown - 1 if again else shown :]
    rest: list[TimeStep] = []
    stream = iter(env)
    while len(rest) < len(expected):
        if rest and env.specs[rest[-1].source].action:
            rest[-1].reply(answer_to(env, rest[-1]))
        try:
            rest.append(next(stream))
        except StopIteration:  # a finite stream starts over
            stream = iter(env)
            rest.append(next(stream))
    found = streams_differ(expected, rest)
    require(found is None, env, "the rest of the stream, bit for bit", where, found, do)
    env.close()


def _save(env: Env) -> bytes:
    buffer = io.BytesIO()
    torch.save(env.state_dict(), buffer)
    return buffer.getvalue()


def check_recipe(make: Make, num_steps: int = 6) -> None:
    """Checks that copies and pickles of an open environment are recipes, and give its stream from the beginning."""
    env = fresh(make)
    attributes = set(vars(env))
    timesteps = rollout(env, num_steps)
    for way, duplicate in (("copy", copy.copy), ("deepcopy", copy.deepcopy), ("pickle", _through_pickle)):
        other = duplicate(env)
        came = sorted(set(vars(other)) - attributes)
        do = "What on_open sets is running state; set options in __init__."
        require(not came, env, "no running state", f"in a {way}", came, do)
        found = streams_differ(timesteps, rollout(other, num_steps))
        require(found is None, env, "the stream from the beginning", f"in a {way}", found, do)
        other.close()
    found = streams_differ(timesteps[-1:], [env._outstanding])
    require(found is None, env, "to be left alone", "when it is copied", found, "Copies share nothing that runs.")
    env.close()


def _through_pickle(env: Env) -> Env:
    return pickle.loads(pickle.dumps(env))


def check_spawn(make: Make, num_steps: int = 6) -> None:
    """Checks that a DataLoader's worker, started by spawn, gives the stream that this process gives. Takes seconds."""
    here, env = fresh(make), fresh(make)
    here.place(seed=here.seed, slot=0, num_slots=1)
    expected = rollout(here, num_steps)
    timesteps: list[TimeStep] = []
    while len(timesteps) < num_steps:  # a finite stream starts over
        workers = DataLoader(env, batch_size=None, num_workers=1, multiprocessing_context="spawn", timeout=60)
        before = len(timesteps)
        for timestep in workers:
            timesteps.append(snapshot(timestep))
            if len(timesteps) == num_steps:
                break
            timestep.reply(answer_to(here, timestep))
        require(len(timesteps) > before, env, "timesteps", "from a spawned worker", "none", "Yield some.")
        if len(timesteps) < num_steps:
            expected = expected[: len(timesteps)]
            break
    found = streams_differ(expected, timesteps)
    require(found is None, env, "the stream of this process", "in a spawned worker", found, "Pickle the whole recipe.")
    here.close()


def check_close(make: Make, num_steps: int = 6) -> None:
    """Checks that closing twice does no harm, refuses late answers, and that reopening gives the same stream again."""
    env = fresh(make)
    before = rollout(env, num_steps)
    due = bool(env.specs[before[-1].source].action)
    answer = answer_to(env, before[-1])
    env.close()
    env.close()
    if due:
        try:
            before[-1].reply(answer)
        except FeedbackError:
            pass
        else:
            require(False, env, "a FeedbackError", "for an answer after close()", "nothing", "Call super().close().")
    found = streams_differ(before, rollout(env, num_steps))
    do = "close() makes it a recipe again: nothing that ran is left."
    require(found is None, env, "the same stream again", "after close() and reset()", found, do)
    env.close()


def check_lane_control(make: Make, num_steps: int = 8, independent: bool = True) -> None:
    """Checks that held lanes repeat their last timestep and do not move; without lane control, that it is refused.

    Args:
      make: a recipe, or a function that makes an environment.
      num_steps: timesteps to look at.
      independent: a lane goes on after a hold as if there had been none. False where lanes share a generator.
    """
    env, reference = fresh(make), fresh(make)
    timestep = env.reset()
    num_envs = len(timestep.step_type)
    lanes = torch.arange(num_envs) % 2 == 1
    if not env.lane_control:
        for method in (lambda: env.reset(lanes), lambda: env.step(answer_to(env, timestep), lanes)):
            try:
                method()
            except SpecError:
                continue
            require(False, env, "a SpecError for lanes=", "without lane control", "none", "Declare lane_control.")
        env.close()
        return
    shown = [rollout(reference, 1)]
    clock = torch.zeros(num_envs, dtype=torch.int64)
    for step in range(num_steps):
        moving = [lanes, ~lanes, torch.ones_like(lanes), torch.zeros_like(lanes)][step % 4]
        before, answer = snapshot(timestep), _answers(reference, timestep, clock)
        try:
            timestep = env.step(answer, moving)
        except EndOfStream:
            timestep = env.reset()
            break
        clock += moving
        for held in torch.nonzero(~moving).flatten().tolist():
            found = values_differ(_lane(before, held), _lane(timestep, held))
            do = "Use select_lanes(lanes, new, old)."
            require(found is None, env, "its last timestep", f"in held lane {held} at step {step}", found, do)
        for lane in range(num_envs if independent else 0):
            while len(shown) <= clock[lane]:
                ahead = torch.full((num_envs,), len(shown) - 1)
                shown.append([reference.step(_answers(reference, shown[-1][0], ahead))])
            found = values_differ(_lane(shown[clock[lane]][0], lane), _lane(timestep, lane))
            where = f"in lane {lane}, which has moved {clock[lane]} times"
            require(found is None, env, "what it shows without holds", where, found, "Held lanes do not move.")
    before = snapshot(timestep)
    timestep = env.reset(lanes)
    require(timestep.first()[lanes].all(), env, "FIRST in the lanes that are reset", "", timestep.step_type, "")
    for held in torch.nonzero(~lanes).flatten().tolist():
        found = values_differ(_lane(before, held), _lane(timestep, held))
        require(found is None, env, "its last timestep", f"in lane {held} at reset(lanes)", found, "Use select_lanes.")
    env.close()
    reference.close()


def _answers(env: Env, timestep: TimeStep, clock: torch.Tensor) -> dict:
    """Returns answers that follow from how often each lane has moved."""
    spec = env.specs[timestep.source]
    rows = [sample_action(spec.action, 1, np.random.default_rng([lane, int(t)])) for lane, t in enumerate(clock)]
    return map_tree(lambda *leaves: torch.cat(leaves), *rows)


def _lane(timestep: TimeStep, lane: int) -> dict[str, Any]:
    """Returns what one lane has; masks, and keys that it has not, are left out."""
    values = dict(flatten(_values(timestep)))
    masks = [path for path in values if path[-1].startswith("mask:")]
    absent = [(*path[:-1], path[-1].removeprefix("mask:")) for path in masks if not values[path][lane]]
    return {
        "/".join(path): leaf[lane]
        for path, leaf in values.items()
        if leaf is not None and path not in masks and not any(path[: len(key)] == key for key in absent)
    }


def check_no_global_generator(make: Make, num_steps: int = 8) -> None:
    """Checks that the global generators of torch, numpy and random are neither used nor seeded."""
    before = (torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate())
    env = fresh(make)
    rollout(env, num_steps)
    env.close()
    after = (torch.get_rng_state().tolist(), repr(np.random.get_state()), random.getstate())
    for name, one, other in zip(("torch", "numpy", "random"), before, after):
        do = "Draw from a generator of your own, seeded from self.seeds(lane)."
        require(one == other, env, f"{name}'s global generator unchanged", "after a run", "another state", do)
