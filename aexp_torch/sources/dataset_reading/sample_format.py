"""SampleFormat: what every sample of a dataset looks like, learnt from its first one."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import torch

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.conversions import Conversions
from aexp_torch.sources.dataset_reading.known import Known, known_length, known_sequence, length_path
from aexp_torch.sources.dataset_reading.quick_format import QuickFormat
from aexp_torch.sources.dataset_reading.sample_tree import sample_tree
from aexp_torch.sources.dataset_reading.text import (
    DEFAULT_LENGTH,
    encode_text,
    is_text,
    measure_text,
    text_elements,
)
from aexp_torch.specs import flatten, map_tree, path_name, unflatten

__all__ = ["Blank", "SampleFormat", "copy_leaf", "stack_trees"]


class Blank(dict[str, Any]):
    """Stands for a sample that could not be read: zeros, in its place."""


class SampleFormat:
    """Converts samples to nested dicts of arrays, all with the keys, shapes and dtypes of the first one.

    Text becomes bytes or, with a tokenizer, integers. What varies along its first axis is zero-padded, or cut, to one
    size, and `length:<key>` (int64) says how much of it is real; so are integers that a tokenizer gives.

    Args:
      first: the first sample (or collated batch, with `batched=True`), as the dataset gives it.
      who: how errors name the reader.
      conversions: what is done to values.
      longest: called where a size is to be found out: yields samples, the longest of which set the sizes. Without it
        they are 256.
      batched: values have a leading batch axis, which may differ.
      varying: paths of leaves that the dataset says to vary along their first axis.
      besides: names of leaves that are read elsewhere.
    """

    def __init__(
        self,
        first: Any,
        who: str,
        conversions: Conversions | None = None,
        longest: Callable[[], Iterable[Any]] | None = None,
        batched: bool = False,
        varying: Collection[tuple[str, ...]] = (),
        besides: Collection[str] = (),
    ):
        self._who, self._batched, self._conversions = who, batched, conversions or Conversions()
        leaves = dict(self._flat(first, 0))
        self._conversions.check_names([*map(path_name, leaves), *besides], who)
        self._tokens = {
            path: tokens
            for path, leaf in leaves.items()
            if is_text(leaf) and (tokens := self._conversions.tokens(path_name(path))) is not None
        }
        given = {path: self._given_length(path, leaf) for path, leaf in leaves.items()}
        self._lengths = {path: given[path] for path, leaf in leaves.items() if is_text(leaf)}
        self._sizes = {
            path: self._conversions.max_length.get(path_name(path))
            for path, leaf in leaves.items()
            if self._varies(path, leaf, varying)
        }
        self._find_sizes(longest)
        self._expected: dict | None = None
        self._quick: QuickFormat | None = None
        self._expected = {path: self._signature(leaf) for path, leaf in flatten(self.convert(first, 0))}
        others = [*self._conversions.transform, *map(path_name, (*self._tokens, *self._sizes))]
        if not batched:
            self._quick = QuickFormat(first, self._expected, self._lengths, others)

    @property
    def known(self) -> dict[tuple[str, ...], Known]:
        """What is known of leaves that were padded."""
        known = {length_path(path): known_length(path, size) for path, size in self._sizes.items()}
        for path, tokens in self._tokens.items():
            shape = (self._expected or {})[path][2]
            if len(shape) == 1:
                known[path] = known_sequence(path, shape[0], tokens.size)
                known[length_path(path)] = known_length(path, shape[0])
        return known

    def convert(self, sample: Any, index: int, fresh: bool = False) -> dict[str, Any]:
        """Returns sample number `index` as a nested dict of arrays and tensors, or raises a SpecError naming both.

        Args:
          sample: as the dataset gives it.
          index: its number.
          fresh: what is returned shares no memory with the sample, whose maker may fill it again.
        """
        if self._quick is not None and (quick := self._quick.convert(sample, fresh)) is not None:
            return quick
        converted = self._convert(sample, index)
        return map_tree(copy_leaf, converted) if fresh else converted

    def _convert(self, sample: Any, index: int) -> dict[str, Any]:
        leaves = self._flat(sample, index)
        if self._lengths:
            leaves = [found for path, leaf in leaves for found in self._encode(path, leaf, index)]
        if self._sizes:
            leaves = [found for path, leaf in leaves for found in self._fit(path, leaf, index)]
        if self._expected is not None:
            self._check(leaves, index)
        return unflatten(leaves)

    def blank(self) -> Blank:
        """Returns a sample (or a batch of one row) of zeros."""
        lead = (1,) if self._batched else ()
        return Blank(unflatten([(path, self._zeros(path, lead)) for path in self._expected or {}]))

    def _zeros(self, path: tuple[str, ...], lead: tuple[int, ...]) -> Any:
        kind, dtype, shape = (self._expected or {})[path]
        is_tensor = issubclass(kind, torch.Tensor)
        return torch.zeros(lead + shape, dtype=dtype) if is_tensor else np.zeros(lead + shape, dtype)

    def _flat(self, sample: Any, index: int) -> list[tuple[tuple[str, ...], Any]]:
        try:
            return list(flatten(sample_tree(sample, self._batched, self._conversions.transform)))
        except SpecError as error:
            raise SpecError(f"{self._who}: {error}, in {self._place(index)}.") from error

    def _given_length(self, path: tuple[str, ...], leaf: Any) -> int | None:
        several = isinstance(leaf, np.ndarray) and leaf.ndim > self._batched  # max_length is how many texts
        given = None if several else self._conversions.max_length.get(path_name(path))
        return given if given is not None else self._conversions.text_length

    def _varies(self, path: tuple[str, ...], leaf: Any, varying: Collection[tuple[str, ...]]) -> bool:
        has_axis = getattr(leaf, "ndim", 0) > self._batched
        named = path_name(path) in self._conversions.max_length
        if named and not has_axis and not is_text(leaf):
            raise SpecError(
                f"{self._who}: expected max_length for a key with an axis, {path_name(path)!r} is a scalar."
            )
        if named and has_axis and self._batched:
            raise SpecError(
                f"{self._who}: expected no max_length with a DataLoader, got one for {path_name(path)!r}. Pad in its"
                " collate_fn."
            )
        return has_axis and (named or path in varying)

    def _find_sizes(self, longest: Callable[[], Iterable[Any]] | None) -> None:
        """Finds out the sizes that were not given."""
        texts = [path for path, length in self._lengths.items() if length is None]
        others = [path for path, size in self._sizes.items() if size is None]
        if longest is not None and (texts or others):
            self._measure(longest(), texts, others)
        for sizes in (self._lengths, self._sizes):
            sizes |= {path: DEFAULT_LENGTH for path, size in sizes.items() if size is None}

    def _measure(self, samples: Iterable[Any], texts: list[tuple[str, ...]], others: list[tuple[str, ...]]) -> None:
        self._lengths |= dict.fromkeys(texts, 1)
        self._sizes |= dict.fromkeys(others, 1)
        for index, sample in enumerate(samples):
            try:
                leaves = dict(self._flat(sample, index))
                lengths = {
                    path: self._text(self._length_of, path, leaves[path], index)
                    for path in texts
                    if is_text(leaves.get(path))
                }
            except Exception:  # of a transform, too: it is said when its turn comes
                continue
            for path, length in lengths.items():
                self._lengths[path] = max(self._lengths[path], length)
            for path in others:
                if getattr(leaves.get(path), "ndim", 0):
                    self._sizes[path] = max(self._sizes[path], len(leaves[path]))

    def _length_of(self, text: Any, path: tuple[str, ...]) -> int:
        if path not in self._tokens:
            return measure_text(text)
        return max([1, *(len(self._tokens[path](each)) for each in text_elements(text))])

    def _encode(self, path: tuple[str, ...], leaf: Any, index: int) -> list[tuple[tuple[str, ...], Any]]:
        if path not in self._lengths or not is_text(leaf):
            return [(path, leaf)]
        if path not in self._tokens:
            return [(path, self._text(lambda text, _: encode_text(text, self._lengths[path]), path, leaf, index))]
        tokens, lengths = self._text(self._tokenize, path, leaf, index)
        return [(path, tokens), (length_path(path), lengths)]

    def _tokenize(self, text: Any, path: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        size, elements = self._lengths[path], text_elements(text)
        tokens, lengths = np.zeros((len(elements), size), np.int64), np.zeros(len(elements), np.int64)
        for row, element in enumerate(elements):
            found = self._tokens[path](element)[:size]
            tokens[row, : len(found)], lengths[row] = found, len(found)
        return tokens.reshape(*np.shape(text), size), lengths.reshape(np.shape(text))

    def _text(self, function: Callable[[Any, Any], Any], path: tuple[str, ...], leaf: Any, index: int) -> Any:
        try:
            return function(leaf, path)
        except SpecError as error:
            raise SpecError(f"{self._who}: {error}, under {path_name(path)!r} in {self._place(index)}.") from error

    def _fit(self, path: tuple[str, ...], leaf: Any, index: int) -> list[tuple[tuple[str, ...], Any]]:
        """Pads or cuts what varies along its first axis."""
        if path not in self._sizes or not leaf.ndim:
            return [(path, leaf)]
        size, real = self._sizes[path], min(len(leaf), self._sizes[path])
        if self._expected is not None and not real:  # an empty list says nothing of its dtype
            leaf = self._zeros(path, lead=())[:0]
        shape = (size, *leaf.shape[1:])
        is_tensor = isinstance(leaf, torch.Tensor)
        padded: Any = leaf.new_zeros(shape) if is_tensor else np.zeros(shape, leaf.dtype)
        padded[:real] = leaf[:real]
        return [(path, padded), (length_path(path), np.asarray(real, np.int64))]

    def _signature(self, leaf: Any) -> tuple[type, Any, tuple[int, ...]]:
        if self._batched and not leaf.ndim:
            raise SpecError(f"{self._who}: expected a leading batch axis on every value, got a scalar.")
        return type(leaf), leaf.dtype, tuple(leaf.shape[1:] if self._batched else leaf.shape)

    def _check(self, leaves: list[tuple[tuple[str, ...], Any]], index: int) -> None:
        expected = self._expected or {}
        if {path for path, _ in leaves} != set(expected):
            self._complain_about_keys({path for path, _ in leaves}, index)
        for path, leaf in leaves:
            if is_text(leaf) or self._signature(leaf) != expected[path]:
                self._complain_about_shape(path, leaf, index)

    def _complain_about_keys(self, paths: set[tuple[str, ...]], index: int) -> None:
        expected = set(self._expected or {})
        differences = [
            f"{what} {sorted(map(path_name, some))}"
            for what, some in (("without", expected - paths), ("with the additional", paths - expected))
            if some
        ]
        raise SpecError(
            f"{self._who}: expected the keys {sorted(map(path_name, expected))} of the first {self._noun}, got "
            f"{self._place(index)} {' and '.join(differences)}. Give every {self._noun} the same keys."
        )

    def _complain_about_shape(self, path: tuple[str, ...], leaf: Any, index: int) -> None:
        expected = (self._expected or {})[path]
        came = None if is_text(leaf) else self._signature(leaf)
        shape, got = _describe(expected), _describe(came)
        if got == shape:
            shape, got = f"{shape} in a {expected[0].__name__}", f"{got} in a {type(leaf).__name__}"
        raise SpecError(
            f"{self._who}: expected {path_name(path)!r} to be {shape} as in the first {self._noun}, got {got} in "
            f"{self._place(index)}. {self._remedy(path, expected, came)}"
        )

    def _remedy(self, path: tuple[str, ...], expected: tuple, came: tuple | None) -> str:
        name = path_name(path)
        transform = f"transform={{{name!r}: function}} (aexp_torch.FitImage(64, 64) for images)"
        alike = "pad in the collate_fn" if self._batched else transform
        one, two = expected[2], came[2] if came is not None else ()
        if not self._batched and one and two and one != two and one[1:] == two[1:]:
            padded = f"max_length={{{name!r}: {max(one[0], two[0])}}}"
            return f"Pad or cut them with {padded}, or make them alike with {alike}."
        return f"Make all {self._noun}s alike with {alike}, or in the dataset."

    @property
    def _noun(self) -> str:
        return "batch" if self._batched else "sample"

    def _place(self, index: int) -> str:
        return f"{self._noun} {index}"


def stack_trees(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns one nested dict with a new leading axis, in fresh memory."""
    return map_tree(lambda *leaves: _stack(leaves), *samples)


def copy_leaf(leaf: Any) -> Any:
    """Returns the same values in fresh memory."""
    return leaf.clone() if isinstance(leaf, torch.Tensor) else np.array(leaf)


def _describe(signature: tuple[type, Any, tuple[int, ...]] | None) -> str:
    if signature is None:
        return "text"
    _, dtype, shape = signature
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"


def _stack(leaves: tuple) -> Any:
    return torch.stack(leaves) if isinstance(leaves[0], torch.Tensor) else np.stack(leaves)
