"""Replays dialogues that are written as in the originals' transcripts."""

import numpy as np

from aexp_torch.commai.schedulers import SequentialTaskScheduler
from aexp_torch.commai.sessions import BITS, Rules, Sessions


def sessions(kind, seed: int = 0, rules: Rules = BITS, **options) -> Sessions:
    """One conversation about one task."""
    return Sessions([SequentialTaskScheduler([kind()])], rules, [seed], **options)


def talk(talks: Sessions, learner: str, steps: int) -> tuple[str, str]:
    """Returns what the environment says and the rewards (`+`, `-`, `0` or a space), one column per symbol."""
    said, rewards = "", ""
    heard = None
    for step in range(steps):
        symbol, reward = talks.step(heard)
        said += chr(symbol[0])
        rewards += " " if np.isnan(reward[0]) else "+" if reward[0] > 0 else "-" if reward[0] < 0 else "0"
        heard = np.frombuffer(learner[step : step + 1].encode().ljust(1), np.uint8)
    return said, rewards


def replay(kind, environment: str, learner: str, rules: Rules = BITS, most: int = 20_000) -> tuple[str, str]:
    """Looks for a seed whose conversation begins like a transcript; returns what was said there, and the rewards."""
    lead = len(environment) - len(environment.lstrip()) + 1
    for seed in range(most):
        talks = sessions(kind, seed, rules)
        symbol, _ = talks.step(None)
        if chr(symbol[0]) != environment[0]:
            continue
        said, rewards = talk(sessions(kind, seed, rules), learner, len(environment))
        if said[:-lead] == environment[:-lead]:
            return said, rewards
    return "not found", ""
