"""evaluate: the returns and lengths of a policy's first N episodes."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from aexp_torch.env import Env
from aexp_torch.loading.episodes import EpisodeCounter
from aexp_torch.loading.loader import Loader
from aexp_torch.timestep import TimeStep

__all__ = ["evaluate"]


def evaluate(
    policy: Callable[[TimeStep], Any], env: Env | Mapping[str, Env], episodes: int, seed: int = 0
) -> dict[str, dict[str, Tensor]]:
    """Runs a policy until it has finished N episodes per source, and reports them.

    Args:
      policy: from a TimeStep to an answer; called without gradient.
      env: one environment or several by name; copied, so that a running one is not disturbed.
      episodes: N; the first N in the order (round, lane), so that short ones have no advantage.
      seed: S of the seeds of this evaluation.

    Returns:
      `{source: {"return": float32 [N], "length": int64 [N]}}`, in that order.

    >>> import aexp_torch as ae
    >>> push_right = lambda timestep: torch.ones(4, dtype=torch.int64)
    >>> result = ae.evaluate(push_right, ae.GymnasiumEnv("CartPole-v1", num_envs=4), episodes=6, seed=1)
    >>> len(result["CartPole-v1"]["return"])
    6
    """
    loader = Loader(env, episodes=episodes, seed=seed, resume_epochs=False)
    counters: dict[str, EpisodeCounter] = {}
    finished: dict[str, list[list]] = {}
    with torch.no_grad():
        for timestep in loader:
            if loader.specs[timestep.source].action:
                timestep.reply(policy(timestep))
            rounds = finished.setdefault(timestep.source, [])
            for lane, *outcome in counters.setdefault(timestep.source, EpisodeCounter()).update(timestep):
                number = sum(lane == other for other, *_ in rounds)
                rounds.append([lane, number, *outcome])
    loader.close()
    return {source: _in_order(rounds) for source, rounds in finished.items()}


def _in_order(rounds: list[list]) -> dict[str, Tensor]:
    rounds = sorted(rounds, key=lambda episode: (episode[1], episode[0]))
    returns = torch.tensor([episode[2] for episode in rounds], dtype=torch.float32)
    return {"return": returns, "length": torch.tensor([episode[3] for episode in rounds], dtype=torch.int64)}
