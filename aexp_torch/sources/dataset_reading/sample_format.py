"""SampleFormat: what every sample of a dataset looks like, learnt from its first one."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.sample_tree import sample_tree
from aexp_torch.sources.dataset_reading.text import DEFAULT_TEXT_LENGTH, encode_text, is_text, measure_text
from aexp_torch.specs import flatten, map_tree, path_name, unflatten

__all__ = ["Blank", "SampleFormat", "copy_leaf", "stack_trees"]


class Blank(dict[str, Any]):
    """Stands for a sample that could not be read: zeros, in its place."""


class SampleFormat:
    """Converts samples to nested dicts of arrays, all with the keys, shapes and dtypes of the first one.

    Args:
      first: the first sample (or collated batch, with `batched=True`), as the dataset gives it.
      who: how errors name the reader.
      text_length: bytes of every text; None takes `longest`, or 256 where that gives nothing.
      longest: called when there is text: yields samples of which the longest text of each key sets the length.
      batched: values have a leading batch axis, which may differ.
    """

    def __init__(
        self,
        first: Any,
        who: str,
        text_length: int | None = None,
        longest: Callable[[], Iterable[Any]] | None = None,
        batched: bool = False,
    ):
        self._who, self._batched = who, batched
        leaves = dict(self._flat(first, 0))
        self._lengths = {path: text_length or DEFAULT_TEXT_LENGTH for path, leaf in leaves.items() if is_text(leaf)}
        if self._lengths and text_length is None and longest is not None:
            self._measure(longest())
        self._expected: dict | None = None
        self._expected = {path: self._signature(leaf) for path, leaf in flatten(self.convert(first, 0))}

    def convert(self, sample: Any, index: int) -> dict[str, Any]:
        """Returns sample number `index` as a nested dict of arrays and tensors, or raises a SpecError naming both."""
        leaves = self._flat(sample, index)
        if self._lengths:
            leaves = [(path, self._encode(path, leaf, index)) for path, leaf in leaves]
        if self._expected is not None:
            self._check(leaves, index)
        return unflatten(leaves)

    def blank(self) -> Blank:
        """Returns a sample (or a batch of one row) of zeros."""
        lead = (1,) if self._batched else ()
        leaves: list[tuple[tuple[str, ...], Any]] = []
        for path, (kind, dtype, shape) in (self._expected or {}).items():
            is_tensor = issubclass(kind, torch.Tensor)
            zeros = torch.zeros(lead + shape, dtype=dtype) if is_tensor else np.zeros(lead + shape, dtype)
            leaves.append((path, zeros))
        return Blank(unflatten(leaves))

    def _flat(self, sample: Any, index: int) -> list[tuple[tuple[str, ...], Any]]:
        try:
            return list(flatten(sample_tree(sample, self._batched)))
        except SpecError as error:
            raise SpecError(f"{self._who}: {error}, in {self._place(index)}.") from error

    def _measure(self, samples: Iterable[Any]) -> None:
        self._lengths = dict.fromkeys(self._lengths, 1)
        for index, sample in enumerate(samples):
            try:
                texts = [(path, leaf) for path, leaf in self._flat(sample, index) if path in self._lengths]
                lengths = [(path, self._text(measure_text, path, leaf, index)) for path, leaf in texts if is_text(leaf)]
            except SpecError:  # it is said when its turn comes
                continue
            for path, length in lengths:
                self._lengths[path] = max(self._lengths[path], length)

    def _encode(self, path: tuple[str, ...], leaf: Any, index: int) -> Any:
        if path not in self._lengths or not is_text(leaf):
            return leaf
        return self._text(lambda text: encode_text(text, self._lengths[path]), path, leaf, index)

    def _text(self, function: Callable[[Any], Any], path: tuple[str, ...], leaf: Any, index: int) -> Any:
        try:
            return function(leaf)
        except SpecError as error:
            raise SpecError(f"{self._who}: {error}, under {path_name(path)!r} in {self._place(index)}.") from error

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
            f"{self._place(index)}. Crop, pad or convert in the dataset so that all {self._noun}s are alike."
        )

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
