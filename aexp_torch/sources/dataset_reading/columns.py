"""Columns: whole arrays with one row per sample. A minibatch is one fancy index for each."""

from typing import Any

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.conversions import Conversions
from aexp_torch.sources.dataset_reading.known import Known, known_length, known_sequence, length_path
from aexp_torch.sources.dataset_reading.padding import take_rows
from aexp_torch.sources.dataset_reading.reader import Minibatch
from aexp_torch.sources.dataset_reading.sample_tree import sample_tree
from aexp_torch.sources.dataset_reading.text import encode_text, is_text, measure_text, text_elements
from aexp_torch.specs import flatten, map_tree, path_name, unflatten

__all__ = ["Columns"]


class Columns:
    """Gathers rows out of a nested dict of arrays and tensors with equal leading length.

    Args:
      data: a nested dict, a tuple (two members are `x` and `y`) or a single one. The arrays are kept, not copied.
      who: how errors name the reader.
      conversions: `text_length` is the bytes, or integers of a tokenizer, of every text; None for the longest of each
        column.

    Raises:
      SpecError: unequal lengths (naming keys and lengths), scalars, or dtypes that are no numbers or text.
    """

    def __init__(self, data: Any, who: str, conversions: Conversions | None = None):
        conversions = conversions or Conversions()
        if conversions.transform or conversions.max_length:
            raise SpecError(
                f"{who}: expected no transform and no max_length for arrays, which are alike, got"
                f" {sorted([*conversions.transform, *conversions.max_length])}. Change the arrays themselves."
            )
        self.known: dict[tuple[str, ...], Known] = {}
        try:
            columns = list(flatten(sample_tree(data)))
            conversions.check_names([path_name(path) for path, _ in columns], who)
            self._tree = unflatten([found for column in columns for found in self._convert(*column, conversions)])
        except SpecError as error:
            raise SpecError(f"{error}" if str(error).startswith(who) else f"{who}: {error}.") from error
        leaves = [(path_name(path), leaf) for path, leaf in flatten(self._tree)]
        lengths = {name: len(leaf) if leaf.ndim else "a scalar" for name, leaf in leaves}
        if len(set(lengths.values())) != 1 or "a scalar" in lengths.values():
            raise SpecError(
                f"{who}: expected arrays of equal length along their first axis, got {lengths}. "
                "Give every array one row per sample."
            )
        self._length = len(leaves[0][1])
        self.bad_samples = BadSamples("raise", None, type(data).__name__, "sample", who)

    def _convert(self, path: tuple[str, ...], leaf: Any, conversions: Conversions) -> list[tuple[tuple[str, ...], Any]]:
        if not is_text(leaf):
            return [(path, leaf)]
        tokenize = conversions.tokens(path_name(path))
        if tokenize is None:
            return [(path, encode_text(leaf, conversions.text_length or measure_text(leaf)))]
        rows = [tokenize(text) for text in text_elements(leaf)]
        size = conversions.text_length or max([1, *map(len, rows)])
        tokens, lengths = np.zeros((len(rows), size), np.int64), np.zeros(len(rows), np.int64)
        for row, found in enumerate(rows):
            lengths[row] = min(len(found), size)
            tokens[row, : lengths[row]] = found[:size]
        if np.ndim(leaf) == 1:
            self.known[path] = known_sequence(path, size, tokenize.size)
            self.known[length_path(path)] = known_length(path, size)
        shape = np.shape(leaf)
        return [(path, tokens.reshape(*shape, size)), (length_path(path), lengths.reshape(shape))]

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: np.ndarray) -> Minibatch:
        """Returns the samples at `indices`, int64 `[B]`, in fresh memory, and None: arrays have no bad samples."""
        return map_tree(lambda leaf: take_rows(leaf, indices), self._tree), None

    def close(self) -> None:
        """Does nothing: the arrays belong to the user."""
