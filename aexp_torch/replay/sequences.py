"""SequenceSampler: stretches of several steps, for recurrent agents."""

from collections.abc import Sequence

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.replay.batches import INDEX_BITS, Sequences, gather_sequences, split
from aexp_torch.replay.samplers import ROUNDS, Sampler, UniformSampler
from aexp_torch.replay.shelf import Shelf
from aexp_torch.replay.table import Table

__all__ = ["SequenceSampler"]


class SequenceSampler(Sampler):
    """Draws where sequences of T steps begin, as another sampler draws transitions.

    A sequence stays within one episode. Where that ends before (or has not come further yet), it is padded, and a mask
    says so.

    Args:
      num_steps: T.
      pad: whether shorter stretches count; if not, they are drawn anew.
      draw: says how beginnings are drawn; uniformly by default.
    """

    def __init__(self, num_steps: int, pad: bool = True, draw: Sampler | None = None):
        if num_steps < 1 or not isinstance(draw, Sampler | None) or isinstance(draw, SequenceSampler):
            raise SpecError(
                "SequenceSampler: expected num_steps of at least 1 and a UniformSampler or PrioritizedSampler for draw,"
                f" got {num_steps!r} and {draw!r}."
            )
        self.num_steps, self.pad, self.drawn_by = num_steps, pad, draw or UniformSampler()

    def draw(
        self, tables: Sequence[Table], count: int, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draws beginnings."""
        index, weight = self.drawn_by.draw(tables, count, generator)
        if self.pad:
            return index, weight
        for _ in range(ROUNDS):
            whole = self._whole(tables, index)
            if whole.sum() >= count:
                break
            more, more_weight = self.drawn_by.draw(tables, count, generator)
            index, weight = np.concatenate([index[whole], more]), np.concatenate([weight[whole], more_weight])
            order = np.argsort(index >> INDEX_BITS, kind="stable")
            index, weight = index[order], weight[order]
        else:
            raise SpecError(
                f"SequenceSampler: expected stretches of {self.num_steps} steps within an episode, next to none of those"
                " drawn is that long. Use pad=True or a smaller num_steps, or record more."
            )
        chosen = np.flatnonzero(whole)
        if len(chosen) > count:
            chosen = np.sort(generator.permutation(chosen)[:count])
        return index[chosen], weight[chosen]

    def _whole(self, tables: Sequence[Table], index: np.ndarray) -> np.ndarray:
        parts = []
        for table, ids, _ in split(tables, index):
            rows = table.links.follow(ids, self.num_steps)
            parts.append(rows[-1] > rows[-2])
        return np.concatenate(parts)

    def sample(self, tables: Sequence[Table], count: int, generator: np.random.Generator, shelf: Shelf) -> Sequences:
        """Returns sequences."""
        index, weight = self.draw(tables, count, generator)
        return gather_sequences(tables, index, weight, self.num_steps, shelf)

    def update_priorities(self, tables: Sequence[Table], index: np.ndarray, priorities: np.ndarray) -> None:
        """Passes them on to what draws."""
        self.drawn_by.update_priorities(tables, index, priorities)

    def state_dict(self, tables: Sequence[Table]) -> dict:
        """Returns what the drawing sampler keeps."""
        return self.drawn_by.state_dict(tables)

    def load_state_dict(self, state: dict, tables: Sequence[Table]) -> None:
        """Goes on from `state_dict`."""
        self.drawn_by.load_state_dict(state, tables)
