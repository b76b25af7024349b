"""Links: which row follows which, in the same lane and episode."""

from bisect import bisect_left

import numpy as np

from aexp_torch.timestep import StepType

__all__ = ["Links"]

LEAST_SIZE = 1024
FIRST, LAST = int(StepType.FIRST), int(StepType.LAST)  # an attribute of an Enum takes a microsecond


class Links:
    """Knows for every row the distance to the next of its episode; there is none behind LAST, before FIRST, and where
    the next has not come yet.

    Whatever is drawn follows these links, so that nothing ever joins two episodes.

    Args:
      capacity: rows that are kept; None for all.

    Attributes:
      count: how many of the rows that are kept have a next one.
      begin: the oldest row that is kept.
      end: the number of the next row.
    """

    def __init__(self, capacity: int | None):
        self._grows = capacity is None
        self.size = LEAST_SIZE if capacity is None else capacity
        self._distance = np.zeros(self.size, np.int32)
        self.begin = self.end = 0
        self._latest = np.empty(0, np.int64)  # by lane: its last row
        self._last_type = np.empty(0, np.int8)
        self._first: list[int] = []  # rows that are FIRST and have a next one, in order
        self.count = 0

    def append(self, lanes: np.ndarray, step_type: np.ndarray, begin: int) -> np.ndarray:
        """Adds rows, and links them to those before.

        Args:
          lanes: int32 [n]; a lane may come more than once, in order.
          step_type: int8 [n].
          begin: the oldest row that is kept, with the new ones.

        Returns:
          The rows that have got a next one.
        """
        count = len(lanes)
        ids = np.arange(self.end, self.end + count)
        self.begin, self.end = begin, self.end + count
        self._make_room(int(lanes.max(initial=-1)) + 1)
        places = ids % self.size
        self.count -= int(np.count_nonzero(self._distance[places]))
        self._distance[places] = 0
        previous, previous_type = self._previous(ids, lanes, step_type)
        linked = (previous >= begin) & (step_type != FIRST) & (previous_type != LAST)
        previous, previous_type, ids = previous[linked], previous_type[linked], ids[linked]
        self._distance[previous % self.size] = ids - previous
        self.count += len(previous)
        self._remember_first(previous[previous_type == FIRST])
        return previous

    def _remember_first(self, rows: np.ndarray) -> None:
        if len(rows):
            in_order = len(rows) == 1 or bool((rows[1:] > rows[:-1]).all())
            in_order = in_order and (not self._first or self._first[-1] < rows[0])
            self._first.extend(rows.tolist())
            if not in_order:
                self._first.sort()

    def _previous(self, ids: np.ndarray, lanes: np.ndarray, step_type: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns for every row the one before it in its lane (-1 for none), and its step type."""
        once = len(lanes) < 2 or bool((lanes[1:] > lanes[:-1]).all())
        previous, previous_type = self._latest[lanes], self._last_type[lanes]
        if not once:
            order = np.argsort(lanes, kind="stable")
            again = np.flatnonzero(lanes[order[1:]] == lanes[order[:-1]])
            previous[order[again + 1]] = ids[order[again]]
            previous_type[order[again + 1]] = step_type[order[again]]
        self._latest[lanes], self._last_type[lanes] = ids, step_type  # the last one counts
        return previous, previous_type

    def _make_room(self, num_lanes: int) -> None:
        if num_lanes > len(self._latest):
            more = num_lanes - len(self._latest)
            self._latest = np.concatenate([self._latest, np.full(more, -1)])
            self._last_type = np.concatenate([self._last_type, np.zeros(more, np.int8)])
        if self._grows and self.end > self.size:
            size = max(2 * self.size, self.end)
            self._distance = np.concatenate([self._distance, np.zeros(size - self.size, np.int32)])
            self.size = size

    def distance(self, ids: np.ndarray) -> np.ndarray:
        """Returns how far on the next row is, int32; 0 where there is none."""
        return self._distance.take(self._places(ids), mode="wrap")

    def _places(self, ids: np.ndarray) -> np.ndarray:
        """Returns where rows that are kept stand; before the last turn of the ring they count from its end (< 0)."""
        return ids - (self.end - self.end % self.size)

    def follow(self, ids: np.ndarray, num_steps: int) -> np.ndarray:
        """Returns int64 [num_steps + 1, n]: the rows and those that follow; where an episode ends, its last again."""
        rows = np.empty((num_steps + 1, len(ids)), np.int64)
        rows[0] = ids
        for step in range(num_steps):
            np.add(rows[step], self.distance(rows[step]), out=rows[step + 1])
        return rows

    def beginnings(self) -> np.ndarray:
        """Returns the first rows of all episodes that have a transition, in order.

        Where no FIRST is kept any more, episodes begin with the first row that is.
        """
        del self._first[: bisect_left(self._first, self.begin)]
        if self._first:
            return np.array(self._first)
        rows = self.linked()
        return np.setdiff1d(rows, rows + self._distance[rows % self.size], assume_unique=True)

    def linked(self) -> np.ndarray:
        """Returns all rows that have a next one."""
        ids = np.arange(self.begin, self.end)
        return ids[self._distance[ids % self.size] > 0]
