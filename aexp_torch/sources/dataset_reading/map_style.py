"""MapStyle: datasets with a length and random access, read sample by sample."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

from aexp_torch.errors import SpecError
from aexp_torch.sources.dataset_reading.bad_samples import BadSamples
from aexp_torch.sources.dataset_reading.reader import Minibatch
from aexp_torch.sources.dataset_reading.sample_format import SampleFormat, stack_trees

__all__ = ["MapStyle"]

MAX_SAMPLES_TO_MEASURE = 100_000


class MapStyle:
    """Gathers samples by index; `__getitems__` is used where the dataset has it.

    Text takes the length of the longest one of its key: all samples are read once at the beginning, if there are at
    most 100,000 of them; above that, 256 bytes. Give `text_length` where reading is expensive.

    Args:
      data: anything with `__len__` and `__getitem__` (torch, TFDS data sources, Hugging Face).
      who: how errors name the reader.
      text_length: bytes of every text.
      bad_samples: is told of samples that raise, or whose keys, shapes or dtypes are not those of the first; by default
        they are errors.

    Raises:
      SpecError: a bad sample, or none that is good.
    """

    def __init__(self, data: Any, who: str, text_length: int | None = None, bad_samples: BadSamples | None = None):
        self._data, self._length, self._who = _with_own_files(data), len(data), who
        self.bad_samples = bad_samples or BadSamples("raise", None, type(data).__name__, "sample", who)
        if self._length:
            longest = self._samples if self._length <= MAX_SAMPLES_TO_MEASURE else None
            with self.bad_samples.uncounted():
                self._format = SampleFormat(next(self._samples()), who, text_length, longest)

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: np.ndarray) -> Minibatch:
        """Returns the samples at `indices`, int64 `[B]`, stacked in fresh memory, and which of them are good.

        Rows of bad samples are 0. The second is bool `[B]`, or None where all are good.
        """
        numbers = indices.tolist()
        many = getattr(self._data, "__getitems__", None)
        try:
            given = many(numbers) if many else [self._data[number] for number in numbers]
            samples = [self._format.convert(*pair) for pair in zip(given, numbers, strict=True)]
        except Exception:  # one of them; which, and whether that matters, is found out one by one
            return self._gather_good(numbers)
        return stack_trees(samples), None

    def _gather_good(self, numbers: list[int]) -> Minibatch:
        good = np.ones(len(numbers), np.bool_)
        samples = []
        for row, number in enumerate(numbers):
            try:
                samples.append(self._format.convert(self._data[number], number))
            except Exception as error:
                self.bad_samples.add(number, error)
                good[row] = False
                samples.append(self._format.blank())
        return stack_trees(samples), None if good.all() else good

    def close(self) -> None:
        """Closes the files that this reader has opened for itself."""
        files = getattr(self._data, "data_source", None)
        if _opens_files(files):
            files.__exit__(None, None, None)

    def _samples(self) -> Iterator[Any]:
        """Yields the samples that can be read."""
        found = False
        for number in range(self._length):
            try:
                sample = self._data[number]
            except Exception as error:
                self.bad_samples.add(number, error)
                continue
            found = True
            yield sample
        if not found:
            raise SpecError(
                f"{self._who}: expected at least one sample that can be read, got none among {self._length}. Check the"
                " path, and see the warning for the first of them."
            )


def _with_own_files(data: Any) -> Any:
    # An array_record file that was read before a fork kills the child that reads on: every reader opens its own.
    files = getattr(data, "data_source", None)
    if not _opens_files(files):
        return data
    own = copy.copy(data)
    own.data_source = copy.copy(files)
    return own


def _opens_files(files: Any) -> bool:
    return all(hasattr(files, name) for name in ("__setstate__", "__enter__", "__exit__"))
