"""Sampler: how what is stored is drawn, and what is made of it. UniformSampler: everything alike."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.replay.batches import INDEX_BITS, Transitions, gather_transitions
from aexp_torch.replay.shelf import Shelf
from aexp_torch.replay.table import Table

__all__ = ["ROUNDS", "Sampler", "UniformSampler", "check_steps", "nothing_to_draw"]

ROUNDS = 50  # of drawing anew what cannot be used, until everything is looked through


class Sampler(ABC):
    """Draws from the tables of one source. It keeps what it needs between draws, per source and table."""

    @abstractmethod
    def draw(
        self, tables: Sequence[Table], count: int, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the index of rows that have a next one, int64 [N] in the order of tables, and weights, float32 [N]."""

    @abstractmethod
    def sample(self, tables: Sequence[Table], count: int, generator: np.random.Generator, shelf: Shelf) -> Any:
        """Returns a batch of `count`."""

    def update_priorities(self, tables: Sequence[Table], index: np.ndarray, priorities: np.ndarray) -> None:
        """Sets the priorities of rows."""
        raise SpecError(
            f"ReplayBuffer: expected a sampler with priorities for update_priorities, got {type(self).__name__}."
            " Give sampler=PrioritizedSampler()."
        )

    def state_dict(self, tables: Sequence[Table]) -> dict:
        """Returns what it keeps about the tables."""
        return {}

    def load_state_dict(self, state: dict, tables: Sequence[Table]) -> None:
        """Goes on from `state_dict`."""
        del state, tables


class UniformSampler(Sampler):
    """Draws every stored transition with the same probability, with replacement.

    Args:
      n_step: steps of a transition; fewer where an episode ends before, or has not come further yet.
      gamma: discounts each step, in [0, 1]. With `n_step=1` it may be left out: `discount` is the environment's own then.
    """

    def __init__(self, n_step: int = 1, gamma: float | None = None):
        self.n_step, self.gamma = n_step, check_steps(type(self).__name__, n_step, gamma)

    def draw(
        self, tables: Sequence[Table], count: int, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws rows, leaving out those that have no next one."""
        index = draw_linked(tables, count, generator)
        rounds = 1
        while len(index) < count and rounds < ROUNDS:
            more, rounds = draw_linked(tables, count - len(index), generator), rounds + 1
            index = np.concatenate([index, more])
        if len(index) < count:
            known = all_linked(tables)
            index = np.concatenate([index, known[generator.integers(len(known), size=count - len(index))]])
        index = index[:count]
        if len(tables) > 1:
            index.sort()
        return index, np.ones(count, np.float32)

    def sample(self, tables: Sequence[Table], count: int, generator: np.random.Generator, shelf: Shelf) -> Transitions:
        """Returns transitions."""
        index, weight = self.draw(tables, count, generator)
        return gather_transitions(tables, index, weight, self.n_step, self.gamma, shelf)


def check_steps(who: str, n_step: int, gamma: float | None) -> float:
    """Returns gamma, or 1 where it may be left out."""
    if n_step < 1 or (gamma is None and n_step > 1) or not 0 <= (1.0 if gamma is None else gamma) <= 1:
        raise SpecError(
            f"{who}: expected n_step >= 1, and with more than 1 a gamma in [0, 1], got {n_step!r}, {gamma!r}."
        )
    return 1.0 if gamma is None else gamma


def draw_rows(tables: Sequence[Table], count: int, generator: np.random.Generator) -> np.ndarray:
    """Draws rows of all tables, each with the same probability, whether they have a next one or not."""
    if not sum([table.links.count for table in tables]):
        raise nothing_to_draw(tables)
    if len(tables) == 1:
        links = tables[0].links
        return generator.integers(links.begin, links.end, count)
    begins = np.array([table.links.begin for table in tables])
    ends = np.cumsum([table.links.end - table.links.begin for table in tables])
    places = generator.integers(0, ends[-1], count)
    numbers = np.searchsorted(ends, places, "right")
    before = np.concatenate([[0], ends[:-1]])
    return (numbers << INDEX_BITS) | (begins[numbers] + places - before[numbers])


def draw_linked(tables: Sequence[Table], count: int, generator: np.random.Generator) -> np.ndarray:
    """Draws a few rows more than `count` and returns those of them that have a next one."""
    index = draw_rows(tables, count + count // 16 + 4, generator)
    if len(tables) == 1:
        return index[tables[0].links.distance(index) > 0]
    linked = np.empty(len(index), bool)
    for number, table in enumerate(tables):
        part = index >> INDEX_BITS == number
        linked[part] = table.links.distance(index[part] & ((1 << INDEX_BITS) - 1)) > 0
    return index[linked]


def all_linked(tables: Sequence[Table]) -> np.ndarray:
    """Returns the index of every row that has a next one."""
    return np.concatenate([table.links.linked() | (number << INDEX_BITS) for number, table in enumerate(tables)])


def nothing_to_draw(tables: Sequence[Table]) -> SpecError:
    """Returns the error for tables without a transition."""
    count = sum(table.links.end - table.links.begin for table in tables)
    return SpecError(
        f"ReplayBuffer: expected at least one transition of {tables[0].schema.source!r} to sample from, there are"
        f" {count} timesteps and no two of one episode. Record more first."
    )
