"""Whether a stream of data goes on exactly from a saved state."""

import io
from collections.abc import Callable
from typing import Any

import torch

import aexp_torch as ae
from aexp_torch.specs import flatten

__all__ = ["assert_resumes", "saved", "values"]


def values(timestep: ae.TimeStep) -> dict[str, Any]:
    """Returns what a timestep shows, to compare."""
    leaves = {"/".join(path): None if leaf is None else leaf.tolist() for path, leaf in flatten(timestep.observation)}
    return {**leaves, "step_type": timestep.step_type.tolist(), "reward": timestep.reward.tolist()}


def saved(env: ae.Env) -> dict:
    """Returns the state, as it comes back from a file that holds no code."""
    buffer = io.BytesIO()
    torch.save(env.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def assert_resumes(make: Callable[[], ae.Env], num_timesteps: int = 14) -> list[dict]:
    """Stops and goes on after every timestep; returns the whole stream. Actions are not needed (mode joint)."""
    env, states, seen = make(), [], []
    for _, timestep in zip(range(num_timesteps), env):
        seen.append(values(timestep))
        states.append(saved(env))
    env.close()
    for place, state in enumerate(states):
        other = make()
        other.load_state_dict(state)
        rest = [values(timestep) for _, timestep in zip(range(num_timesteps - place - 1), other)]
        assert rest == seen[place + 1 :], f"after timestep {place}"
        other.close()
    return seen
