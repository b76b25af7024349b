"""Replay: a ring of the latest transitions, as tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["Replay"]


class Replay:
    """Keeps the latest rows of named columns, and draws from them uniformly.

    Memory is taken as rows come, for all of them at once; a checkpoint holds only what is filled.

    Args:
      size: rows kept.
    """

    def __init__(self, size: int):
        self.size = size
        self.columns: dict[str, Tensor] = {}
        self.filled = 0
        self._next = 0

    def __len__(self) -> int:
        return self.filled

    def add(self, rows: Mapping[str, Tensor]) -> None:
        """Adds rows, each column [N, ...]; the oldest make room."""
        count = len(next(iter(rows.values())))
        if not self.columns:
            self._make(rows)
        skipped = max(0, count - self.size)  # what would be written over at once
        places = (self._next + torch.arange(skipped, count)) % self.size
        for name, column in self.columns.items():
            column[places] = rows[name][skipped:]
        self._next = (self._next + count) % self.size
        self.filled = min(self.filled + count, self.size)

    def sample(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draws `count` rows with replacement; the generator is one of the CPU."""
        places = torch.randint(self.filled, (count,), generator=generator)
        return {name: column[places.to(column.device)] for name, column in self.columns.items()}

    def _make(self, rows: Mapping[str, Tensor]) -> None:
        self.columns = {name: row.new_zeros(self.size, *row.shape[1:]) for name, row in rows.items()}

    def state_dict(self) -> dict:
        """Returns the filled rows and the place of the next."""
        columns = {name: column[: self.filled].clone() for name, column in self.columns.items()}
        return {"columns": columns, "next": self._next}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from `state_dict`."""
        self.columns, self.filled, self._next = {}, 0, state["next"]
        if state["columns"]:
            self._make(state["columns"])
            self.filled = len(next(iter(state["columns"].values())))
            for name, column in self.columns.items():
                column[: self.filled] = state["columns"][name]

    def to(self, device: torch.device) -> None:
        """Moves the rows to `device`."""
        self.columns = {name: column.to(device) for name, column in self.columns.items()}
