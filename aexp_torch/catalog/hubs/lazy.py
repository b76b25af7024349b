"""LazyRows: rows of a hub that are opened where they are read, so that a recipe starts nothing and pickles."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from aexp_torch.catalog.hubs.features import Features

__all__ = ["LazyRows", "Rows"]


# Files that were opened before a fork: to read on in the child would move the parent's place, and to close some of them
# there (array_record) ends the child.
_INHERITED: list[Any] = []


class Rows(Protocol):
    """Is what a hub gives: rows with random access, each a mapping from columns to values."""

    def __len__(self) -> int: ...
    def read(self, indices: list[int]) -> Sequence[Mapping[str, Any]]: ...
    def column(self, name: str) -> Sequence[Any]: ...


class LazyRows:
    """Is a map-style dataset that opens at its first use, in the process that uses it.

    Args:
      open_rows: returns `Rows`; a function of a module, so that it pickles.
      features: what is read of each row.
      arguments: for `open_rows`.
    """

    def __init__(self, open_rows: Callable[..., Rows], features: str, **arguments: Any):
        self._open_rows, self._features, self._arguments = open_rows, Features(features), arguments
        self._close()

    def _close(self) -> None:
        self._opened: tuple[int, Rows] | None = None
        self._kept: list[int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None, "_kept": None}

    def __deepcopy__(self, memo: dict) -> "LazyRows":
        return LazyRows(self._open_rows, self._features.text, **self._arguments)

    def _rows(self) -> Rows:
        if self._opened is None or self._opened[0] != os.getpid():
            if self._opened is not None:
                _INHERITED.append(self._opened)
            rows = self._open_rows(**self._arguments)
            self._kept = _complete(rows, self._features)
            self._opened = os.getpid(), rows
        return self._opened[1]

    def __len__(self) -> int:
        rows = self._rows()
        return len(rows) if self._kept is None else len(self._kept)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        rows = self._rows()
        if self._kept is not None:
            indices = [self._kept[index] for index in indices]
        return [self._features.read(row) for row in rows.read(indices)]


def _complete(rows: Rows, features: Features) -> list[int] | None:
    """Returns the rows that have all labels; None where all are asked for."""
    if not features.partial:
        return None
    columns = [(feature, rows.column(feature.path[0])) for feature in features.partial]
    rest = [(feature, [feature.find({feature.path[0]: value}) for value in column]) for feature, column in columns]
    return [index for index in range(len(rows)) if all(feature.is_there(values[index]) for feature, values in rest)]
