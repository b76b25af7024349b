"""MemoryRows: a ring of the latest rows in memory."""

from collections.abc import Sequence

import numpy as np
from torch import from_numpy

from aexp_torch.replay.schema import Column

__all__ = ["MemoryRows"]


class MemoryRows:
    """Keeps the latest rows; row number `id` stands at place `id % capacity` of every array.

    The kernel gives memory as rows come, not before.

    Args:
      columns: what a row holds.
      capacity: rows kept.

    Attributes:
      end: the number of the next row; rows from `begin` on are kept.
      arrays: one per column, [capacity, ...].
      rewinds: never changes here; see `DiskRows`.
    """

    rewinds = 0

    def __init__(self, columns: Sequence[Column], capacity: int):
        self.capacity, self.end = capacity, 0
        self.arrays = [np.zeros((capacity, *column.shape), column.dtype) for column in columns]

    @property
    def begin(self) -> int:
        """The oldest row that is kept."""
        return max(0, self.end - self.capacity)

    def refresh(self) -> None:
        """Nobody else writes here."""

    def places(self, ids: np.ndarray) -> np.ndarray:
        """Returns where rows stand in the arrays; those before the last turn of the ring count from its end (< 0)."""
        return ids - (self.end - self.end % self.capacity)

    def append(self, values: Sequence[np.ndarray], count: int) -> None:
        """Adds `count` rows; a value is [count, ...] or is broadcast to it."""
        place = self.end % self.capacity
        room = self.capacity - place
        for array, value in zip(self.arrays, values):
            if count <= room:
                array[place : place + count] = value
            else:
                value = np.broadcast_to(value, (count, *array.shape[1:]))
                array[place:], array[: count - room] = value[:room], value[room:]
        self.end += count

    def flush(self) -> None:
        """Nothing outlives the process."""

    def close(self) -> None:
        """Frees nothing by itself."""

    def state_dict(self) -> dict:
        """Returns the rows that are kept, as tensors."""
        filled = min(self.end, self.capacity)
        return {"end": self.end, "arrays": [from_numpy(array[:filled].copy()) for array in self.arrays]}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self.end = state["end"]
        for array, saved in zip(self.arrays, state["arrays"], strict=True):
            array[: len(saved)] = saved.numpy()
