"""Replays dialogues that are written like the originals' transcripts: one column per symbol, E what the environment says."""

import random
from collections.abc import Callable

import numpy as np

from aexp_torch.commai.grid_world import GridWorld
from aexp_torch.commai.schedulers import SequentialTaskScheduler
from aexp_torch.commai.sessions import BITS, Rules, Sessions
from aexp_torch.commai.task import Task


def sessions(make: Callable[[], Task], seed: int = 0, rules: Rules = BITS, **options) -> Sessions:
    """One conversation about one task."""
    return Sessions([SequentialTaskScheduler([make()])], rules, [seed], **options)


def made(kind: type[Task]) -> Task:
    return kind(GridWorld()) if kind.needs_world else kind()


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


class Drawn(random.Random):
    """Draws, of several texts, one that a transcript has next."""

    def __init__(self, text: str):
        super().__init__(0)
        self.text, self.place = text, 0

    def choice(self, options):
        if not all(isinstance(option, str) for option in options):
            return super().choice(options)
        found = [(self.text.find(option, self.place), -len(option), option) for option in options if option]
        found = [match for match in found if match[0] >= 0]
        if not found:
            return super().choice(options)
        at, length, option = min(found)
        self.place = at - length
        return option

    def choices(self, options, *, k):
        return [self.choice(options) for _ in range(k)]


def replay(kind: type[Task], environment: str, learner: str, rules: Rules = BITS, most: int = 3000) -> tuple[str, str]:
    """Looks for a conversation that goes like a transcript; returns what was said there, and the rewards.

    What comes after the reward, the beginning of the next instance, may be another.
    """
    best = "", ""
    for seed in range(most):
        talks = sessions(lambda: made(kind), seed, rules)
        drawn = Drawn(environment)
        drawn.seed(seed)
        talks.rngs[0] = talks.schedulers[0].rng = drawn
        said, rewards = talk(talks, learner, len(environment))
        end = len(rewards.rstrip()) - 1 if not rules.appends and rewards.strip() else len(environment)
        if said[:end] == environment[:end]:
            return said, rewards
        best = max(best, (said, rewards), key=lambda pair: _same(pair[0], environment))
    return best


def _same(said: str, environment: str) -> int:
    return next((place for place, (ours, theirs) in enumerate(zip(said, environment)) if ours != theirs), len(said))
