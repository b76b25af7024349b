"""prepared: a small dataset that is made or read when it is opened, and split the same way everywhere."""

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from dm_env import specs as dm_specs

from aexp_torch.errors import MissingDependencyError, SpecError
from aexp_torch.sources.dataset import DatasetEnv
from aexp_torch.sources.dataset_reading.text import encode_text

__all__ = ["Columns", "Split", "part_of", "prepared", "rows_of", "shipped", "text_column"]

Split = Literal["train", "test", "all"]
Columns = dict[str, np.ndarray]
SPLITS = ("train", "test", "all")


class Prepared(Mapping):
    """Is what a function returns, a dict of arrays; it is called when the first key is asked for.

    A copy in another process calls it again: pickles hold the function and its argument.
    """

    def __init__(self, read: Callable[[str], Columns], split: str):
        self.read, self.split = read, split
        self._columns: Columns | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_columns": None}

    def _opened(self) -> Columns:
        if self._columns is None:
            self._columns = self.read(self.split)
        return self._columns

    def __getitem__(self, key: str) -> np.ndarray:
        return self._opened()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._opened())

    def __len__(self) -> int:
        return len(self._opened())


def prepared(
    read: Callable[[str], Columns],
    split: Split,
    name: str,
    *,
    classes: int | None = None,
    batch_size: int = 64,
    shuffle: bool = True,
    specs: Mapping[str, Any] | None = None,
    **options: Any,
) -> DatasetEnv:
    """Returns the recipe of a small dataset.

    Args:
      read: `split -> {key: array}`; it has to give the same at every call.
      split: `"train"`, `"test"` or `"all"`.
      name: names the source.
      classes: the number of values of an int64 y.
      batch_size: rows of a minibatch.
      shuffle: another order in each pass.
      specs: of single keys, as for DatasetEnv.
      options: everything else that DatasetEnv takes.

    Raises:
      SpecError: there is no such split.
    """
    if split not in SPLITS:
        raise SpecError(f"{name}: expected split 'train', 'test' or 'all', got {split!r}.")
    known = {} if classes is None else {"y": dm_specs.DiscreteArray(classes, np.int64, "y")}
    given = {**known, **(specs or {})}
    return DatasetEnv(
        Prepared(read, split), name=name, batch_size=batch_size, shuffle=shuffle, specs=given or None, **options
    )


def rows_of(split: str, num_rows: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Returns the rows of a split, int64, in ascending order: every fifth of a fixed random order is for testing.

    Args:
      split: `"train"`, `"test"` or `"all"`.
      num_rows: rows of the whole.
      labels: int64 [num_rows]; each class is split for itself.

    >>> len(rows_of("train", 150)), len(rows_of("test", 150)), len(rows_of("all", 150))
    (120, 30, 150)
    """
    order = np.random.default_rng(0).permutation(num_rows)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    is_test = np.zeros(num_rows, bool)
    is_test[order[::5]] = True
    chosen = {"train": ~is_test, "test": is_test, "all": np.ones(num_rows, bool)}[split]
    return np.flatnonzero(chosen)


def part_of(columns: Columns, split: str) -> Columns:
    """Returns the rows of a split of all columns; where y is int64 [N], its classes are split alike."""
    y = columns.get("y")
    labels = y if y is not None and y.ndim == 1 and y.dtype == np.int64 else None
    rows = rows_of(split, len(next(iter(columns.values()))), labels)
    return {key: column[rows] for key, column in columns.items()}


def text_column(texts: list[str], length: int) -> np.ndarray:
    """Returns uint8 [N, length]: UTF-8, zero-padded; longer text is cut at a character boundary."""
    return encode_text(np.array(texts), length)


def shipped(package: str, file: str) -> Path:
    """Returns the path of a file that comes with an installed package, without importing the package.

    Raises:
      MissingDependencyError: the package, or the file in it, is not there.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(f"catalogue: expected the package {package}. Install it: pip install aexp-torch")
    path = Path(spec.submodule_search_locations[0]) / file
    if not path.is_file():
        raise MissingDependencyError(f"catalogue: expected the file {file} in the package {package}, it is not there.")
    return path
