"""What an experience comes to next, and for how long."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from aexp_torch.composition.syn import NONE
from aexp_torch.errors import SpecError

__all__ = ["NextEnv", "Steps", "checked_steps", "choose", "draw", "draw_limit", "offers_of"]

NextEnv = Literal["random", "in_turn", "agent"] | Callable[[int, int, Tensor], Any]
Steps = int | tuple[int, int] | Callable[[int], int] | None


def draw(generator: np.random.Generator, admitted: Sequence[int], available: Sequence[int]) -> int:
    """Returns a place, uniform over those that are available.

    Args:
      generator: what is drawn from.
      admitted: places, those included that are known to be of no use by now. One of those is drawn again, so that what is
        drawn is the same whether that is known already, or found out when it is tried.
      available: those of them that may be of use, at least one.
    """
    while True:
        place = admitted[int(generator.integers(len(admitted)))]
        if place in available:
            return place


def choose(rule: NextEnv, available: Sequence[int], current: int, step: int, count: int) -> int:
    """Returns the place of the environment that is next, where nothing is drawn.

    Args:
      rule: see `AEEnv`.
      available: places, at least one.
      current: the place that has had its turn; -1 for none.
      step: timesteps shown so far.
      count: environments.
    """
    if rule == "agent" or callable(rule):
        place = current if rule == "agent" else _checked(rule(step, current, offers_of(available, count)), count)
        for offered in (place, current):
            if offered in available:
                return offered
    return next((place for place in available if place > current), available[0])


def _checked(choice: Any, count: int) -> int:
    try:
        place = int(choice)
    except (TypeError, ValueError):
        place = NONE - 1
    if not NONE <= place < count:
        raise SpecError(
            f"AEEnv: expected a number in -1..{count - 1} from next_env_fn, got {choice!r}. -1 is another visit to the same"
            " environment."
        )
    return place


def offers_of(available: Sequence[int], count: int) -> Tensor:
    """Returns int64 [N]: at place n the number n where that environment is available, else -1."""
    offers = torch.full((count,), NONE)
    offers[list(available)] = torch.tensor(available, dtype=torch.int64)
    return offers


def draw_limit(steps: Steps, generator: np.random.Generator, place: int) -> int | None:
    """Returns how many timesteps a visit has at most; None for any number."""
    if steps is None:
        return None
    if isinstance(steps, tuple):
        return int(generator.integers(steps[0], steps[1], endpoint=True))
    limit = steps(place) if callable(steps) else steps
    if not isinstance(limit, int) or limit < 1:
        raise SpecError(f"AEEnv: expected a number of at least 1 from steps, got {limit!r}.")
    return limit


def checked_steps(steps: Any, who: str) -> Steps:
    """Returns what says how long visits are; refuses what cannot be that."""
    numbers = steps if isinstance(steps, tuple | list) else (steps, steps)
    fits = len(numbers) == 2 and all(isinstance(number, int) for number in numbers) and 1 <= numbers[0] <= numbers[1]
    if steps is not None and not callable(steps) and not fits:
        raise SpecError(
            f"{who}: expected steps as a number, a range (lowest, highest), a function or None, got {steps!r}."
        )
    return tuple(steps) if isinstance(steps, list) else steps
