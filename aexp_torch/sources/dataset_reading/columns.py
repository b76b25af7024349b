"""Columns: whole arrays with one row per sample. A minibatch is one fancy index for each."""

from typing import Any

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.padding import take_rows
from aexp_torch.sources.dataset_reading.reader import Minibatch
from aexp_torch.sources.dataset_reading.sample_tree import sample_tree
from aexp_torch.sources.dataset_reading.text import encode_text, is_text, measure_text
from aexp_torch.specs import flatten, map_tree, path_name

__all__ = ["Columns"]


class Columns:
    """Gathers rows out of a nested dict of arrays and tensors with equal leading length.

    Args:
      data: a nested dict, a tuple (two members are `x` and `y`) or a single one. The arrays are kept, not copied.
      who: how errors name the reader.
      text_length: bytes of every text, None for the longest of each column.

    Raises:
      SpecError: unequal lengths (naming keys and lengths), scalars, or dtypes that are no numbers or text.
    """

    def __init__(self, data: Any, who: str, text_length: int | None = None):
        try:
            self._tree = map_tree(lambda leaf: _column(leaf, text_length), sample_tree(data))
        except SpecError as error:
            raise SpecError(f"{who}: {error}.") from error
        leaves = [(path_name(path), leaf) for path, leaf in flatten(self._tree)]
        lengths = {name: len(leaf) if leaf.ndim else "a scalar" for name, leaf in leaves}
        if len(set(lengths.values())) != 1 or "a scalar" in lengths.values():
            raise SpecError(
                f"{who}: expected arrays of equal length along their first axis, got {lengths}. "
                "Give every array one row per sample."
            )
        self._length = len(leaves[0][1])
        self.bad_samples = BadSamples("raise", None, type(data).__name__, "sample", who)

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: np.ndarray) -> Minibatch:
        """Returns the samples at `indices`, int64 `[B]`, in fresh memory, and None: arrays have no bad samples."""
        return map_tree(lambda leaf: take_rows(leaf, indices), self._tree), None

    def close(self) -> None:
        """Does nothing: the arrays belong to the user."""


def _column(leaf: Any, text_length: int | None) -> Any:
    return encode_text(leaf, text_length or measure_text(leaf)) if is_text(leaf) else leaf
