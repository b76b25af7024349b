"""PrioritizedSampler: what surprised most is seen most."""

from collections.abc import Sequence

import numpy as np
from torch import from_numpy

from aexp_torch.errors import SpecError
from aexp_torch.replay.batches import INDEX_BITS, Transitions, gather_transitions
from aexp_torch.replay.samplers import Sampler, check_steps, nothing_to_draw
from aexp_torch.replay.shelf import Shelf
from aexp_torch.replay.sum_tree import SumTree
from aexp_torch.replay.table import Table

__all__ = ["PrioritizedSampler"]


class PrioritizedSampler(Sampler):
    """Draws transitions in proportion to priority ** alpha, one from each of N equal shares of the sum.

    A new transition has the highest priority that was ever given, so that it is soon seen. Weights are
    (N * probability) ** -beta, divided by the largest of the batch.

    Args:
      alpha: 0 is uniform, 1 proportional; at least 0.
      beta: how far weights make up for the probabilities, in [0, 1]; may be set between two draws.
      epsilon: is added to every priority, so that nothing is lost for ever; above 0.
      n_step: as for `UniformSampler`.
      gamma: likewise.

    Source: Schaul et al. 2016, "Prioritized Experience Replay".
    """

    def __init__(
        self,
        alpha: float = 0.6,
        beta: float = 0.4,
        epsilon: float = 1e-6,
        n_step: int = 1,
        gamma: float | None = None,
    ):
        if not alpha >= 0 or not 0 <= beta <= 1 or not epsilon > 0:
            raise SpecError(
                f"PrioritizedSampler: expected alpha >= 0, beta in [0, 1] and epsilon > 0, got {alpha!r}, {beta!r} and"
                f" {epsilon!r}."
            )
        self.alpha, self.beta, self.epsilon = alpha, beta, epsilon
        self.n_step, self.gamma = n_step, check_steps(type(self).__name__, n_step, gamma)
        self._highest = 1.0
        self._trees: dict[int, Priorities] = {}

    def draw(
        self, tables: Sequence[Table], count: int, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws rows by priority."""
        kept = [self._kept(table) for table in tables]
        ends = np.cumsum([each.tree.total for each in kept])
        if not ends[-1] > 0:
            raise nothing_to_draw(tables)
        size = sum(table.links.count for table in tables)
        sums = (np.arange(count) + generator.random(count)) * (ends[-1] / count)
        numbers = np.minimum(np.searchsorted(ends, sums, "right"), len(kept) - 1)
        index, value = np.empty(count, np.int64), np.empty(count)
        for number, each in enumerate(kept):
            part = numbers == number
            if part.any():
                begin = ends[number - 1] if number else 0.0
                places = each.tree.find(sums[part] - begin)
                index[part] = each.ids(places) | (number << INDEX_BITS)
                value[part] = each.tree.values[places]
        weight = (size * value / ends[-1]) ** -self.beta
        return index, (weight / weight.max()).astype(np.float32)

    def sample(self, tables: Sequence[Table], count: int, generator: np.random.Generator, shelf: Shelf) -> Transitions:
        """Returns transitions."""
        index, weight = self.draw(tables, count, generator)
        return gather_transitions(tables, index, weight, self.n_step, self.gamma, shelf)

    def update_priorities(self, tables: Sequence[Table], index: np.ndarray, priorities: np.ndarray) -> None:
        """Sets priorities, at least 0 each; rows that are not kept any more are passed over."""
        if not (np.isfinite(priorities) & (priorities >= 0)).all() or priorities.shape != index.shape:
            raise SpecError(
                f"PrioritizedSampler: expected finite priorities of at least 0, [{len(index)}], got"
                f" {list(priorities.shape)} from {priorities.min(initial=0)} to {priorities.max(initial=0)}."
                " Give absolute errors."
            )
        values = (priorities + self.epsilon) ** self.alpha
        for number, table in enumerate(tables):
            part = index >> INDEX_BITS == number
            self._kept(table).set(index[part] & ((1 << INDEX_BITS) - 1), values[part])
        self._highest = max(self._highest, float(values.max(initial=0)))

    def _kept(self, table: Table) -> "Priorities":
        kept = self._trees.get(id(table))
        if kept is None or kept.age != table.age:
            kept = self._trees[id(table)] = Priorities(table)
        kept.catch_up(self._highest)
        return kept

    def state_dict(self, tables: Sequence[Table]) -> dict:
        """Returns the priorities of all rows that are kept."""
        values = [from_numpy(self._kept(table).values()) for table in tables]
        return {"beta": self.beta, "highest": self._highest, "values": values}

    def load_state_dict(self, state: dict, tables: Sequence[Table]) -> None:
        """Restores the priorities."""
        self.beta, self._highest = state["beta"], state["highest"]
        for table, values in zip(tables, state["values"]):
            kept = self._kept(table)
            ids = np.arange(table.links.end - len(values), table.links.end)
            kept.set(ids, values.numpy())


class Priorities:
    """Keeps the priorities of a table's rows; those without a next row have none."""

    def __init__(self, table: Table):
        self.table, self.age = table, table.age
        self.tree = SumTree(table.links.size)
        self._end = table.links.begin
        table.new = [table.links.linked()]

    def catch_up(self, value: float) -> None:
        """Gives `value` to rows that have got a next one, and takes their place's from those that made room."""
        links, new = self.table.links, self.table.new
        if not new and self._end == links.end:
            return
        if links.size != self.tree.size:
            old, self.tree = self.tree, SumTree(links.size)
            self.tree.set(np.arange(old.size), old.values)
        fresh = np.arange(max(self._end, links.begin), links.end)
        linked = np.concatenate([*new, fresh[:0]])
        new.clear()
        self._end = links.end
        linked = linked[linked >= links.begin]
        places = np.concatenate([fresh, linked]) % links.size
        self.tree.set(places, np.concatenate([np.zeros(len(fresh)), np.full(len(linked), value)]))

    def set(self, ids: np.ndarray, values: np.ndarray) -> None:
        """Sets the values of rows that are still there."""
        links = self.table.links
        there = (ids >= links.begin) & (ids < links.end)
        there[there] = links.distance(ids[there]) > 0
        self.tree.set(ids[there] % links.size, values[there])

    def values(self) -> np.ndarray:
        """Returns the values of all rows that are kept, in order."""
        links = self.table.links
        return self.tree.values[np.arange(links.begin, links.end) % links.size]

    def ids(self, places: np.ndarray) -> np.ndarray:
        """Returns the rows at places of the tree."""
        links = self.table.links
        return links.begin + (places - links.begin) % links.size
