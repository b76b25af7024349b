"""MapStyle: datasets with a length and random access, read a minibatch at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.conversions import Conversions
from aexp_torch.sources.dataset_reading.known import Known
from aexp_torch.sources.dataset_reading.reader import Minibatch
from aexp_torch.sources.dataset_reading.retrying import Unreachable, retrying
from aexp_torch.sources.dataset_reading.rows import Rows
from aexp_torch.sources.dataset_reading.sample_format import SampleFormat, stack_trees
from aexp_torch.specs import flatten, map_tree, path_name

__all__ = ["MapStyle"]

MAX_SAMPLES_TO_MEASURE = 100_000


class MapStyle:
    """Gathers rows by number.

    Text takes the length of the longest one of its key: all samples are read once at the beginning, if there are at
    most 100,000 of them; above that, 256 bytes. Give `text_length` where reading is expensive. Likewise other leaves that
    vary along their first axis, see `SampleFormat`.

    Args:
      rows: the data.
      name: what it is, for messages.
      who: how errors name the reader.
      conversions: what is done to values.
      bad_samples: is told of samples that raise, or whose keys, shapes or dtypes are not those of the first; by default
        they are errors.
      read_timeout: seconds for which reading is tried again where an error may pass.

    Raises:
      SpecError: a bad sample, or none that is good.
    """

    def __init__(
        self,
        rows: Rows,
        name: str,
        who: str,
        conversions: Conversions | None = None,
        bad_samples: BadSamples | None = None,
        read_timeout: float = 60.0,
    ):
        self._rows, self._length, self._name, self._who = rows, len(rows), name, who
        self._read_timeout = read_timeout
        self.bad_samples = bad_samples or BadSamples("raise", None, name, "sample", who)
        self.known: dict[tuple[str, ...], Known] = dict(rows.known)
        self._format: SampleFormat | None = None
        self._example: dict[str, Any] | None = None
        if self._length:
            with self.bad_samples.uncounted():
                self._learn((conversions or Conversions()).with_defaults(rows.transform))

    def _learn(self, conversions: Conversions) -> None:
        """Finds out what samples look like."""
        number, (columns, samples) = self._first()
        names = [path_name(path) for path, _ in flatten(columns)] if columns else []
        if samples:
            longest = self._samples if self._length <= MAX_SAMPLES_TO_MEASURE else None
            varying = self._rows.varying
            made = SampleFormat(samples[0], self._who, conversions, longest, varying=varying, besides=names)
            self._format = made
            self.known |= made.known
        else:
            conversions.check_names(names, self._who)
        self._example = self._read([number])

    def _first(self) -> tuple[int, tuple[dict[str, Any], list[Any]]]:
        """Returns the first row that can be read."""
        for number in range(self._length):
            try:
                return number, retrying(lambda n=number: self._rows.read([n]), *self._how(number))  # type: ignore[misc]
            except Unreachable:
                raise
            except Exception as error:
                self.bad_samples.add(number, error)
        raise SpecError(
            f"{self._who}: expected at least one sample that can be read, got none among {self._length}. Check the"
            " path, and see the warning for the first of them."
        )

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: np.ndarray) -> Minibatch:
        """Returns the samples at `indices`, int64 `[B]`, stacked in fresh memory, and which of them are good.

        Rows of bad samples are 0. The second is bool `[B]`, or None where all are good.
        """
        numbers = indices.tolist()
        try:
            return self._read(numbers), None
        except Unreachable:
            raise
        except Exception:  # one of them; which, and whether that matters, is found out one by one
            return self._gather_good(numbers)

    def _gather_good(self, numbers: list[int]) -> Minibatch:
        good = np.ones(len(numbers), np.bool_)
        rows = []
        for row, number in enumerate(numbers):
            try:
                rows.append(self._read([number]))
            except Unreachable:
                raise
            except Exception as error:
                self.bad_samples.add(number, error)
                good[row] = False
                rows.append(map_tree(_zeros_like, self._example))
        return map_tree(lambda *leaves: _concatenate(leaves), *rows), None if good.all() else good

    def _read(self, numbers: list[int]) -> dict[str, Any]:
        columns, samples = retrying(lambda: self._rows.read(numbers), *self._how(numbers[0]))
        if columns and self._example is not None:
            self._check_columns(columns, numbers)
        if self._format is None:
            return columns
        converted = [self._format.convert(*pair) for pair in zip(samples, numbers, strict=True)]
        return {**columns, **stack_trees(converted)}

    def _how(self, number: int) -> tuple[str, float, str]:
        return f"sample {number} of {self._name}", self._read_timeout, self._who

    def _check_columns(self, columns: dict[str, Any], numbers: list[int]) -> None:
        example = dict(flatten(self._example))
        for path, leaf in flatten(columns):
            expected = example[path]
            if leaf.shape[1:] != expected.shape[1:] or leaf.dtype != expected.dtype:
                where = f"sample {numbers[0]}" if len(numbers) == 1 else f"samples {numbers[0]} ..."
                name = path_name(path)
                raise SpecError(
                    f"{self._who}: expected {name!r} to be {expected.dtype} {list(expected.shape[1:])} as in the first"
                    f" sample, got {leaf.dtype} {list(leaf.shape[1:])} in {where}. Make all samples alike with"
                    f" transform={{{name!r}: function}} (aexp_torch.FitImage(64, 64) for images), or in the dataset."
                )

    def close(self) -> None:
        """Closes files."""
        self._rows.close()

    def _samples(self) -> Iterator[Any]:
        """Yields the samples that can be read."""
        for number in range(self._length):
            try:
                sample = retrying(lambda n=number: self._rows.samples(n), *self._how(number))  # type: ignore[misc]
            except Unreachable:
                raise
            except Exception as error:
                self.bad_samples.add(number, error)
                continue
            yield sample


def _zeros_like(leaf: Any) -> Any:
    return torch.zeros_like(leaf) if isinstance(leaf, torch.Tensor) else np.zeros_like(leaf)


def _concatenate(leaves: tuple) -> Any:
    return torch.cat(leaves) if isinstance(leaves[0], torch.Tensor) else np.concatenate(leaves)
