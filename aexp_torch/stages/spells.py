"""Spells: something begins by chance and then lasts for some steps, in each lane on its own."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from aexp_torch.errors import SpecError
from aexp_torch.stages.augment import Leaf

__all__ = ["Steps", "end_spells", "spells", "steps_drawer"]

Steps = int | Literal["geometric"] | Callable[[np.random.Generator, int], np.ndarray]


def steps_drawer(n: Steps, p: float, who: str) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Returns a function from a generator and a count to that many lengths, int64 of at least 1.

    Args:
      n: an int; a function like the one that is returned; or `"geometric"`, for which a spell that has lasted so far
        lasts on with probability `p`, the same with which one begins.
      p: that probability.
      who: the stage, for messages.
    """
    if n == "geometric":
        if p == 1.0:
            raise SpecError(f"{who}: expected p < 1 with n='geometric', which would never end, got {p!r}.")
        return partial(_geometric, 1 - p)
    if isinstance(n, int) and n >= 1:
        return partial(_constant, n)
    if callable(n):
        return partial(_given, n, who)
    raise SpecError(f"{who}: expected n as an int of at least 1, 'geometric', or a function, got {n!r}.")


def _geometric(stop: float, generator: np.random.Generator, count: int) -> np.ndarray:
    return generator.geometric(stop, count)


def _constant(n: int, generator: np.random.Generator, count: int) -> np.ndarray:
    return np.full(count, n)


def _given(n: Callable, who: str, generator: np.random.Generator, count: int) -> np.ndarray:
    lengths = np.asarray(n(generator, count))
    if lengths.shape != (count,) or lengths.dtype.kind not in "iu" or lengths.min() < 1:
        raise SpecError(f"{who}: expected n= to return {count} integers of at least 1, got {lengths!r}.")
    return lengths.astype(np.int64)


def spells(leaf: Leaf, p: float, draw: Callable, rows: Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    """Counts spells down and begins new ones.

    Args:
      leaf: its `memory["left"]` (int64 [B]) is how many steps they still last.
      p: probability that one begins where there is none.
      draw: their lengths.
      rows: lanes in which time passes; None for all.

    Returns:
      Where one that began before lasts, and where one begins now, bool arrays [B].
    """
    kept = leaf.memory.get("left")
    left = np.zeros(leaf.num_envs, np.int64) if kept is None else kept.numpy()
    lasting = left > 0
    begins = (leaf.generator.random(leaf.num_envs) < p) & ~lasting
    after = left - lasting
    if begins.any():
        after = np.where(begins, draw(leaf.generator, leaf.num_envs), after)
    if rows is not None:
        after = np.where(rows.numpy(), after, left)
    leaf.memory["left"] = torch.from_numpy(after)
    return lasting, begins


def end_spells(leaf: Leaf, lanes: Tensor) -> None:
    """Ends spells in `lanes`, bool [B]."""
    if "left" in leaf.memory:
        leaf.memory["left"] = leaf.memory["left"].masked_fill(lanes, 0)
