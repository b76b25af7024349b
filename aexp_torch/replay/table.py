"""Table: the rows of one stream, in memory or on disk, with their links."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aexp_torch.replay.disk_rows import DiskRows
from aexp_torch.replay.links import Links
from aexp_torch.replay.memory_rows import MemoryRows
from aexp_torch.replay.schema import LANE, PRESENT, STEP_TYPE, Schema
from aexp_torch.timestep import TimeStep

__all__ = ["Table"]

CHUNK = 1 << 20  # rows that are looked at in one go


class Table:
    """Keeps rows, says which follow which, and copies them out.

    Args:
      schema: the columns.
      rows: where they are.

    Attributes:
      links: which row follows which; its `begin` and `end` are the rows that count.
      new: None; a list that somebody puts there is given the rows that get a next one.
      age: grows when rows that counted count no more, other than by age.
    """

    def __init__(self, schema: Schema, rows: MemoryRows | DiskRows):
        self.schema, self.rows = schema, rows
        self.age = 0
        self._start()
        self._catch_up()

    @classmethod
    def in_memory(cls, schema: Schema, capacity: int) -> "Table":
        """Returns an empty table of a ring of rows."""
        return cls(schema, MemoryRows(schema.columns, capacity))

    @classmethod
    def on_disk(
        cls, folder: Path, capacity: int | None, schema: Schema | None = None, slot: int = 0, writable: bool = False
    ) -> "Table":
        """Opens, or creates, a folder of rows; see `DiskRows`."""
        rows = DiskRows(folder, schema, slot, capacity, writable)
        return cls(rows.schema, rows)

    def _start(self) -> None:
        self.links = Links(self.rows.capacity)
        self.links.begin = self.links.end = self.rows.begin
        self.new: list[np.ndarray] | None = None
        self.plain = True  # so far, all leaves are there in every row
        self._rewinds = self.rows.rewinds
        self.age += 1

    def _catch_up(self) -> None:
        """Links rows that were written elsewhere."""
        if self.links.end < self.rows.begin:
            self._start()
        while self.links.end < self.rows.end:
            ids = np.arange(self.links.end, min(self.links.end + CHUNK, self.rows.end))
            self._link(self.take(LANE, ids), self.take(STEP_TYPE, ids), self.take(PRESENT, ids))

    def _link(self, lanes: np.ndarray, step_type: np.ndarray, present: np.ndarray) -> None:
        self.plain = self.plain and self.schema.is_plain(present)
        linked = self.links.append(lanes, step_type, self.rows.begin)
        if self.new is not None:
            self.new.append(linked)

    def append(self, timestep: TimeStep, action: dict | None, slot: int, moving: np.ndarray | None) -> np.ndarray:
        """Adds the lanes that move of a timestep, and the answer that led to it; returns their rows, int64 [n]."""
        return self.extend(self.schema.take_apart(timestep, action, slot, moving))

    def extend(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Adds rows, a value per column as `Schema.take_apart` gives them; a lane may come more than once, in order."""
        begin, count = self.rows.end, len(values[STEP_TYPE])
        self.rows.append(values, count)
        self._link(values[LANE], values[STEP_TYPE], values[PRESENT])
        return np.arange(begin, begin + count)

    def refresh(self) -> None:
        """Looks whether another process has written more."""
        self.rows.refresh()
        if self.rows.rewinds != self._rewinds or self.rows.end < self.links.end:
            self._start()
        self._catch_up()

    def places(self, ids: np.ndarray) -> np.ndarray:
        """Returns where rows stand, for `copy`: worth asking once for several columns."""
        return self.rows.places(ids)

    def copy(self, column: int, places: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Copies what stands at places of a column, [*places.shape, ...]."""
        # "wrap" takes places before the end of a ring, and lets numpy write into `out` at once, which "raise" does not.
        return self.rows.arrays[column].take(places, axis=0, out=out, mode="wrap")

    def take(self, column: int, ids: np.ndarray) -> np.ndarray:
        """Copies rows of a column, [*ids.shape, ...]."""
        return self.copy(column, self.rows.places(ids))

    def state_dict(self) -> dict:
        """Returns the rows, or where they are."""
        return self.rows.state_dict()

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self.rows.load_state_dict(state)
        self._start()
        self._catch_up()
