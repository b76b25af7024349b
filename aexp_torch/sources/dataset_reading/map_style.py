"""MapStyle: datasets with a length and random access, read sample by sample."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np

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

    Raises:
      SpecError: a sample whose keys, shapes or dtypes are not those of the first.
    """

    def __init__(self, data: Any, who: str, text_length: int | None = None):
        self._data, self._length = _with_own_files(data), len(data)
        if self._length:
            longest = self._samples if self._length <= MAX_SAMPLES_TO_MEASURE else None
            self._format = SampleFormat(self._data[0], who, text_length, longest)

    def __len__(self) -> int:
        return self._length

    def gather(self, indices: np.ndarray) -> dict[str, Any]:
        """Returns the samples at `indices`, int64 `[B]`, stacked in fresh memory."""
        numbers = indices.tolist()
        many = getattr(self._data, "__getitems__", None)
        samples = many(numbers) if many else [self._data[number] for number in numbers]
        return stack_trees([self._format.convert(*pair) for pair in zip(samples, numbers)])

    def close(self) -> None:
        """Closes the files that this reader has opened for itself."""
        files = getattr(self._data, "data_source", None)
        if _opens_files(files):
            files.__exit__(None, None, None)

    def _samples(self) -> Iterator[Any]:
        return (self._data[number] for number in range(self._length))


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
