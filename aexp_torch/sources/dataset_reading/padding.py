"""A short minibatch gets its full number of rows, with valid values, and a mask that says which are real."""

from typing import Any

import numpy as np
import torch

from aexp_torch.specs import map_tree

__all__ = ["pad", "take_rows"]


def pad(
    tree: dict[str, Any], num_rows: int, batch_size: int, good: np.ndarray | None = None
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Repeats the first rows until there are `batch_size`.

    Args:
      tree: leading axis `num_rows`.
      num_rows: at most `batch_size`.
      batch_size: B.
      good: bool `[num_rows]`, False on rows that could not be read; None where all could.

    Returns:
      The tree, leading axis B, and the mask: bool `[B]`, False on repeated rows and on those that could not be read;
      None where all rows are real.
    """
    if num_rows == batch_size:
        return tree, good
    rows = np.resize(np.arange(num_rows), batch_size)
    mask = np.arange(batch_size) < num_rows
    return map_tree(lambda leaf: take_rows(leaf, rows), tree), mask if good is None else mask & good[rows]


def take_rows(leaf: Any, rows: np.ndarray) -> Any:
    """Returns the given rows of an array or tensor in fresh memory."""
    if isinstance(leaf, torch.Tensor):
        return leaf.index_select(0, torch.from_numpy(rows).to(leaf.device))
    return np.take(leaf, rows, axis=0)
