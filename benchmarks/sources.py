"""How close does a source come to its provider, stepped or read bare?

Both do the same work with the same options, and answers are the same random actions: what differs is what a timestep
costs. `python -m benchmarks sources` asks it.
"""

import sys
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
import torch

import aexp_torch as ae
from benchmarks import source_readers
from benchmarks.contest import Contest, Contestant, Figure
from benchmarks.turns import Turns

__all__ = ["AT_LEAST", "contests", "duel"]

AT_LEAST = 0.9  # of the bare provider's rate
HERE = __name__
ALE = "ale-py's vector environment"
EITHER = {"ours": f"{HERE}:envpool", "bare": f"{HERE}:bare_envpool"}


def duel(
    title: str,
    unit: str,
    ours: str,
    bare: str,
    *,
    who: str,
    needs: tuple[str, ...] = (),
    longer: float = 1.0,
    **arguments,
) -> Contest:
    """Returns a contest between a source of aexp_torch and its provider.

    Args:
      title: the work: `"Pong, 8 lanes"`.
      unit: of the rates: `"frames/s"`, `"samples/s"`.
      ours: `module:function` of a contestant that uses aexp_torch: `function(turns, **arguments)` works for ever, calls
        `turns(units)` after every step, and cleans up in a `finally`.
      bare: the same without aexp_torch.
      who: the provider, for the table.
      needs: modules without which neither can run.
      longer: how many times as long as others its turns are.
      arguments: JSON, for both functions.
    """
    mine, theirs = f"aexp_torch, {who}", f"{who}, bare"
    contestants = [
        Contestant(mine, ours, arguments, "ours", needs),
        Contestant(theirs, bare, arguments, "limit", needs),
    ]
    figure = Figure(f"{title}: aexp_torch over {who}, bare", mine, theirs, at_least=AT_LEAST)
    return Contest(f"{title} ({who})", unit, contestants, [figure], longer=longer)


def contests() -> list[Contest]:
    """Returns the contests."""
    ale = {"who": ALE, "needs": ("ale_py",), "num_envs": 8, "num_actions": 6}
    pool = {"who": "EnvPool", "needs": ("envpool",)}
    return [
        duel("Pong, 8 lanes", "steps/s", f"{HERE}:atari", f"{HERE}:bare_atari", **ale, longer=2.0),
        duel("Pong-v5, 8 lanes", "steps/s", **EITHER, **pool, task="Pong-v5", num_envs=8, num_actions=6, longer=2.0),
        duel("CartPole-v1, 64 lanes", "steps/s", **EITHER, **pool, task="CartPole-v1", num_envs=64, num_actions=2),
        *source_readers.contests(),
    ]


def random_actions(num_envs: int, num_actions: int) -> Iterator[np.ndarray]:
    """Yields the same random actions for everyone, int64 [num_envs] each."""
    generator = np.random.default_rng(0)
    return cycle([generator.integers(0, num_actions, num_envs) for _ in range(97)])


def atari(turns: Turns, num_envs: int, num_actions: int) -> None:
    """Answers every timestep of AtariEnv."""
    answer_all(turns, ae.AtariEnv("pong", num_envs), num_envs, num_actions)


def bare_atari(turns: Turns, num_envs: int, num_actions: int) -> None:
    """Steps ALE's own vector environment."""
    from ale_py.vector_env import AtariVectorEnv

    step_all(turns, AtariVectorEnv("pong", num_envs, reward_clipping=False), num_envs, num_actions)


def envpool(turns: Turns, task: str, num_envs: int, num_actions: int) -> None:
    """Answers every timestep of EnvPoolEnv."""
    answer_all(turns, ae.EnvPoolEnv(task, num_envs), num_envs, num_actions)


def bare_envpool(turns: Turns, task: str, num_envs: int, num_actions: int) -> None:
    """Steps a pool."""
    import envpool

    step_all(turns, envpool.make_gymnasium(task, num_envs=num_envs, seed=0), num_envs, num_actions)


def answer_all(turns: Turns, env: ae.Env, num_envs: int, num_actions: int) -> None:
    """Iterates and answers."""
    actions = map(torch.from_numpy, random_actions(num_envs, num_actions))
    try:
        for timestep, action in zip(env, actions):
            timestep.reply(action)
            turns(num_envs)
    finally:
        env.close()


def step_all(turns: Turns, envs: Any, num_envs: int, num_actions: int) -> None:
    """Steps; whatever comes is dropped."""
    envs.reset()
    try:
        for action in random_actions(num_envs, num_actions):
            envs.step(action)
            turns(num_envs)
    finally:
        envs.close()


if __name__ == "__main__":
    from benchmarks.__main__ import main

    main(["sources", *sys.argv[1:]])
